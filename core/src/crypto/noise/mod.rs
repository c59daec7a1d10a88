//! The part of the Noise protocol framework (revision 34) that links use: the tokens `e`, `ee` and `psk`, run
//! from a table.
//!
//! ```
//! use handclasp::crypto::noise::{HandshakeState, Protocol, Role};
//! use handclasp::crypto::{RustCrypto, Secret};
//!
//! # fn main() -> Result<(), handclasp::crypto::CryptoError> {
//! let start = |role, secret| {
//!     HandshakeState::new(&RustCrypto, &Protocol::NN_CHACHA_POLY, role, b"prologue", Secret::new(secret))
//! };
//! // Fixed here to keep the example short; in use an ephemeral secret is random and serves once.
//! let (mut alice, mut bob) = (start(Role::Initiator, [1; 32]), start(Role::Responder, [2; 32]));
//!
//! let (mut wire, mut payload) = (Vec::new(), Vec::new());
//! alice.write_message(&RustCrypto, b"", &mut wire)?;
//! bob.read_message(&RustCrypto, &wire, &mut payload)?;
//! wire.clear();
//! bob.write_message(&RustCrypto, b"hello", &mut wire)?;
//! alice.read_message(&RustCrypto, &wire, &mut payload)?;
//! assert_eq!(payload, b"hello");
//!
//! let (mut alice, mut bob) = (alice.split(&RustCrypto)?, bob.split(&RustCrypto)?);
//! assert_eq!(alice.hash, bob.hash);
//! let mut text = *b"a message";
//! let tag = alice.seal.seal(&mut text)?;
//! bob.open.open(&mut text, &tag)?;
//! assert_eq!(&text, b"a message");
//! # Ok(())
//! # }
//! ```

mod symmetric;

use super::cipher::{OpenKey, SealKey};
use super::{Cipher, CryptoError, CryptoProvider, Secret, Suite};
use alloc::vec::Vec;
use core::fmt;
use symmetric::SymmetricState;

/// The longest Noise message in bytes (§3).
pub const MAX_MESSAGE: usize = 65_535;

/// A step inside a handshake message. A key encapsulation's tokens would stand beside these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// Sends an ephemeral public key.
    E,
    /// Mixes in the exchange between both ephemeral keys.
    Ee,
    /// Mixes in the pre-shared key (§9.2).
    Psk,
}

/// A Noise protocol: its full name, its cipher and its message patterns, the initiator's first.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    name: &'static str,
    cipher: Cipher,
    messages: &'static [&'static [Token]],
}

impl Protocol {
    /// `Noise_NN_25519_ChaChaPoly_SHA256`.
    pub const NN_CHACHA_POLY: Self = Self {
        name: Suite::NnChaChaPoly.noise_name(),
        cipher: Cipher::ChaChaPoly,
        messages: &[&[Token::E], &[Token::E, Token::Ee]],
    };

    /// `Noise_NNpsk0_25519_ChaChaPoly_SHA256`.
    pub const NN_PSK0_CHACHA_POLY: Self = Self {
        name: Suite::NnPsk0ChaChaPoly.noise_name(),
        cipher: Cipher::ChaChaPoly,
        messages: &[&[Token::Psk, Token::E], &[Token::E, Token::Ee]],
    };

    /// `Noise_NNpsk2_25519_ChaChaPoly_SHA256`. No suite uses it; its vectors test the engine.
    pub const NN_PSK2_CHACHA_POLY: Self = Self {
        name: "Noise_NNpsk2_25519_ChaChaPoly_SHA256",
        cipher: Cipher::ChaChaPoly,
        messages: &[&[Token::E], &[Token::E, Token::Ee, Token::Psk]],
    };

    /// The protocol of a suite.
    pub const fn of(suite: Suite) -> &'static Self {
        match suite {
            Suite::NnChaChaPoly => &Self::NN_CHACHA_POLY,
            Suite::NnPsk0ChaChaPoly => &Self::NN_PSK0_CHACHA_POLY,
        }
    }

    /// The full Noise protocol name, as it enters the handshake hash.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    fn has_psk(&self) -> bool {
        self.messages.iter().any(|tokens| tokens.contains(&Token::Psk))
    }
}

/// Which side of the handshake a machine is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The side that sends the first message: the dialler.
    Initiator,
    /// The side that answers: the listener.
    Responder,
}

/// A handshake in progress (§5.3).
///
/// A call that fails leaves the state as it was. So a responder with several candidate keys tries them in
/// turn on the same first message, at the cost of one tag check each:
///
/// ```
/// # use handclasp::crypto::noise::{HandshakeState, Protocol, Role};
/// # use handclasp::crypto::{CryptoError, RustCrypto, Secret};
/// # fn main() -> Result<(), CryptoError> {
/// # let new = |role| {
/// #     HandshakeState::new(&RustCrypto, &Protocol::NN_PSK0_CHACHA_POLY, role, b"", Secret::new([7; 32]))
/// # };
/// # let (mut initiator, mut responder) = (new(Role::Initiator), new(Role::Responder));
/// # let (current, previous) = (Secret::new([1; 32]), Secret::new([2; 32]));
/// # initiator.set_psk(previous.clone())?;
/// # let (mut message, mut payload) = (Vec::new(), Vec::new());
/// # initiator.write_message(&RustCrypto, b"", &mut message)?;
/// let mut outcome = Err(CryptoError::BadTag);
/// for psk in [current, previous] {
///     responder.set_psk(psk)?;
///     outcome = responder.read_message(&RustCrypto, &message, &mut payload);
///     if outcome != Err(CryptoError::BadTag) {
///         break;
///     }
/// }
/// # outcome
/// # }
/// ```
pub struct HandshakeState {
    protocol: Protocol,
    role: Role,
    /// How many messages are done.
    done: usize,
    symmetric: SymmetricState,
    /// One that is not needed any more, for the next copy.
    spare: Option<SymmetricState>,
    /// Held until the exchange has used it.
    ephemeral: Option<Secret<32>>,
    remote: Option<[u8; 32]>,
    /// Held until its token has used it.
    psk: Option<Secret<32>>,
}

impl HandshakeState {
    /// The state before the first message. Both sides give the same `prologue`.
    ///
    /// `ephemeral` is random and serves this handshake alone; it is wiped as soon as it is no longer needed.
    pub fn new(
        provider: &dyn CryptoProvider,
        protocol: &Protocol,
        role: Role,
        prologue: &[u8],
        ephemeral: Secret<32>,
    ) -> Self {
        let mut symmetric = SymmetricState::new(provider, protocol.name, protocol.cipher);
        symmetric.mix_hash(provider, prologue, &[]);
        Self {
            protocol: *protocol,
            role,
            done: 0,
            symmetric,
            spare: None,
            ephemeral: Some(ephemeral),
            remote: None,
            psk: None,
        }
    }

    /// Sets the pre-shared key, or replaces it as long as it has not been used.
    ///
    /// # Errors
    /// [`CryptoError::PskMismatch`] when the pattern has none, [`CryptoError::OutOfTurn`] when it has been
    /// used.
    pub fn set_psk(&mut self, psk: Secret<32>) -> Result<(), CryptoError> {
        if !self.protocol.has_psk() {
            return Err(CryptoError::PskMismatch);
        }
        let done = self.protocol.messages.iter().take(self.done);
        if done.into_iter().any(|tokens| tokens.contains(&Token::Psk)) {
            return Err(CryptoError::OutOfTurn);
        }
        self.psk = Some(psk);
        Ok(())
    }

    /// Appends the next message to `out`. Its payload is in the clear where the pattern has no key yet.
    ///
    /// # Errors
    /// [`CryptoError::OutOfTurn`] when the next message is the peer's; [`CryptoError::PskMismatch`] when a
    /// pre-shared key is missing; [`CryptoError::ZeroSharedSecret`] when the peer's key was of small order;
    /// [`CryptoError::BadLength`] when the message would exceed [`MAX_MESSAGE`]. `out` and the state are then
    /// as they were.
    pub fn write_message(
        &mut self,
        provider: &dyn CryptoProvider,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let start = out.len();
        let tokens = self.next(self.role)?;
        let mut symmetric = self.copy();
        match self.write_tokens(provider, tokens, payload, &mut symmetric, out) {
            Ok(()) if out.len() - start <= MAX_MESSAGE => {
                self.advance(tokens, symmetric, self.remote);
                Ok(())
            }
            outcome => {
                self.spare = Some(symmetric);
                out.truncate(start);
                Err(outcome.err().unwrap_or(CryptoError::BadLength))
            }
        }
    }

    fn write_tokens(
        &self,
        provider: &dyn CryptoProvider,
        tokens: &[Token],
        payload: &[u8],
        symmetric: &mut SymmetricState,
        out: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        for token in tokens {
            if let Token::E = token {
                let public = provider.x25519_public(self.ephemeral()?);
                out.extend_from_slice(&public);
                self.mix_public(provider, symmetric, &public)?;
            } else {
                self.mix_secret(provider, *token, symmetric, self.remote.as_ref())?;
            }
        }
        let start = out.len();
        out.extend_from_slice(payload);
        let (_, text) = out.split_at_mut(start);
        let tag = symmetric.encrypt_and_hash(provider, text)?;
        out.extend(tag.into_iter().flatten());
        Ok(())
    }

    /// Reads the peer's message, which is the whole of `message`, and appends its payload to `payload`.
    ///
    /// # Errors
    /// [`CryptoError::BadTag`] when it was not made for this handshake (prologue, pre-shared key and all
    /// messages so far), [`CryptoError::BadLength`], [`CryptoError::ZeroSharedSecret`];
    /// [`CryptoError::OutOfTurn`] when the next message is our own; [`CryptoError::PskMismatch`] when a
    /// pre-shared key is missing. `payload` and the state are then as they were.
    pub fn read_message(
        &mut self,
        provider: &dyn CryptoProvider,
        message: &[u8],
        payload: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let peer = match self.role {
            Role::Initiator => Role::Responder,
            Role::Responder => Role::Initiator,
        };
        let start = payload.len();
        let tokens = self.next(peer)?;
        let mut symmetric = self.copy();
        match self.read_tokens(provider, tokens, message, &mut symmetric, payload) {
            Ok(remote) => {
                self.advance(tokens, symmetric, remote);
                Ok(())
            }
            Err(error) => {
                self.spare = Some(symmetric);
                payload.truncate(start);
                Err(error)
            }
        }
    }

    fn read_tokens(
        &self,
        provider: &dyn CryptoProvider,
        tokens: &[Token],
        message: &[u8],
        symmetric: &mut SymmetricState,
        payload: &mut Vec<u8>,
    ) -> Result<Option<[u8; 32]>, CryptoError> {
        if message.len() > MAX_MESSAGE {
            return Err(CryptoError::BadLength);
        }
        let (mut remote, mut rest) = (self.remote, message);
        for token in tokens {
            if let Token::E = token {
                let (public, after) = rest.split_first_chunk::<32>().ok_or(CryptoError::BadLength)?;
                self.mix_public(provider, symmetric, public)?;
                (remote, rest) = (Some(*public), after);
            } else {
                self.mix_secret(provider, *token, symmetric, remote.as_ref())?;
            }
        }
        symmetric.decrypt_and_hash(provider, rest, payload)?;
        Ok(remote)
    }

    /// The part of `e` that both sides share. With a pre-shared key in the pattern the public key enters the
    /// chaining key too (§9.2), so that no two handshakes under one such key repeat a nonce.
    fn mix_public(
        &self,
        provider: &dyn CryptoProvider,
        symmetric: &mut SymmetricState,
        public: &[u8; 32],
    ) -> Result<(), CryptoError> {
        symmetric.mix_hash(provider, public, &[]);
        if self.protocol.has_psk() { symmetric.mix_key(provider, public) } else { Ok(()) }
    }

    /// The tokens that are not on the wire.
    fn mix_secret(
        &self,
        provider: &dyn CryptoProvider,
        token: Token,
        symmetric: &mut SymmetricState,
        remote: Option<&[u8; 32]>,
    ) -> Result<(), CryptoError> {
        match token {
            Token::E => Ok(()),
            Token::Ee => {
                let shared = provider.x25519(self.ephemeral()?, remote.ok_or(CryptoError::OutOfTurn)?)?;
                symmetric.mix_key(provider, shared.expose())
            }
            Token::Psk => {
                let psk = self.psk.as_ref().ok_or(CryptoError::PskMismatch)?;
                symmetric.mix_key_and_hash(provider, psk.expose())
            }
        }
    }

    /// The symmetric state to try the next message on.
    fn copy(&mut self) -> SymmetricState {
        match self.spare.take() {
            Some(mut spare) => {
                spare.clone_from(&self.symmetric);
                spare
            }
            None => self.symmetric.clone(),
        }
    }

    fn ephemeral(&self) -> Result<&Secret<32>, CryptoError> {
        self.ephemeral.as_ref().ok_or(CryptoError::OutOfTurn)
    }

    /// The tokens of the next message, if `writer` is the one to write it.
    fn next(&self, writer: Role) -> Result<&'static [Token], CryptoError> {
        let turn = if self.done % 2 == 0 { Role::Initiator } else { Role::Responder };
        match self.protocol.messages.get(self.done) {
            Some(tokens) if turn == writer => Ok(tokens),
            _ => Err(CryptoError::OutOfTurn),
        }
    }

    fn advance(&mut self, tokens: &[Token], symmetric: SymmetricState, remote: Option<[u8; 32]>) {
        self.spare = Some(core::mem::replace(&mut self.symmetric, symmetric));
        self.remote = remote;
        self.done += 1;
        if tokens.contains(&Token::Ee) {
            self.ephemeral = None;
        }
        if tokens.contains(&Token::Psk) {
            self.psk = None;
        }
    }

    /// Whether all messages are done and [`split`](Self::split) is next.
    pub fn is_finished(&self) -> bool {
        self.done == self.protocol.messages.len()
    }

    /// Ends the handshake: `Split()` of §5.2 with a third output.
    ///
    /// # Errors
    /// [`CryptoError::OutOfTurn`] when messages are missing.
    pub fn split(mut self, provider: &dyn CryptoProvider) -> Result<Split, CryptoError> {
        if !self.is_finished() {
            return Err(CryptoError::OutOfTurn);
        }
        let (hash, cipher) = (*self.symmetric.hash(), self.protocol.cipher);
        // One place serves all three outputs in turn.
        let mut key = self.symmetric.place();
        let [first, second, master] = self.symmetric.hkdf::<3>(provider, &[])?;
        let (seal, open) = match self.role {
            Role::Initiator => (first, second),
            Role::Responder => (second, first),
        };
        key.expose_mut().copy_from_slice(seal);
        let seal = SealKey::new(provider, cipher, &key)?;
        key.expose_mut().copy_from_slice(open);
        let open = OpenKey::new(provider, cipher, &key)?;
        key.expose_mut().copy_from_slice(master);
        Ok(Split { seal, open, hash, master: key })
    }
}

impl fmt::Debug for HandshakeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeState")
            .field("protocol", &self.protocol.name)
            .field("role", &self.role)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

/// What a finished handshake gives.
#[derive(Debug)]
pub struct Split {
    /// For what we send: the ordinary transport key of Noise.
    pub seal: SealKey,
    /// For what we receive.
    pub open: OpenKey,
    /// The handshake hash `h`, which names this handshake (§11.2). It is no secret.
    pub hash: [u8; 32],
    /// The third output of the last HKDF. As HKDF's outputs are independent, it stays secret even if both
    /// transport keys leak.
    pub master: Secret<32>,
}
