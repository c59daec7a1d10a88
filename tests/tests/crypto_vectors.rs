//! Published vectors, run through the provider seam and the Noise engine. Origins: `tests/vectors/README.md`.

use handclasp::crypto::cipher::{OpenKey, SealKey};
use handclasp::crypto::noise::{HandshakeState, Protocol, Role, Split};
use handclasp::crypto::{Cipher, CryptoError, CryptoProvider, RustCrypto, Secret};
use serde_json::Value;
use std::path::Path;

fn file(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

/// Calls `check(group, test)` for every test of a Wycheproof file, and makes sure that none was missed.
fn wycheproof(name: &str, mut check: impl FnMut(&Value, &Value)) {
    let file = file(&format!("wycheproof/{name}_test.even.json"));
    let mut count = 0;
    for group in file["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            check(group, test);
            count += 1;
        }
    }
    assert_eq!(Some(count), file["numberOfTests"].as_u64());
    assert!(count > 40);
}

fn is_valid(test: &Value) -> bool {
    match test["result"].as_str().unwrap() {
        "valid" => true,
        "invalid" => false,
        other => panic!("{other}"),
    }
}

fn has_flag(test: &Value, flag: &str) -> bool {
    test["flags"].as_array().unwrap().iter().any(|other| other == flag)
}

#[test]
fn k2_wycheproof_x25519() {
    let mut zeros = 0;
    wycheproof("x25519", |_, test| {
        let (private, public) = (Secret::new(array(&test["private"])), array(&test["public"]));
        let outcome = RustCrypto.x25519(&private, &public);
        if has_flag(test, "ZeroSharedSecret") {
            zeros += 1;
            assert_eq!(outcome.err(), Some(CryptoError::ZeroSharedSecret), "{test}");
        } else {
            assert_eq!(outcome.unwrap().expose().as_slice(), bytes(&test["shared"]), "{test}");
        }
    });
    assert!(zeros > 0);
}

/// The public key goes through the base point's table, the exchange through the ladder: both must agree.
#[test]
fn k2_x25519_public_keys_agree_with_the_ladder() {
    let mut base = [0; 32];
    base[0] = 9;
    let agree = |private: [u8; 32]| {
        let private = Secret::new(private);
        let by_ladder = RustCrypto.x25519(&private, &base).unwrap();
        assert_eq!(&RustCrypto.x25519_public(&private), by_ladder.expose());
    };
    wycheproof("x25519", |_, test| agree(array(&test["private"])));
    agree([0; 32]);
    agree([0xff; 32]);
}

#[test]
fn k2_wycheproof_ed25519() {
    wycheproof("ed25519", |group, test| {
        let key = array(&group["publicKey"]["pk"]);
        // A signature of another length has no place in the type, and there is none among the valid ones.
        let outcome = <[u8; 64]>::try_from(bytes(&test["sig"]))
            .map_err(|_| CryptoError::BadSignature)
            .and_then(|signature| RustCrypto.verify(&key, &bytes(&test["msg"]), &signature));
        assert_eq!(outcome.is_ok(), is_valid(test), "{test}");
    });
}

#[test]
fn k2_wycheproof_hkdf_sha256() {
    wycheproof("hkdf_sha256", |_, test| {
        let size = usize::try_from(test["size"].as_u64().unwrap()).unwrap();
        let (salt, info, mut out) = (bytes(&test["salt"]), bytes(&test["info"]), vec![0; size]);
        let (first, second) = info.split_at(info.len() / 2);
        let outcome = RustCrypto.hkdf_sha256(&salt, &bytes(&test["ikm"]), &[first, second], &mut out);
        if is_valid(test) {
            assert_eq!((outcome, out), (Ok(()), bytes(&test["okm"])), "{test}");
        } else {
            assert_eq!(outcome, Err(CryptoError::BadLength), "{test}");
        }
    });
}

#[test]
fn k2_wycheproof_chacha20_poly1305() {
    let mut skipped = 0;
    wycheproof("chacha20_poly1305", |_, test| {
        let Ok(nonce) = bytes(&test["iv"]).try_into() else {
            assert!(!is_valid(test));
            skipped += 1;
            return;
        };
        let key = RustCrypto.cipher(Cipher::ChaChaPoly, &Secret::new(array(&test["key"]))).unwrap();
        let (associated, message, sealed) = (bytes(&test["aad"]), bytes(&test["msg"]), bytes(&test["ct"]));
        let tag = array(&test["tag"]);
        let mut text = sealed.clone();
        if is_valid(test) {
            key.open(&nonce, &associated, &mut text, &tag).unwrap();
            assert_eq!(text, message, "{test}");
            assert_eq!(key.seal(&nonce, &associated, &mut text).unwrap(), tag, "{test}");
            assert_eq!(text, sealed, "{test}");
        } else {
            let outcome = key.open(&nonce, &associated, &mut text, &tag);
            assert_eq!(outcome, Err(CryptoError::BadTag), "{test}");
            assert!(message.is_empty() || text != message, "{test}");
        }
    });
    assert_eq!(skipped, 4, "nonces of other lengths than 96 bits");
}

fn side(vector: &Value, protocol: &Protocol, role: Role) -> HandshakeState {
    let name = if role == Role::Initiator { "init" } else { "resp" };
    let prologue = bytes(&vector[format!("{name}_prologue")]);
    let ephemeral = Secret::new(array(&vector[format!("{name}_ephemeral")]));
    let mut state = HandshakeState::new(&RustCrypto, protocol, role, &prologue, ephemeral);
    if let Some(psks) = vector[format!("{name}_psks")].as_array() {
        assert_eq!(psks.len(), 1);
        state.set_psk(Secret::new(array(&psks[0]))).unwrap();
    }
    state
}

fn check_sealed(message: &Value, seal: &mut SealKey, open: &mut OpenKey) {
    let (payload, mut text) = (bytes(&message["payload"]), bytes(&message["payload"]));
    let tag = seal.seal(&mut text).unwrap();
    assert_eq!([text.as_slice(), &tag].concat(), bytes(&message["ciphertext"]));
    open.open(&mut text, &tag).unwrap();
    assert_eq!(text, payload);
}

#[test]
fn k1_cacophony_vectors_byte_for_byte() {
    let file = file("noise/cacophony_25519_ChaChaPoly_SHA256.json");
    for protocol in [Protocol::NN_CHACHA_POLY, Protocol::NN_PSK0_CHACHA_POLY, Protocol::NN_PSK2_CHACHA_POLY] {
        let vectors = file["vectors"].as_array().unwrap();
        let mut matching = vectors.iter().filter(|vector| vector["protocol_name"] == protocol.name());
        let vector = matching.next().unwrap();
        assert!(matching.next().is_none());

        let (mut initiator, mut responder) =
            (side(vector, &protocol, Role::Initiator), side(vector, &protocol, Role::Responder));
        let messages = vector["messages"].as_array().unwrap();
        let (handshake, transport) = messages.split_at(2);
        for (index, message) in handshake.iter().enumerate() {
            let (writer, reader) =
                if index == 0 { (&mut initiator, &mut responder) } else { (&mut responder, &mut initiator) };
            let (mut sent, mut read) = (Vec::new(), Vec::new());
            writer.write_message(&RustCrypto, &bytes(&message["payload"]), &mut sent).unwrap();
            assert_eq!(sent, bytes(&message["ciphertext"]), "{} message {index}", protocol.name());
            reader.read_message(&RustCrypto, &sent, &mut read).unwrap();
            assert_eq!(read, bytes(&message["payload"]));
        }

        let (mut initiator, mut responder): (Split, Split) =
            (initiator.split(&RustCrypto).unwrap(), responder.split(&RustCrypto).unwrap());
        for split in [&initiator, &responder] {
            assert_eq!(split.hash.as_slice(), bytes(&vector["handshake_hash"]));
        }
        assert_eq!(initiator.master.expose(), responder.master.expose());
        assert!(transport.len() >= 4);
        for (index, message) in transport.iter().enumerate() {
            let (from, to) = if index % 2 == 0 {
                (&mut initiator, &mut responder)
            } else {
                (&mut responder, &mut initiator)
            };
            check_sealed(message, &mut from.seal, &mut to.open);
        }
    }
}
