//! Replays a recording of a link and prints it step by step, as far as it goes.
//!
//! `cargo run -p handclasp --example replay --features recording -- FILE`

use std::error::Error;
use std::process::ExitCode;

use handclasp::recording::Replay;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: replay FILE");
        return ExitCode::FAILURE;
    };
    match replay(&path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn replay(path: &str) -> Result<(), Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let mut replay = Replay::open(&bytes)?;
    let kind = if replay.is_exact() { "exact: the file holds secrets" } else { "redacted" };
    let role = if replay.link().is_initiator() { "initiator" } else { "responder" };
    println!("{role} {}, recorded by version {}, {kind}", replay.node_id(), replay.recorded_by());
    while let Some(step) = replay.step()? {
        println!("{step}");
    }
    if let Some(end) = replay.end() {
        println!("the recording ends: {end}");
    }
    if let Some(closed) = replay.link().closed() {
        println!("the link has ended: {closed}");
    }
    Ok(())
}
