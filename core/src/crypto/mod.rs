//! The cryptographic seam: what a link asks of a provider, and nothing more.
//!
//! A [`CryptoProvider`] is a value in the configuration; there is no process-wide default to install. The one that
//! comes with the crate is [`RustCrypto`].

mod noise;
mod rustcrypto;
mod secret;
mod suite;

pub use rustcrypto::RustCrypto;
pub use secret::{Secret, Seed};
pub use suite::{Cipher, Suite, SuiteSet};

use alloc::boxed::Box;
use core::fmt;

/// Length of an authentication tag in bytes (RFC 8439 §2.8).
pub const TAG_LEN: usize = 16;

/// What a link needs from cryptography: X25519, Ed25519 verification, SHA-256, HKDF and the suite's cipher.
///
/// Methods are total: they return a typed error or a value and never panic, whatever bytes come from a peer.
/// Implementations must run in time independent of secrets.
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

    /// HKDF-SHA-256 (RFC 5869), extract then expand; `info` is the concatenation of its parts. `out` holds at most
    /// 255 × 32 bytes, which every caller in this crate keeps by construction.
    fn hkdf_sha256(&self, salt: &[u8], key_material: &[u8], info: &[&[u8]], out: &mut [u8]);

    /// Checks an Ed25519 signature strictly: canonical encodings, no small-order point.
    ///
    /// # Errors
    /// [`CryptoError::BadSignature`].
    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError>;

    /// A cipher under one key.
    fn cipher(&self, cipher: Cipher, key: &Secret<32>) -> Box<dyn CipherKey>;
}

/// An AEAD under one key. The caller owns the counter; see [`noise`] for the only place that moves it.
pub trait CipherKey: Send + Sync {
    /// Encrypts `text` in place and returns the tag.
    fn seal(&self, counter: u64, associated: &[u8], text: &mut [u8]) -> [u8; TAG_LEN];

    /// Decrypts `text` in place.
    ///
    /// # Errors
    /// [`CryptoError::BadTag`]; `text` then holds nothing of use and nothing of the plaintext.
    fn open(
        &self,
        counter: u64,
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
    /// A message has the wrong length for its place in the handshake.
    BadLength,
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadTag => "authentication tag does not match",
            Self::BadSignature => "signature does not verify",
            Self::ZeroSharedSecret => "key exchange gave the all-zero value",
            Self::CounterExhausted => "counter exhausted",
            Self::BadLength => "message has the wrong length",
        })
    }
}

impl core::error::Error for CryptoError {}
