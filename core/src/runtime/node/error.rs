//! What goes wrong with a node.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::prelude::v1::*;

use crate::node::DialError;
use crate::{CallError, ConfigError, Executed, Message, Reason, Refusal};

use super::trust::TrustError;

/// Why a node did not start, or does not listen.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is none.
    Config(ConfigError),
    /// The policy names an external registry, and none was given.
    NoRegistry,
    /// The trust file is none.
    Trust {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: TrustError,
    },
    /// An address cannot be listened on.
    Listen {
        /// The address.
        address: String,
        /// The system's error.
        error: io::Error,
    },
    /// The node has ended.
    Ended,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "the node's configuration: {error}"),
            Self::NoRegistry => f.write_str(
                "the policy names an external registry: give it to the builder with `registry`, or leave the \
                 policy's registry in memory",
            ),
            Self::Trust { path, error } => write!(f, "trust file {}: {error}", path.display()),
            Self::Listen { address, error } => {
                write!(f, "cannot listen on {address:?} ({error})")?;
                f.write_str(match error.kind() {
                    io::ErrorKind::AddrInUse => ": another program does; choose another port, or port 0",
                    io::ErrorKind::AddrNotAvailable => {
                        ": this machine has no such address; [::] is all it has"
                    }
                    io::ErrorKind::PermissionDenied => ": choose a port above 1023",
                    _ => ": give it as host:port",
                })
            }
            Self::Ended => f.write_str("the node has ended: start another one"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Trust { error, .. } => Some(error),
            Self::Listen { error, .. } => Some(error),
            Self::NoRegistry | Self::Ended => None,
        }
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Why there is no link to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoLink {
    /// It was dialled, or would have been: why that failed. Dialling again changes nothing by itself.
    Dial(DialError),
    /// The peer is the node itself.
    SelfConnection,
    /// The node is shutting down, or has ended.
    ShuttingDown,
}

impl fmt::Display for NoLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) => error.fmt(f),
            Self::SelfConnection => f.write_str("the peer is the node itself"),
            Self::ShuttingDown => f.write_str("the node is shutting down"),
        }
    }
}

impl Error for NoLink {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Dial(error) => Some(error),
            Self::SelfConnection | Self::ShuttingDown => None,
        }
    }
}

impl From<NoLink> for CallError {
    fn from(error: NoLink) -> Self {
        let refused = |refusal| {
            let reason = Reason::Refused(refusal);
            Self::LinkClosed { reason, executed: Executed::No }
        };
        match error {
            NoLink::Dial(error) => Self::NoLink { error: Box::new(error) },
            NoLink::SelfConnection => refused(Refusal::SelfConnection),
            NoLink::ShuttingDown => refused(Refusal::ShuttingDown),
        }
    }
}

/// A message that was not taken, given back.
#[derive(Clone, Debug)]
pub struct NotSent<'a> {
    /// Why.
    pub why: WhyNotSent,
    /// The message.
    pub message: Message<'a>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyNotSent {
    /// There is no room in the link's queue, or for a peer without a link in the outbox.
    Full,
    /// There is no link, or none that could send it at once, and the message was for now only.
    NotNow,
    /// The body is longer than the peer takes, or, for a peer without a link, than this node ever sends.
    TooLarge {
        /// The most bytes.
        limit: u32,
    },
    /// The service name has more than 255 bytes.
    LongServiceName,
    /// Its time is over already.
    Expired,
    /// The node does not trust the peer.
    Untrusted,
    /// The peer is the node itself.
    SelfConnection,
    /// The node is shutting down, or has ended.
    ShuttingDown,
}

impl fmt::Display for WhyNotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("no room at the moment: wait with `send`, or send less"),
            Self::NotNow => f.write_str("it could not be sent at once"),
            Self::TooLarge { limit } => write!(f, "longer than {limit} bytes"),
            Self::LongServiceName => f.write_str("the service name has more than 255 bytes"),
            Self::Expired => f.write_str("its time is over already"),
            Self::Untrusted => f.write_str("the node does not trust the peer: add it to the trust list"),
            Self::SelfConnection => f.write_str("the peer is the node itself"),
            Self::ShuttingDown => f.write_str("the node is shutting down"),
        }
    }
}

impl fmt::Display for NotSent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message for {:?} not sent: {}", self.message.service, self.why)
    }
}

impl Error for NotSent<'_> {}
