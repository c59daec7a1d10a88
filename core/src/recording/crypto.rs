//! Where cryptography is listened to, and what stands in for it in the replay of a redacted recording.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::BadRecording;
use super::bytes::Cursor;
use super::log::Shared;
use super::verdict::Verdict;
use crate::crypto::{Cipher, CipherKey, CryptoError, CryptoProvider, NONCE_LEN, Secret, SuiteSet, TAG_LEN};
use crate::identity::{NodeId, Signer, SignerError};

/// What a link asks of cryptography that can fail, by its number in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Operation {
    KeyExchange = 1,
    Derive = 2,
    Verify = 3,
    Cipher = 4,
    Seal = 5,
    Open = 6,
    Sign = 7,
    /// Sealing the block of zeros that becomes the next key: it has no text.
    Rekey = 8,
    /// Not of cryptography alone: the node's rules and what has come before are in it.
    Judge = 9,
}

impl Operation {
    const ALL: [Self; 9] = [
        Self::KeyExchange,
        Self::Derive,
        Self::Verify,
        Self::Cipher,
        Self::Seal,
        Self::Open,
        Self::Sign,
        Self::Rekey,
        Self::Judge,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KeyExchange => "key exchange",
            Self::Derive => "derivation",
            Self::Verify => "verification",
            Self::Cipher => "cipher",
            Self::Seal => "sealed",
            Self::Open => "opened",
            Self::Sign => "signature",
            Self::Rekey => "rekey",
            Self::Judge => "signed message",
        }
    }
}

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    KeyExchange = 0,
    Authentication = 1,
    Record = 2,
}

impl Place {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KeyExchange => "key exchange",
            Self::Authentication => "authentication",
            Self::Record => "record",
        }
    }
}

/// The errors of providers and signers, by their numbers in a recording; 0 is none.
const ERRORS: [CryptoError; 8] = [
    CryptoError::BadTag,
    CryptoError::BadSignature,
    CryptoError::ZeroSharedSecret,
    CryptoError::CounterExhausted,
    CryptoError::BadLength,
    CryptoError::UnsupportedCipher,
    CryptoError::OutOfTurn,
    CryptoError::PskMismatch,
];

fn failure<T>(result: &Result<T, CryptoError>) -> u8 {
    let place = result.as_ref().err().and_then(|error| ERRORS.iter().position(|each| each == error));
    place.and_then(|place| u8::try_from(place + 1).ok()).unwrap_or(0)
}

/// The result of one operation, as it was recorded.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) operation: Operation,
    pub(crate) failed: u8,
    pub(crate) place: Option<Place>,
    /// Of AUTH that was opened: its id was on the list.
    pub(crate) listed: bool,
    /// What was opened, blanked, or the signature.
    pub(crate) bytes: Vec<u8>,
    /// Of a text of which there is only a digest.
    pub(crate) length: usize,
    /// On a signed message.
    pub(crate) verdict: Option<Verdict>,
}

impl Outcome {
    pub(crate) fn get(exact: bool, value: &[u8]) -> Result<Self, BadRecording> {
        let mut from = Cursor::new(value);
        let (number, failed) = (from.byte()?, from.byte()?);
        let operation = Operation::ALL.into_iter().find(|operation| *operation as u8 == number);
        let operation = operation.ok_or(BadRecording::Malformed("no such cryptographic operation"))?;
        let (place, listed, bytes, length, verdict) = (None, false, Vec::new(), 0, None);
        let mut outcome = Self { operation, failed, place, listed, bytes, length, verdict };
        if operation == Operation::Judge {
            outcome.verdict = Some(Verdict::get(failed, &mut from)?);
            return Ok(outcome);
        }
        if failed != 0 {
            return Ok(outcome);
        }
        match operation {
            Operation::Seal | Operation::Open => {
                let place = match from.byte()? {
                    0 => Place::KeyExchange,
                    1 => Place::Authentication,
                    2 => Place::Record,
                    _ => return Err(BadRecording::Malformed("a text at no place of a link")),
                };
                outcome.place = Some(place);
                if exact || operation == Operation::Seal {
                    outcome.length = from.length()?;
                } else {
                    outcome.listed = place == Place::Authentication && from.flag()?;
                    outcome.bytes = from.sparse()?;
                    outcome.length = outcome.bytes.len();
                }
            }
            Operation::Sign if exact => outcome.bytes = from.array::<64>()?.to_vec(),
            _ => {}
        }
        Ok(outcome)
    }

    fn result<T>(&self, good: T) -> Result<T, CryptoError> {
        match self.failed {
            0 => Ok(good),
            failed => Err(ERRORS.get(usize::from(failed) - 1).copied().unwrap_or(CryptoError::OutOfTurn)),
        }
    }

    /// The id that AUTH claims, if this is AUTH that was opened and its id was listed.
    pub(crate) fn listed_id(&self) -> Option<[u8; 32]> {
        let (rest, _) = self.bytes.split_last_chunk::<64>().filter(|_| self.listed)?;
        rest.last_chunk().copied()
    }

    /// What failed, for people.
    pub(crate) fn error(&self) -> Option<CryptoError> {
        self.result(()).err()
    }
}

/// A provider or signer that somebody listens to.
pub(crate) struct Tap<T: ?Sized> {
    inner: Arc<T>,
    log: Shared,
}

impl<T: ?Sized> Tap<T> {
    pub(crate) fn new(inner: &Arc<T>, log: &Shared) -> Self {
        Self { inner: Arc::clone(inner), log: log.clone() }
    }

    fn note<R>(&self, operation: Operation, result: Result<R, CryptoError>) -> Result<R, CryptoError> {
        self.log.lock().crypto(operation, failure(&result));
        result
    }
}

impl<T: ?Sized> fmt::Debug for Tap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

impl Signer for Tap<dyn Signer> {
    fn node_id(&self) -> NodeId {
        self.inner.node_id()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        let signature = self.inner.sign(message);
        let mut log = self.log.lock();
        match &signature {
            Ok(signature) => log.signed(signature),
            Err(SignerError::Unavailable) => log.crypto(Operation::Sign, 1),
            Err(SignerError::Refused) => log.crypto(Operation::Sign, 2),
        }
        signature
    }
}

impl CryptoProvider for Tap<dyn CryptoProvider> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn suites(&self) -> SuiteSet {
        self.inner.suites()
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        self.inner.x25519_public(secret)
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
        self.note(Operation::KeyExchange, self.inner.x25519(secret, public))
    }

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.inner.sha256(parts)
    }

    fn hkdf_sha256(
        &self,
        salt: &[u8],
        key_material: &[u8],
        info: &[&[u8]],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        let result = self.inner.hkdf_sha256(salt, key_material, info, out);
        // The exporter is asked between steps, and changes nothing in the link.
        if info.first().is_some_and(|first| *first == crate::link::EXPORTER_LABEL) {
            return result;
        }
        self.note(Operation::Derive, result)
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        self.note(Operation::Verify, self.inner.verify(public, message, signature))
    }

    fn cipher(&self, cipher: Cipher, key: &Secret<32>) -> Result<Box<dyn CipherKey>, CryptoError> {
        let inner = self.note(Operation::Cipher, self.inner.cipher(cipher, key))?;
        Ok(Box::new(TapKey { inner, reserved: cipher.nonce(u64::MAX), log: self.log.clone() }))
    }
}

struct TapKey {
    inner: Box<dyn CipherKey>,
    /// The nonce that is for rekeying.
    reserved: [u8; NONCE_LEN],
    log: Shared,
}

impl CipherKey for TapKey {
    fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError> {
        if *nonce == self.reserved {
            let result = self.inner.seal(nonce, associated, text);
            self.log.lock().crypto(Operation::Rekey, failure(&result));
            return result;
        }
        // Before it is gone. If it cannot be sealed the link ends, and the step says so besides.
        self.log.lock().text(Operation::Seal, associated, text);
        let result = self.inner.seal(nonce, associated, text);
        if result.is_err() {
            self.log.lock().crypto(Operation::Seal, failure(&result));
        }
        result
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        let result = self.inner.open(nonce, associated, text, tag);
        let mut log = self.log.lock();
        match &result {
            Ok(()) => log.text(Operation::Open, associated, text),
            Err(_) => log.crypto(Operation::Open, failure(&result)),
        }
        result
    }
}

/// The results that the present step of a replay has in store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(Arc<Mutex<VecDeque<Outcome>>>);

impl Script {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Outcome>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn load(&self, outcomes: VecDeque<Outcome>) {
        *self.lock() = outcomes;
    }

    /// The next result, if it is of this operation: a replay that asks for something else differs by that
    /// alone.
    pub(super) fn next(&self, operation: Operation) -> Option<Outcome> {
        let mut outcomes = self.lock();
        let is_next = outcomes.front().is_some_and(|outcome| outcome.operation == operation);
        if is_next { outcomes.pop_front() } else { None }
    }

    fn play<T>(&self, operation: Operation, good: T) -> Result<T, CryptoError> {
        match self.next(operation) {
            Some(outcome) => outcome.result(good),
            None => Ok(good),
        }
    }
}

/// The signer of a replay: it puts the signatures under everything that were there.
#[derive(Clone, Debug)]
pub(crate) struct StandInSigner {
    pub(crate) id: NodeId,
    pub(crate) script: Script,
}

impl Signer for StandInSigner {
    fn node_id(&self) -> NodeId {
        self.id
    }

    fn sign(&self, _message: &[u8]) -> Result<[u8; 64], SignerError> {
        let Some(outcome) = self.script.next(Operation::Sign) else { return Ok([0; 64]) };
        match outcome.failed {
            0 => Ok(*outcome.bytes.first_chunk().unwrap_or(&[0; 64])),
            1 => Err(SignerError::Unavailable),
            _ => Err(SignerError::Refused),
        }
    }
}

/// Cryptography without keys: every operation ends as it ended in the recorded run, what is opened is what
/// was opened, blanked, and what is sealed stays in the clear.
#[derive(Clone, Debug)]
pub(crate) struct StandIn {
    pub(crate) script: Script,
    /// For hashes: the digest of what was agreed on is one.
    pub(crate) hashes: Arc<dyn CryptoProvider>,
}

impl CryptoProvider for StandIn {
    fn name(&self) -> &'static str {
        "stand-in"
    }

    fn suites(&self) -> SuiteSet {
        self.hashes.suites()
    }

    fn x25519_public(&self, _secret: &Secret<32>) -> [u8; 32] {
        [0; 32]
    }

    fn x25519(&self, _secret: &Secret<32>, _public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
        self.script.play(Operation::KeyExchange, Secret::default())
    }

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.hashes.sha256(parts)
    }

    fn hkdf_sha256(
        &self,
        _salt: &[u8],
        _key_material: &[u8],
        _info: &[&[u8]],
        _out: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.script.play(Operation::Derive, ())
    }

    fn verify(&self, _public: &[u8; 32], _message: &[u8], _signature: &[u8; 64]) -> Result<(), CryptoError> {
        self.script.play(Operation::Verify, ())
    }

    fn cipher(&self, cipher: Cipher, _key: &Secret<32>) -> Result<Box<dyn CipherKey>, CryptoError> {
        let key = StandInKey { script: self.script.clone(), reserved: cipher.nonce(u64::MAX) };
        self.script.play(Operation::Cipher, Box::new(key) as Box<dyn CipherKey>)
    }
}

struct StandInKey {
    script: Script,
    reserved: [u8; NONCE_LEN],
}

impl CipherKey for StandInKey {
    fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        _associated: &[u8],
        _text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError> {
        if *nonce == self.reserved {
            return self.script.play(Operation::Rekey, [0; TAG_LEN]);
        }
        self.script.play(Operation::Seal, ())?;
        // What could not be sealed stands twice: the text, and why not.
        let failed = self.script.lock().front().is_some_and(|outcome| outcome.failed != 0);
        if failed { self.script.play(Operation::Seal, [0; TAG_LEN]) } else { Ok([0; TAG_LEN]) }
    }

    fn open(
        &self,
        _nonce: &[u8; NONCE_LEN],
        _associated: &[u8],
        text: &mut [u8],
        _tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        let Some(outcome) = self.script.next(Operation::Open) else { return Err(CryptoError::BadTag) };
        outcome.result(())?;
        if outcome.bytes.len() != text.len() {
            return Err(CryptoError::BadTag);
        }
        text.copy_from_slice(&outcome.bytes);
        Ok(())
    }
}
