//! The fuzz targets on stable Rust: their seeds, the committed corpora, and random changes of both.
//!
//! docs/fuzzing.md has the targets. A fuzzer finds more than this does, where there is one.

use std::path::Path;

use handclasp_fuzz as fuzz;
use handclasp_fuzz::Target;

/// Replays what is kept, then tries `changed` random changes of it, the same ones each time. An input that fails is
/// printed in hex.
fn replay(target: Target, changed: usize) {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let corpus = target.corpus(&corpora).expect("the corpus can be read");
    assert!(!corpus.is_empty(), "no corpus of {} in {}", target.name, corpora.display());
    for input in target.seeds().iter().chain(&corpus) {
        assert!(input.len() <= target.longest, "{} bytes are more than are worth trying", input.len());
        target.try_one(input);
    }
    for input in target.mutations(corpus, 1).take(changed) {
        target.try_one(&input);
    }
}

#[test]
fn corpus_of_adverts() {
    replay(fuzz::ADVERT, 3000);
}

#[test]
fn corpus_of_the_differential() {
    replay(fuzz::DIFFERENTIAL, 1000);
}

#[test]
fn corpus_of_frames() {
    replay(fuzz::FRAME, 100_000);
}

#[test]
fn corpus_of_hellos() {
    replay(fuzz::HELLO, 50_000);
}

#[test]
fn corpus_of_links() {
    replay(fuzz::LINK, 5000);
}

#[test]
fn corpus_of_pairs() {
    replay(fuzz::PAIR, 5000);
}

#[test]
fn corpus_of_preambles() {
    replay(fuzz::PREAMBLE, 5000);
}

#[test]
fn corpus_of_records() {
    replay(fuzz::RECORD, 5000);
}

#[test]
fn corpus_of_refusals() {
    replay(fuzz::REFUSAL, 50_000);
}

#[test]
fn corpus_of_replays() {
    replay(fuzz::REPLAY, 5000);
}

#[test]
fn corpus_of_signed_messages() {
    replay(fuzz::SIGNED, 5000);
}

#[test]
fn corpus_of_trust_lists() {
    replay(fuzz::TRUST_LIST, 2000);
}

#[test]
fn corpus_of_worlds() {
    replay(fuzz::WORLD, 200);
}

/// Each target is tested above, and has seeds that differ.
#[test]
fn every_target_has_seeds_and_a_name_of_its_own() {
    for (place, target) in fuzz::ALL.iter().enumerate() {
        assert!(fuzz::ALL.iter().skip(place + 1).all(|other| other.name != target.name));
        let mut seeds = target.seeds();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        seeds.sort();
        assert!(seeds.is_sorted_by(|one, other| one < other), "{} has a seed twice", target.name);
    }
}
