//! M1, M2, M5: one-way messages, calls and their answers, request ids, errors.

use bytes::Bytes;
use handclasp::{
    CallError, Limits, MAX_ERROR_DETAIL, Message, Payload, Priority, Ready, Reason, ReplyToken, ServiceError,
    Why,
};
use handclasp_sim::raw::{frame, read_varint, reply, varint};
use handclasp_sim::{Owned, Pair, Side};

use crate::support::{SIDES, asked, ended, next_call, pair_with, raw, secs, smallest, take_events};

#[test]
fn m1_a_message_one_way_arrives_as_it_was_sent() {
    let mut pair = Pair::established();
    // 257 is prime to the size of a record, so that no piece looks like the one in its place.
    let pattern: Vec<u8> = (0..257_usize).map(|at| (at * 7) as u8).collect();
    let pattern = pattern.repeat((1 << 20) / 257 + 2);
    for from in SIDES {
        for (number, priority) in Priority::ALL.into_iter().enumerate() {
            for length in [0, 1, 1024, 1025, 16_384, 100_000, 1 << 20] {
                let sent = &pattern[number..number + length];
                pair.link(from).send(Message::new("a service", sent).priority(priority)).expect("taken");
                pair.run();
                match pair.event(from.other()) {
                    Some(Owned::Message { service, body, priority: came_with, .. }) => {
                        assert_eq!((service.as_str(), came_with), ("a service", priority));
                        assert!(body == sent, "{length} bytes came as {}", body.len());
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(take_events(&mut pair, from).is_empty());
    }
    let (sent, received) = (pair.initiator.link.stats(), pair.responder.link.stats());
    assert_eq!((sent.messages_sent, received.messages_received), (28, 28));
}

#[test]
fn m1_service_names_reach_from_nothing_to_255_bytes() {
    let mut pair = Pair::established();
    let longest = "é".repeat(127) + "x";
    for name in ["", &longest] {
        let answer = pair.call(Side::Initiator, name, b"q", b"a");
        assert!(matches!(answer, Owned::Reply { body, .. } if &body[..] == b"a"));
    }
    let rejected = pair.initiator.link.send(Message::new(&"x".repeat(256), b"kept")).unwrap_err().why;
    assert_eq!(rejected, Why::LongServiceName);
}

#[test]
fn m1_calls_are_answered_both_ways_at_once() {
    let mut pair = Pair::established();
    let mut calls = Vec::new();
    for number in 0..50_u8 {
        for from in SIDES {
            let now = pair.now;
            let call = pair.link(from).call(Message::new("s", &[number][..]), secs(5), now).expect("taken");
            calls.push((from, call, number));
        }
    }
    pair.run();
    for side in SIDES {
        // Answered in another order than asked.
        for event in take_events(&mut pair, side).into_iter().rev() {
            let Owned::Call { token, body, .. } = event else { panic!("{event:?}") };
            let answer = [body[0] ^ 0xff];
            pair.link(side).reply(token, Ok(Payload::from(&answer))).expect("taken");
        }
    }
    pair.run();
    for side in SIDES {
        let answers = take_events(&mut pair, side);
        assert_eq!(answers.len(), 50);
        for answer in answers {
            let Owned::Reply { call, body } = answer else { panic!("{answer:?}") };
            assert!(calls.contains(&(side, call, body[0] ^ 0xff)));
        }
        assert_eq!(pair.link(side).calls_in_flight(), (0, 0));
    }
}

#[test]
fn m1_the_event_of_a_call_names_its_deadline_and_priority_and_the_link_its_peer() {
    let mut pair = Pair::established();
    let now = pair.now;
    let message = Message::new("s", b"").priority(Priority::Bulk);
    pair.initiator.link.call(message, secs(3), now).expect("taken");
    pair.run();
    let Some(Owned::Call { deadline, .. }) = pair.event(Side::Responder) else { panic!("no call") };
    assert_eq!(deadline, now + secs(3));
    assert_eq!(pair.responder.link.peer().map(|peer| peer.id), Some(handclasp_sim::id(1)));
}

#[test]
fn m2_request_ids_are_unique_non_zero_and_below_two_to_the_62() {
    let mut pair = Pair::established();
    let now = pair.now;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..300 {
        let call = pair.initiator.link.call(Message::new("s", b""), secs(5), now).expect("taken");
        assert!((1..1 << 62).contains(&call.get()) && seen.insert(call.get()));
    }
}

#[test]
fn m2_late_duplicate_and_unknown_answers_are_dropped_and_counted() {
    let mut raw = raw();
    let call = raw.link.call(Message::new("s", b""), secs(5), raw.now).expect("taken");
    raw.act();
    let id = call.get();
    raw.send(&reply(id + 1, b"unknown"));
    raw.send(&frame(0x13, 1, [&varint(id + 2), &[0, 3][..]].concat()));
    assert!(raw.events.is_empty());
    assert_eq!(raw.link.stats().unknown_replies, 2);
    raw.send(&reply(id, b"the answer"));
    assert!(matches!(raw.events.pop(), Some(Owned::Reply { call: answered, .. }) if answered == call));
    raw.send(&reply(id, b"again"));
    raw.send(&frame(0x12, 3 | 0x80, [&varint(id)[..], &varint(4), b"cut"].concat()));
    raw.send(&frame(0x15, 3, b"!"));
    assert!(raw.events.is_empty());
    assert_eq!(raw.link.stats().unknown_replies, 4);
    // Late: the caller's time is over.
    let late = raw.link.call(Message::new("s", b""), secs(1), raw.now).expect("taken");
    raw.pass(secs(1));
    assert!(matches!(raw.events.pop(), Some(Owned::CallFailed { call, .. }) if call == late));
    raw.send(&reply(late.get(), b"late"));
    assert!(raw.events.is_empty());
    assert_eq!(raw.link.stats().unknown_replies, 5);
    assert_eq!(ended(&raw), None);
}

#[test]
fn m2_dropped_answers_give_their_credit_back() {
    let mut raw = crate::support::raw_with(smallest(4));
    for id in 1..100 {
        raw.send(&reply(id, &[0; 1000]));
    }
    assert_eq!(ended(&raw), None);
    let given: u64 = raw
        .frames()
        .iter()
        .filter(|frame| frame.kind == 0x20)
        .map(|frame| read_varint(&frame.body[1..]).0)
        .sum();
    assert_eq!(given, 99 * 1064);
}

#[test]
fn m2_an_answer_to_a_request_that_has_not_left_whole_is_dropped() {
    let mut raw = raw();
    // Never sealed: the stream takes no bytes.
    raw.ready.write = false;
    let call = raw.link.call(Message::new("s", b""), secs(5), raw.now).expect("taken");
    raw.send(&reply(call.get(), b"too early"));
    assert!(raw.events.is_empty());
    assert_eq!(raw.link.stats().unknown_replies, 1);
    raw.ready.write = true;
    raw.act();
    raw.send(&reply(call.get(), b"in time"));
    assert!(matches!(&raw.events[..], [Owned::Reply { body, .. }] if &body[..] == b"in time"));
}

#[test]
fn m2_a_request_id_that_is_used_again_after_a_cancel_is_the_new_call_only() {
    use handclasp_sim::raw::call;
    // The first was never given out: it must not come back to life.
    let mut raw = raw();
    raw.ready = Ready::WRITE;
    raw.send(&call(5, 5000, "s", b"first"));
    raw.send(&frame(0x14, 0, varint(5)));
    raw.send(&call(5, 5000, "s", b"second"));
    raw.ready = Ready::ALL;
    raw.act();
    let bodies = raw.events.drain(..).map(|event| match event {
        Owned::Call { body, .. } => body,
        other => panic!("{other:?}"),
    });
    assert_eq!(bodies.collect::<Vec<_>>(), [&b"second"[..]]);
}

#[test]
fn m2_a_token_of_a_cancelled_call_does_not_answer_a_later_call_of_the_same_id() {
    use handclasp_sim::raw::call;
    let mut raw = raw();
    raw.send(&call(5, 5000, "s", b"first"));
    let Some(Owned::Call { token, .. }) = raw.events.pop() else { panic!("no call") };
    raw.send(&frame(0x14, 0, varint(5)));
    assert!(matches!(raw.events.pop(), Some(Owned::Cancelled(call)) if call == token.call()));
    raw.send(&call(5, 5000, "s", b"second"));
    let Some(Owned::Call { token: second, .. }) = raw.events.pop() else { panic!("no call") };
    let stale = raw.link.reply(token, Ok(Payload::from(b"to the first"))).unwrap_err();
    assert_eq!((stale.why, stale.token), (Why::NobodyWaits, None));
    raw.link.reply(second, Ok(Payload::from(b"to the second"))).expect("taken");
    raw.act();
    let answers: Vec<_> = raw.frames().into_iter().filter(|frame| frame.kind == 0x12).collect();
    assert!(matches!(&answers[..], [answer] if answer.body.ends_with(b"second")), "{answers:?}");
}

#[test]
fn m5_every_service_error_round_trips() {
    let detail = Bytes::from(vec![0xab; MAX_ERROR_DETAIL]);
    for error in [
        ServiceError::NoSuchService,
        ServiceError::Forbidden,
        ServiceError::HandlerFailed,
        ServiceError::Overloaded,
        ServiceError::DeadlineExceeded,
        ServiceError::Cancelled,
        ServiceError::TooLarge { limit: 0 },
        ServiceError::TooLarge { limit: u32::MAX },
        ServiceError::Application { code: 0, detail: Bytes::new() },
        ServiceError::Application { code: u32::MAX, detail },
        ServiceError::Other { code: 9 },
        ServiceError::Other { code: u16::MAX },
    ] {
        let mut pair = Pair::established();
        let (call, token) = asked(&mut pair, Side::Initiator, secs(5));
        pair.responder.link.reply(token, Err(error.clone())).expect("taken");
        pair.run();
        match pair.event(Side::Initiator) {
            Some(Owned::CallFailed { call: failed, error: CallError::Service(came) }) => {
                assert_eq!((failed, came), (call, error));
            }
            other => panic!("{other:?}"),
        }
        // The link lives on.
        assert!(matches!(pair.call(Side::Initiator, "s", b"q", b"a"), Owned::Reply { .. }));
    }
}

#[test]
fn m5_error_codes_are_those_of_the_wire_format() {
    let mut raw = raw();
    for (code, detail, expected) in [
        (1, vec![], ServiceError::NoSuchService),
        (2, vec![], ServiceError::Forbidden),
        (3, vec![], ServiceError::HandlerFailed),
        (4, vec![], ServiceError::Overloaded),
        (5, vec![], ServiceError::DeadlineExceeded),
        (6, vec![], ServiceError::Cancelled),
        (7, vec![0, 0, 1, 0], ServiceError::TooLarge { limit: 256 }),
        (
            8,
            b"\0\0\0\x07why".to_vec(),
            ServiceError::Application { code: 7, detail: Bytes::from_static(b"why") },
        ),
        (77, b"of a later version".to_vec(), ServiceError::Other { code: 77 }),
    ] {
        let call = raw.link.call(Message::new("s", b""), secs(5), raw.now).expect("taken");
        raw.act();
        raw.send(&frame(0x13, 1, [&varint(call.get())[..], &[0, code], &detail].concat()));
        match raw.events.pop() {
            Some(Owned::CallFailed { error: CallError::Service(error), .. }) => assert_eq!(error, expected),
            other => panic!("{code}: {other:?}"),
        }
    }
}

#[test]
fn m5_an_answer_too_large_gives_the_token_back_and_the_link_lives() {
    let mut pair = pair_with(|builder| builder.limits(smallest(4)));
    let (_, token) = asked(&mut pair, Side::Initiator, secs(5));
    let rejected = pair.responder.link.reply(token, Ok(Payload::from(vec![0; 1025]))).unwrap_err();
    assert_eq!(rejected.why, Why::TooLarge { limit: 1024 });
    let detail = Bytes::from(vec![0; MAX_ERROR_DETAIL + 1]);
    let error = ServiceError::Application { code: 1, detail };
    let rejected = pair.responder.link.reply(rejected.token.expect("the token"), Err(error)).unwrap_err();
    assert_eq!(rejected.why, Why::TooLarge { limit: MAX_ERROR_DETAIL as u32 });
    let error = ServiceError::TooLarge { limit: 1024 };
    pair.responder.link.reply(rejected.token.expect("the token"), Err(error.clone())).expect("taken");
    pair.run();
    match pair.event(Side::Initiator) {
        Some(Owned::CallFailed { error: CallError::Service(came), .. }) => assert_eq!(came, error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn m5_a_token_is_worth_nothing_at_another_link() {
    let (mut one, mut other) = (Pair::established(), crate::support::seeded_pair(|builder| builder, 1));
    for pair in [&mut one, &mut other] {
        let now = pair.now;
        pair.initiator.link.call(Message::new("s", b""), secs(5), now).expect("taken");
        pair.run();
    }
    let token = next_call(&mut one, Side::Responder);
    let rejected = other.responder.link.reply(token, Ok(Payload::from(b"?"))).unwrap_err();
    assert_eq!((rejected.why, rejected.token), (Why::NobodyWaits, None));
    other.run();
    assert!(other.event(Side::Initiator).is_none());
}

#[test]
fn m2_a_call_id_of_one_link_means_nothing_to_another() {
    let mut one = crate::support::seeded_pair(|builder| builder, 1);
    let mut other = crate::support::seeded_pair(|builder| builder, 2);
    let (here, _) = asked(&mut one, Side::Initiator, secs(5));
    let (there, token) = asked(&mut other, Side::Initiator, secs(5));
    assert_eq!(here.get(), there.get(), "the same number on the wire");
    assert_ne!(here, there);
    // Nor to the other end of its own link, which has a call of that number too.
    let (back, _) = asked(&mut other, Side::Responder, secs(5));
    assert_eq!(back.get(), there.get());
    let now = other.now;
    other.initiator.link.cancel(here, now);
    other.initiator.link.cancel(back, now);
    other.run();
    assert_eq!(other.initiator.link.calls_in_flight(), (1, 1));
    other.responder.link.reply(token, Ok(Payload::from(b"a"))).expect("still asked");
    other.run();
    let answer = other.event(Side::Initiator);
    assert!(matches!(&answer, Some(Owned::Reply { call, .. }) if *call == there), "{answer:?}");
    // Its own does cancel.
    other.responder.link.cancel(back, now);
    assert_eq!(other.responder.link.calls_in_flight(), (0, 0));
}

/// A refused answer: why, whether it may be tried again, and its bytes.
fn refused(pair: &mut Pair, token: ReplyToken, body: &[u8]) -> (Why, Option<ReplyToken>, Vec<u8>) {
    let rejected = pair.responder.link.reply(token, Ok(Payload::from(body))).unwrap_err();
    (rejected.why, rejected.token, rejected.answer.expect("an answer").into_bytes().to_vec())
}

#[test]
fn m1_a_refused_answer_is_given_back() {
    let mut pair = pair_with(|builder| builder.limits(smallest(4)).send_buffer(500));
    let (_, token) = asked(&mut pair, Side::Initiator, secs(5));
    let (_, other) = asked(&mut pair, Side::Initiator, secs(5));
    let long = vec![7; 1025];
    let (why, token, body) = refused(&mut pair, token, &long);
    assert_eq!((why, body), (Why::TooLarge { limit: 1024 }, long));
    let detail = Bytes::from(vec![9; MAX_ERROR_DETAIL + 1]);
    let error = ServiceError::Application { code: 1, detail };
    let rejected = pair.responder.link.reply(token.expect("the token"), Err(error.clone())).unwrap_err();
    assert_eq!(rejected.answer.unwrap_err(), error);
    assert_eq!(pair.responder.link.reply_space(), 500);
    pair.responder.link.reply(other, Ok(Payload::from(vec![0; 1000]))).expect("taken");
    assert_eq!(pair.responder.link.reply_space(), 0);
    let (why, token, body) = refused(&mut pair, rejected.token.expect("the token"), b"later");
    assert_eq!((why, &body[..]), (Why::Full, &b"later"[..]));
    let token = token.expect("the token");
    let now = pair.now;
    pair.responder.link.close(now);
    let (why, token, body) = refused(&mut pair, token, b"late");
    assert_eq!((why, token, &body[..]), (Why::NobodyWaits, None, &b"late"[..]));
}

#[test]
fn m5_the_caller_keeps_to_the_calls_that_the_peer_serves() {
    let limits = Limits { max_calls: 3, ..Limits::default() };
    let mut pair = pair_with(|builder| builder.limits(limits));
    let now = pair.now;
    for _ in 0..3 {
        pair.initiator.link.call(Message::new("s", b""), secs(5), now).expect("taken");
    }
    let rejected = pair.initiator.link.call(Message::new("s", b"kept"), secs(5), now).unwrap_err();
    assert_eq!(rejected.why, Why::TooManyCalls { limit: 3 });
    assert_eq!(&rejected.message.body.into_bytes()[..], b"kept");
    pair.run();
    let token = next_call(&mut pair, Side::Responder);
    pair.responder.link.reply(token, Ok(Payload::from(b""))).expect("taken");
    pair.run();
    pair.initiator.link.call(Message::new("s", b""), secs(5), now).expect("there is room again");
    pair.run();
    assert!(pair.initiator.link.closed().is_none());
    assert_eq!(pair.responder.link.calls_in_flight(), (0, 3));
}

#[test]
fn m5_a_reason_is_told_for_every_command_that_is_not_taken() {
    let mut pair = Pair::new();
    let now = pair.now;
    let why = |pair: &mut Pair| pair.initiator.link.send(Message::new("s", b"kept")).unwrap_err().why;
    assert_eq!(why(&mut pair), Why::NotEstablished);
    pair.establish();
    pair.initiator.link.call(Message::new("s", b""), secs(5), now).expect("taken");
    pair.run();
    pair.initiator.link.goodbye(0, "", now);
    assert_eq!(why(&mut pair), Why::Draining);
    pair.initiator.link.close(now);
    assert_eq!(why(&mut pair), Why::Closed);
    let closed = pair.closed(Side::Initiator);
    assert_eq!(closed.reason, Reason::Dropped);
}

#[test]
fn m5_the_room_for_calls_is_how_many_more_are_taken() {
    let mut pair = Pair::new();
    assert_eq!(pair.initiator.link.call_space(), 0, "not before there is a link");
    pair = pair_with(|builder| builder.limits(smallest(3)));
    for room in [3, 2, 1] {
        assert_eq!(pair.initiator.link.call_space(), room);
        let _ = asked(&mut pair, Side::Initiator, secs(1));
    }
    assert_eq!(pair.initiator.link.call_space(), 0);
    let refused = pair.initiator.link.call(Message::new("s", b""), secs(1), pair.now).expect_err("no room");
    assert_eq!(refused.why, Why::TooManyCalls { limit: 3 });
    pair.pass(secs(1));
    take_events(&mut pair, Side::Initiator);
    assert_eq!(pair.initiator.link.call_space(), 3);
}
