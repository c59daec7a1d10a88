//! Known-answer tests of a provider, with the vectors that the defining documents print.

use super::{Cipher, CryptoError, CryptoProvider, NONCE_LEN, Secret, Suite, TAG_LEN};
use core::fmt;

/// What a provider implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Primitive {
    /// X25519 (RFC 7748).
    X25519,
    /// Verification of Ed25519 signatures (RFC 8032).
    Ed25519,
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// HKDF with SHA-256 (RFC 5869).
    HkdfSha256,
    /// ChaCha20-Poly1305 (RFC 8439).
    ChaChaPoly,
}

impl fmt::Display for Primitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X25519 => "X25519",
            Self::Ed25519 => "Ed25519",
            Self::Sha256 => "SHA-256",
            Self::HkdfSha256 => "HKDF-SHA-256",
            Self::ChaChaPoly => "ChaCha20-Poly1305",
        })
    }
}

/// A provider gave a wrong answer. It must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfTestFailure {
    /// The primitive that is wrong.
    pub primitive: Primitive,
}

impl fmt::Display for SelfTestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the cryptographic provider fails the known-answer test of {}", self.primitive)
    }
}

impl core::error::Error for SelfTestFailure {}

/// Checks `provider` against published vectors: right answers given, wrong inputs refused. It takes well
/// under a millisecond; run it once at the start of a process.
///
/// # Errors
/// [`SelfTestFailure`] with the first primitive that is wrong.
pub fn self_test(provider: &dyn CryptoProvider) -> Result<(), SelfTestFailure> {
    let check = |primitive, good| if good { Ok(()) } else { Err(SelfTestFailure { primitive }) };
    check(Primitive::Sha256, sha256(provider))?;
    check(Primitive::HkdfSha256, hkdf_sha256(provider))?;
    check(Primitive::X25519, x25519(provider))?;
    check(Primitive::Ed25519, ed25519(provider))?;
    if Suite::ALL.iter().any(|suite| provider.suites().contains(*suite)) {
        check(Primitive::ChaChaPoly, chacha_poly(provider) == Ok(true))?;
    }
    Ok(())
}

/// FIPS 180-4's examples: "abc", the two-block message, and the empty one.
fn sha256(provider: &dyn CryptoProvider) -> bool {
    const ABC: [u8; 32] = hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const TWO_BLOCKS: [u8; 32] = hex("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    const EMPTY: [u8; 32] = hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    provider.sha256(&[b"abc"]) == ABC
        && provider.sha256(&[b"a", b"", b"bc"]) == ABC
        && provider.sha256(&[b"abcdbcdecdefdefgefghfghighijhijk", b"ijkljklmklmnlmnomnopnopq"]) == TWO_BLOCKS
        && provider.sha256(&[]) == EMPTY
}

/// RFC 5869 appendix A.1.
fn hkdf_sha256(provider: &dyn CryptoProvider) -> bool {
    const SALT: [u8; 13] = hex("000102030405060708090a0b0c");
    const INFO: [u8; 10] = hex("f0f1f2f3f4f5f6f7f8f9");
    const OUTPUT: [u8; 42] =
        hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    let mut out = [0; 42];
    let (first, rest) = INFO.split_at(3);
    let done = provider.hkdf_sha256(&SALT, &[0x0b; 22], &[first, rest], &mut out);
    done == Ok(()) && out == OUTPUT
}

/// RFC 7748 §5.2 (first vector), §6.1, and the refusal of a zero result.
fn x25519(provider: &dyn CryptoProvider) -> bool {
    const SCALAR: [u8; 32] = hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    const POINT: [u8; 32] = hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    const PRODUCT: [u8; 32] = hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
    const ALICE: [u8; 32] = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    const ALICE_PUBLIC: [u8; 32] = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    const BOB_PUBLIC: [u8; 32] = hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    const SHARED: [u8; 32] = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    let equals = |outcome: Result<Secret<32>, CryptoError>, wanted: &[u8; 32]| {
        outcome.is_ok_and(|shared| shared.expose() == wanted)
    };
    let (scalar, alice) = (Secret::new(SCALAR), Secret::new(ALICE));
    equals(provider.x25519(&scalar, &POINT), &PRODUCT)
        && provider.x25519_public(&alice) == ALICE_PUBLIC
        && equals(provider.x25519(&alice, &BOB_PUBLIC), &SHARED)
        && provider.x25519(&alice, &[0; 32]).err() == Some(CryptoError::ZeroSharedSecret)
}

/// RFC 8032 §7.1, test 2; then the same with another message, and under a key of small order, which
/// "verifies" every message when it is let in.
fn ed25519(provider: &dyn CryptoProvider) -> bool {
    const KEY: [u8; 32] = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    const SIGNATURE: [u8; 64] = hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    const NEUTRAL: [u8; 32] = hex("0100000000000000000000000000000000000000000000000000000000000000");
    const HOLLOW: [u8; 64] = hex("0100000000000000000000000000000000000000000000000000000000000000\
         0000000000000000000000000000000000000000000000000000000000000000");
    provider.verify(&KEY, &[0x72], &SIGNATURE).is_ok()
        && provider.verify(&KEY, &[0x73], &SIGNATURE) == Err(CryptoError::BadSignature)
        && provider.verify(&NEUTRAL, &[0x72], &HOLLOW) == Err(CryptoError::BadSignature)
}

/// RFC 8439 §2.8.2; then a changed tag, text, nonce and associated data.
fn chacha_poly(provider: &dyn CryptoProvider) -> Result<bool, CryptoError> {
    const KEY: [u8; 32] = hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    const NONCE: [u8; NONCE_LEN] = hex("070000004041424344454647");
    const ASSOCIATED: [u8; 12] = hex("50515253c0c1c2c3c4c5c6c7");
    const TEXT: [u8; 114] = *b"Ladies and Gentlemen of the class of '99: If I could offer you only one \
        tip for the future, sunscreen would be it.";
    const SEALED: [u8; 114] = hex("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6\
         3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36\
         92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
         3ff4def08e4b7a9de576d26586cec64b6116");
    const TAG: [u8; TAG_LEN] = hex("1ae10b594f09e26a7e902ecbd0600691");

    let key = provider.cipher(Cipher::ChaChaPoly, &Secret::new(KEY))?;
    let mut text = TEXT;
    let sealed = key.seal(&NONCE, &ASSOCIATED, &mut text)? == TAG && text == SEALED;
    let opened = key.open(&NONCE, &ASSOCIATED, &mut text, &TAG).is_ok() && text == TEXT;

    let refuses = |nonce: [u8; NONCE_LEN], associated: [u8; 12], mut text: [u8; 114], tag: [u8; TAG_LEN]| {
        key.open(&nonce, &associated, &mut text, &tag) == Err(CryptoError::BadTag)
    };
    Ok(sealed
        && opened
        && refuses(NONCE, ASSOCIATED, SEALED, flipped(TAG))
        && refuses(NONCE, ASSOCIATED, flipped(SEALED), TAG)
        && refuses(NONCE, flipped(ASSOCIATED), SEALED, TAG)
        && refuses(flipped(NONCE), ASSOCIATED, SEALED, TAG))
}

/// The same bytes with the last bit changed.
fn flipped<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes
}

/// Lower-case hexadecimal to bytes, at compile time.
const fn hex<const N: usize>(text: &str) -> [u8; N] {
    const fn nibble(digit: u8) -> u8 {
        match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => panic!("not a hexadecimal digit"),
        }
    }
    let text = text.as_bytes();
    assert!(text.len() == 2 * N);
    let mut bytes = [0; N];
    let mut i = 0;
    while i < N {
        bytes[i] = nibble(text[2 * i]) << 4 | nibble(text[2 * i + 1]);
        i += 1;
    }
    bytes
}
