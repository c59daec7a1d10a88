//! M6: order within a lane, whatever the mix and however the stream is cut; and what a link gives back at its end.

use std::collections::BTreeMap;

use bytes::Bytes;
use handclasp::{Envelope, Limits, Message, Priority};
use handclasp_sim::{Owned, Pair, Side};
use proptest::prelude::*;

use crate::support::{SIDES, pair_with, smallest, take_events};

/// A body that says which message it is of.
fn body(number: usize, length: usize) -> Vec<u8> {
    let mut body = vec![number as u8; length.max(4)];
    body[..4].copy_from_slice(&(number as u32).to_be_bytes());
    body
}

fn number_of(body: &[u8]) -> usize {
    u32::from_be_bytes(body[..4].try_into().expect("four bytes")) as usize
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 4..200_usize, 2 => 900..1200_usize, 2 => 4000..20_000_usize, 1 => 50_000..100_000_usize]
}

/// Side, priority, length.
fn mixes() -> impl Strategy<Value = Vec<(bool, usize, usize)>> {
    proptest::collection::vec((any::<bool>(), 0..4_usize, lengths()), 1..40)
}

const fn side(initiator: bool) -> Side {
    if initiator { Side::Initiator } else { Side::Responder }
}

fn test_order(mix: &[(bool, usize, usize)], chunk: usize, limits: Limits, steps: bool) {
    let mut pair = pair_with(|builder| builder.limits(limits).send_buffer(1 << 24));
    pair.chunk = chunk;
    let mut sent: BTreeMap<(bool, Priority), Vec<usize>> = BTreeMap::new();
    for (number, (from, priority, length)) in mix.iter().enumerate() {
        let priority = Priority::ALL[*priority];
        let message = body(number, (*length).min(limits.max_message as usize));
        pair.link(side(*from)).send(Message::new("s", message).priority(priority)).expect("taken");
        sent.entry((*from, priority)).or_default().push(number);
        if steps {
            pair.step();
        }
    }
    pair.run();
    let mut came: BTreeMap<(bool, Priority), Vec<usize>> = BTreeMap::new();
    for from in [true, false] {
        for event in take_events(&mut pair, side(!from)) {
            let Owned::Message { body: bytes, priority, sequence, .. } = event else { panic!("{event:?}") };
            let number = number_of(&bytes);
            assert_eq!(bytes.len(), mix[number].2.max(4).min(limits.max_message as usize));
            assert!(bytes == body(number, bytes.len()));
            let lane = came.entry((from, priority)).or_default();
            assert_eq!(sequence, lane.len() as u64, "its number in its lane");
            lane.push(number);
        }
    }
    assert_eq!(came, sent);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn m6_each_lane_keeps_its_order_in_every_mix_and_chunking(
        mix in mixes(),
        chunk in prop_oneof![1 => 30..100_usize, 3 => 500..5000_usize, 1 => Just(usize::MAX)],
        steps: bool,
    ) {
        test_order(&mix, chunk, Limits::default(), steps);
    }

    #[test]
    fn m6_the_same_with_the_smallest_limits(mix in mixes(), chunk in 1..3000_usize, steps: bool) {
        test_order(&mix, chunk, smallest(1), steps);
    }

    /// The link ends at any point: each message either arrived, or is given back in order, but for the one of each
    /// lane that was half sent.
    #[test]
    fn m6_what_was_never_begun_is_given_back_in_order(mix in mixes(), steps in 0..12_usize, chunk in 500..30_000_usize) {
        let mut pair = pair_with(|builder| builder.send_buffer(1 << 24));
        pair.chunk = chunk;
        let mut sent: BTreeMap<Priority, Vec<usize>> = BTreeMap::new();
        for (number, (_, priority, length)) in mix.iter().enumerate() {
            let priority = Priority::ALL[*priority];
            let message = Message::new("service", body(number, *length)).priority(priority);
            pair.initiator.link.send(message).expect("taken");
            sent.entry(priority).or_default().push(number);
        }
        // One write and one read at a time, so that the end comes in the middle.
        for _ in 0..steps {
            let now = pair.now;
            let bytes = pair.initiator.link.transmit(now);
            let count = bytes.len().min(chunk);
            let bytes = bytes[..count].to_vec();
            pair.initiator.link.transmitted(count, now);
            pair.inject(Side::Responder, &bytes);
        }
        let now = pair.now;
        // What has been sealed still reaches the other side.
        loop {
            let queued = pair.initiator.link.queued();
            let bytes = pair.initiator.link.transmit(now).to_vec();
            pair.initiator.link.transmitted(bytes.len(), now);
            pair.inject(Side::Responder, &bytes);
            if steps > 0 || bytes.is_empty() || queued > 0 {
                break;
            }
        }
        pair.initiator.link.transport_failed(now);
        pair.act(Side::Initiator);
        let closed = pair.closed(Side::Initiator);
        let mut back: BTreeMap<Priority, Vec<usize>> = BTreeMap::new();
        let mut count = 0;
        while let Some(Envelope { service, body: bytes, priority, .. }) = pair.initiator.link.take_unsent() {
            let number = number_of(&bytes);
            prop_assert_eq!(service, "service");
            prop_assert_eq!(bytes, Bytes::from(body(number, mix[number].2)));
            back.entry(priority).or_default().push(number);
            count += 1;
        }
        prop_assert_eq!(closed.unsent, count);
        let mut came: BTreeMap<Priority, Vec<usize>> = BTreeMap::new();
        for event in take_events(&mut pair, Side::Responder) {
            if let Owned::Message { body, priority, .. } = event {
                came.entry(priority).or_default().push(number_of(&body));
            }
        }
        for (priority, sent) in sent {
            let came = came.remove(&priority).unwrap_or_default();
            let back = back.remove(&priority).unwrap_or_default();
            let lost = sent.len() - came.len() - back.len();
            prop_assert!(lost <= 1, "{} of {} are neither there nor back", lost, sent.len());
            prop_assert_eq!(&sent[..came.len()], &came[..]);
            prop_assert_eq!(&sent[sent.len() - back.len()..], &back[..]);
        }
    }
}

#[test]
fn m6_nothing_is_given_back_before_the_end_nor_twice() {
    let mut pair = Pair::established();
    let now = pair.now;
    pair.initiator.link.send(Message::new("s", b"x")).expect("taken");
    assert_eq!(pair.initiator.link.take_unsent(), None);
    pair.initiator.link.close(now);
    assert!(pair.initiator.link.take_unsent().is_some());
    assert_eq!(pair.initiator.link.take_unsent(), None);
    pair.run();
    for side in SIDES {
        assert!(take_events(&mut pair, side).iter().all(|event| matches!(event, Owned::Closed(_))));
    }
}
