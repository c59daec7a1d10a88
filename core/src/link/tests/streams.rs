//! What streams cost in memory, which only the inside knows.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::{builder, carry, established, pair};
use crate::config::StreamLimits;
use crate::link::streams::Streams;
use crate::link::{Action, Event, Link, Priority, Ready, StreamId, StreamRead};
use crate::time::Instant;

/// Takes every event; the streams that the peer has opened.
fn opened(link: &mut Link, now: Instant) -> Vec<StreamId> {
    let mut ids = Vec::new();
    while let Action::Event(event) = link.poll(now, Ready { write: false, ..Ready::ALL }) {
        if let Event::StreamOpened { id, .. } = event {
            ids.push(id);
        }
    }
    ids
}

/// Moves bytes until none are left, without taking events.
fn flow(a: &mut Link, b: &mut Link, now: Instant) {
    loop {
        let mut moved = 0;
        for _ in 0..2 {
            for (from, to) in [(&mut *a, &mut *b)] {
                let bytes = from.transmit(now).to_vec();
                from.transmitted(bytes.len(), now);
                moved += bytes.len();
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let space = to.recv_space();
                    let count = space.len().min(rest.len());
                    space[..count].copy_from_slice(&rest[..count]);
                    to.received(count, now);
                    rest = &rest[count..];
                }
            }
            core::mem::swap(a, b);
        }
        if moved == 0 {
            return;
        }
    }
}

fn capacity(link: &Link) -> (usize, usize) {
    link.session.as_ref().unwrap().streams.as_ref().map_or((0, 0), |streams| streams.capacity())
}

#[test]
fn m12_a_link_without_streams_pays_one_pointer_for_them() {
    let (mut a, mut b, now) = pair();
    flow(&mut a, &mut b, now);
    for link in [&a, &b] {
        assert!(link.session.as_ref().unwrap().streams.is_none());
    }
    assert_eq!(size_of::<Option<Box<Streams>>>(), size_of::<usize>());
    let stream = Streams::SIZE_OF_ONE;
    assert!(
        (100..=400).contains(&stream),
        "{stream} bytes a stream, beside its name and its place in the table"
    );
}

#[test]
fn m12_buffers_hold_what_the_limits_say_and_no_more() {
    let limits = StreamLimits {
        max_open: 50,
        window: 3000,
        largest_window: 20_000,
        growth: 100_000,
        send_buffer: 5000,
    };
    let build = |own, other| builder(own, other).streams(limits).send_buffer(60_000).build().unwrap();
    let (mut a, mut b, now) = established(&build(1, 2), &build(2, 1));
    let streams: Vec<_> = (0..50).map(|_| a.open_stream("", Priority::Normal).unwrap()).collect();
    flow(&mut a, &mut b, now);
    let theirs = opened(&mut b, now);
    let (mut most, bytes) = ((0, 0), alloc::vec![7; 30_000]);
    // At first the readers keep up, and windows grow; then nobody reads.
    for round in 0..400_usize {
        for id in &streams {
            a.stream_write(*id, &bytes);
        }
        let held = capacity(&a);
        assert!(held.1 <= 60_000 * 2 + 50 * 1024, "{held:?} bytes wait to be sealed");
        flow(&mut a, &mut b, now);
        let held = capacity(&b);
        most = (most.0.max(held.0), most.1.max(held.1));
        assert!(held.0 as u64 <= limits.most_received(), "{held:?} bytes came in");
        let mut space = [0; 4096];
        for id in theirs.iter().filter(|_| round < 200) {
            while let StreamRead::Data(_) = b.stream_read(*id, &mut space) {}
        }
        opened(&mut a, now);
        opened(&mut b, now);
    }
    // Windows of 50 streams and all that they may grow by, but for the part that no window took.
    let full = 50 * 3000 + 100_000;
    assert!(most.0 >= full * 9 / 10 && most.0 <= full, "{most:?} of {full}");
    assert_eq!(capacity(&b).0, most.0, "it stays as it is while nobody reads");
    // What is read is given back, and what is given up is gone.
    for id in &theirs[..25] {
        b.stream_stop(*id, 0);
    }
    assert!(capacity(&b).0 <= full * 3 / 4);
    for id in &theirs[25..] {
        while let StreamRead::Data(_) = b.stream_read(*id, &mut [0; 4000]) {}
    }
    // An idle link gives the empty buffers back.
    for id in &streams {
        a.stream_reset(*id, 0);
    }
    for step in 1..4 {
        let now = now + Duration::from_secs(15 * step);
        for link in [&mut a, &mut b] {
            while let Action::Event(_) = link.poll(now, Ready::EVENTS) {}
        }
        flow(&mut a, &mut b, now);
    }
    assert_eq!((capacity(&a), capacity(&b)), ((0, 0), (0, 0)));
}

#[test]
fn m12_a_refused_stream_costs_no_buffer() {
    let build = |own, other, max_open| {
        builder(own, other).streams(StreamLimits { max_open, ..StreamLimits::default() }).build().unwrap()
    };
    // The second side has told less than it takes here, so that the first does not keep to it.
    let (mut a, mut b, now) = established(&build(1, 2, 200), &build(2, 1, 200));
    b.config = build(2, 1, 100);
    let streams: Vec<_> = (0..200).map(|_| a.open_stream("name", Priority::Normal).unwrap()).collect();
    for id in &streams {
        a.stream_write(*id, &[7; 1000]);
    }
    // Nothing of the second side's leaves.
    let bytes = {
        let mut all = Vec::new();
        loop {
            let bytes = a.transmit(now).to_vec();
            a.transmitted(bytes.len(), now);
            if bytes.is_empty() {
                break all;
            }
            all.extend(bytes);
        }
    };
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let space = b.recv_space();
        let count = space.len().min(rest.len());
        space[..count].copy_from_slice(&rest[..count]);
        b.received(count, now);
        rest = &rest[count..];
    }
    assert_eq!(b.streams_open(), (0, 100));
    let held = capacity(&b);
    assert!(held.0 <= 100 * 1024 * 2, "{held:?}");
    // Refused or not, all of them are forgotten once both sides have said so.
    for id in opened(&mut b, now) {
        b.stream_stop(id, 0);
        b.stream_reset(id, 0);
    }
    for id in &streams {
        a.stream_stop(*id, 0);
        a.stream_reset(*id, 0);
    }
    for _ in 0..3 {
        carry(&mut a, &mut b, now);
        carry(&mut b, &mut a, now);
    }
    assert_eq!((a.streams_open(), b.streams_open()), ((0, 0), (0, 0)));
    for link in [&a, &b] {
        assert!(link.session.as_ref().unwrap().streams.as_ref().unwrap().is_empty(), "refused ones too");
    }
}

/// Told for every piece that leaves, writers would come back for a few bytes each; told when all has left, the stream
/// would run dry.
#[test]
fn m12_writers_that_wait_for_the_links_buffer_are_told_once_half_of_it_is_free() {
    const BUFFER: usize = 1_000_000;
    let limits = StreamLimits {
        window: 300_000,
        send_buffer: 300_000,
        largest_window: 300_000,
        ..StreamLimits::default()
    };
    let build = |own, other| builder(own, other).streams(limits).send_buffer(BUFFER).build().unwrap();
    let (mut a, _, now) = established(&build(1, 2), &build(2, 1));
    let streams: Vec<_> = (0..5).map(|_| a.open_stream("", Priority::Normal).unwrap()).collect();
    let bytes = alloc::vec![7; 300_000];
    let taken: Vec<_> = streams.iter().map(|id| a.stream_write(*id, &bytes)).collect();
    assert_eq!(taken, [300_000, 300_000, 300_000, 100_000, 0]);
    let mut left = 0;
    let woken = loop {
        let mut woken = Vec::new();
        while let Action::Event(event) = a.poll(now, Ready { write: false, ..Ready::ALL }) {
            if let Event::StreamWritable(id) = event {
                woken.push(id);
            }
        }
        if !woken.is_empty() {
            break woken;
        }
        assert!(left < BUFFER / 2 + 70_000, "{left} bytes have left, and nobody is told");
        let count = a.transmit(now).len();
        a.transmitted(count, now);
        left += count;
    };
    assert!(left >= BUFFER / 2, "{left} bytes have left, which is less than half");
    // Those that wait for the link's buffer, in the order in which they began to; the others had all their bytes taken.
    assert_eq!(woken, streams[3..]);
}

#[test]
fn m12_an_idle_link_keeps_no_buffers_for_streams_that_stay_open() {
    let (mut a, mut b, now) = pair();
    let stream = a.open_stream("", Priority::Normal).unwrap();
    a.stream_write(stream, &[7; 500]);
    flow(&mut a, &mut b, now);
    let there = opened(&mut b, now)[0];
    assert_eq!(b.stream_read(there, &mut [0; 1000]), StreamRead::Data(500));
    assert!(
        capacity(&a).1 > 0 && capacity(&b).0 > 0,
        "who writes little and often does not allocate each time"
    );
    for step in 1..3 {
        let now = now + Duration::from_secs(15 * step);
        for link in [&mut a, &mut b] {
            while let Action::Event(_) = link.poll(now, Ready::EVENTS) {}
        }
        flow(&mut a, &mut b, now);
    }
    assert_eq!((capacity(&a), capacity(&b)), ((0, 0), (0, 0)));
    assert_eq!((a.streams_open(), b.streams_open()), ((1, 0), (0, 1)));
}
