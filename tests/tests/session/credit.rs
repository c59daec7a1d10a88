//! M8: credit bounds what waits at the receiver; nobody who follows the rules waits for ever.

use handclasp::{Limits, Link, Message, Payload, Priority, Ready, Why};
use handclasp_sim::raw::{Raw, call, credit, frame, read_varint, send, varint};
use handclasp_sim::{Owned, Pair, Side};
use proptest::prelude::*;

use crate::support::{SIDES, asked, ended, next_call, pair_with, raw_with, secs, smallest, take_events};

#[test]
fn m8_a_receiver_that_takes_no_events_bounds_what_comes() {
    let limits = Limits { window: 100_000, max_message: 50_000, ..Limits::default() };
    let mut pair = pair_with(|builder| builder.limits(limits).send_buffer(usize::MAX));
    pair.responder.ready = Ready::WRITE;
    let charge = 1000 + 1 + 64;
    for _ in 0..1000 {
        let message = Message::new("s", vec![0; 1000]).priority(Priority::Urgent);
        pair.initiator.link.send(message).expect("taken");
    }
    pair.run();
    let came = pair.responder.link.stats().messages_received;
    assert_eq!(came, 100_000 / charge);
    assert_eq!(pair.initiator.link.queued() as u64, (1000 - came) * charge);
    // As it takes them, the rest comes.
    pair.responder.ready = Ready::ALL;
    pair.run();
    assert_eq!(take_events(&mut pair, Side::Responder).len(), 1000);
    assert_eq!(pair.initiator.link.queued(), 0);
}

#[test]
fn m8_credit_flows_by_what_is_taken() {
    let mut pair = pair_with(|builder| builder.limits(smallest(4)));
    for _ in 0..100 {
        pair.initiator.link.send(Message::new("s", vec![0; 1000])).expect("taken");
    }
    pair.run();
    // The harness keeps events apart once taken, so all hundred have come, one window after the other.
    assert_eq!(take_events(&mut pair, Side::Responder).len(), 100);
}

#[test]
fn m8_answers_flow_while_the_window_for_messages_is_used_up() {
    let mut pair = pair_with(|builder| builder.limits(smallest(4)));
    let (_, token) = asked(&mut pair, Side::Initiator, secs(5));
    // Both windows for messages are full: neither application takes anything.
    for side in SIDES {
        pair.end(side).ready = Ready::WRITE;
        for _ in 0..10 {
            pair.link(side).send(Message::new("s", vec![0; 1000])).expect("taken");
        }
    }
    pair.run();
    assert!(SIDES.into_iter().all(|side| pair.link(side).queued() > 8000));
    let received = pair.initiator.link.stats().messages_received;
    pair.responder.link.reply(token, Ok(Payload::from(vec![1; 1024]))).expect("taken");
    pair.run();
    assert_eq!(pair.initiator.link.stats().messages_received, received + 1);
    pair.initiator.ready = Ready::ALL;
    pair.run();
    let answered = |event: &Owned| matches!(event, Owned::Reply { body, .. } if body.len() == 1024);
    assert!(take_events(&mut pair, Side::Initiator).iter().any(answered));
}

/// A long answer that waits for credit lets a window of answers pass; of messages, which have a window of their own, any
/// number.
#[test]
fn m7_a_long_answer_that_waits_for_credit_holds_no_short_one_up_however_many_messages_go() {
    let limits = Limits { max_message: 4000, window: 5000, max_record: 4096, ..Limits::default() };
    let mut raw = raw_with(limits);
    raw.send(&[call(1, 5000, "s", b""), call(2, 5000, "s", b""), call(3, 5000, "s", b"")].concat());
    let mut tokens = raw.events.drain(..).filter_map(|event| match event {
        Owned::Call { token, .. } => Some(token),
        _ => None,
    });
    let [first, second, third] = std::array::from_fn(|_| tokens.next().expect("a call"));
    drop(tokens);
    for token in [first, second] {
        raw.link.reply(token, Ok(Payload::from(vec![0; 3000]))).expect("taken");
    }
    raw.act();
    let replies = |raw: &mut Raw| raw.frames().iter().filter(|frame| frame.kind == 0x12).count();
    assert_eq!(replies(&mut raw), 1, "there is credit for one of them");
    for _ in 0..10 {
        let message = Message::new("", vec![0; 936]).priority(Priority::Urgent);
        raw.link.send(message).expect("taken");
        raw.act();
        raw.send(&credit(0, 1000));
    }
    assert_eq!((raw.link.queued(), replies(&mut raw)), (3064, 0));
    raw.link.reply(third, Ok(Payload::from(b"short"))).expect("taken");
    raw.act();
    assert_eq!(replies(&mut raw), 1);
    raw.send(&credit(1, 3064));
    assert_eq!(replies(&mut raw), 1);
}

#[test]
fn m8_answers_are_taken_while_requests_wait() {
    let mut pair = Pair::established();
    let now = pair.now;
    pair.initiator.ready = Ready { requests: false, ..Ready::ALL };
    pair.initiator.link.call(Message::new("s", b""), secs(5), now).expect("taken");
    pair.run();
    let token = next_call(&mut pair, Side::Responder);
    for _ in 0..3 {
        pair.responder.link.send(Message::new("s", b"before the answer")).expect("taken");
    }
    pair.run();
    pair.responder.link.reply(token, Ok(Payload::from(b"answer"))).expect("taken");
    pair.run();
    assert!(matches!(&take_events(&mut pair, Side::Initiator)[..], [Owned::Reply { .. }]));
    // The end waits for what came before it.
    pair.responder.link.goodbye(0, "", now);
    pair.run();
    assert!(matches!(&take_events(&mut pair, Side::Initiator)[..], [Owned::Draining { .. }]));
    assert!(!pair.initiator.link.is_finished());
    pair.initiator.ready = Ready::ALL;
    pair.run();
    let rest = take_events(&mut pair, Side::Initiator);
    assert!(
        matches!(rest[..3], [Owned::Message { .. }, Owned::Message { .. }, Owned::Message { .. }]),
        "{rest:?}"
    );
    assert!(matches!(rest[3..], [Owned::Closed(_)]), "{rest:?}");
}

#[test]
fn m8_pings_goodbyes_and_cancels_need_no_credit() {
    let mut pair = pair_with(|builder| builder.limits(smallest(4)));
    pair.responder.ready = Ready::WRITE;
    for _ in 0..3 {
        pair.initiator.link.send(Message::new("s", vec![0; 1000])).expect("taken");
    }
    pair.run();
    let now = pair.now;
    pair.initiator.link.ping(now);
    pair.run();
    assert!(pair.initiator.link.stats().rtt.is_some());
    // The one whose application is slow can still be left, in time.
    pair.initiator.link.goodbye(0, "", now);
    pair.pass(secs(6));
    assert!(pair.initiator.link.is_finished());
}

#[test]
fn m8_the_send_buffer_says_when_it_is_full_and_gives_the_message_back() {
    let mut pair = pair_with(|builder| builder.send_buffer(40_000));
    pair.initiator.ready = Ready::EVENTS;
    let mut taken = 0;
    let why = loop {
        match pair.initiator.link.send(Message::new("s", vec![7; 999])) {
            Ok(()) => taken += 1,
            Err(rejected) => {
                assert_eq!(rejected.message.body.len(), 999);
                assert_eq!(rejected.message.service, "s");
                break rejected.why;
            }
        }
        assert!(taken < 100, "no end");
    };
    assert_eq!(why, Why::Full);
    assert!((9..=10).contains(&taken), "{taken} messages of 1000 bytes in 10 000");
    assert_eq!(pair.initiator.link.send_space(Priority::Normal), 0);
    let now = pair.now;
    let call = pair.initiator.link.call(Message::new("s", b"x"), secs(5), now);
    assert_eq!(call.unwrap_err().why, Why::Full);
    assert_eq!(pair.initiator.link.calls_in_flight(), (0, 0));
    pair.initiator.ready = Ready::ALL;
    pair.run();
    assert_eq!(pair.initiator.link.send_space(Priority::Normal), 10_000);
    pair.initiator.link.send(Message::new("s", b"x")).expect("there is room again");
}

#[test]
fn m9_a_message_too_large_for_the_peer_is_given_back_and_the_link_lives() {
    let mut pair = pair_with(|builder| builder.limits(smallest(4)));
    let now = pair.now;
    let body = vec![9; 1025];
    let rejected = pair.initiator.link.send(Message::new("s", &body[..])).unwrap_err();
    assert_eq!(rejected.why, Why::TooLarge { limit: 1024 });
    assert_eq!((rejected.message.service, rejected.message.body.into_bytes()), ("s", body.clone().into()));
    let rejected = pair.initiator.link.call(Message::new("s", body), secs(5), now).unwrap_err();
    assert_eq!(rejected.why, Why::TooLarge { limit: 1024 });
    assert_eq!((pair.initiator.link.queued(), pair.initiator.link.calls_in_flight()), (0, (0, 0)));
    // One byte less, with the longest name, passes.
    let name = "n".repeat(255);
    let answer = pair.call(Side::Initiator, &name, &[1; 1024], &[2; 1024]);
    assert!(matches!(answer, Owned::Reply { body, .. } if body.len() == 1024));
}

#[test]
fn m8_one_message_is_taken_whatever_the_buffer() {
    let mut pair = pair_with(|builder| builder.send_buffer(0));
    pair.initiator.link.send(Message::new("s", vec![0; 1 << 20])).expect("taken");
    assert_eq!(pair.initiator.link.send(Message::new("s", b"x")).unwrap_err().why, Why::Full);
}

#[test]
fn m8_empty_messages_fill_the_send_buffer_as_well() {
    let mut pair = pair_with(|builder| builder.send_buffer(10_000));
    pair.initiator.ready = Ready::EVENTS;
    let taken = (0..100_000).take_while(|_| pair.initiator.link.send(Message::new("", b"")).is_ok()).count();
    assert!(taken < 10_000, "{taken} messages without an end are queued in 10 000 bytes");
}

#[test]
fn m8_an_answer_waits_outside_while_the_buffer_is_full() {
    let mut pair = pair_with(|builder| builder.send_buffer(1000));
    let now = pair.now;
    for _ in 0..2 {
        pair.initiator.link.call(Message::new("s", b""), secs(5), now).expect("taken");
    }
    pair.run();
    let first = next_call(&mut pair, Side::Responder);
    let token = next_call(&mut pair, Side::Responder);
    // Messages do not take the room of answers, only other answers do.
    pair.responder.link.send(Message::new("s", vec![0; 1000])).expect("taken");
    pair.responder.link.reply(first, Ok(Payload::from(vec![0; 1000]))).expect("taken");
    let rejected = pair.responder.link.reply(token, Ok(Payload::from(b"answer"))).unwrap_err();
    assert_eq!(rejected.why, Why::Full);
    pair.run();
    let token = rejected.token.expect("the token");
    pair.responder.link.reply(token, Ok(Payload::from(b"answer"))).expect("taken");
    pair.run();
    let answered = |event: &&Owned| matches!(event, Owned::Reply { .. });
    assert_eq!(take_events(&mut pair, Side::Initiator).iter().filter(answered).count(), 2);
}

#[test]
fn m8_a_link_sends_nothing_that_it_has_no_credit_for() {
    let mut raw = raw_with(smallest(4));
    let mut charged = 0;
    for _ in 0..50 {
        raw.link.send(Message::new("abc", vec![0; 30]).priority(Priority::Urgent)).expect("taken");
        raw.act();
        charged += raw.frames().iter().map(|frame| frame.body.len() as u64 - 1 + 64).sum::<u64>();
    }
    // Thirteen times 97 is 1261, and a fourteenth would be 1358.
    assert_eq!(charged, 1261);
    raw.send(&credit(0, 14));
    assert_eq!(raw.frames(), [], "96 are not enough");
    raw.send(&credit(0, 1));
    assert_eq!(raw.frames().len(), 1);
    assert_eq!(ended(&raw), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Sends, calls and answers of every length, both ways, in the smallest windows: all of it arrives.
    #[test]
    fn m8_nothing_deadlocks_with_the_smallest_windows(
        work in proptest::collection::vec((any::<bool>(), any::<bool>(), 0..4_usize, 0..=1024_usize), 1..120),
        chunk in 1..4000_usize,
        max_calls in 1..5_u32,
    ) {
        let mut pair = pair_with(|builder| builder.limits(smallest(max_calls)));
        pair.chunk = chunk;
        let now = pair.now;
        let mut work = work.into_iter().peekable();
        let (mut sends, mut calls) = (0, 0);
        let (mut messages, mut answers) = (0, 0);
        loop {
            let mut waits = false;
            while let Some(&(initiator, is_call, priority, length)) = work.peek() {
                let side = if initiator { Side::Initiator } else { Side::Responder };
                let message = Message::new("s", vec![0; length]).priority(Priority::ALL[priority]);
                let taken = if is_call {
                    match pair.link(side).call(message, secs(5), now) {
                        Ok(_) => true,
                        Err(rejected) => {
                            prop_assert_eq!(rejected.why, Why::TooManyCalls { limit: max_calls });
                            false
                        }
                    }
                } else {
                    pair.link(side).send(message).is_ok()
                };
                if !taken {
                    waits = true;
                    break;
                }
                if is_call { calls += 1 } else { sends += 1 }
                work.next();
            }
            let moved = pair.step();
            for side in SIDES {
                for event in take_events(&mut pair, side) {
                    match event {
                        Owned::Message { .. } => messages += 1,
                        Owned::Reply { .. } => answers += 1,
                        Owned::Call { token, body, .. } => {
                            prop_assert!(pair.link(side).reply(token, Ok(Payload::from(body))).is_ok());
                        }
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
            }
            if !moved && pair.deadline(Side::Initiator).is_some() && !pair.step() {
                prop_assert!(!waits, "nothing moves, and work is left");
                break;
            }
        }
        prop_assert_eq!((messages, answers), (sends, calls));
        for side in SIDES {
            prop_assert_eq!((pair.link(side).queued(), pair.link(side).calls_in_flight()), (0, (0, 0)));
        }
    }
}

#[test]
fn m8_windows_are_those_of_the_smaller_side() {
    let build = |number, peer, window| {
        let limits = Limits { window, max_message: 10_000, ..Limits::default() };
        handclasp_sim::builder(number, &[peer]).limits(limits).build().expect("a valid configuration")
    };
    let mut pair = Pair::of(&build(1, 2, 20_000), &build(2, 1, 1 << 20), Some(handclasp_sim::id(2)));
    pair.establish();
    for side in SIDES {
        pair.end(side.other()).ready = Ready::WRITE;
        for _ in 0..100 {
            pair.link(side).send(Message::new("", vec![0; 936]).priority(Priority::Urgent)).expect("taken");
        }
        pair.run();
        assert_eq!(pair.link(side.other()).stats().messages_received, 20);
        pair.end(side.other()).ready = Ready::ALL;
        pair.run();
    }
}

/// Whatever waits to leave, there is room for the other priorities: a call needs not wait until a large message has gone,
/// nor bulk until nothing urgent comes any more.
#[test]
fn m7_each_priority_has_room_of_its_own_in_the_send_buffer() {
    let mut pair = pair_with(|builder| builder.send_buffer(80_000));
    pair.initiator.ready = Ready::EVENTS;
    let link = &mut pair.initiator.link;
    let space = |link: &Link| Priority::ALL.map(|priority| link.send_space(priority));
    let mut expected = [20_000; 4];
    assert_eq!(space(link), expected);
    for at in [3, 1, 0, 2] {
        let priority = Priority::ALL[at];
        link.send(Message::new("", vec![0; 9936]).priority(priority)).expect("taken");
        expected[at] -= 10_000;
        assert_eq!(space(link), expected);
        // Far more than the buffer: the last message always fits.
        link.send(Message::new("", vec![0; 500_000]).priority(priority)).expect("taken");
        expected[at] = 0;
        assert_eq!(space(link), expected);
        let rejected = link.send(Message::new("", "").priority(priority)).expect_err("no room");
        assert_eq!(rejected.why, Why::Full);
    }
    // However small the buffer, there is room for one message.
    for buffer in [0, 1, 3, usize::MAX] {
        let pair = pair_with(|builder| builder.send_buffer(buffer));
        assert_eq!(space(&pair.initiator.link), [(buffer / 4).max(1); 4]);
    }
}

/// Whoever offers more than leaves, of each priority, has messages of each taken: none starves at the buffer.
#[test]
fn m7_what_is_urgent_does_not_keep_bulk_out_of_the_send_buffer() {
    let mut pair = Pair::established();
    let mut taken = [0; 4];
    for _ in 0..100 {
        for (taken, priority) in taken.iter_mut().zip(Priority::ALL) {
            while pair.initiator.link.send(Message::new("s", vec![0; 4000]).priority(priority)).is_ok() {
                *taken += 1;
            }
        }
        let now = pair.now;
        let bytes = pair.initiator.link.transmit(now).to_vec();
        pair.initiator.link.transmitted(bytes.len(), now);
        pair.inject(Side::Responder, &bytes);
        pair.run();
    }
    let first = 256 * 1024 / 4065 + 1;
    assert!(taken.iter().all(|taken| *taken > first), "{taken:?}");
}

#[test]
fn m7_bulk_leaves_credit_for_what_is_urgent() {
    let limits = Limits { window: 80_000, max_message: 30_000, ..Limits::default() };
    let mut pair = pair_with(|builder| builder.limits(limits).send_buffer(usize::MAX));
    pair.responder.ready = Ready::WRITE;
    let mut came = 0;
    // What each priority may have under way while the other side takes nothing: half, three
    // quarters, seven eighths, all of it.
    for (priority, most) in [
        (Priority::Bulk, 40_000),
        (Priority::Low, 60_000),
        (Priority::Normal, 70_000),
        (Priority::Urgent, 80_000),
    ] {
        for _ in 0..200 {
            let message = Message::new("", vec![0; 936]).priority(priority);
            pair.initiator.link.send(message).expect("taken");
        }
        pair.run();
        let now_came = pair.responder.link.stats().messages_received;
        assert_eq!(now_came, most / 1000, "{priority:?}");
        assert!(now_came > came);
        came = now_came;
    }
    // Nothing is lost by it: all of it comes as it is taken.
    pair.responder.ready = Ready::ALL;
    pair.run();
    assert_eq!(take_events(&mut pair, Side::Responder).len(), 800);
    // A message larger than its lane's part goes when nothing else is under way.
    pair.initiator.link.send(Message::new("", vec![0; 30_000]).priority(Priority::Bulk)).expect("taken");
    pair.run();
    assert_eq!(take_events(&mut pair, Side::Responder).len(), 1);
}

/// Neither errors that came nor deadlines that passed pile up without a bound at an owner that takes no events.
#[test]
fn m8_failures_that_nobody_takes_count_as_calls_in_flight() {
    for expires in [false, true] {
        let mut raw = raw_with(Limits { max_calls: 5, ..Limits::default() });
        raw.ready = Ready::WRITE;
        for round in 0..5 {
            let now = raw.now;
            let call = raw.link.call(Message::new("s", b""), secs(1), now).expect("taken");
            raw.act();
            if expires {
                raw.pass(secs(1));
            } else {
                raw.send(&frame(0x13, 1, [&varint(call.get())[..], &[0, 3]].concat()));
            }
            assert_eq!(raw.link.calls_in_flight(), (0, 0), "{round}");
        }
        let now = raw.now;
        let rejected = raw.link.call(Message::new("s", b""), secs(1), now).unwrap_err();
        assert_eq!(rejected.why, Why::TooManyCalls { limit: 5 });
        // Each one that is taken makes room.
        raw.ready = Ready::ALL;
        raw.act();
        let failed = |event: &&Owned| matches!(event, Owned::CallFailed { .. });
        assert_eq!(raw.events.iter().filter(failed).count(), 5);
        raw.link.call(Message::new("s", b""), secs(1), now).expect("there is room again");
    }
}

/// What the link has granted anew in a budget: 0 for messages, 1 for answers.
fn granted(raw: &mut Raw, budget: u8) -> u64 {
    let grants = raw.frames().into_iter().filter(|frame| frame.kind == 0x20 && frame.body[0] == budget);
    grants.map(|frame| read_varint(&frame.body[1..]).0).sum()
}

/// What an error was charged comes back when it is taken, and not before.
#[test]
fn m8_the_credit_of_an_error_comes_back_with_the_event() {
    let mut raw = raw_with(smallest(4));
    raw.ready = Ready::WRITE;
    let call = raw.link.call(Message::new("s", b""), secs(5), raw.now).expect("taken");
    raw.act();
    let detail = [&varint(call.get())[..], &[0, 8, 0, 0, 0, 1], &[0; 896]].concat();
    raw.send(&frame(0x13, 1, detail));
    assert_eq!(granted(&mut raw, 1), 0);
    raw.ready = Ready::ALL;
    raw.act();
    assert_eq!(granted(&mut raw, 1), 900 + 64);
}

/// Its sender would else take the message in front for taken.
#[test]
fn m6_m8_what_is_not_for_the_application_gives_its_credit_back_behind_what_waits() {
    let mut raw = raw_with(smallest(4));
    // A signed message: the node has no policy for any, so that none is for the application.
    let refused = |length: usize| frame(0x10, 0x13, [&b"\x01s"[..], &vec![0; length]].concat());
    raw.send(&refused(100));
    assert_eq!(granted(&mut raw, 0), 165, "at once where nothing waits");
    raw.ready = Ready::WRITE;
    raw.send(&send("s", &[0; 200]));
    raw.send(&refused(100));
    raw.send(&refused(300));
    assert_eq!(granted(&mut raw, 0), 0);
    raw.ready = Ready::ALL;
    raw.act();
    assert_eq!((granted(&mut raw, 0), ended(&raw)), (265 + 165 + 365, None));
}
