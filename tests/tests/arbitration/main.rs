//! Arbitration: its whole table, and a model check over every interleaving of dials, losses and restarts
//! (docs/arbitration.md).

// Worlds are packed into small numbers on purpose; that nothing is lost is checked for each of them.
#![allow(clippy::cast_possible_truncation)]

mod properties;
mod rules;
mod search;
mod step;
mod table;
mod variants;
mod world;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Instant;

use handclasp::NodeId;
use handclasp::node::arbitration::{self, LinkFacts, Standing, Verdict};

use properties::{Checked, Property};
use rules::{Library, Rules};
use step::Model;
use world::{DialEnd, Side};

const DOCUMENT: &str = include_str!("../../../docs/arbitration.md");

/// A number as the document writes it.
fn spaced(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(" ")
}

/// Asserts every property over all that can happen, and says how much that was.
fn holds(model: &Model<'_>) {
    let (started, wants, faults) = (Instant::now(), model.wants, model.faults);
    let mut checked = Checked::new(model);
    println!("{} worlds, with {faults} faults, where [A, B] want a link: {wants:?}", checked.graph.len());
    for property in Property::ALL {
        let violation = checked.violation(property);
        assert!(
            violation.is_none(),
            "{}",
            violation.map(|violation| violation.to_string()).unwrap_or_default()
        );
        println!("{:>8} cases of {property:?}", checked.cases);
        assert!(checked.cases > 0, "a property without cases says nothing");
    }
    let (most_dials, without_room) = (checked.most_dials(), checked.without_room());
    println!("{without_room:>8} worlds with no room for another dial");
    println!("{most_dials:>8} more dials at most, whatever has happened; {:?}", started.elapsed());
    let row = format!("| {} | {most_dials} |", spaced(checked.graph.len()));
    assert!(DOCUMENT.contains(&row), "docs/arbitration.md has other figures than {row}");
    assert!(without_room == 0 || DOCUMENT.contains(&spaced(without_room)), "{without_room} without room");
}

#[test]
fn c5_the_rules_hold_when_both_want_a_link() {
    holds(&Model::new(&Library, [true, true], 3));
}

#[test]
fn c5_the_rules_hold_when_the_application_takes_its_time_over_each_peer() {
    holds(&Model { asks: true, ..Model::new(&Library, [true, true], 2) });
}

#[test]
#[ignore = "takes half a minute and a gigabyte with --release, and far longer without"]
fn c5_the_rules_hold_when_one_thing_more_goes_wrong() {
    holds(&Model::new(&Library, [true, true], 4));
}

#[test]
fn c5_the_rules_hold_when_one_wants_a_link() {
    holds(&Model::new(&Library, [true, false], 3));
    holds(&Model::new(&Library, [false, true], 3));
}

#[test]
fn c2_of_two_dials_that_both_peers_know_of_the_greater_ids_wins() {
    let model = Model::new(&Library, [true, true], 0);
    let checked = Checked::new(&model);
    let mut cases = 0;
    for number in 0..checked.graph.len() {
        let dials = checked.graph.world(number).connections;
        let both_wait = Side::BOTH
            .into_iter()
            .all(|side| dials.iter().any(|dial| dial.dialler == side && dial.dial == DialEnd::Waits));
        if both_wait {
            cases += 1;
            let ends = checked.ends_of(number);
            assert!(!ends.is_empty());
            assert!(ends.iter().all(|end| end.connections[0].dialler == Side::B), "{dials:?}");
        }
    }
    assert!(cases > 0);
}

/// The library's rules, and what they have said.
#[derive(Default)]
struct Watched(RefCell<BTreeSet<String>>);

impl Watched {
    fn said(&self, what: &str, verdict: Verdict) -> Verdict {
        self.0.borrow_mut().insert(format!("{what} {verdict:?}"));
        verdict
    }
}

impl Rules for Watched {
    fn decide(&self, own: NodeId, peer: NodeId, new: LinkFacts, standing: Standing) -> Verdict {
        let verdict = arbitration::decide(own, peer, new, standing, false);
        self.said("at first", verdict)
    }

    fn own_dial_over(
        &self,
        own: NodeId,
        peer: NodeId,
        new: LinkFacts,
        standing: Standing,
        goes_on: bool,
    ) -> Verdict {
        self.said("in the end", arbitration::own_dial_over(own, peer, new, standing, goes_on))
    }

    fn answered(&self, own: NodeId, peer: NodeId, new: LinkFacts, own_dial: bool, goes_on: bool) -> Verdict {
        self.said("answered", arbitration::answered(own, peer, new, own_dial, goes_on))
    }
}

#[test]
fn c5_the_search_comes_to_every_verdict() {
    let watched = Watched::default();
    let worlds = search::Graph::explore(&Model::new(&watched, [true, true], 2)).len();
    println!("{worlds} worlds: {:#?}", watched.0.borrow());
    let said = watched.0.borrow();
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    assert_eq!(
        said,
        [
            "answered Admit { simultaneous: false }",
            "answered Admit { simultaneous: true }",
            "answered Defer",
            "answered Refuse(Alive)",
            "at first Admit { simultaneous: false }",
            "at first Admit { simultaneous: true }",
            "at first AskAlive",
            "at first Defer",
            "at first Refuse(Alive)",
            "in the end Admit { simultaneous: false }",
            "in the end Refuse(Simultaneous)",
        ]
    );
}

#[test]
fn c5_the_document_names_every_variant_and_no_other() {
    let in_the_code = include_str!("variants.rs").split("fn ").skip(1);
    let in_the_code = in_the_code.filter_map(|rest| rest.split('(').next());
    let in_the_code: BTreeSet<_> = in_the_code.filter(|name| name.starts_with("c5_variant_")).collect();
    let in_the_document = DOCUMENT.split('`').filter(|word| word.starts_with("c5_variant_"));
    assert_eq!(in_the_document.collect::<BTreeSet<_>>(), in_the_code);
    assert_eq!(in_the_code.len(), 13);
}
