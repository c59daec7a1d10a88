//! H4 and H5: capabilities, their validation, and what two sides make of them.

use handclasp::Refusal;
use handclasp::hello::{Capability, Hello, HelloError, HelloPart, VersionRange};
use handclasp::negotiation::{CommonCapability, negotiate};
use proptest::prelude::*;

use super::arbitrary::{narrow_capabilities, plain};

fn can(capabilities: impl IntoIterator<Item = Capability>) -> Hello {
    plain().with_capabilities(capabilities).unwrap()
}

fn capability(name: &str, versions: std::ops::RangeInclusive<u16>) -> Capability {
    Capability::new(name, versions).unwrap()
}

#[test]
fn h4_names_and_ranges_are_checked() {
    let part = HelloPart::Capabilities;
    assert_eq!(Capability::new("", 1..=1), Err(HelloError::Empty { part }));
    assert_eq!(
        Capability::new("c".repeat(256), 1..=1),
        Err(HelloError::TooLong { part, len: 256, most: 255 })
    );
    assert!(Capability::new("c".repeat(255), 1..=1).is_ok());
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = 2..=1;
    assert_eq!(Capability::new("c", reversed), Err(HelloError::EmptyRange { min: 2, max: 1 }));
    assert_eq!(VersionRange::new(1, 3).unwrap().to_string(), "1..=3");
}

#[test]
fn h4_a_set_is_sorted_unique_and_bounded() {
    let hello = can(["b", "a", "c"].map(|name| capability(name, 1..=1)));
    assert_eq!(hello.capabilities.iter().map(|each| each.name.as_str()).collect::<String>(), "abc");

    let part = HelloPart::Capabilities;
    let twice = plain().with_capabilities([capability("a", 1..=1), capability("a", 2..=2)]);
    assert_eq!(twice, Err(HelloError::Duplicate { part, name: "a".into() }));

    let numbered = |count: u16| (0..count).map(|n| capability(&format!("{n}"), 1..=1));
    assert!(plain().with_capabilities(numbered(64)).is_ok());
    let many = plain().with_capabilities(numbered(65));
    assert_eq!(many, Err(HelloError::TooMany { part, count: 65, most: 64 }));

    let mut by_hand = hello;
    by_hand.capabilities.swap(0, 1);
    assert_eq!(by_hand.check(), Err(HelloError::Unordered { part }));
}

#[test]
fn h4_info_follows_the_same_rules() {
    let part = HelloPart::Info;
    let pair = |key: &str| (key.to_owned(), Box::<[u8]>::default());
    assert_eq!(
        plain().with_info([pair("k"), pair("k")]),
        Err(HelloError::Duplicate { part, name: "k".into() })
    );
    assert_eq!(plain().with_info([pair("")]), Err(HelloError::Empty { part }));
    assert_eq!(plain().with_info([pair("b"), pair("a")]).unwrap().info, [pair("a"), pair("b")]);
}

#[test]
fn h4_each_capability_gets_its_highest_common_version() {
    let ours = can([
        capability("apart", 1..=2),
        capability("chat", 1..=5),
        capability("ours", 1..=1),
        capability("zip", 2..=2),
    ]);
    let theirs = can([
        capability("apart", 3..=4),
        capability("chat", 3..=9),
        capability("theirs", 1..=1),
        capability("zip", 0..=u16::MAX),
    ]);
    let outcome = negotiate(&ours, &theirs).unwrap();
    let common = |name: &str, version| CommonCapability { name: name.into(), version };
    assert_eq!(outcome.capabilities, [common("chat", 5), common("zip", 2)]);
    assert_eq!(outcome.capability("chat"), Some(5));
    assert_eq!(outcome.capability("apart"), None);
    assert_eq!(outcome.capability("ours"), None);
    assert_eq!(negotiate(&theirs, &ours).unwrap(), outcome);
}

#[test]
fn h5_a_missing_required_capability_is_named_to_both_sides() {
    let ours = can([
        capability("zip", 1..=1).required(),
        capability("both", 1..=2).required(),
        capability("apart", 1..=1),
    ]);
    let theirs = can([
        capability("apart", 2..=3).required(),
        capability("both", 2..=2),
        capability("sync", 1..=1).required(),
        capability("extra", 1..=1),
    ]);
    let expected =
        Err(Refusal::MissingCapability { names: vec!["apart".into(), "sync".into(), "zip".into()] });
    assert_eq!(negotiate(&ours, &theirs), expected);
    assert_eq!(negotiate(&theirs, &ours), expected);

    let enough = can([capability("zip", 0..=1), capability("both", 2..=3), capability("sync", 1..=1)]);
    assert_eq!(negotiate(&ours, &enough).unwrap().capabilities.len(), 2);
    assert_eq!(negotiate(&plain(), &enough).unwrap().capabilities, []);
}

/// The rule of docs/wire.md, name by name, by trying every version: slow, and nothing like the crate's own way.
fn tried(ours: &Hello, theirs: &Hello) -> Result<Vec<(String, u16)>, Vec<String>> {
    let (mut common, mut missing) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c", "d", "e"] {
        let find = |hello: &Hello| hello.capabilities.iter().find(|each| each.name == name).cloned();
        let sides = [find(ours), find(theirs)];
        let takes = |side: &Option<Capability>, version| {
            side.as_ref().is_some_and(|each| each.versions.contains(version))
        };
        let highest = (0..5).rev().find(|version| sides.iter().all(|side| takes(side, *version)));
        match highest {
            Some(version) => common.push((name.to_owned(), version)),
            None if sides.iter().flatten().any(|each| each.required) => missing.push(name.to_owned()),
            None => {}
        }
    }
    if missing.is_empty() { Ok(common) } else { Err(missing) }
}

proptest! {
    #[test]
    fn h4_h5_both_sides_compute_the_same(ours in narrow_capabilities(), theirs in narrow_capabilities()) {
        let (ours, theirs) = (can(ours), can(theirs));
        let outcome = negotiate(&ours, &theirs);
        prop_assert_eq!(&outcome, &negotiate(&theirs, &ours));
        match (outcome, tried(&ours, &theirs)) {
            (Ok(outcome), Ok(common)) => {
                let got: Vec<_> = outcome.capabilities.into_iter().map(|each| (each.name, each.version)).collect();
                prop_assert_eq!(got, common);
            }
            (Err(Refusal::MissingCapability { names }), Err(missing)) => prop_assert_eq!(names, missing),
            (got, expected) => prop_assert!(false, "{:?} where {:?} is due", got, expected),
        }
    }
}
