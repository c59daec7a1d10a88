//! M9: whatever an authenticated peer sends, the link passes over it or ends for the right reason and says so.

use handclasp::{By, Limits, Message, Padding, Payload, Phase, Ready, Reason, ServiceError};
use handclasp_sim::raw::{Raw, call, credit, frame, read_varint, reply, send, varint};
use handclasp_sim::{Owned, Side};

use crate::support::{SIDES, asked, ended, pair_with, raw, raw_config, raw_with, secs, smallest};

/// Sends `records` to a fresh link; its end, and the reason that its CLOSE gave.
fn end_of(mut raw: Raw, records: &[Vec<u8>]) -> (Option<Reason>, Option<u16>) {
    for record in records {
        raw.send(record);
    }
    let by = raw.link.closed().map(|closed| closed.by);
    assert!(by.is_none_or(|by| by == By::Local), "ended by {by:?}");
    if by.is_some() {
        assert!(matches!(raw.events.last(), Some(Owned::Closed(_))), "no end was told: {:?}", raw.events);
        assert!(raw.link.is_finished());
    }
    let frames = raw.frames();
    let close = frames.last().filter(|frame| frame.kind == 0x42);
    let code = close.map(|frame| u16::from_be_bytes([frame.body[0], frame.body[1]]));
    (ended(&raw).cloned(), code)
}

fn assert_violation(name: &str, records: &[Vec<u8>]) {
    let config = raw_config(|builder| builder);
    for raw in [Raw::dialling(&config), Raw::dialled_by(&config)] {
        match end_of(raw, records) {
            (Some(Reason::Violation(violation)), Some(50)) => {
                assert_eq!(violation.phase, Phase::Established, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn assert_passes(name: &str, records: &[Vec<u8>]) {
    assert_eq!(end_of(raw(), records), (None, None), "{name}");
}

/// The first frame of a message cut in pieces.
fn begin(kind: u8, lane: u8, total: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if kind != 0x10 {
        out.extend(varint(1));
    }
    if kind == 0x11 {
        out.extend(varint(5000));
    }
    out.extend(varint(total));
    if kind != 0x12 {
        out.extend(b"\x01s");
    }
    out.extend_from_slice(body);
    frame(kind, 0x80 | lane, out)
}

fn data(flags: u8, body: &[u8]) -> Vec<u8> {
    frame(0x15, flags, body)
}

const MORE: u8 = 0x80;
const ABANDON: u8 = 0x40;

#[test]
fn m9_frames_out_of_form_are_violations() {
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("half a header", vec![0x30, 0, 0]),
        ("a body longer than its record", vec![0x30, 0, 0, 8, 1]),
        ("an unknown frame", frame(0x7f, 0, [])),
        ("ALIVE_REPLY, which nobody asked for", frame(0x02, 0, [0])),
        ("ALIVE_REPLY of another form", frame(0x02, 0, [2])),
        ("an unknown frame beside those of streams", frame(0x2d, 0, [])),
        ("ADVERT_ACK without an advert", frame(0x39, 0, [0; 8])),
        ("a short ADVERT_ACK", frame(0x39, 0, [0; 7])),
        ("ADVERT twice", [frame(0x38, 0, [1]), frame(0x38, 0, [1])].concat()),
        ("PERMANENCE of another form", frame(0x3a, 0, [2])),
        ("a long PERMANENCE", frame(0x3a, 0, [1, 1])),
        ("an empty PERMANENCE", frame(0x3a, 0, [])),
        ("READY of a side that holds nothing", frame(0x3b, 0, [])),
        ("SEND without a service", frame(0x10, 3, [])),
        ("SEND with a short service", frame(0x10, 3, b"\x05abc")),
        ("SEND with a service that is no text", frame(0x10, 3, b"\x02\xff\xfe")),
        ("SEND in the control lane", frame(0x10, 0, b"\x01s")),
        ("SEND in the reply lane", frame(0x10, 1, b"\x01s")),
        ("SEND in lane 6", frame(0x10, 6, b"\x01s")),
        ("SEND in lane 7", frame(0x10, 7, b"\x01s")),
        ("SEND with ABANDON", frame(0x10, 3 | ABANDON, b"\x01s")),
        ("SEND with an unknown flag", frame(0x10, 3 | 0x20, b"\x01s")),
        ("CALL with the flag of an unordered SEND", frame(0x11, 3 | 0x08, b"\x01\x05\x01s")),
        ("SEND with MORE and no total", frame(0x10, 3 | MORE, [])),
        ("SEND with MORE and nothing to come", begin(0x10, 3, 4, b"four")),
        ("SEND with a total below its body", begin(0x10, 3, 2, b"four")),
        ("SEND with a long varint", frame(0x10, 3 | MORE, b"\x40\x05\x01sabc")),
        ("CALL without an id", frame(0x11, 3, [])),
        ("CALL with id 0", call(0, 5000, "s", b"")),
        ("CALL with a long varint", frame(0x11, 3, b"\x40\x01\x05\x01s")),
        ("CALL in the reply lane", frame(0x11, 1, b"\x01\x05\x01s")),
        ("CALL without a timeout", frame(0x11, 3, b"\x01")),
        ("CALL without a service", frame(0x11, 3, b"\x01\x05")),
        ("REPLY without an id", frame(0x12, 1, [])),
        ("REPLY with id 0", reply(0, b"")),
        ("REPLY in the control lane", frame(0x12, 0, b"\x01")),
        ("REPLY with an unknown flag", frame(0x12, 0x21, b"\x01")),
        ("ERROR with id 0", frame(0x13, 1, b"\0\0\x01")),
        ("ERROR without a code", frame(0x13, 1, b"\x01\0")),
        ("ERROR with MORE", frame(0x13, 1 | MORE, b"\x01\0\x01")),
        ("ERROR in the control lane", frame(0x13, 0, b"\x01\0\x01")),
        ("ERROR too_large without its limit", frame(0x13, 1, b"\x01\0\x07")),
        ("ERROR application without its code", frame(0x13, 1, b"\x01\0\x08\0")),
        ("CANCEL with id 0", frame(0x14, 0, b"\0")),
        ("CANCEL in a message lane", frame(0x14, 3, b"\x01")),
        ("CANCEL with bytes behind", frame(0x14, 0, b"\x01\x01")),
        ("DATA in the control lane", data(0, b"x")),
        ("DATA without a message", data(3, b"x")),
        ("DATA without a message, MORE", data(3 | MORE, b"x")),
        ("ABANDON without a message", data(3 | ABANDON, b"")),
        ("CREDIT without an amount", frame(0x20, 0, b"\0")),
        ("CREDIT for a third budget", credit(2, 0)),
        ("CREDIT with a lane", frame(0x20, 1, b"\0\0")),
        ("CREDIT with bytes behind", frame(0x20, 0, b"\0\0\0")),
        ("PING with 7 bytes", frame(0x30, 0, [0; 7])),
        ("PING with 9 bytes", frame(0x30, 0, [0; 9])),
        ("PONG with 7 bytes", frame(0x31, 0, [0; 7])),
        ("PING with flags", frame(0x30, 1, [0; 8])),
        ("PAD with flags", frame(0x00, 0x20, [0; 8])),
        ("REKEY without a request", frame(0x40, 0, [])),
        ("REKEY with request 2", frame(0x40, 0, [2])),
        ("REKEY with bytes behind", frame(0x40, 0, [0, 0])),
        ("REKEY not last", [frame(0x40, 0, [0]), frame(0x30, 0, [0; 8])].concat()),
        ("GOODBYE with 3 bytes", frame(0x41, 0, [0; 3])),
        ("GOODBYE with text over 255 bytes", frame(0x41, 0, [b'a'; 4 + 256])),
        ("GOODBYE with no text", frame(0x41, 0, b"\0\0\0\0\xff")),
        ("CLOSE without a reason", frame(0x42, 0, [])),
        ("CLOSE with an unknown reason", frame(0x42, 0, [0, 99])),
        ("CLOSE with a reason that is never sent", frame(0x42, 0, [0, 10])),
        ("CLOSE not last", [frame(0x42, 0, [0, 5]), frame(0x00, 0, [])].concat()),
        ("STATUS a second time", frame(0x01, 0, [0; 35])),
        ("a good frame and a bad one behind it", [send("s", b"x"), frame(0x7f, 0, [])].concat()),
    ];
    for (name, record) in cases {
        assert_violation(name, &[record]);
    }
    assert_violation("an empty record", &[Vec::new()]);
}

#[test]
fn m9_messages_that_do_not_add_up_are_violations() {
    for kind in [0x10, 0x11, 0x12] {
        let first = || begin(kind, 3, 6, b"ab");
        let name = |what: &str| format!("{kind:#x}: {what}");
        assert_violation(&name("a message inside a message"), &[[first(), send("s", b"")].concat()]);
        assert_violation(&name("the same over two records"), &[first(), begin(0x10, 3, 9, b"z")]);
        assert_violation(&name("an ERROR inside"), &[first(), frame(0x13, 3, b"\x01\0\x01")]);
        assert_violation(&name("the last piece too long"), &[first(), data(3, b"cdefg")]);
        assert_violation(&name("the last piece too short"), &[first(), data(3, b"cde")]);
        assert_violation(&name("whole, but MORE"), &[first(), data(3 | MORE, b"cdef")]);
        assert_violation(&name("too long with MORE"), &[first(), data(3 | MORE, b"cdefg")]);
        assert_violation(&name("an empty piece"), &[first(), data(3 | MORE, b"")]);
        assert_violation(&name("ABANDON with a body"), &[first(), data(3 | ABANDON, b"c")]);
        assert_violation(&name("ABANDON with MORE"), &[first(), data(3 | ABANDON | MORE, b"")]);
        assert_violation(&name("a piece in another lane"), &[first(), data(4, b"cdef")]);
        assert_violation(
            &name("a piece behind ABANDON"),
            &[first(), data(3 | ABANDON, b""), data(3, b"cdef")],
        );
        assert_violation(&name("a piece behind the end"), &[first(), data(3, b"cdef"), data(3, b"g")]);
        assert_passes(
            &name("another lane's message between"),
            &[
                first(),
                frame(0x10, 5, b"\x01s"),
                data(3 | MORE, b"cde"),
                frame(0x10, 2, b"\x01s"),
                data(3, b"f"),
            ],
        );
    }
}

#[test]
fn m9_what_a_later_version_may_send_is_passed_over() {
    for (name, record) in [
        ("unknown, skippable", frame(0xff, 0, b"whatever")),
        ("unknown, skippable, with flags", frame(0x80, 0xff, [])),
        ("padding", frame(0x00, 0, [7; 3000])),
        ("CANCEL of nothing", frame(0x14, 0, varint(77))),
        ("an unknown error code", frame(0x13, 1, b"\x01\x03\xe8detail")),
        ("no credit", credit(0, 0)),
    ] {
        assert_passes(name, &[record.clone(), [record, send("s", b"x")].concat()]);
    }
}

#[test]
fn m9_an_abandoned_message_is_never_heard_of_and_its_credit_returns() {
    let mut raw = raw_with(smallest(4));
    // Three times the window, if it were not given back.
    for _ in 0..4 {
        raw.send(&begin(0x11, 3, 1024, b"ab"));
        raw.send(&data(3 | ABANDON, b""));
    }
    assert_eq!(ended(&raw), None);
    assert!(raw.events.is_empty(), "{:?}", raw.events);
    assert_eq!(raw.link.calls_in_flight(), (0, 0));
}

#[test]
fn m9_a_call_with_an_id_in_flight_is_a_violation() {
    assert_violation("the same id twice", &[call(3, 5000, "s", b""), call(3, 5000, "s", b"")]);
    assert_violation(
        "also in another order",
        &[call(9, 5000, "s", b""), call(3, 5000, "s", b""), call(9, 1, "s", b"")],
    );
    // Once the first is cancelled, the id is free.
    let cancel = frame(0x14, 0, varint(3));
    assert_passes("free again", &[call(3, 5000, "s", b""), cancel, call(3, 5000, "s", b"")]);
}

#[test]
fn m9_credit_is_enforced_on_the_peer() {
    let spent = |record: &[u8], times: usize| {
        let mut raw = raw_with(smallest(100));
        // An application that takes nothing gives no credit back.
        raw.ready = Ready::WRITE;
        for _ in 0..times {
            raw.send(record);
        }
        assert_eq!(ended(&raw), None, "{times} times");
        raw.send(record);
        assert_eq!(ended(&raw), Some(&Reason::FlowControl));
    };
    // 1343 bytes: twenty empty messages with a name of one byte are 1300, thirteen with 37 bytes 1326.
    spent(&send("s", b""), 20);
    spent(&send("s", &[0; 37]), 13);
    let mut raw = raw_with(smallest(100));
    raw.ready = Ready::WRITE;
    raw.send(&send("s", &[0; 1024]));
    raw.send(&send("", &[0; 127]));
    assert_eq!(ended(&raw), None);
    raw.send(&send("", b""));
    assert_eq!(ended(&raw), Some(&Reason::FlowControl));
    // A message is charged whole with its first frame.
    let (name, messages) = ("s", [begin(0x10, 3, 1000, b"a"), begin(0x10, 4, 1000, b"a")]);
    let end = end_of(raw_with(smallest(4)), &messages);
    assert_eq!(end, (Some(Reason::FlowControl), Some(53)), "{name}");
}

/// Answers have a window of their own, whole ones and errors alike, whatever calls they are for.
#[test]
fn m9_answers_beyond_their_window_end_the_link() {
    let error = |id: u64, detail: usize| {
        let detail = [&8_u16.to_be_bytes()[..], &7_u32.to_be_bytes(), &vec![0; detail]].concat();
        frame(0x13, 1, [&varint(id)[..], &detail].concat())
    };
    // 1343 bytes: with 64 for each answer, and 4 for an error's code, 900 and 307 bytes of detail fill them up.
    for (first, second, fits) in [
        (error(1, 900), error(2, 307), true),
        (error(1, 900), error(2, 308), false),
        (reply(1, &[0; 904]), error(2, 308), false),
        (error(1, 900), reply(2, &[0; 311]), true),
        (error(1, 900), reply(2, &[0; 312]), false),
    ] {
        let mut raw = raw_with(smallest(100));
        for _ in 0..2 {
            let now = raw.now;
            raw.link.call(Message::new("s", b""), secs(5), now).expect("taken");
        }
        raw.act();
        // An application that takes nothing gives no credit back.
        raw.ready = Ready::WRITE;
        raw.send(&first);
        assert_eq!(ended(&raw), None);
        raw.send(&second);
        assert_eq!(ended(&raw), (!fits).then_some(&Reason::FlowControl));
    }
}

#[test]
fn m9_credit_beyond_the_window_ends_the_link() {
    for budget in [0, 1] {
        for bytes in [1, 4 << 20, (1 << 62) - 1] {
            assert_eq!(end_of(raw(), &[credit(budget, bytes)]), (Some(Reason::FlowControl), Some(53)));
        }
    }
    // What was used may be given back, and not a byte more.
    for (extra, expected) in [(0, None), (1, Some(Reason::FlowControl))] {
        let mut raw = raw();
        raw.link.send(Message::new("abc", b"defgh")).expect("taken");
        raw.act();
        raw.send(&credit(0, 3 + 5 + 64 + extra));
        assert_eq!(ended(&raw), expected.as_ref());
    }
}

#[test]
fn m9_lengths_over_the_limits_end_the_link() {
    let limits = Limits { max_message: 5000, window: 60_000, ..smallest(4) };
    let too_large = (Some(Reason::TooLarge), Some(52));
    for kind in [0x10, 0x11, 0x12] {
        for total in [5001, u64::from(u32::MAX), u64::from(u32::MAX) + 1, (1 << 62) - 1] {
            assert_eq!(end_of(raw_with(limits), &[begin(kind, 3, total, b"x")]), too_large, "{total}");
        }
    }
    assert_eq!(end_of(raw_with(limits), &[begin(0x10, 3, 5000, b"x")]), (None, None));
    // Without a total the frame itself says the length.
    let limits = Limits { max_record: 9000, ..limits };
    assert_eq!(end_of(raw_with(limits), &[send("s", &[0; 5001])]), too_large);
    assert_eq!(end_of(raw_with(limits), &[send("s", &[0; 5000])]), (None, None));
    let detail = |length: usize| frame(0x13, 1, [&b"\x01\0\x08\0\0\0\0"[..], &vec![0; length]].concat());
    assert_eq!(end_of(raw_with(limits), &[detail(901)]), too_large);
    assert_eq!(end_of(raw_with(limits), &[detail(900)]), (None, None));
}

#[test]
fn m9_a_record_over_the_limit_ends_the_link_by_its_length_alone() {
    let mut at_limit = raw_with(smallest(4));
    at_limit.send(&frame(0, 0, vec![0; 4096 - 4]));
    assert_eq!(ended(&at_limit), None);
    let mut over = raw_with(smallest(4));
    // Two bytes are enough: nothing is waited for, nothing set aside.
    over.feed(&(4096_u16 + 16 + 1).to_be_bytes());
    assert_eq!(ended(&over), Some(&Reason::TooLarge));
    for length in 0..=16_u16 {
        let mut short = raw();
        short.feed(&length.to_be_bytes());
        assert!(matches!(ended(&short), Some(Reason::Violation(_))), "{length}: {:?}", ended(&short));
    }
}

#[test]
fn m9_frames_behind_close_are_not_heard() {
    for reason in [&[0, 1, 0, 0, 0, 0][..], &[0, 5]] {
        let mut raw = raw();
        raw.send(&frame(0x42, 0, reason));
        raw.send(&send("s", b"late"));
        raw.send(&frame(0x42, 0, reason));
        let heard = raw.events.iter().any(|event| matches!(event, Owned::Message { .. }));
        assert!(!heard && raw.link.is_finished(), "{:?}", raw.events);
    }
    // While the link still drains, they are a violation.
    let mut raw = raw();
    raw.send(&call(1, 4000, "s", b""));
    let goodbye = frame(0x41, 0, [0; 4]);
    raw.send(&[goodbye, frame(0x42, 0, [0, 1, 0, 0, 0, 0])].concat());
    raw.send(&frame(0x30, 0, [0; 8]));
    raw.pass(secs(10));
    assert!(raw.link.is_finished());
    assert!(!raw.frames().iter().any(|frame| frame.kind == 0x31), "a PING behind CLOSE was answered");
}

#[test]
fn m9_new_work_or_another_goodbye_behind_a_goodbye_is_a_violation() {
    let goodbye = || frame(0x41, 0, [0; 4]);
    for late in [send("s", b""), call(2, 5000, "s", b""), begin(0x10, 2, 9, b""), goodbye()] {
        for one_record in [true, false] {
            let mut raw = raw();
            raw.send(&call(1, 4000, "s", b""));
            if one_record {
                raw.send(&[goodbye(), late.clone()].concat());
            } else {
                raw.send(&goodbye());
                raw.send(&late);
            }
            assert!(matches!(ended(&raw), Some(Reason::Violation(_))), "{late:?}: {:?}", raw.events);
            assert_eq!(raw.frames().last().map(|frame| frame.kind), Some(0x42));
            let heard = raw.events.iter().filter(|event| match event {
                Owned::Message { .. } => true,
                Owned::Call { token, .. } => token.call() != 0,
                _ => false,
            });
            assert_eq!(heard.count(), 0, "new work behind GOODBYE was delivered");
        }
    }
}

#[test]
fn m9_calls_over_the_limit_are_answered_overloaded_until_that_is_a_flood() {
    let mut raw = raw_with(smallest(4));
    let mut overloaded = 0;
    for id in 1..=1000 {
        raw.send(&call(id, 60_000, "s", b""));
        for answer in raw.frames() {
            if answer.kind == 0x13 {
                let (answered, detail) = read_varint(&answer.body);
                assert!(answered > 4 && detail == [0, 4], "{answer:?}");
                overloaded += 1;
            }
        }
        if raw.link.closed().is_some() {
            break;
        }
    }
    // The peer gives no credit for the answers: 1343 bytes are 20 errors, and twice the calls in flight may wait.
    assert_eq!(ended(&raw), Some(&Reason::Flood));
    assert_eq!(overloaded, 20);
    assert!(raw.events.iter().filter(|event| matches!(event, Owned::Call { .. })).count() == 4);
}

/// Calls that are answered at once, by a peer that takes no answers.
fn flood(answer: impl Fn() -> Result<Payload<'static>, ServiceError>) {
    let mut raw = raw_with(smallest(4));
    for id in 1..=2000 {
        if raw.link.closed().is_some() {
            break;
        }
        raw.send(&call(id, 60_000, "s", b""));
        for event in std::mem::take(&mut raw.events) {
            if let Owned::Call { token, .. } = event {
                // An answer that is not taken leaves the call in flight, which is bounded too.
                drop(raw.link.reply(token, answer()));
            }
        }
        raw.act();
    }
    assert_eq!(ended(&raw), Some(&Reason::Flood), "{} bytes are queued", raw.link.queued());
}

#[test]
fn m9_a_flood_of_calls_whose_errors_are_not_taken_ends_the_link() {
    flood(|| Err(ServiceError::NoSuchService));
}

#[test]
fn m9_a_flood_of_calls_whose_answers_are_not_taken_ends_the_link() {
    flood(|| Ok(Payload::from(b"")));
}

/// Calls that are given up leave words for their owner. One that takes calls and no words is not given ever more.
#[test]
fn m9_calls_given_up_before_an_owner_that_is_not_told_are_bounded() {
    let mut raw = raw_with(Limits { max_calls: 3, ..Limits::default() });
    let calls = |raw: &Raw| raw.events.iter().filter(|event| matches!(event, Owned::Call { .. })).count();
    // As many as there may be are given up in one record, and the next ones begin in it.
    let cancels = [1, 2, 3].map(|id| frame(0x14, 0, [id])).concat();
    let begun = [1, 2, 3].map(|id| call(id, 5000, "s", b"")).concat();
    for (takes_events, given) in [(true, 60), (false, 60), (true, 120)] {
        raw.ready = Ready { events: takes_events, ..Ready::ALL };
        for _ in 0..20 {
            raw.send(&[&cancels[..], &begun].concat());
            raw.act();
        }
        assert_eq!((calls(&raw), ended(&raw)), (given, None), "takes events: {takes_events}");
    }
}

#[test]
fn m9_pings_are_answered_once_a_record_however_many_come() {
    let mut raw = raw();
    let ping = |nonce: u64| frame(0x30, 0, nonce.to_be_bytes());
    raw.ready.write = false;
    for nonce in 0..1000 {
        raw.send(&ping(nonce));
    }
    raw.ready.write = true;
    raw.act();
    let pongs: Vec<_> = raw.frames().into_iter().filter(|frame| frame.kind == 0x31).collect();
    assert_eq!(pongs.len(), 1);
    assert_eq!(pongs[0].body, 999_u64.to_be_bytes());
}

/// A call given up and the end of a drain in one record, under padding that fills it: the peer finds nothing to object to.
#[test]
fn m9_padding_with_cancel_and_close_keeps_to_a_record() {
    for (record, block) in [(4096, 4096), (16_640, 16_640), (65_519, 65_519), (16_640, u16::MAX)] {
        let limits = Limits { max_record: record, ..Limits::default() };
        let mut pair = pair_with(|builder| builder.limits(limits).padding(Padding::Block(block)));
        let (call, _token) = asked(&mut pair, Side::Initiator, secs(5));
        let now = pair.now;
        pair.responder.link.goodbye(0, &"bye".repeat(80), now);
        pair.run();
        let before = pair.initiator.link.stats().records_sealed;
        pair.initiator.link.cancel(call, now);
        pair.run();
        assert_eq!(pair.initiator.link.stats().records_sealed, before + 1, "one record says it all");
        for side in SIDES {
            let closed = pair.closed(side);
            assert_eq!(
                (closed.reason.name(), closed.untaken),
                ("goodbye", 0),
                "{side:?}, records of {record}"
            );
        }
    }
}
