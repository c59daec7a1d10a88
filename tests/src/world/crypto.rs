//! Cryptography for worlds with many handshakes: fast, deterministic and **worthless**.
//!
//! It has the shape of the real thing: two sides come to the same secret, a byte that is changed on its way
//! does not open, a signature fits one key and one message. Everything else about it is an invitation.

#![allow(clippy::cast_possible_truncation)] // halves of wide products

use handclasp::crypto::{Cipher, CipherKey, CryptoError, CryptoProvider, NONCE_LEN, Secret, TAG_LEN};
use handclasp::crypto::{RustCrypto, SuiteSet};
use handclasp::identity::SignerError;
use handclasp::{NodeId, Signer};

/// The prime 2⁶¹ − 1, in whose field keys are exchanged.
const PRIME: u64 = (1 << 61) - 1;

const fn multiply(a: u64, b: u64) -> u64 {
    ((a as u128 * b as u128) % PRIME as u128) as u64
}

const fn power(mut base: u64, mut exponent: u64) -> u64 {
    let mut result = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = multiply(result, base);
        }
        base = multiply(base, base);
        exponent >>= 1;
    }
    result
}

const fn mix(state: u64, word: u64) -> u64 {
    let wide = (state ^ word) as u128 * 0x9e37_79b9_7f4a_7c15;
    (wide as u64).rotate_left(23) ^ (wide >> 64) as u64 ^ 0x2545_f491_4f6c_dd1d
}

/// A digest of 64 bits over parts, one after the other as if they were one.
struct Digest {
    state: u64,
    held: [u8; 8],
    count: usize,
}

impl Digest {
    const fn new(key: u64) -> Self {
        Self { state: mix(key, 0x6a09_e667_f3bc_c908), held: [0; 8], count: 0 }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        let filled = self.count % 8;
        self.count += bytes.len();
        if filled > 0 {
            let room = bytes.len().min(8 - filled);
            self.held[filled..filled + room].copy_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            if filled + room < 8 {
                return;
            }
            self.state = mix(self.state, u64::from_le_bytes(self.held));
        }
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.state = mix(self.state, u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        let rest = words.remainder();
        self.held[..rest.len()].copy_from_slice(rest);
    }

    fn finish(mut self) -> u64 {
        let filled = self.count % 8;
        self.held[filled..].fill(0);
        self.state = mix(self.state, u64::from_le_bytes(self.held));
        mix(mix(self.state, self.count as u64), 0x1f83_d9ab_fb41_bd6b)
    }
}

fn digest(key: u64, parts: &[&[u8]]) -> u64 {
    let mut digest = Digest::new(key);
    for part in parts {
        digest.update(part);
    }
    digest.finish()
}

fn fill(mut word: u64, out: &mut [u8]) {
    for (chunk, number) in out.chunks_mut(8).zip(1_u64..) {
        word = mix(word, number);
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
}

fn word(bytes: &[u8]) -> u64 {
    digest(0, &[bytes])
}

/// The worthless provider.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worthless;

impl CryptoProvider for Worthless {
    fn name(&self) -> &'static str {
        "worthless"
    }

    fn suites(&self) -> SuiteSet {
        RustCrypto.suites()
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        let mut public = [0; 32];
        public[..8].copy_from_slice(&power(37, word(secret.expose()) % (PRIME - 1)).to_le_bytes());
        public
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
        let (low, high) = public.split_at(8);
        let theirs = u64::from_le_bytes(low.try_into().unwrap_or_default());
        if theirs % PRIME == 0 || high.iter().any(|byte| *byte != 0) {
            return Err(CryptoError::ZeroSharedSecret);
        }
        let shared = power(theirs % PRIME, word(secret.expose()) % (PRIME - 1));
        let mut bytes = Secret::default();
        fill(shared, bytes.expose_mut());
        Ok(bytes)
    }

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = [0; 32];
        fill(digest(1, parts), &mut hash);
        hash
    }

    fn hkdf_sha256(
        &self,
        salt: &[u8],
        key_material: &[u8],
        info: &[&[u8]],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        if out.len() > 255 * 32 {
            return Err(CryptoError::BadLength);
        }
        let key = digest(word(salt), &[key_material]);
        fill(digest(key, info), out);
        Ok(())
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        if sign(public, message) == *signature { Ok(()) } else { Err(CryptoError::BadSignature) }
    }

    fn cipher(&self, _cipher: Cipher, key: &Secret<32>) -> Result<Box<dyn CipherKey>, CryptoError> {
        Ok(Box::new(WorthlessKey(word(key.expose()))))
    }
}

fn sign(public: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let mut signature = [0; 64];
    fill(digest(word(public), &[message]), &mut signature);
    signature
}

struct WorthlessKey(u64);

impl WorthlessKey {
    fn start(&self, nonce: &[u8; NONCE_LEN], associated: &[u8]) -> u64 {
        digest(self.0, &[nonce, associated])
    }

    fn tag(start: u64, sealed: &[u8]) -> [u8; TAG_LEN] {
        let mut tag = [0; TAG_LEN];
        fill(digest(start, &[sealed]), &mut tag);
        tag
    }

    fn toggle(start: u64, text: &mut [u8]) {
        let mut stream = start;
        for chunk in text.chunks_mut(8) {
            stream = mix(stream, 0x5be0_cd19_137e_2179);
            for (byte, mask) in chunk.iter_mut().zip(stream.to_le_bytes()) {
                *byte ^= mask;
            }
        }
    }
}

impl CipherKey for WorthlessKey {
    fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError> {
        let start = self.start(nonce, associated);
        Self::toggle(start, text);
        Ok(Self::tag(start, text))
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        let start = self.start(nonce, associated);
        if Self::tag(start, text) != *tag {
            return Err(CryptoError::BadTag);
        }
        Self::toggle(start, text);
        Ok(())
    }
}

/// Signs for an id as [`Worthless`] verifies: without its secret key.
#[derive(Clone, Copy, Debug)]
pub struct WorthlessSigner(pub NodeId);

impl Signer for WorthlessSigner {
    fn node_id(&self) -> NodeId {
        self.0
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        Ok(sign(self.0.as_bytes(), message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_come_to_one_secret_and_another_key_to_another() {
        let secrets = [1, 2, 3].map(|byte| Secret::new([byte; 32]));
        let publics = secrets.each_ref().map(|secret| Worthless.x25519_public(secret));
        let shared = |own: usize, other: usize| {
            *Worthless.x25519(&secrets[own], &publics[other]).expect("a secret").expose()
        };
        assert_eq!(shared(0, 1), shared(1, 0));
        assert_ne!(shared(0, 1), shared(0, 2));
        assert!(Worthless.x25519(&secrets[0], &[0; 32]).is_err());
    }

    #[test]
    fn a_flipped_bit_does_not_open_wherever_it_is() {
        let key = Worthless.cipher(Cipher::ChaChaPoly, &Secret::new([7; 32])).expect("a cipher");
        let plain = *b"fifteen bytes !";
        let mut sealed = plain;
        let tag = key.seal(&[1; NONCE_LEN], b"ad", &mut sealed).expect("sealed");
        assert_ne!(sealed, plain);
        for bit in 0..8 * (plain.len() + TAG_LEN) {
            let (mut text, mut tag) = (sealed, tag);
            match text.get_mut(bit / 8) {
                Some(byte) => *byte ^= 1 << (bit % 8),
                None => tag[bit / 8 - plain.len()] ^= 1 << (bit % 8),
            }
            assert!(key.open(&[1; NONCE_LEN], b"ad", &mut text, &tag).is_err(), "bit {bit}");
        }
        assert!(key.open(&[2; NONCE_LEN], b"ad", &mut sealed.clone(), &tag).is_err(), "another nonce");
        key.open(&[1; NONCE_LEN], b"ad", &mut sealed, &tag).expect("opens");
        assert_eq!(sealed, plain);
    }

    #[test]
    fn how_a_hashed_text_is_cut_into_parts_changes_nothing() {
        let text: Vec<u8> = (0..100).collect();
        let whole = Worthless.sha256(&[&text]);
        for cut in 0..text.len() {
            let (one, two) = text.split_at(cut);
            assert_eq!(Worthless.sha256(&[one, two]), whole);
        }
        assert_ne!(Worthless.sha256(&[&text[1..]]), whole);
        assert_ne!(Worthless.sha256(&[&text, &[0]]), whole);
    }
}
