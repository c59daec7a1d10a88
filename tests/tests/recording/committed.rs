//! Two recordings that lie in the repository: what is recorded today replays tomorrow.
//!
//! `HANDCLASP_BLESS=1 cargo test -p handclasp-sim --test recording committed` writes them anew, when the link
//! takes other steps on purpose.

use std::path::{Path, PathBuf};

use handclasp::recording::{End, Replay};
use handclasp_sim::{Pair, Side, id};

use crate::support::{config, everything, recorder, recordings};

fn path(exact: bool) -> PathBuf {
    let name = if exact { "exact.hclrec" } else { "redacted.hclrec" };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recording").join(name)
}

/// The initiator's side of a run with everything in it.
fn recorded(exact: bool) -> Vec<u8> {
    let mut pair = Pair::seeded(&config(1, 2), &config(2, 1), Some(id(2)), 11);
    pair.link(Side::Initiator).record(recorder(exact, 11, Side::Initiator)).expect("a fresh link");
    // One side is enough: the other records what it likes.
    pair.link(Side::Responder).record(recorder(false, 11, Side::Responder)).expect("a fresh link");
    everything(&mut pair);
    recordings(&mut pair)[0].as_bytes().to_vec()
}

#[test]
fn o5_the_committed_recordings_replay() {
    for exact in [false, true] {
        let path = path(exact);
        let recorded = recorded(exact);
        if std::env::var_os("HANDCLASP_BLESS").is_some() {
            std::fs::write(&path, &recorded).expect("a file");
        }
        let bytes = std::fs::read(&path).expect("a recording");
        assert!(recorded == bytes, "the same run gives another recording than {}", path.display());
        let mut replay = Replay::open(&bytes).expect("a recording");
        assert_eq!(replay.is_exact(), exact);
        let run = replay.run().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(run.end, End::Stopped);
        assert!(run.steps > 100 && replay.link().is_finished());
    }
}
