//! Links that belong to a node: what they tell it, and what they do on its word.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::nodes::{BOTH, End, Nodes, Side, assert_word, envelope};
use super::{builder, key};
use crate::config::{Config, Trust};
use crate::crypto::noise::Role;
use crate::error::{By, Reason};
use crate::hello::{AdvertVersions, DialAddress, Limits};
use crate::identity::Signer;
use crate::link::{Action, Dial, Envelope, Event, Link, Message, Priority, Ready, Why};
use crate::node::{FromLink, Identity, NodeToLink, ToLink};
use crate::phase::Phase;
use crate::refusal::Refusal;
use crate::{Instant, Seed};

fn services(envelopes: &[Envelope]) -> Vec<&str> {
    envelopes.iter().map(|envelope| envelope.service.as_str()).collect()
}

#[test]
fn c4_words_to_the_node_come_at_their_moment_and_in_order() {
    let mut nodes = Nodes::new();
    // Nothing was heard yet: the dialler's first bytes have not come.
    assert!(nodes.b.link.poll_node().is_none() && nodes.a.link.poll_node().is_none());
    nodes.run();
    assert_word!(nodes.b, FromLink::Heard);
    nodes.b.none();
    let FromLink::Identified(identity) = nodes.a.word() else { panic!("who?") };
    let Identity { id, hello } = *identity;
    assert_eq!((id, hello.incarnation, hello.link_sequence), (key(2).node_id(), 2, 3));
    assert_eq!(nodes.a.link.phase(), Phase::Admission);
    // The event comes too, and is no question: the owner cannot answer it.
    assert_eq!(nodes.a.events, ["Opened", "Identified"]);
    let now = nodes.now;
    nodes.a.link.admit(now);
    nodes.run();
    assert_eq!(nodes.a.link.phase(), Phase::Admission);

    nodes.say(Side::A, ToLink::Admit { simultaneous: false });
    nodes.run();
    nodes.a.none();
    let FromLink::Identified(identity) = nodes.b.word() else { panic!("who?") };
    assert_eq!((identity.id, identity.hello.link_sequence), (key(1).node_id(), 7));
    assert_eq!(nodes.b.link.phase(), Phase::Admission);
    nodes.b.none();

    // The acceptor is established before it can know that the dialler is.
    nodes.say(Side::B, ToLink::Admit { simultaneous: false });
    let word = nodes.b.link.poll_node().map(|word| word.0);
    assert!(matches!(word, Some(FromLink::Established)), "{word:?}");
    assert!(nodes.b.link.poll_node().is_none());
    nodes.run();
    assert_word!(nodes.a, FromLink::Established);
    assert_word!(nodes.a, FromLink::Confirmed);
    assert_word!(nodes.b, FromLink::Confirmed);
    // More records are no more confirmations.
    nodes.a.link.send(Message::new("s", "more")).unwrap();
    nodes.run();
    nodes.say(Side::A, ToLink::Probe);
    nodes.run();
    assert_eq!(nodes.a.link.stats().pongs, 2);
    nodes.a.none();
    nodes.b.none();

    nodes.say(Side::A, ToLink::Goodbye { code: 4, detail: "enough".into() });
    nodes.run();
    for side in BOTH {
        assert_word!(nodes.end(side), FromLink::Draining { .. });
        let (closed, unsent) = nodes.end(side).ended();
        assert_eq!(closed.reason, Reason::Goodbye { code: 4, detail: "enough".into() });
        assert!(unsent.is_empty());
        nodes.end(side).none();
    }
}

#[test]
fn c4_the_acceptor_is_confirmed_by_the_first_record_and_not_before() {
    let mut nodes = Nodes::new();
    for side in BOTH {
        nodes.run();
        nodes.say(side, ToLink::Admit { simultaneous: false });
    }
    nodes.b.words.clear();
    // Its STATUS goes out; nothing comes back yet.
    let now = nodes.now;
    let End { link, .. } = &mut nodes.b;
    while let Action::Event(_) = link.poll(now, Ready::EVENTS) {}
    let count = link.transmit(now).len();
    assert!(count > 0);
    link.transmitted(count, now);
    assert!(matches!(link.poll_node().map(|word| word.0), Some(FromLink::Established)));
    assert!(link.poll_node().is_none());
    nodes.pass(Duration::from_secs(5));
    nodes.b.none();
}

/// The node has them back before the link has ended, for the next one; calls are this link's and stay.
#[test]
fn c4_messages_among_calls_are_given_back_at_the_peers_goodbye_in_order() {
    let mut nodes = Nodes::established();
    let (now, time) = (nodes.now, Duration::from_secs(5));
    for service in ["one", "two", "three"] {
        nodes.a.link.call(Message::new("call", "x"), time, now).unwrap();
        nodes.say(Side::A, ToLink::Deliver(alloc::vec![envelope(service, Priority::Normal)]));
        nodes.a.link.call(Message::new("call", "x"), time, now).unwrap();
    }
    nodes.say(Side::B, ToLink::Goodbye { code: 0, detail: String::new() });
    nodes.b.act(now, &mut nodes.a.link);
    match nodes.a.link.poll_node().map(|word| word.0) {
        Some(FromLink::Draining { unsent, owes }) => {
            assert_eq!((services(&unsent), owes), (alloc::vec!["one", "two", "three"], false));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(nodes.a.link.calls_in_flight().0, 6);
}

#[test]
fn c4_a_managed_link_goes_by_its_nodes_trust_and_says_what_its_node_does() {
    let config = builder(1, 2).address(1, "of the configuration").build().unwrap();
    let other = builder(2, 1).build().unwrap();
    let now = Instant::ZERO;
    let versions = AdvertVersions { own: 5, held: 2 };
    let address = |text: &str| DialAddress { weight: 3, address: text.into() };
    let long: Vec<_> = (0..64).map(|_| address(&"x".repeat(255))).collect();
    for (addresses, trusts, sent) in [
        (&[address("of the node")][..], true, 1),
        (&[], true, 0),
        // Too large, and no address at all: the hello goes without.
        (&long, true, 0),
        (&[address("")], true, 0),
        (&[address("of the node")], false, 1),
    ] {
        let trusted = if trusts { alloc::vec![key(2).node_id()] } else { Vec::new() };
        let seed = Seed::new([1; 32]);
        let mut a = Link::managed(
            &config,
            Role::Initiator,
            Dial::anyone(),
            Trust::listed(trusted),
            Some(versions),
            addresses,
            &seed,
            now,
        );
        let mut b = Link::managed(
            &other,
            Role::Responder,
            Dial::anyone(),
            Trust::Anyone,
            None,
            &[],
            &Seed::new([2; 32]),
            now,
        );
        super::carry(&mut a, &mut b, now);
        super::carry(&mut b, &mut a, now);
        if !trusts {
            assert_eq!(a.closed().map(|closed| &closed.reason), Some(&Reason::Refused(Refusal::Denied)));
            continue;
        }
        a.on_node(NodeToLink(ToLink::Admit { simultaneous: false }), now);
        super::carry(&mut a, &mut b, now);
        let hello = &b.peer().expect("anyone is trusted").hello;
        assert_eq!((hello.addresses.len(), hello.adverts), (sent, Some(versions)));
        assert!(hello.addresses.iter().all(|each| each.address == "of the node"));
    }
}

/// A configuration leaves room in its hello for the id that is dialled, and for nothing else that a node adds.
#[test]
fn h3_a_hello_without_room_for_the_words_about_adverts_goes_without_them() {
    let config = |length: usize| builder(1, 2).info("k", alloc::vec![b'v'; length]).build();
    let longest = (0..4096).rev().find(|length| config(*length).is_ok()).expect("an empty value fits");
    let other = builder(2, 1).build().unwrap();
    let (now, versions) = (Instant::ZERO, AdvertVersions { own: 5, held: 2 });
    // The extension takes 20 bytes.
    for (short_of, sent) in [(0, None), (19, None), (20, Some(versions))] {
        let dial = |config, role, dial, adverts, seed| {
            let addresses = [DialAddress { weight: 3, address: "of the node".into() }];
            let seed = Seed::new([seed; 32]);
            Link::managed(config, role, dial, Trust::Anyone, adverts, &addresses, &seed, now)
        };
        let config = config(longest - short_of).unwrap();
        let mut a = dial(&config, Role::Initiator, Dial::to(key(2).node_id()), Some(versions), 1);
        let mut b = dial(&other, Role::Responder, Dial::anyone(), None, 2);
        super::carry(&mut a, &mut b, now);
        super::carry(&mut b, &mut a, now);
        a.on_node(NodeToLink(ToLink::Admit { simultaneous: false }), now);
        super::carry(&mut a, &mut b, now);
        let hello = &b.peer().expect("the hello is one that is read").hello;
        assert_eq!((hello.adverts, hello.addresses.len()), (sent, 0), "{short_of}");
        assert_eq!(hello.info.first().map(|(_, value)| value.len()), Some(longest - short_of));
        assert_eq!(hello.destination.as_ref(), Some(key(2).node_id().as_bytes()));
    }
}

#[test]
fn c4_refusals_reach_the_other_side_and_the_own_node() {
    for refuser in BOTH {
        let mut nodes = Nodes::new();
        nodes.run();
        if refuser == Side::B {
            nodes.say(Side::A, ToLink::Admit { simultaneous: false });
            nodes.run();
        }
        nodes.a.words.clear();
        nodes.b.words.clear();
        nodes.say(refuser, ToLink::Refuse(Refusal::Simultaneous));
        nodes.run();
        for side in BOTH {
            let by = if side == refuser { By::Local } else { By::Peer };
            let (closed, _) = nodes.end(side).ended();
            assert_eq!((closed.reason, closed.by), (Reason::Refused(Refusal::Simultaneous), by));
        }
    }
}

#[test]
fn c4_what_was_not_sent_comes_back_in_order_with_the_end() {
    let mut nodes = Nodes::established();
    let now = nodes.now;
    // Queued by the owner, then by the node, and nothing of it is sealed.
    for (service, priority) in [("1", Priority::Normal), ("2", Priority::Bulk), ("3", Priority::Normal)] {
        nodes.a.link.send(Message::new(service, "body").priority(priority)).unwrap();
    }
    nodes.say(
        Side::A,
        ToLink::Deliver(alloc::vec![envelope("4", Priority::Urgent), envelope("5", Priority::Normal)]),
    );
    nodes.a.link.goodbye(0, "", now);
    // The link drains: what comes now is behind the rest of its priority.
    nodes.say(
        Side::A,
        ToLink::Deliver(alloc::vec![envelope("6", Priority::Normal), envelope("7", Priority::Urgent)]),
    );
    nodes.say(Side::A, ToLink::Close(Reason::Superseded));
    nodes.say(Side::A, ToLink::Deliver(alloc::vec![envelope("8", Priority::Bulk)]));
    assert!(nodes.a.link.take_unsent().is_none(), "the node has them");
    nodes.run();
    assert_word!(nodes.a, FromLink::Draining { .. });
    let (closed, unsent) = nodes.a.ended();
    assert_eq!((closed.reason, closed.by, closed.unsent), (Reason::Superseded, By::Local, 5));
    assert_eq!(services(&unsent), ["4", "7", "1", "3", "5", "6", "2", "8"]);
    assert!(unsent.iter().all(|envelope| envelope.body == "body"));
    // The node's word was under way when the link said its last.
    nodes.say(Side::A, ToLink::Deliver(alloc::vec![envelope("9", Priority::Bulk)]));
    nodes.run();
    assert_eq!(nodes.a.link.take_unsent().map(|late| late.service).as_deref(), Some("9"));
    assert!(nodes.a.link.take_unsent().is_none());
    // The other side hears why.
    let closed = nodes.b.ended().0;
    assert_eq!((closed.reason, closed.by), (Reason::Superseded, By::Peer));
    assert_eq!(nodes.a.events.last().map(String::as_str), Some("Closed"));
}

#[test]
fn c4_what_the_node_delivers_goes_out_behind_what_is_queued_whatever_the_buffer() {
    let mut nodes = Nodes::with(|builder| builder.send_buffer(1));
    nodes.run();
    // Early, it waits for the link to be there.
    nodes.say(Side::B, ToLink::Deliver(alloc::vec![envelope("early", Priority::Normal)]));
    nodes.establish();
    nodes.run();
    assert_eq!(nodes.a.link.stats().messages_received, 1);
    nodes.a.link.send(Message::new("first", "")).unwrap();
    assert_eq!(nodes.a.link.send_space(Priority::Normal), 0);
    let batch = (0..100).map(|at: u32| envelope(&at.to_string(), Priority::Normal)).collect();
    nodes.say(Side::A, ToLink::Deliver(batch));
    let limit = nodes.a.link.session.as_ref().unwrap().limits.max_message;
    let large =
        Envelope { body: alloc::vec![0; limit as usize + 1].into(), ..envelope("l", Priority::Urgent) };
    let nameless = envelope(&"n".repeat(256), Priority::Urgent);
    nodes.say(Side::A, ToLink::Deliver(alloc::vec![large, nameless, envelope("last", Priority::Normal)]));
    let now = nodes.now;
    let mut came = Vec::new();
    super::carry(&mut nodes.a.link, &mut nodes.b.link, now);
    loop {
        match nodes.b.link.poll(now, Ready::EVENTS) {
            Action::Event(Event::Message(message)) => came.push(message.service.to_string()),
            Action::Event(_) => {}
            _ => break,
        }
    }
    let order: Vec<_> = core::iter::once("first".to_string())
        .chain((0..100).map(|at: u32| at.to_string()))
        .chain(["last".to_string()])
        .collect();
    assert_eq!(came, order);
    nodes.run();
    let FromLink::Undeliverable(back, why) = nodes.a.word() else { panic!("not given back") };
    assert_eq!((back.service.as_str(), why), ("l", Why::TooLarge { limit }));
    let FromLink::Undeliverable(back, why) = nodes.a.word() else { panic!("not given back") };
    assert_eq!((back.service.len(), why), (256, Why::LongServiceName));
    nodes.a.none();
}

#[test]
fn i5_a_link_that_is_revoked_ends_at_once_in_every_phase() {
    // Which side, and what the nodes have said before.
    for side in BOTH {
        for steps in 0..4 {
            let mut nodes = Nodes::new();
            nodes.run();
            for admits in BOTH.iter().take(steps) {
                nodes.say(*admits, ToLink::Admit { simultaneous: false });
                nodes.run();
            }
            if steps == 3 {
                nodes.say(side, ToLink::Goodbye { code: 0, detail: String::new() });
            }
            nodes.end(side).words.clear();
            nodes.say(side, ToLink::Close(Reason::Revoked));
            assert_eq!(nodes.end(side).link.phase(), Phase::Closed);
            nodes.run();
            let words: BTreeMap<bool, usize> =
                nodes.end(side).words.iter().fold(BTreeMap::new(), |mut all, word| {
                    *all.entry(matches!(word, FromLink::Ended { .. })).or_default() += 1;
                    all
                });
            assert_eq!(words.get(&true), Some(&1), "{words:?}");
            let closed = nodes.end(side).link.closed().cloned().unwrap();
            assert_eq!((closed.reason, closed.by), (Reason::Revoked, By::Local));
            if steps >= 2 {
                let other = if side == Side::A { Side::B } else { Side::A };
                let closed = nodes.end(other).link.closed().cloned().expect("told");
                assert_eq!((closed.reason, closed.by), (Reason::Revoked, By::Peer));
            }
        }
    }
    // Without a node, the owner says it.
    let (mut a, mut b, now) = super::pair();
    a.revoke(now);
    super::carry(&mut a, &mut b, now);
    assert_eq!(a.closed().map(|closed| &closed.reason), Some(&Reason::Revoked));
    assert_eq!(b.closed().map(|closed| closed.by), Some(By::Peer));
}

#[test]
fn c4_a_link_without_a_node_has_no_words_and_hears_none() {
    let (mut a, _, now) = super::pair();
    assert!(a.poll_node().is_none());
    a.on_node(NodeToLink(ToLink::Close(Reason::Superseded)), now);
    assert_eq!(a.phase(), Phase::Established);
    a.close(now);
    assert!(a.poll_node().is_none());
}

#[test]
fn c4_a_link_that_ends_before_a_byte_came_says_so_and_no_more() {
    let config: alloc::sync::Arc<Config> = builder(1, 2).build().unwrap();
    let seed = Seed::new([1; 32]);
    let now = Instant::ZERO;
    let mut link =
        Link::managed(&config, Role::Responder, Dial::anyone(), Trust::Anyone, None, &[], &seed, now);
    link.transport_failed(now);
    let word = link.poll_node().expect("the end");
    assert!(word.is_end() && link.poll_node().is_none());
}

/// A message of which a part has left is the link's to finish; whatever stands behind it is the node's again.
#[test]
fn c4_a_message_that_was_begun_is_not_given_back_at_the_peers_goodbye() {
    for begun in [true, false] {
        let mut nodes = Nodes::established();
        let now = nodes.now;
        let mut long = envelope("long", Priority::Normal);
        long.body = alloc::vec![7; 300_000].into();
        nodes.say(Side::A, ToLink::Deliver(alloc::vec![long, envelope("behind", Priority::Normal)]));
        if begun {
            while let Action::Event(_) = nodes.a.link.poll(now, Ready::EVENTS) {}
            let count = nodes.a.link.transmit(now).len();
            nodes.a.link.transmitted(count, now);
        }
        nodes.say(Side::B, ToLink::Goodbye { code: 0, detail: String::new() });
        nodes.b.act(now, &mut nodes.a.link);
        match nodes.a.link.poll_node().map(|word| word.0) {
            Some(FromLink::Draining { unsent, owes }) => {
                let expected: &[&str] = if begun { &["behind"] } else { &["long", "behind"] };
                assert_eq!((&services(&unsent)[..], owes), (expected, begun));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Words about streams wait for the next record where there is no room for them: beside the longest advert, the
/// longest goodbye and as many cancelled calls as go at once.
#[test]
fn m12_words_about_streams_keep_to_the_smallest_record_beside_an_advert() {
    let limits = Limits { max_record: Limits::SMALLEST_RECORD, ..Limits::default() };
    let mut nodes = Nodes::with(|builder| builder.limits(limits));
    nodes.establish();
    let now = nodes.now;
    let calls: Vec<_> = (0..300)
        .map(|_| nodes.a.link.call(Message::new("s", "x"), Duration::from_secs(5), now).unwrap())
        .collect();
    let streams: Vec<_> =
        (0..200).map(|_| nodes.a.link.open_stream("s", Priority::Normal).unwrap()).collect();
    nodes.run();
    for call in calls {
        nodes.a.link.cancel(call, now);
    }
    for stream in &streams {
        nodes.a.link.stream_stop(*stream, 1);
        nodes.a.link.stream_reset(*stream, 2);
    }
    nodes.say(Side::A, ToLink::Advert(alloc::vec![7; 2048].into()));
    nodes.say(Side::A, ToLink::Goodbye { code: 9, detail: "d".repeat(255) });
    nodes.run();
    for side in BOTH {
        let closed = nodes.end(side).link.closed().cloned().expect("the end of a goodbye");
        assert!(matches!(closed.reason, Reason::Goodbye { code: 9, .. }), "{closed}");
    }
    assert!(nodes.b.words.iter().any(|word| matches!(word, FromLink::Advert(_))), "{:?}", nodes.b.words);
}
