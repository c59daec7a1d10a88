//! One direction of a channel: a key and its counter (the `CipherState` of the Noise specification §5.1).
//!
//! A counter moves in this file and nowhere else. It starts at 0, moves by one, and only after the operation
//! has succeeded. The value 2⁶⁴ − 1 is never used for a message: it is the nonce of [`SealKey::rekey`].

use super::{Cipher, CipherKey, CryptoError, CryptoProvider, Secret, TAG_LEN};
use alloc::boxed::Box;
use core::fmt;

/// The counter value that Noise reserves for rekeying (§4.2, §5.1).
const RESERVED: u64 = u64::MAX;

/// The next counter to use.
#[derive(Clone, Copy, Debug, Default)]
struct Counter(u64);

impl Counter {
    /// Runs `operation` with the counter, and moves on if it succeeds.
    fn spend<T>(&mut self, operation: impl FnOnce(u64) -> Result<T, CryptoError>) -> Result<T, CryptoError> {
        if self.0 == RESERVED {
            return Err(CryptoError::CounterExhausted);
        }
        let outcome = operation(self.0)?;
        self.0 += 1;
        Ok(outcome)
    }
}

/// A key ready for use, with its counter.
struct Direction {
    key: Box<dyn CipherKey>,
    cipher: Cipher,
    counter: Counter,
}

impl Direction {
    fn new(provider: &dyn CryptoProvider, cipher: Cipher, key: &Secret<32>) -> Result<Self, CryptoError> {
        Ok(Self { key: provider.cipher(cipher, key)?, cipher, counter: Counter::default() })
    }

    fn seal(&mut self, associated: &[u8], text: &mut [u8]) -> Result<[u8; TAG_LEN], CryptoError> {
        let Self { key, cipher, counter } = self;
        counter.spend(|counter| key.seal(&cipher.nonce(counter), associated, text))
    }

    fn open(&mut self, associated: &[u8], text: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), CryptoError> {
        let Self { key, cipher, counter } = self;
        counter.spend(|counter| key.open(&cipher.nonce(counter), associated, text, tag))
    }

    /// The default `REKEY` of Noise §4.2: the first 32 bytes of a sealed block of zeros. The old key is wiped
    /// as it is dropped, the counter stays.
    fn rekey(&mut self, provider: &dyn CryptoProvider) -> Result<(), CryptoError> {
        let mut next = Secret::<32>::default();
        self.key.seal(&self.cipher.nonce(RESERVED), &[], next.expose_mut())?;
        self.key = provider.cipher(self.cipher, &next)?;
        Ok(())
    }

    fn fmt(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("cipher", &self.cipher)
            .field("counter", &self.counter.0)
            .finish_non_exhaustive()
    }
}

/// The sending direction of a channel.
pub struct SealKey(Direction);

impl SealKey {
    /// A direction that starts at counter 0. Give one key to one `SealKey` only: two would repeat their
    /// nonces.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedCipher`].
    pub fn new(provider: &dyn CryptoProvider, cipher: Cipher, key: &Secret<32>) -> Result<Self, CryptoError> {
        Direction::new(provider, cipher, key).map(Self)
    }

    /// Encrypts `text` in place with empty associated data, and returns the tag.
    ///
    /// # Errors
    /// [`CryptoError::CounterExhausted`] when the key has sealed 2⁶⁴ − 1 messages; `text` is then untouched.
    pub fn seal(&mut self, text: &mut [u8]) -> Result<[u8; TAG_LEN], CryptoError> {
        self.seal_with_ad(&[], text)
    }

    /// As [`seal`](Self::seal), with associated data.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn seal_with_ad(&mut self, associated: &[u8], text: &mut [u8]) -> Result<[u8; TAG_LEN], CryptoError> {
        self.0.seal(associated, text)
    }

    /// Replaces the key by one that doesn't lead back to it (Noise §4.2 and §11.3). The counter goes on.
    ///
    /// `provider` is the one that made the key.
    ///
    /// # Errors
    /// Those of the provider; the key is then unchanged.
    pub fn rekey(&mut self, provider: &dyn CryptoProvider) -> Result<(), CryptoError> {
        self.0.rekey(provider)
    }

    /// The counter of the next message: the number of messages sealed so far.
    pub fn counter(&self) -> u64 {
        self.0.counter.0
    }

    #[cfg(test)]
    pub(crate) fn with_counter(mut self, counter: u64) -> Self {
        self.0.counter = Counter(counter);
        self
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt("SealKey", f)
    }
}

/// The receiving direction of a channel.
pub struct OpenKey(Direction);

impl OpenKey {
    /// A direction that starts at counter 0.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedCipher`].
    pub fn new(provider: &dyn CryptoProvider, cipher: Cipher, key: &Secret<32>) -> Result<Self, CryptoError> {
        Direction::new(provider, cipher, key).map(Self)
    }

    /// Decrypts `text` in place with empty associated data.
    ///
    /// # Errors
    /// [`CryptoError::BadTag`], after which `text` holds nothing of use and the counter is where it was;
    /// [`CryptoError::CounterExhausted`] when the key has opened 2⁶⁴ − 1 messages.
    pub fn open(&mut self, text: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), CryptoError> {
        self.open_with_ad(&[], text, tag)
    }

    /// As [`open`](Self::open), with associated data.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with_ad(
        &mut self,
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        self.0.open(associated, text, tag)
    }

    /// Follows the sender's [`SealKey::rekey`], between the same two messages.
    ///
    /// # Errors
    /// As there.
    pub fn rekey(&mut self, provider: &dyn CryptoProvider) -> Result<(), CryptoError> {
        self.0.rekey(provider)
    }

    /// The counter of the next message: the number of messages opened so far.
    pub fn counter(&self) -> u64 {
        self.0.counter.0
    }

    #[cfg(test)]
    pub(crate) fn with_counter(mut self, counter: u64) -> Self {
        self.0.counter = Counter(counter);
        self
    }
}

impl fmt::Debug for OpenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt("OpenKey", f)
    }
}

/// The key of a handshake in progress. It can be copied with the rest of the handshake's state, and expands
/// its cipher at each use, since most such keys serve one message.
#[derive(Clone)]
pub(super) struct HandshakeKey {
    key: Secret<32>,
    cipher: Cipher,
    counter: Counter,
}

impl HandshakeKey {
    pub(super) fn new(cipher: Cipher, key: &[u8; 32]) -> Self {
        Self { key: Secret::copied(key), cipher, counter: Counter::default() }
    }

    /// The place of the key, for the next one.
    pub(super) fn into_place(self) -> Secret<32> {
        self.key
    }

    pub(super) fn seal_with_ad(
        &mut self,
        provider: &dyn CryptoProvider,
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError> {
        let Self { key, cipher, counter } = self;
        counter.spend(|counter| provider.cipher(*cipher, key)?.seal(&cipher.nonce(counter), associated, text))
    }

    pub(super) fn open_with_ad(
        &mut self,
        provider: &dyn CryptoProvider,
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        let Self { key, cipher, counter } = self;
        counter.spend(|counter| {
            provider.cipher(*cipher, key)?.open(&cipher.nonce(counter), associated, text, tag)
        })
    }
}
