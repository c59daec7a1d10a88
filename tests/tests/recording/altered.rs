//! Recordings that somebody has changed: the replay says where, or that they are none.

use handclasp::Message;
use handclasp::recording::{BadRecording, Replay, ReplayError};
use handclasp_sim::Side;

use crate::support::{everything, recorded_pair, recordings};

fn recording(exact: bool) -> Vec<u8> {
    let mut pair = recorded_pair(exact, 6);
    everything(&mut pair);
    recordings(&mut pair)[0].as_bytes().to_vec()
}

fn run(bytes: &[u8]) -> Result<usize, ReplayError> {
    Replay::open(bytes)?.run().map(|run| run.steps)
}

#[test]
fn o5_a_recording_that_was_altered_says_where_it_differs() {
    for exact in [false, true] {
        let mut pair = recorded_pair(exact, 6);
        pair.establish();
        pair.link(Side::Initiator).send(Message::new("a service", "a body")).expect("it is taken");
        pair.run();
        let bytes = recordings(&mut pair)[0].as_bytes().to_vec();
        // The name of the service, where the command has it: what is sealed differs.
        let at = bytes.windows(9).position(|window| window == b"a service").expect("it is named");
        let mut altered = bytes.clone();
        altered[at] = b'A';
        let Err(ReplayError::Differs(difference)) = run(&altered) else { panic!("it replays") };
        let text = difference.to_string();
        assert_eq!(difference.method, "transmit", "{text}");
        assert!(difference.recorded.starts_with("sealed: record"), "{text}");
        assert!(text.contains(&format!("step {}", difference.step)) && difference.step > 5, "{text}");
        assert_eq!(difference.now, pair.now);
        // The replay had come just there.
        let mut replay = Replay::open(&altered).expect("a recording");
        for _ in 0..difference.step {
            replay.step().expect("the same so far").expect("a step");
        }
        assert!(matches!(replay.step(), Err(ReplayError::Differs(again)) if again == difference));
    }
}

#[test]
fn o5_no_change_of_a_byte_panics_and_nearly_each_is_noticed() {
    for exact in [false, true] {
        let bytes = recording(exact);
        let (mut noticed, mut tried) = (0, 0);
        // All of the beginning, then here and there.
        let places = (0..700).chain((700..bytes.len().min(40_000)).step_by(149));
        for at in places {
            let mut altered = bytes.clone();
            altered[at] ^= 0x11;
            tried += 1;
            noticed += usize::from(run(&altered).is_err());
        }
        // Some of what a link is made from makes no difference to this run: deadlines that never come, limits
        // that are never reached, names in the hello.
        assert!(noticed * 10 > tried * 6, "{noticed} of {tried}");
    }
}

#[test]
fn o5_a_recording_that_is_cut_off_is_none() {
    let bytes = recording(false);
    assert_eq!(run(b"HCL"), Err(BadRecording::NotARecording.into()));
    assert_eq!(run(b"handclasp recording 2 of the future"), Err(BadRecording::OtherVersion.into()));
    for length in (100..bytes.len()).step_by(331) {
        assert!(matches!(run(&bytes[..length]), Err(ReplayError::Bad(_))), "{length}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert_eq!(run(&longer), Err(BadRecording::Malformed("bytes behind the end").into()));
}
