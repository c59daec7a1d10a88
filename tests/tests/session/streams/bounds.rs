//! What streams hold at most, and how many there can be.

use std::collections::BTreeMap;

use handclasp::{Config, Priority, StreamId, StreamLimits, StreamRead};
use handclasp_sim::{Owned, Side, key};

use super::{accepted_all, pair_of, pattern, read_all};
use crate::support::{SIDES, pair_with, take_events};

/// What one side knows of a stream: how much it has written, what it has read, and whether to the end.
type Known = BTreeMap<StreamId, (usize, Vec<u8>, bool)>;

#[test]
fn m12_a_thousand_streams_on_one_link() {
    const LENGTH: usize = 40_000;
    let mut pair = pair_of(StreamLimits::default());
    let mut known = [Known::new(), Known::new()];
    for (at, side) in SIDES.into_iter().enumerate() {
        for number in 0..500 {
            let priority = Priority::ALL[number % 4];
            let id = pair.link(side).open_stream("one of many", priority).expect("taken");
            known[at].insert(id, Default::default());
        }
    }
    for round in 0.. {
        assert!(round < 1000, "it does not come to rest");
        pair.run();
        for (at, side) in SIDES.into_iter().enumerate() {
            for id in accepted_all(&mut pair, side) {
                known[at].insert(id, Default::default());
            }
            for (id, (written, read, ended)) in &mut known[at] {
                // Each direction of each stream has bytes of its own.
                let salt = at * 1_000_003 + id.get() as usize * 1009;
                let rest = pattern(salt % 1_000_000 + *written, LENGTH - *written);
                *written += pair.link(side).stream_write(*id, rest);
                if *written == LENGTH {
                    pair.link(side).stream_finish(*id);
                }
                let (bytes, end) = read_all(pair.link(side), *id);
                read.extend(bytes);
                *ended |= end == StreamRead::End;
            }
        }
        let ended = |known: &Known| known.values().all(|(_, _, ended)| *ended);
        if known.iter().all(|known| known.len() == 1000 && ended(known)) {
            break;
        }
    }
    for (at, known) in known.iter().enumerate() {
        for (id, (_, read, _)) in known {
            let salt = (1 - at) * 1_000_003 + id.get() as usize * 1009;
            assert_eq!(read, pattern(salt % 1_000_000, LENGTH));
        }
    }
    pair.run();
    assert_eq!(SIDES.map(|side| pair.link(side).streams_open()), [(0, 0); 2]);
}

#[test]
fn m12_a_reader_that_reads_nothing_bounds_what_its_peer_sends() {
    let limits = StreamLimits { max_open: 100, ..StreamLimits::default() };
    let mut pair = pair_of(limits);
    let ids: Vec<_> = (0..100)
        .map(|number| pair.initiator.link.open_stream("", Priority::ALL[number % 4]).expect("taken"))
        .collect();
    let mut taken = 0;
    for _ in 0..20 {
        for id in &ids {
            taken += pair.initiator.link.stream_write(*id, pattern(0, 100_000));
        }
        pair.run();
    }
    assert_eq!(taken, 100 * (16 << 10), "a window each");
    assert!(taken as u64 <= limits.most_received());
    // One event for each to open, and one to read.
    assert_eq!(take_events(&mut pair, Side::Responder).len(), 200);
    // Those that waited for the link's own buffer were told, and then there is nothing to tell.
    let waited = (100 * (16 << 10) - (1 << 20)) / (16 << 10);
    assert_eq!(take_events(&mut pair, Side::Initiator).len(), waited);
}

#[test]
fn m12_streams_share_one_buffer_on_their_way_out_and_each_has_its_turn() {
    let build = |builder: handclasp::ConfigBuilder| {
        builder.send_buffer(10_000).streams(StreamLimits { send_buffer: 4000, ..StreamLimits::default() })
    };
    let mut pair = pair_with(build);
    let ids: Vec<_> =
        (0..50).map(|_| pair.initiator.link.open_stream("", Priority::Normal).expect("taken")).collect();
    pair.run();
    let there = accepted_all(&mut pair, Side::Responder);
    // The socket is full.
    pair.initiator.ready.write = false;
    let first: Vec<_> = ids.iter().map(|id| pair.initiator.link.stream_write(*id, &[1; 5000])).collect();
    assert_eq!(first[..4], [4000, 4000, 2000, 0]);
    assert_eq!(first.iter().sum::<usize>(), 10_000);
    // Messages have their own.
    assert_eq!(pair.initiator.link.send_space(Priority::Urgent), 2500);
    // Each that is told writes 5000 in all; nobody is forgotten.
    let mut written: BTreeMap<_, usize> = ids.iter().copied().zip(first).collect();
    pair.initiator.ready.write = true;
    for round in 0.. {
        assert!(round < 200, "somebody waits for ever: {written:?}");
        pair.run();
        for event in take_events(&mut pair, Side::Initiator) {
            let Owned::StreamWritable(id) = event else { panic!("{event:?}") };
            let sum = written.get_mut(&id).expect("known");
            assert!(*sum < 5000, "told without having waited");
            *sum += pair.initiator.link.stream_write(id, &vec![1; 5000 - *sum]);
        }
        if written.values().all(|sum| *sum == 5000) {
            break;
        }
    }
    pair.run();
    for id in there {
        assert_eq!(read_all(&mut pair.responder.link, id).0.len(), 5000);
    }
    // What was given up makes room as well as what was sent.
    pair.initiator.ready.write = false;
    for id in &ids {
        pair.initiator.link.stream_write(*id, &[1; 4000]);
    }
    for id in &ids[..2] {
        pair.initiator.link.stream_reset(*id, 0);
    }
    pair.run();
    let told = take_events(&mut pair, Side::Initiator);
    assert!(matches!(told[0], Owned::StreamWritable(id) if id == ids[2]), "{told:?}");
    assert_eq!(told.len(), 48);
}

#[test]
fn m12_the_most_that_is_held_is_a_number() {
    assert_eq!(StreamLimits::default().most_received(), 40 << 20);
    let least = StreamLimits { max_open: 1, window: 1, largest_window: 1, growth: 0, send_buffer: 1 };
    assert_eq!(least.most_received(), 2);
    let build = |streams| Config::builder(key(1), 1).streams(streams).build().map(drop);
    assert_eq!(build(least), Ok(()));
    assert_eq!(build(StreamLimits::NONE), Ok(()));
    for (field, wrong) in [
        ("streams.window", StreamLimits { window: 0, ..least }),
        ("streams.largest_window", StreamLimits { window: 2, ..least }),
        ("streams.send_buffer", StreamLimits { send_buffer: 0, ..least }),
    ] {
        let says = build(wrong).expect_err(field).to_string();
        assert!(says.contains(field), "{says}");
    }
}

#[test]
fn m12_bytes_get_through_the_smallest_window() {
    let least = StreamLimits { max_open: 1, window: 1, largest_window: 1, growth: 0, send_buffer: 1 };
    let mut pair = pair_of(least);
    let here = pair.initiator.link.open_stream("", Priority::Normal).expect("taken");
    pair.run();
    let there = accepted_all(&mut pair, Side::Responder)[0];
    let (text, mut read) = (pattern(0, 100), Vec::new());
    for byte in text {
        assert_eq!(pair.initiator.link.stream_write(here, &[*byte, 0]), 1);
        pair.run();
        read.extend(read_all(&mut pair.responder.link, there).0);
        pair.run();
        assert!(matches!(take_events(&mut pair, Side::Initiator)[..], [Owned::StreamWritable(_)]));
    }
    assert_eq!(read, text);
}
