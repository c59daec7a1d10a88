//! What is done under memcheck's eyes, and what must come of it.

use std::hint::black_box;
use std::sync::Arc;

use handclasp::crypto::{CryptoProvider, RustCrypto, Secret};
use handclasp::signed::{Audience, Content, SignedMessage};
use handclasp::{ClusterSecret, Config, NodeId, Reason, Signer, Trust};
use handclasp_sim::watched::Watched;
use handclasp_sim::{Owned, Pair, Side};

use crate::marking::{Identity, Marking, Takes, secret};
use crate::memcheck::{errors, publish, without_marks};

/// Runs everything. True if memcheck reported what it must and nothing else.
pub fn all() -> bool {
    let mut good = true;
    let mut run = |name: &str, leaks: bool, what: fn()| {
        let before = errors();
        what();
        let found = errors() - before;
        let is_good = (found > 0) == leaks;
        let verdict = if is_good { "ok" } else { "FAILED" };
        println!("{verdict:6} {name}: {found} reported{}", if leaks { ", as it must be" } else { "" });
        good &= is_good;
    };
    run("a comparison that stops at the first difference", true, comparison);
    run("a table looked up by a secret", true, table);
    run("a sum over a secret", false, sum);
    run("a text form of a secret key, which is looked up in a table", true, text_form);
    run("suite 1, nothing marked", false, || without_marks(|| drop(conversation(&[], &[]))));
    run("suite 1: handshake, records, rekeying, export", false, || link(&[], &[]));
    run("suite 2: the same with a cluster secret", false, || link(b"a", b"a"));
    run("suite 2: the responder's second secret is the one", false, || link(b"a", b"ba"));
    run("suite 2: another secret", false, wrong_cluster_secret);
    run("a record with a wrong tag", false, wrong_tag);
    run("a public key that gives no shared secret", false, no_shared_secret);
    run("a signed message", false, signed);
    good
}

/// What must be reported.
fn comparison() {
    let key = secret([7_u8; 32]);
    if black_box(&key[..]) == black_box(&[7; 32][..]) {
        black_box(());
    }
}

/// What must be reported.
fn table() {
    let key = secret([7_u8; 32]);
    black_box(black_box(&[1_u8; 256])[usize::from(key[3])]);
}

/// What must not: a secret in a computation alone.
fn sum() {
    let key = secret([7_u8; 32]);
    black_box(key.iter().fold(0_u8, |sum, byte| sum.wrapping_add(byte.rotate_left(3) ^ 0x55)));
}

/// What is known to depend on a secret: see docs/assurance.md. When it no longer does, that belongs there.
fn text_form() {
    let key = handclasp::SecretKey::from_bytes(secret([9; 32]));
    black_box(key.to_text().expose());
}

/// A configuration of a node with a marked identity and marked cluster secrets, one for each letter.
fn config(marking: &Watched<Marking>, number: u8, secrets: &[u8]) -> Arc<Config> {
    let mut builder =
        Config::builder(Identity::new(number, marking), number.into()).provider(marking.clone());
    for letter in secrets {
        let secret = ClusterSecret::new(secret([*letter; 32])).expect("long enough");
        builder = builder.cluster_secret(secret);
    }
    builder.trust(Trust::Anyone).build().expect("a configuration")
}

fn pair(marking: &Watched<Marking>, initiator: &[u8], responder: &[u8]) -> Pair {
    let (initiator, responder) = (config(marking, 1, initiator), config(marking, 2, responder));
    let expected: NodeId = responder.node_id();
    Pair::of(&initiator, &responder, Some(expected))
}

/// A link from its first byte to its last, with calls from both sides, both directions rekeyed, and an export.
fn conversation(initiator: &[u8], responder: &[u8]) -> Watched<Marking> {
    let marking = Watched::new(Marking::default());
    let mut pair = pair(&marking, initiator, responder);
    pair.establish();
    for round in 0..2 {
        for side in [Side::Initiator, Side::Responder] {
            let answer = pair.call(side, "echo", b"a question", b"an answer");
            assert!(matches!(answer, Owned::Reply { body, .. } if body == "an answer"));
        }
        // A message of more than one record.
        let long = vec![round; 100_000];
        let now = pair.now;
        let message = handclasp::Message::new("long", &long[..]);
        pair.link(Side::Initiator).send(message).expect("room for it");
        pair.run();
        let arrived = pair.event(Side::Responder);
        assert!(matches!(arrived, Some(Owned::Message { body, .. }) if body == long));
        pair.link(Side::Initiator).rekey(now);
        pair.run();
    }
    let mut exported = [[0; 32]; 2];
    for (side, out) in [Side::Initiator, Side::Responder].into_iter().zip(&mut exported) {
        pair.link(side).export(b"label", b"context", out).expect("established");
        // Compared here, to see that the sides agree.
        publish(out);
    }
    assert_eq!(exported[0], exported[1]);
    let now = pair.now;
    pair.link(Side::Initiator).goodbye(0, "", now);
    pair.run();
    assert!(matches!(pair.closed(Side::Responder).reason, Reason::Goodbye { .. }));

    marking
}

/// The same, and the secrets in it were marked: what is not marked is not looked at.
fn link(initiator: &[u8], responder: &[u8]) {
    let marking = conversation(initiator, responder);
    // Each side: its identity signs; its ephemeral secret gives a public
    // key and a shared secret. Keys: two for traffic and two that end the handshake on each side, and after the
    // rekeyings others.
    let least = [
        (Takes::EphemeralPublic, 2),
        (Takes::EphemeralShared, 2),
        (Takes::IdentityKey, 2),
        (Takes::KeyMaterial, 4),
        (Takes::CipherKey, 12),
        (Takes::ChainingKey, 2),
    ];
    for (takes, least) in least {
        let taken = marking.taken(takes);
        assert!(taken >= least, "{takes:?}: only {taken} marked, not {least}");
    }
}

fn wrong_cluster_secret() {
    let marking = Watched::new(Marking::default());
    let mut pair = pair(&marking, b"a", b"b");
    pair.run();
    let reason = pair.closed(Side::Responder).reason;
    assert_eq!(reason, Reason::KeyExchangeFailed);
}

/// A flipped bit in a record on its way.
fn wrong_tag() {
    let marking = Watched::new(Marking::default());
    let mut pair = pair(&marking, &[], &[]);
    pair.establish();
    let message = handclasp::Message::new("a", "b");
    pair.link(Side::Initiator).send(message).expect("room for it");
    pair.act(Side::Initiator);
    *pair.initiator.pipe.bytes.back_mut().expect("a record") ^= 1;
    pair.run();
    assert_eq!(pair.closed(Side::Responder).reason, Reason::DecryptFailed);
}

/// A point of small order instead of a public key.
fn no_shared_secret() {
    let ephemeral = Secret::new(secret([5; 32]));
    assert!(RustCrypto.x25519(&ephemeral, &[0; 32]).is_err());
}

fn signed() {
    let marking = Watched::new(Marking::default());
    let origin = Identity::new(3, &marking);
    let content = Content {
        audience: Audience::topic("news"),
        epoch: 1,
        sequence: 1,
        service: "news",
        body: b"something",
    };
    let message = SignedMessage::sign(&content, &origin, &marking).expect("a signature");
    let read = SignedMessage::parse(message.bytes().clone()).expect("a signed message");
    assert_eq!(read.verify(&marking).expect("a good signature").origin(), origin.node_id());
    assert!(marking.taken(Takes::IdentityKey) == 1, "the identity was not marked");
}
