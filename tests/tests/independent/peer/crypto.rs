//! Hashes, HKDF, the record cipher and Noise's symmetric state, from RFC 2104, RFC 5869 and the Noise specification.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};

pub type Hash = [u8; 32];

pub fn sha256(parts: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Hash {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes every key");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// RFC 5869, extract and expand. Noise's HKDF is the same with an empty info.
pub fn hkdf(salt: &[u8], ikm: &[u8], info: &[u8], length: usize) -> Vec<u8> {
    let key = hmac(salt, &[ikm]);
    let mut out = Vec::new();
    let mut block = Vec::new();
    for index in 1u8.. {
        if out.len() >= length {
            break;
        }
        block = hmac(&key, &[&block, info, &[index]]).to_vec();
        out.extend(&block);
    }
    out.truncate(length);
    out
}

/// `N` hashes out of HKDF's bytes.
pub fn split<const N: usize>(bytes: &[u8]) -> [Hash; N] {
    let mut out = [[0; 32]; N];
    for (hash, bytes) in out.iter_mut().zip(bytes.chunks(32)) {
        hash.copy_from_slice(bytes);
    }
    out
}

pub fn x25519_public(secret: &[u8; 32]) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*secret)).to_bytes()
}

fn x25519(secret: &[u8; 32], public: &[u8]) -> [u8; 32] {
    let public: [u8; 32] = public.try_into().expect("32 bytes");
    StaticSecret::from(*secret).diffie_hellman(&PublicKey::from(public)).to_bytes()
}

/// A key and its counter.
#[derive(Clone)]
pub struct Cipher {
    pub key: Hash,
    pub counter: u64,
}

impl Cipher {
    pub fn new(key: Hash) -> Self {
        Self { key, counter: 0 }
    }

    fn nonce(counter: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&counter.to_le_bytes());
        nonce.into()
    }

    fn seal_at(&self, counter: u64, aad: &[u8], msg: &[u8]) -> Vec<u8> {
        let cipher = ChaCha20Poly1305::new(&Key::from(self.key));
        cipher.encrypt(&Self::nonce(counter), Payload { msg, aad }).expect("ChaCha20-Poly1305 seals")
    }

    pub fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let out = self.seal_at(self.counter, aad, plaintext);
        self.counter += 1;
        out
    }

    pub fn open(&mut self, aad: &[u8], msg: &[u8]) -> Option<Vec<u8>> {
        let cipher = ChaCha20Poly1305::new(&Key::from(self.key));
        let out = cipher.decrypt(&Self::nonce(self.counter), Payload { msg, aad }).ok()?;
        self.counter += 1;
        Some(out)
    }

    /// Noise §11.3: the first 32 bytes of 32 zero bytes sealed under the largest nonce. The counter goes on.
    pub fn rekey(&mut self) {
        let sealed = self.seal_at(u64::MAX, &[], &[0; 32]);
        self.key.copy_from_slice(&sealed[..32]);
    }
}

/// One step of the key exchange, for the worked example.
pub struct Step {
    pub what: &'static str,
    pub ck: Hash,
    pub h: Hash,
    pub k: Option<Hash>,
}

/// Noise's `HandshakeState` for NN and `NNpsk0`, seen from one side.
pub struct Noise {
    psk: Option<Hash>,
    secret: [u8; 32],
    theirs: [u8; 32],
    ck: Hash,
    pub h: Hash,
    cipher: Option<Cipher>,
    /// What came out of each step.
    pub steps: Vec<Step>,
    /// The X25519 result.
    pub shared: [u8; 32],
}

impl Noise {
    pub fn new(psk: Option<Hash>, prologue: &[u8], secret: [u8; 32]) -> Self {
        let name: &[u8] = match psk {
            None => b"Noise_NN_25519_ChaChaPoly_SHA256",
            Some(_) => b"Noise_NNpsk0_25519_ChaChaPoly_SHA256",
        };
        let h = if name.len() <= 32 { split::<1>(name)[0] } else { sha256(&[name]) };
        let mut noise =
            Self { psk, secret, theirs: [0; 32], ck: h, h, cipher: None, steps: Vec::new(), shared: [0; 32] };
        noise.note("Initialize: protocol name");
        noise.mix_hash(prologue);
        noise.note("MixHash(prologue)");
        noise
    }

    fn note(&mut self, what: &'static str) {
        let k = self.cipher.as_ref().map(|cipher| cipher.key);
        self.steps.push(Step { what, ck: self.ck, h: self.h, k });
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.h = sha256(&[&self.h, data]);
    }

    fn mix_key(&mut self, input: &[u8]) {
        let [ck, key] = split(&hkdf(&self.ck, input, &[], 64));
        self.ck = ck;
        self.cipher = Some(Cipher::new(key));
    }

    fn psk(&mut self) {
        if let Some(psk) = self.psk {
            let [ck, mixed, key] = split(&hkdf(&self.ck, &psk, &[], 96));
            self.ck = ck;
            self.mix_hash(&mixed);
            self.cipher = Some(Cipher::new(key));
            self.note("msg1: psk");
        }
    }

    fn e(&mut self, public: &[u8], what: &'static str) {
        self.mix_hash(public);
        if self.psk.is_some() {
            self.mix_key(public);
        }
        self.note(what);
    }

    fn ee(&mut self) {
        self.shared = x25519(&self.secret, &self.theirs);
        assert_ne!(self.shared, [0; 32], "a point of small order");
        let shared = self.shared;
        self.mix_key(&shared);
        self.note("msg2: ee");
    }

    /// The empty payload, sealed if there is a key.
    fn write_payload(&mut self, what: &'static str) -> Vec<u8> {
        let (h, cipher) = (self.h, self.cipher.as_mut());
        let out = cipher.map_or_else(Vec::new, |cipher| cipher.seal(&h, &[]));
        self.mix_hash(&out);
        self.note(what);
        out
    }

    fn read_payload(&mut self, bytes: &[u8], what: &'static str) -> Option<()> {
        let h = self.h;
        let plain = match self.cipher.as_mut() {
            Some(cipher) => cipher.open(&h, bytes)?,
            None => bytes.to_vec(),
        };
        self.mix_hash(bytes);
        self.note(what);
        plain.is_empty().then_some(())
    }

    pub fn write_msg1(&mut self) -> Vec<u8> {
        self.psk();
        let public = x25519_public(&self.secret);
        self.e(&public, "msg1: e");
        [public.to_vec(), self.write_payload("msg1: payload")].concat()
    }

    pub fn read_msg1(&mut self, bytes: &[u8]) -> Option<()> {
        self.psk();
        let (public, payload) = bytes.split_at(32);
        self.theirs.copy_from_slice(public);
        self.e(public, "msg1: e");
        self.read_payload(payload, "msg1: payload")
    }

    pub fn write_msg2(&mut self) -> Vec<u8> {
        let public = x25519_public(&self.secret);
        self.e(&public, "msg2: e");
        self.ee();
        [public.to_vec(), self.write_payload("msg2: payload")].concat()
    }

    pub fn read_msg2(&mut self, bytes: &[u8]) -> Option<()> {
        let (public, payload) = bytes.split_at(32);
        self.theirs.copy_from_slice(public);
        self.e(public, "msg2: e");
        self.ee();
        self.read_payload(payload, "msg2: payload")
    }

    /// k1, k2 and master.
    pub fn split(&self) -> [Hash; 3] {
        split(&hkdf(&self.ck, &[], &[], 96))
    }
}
