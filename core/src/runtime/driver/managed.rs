//! What a link's task and its node tell each other.

use std::prelude::v1::*;
use std::sync::Arc;

use tracing::{Span, debug, field};

use super::Driver;
use crate::node::NodeToLink;
use crate::runtime::Runtime;
use crate::runtime::link::Link;
use crate::runtime::node::Member;
use crate::runtime::peer::PeerInfo;
use crate::runtime::shared::State;
use crate::{By, Envelope, Instant, Phase, Reason};

impl<S, R: Runtime> Driver<S, R> {
    /// The link belongs to a node.
    pub(crate) fn of_node(mut self, member: Member<R>) -> Self {
        self.member = Some(member);
        self
    }

    /// The peer, once it has proved its id.
    pub(super) fn identified(&mut self) -> Option<Arc<PeerInfo>> {
        if self.peer.is_none() {
            let peer = PeerInfo::new(self.link.shared_peer()?, self.remote, self.direction);
            Span::current().record("peer", field::display(peer.id));
            self.peer = Some(Arc::new(peer));
        }
        self.peer.clone()
    }

    pub(super) fn hear(&mut self, words: Vec<NodeToLink>, now: Instant) {
        for word in words {
            let open = self.link.phase() == Phase::Established;
            self.link.on_node(word, now);
            if open && self.link.phase() == Phase::Draining {
                self.set_parting(now);
            }
        }
    }

    /// Whether the peer's requests may go to their handlers: those of its older links go first.
    pub(super) fn has_turn(&self) -> bool {
        let turn = self.member.as_ref().zip(self.slot.as_ref());
        turn.is_none_or(|(member, slot)| slot.has_turn(member.link, &self.shared))
    }

    /// What came on this link has been handled, or will not be: the peer's next link has its turn.
    pub(super) fn pass_turn(&mut self) {
        if let (Some(member), Some(slot)) = (&self.member, self.slot.take()) {
            slot.finish_ending(member.link);
        }
    }

    pub(super) fn report_expired(&self, expired: Vec<Envelope>) {
        for envelope in expired {
            if let (Some(member), Some(peer)) = (&self.member, &self.peer) {
                member.inner.expired(peer.id, envelope);
            } else {
                debug!(message = ?envelope, "expired");
            }
        }
    }

    /// Passes on what the link says. Whether the link takes messages changes under the node's lock, together
    /// with what the node knows: so each message is either in the link's queue, and comes back with its end
    /// at the latest, or goes where the node sends it from then on.
    pub(super) fn report_to_node(&mut self) {
        let Some(member) = self.member.clone() else { return };
        let Some(mut word) = self.link.poll_node() else { return };
        let info = self.identified();
        member.inner.act_for(member.link, |state, now| {
            if let Some(info) = &info {
                let open = matches!(self.link.phase(), Phase::Established | Phase::Draining);
                let handle = open.then(|| Link::new(&self.shared, info));
                self.slot = Some(state.identified(member.link, info, handle));
            }
            loop {
                if self.link.phase() == Phase::Draining {
                    self.shared.enter(State::Draining);
                }
                let end = word.is_end();
                if let Some(closed) = self.link.closed().filter(|_| end) {
                    self.shared.enter(State::Closed);
                    self.shared.set_why(closed.reason.clone());
                    if closed.reason == Reason::Revoked && closed.by == By::Local {
                        self.server.abandon();
                    }
                    state.ended(member.link);
                }
                if word.gives_back() {
                    let why = self.shared.why().cloned().unwrap_or(Reason::Dropped);
                    word.extend_unsent(self.shared.take_messages());
                    word.extend_unsent(self.leftover(&why));
                }
                state.node.handle(member.link, word, now);
                match self.link.poll_node().filter(|_| !end) {
                    Some(next) => word = next,
                    None => break,
                }
            }
        });
    }
}
