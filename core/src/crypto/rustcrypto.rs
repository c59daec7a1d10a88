//! The provider that comes with the crate: dalek's curves, and hash and cipher of the `RustCrypto` project.

use super::stack::scrubbed;
use super::{Cipher, CipherKey, CryptoError, CryptoProvider, NONCE_LEN, Secret, Suite, SuiteSet, TAG_LEN};
use alloc::boxed::Box;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, Key, KeyInit};
use ed25519_dalek::{Signature, VerifyingKey};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};

/// Pure-Rust cryptography: ed25519-dalek, x25519-dalek, sha2, hkdf and chacha20poly1305.
///
/// It has both suites with ChaCha20-Poly1305 and needs no set-up. Each operation with a secret overwrites the stack that
/// it has used, 6 KiB of it in an optimized build.
#[derive(Clone, Copy, Debug, Default)]
pub struct RustCrypto;

impl CryptoProvider for RustCrypto {
    fn name(&self) -> &'static str {
        "rustcrypto"
    }

    fn suites(&self) -> SuiteSet {
        SuiteSet::EMPTY.with(Suite::NnChaChaPoly).with(Suite::NnPsk0ChaChaPoly)
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        // The base point has a precomputed table in Edwards form, which is several times faster than the
        // ladder.
        scrubbed(|| PublicKey::from(&StaticSecret::from(*secret.expose())).to_bytes())
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
        scrubbed(|| {
            let shared = StaticSecret::from(*secret.expose()).diffie_hellman(&PublicKey::from(*public));
            // Compares in constant time.
            if shared.was_contributory() {
                Ok(Secret::copied(shared.as_bytes()))
            } else {
                Err(CryptoError::ZeroSharedSecret)
            }
        })
    }

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        scrubbed(|| {
            let mut hash = Sha256::new();
            for part in parts {
                hash.update(part);
            }
            hash.finalize().into()
        })
    }

    fn hkdf_sha256(
        &self,
        salt: &[u8],
        key_material: &[u8],
        info: &[&[u8]],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        scrubbed(|| {
            Hkdf::<Sha256>::new(Some(salt), key_material)
                .expand_multi_info(info, out)
                .map_err(|_| CryptoError::BadLength)
        })
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        // `verify_strict` refuses small-order points and a non-canonical R or S, but takes a non-canonical
        // key.
        if !is_canonical_point(public) {
            return Err(CryptoError::BadSignature);
        }
        VerifyingKey::from_bytes(public)
            .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
            .map_err(|_| CryptoError::BadSignature)
    }

    fn cipher(&self, cipher: Cipher, key: &Secret<32>) -> Result<Box<dyn CipherKey>, CryptoError> {
        match cipher {
            Cipher::ChaChaPoly => scrubbed(|| {
                Ok(Box::new(ChaChaPolyKey(ChaCha20Poly1305::new(key_ref(key)))) as Box<dyn CipherKey>)
            }),
        }
    }
}

fn key_ref(key: &Secret<32>) -> &Key {
    key.expose().into()
}

/// Whether the y coordinate of an encoded Edwards point is below the field prime 2²⁵⁵ − 19 (RFC 8032 §5.1.3).
///
/// The only other non-canonical encodings are those of the two points with x = 0 and a set sign bit; both
/// have small order, which is refused apart.
pub(crate) fn is_canonical_point(encoded: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = encoded;
    let above = *low >= 0xed && middle.iter().all(|byte| *byte == 0xff) && high & 0x7f == 0x7f;
    !above
}

/// ChaCha20-Poly1305 under one key. The wrapped type wipes its key when dropped.
struct ChaChaPolyKey(ChaCha20Poly1305);

impl CipherKey for ChaChaPolyKey {
    fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError> {
        scrubbed(|| {
            self.0
                .encrypt_inout_detached(nonce.into(), associated, text.into())
                .map(Into::into)
                .map_err(|_| CryptoError::BadLength)
        })
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        scrubbed(|| {
            self.0
                .decrypt_inout_detached(nonce.into(), associated, text.into(), tag.into())
                .map_err(|_| CryptoError::BadTag)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::ZeroizeOnDrop;

    fn wipes<T: ZeroizeOnDrop>() {}

    /// The types that hold key bytes inside this provider wipe them when dropped, by their own declaration;
    /// this stops compiling when a `zeroize` feature is lost.
    #[test]
    fn k6_the_wrapped_types_wipe_themselves() {
        wipes::<ChaCha20Poly1305>();
        wipes::<StaticSecret>();
        wipes::<x25519_dalek::SharedSecret>();
        wipes::<ed25519_dalek::SigningKey>();
        wipes::<ed25519_dalek::hazmat::ExpandedSecretKey>();
    }

    #[test]
    fn k2_encodings_at_and_above_the_prime_are_not_canonical() {
        let mut point = [0xff; 32];
        for sign in [0x7f, 0xff] {
            point[31] = sign;
            for low in 0..=u8::MAX {
                point[0] = low;
                assert_eq!(is_canonical_point(&point), low < 0xed, "{low:#x} {sign:#x}");
            }
        }
        for place in 1..32 {
            let mut below = [0xff; 32];
            below[place] = if place == 31 { 0xfe } else { 0x7f };
            assert!(is_canonical_point(&below), "byte {place} makes it smaller than the prime");
        }
    }
}
