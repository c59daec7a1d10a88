//! L3: the orderly end, and that it never takes longer than its deadline.

use handclasp::{By, CallError, Executed, Limits, Message, Payload, Phase, Priority, Ready, Reason, Why};
use handclasp_sim::raw::{call, frame, reply, send};
use handclasp_sim::{Owned, Pair, Side};

use crate::support::{
    SIDES, asked, ended, just_under, millis, next_call, pair_with, raw, secs, smallest, take_events,
};

fn goodbye(pair: &mut Pair, side: Side, code: u32, detail: &str) {
    let now = pair.now;
    pair.link(side).goodbye(code, detail, now);
}

fn said(code: u32, detail: &str) -> Reason {
    Reason::Goodbye { code, detail: detail.into() }
}

#[test]
fn l3_both_owners_learn_of_the_goodbye_and_its_end() {
    for from in SIDES {
        let mut pair = Pair::established();
        goodbye(&mut pair, from, 42, "for now");
        pair.run();
        for (side, by) in [(from, By::Local), (from.other(), By::Peer)] {
            match &take_events(&mut pair, side)[..] {
                [Owned::Draining { by: who, code: 42, detail }, Owned::Closed(closed)] => {
                    assert_eq!((*who, detail.as_str()), (by, "for now"));
                    assert_eq!((&closed.reason, closed.by), (&said(42, "for now"), by));
                    assert_eq!((closed.phase, closed.unsent), (Phase::Draining, 0));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn l3_what_was_queued_before_the_goodbye_is_delivered() {
    let mut pair = Pair::established();
    pair.chunk = 5000;
    for length in [0, 10, 100_000, 1000, 1 << 20] {
        pair.initiator.link.send(Message::new("s", vec![0; length])).expect("taken");
    }
    goodbye(&mut pair, Side::Initiator, 0, "");
    pair.run();
    let events = take_events(&mut pair, Side::Responder);
    let lengths: Vec<usize> = events
        .iter()
        .filter_map(|event| if let Owned::Message { body, .. } = event { Some(body.len()) } else { None })
        .collect();
    assert_eq!(lengths, [0, 10, 100_000, 1000, 1 << 20]);
    assert!(matches!(events.last(), Some(Owned::Closed(closed)) if closed.reason == said(0, "")));
    assert_eq!(pair.closed(Side::Initiator).unsent, 0);
}

/// What the peer's goodbye overtakes comes back: it would stand behind this side's own goodbye.
#[test]
fn l3_what_waits_when_the_peers_goodbye_comes_is_not_sent_but_given_back() {
    for from in SIDES {
        let mut pair = Pair::established();
        let now = pair.now;
        for body in [b"one", b"two"] {
            pair.link(from).send(Message::new("s", body)).expect("taken");
        }
        let call = pair.link(from).call(Message::new("s", b"three"), secs(5), now).expect("taken");
        goodbye(&mut pair, from.other(), 0, "");
        pair.act(from.other());
        pair.deliver(from);
        pair.run();
        assert!(
            take_events(&mut pair, from.other())
                .iter()
                .all(|event| { !matches!(event, Owned::Message { .. } | Owned::Call { .. }) })
        );
        let events = take_events(&mut pair, from);
        assert!(
            events.iter().any(|event| matches!(
                event,
                Owned::CallFailed { call: of, error: CallError::LinkClosed { executed: Executed::No, .. } } if *of == call
            )),
            "{events:?}"
        );
        for side in SIDES {
            assert_eq!(pair.closed(side).reason, said(0, ""));
        }
        assert_eq!(pair.closed(from).unsent, 2);
        for body in [b"one", b"two"] {
            assert_eq!(pair.link(from).take_unsent().map(|unsent| unsent.body), Some(body.as_slice().into()));
        }
        assert_eq!(pair.link(from).take_unsent().map(|unsent| unsent.body), None);
    }
}

/// An answer counts as given once it has left, not once the application has handed it over: one of many records, and
/// one that waits for credit.
#[test]
fn l3_answers_that_wait_to_leave_are_sent_before_the_link_closes() {
    for from in SIDES {
        let limits = Limits { window: (1 << 20) + 319, ..Limits::default() };
        let mut pair = pair_with(|builder| builder.limits(limits));
        let answers = [10, 600_000, 900_000];
        let now = pair.now;
        let calls =
            answers.map(|_| pair.initiator.link.call(Message::new("s", b""), secs(5), now).expect("taken"));
        pair.run();
        let tokens = answers.map(|_| next_call(&mut pair, Side::Responder));
        // All of it together is more than the caller's window, and nothing leaves before the goodbye is said.
        for (token, length) in tokens.into_iter().zip(answers) {
            let body = Payload::from(vec![7; length]);
            pair.responder.link.reply(token, Ok(body)).expect("taken");
        }
        goodbye(&mut pair, from, 5, "");
        pair.run();
        let events = take_events(&mut pair, Side::Initiator);
        for (call, length) in calls.into_iter().zip(answers) {
            let found = events.iter().find_map(|event| match event {
                Owned::Reply { call: of, body, .. } if *of == call => Some(body.len()),
                _ => None,
            });
            assert_eq!(
                found,
                Some(length),
                "{from:?} said goodbye: {:?}",
                pair.link(Side::Initiator).closed()
            );
        }
        for side in SIDES {
            assert_eq!(pair.closed(side).reason, said(5, ""));
        }
        assert_eq!(pair.now, now, "nothing was waited for");
    }
}

#[test]
fn l3_calls_in_flight_finish_both_ways() {
    let mut pair = Pair::established();
    let now = pair.now;
    for side in SIDES {
        pair.link(side).call(Message::new("s", b""), secs(5), now).expect("taken");
    }
    pair.run();
    let tokens = SIDES.map(|side| (side, next_call(&mut pair, side)));
    goodbye(&mut pair, Side::Initiator, 0, "");
    pair.pass(secs(3));
    for side in SIDES {
        assert_eq!(pair.link(side).phase(), Phase::Draining);
        assert_eq!(pair.link(side).send(Message::new("s", b"")).unwrap_err().why, Why::Draining);
        let now = pair.now;
        let late = pair.link(side).call(Message::new("s", b"kept"), secs(1), now).unwrap_err();
        assert_eq!((late.why, &late.message.body.into_bytes()[..]), (Why::Draining, &b"kept"[..]));
    }
    for (side, token) in tokens {
        pair.link(side).reply(token, Ok(Payload::from(b"done"))).expect("taken");
    }
    pair.run();
    for side in SIDES {
        match &take_events(&mut pair, side)[..] {
            [Owned::Draining { .. }, Owned::Reply { body, .. }, Owned::Closed(closed)] => {
                assert_eq!((&body[..], &closed.reason), (&b"done"[..], &said(0, "")));
            }
            other => panic!("{side:?}: {other:?}"),
        }
    }
}

#[test]
fn l3_saying_it_again_or_both_at_once_changes_nothing() {
    let mut pair = Pair::established();
    goodbye(&mut pair, Side::Initiator, 1, "first");
    goodbye(&mut pair, Side::Initiator, 2, "second");
    pair.run();
    assert_eq!(pair.closed(Side::Responder).reason, said(1, "first"));
    goodbye(&mut pair, Side::Initiator, 3, "third");
    pair.run();
    assert_eq!(take_events(&mut pair, Side::Initiator).len(), 2);

    let mut pair = Pair::established();
    for (code, side) in SIDES.into_iter().enumerate() {
        pair.link(side).send(Message::new("s", b"")).expect("taken");
        goodbye(&mut pair, side, code as u32, "both");
    }
    pair.run();
    for (code, side) in SIDES.into_iter().enumerate() {
        let closed = pair.closed(side);
        assert_eq!((closed.reason, closed.by), (said(code as u32, "both"), By::Local));
        let events = take_events(&mut pair, side);
        let draining = events.iter().filter(|event| matches!(event, Owned::Draining { .. }));
        assert_eq!(draining.count(), 1, "{events:?}");
        let came = events.iter().filter(|event| matches!(event, Owned::Message { .. })).count();
        let back = pair.link(side.other()).take_unsent().is_some();
        assert_eq!(came + usize::from(back), 1, "delivered or given back");
    }
}

#[test]
fn l3_a_peer_that_does_not_finish_is_left_at_the_deadline() {
    let mut pair = Pair::established();
    let (_, _never_answered) = asked(&mut pair, Side::Initiator, secs(60));
    goodbye(&mut pair, Side::Initiator, 0, "");
    pair.pass(just_under(secs(5)));
    assert!(pair.initiator.link.closed().is_none());
    pair.pass(millis(1));
    for side in SIDES {
        assert_eq!(pair.closed(side).reason, Reason::DrainTimeout, "{side:?}");
        assert!(pair.link(side).is_finished());
    }
    let failed = take_events(&mut pair, Side::Initiator).into_iter().find_map(|event| match event {
        Owned::CallFailed { error, .. } => Some(error),
        _ => None,
    });
    let expected = CallError::LinkClosed { reason: Reason::DrainTimeout, executed: Executed::Unknown };
    assert_eq!(failed, Some(expected));
}

#[test]
fn l3_a_peer_that_reads_nothing_does_not_hold_up_the_end() {
    let mut pair = Pair::established();
    pair.initiator.ready = Ready::EVENTS;
    for number in 0..5_u8 {
        pair.initiator.link.send(Message::new("s", &[number][..])).expect("taken");
    }
    goodbye(&mut pair, Side::Initiator, 0, "");
    // The drain, and a second for the last bytes.
    pair.pass(secs(6));
    let closed = pair.closed(Side::Initiator);
    assert_eq!((closed.reason, closed.unsent), (Reason::DrainTimeout, 5));
    assert!(pair.initiator.link.is_finished());
    for number in 0..5_u8 {
        let unsent = pair.initiator.link.take_unsent().expect("given back");
        assert_eq!((unsent.service.as_str(), &unsent.body[..]), ("s", &[number][..]));
    }
    assert_eq!(pair.initiator.link.take_unsent(), None);
}

#[test]
fn l3_what_the_other_side_had_queued_and_not_begun_is_given_back_to_it() {
    let mut pair = pair_with(|builder| builder.limits(smallest(4)));
    pair.initiator.ready = Ready::WRITE;
    let now = pair.now;
    for _ in 0..4 {
        pair.responder.link.send(Message::new("s", vec![5; 1000])).expect("taken");
    }
    pair.responder.link.call(Message::new("s", b""), secs(60), now).expect("taken");
    pair.run();
    goodbye(&mut pair, Side::Initiator, 0, "");
    pair.run();
    let closed = pair.closed(Side::Responder);
    assert_eq!((closed.reason, closed.unsent), (said(0, ""), 3));
    let failed = take_events(&mut pair, Side::Responder).into_iter().find_map(|event| match event {
        Owned::CallFailed { error, .. } => Some(error),
        _ => None,
    });
    let expected = CallError::LinkClosed { reason: said(0, ""), executed: Executed::No };
    assert_eq!(failed, Some(expected));
    for _ in 0..3 {
        assert_eq!(pair.responder.link.take_unsent().map(|unsent| unsent.body.len()), Some(1000));
    }
    pair.initiator.ready = Ready::ALL;
    pair.run();
    let came = take_events(&mut pair, Side::Initiator);
    assert_eq!(came.iter().filter(|event| matches!(event, Owned::Message { .. })).count(), 1);
    assert!(matches!(came.last(), Some(Owned::Closed(_))));
}

#[test]
fn l3_the_frames_of_a_goodbye_are_those_of_the_wire_format() {
    let mut raw = raw();
    raw.link.send(Message::new("s", b"before")).expect("taken");
    let now = raw.now;
    raw.link.goodbye(7, "bye", now);
    raw.act();
    let frames = raw.frames();
    let kinds: Vec<u8> = frames.iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [0x10, 0x41], "{frames:?}");
    assert_eq!(frames[1].body, b"\0\0\0\x07bye");
    // CLOSE waits for the other side's goodbye, and has the first one's words.
    raw.send(&frame(0x41, 0, [0; 4]));
    let frames = raw.frames();
    assert!(
        matches!(&frames[..], [only] if only.kind == 0x42 && only.body == b"\0\x01\0\0\0\x07bye"),
        "{frames:?}"
    );
    assert_eq!(ended(&raw), None, "the other side has not said CLOSE");
    raw.send(&frame(0x42, 0, b"\0\x01\0\0\0\x07bye"));
    assert_eq!(ended(&raw), Some(&said(7, "bye")));
    assert_eq!(raw.frames(), []);
}

#[test]
fn l3_a_goodbye_is_answered_with_goodbye_and_close() {
    let mut raw = raw();
    raw.send(&frame(0x41, 0, b"\0\0\0\x09why"));
    let kinds: Vec<_> = raw.frames().into_iter().map(|frame| (frame.kind, frame.body)).collect();
    assert_eq!(kinds[0], (0x41, vec![0; 4]));
    assert_eq!(kinds[1].0, 0x42);
    assert_eq!(kinds.len(), 2);
    raw.send(&frame(0x42, 0, b"\0\x01\0\0\0\x09why"));
    assert_eq!(ended(&raw), Some(&said(9, "why")));
}

#[test]
fn l3_the_detail_is_cut_at_255_bytes_between_characters() {
    let mut pair = Pair::established();
    goodbye(&mut pair, Side::Initiator, 0, &"é".repeat(200));
    pair.run();
    assert_eq!(pair.closed(Side::Responder).reason, said(0, &"é".repeat(127)));
}

#[test]
fn l3_half_sent_messages_are_finished_before_the_end() {
    let mut raw = raw();
    raw.send(&frame(0x10, 0x83, b"\x06\x01sab"));
    let now = raw.now;
    raw.link.goodbye(0, "", now);
    raw.act();
    assert!(!raw.frames().iter().any(|frame| frame.kind == 0x42), "CLOSE with a message half received");
    raw.send(&[frame(0x15, 3, b"cdef"), frame(0x41, 0, [0; 4])].concat());
    assert!(raw.frames().iter().any(|frame| frame.kind == 0x42));
    assert!(
        raw.events.iter().any(|event| matches!(event, Owned::Message { body, .. } if &body[..] == b"abcdef"))
    );
}

#[test]
fn l3_a_peer_that_leaves_with_calls_unanswered_is_believed() {
    // It calls, says goodbye and CLOSE at once: nobody takes the answer, and the link still ends in time.
    let mut raw = raw();
    raw.send(&call(1, 60_000, "s", b""));
    raw.send(&[frame(0x41, 0, [0; 4]), frame(0x42, 0, [0, 1, 0, 0, 0, 0])].concat());
    raw.pass(secs(6));
    assert!(raw.link.is_finished());
    // And one that was asked: its caller hears that nothing will come.
    let mut raw = crate::support::raw();
    let asked = raw.link.call(Message::new("s", b""), secs(60), raw.now).expect("taken");
    raw.act();
    raw.send(&[frame(0x41, 0, [0; 4]), frame(0x42, 0, [0, 1, 0, 0, 0, 0])].concat());
    let executed = raw.events.iter().find_map(|event| match event {
        Owned::CallFailed { call, error: CallError::LinkClosed { executed, .. } } if *call == asked => {
            Some(*executed)
        }
        _ => None,
    });
    assert_eq!(executed, Some(Executed::Unknown));
    assert!(raw.link.is_finished());
    raw.send(&reply(asked.get(), b""));
    raw.send(&send("s", b""));
}

#[test]
fn l3_before_the_link_is_established_goodbye_just_ends_it() {
    let mut pair = Pair::new();
    goodbye(&mut pair, Side::Initiator, 5, "never mind");
    pair.act(Side::Initiator);
    let closed = pair.closed(Side::Initiator);
    assert_eq!((closed.reason, closed.phase), (said(5, "never mind"), Phase::KeyExchange));
    assert!(pair.initiator.link.is_finished());
}

/// A peer that has said goodbye may still find that this side breaks the rules, and says so.
#[test]
fn l5_a_peer_that_ends_a_drain_for_another_reason_is_heard() {
    let mut raw = raw();
    let now = raw.now;
    raw.link.goodbye(3, "", now);
    raw.act();
    raw.send(&frame(0x41, 0, [0; 4]));
    raw.send(&frame(0x42, 0, [0, 53]));
    raw.act();
    let closed = raw.link.closed().expect("the end");
    assert_eq!((&closed.reason, closed.by), (&Reason::FlowControl, By::Peer));
}

/// The peer has closed in order and is gone, while this side's last word is still to be written.
#[test]
fn l5_an_end_of_the_stream_behind_the_peers_close_is_no_truncation() {
    let mut raw = raw();
    raw.ready.write = false;
    raw.send(&frame(0x41, 0, [0, 0, 0, 7]));
    raw.send(&frame(0x42, 0, [0, 1, 0, 0, 0, 7]));
    let now = raw.now;
    raw.link.recv_closed(now);
    raw.ready.write = true;
    raw.act();
    let closed = raw.link.closed().expect("the end");
    assert_eq!((&closed.reason, closed.by), (&said(7, ""), By::Peer));
}

/// A peer that has sent CLOSE reads nothing more: answers that wait for calls it gave up hold no end up, whatever lane
/// they wait in and whatever for.
#[test]
fn l3_answers_that_nobody_waits_for_do_not_hold_a_goodbye_up() {
    for priority in Priority::ALL {
        let mut pair = pair_with(|builder| builder.send_buffer(4 << 20));
        let now = pair.now;
        let calls: Vec<_> = (0..60)
            .map(|_| {
                pair.initiator
                    .link
                    .call(Message::new("s", b"").priority(priority), secs(60), now)
                    .expect("taken")
            })
            .collect();
        pair.run();
        pair.responder.ready = Ready::EVENTS;
        for event in take_events(&mut pair, Side::Responder) {
            if let Owned::Call { token, .. } = event {
                // Each fills more than half a record, so that the caller has none in part.
                pair.responder.link.reply(token, Ok(Payload::from(vec![0; 10_000]))).expect("taken");
            }
        }
        for call in calls {
            pair.initiator.link.cancel(call, now);
        }
        pair.initiator.link.goodbye(7, "", now);
        pair.run();
        pair.responder.ready = Ready::ALL;
        pair.run();
        for side in [Side::Initiator, Side::Responder] {
            let closed = pair.closed(side);
            assert_eq!(
                closed.reason,
                Reason::Goodbye { code: 7, detail: String::new() },
                "{priority:?}, {side:?}"
            );
        }
        assert_eq!(pair.now, now, "{priority:?}: nobody waits for a deadline");
    }
}
