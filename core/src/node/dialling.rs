//! When a peer is dialled, and what becomes of the dial.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use super::action::{NodeAction, NodeEvent, Undelivered};
use super::dial::{self, DialError, DialTicket};
use super::message::{LinkId, ToLink};
use super::peers::{Dialling, PeerRecord, Stage};
use super::schedule::Due;
use crate::error::{Closed, Reason};
use crate::hello::DialAddress;
use crate::identity::NodeId;
use crate::refusal::Retry;

/// The longest time that a refusal can keep this node from dialling.
const LONGEST_HINT: Duration = Duration::from_secs(600);

/// How many dials in a row may come to nothing because of another link that never shows before that counts
/// as a failure like any other.
const PATIENCE: u32 = 3;

impl Node {
    /// Dials a peer, unless there is a link to it, a dial under way, or nobody wants one.
    pub(super) fn start_dial(&mut self, peer: NodeId) {
        let has_link = self.has_link(peer);
        let trusted = self.trusted.contains(peer, self.now);
        let Some(record) = self.peers.get_mut(&peer) else { return };
        self.schedule.stop(Due::Redial(peer));
        if record.dial.is_under_way() {
            return;
        }
        record.dial = Dialling::Idle;
        if has_link || self.stopping || !record.wants_link() {
            return record.round.clear();
        }
        if !trusted {
            // No event: of a peer that was revoked there is none, and whoever asks can see it.
            return self.give_up(peer, DialError::Untrusted);
        }
        if record.round.is_empty() {
            record.hope = None;
            record.round = dial::order(&record.dialable(self.policy.dial_back), &mut self.draws);
        }
        let Some(address) = record.round.pop() else {
            self.event(NodeEvent::DialFailed { peer, error: DialError::NoAddress, again: None });
            return self.give_up(peer, DialError::NoAddress);
        };
        self.attempts += 1;
        let (attempt, deadline) = (self.attempts, self.now + self.policy.dial);
        record.dial = Dialling::Connecting { attempt, address: address.clone() };
        self.stats.dials += 1;
        self.schedule.set(Due::Dial(peer), deadline);
        let ticket = DialTicket { peer, address, attempt, deadline, node: self.tag };
        self.actions.push_back(NodeAction::Dial(ticket));
    }

    /// Whether there is a link to a peer that need not be made first.
    fn has_link(&self, peer: NodeId) -> bool {
        self.links_of(peer).any(|(_, link)| link.stands())
    }

    /// Dials a peer at once, or, after failures, when a wait is over: to be asked again is no reason to be
    /// impatient.
    pub(super) fn dial_soon(&mut self, peer: NodeId) {
        let Some(record) = self.peers.get_mut(&peer) else { return };
        match record.dial {
            Dialling::Idle | Dialling::GivenUp if record.failures > 0 => {
                self.redial(peer, Retry::Later(None));
            }
            Dialling::Idle | Dialling::GivenUp => self.start_dial(peer),
            Dialling::Waiting | Dialling::Connecting { .. } | Dialling::Handshake { .. } => {}
        }
    }

    /// The time for a dial is over.
    pub(super) fn dial_timed_out(&mut self, peer: NodeId) {
        let Some(record) = self.peers.get(&peer) else { return };
        match record.dial.clone() {
            Dialling::Connecting { address, .. } => self.dial_ended(peer, DialError::TimedOut { address }),
            Dialling::Handshake { link, .. } => {
                self.enter(link, Stage::Ending);
                self.tell(link, ToLink::Close(Reason::HandshakeTimeout));
            }
            _ => {}
        }
    }

    /// The link of a dial ended before it was established.
    pub(super) fn dial_link_ended(&mut self, peer: NodeId, link: LinkId, closed: Box<Closed>) {
        let Some(record) = self.peers.get(&peer) else { return };
        if let Dialling::Handshake { link: dialled, address } = &record.dial {
            if *dialled == link {
                let address = address.clone();
                self.dial_ended(peer, DialError::Closed { address, closed });
            }
        }
    }

    pub(super) fn dial_succeeded(&mut self, peer: NodeId) {
        self.schedule.stop(Due::Dial(peer));
        if let Some(record) = self.peers.get_mut(&peer) {
            record.dial = Dialling::Idle;
            record.round.clear();
        }
    }

    /// A dial made no link: tries the next address, or waits, or gives up.
    pub(super) fn dial_ended(&mut self, peer: NodeId, error: DialError) {
        self.schedule.stop(Due::Dial(peer));
        let has_link = self.has_link(peer);
        let Some(record) = self.peers.get_mut(&peer) else { return };
        record.dial = Dialling::Idle;
        if error.is_for_another_link() && (has_link || record.failures < PATIENCE) {
            // There is, or is about to be, another link. If that ends, or never is, this goes on.
            record.round.clear();
            record.failures = record.failures.saturating_add(1);
            return self.redial(peer, Retry::Now);
        }
        self.stats.failed_dials += 1;
        record.last_error = Some(Box::new(error.clone()));
        let retry = better(record.hope, error.retry());
        record.hope = Some(retry);
        if !error.is_of_the_peer() && !record.round.is_empty() {
            self.start_dial(peer);
        } else {
            record.round.clear();
            self.redial(peer, if error.is_of_the_peer() { error.retry() } else { retry });
            if let Some(record) = self.peers.get_mut(&peer) {
                record.failures = record.failures.saturating_add(1);
            }
        }
        let under_way = self.peers.get(&peer).is_some_and(|record| record.dial.is_under_way());
        let again = if under_way { Some(self.now) } else { self.schedule.get(Due::Redial(peer)) };
        self.event(NodeEvent::DialFailed { peer, error, again });
        self.forget_if_idle(peer);
    }

    /// Dials a peer again when its time comes, if a link is wanted and trying can help. A wait under way is
    /// kept to.
    pub(super) fn redial(&mut self, peer: NodeId, retry: Retry) {
        let has_link = self.has_link(peer);
        let Some(record) = self.peers.get_mut(&peer) else { return };
        let rests = matches!(record.dial, Dialling::Idle | Dialling::GivenUp);
        if has_link || !rests || self.stopping || !record.wants_link() {
            return;
        }
        let backoff = &self.policy.backoff;
        let wait = match retry {
            Retry::Never if record.is_permanent() => {
                // What has to change is the other side's to change, and it will not tell.
                backoff.most.max(backoff.wait(record.failures, &mut self.draws))
            }
            Retry::Never => {
                if let Some(error) = record.last_error.clone() {
                    self.give_up(peer, *error);
                }
                return;
            }
            Retry::Later(after) => {
                let wait = backoff.wait(record.failures, &mut self.draws);
                // Those who are all told the same time do not all come at that time.
                after.map_or(wait, |after| after.min(LONGEST_HINT) + wait)
            }
            // A peer whose every word is "now" is believed a few times.
            Retry::Now => backoff.wait(record.failures.saturating_sub(PATIENCE), &mut self.draws),
        };
        record.dial = Dialling::Waiting;
        self.schedule.set(Due::Redial(peer), self.now + wait);
    }

    /// A wait for the next dial is over before its time.
    pub(super) fn stop_waiting(&mut self, peer: NodeId) {
        self.schedule.stop(Due::Redial(peer));
        if let Some(record) = self.peers.get_mut(&peer) {
            if record.dial == Dialling::Waiting {
                record.dial = Dialling::Idle;
            }
        }
    }

    /// Dialling changes nothing: whoever waits for a link is told. What is queued for a peer that may come by
    /// itself is kept for its time: one that is wanted for good, or of which no address is known.
    fn give_up(&mut self, peer: NodeId, error: DialError) {
        let Some(record) = self.peers.get_mut(&peer) else { return };
        let may_come = record.is_permanent() || error == DialError::NoAddress;
        record.dial = Dialling::GivenUp;
        record.last_error = Some(Box::new(error));
        record.wanted = false;
        self.schedule.stop(Due::Want(peer));
        self.schedule.stop(Due::Redial(peer));
        if !may_come {
            self.empty_outbox(peer, Undelivered::GivenUp);
        }
    }

    pub(super) fn stop_wanting(&mut self, peer: NodeId) {
        self.schedule.stop(Due::Want(peer));
        if let Some(record) = self.peers.get_mut(&peer) {
            record.wanted = false;
        }
        self.rest_if_unwanted(peer);
    }
}

/// The better hope of two.
fn better(one: Option<Retry>, other: Retry) -> Retry {
    match (one, other) {
        (None | Some(Retry::Never), retry) | (Some(retry), Retry::Never) => retry,
        (Some(Retry::Now), _) | (_, Retry::Now) => Retry::Now,
        // A time that was asked for is kept to.
        (Some(Retry::Later(one)), Retry::Later(other)) => Retry::Later(one.max(other)),
    }
}

impl PeerRecord {
    /// The addresses to dial: the application's, and the peer's own if they may be.
    fn dialable(&self, dial_back: bool) -> Vec<DialAddress> {
        let mut addresses = self.addresses.clone();
        if dial_back {
            let offered = self.offered.iter();
            let new = offered.filter(|offer| !self.addresses.iter().any(|own| own.address == offer.address));
            addresses.extend(new.cloned());
        }
        addresses
    }
}
