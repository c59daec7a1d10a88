//! H1 and H7: the machine has only the time that it is told, and its deadlines.

use std::time::Duration;

use handclasp::{By, ConfigError, Instant, Phase, Ready, Reason, Timing, Trust};
use handclasp_sim::hostile::messages;
use handclasp_sim::{Owned, Pair, Side, Solo, builder, config, id};

use crate::{SIDES, failures};

const STEP: Duration = Duration::from_secs(7);
const WHOLE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_nanos(1);

/// The messages of a whole handshake: the initiator's preamble, msg1, AUTH, and the responder's msg2, AUTH, STATUS.
fn recorded() -> [Vec<Vec<u8>>; 2] {
    let mut pair = Pair::established();
    SIDES.map(|side| messages(&pair.end(side).pipe.log, side == Side::Initiator))
}

/// The side of that handshake, with the same randomness, on its own.
fn side(side: Side) -> Solo {
    match side {
        Side::Initiator => Solo::initiator(&config(1, &[2]), Some(id(2)), 0),
        Side::Responder => Solo::responder(&config(2, &[1]), 0),
    }
}

#[test]
fn h1_both_sides_are_one_machine_of_bytes_and_ticks_and_the_same_inputs_give_the_same_bytes() {
    let [from_i, from_r] = recorded();
    for (which, input, output) in [(Side::Initiator, &from_r, &from_i), (Side::Responder, &from_i, &from_r)] {
        for _ in 0..2 {
            let mut solo = side(which);
            solo.feed(&input.concat());
            assert_eq!(solo.link.phase(), Phase::Established);
            assert_eq!(solo.link.is_initiator(), which == Side::Initiator);
            assert_eq!(solo.written(), output.concat(), "the same seed and inputs give the same bytes");
        }
    }
    // Another seed gives other bytes.
    let mut other = Solo::initiator(&config(1, &[2]), Some(id(2)), 9);
    assert_ne!(other.written(), from_i[..2].concat());
    // A link can be moved to where its owner wants it.
    let _: Box<dyn Send> = Box::new(other.link);
}

/// Each side in each of its states of waiting: how many of the other side's messages it has had, and its phase.
fn waits() -> Vec<(Side, usize, Phase)> {
    vec![
        (Side::Responder, 0, Phase::Preamble),
        (Side::Responder, 1, Phase::KeyExchange),
        (Side::Responder, 2, Phase::Authentication),
        (Side::Initiator, 0, Phase::KeyExchange),
        (Side::Initiator, 1, Phase::Authentication),
        (Side::Initiator, 2, Phase::Status),
    ]
}

#[test]
fn h7_each_step_has_seven_seconds_from_its_start_and_not_a_nanosecond_more() {
    let recorded = recorded();
    for (which, had, phase) in waits() {
        let mut solo = side(which);
        for message in &recorded[usize::from(which == Side::Initiator)][..had] {
            // Late, but in time: each step has its own seven seconds.
            solo.pass(Duration::from_secs(6));
            solo.feed(message);
        }
        assert_eq!(solo.link.phase(), phase);
        solo.pass(STEP.saturating_sub(TICK));
        assert_eq!(solo.link.phase(), phase);
        solo.pass(TICK);
        let closed = solo.closed();
        assert_eq!((closed.reason, closed.by, closed.phase), (Reason::HandshakeTimeout, By::Local, phase));
        assert!(solo.link.is_finished(), "the event comes without waiting for anything");
    }
}

#[test]
fn h7_bytes_that_are_no_whole_message_do_not_extend_a_step() {
    let recorded = recorded();
    for (which, had, phase) in waits() {
        let mut solo = side(which);
        let (before, rest) = recorded[usize::from(which == Side::Initiator)].split_at(had);
        solo.feed(&before.concat());
        let message = &rest[0];
        let interval = Duration::from_secs(8) / u32::try_from(message.len()).unwrap();
        for byte in message {
            solo.pass(interval);
            solo.feed(&[*byte]);
        }
        assert_eq!(solo.closed().reason, Reason::HandshakeTimeout, "in {phase}");
        assert_eq!(solo.closed().phase, phase);
    }
}

/// The slowest peer there is: each message just before its step is over. And one that trickles for ever.
#[test]
fn h7_a_slow_loris_is_gone_within_the_whole_time() {
    let recorded = recorded();
    for which in SIDES {
        for pause in [1, 10, 100, 500, 1000, 6999] {
            let mut solo = side(which);
            let start = solo.now;
            let mut input = recorded[usize::from(which == Side::Initiator)].concat().into_iter();
            while !solo.link.is_finished() && solo.link.phase() < Phase::Established {
                solo.pass(Duration::from_millis(pause));
                solo.feed(&input.next().map_or(vec![], |byte| vec![byte]));
                assert!(
                    solo.now.since(start) <= WHOLE + Duration::from_millis(pause),
                    "{which:?} at {pause} ms"
                );
            }
            assert_eq!(solo.link.is_finished(), pause > 50, "{which:?} at {pause} ms");
        }
    }
}

/// An application that does not decide has a step's time as well.
#[test]
fn h7_a_decision_that_does_not_come_ends_the_handshake_too() {
    for asks in SIDES {
        let ask = |number, peer, asks| {
            let trust = if asks { Trust::Ask } else { Trust::listed([id(peer)]) };
            builder(number, &[]).trust(trust).build().unwrap()
        };
        let (i, r) = (ask(1, 2, asks == Side::Initiator), ask(2, 1, asks == Side::Responder));
        let mut pair = Pair::of(&i, &r, None);
        pair.run();
        assert_eq!(pair.link(asks).phase(), Phase::Admission);
        pair.pass(STEP.saturating_sub(TICK));
        assert_eq!(pair.link(asks).phase(), Phase::Admission);
        pair.pass(TICK);
        assert_eq!(pair.closed(asks).phase, Phase::Admission);
        for closed in failures(&mut pair) {
            assert_eq!((closed.reason, closed.by), (Reason::HandshakeTimeout, By::Local));
        }
    }
}

/// With steps long enough to matter: four of nine seconds are more than the whole may take.
#[test]
fn h7_the_whole_handshake_has_thirty_seconds_however_long_its_steps() {
    let timing = Timing { step: Duration::from_secs(10), ..Timing::default() };
    let pause = Duration::from_secs(9);
    let mut solo = Solo::responder(&builder(2, &[]).trust(Trust::Ask).timing(timing).build().unwrap(), 0);
    for message in &recorded()[0][..2] {
        solo.pass(pause);
        solo.feed(message);
    }
    let mut dialler = Solo::initiator(&builder(1, &[2]).build().unwrap(), Some(id(2)), 0);
    dialler.written();
    dialler.feed(&solo.written());
    solo.pass(pause);
    solo.feed(&dialler.written());
    assert_eq!(solo.link.phase(), Phase::Admission);
    solo.pass(Duration::from_secs(3).saturating_sub(TICK));
    assert_eq!(solo.link.phase(), Phase::Admission);
    solo.pass(TICK);
    assert_eq!(solo.closed().reason, Reason::HandshakeTimeout);
}

#[test]
fn h7_the_deadlines_are_configurable() {
    let timing = Timing {
        step: Duration::from_millis(200),
        handshake: Duration::from_millis(300),
        ..Timing::default()
    };
    let mut solo = Solo::responder(&builder(2, &[1]).timing(timing).build().unwrap(), 0);
    solo.pass(Duration::from_millis(150));
    solo.feed(&recorded()[0][0]);
    // The step has time until 350 ms, the handshake until 300 ms.
    solo.pass(Duration::from_millis(149));
    assert_eq!(solo.link.phase(), Phase::KeyExchange);
    solo.pass(Duration::from_millis(1));
    assert_eq!(solo.closed().reason, Reason::HandshakeTimeout);
}

#[test]
fn h7_a_stale_timer_never_acts() {
    let recorded = recorded();
    for which in SIDES {
        let mut solo = side(which);
        let mut stale = vec![solo.act().unwrap()];
        for message in &recorded[usize::from(which == Side::Initiator)] {
            solo.pass(Duration::from_secs(5));
            solo.feed(message);
            stale.extend(solo.act());
        }
        assert_eq!(solo.link.phase(), Phase::Established);
        // The deadlines of the steps that are over come and go; so does that of the whole handshake.
        stale.pop();
        stale.push(Instant::from_nanos(1_000_000_000) + WHOLE);
        stale.sort();
        for at in stale {
            let _ = solo.link.poll(at, Ready::ALL);
            assert_eq!(solo.link.phase(), Phase::Established);
        }
    }
    // An established pair lives on past every deadline of its handshake.
    let mut pair = Pair::established();
    pair.pass(Duration::from_secs(301));
    assert!(SIDES.into_iter().all(|side| pair.link(side).phase() == Phase::Established));
    assert!(pair.initiator.events.is_empty());
}

#[test]
fn h7_a_clock_that_steps_back_neither_hastens_nor_revives() {
    let mut solo = side(Side::Responder);
    solo.pass(Duration::from_secs(6));
    let later = solo.now;
    let _ = solo.link.poll(Instant::ZERO, Ready::ALL);
    solo.now = later;
    solo.pass(Duration::from_millis(999));
    assert_eq!(solo.link.phase(), Phase::Preamble);
    solo.pass(Duration::from_millis(1));
    assert_eq!(solo.closed().reason, Reason::HandshakeTimeout);
    assert_eq!(solo.events.iter().filter(|event| matches!(event, Owned::Closed(_))).count(), 1);
    let written = solo.written();
    solo.now = Instant::ZERO + Duration::from_secs(1000);
    solo.feed(&recorded()[0].concat());
    assert!(
        written.is_empty() && solo.written().is_empty(),
        "a timeout is not told, and an ended link is mute"
    );
}

#[test]
fn h7_nothing_is_ever_sent_twice() {
    // docs/decisions/0002: a stream is reliable; silence is answered by a deadline, not by a repetition.
    for (which, had, _) in waits() {
        let mut solo = side(which);
        solo.feed(&recorded()[usize::from(which == Side::Initiator)][..had].concat());
        solo.written();
        solo.pass(WHOLE);
        assert!(solo.written().is_empty());
    }
}

#[test]
fn h7_deadlines_under_a_millisecond_are_refused_by_name() {
    type Set = fn(&mut Timing, Duration);
    let fields: [(&str, Set); 6] = [
        ("step", |timing, time| timing.step = time),
        ("handshake", |timing, time| timing.handshake = time),
        ("stall", |timing, time| timing.stall = time),
        ("drain", |timing, time| timing.drain = time),
        ("flush", |timing, time| timing.flush = time),
        ("ephemeral", |timing, time| timing.ephemeral = Some(time)),
    ];
    for (name, set) in fields {
        let build = |time| {
            let mut timing = Timing::default();
            set(&mut timing, time);
            builder(1, &[2]).timing(timing).build()
        };
        for time in [Duration::ZERO, TICK, Duration::from_nanos(999_999)] {
            let error = build(time).unwrap_err();
            assert_eq!(error, ConfigError::ShortTiming { field: name });
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(build(Duration::from_millis(1)).is_ok(), "{name}");
    }
}
