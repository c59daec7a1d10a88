//! A provider and a signer for handclasp on aws-lc-rs: what the seam for cryptography gives with the library that `rustls`
//! uses by default.
//!
//! For measuring only. aws-lc-rs checks a signature's equation but does not refuse points of small order, which
//! [`CryptoProvider::verify`] asks for; only the ids of a trust list, which are free of them, are used here.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::signature::{self, ED25519, Ed25519KeyPair};
use aws_lc_rs::{digest, hkdf};
use handclasp::crypto::{
    Cipher, CipherKey, CryptoError, CryptoProvider, NONCE_LEN, RustCrypto, Secret, SuiteSet, TAG_LEN,
};
use handclasp::identity::SignerError;
use handclasp::{NodeId, SecretKey, Signer};

/// aws-lc-rs behind handclasp's seam.
#[derive(Clone, Copy, Debug)]
pub struct AwsLc;

fn x25519_key(secret: &Secret<32>) -> PrivateKey {
    PrivateKey::from_private_key(&X25519, secret.expose()).expect("any 32 bytes are a secret key")
}

impl CryptoProvider for AwsLc {
    fn name(&self) -> &'static str {
        "aws-lc-rs"
    }

    fn suites(&self) -> SuiteSet {
        RustCrypto.suites()
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        let public = x25519_key(secret).compute_public_key().expect("a public key");
        public.as_ref().try_into().expect("32 bytes")
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
        // An all-zero outcome is an error of `agree`.
        let public = UnparsedPublicKey::new(&X25519, public);
        agree(&x25519_key(secret), public, CryptoError::ZeroSharedSecret, |shared| {
            shared.try_into().map(Secret::new).map_err(|_| CryptoError::BadLength)
        })
    }

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in parts {
            hash.update(part);
        }
        hash.finish().as_ref().try_into().expect("32 bytes")
    }

    fn hkdf_sha256(
        &self,
        salt: &[u8],
        key_material: &[u8],
        info: &[&[u8]],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key_material);
        let bytes = pseudorandom.expand(info, Length(out.len())).map_err(|_| CryptoError::BadLength)?;
        bytes.fill(out).map_err(|_| CryptoError::BadLength)
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        let key = signature::UnparsedPublicKey::new(&ED25519, public);
        key.verify(message, signature).map_err(|_| CryptoError::BadSignature)
    }

    fn cipher(&self, cipher: Cipher, key: &Secret<32>) -> Result<Box<dyn CipherKey>, CryptoError> {
        match cipher {
            Cipher::ChaChaPoly => {
                let key = UnboundKey::new(&CHACHA20_POLY1305, key.expose()).expect("32 bytes");
                Ok(Box::new(Sealing(LessSafeKey::new(key))))
            }
            _ => Err(CryptoError::UnsupportedCipher),
        }
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

struct Sealing(LessSafeKey);

impl CipherKey for Sealing {
    fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(associated), text);
        Ok(tag.map_err(|_| CryptoError::BadLength)?.as_ref().try_into().expect("16 bytes"))
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place_separate_tag(nonce, Aad::from(associated), tag, text);
        opened.map(|_| ()).map_err(|_| CryptoError::BadTag)
    }
}

/// A secret key that aws-lc-rs signs with.
#[derive(Debug)]
pub struct AwsLcSigner {
    id: NodeId,
    key: Ed25519KeyPair,
}

impl AwsLcSigner {
    /// The key that grows from `seed`.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed");
        Self { id: SecretKey::from_bytes(seed).node_id(), key }
    }
}

impl Signer for AwsLcSigner {
    fn node_id(&self) -> NodeId {
        self.id
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        self.key.sign(message).as_ref().try_into().map_err(|_| SignerError::Unavailable)
    }
}
