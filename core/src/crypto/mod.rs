//! The cryptographic seam: what a link asks of a provider, and nothing more.
//!
//! A [`CryptoProvider`] is a value in the configuration; there is no process-wide default to install. The one
//! that comes with the crate is [`RustCrypto`]. [`self_test`] checks a provider against published vectors.

pub mod cipher;
pub mod noise;
mod rustcrypto;
mod secret;
mod self_test;
pub(crate) mod stack;
mod suite;

#[cfg(test)]
mod tests;

pub use rustcrypto::RustCrypto;
pub(crate) use rustcrypto::is_canonical_point;
pub use secret::{Secret, Seed};
pub use self_test::{Primitive, SelfTestFailure, self_test};
pub use suite::{Cipher, Suite, SuiteSet};

use alloc::boxed::Box;
use core::fmt;

/// Length of an authentication tag in bytes (RFC 8439 §2.8).
pub const TAG_LEN: usize = 16;

/// Length of a nonce in bytes (RFC 8439 §2.8).
pub const NONCE_LEN: usize = 12;

/// What a link needs from cryptography: X25519, Ed25519 verification, SHA-256, HKDF and the suite's cipher.
///
/// Methods are total: they return a typed error or a value and never panic, whatever bytes come from a peer.
/// Implementations must run in time independent of secrets, and should leave none behind, on the stack either: what
/// lies there gets to the heap with values that are moved over it. [`RustCrypto`] overwrites the stack that its
/// operations have used.
pub trait CryptoProvider: fmt::Debug + Send + Sync {
    /// The provider's name, for logs and reports.
    fn name(&self) -> &'static str;

    /// The suites whose cipher this provider has.
    fn suites(&self) -> SuiteSet;

    /// The X25519 public key of `secret` (RFC 7748 §6.1; the secret is clamped by the function).
    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32];

    /// The X25519 shared secret (RFC 7748 §6.1).
    ///
    /// # Errors
    /// [`CryptoError::ZeroSharedSecret`] when the result is all zero, as with every point of small order.
    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError>;

    /// SHA-256 over the concatenation of `parts`.
    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32];

    /// HKDF-SHA-256 (RFC 5869), extract then expand; `info` is the concatenation of its parts.
    ///
    /// # Errors
    /// [`CryptoError::BadLength`] when `out` is longer than 255 × 32 bytes; `out` then must not be used.
    fn hkdf_sha256(
        &self,
        salt: &[u8],
        key_material: &[u8],
        info: &[&[u8]],
        out: &mut [u8],
    ) -> Result<(), CryptoError>;

    /// Checks an Ed25519 signature strictly: canonical encodings, no small-order point.
    ///
    /// # Errors
    /// [`CryptoError::BadSignature`].
    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError>;

    /// A cipher under one key.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedCipher`] when no suite of [`suites`](Self::suites) has this cipher.
    fn cipher(&self, cipher: Cipher, key: &Secret<32>) -> Result<Box<dyn CipherKey>, CryptoError>;
}

/// An AEAD under one key. The nonce is the caller's; [`cipher`] is the only place that makes one.
///
/// Implementations wipe their key when dropped.
pub trait CipherKey: Send + Sync {
    /// Encrypts `text` in place and returns the tag.
    ///
    /// # Errors
    /// [`CryptoError::BadLength`] when `text` is longer than the AEAD allows; no message of a link comes
    /// near.
    fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError>;

    /// Decrypts `text` in place.
    ///
    /// # Errors
    /// [`CryptoError::BadTag`]; `text` then holds nothing of use and nothing of the plaintext.
    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError>;
}

/// Why a cryptographic operation failed. It says nothing of the bytes involved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CryptoError {
    /// An authentication tag did not match.
    BadTag,
    /// A signature did not verify.
    BadSignature,
    /// A key exchange gave the all-zero value: the peer sent a point of small order.
    ZeroSharedSecret,
    /// A counter has reached its end; the key must not be used again.
    CounterExhausted,
    /// A message or an output has a length that its place does not allow.
    BadLength,
    /// The provider does not have the cipher that was asked of it.
    UnsupportedCipher,
    /// A step of the handshake was asked for when it is not its turn. A fault of the caller, never of the
    /// peer.
    OutOfTurn,
    /// A pre-shared key is missing where the pattern needs one, or was given to a pattern without. A fault of
    /// the caller, never of the peer.
    PskMismatch,
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadTag => "authentication tag does not match",
            Self::BadSignature => "signature does not verify",
            Self::ZeroSharedSecret => "key exchange gave the all-zero value",
            Self::CounterExhausted => "counter exhausted",
            Self::BadLength => "length not allowed here",
            Self::UnsupportedCipher => "cipher not supported by the provider",
            Self::OutOfTurn => "handshake step out of turn",
            Self::PskMismatch => "pre-shared key missing or not wanted",
        })
    }
}

impl core::error::Error for CryptoError {}
