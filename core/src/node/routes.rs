//! Which link the messages of a peer go to, and what waits while there is none.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use super::action::{NodeEvent, Undelivered};
use super::message::{LinkId, ToLink};
use super::peers::{Dialling, Stage};
use super::schedule::Due;
use crate::error::{By, Closed, Reason};
use crate::identity::NodeId;
use crate::link::Envelope;
use crate::time::Instant;

/// How much longer than its link may drain an owner has to give back what the link did not send. It is a word
/// within the process, so it comes at once, unless that owner hangs.
const HANDOVER: Duration = Duration::from_secs(1);

impl Node {
    /// Gives a peer without a route the newest link that can be one.
    pub(super) fn choose_route(&mut self, peer: NodeId) {
        let Some(record) = self.peers.get(&peer) else { return };
        // What a link before it gives back goes first.
        if record.route.is_some() || !record.owing.is_empty() {
            return;
        }
        let best = self
            .links_of(peer)
            .filter(|(_, link)| link.stage == Stage::Established)
            .max_by_key(|(_, link)| (link.confirmed, link.place));
        let Some((link, dialler)) = best.map(|(id, link)| (id, link.dialler)) else { return };
        if let Some(record) = self.peers.get_mut(&peer) {
            record.route = Some(link);
            record.linked = true;
        }
        self.stop_wanting(peer);
        self.deliver(peer);
        self.event(NodeEvent::Linked { peer, link, dialler });
    }

    /// A link takes no more messages, and will give back what it does not send: nothing goes to the next one
    /// before that.
    pub(super) fn stop_routing(&mut self, peer: NodeId, link: LinkId) {
        let timing = &self.config.timing;
        let mut until = self.now + HANDOVER;
        if self.links.get(&link).is_some_and(|link| link.stage == Stage::Draining) {
            // It still sends what was queued before this node's goodbye.
            until = until + timing.drain + timing.flush;
        }
        let Some(record) = self.peers.get_mut(&peer) else { return };
        if record.route == Some(link) {
            record.route = None;
            record.owing.push(link);
            self.schedule.set(Due::Handover(peer), until);
        }
        self.choose_route(peer);
    }

    /// A link has given back what it will not send.
    pub(super) fn gave_back(&mut self, peer: NodeId, link: LinkId, unsent: Vec<Envelope>) {
        let Some(record) = self.peers.get_mut(&peer) else { return };
        record.owing.retain(|owing| *owing != link);
        if record.route == Some(link) {
            record.route = None;
        }
        if record.owing.is_empty() {
            self.schedule.stop(Due::Handover(peer));
        }
        self.put_back(peer, unsent);
        self.choose_route(peer);
    }

    pub(super) fn give_up_handover(&mut self, peer: NodeId) {
        if let Some(record) = self.peers.get_mut(&peer) {
            record.owing.clear();
        }
        self.choose_route(peer);
    }

    /// An established link has ended.
    pub(super) fn link_lost(&mut self, peer: NodeId, since: Instant, closed: Closed) {
        let useful = self.now.since(since) >= self.policy.backoff.useful;
        let Some(record) = self.peers.get_mut(&peer) else { return };
        let retry = closed.reason.retry();
        // It had its successor, which is the one to speak of.
        if closed.reason != Reason::Superseded || closed.by != By::Local {
            record.last_closed = Some(Box::new(closed.clone()));
        }
        if self.links_of(peer).any(|(_, link)| link.stands()) {
            return self.look_at_permanence(peer);
        }
        let Some(record) = self.peers.get_mut(&peer) else { return };
        record.peer_is_permanent = false;
        if useful {
            record.failures = 0;
        }
        if core::mem::take(&mut record.linked) {
            self.event(NodeEvent::Unlinked { peer, closed: Box::new(closed) });
        }
        self.redial(peer, retry);
        if let Some(record) = self.peers.get_mut(&peer).filter(|_| !useful) {
            record.failures = record.failures.saturating_add(1);
        }
    }

    /// What an ended link did not send goes to the next one, before all that came later.
    pub(super) fn put_back(&mut self, peer: NodeId, unsent: Vec<Envelope>) {
        if unsent.is_empty() {
            return;
        }
        if self.stopping {
            return self.leftover.extend(unsent.into_iter().map(|envelope| (peer, envelope)));
        }
        let expires = self.now + self.policy.outbox_expiry;
        let Some(record) = self.peers.get_mut(&peer) else { return };
        let mut unsent = unsent;
        let mut first = expires;
        for envelope in &mut unsent {
            first = first.min(*envelope.expires.get_or_insert(expires));
        }
        self.stats.queued += unsent.len() as u64;
        self.queued_bytes += unsent.iter().map(super::outbox::charge).sum::<usize>();
        record.outbox.push_front(unsent);
        let routed = record.route.is_some();
        self.watch_outbox(peer, first);
        if routed {
            self.deliver(peer);
        }
    }

    /// Looks at the outbox when its first message may be over.
    pub(super) fn watch_outbox(&mut self, peer: NodeId, first: Instant) {
        if self.schedule.get(Due::Outbox(peer)).is_none_or(|at| first < at) {
            self.schedule.set(Due::Outbox(peer), first);
        }
    }

    /// Gives the route what waits for it.
    fn deliver(&mut self, peer: NodeId) {
        let Some(record) = self.peers.get_mut(&peer) else { return };
        if let Some(route) = record.route.filter(|_| !record.outbox.is_empty()) {
            self.queued_bytes -= record.outbox.bytes();
            let envelopes = record.outbox.take_all();
            self.schedule.stop(Due::Outbox(peer));
            self.tell(route, ToLink::Deliver(envelopes));
        }
    }

    pub(super) fn expire_outbox(&mut self, peer: NodeId) {
        let Some(record) = self.peers.get_mut(&peer) else { return };
        let before = record.outbox.bytes();
        let expired = record.outbox.take_expired(self.now);
        self.queued_bytes -= before - record.outbox.bytes();
        if let Some(next) = record.outbox.next_expiry() {
            self.schedule.set(Due::Outbox(peer), next);
        }
        for envelope in expired {
            self.undelivered(peer, envelope, Undelivered::Expired);
        }
        self.rest_if_unwanted(peer);
    }

    /// Gives up what waits for a link.
    pub(super) fn empty_outbox(&mut self, peer: NodeId, why: Undelivered) {
        let Some(record) = self.peers.get_mut(&peer) else { return };
        self.queued_bytes -= record.outbox.bytes();
        self.schedule.stop(Due::Outbox(peer));
        for envelope in record.outbox.take_all() {
            self.undelivered(peer, envelope, why);
        }
    }

    pub(super) fn undelivered(&mut self, peer: NodeId, envelope: Envelope, why: Undelivered) {
        self.stats.undelivered += 1;
        self.event(NodeEvent::Undelivered { peer, envelope, why });
    }

    /// Does not dial a peer any more that nobody wants; a dial that has a connection goes on.
    pub(super) fn rest_if_unwanted(&mut self, peer: NodeId) {
        let Some(record) = self.peers.get_mut(&peer) else { return };
        if matches!(record.dial, Dialling::Waiting | Dialling::Connecting { .. }) && !record.wants_link() {
            record.dial = Dialling::Idle;
            record.round.clear();
            self.schedule.stop(Due::Redial(peer));
            self.schedule.stop(Due::Dial(peer));
        }
        self.forget_if_idle(peer);
    }

    /// Drops the record of a peer of which nothing is left to know.
    pub(super) fn forget_if_idle(&mut self, peer: NodeId) {
        if self.peers.get(&peer).is_some_and(|record| record.is_idle()) {
            self.peers.remove(&peer);
            self.schedule.forget(peer);
            // Else those who come once would fill the store for good.
            self.adverts.remove(&peer);
        }
    }
}
