//! K5: recorded bytes, played again to anybody.

use std::sync::Arc;

use handclasp::{Config, Phase, Reason, Refusal};
use handclasp_sim::hostile::{Hostile, messages};
use handclasp_sim::{Pair, Side, Solo, builder, config, id};

use crate::{SIDES, WHOLE, settle, verdict_of};

fn nodes() -> [Arc<Config>; 2] {
    [config(1, &[2]), config(2, &[1])]
}

/// A whole session of node 1 and node 2, with a message each way behind the handshake; the messages of both directions.
fn session(run: u64) -> [Vec<Vec<u8>>; 2] {
    let [i, r] = nodes();
    let mut pair = Pair::seeded(&i, &r, Some(id(2)), run);
    pair.establish();
    for side in SIDES {
        pair.link(side).send(handclasp::Message::new("s", &b"secret words"[..])).unwrap();
    }
    pair.run();
    SIDES.map(|side| messages(&pair.end(side).pipe.log, side == Side::Initiator))
}

fn fresh(which: Side, run: u64) -> Solo {
    let [i, r] = nodes();
    match which {
        Side::Initiator => Solo::initiator(&i, Some(id(2)), run),
        Side::Responder => Solo::responder(&r, run),
    }
}

/// Plays bytes to a link and lets it have its time: it must not have authenticated anybody.
fn authenticates_nobody(mut solo: Solo, bytes: &[u8]) {
    solo.feed(bytes);
    assert!(solo.link.phase() <= Phase::Authentication || solo.link.phase() == Phase::Closed);
    solo.pass(WHOLE);
    let verdict = verdict_of(&solo.link, &solo.events);
    assert_eq!(verdict.failure().peer, None, "a recording proved an id");
    assert_eq!(solo.events.len(), 2, "Opened and Closed: {:?}", solo.events);
}

#[test]
fn k5_a_session_replayed_whole_or_in_part_authenticates_nothing() {
    let recorded = session(0);
    for from in &recorded {
        let count = from.len();
        for choice in 0..1_u32 << count {
            let chosen = (0..count).filter(|index| choice & (1 << index) != 0);
            let bytes: Vec<u8> = chosen.flat_map(|index| from[index].clone()).collect();
            for which in SIDES {
                authenticates_nobody(fresh(which, 5), &bytes);
            }
        }
    }
    // The control: with the randomness of the recorded session, and only with it, the same bytes are accepted.
    let mut same = fresh(Side::Responder, 0);
    same.feed(&recorded[0].concat());
    assert_eq!(same.link.phase(), Phase::Established);
}

#[test]
fn k5_a_recording_is_as_little_use_at_another_node() {
    let recorded = session(0);
    let other = builder(3, &[1, 2]).build().unwrap();
    authenticates_nobody(Solo::responder(&other, 1), &recorded[0].concat());
    authenticates_nobody(Solo::initiator(&other, Some(id(2)), 1), &recorded[1].concat());
    // Even with the very ephemeral key of the recorded responder, another node signs something else.
    let mut same_seed = Solo::responder(&other, 0);
    same_seed.feed(&recorded[0].concat());
    assert_eq!(same_seed.closed().peer, None);
}

#[test]
fn k5_own_bytes_reflected_authenticate_nothing() {
    for which in SIDES {
        let mut solo = fresh(which, 0);
        for _ in 0..4 {
            let own = solo.written();
            solo.feed(&own);
        }
        solo.pass(WHOLE);
        assert_eq!(verdict_of(&solo.link, &solo.events).failure().peer, None);
    }
    // Two diallers that are joined by somebody in the middle.
    let (mut a, mut b) = (fresh(Side::Initiator, 1), Solo::initiator(&config(2, &[1]), Some(id(1)), 2));
    for _ in 0..4 {
        let (from_a, from_b) = (a.written(), b.written());
        a.feed(&from_b);
        b.feed(&from_a);
    }
    assert!(a.closed().peer.is_none() && b.closed().peer.is_none());
}

/// The responder's own AUTH, sealed anew by an initiator that has the keys: the id, the role and the signature are not its own.
#[test]
fn k5_a_proof_reflected_under_good_keys_authenticates_nothing() {
    for trusted in [&[1][..], &[1, 2]] {
        let mut solo = Solo::responder(&config(2, trusted), 0);
        let mut peer = Hostile::dial_to(&mut solo);
        let auth = peer.heard.clone();
        let record = peer.seal(&auth);
        solo.feed(&record);
        assert_eq!(solo.closed().reason, Reason::Refused(Refusal::SelfConnection));
        assert_eq!(solo.closed().peer, None);
    }
}

/// A relay that terminates both sides itself and hands on the proofs: what machine-in-the-middle means here.
#[test]
fn k5_proofs_handed_on_between_two_key_exchanges_authenticate_nothing() {
    let mut initiator = fresh(Side::Initiator, 0);
    let mut responder = fresh(Side::Responder, 0);
    let (mut to_initiator, second) = Hostile::answer_to(&mut initiator);
    let to_responder = Hostile::dial_to(&mut responder);
    let record = to_initiator.seal(&to_responder.heard);
    initiator.feed(&[second, record].concat());
    assert_eq!((initiator.closed().reason, initiator.closed().peer), (Reason::BadSignature, None));
    // The dialler has said `denied` and not who it is, so there is nothing to hand on to the responder.
    assert_eq!(to_initiator.open(&initiator.written()), [2, 0, 22]);
}

/// Two sessions of the same two nodes at the same time; one message of the first stands in place of the second's.
#[test]
fn k5_two_sessions_spliced_at_any_message_authenticate_nothing_wrong() {
    let donors = [session(0), {
        // Node 3 dialling node 2 with the same randomness as the victim session, and the other way round.
        let mut pair = Pair::seeded(&config(3, &[2]), &config(2, &[3]), Some(id(2)), 7);
        pair.establish();
        SIDES.map(|side| messages(&pair.end(side).pipe.log, side == Side::Initiator))
    }];
    for (which, donor) in donors.iter().enumerate() {
        for (writer, donated) in SIDES.into_iter().zip(donor) {
            for (index, foreign) in donated.iter().enumerate().take(3) {
                let [i, r] = nodes();
                let mut pair = Pair::seeded(&i, &r, Some(id(2)), 7);
                let (mut seen, mut changed) = (0, false);
                pair.run_with(|side, pipe| {
                    if side != writer || pipe.bytes.is_empty() {
                        return;
                    }
                    let bytes: Vec<u8> = pipe.bytes.drain(..).collect();
                    let mut parts = messages(&bytes, side == Side::Initiator && seen == 0);
                    for part in &mut parts {
                        if seen == index {
                            changed = part != foreign;
                            part.clone_from(foreign);
                        }
                        seen += 1;
                    }
                    pipe.bytes.extend(parts.concat());
                });
                let verdicts = settle(&mut pair);
                let reader = &verdicts[usize::from(writer == Side::Initiator)];
                assert_eq!(reader.is_established(), !changed, "donor {which}, message {index} of {writer:?}");
                for (verdict, honest) in verdicts.iter().zip([id(2), id(1)]) {
                    if verdict.is_established() {
                        assert_eq!(verdict.view().id, honest);
                    }
                }
            }
        }
    }
}

/// A record of one direction, or of an earlier time, in place of the next.
#[test]
fn k5_traffic_records_replayed_or_reflected_end_the_link() {
    for which in SIDES {
        let mut pair = Pair::established();
        pair.link(which).send(handclasp::Message::new("s", &b"once"[..])).unwrap();
        let before = pair.end(which).pipe.log.len();
        pair.run();
        let record = pair.end(which).pipe.log[before..].to_vec();
        assert!(!record.is_empty() && pair.end(which.other()).events.len() == 1);
        for victim in [which, which.other()] {
            let mut pair = Pair::established();
            pair.link(which).send(handclasp::Message::new("s", &b"once"[..])).unwrap();
            pair.run();
            pair.inject(victim, &record);
            assert_eq!(pair.closed(victim).reason, Reason::DecryptFailed);
            let events = &pair.end(victim).events;
            let heard =
                events.iter().filter(|event| matches!(event, handclasp_sim::Owned::Message { .. })).count();
            assert_eq!(heard, usize::from(victim != which));
        }
    }
}
