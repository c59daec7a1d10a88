//! Messages, calls, cut messages, credit, keys and liveness between the link and the peer.

use std::time::Duration;

use handclasp::{CallError, Message, Payload, Priority, Reason, ServiceError};
use handclasp_sim::Owned;

use crate::peer::bytes::{ABANDON, Frame, MORE, kind, varint};
use crate::peer::{Got, Over};
use crate::world::{World, config, setup};

const ROLES: [bool; 2] = [true, false];

/// What came to the peer, credit left aside.
fn got(world: &mut World) -> Vec<Got> {
    let got = std::mem::take(&mut world.peer.got);
    got.into_iter().filter(|got| !matches!(got, Got::Credit(..))).collect()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

#[test]
fn m1_send_both_ways() {
    for role in ROLES {
        let mut world = World::usual(role);
        world.link.send(Message::new("news", &b"hello"[..]).priority(Priority::Urgent)).unwrap();
        world.run();
        let expected = Got::Send { lane: 2, service: "news".into(), body: b"hello".to_vec() };
        assert_eq!(got(&mut world), [expected]);

        for (lane, priority) in
            [(2, Priority::Urgent), (3, Priority::Normal), (4, Priority::Low), (5, Priority::Bulk)]
        {
            let frames = world.peer.send_frames(lane, "", &[lane], 100);
            world.peer.put(&frames);
            world.run();
            match world.events.pop_front() {
                Some(Owned::Message { service, body, priority: seen, sequence: 0, unordered: false }) => {
                    assert_eq!((service.as_str(), &body[..], seen), ("", &[lane][..], priority));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn m1_call_and_reply_both_ways() {
    for role in ROLES {
        let mut world = World::usual(role);
        let call =
            world.link.call(Message::new("sum", &b"1+1"[..]), Duration::from_secs(5), world.now).unwrap();
        world.run();
        let id = call.get();
        let expected = Got::Call { lane: 3, id, timeout: 5000, service: "sum".into(), body: b"1+1".to_vec() };
        assert_eq!(got(&mut world), [expected]);
        let reply = world.peer.reply_frames(1, id, b"2", 100);
        world.peer.put(&reply);
        world.run();
        match world.events.pop_front() {
            Some(Owned::Reply { call: seen, body }) => assert_eq!((seen, &body[..]), (call, &b"2"[..])),
            other => panic!("{other:?}"),
        }

        // The largest id there is.
        let id = (1 << 62) - 1;
        let frames = world.peer.call_frames(id, "echo", b"x", 100);
        world.peer.put(&frames);
        world.run();
        let Some(Owned::Call { token, service, body, deadline }) = world.events.pop_front() else {
            panic!("no call")
        };
        assert_eq!((service.as_str(), &body[..]), ("echo", &b"x"[..]));
        assert_eq!(deadline, world.now + Duration::from_secs(5));
        world.link.reply(token, Ok(Payload::from(&b"y"[..]))).unwrap();
        world.run();
        assert_eq!(got(&mut world), [Got::Reply { lane: 1, id, body: b"y".to_vec() }]);
    }
}

#[test]
fn m5_every_error_both_ways() {
    let errors = [
        (1, vec![], ServiceError::NoSuchService),
        (2, vec![], ServiceError::Forbidden),
        (3, vec![], ServiceError::HandlerFailed),
        (4, vec![], ServiceError::Overloaded),
        (5, vec![], ServiceError::DeadlineExceeded),
        (6, vec![], ServiceError::Cancelled),
        (7, vec![0, 1, 0, 0], ServiceError::TooLarge { limit: 65_536 }),
        (8, b"\0\0\0\x2awhy".to_vec(), ServiceError::Application { code: 42, detail: b"why"[..].into() }),
        (999, vec![], ServiceError::Other { code: 999 }),
    ];
    let mut world = World::usual(true);
    for (id, (code, detail, error)) in (1..).zip(errors) {
        let call = world.link.call(Message::new("s", &b""[..]), Duration::from_secs(5), world.now).unwrap();
        world.run();
        world.peer.got.clear();
        world.peer.error(call.get(), code, &detail);
        world.run();
        match world.events.pop_front() {
            Some(Owned::CallFailed { error: CallError::Service(seen), .. }) => assert_eq!(seen, error),
            other => panic!("{other:?}"),
        }
        if code == 999 {
            continue;
        }
        let frames = world.peer.call_frames(id, "s", b"", 100);
        world.peer.put(&frames);
        world.run();
        let Some(Owned::Call { token, .. }) = world.events.pop_front() else { panic!("no call") };
        world.link.reply(token, Err(error)).unwrap();
        world.run();
        assert_eq!(got(&mut world), [Got::Error { id, code, detail }]);
    }
}

#[test]
fn m7_messages_cut_over_many_records_both_ways() {
    for role in ROLES {
        let mut world = World::usual(role);
        let body = pattern(50_000);
        world.link.send(Message::new("big", &body[..])).unwrap();
        world.run();
        assert!(world.peer.records.len() > 12, "cut into {} records", world.peer.records.len());
        assert_eq!(got(&mut world), [Got::Send { lane: 3, service: "big".into(), body: body.clone() }]);

        // A call in pieces of one lane, a send in pieces of another, and a whole send between them.
        let call = world.peer.call_frames(1, "big", &body, 4000);
        let send = world.peer.send_frames(5, "bulk", &body, 3000);
        let small = world.peer.send_frames(2, "small", b"!", 10);
        let mut frames = Vec::new();
        for index in 0..call.len().max(send.len()) {
            frames.extend(call.get(index).cloned());
            frames.extend(send.get(index).cloned());
            if index == 3 {
                frames.extend(small.clone());
            }
        }
        world.peer.put_each(&frames);
        world.run();
        let mut token = None;
        let mut order = Vec::new();
        for event in std::mem::take(&mut world.events) {
            match event {
                Owned::Message { service, body: seen, .. } => {
                    assert!(service == "small" || seen == body);
                    order.push(service);
                }
                Owned::Call { token: given, body: seen, .. } => {
                    assert_eq!(seen, body);
                    order.push("call".into());
                    token = Some(given);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(order, ["small", "call", "bulk"]);

        // The reply is long as well, and goes in the call's lane or in that of replies.
        world.link.reply(token.expect("a call"), Ok(Payload::from(&body[..]))).unwrap();
        world.run();
        match &got(&mut world)[..] {
            [Got::Reply { lane: 1 | 3, id: 1, body: seen }] => assert_eq!(*seen, body),
            other => panic!("{other:?}"),
        }
        for lane in [1, 3] {
            let call =
                world.link.call(Message::new("s", &b""[..]), Duration::from_secs(5), world.now).unwrap();
            world.run();
            let frames = world.peer.reply_frames(lane, call.get(), &body, 4000);
            world.peer.put_each(&frames);
            world.run();
            assert!(
                matches!(world.events.pop_front(), Some(Owned::Reply { body: seen, .. }) if seen == body)
            );
        }
    }
}

#[test]
fn m7_an_abandoned_message_is_never_heard_of_and_costs_nothing() {
    let mut world = World::usual(true);
    // More than the window in all.
    for _ in 0..20 {
        let frames = world.peer.call_frames(5, "s", &pattern(90_000), 3000);
        world.peer.put_each(&frames[..2]);
        world.peer.put(&[Frame::new(kind::DATA, 3 | ABANDON, [])]);
        world.run();
        assert!(world.events.is_empty(), "{:?}", world.events);
    }
    // The lane and the id are free again.
    let frames = world.peer.call_frames(5, "s", b"", 3000);
    world.peer.put(&frames);
    world.run();
    assert!(matches!(world.events.pop_front(), Some(Owned::Call { .. })));
}

#[test]
fn m8_credit_adds_up_in_both_directions() {
    for role in ROLES {
        let mut world = World::usual(role);
        world.peer.generous = false;
        let window = u64::from(world.peer.outcome.as_ref().unwrap().window);
        // The window of 200 000 holds one message of 100 000 with its overhead, not two.
        let body = pattern(100_000);
        for _ in 0..2 {
            world.link.send(Message::new("fill", &body[..]).priority(Priority::Urgent)).unwrap();
        }
        world.run();
        assert_eq!(got(&mut world).len(), 1);
        assert_eq!(world.peer.granted, [window - 100_068, window]);
        world.peer.give(0, 100_068 - 99_933);
        world.run();
        assert_eq!(got(&mut world).len(), 0, "one byte short");
        world.peer.give(0, 1);
        world.run();
        assert_eq!(got(&mut world).len(), 1);
        assert_eq!(world.peer.granted[0], 0);

        // The other way round: everything that the application has taken comes back.
        for length in [0, 1, 5000, 100_000] {
            let frames = world.peer.send_frames(3, "name", &pattern(length), 4000);
            world.peer.put_each(&frames);
            world.run();
        }
        assert_eq!(world.events.len(), 4);
        // The link may keep small amounts back and add them up; it gives what is missing before it is needed.
        assert!(world.peer.credit[0] >= window / 2, "{:?}", world.peer.credit);
    }
}

#[test]
fn m8_the_smallest_window_never_gets_stuck() {
    for role in ROLES {
        let mut setup = setup(false);
        setup.hello.window = setup.hello.max_message + 64 + 255;
        let mut world = World::open(role, &config(false).build().unwrap(), setup);
        let name = "n".repeat(255);
        // The largest message that there is takes all of the window; whatever came before it must have been given back.
        for length in [1, 100_000, 7, 100_000] {
            let frames = world.peer.send_frames(3, &name, &pattern(length), 3800);
            world.peer.put_each(&frames);
            world.run();
            world.link.send(Message::new(&name, &pattern(length)[..])).unwrap();
            world.run();
            assert!(matches!(&got(&mut world)[..], [Got::Send { body, .. }] if body.len() == length));
            let call =
                world.link.call(Message::new("s", &b""[..]), Duration::from_secs(5), world.now).unwrap();
            world.run();
            let frames = world.peer.reply_frames(1, call.get(), &pattern(length), 3800);
            world.peer.put_each(&frames);
            world.run();
            world.peer.got.clear();
        }
    }
}

#[test]
fn m8_credit_that_is_overdrawn_or_without_end_is_flow_control() {
    let mut world = World::usual(true);
    world.peer.credit = [u64::MAX; 2];
    // More than the window, as the first frames of messages in four lanes.
    for lane in 2..5 {
        let frames = world.peer.send_frames(lane, "", &pattern(90_000), 4000);
        world.peer.put(&frames[..1]);
    }
    world.run();
    assert_eq!(world.closed().reason, Reason::FlowControl);
    assert!(
        matches!(&world.peer.over, Some(Over::Closed(reason)) if reason.code == 53),
        "{:?}",
        world.peer.over
    );

    let mut world = World::usual(true);
    world.peer.give(1, 1);
    world.run();
    assert_eq!(world.closed().reason, Reason::FlowControl);
}

#[test]
fn m9_more_than_max_message_is_too_large() {
    for role in ROLES {
        let mut world = World::usual(role);
        let head = [varint(100_001), vec![0]].concat();
        world.peer.put(&[Frame::new(kind::SEND, 3 | MORE, [&head[..], &[0; 100]].concat())]);
        world.run();
        assert_eq!(world.closed().reason, Reason::TooLarge);
        assert!(matches!(&world.peer.over, Some(Over::Closed(reason)) if reason.code == 52));
    }
}

#[test]
fn m3_cancel_both_ways() {
    let mut world = World::usual(true);
    let call = world.link.call(Message::new("slow", &b""[..]), Duration::from_secs(5), world.now).unwrap();
    world.run();
    world.link.cancel(call, world.now);
    world.run();
    assert!(matches!(&got(&mut world)[..], [Got::Call { .. }, Got::Cancel(id)] if *id == call.get()));
    // A late reply to it is dropped, and its credit comes back.
    let reply = world.peer.reply_frames(1, call.get(), &pattern(150), 1000);
    world.peer.put(&reply);
    world.run();
    assert!(world.events.is_empty());
    assert_eq!(world.link.stats().unknown_replies, 1);

    let frames = world.peer.call_frames(3, "slow", b"", 100);
    world.peer.put(&frames);
    world.run();
    let Some(Owned::Call { token, .. }) = world.events.pop_front() else { panic!("no call") };
    world.peer.cancel(3);
    world.peer.cancel(77);
    world.run();
    assert!(matches!(world.events.pop_front(), Some(Owned::Cancelled(number)) if number == token.call()));
    assert!(world.link.reply(token, Ok(Payload::from(&b""[..]))).is_err());
    // The id is free.
    let frames = world.peer.call_frames(3, "slow", b"", 100);
    world.peer.put(&frames);
    world.run();
    assert!(matches!(world.events.pop_front(), Some(Owned::Call { .. })));
    assert_eq!(world.link.calls_in_flight().1, 1);
}

#[test]
fn k4_rekey_in_both_directions() {
    for role in ROLES {
        let mut world = World::usual(role);
        // By the link, which asks for the other direction as well.
        world.link.rekey(world.now);
        world.run();
        assert_eq!(got(&mut world), [Got::Rekey(1)]);
        let stats = world.link.stats();
        assert_eq!((stats.rekeys_sent, stats.rekeys_received), (1, 1));
        // By the peer, of its own direction only, then of both.
        world.peer.rekey(0);
        world.run();
        assert_eq!(got(&mut world), []);
        world.peer.rekey(1);
        world.run();
        assert_eq!(got(&mut world), [Got::Rekey(0)]);
        let stats = world.link.stats();
        assert_eq!((stats.rekeys_sent, stats.rekeys_received), (2, 3));
        // Traffic goes on under the new keys.
        world.link.send(Message::new("a", &b"b"[..])).unwrap();
        let frames = world.peer.send_frames(3, "c", b"d", 10);
        world.peer.put(&frames);
        world.run();
        assert_eq!(got(&mut world).len(), 1);
        assert_eq!(world.events.len(), 1);
    }
}

#[test]
fn l1_ping_and_pong_both_ways() {
    let mut world = World::usual(true);
    world.peer.ping(*b"12345678");
    world.peer.put(&[Frame::new(kind::PONG, 0, [9; 8])]);
    world.run();
    assert_eq!(got(&mut world), [Got::Pong(*b"12345678")]);
    assert_eq!(world.link.stats().unknown_pongs, 1);
    world.link.ping(world.now);
    world.run();
    assert!(matches!(got(&mut world)[..], [Got::Ping(_)]));
    assert!(world.link.stats().rtt.is_some());
}

#[test]
fn h3_padding_and_frames_to_skip_are_skipped_and_others_are_a_violation() {
    let mut world = World::usual(false);
    let mut frames = vec![Frame::new(kind::PAD, 0, [1, 2, 3]), Frame::new(0xf7, 0, [7; 9])];
    frames.extend(world.peer.send_frames(3, "s", b"b", 10));
    frames.push(Frame::new(kind::PAD, 0, []));
    world.peer.put(&frames);
    world.run();
    assert!(matches!(world.events.pop_front(), Some(Owned::Message { .. })));
    assert!(world.events.is_empty());

    for kind in [0x02, 0x16, 0x28, 0x39, 0x3a, 0x3b, 0x43, kind::STATUS] {
        let mut world = World::usual(false);
        world.peer.put(&[Frame::new(kind, 0, [])]);
        world.run();
        assert_eq!(world.closed().reason.code(), 50, "{kind}");
        assert!(matches!(&world.peer.over, Some(Over::Closed(reason)) if reason.code == 50));
    }
}

#[test]
fn h8_frames_that_the_rules_forbid_end_the_link() {
    let send = |flags, body: &[u8]| vec![Frame::new(kind::SEND, flags, body)];
    let cases = [
        // In a lane that is not for it; with a flag that means nothing; with ABANDON.
        send(0, b"\0x"),
        send(1, b"\0x"),
        send(6, b"\0x"),
        send(3 | 0x20, b"\0x"),
        send(3 | ABANDON, b"\0x"),
        // Without the service, with half of it, with one that is no UTF-8.
        send(3, b""),
        send(3, b"\x05abc"),
        send(3, b"\x01\xff"),
        // A total that is not longer than what is here, and a varint that is longer than need be.
        send(3 | MORE, b"\x01\0x"),
        send(3 | MORE, b"\x40\x05\0x"),
        // DATA without a beginning, without bytes, with too many, with too few; a message within a message.
        vec![Frame::new(kind::DATA, 3, *b"x")],
        [send(3 | MORE, b"\x04\0x"), vec![Frame::new(kind::DATA, 3 | MORE, [])]].concat(),
        [send(3 | MORE, b"\x04\0x"), vec![Frame::new(kind::DATA, 3, *b"yyyy")]].concat(),
        [send(3 | MORE, b"\x04\0x"), vec![Frame::new(kind::DATA, 3, *b"yy")]].concat(),
        [send(3 | MORE, b"\x04\0x"), vec![Frame::new(kind::DATA, 3 | MORE, *b"yyy")]].concat(),
        [send(3 | MORE, b"\x04\0x"), send(3, b"\0y")].concat(),
        // Ids: zero, twice, cut off.
        vec![Frame::new(kind::CALL, 3, *b"\0\x01\0")],
        vec![Frame::new(kind::CALL, 3, *b"\x01\x09\0"), Frame::new(kind::CALL, 3, *b"\x01\x09\0")],
        vec![Frame::new(kind::CALL, 3, *b"\x80")],
        vec![Frame::new(kind::CANCEL, 0, *b"\x01\x01")],
        // A control frame with a lane, or of the wrong length.
        vec![Frame::new(kind::PING, 1, [0; 8])],
        vec![Frame::new(kind::PING, 0, [0; 7])],
        vec![Frame::new(kind::PONG, 0, [0; 9])],
        vec![Frame::new(kind::CREDIT, 0, *b"\x02\x01")],
        vec![Frame::new(kind::REKEY, 0, *b"\x02")],
        vec![Frame::new(kind::GOODBYE, 0, *b"\0\0\0")],
        vec![Frame::new(kind::GOODBYE, 0, *b"\0\0\0\0\xff")],
        // Something behind the last frame of a record.
        vec![Frame::new(kind::REKEY, 0, *b"\0"), Frame::new(kind::PAD, 0, [])],
        vec![Frame::new(kind::CLOSE, 0, *b"\0\x05"), Frame::new(kind::PAD, 0, [])],
    ];
    for frames in cases {
        let mut world = World::usual(true);
        world.peer.put(&frames);
        world.run();
        assert_eq!(world.closed().reason.code(), 50, "{frames:?}");
    }
    // Plaintexts that are not whole frames.
    for plaintext in [&b""[..], b"\0", b"\0\0\0", b"\0\0\0\x01"] {
        let mut world = World::usual(true);
        world.peer.seal(plaintext);
        world.run();
        assert_eq!(world.closed().reason.code(), 50, "{plaintext:?}");
    }
}
