//! I1, I6, K1: proofs that prove something else.

use ed25519_dalek::VerifyingKey;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use handclasp::crypto::{CryptoProvider, RustCrypto};
use handclasp::{Config, NodeId, Phase, Reason, Refusal, Signer, Trust};
use handclasp_sim::hostile::{self, Hostile, hello, id_bytes, signed};
use handclasp_sim::{Counting, Side, Solo, builder, config, id, key};
use sha2::Sha512;
use std::sync::Arc;

use crate::SIDES;

/// What is wrong with a proof: from what it should be over, and the key, to a signature.
type Forge = fn(role: u8, hash: [u8; 32], auth_r: [u8; 32], hello: &[u8], number: u8) -> [u8; 64];

fn right(role: u8, hash: [u8; 32], auth_r: [u8; 32], hello: &[u8], number: u8) -> [u8; 64] {
    key(number).sign(&signed(role, &hash, &auth_r, hello, &id_bytes(number))).unwrap()
}

const FORGERIES: [(&str, Forge); 12] = [
    ("for the other role", |role, hash, auth_r, hello, n| right(1 - role, hash, auth_r, hello, n)),
    ("for the other role, without AUTH_R", |role, hash, _, hello, n| {
        right(1 - role, hash, [0; 32], hello, n)
    }),
    ("for another transcript", |role, mut hash, auth_r, hello, n| {
        hash[31] ^= 1;
        right(role, hash, auth_r, hello, n)
    }),
    ("over another AUTH_R", |role, hash, mut auth_r, hello, n| {
        auth_r[0] ^= 0x80;
        right(role, hash, auth_r, hello, n)
    }),
    ("over another hello", |role, hash, auth_r, hello, n| {
        let mut other = hello.to_vec();
        other[4] ^= 1;
        right(role, hash, auth_r, &other, n)
    }),
    ("over a shorter hello", |role, hash, auth_r, hello, n| right(role, hash, auth_r, &hello[1..], n)),
    ("by another key over its own id", |role, hash, auth_r, hello, _| right(role, hash, auth_r, hello, 7)),
    ("by another key over the claimed id", |role, hash, auth_r, hello, n| {
        key(7).sign(&signed(role, &hash, &auth_r, hello, &id_bytes(n))).unwrap()
    }),
    ("by the key, over another id", |role, hash, auth_r, hello, n| {
        key(n).sign(&signed(role, &hash, &auth_r, hello, &id_bytes(7))).unwrap()
    }),
    ("without the label", |role, hash, auth_r, hello, n| {
        key(n).sign(&signed(role, &hash, &auth_r, hello, &id_bytes(n))[32..]).unwrap()
    }),
    ("of zeros", |_, _, _, _, _| [0; 64]),
    ("with a scalar above the group's order", |role, hash, auth_r, hello, n| {
        let mut signature = right(role, hash, auth_r, hello, n);
        // S + L, which a lax verifier reduces.
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        let mut carry = 0_u16;
        for (place, add) in signature[32..].iter_mut().zip(order) {
            carry += u16::from(*place) + u16::from(add);
            *place = u8::try_from(carry & 0xff).unwrap();
            carry >>= 8;
        }
        signature
    }),
];

/// Lets a link hear an AUTH. What it tells the peer, opened.
fn heard(which: Side, own: &Arc<Config>, make: impl FnOnce(&Hostile) -> Vec<u8>) -> (Solo, Vec<u8>) {
    if which == Side::Initiator {
        let mut solo = Solo::initiator(own, None, 0);
        let (mut peer, second) = Hostile::answer_to(&mut solo);
        let auth = make(&peer);
        solo.feed(&[second, peer.seal(&auth)].concat());
        let answer = peer.open(&solo.written());
        (solo, answer)
    } else {
        let mut solo = Solo::responder(own, 0);
        let mut peer = Hostile::dial_to(&mut solo);
        let auth = make(&peer);
        let record = peer.seal(&auth);
        solo.feed(&record);
        let status = solo.written();
        let answer = peer.traffic(&peer.heard, &auth).open(&status);
        (solo, answer)
    }
}

/// The way to say `denied`: REFUSE from an initiator, STATUS from a responder.
fn denied(which: Side) -> &'static [u8] {
    if which == Side::Initiator { &[2, 0, 22] } else { &[0x01, 0, 0, 3, 2, 0, 22] }
}

#[test]
fn k1_a_proof_of_something_else_is_a_bad_signature_here_and_denied_there() {
    let hello = hello(|_| {});
    for which in SIDES {
        let (number, role) = if which == Side::Initiator { (2, 1) } else { (1, 0) };
        let own = |trust| builder(3 - number, &[]).trust(trust).build().unwrap();
        for trust in [Trust::listed([id(number)]), Trust::Anyone, Trust::Ask] {
            let own = own(trust);
            for (what, forge) in FORGERIES {
                let (mut solo, told) = heard(which, &own, |peer| {
                    let auth_r = if role == 0 { RustCrypto.sha256(&[&peer.heard]) } else { [0; 32] };
                    let signature = forge(role, peer.hash(), auth_r, &hello, number);
                    hostile::auth(&hello, &id_bytes(number), &signature)
                });
                let closed = solo.closed();
                assert_eq!(closed.reason, Reason::BadSignature, "{what}, at the {which:?}");
                assert_eq!((closed.phase, closed.peer), (Phase::Authentication, None));
                assert_eq!(closed.claimed.unwrap().as_bytes(), &id_bytes(number));
                assert_eq!(told, denied(which), "{what}, at the {which:?}");
                assert_eq!(solo.events.len(), 2, "Opened and Closed: {:?}", solo.events);
            }
            // The right proof is taken: each forgery differs from it in one thing.
            let mut solo = if which == Side::Initiator {
                Solo::initiator(&own, None, 0)
            } else {
                Solo::responder(&own, 0)
            };
            let record = if which == Side::Initiator {
                let (mut peer, second) = Hostile::answer_to(&mut solo);
                solo.feed(&second);
                let signature = right(1, peer.hash(), [0; 32], &hello, number);
                peer.seal(&hostile::auth(&hello, &id_bytes(number), &signature))
            } else {
                let mut peer = Hostile::dial_to(&mut solo);
                let auth_r = RustCrypto.sha256(&[&peer.heard]);
                let signature = right(0, peer.hash(), auth_r, &hello, number);
                peer.seal(&hostile::auth(&hello, &id_bytes(number), &signature))
            };
            solo.feed(&record);
            assert_eq!(solo.link.closed(), None);
        }
    }
}

fn bytes(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// Ids that no honest key has: the points of small order, encodings of other values, points off the curve, and a good key with each
/// point of small order added.
fn weak_ids() -> Vec<[u8; 32]> {
    let small = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ]
    .map(bytes);
    let point = |bytes: &[u8; 32]| VerifyingKey::from_bytes(bytes).unwrap().to_edwards();
    let mixed = small.iter().skip(1).map(|low| (point(&id_bytes(1)) + point(low)).compress().to_bytes());
    let high = (0xed..=0xff_u8).flat_map(|low| [(low, 0x7f), (low, 0xff)]).map(|(first, last)| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (first, last);
        bytes
    });
    let sign_of_zero = [
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        // y = 2 is on no point.
        "0200000000000000000000000000000000000000000000000000000000000000",
    ]
    .map(bytes);
    let weak: Vec<_> = small.into_iter().chain(mixed).chain(high).chain(sign_of_zero).collect();
    assert!(weak.iter().all(|id| NodeId::from_bytes(*id).is_err()));
    weak
}

/// Even with a signature that a lax verifier takes: the point's form is looked at first.
#[test]
fn i1_no_weak_id_gets_in_whoever_is_trusted() {
    let hello = hello(|_| {});
    for which in SIDES {
        for trust in [Trust::Anyone, Trust::Ask, Trust::listed([id(1), id(2)])] {
            let counts = Counting::default();
            let own = builder(9, &[]).trust(trust.clone()).provider(counts.clone()).build().unwrap();
            for weak in weak_ids() {
                let (mut solo, told) = heard(which, &own, |peer| {
                    let (role, auth_r) = match which {
                        Side::Initiator => (1, [0; 32]),
                        Side::Responder => (0, RustCrypto.sha256(&[&peer.heard])),
                    };
                    let over = signed(role, &peer.hash(), &auth_r, &hello, &weak);
                    // By the honest half of a mixed key; R the neutral point and S zero where there is none.
                    let signature = match VerifyingKey::from_bytes(&weak) {
                        Ok(public) if !public.is_weak() => {
                            let secret = ExpandedSecretKey::from(&[1; 32]);
                            raw_sign::<Sha512>(&secret, &over, &public).to_bytes()
                        }
                        _ => {
                            let mut signature = [0; 64];
                            signature[0] = 1;
                            signature
                        }
                    };
                    hostile::auth(&hello, &weak, &signature)
                });
                let closed = solo.closed();
                let listed = matches!(trust, Trust::Listed(_));
                let reason = if listed { Reason::Refused(Refusal::Denied) } else { Reason::BadSignature };
                assert_eq!((closed.reason, closed.peer), (reason, None), "{weak:x?}");
                assert_eq!(told, denied(which));
            }
            assert_eq!(counts.verified.get(), 0, "no signature of a weak key is even looked at");
        }
    }
}

#[test]
fn i6_a_pinned_peer_cannot_be_played_by_another_trusted_one() {
    // Node 3 is trusted as well, and answers in place of node 2 with a proof of its own, or of node 2 by its own key.
    for claimed in [2, 3] {
        let mut solo = Solo::initiator(&config(1, &[2, 3]), Some(id(2)), 0);
        let (mut peer, second) = Hostile::answer_to(&mut solo);
        let hello = hello(|_| {});
        let over = signed(1, &peer.hash(), &[0; 32], &hello, &id_bytes(claimed));
        let auth = hostile::auth(&hello, &id_bytes(claimed), &key(3).sign(&over).unwrap());
        solo.feed(&[second, peer.seal(&auth)].concat());
        match (claimed, solo.closed().reason) {
            (2, Reason::BadSignature) => assert_eq!(peer.open(&solo.written()), [2, 0, 22]),
            (3, Reason::WrongPeer { .. }) => assert_eq!(peer.open(&solo.written()), [2, 0, 40]),
            (_, other) => panic!("{other:?}"),
        }
    }
}
