//! L4: what a link tells its owner comes in order, and ends with one `Closed`, whatever happens when.

use std::time::Duration;

use handclasp::{Action, Message, Payload, Phase, Ready, Reason};
use handclasp_sim::{Owned, Pair, Side, config, id};
use proptest::prelude::*;

use crate::support::{SIDES, secs, take_events};

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
            pair.end(side(of)).ready = Ready { events, requests, write };
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
        Step::Rekey(of) => pair.link(side(of)).rekey(now),
    }
}

/// The place of an event in the life of a link.
fn stage(event: &Owned) -> u8 {
    match event {
        Owned::Opened => 0,
        Owned::Identified(_) => 1,
        Owned::Established(_) => 2,
        Owned::Closed(_) => 4,
        _ => 3,
    }
}

fn check(events: &[Owned], side: Side) {
    let stages: Vec<u8> = events.iter().map(stage).collect();
    assert!(stages.is_sorted(), "{side:?}: out of order: {events:?}");
    for once in [0, 1, 2, 4] {
        let times = events.iter().filter(|event| stage(event) == once).count();
        assert!(times <= 1, "{side:?}: twice: {events:?}");
    }
    assert_eq!(stages.first(), Some(&0), "{side:?}: {events:?}");
    assert_eq!(stages.last(), Some(&4), "{side:?}: no end: {events:?}");
    assert!(!stages.contains(&3) || stages.contains(&2), "{side:?}: messages before the link: {events:?}");
    assert!(!stages.contains(&2) || stages.contains(&1), "{side:?}: nobody established: {events:?}");
    let draining = events.iter().filter(|event| matches!(event, Owned::Draining { .. })).count();
    assert!(draining <= 1, "{side:?}: {events:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn l4_events_come_in_order_with_one_end_and_nothing_behind(steps in steps(), run: u64, established: bool) {
        let mut pair = Pair::seeded(&config(1, &[2]), &config(2, &[1]), Some(id(2)), run % 1000);
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
            check(&events, side);
            prop_assert!(pair.link(side).is_finished());
            // After the end every command is a harmless no-op.
            let now = pair.now;
            let link = pair.link(side);
            prop_assert!(link.send(Message::new("s", b"")).is_err());
            link.goodbye(0, "", now);
            link.close(now);
            link.rekey(now);
            link.ping(now);
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
    pair.initiator.link.call(Message::new("s", b"x"), secs(5), now).expect("taken");
    pair.run();
    let token = crate::calls::next_call(&mut pair, Side::Responder);
    pair.responder.link.close(now);
    let rejected = pair.responder.link.reply(token, Ok(Payload::from(b"y"))).unwrap_err();
    assert_eq!(rejected.token, None);
}
