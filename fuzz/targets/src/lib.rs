//! What the fuzzers of handclasp run. A target is a function from bytes that panics when something does not hold: see
//! [`Target`] and [`ALL`].
//!
//! The libFuzzer binaries beside this crate call these functions, and so does a test of the repository that replays
//! the corpora on stable Rust. docs/fuzzing.md says how to use both.

#![forbid(unsafe_code)]

extern crate alloc;

mod advert;
mod differential;
mod frame;
mod hello;
mod input;
mod layouts;
mod link;
mod mutate;
mod owner;
mod pair;
mod peer;
mod refusal;
mod replay;
mod runner;
mod seeds;
mod signed;
mod stream;
#[cfg(test)]
mod tests;
mod transparent;
mod trust_list;
mod world;

// The core's own sources in `layouts` name their neighbours by these paths.
use handclasp::crypto;

pub use runner::Mutations;

/// Something to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name, also of its corpus and of its binary.
    pub name: &'static str,
    /// Runs one input. It panics when something that must hold does not.
    pub run: fn(&[u8]),
    /// The longest input worth trying, in bytes.
    pub longest: usize,
    seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// Inputs to begin with: what honest sides say, and a few that are not.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }
}

/// Adverts, read, written and kept.
pub const ADVERT: Target = Target { name: "advert", run: advert::run, longest: 5000, seeds: seeds::advert };

/// The Noise engine beside `snow`.
pub const DIFFERENTIAL: Target =
    Target { name: "differential", run: differential::run, longest: 2000, seeds: seeds::differential };

/// Frames, read and written.
pub const FRAME: Target = Target { name: "frame", run: frame::run, longest: 4096, seeds: seeds::frame };

/// Hellos, read and written, and the outcome of two.
pub const HELLO: Target = Target { name: "hello", run: hello::run, longest: 8200, seeds: seeds::hello };

/// One link in either role; the input is a script for its peer, who gets past the cryptography, and its owner.
pub const LINK: Target = Target { name: "link", run: link::run, longest: 6144, seeds: seeds::link };

/// Two links, their owners and a hostile pipe.
pub const PAIR: Target = Target { name: "pair", run: pair::run, longest: 2048, seeds: seeds::pair };

/// The stream of a link from its first byte.
pub const PREAMBLE: Target =
    Target { name: "preamble", run: stream::preamble, longest: 6000, seeds: seeds::preamble };

/// The stream of a link behind its handshake.
pub const RECORD: Target =
    Target { name: "record", run: stream::record, longest: 8192, seeds: seeds::record };

/// Refusals, read and written.
pub const REFUSAL: Target =
    Target { name: "refusal", run: refusal::run, longest: 5000, seeds: seeds::refusal };

/// Recordings of links, read and replayed.
pub const REPLAY: Target = Target { name: "replay", run: replay::run, longest: 8192, seeds: seeds::replay };

/// Signed messages, read, written and remembered.
pub const SIGNED: Target = Target { name: "signed", run: signed::run, longest: 4000, seeds: seeds::signed };

/// The text of trust lists, and changes to it.
pub const TRUST_LIST: Target =
    Target { name: "trust_list", run: trust_list::run, longest: 2048, seeds: seeds::trust_list };

/// A world of nodes, what happens to it, and that it comes to rest.
pub const WORLD: Target = Target { name: "world", run: world::run, longest: 600, seeds: seeds::world };

/// All targets.
pub const ALL: [Target; 13] = [
    ADVERT,
    DIFFERENTIAL,
    FRAME,
    HELLO,
    LINK,
    PAIR,
    PREAMBLE,
    RECORD,
    REFUSAL,
    REPLAY,
    SIGNED,
    TRUST_LIST,
    WORLD,
];
