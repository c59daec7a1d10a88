//! What a recording holds, and what not.

use std::fmt::Write as _;

use handclasp::recording::{CannotRecord, End, Recorder, Replay};
use handclasp::{Action, Config, Message, Ready};
use handclasp_sim::hostile::psk;
use handclasp_sim::{Pair, Side, id, seed};

use crate::support::{
    ROOM, SECRETS, SIDES, config, everything, recorded_pair, recorder, recordings, replay, replay_bytes,
    seed_of,
};

/// Whether any part of 8 bytes of `secret` is in `bytes`.
fn leaks(bytes: &[u8], secret: &[u8]) -> bool {
    let parts: std::collections::BTreeSet<&[u8]> = secret.windows(8).collect();
    bytes.windows(8).any(|window| parts.contains(window))
}

#[test]
fn o5_a_redacted_recording_has_no_payload_seed_or_key_in_it_and_an_exact_one_is_told_by_its_first_line() {
    let mut pair = recorded_pair(false, 4);
    everything(&mut pair);
    for (recording, side) in recordings(&mut pair).iter().zip(SIDES) {
        let bytes = recording.as_bytes();
        assert!(!recording.is_exact() && bytes.starts_with(b"handclasp recording 1 redacted"));
        let log = pair.link(side).key_log();
        assert!(log.is_none(), "keys are kept for who asks only");
        for secret in SECRETS {
            assert!(!leaks(bytes, secret), "{side:?}: {}", String::from_utf8_lossy(secret));
        }
        let psk = psk(SECRETS[0], b"a network that has a name");
        let own_key = if side == Side::Initiator { 1 } else { 2 };
        assert!(!leaks(bytes, psk.expose()));
        assert!(!leaks(bytes, &[own_key; 32]));
        // The first 8 bytes of a test's seed are its small number, the rest the same byte.
        assert!(!leaks(bytes, &[0x5e; 24]) && seed_of(4, side) > 0);
        for word in [&b"a node that has"[..], b"an.address.of", b"a network that"] {
            assert!(!leaks(bytes, word), "{}", String::from_utf8_lossy(word));
        }
        // What was written to the stream is not there either: who gets the keys later has nothing to open.
        let log = &pair.end(side).pipe.log;
        assert!(!log[200..].chunks(64).any(|part| leaks(bytes, part)));
        // Names of services are: they say what the run was about.
        assert!(bytes.windows(4).any(|window| window == b"news" || window == b"bulk"));
    }
}

#[test]
fn o5_the_same_scan_finds_secrets_where_they_are() {
    let mut pair = recorded_pair(true, 4);
    everything(&mut pair);
    for (recording, side) in recordings(&mut pair).iter().zip(SIDES) {
        let bytes = recording.as_bytes();
        assert!(recording.is_exact() && bytes.starts_with(b"handclasp recording 1 exact: HOLDS SECRETS"));
        assert!(
            leaks(bytes, SECRETS[7]) && leaks(bytes, psk(SECRETS[0], b"a network that has a name").expose())
        );
        assert!(leaks(bytes, &[0x5e; 24]) && leaks(bytes, b"an.address.of"));
        // The node's own key is in no recording.
        let own_key = if side == Side::Initiator { 1 } else { 2 };
        assert!(!leaks(bytes, &[own_key; 32]));
        assert_eq!(format!("{recording:?}"), format!("Recording(exact, {} bytes)", bytes.len()));
    }
    assert!(leaks(recordings(&mut pair)[0].as_bytes(), SECRETS[1]));
}

#[test]
fn o5_both_kinds_replay_a_run_with_everything_in_it() {
    for exact in [false, true] {
        for chunk in [usize::MAX, 97] {
            let mut pair = recorded_pair(exact, 9);
            pair.chunk = chunk;
            everything(&mut pair);
            for recording in recordings(&mut pair) {
                assert!(replay(&recording).steps > 100);
            }
        }
    }
}

#[test]
fn o5_a_recording_changes_nothing_in_its_link() {
    let mut logs = Vec::new();
    for exact in [None, Some(false), Some(true)] {
        let mut pair = Pair::seeded(&config(1, 2), &config(2, 1), Some(id(2)), 5);
        for side in SIDES {
            if let Some(exact) = exact {
                pair.link(side).record(recorder(exact, 5, side)).expect("a fresh link");
            }
        }
        everything(&mut pair);
        logs.push(SIDES.map(|side| pair.end(side).pipe.log.clone()));
    }
    assert!(logs.windows(2).all(|two| two[0] == two[1]));
}

#[test]
fn o5_a_recording_ends_between_two_steps_when_it_is_full() {
    let mut ends = 0;
    for limit in [0, 100, 500, 1000, 2000, 3000] {
        let mut pair = Pair::seeded(&config(1, 2), &config(2, 1), Some(id(2)), 1);
        for side in SIDES {
            pair.link(side).record(Recorder::redacted(limit)).expect("a fresh link");
        }
        everything(&mut pair);
        for recording in recordings(&mut pair) {
            // What the link was made from is there in any case.
            assert!(recording.as_bytes().len() <= limit.max(600), "{recording:?}, of {limit}");
            let run = replay_bytes(recording.as_bytes());
            assert_eq!(run.end, End::Full);
            ends += run.steps;
        }
    }
    assert!(ends > 100);
}

#[test]
fn o5_only_a_fresh_link_is_recorded_and_exactly_only_with_its_own_seed() {
    let pair = || Pair::seeded(&config(1, 2), &config(2, 1), Some(id(2)), 0);
    let mut other = pair();
    let link = other.link(Side::Initiator);
    assert_eq!(link.record(Recorder::exact_with_secrets(seed(7), ROOM)), Err(CannotRecord::OtherSeed));
    assert!(link.recording().is_none());
    link.record(Recorder::redacted(ROOM)).expect("it is fresh still");
    assert_eq!(link.record(Recorder::redacted(ROOM)), Err(CannotRecord::NotFresh));
    let mut begun = pair();
    let now = begun.now;
    let link = begun.link(Side::Responder);
    assert!(matches!(link.poll(now, Ready::NOTHING), Action::Timeout(_)));
    assert_eq!(link.record(Recorder::redacted(ROOM)), Err(CannotRecord::NotFresh));
    begun.establish();
    assert!(begun.link(Side::Responder).recording().is_none());
}

#[test]
fn o5_a_recording_goes_on_behind_the_one_that_was_taken() {
    let mut pair = recorded_pair(false, 2);
    pair.establish();
    let [first, _] = recordings(&mut pair);
    pair.link(Side::Initiator).send(Message::new("more", "of it")).expect("it is taken");
    pair.run();
    let [second, _] = recordings(&mut pair);
    let (few, many) = (replay(&first).steps, replay(&second).steps);
    assert!(few < many, "{few} and {many}");
    assert!(second.as_bytes().starts_with(&first.as_bytes()[..first.as_bytes().len() - 3]));
}

#[test]
fn o5_the_counts_of_a_configuration_are_those_of_its_recorded_links_too() {
    let configs: [std::sync::Arc<Config>; 2] = [config(1, 2), config(2, 1)];
    let mut pair = Pair::seeded(&configs[0], &configs[1], Some(id(2)), 0);
    for side in SIDES {
        pair.link(side).record(Recorder::redacted(ROOM)).expect("a fresh link");
    }
    pair.establish();
    for config in configs {
        let counts = config.handshakes();
        assert_eq!((counts.started, counts.completed, counts.failed), (1, 1, 0));
    }
}

#[test]
fn o5_a_replay_shows_what_went_in_and_what_came_of_it() {
    let mut pair = recorded_pair(false, 3);
    everything(&mut pair);
    let [recording, _] = recordings(&mut pair);
    let mut replay = Replay::open(recording.as_bytes()).expect("a recording");
    assert_eq!(
        (replay.node_id(), replay.is_exact(), replay.recorded_by()),
        (id(1), false, env!("CARGO_PKG_VERSION"))
    );
    let mut shown = String::new();
    while let Some(step) = replay.step().expect("a step") {
        writeln!(shown, "{step}").expect("room");
    }
    assert!(replay.link().is_finished() && replay.end() == Some(End::Stopped));
    for line in [
        "event opened",
        "send \"news\", 57 bytes, Urgent: taken",
        "event reply, call 1, 44 bytes",
        "opened: record",
        "goodbye code 3, 36 bytes",
        "stream_write stream",
        "event closed: goodbye (1), by this side, phase draining, untaken 0, unsent 0",
    ] {
        assert!(shown.contains(line), "{line} is missing in\n{shown}");
    }
}
