//! L4: what a link tells its owner comes in order, and ends with one `Closed`, whatever happens when.

use std::time::Duration;

use handclasp::{Action, Message, Payload, Phase, Ready, Reason};
use handclasp_sim::raw::{Raw, call, frame, send};
use handclasp_sim::{Owned, Pair, Side, builder, id};
use proptest::prelude::*;

use crate::support::{SIDES, asked, just_under, millis, raw, secs, take_events};

#[derive(Clone, Debug)]
enum Step {
    Act(bool),
    Deliver(bool, usize),
    Pass(u64),
    Ready(bool, (bool, bool, bool)),
    Send(bool),
    Call(bool),
    Flip(bool, usize),
    Cut(bool),
    Fail(bool),
    Goodbye(bool),
    Close(bool),
    Rekey(bool),
    BeReady(bool),
    Late(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let side = any::<bool>;
    let step = prop_oneof![
        8 => side().prop_map(Step::Act),
        8 => (side(), prop_oneof![1..64_usize, Just(usize::MAX)]).prop_map(|(side, count)| Step::Deliver(side, count)),
        2 => (1..8000_u64).prop_map(Step::Pass),
        1 => any::<(bool, (bool, bool, bool))>().prop_map(|(side, ready)| Step::Ready(side, ready)),
        3 => side().prop_map(Step::Send),
        3 => side().prop_map(Step::Call),
        1 => (side(), 0..2000_usize).prop_map(|(side, at)| Step::Flip(side, at)),
        1 => side().prop_map(Step::Cut),
        1 => side().prop_map(Step::Fail),
        1 => side().prop_map(Step::Goodbye),
        1 => side().prop_map(Step::Close),
        1 => side().prop_map(Step::Rekey),
        2 => side().prop_map(Step::BeReady),
        2 => side().prop_map(Step::Late),
    ];
    proptest::collection::vec(step, 1..50)
}

const fn side(initiator: bool) -> Side {
    if initiator { Side::Initiator } else { Side::Responder }
}

fn apply(pair: &mut Pair, step: &Step) {
    let now = pair.now;
    match *step {
        Step::Act(of) => drop(pair.act(side(of))),
        Step::Deliver(to, count) => {
            let pipe = &mut pair.end(side(to).other()).pipe.bytes;
            let count = count.min(pipe.len());
            let bytes: Vec<u8> = pipe.drain(..count).collect();
            pair.inject(side(to), &bytes);
        }
        Step::Pass(millis) => pair.pass(Duration::from_millis(millis)),
        Step::Ready(of, (events, requests, write)) => {
            pair.end(side(of)).ready = Ready { events, requests, unordered: requests, write };
        }
        Step::Send(of) => drop(pair.link(side(of)).send(Message::new("s", b"body"))),
        Step::Call(of) => drop(pair.link(side(of)).call(Message::new("s", b"body"), secs(5), now)),
        Step::Flip(of, at) => {
            if let Some(byte) = pair.end(side(of)).pipe.bytes.get_mut(at) {
                *byte ^= 0x10;
            }
        }
        Step::Cut(of) => pair.end(side(of)).pipe.close(),
        Step::Fail(of) => pair.link(side(of)).transport_failed(now),
        Step::Goodbye(of) => pair.link(side(of)).goodbye(1, "", now),
        Step::Close(of) => pair.link(side(of)).close(now),
        Step::BeReady(of) => pair.link(side(of)).ready(now),
        Step::Late(of) => drop(pair.link(side(of)).send(Message::new("s", b"body").expires(now))),
        Step::Rekey(of) => pair.link(side(of)).rekey(now),
    }
}

/// The place of an event in the life of a link.
fn stage(event: &Owned) -> u8 {
    match event {
        Owned::Opened => 0,
        Owned::Identified(_) => 1,
        Owned::Established(_) => 2,
        Owned::Ready => 3,
        Owned::Closed(_) => 5,
        _ => 4,
    }
}

fn check(events: &[Owned], side: Side, holds: bool) {
    let stages: Vec<u8> = events.iter().map(stage).collect();
    // Messages may come before it where somebody holds.
    let order: Vec<u8> = stages.iter().copied().filter(|stage| *stage != 3 || !holds).collect();
    assert!(order.is_sorted(), "{side:?}: out of order: {events:?}");
    for once in [0, 1, 2, 3, 5] {
        let times = events.iter().filter(|event| stage(event) == once).count();
        assert!(times <= 1, "{side:?}: twice: {events:?}");
    }
    assert_eq!(stages.first(), Some(&0), "{side:?}: {events:?}");
    assert_eq!(stages.last(), Some(&5), "{side:?}: no end: {events:?}");
    // Where nobody holds, a link is ready when it is established.
    assert!(!stages.contains(&3) || stages.contains(&2), "{side:?}: ready before the link: {events:?}");
    assert!(holds || stages.contains(&2) == stages.contains(&3), "{side:?}: nobody holds: {events:?}");
    assert!(!stages.contains(&4) || stages.contains(&2), "{side:?}: messages before the link: {events:?}");
    assert!(!stages.contains(&2) || stages.contains(&1), "{side:?}: nobody established: {events:?}");
    let draining = events.iter().filter(|event| matches!(event, Owned::Draining { .. })).count();
    assert!(draining <= 1, "{side:?}: {events:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn l4_events_come_in_order_with_one_end_and_nothing_behind(
        steps in steps(),
        run: u64,
        established: bool,
        holds in any::<[bool; 2]>(),
    ) {
        let config = |number, peer, holds: bool| {
            let builder = builder(number, &[peer]);
            if holds { builder.hold_ready() } else { builder }.build().expect("a valid configuration")
        };
        let mut pair =
            Pair::seeded(&config(1, 2, holds[0]), &config(2, 1, holds[1]), Some(id(2)), run % 1000);
        if established {
            pair.run();
        }
        for step in &steps {
            apply(&mut pair, step);
        }
        // Whatever happened, a close ends it within the time for the last bytes.
        for side in SIDES {
            pair.end(side).ready = Ready::ALL;
            let now = pair.now;
            pair.link(side).close(now);
        }
        pair.pass(secs(2));
        for side in SIDES {
            let events = take_events(&mut pair, side);
            check(&events, side, holds != [false, false]);
            prop_assert!(pair.link(side).is_finished());
            // After the end every command is a harmless no-op.
            let now = pair.now;
            let link = pair.link(side);
            prop_assert!(link.send(Message::new("s", b"")).is_err());
            link.goodbye(0, "", now);
            link.close(now);
            link.rekey(now);
            link.ping(now);
            link.ready(now);
            link.revoke(now);
            link.admit(now);
            link.transport_failed(now);
            link.recv_closed(now);
            link.received(100, now);
            prop_assert!(link.recv_space().is_empty());
            prop_assert!(link.transmit(now).is_empty());
            prop_assert!(matches!(link.poll(now + secs(1000), Ready::ALL), Action::Timeout(None)));
        }
    }
}

#[test]
fn l4_what_came_before_the_end_is_told_before_it() {
    let mut pair = Pair::established();
    let now = pair.now;
    pair.responder.ready = Ready::WRITE;
    for _ in 0..3 {
        pair.initiator.link.send(Message::new("s", b"x")).expect("taken");
    }
    pair.run();
    pair.initiator.link.close(now);
    pair.run();
    assert_eq!(pair.responder.link.phase(), Phase::Closed);
    pair.responder.ready = Ready::ALL;
    pair.run();
    let events = take_events(&mut pair, Side::Responder);
    assert!(
        matches!(&events[..], [
        Owned::Message { .. },
        Owned::Message { .. },
        Owned::Message { .. },
        Owned::Closed(closed),
    ] if closed.reason == Reason::Dropped),
        "{events:?}"
    );
}

#[test]
fn l4_a_call_that_waits_when_the_link_ends_is_not_given_out() {
    // Its answer could go nowhere.
    let mut pair = Pair::established();
    let now = pair.now;
    pair.responder.ready = Ready::WRITE;
    pair.initiator.link.call(Message::new("s", b"x"), secs(5), now).expect("taken");
    pair.run();
    pair.initiator.link.close(now);
    pair.run();
    pair.responder.ready = Ready::ALL;
    pair.run();
    assert!(matches!(&take_events(&mut pair, Side::Responder)[..], [Owned::Closed(_)]));
}

#[test]
fn l4_a_reply_after_the_end_is_refused_and_harmless() {
    let mut pair = Pair::established();
    let now = pair.now;
    let (_, token) = asked(&mut pair, Side::Initiator, secs(5));
    pair.responder.link.close(now);
    let rejected = pair.responder.link.reply(token, Ok(Payload::from(b"y"))).unwrap_err();
    assert_eq!(rejected.token, None);
}

/// A record torn by a stream that is full, then the end: once its owner has been told, nothing more is offered.
#[test]
fn l4_nothing_is_sent_behind_closed() {
    let endings: [fn(&mut Raw); 3] =
        [|raw| raw.link.close(raw.now), |raw| raw.send(b"no frame"), |raw| raw.send(&frame(0x42, 0, [0, 4]))];
    for end in endings {
        for torn in [false, true] {
            let mut raw = raw();
            raw.link.send(Message::new("s", vec![1; 100_000])).expect("taken");
            if torn {
                assert!(raw.link.transmit(raw.now).len() > 1000);
                raw.link.transmitted(100, raw.now);
            }
            raw.ready.write = false;
            end(&mut raw);
            raw.pass(millis(999));
            assert!(!raw.link.is_finished(), "the last bytes have a second");
            raw.pass(millis(1));
            assert!(raw.link.is_finished());
            let stats = raw.link.stats();
            for ready in [Ready::EVENTS, Ready::ALL] {
                let action = raw.link.poll(raw.now + secs(1), ready);
                assert!(matches!(action, Action::Timeout(None)), "{action:?} behind Closed");
            }
            assert_eq!(raw.link.transmit(raw.now + secs(1)), b"", "torn: {torn}");
            assert_eq!(raw.link.stats(), stats);
        }
    }
}

/// Whether this is a message of this body.
fn is_message(event: &Owned, text: &[u8]) -> bool {
    matches!(event, Owned::Message { body, .. } if body == text)
}

/// Services that are behind do not hold the end up for longer than a drain may take.
#[test]
fn l4_closed_waits_for_requests_to_be_taken_and_not_for_ever() {
    for in_time in [true, false] {
        let mut raw = raw();
        raw.ready.requests = false;
        raw.send(&[send("s", b"1"), send("s", b"2"), send("s", b"3")].concat());
        raw.link.transport_failed(raw.now);
        raw.pass(just_under(secs(5)));
        assert!(!raw.link.is_finished() && raw.events.is_empty(), "{:?}", raw.events);
        if in_time {
            raw.ready.requests = true;
            raw.act();
        } else {
            raw.pass(millis(1));
            // Not a word of them behind the end.
            raw.ready.requests = true;
            raw.pass(secs(1));
        }
        let came = raw.events.len() - 1;
        assert_eq!(came, if in_time { 3 } else { 0 });
        let right = raw.events.iter().zip([b"1", b"2", b"3"]).take(came);
        assert!(right.into_iter().all(|(event, text)| is_message(event, text)), "{:?}", raw.events);
        match raw.events.last() {
            Some(Owned::Closed(closed)) => {
                assert_eq!((&closed.reason, closed.untaken), (&Reason::Transport, 3 - came));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The same at the end of a goodbye, where the stream is still there.
#[test]
fn l3_a_goodbye_ends_in_time_with_requests_untaken_and_counts_them() {
    let mut pair = Pair::established();
    pair.responder.ready.requests = false;
    for _ in 0..4 {
        pair.initiator.link.send(Message::new("s", b"x")).expect("taken");
    }
    let now = pair.now;
    pair.initiator.link.goodbye(0, "", now);
    pair.run();
    assert_eq!(pair.closed(Side::Initiator).untaken, 0);
    pair.pass(secs(5));
    let events = take_events(&mut pair, Side::Responder);
    match &events[..] {
        [Owned::Draining { .. }, Owned::Closed(closed)] => {
            assert_eq!((closed.reason.name(), closed.untaken), ("goodbye", 4));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn l3_once_its_owner_has_closed_it_a_link_gives_no_message_out_and_says_how_many_came() {
    let mut raw = raw();
    raw.ready = Ready::WRITE;
    raw.send(&[send("s", b"1"), call(1, 5000, "s", b"2")].concat());
    raw.link.close(raw.now);
    raw.ready = Ready::ALL;
    raw.act();
    match &raw.events[..] {
        [Owned::Closed(closed)] => assert_eq!((&closed.reason, closed.untaken), (&Reason::Dropped, 2)),
        other => panic!("{other:?}"),
    }
}
