//! The provider seam: the self-test, a provider from outside the core, and what becomes of secrets.

use handclasp::crypto::cipher::{OpenKey, SealKey};
use handclasp::crypto::noise::{HandshakeState, Protocol, Role};
use handclasp::crypto::{
    Cipher, CryptoError, CryptoProvider, Primitive, RustCrypto, Secret, Seed, self_test,
};
use handclasp::identity::SecretKey;
use handclasp_sim::watched::{At, Key, Tag, Watch, Watched};
use handclasp_sim::{Count, Counting};
use zeroize::{Zeroize, ZeroizeOnDrop};

#[test]
fn k8_the_default_provider_passes_its_self_test() {
    assert_eq!(self_test(&RustCrypto), Ok(()));
}

/// One way for a provider to be wrong: the default one with this flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Hash,
    Hkdf,
    HkdfRefuses,
    PublicKey,
    Exchange,
    ZeroExchange,
    AnySignature,
    NoSignature,
    Seal,
    OpenAnything,
    NoCipher,
}

impl Watch for Flaw {
    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        let mut public = RustCrypto.x25519_public(secret);
        public[31] ^= u8::from(*self == Flaw::PublicKey);
        public
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
        match RustCrypto.x25519(secret, public) {
            Err(CryptoError::ZeroSharedSecret) if *self == Flaw::ZeroExchange => Ok(Secret::default()),
            Ok(_) if *self == Flaw::Exchange => Ok(Secret::new([1; 32])),
            outcome => outcome,
        }
    }

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        // Forgets all parts but the first.
        let known = if *self == Flaw::Hash { parts.len().min(1) } else { parts.len() };
        RustCrypto.sha256(&parts[..known])
    }

    fn hkdf_sha256(
        &self,
        salt: &[u8],
        key: &[u8],
        info: &[&[u8]],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        match self {
            Flaw::Hkdf => RustCrypto.hkdf_sha256(salt, key, &[], out),
            Flaw::HkdfRefuses => Err(CryptoError::BadLength),
            _ => RustCrypto.hkdf_sha256(salt, key, info, out),
        }
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        match self {
            Flaw::AnySignature => Ok(()),
            Flaw::NoSignature => Err(CryptoError::BadSignature),
            _ => RustCrypto.verify(public, message, signature),
        }
    }

    fn cipher(&self, cipher: Cipher, secret: &Secret<32>) -> Result<Key, CryptoError> {
        if *self == Flaw::NoCipher {
            return Err(CryptoError::UnsupportedCipher);
        }
        Key::new(cipher, secret)
    }

    fn seal(&self, key: &Key, at: At, text: &mut [u8]) -> Result<Tag, CryptoError> {
        let associated = if *self == Flaw::Seal { &[] } else { at.associated };
        key.seal(At { associated, ..at }, text)
    }

    fn open(&self, key: &Key, at: At, text: &mut [u8], tag: &Tag) -> Result<(), CryptoError> {
        let outcome = key.open(at, text, tag);
        if *self == Flaw::OpenAnything { Ok(()) } else { outcome }
    }
}

#[test]
fn k8_the_self_test_names_the_primitive_that_is_wrong() {
    for (flaw, primitive) in [
        (Flaw::Hash, Primitive::Sha256),
        (Flaw::Hkdf, Primitive::HkdfSha256),
        (Flaw::HkdfRefuses, Primitive::HkdfSha256),
        (Flaw::PublicKey, Primitive::X25519),
        (Flaw::Exchange, Primitive::X25519),
        (Flaw::ZeroExchange, Primitive::X25519),
        (Flaw::AnySignature, Primitive::Ed25519),
        (Flaw::NoSignature, Primitive::Ed25519),
        (Flaw::Seal, Primitive::ChaChaPoly),
        (Flaw::OpenAnything, Primitive::ChaChaPoly),
        (Flaw::NoCipher, Primitive::ChaChaPoly),
    ] {
        let failure = self_test(&Watched::new(flaw)).unwrap_err();
        assert_eq!(failure.primitive, primitive, "{flaw:?}");
        assert!(failure.to_string().contains(&primitive.to_string()));
    }
}

/// What a provider was asked for since the last time: exchanges, public keys, texts to seal and to open, and signatures.
fn taken(counting: &Counting) -> [usize; 5] {
    [&counting.exchanged, &counting.public_keys, &counting.sealed, &counting.opened, &counting.verified]
        .map(Count::take)
}

fn side(provider: &dyn CryptoProvider, role: Role, psk: u8) -> HandshakeState {
    let ephemeral = Secret::new(if role == Role::Initiator { [1; 32] } else { [2; 32] });
    let mut state =
        HandshakeState::new(provider, &Protocol::NN_PSK0_CHACHA_POLY, role, b"prologue", ephemeral);
    state.set_psk(Secret::new([psk; 32])).unwrap();
    state
}

/// A provider of another crate plugs in as a value, works with a peer that has the default one, and sees exactly the
/// operations that the handshake is made of.
#[test]
fn k2_another_provider_plugs_in() {
    let counting = Counting::default();
    let (mut initiator, mut responder) =
        (side(&counting, Role::Initiator, 7), side(&RustCrypto, Role::Responder, 7));
    let (mut first, mut second, mut payload) = (Vec::new(), Vec::new(), Vec::new());
    initiator.write_message(&counting, b"", &mut first).unwrap();
    responder.read_message(&RustCrypto, &first, &mut payload).unwrap();
    responder.write_message(&RustCrypto, b"", &mut second).unwrap();
    initiator.read_message(&counting, &second, &mut payload).unwrap();
    assert_eq!(taken(&counting), [1, 1, 1, 1, 0]);

    let (mut ours, mut theirs) = (initiator.split(&counting).unwrap(), responder.split(&RustCrypto).unwrap());
    let mut text = *b"text";
    let tag = ours.seal.seal(&mut text).unwrap();
    theirs.open.open(&mut text, &tag).unwrap();
    assert_eq!((&text, taken(&counting)), (b"text", [0, 0, 1, 0, 0]));
    assert_eq!(self_test(&counting), Ok(()));
}

/// A wrong cluster secret costs the responder one tag check: no exchange, no key of its own.
#[test]
fn k1_a_wrong_key_costs_one_tag_check() {
    let counting = Counting::default();
    let (mut initiator, mut responder) =
        (side(&RustCrypto, Role::Initiator, 7), side(&counting, Role::Responder, 8));
    let (mut message, mut payload) = (Vec::new(), Vec::new());
    initiator.write_message(&RustCrypto, b"", &mut message).unwrap();
    let outcome = responder.read_message(&counting, &message, &mut payload);
    assert_eq!((outcome, taken(&counting)), (Err(CryptoError::BadTag), [0, 0, 0, 1, 0]));
}

/// A provider without the cipher is an error where a key is made, not a panic later.
#[test]
fn k2_a_missing_cipher_is_a_typed_error() {
    let (provider, key) = (Watched::new(Flaw::NoCipher), Secret::new([1; 32]));
    let wanted = Some(CryptoError::UnsupportedCipher);
    assert_eq!(SealKey::new(&provider, Cipher::ChaChaPoly, &key).err(), wanted);
    assert_eq!(OpenKey::new(&provider, Cipher::ChaChaPoly, &key).err(), wanted);
    let mut initiator = side(&provider, Role::Initiator, 7);
    assert_eq!(initiator.write_message(&provider, b"", &mut Vec::new()).err(), wanted);
    let mut seal = SealKey::new(&RustCrypto, Cipher::ChaChaPoly, &key).unwrap();
    assert_eq!(seal.rekey(&provider).err(), wanted);
    let (mut text, mut same) = ([0; 8], [0; 8]);
    let tag = seal.seal(&mut text).unwrap();
    let mut fresh = SealKey::new(&RustCrypto, Cipher::ChaChaPoly, &key).unwrap();
    assert_eq!(fresh.seal(&mut same).unwrap(), tag, "after a failed rekey the old key stands");
}

/// No form of `secret` that `Debug` could produce is in `shown`, in neither layout: bytes in decimal or hexadecimal.
fn assert_hidden(shown: &str, secret: &[u8]) {
    let shown: String = shown.to_lowercase().split_whitespace().collect();
    for part in secret.windows(3) {
        let [a, b, c] = part else { unreachable!() };
        for form in [
            format!("{a},{b},{c}"),
            format!("{a:#x},{b:#x},{c:#x}"),
            format!("{a:02x},{b:02x},{c:02x}"),
            format!("{a:02x}{b:02x}{c:02x}"),
        ] {
            assert!(!shown.contains(&form), "{form:?} in {shown}");
        }
    }
}

/// Every public type that holds a secret is printed in both forms and searched for it.
#[test]
fn k6_debug_never_shows_a_secret() {
    let secret: [u8; 32] = std::array::from_fn(|i| 0xa1 ^ u8::try_from(i * 7).unwrap());
    let mut lines = Vec::new();
    let mut show = |value: &dyn std::fmt::Debug| lines.push(format!("{value:?}\n{value:#?}\n"));

    show(&Secret::new(secret));
    show(&Seed::new(secret));
    let key = SecretKey::from_bytes(secret);
    show(&key);
    show(&key.to_text());
    show(&SealKey::new(&RustCrypto, Cipher::ChaChaPoly, &Secret::new(secret)).unwrap());
    show(&OpenKey::new(&RustCrypto, Cipher::ChaChaPoly, &Secret::new(secret)).unwrap());
    let state = |role| {
        let ephemeral = Secret::new(secret);
        let mut state =
            HandshakeState::new(&RustCrypto, &Protocol::NN_PSK0_CHACHA_POLY, role, b"", ephemeral);
        state.set_psk(Secret::new(secret)).unwrap();
        state
    };
    let (mut initiator, mut responder) = (state(Role::Initiator), state(Role::Responder));
    show(&initiator);
    let (mut message, mut payload) = (Vec::new(), Vec::new());
    initiator.write_message(&RustCrypto, b"", &mut message).unwrap();
    show(&initiator);
    responder.read_message(&RustCrypto, &message, &mut payload).unwrap();
    message.clear();
    responder.write_message(&RustCrypto, b"", &mut message).unwrap();
    let split = responder.split(&RustCrypto).unwrap();
    show(&split);
    let shown = lines.concat();
    let (text, master) = (key.to_text(), *split.master.expose());
    assert!(!shown.contains(&text.expose()[7..17]));
    assert_hidden(&shown, &secret);
    assert_hidden(&shown, &master);
    // The search itself finds what is there.
    for form in [format!("{secret:?}"), format!("{secret:#?}"), format!("{secret:X?}"), hex::encode(secret)] {
        assert!(std::panic::catch_unwind(|| assert_hidden(&form, &secret)).is_err(), "{form}");
    }
}

fn wipes<T: ZeroizeOnDrop>() {}

/// What can be shown without looking at memory: the types declare that they wipe themselves, and the wiping that they
/// run when dropped leaves zeros.
#[test]
fn k6_secrets_declare_and_do_their_wiping() {
    wipes::<Secret<32>>();
    wipes::<Secret<96>>();
    let mut secret = Secret::new([7; 32]);
    secret.zeroize();
    assert_eq!(secret.expose(), &[0; 32]);
}

/// The memory of this process, read through the file system: dropping a secret leaves zeros where its bytes were, all
/// the time of its life and whatever it was moved to. What is left of whole links is looked for in
/// `threats/remains.rs`.
#[cfg(target_os = "linux")]
#[test]
fn k6_a_dropped_secret_is_gone_from_memory() {
    use std::hint::black_box;
    use std::io::{Read, Seek, SeekFrom};

    // What an allocator does not give back to the system at once. It keeps its own notes in the first bytes.
    const SIZE: usize = 1000;
    const NOTES: usize = 16;
    let read = |address: usize| {
        let mut bytes = [0; SIZE - NOTES];
        let mut memory = std::fs::File::open("/proc/self/mem").unwrap();
        memory.seek(SeekFrom::Start((address + NOTES) as u64)).unwrap();
        memory.read_exact(&mut bytes).unwrap();
        bytes
    };
    let mut secret = Secret::<SIZE>::default();
    secret.expose_mut().fill(0x5a);
    let address = secret.expose().as_ptr() as usize;
    let moved = black_box(vec![Some(black_box(secret))]);
    let secret = moved.into_iter().next().flatten().unwrap();
    assert_eq!(secret.expose().as_ptr() as usize, address, "moving it moves no byte of it");
    assert_eq!(read(address), [0x5a; SIZE - NOTES]);
    drop(secret);
    assert_eq!(read(address), [0; SIZE - NOTES]);

    // The same with bytes that nobody wipes, to show that the zeros above are the wiping's.
    let bytes = black_box(vec![0x5a_u8; SIZE]);
    let address = bytes.as_ptr() as usize;
    drop(bytes);
    assert_eq!(read(address), [0x5a; SIZE - NOTES]);
}
