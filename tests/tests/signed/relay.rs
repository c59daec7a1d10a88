//! Three nodes, and real links between them: what the one in the middle can do, and what it cannot.

use bytes::Bytes;
use handclasp::signed::{Audience, Content, Origins, SignedMessage, SignedPolicy, Topics};
use handclasp::{Message, Payload, Priority};
use handclasp_sim::{Pair, Side, id};

use crate::support::{Came, HEADER, config, content, delivered, link, policy, signed, store, take};

/// Node 1 has a link to node 2, and node 2 one to node 3.
struct Chain {
    first: Pair,
    second: Pair,
}

impl Chain {
    /// Node 2 has this policy; node 3 listens to node 1 and takes `news`.
    fn new(relay: SignedPolicy) -> Self {
        let two = config(2, &[1, 3], Some(relay));
        let three = policy(&[1], &store()).topics(Topics::listed(["news"]));
        Self { first: link(&config(1, &[2], None), &two), second: link(&two, &config(3, &[2], Some(three))) }
    }

    /// Node 2 sends this to node 3; what comes there.
    fn sent_by_the_middle(&mut self, message: Message<'_>) -> Vec<Came> {
        self.second.initiator.link.send(message).expect("taken");
        take(&mut self.second, Side::Responder)
    }

    /// Node 1 sends this to node 2, which passes on what is to be passed on: what comes to the applications of both.
    fn through(&mut self, message: Message<'_>) -> (Vec<Came>, Vec<Came>) {
        self.first.initiator.link.send(message).expect("taken");
        let middle = take(&mut self.first, Side::Responder);
        for came in &middle {
            let Came::Relay(message, priority) = came else { continue };
            let passed = message.message().priority(*priority);
            self.second.initiator.link.send(passed).expect("taken");
        }
        (middle, take(&mut self.second, Side::Responder))
    }
}

fn relaying() -> SignedPolicy {
    policy(&[1], &store()).relay()
}

/// Node 1's word to node 3.
fn to_three(sequence: u64, body: &[u8]) -> SignedMessage {
    signed(1, &Content { audience: id(3).into(), ..content(sequence, body) })
}

#[test]
fn m10_a_relayed_message_arrives_unchanged_and_as_its_origins() {
    let mut chain = Chain::new(relaying());
    for (sequence, length) in [(1, 5), (2, 3000), (3, 100_000)] {
        let message = to_three(sequence, &vec![5; length]);
        let (middle, end) = chain.through(message.message());
        assert_eq!(middle, [Came::Relay(message.clone(), Priority::Normal)], "no message of the relay's own");
        assert_eq!(end, [delivered(&message)]);
        let [Came::Message { signed: Some(came), .. }] = &end[..] else { panic!("{end:?}") };
        assert_eq!(came.bytes(), message.bytes(), "byte for byte");
        let peer = chain.second.responder.link.peer().expect("established").id;
        assert_eq!((came.origin(), peer), (id(1), id(2)), "the origin's word, by another hand");
    }
    let urgent = to_three(4, b"now");
    let (middle, end) = chain.through(urgent.message().priority(Priority::Urgent));
    assert_eq!(middle, [Came::Relay(urgent, Priority::Urgent)]);
    assert!(matches!(&end[..], [Came::Message { priority: Priority::Urgent, .. }]), "{end:?}");
}

#[test]
fn m10_a_node_that_does_not_relay_sees_nothing_that_is_for_others() {
    let mut chain = Chain::new(policy(&[1], &store()));
    assert_eq!(chain.through(to_three(1, b"body").message()), (vec![], vec![]));
    assert_eq!(chain.first.responder.link.stats().signed_refused, 1);
}

/// The relay has the whole message in its hands, and a key of its own.
#[test]
fn m10_a_relay_can_neither_alter_nor_re_aim() {
    let mut chain = Chain::new(relaying());
    let message = to_three(7, b"pay ten");
    let bytes = message.bytes().clone();
    let edited = |at: usize, with: &[u8]| {
        let mut edited = bytes.to_vec();
        edited[at..at + with.len()].copy_from_slice(with);
        assert_ne!(edited, bytes, "nothing was changed");
        Bytes::from(edited)
    };
    let body = HEADER + 32 + 1;
    let resigned = signed(2, &Content { audience: id(3).into(), ..content(7, b"pay ten") });
    let grafted = [&bytes[..bytes.len() - 64], &resigned.bytes()[resigned.bytes().len() - 64..]].concat();
    let to_us = signed(1, &content(7, b"pay ten"));
    let to_topic = signed(1, &Content { audience: Audience::topic("olds"), ..content(7, b"pay ten") });
    for (what, service, bytes) in [
        ("another body", "s", edited(body, b"pay two")),
        ("a longer body", "s", [&bytes[..body], b"not ", &bytes[body..]].concat().into()),
        ("another service on the way", "t", bytes.clone()),
        ("another service inside", "t", edited(body - 1, b"t")),
        ("another number", "s", edited(49, &[8])),
        ("another epoch", "s", edited(41, &[2])),
        ("the relay as the origin", "s", edited(2, id(2).as_bytes())),
        ("another known origin", "s", edited(2, id(4).as_bytes())),
        ("the relay's signature", "s", grafted.into()),
        ("the relay's own word", "s", resigned.bytes().clone()),
        ("what was said to the relay", "s", to_us.bytes().clone()),
        ("what was said to the relay, aimed at the end", "s", {
            let mut aimed = to_us.bytes().to_vec();
            aimed[HEADER..HEADER + 32].copy_from_slice(id(3).as_bytes());
            aimed.into()
        }),
        ("what was said to others", "s", to_topic.bytes().clone()),
        ("what was said to others, aimed at the end", "s", {
            let at = HEADER;
            let mut aimed = to_topic.bytes().to_vec();
            aimed[at..at + 4].copy_from_slice(b"news");
            aimed.into()
        }),
    ] {
        assert_eq!(chain.sent_by_the_middle(Message::new(service, Payload::Signed(bytes))), [], "{what}");
    }
    assert_eq!(chain.second.responder.link.stats().signed_refused, 14);
    // Without the mark it is the relay's word, and says so.
    let stripped = chain.sent_by_the_middle(Message::new("s", bytes.clone()));
    assert!(matches!(&stripped[..], [Came::Message { signed: None, .. }]), "{stripped:?}");
    // None of it has made the right one worse; and it is taken once.
    assert_eq!(chain.sent_by_the_middle(message.message()), [delivered(&message)]);
    assert_eq!(chain.sent_by_the_middle(message.message()), []);
    assert_eq!(chain.second.responder.link.stats().signed_replays, 1);
}

#[test]
fn m10_a_relay_passes_nothing_bad_on() {
    let mut chain = Chain::new(relaying());
    let mut forged = to_three(1, b"body").bytes().to_vec();
    *forged.last_mut().expect("a signature") ^= 1;
    let stranger = signed(4, &Content { audience: id(3).into(), ..content(1, b"body") });
    for bad in [forged.into(), stranger.bytes().clone()] {
        assert_eq!(chain.through(Message::new("s", Payload::Signed(bad))), (vec![], vec![]));
    }
    assert_eq!(chain.first.responder.link.stats().signed_refused, 2);
}

/// A topic that the relay takes itself is its own, and the application passes it on all the same.
#[test]
fn m10_a_topic_reaches_each_member_once_however_many_ways_there_are() {
    let takes_news = |origins: &[u8]| policy(origins, &store()).topics(Topics::listed(["news"]));
    // From node 1 to node 4 over node 2 and over node 3.
    let four = config(4, &[2, 3], Some(takes_news(&[1])));
    let mut arms: Vec<_> = [2, 3]
        .map(|number| {
            let arm = config(number, &[1, 4], Some(takes_news(&[1])));
            (link(&config(1, &[number], None), &arm), link(&arm, &four))
        })
        .into();
    for sequence in 0..5 {
        let news = Content { audience: Audience::topic("news"), ..content(sequence, b"rain") };
        let news = signed(1, &news);
        let mut came = Vec::new();
        for (first, second) in &mut arms {
            first.initiator.link.send(news.message()).expect("taken");
            let member = take(first, Side::Responder);
            assert_eq!(member, [delivered(&news)]);
            let [Came::Message { signed: Some(message), .. }] = &member[..] else { panic!("{member:?}") };
            second.initiator.link.send(message.message()).expect("taken");
            came.extend(take(second, Side::Responder));
        }
        assert_eq!(came, [delivered(&news)], "once, over whichever was first");
    }
    let replays: u64 = arms.iter().map(|(_, second)| second.responder.link.stats().signed_replays).sum();
    assert_eq!(replays, 5);
}

/// Its own words come back to a node over a ring, and end there.
#[test]
fn m10_a_ring_of_relays_ends_at_the_origin() {
    let anyone = || SignedPolicy::new(Origins::Anyone, store()).topics(Topics::listed(["news"])).relay();
    let one = config(1, &[2], Some(anyone()));
    let mut ring = link(&one, &config(2, &[1], Some(anyone())));
    let news = signed(1, &Content { audience: Audience::topic("news"), ..content(1, b"rain") });
    ring.initiator.link.send(news.message()).expect("taken");
    assert_eq!(take(&mut ring, Side::Responder), [delivered(&news)]);
    ring.responder.link.send(news.message()).expect("taken");
    assert_eq!(take(&mut ring, Side::Initiator), []);
    assert_eq!(ring.initiator.link.stats().signed_refused, 1);
}
