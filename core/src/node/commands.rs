//! What the owner can ask of a node.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::Node;
use super::action::{
    NodeEvent, NodeStats, NotQueued, PeerState, PeerStatus, Permanence, Undelivered, WhyNotQueued,
};
use super::message::{LinkId, ToLink};
use super::peers::{Dialling, LinkRecord, PeerRecord, Stage};
use super::schedule::Due;
use crate::error::Reason;
use crate::hello::DialAddress;
use crate::identity::NodeId;
use crate::link::{Envelope, MAX_SERVICE, Message};
use crate::refusal::{Refusal, Retry};
use crate::time::Instant;

impl Node {
    /// Trusts a peer from now on, or until `expires`; true if that changes anything. Under
    /// [`Trust::Listed`](crate::Trust::Listed) it is added to the list; otherwise a revocation of it is taken
    /// back. At `expires` it is revoked, under each mode.
    pub fn trust(&mut self, peer: NodeId, expires: Option<Instant>, now: Instant) -> bool {
        self.advance(now);
        let changed = self.add_trust(peer, expires);
        self.watch_trust();
        changed
    }

    fn add_trust(&mut self, peer: NodeId, expires: Option<Instant>) -> bool {
        let changed = self.trusted.add(peer, expires);
        if changed {
            if let Some(record) = self.peers.get_mut(&peer) {
                record.failures = 0;
            }
            self.start_dial(peer);
        }
        changed
    }

    /// Puts a new list in place of the present one, under [`Trust::Listed`](crate::Trust::Listed): whoever is
    /// not on it is revoked.
    pub fn set_trusted(&mut self, list: impl IntoIterator<Item = (NodeId, Option<Instant>)>, now: Instant) {
        let list: BTreeMap<_, _> = list.into_iter().collect();
        for gone in self.trusted.missing_from(&list) {
            self.revoke(gone, now);
        }
        for (peer, expires) in list {
            self.add_trust(peer, expires);
        }
        self.watch_trust();
    }

    /// Whether the peer is trusted at the moment. Under [`Trust::Ask`](crate::Trust::Ask) that means that it
    /// may ask.
    pub fn is_trusted(&self, peer: NodeId) -> bool {
        self.trusted.contains(peer, self.now)
    }

    /// Trusts a peer no longer: its links end at once with [`Reason::Revoked`], a handshake under way with it
    /// comes to nothing, it is not dialled again, and what waits for it is given up, as is all that the node
    /// knows of it, addresses and permanence too. True if it was trusted.
    pub fn revoke(&mut self, peer: NodeId, now: Instant) -> bool {
        self.advance(now);
        let was = self.trusted.contains(peer, self.now);
        if was {
            self.withdraw_trust(peer);
            self.watch_trust();
        }
        was
    }

    pub(super) fn withdraw_trust(&mut self, peer: NodeId) {
        self.trusted.remove(peer);
        self.registry.remove(peer);
        self.adverts.remove(&peer);
        if !self.peers.contains_key(&peer) {
            return self.event(NodeEvent::Revoked { peer });
        }
        let links: Vec<_> = self.links_of(peer).map(|(id, link)| (id, link.stage)).collect();
        for (link, stage) in links {
            match stage {
                // It may have been told to end in good order.
                Stage::Ending => self.tell(link, ToLink::Close(Reason::Revoked)),
                Stage::Handshake | Stage::Asked | Stage::Deferred | Stage::AliveAsked => {
                    self.refuse(link, Refusal::Denied);
                }
                Stage::Proved | Stage::Admitted | Stage::Established | Stage::Draining => {
                    self.stats.revoked += 1;
                    self.enter(link, Stage::Ending);
                    self.tell(link, ToLink::Close(Reason::Revoked));
                }
            }
        }
        self.empty_outbox(peer, Undelivered::Revoked);
        // What the links still say is nobody's word: not even if the peer is trusted again before they end.
        let links = self.peers.remove(&peer).map_or_else(Vec::new, |record| record.links);
        for link in links {
            if let Some(record) = self.links.get_mut(&link) {
                record.peer = None;
            }
        }
        self.schedule.forget(peer);
        self.event(NodeEvent::Revoked { peer });
    }

    pub(super) fn watch_trust(&mut self) {
        match self.trusted.next_expiry() {
            Some(at) => self.schedule.set(Due::Trust, at),
            None => self.schedule.stop(Due::Trust),
        }
    }

    /// The record of a peer that the owner speaks of.
    fn record(&mut self, peer: NodeId) -> Option<&mut PeerRecord> {
        if peer == self.own { None } else { Some(self.peers.entry(peer).or_default()) }
    }

    /// Says where a peer can be dialled, in place of what was said before. If that is news, a peer that is
    /// wanted is dialled soon, whatever it was to wait for.
    pub fn set_addresses(&mut self, peer: NodeId, addresses: Vec<DialAddress>, now: Instant) {
        self.advance(now);
        let Some(record) = self.record(peer) else { return };
        if record.addresses != addresses {
            record.addresses = addresses;
            record.round.clear();
            record.failures = 0;
            if record.dial == Dialling::Waiting {
                self.stop_waiting(peer);
                self.redial(peer, Retry::Now);
            } else {
                self.start_dial(peer);
            }
        }
        self.forget_if_idle(peer);
    }

    /// Says whether a link to a peer is kept. A permanent peer without a link is dialled, also if dialling it
    /// was given up before; the peer is told of the change.
    pub fn set_permanence(&mut self, peer: NodeId, permanence: Permanence, now: Instant) {
        self.advance(now);
        let Some(record) = self.record(peer) else { return };
        record.permanence = permanence;
        let permanent = record.is_permanent();
        let links: Vec<_> = self
            .links_of(peer)
            .filter(|(_, link)| link.stage == Stage::Established)
            .map(|(id, _)| id)
            .collect();
        for link in links {
            self.tell(link, ToLink::Permanence(permanent));
        }
        if permanent {
            self.dial_soon(peer);
        } else {
            self.rest_if_unwanted(peer);
        }
    }

    /// The link that messages for a peer go to.
    pub fn route(&self, peer: NodeId) -> Option<LinkId> {
        self.peers.get(&peer)?.route
    }

    /// Asks for a link to a peer before `until`: dials it, also if dialling it was given up before; after
    /// failures not before its wait is over. [`NodeEvent::Linked`] or [`NodeEvent::DialFailed`] tell how
    /// that goes.
    ///
    /// # Errors
    /// [`WhyNotQueued::Linked`] if there is a link; [`WhyNotQueued::Untrusted`],
    /// [`WhyNotQueued::SelfConnection`], [`WhyNotQueued::ShuttingDown`].
    pub fn want(&mut self, peer: NodeId, until: Instant, now: Instant) -> Result<(), WhyNotQueued> {
        self.advance(now);
        self.may_want(peer)?;
        let later = self.schedule.get(Due::Want(peer)).is_none_or(|at| at < until);
        if later {
            self.schedule.set(Due::Want(peer), until);
        }
        if let Some(record) = self.record(peer) {
            record.wanted = true;
            self.dial_soon(peer);
        }
        Ok(())
    }

    fn may_want(&self, peer: NodeId) -> Result<(), WhyNotQueued> {
        if peer == self.own {
            Err(WhyNotQueued::SelfConnection)
        } else if self.stopping {
            Err(WhyNotQueued::ShuttingDown)
        } else if !self.trusted.contains(peer, self.now) {
            Err(WhyNotQueued::Untrusted)
        } else {
            self.route(peer).map_or(Ok(()), |link| Err(WhyNotQueued::Linked(link)))
        }
    }

    /// Keeps a message for a peer without a link until it has one, or until the message
    /// [expires](Message::expires), by default after the policy's
    /// [`outbox_expiry`](super::NodePolicy::outbox_expiry); dials the peer. The order of a peer's messages is
    /// kept within a priority.
    ///
    /// # Errors
    /// [`NotQueued`] gives the message back.
    pub fn queue<'a>(
        &mut self,
        peer: NodeId,
        message: Message<'a>,
        now: Instant,
    ) -> Result<(), NotQueued<'a>> {
        self.advance(now);
        let over = message.expires.is_some_and(|at| at <= self.now).then_some(WhyNotQueued::Expired);
        let why = over.or_else(|| self.may_want(peer).err()).or_else(|| self.lacks_room(peer, &message));
        if let Some(why) = why {
            return Err(NotQueued { why, message });
        }
        let expires = message.expires.unwrap_or(self.now + self.policy.outbox_expiry);
        let envelope = Envelope::from(message.expires(expires));
        self.queued_bytes += super::outbox::charge(&envelope);
        self.stats.queued += 1;
        if let Some(record) = self.record(peer) {
            record.outbox.push(envelope);
            self.watch_outbox(peer, expires);
            self.dial_soon(peer);
        }
        Ok(())
    }

    fn lacks_room(&self, peer: NodeId, message: &Message<'_>) -> Option<WhyNotQueued> {
        let most = self.config.limits().max_message as usize;
        if message.service.len() > MAX_SERVICE || message.body.len() > most {
            return Some(WhyNotQueued::TooLarge);
        }
        let queued = self.peers.get(&peer).map_or(0, |record| record.outbox.bytes());
        let full = queued >= self.policy.outbox_per_peer || self.queued_bytes >= self.policy.outbox;
        full.then_some(WhyNotQueued::Full)
    }

    /// Says goodbye on the links of a peer, and wants no new one. A permanent peer stays permanent, and so is
    /// dialled again: change that first.
    pub fn disconnect(&mut self, peer: NodeId, code: u32, detail: &str, now: Instant) {
        self.advance(now);
        self.say_goodbye(peer, code, detail);
        self.stop_wanting(peer);
    }

    /// Ends the links of a peer, but for those that it dials and that nobody has decided about.
    fn say_goodbye(&mut self, peer: NodeId, code: u32, detail: &str) {
        let links: Vec<_> = self
            .links_of(peer)
            .filter(|(_, link)| {
                !link.is_undecided() && !matches!(link.stage, Stage::Draining | Stage::Ending)
            })
            .map(|(id, link)| (id, link.since.is_some()))
            .collect();
        // All of them first: none is to take over from another.
        for (link, established) in &links {
            self.enter(*link, if *established { Stage::Draining } else { Stage::Ending });
        }
        for (link, _) in links {
            self.tell(link, ToLink::Goodbye { code, detail: detail.into() });
            self.stop_routing(peer, link);
        }
    }

    /// Ends everything in good order: takes no connection, dials nobody, says goodbye on all links. Poll on
    /// until [`is_stopped`](Self::is_stopped); the links' own drain time bounds that.
    pub fn shut_down(&mut self, code: u32, detail: &str, now: Instant) {
        self.advance(now);
        if core::mem::replace(&mut self.stopping, true) {
            return;
        }
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.say_goodbye(peer, code, detail);
            let Some(record) = self.peers.get_mut(&peer) else { continue };
            if !matches!(record.dial, Dialling::Handshake { .. }) {
                record.dial = Dialling::Idle;
            }
            self.queued_bytes -= record.outbox.bytes();
            let left = record.outbox.take_all();
            self.leftover.extend(left.into_iter().map(|envelope| (peer, envelope)));
            self.schedule.forget(peer);
        }
        // From here on no link begins, and none is left to decide about.
        let undecided = |link: &LinkRecord| link.stage == Stage::Handshake || link.is_undecided();
        let strangers: Vec<_> =
            self.links.iter().filter(|(_, link)| undecided(link)).map(|(id, _)| *id).collect();
        for link in strangers {
            self.refuse(link, Refusal::ShuttingDown);
        }
    }

    /// Whether the node was shut down and its last link has ended.
    pub fn is_stopped(&self) -> bool {
        self.stopping && self.links.is_empty()
    }

    /// After [`shut_down`](Self::shut_down): the messages that were not sent, with their peers. Of those that
    /// links gave back, the ones of links that have ended by now.
    pub fn take_leftover(&mut self) -> Vec<(NodeId, Envelope)> {
        core::mem::take(&mut self.leftover)
    }

    /// How a peer stands.
    pub fn status(&self, peer: NodeId) -> Option<PeerStatus> {
        Some(self.peers.get(&peer)?.status(peer, self.state_of(peer)))
    }

    /// How all peers stand of which there is anything to say, ascending by id.
    pub fn statuses(&self) -> impl Iterator<Item = PeerStatus> {
        self.peers.iter().map(|(id, record)| record.status(*id, self.state_of(*id)))
    }

    fn state_of(&self, peer: NodeId) -> PeerState {
        let Some(record) = self.peers.get(&peer) else { return PeerState::Idle };
        let route = record.route.and_then(|link| Some((link, self.links.get(&link)?)));
        if let Some((link, linked)) = route {
            let since = linked.since.unwrap_or(self.now);
            return PeerState::Linked { link, dialler: linked.dialler, since };
        }
        if self.links_of(peer).any(|(_, link)| link.since.is_some()) {
            return PeerState::Ending;
        }
        match &record.dial {
            Dialling::Idle => PeerState::Idle,
            Dialling::GivenUp => PeerState::GivenUp,
            Dialling::Connecting { address, .. } => {
                PeerState::Dialling { address: String::clone(address), link: None }
            }
            Dialling::Handshake { link, address } => {
                PeerState::Dialling { address: String::clone(address), link: Some(*link) }
            }
            Dialling::Waiting => {
                let until = self.schedule.get(Due::Redial(peer)).unwrap_or(self.now);
                PeerState::Waiting { until }
            }
        }
    }

    /// Counts since the start.
    pub const fn stats(&self) -> NodeStats {
        self.stats
    }

    /// How many links there are, handshakes included, and how many of those others have under way.
    pub fn link_counts(&self) -> (usize, usize) {
        (self.links.len(), self.admission.total())
    }
}
