//! Who is at the other end.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::prelude::v1::*;
use std::sync::Arc;

use crate::{Limits, Peer};

/// Which side opened the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// This side dialled.
    Outbound,
    /// The peer dialled.
    Inbound,
}

impl Direction {
    /// The stable name, as in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The authenticated peer of a link, and what was agreed on with it: all of [`Peer`], and the way to it. It
/// does not change while the link lives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerInfo {
    peer: Arc<Peer>,
    /// Where the stream comes from or goes to, if it has a network address.
    pub remote: Option<SocketAddr>,
    /// Who dialled.
    pub direction: Direction,
}

impl Deref for PeerInfo {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl PeerInfo {
    pub(crate) fn new(peer: Arc<Peer>, remote: Option<SocketAddr>, direction: Direction) -> Self {
        Self { peer, remote, direction }
    }

    /// The name that the peer gives itself.
    pub fn name(&self) -> Option<&str> {
        self.hello.name.as_deref()
    }

    /// The version of the application's protocol that both sides use.
    pub fn version(&self) -> u16 {
        self.outcome.version
    }

    /// The version of the capability `name` that both sides use, if both have it.
    pub fn capability(&self, name: &str) -> Option<u16> {
        self.outcome.capability(name)
    }

    /// The limits that both sides keep to.
    pub fn limits(&self) -> &Limits {
        &self.outcome.limits
    }
}
