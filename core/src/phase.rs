//! The phases of a link, by name. What leads from one to the next is in `link/state.rs`.

use core::fmt;

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// A responder waits for the initiator's first bytes.
    Preamble,
    /// It waits for the other side's part of the key exchange.
    KeyExchange,
    /// It waits for the other side's proof of its id.
    Authentication,
    /// The peer is authenticated and this side's application decides about it.
    Admission,
    /// The responder has an older link with this peer and has asked whether it still lives; a responder waits
    /// for the answer, an initiator for what its node says.
    Alive,
    /// An initiator waits for the responder's word.
    Status,
    /// Messages flow.
    Established,
    /// A goodbye was said.
    Draining,
    /// The link has ended.
    Closed,
}

impl Phase {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preamble => "preamble",
            Self::KeyExchange => "key_exchange",
            Self::Authentication => "authentication",
            Self::Admission => "admission",
            Self::Alive => "alive",
            Self::Status => "status",
            Self::Established => "established",
            Self::Draining => "draining",
            Self::Closed => "closed",
        }
    }

    /// Whether the handshake is still under way.
    pub fn is_handshake(self) -> bool {
        self < Self::Established
    }

    /// Whether frames can be exchanged.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Established | Self::Draining)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
