//! M3, M4: a call ends in time, by cancel, or with its link, and leaves no trace at either side.

use handclasp::{CallError, Executed, Message, Payload, Priority, Ready, Reason, Why};
use handclasp_sim::raw::{RawFrame, call, frame, read_varint, varint};
use handclasp_sim::{Owned, Pair, Side};

use crate::support::{
    SIDES, asked, ended, just_under, millis, next_call, raw, raw_with, secs, smallest, take_events,
};

/// The error of the one event that `side` has: a failed call.
fn failure(pair: &mut Pair, side: Side) -> CallError {
    match &take_events(pair, side)[..] {
        [Owned::CallFailed { error, .. }] => error.clone(),
        other => panic!("{other:?}"),
    }
}

fn no_trace(pair: &mut Pair) {
    for side in SIDES {
        assert_eq!(pair.link(side).calls_in_flight(), (0, 0), "{side:?}");
        assert_eq!(pair.link(side).queued(), 0, "{side:?}");
    }
}

#[test]
fn m3_both_ends_stop_exactly_at_the_deadline() {
    let mut pair = Pair::established();
    let (_, token) = asked(&mut pair, Side::Initiator, secs(5));
    pair.pass(just_under(secs(5)));
    for side in SIDES {
        assert!(take_events(&mut pair, side).is_empty());
    }
    pair.pass(millis(1));
    assert_eq!(
        failure(&mut pair, Side::Initiator),
        CallError::DeadlineExceeded { executed: Executed::Unknown }
    );
    assert!(
        matches!(take_events(&mut pair, Side::Responder)[..], [Owned::Cancelled(id)] if id == token.call())
    );
    let rejected = pair.responder.link.reply(token, Ok(Payload::from(b"late"))).unwrap_err();
    assert_eq!((rejected.why, rejected.token), (Why::NobodyWaits, None));
    no_trace(&mut pair);
}

#[test]
fn m3_the_time_left_travels_with_the_call() {
    let mut raw = raw();
    raw.ready.write = false;
    raw.link.call(Message::new("s", b""), secs(5), raw.now).expect("taken");
    raw.pass(millis(1500));
    raw.ready.write = true;
    raw.act();
    let frames = raw.frames();
    let [RawFrame { kind: 0x11, body, .. }] = &frames[..] else { panic!("{frames:?}") };
    let (_, rest) = read_varint(body);
    assert_eq!(read_varint(rest).0, 3500);
    // And the receiver counts from when it has come.
    raw.pass(secs(7));
    raw.events.clear();
    raw.send(&call(1, 2500, "s", b""));
    let [Owned::Call { deadline, .. }] = &raw.events[..] else { panic!("{:?}", raw.events) };
    assert_eq!(*deadline, raw.now + millis(2500));
}

#[test]
fn m3_the_longest_timeouts_do_no_harm() {
    let mut raw = raw();
    raw.link.call(Message::new("s", b""), std::time::Duration::MAX, raw.now).expect("taken");
    raw.send(&call(1, (1 << 62) - 1, "s", b""));
    assert!(matches!(&raw.events[..], [Owned::Call { .. }]));
    raw.act();
    assert_eq!(ended(&raw), None);
}

#[test]
fn m3_a_call_without_time_left_is_never_given_out() {
    let mut raw = raw();
    raw.send(&call(1, 0, "s", b""));
    let given = raw.events.iter().any(|event| matches!(event, Owned::Call { .. }));
    assert!(!given, "a call with no time left was given to the application");
    raw.pass(millis(1));
    assert_eq!(raw.link.calls_in_flight(), (0, 0));
    assert_eq!(raw.link.stats().expired_calls, 1);
}

#[test]
fn m3_work_that_expired_while_it_waited_is_dropped_before_it_is_given_out() {
    let mut pair = Pair::established();
    pair.responder.ready = Ready::WRITE;
    let now = pair.now;
    for timeout in [secs(1), secs(60), secs(2)] {
        pair.initiator.link.call(Message::new("s", b""), timeout, now).expect("taken");
    }
    pair.pass(secs(3));
    pair.responder.ready = Ready::ALL;
    pair.run();
    let given = take_events(&mut pair, Side::Responder);
    assert!(matches!(&given[..], [Owned::Call { deadline, .. }] if *deadline == now + secs(60)), "{given:?}");
    assert_eq!(pair.responder.link.stats().expired_calls, 2);
    assert_eq!(pair.responder.link.calls_in_flight(), (0, 1));
    assert_eq!(take_events(&mut pair, Side::Initiator).len(), 2);
}

#[test]
fn m3_a_deadline_that_is_over_counts_before_the_timer_is_heard() {
    let mut pair = Pair::established();
    pair.responder.ready = Ready::WRITE;
    let now = pair.now;
    pair.initiator.link.call(Message::new("s", b""), secs(1), now).expect("taken");
    pair.run();
    // The owner comes back late, and asks for events before it tells of the timeout.
    pair.now = pair.now + secs(2);
    pair.responder.ready = Ready::EVENTS;
    let event = match pair.responder.link.poll(pair.now, Ready::EVENTS) {
        handclasp::Action::Event(event) => Some(Owned::from(event)),
        _ => None,
    };
    assert!(!matches!(event, Some(Owned::Call { .. })), "expired work was given out");
}

#[test]
fn m3_a_call_that_expires_before_it_was_sealed_leaves_no_byte() {
    let mut raw = raw();
    raw.ready.write = false;
    raw.link.call(Message::new("s", b"secret plan"), secs(1), raw.now).expect("taken");
    raw.pass(secs(1));
    let [Owned::CallFailed { error, .. }] = &raw.events[..] else { panic!("{:?}", raw.events) };
    assert_eq!(*error, CallError::DeadlineExceeded { executed: Executed::No });
    raw.ready.write = true;
    raw.act();
    assert_eq!(raw.frames(), []);
    assert_eq!((raw.link.queued(), raw.link.calls_in_flight()), (0, (0, 0)));
}

#[test]
fn m3_cancel_before_sealing_leaves_no_byte_and_no_event() {
    let mut raw = raw();
    raw.ready.write = false;
    let first = raw.link.call(Message::new("s", b"first"), secs(5), raw.now).expect("taken");
    let second = raw.link.call(Message::new("s", vec![1; 50_000]), secs(5), raw.now).expect("taken");
    raw.link.call(Message::new("s", b"third"), secs(5), raw.now).expect("taken");
    raw.link.cancel(second, raw.now);
    raw.link.cancel(first, raw.now);
    raw.link.cancel(first, raw.now);
    assert_eq!(raw.link.calls_in_flight().0, 1);
    assert_eq!(raw.link.queued(), 6 + 64);
    raw.ready.write = true;
    raw.act();
    let frames = raw.frames();
    assert!(
        matches!(&frames[..], [only] if only.kind == 0x11 && only.body.ends_with(b"third")),
        "{frames:?}"
    );
    raw.pass(secs(4));
    assert!(raw.events.is_empty());
}

#[test]
fn m3_cancel_reaches_the_other_side() {
    let mut pair = Pair::established();
    let now = pair.now;
    let (call, token) = asked(&mut pair, Side::Initiator, secs(5));
    pair.initiator.link.cancel(call, now);
    pair.run();
    assert!(
        matches!(take_events(&mut pair, Side::Responder)[..], [Owned::Cancelled(id)] if id == token.call())
    );
    assert_eq!(pair.responder.link.reply(token, Ok(Payload::from(b""))).unwrap_err().why, Why::NobodyWaits);
    pair.pass(secs(10));
    assert!(take_events(&mut pair, Side::Initiator).is_empty());
    no_trace(&mut pair);
}

#[test]
fn m3_a_call_cancelled_before_it_was_given_out_never_is() {
    let mut pair = Pair::established();
    pair.responder.ready = Ready::WRITE;
    let now = pair.now;
    let call = pair.initiator.link.call(Message::new("s", b""), secs(5), now).expect("taken");
    pair.run();
    pair.initiator.link.cancel(call, now);
    pair.run();
    pair.responder.ready = Ready::ALL;
    pair.run();
    assert!(take_events(&mut pair, Side::Responder).is_empty());
    assert_eq!(pair.responder.link.stats().expired_calls, 1);
    no_trace(&mut pair);
}

#[test]
fn m3_a_cancel_and_an_answer_may_cross() {
    let mut pair = Pair::established();
    let now = pair.now;
    let (call, token) = asked(&mut pair, Side::Initiator, secs(5));
    pair.responder.link.reply(token, Ok(Payload::from(b"on the way"))).expect("taken");
    pair.act(Side::Responder);
    pair.initiator.link.cancel(call, now);
    pair.run();
    for side in SIDES {
        assert!(take_events(&mut pair, side).is_empty(), "{side:?}");
    }
    assert_eq!(pair.initiator.link.stats().unknown_replies, 1);
    no_trace(&mut pair);
}

#[test]
fn m3_a_half_sent_call_is_abandoned_by_cancel_and_by_deadline() {
    for by_deadline in [false, true] {
        let mut raw = raw();
        raw.ready.write = false;
        let body = vec![7; 320_000];
        let message = Message::new("s", body).priority(Priority::Low);
        let call = raw.link.call(message, secs(2), raw.now).expect("taken");
        // One batch of records goes, the rest is still in the queue.
        let count = raw.link.transmit(raw.now).len();
        raw.out.extend_from_slice(&raw.link.transmit(raw.now)[..count]);
        raw.link.transmitted(count, raw.now);
        assert!(raw.link.queued() > 250_000);
        raw.link.send(Message::new("s", b"behind").priority(Priority::Low)).expect("taken");
        if by_deadline {
            raw.pass(secs(2));
            let [Owned::CallFailed { error, .. }] = &raw.events[..] else { panic!("{:?}", raw.events) };
            assert_eq!(*error, CallError::DeadlineExceeded { executed: Executed::No });
        } else {
            raw.link.cancel(call, raw.now);
            assert!(raw.events.is_empty());
        }
        raw.ready.write = true;
        raw.act();
        let frames = raw.frames();
        let (first, rest) = frames.split_first().expect("frames");
        assert_eq!((first.kind, first.flags), (0x11, 0x84));
        let at = rest.iter().position(|frame| frame.flags & 0x40 != 0).expect("ABANDON");
        assert!(rest[..at].iter().all(|frame| (frame.kind, frame.flags) == (0x15, 0x84)));
        assert_eq!(rest[at], RawFrame { kind: 0x15, flags: 0x44, body: Vec::new() });
        assert!(matches!(&rest[at + 1..], [behind] if behind.kind == 0x10), "{:?}", &rest[at + 1..]);
        assert_eq!((raw.link.queued(), raw.link.calls_in_flight()), (0, (0, 0)));
    }
}

#[test]
fn m3_an_abandoned_call_leaves_no_trace_at_the_server() {
    let mut pair = Pair::established();
    let now = pair.now;
    let message = Message::new("s", vec![7; 1 << 20]);
    let call = pair.initiator.link.call(message, secs(5), now).expect("taken");
    let count = pair.initiator.link.transmit(now).len();
    let bytes = pair.initiator.link.transmit(now)[..count].to_vec();
    pair.initiator.link.transmitted(count, now);
    pair.inject(Side::Responder, &bytes);
    pair.initiator.link.cancel(call, now);
    pair.run();
    for side in SIDES {
        assert!(take_events(&mut pair, side).is_empty(), "{side:?}");
    }
    no_trace(&mut pair);
    assert!(matches!(pair.call(Side::Initiator, "s", b"q", b"a"), Owned::Reply { .. }));
}

#[test]
fn m4_the_end_of_a_link_fails_every_call_with_its_reason_and_what_became_of_it() {
    let mut raw = raw_with(smallest(8));
    let whole = raw.link.call(Message::new("s", b"whole"), secs(5), raw.now).expect("taken");
    raw.act();
    raw.ready.write = false;
    let never = raw.link.call(Message::new("s", b"never"), secs(5), raw.now).expect("taken");
    raw.send(&frame(0x7f, 0, []));
    let reason = ended(&raw).expect("the end").clone();
    assert!(matches!(reason, Reason::Violation(_)));
    raw.ready.write = true;
    raw.act();
    let failed = |call, executed| {
        let expected = CallError::LinkClosed { reason: reason.clone(), executed };
        let of_it = |event: &&Owned| matches!(event, Owned::CallFailed { call: id, error } if *id == call && *error == expected);
        raw.events.iter().filter(of_it).count()
    };
    assert_eq!(failed(whole, Executed::Unknown), 1);
    assert_eq!(failed(never, Executed::No), 1);
    assert_eq!(raw.events.len(), 3, "{:?}", raw.events);
    assert_eq!(raw.link.calls_in_flight(), (0, 0));
}

#[test]
fn m4_a_half_sent_request_was_not_executed() {
    let mut pair = Pair::established();
    let now = pair.now;
    pair.initiator.link.call(Message::new("s", vec![7; 1 << 20]), secs(5), now).expect("taken");
    let count = pair.initiator.link.transmit(now).len();
    pair.initiator.link.transmitted(count, now);
    pair.initiator.link.transport_failed(now);
    pair.act(Side::Initiator);
    match &take_events(&mut pair, Side::Initiator)[..] {
        [Owned::CallFailed { error, .. }, Owned::Closed(closed)] => {
            assert_eq!(*error, CallError::LinkClosed { reason: Reason::Transport, executed: Executed::No });
            assert_eq!(closed.reason, Reason::Transport);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn m4_both_callers_learn_why_when_the_peer_ends_the_link() {
    let mut pair = Pair::established();
    let now = pair.now;
    for side in SIDES {
        pair.link(side).call(Message::new("s", b""), secs(5), now).expect("taken");
    }
    pair.run();
    for side in SIDES {
        let _waits = next_call(&mut pair, side);
    }
    pair.responder.link.close(now);
    pair.run();
    for side in SIDES {
        match &take_events(&mut pair, side)[..] {
            [Owned::CallFailed { error, .. }, Owned::Closed(closed)] => {
                let expected = CallError::LinkClosed { reason: Reason::Dropped, executed: Executed::Unknown };
                assert_eq!((error, &closed.reason), (&expected, &Reason::Dropped), "{side:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    no_trace(&mut pair);
}

#[test]
fn m3_a_cancel_of_nothing_says_nothing() {
    let mut raw = raw();
    raw.send(&call(7, 5000, "s", b""));
    raw.send(&frame(0x14, 0, varint(8)));
    assert_eq!(raw.events.len(), 1);
    assert_eq!(raw.link.calls_in_flight(), (0, 1));
}
