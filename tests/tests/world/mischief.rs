//! The world can fail: owners that do something wrong are found out.

use std::panic::{AssertUnwindSafe, catch_unwind};

use handclasp_sim::world::Mischief;
use handclasp_sim::world::storm::{self, Options};

/// Seeds within which each mischief has to be found.
const SEEDS: u64 = 60;

/// What the first storm says that finds it out.
fn found_out(mischief: Mischief) -> Option<String> {
    (1..=SEEDS).find_map(|seed| {
        let options = Options { mischief: Some(mischief), ..Options::default() };
        let caught = catch_unwind(AssertUnwindSafe(|| storm::run(seed, options))).err()?;
        Some(caught.downcast_ref::<String>().cloned().unwrap_or_default())
    })
}

fn expect(mischief: Mischief, words: &[&str]) {
    let says = found_out(mischief).unwrap_or_else(|| panic!("nobody notices {mischief:?}"));
    assert!(
        words.iter().any(|words| says.contains(words)),
        "{mischief:?} is taken for something else: {says}"
    );
}

#[test]
fn m6_an_owner_that_loses_what_the_node_gives_to_a_link_is_found_out() {
    expect(Mischief::DropDelivered, &["lost without a word", "is missing on route"]);
}

#[test]
fn m6_an_owner_that_hands_a_message_over_twice_is_found_out() {
    expect(Mischief::DeliverTwice, &["delivered twice", "comes behind"]);
}

#[test]
fn m6_an_owner_that_forgets_what_was_on_its_way_to_a_link_that_ended_is_found_out() {
    expect(Mischief::ForgetHeld, &["lost without a word", "is missing on route"]);
}

#[test]
fn m6_an_owner_that_swaps_the_words_of_a_node_is_found_out() {
    expect(Mischief::SwapWords, &["out of order", "comes behind", "does not come to rest", "not as"]);
}

#[test]
fn o4_the_same_seed_is_the_same_storm_to_the_last_byte() {
    for seed in [1, 77, 500, 1234] {
        let report = storm::run(seed, Options::default());
        assert_eq!(storm::run(seed, Options::default()), report, "seed {seed}");
        assert_ne!(storm::run(seed + 1, Options::default()).hash, report.hash, "seed {seed}");
    }
}
