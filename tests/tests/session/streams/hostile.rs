//! What a peer may not do with streams, and what its mistakes cost.

use handclasp::{Limits, Priority, Reason, STREAM_REFUSED, StreamLimits, StreamRead};
use handclasp_sim::Owned;
use handclasp_sim::raw::{
    Raw, frame, stream_credit, stream_data, stream_open, stream_reset, stream_stop, varint,
};

use super::read_all;
use crate::support::{ended, raw, raw_config};

/// A raw peer whose link takes `max_open` streams of 1000 bytes each.
fn small(max_open: u32) -> Raw {
    let limits = StreamLimits { max_open, window: 1000, largest_window: 1000, ..StreamLimits::default() };
    Raw::dialling(&raw_config(|builder| builder.streams(limits)))
}

#[test]
fn m12_frames_of_streams_out_of_form_or_order_end_the_link() {
    let name = |len: u8, text: &[u8]| [&[3, len], text].concat();
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("OPEN without an id", vec![frame(0x28, 0, [])]),
        ("OPEN without a name", vec![frame(0x28, 0, [3])]),
        ("OPEN with a short name", vec![frame(0x28, 0, name(5, b"abc"))]),
        ("OPEN with a name that is no text", vec![frame(0x28, 0, name(1, b"\xff"))]),
        ("OPEN with a long varint", vec![frame(0x28, 0, b"\x40\x03\x00")]),
        ("OPEN with an unknown flag", vec![frame(0x28, 0x80, name(0, b""))]),
        ("OPEN with a lane", vec![frame(0x28, 3, name(0, b""))]),
        ("OPEN of the link's own id", vec![stream_open(2, b"")]),
        ("OPEN twice", vec![stream_open(3, b""), stream_open(3, b"")]),
        ("OPEN of an id that was passed over", vec![stream_open(11, b""), stream_open(3, b"")]),
        (
            "OPEN again once the stream is over",
            vec![stream_open(3, b""), stream_stop(3, 0), stream_reset(3, 0), stream_open(3, b"")],
        ),
        ("DATA without an id", vec![frame(0x29, 0, [])]),
        ("DATA without bytes or end", vec![stream_open(3, b""), stream_data(3, b"", false)]),
        ("DATA with a lane", vec![stream_open(3, b""), frame(0x29, 3, b"\x03x")]),
        ("DATA of a stream that is not open", vec![stream_data(3, b"x", false)]),
        ("DATA of one that was passed over", vec![stream_open(11, b""), stream_data(3, b"x", false)]),
        ("DATA of another priority", vec![stream_open(3, b""), stream_data(5, b"x", false)]),
        ("DATA of a stream that the link has not opened", vec![stream_data(2, b"x", false)]),
        (
            "DATA behind the end",
            vec![stream_open(3, b""), stream_data(3, b"x", true), stream_data(3, b"y", false)],
        ),
        (
            "the end behind the end",
            vec![stream_open(3, b""), stream_data(3, b"x", true), stream_data(3, b"", true)],
        ),
        ("DATA behind RESET", vec![stream_open(3, b""), stream_reset(3, 1), stream_data(3, b"y", false)]),
        ("RESET behind RESET", vec![stream_open(3, b""), stream_reset(3, 1), stream_reset(3, 1)]),
        ("RESET behind the end", vec![stream_open(3, b""), stream_data(3, b"", true), stream_reset(3, 1)]),
        ("RESET of a stream that is not open", vec![stream_reset(3, 1)]),
        ("RESET without a code", vec![stream_open(3, b""), frame(0x2a, 0, b"\x03\0\0\0")]),
        ("RESET with bytes behind", vec![stream_open(3, b""), frame(0x2a, 0, b"\x03\0\0\0\0\0")]),
        ("RESET with the end", vec![stream_open(3, b""), frame(0x2a, 0x20, b"\x03\0\0\0\0")]),
        ("CREDIT without an amount", vec![stream_open(3, b""), frame(0x2b, 0, [3])]),
        ("CREDIT with bytes behind", vec![stream_open(3, b""), frame(0x2b, 0, [3, 1, 1])]),
        ("CREDIT of a stream that is not open", vec![stream_credit(3, 1)]),
        ("CREDIT of a stream that the link has not opened", vec![stream_credit(2, 1)]),
        ("STOP without a code", vec![stream_open(3, b""), frame(0x2c, 0, b"\x03\0\0\0")]),
        ("STOP of a stream that is not open", vec![stream_stop(3, 1)]),
        ("STOP of a stream that the link has not opened", vec![stream_stop(2, 1)]),
        ("OPEN behind GOODBYE", vec![[frame(0x41, 0, [0; 4]), stream_open(3, b"")].concat()]),
    ];
    for (name, records) in cases {
        let config = raw_config(|builder| builder);
        let mut raw = Raw::dialling(&config);
        let (last, before) = records.split_last().expect("frames");
        for record in before {
            raw.send(record);
            assert!(ended(&raw).is_none(), "{name}: ended early, {:?}", ended(&raw));
        }
        raw.send(last);
        assert!(matches!(ended(&raw), Some(Reason::Violation(_))), "{name}: {:?}", ended(&raw));
        let close = raw.frames().pop().expect("a last word");
        assert_eq!((close.kind, &close.body[..2]), (0x42, &[0, 50][..]), "{name}");
    }
}

#[test]
fn m12_ids_of_an_initiators_link_are_the_other_way_round() {
    let config = raw_config(|builder| builder);
    let mut raw = Raw::dialled_by(&config);
    raw.send(&stream_open(2, b"x"));
    assert!(matches!(raw.events[..], [Owned::StreamOpened { .. }, Owned::StreamReadable(_)]));
    raw.send(&stream_open(3, b"x"));
    assert!(matches!(ended(&raw), Some(Reason::Violation(_))));
}

#[test]
fn m12_streams_that_were_not_agreed_on_are_a_violation() {
    let open = stream_open(3, b"");
    let without = Raw::dialling(&raw_config(|builder| builder.streams(StreamLimits::NONE)));
    let silent = Raw::dialling_as(&raw_config(|builder| builder), |hello| hello.streams = None);
    for mut raw in [without, silent] {
        raw.send(&open);
        assert!(matches!(ended(&raw), Some(Reason::Violation(_))), "{:?}", ended(&raw));
    }
}

#[test]
fn m12_bytes_beyond_the_window_end_the_link() {
    for (first, second) in [(1001, 0), (1000, 1), (600, 401)] {
        let mut raw = small(4);
        raw.send(&stream_open(3, &vec![1; first]));
        assert_eq!(ended(&raw).is_some(), first > 1000);
        if second > 0 {
            raw.send(&stream_data(3, &vec![1; second], false));
        }
        assert_eq!(ended(&raw), Some(&Reason::FlowControl), "{first} and {second}");
    }
    // What was read is given back; what was stopped or refused is not.
    let mut raw = small(1);
    raw.send(&[stream_open(3, &[1; 1000]), stream_open(11, &[1; 500])].concat());
    let Some(Owned::StreamOpened { id, .. }) = raw.events.first() else { panic!("{:?}", raw.events) };
    assert_eq!(read_all(&mut raw.link, *id).0.len(), 1000);
    raw.act();
    raw.send(&[stream_data(3, &[1; 1000], false), stream_data(11, &[1; 500], false)].concat());
    assert_eq!(ended(&raw), None);
    raw.send(&stream_data(11, &[1], false));
    assert_eq!(ended(&raw), Some(&Reason::FlowControl));
}

#[test]
fn m12_credit_without_end_ends_the_link() {
    let mut raw = raw();
    raw.send(&stream_open(3, b""));
    let most = u64::from(u32::MAX) - (16 << 10);
    raw.send(&stream_credit(3, most));
    raw.send(&stream_credit(3, 0));
    assert_eq!(ended(&raw), None);
    raw.send(&stream_credit(3, 1));
    assert_eq!(ended(&raw), Some(&Reason::FlowControl));
    let mut raw = crate::support::raw();
    raw.send(&stream_open(3, b""));
    raw.send(&stream_credit(3, (1 << 62) - 1));
    assert_eq!(ended(&raw), Some(&Reason::FlowControl));
}

#[test]
fn m12_a_stream_too_many_is_refused_and_the_link_lives() {
    let mut raw = small(3);
    for number in 0..3 {
        raw.send(&stream_open(3 + 8 * number, b"x"));
    }
    raw.events.clear();
    raw.send(&[stream_open(27, &[9; 100]), stream_data(27, &[9; 100], false)].concat());
    assert!(raw.events.is_empty(), "the application hears nothing: {:?}", raw.events);
    let refusal = [&varint(27)[..], &STREAM_REFUSED.to_be_bytes()].concat();
    let kinds: Vec<_> = raw.frames().into_iter().map(|frame| (frame.kind, frame.body)).collect();
    assert_eq!(kinds, [(0x2c, refusal.clone()), (0x2a, refusal)]);
    // Until the peer has ended its direction it is there, and then it is not.
    raw.send(&stream_data(27, b"still under way", false));
    raw.send(&stream_reset(27, STREAM_REFUSED));
    raw.send(&[stream_credit(27, 10), stream_stop(27, 0)].concat());
    assert_eq!((ended(&raw), raw.link.streams_open()), (None, (0, 3)));
    // One of another priority is refused as well, with its end in its first frame.
    raw.send(&frame(0x28, 0x20, [5, 0]));
    assert_eq!(raw.frames().iter().map(|frame| frame.kind).collect::<Vec<_>>(), [0x2a]);
    // Room again for one, once an open one is over on both sides and was read.
    raw.send(&stream_data(3, b"", true));
    raw.send(&stream_stop(3, 0));
    raw.send(&stream_open(35, b""));
    assert!(
        raw.events.iter().all(|event| !matches!(event, Owned::StreamOpened { .. })),
        "nobody has read it"
    );
    let stream = raw.events.iter().find_map(|event| match event {
        Owned::StreamStopped { id, .. } => Some(*id),
        _ => None,
    });
    assert_eq!(read_all(&mut raw.link, stream.expect("told")), (b"x".to_vec(), StreamRead::End));
    raw.send(&stream_open(43, b""));
    assert!(matches!(raw.events.last(), Some(Owned::StreamOpened { id, .. }) if id.get() == 43));
    assert_eq!(ended(&raw), None);
}

#[test]
fn m12_a_flood_of_streams_that_are_refused_ends_the_link() {
    let mut raw = small(10);
    for number in 0..20 {
        raw.send(&stream_open(3 + 8 * number, b""));
        assert_eq!(ended(&raw), None, "{number}");
    }
    raw.send(&stream_open(3 + 8 * 20, b""));
    assert_eq!(ended(&raw), Some(&Reason::Flood));
    // One that answers each refusal may go on.
    let mut raw = small(10);
    for number in 0..1000 {
        raw.send(&stream_open(3 + 8 * number, b""));
        if number >= 10 {
            raw.send(&stream_reset(3 + 8 * number, STREAM_REFUSED));
        }
    }
    assert_eq!((ended(&raw), raw.link.streams_open()), (None, (0, 10)));
    assert_eq!(raw.frames().iter().filter(|frame| frame.kind == 0x2a).count(), 990);
}

#[test]
fn m12_a_peer_that_reads_no_words_does_not_make_them_pile_up() {
    // Its own streams, opened and reset at once, over and over, while this side's bytes do not leave.
    let mut raw = small(10);
    raw.ready.write = false;
    let mut rounds = 0;
    while ended(&raw).is_none() {
        let id = 3 + 8 * rounds;
        raw.send(&[stream_open(id, b"x"), stream_reset(id, 1)].concat());
        rounds += 1;
    }
    assert_eq!((rounds, ended(&raw)), (21, Some(&Reason::Flood)));
}

#[test]
fn m12_streams_that_are_opened_and_reset_at_once_count_until_their_owner_has_looked() {
    let mut raw = small(10);
    raw.ready.events = false;
    for number in 0..100 {
        let id = 3 + 8 * number;
        raw.send(&[stream_open(id, b"x"), stream_reset(id, 1), stream_stop(id, 1)].concat());
        assert_eq!(ended(&raw), None, "{number}");
        assert!(raw.link.streams_open().1 <= 10);
    }
    raw.ready.events = true;
    raw.act();
    let opened = raw.events.iter().filter(|event| matches!(event, Owned::StreamOpened { .. })).count();
    assert_eq!((opened, raw.events.len()), (10, 30), "opened, reset, stopped: {:?}", raw.events);
}

#[test]
fn m12_words_for_a_direction_that_is_over_do_nothing() {
    let mut raw = raw();
    let stream = raw.link.open_stream("", Priority::Normal).expect("taken");
    raw.link.stream_finish(stream);
    raw.act();
    for _ in 0..3 {
        raw.send(&[stream_credit(stream.get(), 1 << 61), stream_stop(stream.get(), 3)].concat());
    }
    assert_eq!(ended(&raw), None);
    assert!(raw.events.is_empty(), "{:?}", raw.events);
    // The same once it is forgotten.
    raw.send(&stream_data(stream.get(), b"", true));
    assert_eq!(raw.link.stream_read(stream, &mut [0]), StreamRead::End);
    assert_eq!(raw.link.streams_open(), (0, 0));
    raw.send(&[stream_credit(stream.get(), 1 << 61), stream_stop(stream.get(), 3)].concat());
    assert_eq!(ended(&raw), None);
    raw.send(&stream_data(stream.get(), b"x", false));
    assert!(matches!(ended(&raw), Some(Reason::Violation(_))));
}

#[test]
fn m12_a_stop_is_answered_with_a_reset_and_told() {
    let mut raw = raw();
    let stream = raw.link.open_stream("", Priority::Normal).expect("taken");
    raw.act();
    raw.frames();
    raw.link.stream_write(stream, b"never sent");
    raw.ready.write = false;
    raw.send(&[stream_stop(stream.get(), 7), stream_stop(stream.get(), 8)].concat());
    raw.ready.write = true;
    raw.act();
    assert!(
        matches!(raw.events[..], [Owned::StreamStopped { id, code: 7 }] if id == stream),
        "{:?}",
        raw.events
    );
    assert_eq!(raw.link.stream_write(stream, b"x"), 0);
    let frames = raw.frames();
    let body = [&varint(stream.get())[..], &7_u32.to_be_bytes()].concat();
    assert_eq!(frames.iter().map(|frame| (frame.kind, &frame.body)).collect::<Vec<_>>(), [(0x2a, &body)]);
    // The other direction goes on.
    raw.send(&stream_data(stream.get(), b"answer", true));
    assert_eq!(read_all(&mut raw.link, stream), (b"answer".to_vec(), StreamRead::End));
    assert_eq!((ended(&raw), raw.link.streams_open()), (None, (0, 0)));
}

#[test]
fn m12_words_about_streams_fit_the_smallest_record_beside_all_else() {
    let limits = Limits { max_record: 4096, ..Limits::default() };
    let mut raw = Raw::dialling(&raw_config(|builder| builder.limits(limits)));
    raw.ready.write = false;
    for number in 0..1000 {
        raw.send(&stream_open(3 + 8 * number, b"x"));
    }
    let streams: Vec<_> = raw
        .events
        .iter()
        .filter_map(|event| if let Owned::StreamOpened { id, .. } = event { Some(*id) } else { None })
        .collect();
    assert_eq!(streams.len(), 1000);
    for stream in streams {
        raw.link.stream_stop(stream, 1);
        raw.link.stream_reset(stream, 2);
    }
    raw.ready.write = true;
    raw.act();
    // `records` holds each to its limit.
    let records = raw.records();
    let count = |kind| records.iter().flatten().filter(|frame| frame.kind == kind).count();
    assert_eq!((count(0x2c), count(0x2a)), (1000, 1000));
    assert!(records.iter().all(|frames| frames.len() <= 128), "room is left for messages");
}
