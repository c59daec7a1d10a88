//! H11: the ready barrier.

use std::sync::Arc;
use std::time::Duration;

use handclasp::{By, Config, ConfigBuilder, Message, Phase, Reason, Retry, Timing};
use handclasp_sim::raw::{Raw, RawFrame, frame};
use handclasp_sim::{Owned, Pair, Side, builder, id};

use crate::support::{SIDES, just_under, millis, raw, raw_config, secs};

/// READY, as it travels.
const READY: [u8; 4] = [0x3b, 0, 0, 0];

/// A pair of which these sides hold.
fn pair(holds: [bool; 2], change: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Pair {
    let build = |number, peer, holds: bool| -> Arc<Config> {
        let builder = change(builder(number, &[peer]));
        if holds { builder.hold_ready() } else { builder }.build().expect("a valid configuration")
    };
    Pair::of(&build(1, 2, holds[0]), &build(2, 1, holds[1]), Some(id(2)))
}

fn at(side: Side) -> usize {
    usize::from(side == Side::Responder)
}

fn readies(pair: &mut Pair, side: Side) -> usize {
    pair.end(side).events.iter().filter(|event| matches!(event, Owned::Ready)).count()
}

#[test]
fn h11_ready_comes_once_each_side_that_holds_has_said_so() {
    for holds in [[true, true], [true, false], [false, true]] {
        for order in [SIDES, [Side::Responder, Side::Initiator]] {
            let mut pair = pair(holds, |builder| builder);
            pair.run();
            let mut missing = holds.iter().filter(|holds| **holds).count();
            for side in order {
                for each in SIDES {
                    assert_eq!(pair.link(each).phase(), Phase::Established);
                    assert_eq!(readies(&mut pair, each), usize::from(missing == 0), "{holds:?} {each:?}");
                }
                let now = pair.now;
                let before = pair.link(side).stats().records_sealed;
                pair.link(side).ready(now);
                pair.link(side).ready(now);
                pair.run();
                let holds = holds[at(side)];
                missing -= usize::from(holds);
                assert_eq!(pair.link(side).stats().records_sealed - before, u64::from(holds));
            }
            assert_eq!(missing, 0);
            pair.pass(secs(100));
            for side in SIDES {
                assert_eq!(readies(&mut pair, side), 1, "{holds:?} {side:?}");
                assert_eq!(pair.link(side).phase(), Phase::Established);
            }
        }
    }
}

#[test]
fn h11_where_nobody_holds_ready_is_established_and_nothing_travels() {
    let mut pair = pair([false, false], |builder| builder);
    pair.run();
    for side in SIDES {
        let events = &pair.end(side).events;
        assert!(matches!(events[..], [.., Owned::Established(_), Owned::Ready]), "{events:?}");
        let now = pair.now;
        pair.link(side).ready(now);
    }
    let sealed = SIDES.map(|side| pair.link(side).stats().records_sealed);
    pair.run();
    // STATUS, and nothing else.
    assert_eq!(sealed, [0, 1]);
    assert_eq!(SIDES.map(|side| pair.link(side).stats().records_sealed), sealed);
}

#[test]
fn h11_ready_before_the_link_counts_from_its_establishment() {
    let mut pair = pair([true, true], |builder| builder);
    for side in SIDES {
        let now = pair.now;
        pair.link(side).ready(now);
        pair.link(side).ready(now);
    }
    pair.run();
    for side in SIDES {
        let events = &pair.end(side).events;
        assert!(matches!(events[..], [.., Owned::Established(_), Owned::Ready]), "{events:?}");
    }
}

#[test]
fn h11_messages_flow_before_it() {
    let mut pair = pair([true, true], |builder| builder);
    pair.establish();
    for from in SIDES {
        let answer = pair.call(from, "sync", b"what have you?", b"this");
        assert!(matches!(answer, Owned::Reply { .. }));
        pair.link(from).send(Message::new("sync", &b"done"[..])).expect("taken");
        pair.run();
        assert!(matches!(pair.event(from.other()), Some(Owned::Message { .. })));
    }
    assert_eq!(SIDES.map(|side| readies(&mut pair, side)), [0, 0]);
}

#[test]
fn h11_a_side_that_is_not_ready_in_time_ends_the_link() {
    for holds in [[true, true], [true, false], [false, true]] {
        // The dialler's time is shorter, so that it is the one that ends it.
        for time in [secs(30), millis(1500)] {
            let timing = Timing { ready: time, ..Timing::default() };
            let mut pair = pair(holds, |builder| builder.timing(timing.clone()));
            pair.run();
            if holds == [true, true] {
                // One of two is not enough.
                let now = pair.now;
                pair.link(Side::Initiator).ready(now);
            }
            pair.pass(just_under(time));
            for side in SIDES {
                assert_eq!(pair.link(side).phase(), Phase::Established);
            }
            pair.pass(millis(1));
            for side in SIDES {
                let closed = pair.closed(side);
                assert_eq!((&closed.reason, closed.phase), (&Reason::NotReady, Phase::Established));
                assert_eq!(closed.reason.retry(), Retry::Later(None));
                assert_eq!(readies(&mut pair, side), 0);
            }
        }
    }
}

#[test]
fn h11_the_other_side_is_told_that_it_was_not_ready() {
    let timing = |ready: Duration| Timing { ready, ..Timing::default() };
    let one = builder(1, &[2]).hold_ready().timing(timing(secs(5))).build().expect("valid");
    let two = builder(2, &[1]).timing(timing(secs(500))).build().expect("valid");
    let mut pair = Pair::of(&one, &two, Some(id(2)));
    pair.pass(secs(5));
    assert_eq!((pair.closed(Side::Initiator).by, pair.closed(Side::Responder).by), (By::Local, By::Peer));
    assert_eq!(pair.closed(Side::Responder).reason, Reason::NotReady);
}

#[test]
fn h11_a_goodbye_ends_the_wait() {
    let mut pair =
        pair([true, true], |builder| builder.timing(Timing { ready: secs(2), ..Timing::default() }));
    pair.run();
    let now = pair.now;
    // A call keeps it draining beyond the barrier's time.
    pair.initiator.link.call(Message::new("s", &b""[..]), secs(4), now).expect("taken");
    pair.run();
    pair.initiator.link.goodbye(1, "", now);
    pair.run();
    for side in SIDES {
        assert_eq!(pair.link(side).phase(), Phase::Draining);
        pair.link(side).ready(now);
    }
    pair.pass(secs(10));
    for side in SIDES {
        assert_eq!(pair.closed(side).reason, Reason::Goodbye { code: 1, detail: String::new() });
        assert_eq!(readies(&mut pair, side), 0);
    }
}

/// A raw peer that holds.
fn holding() -> Raw {
    Raw::dialling_as(&raw_config(|builder| builder), |hello| hello.hold = true)
}

#[test]
fn h11_ready_of_a_side_that_does_not_hold_or_has_said_it_is_a_violation() {
    let mut not_holding = raw();
    not_holding.send(&READY);
    assert!(matches!(not_holding.link.closed().map(|closed| &closed.reason), Some(Reason::Violation(_))));

    for times in [1, 2] {
        let mut raw = holding();
        assert!(!raw.events.iter().any(|event| matches!(event, Owned::Ready)));
        for _ in 0..times {
            raw.send(&READY);
        }
        assert_eq!(raw.events.iter().filter(|event| matches!(event, Owned::Ready)).count(), 1);
        let violates = matches!(raw.link.closed().map(|closed| &closed.reason), Some(Reason::Violation(_)));
        assert_eq!(violates, times == 2);
    }
    // Together in one record, and with a body.
    for frames in [READY.repeat(2), frame(0x3b, 0, [0])] {
        let mut raw = holding();
        raw.send(&frames);
        assert!(matches!(raw.link.closed().map(|closed| &closed.reason), Some(Reason::Violation(_))));
    }
}

#[test]
fn h11_a_link_that_holds_says_ready_in_one_frame() {
    let mut raw = Raw::dialling(&raw_config(ConfigBuilder::hold_ready));
    assert!(raw.frames().is_empty());
    let now = raw.now;
    raw.link.ready(now);
    raw.link.ready(now);
    raw.act();
    assert_eq!(raw.frames(), [RawFrame { kind: 0x3b, flags: 0, body: vec![] }]);
    assert!(matches!(raw.events[..], [Owned::Ready]), "{:?}", raw.events);
}
