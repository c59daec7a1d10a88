//! The cryptography with marks: what is secret keeps them, and what may be seen loses them, each for a reason that
//! stands beside it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use handclasp::crypto::{Cipher, CryptoError, CryptoProvider, RustCrypto, Secret};
use handclasp::identity::SignerError;
use handclasp::{NodeId, SecretKey, Seed, Signer};
use handclasp_sim::watched::{At, Key, Tag, Watch, Watched};

use crate::memcheck::{mark, marked, publish};

/// Bytes with a mark on each.
pub fn secret<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    mark(&mut bytes);
    bytes
}

/// An operation that takes a secret.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// An ephemeral secret whose public key is wanted.
    EphemeralPublic,
    /// An ephemeral secret in a key exchange.
    EphemeralShared,
    /// The key material of a derivation: shared secrets, master secrets, the exporter's.
    KeyMaterial,
    /// The chaining key, or the salt that it is.
    ChainingKey,
    /// The key of a cipher: of the handshake, of traffic, after a rekeying.
    CipherKey,
    /// An identity's key, for a signature.
    IdentityKey,
}

const KINDS: usize = 6;

/// [`RustCrypto`], given marked secrets. It counts how often an operation got one, so that a run in which the
/// marks were lost is not taken for a good one.
#[derive(Debug, Default)]
pub struct Marking {
    taken: [AtomicUsize; KINDS],
}

impl Marking {
    fn took(&self, what: Takes, bytes: &[u8]) {
        if marked(bytes) == bytes.len() && !bytes.is_empty() {
            self.taken[what as usize].fetch_add(1, Relaxed);
        }
    }

    /// How often an operation got a secret of which each byte was marked.
    pub fn taken(&self, what: Takes) -> usize {
        self.taken[what as usize].load(Relaxed)
    }
}

impl Watch for Marking {
    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        self.took(Takes::EphemeralPublic, secret.expose());
        let mut public = RustCrypto.x25519_public(secret);
        // A public key goes on the wire in the clear.
        publish(&mut public);
        public
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
        self.took(Takes::EphemeralShared, secret.expose());
        RustCrypto.x25519(secret, public)
    }

    fn hkdf_sha256(
        &self,
        salt: &[u8],
        key_material: &[u8],
        info: &[&[u8]],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        if salt == b"handclasp/1 seed" {
            // The world that the links run in gives them seeds without a mark.
            let mut seed = key_material.to_vec();
            mark(&mut seed);
            RustCrypto.hkdf_sha256(salt, &seed, info, out)?;
            // Behind the ephemeral secret there are two numbers: the tag of reply tokens, which the application
            // sees, and the number of the first ping, which the peer sees.
            publish(&mut out[32..]);
            return Ok(());
        }
        self.took(Takes::KeyMaterial, key_material);
        self.took(Takes::ChainingKey, salt);
        RustCrypto.hkdf_sha256(salt, key_material, info, out)
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        // Signatures are checked in variable time, as is usual: key, message and signature are no secrets of the
        // one who checks. With a cluster secret the message has a mark, since the handshake's hash takes in an
        // output of a derivation from it; both ends know that hash, and it leads back to nothing.
        let mut message = message.to_vec();
        publish(&mut message);
        RustCrypto.verify(public, &message, signature)
    }

    fn cipher(&self, cipher: Cipher, secret: &Secret<32>) -> Result<Key, CryptoError> {
        self.took(Takes::CipherKey, secret.expose());
        Key::new(cipher, secret)
    }

    fn seal(&self, key: &Key, at: At, text: &mut [u8]) -> Result<Tag, CryptoError> {
        let mut tag = key.seal(at, text)?;
        // The next key of a rekeying is sealed zeros, under a counter that no message has. It stays secret.
        let is_next_key = at.nonce[4..] == [0xff; 8];
        if !is_next_key {
            // Ciphertext and tag go on the wire.
            publish(text);
            publish(&mut tag);
        }
        Ok(tag)
    }

    fn open(&self, key: &Key, at: At, text: &mut [u8], tag: &Tag) -> Result<(), CryptoError> {
        let outcome = key.open(at, text, tag);
        // What a peer says decides what is done, and is the application's. Keys are what is kept here.
        publish(text);
        outcome
    }
}

/// An identity whose seed is marked.
#[derive(Debug)]
pub struct Identity {
    key: SecretKey,
    marking: Watched<Marking>,
}

impl Identity {
    /// One for each number.
    pub fn new(number: u8, marking: &Watched<Marking>) -> Self {
        Self { key: SecretKey::from_seed(&Seed::new(secret([number; 32]))), marking: marking.clone() }
    }
}

impl Signer for Identity {
    fn node_id(&self) -> NodeId {
        let mut bytes = *self.key.node_id().as_bytes();
        // An id is a public key.
        publish(&mut bytes);
        NodeId::from_bytes(bytes).expect("the id of a key")
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        let mut signature = self.key.sign(message)?;
        // It has the mark of the key that made it.
        self.marking.took(Takes::IdentityKey, &signature);
        // A signature is for others to see.
        publish(&mut signature);
        Ok(signature)
    }
}
