//! What can be wrong with a signed message.

use core::fmt;

use super::{MAX_TOPIC, NotFresh};
use crate::identity::{InvalidNodeId, SignerError};
use crate::link::MAX_SERVICE;
use crate::wire::Malformed;

/// Why a node cannot sign a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignError {
    /// A topic has 1 to [`MAX_TOPIC`] bytes.
    TopicLength,
    /// A service name has at most [`MAX_SERVICE`] bytes.
    LongServiceName,
    /// There is no signature.
    Signer(SignerError),
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TopicLength => write!(f, "a topic has 1 to {MAX_TOPIC} bytes"),
            Self::LongServiceName => write!(f, "the service name has more than {MAX_SERVICE} bytes"),
            Self::Signer(error) => write!(f, "the message cannot be signed: {error}"),
        }
    }
}

impl core::error::Error for SignError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Signer(error) => Some(error),
            Self::TopicLength | Self::LongServiceName => None,
        }
    }
}

/// Why bytes are no signed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidSigned {
    /// They do not have the form.
    Malformed(Malformed),
    /// The id of the origin or of the audience is none.
    NotAnId(InvalidNodeId),
    /// The node that it claims to be of has not signed it.
    BadSignature,
}

impl fmt::Display for InvalidSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "not a signed message: {error}"),
            Self::NotAnId(error) => write!(f, "an id in the signed message is {error}"),
            Self::BadSignature => f.write_str("the signature of the message does not verify"),
        }
    }
}

impl core::error::Error for InvalidSigned {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            Self::NotAnId(error) => Some(error),
            Self::BadSignature => None,
        }
    }
}

/// Why a [`SignedPolicy`](super::SignedPolicy) does not let a message through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// It is no signed message.
    Invalid(InvalidSigned),
    /// It came for another service than the one that its origin meant.
    OtherService,
    /// It is for another node, or for a topic that this node does not take, and this node does not relay.
    OtherAudience,
    /// It claims to be of this node itself.
    OwnOrigin,
    /// This node does not listen to its origin.
    UnknownOrigin,
    /// It has been taken already, or too many that are newer have, or there is no room to remember it.
    NotFresh(NotFresh),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => error.fmt(f),
            Self::OtherService => f.write_str("signed for another service"),
            Self::OtherAudience => f.write_str("signed for another audience"),
            Self::OwnOrigin => f.write_str("a message in the node's own name"),
            Self::UnknownOrigin => f.write_str("signed by a node that this one does not listen to"),
            Self::NotFresh(why) => why.fmt(f),
        }
    }
}

impl core::error::Error for Refused {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Invalid(error) => Some(error),
            Self::NotFresh(why) => Some(why),
            _ => None,
        }
    }
}
