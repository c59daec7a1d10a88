//! Why there is no link.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::prelude::v1::*;

use crate::{Closed, Reason, Retry};

/// Why a dial made no link.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// No stream: the address leads nowhere, nobody listens there, or the network is down.
    Unreachable(io::Error),
    /// The time for connecting and the handshake together was over.
    TimedOut,
    /// A stream, but no link: the handshake ended with this.
    Closed(Box<Closed>),
}

impl ConnectError {
    /// Whether dialling again can help, and when.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable(_) | Self::TimedOut => Retry::Later(None),
            Self::Closed(closed) => closed.reason.retry(),
        }
    }

    /// The stable reason of the link's end, if there was a stream.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Closed(closed) => Some(&closed.reason),
            _ => None,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => {
                write!(f, "not reachable ({error}): check the address, and that the other node listens there")
            }
            Self::TimedOut => f.write_str(
                "no link within the time for dialling: something answers too slowly, or swallows what is sent; \
                 check the address and what lies on the way",
            ),
            Self::Closed(closed) => {
                write!(f, "no link: {closed}")?;
                match closed.reason.retry() {
                    // It came in the clear, so it is no proof; but most likely the two sides are set up differently.
                    _ if matches!(closed.reason, Reason::KeyExchangeFailed | Reason::UnsupportedSuite { .. }) => {
                        f.write_str("; compare the settings of both sides, then try again")
                    }
                    Retry::Never => f.write_str("; trying again changes nothing"),
                    Retry::Later(Some(after)) => write!(f, "; try again after {after:?}"),
                    Retry::Later(None) => f.write_str("; try again later"),
                    Retry::Now => f.write_str("; try again now"),
                }
            }
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable(error) => Some(error),
            Self::TimedOut => None,
            Self::Closed(closed) => Some(closed),
        }
    }
}

impl From<Closed> for ConnectError {
    fn from(closed: Closed) -> Self {
        Self::Closed(Box::new(closed))
    }
}

/// Why [`Listener::accept`](crate::runtime::Listener::accept) gave no link this time. The listener goes on.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// Somebody connected, and the handshake ended with this.
    Handshake {
        /// Who connected.
        remote: SocketAddr,
        /// How it ended.
        closed: Box<Closed>,
    },
    /// Somebody connected while as many handshakes as allowed were under way, and was told so.
    OverCapacity {
        /// Who connected.
        remote: SocketAddr,
    },
    /// The operating system gave no stream, for instance because the process has too many open files.
    Listener(io::Error),
}

impl AcceptError {
    /// Who connected, if anybody did.
    pub const fn remote(&self) -> Option<SocketAddr> {
        match self {
            Self::Handshake { remote, .. } | Self::OverCapacity { remote } => Some(*remote),
            Self::Listener(_) => None,
        }
    }

    /// The stable reason of the link's end, if there was a handshake.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Handshake { closed, .. } => Some(&closed.reason),
            _ => None,
        }
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake { remote, closed } => {
                write!(f, "no link with {remote}")?;
                if let Some(claimed) = closed.claimed {
                    write!(f, ", which says to be {claimed}")?;
                }
                write!(f, ": {closed}")
            }
            Self::OverCapacity { remote } => {
                write!(f, "no link with {remote}: too many handshakes are under way")
            }
            Self::Listener(error) => write!(f, "the listener has no connection to give: {error}"),
        }
    }
}

impl std::error::Error for AcceptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Handshake { closed, .. } => Some(closed),
            Self::OverCapacity { .. } => None,
            Self::Listener(error) => Some(error),
        }
    }
}
