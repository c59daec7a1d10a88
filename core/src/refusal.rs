//! Refusals: a side's reasoned "no" to a link, the same on the wire, in the API, in logs and as metric
//! labels.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::hello::VersionRange;

/// Whether and when it makes sense to dial again after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Not before one side's configuration changes.
    Never,
    /// After a back-off; with the time that the refuser asks for, if it said one.
    Later(Option<Duration>),
    /// At once: there is, or is about to be, another link to use.
    Now,
}

/// Why a side does not take a link (docs/wire.md §3.7).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The refuser has as many links as it takes.
    OverCapacity {
        /// The time after which to try again. It travels in whole milliseconds, rounded up, and at most
        /// `u32::MAX`.
        retry_after: Duration,
    },
    /// The two sides share no version of the conversation.
    Incompatible {
        /// The versions of the side that holds this value.
        ours: VersionRange,
        /// The versions of the other side.
        theirs: VersionRange,
    },
    /// The refuser does not trust the peer, or the peer could not prove its id.
    Denied,
    /// A capability that one side requires is not common to both.
    MissingCapability {
        /// The names of the missing capabilities, ascending. A list too long for one refusal is cut at its
        /// end.
        names: Vec<String>,
    },
    /// A link to the same peer is alive and stays.
    Alive,
    /// Both sides dialled each other at the same time, and the other link is the one that stays.
    Simultaneous,
    /// The peer has the refuser's own id.
    SelfConnection,
    /// The initiator dialled another id than the responder's.
    WrongDestination,
    /// The registry of peers did not admit the link.
    Registry,
    /// The refuser is shutting down.
    ShuttingDown,
    /// The two sides speak different application protocols.
    OtherProtocol,
}

impl Refusal {
    /// The number on the wire and in reports.
    pub const fn code(&self) -> u16 {
        match self {
            Self::OverCapacity { .. } => 20,
            Self::Incompatible { .. } => 21,
            Self::Denied => 22,
            Self::MissingCapability { .. } => 23,
            Self::Alive => 24,
            Self::Simultaneous => 25,
            Self::SelfConnection => 26,
            Self::WrongDestination => 27,
            Self::Registry => 28,
            Self::ShuttingDown => 29,
            Self::OtherProtocol => 30,
        }
    }

    /// The stable name for logs and metric labels.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OverCapacity { .. } => "over_capacity",
            Self::Incompatible { .. } => "incompatible",
            Self::Denied => "denied",
            Self::MissingCapability { .. } => "missing_capability",
            Self::Alive => "alive",
            Self::Simultaneous => "simultaneous",
            Self::SelfConnection => "self_connection",
            Self::WrongDestination => "wrong_destination",
            Self::Registry => "registry",
            Self::ShuttingDown => "shutting_down",
            Self::OtherProtocol => "other_protocol",
        }
    }

    /// Whether and when to dial again.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::OverCapacity { retry_after } => Retry::Later(Some(*retry_after)),
            Self::Alive | Self::WrongDestination | Self::Registry | Self::ShuttingDown => Retry::Later(None),
            Self::Simultaneous => Retry::Now,
            Self::Incompatible { .. }
            | Self::Denied
            | Self::MissingCapability { .. }
            | Self::SelfConnection
            | Self::OtherProtocol => Retry::Never,
        }
    }

    /// The same refusal as the other side sees it: `ours` and `theirs` change places, where there are any.
    pub fn mirrored(self) -> Self {
        match self {
            Self::Incompatible { ours, theirs } => Self::Incompatible { ours: theirs, theirs: ours },
            other => other,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverCapacity { retry_after } => {
                write!(f, "the node has as many links as it takes: try again after {retry_after:?}")
            }
            Self::Incompatible { ours, theirs } => {
                write!(
                    f,
                    "no common version: this side takes {ours}, the other {theirs}: upgrade the side that is behind"
                )
            }
            Self::Denied => {
                f.write_str("the node's id is not trusted: add it to the trust of the side that refused")
            }
            Self::MissingCapability { names } => {
                f.write_str("required capabilities that the two sides do not share: ")?;
                for (index, name) in names.iter().enumerate() {
                    write!(f, "{}{name:?}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(": enable them on both sides, or do not require them")
            }
            Self::Alive => {
                f.write_str("a link between these nodes is alive: use it, or try again when it has ended")
            }
            Self::Simultaneous => {
                f.write_str("both nodes dialled at the same time: use the link that the other dial makes")
            }
            Self::SelfConnection => {
                f.write_str("the node reached itself: remove its own address from those that it dials")
            }
            Self::WrongDestination => f.write_str(
                "another node than the dialled one answers at this address: look its address up again",
            ),
            Self::Registry => {
                f.write_str("the node's registry of peers did not admit the link: try again later")
            }
            Self::ShuttingDown => {
                f.write_str("the node is shutting down: try again later, or dial another node")
            }
            Self::OtherProtocol => f.write_str(
                "the two sides speak different application protocols: configure the same protocol id on both",
            ),
        }
    }
}

impl core::error::Error for Refusal {}
