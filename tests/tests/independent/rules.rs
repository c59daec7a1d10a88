//! The document's smaller rules: order of checks, what is tolerated, what ends a link and what goes out then.

use std::time::Duration;

use handclasp::{By, Message, Reason, Refusal};
use handclasp_sim::{Owned, id};

use crate::peer::bytes::{Frame, MORE, kind, lengthy};
use crate::peer::hello::Coded;
use crate::peer::{Got, Over, Setup};
use crate::world::{World, config, setup};

const ROLES: [bool; 2] = [true, false];

fn start(link_dials: bool, setup: Setup) -> World {
    World::new(link_dials, &config(false).build().unwrap(), setup)
}

/// What the link makes of these frames in one record: `None` if it lives.
fn code_after(frames: &[Frame]) -> Option<u16> {
    let mut world = World::usual(true);
    world.peer.put(frames);
    world.run();
    let code = world.link.closed().map(|closed| closed.reason.code());
    let said = world.peer.got.iter().find_map(|got| match got {
        Got::Close(reason) => Some(reason.code),
        _ => None,
    });
    assert_eq!(code, said, "both sides learn the reason: {frames:?}");
    code
}

#[test]
fn h6_a_claimed_id_learns_nothing_of_the_trust_list() {
    let destination = vec![(7, id(5).as_bytes().to_vec())];
    let mut answers = Vec::new();
    for identity in [[2; 32], [3; 32]] {
        let mut other = setup(false);
        other.identity = identity;
        other.hello.others.clone_from(&destination);
        other.tamper = Some(|auth| *auth.last_mut().unwrap() ^= 1);
        let mut world = start(false, other);
        world.run();
        answers.push(world.peer.over);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], Some(Over::Refused(Coded::new(27, &[]))));
}

#[test]
fn h3_a_responders_destination_and_the_suites_it_names_beyond_are_not_looked_at() {
    for role in ROLES {
        let mut other = setup(false);
        other.offered = 0xffff;
        other.hello.suites = 0xffff;
        if role {
            other.hello.others = vec![(7, id(5).as_bytes().to_vec())];
        }
        World::open(role, &config(false).build().unwrap(), other);
    }
}

#[test]
fn k1_an_id_that_is_no_point_of_prime_order_is_denied() {
    let mut other = setup(false);
    other.tamper = Some(|auth| {
        let place = auth.len() - 96;
        auth[place..place + 32].fill(0);
    });
    let anyone =
        handclasp_sim::builder(1, &[]).trust(handclasp::Trust::Anyone).network(crate::world::NETWORK);
    let mut world = World::new(false, &anyone.build().unwrap(), other);
    world.run();
    assert_eq!(world.peer.over, Some(Over::Refused(Coded::new(22, &[]))));
    assert_eq!(world.closed().reason, Reason::BadSignature);
}

#[test]
fn h8_a_first_record_of_another_kind_or_with_another_reason_is_a_violation_without_a_word() {
    let edits: [fn(&mut Vec<u8>); 5] = [
        |auth| auth[0] = 3,
        |auth| auth.clear(),
        |auth| *auth = vec![2, 0, 50],
        |auth| *auth = vec![2, 3, 0xe7],
        |auth| *auth = vec![2, 0, 20, 0],
    ];
    for role in ROLES {
        for edit in edits {
            let mut world = start(role, Setup { tamper: Some(edit), stubborn: true, ..setup(false) });
            world.run();
            assert_eq!(world.closed().reason.code(), 50);
            assert_eq!((world.peer.over.clone(), world.ended), (None, true));
        }
    }
}

#[test]
fn k1_an_auth_record_that_does_not_open_ends_the_handshake_without_a_word() {
    for role in ROLES {
        let mut world = start(role, setup(false));
        if role {
            world.poll();
        } else {
            let bytes = world.peer.take();
            world.give(&bytes);
        }
        *world.peer.output.last_mut().unwrap() ^= 1;
        world.run();
        assert_eq!(world.closed().reason, Reason::DecryptFailed);
        assert_eq!(world.peer.over, None);
    }
}

#[test]
fn k1_a_point_of_small_order_exchanges_no_keys() {
    for role in ROLES {
        let mut world = start(role, setup(false));
        if role {
            world.poll();
            world.peer.output[2..34].fill(0);
        } else {
            world.peer.output[10..42].fill(0);
        }
        world.run();
        assert_eq!(world.closed().reason, Reason::KeyExchangeFailed);
        assert!(matches!(world.peer.over, Some(Over::Cleartext(4, 0)) | None), "{:?}", world.peer.over);
    }
}

#[test]
fn h6_status_refuses_with_what_is_a_refusal_only() {
    let cases: [(&[u8], u16); 9] = [
        (&[2, 0, 22], 22),
        (&[2, 0, 24, 9, 9, 9], 24),
        (&[2, 0, 20, 0, 0, 0, 5], 20),
        (&[2, 0, 45], 45),
        (&[2, 3, 0xe7], 50),
        (&[2], 50),
        (&[1, 0], 50),
        (&[], 50),
        (&[0; 35], 50),
    ];
    for (body, code) in cases {
        let mut world = start(true, Setup { stubborn: true, ..setup(false) });
        world.poll();
        let bytes = world.peer.take();
        world.give(&bytes);
        world.poll();
        // STATUS is ready and not given out: another one in its place.
        world.peer.output.clear();
        world.peer.send_reset();
        world.peer.put(&[Frame::new(kind::STATUS, 0, body)]);
        world.run();
        assert_eq!(world.closed().reason.code(), code, "{body:?}");
        assert!(world.peer.records.is_empty(), "a word where none is due");
    }
}

#[test]
fn h6_cleartext_refusals_count_until_the_first_traffic_record() {
    // In each state of an initiator, and in those of a responder behind the preamble.
    for (role, rounds) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        let mut world = start(role, setup(false));
        if role {
            world.poll();
            if rounds == 1 {
                let bytes = world.peer.take();
                world.give(&bytes);
                world.poll();
            }
        } else {
            let bytes = world.peer.take();
            world.give(&bytes[..if rounds == 0 { 8 } else { bytes.len() }]);
        }
        world.peer.output.clear();
        world.give(&[0, 0, 3, 0, 9]);
        let refusal = Refusal::OverCapacity { retry_after: Duration::from_secs(9) };
        assert_eq!((world.closed().reason, world.closed().by), (Reason::Refused(refusal), By::Peer));
    }
    for code in [0, 5, 255] {
        let mut world = start(true, setup(false));
        world.poll();
        world.peer.output.clear();
        world.give(&[0, 0, code, 0, 0]);
        assert_eq!(world.closed().reason.code(), 50);
    }
}

#[test]
fn m9_lengths_are_judged_before_what_they_announce_has_come() {
    for (length, code) in [(4097u16, 52), (47, 50), (49, 50)] {
        let mut world = start(true, setup(false));
        world.poll();
        world.peer.output.clear();
        world.give(&length.to_be_bytes());
        assert_eq!(world.closed().reason.code(), code);
    }
    for (length, code) in [(0u16, 50), (16, 50), (4096 + 17, 52), (0xffff, 52)] {
        let mut world = World::usual(true);
        world.give(&length.to_be_bytes());
        world.run();
        assert_eq!(world.closed().reason.code(), code);
        assert!(matches!(&world.peer.over, Some(Over::Closed(reason)) if reason.code == code));
    }
}

#[test]
fn h8_what_is_tolerated() {
    let frame = |kind, flags, body: &[u8]| Frame::new(kind, flags, body);
    let cases = [
        frame(kind::ERROR, 3, b"\x05\0\x01"),
        frame(kind::ERROR, 1, &[1; 3 + 901]),
        frame(kind::REPLY, 5, b"\x05x"),
        frame(kind::CREDIT, 0, b"\0\0"),
        frame(0xf0, 0xff, b"whatever"),
        frame(kind::REKEY, 0, b"\x00"),
    ];
    for frame in cases {
        assert_eq!(code_after(std::slice::from_ref(&frame)), None, "{frame:?}");
    }
    // An empty first piece; a CALL whose bytes are not all there is not in flight yet, so CANCEL does not reach it.
    let mut world = World::usual(true);
    world.peer.put(&[
        frame(kind::SEND, 2 | MORE, b"\x02\0"),
        frame(kind::CALL, 3 | MORE, b"\x01\x50\x10\x03\0a"),
        frame(kind::CANCEL, 0, b"\x01"),
        frame(kind::DATA, 2, b"xy"),
        frame(kind::DATA, 3, b"bc"),
    ]);
    world.run();
    assert!(matches!(world.events.pop_front(), Some(Owned::Message { body, .. }) if &body[..] == b"xy"));
    assert!(matches!(world.events.pop_front(), Some(Owned::Call { body, .. }) if &body[..] == b"abc"));
}

#[test]
fn h8_what_is_not() {
    let frame = |kind, flags, body: &[u8]| Frame::new(kind, flags, body);
    let cases = [
        frame(kind::ERROR, 0, b"\x05\0\x01"),
        frame(kind::ERROR, 1 | MORE, b"\x05\0\x01"),
        frame(kind::ERROR, 1, b"\x05\0"),
        frame(kind::ERROR, 1, b"\x05\0\x07\0"),
        frame(kind::ERROR, 1, b"\x05\0\x08\0"),
        frame(kind::REPLY, 0, b"\x05x"),
        frame(kind::REPLY, 1, b"\0x"),
        frame(kind::CANCEL, 0, b"\0"),
        frame(kind::CANCEL, 3, b"\x01"),
        frame(kind::PAD, 3, b""),
        frame(kind::GOODBYE, 0, &[0x61; 4 + 256]),
        // A reason that is not known, that is never sent, without its detail, without its number.
        frame(kind::CLOSE, 0, b"\x03\xe7"),
        frame(kind::CLOSE, 0, b"\0\x0c"),
        frame(kind::CLOSE, 0, b"\0\x01"),
        frame(kind::CLOSE, 0, b"\0"),
    ];
    for frame in cases {
        assert_eq!(code_after(std::slice::from_ref(&frame)), Some(50), "{frame:?}");
    }
    // The same id twice, one of them not whole yet: found with the last frame at the latest.
    let twice = [
        frame(kind::CALL, 3 | MORE, b"\x01\x50\x10\x02\0a"),
        frame(kind::CALL, 4, b"\x01\x50\x10\0"),
        frame(kind::DATA, 3, b"b"),
    ];
    assert_eq!(code_after(&twice), Some(50));
    // ABANDON with MORE or with bytes, and without a message.
    for flags in [0x40 | MORE, 0x40] {
        let body: &[u8] = if flags == 0x40 { b"x" } else { b"" };
        let frames = [frame(kind::SEND, 3 | MORE, b"\x08\0ab"), frame(kind::DATA, 3 | flags, body)];
        assert_eq!(code_after(&frames), Some(50));
    }
    assert_eq!(code_after(&[frame(kind::DATA, 3 | 0x40, b"")]), Some(50));
}

#[test]
fn m2_more_calls_than_agreed_are_answered_with_overloaded() {
    let mut world = World::usual(true);
    for id in 1..=9 {
        let frames = world.peer.call_frames(id, "s", b"", 10);
        world.peer.put(&frames);
    }
    world.run();
    assert_eq!(world.events.len(), 8);
    // Credit comes back when the link likes.
    world.peer.got.retain(|got| !matches!(got, Got::Credit(..)));
    assert_eq!(world.peer.got, [Got::Error { id: 9, code: 4, detail: vec![] }]);
}

#[test]
fn m3_timeouts_travel_in_whole_milliseconds_rounded_up_and_zero_is_over() {
    for (timeout, millis) in [(1_001, 2), (500, 1), (5_000_000, 5000)] {
        let mut world = World::usual(true);
        let timeout = Duration::from_micros(timeout);
        world.link.call(Message::new("s", &b""[..]), timeout, world.now).unwrap();
        world.run();
        assert!(
            matches!(world.peer.got[..], [Got::Call { timeout, .. }] if timeout == millis),
            "{millis} {:?}",
            world.peer.got
        );
    }
    let mut world = World::usual(true);
    world.peer.put(&[Frame::new(kind::CALL, 3, *b"\x01\0\x01s")]);
    world.run();
    assert!(world.events.is_empty() && world.peer.got.is_empty());
}

#[test]
fn k4_requests_to_rekey_may_cross_and_add_up() {
    let mut world = World::usual(true);
    world.link.rekey(world.now);
    world.peer.rekey(1);
    world.run();
    let rekeys = |world: &World| world.peer.got.iter().filter(|got| matches!(got, Got::Rekey(_))).count();
    assert!(rekeys(&world) >= 1);
    world.peer.rekey(1);
    world.peer.rekey(1);
    world.peer.ping([1; 8]);
    world.run();
    assert!(world.peer.got.contains(&Got::Pong([1; 8])));
    assert_eq!(world.peer.over, None);
}

#[test]
fn l1_of_several_pings_the_last_is_answered() {
    let mut world = World::usual(true);
    world.peer.put(&[Frame::new(kind::PING, 0, [1; 8]), Frame::new(kind::PING, 0, [2; 8])]);
    world.run();
    assert_eq!(world.peer.got.last(), Some(&Got::Pong([2; 8])));
}

#[test]
fn l3_close_waits_for_the_others_goodbye() {
    for role in ROLES {
        let mut world = World::usual(role);
        // A call of the peer is on its way when the link says goodbye.
        let frames = world.peer.call_frames(1, "s", b"on its way", 100);
        world.peer.put(&frames);
        let underway = world.peer.take();
        world.link.goodbye(1, "x", world.now);
        world.poll();
        assert_eq!(world.peer.got, [Got::Goodbye(1, "x".into())], "no CLOSE yet");
        world.give(&underway);
        let call = world.events.iter().position(|event| matches!(event, Owned::Call { .. }));
        let Some(Owned::Call { token, .. }) = world.events.remove(call.expect("the call")) else { panic!() };
        world.run();
        world.link.reply(token, Ok(handclasp::Payload::from(&b"answer"[..]))).unwrap();
        world.run();
        assert!(world.peer.got.contains(&Got::Reply { lane: 1, id: 1, body: b"answer".to_vec() }));
        world.peer.settle();
        world.run();
        assert_eq!(world.closed().reason, Reason::Goodbye { code: 1, detail: "x".into() });
    }
}

#[test]
fn l5_close_is_answered_with_the_same_reason() {
    for body in [&b"\0\x01\0\0\0\x05hi"[..], b"\0\x03", b"\0\x18", b"\0\x32", b"\0\x35"] {
        let mut world = World::usual(false);
        world.peer.put(&[Frame::new(kind::CLOSE, 0, body)]);
        world.run();
        assert_eq!(world.peer.got, [Got::Close(Coded::read(body).unwrap())]);
        assert_eq!(world.closed().by, By::Peer);
    }
}

#[test]
fn k3_the_length_of_a_record_is_not_authenticated_but_its_bytes_are() {
    let mut world = World::usual(true);
    world.give(&lengthy(&[0; 40]));
    world.run();
    assert_eq!(world.closed().reason, Reason::DecryptFailed);
    assert_eq!(world.peer.over, None);
}

#[test]
fn h6_dialling_an_id_is_trusting_it_and_dialling_anybody_is_not() {
    let config = handclasp_sim::builder(1, &[7]).network(crate::world::NETWORK).build().unwrap();
    World::open(true, &config, setup(false));
    let mut world = World::new(true, &config, setup(false));
    let dial = handclasp::Dial { expected: None, sequence: 1 };
    world.link = handclasp::Link::initiator(&config, dial, &handclasp_sim::seed(8), world.now);
    world.run();
    assert_eq!(world.closed().reason, Reason::Refused(Refusal::Denied));
    assert_eq!(world.peer.over, Some(Over::Refused(Coded::new(22, &[]))));
}

#[test]
fn l5_reasons_that_close_never_carries() {
    for code in [0u8, 7, 10, 11, 12, 13, 14, 44, 46, 47, 51, 56] {
        assert_eq!(code_after(&[Frame::new(kind::CLOSE, 0, [0, code])]), Some(50), "{code}");
    }
    for code in [2u8, 3, 4, 5, 6, 22, 24, 25, 26, 27, 28, 29, 30, 50, 52, 53, 54, 55] {
        assert_eq!(code_after(&[Frame::new(kind::CLOSE, 0, [0, code])]), Some(code.into()), "{code}");
    }
}

#[test]
fn m8_charges_come_back_to_the_byte() {
    let mut other = setup(false);
    other.hello.window = other.hello.max_message + 64 + 255;
    let mut world = World::open(true, &config(false).build().unwrap(), other);
    // With the smallest window nothing may be held back.
    let window = world.peer.credit;
    let frames = world.peer.send_frames(4, "twelve bytes", b"body", 10);
    world.peer.put(&frames);
    world.run();
    assert_eq!(world.peer.got, [Got::Credit(0, 12 + 4 + 64)]);
    let call = world.link.call(Message::new("s", &b""[..]), Duration::from_secs(1), world.now).unwrap();
    world.run();
    world.peer.got.clear();
    world.peer.error(call.get(), 8, b"\0\0\0\x01and text");
    world.run();
    assert_eq!(world.peer.got, [Got::Credit(1, 12 + 64)]);
    // A reply to nothing, and a message that is abandoned.
    world.peer.got.clear();
    let frames = world.peer.reply_frames(1, 99, b"who asked?", 100);
    world.peer.put(&frames);
    let frames = world.peer.send_frames(2, "abc", &[0; 9000], 100);
    world.peer.put(&[frames[0].clone(), Frame::new(kind::DATA, 2 | 0x40, [])]);
    world.run();
    world.peer.got.sort_by_key(|got| matches!(got, Got::Credit(0, _)));
    assert_eq!(world.peer.got, [Got::Credit(1, 10 + 64), Got::Credit(0, 9000 + 3 + 64)]);
    assert_eq!(world.peer.credit, window);
}

#[test]
fn m8_calls_that_pile_up_answers_are_a_flood() {
    // Eight are served, and sixteen answers may wait.
    for (calls, code) in [(24, None), (25, Some(55))] {
        let calls: Vec<_> = (1..=calls).map(|id| Frame::new(kind::CALL, 3, [id, 0x50, 0x10, 0])).collect();
        assert_eq!(code_after(&calls), code);
    }
}
