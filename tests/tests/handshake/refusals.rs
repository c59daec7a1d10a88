//! H5 and H6: who says no, and that both sides' applications hear it.

use std::sync::Arc;
use std::time::Duration;

use handclasp::crypto::TAG_LEN;
use handclasp::{
    By, Capability, Config, Limits, Padding, Phase, Reason, Refusal, Retry, Trust, VersionRange,
};
use handclasp_sim::hostile::{Hostile, REFUSE, messages};
use handclasp_sim::{Counting, Owned, Pair, Side, Solo, builder, config, id};

use crate::{SIDES, failures, settle};

fn able(number: u8, peer: u8, capabilities: &[(&str, u16, u16, bool)]) -> Arc<Config> {
    let add = |builder: handclasp::ConfigBuilder, (name, min, max, required): &(&str, u16, u16, bool)| {
        let capability = Capability::new(*name, *min..=*max).unwrap();
        builder.capability(if *required { capability.required() } else { capability })
    };
    capabilities.iter().fold(builder(number, &[peer]), add).build().unwrap()
}

#[test]
fn h5_a_missing_required_capability_is_named_to_both_sides() {
    type Able<'a> = &'a [(&'a str, u16, u16, bool)];
    let cases: [(Able<'_>, Able<'_>, &[&str]); 6] = [
        (&[("a", 1, 1, true)], &[], &["a"]),
        (&[], &[("a", 1, 1, true)], &["a"]),
        (&[("b", 1, 1, true), ("z", 1, 1, false)], &[("a", 1, 1, true)], &["a", "b"]),
        (&[("a", 1, 2, true)], &[("a", 3, 4, false)], &["a"]),
        (&[("a", 1, 2, false)], &[("a", 3, 4, true)], &["a"]),
        (&[("a", 1, 2, true), ("c", 0, 0, true)], &[("a", 2, 4, true), ("b", 0, 0, true)], &["b", "c"]),
    ];
    for (ours, theirs, missing) in cases {
        let [i, r] = failures(&mut Pair::of(&able(1, 2, ours), &able(2, 1, theirs), Some(id(2))));
        let names = missing.iter().map(|name| (*name).to_owned()).collect();
        let reason = Reason::Refused(Refusal::MissingCapability { names });
        assert_eq!((&i.reason, i.by), (&reason, By::Local));
        assert_eq!((&r.reason, r.by), (&reason, By::Peer));
        assert_eq!(reason.retry(), Retry::Never);
        assert_eq!((i.peer, r.peer), (Some(id(2)), None), "the dialler has not shown itself");
    }
    let [i, r] =
        settle(&mut Pair::of(&able(1, 2, &[("a", 1, 3, true)]), &able(2, 1, &[("a", 2, 9, true)]), None));
    assert_eq!((i.view().outcome.capability("a"), r.view().outcome.capability("a")), (Some(3), Some(3)));
}

fn all_refusals() -> Vec<(Refusal, Retry)> {
    let wait = Duration::from_millis(1500);
    let (ours, theirs) = (VersionRange::new(1, 2).unwrap(), VersionRange::new(3, 4).unwrap());
    vec![
        (Refusal::OverCapacity { retry_after: wait }, Retry::Later(Some(wait))),
        (Refusal::Incompatible { ours, theirs }, Retry::Never),
        (Refusal::Denied, Retry::Never),
        (Refusal::MissingCapability { names: vec!["x".into(), "y".into()] }, Retry::Never),
        (Refusal::Alive, Retry::Later(None)),
        (Refusal::Simultaneous, Retry::Now),
        (Refusal::SelfConnection, Retry::Never),
        (Refusal::WrongDestination, Retry::Later(None)),
        (Refusal::Registry, Retry::Later(None)),
        (Refusal::ShuttingDown, Retry::Later(None)),
        (Refusal::OtherProtocol, Retry::Never),
    ]
}

/// A pair in which one side, or each, asks its application.
fn asking(sides: &[Side]) -> Pair {
    let node = |number, peer, side| {
        let trust = if sides.contains(&side) { Trust::Ask } else { Trust::listed([id(peer)]) };
        builder(number, &[]).trust(trust).build().unwrap()
    };
    Pair::of(&node(1, 2, Side::Initiator), &node(2, 1, Side::Responder), None)
}

#[test]
fn h6_every_refusal_reaches_both_applications_with_reason_author_and_retry() {
    for refuser in SIDES {
        for (refusal, retry) in all_refusals() {
            let mut pair = asking(&[refuser]);
            pair.run();
            assert_eq!(pair.link(refuser).phase(), Phase::Admission);
            let peer = if refuser == Side::Initiator { id(2) } else { id(1) };
            assert!(matches!(pair.end(refuser).events.last(), Some(Owned::Identified(who)) if *who == peer));
            let now = pair.now;
            pair.link(refuser).refuse(refusal.clone(), now);
            let [i, r] = failures(&mut pair);
            let (own, other) = if refuser == Side::Initiator { (i, r) } else { (r, i) };
            assert_eq!(
                (own.reason, own.by, own.phase),
                (Reason::Refused(refusal.clone()), By::Local, Phase::Admission)
            );
            assert_eq!(own.peer, Some(peer));
            let told = Reason::Refused(refusal.clone().mirrored());
            assert_eq!((&other.reason, other.by), (&told, By::Peer), "{refuser:?} refuses");
            assert_eq!((told.retry(), refusal.retry()), (retry, retry));
            assert_eq!(told.code(), refusal.code());
        }
    }
}

#[test]
fn h6_an_application_that_is_asked_may_take_its_time_and_admit() {
    for sides in [&SIDES[..1], &SIDES[1..], &SIDES] {
        let mut pair = asking(sides);
        for _ in 0..2 {
            pair.run();
            for side in sides {
                pair.pass(Duration::from_secs(1));
                let now = pair.now;
                pair.link(*side).admit(now);
            }
        }
        let [i, r] = settle(&mut pair);
        assert_eq!((i.view().id, r.view().id), (id(2), id(1)));
        assert_eq!(i.view().binding, r.view().binding);
    }
}

#[test]
fn h6_admit_and_refuse_out_of_season_do_nothing() {
    let mut pair = Pair::established();
    for side in SIDES {
        let now = pair.now;
        pair.link(side).refuse(Refusal::Denied, now);
        pair.link(side).admit(now);
    }
    pair.run();
    assert!(SIDES.into_iter().all(|side| pair.link(side).phase() == Phase::Established));
    // Nor does an `admit` open a link that was refused.
    let mut pair = asking(&[Side::Responder]);
    pair.run();
    let now = pair.now;
    pair.responder.link.refuse(Refusal::Denied, now);
    pair.responder.link.admit(now);
    failures(&mut pair);
}

/// Before there are keys: no cryptography is spent, and the time to wait is on the wire.
#[test]
fn h6_over_capacity_goes_out_in_the_clear_and_costs_nothing() {
    for (asked, told) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (90_000_000, 65_535)] {
        for preamble_first in [false, true] {
            let counts = Counting::default();
            let responder = builder(2, &[1]).provider(counts.clone()).build().unwrap();
            let mut pair = Pair::of(&config(1, &[2]), &responder, Some(id(2)));
            if preamble_first {
                let mut dialled = Solo::initiator(&config(1, &[2]), Some(id(2)), 0);
                pair.inject(Side::Responder, &dialled.written()[..8]);
                assert_eq!(pair.responder.link.phase(), Phase::KeyExchange);
            }
            let retry_after = Duration::from_millis(asked);
            let now = pair.now;
            pair.responder.link.refuse(Refusal::OverCapacity { retry_after }, now);
            let [i, r] = failures(&mut pair);
            let retry_after = Duration::from_secs(told.min(60));
            assert_eq!(
                (&i.reason, i.by),
                (&Reason::Refused(Refusal::OverCapacity { retry_after }), By::Peer)
            );
            assert_eq!(i.reason.retry(), Retry::Later(Some(retry_after)));
            assert_eq!((r.reason.code(), r.by), (20, By::Local));
            assert_eq!((counts.public_keys.get(), counts.exchanged.get(), counts.opened.get()), (0, 0, 0));
        }
    }
}

/// What comes in a record of refusal, and what it means to a responder.
#[test]
fn h6_a_refusal_record_is_a_refusal_or_a_violation() {
    let cases: [(&[u8], Option<Reason>); 12] = [
        (&[0, 22], Some(Reason::Refused(Refusal::Denied))),
        (&[0, 22, 1, 2, 3], Some(Reason::Refused(Refusal::Denied))),
        (&[0, 45], Some(Reason::Downgrade)),
        (&[0, 40], Some(Reason::WrongPeer { expected: id(2), got: None })),
        (
            &[0, 20, 0, 0, 0, 7],
            Some(Reason::Refused(Refusal::OverCapacity { retry_after: Duration::from_millis(7) })),
        ),
        (&[0, 20, 0, 0], None),
        (&[0, 23, 1, 0], None),
        (&[0, 31], None),
        (&[0, 1, 0, 0, 0, 0], None),
        (&[0, 50], None),
        (&[0], None),
        (&[], None),
    ];
    for (refusal, wanted) in cases {
        let mut solo = Solo::responder(&config(2, &[1]), 0);
        let mut peer = Hostile::dial_to(&mut solo);
        let record = peer.seal(&[&[REFUSE], refusal].concat());
        solo.feed(&record);
        let closed = solo.closed();
        match wanted {
            Some(reason) => assert_eq!((closed.reason, closed.by), (reason, By::Peer), "{refusal:x?}"),
            None => assert!(matches!(closed.reason, Reason::Violation(_)), "{refusal:x?}: {closed}"),
        }
        assert_eq!((closed.phase, closed.peer, closed.claimed), (Phase::Authentication, None, None));
    }
}

#[test]
fn h6_a_padded_refusal_keeps_to_what_every_peer_takes() {
    let limits = |max_record| Limits { max_record, ..Limits::default() };
    for (dialler, listener) in [(4096, Limits::default().max_record), (65_519, 65_519)] {
        let one = builder(1, &[2]).limits(limits(dialler)).build().unwrap();
        let padded = builder(2, &[]).limits(limits(listener)).padding(Padding::Block(8192)).build().unwrap();
        let mut pair = Pair::of(&one, &padded, Some(id(2)));
        let [i, r] = failures(&mut pair);
        let denied = Reason::Refused(Refusal::Denied);
        assert_eq!((i.reason, i.by), (denied.clone(), By::Peer));
        assert_eq!((r.reason, r.by), (denied, By::Local));
        let said = messages(&pair.responder.pipe.log, false);
        assert_eq!((said.len(), said[2].len()), (3, 2 + 4080 + TAG_LEN), "of at most {dialler}");
    }
}

/// A node that makes room ends a handshake wherever that is, and the dialler learns it as long as it can.
#[test]
fn h6_a_dialler_is_told_of_no_room_at_any_step_of_its_handshake() {
    let refusal = Refusal::OverCapacity { retry_after: Duration::from_secs(3) };
    for phase in [Phase::Preamble, Phase::KeyExchange, Phase::Authentication] {
        let mut pair = Pair::of(&config(1, &[2]), &config(2, &[1]), Some(id(2)));
        pair.act(Side::Initiator);
        while pair.responder.link.phase() != phase {
            let byte = pair.initiator.pipe.bytes.pop_front().expect("the phase is reached");
            pair.inject(Side::Responder, &[byte]);
        }
        let now = pair.now;
        pair.link(Side::Responder).refuse(refusal.clone(), now);
        let [i, r] = failures(&mut pair);
        let reason = Reason::Refused(refusal.clone());
        assert_eq!((&i.reason, i.by, &r.reason, r.by), (&reason, By::Peer, &reason, By::Local), "{phase:?}");
    }
}
