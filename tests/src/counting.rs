//! A crypto provider and a signer that count what is asked of them: for tests of the order of work, and of what an
//! attacker can make a node compute.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use handclasp::crypto::{
    Cipher, CipherKey, CryptoError, CryptoProvider, NONCE_LEN, RustCrypto, Secret, SuiteSet, TAG_LEN,
};
use handclasp::identity::SignerError;
use handclasp::{NodeId, SecretKey, Signer};

/// One count, shared by all clones.
#[derive(Clone, Debug, Default)]
pub struct Count(Arc<AtomicUsize>);

impl Count {
    /// How often it happened.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The default provider, with a count of each costly operation. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct Counting {
    /// Signatures checked.
    pub verified: Count,
    /// X25519 shared secrets computed.
    pub exchanged: Count,
    /// X25519 public keys computed.
    pub public_keys: Count,
    /// Tags checked, right and wrong ones.
    pub opened: Count,
}

impl CryptoProvider for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn suites(&self) -> SuiteSet {
        RustCrypto.suites()
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        self.public_keys.up();
        RustCrypto.x25519_public(secret)
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
        self.exchanged.up();
        RustCrypto.x25519(secret, public)
    }

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        RustCrypto.sha256(parts)
    }

    fn hkdf_sha256(
        &self,
        salt: &[u8],
        key_material: &[u8],
        info: &[&[u8]],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        RustCrypto.hkdf_sha256(salt, key_material, info, out)
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        self.verified.up();
        RustCrypto.verify(public, message, signature)
    }

    fn cipher(&self, cipher: Cipher, key: &Secret<32>) -> Result<Box<dyn CipherKey>, CryptoError> {
        let key = RustCrypto.cipher(cipher, key)?;
        Ok(Box::new(CountingKey { key, opened: self.opened.clone() }))
    }
}

struct CountingKey {
    key: Box<dyn CipherKey>,
    opened: Count,
}

impl CipherKey for CountingKey {
    fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError> {
        self.key.seal(nonce, associated, text)
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        self.opened.up();
        self.key.open(nonce, associated, text, tag)
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
