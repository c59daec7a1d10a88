//! Random bytes in every state, sealed and not. No input from the wire panics, and every handshake ends in its time.

use handclasp::{Phase, Reason, Trust};
use handclasp_sim::hostile::{Hostile, hello};
use handclasp_sim::{Solo, builder, config, id, key};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Verdict, WHOLE, verdict_of};

/// A link that has had this many of an honest peer's messages, and that peer.
fn link_after(initiates: bool, had: usize) -> (Solo, Option<Hostile>) {
    if initiates {
        let mut solo = Solo::initiator(&config(1, &[2]), Some(id(2)), 0);
        if had == 0 {
            return (solo, None);
        }
        let (mut peer, second) = Hostile::answer_to(&mut solo);
        solo.feed(&second);
        if had > 1 {
            let auth = peer.auth(&key(2), &hello(|_| {}));
            let record = peer.seal(&auth);
            solo.feed(&record);
        }
        (solo, Some(peer))
    } else {
        let mut solo = Solo::responder(&config(2, &[1]), 0);
        match had {
            0 => (solo, None),
            1 => {
                solo.feed(b"HCL\x01\x01\x00\x00\x01");
                (solo, None)
            }
            _ => {
                let peer = Hostile::dial_to(&mut solo);
                (solo, Some(peer))
            }
        }
    }
}

/// After its time the handshake has one outcome, a failure, and nothing is left to wait for.
fn fails(mut solo: Solo) -> Result<(), TestCaseError> {
    solo.pass(WHOLE);
    let verdict = verdict_of(&solo.link, &solo.events);
    prop_assert!(matches!(verdict, Verdict::Failed(_)));
    prop_assert!(solo.link.is_finished());
    prop_assert_eq!(solo.act(), None);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn h10_random_bytes_in_any_state_give_one_failure(
        initiates in any::<bool>(),
        had in 0_usize..3,
        bytes in vec(any::<u8>(), 0..5000),
        chunk in 1_usize..5000,
    ) {
        let (mut solo, _) = link_after(initiates, had);
        solo.feed_in(&bytes, chunk);
        fails(solo)?;
    }

    /// The same behind lengths that are right, so that what is behind them is looked at.
    #[test]
    fn h10_random_bodies_behind_right_lengths_give_one_failure(
        initiates in any::<bool>(),
        had in 0_usize..3,
        bodies in vec(vec(any::<u8>(), 0..100), 1..4),
    ) {
        let (mut solo, _) = link_after(initiates, had);
        for body in bodies {
            let length = if solo.link.phase() == Phase::KeyExchange { if initiates { 48 } else { 32 } } else { body.len() };
            let body: Vec<u8> = body.into_iter().chain([0; 48]).take(length).collect();
            solo.feed(&handclasp_sim::hostile::framed(&body));
        }
        fails(solo)?;
    }

    /// A peer with all the keys seals nonsense.
    #[test]
    fn h10_random_plaintext_in_place_of_auth_gives_one_failure(
        initiates in any::<bool>(),
        kind in prop_oneof![Just(1_u8), Just(2), any::<u8>()],
        text in vec(any::<u8>(), 0..4079),
    ) {
        let (mut solo, peer) = link_after(initiates, if initiates { 1 } else { 2 });
        let record = peer.unwrap().seal(&[&[kind], &text[..]].concat());
        solo.feed(&record);
        fails(solo)?;
    }

    /// A hello with damage that is signed all the same: taken whole, or refused with a type.
    #[test]
    fn h10_a_signed_hello_with_damage_is_taken_as_it_is_or_refused(
        place in any::<prop::sample::Index>(),
        value in prop_oneof![Just(0_u8), Just(0xff), any::<u8>()],
        cut in prop::option::of(any::<prop::sample::Index>()),
        initiates in any::<bool>(),
    ) {
        let mut bytes = hello(|hello| {
            hello.name = Some("someone@somewhere".into());
            hello.protocol = Some(Box::new([1, 2, 3]));
            hello.info = vec![("a".into(), Box::new([1])), ("b".into(), Box::new([2; 20]))];
            hello.capabilities = vec![handclasp::Capability::new("cap", 1..=2).unwrap()];
            hello.addresses = vec![handclasp::hello::DialAddress { weight: 1, address: "here".into() }];
        });
        let place = place.index(bytes.len());
        bytes[place] = value;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let (mut solo, peer) = link_after(initiates, if initiates { 1 } else { 2 });
        let mut peer = peer.unwrap();
        let auth = peer.auth(&key(if initiates { 2 } else { 1 }), &bytes);
        let record = peer.seal(&auth);
        solo.feed(&record);
        match solo.link.closed().map(|closed| closed.reason.clone()) {
            None => {
                let taken = &solo.link.peer().unwrap().hello;
                let mut again = Vec::new();
                handclasp::wire::hello::emit(taken, &mut again).unwrap();
                prop_assert_eq!(again, bytes, "what is shown is not what was signed");
            }
            Some(Reason::Violation(violation)) => prop_assert_eq!(violation.phase, Phase::Authentication),
            Some(Reason::Refused(refusal)) => prop_assert!(matches!(refusal.code(), 21 | 23 | 27 | 30)),
            Some(other) => prop_assert!(false, "{:?}", other),
        }
    }

    /// A peer that is in every way honest up to its traffic keys, and then seals nonsense.
    #[test]
    fn h10_random_frames_in_place_of_status_or_behind_it_are_taken_or_typed(
        initiates in any::<bool>(),
        records in vec(vec(any::<u8>(), 1..200), 1..5),
    ) {
        let ask = builder(2, &[]).trust(Trust::Ask).build().unwrap();
        let (mut solo, mut traffic) = if initiates {
            let (mut solo, peer) = link_after(true, 1);
            let mut peer = peer.unwrap();
            let auth = peer.auth(&key(2), &hello(|_| {}));
            let record = peer.seal(&auth);
            solo.feed(&record);
            let theirs = peer.open(&solo.written());
            let traffic = peer.traffic(&auth, &theirs);
            (solo, traffic)
        } else {
            let mut solo = Solo::responder(&ask, 0);
            let mut peer = Hostile::dial_to(&mut solo);
            let auth = peer.auth(&key(1), &hello(|_| {}));
            let record = peer.seal(&auth);
            solo.feed(&record);
            solo.link.admit(solo.now);
            solo.act();
            let traffic = peer.traffic(&peer.heard, &auth);
            (solo, traffic)
        };
        for record in records {
            let sealed = traffic.seal(&record);
            solo.feed(&sealed);
        }
        if initiates {
            fails(solo)?;
        } else {
            solo.pass(WHOLE);
            prop_assert!(verdict_of(&solo.link, &solo.events).is_established());
        }
    }
}
