//! The chaining key, the handshake hash and the key of a handshake in progress.

use crate::crypto::cipher::HandshakeKey;
use crate::crypto::{Cipher, CryptoError, CryptoProvider, Secret, TAG_LEN};
use alloc::boxed::Box;
use alloc::vec::Vec;
use zeroize::Zeroize;

/// The chaining key, and where HKDF puts what it makes of it. As with a [`Secret`], the bytes
/// have one place in the heap, and nothing moves them.
struct Chain {
    key: [u8; 32],
    outputs: [[u8; 32]; 3],
}

impl Chain {
    #[allow(clippy::unnecessary_box_returns)] // a secret is no value to be moved
    fn new(key: &[u8; 32]) -> Box<Self> {
        let mut chain = Box::new(Self { key: [0; 32], outputs: [[0; 32]; 3] });
        chain.key.copy_from_slice(key);
        chain
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.key.zeroize();
        self.outputs.zeroize();
    }
}

/// The `SymmetricState` of §5.2. It is copied before each message, so that a failed one leaves no trace.
pub(super) struct SymmetricState {
    chain: Box<Chain>,
    hash: [u8; 32],
    key: Option<HandshakeKey>,
    cipher: Cipher,
}

impl Clone for SymmetricState {
    fn clone(&self) -> Self {
        let Self { chain, hash, key, cipher } = self;
        Self { chain: Chain::new(&chain.key), hash: *hash, key: key.clone(), cipher: *cipher }
    }

    fn clone_from(&mut self, source: &Self) {
        self.chain.key.copy_from_slice(&source.chain.key);
        self.hash = source.hash;
        self.key.clone_from(&source.key);
        self.cipher = source.cipher;
    }
}

impl SymmetricState {
    pub(super) fn new(provider: &dyn CryptoProvider, name: &str, cipher: Cipher) -> Self {
        let name = name.as_bytes();
        let mut hash = [0; 32];
        // A name of up to 32 bytes is padded with zeros, a longer one hashed.
        match hash.get_mut(..name.len()) {
            Some(start) => start.copy_from_slice(name),
            None => hash = provider.sha256(&[name]),
        }
        Self { chain: Chain::new(&hash), hash, key: None, cipher }
    }

    /// Noise's `HKDF` with `N` outputs (§4.3): RFC 5869 with the chaining key as salt and no info. There are three at
    /// most, and behind the first `N` stands nothing of use.
    pub(super) fn hkdf<const N: usize>(
        &mut self,
        provider: &dyn CryptoProvider,
        input: &[u8],
    ) -> Result<&[[u8; 32]; 3], CryptoError> {
        const { assert!(N <= 3) }
        let Chain { key, outputs } = &mut *self.chain;
        let (used, _) = outputs.split_at_mut(N);
        provider.hkdf_sha256(key, input, &[], used.as_flattened_mut())?;
        Ok(outputs)
    }

    /// Room for a key: that of the handshake, which serves no more.
    pub(super) fn place(&mut self) -> Secret<32> {
        self.key.take().map_or_else(Secret::default, HandshakeKey::into_place)
    }

    pub(super) fn mix_key(&mut self, provider: &dyn CryptoProvider, input: &[u8]) -> Result<(), CryptoError> {
        let cipher = self.cipher;
        let [_, key, _] = self.hkdf::<2>(provider, input)?;
        self.key = Some(HandshakeKey::new(cipher, key));
        self.advance();
        Ok(())
    }

    /// The first output is the next chaining key. None is needed any more.
    fn advance(&mut self) {
        let Chain { key, outputs } = &mut *self.chain;
        let [next, ..] = outputs;
        key.copy_from_slice(next);
        outputs.zeroize();
    }

    /// Mixes in `data` and the tag behind it, which is empty where there is none.
    pub(super) fn mix_hash(&mut self, provider: &dyn CryptoProvider, data: &[u8], tag: &[u8]) {
        self.hash = provider.sha256(&[&self.hash, data, tag]);
    }

    /// The handshake hash so far.
    pub(super) const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    pub(super) fn mix_key_and_hash(
        &mut self,
        provider: &dyn CryptoProvider,
        input: &[u8],
    ) -> Result<(), CryptoError> {
        let (own, cipher) = (self.hash, self.cipher);
        let [_, hash, key] = self.hkdf::<3>(provider, input)?;
        let (hash, key) = (provider.sha256(&[&own, hash]), HandshakeKey::new(cipher, key));
        self.hash = hash;
        self.key = Some(key);
        self.advance();
        Ok(())
    }

    /// Encrypts `text` in place. Without a key it only enters the hash, and there is no tag.
    pub(super) fn encrypt_and_hash(
        &mut self,
        provider: &dyn CryptoProvider,
        text: &mut [u8],
    ) -> Result<Option<[u8; TAG_LEN]>, CryptoError> {
        let tag = match &mut self.key {
            Some(key) => Some(key.seal_with_ad(provider, &self.hash, text)?),
            None => None,
        };
        self.mix_hash(provider, text, tag.as_ref().map_or(&[], |tag| tag.as_slice()));
        Ok(tag)
    }

    /// The plaintext of `sealed` is appended to `out`. After an error `out` has to be cut back.
    pub(super) fn decrypt_and_hash(
        &mut self,
        provider: &dyn CryptoProvider,
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let start = out.len();
        if let Some(key) = &mut self.key {
            let (text, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(CryptoError::BadLength)?;
            out.extend_from_slice(text);
            let (_, text) = out.split_at_mut(start);
            key.open_with_ad(provider, &self.hash, text, tag)?;
        } else {
            out.extend_from_slice(sealed);
        }
        self.mix_hash(provider, sealed, &[]);
        Ok(())
    }
}
