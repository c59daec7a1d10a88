//! Which services a node offers, and to whom: a table from names to a rule over the verified peer and a
//! handler.
//!
//! The table is pure: what a handler is (`H`) and how it is run is the adapter's. Nothing is offered by
//! default, and a service without a rule that lets a peer in is forbidden to it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use crate::error::ServiceError;
use crate::identity::NodeId;
use crate::link::{MAX_SERVICE, Peer};

/// Who may use a service. The default is [`Nobody`](Self::Nobody).
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Allow {
    /// No peer.
    #[default]
    Nobody,
    /// Every peer that the node links with at all.
    Anyone,
    /// These peers.
    Listed(BTreeSet<NodeId>),
    /// Peers that share this capability with the node.
    Capability(String),
    /// Peers that the rule says yes to. It is asked for each message and call, so it should be quick.
    Rule(Arc<dyn Fn(&Peer) -> bool + Send + Sync>),
}

impl Allow {
    /// The peers `ids` and nobody else.
    pub fn listed(ids: impl IntoIterator<Item = NodeId>) -> Self {
        Self::Listed(ids.into_iter().collect())
    }

    /// Peers that share the capability `name` with the node, in whatever common version.
    pub fn capability(name: impl Into<String>) -> Self {
        Self::Capability(name.into())
    }

    /// Peers that `rule` says yes to.
    pub fn rule(rule: impl Fn(&Peer) -> bool + Send + Sync + 'static) -> Self {
        Self::Rule(Arc::new(rule))
    }

    /// Whether the rule lets `peer` in.
    pub fn admits(&self, peer: &Peer) -> bool {
        match self {
            Self::Nobody => false,
            Self::Anyone => true,
            Self::Listed(ids) => ids.contains(&peer.id),
            Self::Capability(name) => peer.outcome.capability(name).is_some(),
            Self::Rule(rule) => rule(peer),
        }
    }
}

impl fmt::Debug for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::Anyone => f.write_str("Anyone"),
            Self::Listed(ids) => f.debug_tuple("Listed").field(ids).finish(),
            Self::Capability(name) => f.debug_tuple("Capability").field(name).finish(),
            Self::Rule(_) => f.write_str("Rule(…)"),
        }
    }
}

/// One service: its name, its rule and its handler.
pub struct Service<H> {
    name: Box<str>,
    allow: Allow,
    handler: H,
}

impl<H> Service<H> {
    /// The name that peers use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who may use it.
    pub const fn allow(&self) -> &Allow {
        &self.allow
    }

    /// The handler, for whomever it is.
    pub const fn handler(&self) -> &H {
        &self.handler
    }

    /// The handler, for a peer that may use the service.
    ///
    /// # Errors
    /// [`Denied::Forbidden`].
    pub fn check(&self, peer: &Peer) -> Result<&H, Denied> {
        if self.allow.admits(peer) { Ok(&self.handler) } else { Err(Denied::Forbidden) }
    }
}

impl<H> fmt::Debug for Service<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("allow", &self.allow)
            .finish_non_exhaustive()
    }
}

/// Why a peer cannot use a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No service of that name is offered.
    NoSuchService,
    /// The service is not for this peer.
    Forbidden,
}

impl From<Denied> for ServiceError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NoSuchService => Self::NoSuchService,
            Denied::Forbidden => Self::Forbidden,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ServiceError::from(*self).fmt(f)
    }
}

impl core::error::Error for Denied {}

/// A service name of more than 255 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongServiceName {
    /// Its length in bytes.
    pub length: usize,
}

impl fmt::Display for LongServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a service name has at most {MAX_SERVICE} bytes, this one {}", self.length)
    }
}

impl core::error::Error for LongServiceName {}

/// The services of a node. A clone is a snapshot; it shares the services themselves.
pub struct ServiceTable<H>(BTreeMap<Box<str>, Arc<Service<H>>>);

impl<H> ServiceTable<H> {
    /// A table that offers nothing.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Offers `name` from now on; returns the service that had the name before.
    ///
    /// # Errors
    /// [`LongServiceName`] for a name over 255 bytes.
    pub fn add(
        &mut self,
        name: &str,
        allow: Allow,
        handler: H,
    ) -> Result<Option<Arc<Service<H>>>, LongServiceName> {
        if name.len() > MAX_SERVICE {
            return Err(LongServiceName { length: name.len() });
        }
        let service = Service { name: name.into(), allow, handler };
        Ok(self.0.insert(name.into(), Arc::new(service)))
    }

    /// Offers `name` no longer; returns the service if there was one.
    pub fn withdraw(&mut self, name: &str) -> Option<Arc<Service<H>>> {
        self.0.remove(name)
    }

    /// The service `name`, for whomever it is.
    pub fn find(&self, name: &str) -> Option<&Arc<Service<H>>> {
        self.0.get(name)
    }

    /// The handler of `name` for `peer`.
    ///
    /// # Errors
    /// [`Denied`] says whether there is no such service or it is not for this peer.
    pub fn lookup(&self, name: &str, peer: &Peer) -> Result<&H, Denied> {
        self.find(name).ok_or(Denied::NoSuchService)?.check(peer)
    }

    /// The names on offer, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}

impl<H> Clone for ServiceTable<H> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<H> Default for ServiceTable<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H> fmt::Debug for ServiceTable<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.values()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i9_nothing_is_offered_by_default_and_what_is_withdrawn_is_gone() {
        let mut table = ServiceTable::new();
        assert!(table.find("echo").is_none());
        assert!(table.add("echo", Allow::Anyone, 1).is_ok_and(|old| old.is_none()));
        assert!(table.add("echo", Allow::default(), 2).is_ok_and(|old| old.is_some()));
        assert!(table.add(&"x".repeat(255), Allow::Anyone, 3).is_ok());
        assert_eq!(
            table.add(&"x".repeat(256), Allow::Anyone, 3).unwrap_err(),
            LongServiceName { length: 256 }
        );
        let snapshot = table.clone();
        assert!(table.withdraw("echo").is_some() && table.withdraw("echo").is_none());
        assert!(table.find("echo").is_none() && snapshot.find("echo").is_some());
        assert_eq!(table.names().count(), 1);
    }
}
