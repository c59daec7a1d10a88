//! Whom the node trusts at the moment.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::Trust;
use crate::identity::NodeId;
use crate::time::Instant;

/// The mode, and the list as it is now.
#[derive(Debug)]
pub(super) struct Trusted {
    mode: Trust,
    expiries: BTreeMap<NodeId, Instant>,
    /// Revoked ids, where no list says who is welcome.
    denied: BTreeSet<NodeId>,
}

impl Trusted {
    pub(super) fn new(mode: Trust) -> Self {
        Self { mode, expiries: BTreeMap::new(), denied: BTreeSet::new() }
    }

    pub(super) fn contains(&self, id: NodeId, now: Instant) -> bool {
        let trusted = match &self.mode {
            Trust::Listed(listed) => listed.contains(&id),
            Trust::Anyone | Trust::Ask => !self.denied.contains(&id),
        };
        trusted && self.expiries.get(&id).is_none_or(|at| now < *at)
    }

    pub(super) fn asks(&self) -> bool {
        self.mode == Trust::Ask
    }

    /// What a link checks by before it looks at a signature. The node looks again when the peer has proved
    /// its id.
    pub(super) fn snapshot(&self) -> Trust {
        self.mode.clone()
    }

    /// Trusts `id` until `expires`; true if that changes anything.
    pub(super) fn add(&mut self, id: NodeId, expires: Option<Instant>) -> bool {
        let new = match &mut self.mode {
            Trust::Listed(listed) => !listed.contains(&id) && Arc::make_mut(listed).insert(id),
            Trust::Anyone | Trust::Ask => self.denied.remove(&id),
        };
        let old = match expires {
            Some(at) => self.expiries.insert(id, at),
            None => self.expiries.remove(&id),
        };
        new || old != expires
    }

    /// Trusts `id` no longer; true if it was trusted.
    pub(super) fn remove(&mut self, id: NodeId) -> bool {
        self.expiries.remove(&id);
        match &mut self.mode {
            Trust::Listed(listed) => listed.contains(&id) && Arc::make_mut(listed).remove(&id),
            Trust::Anyone | Trust::Ask => self.denied.insert(id),
        }
    }

    /// Those who are trusted by name, and not on a new list.
    pub(super) fn missing_from(&self, list: &BTreeMap<NodeId, Option<Instant>>) -> Vec<NodeId> {
        match &self.mode {
            Trust::Listed(listed) => listed.iter().filter(|id| !list.contains_key(*id)).copied().collect(),
            Trust::Anyone | Trust::Ask => Vec::new(),
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.values().min().copied()
    }

    pub(super) fn expired(&self, now: Instant) -> Vec<NodeId> {
        self.expiries.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect()
    }
}
