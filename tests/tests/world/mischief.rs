//! The world can fail: owners that do something wrong are found out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use handclasp::node::Permanence;
use handclasp_sim::world::storm::{self, Options};
use handclasp_sim::world::{Mischief, NodeSpec, Post, Weather, World};

const SECOND: Duration = Duration::from_secs(1);

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
fn m6_a_link_that_does_not_say_what_it_does_not_know_is_found_out() {
    expect(Mischief::ForgetUnknown, &["lost without a word"]);
}

/// A world in which words between links and nodes take their time.
fn slow_words(seed: u64, mischief: Option<Mischief>) -> (World, usize, usize) {
    let weather = Weather { words: Duration::from_millis(200), ..Weather::default() };
    let mut world = World::new(seed).weather(weather);
    if let Some(mischief) = mischief {
        world = world.mischief(mischief);
    }
    let (a, b) = (world.add_node(NodeSpec::new()), world.add_node(NodeSpec::new()));
    world.introduce(a, b);
    (world, a, b)
}

/// Messages wait for a link, and it is cut while they are on their way to it: how many were, and came back.
fn cut_under_way(seed: u64, mischief: Option<Mischief>) -> u64 {
    let (mut world, a, b) = slow_words(seed, mischief);
    for length in 10..15 {
        world.send(a, b, Post::new(length)).expect("queued");
    }
    assert!(world.run_until(SECOND * 5, |world| world.node(a).route(world.id(b)).is_some()));
    world.cut(a, b);
    world.run_for(SECOND * 20);
    assert_eq!(world.settle().delivered, 5);
    world.counts().held
}

#[test]
fn m6_an_owner_that_forgets_what_was_on_its_way_to_a_link_that_ended_is_found_out() {
    let held = (1..=20).filter(|seed| cut_under_way(*seed, None) > 0).collect::<Vec<_>>();
    assert!(!held.is_empty());
    for seed in held {
        let caught = catch_unwind(|| cut_under_way(seed, Some(Mischief::ForgetHeld)));
        let says = caught.expect_err("it is found out").downcast_ref::<String>().cloned().unwrap_or_default();
        assert!(says.contains("lost without a word"), "{says}");
    }
}

/// A wish changes twice while the word of it is on its way: whether the peer knows the last one.
fn change_of_mind(seed: u64, mischief: Option<Mischief>) -> bool {
    let (mut world, a, b) = slow_words(seed, mischief);
    world.set_permanence(a, b, Permanence::Permanent);
    assert!(world.run_until(SECOND * 5, |world| world.agree(a, b) == Some(true) && world.is_told(a, b)));
    world.set_permanence(a, b, Permanence::Ephemeral);
    world.set_permanence(a, b, Permanence::Permanent);
    world.run_for(SECOND * 5);
    world.is_told(a, b)
}

#[test]
fn d1_an_owner_that_swaps_the_words_of_a_node_is_found_out() {
    for seed in 1..=20 {
        assert!(change_of_mind(seed, None));
        assert!(!change_of_mind(seed, Some(Mischief::SwapWords)), "seed {seed}");
    }
}

#[test]
fn o4_the_same_seed_is_the_same_storm_to_the_last_byte() {
    for seed in [1, 77, 500, 1234] {
        let report = storm::run(seed, Options::default());
        assert_eq!(storm::run(seed, Options::default()), report, "seed {seed}");
        assert_ne!(storm::run(seed + 1, Options::default()).hash, report.hash, "seed {seed}");
    }
}
