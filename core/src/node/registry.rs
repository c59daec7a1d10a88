//! What was known of each peer the last time, and what has changed since.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::hello::{Hello, VersionRange};
use crate::identity::NodeId;

/// What a node remembers of a peer from its last link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: Option<String>,
    /// Its incarnation: another one means that it has been restarted since.
    pub incarnation: u64,
    /// Its capabilities with the versions that it takes, ascending by name.
    pub capabilities: Vec<(String, VersionRange)>,
}

impl Known {
    pub(super) fn of(hello: &Hello) -> Self {
        let capability =
            |capability: &crate::hello::Capability| (capability.name.clone(), capability.versions);
        Self {
            name: hello.name.clone(),
            incarnation: hello.incarnation,
            capabilities: hello.capabilities.iter().map(capability).collect(),
        }
    }

    /// What differs in `new`, the incarnation left aside.
    pub fn drift(&self, new: &Self) -> Vec<Drift> {
        let mut drift = Vec::new();
        if self.name != new.name {
            drift.push(Drift::Name { was: self.name.clone(), is: new.name.clone() });
        }
        let old: BTreeMap<_, _> = self.capabilities.iter().map(|(name, range)| (name, *range)).collect();
        let new: BTreeMap<_, _> = new.capabilities.iter().map(|(name, range)| (name, *range)).collect();
        for (name, was) in &old {
            match new.get(name) {
                None => drift.push(Drift::Lost { capability: (*name).clone() }),
                Some(is) if is != was => {
                    drift.push(Drift::Versions { capability: (*name).clone(), was: *was, is: *is });
                }
                Some(_) => {}
            }
        }
        let gained = new.keys().filter(|name| !old.contains_key(*name));
        drift.extend(gained.map(|name| Drift::Gained { capability: (*name).clone() }));
        drift
    }
}

/// One thing about a peer that is not as it was at its last link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drift {
    /// It has another name.
    Name {
        /// The name that it had.
        was: Option<String>,
        /// The name that it has.
        is: Option<String>,
    },
    /// It no longer has a capability.
    Lost {
        /// The capability's name.
        capability: String,
    },
    /// It has a capability that it did not have.
    Gained {
        /// The capability's name.
        capability: String,
    },
    /// It takes other versions of a capability.
    Versions {
        /// The capability's name.
        capability: String,
        /// The versions that it took.
        was: VersionRange,
        /// The versions that it takes.
        is: VersionRange,
    },
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { was, is } => write!(f, "the name was {was:?} and is {is:?}"),
            Self::Lost { capability } => write!(f, "the capability {capability:?} is gone"),
            Self::Gained { capability } => write!(f, "the capability {capability:?} is new"),
            Self::Versions { capability, was, is } => {
                write!(f, "the capability {capability:?} was {was} and is {is}")
            }
        }
    }
}

/// What to do about a peer that is not as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriftPolicy {
    /// Nothing.
    Allow,
    /// Tell the application, and take the peer.
    #[default]
    Warn,
    /// Tell the application, and refuse the peer with [`Refusal::Registry`](crate::Refusal::Registry).
    Refuse,
}

/// Where the registry of peers is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registry {
    /// In the node's memory, bounded; gone with the process.
    #[default]
    Memory,
    /// With the application: it is asked about each peer that has proved its id, and may take its time over
    /// the answer, and it is told what to write. A registry that fails says no.
    External,
}

/// The registry in memory. When it is full, the peer that was written the longest ago makes room.
#[derive(Debug, Default)]
pub(super) struct Memory {
    known: BTreeMap<NodeId, (u64, Known)>,
    by_age: BTreeMap<u64, NodeId>,
    written: u64,
}

impl Memory {
    pub(super) fn get(&self, peer: NodeId) -> Option<&Known> {
        self.known.get(&peer).map(|(_, known)| known)
    }

    pub(super) fn write(&mut self, peer: NodeId, known: Known, most: usize) {
        self.remove(peer);
        if self.known.len() >= most {
            if let Some((_, oldest)) = self.by_age.pop_first() {
                self.known.remove(&oldest);
            }
        }
        self.written += 1;
        self.by_age.insert(self.written, peer);
        self.known.insert(peer, (self.written, known));
    }

    pub(super) fn remove(&mut self, peer: NodeId) {
        if let Some((age, _)) = self.known.remove(&peer) {
            self.by_age.remove(&age);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, capabilities: &[(&str, u16)]) -> Known {
        let capabilities =
            capabilities.iter().map(|(name, max)| ((*name).into(), VersionRange::only(*max))).collect();
        Known { name: Some(name.into()), incarnation: 1, capabilities }
    }

    #[test]
    fn i10_drift_names_what_changed_and_nothing_else() {
        let old = known("a", &[("kept", 1), ("lost", 1), ("moved", 1)]);
        assert_eq!(old.drift(&Known { incarnation: 9, ..old.clone() }), []);
        let new = known("b", &[("gained", 1), ("kept", 1), ("moved", 2)]);
        let (was, is) = (VersionRange::only(1), VersionRange::only(2));
        assert_eq!(
            old.drift(&new),
            [
                Drift::Name { was: Some("a".into()), is: Some("b".into()) },
                Drift::Lost { capability: "lost".into() },
                Drift::Versions { capability: "moved".into(), was, is },
                Drift::Gained { capability: "gained".into() },
            ]
        );
    }

    #[test]
    fn i11_the_registry_in_memory_is_bounded_and_the_oldest_makes_room() {
        let id = |byte: u8| crate::SecretKey::from_bytes([byte; 32]);
        let id = |byte: u8| crate::Signer::node_id(&id(byte));
        let mut memory = Memory::default();
        for byte in 1..=3 {
            memory.write(id(byte), known("x", &[]), 3);
        }
        memory.write(id(1), known("again", &[]), 3);
        memory.write(id(4), known("y", &[]), 3);
        assert!(memory.get(id(2)).is_none(), "written the longest ago");
        assert_eq!(memory.get(id(1)).and_then(|known| known.name.as_deref()), Some("again"));
        assert_eq!((memory.known.len(), memory.by_age.len()), (3, 3));
    }
}
