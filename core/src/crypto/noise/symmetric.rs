//! The chaining key, the handshake hash and the key of a handshake in progress.

use crate::crypto::cipher::HandshakeKey;
use crate::crypto::{Cipher, CryptoError, CryptoProvider, Secret, TAG_LEN};
use alloc::vec::Vec;

/// The `SymmetricState` of §5.2. It is copied before each message, so that a failed one leaves no trace.
#[derive(Clone)]
pub(super) struct SymmetricState {
    chaining_key: Secret<32>,
    hash: [u8; 32],
    key: Option<HandshakeKey>,
    cipher: Cipher,
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
        Self { chaining_key: Secret::new(hash), hash, key: None, cipher }
    }

    /// Noise's `HKDF` with `N` outputs, at most three (§4.3): RFC 5869 with the chaining key as salt and no
    /// info.
    pub(super) fn hkdf<const N: usize>(
        &self,
        provider: &dyn CryptoProvider,
        input: &[u8],
    ) -> Result<[Secret<32>; N], CryptoError> {
        const { assert!(N <= 3) }
        let mut block = Secret::<96>::default();
        let mut outputs = [const { Secret::new([0; 32]) }; N];
        let (used, _) = block.expose_mut().split_at_mut(32 * N);
        provider.hkdf_sha256(self.chaining_key.expose(), input, &[], used)?;
        for (output, bytes) in outputs.iter_mut().zip(used.chunks_exact(32)) {
            output.expose_mut().copy_from_slice(bytes);
        }
        Ok(outputs)
    }

    pub(super) fn mix_key(&mut self, provider: &dyn CryptoProvider, input: &[u8]) -> Result<(), CryptoError> {
        let [chaining_key, key] = self.hkdf(provider, input)?;
        self.chaining_key = chaining_key;
        self.key = Some(HandshakeKey::new(self.cipher, key));
        Ok(())
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
        let [chaining_key, hash, key] = self.hkdf(provider, input)?;
        self.chaining_key = chaining_key;
        self.mix_hash(provider, hash.expose(), &[]);
        self.key = Some(HandshakeKey::new(self.cipher, key));
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
