//! The node's deadlines: any number of them, and the next one at hand at once.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::identity::NodeId;
use crate::time::Instant;

/// What a deadline is for. There is one of each at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The wait before the next dial of a peer.
    Redial(NodeId),
    /// A dial of a peer, from the first byte to the last word of the handshake.
    Dial(NodeId),
    /// The first message in a peer's outbox that is no longer worth sending.
    Outbox(NodeId),
    /// The wait for what losing links to a peer have not sent.
    Handover(NodeId),
    /// Nobody asks for a link to a peer any more.
    Want(NodeId),
    /// The first trust that runs out.
    Trust,
}

/// At most one instant for each [`Due`], in order.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    by_time: BTreeSet<(Instant, Due)>,
    times: BTreeMap<Due, Instant>,
}

impl Schedule {
    pub(super) fn set(&mut self, due: Due, at: Instant) {
        self.stop(due);
        self.times.insert(due, at);
        self.by_time.insert((at, due));
    }

    pub(super) fn stop(&mut self, due: Due) {
        if let Some(at) = self.times.remove(&due) {
            self.by_time.remove(&(at, due));
        }
    }

    pub(super) fn get(&self, due: Due) -> Option<Instant> {
        self.times.get(&due).copied()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Stops the first deadline that has come and returns it.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Due> {
        let (_, due) = self.by_time.first().copied().filter(|(at, _)| *at <= now)?;
        self.stop(due);
        Some(due)
    }

    /// Stops all deadlines of a peer.
    pub(super) fn forget(&mut self, peer: NodeId) {
        for due in [Due::Redial, Due::Dial, Due::Outbox, Due::Handover, Due::Want] {
            self.stop(due(peer));
        }
    }
}
