//! The secret identity, and the seam that lets it live elsewhere.

use super::NodeId;
use super::text::{self, TextError};
use crate::crypto::stack::scrubbed;
use crate::crypto::{Secret, Seed};
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroize;

const PREFIX: &str = "hclsec";

/// Prefix, `1`, 52 characters for 32 bytes, 6 for the checksum.
const TEXT_LEN: usize = PREFIX.len() + 1 + 52 + 6;

/// Whoever can sign as this node: a key in memory, an agent, a hardware module. A link asks for one signature
/// in each handshake.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The identity whose secret half this is.
    fn node_id(&self) -> NodeId;

    /// The Ed25519 signature of `message` (RFC 8032 §5.1.6, without prehash or context).
    ///
    /// It is called on the link's own thread; a signer that has to wait for long should keep the link from
    /// starting instead.
    ///
    /// # Errors
    /// [`SignerError`], which ends the handshake.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError>;
}

/// Why there is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignerError {
    /// The holder of the key cannot be reached. Trying again later may help.
    Unavailable,
    /// The holder of the key refuses to sign.
    Refused,
}

impl fmt::Display for SignerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "the holder of the secret key cannot be reached",
            Self::Refused => "the holder of the secret key refuses to sign",
        })
    }
}

impl core::error::Error for SignerError {}

/// A node's secret key, held in memory and wiped when dropped.
pub struct SecretKey {
    seed: Secret<32>,
    /// Derived from the seed once, rather than at each signature. Always of the same seed as `public`: a
    /// mismatch would give the secret away. In a place of its own, as the seed is.
    expanded: Box<ExpandedSecretKey>,
    public: VerifyingKey,
}

impl SecretKey {
    /// A new key from fresh randomness. One seed always gives one key; it is not the key itself, so that a
    /// seed used elsewhere by mistake doesn't give the key away.
    #[must_use]
    pub fn from_seed(seed: &Seed) -> Self {
        let mut secret = Secret::default();
        scrubbed(|| {
            let mut hash = Sha256::new();
            hash.update("handclasp/1 identity");
            hash.update(seed.secret().expose());
            hash.finalize_into(secret.expose_mut().into());
        });
        Self::from_secret(secret)
    }

    /// The key of these 32 bytes: the "secret key" of RFC 8032 §5.1.5, as other software keeps it. For the caller's
    /// copies see [`Secret::new`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self::from_secret(Secret::new(bytes))
    }

    /// The same of bytes that have had no other place.
    #[must_use]
    pub fn from_secret(bytes: Secret<32>) -> Self {
        let (expanded, public) = scrubbed(|| {
            let expanded = Box::new(ExpandedSecretKey::from(bytes.expose()));
            let public = VerifyingKey::from(&*expanded);
            (expanded, public)
        });
        Self { seed: bytes, expanded, public }
    }

    /// Reads the text form: `hclsec1` and 58 more characters of bech32m (BIP-350).
    ///
    /// # Errors
    /// [`TextError`], which repeats nothing of the text.
    pub fn from_text(text: &str) -> Result<Self, TextError> {
        let mut seed = Secret::default();
        scrubbed(|| text::read(text, PREFIX, seed.expose_mut()))?;
        Ok(Self::from_secret(seed))
    }

    /// The text form, for a key file.
    pub fn to_text(&self) -> SecretText {
        // The capacity is exact: a string that grows leaves copies of itself behind.
        let mut text = SecretText(String::with_capacity(TEXT_LEN));
        // Writing to a string doesn't fail.
        let _ = scrubbed(|| text::write(&mut text.0, PREFIX, self.seed.expose()));
        text
    }
}

impl Signer for SecretKey {
    fn node_id(&self) -> NodeId {
        NodeId::of(&self.public)
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        Ok(scrubbed(|| raw_sign::<Sha512>(&self.expanded, message, &self.public).to_bytes()))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(… of {})", self.node_id())
    }
}

/// The text form of a [`SecretKey`]: wiped when dropped, never printed by `Debug`.
pub struct SecretText(String);

impl SecretText {
    /// The text itself, for the moment of use.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}
