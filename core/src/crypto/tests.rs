//! What needs the inside of the module: counters near their end, and out-of-turn steps.

use super::cipher::{OpenKey, SealKey};
use super::noise::{HandshakeState, Protocol, Role};
use super::*;
use alloc::vec::Vec;

const KEY: [u8; 32] = [9; 32];

fn pair() -> (SealKey, OpenKey) {
    let key = Secret::new(KEY);
    (
        SealKey::new(&RustCrypto, Cipher::ChaChaPoly, &key).unwrap(),
        OpenKey::new(&RustCrypto, Cipher::ChaChaPoly, &key).unwrap(),
    )
}

#[test]
fn k3_a_counter_never_moves_on_a_failed_open() {
    let (mut seal, mut open) = pair();
    for round in 0..5 {
        let mut text = *b"payload";
        let tag = seal.seal(&mut text).unwrap();
        for bit in 0..8 * TAG_LEN {
            let (mut bad_tag, mut copy) = (tag, text);
            bad_tag[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open.open(&mut copy, &bad_tag), Err(CryptoError::BadTag));
            assert_ne!(&copy, b"payload", "a failed open gives nothing of the plaintext");
        }
        assert_eq!(open.open_with_ad(b"other", &mut text.clone(), &tag), Err(CryptoError::BadTag));
        assert_eq!(open.counter(), round);
        open.open(&mut text, &tag).unwrap();
        assert_eq!((&text, open.counter(), seal.counter()), (b"payload", round + 1, round + 1));
        assert_eq!(open.open(&mut text, &tag), Err(CryptoError::BadTag), "a replay fails");
    }
}

#[test]
fn k3_the_last_counter_is_never_used() {
    let (seal, open) = pair();
    let (mut seal, mut open) = (seal.with_counter(u64::MAX - 1), open.with_counter(u64::MAX - 1));
    let mut text = *b"last";
    let tag = seal.seal(&mut text).unwrap();
    open.open(&mut text, &tag).unwrap();
    assert_eq!((seal.counter(), open.counter()), (u64::MAX, u64::MAX));
    for _ in 0..3 {
        assert_eq!(seal.seal(&mut text), Err(CryptoError::CounterExhausted));
        assert_eq!(&text, b"last", "nothing is encrypted");
        assert_eq!(open.open(&mut text, &tag), Err(CryptoError::CounterExhausted));
        assert_eq!((seal.counter(), open.counter()), (u64::MAX, u64::MAX));
    }
    seal.rekey(&RustCrypto).unwrap();
    assert_eq!(
        seal.seal(&mut text),
        Err(CryptoError::CounterExhausted),
        "a new key does not reset the counter"
    );
}

#[test]
fn k3_counters_make_distinct_nonces_over_their_whole_range() {
    for (counter, wanted) in [
        (0, [0; 12]),
        (1, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        (0x0102_0304_0506_0708, [0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]),
        (u64::MAX, [0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]),
    ] {
        assert_eq!(Cipher::ChaChaPoly.nonce(counter), wanted);
    }
}

#[test]
fn k3_rekey_changes_the_key_and_keeps_the_counter() {
    let (mut seal, mut open) = pair();
    let (mut first, mut second) = (*b"text", *b"text");
    let tag = seal.seal(&mut first).unwrap();
    open.open(&mut first, &tag).unwrap();
    seal.rekey(&RustCrypto).unwrap();
    assert_eq!(seal.counter(), 1);
    let tag = seal.seal(&mut second).unwrap();
    assert_eq!(open.open(&mut second.clone(), &tag), Err(CryptoError::BadTag), "the old key is of no use");
    open.rekey(&RustCrypto).unwrap();
    open.open(&mut second, &tag).unwrap();
    assert_eq!((&second, seal.counter(), open.counter()), (b"text", 2, 2));

    // The definition, written out: ENCRYPT(k, 2^64 - 1, empty, 32 zeros), first 32 bytes.
    let mut next = Secret::new([0; 32]);
    let old = RustCrypto.cipher(Cipher::ChaChaPoly, &Secret::new(KEY)).unwrap();
    old.seal(&[0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255], &[], next.expose_mut()).unwrap();
    let mut by_hand = SealKey::new(&RustCrypto, Cipher::ChaChaPoly, &next).unwrap().with_counter(1);
    let mut third = *b"text";
    assert_eq!(by_hand.seal(&mut third).unwrap(), tag);
}

fn state(protocol: &Protocol, role: Role) -> HandshakeState {
    let ephemeral = Secret::new(if role == Role::Initiator { [1; 32] } else { [2; 32] });
    HandshakeState::new(&RustCrypto, protocol, role, b"prologue", ephemeral)
}

#[test]
fn k1_steps_out_of_turn_are_refused_and_change_nothing() {
    let (mut initiator, mut responder) = (
        state(&Protocol::NN_CHACHA_POLY, Role::Initiator),
        state(&Protocol::NN_CHACHA_POLY, Role::Responder),
    );
    let (mut out, mut payload) = (Vec::new(), Vec::new());
    let turn = Err(CryptoError::OutOfTurn);
    assert_eq!(responder.write_message(&RustCrypto, b"", &mut out), turn);
    assert_eq!(initiator.read_message(&RustCrypto, &[0; 32], &mut payload), turn);
    initiator.write_message(&RustCrypto, b"", &mut out).unwrap();
    assert_eq!(initiator.write_message(&RustCrypto, b"", &mut out), turn);
    assert_eq!(out.len(), 32);
    responder.read_message(&RustCrypto, &out, &mut payload).unwrap();
    assert_eq!(responder.read_message(&RustCrypto, &out, &mut payload), turn);
    out.clear();
    responder.write_message(&RustCrypto, b"", &mut out).unwrap();
    assert_eq!(out.len(), 48);
    assert!(responder.is_finished() && !initiator.is_finished());
    assert_eq!(responder.write_message(&RustCrypto, b"", &mut out), turn);
    assert_eq!(initiator.split(&RustCrypto).err(), Some(CryptoError::OutOfTurn));
    // It takes the state: two splits would be two keys with the same nonces.
    assert!(responder.split(&RustCrypto).is_ok());
}

#[test]
fn k1_a_message_that_fails_leaves_the_state_as_it_was() {
    let protocol = Protocol::NN_PSK0_CHACHA_POLY;
    let (mut initiator, mut responder) =
        (state(&protocol, Role::Initiator), state(&protocol, Role::Responder));
    let (mut out, mut payload) = (Vec::new(), b"kept".to_vec());
    assert_eq!(initiator.write_message(&RustCrypto, b"", &mut out), Err(CryptoError::PskMismatch));
    assert!(out.is_empty());
    initiator.set_psk(Secret::new([3; 32])).unwrap();
    assert_eq!(
        initiator.write_message(&RustCrypto, &alloc::vec![0; noise::MAX_MESSAGE - 47], &mut out),
        Err(CryptoError::BadLength)
    );
    assert!(out.is_empty());
    initiator.write_message(&RustCrypto, b"hello", &mut out).unwrap();
    assert_eq!(initiator.set_psk(Secret::new([3; 32])), Err(CryptoError::OutOfTurn));

    for wrong in 4..8 {
        responder.set_psk(Secret::new([wrong; 32])).unwrap();
        let outcome = responder.read_message(&RustCrypto, &out, &mut payload);
        assert_eq!((outcome, payload.as_slice()), (Err(CryptoError::BadTag), b"kept".as_slice()));
    }
    responder.set_psk(Secret::new([3; 32])).unwrap();
    for length in 0..out.len() {
        let error = responder.read_message(&RustCrypto, &out[..length], &mut payload).unwrap_err();
        assert!(matches!(error, CryptoError::BadLength | CryptoError::BadTag));
    }
    for bit in 0..8 * out.len() {
        let mut changed = out.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(responder.read_message(&RustCrypto, &changed, &mut payload), Err(CryptoError::BadTag));
    }
    responder.read_message(&RustCrypto, &out, &mut payload).unwrap();
    assert_eq!(payload, b"kepthello");

    let (mut reply, mut read) = (Vec::new(), Vec::new());
    responder.write_message(&RustCrypto, b"", &mut reply).unwrap();
    let mut changed = reply.clone();
    changed[40] ^= 1;
    assert_eq!(initiator.read_message(&RustCrypto, &changed, &mut read), Err(CryptoError::BadTag));
    initiator.read_message(&RustCrypto, &reply, &mut read).unwrap();
    let (one, other) = (initiator.split(&RustCrypto).unwrap(), responder.split(&RustCrypto).unwrap());
    assert_eq!(one.hash, other.hash);
    assert_eq!(one.master.expose(), other.master.expose());
}

#[test]
fn k1_a_key_of_small_order_ends_the_exchange() {
    let mut responder = state(&Protocol::NN_CHACHA_POLY, Role::Responder);
    responder.read_message(&RustCrypto, &[0; 32], &mut Vec::new()).unwrap();
    let mut out = Vec::new();
    assert_eq!(responder.write_message(&RustCrypto, b"", &mut out), Err(CryptoError::ZeroSharedSecret));
    assert!(out.is_empty());
    assert_eq!(responder.set_psk(Secret::default()), Err(CryptoError::PskMismatch));
}
