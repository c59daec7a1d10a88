//! Who is at the other end.

use std::fmt;
use std::net::SocketAddr;

use handclasp::crypto::Suite;
use handclasp::hello::Hello;
use handclasp::{Limits, NodeId, Outcome, Peer};

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

/// The authenticated peer of a link, and what was agreed on with it. It does not change while the link lives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its id: the one thing to decide by.
    pub id: NodeId,
    /// What it says of itself. Authentic, but its own words: the name is a label, the addresses are hints.
    pub hello: Hello,
    /// What both sides settled on: version, limits, capabilities.
    pub outcome: Outcome,
    /// The cipher suite in use.
    pub suite: Suite,
    /// 32 bytes that are the same on both sides of this link and differ from every other link's. Not secret.
    pub channel_binding: [u8; 32],
    /// Where the stream comes from or goes to, if it has a network address.
    pub remote: Option<SocketAddr>,
    /// Who dialled.
    pub direction: Direction,
}

impl PeerInfo {
    pub(crate) fn new(peer: &Peer, remote: Option<SocketAddr>, direction: Direction) -> Self {
        Self {
            id: peer.id,
            hello: peer.hello.clone(),
            outcome: peer.outcome.clone(),
            suite: peer.suite,
            channel_binding: peer.channel_binding,
            remote,
            direction,
        }
    }

    /// The name that the peer gives itself.
    pub fn name(&self) -> Option<&str> {
        self.hello.name.as_deref()
    }

    /// The version of the application's protocol that both sides use.
    pub const fn version(&self) -> u16 {
        self.outcome.version
    }

    /// The version of the capability `name` that both sides use, if both have it.
    pub fn capability(&self, name: &str) -> Option<u16> {
        self.outcome.capability(name)
    }

    /// The limits that both sides keep to.
    pub const fn limits(&self) -> &Limits {
        &self.outcome.limits
    }
}
