//! L1, L2, L6: life, its absence, and links that nobody uses.

use std::collections::VecDeque;
use std::time::Duration;

use handclasp::{By, Limits, Message, Payload, Phase, Priority, Ready, Reason, Timing};
use handclasp_sim::raw::{Raw, RawFrame, call, frame, reply, send};
use handclasp_sim::{Owned, Pair, Side};

use crate::support::{
    SIDES, ended, just_under, millis, next_call, pair_with, raw, raw_config, raw_with, secs, take_events,
};

const IDLE: u64 = 15;

fn pings(raw: &mut Raw) -> Vec<Vec<u8>> {
    raw.frames().into_iter().filter(|frame| frame.kind == 0x30).map(|frame| frame.body).collect()
}

#[test]
fn l1_a_ping_goes_out_after_the_idle_time_and_not_before() {
    let mut raw = raw();
    raw.pass(just_under(secs(IDLE)));
    assert_eq!(pings(&mut raw).len(), 0);
    raw.pass(millis(1));
    assert_eq!(pings(&mut raw).len(), 1);
}

#[test]
fn l1_a_silent_peer_is_dead_after_two_misses_exactly() {
    for silent_from in [Duration::ZERO, millis(1234), secs(14), secs(100)] {
        let mut raw = raw();
        let mut left = silent_from;
        // Life until then: any record counts, padding too.
        while !left.is_zero() {
            let step = left.min(secs(10));
            raw.pass(step);
            raw.send(&frame(0, 0, []));
            left -= step;
        }
        pings(&mut raw);
        raw.pass(just_under(secs(3 * IDLE)));
        assert_eq!(ended(&raw), None, "too early");
        assert_eq!(pings(&mut raw).len(), 2);
        raw.pass(millis(1));
        let closed = raw.link.closed().expect("the end").clone();
        assert_eq!(
            (closed.reason, closed.by, closed.phase),
            (Reason::PeerDead, By::Transport, Phase::Established)
        );
        assert!(matches!(raw.events.last(), Some(Owned::Closed(_))));
        assert_eq!(raw.frames(), [], "nothing is said to the dead");
    }
}

#[test]
fn l1_any_traffic_is_life() {
    for record in [send("s", b""), frame(0, 0, []), frame(0xff, 0, []), frame(0x31, 0, [1; 8])] {
        let mut raw = raw();
        for _ in 0..20 {
            raw.pass(just_under(secs(IDLE)));
            raw.send(&record);
        }
        assert_eq!(pings(&mut raw).len(), 0, "traffic spares the ping");
        // Late life after one miss starts anew.
        raw.pass(secs(2 * IDLE) + secs(1));
        assert_eq!(pings(&mut raw).len(), 2);
        raw.send(&record);
        raw.pass(just_under(secs(3 * IDLE)));
        assert_eq!(ended(&raw), None);
        raw.pass(millis(1));
        assert_eq!(ended(&raw), Some(&Reason::PeerDead));
    }
}

#[test]
fn l1_bytes_that_are_no_whole_record_are_no_life() {
    let mut raw = raw();
    let record = raw.sealed(&send("s", &[0; 4000]));
    for byte in record.iter().take(44) {
        raw.pass(secs(1));
        raw.feed(&[*byte]);
    }
    raw.pass(secs(1));
    assert_eq!(ended(&raw), Some(&Reason::PeerDead));
}

#[test]
fn l1_two_idle_links_keep_each_other_alive() {
    let mut pair = Pair::established();
    pair.pass(secs(3600));
    for side in SIDES {
        assert!(take_events(&mut pair, side).is_empty());
        assert_eq!(pair.link(side).phase(), Phase::Established);
        // One ping or pong each 15 seconds, and no storm.
        let records = pair.link(side).stats().records_sealed;
        assert!((200..=500).contains(&records), "{records} records in an hour");
    }
}

#[test]
fn l1_the_idle_time_is_the_smaller_of_both_sides() {
    let mut raw = raw_with(Limits { idle: millis(100), ..Limits::default() });
    raw.pass(millis(299));
    assert_eq!(ended(&raw), None);
    raw.pass(millis(1));
    assert_eq!(ended(&raw), Some(&Reason::PeerDead));
    let build = |number, peer, idle| {
        let limits = Limits { idle, ..Limits::default() };
        handclasp_sim::builder(number, &[peer]).limits(limits).build().expect("a valid configuration")
    };
    let mut pair = Pair::of(&build(1, 2, secs(2)), &build(2, 1, secs(90)), Some(handclasp_sim::id(2)));
    pair.establish();
    let before = pair.responder.link.stats().records_sealed;
    pair.pass(secs(20));
    assert!(pair.responder.link.stats().records_sealed - before >= 9);
}

#[test]
fn l1_the_round_trip_is_measured() {
    let mut raw = raw();
    assert_eq!(raw.link.stats().rtt, None);
    let now = raw.now;
    raw.link.ping(now);
    raw.act();
    let nonce = pings(&mut raw).pop().expect("a ping");
    raw.pass(millis(37));
    raw.send(&frame(0x31, 0, &nonce));
    assert_eq!(raw.link.stats().rtt, Some(millis(37)));
    // It counts from when the ping was sealed, not from when it was asked for.
    raw.ready.write = false;
    let now = raw.now;
    raw.link.ping(now);
    raw.pass(secs(3));
    raw.ready.write = true;
    raw.act();
    let nonce = pings(&mut raw).pop().expect("a ping");
    raw.pass(millis(5));
    raw.send(&frame(0x31, 0, &nonce));
    assert_eq!(raw.link.stats().rtt, Some(millis(5)));
}

#[test]
fn l1_pongs_forged_late_or_twice_are_ignored_and_counted() {
    let mut raw = raw();
    raw.send(&frame(0x31, 0, [9; 8]));
    assert_eq!((raw.link.stats().unknown_pongs, raw.link.stats().rtt), (1, None));
    let now = raw.now;
    raw.link.ping(now);
    raw.act();
    let first = pings(&mut raw).pop().expect("a ping");
    let mut forged = first.clone();
    forged[7] ^= 1;
    raw.send(&frame(0x31, 0, &forged));
    assert_eq!((raw.link.stats().unknown_pongs, raw.link.stats().rtt), (2, None));
    raw.pass(millis(10));
    raw.send(&frame(0x31, 0, &first));
    raw.pass(millis(10));
    raw.send(&frame(0x31, 0, &first));
    assert_eq!((raw.link.stats().unknown_pongs, raw.link.stats().rtt), (3, Some(millis(10))));
    // Late: a newer ping is under way.
    let mut nonces = Vec::new();
    for _ in 0..2 {
        raw.pass(secs(IDLE));
        nonces.extend(pings(&mut raw));
    }
    assert_ne!(nonces[0], nonces[1]);
    raw.send(&frame(0x31, 0, &nonces[0]));
    assert_eq!(raw.link.stats().unknown_pongs, 4);
    assert_eq!(ended(&raw), None);
    assert!(raw.events.is_empty());
}

/// Whoever asks for pings faster than they come back makes no answer worthless: the round trip is measured, and what else
/// waits for a PONG goes on.
#[test]
fn l1_a_ping_that_is_asked_for_while_one_is_under_way_is_that_one() {
    let mut raw = raw();
    raw.ready.write = false;
    let length = 1 << 20;
    raw.link.send(Message::new("s", vec![0; length]).priority(Priority::Bulk)).expect("taken");
    raw.ready.write = true;
    let mut back = VecDeque::from([None, None]);
    for round in 0..100 {
        raw.link.ping(raw.now);
        raw.act();
        let asked = pings(&mut raw);
        assert!(asked.len() <= 1);
        back.push_back(asked.into_iter().next());
        raw.pass(millis(3));
        if let Some(nonce) = back.pop_front().flatten() {
            raw.send(&frame(0x31, 0, &nonce));
        }
        if raw.link.queued() == 0 {
            assert!(round > 3, "nothing waited");
            assert_eq!((raw.link.stats().unknown_pongs, raw.link.stats().rtt), (0, Some(millis(9))));
            return;
        }
    }
    panic!("{} bytes of {length} have not left", raw.link.queued());
}

#[test]
fn l1_a_ping_is_answered_with_its_nonce_while_no_events_are_taken() {
    let mut raw = raw();
    raw.ready.events = false;
    raw.send(&send("s", b"waits"));
    raw.send(&frame(0x30, 0, *b"a nonce!"));
    let pongs = raw.frames().into_iter().filter(|frame| frame.kind == 0x31).map(|frame| frame.body);
    assert_eq!(pongs.collect::<Vec<_>>(), [b"a nonce!"]);
}

#[test]
fn l1_ping_nonces_differ_from_link_to_link() {
    let first_nonce = |run| {
        let mut pair = crate::support::seeded_pair(|builder| builder, run);
        let now = pair.now;
        pair.initiator.link.ping(now);
        pair.initiator.link.transmit(now).to_vec()
    };
    assert_ne!(first_nonce(1), first_nonce(2));
}

#[test]
fn l2_a_stream_that_takes_nothing_ends_the_link_after_the_stall_time() {
    let timing = Timing { stall: secs(8), ..Timing::default() };
    let mut raw = Raw::dialling(&raw_config(|builder| builder.timing(timing.clone())));
    raw.ready.write = false;
    raw.link.send(Message::new("s", b"x")).expect("taken");
    // The owner tries, and the stream takes nothing.
    assert!(!raw.link.transmit(raw.now).is_empty());
    for _ in 0..7 {
        raw.pass(secs(1));
        raw.send(&frame(0, 0, []));
    }
    raw.pass(millis(999));
    assert_eq!(ended(&raw), None);
    raw.pass(millis(1));
    let closed = raw.link.closed().expect("the end");
    assert_eq!((&closed.reason, closed.by), (&Reason::WriteStalled, By::Transport));
    // It is told at once, with bytes still unsent.
    assert!(matches!(raw.events.last(), Some(Owned::Closed(_))));
}

#[test]
fn l2_a_write_that_took_nothing_is_no_progress() {
    let timing = Timing { stall: secs(8), ..Timing::default() };
    let mut raw = Raw::dialling(&raw_config(|builder| builder.timing(timing.clone())));
    raw.ready.write = false;
    raw.link.send(Message::new("s", b"x")).expect("taken");
    for second in 0..8 {
        assert_eq!(ended(&raw), None, "after {second} s");
        assert!(!raw.link.transmit(raw.now).is_empty());
        raw.link.transmitted(0, raw.now);
        raw.pass(secs(1));
    }
    assert_eq!(ended(&raw), Some(&Reason::WriteStalled));
}

#[test]
fn l2_one_byte_is_progress() {
    let timing = Timing { stall: secs(8), ..Timing::default() };
    let mut raw = Raw::dialling(&raw_config(|builder| builder.timing(timing.clone())));
    raw.ready.write = false;
    raw.link.send(Message::new("s", vec![0; 1000])).expect("taken");
    for _ in 0..20 {
        assert!(!raw.link.transmit(raw.now).is_empty());
        raw.pass(millis(7900));
        raw.link.transmitted(1, raw.now);
        raw.send(&frame(0, 0, []));
    }
    assert_eq!(ended(&raw), None);
    assert!(!raw.link.transmit(raw.now).is_empty());
    raw.pass(secs(8));
    assert_eq!(ended(&raw), Some(&Reason::WriteStalled));
}

/// The owner asks the socket to wake it, and tries nothing meanwhile.
#[test]
fn l2_a_stall_needs_nobody_to_try_whatever_was_taken_before() {
    let timing = Timing { stall: secs(8), ..Timing::default() };
    for partly in [false, true] {
        let mut raw = Raw::dialling(&raw_config(|builder| builder.timing(timing.clone())));
        raw.ready.write = false;
        raw.link.send(Message::new("s", vec![0; 100_000])).expect("taken");
        if partly {
            assert!(raw.link.transmit(raw.now).len() > 100);
            raw.now = raw.now + secs(6);
            raw.link.transmitted(100, raw.now);
            // The time runs from the last bytes taken, not from when the link is next asked.
            raw.now = raw.now + secs(5);
            raw.pass(millis(2999));
        } else {
            raw.pass(millis(7999));
        }
        assert_eq!(ended(&raw), None);
        raw.pass(millis(1));
        assert_eq!(ended(&raw), Some(&Reason::WriteStalled), "partly taken: {partly}");
        assert!(raw.link.is_finished());
    }
}

#[test]
fn l6_the_shortest_idle_time_with_a_call_under_way_comes_to_rest() {
    let timing = Timing { ephemeral: Some(millis(1)), ..Timing::default() };
    let mut raw = Raw::dialling(&raw_config(|builder| builder.timing(timing.clone())));
    let call = raw.link.call(Message::new("s", b""), secs(5), raw.now).expect("taken");
    raw.pass(millis(50));
    assert_eq!((ended(&raw), raw.link.phase()), (None, Phase::Established));
    raw.send(&reply(call.get(), b""));
    raw.pass(millis(3));
    assert_eq!(raw.link.phase(), Phase::Draining);
}

fn ephemeral(change: impl Fn(Timing) -> Timing) -> Pair {
    let timing = change(Timing { ephemeral: Some(secs(300)), ..Timing::default() });
    pair_with(|builder| builder.timing(timing.clone()))
}

#[test]
fn l6_an_ephemeral_link_closes_after_its_time_without_messages() {
    let mut pair = ephemeral(|timing| timing);
    pair.pass(just_under(secs(300)));
    for side in SIDES {
        // Pings are no application traffic.
        assert!(pair.link(side).stats().records_sealed > 5);
        assert_eq!(pair.link(side).phase(), Phase::Established);
    }
    pair.pass(millis(1));
    for side in SIDES {
        assert_eq!(pair.closed(side).reason, Reason::Idle, "{side:?}");
        assert!(pair.link(side).is_finished());
    }
}

#[test]
fn l6_one_ephemeral_side_is_enough_and_both_learn_who_it_was() {
    let timing = Timing { ephemeral: Some(secs(300)), ..Timing::default() };
    let one = handclasp_sim::builder(1, &[2]).timing(timing).build().expect("a valid configuration");
    let mut pair = Pair::of(&one, &handclasp_sim::config(2, &[1]), Some(handclasp_sim::id(2)));
    pair.establish();
    pair.pass(secs(300));
    let ends = SIDES.map(|side| pair.closed(side));
    assert_eq!(ends.clone().map(|closed| closed.by), [By::Local, By::Peer]);
    assert_eq!(ends.map(|closed| closed.reason), [Reason::Idle, Reason::Idle]);
}

#[test]
fn l6_messages_and_calls_under_way_keep_it_open() {
    let mut pair = ephemeral(|timing| timing);
    for from in SIDES {
        pair.pass(secs(299));
        pair.link(from).send(Message::new("s", b"")).expect("taken");
        pair.run();
    }
    let now = pair.now;
    pair.initiator.link.call(Message::new("s", b""), secs(1000), now).expect("taken");
    pair.run();
    pair.responder.events.retain(|event| matches!(event, Owned::Call { .. }));
    let token = next_call(&mut pair, Side::Responder);
    pair.pass(secs(900));
    pair.responder.link.reply(token, Ok(Payload::from(b""))).expect("still there");
    pair.run();
    pair.pass(secs(299));
    for side in SIDES {
        assert_eq!(pair.link(side).phase(), Phase::Established);
    }
    pair.pass(secs(40));
    for side in SIDES {
        assert_eq!(pair.closed(side).reason, Reason::Idle);
    }
}

#[test]
fn l6_a_link_that_is_not_ephemeral_stays() {
    let mut raw = raw();
    for _ in 0..400 {
        raw.pass(secs(14));
        raw.send(&frame(0, 0, []));
    }
    assert_eq!(ended(&raw), None);
    raw.send(&call(1, 5, "s", b""));
    assert_eq!(raw.ready, Ready::ALL);
}

/// PERMANENCE, as it travels.
fn permanence(kept: bool) -> Vec<u8> {
    frame(0x3a, 0, [u8::from(kept)])
}

#[test]
fn l6_a_peer_that_wants_the_link_kept_keeps_it() {
    let timing = Timing { ephemeral: Some(secs(300)), ..Timing::default() };
    let mut raw = Raw::dialling(&raw_config(|builder| builder.timing(timing.clone())));
    let pass = |raw: &mut Raw, time: Duration| {
        for _ in 0..time.as_secs() / 10 {
            raw.pass(secs(10));
            raw.send(&frame(0, 0, []));
        }
    };
    raw.send(&permanence(true));
    pass(&mut raw, secs(1000));
    assert_eq!(raw.link.phase(), Phase::Established);
    raw.send(&permanence(false));
    pass(&mut raw, secs(290));
    assert_eq!(raw.link.phase(), Phase::Established);
    // Told in time, it is not too late.
    raw.send(&permanence(true));
    pass(&mut raw, secs(1000));
    assert_eq!(raw.link.phase(), Phase::Established);
    raw.send(&permanence(false));
    pass(&mut raw, secs(300));
    assert_eq!(raw.link.phase(), Phase::Draining);
    // A goodbye is not taken back.
    raw.send(&[permanence(true), permanence(false), permanence(true)].concat());
    assert_eq!(raw.link.phase(), Phase::Draining);
}

#[test]
fn d4_a_link_without_a_node_acknowledges_an_advert_and_forgets_it() {
    let mut raw = raw();
    for _ in 0..3 {
        raw.send(&frame(0x38, 0, [0xad; 2048]));
        assert_eq!(raw.frames(), [RawFrame { kind: 0x39, flags: 0, body: vec![0; 8] }]);
    }
    raw.send(&frame(0x38, 0, [0xad; 2049]));
    assert_eq!(ended(&raw), Some(&Reason::TooLarge));
}
