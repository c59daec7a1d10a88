//! Why a configuration is none.

use core::fmt;

use super::{ClusterSecret, MAX_NETWORK};
use crate::crypto::CryptoError;
use crate::hello::HelloError;

/// Why a configuration is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A cluster secret is shorter than [`ClusterSecret::MIN_LEN`].
    ShortSecret {
        /// Its length in bytes.
        length: usize,
    },
    /// A deadline is shorter than a millisecond.
    ShortTiming {
        /// The field of [`Timing`](super::Timing).
        field: &'static str,
    },
    /// The network id is longer than 255 bytes.
    LongNetwork {
        /// Its length in bytes.
        length: usize,
    },
    /// The provider has no suite that fits: with a cluster secret one with a psk, without one a suite
    /// without.
    NoSuite,
    /// The provider failed to derive a key.
    Provider(CryptoError),
    /// Something in the hello is out of its range.
    Hello(HelloError),
}

impl From<HelloError> for ConfigError {
    fn from(error: HelloError) -> Self {
        Self::Hello(error)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortSecret { length } => write!(
                f,
                "a cluster secret needs at least {} unguessable bytes, this one has {length}",
                ClusterSecret::MIN_LEN
            ),
            Self::ShortTiming { field } => write!(f, "the deadline `{field}` is shorter than a millisecond"),
            Self::LongNetwork { length } => {
                write!(f, "a network id has at most {MAX_NETWORK} bytes, this one {length}")
            }
            Self::NoSuite => f.write_str("the crypto provider has no suite for this configuration"),
            Self::Provider(error) => write!(f, "the crypto provider failed: {error}"),
            Self::Hello(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ConfigError {}
