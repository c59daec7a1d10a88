//! M7, M13: what goes first, what shares a record, and that nothing starves.

use handclasp::{Limits, Message, Payload, Priority};
use handclasp_sim::raw::{Raw, RawFrame, call, credit, frame, read_varint};
use handclasp_sim::{Owned, Pair, Side};

use crate::support::{millis, pair_with, raw, raw_config, raw_with, secs, smallest, take_events};

/// Answers `frames`: the PINGs among them, and the SENDs, for a service of one letter, with all the credit that they
/// have used.
fn answer(raw: &mut Raw, frames: &[RawFrame]) {
    let charge = |frame: &RawFrame| {
        let whole = frame.flags & 0x80 == 0;
        64 + if whole { frame.body.len() as u64 - 1 } else { read_varint(&frame.body).0 + 1 }
    };
    let used: u64 = frames.iter().filter(|frame| frame.kind == 0x10).map(charge).sum();
    if used > 0 {
        raw.send(&credit(0, used));
    }
    for ping in frames.iter().filter(|frame| frame.kind == 0x30) {
        raw.send(&frame(0x31, 0, &ping.body));
    }
}

/// The records that the link has for the stream next, at most one batch.
fn write_batch(raw: &mut Raw) -> Vec<Vec<RawFrame>> {
    let bytes = raw.link.transmit(raw.now).to_vec();
    raw.link.transmitted(bytes.len(), raw.now);
    raw.out.extend(bytes);
    raw.records()
}

/// What is in them.
fn write_once(raw: &mut Raw) -> Vec<RawFrame> {
    write_batch(raw).into_iter().flatten().collect()
}

/// All that the link has for the stream until something is answered.
fn write_all(raw: &mut Raw) -> Vec<RawFrame> {
    let mut all = Vec::new();
    loop {
        let more = write_once(raw);
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// A link with as many messages of 1 MiB of the lowest priority queued, on a path of which a ping has found that it takes
/// no time.
fn with_bulk(count: usize) -> Raw {
    let mut raw = Raw::dialling(&raw_config(|builder| builder.send_buffer(64 << 20)));
    raw.ready.write = false;
    raw.link.ping(raw.now);
    let frames = write_all(&mut raw);
    answer(&mut raw, &frames);
    for _ in 0..count {
        raw.link.send(Message::new("s", vec![0; 1 << 20]).priority(Priority::Bulk)).expect("taken");
    }
    raw
}

fn urgent() -> Message<'static> {
    Message::new("s", vec![1; 500]).priority(Priority::Urgent)
}

/// A link whose window holds one message of the largest size: urgent ones have it, others and a long one of the lowest
/// priority wait.
fn short_of_credit() -> Raw {
    let mut raw = raw_with(smallest(4));
    for _ in 0..5 {
        raw.link.send(urgent()).expect("taken");
    }
    raw.link.send(Message::new("s", vec![0; 1024]).priority(Priority::Bulk)).expect("taken");
    raw.act();
    raw
}

#[test]
fn m7_a_small_urgent_message_overtakes_a_large_one_within_one_batch() {
    let mut raw = raw();
    raw.ready.write = false;
    raw.link.send(Message::new("bulk", vec![0; 1 << 20]).priority(Priority::Bulk)).expect("taken");
    let before = write_once(&mut raw);
    assert!(before.len() > 1, "the large one is under way");
    answer(&mut raw, &before);
    raw.link.send(Message::new("urgent", b"now").priority(Priority::Urgent)).expect("taken");
    // It leaves in the very next record that is sealed, ahead of the rest of the large one.
    let mut next = write_once(&mut raw);
    next.retain(|frame| frame.kind != 0x30);
    assert_eq!((next[0].kind, next[0].flags), (0x10, 2), "{:?}", next[0]);
    assert!(next.len() > 1 && next[1].flags & 7 == 5, "the large one goes on behind it");
    assert!(raw.link.queued() > 0);
}

/// Whatever is under way in all lanes, a ping, the answer to one and a goodbye leave with the next record that is sealed.
#[test]
fn m7_pings_and_goodbyes_are_late_by_no_more_than_a_record() {
    let mut raw = raw();
    raw.ready.write = false;
    for priority in Priority::ALL {
        raw.link.send(Message::new("s", vec![0; 400_000]).priority(priority)).expect("taken");
    }
    let next = |raw: &mut Raw| write_batch(raw).swap_remove(0);
    // All four are begun: shares are a few records long.
    for _ in 0..10 {
        let frames = write_once(&mut raw);
        assert!(!frames.is_empty());
        answer(&mut raw, &frames);
    }
    raw.link.ping(raw.now);
    let asked = next(&mut raw);
    let nonce = asked.iter().find(|frame| frame.kind == 0x30).expect("a ping").body.clone();
    assert!(asked.iter().any(|frame| frame.kind == 0x15), "beside what is under way");
    raw.send(&[frame(0x31, 0, &nonce), frame(0x30, 0, [7; 8])].concat());
    assert!(next(&mut raw).iter().any(|frame| frame.kind == 0x31 && frame.body == [7; 8]), "an answer");
    raw.link.goodbye(3, "enough", raw.now);
    assert!(next(&mut raw).iter().any(|frame| frame.kind == 0x41), "a goodbye");
    assert!(raw.link.queued() > 500_000, "all of it goes on behind");
}

#[test]
fn m7_a_large_message_is_in_pieces_of_at_most_a_record() {
    let mut raw = raw();
    raw.link.send(Message::new("s", vec![3; 300_000])).expect("taken");
    raw.act();
    let records = raw.records();
    let sizes: Vec<usize> =
        records.iter().map(|record| record.iter().map(|frame| frame.body.len() + 4).sum()).collect();
    assert!(sizes.iter().all(|size| *size <= usize::from(Limits::default().max_record)));
    assert!(sizes[..sizes.len() - 1].iter().all(|size| *size > 16_000), "records are filled: {sizes:?}");
    let body: usize = records.iter().flatten().map(|frame| frame.body.len()).sum();
    assert_eq!(body, 300_000 + 4 + 1 + 1);
}

#[test]
fn m7_records_keep_to_the_negotiated_size_whatever_they_hold() {
    for max_record in [4096, 16_640, 65_519] {
        let limits = Limits { max_record, ..Limits::default() };
        let mut raw = Raw::dialling(&raw_config(|builder| builder.limits(limits).send_buffer(8 << 20)));
        let (now, pong) = (raw.now, frame(0x30, 0, [1; 8]));
        raw.ready.write = false;
        // Everything that can stand in a record, all at once.
        let calls: Vec<_> =
            (0..500).map(|_| raw.link.call(Message::new("s", b""), secs(5), now).expect("taken")).collect();
        raw.ready.write = true;
        raw.act();
        raw.ready.write = false;
        for call in calls {
            raw.link.cancel(call, now);
        }
        raw.send(&pong);
        for length in (0..40_000).step_by(777) {
            let message = Message::new("s", vec![0; length]).priority(Priority::Urgent);
            raw.link.send(message).expect("taken");
        }
        raw.link.rekey(now);
        raw.link.ping(now);
        raw.link.goodbye(0, &"g".repeat(255), now);
        raw.ready.write = true;
        raw.act();
        // `records` holds each against the limit.
        let frames = raw.frames();
        assert_eq!(frames.iter().filter(|frame| frame.kind == 0x14).count(), 500);
        assert_eq!(frames.iter().filter(|frame| frame.kind == 0x41).count(), 1);
    }
}

#[test]
fn m7_a_large_answer_does_not_hold_up_a_small_one() {
    let mut raw = raw();
    raw.send(&[call(1, 5000, "large", b""), call(2, 5000, "small", b"")].concat());
    let mut tokens = raw.events.drain(..).map(|event| match event {
        Owned::Call { token, .. } => token,
        other => panic!("{other:?}"),
    });
    let (large, small) = (tokens.next().expect("the first"), tokens.next().expect("the second"));
    drop(tokens);
    raw.ready.write = false;
    raw.link.reply(large, Ok(Payload::from(vec![0; 1 << 20]))).expect("taken");
    let begun = write_once(&mut raw);
    assert!(begun.iter().any(|frame| frame.kind == 0x12 && frame.flags & 7 == 3), "in its call's lane");
    raw.link.reply(small, Ok(Payload::from(b"answer"))).expect("taken");
    let next = write_once(&mut raw);
    assert_eq!((next[0].kind, next[0].flags), (0x12, 1));
    assert!(next[0].body.ends_with(b"answer"));
}

#[test]
fn m7_lanes_share_as_designed_and_none_starves() {
    let mut raw = Raw::dialling(&raw_config(|builder| builder.send_buffer(64 << 20)));
    raw.ready.write = false;
    let mut written = [0_usize; 8];
    let mut total = 0;
    while total < 4 << 20 {
        // Every lane has more than it can write.
        while raw.link.queued() < 8 << 20 {
            for priority in Priority::ALL {
                for length in [100, 3000, 40_000, 300_000] {
                    raw.link.send(Message::new("s", vec![0; length]).priority(priority)).expect("taken");
                }
            }
        }
        let frames = write_once(&mut raw);
        assert!(!frames.is_empty(), "stuck");
        for frame in &frames {
            written[usize::from(frame.flags & 7)] += frame.body.len() + 4;
            total += frame.body.len() + 4;
        }
        answer(&mut raw, &frames);
    }
    // 8 : 4 : 2 : 1.
    let whole: usize = written[2..6].iter().sum();
    for (lane, share) in [(2, 8), (3, 4), (4, 2), (5, 1)] {
        let due = whole * share / 15;
        assert!(written[lane].abs_diff(due) < due * 15 / 100, "lane {lane}, {due} due: {written:?}");
    }
}

#[test]
fn m7_a_lane_that_was_silent_gets_no_more_than_its_share_later() {
    let mut raw = Raw::dialling(&raw_config(|builder| builder.send_buffer(64 << 20)));
    raw.ready.write = false;
    let fill = |raw: &mut Raw, priority: Priority| {
        for _ in 0..30 {
            raw.link.send(Message::new("s", vec![0; 100_000]).priority(priority)).expect("taken");
        }
    };
    fill(&mut raw, Priority::Bulk);
    for _ in 0..20 {
        let frames = write_once(&mut raw);
        answer(&mut raw, &frames);
    }
    fill(&mut raw, Priority::Urgent);
    let (mut urgent, mut bulk) = (0, 0);
    for _ in 0..15 {
        let frames = write_once(&mut raw);
        for frame in &frames {
            *(if frame.flags & 7 == 2 { &mut urgent } else { &mut bulk }) += frame.body.len();
        }
        answer(&mut raw, &frames);
    }
    assert!(urgent > 6 * bulk && bulk > urgent / 12, "urgent {urgent}, bulk {bulk}");
}

/// However round trips change, and whatever the lowest priority has on its way by then, it goes on as PONGs come, and no
/// more of it is on its way than a few round trips bring.
#[test]
fn m7_the_lowest_priority_goes_on_whatever_becomes_of_the_round_trip() {
    let mut raw = with_bulk(16);
    let (mut rounds, mut most) = (0, 0);
    while raw.link.queued() > 0 {
        let frames = write_all(&mut raw);
        let asks = frames.iter().any(|frame| frame.kind == 0x30);
        assert!(asks || raw.link.queued() == 0, "it waits without a question under way");
        let bytes: usize = frames.iter().map(|frame| frame.body.len()).sum();
        most = most.max(bytes);
        // As short as the first, then long, then short again: it grows, shrinks and grows.
        if (3..13).contains(&rounds) {
            raw.pass(millis(60));
        }
        if rounds == 12 {
            assert!(bytes < 300_000, "{bytes} bytes in a long round trip");
        }
        answer(&mut raw, &frames);
        rounds += 1;
    }
    assert!(rounds >= 13 && most > 1_000_000, "{rounds} rounds, {most} bytes at most");
}

/// Where bytes of the lowest priority delay what comes behind them for longer than nobody minds, about a record of them is
/// on its way, and that goes on.
#[test]
fn m7_little_of_the_lowest_priority_is_on_its_way_where_that_is_slow() {
    for (rtt, expected) in [(20, 128 << 10..300 << 10), (21, 8 << 10..40 << 10), (51, 8 << 10..40 << 10)] {
        let mut raw = with_bulk(8);
        let mut bytes = 0;
        for _ in 0..25 {
            let frames = write_all(&mut raw);
            bytes = frames.iter().map(|frame| frame.body.len()).sum();
            raw.pass(millis(rtt));
            answer(&mut raw, &frames);
        }
        assert!(expected.contains(&bytes), "{bytes} bytes in a round trip of {rtt} ms");
    }
}

#[test]
fn m7_no_lane_starves_when_credit_is_what_is_short() {
    // Urgent ones keep coming, and the receiver takes one at a time.
    let mut raw = short_of_credit();
    let mut untaken = Vec::new();
    for round in 0..500 {
        untaken.extend(raw.frames().into_iter().filter(|frame| frame.kind == 0x10));
        if untaken.iter().any(|frame| frame.flags & 7 == 5) {
            return;
        }
        if !untaken.is_empty() {
            let frame = untaken.remove(0);
            raw.send(&credit(0, frame.body.len() as u64 - 1 + 64));
        }
        if raw.link.queued() < 4000 {
            raw.link.send(urgent()).expect("taken");
        }
        assert!(round < 20 || raw.link.stats().messages_sent > 10, "stuck");
        raw.act();
    }
    panic!("500 urgent messages have gone, and the bulk one not");
}

/// The one in front keeps its turn, whatever is given up behind it.
#[test]
fn m7_what_waits_for_credit_is_not_set_back_by_calls_that_are_cancelled_behind_it() {
    let mut raw = short_of_credit();
    let (mut untaken, mut rounds) = (Vec::new(), 0);
    loop {
        untaken.extend(raw.frames().into_iter().filter(|frame| frame.kind == 0x10));
        if untaken.iter().any(|frame| frame.flags & 7 == 5) {
            break;
        }
        // One is taken at a time, so that there is never enough for the long one unless it is kept.
        let frame = untaken.remove(0);
        let behind = Message::new("s", b"").priority(Priority::Bulk);
        let call = raw.link.call(behind, secs(5), raw.now).expect("taken");
        raw.link.cancel(call, raw.now);
        raw.link.send(urgent()).expect("taken");
        raw.send(&credit(0, frame.body.len() as u64 - 1 + 64));
        rounds += 1;
        assert!(rounds < 50, "{rounds} urgent messages have gone, and the bulk one not");
    }
}

#[test]
fn m13_small_messages_queued_together_leave_in_one_record_and_one_write() {
    let mut pair = Pair::established();
    let now = pair.now;
    let before = pair.initiator.link.stats().records_sealed;
    for number in 0..100_u8 {
        pair.initiator.link.send(Message::new("s", &[number; 64][..])).expect("taken");
        pair.initiator.link.call(Message::new("c", &[number; 8][..]), secs(5), now).expect("taken");
    }
    let bytes = pair.initiator.link.transmit(now).to_vec();
    pair.initiator.link.transmitted(bytes.len(), now);
    assert!(pair.initiator.link.transmit(now).is_empty(), "one write takes all");
    assert_eq!(pair.initiator.link.stats().records_sealed, before + 1);
    // The frames' headers cost little: 4 bytes, name, id and timeout.
    assert!(bytes.len() < 100 * (64 + 6) + 100 * (8 + 12) + 18, "{} bytes", bytes.len());
    pair.inject(Side::Responder, &bytes);
    assert_eq!(take_events(&mut pair, Side::Responder).len(), 200);
}

#[test]
fn m13_answers_credit_and_pongs_share_a_record_too() {
    let mut raw = raw();
    raw.ready.write = false;
    let ping = frame(0x30, 0, [5; 8]);
    let calls: Vec<u8> = (1..=20).flat_map(|id| call(id, 5000, "s", b"")).collect();
    raw.send(&[ping, calls].concat());
    for event in std::mem::take(&mut raw.events) {
        if let Owned::Call { token, .. } = event {
            raw.link.reply(token, Ok(Payload::from(b"a"))).expect("taken");
        }
    }
    raw.ready.write = true;
    raw.act();
    let records = raw.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].iter().filter(|frame| frame.kind == 0x12).count(), 20);
    assert_eq!(records[0].iter().filter(|frame| frame.kind == 0x31).count(), 1);
}

#[test]
fn m13_records_are_full_while_there_is_enough_to_fill_them() {
    let mut pair = Pair::established();
    let now = pair.now;
    let before = pair.initiator.link.stats();
    for _ in 0..1000 {
        pair.initiator.link.send(Message::new("s", &[0; 64])).expect("taken");
    }
    while !pair.initiator.link.transmit(now).is_empty() {
        let count = pair.initiator.link.transmit(now).len();
        pair.initiator.link.transmitted(count, now);
    }
    let after = pair.initiator.link.stats();
    assert_eq!(after.messages_sent - before.messages_sent, 1000);
    // 70 bytes each: 70 000 are five records of 16 640.
    assert_eq!(after.records_sealed - before.records_sealed, 5);
}

#[test]
fn m7_no_lane_waits_for_credit_that_the_other_side_holds_back() {
    let defaults = Limits::default();
    for limits in [defaults, smallest(1), Limits { window: 2 * defaults.window, ..defaults }] {
        for priority in Priority::ALL {
            // What the other side may hold back, one byte at a time around each of its bounds.
            for held in [limits.max_message, limits.window / 4, limits.window / 2] {
                for less in 0..3 {
                    let mut pair = pair_with(|builder| builder.limits(limits));
                    let length = held.min(limits.max_message) as usize - 66 + less;
                    pair.initiator.link.send(Message::new("s", vec![0; length])).expect("taken");
                    pair.run();
                    let body = vec![0; limits.max_message as usize];
                    pair.initiator.link.send(Message::new("s", body).priority(priority)).expect("taken");
                    pair.run();
                    assert_eq!(pair.initiator.link.queued(), 0, "{limits:?}, {priority:?}, {length}");
                }
            }
        }
    }
}

/// Whatever its name and its length, a message fits the records that the peer takes: around the length where it needs a
/// second one above all.
#[test]
fn m9_no_name_and_no_length_makes_a_record_too_long() {
    let limits = Limits { max_record: Limits::SMALLEST_RECORD, ..Limits::default() };
    for name in ["", "s", &"n".repeat(255)] {
        let mut pair = pair_with(|builder| builder.limits(limits));
        for length in 3700..4200 {
            pair.initiator.link.send(Message::new(name, vec![7; length])).expect("taken");
            pair.run();
            let events = take_events(&mut pair, Side::Responder);
            assert!(
                matches!(&events[..], [Owned::Message { body, .. }] if body.len() == length),
                "{length} bytes to {name:?}: {events:?}, {:?}",
                pair.link(Side::Responder).closed()
            );
        }
    }
}

/// A long message costs about as many records as its bytes fill: what a record holds beside it is a header.
#[test]
fn m7_pieces_of_a_long_message_are_as_long_as_the_record_allows() {
    const LENGTH: usize = 160_000;
    let mut pair = pair_with(|builder| builder);
    let record = usize::from(Limits::default().max_record);
    let before = pair.initiator.link.stats().records_sealed;
    pair.initiator.link.send(Message::new("s", vec![7; LENGTH])).expect("taken");
    pair.run();
    let records = pair.initiator.link.stats().records_sealed - before;
    let full = (LENGTH / (record - 64)) as u64 + 1;
    assert!(records <= full, "{records} records for what {full} hold");
}
