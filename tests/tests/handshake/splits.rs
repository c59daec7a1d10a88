//! H9: how a stream is cut into reads carries no meaning, and nothing behind the last message of the handshake is lost.

use std::sync::OnceLock;
use std::time::Duration;

use handclasp::{Message, Phase, Priority};
use handclasp_sim::{Owned, Pair, Side, Solo, config, id};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::SIDES;

/// Both directions of a session in which each side sends as early as it may: the responder in the record of STATUS.
fn recorded() -> &'static [Vec<u8>; 2] {
    static RECORDED: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let mut pair = Pair::new();
        pair.act(Side::Initiator);
        pair.deliver(Side::Responder);
        pair.act(Side::Responder);
        pair.deliver(Side::Initiator);
        pair.act(Side::Initiator);
        pair.deliver(Side::Responder);
        assert_eq!(pair.responder.link.phase(), Phase::Established);
        say(&mut pair, Side::Responder);
        pair.act(Side::Responder);
        pair.deliver(Side::Initiator);
        say(&mut pair, Side::Initiator);
        pair.run();
        SIDES.map(|side| std::mem::take(&mut pair.end(side).pipe.log))
    })
}

fn say(pair: &mut Pair, side: Side) {
    let now = pair.now;
    let link = pair.link(side);
    link.send(Message::new("first", &b"early"[..])).unwrap();
    link.call(Message::new("second", &b"and often"[..]), Duration::from_secs(5), now).unwrap();
    link.send(Message::new("third", vec![3; 2500])).unwrap();
}

/// The side that reads the stream `SIDES[1 - index]` wrote, fed with that stream in reads of these sizes, over and over.
fn replayed(side: Side, sizes: &[usize]) -> (Vec<String>, Vec<u8>) {
    let (mut solo, input) = match side {
        Side::Initiator => (Solo::initiator(&config(1, &[2]), Some(id(2)), 0), &recorded()[1]),
        Side::Responder => (Solo::responder(&config(2, &[1]), 0), &recorded()[0]),
    };
    let (mut rest, mut sizes) = (&input[..], sizes.iter().cycle());
    while !rest.is_empty() {
        let count = (*sizes.next().unwrap()).clamp(1, rest.len());
        let (read, later) = rest.split_at(count);
        assert_eq!(solo.feed(read), count, "the link does not take what comes");
        rest = later;
    }
    assert_eq!(solo.link.phase(), Phase::Established);
    let events = solo.events.iter().map(|event| match event {
        Owned::Message { service, body, sequence, .. } => format!("{service} {sequence} {body:?}"),
        other => format!("{other:?}"),
    });
    (events.collect(), solo.written())
}

/// What does not depend on how the input was cut: all events, and the bytes of the handshake.
fn same(side: Side, sizes: &[usize]) {
    static WHOLE: [OnceLock<(Vec<String>, Vec<u8>)>; 2] = [const { OnceLock::new() }; 2];
    let (events, written) = replayed(side, sizes);
    let whole = &WHOLE[usize::from(side == Side::Responder)];
    let (all_events, all_written) = whole.get_or_init(|| replayed(side, &[usize::MAX]));
    assert_eq!(&events, all_events, "{side:?} with reads of {sizes:?}");
    assert_eq!(events.len(), 7, "Opened, Identified, Established, Ready and three messages: {events:?}");
    let handshake = &recorded()[usize::from(side == Side::Responder)];
    let length = all_written.len().min(written.len()).min(200);
    assert!(
        length == 200
            && written[..length] == handshake[..length]
            && all_written[..length] == handshake[..length]
    );
}

#[test]
fn h9_every_size_of_read_gives_the_same() {
    for side in SIDES {
        let longest = recorded()[usize::from(side == Side::Initiator)].len();
        for size in (1..400).chain([1023, 1024, 1025, 4097, 4098, longest - 1, longest]) {
            same(side, &[size]);
        }
    }
}

#[test]
fn h9_every_place_of_one_cut_gives_the_same() {
    for side in SIDES {
        for place in 1..700 {
            same(side, &[place, usize::MAX]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn h9_any_splits_give_the_same(initiates in any::<bool>(), sizes in vec(1_usize..600, 1..40)) {
        same(if initiates { Side::Initiator } else { Side::Responder }, &sizes);
    }

    /// Live, with short writes as well as short reads on both sides at once.
    #[test]
    fn h9_a_live_pair_gets_through_any_chunk(chunk in 1_usize..300) {
        let mut pair = Pair::new();
        pair.chunk = chunk;
        pair.establish();
        let Owned::Reply { body, .. } = pair.call(Side::Initiator, "echo", b"ping", b"pong") else { panic!("no reply") };
        prop_assert_eq!(&body[..], b"pong");
    }
}

#[test]
fn h9_a_large_message_in_the_record_of_status_arrives() {
    for size in [3000, 5000, 10_000, 100_000] {
        let mut pair = Pair::new();
        while pair.responder.link.phase() != Phase::Established {
            assert!(
                pair.act(Side::Initiator) | pair.deliver(Side::Responder)
                    || pair.responder.link.phase() < Phase::Established
            );
            if pair.responder.link.phase() != Phase::Established {
                pair.act(Side::Responder);
                pair.deliver(Side::Initiator);
            }
        }
        pair.responder.link.send(Message::new("s", vec![9; size])).unwrap();
        pair.run();
        assert_eq!(pair.initiator.link.phase(), Phase::Established, "with {size} bytes behind STATUS");
        let last = pair.initiator.events.pop();
        assert!(matches!(last, Some(Owned::Message { ref body, .. }) if body.len() == size), "{last:?}");
    }
}

#[test]
fn h9_reads_larger_than_a_link_takes_are_taken_bit_by_bit() {
    // The whole of a long stream is there at once; what the link has no room for stays in the pipe.
    let mut pair = Pair::established();
    for priority in Priority::ALL.into_iter().cycle().take(100) {
        pair.responder.link.send(Message::new("s", vec![7; 4000]).priority(priority)).unwrap();
    }
    pair.run();
    assert_eq!(pair.initiator.events.len(), 100);
}
