//! Recordings of links, read and replayed.

use handclasp::recording::{Replay, ReplayError, Run};

/// Opens a recording and replays it, twice. What can be opened can be read to its end, and comes to the same
/// both times.
pub(crate) fn run(data: &[u8]) {
    let outcome = once(data);
    assert_eq!(outcome, once(data));
}

/// Where the replay of a recording comes to; `None` if the bytes are none.
fn once(data: &[u8]) -> Option<Result<Run, ReplayError>> {
    let mut replay = Replay::open(data).ok()?;
    let mut steps = 0;
    loop {
        match replay.step() {
            Ok(Some(step)) => {
                assert_eq!(step.index, steps);
                assert!(step.to_string().contains(step.method));
                steps += 1;
            }
            Ok(None) => break,
            Err(ReplayError::Bad(why)) => panic!("step {steps} was read when it was opened: {why}"),
            Err(ReplayError::Differs(difference)) => {
                assert_eq!(difference.step, steps);
                assert!(!difference.to_string().is_empty());
                return Some(Err(ReplayError::Differs(difference)));
            }
        }
    }
    let end = replay.end().expect("it is at its end");
    assert_eq!(replay.run(), Ok(Run { steps, end }));
    Some(Ok(Run { steps, end }))
}
