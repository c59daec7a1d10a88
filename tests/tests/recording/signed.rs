//! Recorded links that take signed messages: the verdict on each is in the recording, and the replay asks no
//! policy, no store and no key for it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use handclasp::crypto::CryptoProvider;
use handclasp::recording::{Recording, Replay, ReplayError};
use handclasp::signed::{NotFresh, Origins, ReplayStore, ReplayWindows, SignedMessage, SignedPolicy};
use handclasp::{Message, NodeId, Payload};
use handclasp_sim::{Counting, Pair, Side, builder, id};

use crate::support::{
    ROOM, SECRETS, SIDES, policy, recorded_pair, recorder, recordings, replay, sign, signed_ones,
};

/// The step in words, of all steps.
fn shown(recording: &Recording) -> String {
    let mut replay = Replay::open(recording.as_bytes()).expect("a recording");
    let mut shown = String::new();
    while let Some(step) = replay.step().unwrap_or_else(|error| panic!("{error}")) {
        writeln!(shown, "{step}").expect("room");
    }
    shown
}

/// What comes of signed messages at node 2, and its counts.
fn come(pair: &mut Pair) -> (Vec<(bool, SignedMessage)>, [u64; 3]) {
    pair.establish();
    signed_ones(pair)
}

#[test]
fn o5_a_recorded_link_takes_refuses_and_relays_signed_messages_as_it_does_unrecorded_and_replays() {
    let nodes = [crate::support::config(1, 2), crate::support::config(2, 1)];
    let plain = come(&mut Pair::seeded(&nodes[0], &nodes[1], Some(id(2)), 21));
    assert_eq!(plain.1, [3, 2, 1]);
    let what: Vec<_> = plain.0.iter().map(|(relay, message)| (*relay, message.origin())).collect();
    assert_eq!(what, [(false, id(3)), (false, id(1)), (true, id(3))]);
    for exact in [false, true] {
        let mut pair = recorded_pair(exact, 21);
        assert_eq!(come(&mut pair), plain);
        for recording in recordings(&mut pair) {
            assert!(replay(&recording).steps > 10);
        }
        let (one, three, four) = (id(1), id(3), id(4));
        let shown = shown(&recordings(&mut pair)[1]);
        for line in [
            format!("signed message: taken, of {three} for {}, 7.1", id(2)),
            format!("signed message: taken, of {one} for topic \"weather\", 7.1"),
            "signed message: refused, a signed message that has come already".into(),
            format!("signed message: to be passed on, of {three} for {four}, 7.1"),
            "signed message: refused, signed by a node that this one does not listen to".into(),
            "signed message: refused, the signature of the message does not verify".into(),
            format!("event message \"post\", priority 1, sequence 0, signed: {three} for {}", id(2)),
            format!("event relay \"post\", priority 1, signed: {three} for {four}, 7.1, 199 bytes"),
            "signed accepted 3, signed refused 2, signed replays 1".into(),
        ] {
            assert!(shown.contains(&line), "{line} is missing in\n{shown}");
        }
    }
}

#[test]
fn o5_a_redacted_recording_keeps_who_signed_and_neither_body_nor_signature() {
    let mut pair = recorded_pair(false, 22);
    let (came, _) = come(&mut pair);
    for recording in recordings(&mut pair) {
        let bytes = recording.as_bytes();
        for (_, message) in &came {
            let (_, signature) = message.bytes().split_last_chunk::<64>().expect("a signature");
            let parts = signature.windows(8).chain(SECRETS[9].windows(8));
            for part in parts {
                assert!(!bytes.windows(8).any(|window| window == part), "{message:?}");
            }
        }
    }
    let received = &recordings(&mut pair)[1];
    for origin in [id(1), id(3)] {
        assert!(received.as_bytes().windows(32).any(|window| window == origin.as_bytes()));
    }
    // The stand-in for the message has all of that, and zeros for the rest.
    let mut replay = Replay::open(received.as_bytes()).expect("a recording");
    while replay.step().expect("a step").is_some() {}
    assert_eq!(replay.link().stats().signed_accepted, 3);
}

/// Says no for a reason of its own to everything that it is asked about.
#[derive(Debug)]
struct Never(NotFresh);

impl ReplayStore for Never {
    fn admit(
        &self,
        _origin: &NodeId,
        _audience: &handclasp::signed::Audience,
        _epoch: u64,
        _sequence: u64,
    ) -> Result<(), NotFresh> {
        Err(self.0)
    }
}

#[test]
fn o5_what_came_over_another_link_of_the_node_is_an_input_of_the_recorded_one() {
    let message = sign(3, id(2), 1, SECRETS[9]);
    for exact in [false, true] {
        let store = Arc::new(Mutex::default());
        let receiver = || builder(2, &[1]).signed(policy(&store)).build().expect("valid");
        let sender = builder(1, &[2]).build().expect("valid");
        let recordings = [31, 32].map(|run| {
            let mut pair = Pair::seeded(&sender, &receiver(), Some(id(2)), run);
            pair.link(Side::Responder).record(recorder(exact, run, Side::Responder)).expect("a fresh link");
            pair.establish();
            pair.link(Side::Initiator).send(message.message()).expect("it is taken");
            pair.run();
            let stats = pair.link(Side::Responder).stats();
            assert_eq!(
                [stats.signed_accepted, stats.signed_replays],
                [u64::from(run == 31), u64::from(run == 32)]
            );
            pair.link(Side::Responder).recording().expect("it is recorded")
        });
        // In any order, and as often as one likes.
        for recording in [&recordings[1], &recordings[0], &recordings[1], &recordings[0]] {
            replay(recording);
        }
    }
    // Every answer of a store, and a rule of the application's.
    let rule = |yes| Origins::rule(move |_| yes);
    for why in [NotFresh::Seen, NotFresh::TooOld, NotFresh::OldEpoch, NotFresh::Full] {
        for (yes, counts) in [(true, [0, 1]), (false, [1, 0])] {
            let policy = SignedPolicy::new(rule(yes), Arc::new(Never(why)));
            let receiver = builder(2, &[1]).signed(policy).build().expect("valid");
            let sender = builder(1, &[2]).build().expect("valid");
            let mut pair = Pair::seeded(&sender, &receiver, Some(id(2)), 33);
            pair.link(Side::Responder).record(recorder(false, 33, Side::Responder)).expect("a fresh link");
            pair.establish();
            pair.link(Side::Initiator).send(message.message()).expect("it is taken");
            pair.run();
            let stats = pair.link(Side::Responder).stats();
            assert_eq!([stats.signed_refused, stats.signed_replays], counts);
            let recording = pair.link(Side::Responder).recording().expect("it is recorded");
            let line = if yes { why.to_string() } else { "does not listen to".into() };
            assert!(shown(&recording).contains(&line), "{line}");
        }
    }
}

/// Neither the origin nor the audience of a signed message need be anybody's id.
#[test]
fn o5_a_signed_message_that_is_no_id_s_is_refused_in_the_replay_too() {
    let none = (0..=255).map(|byte| [byte; 32]).find(|bytes| NodeId::from_bytes(*bytes).is_err());
    let none = none.expect("not everything is an id");
    for exact in [false, true] {
        for of in [id(3), id(4)] {
            let mut bytes = sign(3, id(4), 1, SECRETS[9]).bytes().to_vec();
            let at = bytes.windows(32).position(|window| window == of.as_bytes()).expect("it is named");
            bytes[at..at + 32].copy_from_slice(&none);
            let policy = SignedPolicy::new(Origins::Anyone, Arc::new(Mutex::<ReplayWindows>::default()));
            let receiver = builder(2, &[1]).signed(policy.relay()).build().expect("valid");
            let mut pair =
                Pair::seeded(&builder(1, &[2]).build().expect("valid"), &receiver, Some(id(2)), 35);
            pair.link(Side::Responder).record(recorder(exact, 35, Side::Responder)).expect("a fresh link");
            pair.establish();
            let message = Message::new("post", Payload::Signed(bytes.into()));
            pair.link(Side::Initiator).send(message).expect("it is taken");
            pair.run();
            assert_eq!(pair.link(Side::Responder).stats().signed_refused, 1);
            let recording = pair.link(Side::Responder).recording().expect("it is recorded");
            let shown = shown(&recording);
            assert!(shown.contains("signed message: refused, an id in the signed message is"), "{shown}");
        }
    }
}

#[test]
fn o5_a_link_that_takes_no_signed_messages_is_recorded_as_one() {
    for exact in [false, true] {
        let nodes = [builder(1, &[2]).build().expect("valid"), builder(2, &[1]).build().expect("valid")];
        let mut pair = Pair::seeded(&nodes[0], &nodes[1], Some(id(2)), 34);
        for side in SIDES {
            pair.link(side).record(recorder(exact, 34, side)).expect("a fresh link");
        }
        pair.establish();
        pair.link(Side::Initiator).send(sign(3, id(2), 1, SECRETS[9]).message()).expect("it is taken");
        pair.run();
        assert_eq!(pair.link(Side::Responder).stats().signed_refused, 1);
        let recordings = recordings(&mut pair);
        for recording in &recordings {
            replay(recording);
        }
        let shown = shown(&recordings[1]);
        assert!(shown.contains("signed refused 1") && !shown.contains("signed message:"), "{shown}");
    }
}

#[test]
fn o5_a_replay_verifies_no_signed_message() {
    for exact in [false, true] {
        let mut pair = recorded_pair(exact, 23);
        come(&mut pair);
        let [_, recording] = recordings(&mut pair);
        let counting = Counting::default();
        let provider: Arc<dyn CryptoProvider> = Arc::new(counting.clone());
        Replay::with_provider(recording.as_bytes(), &provider)
            .expect("a recording")
            .run()
            .expect("it replays");
        // That of the handshake, where there are keys.
        assert_eq!(counting.verified.get(), usize::from(exact));
    }
}

#[test]
fn o5_a_verdict_that_was_altered_is_noticed() {
    for exact in [false, true] {
        let mut pair = recorded_pair(exact, 24);
        come(&mut pair);
        let [_, recording] = recordings(&mut pair);
        assert!(recording.as_bytes().len() < ROOM);
        // The verdict behind its tag and length: operation 9, accepted, not to be passed on, by node 3.
        let origin = id(3);
        let verdict = [&[9, 0, 0], &origin.as_bytes()[..]].concat();
        let places = recording.as_bytes().windows(verdict.len()).position(|window| window == verdict);
        let at = places.expect("a verdict");
        // Passed on; refused as a replay; no verdict at all; for another service or audience.
        for (offset, byte) in [(2, 1), (1, 8), (0, 2), (1, 99), (2, 7)] {
            let mut altered = recording.as_bytes().to_vec();
            altered[at + offset] = byte;
            match Replay::open(&altered) {
                Ok(mut replay) => match replay.run() {
                    Err(ReplayError::Differs(difference)) => {
                        // A message that is to be passed on is the same until the application has it.
                        let method = if (offset, byte) == (2, 1) { "poll" } else { "received" };
                        assert_eq!(difference.method, method, "{difference}");
                    }
                    other => panic!("{offset} {byte}: {other:?}"),
                },
                Err(error) => assert!(matches!((offset, byte), (1, 99) | (2, 7)), "{offset} {byte}: {error}"),
            }
        }
    }
}
