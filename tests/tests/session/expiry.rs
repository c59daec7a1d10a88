//! M11, D3: messages that are not worth sending any more, and messages of which only a part was sent.

use handclasp::{Action, By, Envelope, Event, Message, Priority, Ready, Reason};
use handclasp_sim::raw::{Raw, credit, send};
use handclasp_sim::{Owned, Pair, Side};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{SIDES, just_under, millis, pair_with, raw_with, secs, smallest, take_events};

/// A raw peer whose link has used up its window: what is queued now waits for credit.
fn waiting() -> Raw {
    let mut raw = raw_with(smallest(1));
    raw.link.send(Message::new(&"f".repeat(255), &[0; 1024][..])).expect("taken");
    raw.act();
    assert_eq!(raw.frames().len(), 1);
    raw
}

fn expired(events: &mut Vec<Owned>) -> Vec<Envelope> {
    let (gone, rest) = events.drain(..).partition(|event| matches!(event, Owned::Expired(_)));
    *events = rest;
    let gone: Vec<Owned> = gone;
    let envelope = |event| if let Owned::Expired(envelope) = event { envelope } else { unreachable!() };
    gone.into_iter().map(envelope).collect()
}

#[test]
fn m11_a_message_that_waits_expires_at_its_time_and_is_given_back() {
    for priority in Priority::ALL {
        let mut raw = waiting();
        let at = raw.now + secs(3);
        let message = Message::new("late", &b"body"[..]).priority(priority).expires(at);
        raw.link.send(message).expect("taken");
        raw.link.send(Message::new("behind", &b"x"[..]).priority(priority)).expect("taken");
        let queued = raw.link.queued();
        raw.pass(just_under(secs(3)));
        assert!(expired(&mut raw.events).is_empty());
        raw.pass(millis(1));
        let gone = expired(&mut raw.events);
        let back = Envelope {
            service: "late".into(),
            body: "body".into(),
            signed: false,
            unordered: false,
            priority,
            expires: Some(at),
        };
        assert_eq!(gone, [back]);
        assert_eq!(raw.link.queued(), queued - 4 - 4 - 64);
        assert_eq!(raw.link.stats().expired_messages, 1);
        // Credit comes too late for it, and in time for the other one.
        raw.send(&credit(0, 1024 + 255 + 64));
        let sent: Vec<_> = raw.frames().into_iter().filter(|frame| frame.kind == 0x10).collect();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].body, b"\x06behindx");
        assert_eq!(raw.link.queued(), 0);
    }
}

#[test]
fn m11_a_message_that_is_late_already_is_never_sealed() {
    for side in SIDES {
        let mut pair = Pair::established();
        let now = pair.now;
        for at in [now, now - millis(1)] {
            pair.link(side).send(Message::new("late", &b"x"[..]).expires(at)).expect("taken");
        }
        pair.run();
        assert_eq!(expired(&mut pair.end(side).events).len(), 2);
        pair.link(side).send(Message::new("in time", &b"x"[..]).expires(now + millis(1))).expect("taken");
        pair.run();
        let came = take_events(&mut pair, side.other());
        assert!(matches!(&came[..], [Owned::Message { service, .. }] if service == "in time"), "{came:?}");
        assert_eq!(pair.link(side).stats().messages_sent, 1);
    }
}

#[test]
fn m11_what_was_begun_in_time_is_finished() {
    let mut pair = Pair::established();
    let (now, body) = (pair.now, vec![7; 300_000]);
    pair.initiator.link.send(Message::new("long", &body[..]).expires(now + secs(1))).expect("taken");
    let count = pair.initiator.link.transmit(now).len();
    assert!(count > 0 && count < body.len());
    pair.now = now + secs(2);
    pair.run();
    assert!(pair.initiator.events.is_empty());
    let came = take_events(&mut pair, Side::Responder);
    assert!(matches!(&came[..], [Owned::Message { body: whole, .. }] if *whole == body), "{came:?}");
}

#[test]
fn m11_time_that_passes_between_poll_and_transmit_leaves_no_empty_record() {
    let mut pair = Pair::established();
    let now = pair.now;
    for _ in 0..3 {
        pair.initiator.link.send(Message::new("s", &b"x"[..]).expires(now + millis(1))).expect("taken");
    }
    assert!(matches!(pair.initiator.link.poll(now, Ready::ALL), Action::Send));
    assert!(pair.initiator.link.transmit(now + millis(1)).is_empty());
    pair.now = now + millis(1);
    pair.run();
    assert_eq!(expired(&mut pair.initiator.events).len(), 3);
    assert!(pair.responder.events.is_empty());
}

#[test]
fn m8_what_has_expired_counts_in_the_send_buffer_until_it_is_taken() {
    let mut pair = pair_with(|builder| builder.send_buffer(4000));
    let now = pair.now;
    pair.initiator.ready = Ready::WRITE;
    let mut taken = 0;
    while pair.initiator.link.send(Message::new("s", &[0; 35][..]).expires(now)).is_ok() {
        pair.run();
        taken += 1;
        assert!(taken < 100, "events pile up");
    }
    assert_eq!((taken, pair.initiator.link.queued()), (10, 0));
    pair.initiator.ready = Ready::ALL;
    pair.run();
    assert_eq!(expired(&mut pair.initiator.events).len(), 10);
    assert_eq!(pair.initiator.link.send_space(Priority::Normal), 1000);
}

#[test]
fn m8_each_message_that_has_expired_makes_its_own_room_once_it_is_taken() {
    let mut pair = pair_with(|builder| builder.send_buffer(4000));
    let now = pair.now;
    pair.initiator.ready = Ready::WRITE;
    for length in [36, 136, 236] {
        pair.initiator.link.send(Message::new("", vec![0; length]).expires(now)).expect("taken");
    }
    pair.run();
    for room in [400, 500, 700, 1000] {
        assert_eq!(pair.initiator.link.send_space(Priority::Normal), room);
        let taken = matches!(pair.initiator.link.poll(now, Ready::EVENTS), Action::Event(Event::Expired(_)));
        assert_eq!(taken, room < 1000);
    }
}

/// Nothing else has to happen for it to be given back in time.
#[test]
fn m11_the_expiry_of_a_message_that_waits_is_a_deadline_of_the_link() {
    let mut raw = waiting();
    for millis_left in [2000, 500, 700] {
        let at = raw.now + millis(millis_left);
        raw.link.send(Message::new("late", &b"x"[..]).expires(at)).expect("taken");
    }
    // Its turn has come to the first of the lane alone.
    let first = raw.now + millis(2000);
    match raw.link.poll(raw.now, Ready::ALL) {
        Action::Timeout(deadline) => assert_eq!(deadline, Some(first)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(raw.link.poll(first, Ready::ALL), Action::Event(Event::Expired(_))));
}

#[test]
fn l3_a_goodbye_waits_for_no_message_that_expires_and_gives_back_what_it_holds() {
    // This side's goodbye: the message in front of it expires, and the link drains.
    let mut raw = waiting();
    let (now, at) = (raw.now, raw.now + secs(2));
    raw.link.send(Message::new("late", &b"x"[..]).expires(at)).expect("taken");
    raw.link.goodbye(0, "", now);
    raw.pass(just_under(secs(2)));
    assert!(raw.frames().iter().all(|frame| frame.kind != 0x41));
    raw.pass(millis(1));
    assert_eq!(expired(&mut raw.events).len(), 1);
    assert!(raw.frames().iter().any(|frame| frame.kind == 0x41));
    // The peer's: what it holds back comes back, expired or not.
    let mut raw = waiting();
    raw.link.send(Message::new("late", &b"x"[..]).expires(at)).expect("taken");
    raw.send(&handclasp_sim::raw::frame(0x41, 0, [0; 4]));
    raw.pass(secs(6));
    assert!(expired(&mut raw.events).is_empty());
    assert_eq!(raw.link.take_unsent().map(|unsent| unsent.expires), Some(Some(at)));
}

/// The link, a message of it half sent, and two that wait.
fn half_sent() -> Pair {
    let mut pair = pair_with(|builder| builder.send_buffer(2 << 20));
    let now = pair.now;
    pair.initiator.link.send(Message::new("long", &vec![7; 300_000][..])).expect("taken");
    pair.initiator.link.send(Message::new("after", vec![8; 5000]).expires(now + secs(9))).expect("taken");
    pair.initiator.link.send(Message::new("bulk", &b"b"[..]).priority(Priority::Bulk)).expect("taken");
    let bytes = pair.initiator.link.transmit(now).to_vec();
    pair.initiator.link.transmitted(bytes.len(), now);
    pair.inject(Side::Responder, &bytes);
    pair
}

#[test]
fn m6_a_message_of_which_a_part_was_sent_comes_back_whole() {
    for fails in [true, false] {
        let mut pair = half_sent();
        let now = pair.now;
        if fails {
            pair.initiator.link.transport_failed(now);
        } else {
            pair.initiator.link.close(now);
        }
        pair.run();
        let closed = pair.closed(Side::Initiator);
        let (reason, by) =
            if fails { (Reason::Transport, By::Transport) } else { (Reason::Dropped, By::Local) };
        // The small one of another lane shared the first record.
        assert_eq!((closed.reason, closed.by, closed.unsent), (reason, by, 2));
        let link = &mut pair.initiator.link;
        let long = link.take_unsent().expect("given back");
        assert_eq!((long.service.as_str(), &long.body[..]), ("long", &vec![7; 300_000][..]));
        assert_eq!(link.queued(), 5000 + 5 + 64);
        let after = link.take_unsent().expect("given back");
        assert_eq!((after.service.as_str(), after.body.len()), ("after", 5000));
        assert_eq!(after.expires, Some(now + secs(9)));
        assert!(link.take_unsent().is_none());
        assert_eq!(link.queued(), 0);
        // The other side has delivered nothing of it.
        pair.responder.link.recv_closed(now);
        pair.run();
        let came = take_events(&mut pair, Side::Responder);
        let services: Vec<_> = came
            .iter()
            .filter_map(|event| if let Owned::Message { service, .. } = event { Some(service) } else { None })
            .collect();
        assert_eq!(services, ["bulk"]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each message has one of three ends, whatever waits for what: it came, it expired, it was given back.
    #[test]
    fn m11_each_message_has_one_end(
        steps in vec((0_usize..4, 0_usize..3000, prop::option::of(0_u64..40), 0_u64..10, any::<[bool; 3]>()), 1..80),
        cut in any::<bool>(),
    ) {
        let mut limits = smallest(1);
        (limits.max_message, limits.window) = (3000, 3000 + 319 + 2000);
        let mut pair = pair_with(|builder| builder.limits(limits).send_buffer(1 << 20));
        let mut sent = Vec::new();
        let (mut came, mut gone) = (Vec::new(), Vec::new());
        let mut collect = |pair: &mut Pair| {
            for envelope in expired(&mut pair.initiator.events) {
                let at = envelope.expires.expect("only what can expires");
                assert!(at <= pair.now);
                gone.push(envelope.service);
            }
            for event in pair.responder.events.drain(..) {
                if let Owned::Message { service, .. } = event {
                    came.push(service);
                }
            }
        };
        for (number, (priority, length, expires, pass, [reads, writes, moves])) in steps.into_iter().enumerate() {
            let body = vec![0; length];
            let service = number.to_string();
            let mut message = Message::new(&service, &body[..]).priority(Priority::ALL[priority]);
            message.expires = expires.map(|after| pair.now + millis(after));
            pair.initiator.link.send(message).expect("room");
            sent.push((priority, service));
            pair.responder.ready = if reads { Ready::ALL } else { Ready::WRITE };
            pair.initiator.ready = if writes { Ready::ALL } else { Ready::EVENTS };
            if moves {
                pair.pass(millis(pass));
            } else {
                pair.now = pair.now + millis(pass);
            }
            collect(&mut pair);
        }
        if cut {
            let now = pair.now;
            pair.initiator.link.transport_failed(now);
            let left = pair.initiator.pipe.bytes.len();
            prop_assert!(left < 1 << 20);
        }
        pair.initiator.ready = Ready::ALL;
        pair.responder.ready = Ready::ALL;
        pair.pass(secs(1));
        collect(&mut pair);
        let mut back = Vec::new();
        while let Some(unsent) = pair.initiator.link.take_unsent() {
            back.push(unsent.service);
        }
        if cut {
            prop_assert_eq!(back.len(), pair.closed(Side::Initiator).unsent);
        }
        prop_assert_eq!(pair.initiator.link.queued(), 0);
        // Order within each priority.
        for each in [&came, &back] {
            for priority in 0..4 {
                let of_priority = |service: &&String| sent.contains(&(priority, (*service).clone()));
                let order: Vec<usize> =
                    each.iter().filter(of_priority).map(|service| service.parse().unwrap()).collect();
                prop_assert!(order.is_sorted(), "{:?}", order);
            }
        }
        let mut ends: Vec<usize> =
            came.iter().chain(&gone).chain(&back).map(|service| service.parse().unwrap()).collect();
        ends.sort_unstable();
        prop_assert_eq!(ends, (0..sent.len()).collect::<Vec<_>>());
    }
}

#[test]
fn m9_credit_that_expires_with_nothing_is_not_taken() {
    // A message that expired was never charged: the window is whole.
    let mut raw = raw_with(smallest(1));
    let now = raw.now;
    for _ in 0..50 {
        raw.link.send(Message::new("s", &[0; 1000][..]).expires(now)).expect("taken");
        raw.act();
    }
    raw.link.send(Message::new("s", &[0; 1024][..])).expect("taken");
    raw.act();
    assert_eq!(raw.frames().iter().filter(|frame| frame.kind == 0x10).count(), 1);
    raw.send(&send("s", b"x"));
    assert!(raw.link.closed().is_none());
}
