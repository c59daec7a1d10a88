//! Cryptography that hides nothing and believes nearly everything: what a fuzzer writes gets past it.
//!
//! A record is its plaintext and any tag that does not end in 0xff; a signature verifies unless it begins with 0xff;
//! a key exchange fails for the all-zero key only. All hashes and keys are the same. What is left of the protocol
//! is its forms and its states, and those are what is to be tested.

use handclasp::crypto::{
    Cipher, CipherKey, CryptoError, CryptoProvider, NONCE_LEN, RustCrypto, Secret, SuiteSet, TAG_LEN,
};
use handclasp::identity::SignerError;
use handclasp::{NodeId, Signer};

/// What every hash is.
pub(crate) const HASH: [u8; 32] = [0x48; 32];

/// The tag that is put under every text.
pub(crate) const TAG: [u8; TAG_LEN] = [0; TAG_LEN];

/// The byte that makes a tag or a signature a wrong one, where it is the last or the first.
pub(crate) const WRONG: u8 = 0xff;

/// The provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transparent;

impl CryptoProvider for Transparent {
    fn name(&self) -> &'static str {
        "transparent"
    }

    fn suites(&self) -> SuiteSet {
        RustCrypto.suites()
    }

    fn x25519_public(&self, _secret: &Secret<32>) -> [u8; 32] {
        [9; 32]
    }

    fn x25519(&self, _secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
        if *public == [0; 32] { Err(CryptoError::ZeroSharedSecret) } else { Ok(Secret::new([1; 32])) }
    }

    fn sha256(&self, _parts: &[&[u8]]) -> [u8; 32] {
        HASH
    }

    fn hkdf_sha256(
        &self,
        _salt: &[u8],
        _key_material: &[u8],
        _info: &[&[u8]],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        if out.len() > 255 * 32 {
            return Err(CryptoError::BadLength);
        }
        out.fill(2);
        Ok(())
    }

    fn verify(&self, _public: &[u8; 32], _message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        if signature[0] == WRONG { Err(CryptoError::BadSignature) } else { Ok(()) }
    }

    fn cipher(&self, _cipher: Cipher, _key: &Secret<32>) -> Result<Box<dyn CipherKey>, CryptoError> {
        Ok(Box::new(Self))
    }
}

impl CipherKey for Transparent {
    fn seal(
        &self,
        _nonce: &[u8; NONCE_LEN],
        _associated: &[u8],
        _text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError> {
        Ok(TAG)
    }

    fn open(
        &self,
        _nonce: &[u8; NONCE_LEN],
        _associated: &[u8],
        _text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        if tag[TAG_LEN - 1] == WRONG { Err(CryptoError::BadTag) } else { Ok(()) }
    }
}

/// Puts one signature under everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) id: NodeId,
    pub(crate) signature: [u8; 64],
}

impl Stamp {
    /// One that [`Transparent`] believes.
    pub(crate) const fn of(id: NodeId) -> Self {
        Self { id, signature: [3; 64] }
    }
}

impl Signer for Stamp {
    fn node_id(&self) -> NodeId {
        self.id
    }

    fn sign(&self, _message: &[u8]) -> Result<[u8; 64], SignerError> {
        Ok(self.signature)
    }
}
