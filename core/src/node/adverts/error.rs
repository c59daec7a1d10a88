//! What can be wrong with an advert.

use core::fmt;

use super::MAX_ADVERT;
use crate::hello::HelloError;
use crate::identity::{ClaimedId, InvalidNodeId, NodeId, SignerError};
use crate::wire::Malformed;

/// Why a node cannot say something of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdvertError {
    /// The version is 0, which stands for none.
    VersionZero,
    /// An address or a capability is wrong, or there are too many.
    Content(HelloError),
    /// All of it together is larger than [`MAX_ADVERT`].
    TooLarge {
        /// Its bytes, or more than it may have in any case.
        size: usize,
    },
    /// There is no signature.
    Signer(SignerError),
}

impl fmt::Display for AdvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VersionZero => f.write_str("the version of an advert is 0: count from 1"),
            Self::Content(error) => write!(f, "advert: {error}"),
            Self::TooLarge { size } => {
                write!(f, "the advert takes {size} bytes of at most {MAX_ADVERT}: name less in it")
            }
            Self::Signer(error) => write!(f, "the advert cannot be signed: {error}"),
        }
    }
}

impl core::error::Error for AdvertError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Content(error) => Some(error),
            Self::Signer(error) => Some(error),
            Self::VersionZero | Self::TooLarge { .. } => None,
        }
    }
}

/// Why bytes are no advert, or none that may come from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidAdvert {
    /// They are more than [`MAX_ADVERT`].
    TooLarge {
        /// How many they are.
        size: usize,
    },
    /// They do not have the form.
    Malformed(Malformed),
    /// A peer brought an advert of another node. Everyone speaks for himself.
    NotTheirs {
        /// The peer that brought it.
        from: NodeId,
        /// The node that the advert claims to be of.
        of: ClaimedId,
    },
    /// The id in it is none.
    NotAnId(InvalidNodeId),
    /// The node that it claims to be of has not signed it.
    BadSignature,
}

impl fmt::Display for InvalidAdvert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size } => write!(f, "the advert takes {size} bytes of at most {MAX_ADVERT}"),
            Self::Malformed(error) => write!(f, "not an advert: {error}"),
            Self::NotTheirs { from, of } => write!(f, "{from} brought an advert of {of}"),
            Self::NotAnId(error) => write!(f, "the id in the advert is {error}"),
            Self::BadSignature => f.write_str("the signature of the advert does not verify"),
        }
    }
}

impl core::error::Error for InvalidAdvert {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            Self::NotAnId(error) => Some(error),
            Self::TooLarge { .. } | Self::NotTheirs { .. } | Self::BadSignature => None,
        }
    }
}
