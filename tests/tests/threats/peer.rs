//! A peer that is trusted and hostile: what it can make one link hold, write and compute.

use std::sync::Arc;

use allocation_counter::measure;
use handclasp::crypto::RustCrypto;
use handclasp::{Action, Config, Instant, Limits, Link, Phase, Ready, StreamLimits};
use handclasp_sim::raw::{
    RAW, Raw, call, credit, frame, reply, send, stream_credit, stream_data, stream_open, stream_reset,
    stream_stop, varint,
};
use handclasp_sim::{Counting, builder};

/// Limits in which a megabyte is a lot.
const LIMITS: Limits = Limits {
    max_message: 64 << 10,
    window: 256 << 10,
    max_calls: 64,
    idle: std::time::Duration::from_secs(15),
    max_record: 16_640,
};

/// What a link holds beside what its limits name: two buffers of bytes on their way, a batch of sealed records
/// that the stream has not taken, tables that keep room free.
const FIXED: u64 = 320 << 10;

fn config(counts: &Counting) -> Arc<Config> {
    let streams = StreamLimits { max_open: 64, growth: 0, ..StreamLimits::default() };
    let builder = builder(2, &[RAW]).limits(LIMITS).streams(streams).provider(counts.clone());
    builder.build().expect("a valid configuration")
}

/// What a link did about what came.
#[derive(Debug, Default)]
struct Cost {
    /// Bytes held at the worst moment beyond those at the start.
    held: u64,
    written: usize,
    requests: usize,
    events: usize,
    /// Tags checked and made.
    opened: usize,
    sealed: usize,
    phase: Option<Phase>,
}

/// Lets a link act as far as its owner is ready.
fn act(link: &mut Link, now: Instant, ready: Ready, cost: &mut Cost) {
    loop {
        match link.poll(now, ready) {
            Action::Event(event) => match event {
                handclasp::Event::Message(_) | handclasp::Event::Call { .. } => cost.requests += 1,
                _ => cost.events += 1,
            },
            Action::Send => {
                let count = link.transmit(now).len();
                cost.written += count;
                link.transmitted(count, now);
            }
            Action::Timeout(_) => return,
        }
    }
}

/// Pours the records of an attack into a link of which the owner is `ready`.
fn pour(counts: &Counting, raw: &mut Raw, records: &[Vec<u8>], ready: Ready) -> Cost {
    let mut cost = Cost::default();
    let (opened, sealed) = (counts.opened.get(), counts.sealed.get());
    let now = raw.now;
    let link = &mut raw.link;
    let memory = measure(|| {
        for record in records {
            let mut rest = &record[..];
            loop {
                let space = link.recv_space();
                let count = space.len().min(rest.len());
                if count == 0 {
                    break;
                }
                space[..count].copy_from_slice(&rest[..count]);
                link.received(count, now);
                rest = &rest[count..];
                act(link, now, ready, &mut cost);
            }
        }
    });
    cost.held = memory.bytes_max;
    (cost.opened, cost.sealed) = (counts.opened.get() - opened, counts.sealed.get() - sealed);
    cost.phase = Some(link.phase());
    cost
}

/// How the owner of the attacked link stands to it: it takes everything, it takes nothing, its stream takes
/// nothing because the peer does not read.
const OWNERS: [(&str, Ready); 4] = [
    ("takes everything", Ready::ALL),
    ("takes no events", Ready::WRITE),
    ("cannot write", Ready::EVENTS),
    ("does nothing", Ready::NOTHING),
];

/// As many records as make a megabyte, or two thousand of them, each with `most` of these frames or as many as
/// it can hold.
fn full_of(raw: &mut Raw, most: usize, frame: impl Fn(u64) -> Vec<u8>) -> Vec<Vec<u8>> {
    let (mut number, mut bytes) = (0, 0);
    let mut records = Vec::new();
    while bytes < 1 << 20 && records.len() < 2000 {
        let mut text = Vec::new();
        for _ in 0..most {
            let next = frame(number);
            if text.len() + next.len() > usize::from(LIMITS.max_record) {
                break;
            }
            text.extend(next);
            number += 1;
        }
        bytes += text.len();
        records.push(raw.sealed(&text));
    }
    records
}

type Frame = fn(u64) -> Vec<u8>;

/// Frames that mean nothing, or only the last of which does: as many of them as a record holds.
const NOTHING: [(&str, Frame); 10] = [
    ("empty PAD", |_| frame(0x00, 0, [])),
    ("PAD", |_| frame(0x00, 0, [7; 1000])),
    ("empty frames to skip", |_| frame(0xff, 0, [])),
    ("PING", |nonce| frame(0x30, 0, nonce.to_be_bytes())),
    ("PONG that nobody waits for", |nonce| frame(0x31, 0, nonce.to_be_bytes())),
    ("CREDIT of nothing", |_| credit(0, 0)),
    ("CREDIT of nothing for answers", |_| credit(1, 0)),
    ("CANCEL of no call", |id| frame(0x14, 0, varint(id + 1))),
    ("PERMANENCE to and fro", |number| frame(0x3a, 0, [u8::from(number % 2 == 0)])),
    ("words about a stream that is over", |number| match number {
        0 => [stream_open(3, b""), stream_reset(3, 1), stream_stop(3, 1)].concat(),
        number if number % 2 == 0 => stream_credit(3, 1),
        _ => stream_stop(3, 2),
    }),
];

/// What is begun and given up, or answers what nobody asked: it takes credit, or a place, for a moment.
const IN_VAIN: [(&str, Frame); 6] = [
    ("a call, cancelled at once", |id| {
        [call(id + 1, 5000, "", b""), frame(0x14, 0, varint(id + 1))].concat()
    }),
    ("a call without time", |id| call(id + 1, 0, "", b"")),
    ("a message, abandoned at once", |_| {
        [frame(0x10, 0x83, b"\x40\x80\x00"), frame(0x15, 0x43, [])].concat()
    }),
    ("REPLY to no call", |id| reply(id + 1, b"answer")),
    ("ERROR to no call", |id| frame(0x13, 1, [&varint(id + 1)[..], &[0, 3]].concat())),
    ("a stream, opened, given up and stopped at once", |number| {
        let id = 3 + 8 * number;
        [stream_open(id, b"x"), stream_reset(id, 1), stream_stop(id, 1)].concat()
    }),
];

/// The link holds no more for them, writes less than it reads, and uses its keys once for each record, and once
/// for an answer.
fn costs_its_reading(
    what: &str,
    counts: &Counting,
    raw: &mut Raw,
    records: &[Vec<u8>],
    ready: Ready,
    held: u64,
) -> Cost {
    let cost = pour(counts, raw, records, ready);
    let read: usize = records.iter().map(Vec::len).sum();
    assert!(cost.held < held, "{what}: {cost:?}");
    assert!(cost.written < read, "{what}: {cost:?}");
    assert!(cost.opened <= records.len() && cost.sealed <= records.len() + 1, "{what}: {cost:?}");
    cost
}

#[test]
fn m9_floods_of_frames_that_mean_nothing_cost_nothing_but_their_reading() {
    for (name, frame) in NOTHING {
        for (owner, ready) in OWNERS {
            let counts = Counting::default();
            let mut raw = Raw::dialling(&config(&counts));
            let records = full_of(&mut raw, usize::MAX, frame);
            let what = format!("{name}, while the owner {owner}");
            let cost = costs_its_reading(&what, &counts, &mut raw, &records, ready, FIXED);
            assert_eq!((cost.phase, cost.requests), (Some(Phase::Established), 0), "{what}: {cost:?}");
            assert!(cost.events <= 3, "{what}: {cost:?}");
        }
    }
}

#[test]
fn m9_floods_of_work_in_vain_cost_a_window_at_most_and_no_answers() {
    for (name, frame) in IN_VAIN {
        for (owner, ready) in OWNERS {
            let counts = Counting::default();
            let mut raw = Raw::dialling(&config(&counts));
            let records = full_of(&mut raw, 30, frame);
            let what = format!("{name}, while the owner {owner}");
            let held = if ready == Ready::ALL { FIXED } else { FIXED + 2 * u64::from(LIMITS.window) };
            let cost = costs_its_reading(&what, &counts, &mut raw, &records, ready, held);
            // An owner that does its part lives with it; without credit or a reset from it the flood ends.
            if ready == Ready::ALL {
                assert_eq!((cost.phase, cost.requests), (Some(Phase::Established), 0), "{what}: {cost:?}");
            }
        }
    }
}

/// A new key with every record, and each time the wish for one in the other direction.
#[test]
fn k4_a_flood_of_rekeys_costs_a_key_for_each_record_and_one_answer_at_a_time() {
    for (owner, ready) in OWNERS {
        let counts = Counting::default();
        let mut raw = Raw::dialling(&config(&counts));
        let records: Vec<_> = (0..5000)
            .map(|_| {
                let record = raw.sealed(&frame(0x40, 0, [1]));
                raw.keys.traffic.seal.rekey(&RustCrypto).expect("the next key");
                record
            })
            .collect();
        let cost = pour(&counts, &mut raw, &records, ready);
        let what = format!("while the owner {owner}: {cost:?}");
        assert_eq!(cost.phase, Some(Phase::Established), "{what}");
        assert!(cost.held < FIXED, "{what}");
        // The next key is sealed under the one before: one use of it here, and one there with the answer.
        assert_eq!(cost.opened, records.len(), "{what}");
        assert!(cost.sealed <= 3 * records.len(), "{what}");
        let answers = usize::try_from(raw.link.stats().rekeys_sent).unwrap();
        assert_eq!(answers, if ready.write { records.len() } else { 0 }, "{what}");
        raw.act();
        assert!(raw.link.stats().rekeys_sent <= 5000, "answers have piled up");
    }
}

/// Whatever fills a window, and in however small pieces: an owner that takes nothing holds a bounded multiple of it.
#[test]
fn m8_a_window_full_of_messages_of_any_size_is_held_in_a_bounded_multiple_of_it() {
    let window = u64::from(LIMITS.window);
    for size in [0, 1, 64, 256, 1000, 1024, 1025, 4096, 16_000] {
        let counts = Counting::default();
        let mut raw = Raw::dialling(&config(&counts));
        let most = usize::try_from(window).unwrap() / (size + 64);
        let records: Vec<_> = (0..most).map(|_| raw.sealed(&send("", &vec![7; size]))).collect();
        let cost = pour(&counts, &mut raw, &records, Ready::NOTHING);
        assert_eq!(cost.phase, Some(Phase::Established), "{size}: {cost:?}");
        assert!(cost.held < FIXED + 2 * window, "{size}: {cost:?}");
        // The next one is too much.
        let one_more = [raw.sealed(&send("", &vec![7; size.max(64)]))];
        assert_eq!(pour(&counts, &mut raw, &one_more, Ready::NOTHING).phase, Some(Phase::Closed), "{size}");
    }
}

/// Messages of which all but the last byte is there, in every lane: requests, and answers that nobody waits for.
#[test]
fn m8_half_sent_messages_in_all_lanes_are_held_within_their_windows() {
    let counts = Counting::default();
    let mut raw = Raw::dialling(&config(&counts));
    // Three of the largest messages fill a window of four of them but for the overheads.
    let total = LIMITS.max_message;
    let mut records = Vec::new();
    for lane in 2..=5_u8 {
        let begin = match lane {
            2 | 3 => frame(0x10, 0x80 | lane, [&varint(total.into())[..], &[0]].concat()),
            _ => frame(0x12, 0x80 | lane, [varint(lane.into()), varint(total.into())].concat()),
        };
        records.push(raw.sealed(&begin));
        let mut left = usize::try_from(total).unwrap() - 1;
        while left > 0 {
            let piece = left.min(16_000);
            left -= piece;
            records.push(raw.sealed(&frame(0x15, 0x80 | lane, vec![7; piece])));
        }
    }
    let cost = pour(&counts, &mut raw, &records, Ready::NOTHING);
    assert_eq!(cost.phase, Some(Phase::Established));
    assert!(cost.held < FIXED + 2 * 4 * u64::from(total), "{cost:?}");
    // What a message claims is not reserved for it.
    let mut raw = Raw::dialling(&config(&counts));
    let claims: Vec<_> = (2..=4_u8)
        .map(|lane| raw.sealed(&frame(0x10, 0x80 | lane, [&varint(total.into())[..], &[0]].concat())))
        .collect();
    let cost = pour(&counts, &mut raw, &claims, Ready::NOTHING);
    assert!(cost.held < 8 << 10, "{cost:?}");
}

/// As many streams as there may be, with the longest names, each with a window full of bytes that nobody reads.
#[test]
fn m12_streams_that_nobody_reads_are_held_within_their_windows() {
    let counts = Counting::default();
    let config = config(&counts);
    let streams = *config.streams();
    let mut raw = Raw::dialling(&config);
    let mut records = Vec::new();
    for number in 0..u64::from(streams.max_open) {
        let id = 3 + 8 * number;
        let open = frame(0x28, 0, [&varint(id)[..], &[255], &[b'n'; 255]].concat());
        records.push(raw.sealed(&open));
        records.push(raw.sealed(&stream_data(id, &vec![7; streams.window as usize], false)));
    }
    let cost = pour(&counts, &mut raw, &records, Ready::NOTHING);
    assert_eq!(cost.phase, Some(Phase::Established));
    let each = u64::from(streams.window) + 2048;
    assert!(cost.held < FIXED + u64::from(streams.max_open) * each, "{cost:?}");
    // Those beyond are refused, and hold no bytes.
    let refused: Vec<_> =
        (100..150_u64).map(|number| raw.sealed(&stream_open(3 + 8 * number, &[7; 16_000]))).collect();
    let cost = pour(&counts, &mut raw, &refused, Ready::NOTHING);
    assert_eq!(cost.phase, Some(Phase::Established));
    assert!(cost.held < 64 << 10, "{cost:?}");
}
