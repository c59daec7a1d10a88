//! The default crypto provider with somebody looking on.

use std::fmt::{self, Debug};
use std::ops::Deref;
use std::sync::Arc;

use handclasp::crypto::{
    Cipher, CipherKey, CryptoError, CryptoProvider, NONCE_LEN, RustCrypto, Secret, SuiteSet, TAG_LEN,
};

/// What is done in place of an operation of [`RustCrypto`], or besides it. Each method that is left out
/// delegates.
///
/// The methods are those of [`CryptoProvider`] and [`CipherKey`]; see there.
#[allow(missing_docs, clippy::missing_errors_doc)]
pub trait Watch: Debug + Send + Sync + 'static {
    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        RustCrypto.x25519_public(secret)
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
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
        RustCrypto.verify(public, message, signature)
    }

    fn cipher(&self, cipher: Cipher, secret: &Secret<32>) -> Result<Key, CryptoError> {
        Key::new(cipher, secret)
    }

    fn seal(&self, key: &Key, at: At, text: &mut [u8]) -> Result<Tag, CryptoError> {
        key.seal(at, text)
    }

    fn open(&self, key: &Key, at: At, text: &mut [u8], tag: &Tag) -> Result<(), CryptoError> {
        key.open(at, text, tag)
    }
}

/// An authentication tag.
pub type Tag = [u8; TAG_LEN];

/// What a text is sealed with besides a key.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The nonce.
    pub nonce: &'a [u8; NONCE_LEN],
    /// Associated data.
    pub associated: &'a [u8],
}

/// A cipher of [`RustCrypto`], and the secret that it was made from.
pub struct Key {
    inner: Box<dyn CipherKey>,
    /// Its secret.
    pub secret: Secret<32>,
}

impl Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// The key that [`RustCrypto`] makes.
    ///
    /// # Errors
    /// Its own.
    pub fn new(cipher: Cipher, secret: &Secret<32>) -> Result<Self, CryptoError> {
        Ok(Self { inner: RustCrypto.cipher(cipher, secret)?, secret: secret.clone() })
    }

    /// Seals as the cipher does.
    ///
    /// # Errors
    /// Those of [`CipherKey::seal`].
    pub fn seal(&self, at: At, text: &mut [u8]) -> Result<Tag, CryptoError> {
        self.inner.seal(at.nonce, at.associated, text)
    }

    /// Opens as the cipher does.
    ///
    /// # Errors
    /// Those of [`CipherKey::open`].
    pub fn open(&self, at: At, text: &mut [u8], tag: &Tag) -> Result<(), CryptoError> {
        self.inner.open(at.nonce, at.associated, text, tag)
    }
}

/// A provider that does what its [`Watch`] says. Clones share it.
#[derive(Debug, Default)]
pub struct Watched<W>(Arc<W>);

impl<W> Watched<W> {
    /// The provider that `watch` looks at.
    pub fn new(watch: W) -> Self {
        Self(Arc::new(watch))
    }
}

impl<W> Clone for Watched<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W> Deref for Watched<W> {
    type Target = W;

    fn deref(&self) -> &W {
        &self.0
    }
}

impl<W: Watch> CryptoProvider for Watched<W> {
    fn name(&self) -> &'static str {
        "watched"
    }

    fn suites(&self) -> SuiteSet {
        RustCrypto.suites()
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        self.0.x25519_public(secret)
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
        self.0.x25519(secret, public)
    }

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.0.sha256(parts)
    }

    fn hkdf_sha256(
        &self,
        salt: &[u8],
        key_material: &[u8],
        info: &[&[u8]],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.0.hkdf_sha256(salt, key_material, info, out)
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        self.0.verify(public, message, signature)
    }

    fn cipher(&self, cipher: Cipher, key: &Secret<32>) -> Result<Box<dyn CipherKey>, CryptoError> {
        Ok(Box::new(WatchedKey { watch: Arc::clone(&self.0), key: self.0.cipher(cipher, key)? }))
    }
}

struct WatchedKey<W> {
    watch: Arc<W>,
    key: Key,
}

impl<W: Watch> CipherKey for WatchedKey<W> {
    fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError> {
        self.watch.seal(&self.key, At { nonce, associated }, text)
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        self.watch.open(&self.key, At { nonce, associated }, text, tag)
    }
}
