//! What goes wrong with byte streams.

use std::error::Error;
use std::fmt;
use std::io;

use crate::runtime::node::NoLink;
use crate::{Reason, STREAM_LINK_ENDED, STREAM_REFUSED};

/// Why a stream goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer has given up what it was writing: there is no more to read, and this is not its end. 0 where the
    /// peer just dropped its handle.
    Reset {
        /// The peer's code.
        code: u32,
    },
    /// The peer reads no more. 0 where it just dropped its handle.
    Stopped {
        /// The peer's code.
        code: u32,
    },
    /// The peer has not taken the stream: it has no such service, does not offer it to this node, or has as many
    /// streams as it takes.
    Refused,
    /// The link has ended; [`Link::try_closed`](crate::runtime::Link::try_closed) says how.
    LinkEnded,
    /// This side has ended the direction itself.
    Ended,
}

impl StreamError {
    pub(super) fn reset(code: u32) -> Self {
        Self::told(code).unwrap_or(Self::Reset { code })
    }

    pub(super) fn stopped(code: u32) -> Self {
        Self::told(code).unwrap_or(Self::Stopped { code })
    }

    fn told(code: u32) -> Option<Self> {
        match code {
            STREAM_REFUSED => Some(Self::Refused),
            STREAM_LINK_ENDED => Some(Self::LinkEnded),
            _ => None,
        }
    }

    fn kind(self) -> io::ErrorKind {
        match self {
            Self::Reset { .. } => io::ErrorKind::ConnectionReset,
            Self::Stopped { .. } | Self::Ended => io::ErrorKind::BrokenPipe,
            Self::Refused => io::ErrorKind::ConnectionRefused,
            Self::LinkEnded => io::ErrorKind::ConnectionAborted,
        }
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset { code } => write!(f, "the peer gave the stream up (code {code}), before its end"),
            Self::Stopped { code } => write!(f, "the peer reads no more of the stream (code {code})"),
            Self::Refused => f.write_str("the peer does not take the stream"),
            Self::LinkEnded => f.write_str("the link has ended, and the stream with it"),
            Self::Ended => f.write_str("this side has ended the stream"),
        }
    }
}

impl Error for StreamError {}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// Why a stream was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The name has more than 255 bytes.
    LongName,
    /// One of the two sides takes no byte streams.
    NoStreams,
    /// As many streams of this side's are open as may be: open it again when one has ended.
    TooMany {
        /// How many may be.
        limit: u32,
    },
    /// The link takes no new work any more.
    LinkClosed {
        /// Why.
        reason: Reason,
    },
    /// There is no link to the peer.
    NoLink(NoLink),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongName => f.write_str("the stream's name has more than 255 bytes"),
            Self::NoStreams => f.write_str("one of the two sides takes no byte streams"),
            Self::TooMany { limit } => write!(f, "{limit} streams are open, as many as may be"),
            Self::LinkClosed { reason } => write!(f, "the link takes no new streams: {reason}"),
            Self::NoLink(error) => error.fmt(f),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoLink(error) => Some(error),
            _ => None,
        }
    }
}
