//! Over one link: what comes to the application, what does not, and what the link makes of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handclasp::signed::{Audience, Content, SignedMessage, Topics};
use handclasp::{
    CallError, Envelope, Limits, Message, Payload, Phase, Priority, Ready, Reason, ServiceError, Why,
};
use handclasp_sim::raw::{RAW, Raw, RawFrame, frame};
use handclasp_sim::{Owned, Pair, Side, builder, id};

use crate::support::{Came, Spy, config, content, delivered, link, policy, signed, store, take};

const SIGNED: u8 = 0x10;
const MORE: u8 = 0x80;

/// Nodes 1 and 2, which listen to nodes 1, 2 and 3 and to the topic `news`.
fn pair() -> Pair {
    let policy = || policy(&[1, 2, 3], &store()).topics(Topics::listed(["news"]));
    link(&config(1, &[2], Some(policy())), &config(2, &[1], Some(policy())))
}

/// Node 1's words to node 2, or the other way round.
fn message(from: Side, sequence: u64, body: &[u8]) -> SignedMessage {
    let (own, other) = if from == Side::Initiator { (1, 2) } else { (2, 1) };
    signed(own, &Content { audience: id(other).into(), ..content(sequence, body) })
}

fn send(pair: &mut Pair, from: Side, message: Message<'_>) {
    pair.link(from).send(message).expect("taken");
}

/// What the counters of signed messages say: accepted, refused, replays.
fn counted(pair: &mut Pair, side: Side) -> [u64; 3] {
    let stats = pair.link(side).stats();
    [stats.signed_accepted, stats.signed_refused, stats.signed_replays]
}

fn plain(service: &str, body: &'static [u8]) -> Came {
    Came::Message {
        service: service.into(),
        body: Bytes::from_static(body),
        priority: Priority::Normal,
        signed: None,
    }
}

#[test]
fn m10_a_signed_message_comes_with_all_that_its_origin_said() {
    for from in [Side::Initiator, Side::Responder] {
        let mut pair = pair();
        // In one frame and in many records, beside ordinary messages.
        for (sequence, length) in [(1, 0), (2, 1), (3, 2000), (4, 16_500), (5, 200_000)] {
            let message = message(from, sequence, &vec![7; length]);
            send(&mut pair, from, message.message());
            send(&mut pair, from, Message::new("plain", b"between"));
            let came = take(&mut pair, from.other());
            assert_eq!(came, [delivered(&message), plain("plain", b"between")]);
        }
        let topic =
            Content { audience: Audience::topic("news"), service: "feed", epoch: 9, ..content(1, b"!") };
        let topic = signed(3, &topic);
        send(&mut pair, from, topic.message().priority(Priority::Urgent));
        let came = take(&mut pair, from.other());
        let [Came::Message { service, body, priority: Priority::Urgent, signed: Some(signed) }] = &came[..]
        else {
            panic!("{came:?}")
        };
        assert_eq!((&service[..], &body[..]), ("feed", &b"!"[..]));
        assert_eq!((signed.origin(), signed.audience()), (id(3), &Audience::topic("news")));
        assert_eq!((signed.epoch(), signed.sequence()), (9, 1));
        assert_eq!(counted(&mut pair, from.other()), [6, 0, 0]);
        assert_eq!(counted(&mut pair, from), [0, 0, 0]);
    }
}

#[test]
fn m10_the_largest_signed_message_fits_the_largest_message_and_no_larger_one() {
    let mut pair = pair();
    let limit = Limits::default().max_message as usize;
    let around = message(Side::Initiator, 0, b"").bytes().len();
    let largest = message(Side::Initiator, 1, &vec![1; limit - around]);
    send(&mut pair, Side::Initiator, largest.message());
    assert_eq!(take(&mut pair, Side::Responder), [delivered(&largest)]);
    let larger = message(Side::Initiator, 2, &vec![1; limit - around + 1]);
    let rejected = pair.initiator.link.send(larger.message()).expect_err("too large");
    assert_eq!(rejected.why, Why::TooLarge { limit: Limits::default().max_message });
    assert!(rejected.message.body.is_signed(), "given back as it was");
}

/// Every way to be wrong: none comes to the application, none ends the link.
#[test]
fn m10_bad_ones_never_reach_the_application_and_the_link_lives() {
    let right = message(Side::Initiator, 1, b"body");
    let bytes = right.bytes();
    let mut bad: Vec<(String, &str, Bytes)> = (0..bytes.len())
        .map(|at| {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 0x40;
            (format!("byte {at}"), "s", flipped.into())
        })
        .collect();
    for end in 0..bytes.len() {
        bad.push((format!("{end} bytes"), "s", bytes.slice(..end)));
    }
    let elsewhere = |audience| signed(1, &Content { audience, ..content(1, b"body") }).bytes().clone();
    bad.push(("another node's".into(), "s", elsewhere(id(3).into())));
    bad.push(("another topic's".into(), "s", elsewhere(Audience::topic("olds"))));
    bad.push(("another service's".into(), "t", bytes.clone()));
    bad.push(("a stranger's".into(), "s", signed(4, &content(1, b"body")).bytes().clone()));
    bad.push(("its own".into(), "s", signed(2, &content(1, b"body")).bytes().clone()));
    let mut pair = pair();
    for (count, (what, service, bytes)) in (1..).zip(bad) {
        send(&mut pair, Side::Initiator, Message::new(service, Payload::Signed(bytes)));
        assert_eq!(take(&mut pair, Side::Responder), [], "{what}");
        assert_eq!(counted(&mut pair, Side::Responder), [0, count, 0], "{what}");
    }
    // All this has moved nothing.
    send(&mut pair, Side::Initiator, right.message());
    assert_eq!(take(&mut pair, Side::Responder), [delivered(&right)]);
    assert_eq!(pair.responder.link.phase(), Phase::Established);
}

#[test]
fn m10_a_node_without_a_policy_takes_none() {
    let mut pair = link(&config(1, &[2], None), &config(2, &[1], None));
    let right = message(Side::Initiator, 1, b"body");
    send(&mut pair, Side::Initiator, right.message());
    send(&mut pair, Side::Initiator, Message::new("s", right.bytes().clone()));
    let came = take(&mut pair, Side::Responder);
    // Without the mark it is a message like any other, of the peer's.
    assert_eq!(
        came,
        [Came::Message {
            service: "s".into(),
            body: right.bytes().clone(),
            priority: Priority::Normal,
            signed: None
        }]
    );
    assert_eq!(counted(&mut pair, Side::Responder), [0, 1, 0]);
    assert_eq!(pair.responder.link.phase(), Phase::Established);
}

#[test]
fn m10_a_replay_is_refused_on_the_same_link_and_on_every_other() {
    let store = store();
    let node = config(2, &[1, 3], Some(policy(&[1], &store)));
    let (first, second) = (message(Side::Initiator, 1, b"first"), message(Side::Initiator, 2, b"second"));
    let mut pair = link(&config(1, &[2], None), &node);
    for message in [&second, &first] {
        send(&mut pair, Side::Initiator, message.message());
        assert_eq!(take(&mut pair, Side::Responder), [delivered(message)]);
    }
    for message in [&first, &second] {
        send(&mut pair, Side::Initiator, message.message());
        assert_eq!(take(&mut pair, Side::Responder), []);
    }
    assert_eq!(counted(&mut pair, Side::Responder), [2, 0, 2]);
    // Another link of the same node, from the same peer and from another one, and one of another configuration.
    let again = config(2, &[1, 3], Some(policy(&[1], &store)));
    for (number, node) in [(1, &node), (3, &node), (3, &again)] {
        let mut other = link(&config(number, &[2], None), node);
        for message in [&first, &second] {
            send(&mut other, Side::Initiator, message.message());
        }
        assert_eq!(take(&mut other, Side::Responder), []);
        assert_eq!(counted(&mut other, Side::Responder), [0, 0, 2]);
        assert_eq!(other.responder.link.phase(), Phase::Established);
    }
    let third = message(Side::Initiator, 3, b"third");
    send(&mut pair, Side::Initiator, third.message());
    assert_eq!(take(&mut pair, Side::Responder), [delivered(&third)]);
}

#[test]
fn m10_unsigned_messages_ask_no_store() {
    let spy = Arc::new(Spy::default());
    let mut pair = link(&config(1, &[2], None), &config(2, &[1], Some(policy(&[1], &spy))));
    for _ in 0..100 {
        send(&mut pair, Side::Initiator, Message::new("s", b"plain"));
    }
    assert_eq!(take(&mut pair, Side::Responder).len(), 100);
    assert_eq!(*spy.count(), 0);
    send(&mut pair, Side::Initiator, message(Side::Initiator, 1, b"").message());
    assert_eq!(take(&mut pair, Side::Responder).len(), 1);
    assert_eq!(*spy.count(), 1);
}

/// With the smallest window there is, so that credit that does not come back stops everything at once.
#[test]
fn m10_refused_accepted_and_replayed_ones_all_give_their_credit_back() {
    let limits = Limits { max_message: 1024, window: 1024 + 319, ..Limits::default() };
    let policy = policy(&[1], &store());
    let [one, two] = [(1, 2), (2, 1)].map(|(own, other)| {
        let config = builder(own, &[other]).limits(limits).signed(policy.clone());
        config.build().expect("a valid configuration")
    });
    let mut pair = link(&one, &two);
    let body = [3; 700];
    for sequence in 0..30 {
        let right = message(Side::Initiator, sequence, &body);
        let foreign = signed(3, &content(sequence, &body));
        send(&mut pair, Side::Initiator, right.message());
        send(&mut pair, Side::Initiator, right.message());
        send(&mut pair, Side::Initiator, foreign.message());
        assert_eq!(take(&mut pair, Side::Responder), [delivered(&right)]);
        assert_eq!(pair.initiator.link.queued(), 0, "round {sequence}");
    }
    assert_eq!(counted(&mut pair, Side::Responder), [30, 30, 30]);
}

/// What came and was not taken is charged whole, so that a slow application bounds what comes.
/// The origin's neighbour learns that it was dealt with, although the call before it is what gives the credit back.
#[test]
fn m6_a_message_that_was_refused_behind_a_call_is_not_unknown_at_the_end() {
    let mut pair = pair();
    let now = pair.now;
    pair.initiator.link.call(Message::new("s", b"?"), Duration::from_secs(5), now).expect("taken");
    let elsewhere = message(Side::Initiator, 1, b"body").bytes().clone();
    send(&mut pair, Side::Initiator, Message::new("t", Payload::Signed(elsewhere)));
    pair.run();
    assert_eq!(counted(&mut pair, Side::Responder), [0, 1, 0]);
    pair.responder.ready.requests = true;
    pair.run();
    let token = loop {
        if let Owned::Call { token, .. } = pair.event(Side::Responder).expect("the call") {
            break token;
        }
    };
    pair.responder.link.reply(token, Ok(Payload::from(b"!"))).expect("taken");
    pair.responder.link.goodbye(0, "", now);
    pair.run();
    assert_eq!((pair.closed(Side::Initiator).unsent, pair.closed(Side::Initiator).unknown), (0, 0));
}

#[test]
fn m10_signed_messages_that_nobody_takes_are_bounded_by_the_window() {
    let limits = Limits { max_message: 1024, window: 4096, ..Limits::default() };
    let policy = policy(&[1], &store());
    let [one, two] = [(1, 2), (2, 1)].map(|(own, other)| {
        let config = builder(own, &[other]).limits(limits).signed(policy.clone());
        config.build().expect("a valid configuration")
    });
    let mut pair = link(&one, &two);
    let sent: Vec<_> = (0..20).map(|sequence| message(Side::Initiator, sequence, &[3; 700])).collect();
    for message in &sent {
        send(&mut pair, Side::Initiator, message.message());
    }
    pair.run();
    let whole = sent[0].bytes().len() + "s".len() + 64;
    let accepted = counted(&mut pair, Side::Responder)[0];
    assert!(accepted > 0 && accepted * whole as u64 <= 4096, "{accepted} of {whole}");
    assert_eq!(take(&mut pair, Side::Responder), sent.iter().map(delivered).collect::<Vec<_>>());
}

#[test]
fn m10_a_signed_message_is_no_call_and_no_answer() {
    let mut pair = pair();
    let message = message(Side::Initiator, 1, b"body");
    let now = pair.now;
    let rejected =
        pair.initiator.link.call(message.message(), Duration::from_secs(1), now).expect_err("a call");
    assert_eq!(rejected.why, Why::OneWayOnly);
    assert!(rejected.message.body.is_signed());
    assert_eq!(pair.initiator.link.calls_in_flight(), (0, 0));

    pair.responder.ready = Ready::ALL;
    pair.initiator.link.call(Message::new("s", b""), Duration::from_secs(1), now).expect("taken");
    pair.run();
    let token = loop {
        if let Owned::Call { token, .. } = pair.event(Side::Responder).expect("the call") {
            break token;
        }
    };
    let answer = Payload::Signed(message.bytes().clone());
    let rejected = pair.responder.link.reply(token, Ok(answer)).expect_err("an answer");
    assert_eq!(rejected.why, Why::OneWayOnly);
    let token = rejected.token.expect("another answer can be given");
    pair.responder.link.reply(token, Err(ServiceError::Forbidden)).expect("taken");
    pair.run();
    let answer = pair.event(Side::Initiator);
    let forbidden = CallError::Service(ServiceError::Forbidden);
    assert!(matches!(&answer, Some(Owned::CallFailed { error, .. }) if *error == forbidden), "{answer:?}");
}

/// What was not sent comes back as it was, and goes out as it was over the next link.
#[test]
fn m10_the_mark_survives_a_link_that_ends_and_an_expiry() {
    let (first, second) = (message(Side::Initiator, 1, b"first"), message(Side::Initiator, 2, b"second"));
    let mut pair = pair();
    let now = pair.now;
    let soon = now + Duration::from_millis(1);
    send(&mut pair, Side::Initiator, first.message().expires(soon));
    pair.now = soon;
    pair.initiator.ready.write = false;
    pair.act(Side::Initiator);
    let Some(Owned::Expired(expired)) = pair.event(Side::Initiator) else { panic!("not expired") };
    send(&mut pair, Side::Initiator, second.message());
    send(&mut pair, Side::Initiator, Message::new("s", b"plain"));
    pair.initiator.link.close(now);
    let back: Vec<_> = std::iter::from_fn(|| pair.initiator.link.take_unsent()).collect();
    assert_eq!(back.iter().map(|envelope| envelope.signed).collect::<Vec<_>>(), [true, false]);

    let mut next = self::pair();
    for envelope in [&expired, &back[0], &back[1]] {
        let mut message = envelope.message();
        message.expires = None;
        assert_eq!(Envelope::from(message.clone()).signed, envelope.signed);
        send(&mut next, Side::Initiator, message);
    }
    assert_eq!(
        take(&mut next, Side::Responder),
        [delivered(&first), delivered(&second), plain("s", b"plain")]
    );
}

/// A raw peer, whose link listens to node 1.
fn raw() -> Raw {
    Raw::dialling(&config(2, &[RAW], Some(policy(&[1], &store()))))
}

#[test]
fn m10_the_frame_is_a_send_with_a_flag() {
    let message = message(Side::Initiator, 1, b"body");
    let body = [b"\x01s", &message.bytes()[..]].concat();
    let mut raw = raw();
    raw.send(&frame(0x10, SIGNED | 3, &body));
    assert!(matches!(&raw.events[..], [Owned::Message { body, .. }] if body == "body"), "{:?}", raw.events);
    // In pieces: the flag stands on the first frame alone.
    let (begin, rest) = message.bytes().split_at(40);
    let total = handclasp_sim::raw::varint(message.bytes().len() as u64);
    let mut raw = self::raw();
    raw.send(&frame(0x10, SIGNED | MORE | 3, [&total, &b"\x01s"[..], begin].concat()));
    raw.send(&frame(0x15, 3, rest));
    assert!(matches!(&raw.events[..], [Owned::Message { body, .. }] if body == "body"), "{:?}", raw.events);
    // And that is what a link writes.
    let mut raw = self::raw();
    raw.link.send(message.message()).expect("taken");
    raw.act();
    let frames = raw.frames();
    let [RawFrame { kind: 0x10, flags, body: sent }] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((*flags, sent), (SIGNED | 3, &body));
}

#[test]
fn m10_the_flag_on_any_other_frame_is_a_violation() {
    let cases: [(&str, Vec<u8>); 6] = [
        ("CALL", frame(0x11, SIGNED | 3, b"\x01\x40\x80\x01sx")),
        ("REPLY", frame(0x12, SIGNED | 1, b"\x01x")),
        ("ERROR", frame(0x13, SIGNED | 1, b"\x01\x00\x01")),
        ("DATA", [frame(0x10, MORE | 3, b"\x04\x01sab"), frame(0x15, SIGNED | 3, b"cd")].concat()),
        ("PING", frame(0x30, SIGNED, [0; 8])),
        ("SEND in the reply lane", frame(0x10, SIGNED | 1, b"\x01sx")),
    ];
    for (what, plaintext) in cases {
        let mut raw = raw();
        raw.send(&plaintext);
        let closed = raw.link.closed().map(|closed| closed.reason.clone());
        assert!(matches!(closed, Some(Reason::Violation(_))), "{what}: {closed:?}");
    }
    // The flag that a REPLY may not have is the only thing wrong with it.
    let mut raw = raw();
    raw.send(&frame(0x12, 1, b"\x01x"));
    assert_eq!(raw.link.phase(), Phase::Established);
}
