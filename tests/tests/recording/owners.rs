//! Recordings of what owners and their configurations do less often: peers that are asked about, records that are
//! padded, calls that end with their link, and steps that no recording can hold.

use std::fmt::Write as _;
use std::time::Duration;

use handclasp::recording::{End, Recorder, Recording, Replay};
use handclasp::{ConfigBuilder, Link, Message, Padding, Phase, Priority, Refusal, Trust, VersionRange};
use handclasp_sim::hostile::{Hostile, REFUSE};
use handclasp_sim::{Pair, Side, Solo, builder, config, id, seed};

use crate::support::{ROOM, SIDES, recorder, recordings, replay, replay_bytes};

/// A recorded pair whose configurations `change` has had its way with.
fn pair(exact: bool, run: u64, change: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Pair {
    let node = |number, peer| change(builder(number, &[peer])).build().expect("a valid configuration");
    let mut pair = Pair::seeded(&node(1, 2), &node(2, 1), Some(id(2)), run);
    for side in SIDES {
        pair.link(side).record(recorder(exact, run, side)).expect("a fresh link");
    }
    pair
}

/// All steps in words, and the end of the link that went through them again.
fn shown(recording: &Recording) -> (String, Option<String>) {
    let mut replay = Replay::open(recording.as_bytes()).expect("a recording");
    let mut shown = String::new();
    while let Some(step) = replay.step().unwrap_or_else(|error| panic!("{error}")) {
        writeln!(shown, "{step}").expect("room");
    }
    (shown, replay.link().closed().map(ToString::to_string))
}

#[test]
fn o5_a_peer_that_the_owner_is_asked_about_and_refuses_is_refused_in_the_replay_too() {
    let [one, few] = [(1, 1), (2, 9)].map(|(least, most)| VersionRange::new(least, most).expect("a range"));
    let refusals = [
        (Refusal::OverCapacity { retry_after: Duration::from_millis(1500) }, "over_capacity (20)"),
        (Refusal::Incompatible { ours: one, theirs: few }, "incompatible (21)"),
        (Refusal::MissingCapability { names: vec!["chat".into(), "née".into()] }, "missing_capability (23)"),
        (Refusal::Registry, "registry (28)"),
    ];
    for exact in [false, true] {
        for refuser in SIDES {
            for (refusal, name) in &refusals {
                let mut pair = pair(exact, 41, |builder| builder.trust(Trust::Ask));
                pair.run();
                if refuser == Side::Responder {
                    let now = pair.now;
                    pair.link(Side::Initiator).admit(now);
                    pair.run();
                }
                assert_eq!(pair.link(refuser).phase(), Phase::Admission);
                let now = pair.now;
                pair.link(refuser).refuse(refusal.clone(), now);
                pair.run();
                for (side, recording) in SIDES.into_iter().zip(recordings(&mut pair)) {
                    let (shown, end) = shown(&recording);
                    // What it says to whoever reads it, number by number, is in the end as well.
                    assert_eq!(end, Some(pair.closed(side).to_string()));
                    assert_eq!(shown.contains(&format!("refuse {name}")), side == refuser, "{shown}");
                }
            }
        }
    }
}

#[test]
fn o5_a_peer_that_the_owner_is_asked_about_and_admits_is_admitted_in_the_replay_too() {
    for exact in [false, true] {
        let mut pair = pair(exact, 42, |builder| builder.trust(Trust::Ask));
        for side in SIDES {
            pair.run();
            pair.pass(Duration::from_secs(1));
            assert_eq!(pair.link(side).phase(), Phase::Admission);
            let now = pair.now;
            pair.link(side).admit(now);
        }
        pair.run();
        pair.link(Side::Initiator).send(Message::new("news", "a body")).expect("it is taken");
        pair.run();
        assert_eq!(pair.link(Side::Responder).stats().messages_received, 1);
        for recording in recordings(&mut pair) {
            let (shown, end) = shown(&recording);
            assert_eq!(end, None);
            for line in ["phase admission", "  admit", "event established"] {
                assert!(shown.contains(line), "{line} is missing in\n{shown}");
            }
        }
    }
}

#[test]
fn o5_a_link_that_pads_is_replayed_as_one() {
    for exact in [false, true] {
        let mut sealed = Vec::new();
        for padding in [Padding::None, Padding::Block(1024), Padding::Padme] {
            let mut pair = pair(exact, 43, |builder| builder.padding(padding));
            pair.establish();
            pair.link(Side::Initiator).send(Message::new("news", &[7; 400])).expect("it is taken");
            pair.run();
            let recording = pair.link(Side::Initiator).recording().expect("it is recorded");
            replay(&pair.link(Side::Responder).recording().expect("it is recorded"));
            let (shown, _) = shown(&recording);
            let last = shown.lines().rfind(|line| line.contains("sealed: record")).expect("a record");
            sealed.push(last.trim().to_owned());
        }
        // The frame has 4 bytes of header and 5 of the service's name. Of the length's nine bits Padmé drops four.
        assert_eq!(sealed, [409, 1024, 416].map(|length| format!("sealed: record, {length} bytes")));
    }
}

#[test]
fn o5_calls_that_end_with_their_link_say_in_a_recording_why_and_whether_they_may_have_been_executed() {
    for exact in [false, true] {
        let mut pair = pair(exact, 44, |builder| builder);
        pair.establish();
        let (now, time) = (pair.now, Duration::from_secs(5));
        let link = pair.link(Side::Initiator);
        link.call(Message::new("ask", "sent"), time, now).expect("the call is taken");
        pair.run();
        let link = pair.link(Side::Initiator);
        link.call(Message::new("ask", "not sent"), time, now).expect("the call is taken");
        link.transport_failed(now);
        pair.run();
        let (shown, _) = shown(&recordings(&mut pair)[0]);
        let failed: Vec<_> = shown.lines().filter(|line| line.contains("event call_failed")).collect();
        let [first, second] = failed[..] else { panic!("{failed:?}") };
        assert!(first.ends_with("call_failed, call 1, may have been executed: transport (11)"), "{first}");
        assert!(second.ends_with("call_failed, call 2: transport (11)"), "{second}");
    }
}

/// What cannot be redacted without becoming something else is left out whole, with all that follows.
#[test]
fn o5_a_recording_ends_before_a_step_that_cannot_be_redacted() {
    // Two names, as long as names can be, and a third one that is whole or cut off: behind the two of them nothing
    // shows that it is cut off but all that stands before it.
    let said = [&[255][..], &[b'n'; 255], &[255], &[b'n'; 255]].concat();
    let whole = [&[REFUSE, 0, 23, 3][..], &said, &[5], b"third"].concat();
    let cut = [&[REFUSE, 0, 23, 3][..], &said, &[9], b"third"].concat();
    for (refusal, end, reason) in
        [(whole, End::Stopped, "missing_capability"), (cut, End::Unrecordable, "violation")]
    {
        let mut solo = Solo::responder(&config(2, &[1]), 0);
        solo.link = Link::responder(&config(2, &[1]), 1, &seed(1), solo.now);
        solo.events.clear();
        solo.link.record(Recorder::redacted(ROOM)).expect("a fresh link");
        let mut peer = Hostile::dial_to(&mut solo);
        let before = solo.link.recording().expect("it is recorded");
        let record = peer.seal(&refusal);
        solo.feed(&record);
        // The link itself goes by what came.
        assert_eq!(solo.closed().reason.name(), reason);
        let recording = solo.link.recording().expect("it is recorded");
        let mut replayed = Replay::open(recording.as_bytes()).expect("a recording");
        let run = replayed.run().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(run.end, end);
        // What is left is whole, and the read that ends the link is not in it.
        assert!(run.steps >= replay(&before).steps, "{run:?}");
        assert_eq!(replayed.link().closed().is_some(), end == End::Stopped);
        let leaks = recording.as_bytes().windows(8).any(|window| window == b"nnnnnnnn");
        assert_eq!(leaks, end == End::Stopped, "names of capabilities are kept");
    }
}

/// A length that no reader would believe is not written.
#[test]
fn o5_a_recording_ends_before_a_step_that_is_longer_than_any_recording_may_say() {
    const MOST: usize = 1 << 28;
    for (length, end) in [(MOST, End::Stopped), (MOST + 1, End::Unrecordable)] {
        let mut pair = pair(false, 45, |builder| builder);
        pair.establish();
        let link = pair.link(Side::Initiator);
        let stream = link.open_stream("pipe", Priority::Normal).expect("a stream");
        let before = replay(&link.recording().expect("it is recorded")).steps;
        assert!(link.stream_write(stream, &vec![0; length]) > 0);
        link.stream_finish(stream);
        let run = replay_bytes(link.recording().expect("it is recorded").as_bytes());
        assert_eq!(run.end, end);
        assert_eq!(run.steps, if end == End::Stopped { before + 2 } else { before });
    }
}
