//! A crypto provider and a signer that count what is asked of them: for tests of the order of work, and of
//! what an attacker can make a node compute.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use handclasp::crypto::{CryptoError, CryptoProvider, RustCrypto, Secret};
use handclasp::identity::SignerError;
use handclasp::{NodeId, SecretKey, Signer};

use crate::watched::{At, Key, Tag, Watch, Watched};

/// One count, shared by all clones.
#[derive(Clone, Debug, Default)]
pub struct Count(Arc<AtomicUsize>);

impl Count {
    /// How often it happened.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// The same, and begins again at zero.
    pub fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }

    fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The default provider, with a count of each costly operation. Clones share their counts.
pub type Counting = Watched<Counts>;

/// What [`Counting`] counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// Signatures checked.
    pub verified: Count,
    /// X25519 shared secrets computed.
    pub exchanged: Count,
    /// X25519 public keys computed.
    pub public_keys: Count,
    /// Texts sealed.
    pub sealed: Count,
    /// Tags checked, right and wrong ones.
    pub opened: Count,
}

impl Watch for Counts {
    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        self.public_keys.up();
        RustCrypto.x25519_public(secret)
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
        self.exchanged.up();
        RustCrypto.x25519(secret, public)
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        self.verified.up();
        RustCrypto.verify(public, message, signature)
    }

    fn seal(&self, key: &Key, at: At, text: &mut [u8]) -> Result<Tag, CryptoError> {
        self.sealed.up();
        key.seal(at, text)
    }

    fn open(&self, key: &Key, at: At, text: &mut [u8], tag: &Tag) -> Result<(), CryptoError> {
        self.opened.up();
        key.open(at, text, tag)
    }
}

/// A secret key with a count of the signatures it made.
#[derive(Debug)]
pub struct CountingSigner {
    key: SecretKey,
    signed: Count,
}

impl CountingSigner {
    /// Signs with `key`.
    pub fn new(key: SecretKey) -> Self {
        Self { key, signed: Count::default() }
    }

    /// The count of signatures.
    pub fn signed(&self) -> Count {
        self.signed.clone()
    }
}

impl Signer for CountingSigner {
    fn node_id(&self) -> NodeId {
        self.key.node_id()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        self.signed.up();
        self.key.sign(message)
    }
}
