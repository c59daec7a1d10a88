//! What a link that belongs to a node has besides: its words to the node, and the node's to it.
//!
//! The queue of words is bounded without a limit of its own. What happens once in the life of a link is told
//! once; a goodbye, an establishment, an end are of this kind. What may happen again waits for an answer of
//! the node's (an advert) or replaces the older word of its kind that nobody has taken (permanence, an
//! advert's acknowledgement). A message that cannot be delivered was the node's own.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem::discriminant;

use bytes::Bytes;

use super::message::{Envelope, MAX_SERVICE, Why};
use super::{Dial, Link, Terms};
use crate::config::{Config, Trust};
use crate::crypto::Seed;
use crate::crypto::noise::Role;
use crate::error::{By, Reason};
use crate::hello::{AdvertVersions, DialAddress};
use crate::node::{FromLink, Identity, LinkToNode, NodeToLink, ToLink};
use crate::phase::Phase;
use crate::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Managed {
    words: VecDeque<FromLink>,
    /// Messages from the node that came while the link could not take them: behind those in its queues.
    kept: VecDeque<Envelope>,
    /// What the node wants to be told to the peer once the link is established.
    permanent: bool,
    advert: Option<Bytes>,
    /// `Confirmed` was said.
    confirmed: bool,
    /// `Ended` was said: nothing follows it.
    ended: bool,
}

impl Managed {
    fn tell(&mut self, word: FromLink) {
        if self.ended {
            return;
        }
        self.ended = matches!(word, FromLink::Ended { .. });
        if matches!(word, FromLink::Permanence(_) | FromLink::AdvertAcked { .. }) {
            // Only the latest counts.
            self.words.retain(|older| discriminant(older) != discriminant(&word));
        }
        self.words.push_back(word);
    }
}

#[cfg(any(test, feature = "recording"))]
impl Managed {
    /// Words that wait to be taken.
    pub(super) fn waiting(&self) -> usize {
        self.words.len()
    }
}

impl Link {
    /// A link that belongs to a node: it asks the node before it takes its peer, whatever the trust. `trust`
    /// holds in place of the configuration's. The hello carries `adverts`, and `addresses` in place of the
    /// configuration's; it goes without them if it would be too large, or they are no addresses.
    #[allow(clippy::too_many_arguments)] // what a node knows of one link, and the link's own three
    pub(crate) fn managed(
        config: &Arc<Config>,
        role: Role,
        dial: Dial,
        trust: Trust,
        adverts: Option<AdvertVersions>,
        addresses: &[DialAddress],
        seed: &Seed,
        now: Instant,
    ) -> Self {
        let mut hello = config.hello.clone();
        hello.destination = dial.expected.map(|id| *id.as_bytes());
        hello.addresses = addresses.to_vec();
        hello.adverts = adverts;
        if hello.check().is_err() {
            hello.addresses = Vec::new();
            if hello.check().is_err() {
                hello.adverts = None;
            }
        }
        Self::start(config, role, dial, Terms { hello, trust, managed: Some(Box::default()) }, seed, now)
    }

    /// The next word for the link's node, to be given to [`Node::handle`](crate::node); `None` if there is
    /// none, and for a link without a node. Ask after each poll, each read and each command until there is
    /// none.
    ///
    /// The last word [is the end](LinkToNode::is_end). An owner that takes it gives the link first what the
    /// node has said and the link has not heard, then adds to the word what
    /// [`take_unsent`](Self::take_unsent) gives: messages that were on their way to the link.
    pub fn poll_node(&mut self) -> Option<LinkToNode> {
        note!(self, None, Input::PollNode);
        let managed = self.managed.as_mut()?;
        let mut word = LinkToNode(managed.words.pop_front()?);
        if managed.words.is_empty() {
            // Words are few and far between.
            managed.words = VecDeque::new();
        }
        if word.is_end() {
            word.extend_unsent(managed.kept.drain(..));
        }
        Some(word)
    }

    /// Takes in word from the link's node. A word that does not fit the link's phase does nothing; messages
    /// that it brings are kept for the link's last word.
    pub fn on_node(&mut self, message: NodeToLink, now: Instant) {
        note!(self, Some(now), Input::Node(Word::Said(&message.0)));
        // A word may do what the owner could do too: it is noted as the word that it is.
        #[cfg(feature = "recording")]
        let recorded = core::mem::replace(&mut self.recorded, super::recorded::Recorded::No);
        self.hear(message, now);
        #[cfg(feature = "recording")]
        {
            self.recorded = recorded;
        }
    }

    fn hear(&mut self, message: NodeToLink, now: Instant) {
        self.advance(now);
        if self.managed.is_none() {
            return;
        }
        match message.0 {
            ToLink::Admit { simultaneous } => {
                if self.phase == Phase::Admission {
                    self.accept(simultaneous);
                    self.process();
                }
            }
            ToLink::Refuse(refusal) => self.refuse(refusal, now),
            ToLink::AskAlive => self.ask_alive(),
            ToLink::AnswerAlive { go_on } => {
                self.answer_alive(go_on);
                self.process();
            }
            ToLink::Probe => self.ping(now),
            ToLink::Close(Reason::Revoked) => self.revoke(now),
            ToLink::Close(reason) => self.end(reason, By::Local),
            ToLink::Goodbye { code, detail } => self.goodbye(code, &detail, now),
            ToLink::Deliver(envelopes) => {
                for envelope in envelopes {
                    self.deliver(envelope);
                }
            }
            ToLink::Permanence(own) if self.phase.is_handshake() => {
                if let Some(managed) = &mut self.managed {
                    managed.permanent = own;
                }
            }
            ToLink::Permanence(own) => self.set_permanence(own),
            ToLink::Advert(advert) if self.phase.is_handshake() => {
                if let Some(managed) = &mut self.managed {
                    managed.advert = Some(advert);
                }
            }
            ToLink::Advert(advert) => self.push_advert(advert),
            ToLink::AckAdvert { version } => self.ack_advert(version),
        }
    }

    /// Ends the link before it has said anything.
    pub(crate) fn fail(&mut self, why: Reason) {
        #[cfg(feature = "recording")]
        self.recorded.hears();
        self.end(why, By::Local);
        self.send.clear();
    }

    /// Queues a message of the node's, or keeps it until the link can take it or ends.
    fn deliver(&mut self, envelope: Envelope) {
        let (Phase::Established, Some(session)) = (self.phase, &mut self.session) else {
            if let Some(managed) = &mut self.managed {
                managed.kept.push_back(envelope);
            }
            return;
        };
        let limit = session.limits.max_message;
        let why = if envelope.body.len() > limit as usize {
            Why::TooLarge { limit }
        } else if envelope.service.len() > MAX_SERVICE {
            Why::LongServiceName
        } else {
            return session.lanes.push_message(&envelope.message());
        };
        self.tell_node(|| FromLink::Undeliverable(envelope, why));
    }

    /// Queues a word for the node, if there is one.
    pub(super) fn tell_node(&mut self, word: impl FnOnce() -> FromLink) {
        if let Some(managed) = &mut self.managed {
            managed.tell(word());
        }
    }

    /// Tells the node who the peer is; false if there is no node.
    pub(super) fn tell_identified(&mut self) -> bool {
        let (Some(managed), Some(peer)) = (&mut self.managed, &self.peer) else { return false };
        managed.tell(FromLink::Identified(Box::new(Identity { id: peer.id, hello: peer.hello.clone() })));
        true
    }

    /// Tells the node that messages can flow, and takes those that it has given already.
    pub(super) fn tell_established(&mut self) {
        let Some(managed) = &mut self.managed else { return };
        managed.tell(FromLink::Established);
        let kept = core::mem::take(&mut managed.kept);
        let (permanent, advert) = (managed.permanent, managed.advert.take());
        if self.role == Role::Initiator {
            self.tell_confirmed();
            // An acceptor is sure of the link with the first record that it opens, and keeps an older one
            // until then: it gets that record at once.
            if let Some(session) = &mut self.session {
                session.queue_ping();
            }
        }
        self.set_permanence(permanent);
        if let Some(advert) = advert {
            self.push_advert(advert);
        }
        for envelope in kept {
            self.deliver(envelope);
        }
    }

    /// Tells the node, once, that the peer is established as well.
    pub(super) fn tell_confirmed(&mut self) {
        if let Some(managed) = &mut self.managed {
            if !core::mem::replace(&mut managed.confirmed, true) {
                managed.tell(FromLink::Confirmed);
            }
        }
    }

    /// Tells the node that a goodbye was said, and gives back what will not be sent because of it.
    pub(super) fn tell_draining(&mut self, by: By) {
        let (Some(managed), Some(session)) = (&mut self.managed, &mut self.session) else { return };
        let unsent = if by == By::Peer { session.lanes.take_held() } else { Vec::new() };
        managed.tell(FromLink::Draining { unsent, owes: session.lanes.unsent() > 0 });
    }

    /// Tells the node how the link has ended, and gives it back what was not sent.
    pub(super) fn tell_ended(&mut self) {
        let (Some(managed), Some(ending)) = (&mut self.managed, &self.ending) else { return };
        let lanes = self.session.as_mut().map(|session| &mut session.lanes);
        let unsent =
            lanes.map_or_else(Vec::new, |lanes| core::iter::from_fn(|| lanes.take_unsent()).collect());
        managed.tell(FromLink::Ended { closed: Box::new(ending.closed.clone()), unsent });
    }

    /// Messages that the node gave after the link's last word was taken.
    pub(super) fn take_kept(&mut self) -> Option<Envelope> {
        let managed = self.managed.as_mut().filter(|managed| managed.ended && managed.words.is_empty())?;
        managed.kept.pop_front()
    }
}
