//! I1, I2, I6, I7, I12, K1: who is at the other end, and what is done for whom.

use handclasp::hello::Hello;
use handclasp::{By, Config, Phase, Reason, Refusal, Retry, Signer, Trust};
use handclasp_sim::hostile::{self, Hostile, hello, id_bytes, messages};
use handclasp_sim::{Counting, CountingSigner, Pair, Side, Solo, builder, config, id, key};

use crate::{SIDES, failures, settle};

/// The bytes of a REFUSE record without a detail, with its length field.
const SHORT_REFUSE: usize = 2 + 1 + 2 + 16;

#[test]
fn i1_each_side_authenticates_exactly_the_key_of_the_other() {
    for (dialler, listener) in [(1, 2), (2, 1), (200, 7)] {
        let (a, b) = (config(dialler, &[listener]), config(listener, &[dialler]));
        for expected in [None, Some(id(listener))] {
            let [i, r] = settle(&mut Pair::of(&a, &b, expected));
            assert_eq!(i.view().id, key(listener).node_id());
            assert_eq!(r.view().id, key(dialler).node_id());
        }
    }
}

#[test]
fn i2_a_name_travels_and_is_the_key_of_nothing() {
    let named = |number, trusted: &[u8]| builder(number, trusted).name("same@host").build().unwrap();
    let listener = named(2, &[1, 3]);
    let mut seen = Vec::new();
    for dialler in [1, 3] {
        let [i, r] = settle(&mut Pair::of(&named(dialler, &[2]), &listener, None));
        assert_eq!(i.view().hello.name.as_deref(), Some("same@host"));
        assert_eq!(r.view().hello.name.as_deref(), Some("same@host"));
        assert_eq!(r.view().id, id(dialler));
        seen.push(r.view().id);
    }
    assert_ne!(seen[0], seen[1], "one name, two peers");
    // The name of a trusted node opens no door.
    let [i, r] = failures(&mut Pair::of(&named(5, &[2]), &listener, None));
    assert_eq!((i.reason, r.reason), (Reason::Refused(Refusal::Denied), Reason::Refused(Refusal::Denied)));
}

#[test]
fn i6_another_peer_than_the_pinned_one_ends_it_before_the_dialler_shows_itself() {
    for trust in [Trust::Anyone, Trust::Ask, Trust::listed([id(2), id(3)])] {
        let (counts, signer) = (Counting::default(), CountingSigner::new(key(1)));
        let signatures = signer.signed();
        let dialler = Config::builder(signer, 1).provider(counts.clone()).trust(trust).build().unwrap();
        let mut pair = Pair::of(&dialler, &config(2, &[1]), Some(id(3)));
        let [i, r] = failures(&mut pair);
        match i.reason {
            Reason::WrongPeer { expected, got: Some(got) } => {
                assert_eq!((expected, got.as_bytes()), (id(3), &id_bytes(2)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((i.by, i.phase, i.peer), (By::Local, Phase::Authentication, None));
        assert_eq!((r.reason, r.by), (Reason::WrongPeer { expected: id(2), got: None }, By::Peer));
        assert_eq!((r.claimed, r.peer), (None, None), "the dialler revealed itself");
        // One check, to know whether the other may be told why.
        assert_eq!((signatures.get(), counts.verified.get()), (0, 1));
        let sent = messages(&pair.initiator.pipe.log, true);
        assert_eq!((sent.len(), sent[2].len()), (3, SHORT_REFUSE));
    }
}

#[test]
fn i6_the_pin_alone_is_trust_enough_for_the_dialler() {
    let [i, r] = settle(&mut Pair::of(&config(1, &[]), &config(2, &[1]), Some(id(2))));
    assert_eq!((i.view().id, r.view().id), (id(2), id(1)));
}

#[test]
fn i7_an_untrusted_listener_costs_no_signature_and_learns_nothing() {
    for trusted in [&[][..], &[3]] {
        let (counts, signer) = (Counting::default(), CountingSigner::new(key(1)));
        let signatures = signer.signed();
        let trust = Trust::listed(trusted.iter().copied().map(id));
        let dialler = Config::builder(signer, 1).provider(counts.clone()).trust(trust).build().unwrap();
        let mut pair = Pair::of(&dialler, &config(2, &[1]), None);
        let [i, r] = failures(&mut pair);
        let denied = Reason::Refused(Refusal::Denied);
        assert_eq!((&i.reason, i.by, i.peer), (&denied, By::Local, None));
        assert_eq!(i.claimed.unwrap().as_bytes(), &id_bytes(2));
        assert_eq!((r.reason, r.by, r.claimed, r.peer), (denied, By::Peer, None, None));
        assert_eq!((signatures.get(), counts.verified.get()), (0, 0));
        let sent = messages(&pair.initiator.pipe.log, true);
        assert_eq!((sent.len(), sent[2].len()), (3, SHORT_REFUSE));
    }
}

#[test]
fn i7_an_untrusted_dialler_costs_the_listener_no_signature_check() {
    let counts = Counting::default();
    let listener = builder(2, &[3]).provider(counts.clone()).build().unwrap();
    let [i, r] = failures(&mut Pair::of(&config(1, &[2]), &listener, None));
    let denied = Reason::Refused(Refusal::Denied);
    assert_eq!((&i.reason, i.by, i.phase), (&denied, By::Peer, Phase::Status));
    assert_eq!((r.reason, r.by, r.peer), (denied, By::Local, None));
    assert_eq!(r.claimed.unwrap().as_bytes(), &id_bytes(1));
    assert_eq!(counts.verified.get(), 0);
    // The counter does count: a trusted dialler costs one.
    let listener = builder(2, &[1]).provider(counts.clone()).build().unwrap();
    assert!(settle(&mut Pair::of(&config(1, &[2]), &listener, None))[1].is_established());
    assert_eq!(counts.verified.get(), 1);
}

/// What a responder that trusts node 1 alone answers to somebody who claims an id and proves nothing.
fn answer_to_a_claim(number: u8, destination: Option<u8>) -> Vec<u8> {
    let mut solo = Solo::responder(&config(2, &[1]), 0);
    let mut peer = Hostile::dial_to(&mut solo);
    let hello = hello(|hello| hello.destination = destination.map(id_bytes));
    let auth = hostile::auth(&hello, &id_bytes(number), &[7; 64]);
    let record = peer.seal(&auth);
    solo.feed(&record);
    assert!(solo.closed().phase.is_handshake() && solo.closed().peer.is_none());
    let status = solo.written();
    peer.traffic(&peer.heard, &auth).open(&status)
}

#[test]
fn i7_a_listener_says_the_same_to_an_untrusted_id_and_to_a_bad_proof_whatever_the_destination() {
    for destination in [None, Some(2), Some(9)] {
        let (trusted, untrusted) = (answer_to_a_claim(1, destination), answer_to_a_claim(4, destination));
        assert_eq!(trusted, untrusted, "the trust list shows through, with destination {destination:?}");
    }
    // STATUS, refuse, denied.
    assert_eq!(answer_to_a_claim(1, None), [0x01, 0, 0, 3, 2, 0, 22]);
}

/// What node 1 says to a listener that claims the id of node `number`, with a proof or without one: the record's length and its text.
fn word_to_a_claim(
    trust: &Trust,
    expected: Option<u8>,
    number: u8,
    proves: bool,
) -> (usize, Vec<u8>, Reason) {
    let own = builder(1, &[]).trust(trust.clone()).build().unwrap();
    let mut solo = Solo::initiator(&own, expected.map(id), 0);
    let (mut peer, second) = Hostile::answer_to(&mut solo);
    let hello = hello(|_| {});
    let auth = if proves {
        peer.auth(&key(number), &hello)
    } else {
        hostile::auth(&hello, &id_bytes(number), &[0; 64])
    };
    solo.feed(&[second, peer.seal(&auth)].concat());
    let record = solo.written();
    (record.len(), peer.open(&record), solo.closed().reason)
}

#[test]
fn k1_a_dialler_says_the_same_to_whoever_proves_nothing_whichever_id_it_claims() {
    let listed = Trust::listed([id(2), id(3)]);
    for trust in [listed, Trust::Anyone, Trust::Ask] {
        for expected in [Some(2), None] {
            // The dialler's own id, the dialled one, one that is trusted, and one that is not.
            for number in [1, 2, 3, 7] {
                let (length, text, _) = word_to_a_claim(&trust, expected, number, false);
                assert_eq!(
                    (length, text),
                    (SHORT_REFUSE, vec![2, 0, 22]),
                    "to {number} while {expected:?} is dialled: who the dialler is or dials shows through"
                );
            }
        }
    }
}

#[test]
fn i6_the_owner_of_a_wrong_id_is_told_which_way_it_is_wrong() {
    let denied = Reason::Refused(Refusal::Denied);
    let own = Reason::Refused(Refusal::SelfConnection);
    for (number, code, reason) in [(1, 26, Some(own)), (3, 40, None), (7, 40, None)] {
        for proves in [true, false] {
            let (length, text, why) = word_to_a_claim(&Trust::Anyone, Some(2), number, proves);
            assert_eq!((length, text), (SHORT_REFUSE, vec![2, 0, if proves { code } else { 22 }]));
            // This side's own application hears the truth in any case.
            match &reason {
                Some(reason) => assert_eq!(&why, reason),
                None => assert!(matches!(why, Reason::WrongPeer { .. }), "{why:?}"),
            }
        }
    }
    let (_, text, why) = word_to_a_claim(&Trust::listed([id(2)]), None, 7, true);
    assert_eq!((text, why), (vec![2, 0, 22], denied));
}

#[test]
fn i12_a_node_that_dials_itself_is_told() {
    for (trusted, expected) in [(&[1][..], Some(id(1))), (&[1], None), (&[], None)] {
        let own = config(1, trusted);
        let mut pair = Pair::of(&own, &own, expected);
        for (closed, by) in failures(&mut pair).into_iter().zip([By::Local, By::Peer]) {
            assert_eq!((&closed.reason, closed.by), (&Reason::Refused(Refusal::SelfConnection), by));
            assert_eq!(closed.reason.retry(), Retry::Never);
        }
        assert!(SIDES.into_iter().all(|side| pair.link(side).is_finished()));
    }
}

#[test]
fn i12_a_responder_notices_its_own_id_as_well() {
    let mut solo = Solo::responder(&config(2, &[1, 2]), 0);
    let mut peer = Hostile::dial_to(&mut solo);
    let auth = peer.auth(&key(2), &hello(|_: &mut Hello| {}));
    let record = peer.seal(&auth);
    solo.feed(&record);
    assert_eq!(solo.closed().reason, Reason::Refused(Refusal::SelfConnection));
    assert_eq!(peer.traffic(&peer.heard, &auth).open(&solo.written()), [0x01, 0, 0, 3, 2, 0, 26]);
}

#[test]
fn i6_a_listener_that_is_not_the_destination_says_so() {
    // The dialler pins node 2 and reaches it; its hello says where it wanted to go.
    let [_, r] = settle(&mut Pair::new());
    assert_eq!(r.view().hello.destination, Some(id_bytes(2)));
    let mut solo = Solo::responder(&config(2, &[1]), 0);
    let mut peer = Hostile::dial_to(&mut solo);
    let auth = peer.auth(&key(1), &hello(|hello| hello.destination = Some(id_bytes(9))));
    let record = peer.seal(&auth);
    solo.feed(&record);
    assert_eq!(solo.closed().reason, Reason::Refused(Refusal::WrongDestination));
    assert_eq!(solo.closed().reason.retry(), Retry::Later(None));
    assert_eq!(peer.traffic(&peer.heard, &auth).open(&solo.written()), [0x01, 0, 0, 3, 2, 0, 27]);
}

#[test]
fn i7_no_side_of_a_refused_pair_can_send() {
    let mut pair = Pair::of(&config(1, &[2]), &config(2, &[]), Some(id(2)));
    failures(&mut pair);
    for side in [Side::Initiator, Side::Responder] {
        assert!(pair.link(side).send(handclasp::Message::new("s", &b"x"[..])).is_err());
    }
}
