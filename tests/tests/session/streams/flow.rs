//! How bytes flow: both ways, in turn, beside messages.

use handclasp::{Message, Priority, StreamLimits, StreamRead, Why};
use handclasp_sim::raw::{
    Raw, RawFrame, frame, read_varint, stream_credit, stream_data, stream_open, varint,
};
use handclasp_sim::{Owned, Pair, Side, builder, config, id};

use super::{accepted, accepted_all, both, open, pair_of, pattern, read_all};
use crate::support::{SIDES, raw, raw_config, secs, take_events};

#[test]
fn m12_bytes_go_both_ways_and_each_direction_ends_by_itself() {
    for from in SIDES {
        let mut pair = pair_of(StreamLimits::default());
        let here = pair.link(from).open_stream("née", Priority::Low).expect("taken");
        assert_eq!(pair.link(from).stream_write(here, b"question"), 8);
        pair.link(from).stream_finish(here);
        assert_eq!(pair.link(from).stream_write(here, b"more"), 0, "behind its end");
        pair.run();
        let events = take_events(&mut pair, from.other());
        let [Owned::StreamOpened { id, name, priority }, Owned::StreamReadable(readable)] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!((name.as_str(), *priority, id), ("née", Priority::Low, readable));
        assert_eq!(id.get(), here.get(), "one id on both sides");
        assert_eq!(read_all(pair.link(from.other()), *id), (b"question".to_vec(), StreamRead::End));
        assert_eq!(pair.link(from.other()).stream_read(*id, &mut [0]), StreamRead::Over);
        // The other direction goes on for as long as it likes.
        for _ in 0..3 {
            assert_eq!(pair.link(from.other()).stream_write(*id, b"answer"), 6);
            pair.run();
            assert!(matches!(pair.event(from), Some(Owned::StreamReadable(id)) if id == here));
            assert_eq!(read_all(pair.link(from), here), (b"answer".to_vec(), StreamRead::Pending));
        }
        pair.link(from.other()).stream_finish(*id);
        pair.run();
        assert_eq!(read_all(pair.link(from), here), (Vec::new(), StreamRead::End));
        assert_eq!(SIDES.map(|side| pair.link(side).streams_open()), [(0, 0); 2]);
    }
}

#[test]
fn m12_a_stream_opens_with_its_name_its_first_bytes_and_its_end_in_one_frame() {
    let mut raw = raw();
    let mut ids = Vec::new();
    for (number, priority) in Priority::ALL.into_iter().chain(Priority::ALL).enumerate() {
        let id = raw.link.open_stream("file", priority).expect("taken");
        assert_eq!(raw.link.stream_write(id, &[number as u8; 3]), 3);
        raw.link.stream_finish(id);
        ids.push(id.get());
    }
    // A responder's ids are even; the priority is in bits 1 and 2.
    assert_eq!(ids, [0, 2, 4, 6, 8, 10, 12, 14]);
    raw.act();
    let mut frames = raw.frames();
    frames.sort_by_key(|frame| frame.body[0]);
    for (number, got) in frames.iter().enumerate() {
        let body = [&varint(ids[number]), b"\x04file".as_slice(), &[number as u8; 3]].concat();
        assert_eq!(*got, RawFrame { kind: 0x28, flags: 0x20, body });
    }
    assert_eq!(frames.len(), 8);
    assert_eq!(super::open(&mut pair_of(StreamLimits::default()), Side::Initiator, "").get(), 3, "odd");
}

#[test]
fn m12_each_side_takes_streams_or_there_are_none() {
    let both = [StreamLimits::default(), StreamLimits::NONE];
    for (initiator, responder) in [(both[0], both[1]), (both[1], both[0]), (both[1], both[1])] {
        let build = |number, peer, streams| {
            builder(number, &[peer]).streams(streams).build().expect("a configuration")
        };
        let mut pair = Pair::of(&build(1, 2, initiator), &build(2, 1, responder), Some(id(2)));
        pair.establish();
        for side in SIDES {
            assert_eq!(pair.link(side).open_stream("s", Priority::Normal), Err(Why::NoStreams));
        }
    }
}

#[test]
fn m12_what_cannot_be_opened_says_why() {
    let mut pair = pair_of(StreamLimits { max_open: 2, ..StreamLimits::default() });
    let long = "n".repeat(256);
    assert_eq!(pair.link(Side::Initiator).open_stream(&long, Priority::Normal), Err(Why::LongServiceName));
    assert!(pair.link(Side::Initiator).open_stream(&long[1..], Priority::Bulk).is_ok());
    assert!(pair.link(Side::Initiator).open_stream("", Priority::Urgent).is_ok());
    let limit = Why::TooManyStreams { limit: 2 };
    assert_eq!(pair.link(Side::Initiator).open_stream("", Priority::Low), Err(limit));
    pair.run();
    assert_eq!(accepted_all(&mut pair, Side::Responder).len(), 2);
    let now = pair.now;
    pair.link(Side::Initiator).goodbye(0, "", now);
    assert_eq!(pair.link(Side::Initiator).open_stream("", Priority::Low), Err(Why::Draining));
    pair.link(Side::Initiator).close(now);
    assert_eq!(pair.link(Side::Initiator).open_stream("", Priority::Low), Err(Why::Closed));
    let mut fresh = Pair::new();
    assert_eq!(fresh.link(Side::Initiator).open_stream("", Priority::Low), Err(Why::NotEstablished));
}

#[test]
fn m12_another_links_stream_is_refused() {
    let mut pair = pair_of(StreamLimits::default());
    let (here, there) = both(&mut pair);
    assert_eq!(pair.initiator.link.stream_write(there, b"x"), 0, "the other side's name for it");
    let mut other = Pair::seeded(&config(1, &[2]), &config(2, &[1]), Some(id(2)), 9);
    other.establish();
    let (theirs, _) = both(&mut other);
    assert_eq!(here.get(), theirs.get());
    let link = &mut pair.initiator.link;
    assert_eq!(link.stream_write(theirs, b"x"), 0);
    assert_eq!(link.stream_read(theirs, &mut [0]), StreamRead::Over);
    link.stream_finish(theirs);
    link.stream_reset(theirs, 1);
    link.stream_stop(theirs, 1);
    pair.run();
    assert!(pair.event(Side::Responder).is_none());
    assert_eq!(SIDES.map(|side| pair.link(side).streams_open()), [(1, 0), (0, 1)]);
}

#[test]
fn m12_one_event_tells_of_everything_that_comes_until_it_is_read() {
    let mut pair = pair_of(StreamLimits::default());
    let (here, there) = both(&mut pair);
    for _ in 0..5 {
        pair.initiator.link.stream_write(here, &[1; 100]);
        pair.run();
    }
    assert!(matches!(take_events(&mut pair, Side::Responder)[..], [Owned::StreamReadable(_)]));
    // Read in part: what is left needs no event.
    assert_eq!(pair.responder.link.stream_read(there, &mut [0; 300]), StreamRead::Data(300));
    pair.initiator.link.stream_write(here, &[1; 100]);
    pair.run();
    assert!(pair.event(Side::Responder).is_none());
    assert_eq!(read_all(&mut pair.responder.link, there).0.len(), 300);
    pair.initiator.link.stream_write(here, &[1; 100]);
    pair.run();
    assert!(matches!(take_events(&mut pair, Side::Responder)[..], [Owned::StreamReadable(_)]));
    // What was read before the event was taken is not told.
    assert_eq!(read_all(&mut pair.responder.link, there).0.len(), 100);
    pair.responder.ready.events = false;
    pair.initiator.link.stream_write(here, &[1; 100]);
    pair.run();
    assert_eq!(read_all(&mut pair.responder.link, there).0.len(), 100);
    pair.responder.ready.events = true;
    pair.run();
    assert!(pair.event(Side::Responder).is_none());
    // The end is told like bytes.
    pair.initiator.link.stream_finish(here);
    pair.run();
    assert!(matches!(take_events(&mut pair, Side::Responder)[..], [Owned::StreamReadable(_)]));
    assert_eq!(pair.responder.link.stream_read(there, &mut []), StreamRead::End);
}

#[test]
fn m12_a_writer_that_waits_is_told_once_there_is_room() {
    let mut pair = pair_of(StreamLimits { window: 1000, largest_window: 1000, ..StreamLimits::default() });
    let (here, there) = both(&mut pair);
    assert_eq!(pair.initiator.link.stream_write(here, pattern(0, 1500)), 1000);
    pair.run();
    assert_eq!(pair.initiator.link.stream_write(here, pattern(1000, 500)), 0);
    assert!(pair.event(Side::Initiator).is_none(), "no room yet");
    let mut space = [0; 600];
    assert_eq!(pair.responder.link.stream_read(there, &mut space[..499]), StreamRead::Data(499));
    pair.run();
    assert!(pair.event(Side::Initiator).is_none(), "less than half the window is held back");
    assert_eq!(pair.responder.link.stream_read(there, &mut space[..1]), StreamRead::Data(1));
    pair.run();
    assert!(matches!(take_events(&mut pair, Side::Initiator)[..], [Owned::StreamWritable(id)] if id == here));
    assert_eq!(pair.initiator.link.stream_write(here, pattern(1000, 500)), 500);
    pair.run();
    assert!(pair.event(Side::Initiator).is_none(), "it did not wait");
    let (rest, end) = read_all(&mut pair.responder.link, there);
    assert_eq!((&rest[..], end), (pattern(500, 1000), StreamRead::Pending));
}

#[test]
fn m12_the_window_grows_as_its_reader_keeps_up_and_only_then() {
    let limits = StreamLimits { window: 1000, largest_window: 6000, growth: 8000, ..StreamLimits::default() };
    let mut pair = pair_of(limits);
    let (here, there) = both(&mut pair);
    let mut taken = Vec::new();
    for _ in 0..8 {
        taken.push(pair.initiator.link.stream_write(here, pattern(0, 100_000)));
        pair.run();
        read_all(&mut pair.responder.link, there);
        pair.run();
    }
    assert_eq!(taken, [1000, 2000, 4000, 6000, 6000, 6000, 6000, 6000]);
    // A second one has what the first has left of the growth, until that one ends.
    let second = open(&mut pair, Side::Initiator, "second");
    pair.run();
    let second_there = accepted(&mut pair, Side::Responder);
    for expected in [1000, 2000, 4000, 4000] {
        assert_eq!(pair.initiator.link.stream_write(second, pattern(0, 100_000)), expected);
        pair.run();
        read_all(&mut pair.responder.link, second_there);
        pair.run();
    }
    pair.responder.link.stream_stop(there, 0);
    pair.run();
    for expected in [4000, 6000, 6000] {
        assert_eq!(pair.initiator.link.stream_write(second, pattern(0, 100_000)), expected);
        pair.run();
        read_all(&mut pair.responder.link, second_there);
        pair.run();
    }
    // A reader that leaves something behind keeps its window.
    let slow = open(&mut pair, Side::Initiator, "slow");
    pair.run();
    let slow_there = accepted(&mut pair, Side::Responder);
    assert_eq!(pair.initiator.link.stream_write(slow, pattern(0, 100_000)), 1000);
    pair.run();
    for _ in 0..10 {
        assert_eq!(pair.responder.link.stream_read(slow_there, &mut [0; 600]), StreamRead::Data(600));
        pair.run();
        assert_eq!(pair.initiator.link.stream_write(slow, pattern(0, 100_000)), 600);
        pair.run();
    }
}

/// A later question would take the place of the one under way, whose answer would then tell nothing.
#[test]
fn l1_however_often_a_window_grows_one_question_for_the_round_trip_is_under_way() {
    let mut raw = raw();
    raw.send(&stream_open(3, b""));
    let stream = match raw.events.pop() {
        Some(Owned::StreamOpened { id, .. }) => id,
        other => panic!("{other:?}"),
    };
    let (mut granted, mut asked) = (u64::from(StreamLimits::default().window), Vec::new());
    for round in 0..4 {
        for _ in 0..granted.div_ceil(10_000) {
            let length = granted.min(10_000);
            raw.send(&stream_data(3, pattern(0, length as usize), false));
            granted -= length;
        }
        read_all(&mut raw.link, stream);
        raw.act();
        let frames = raw.frames();
        granted += frames.iter().filter(|frame| frame.kind == 0x2b).map(grant).sum::<u64>();
        asked.extend(frames.into_iter().filter(|frame| frame.kind == 0x30));
        assert!(granted > 0, "stuck in round {round}");
        assert_eq!(asked.len(), 1, "in round {round}");
    }
    raw.pass(std::time::Duration::from_millis(20));
    raw.send(&frame(0x31, 0, &asked[0].body));
    assert_eq!((raw.link.stats().pongs, raw.link.stats().unknown_pongs), (1, 0));
}

/// What a `STREAM_CREDIT` gives.
fn grant(credit: &RawFrame) -> u64 {
    read_varint(read_varint(&credit.body).1).0
}

/// The sizes of the data of each frame of streams that the link writes, by id, in order.
fn pieces(frames: &[RawFrame]) -> Vec<(u64, usize)> {
    let piece = |frame: &RawFrame| {
        let (id, rest) = read_varint(&frame.body);
        match frame.kind {
            0x28 => Some((id, rest.len() - 1 - usize::from(rest[0]))),
            0x29 => Some((id, rest.len())),
            _ => None,
        }
    };
    frames.iter().filter_map(piece).collect()
}

#[test]
fn m12_streams_of_a_priority_take_turns() {
    let mut raw = raw();
    let ids: Vec<_> = (0..10).map(|_| raw.link.open_stream("", Priority::Normal).expect("taken")).collect();
    raw.act();
    raw.frames();
    for id in &ids {
        raw.send(&stream_credit(id.get(), 1 << 20));
    }
    for id in &ids {
        assert_eq!(raw.link.stream_write(*id, pattern(0, 1 << 20)), 64 << 10);
    }
    raw.act();
    let pieces = pieces(&raw.frames());
    // Each piece is as long as its record has room for. While all have something, each has as many turns.
    let mut turns = [0_usize; 10];
    for (id, _) in &pieces[..30] {
        turns[(*id / 8) as usize] += 1;
    }
    assert_eq!(turns, [3; 10]);
    assert_eq!(pieces.iter().map(|(_, len)| len).sum::<usize>(), 10 * (64 << 10), "all of it, in the end");
}

#[test]
fn m7_a_call_leaves_with_the_next_record_whatever_streams_have_to_send() {
    for priority in Priority::ALL {
        let mut raw = raw();
        let ids: Vec<_> = (0..100).map(|_| raw.link.open_stream("", priority).expect("taken")).collect();
        raw.act();
        for id in &ids {
            raw.send(&stream_credit(id.get(), 1 << 20));
        }
        raw.frames();
        for id in &ids {
            raw.link.stream_write(*id, pattern(0, 1 << 16));
        }
        // A batch of records is sealed, of which the socket has taken nothing; then there is a call.
        let (now, before) = (raw.now, raw.link.stats().records_sealed);
        let batch = raw.link.transmit(now).len();
        let sealed = raw.link.stats().records_sealed - before;
        assert!((4..=5).contains(&sealed), "{sealed} records are sealed ahead");
        raw.link.call(Message::new("s", "a question"), secs(5), now).expect("taken");
        let bytes = raw.link.transmit(now).to_vec();
        assert_eq!(bytes.len(), batch);
        raw.out.extend(bytes);
        raw.link.transmitted(batch, now);
        raw.act();
        let records = raw.records();
        let found = records.iter().position(|frames| frames.iter().any(|frame| frame.kind == 0x11));
        let between = found.expect("a call") as u64 - sealed;
        // Streams that go before it may have one more turn.
        let most = u64::from(priority == Priority::Urgent);
        assert!(between <= most, "{priority:?}: {between} records between");
        assert!(!pieces(records.last().expect("records")).is_empty(), "the streams had more to send");
    }
}

#[test]
fn m7_a_call_is_answered_at_once_beside_streams_both_ways() {
    let mut pair = pair_of(StreamLimits::default());
    let mut streams = Vec::new();
    for side in SIDES {
        for _ in 0..20 {
            let here = open(&mut pair, side, "bulk");
            pair.run();
            streams.push((side, here, accepted(&mut pair, side.other())));
        }
    }
    let mut moved = 0;
    let mut round = |pair: &mut Pair| {
        for (side, here, there) in &streams {
            pair.link(*side).stream_write(*here, pattern(0, 1 << 16));
            moved += read_all(pair.link(side.other()), *there).0.len();
        }
        pair.step();
        moved
    };
    for _ in 0..50 {
        round(&mut pair);
    }
    let now = pair.now;
    pair.initiator.link.call(Message::new("s", "a question"), secs(5), now).expect("taken");
    round(&mut pair);
    let before = round(&mut pair);
    let mut events = take_events(&mut pair, Side::Responder).into_iter();
    let token =
        events.find_map(|event| if let Owned::Call { token, .. } = event { Some(token) } else { None });
    pair.responder.link.reply(token.expect("the call came"), Ok("an answer".into())).expect("taken");
    // A round to leave, one to come, one to be told.
    let after = round(&mut pair);
    round(&mut pair);
    round(&mut pair);
    let events = take_events(&mut pair, Side::Initiator);
    assert!(events.iter().any(|event| matches!(event, Owned::Reply { .. })), "no answer");
    assert!(after > before + (1 << 18), "the streams stood still");
}

#[test]
fn m7_streams_have_the_share_of_their_priority() {
    let mut raw = Raw::dialling(&raw_config(|builder| builder.send_buffer(4 << 20)));
    let mut ids = Vec::new();
    for priority in [Priority::Urgent, Priority::Bulk] {
        for _ in 0..4 {
            ids.push(raw.link.open_stream("", priority).expect("taken"));
        }
    }
    raw.act();
    raw.frames();
    for id in &ids {
        raw.send(&stream_credit(id.get(), 1 << 20));
    }
    for _ in 0..50 {
        raw.link.send(Message::new("m", vec![0; 16 << 10]).priority(Priority::Normal)).expect("taken");
    }
    let mut sums = [0_usize; 3];
    for _ in 0..20 {
        for id in &ids {
            raw.link.stream_write(*id, pattern(0, 1 << 16));
        }
        let (now, bytes) = (raw.now, raw.link.transmit(raw.now).to_vec());
        raw.link.transmitted(bytes.len(), now);
        raw.out.extend(bytes);
        let frames = raw.frames();
        for (id, len) in pieces(&frames) {
            sums[if id & 6 == 0 { 0 } else { 2 }] += len;
        }
        let messages = frames.iter().filter(|frame| frame.kind == 0x10 || frame.kind == 0x15);
        sums[1] += messages.map(|frame| frame.body.len()).sum::<usize>();
    }
    // Shares of 8, 4 and 1.
    let [urgent, normal, bulk] = sums;
    assert!(urgent > normal * 3 / 2 && urgent < normal * 5 / 2, "{sums:?}");
    assert!(normal > bulk * 5 / 2 && normal < bulk * 11 / 2, "{sums:?}");
}

/// A share that was not used is gone: else a stream would have the link to itself for as long as messages had.
#[test]
fn m7_a_stream_that_was_idle_has_saved_no_share() {
    let mut raw = raw();
    let stream = raw.link.open_stream("", Priority::Normal).expect("taken");
    raw.act();
    raw.frames();
    raw.send(&stream_credit(stream.get(), 8 << 20));
    let mut sums = [0_usize; 2];
    for round in 0..40 {
        while raw.link.send_space(Priority::Normal) > 0 {
            raw.link.send(Message::new("m", vec![0; 16 << 10])).expect("taken");
        }
        if round >= 30 {
            raw.link.stream_write(stream, pattern(0, 1 << 16));
        }
        let (now, bytes) = (raw.now, raw.link.transmit(raw.now).to_vec());
        raw.link.transmitted(bytes.len(), now);
        raw.out.extend(bytes);
        let frames = raw.frames();
        if round >= 30 {
            sums[0] += pieces(&frames).iter().map(|(_, len)| len).sum::<usize>();
            let messages = frames.iter().filter(|frame| frame.kind == 0x10 || frame.kind == 0x15);
            sums[1] += messages.map(|frame| frame.body.len()).sum::<usize>();
        }
    }
    let [streams, messages] = sums;
    assert!(streams + messages > 500_000, "{sums:?}");
    assert!(streams < messages * 3 / 2 && messages < streams * 3 / 2, "{sums:?}");
}

#[test]
fn m13_small_pieces_of_many_streams_and_messages_share_a_record() {
    let mut pair = pair_of(StreamLimits::default());
    let streams: Vec<_> = (0..20).map(|_| open(&mut pair, Side::Initiator, "s")).collect();
    for stream in &streams {
        pair.initiator.link.stream_write(*stream, b"a few bytes");
        pair.initiator.link.send(Message::new("s", "a message")).expect("taken");
    }
    let before = pair.initiator.link.stats().records_sealed;
    pair.run();
    assert_eq!(pair.initiator.link.stats().records_sealed, before + 1);
    assert_eq!(accepted_all(&mut pair, Side::Responder).len(), 20);
}

#[test]
fn m12_urgent_streams_do_not_wait_for_those_that_were_opened_before() {
    let mut pair = pair_of(StreamLimits::default());
    let bulk: Vec<_> = (0..500)
        .map(|_| pair.initiator.link.open_stream(&"b".repeat(255), Priority::Bulk).expect("taken"))
        .collect();
    let urgent = pair.initiator.link.open_stream("u", Priority::Urgent).expect("taken");
    pair.initiator.link.stream_write(urgent, b"now");
    pair.run();
    let events = take_events(&mut pair, Side::Responder);
    let first = events.iter().find_map(|event| match event {
        Owned::StreamOpened { name, .. } => Some(name.as_str()),
        _ => None,
    });
    assert_eq!(first, Some("u"));
    assert_eq!(pair.responder.link.streams_open(), (0, 1 + bulk.len()));
}

#[test]
fn m12_frames_of_one_stream_are_read_whatever_the_records_are() {
    let mut raw = raw();
    let open = frame(0x28, 0, b"\x03\x04name");
    raw.send(&[open, stream_data(3, b"one ", false), stream_data(3, b"two", false)].concat());
    raw.send(&stream_data(3, b" three", true));
    let stream = match &raw.events[..] {
        [Owned::StreamOpened { id, name, priority: Priority::Normal }, Owned::StreamReadable(_)] => {
            assert_eq!(name, "name");
            *id
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(read_all(&mut raw.link, stream), (b"one two three".to_vec(), StreamRead::End));
}
