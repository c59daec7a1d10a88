//! The public identity.

use super::text::{self, TextError};
use crate::crypto::is_canonical_point;
use core::fmt;
use core::str::FromStr;
use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha256};

const PREFIX: &str = "hcl";

/// A node's identity: its Ed25519 public key (RFC 8032).
///
/// Every value is a canonical encoding of a point in the prime-order group, so that one key has one id and no
/// two keys accept one signature. The text form, `hcl1` and 58 more characters, is bech32m (BIP-350): it is
/// the same in logs, files and commands, and a mistyped one is refused.
///
/// The order is that of the bytes. It decides which of two crossing connections survives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// The id of these 32 bytes. It costs about as much as a signature check.
    ///
    /// # Errors
    /// [`InvalidNodeId`] says which rule the bytes break.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, InvalidNodeId> {
        if !is_canonical_point(&bytes) {
            return Err(InvalidNodeId::NotCanonical);
        }
        let point = VerifyingKey::from_bytes(&bytes).map_err(|_| InvalidNodeId::NotAPoint)?.to_edwards();
        if point.is_small_order() {
            return Err(InvalidNodeId::SmallOrder);
        }
        if !point.is_torsion_free() {
            return Err(InvalidNodeId::MixedOrder);
        }
        Ok(Self(bytes))
    }

    /// The id of a key that was derived from a secret, which makes it valid.
    pub(super) fn of(key: &VerifyingKey) -> Self {
        Self(key.to_bytes())
    }

    /// The public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A short form for people to compare, by eye or aloud.
    pub fn fingerprint(&self) -> Fingerprint {
        let hash: [u8; 32] =
            Sha256::new().chain_update("handclasp/1 fingerprint").chain_update(self.0).finalize().into();
        let mut short = [0; 10];
        short.iter_mut().zip(hash).for_each(|(place, byte)| *place = byte);
        Fingerprint(short)
    }
}

impl core::borrow::Borrow<[u8; 32]> for NodeId {
    fn borrow(&self) -> &[u8; 32] {
        &self.0
    }
}

/// An id that somebody claimed and did not prove, or not yet: for logs, and for a person who decides whom to
/// trust.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimedId([u8; 32]);

impl ClaimedId {
    pub(crate) const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes as they were claimed.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ClaimedId {
    /// The text form that the id would have, which [`NodeId`] parses if it is a valid one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(f, PREFIX, &self.0)
    }
}

impl fmt::Debug for ClaimedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} (claimed)")
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(f, PREFIX, &self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeId {
    type Err = ParseNodeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        text::read(text, PREFIX, &mut bytes).map_err(ParseNodeIdError::Text)?;
        Self::from_bytes(bytes).map_err(ParseNodeIdError::Id)
    }
}

/// Which rule 32 bytes break that are no [`NodeId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidNodeId {
    /// The y coordinate is not below the field prime: a second encoding of another value.
    NotCanonical,
    /// No point of the curve has this y coordinate.
    NotAPoint,
    /// The point has small order: anybody can make signatures that it accepts.
    SmallOrder,
    /// The point has a small-order part: libraries disagree on what it accepts.
    MixedOrder,
}

impl fmt::Display for InvalidNodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotCanonical => "not a canonical encoding of a public key",
            Self::NotAPoint => "not a point of the curve",
            Self::SmallOrder => "a point of small order",
            Self::MixedOrder => "a point of mixed order",
        })
    }
}

impl core::error::Error for InvalidNodeId {}

/// Why a text is no [`NodeId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseNodeIdError {
    /// The text itself is wrong.
    Text(TextError),
    /// The text is whole, but its bytes are no id.
    Id(InvalidNodeId),
}

impl fmt::Display for ParseNodeIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(error) => write!(f, "not a node id: the text {error}"),
            Self::Id(error) => write!(f, "not a node id: {error}"),
        }
    }
}

impl core::error::Error for ParseNodeIdError {}

/// Eighty bits of a hash of a [`NodeId`], written `xxxx-xxxx-xxxx-xxxx`.
///
/// For people only: nothing is ever looked up or trusted by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 10]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
        for (group, bytes) in self.0.chunks(5).enumerate() {
            let bits = bytes.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for place in 0..8_usize {
                if place % 4 == 0 && (group, place) != (0, 0) {
                    f.write_str("-")?;
                }
                let index = (bits >> (35 - 5 * place)) & 31;
                let letter = usize::try_from(index).ok().and_then(|index| ALPHABET.get(index));
                fmt::Write::write_char(f, char::from(*letter.ok_or(fmt::Error)?))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
