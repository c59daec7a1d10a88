use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{id, key};
use crate::identity::{NodeId, ParseNodeIdError};
use crate::node::trust::{
    Added, LabelError, MAX_BYTES, MAX_ENTRIES, MAX_LABEL, TimeError, TrustEntry, TrustList, TrustListFull,
    TrustParseError, UnixTime,
};

fn at(text: &str) -> UnixTime {
    text.parse().unwrap()
}

fn parse(text: &str) -> Result<TrustList, TrustParseError> {
    TrustList::parse(text)
}

fn entry(n: u8, label: &str) -> TrustEntry {
    TrustEntry::new(id(n)).with_label(label).unwrap()
}

fn ids(list: &TrustList) -> Vec<NodeId> {
    list.iter().map(|entry| entry.id).collect()
}

/// A list as people write it, with three peers.
fn sample() -> String {
    format!(
        "# Our nodes.\n\n\
         {}\tadded=2026-03-01   expires=2027-03-01T12:00:00Z label=Anna's laptop, 3rd floor \n\
         \x20 # {} label=not yet\n{}\r\n  {} expires=2026-12-24\n\n# The end",
        id(1),
        id(9),
        id(2),
        id(3)
    )
}

#[test]
fn i4_a_line_says_who_since_when_until_when_and_what_people_call_it() {
    let list = parse(&sample()).unwrap();
    assert_eq!(ids(&list), [id(1), id(2), id(3)]);
    let first = list.get(&id(1)).unwrap();
    assert_eq!(first.added, Some(at("2026-03-01")));
    assert_eq!(first.expires, Some(at("2027-03-01T12:00:00Z")));
    assert_eq!(first.label(), "Anna's laptop, 3rd floor");
    assert_eq!(list.get(&id(2)), Some(&TrustEntry::new(id(2))));
    assert_eq!(list.get(&id(3)), Some(&TrustEntry::new(id(3)).expires(at("2026-12-24"))));
    assert_eq!(list.get(&id(9)), None, "a comment trusts nobody");
    assert_eq!(
        first.to_string(),
        format!("{} added=2026-03-01 expires=2027-03-01T12:00:00Z label=Anna's laptop, 3rd floor", id(1))
    );
}

/// The example of docs/trust-file.md.
#[test]
fn i4_the_example_in_the_document_is_a_list() {
    let first = "hcl1u5rvwquj7nf9xp3wlvw6xpjnqn6sdkxhhxxdfztafv83s6xgy0tsnjrj49";
    let second = "hcl1xn2l2qarqpdhcuj73lwxhdh9yw7aaaace2nht705ytg5sdgh8zmsnchzup";
    let third = "hcl16adfsqvzky9t042tlmfujeq88g8wzuhnm2nzxfd0qgdx3ac82ydqydlwmj";
    let list = parse(&format!(
        "# The cluster in Kraków.\n\
         {first} added=2026-03-01 label=kra-1, rack 4\n\
         {second} added=2026-03-01T09:30:00Z label=kra-2\n\n\
         # Anna, until her contract ends.\n\
         {third} expires=2027-03-01T12:00:00Z label=Anna's laptop\n"
    ));
    let labels: Vec<String> = list.unwrap().iter().map(|entry| entry.label().into()).collect();
    assert_eq!(labels, ["kra-1, rack 4", "kra-2", "Anna's laptop"]);
}

#[test]
fn i4_a_list_that_is_not_changed_is_written_byte_for_byte() {
    for text in [sample(), String::new(), "\n\r\n\n".into(), "# no end".into(), format!("{}\n", id(1))] {
        let list = parse(&text).unwrap();
        assert_eq!(list.to_string(), text);
        assert_eq!(list.text_len(), text.len());
    }
}

#[test]
fn i4_only_the_line_of_a_peer_that_is_changed_changes() {
    let (text, mut list) = (sample(), parse(&sample()).unwrap());
    assert_eq!(list.add(entry(4, "new")), Ok(Added::New));
    let added = format!("{text}\n{} label=new\n", id(4));
    assert_eq!(list.to_string(), added);

    let old = list.get(&id(2)).unwrap().clone();
    let changed = TrustEntry::new(id(2)).expires(at("2030-01-01"));
    assert_eq!(list.add(changed), Ok(Added::Updated(old)));
    let updated = added.replace(&format!("{}\r\n", id(2)), &format!("{} expires=2030-01-01\r\n", id(2)));
    assert_eq!(list.to_string(), updated);

    assert!(list.remove(&id(3)));
    assert!(!list.remove(&id(3)));
    let removed = updated.replace(&format!("  {} expires=2026-12-24\n", id(3)), "");
    assert_eq!(list.to_string(), removed);
    assert_eq!(list.text_len(), removed.len());
    assert_eq!(parse(&removed).unwrap(), list);
    assert_eq!(ids(&list), [id(1), id(2), id(4)]);
}

#[test]
fn i4_adding_twice_changes_nothing_and_says_so() {
    let mut list = TrustList::new();
    let first = entry(1, "a").added(at("2026-01-01")).expires(at("2027-01-01"));
    assert_eq!(list.add(first.clone()), Ok(Added::New));
    let text = list.to_string();
    assert_eq!(list.add(first.clone()), Ok(Added::Unchanged));
    // The time of the first adding stays; it alone is no change.
    assert_eq!(list.add(first.clone().added(at("2026-06-01"))), Ok(Added::Unchanged));
    assert_eq!(list.to_string(), text);
    let relabelled = first.clone().with_label("b").unwrap().added(at("2026-06-01"));
    assert_eq!(list.add(relabelled), Ok(Added::Updated(first.clone())));
    assert_eq!(list.get(&id(1)).unwrap().added, first.added);
    assert_eq!(list.len(), 1);

    // A line that says the same in other bytes stays as it is.
    let text = format!("  {}\tlabel=  a \n", id(1));
    let mut list = parse(&text).unwrap();
    assert_eq!(list.add(entry(1, "a")), Ok(Added::Unchanged));
    assert_eq!(list.to_string(), text);
}

#[test]
fn i4_trust_ends_at_its_moment() {
    let list = parse(&sample()).unwrap();
    let valid = |now: &str| list.valid_at(at(now)).map(|entry| entry.id).collect::<Vec<_>>();
    assert_eq!(valid("2026-12-23T23:59:59Z"), [id(1), id(2), id(3)]);
    assert_eq!(valid("2026-12-24"), [id(1), id(2)]);
    assert_eq!(valid("2027-03-01T11:59:59Z"), [id(1), id(2)]);
    assert_eq!(valid("2027-03-01T12:00:00Z"), [id(2)]);
    assert_eq!(valid("9999-12-31"), [id(2)]);

    assert_eq!(list.next_expiry(UnixTime::default()), Some(at("2026-12-24")));
    assert_eq!(list.next_expiry(at("2026-12-23T23:59:59Z")), Some(at("2026-12-24")));
    assert_eq!(list.next_expiry(at("2026-12-24")), Some(at("2027-03-01T12:00:00Z")));
    assert_eq!(list.next_expiry(at("2027-03-01T12:00:00Z")), None);
}

/// What is wrong with a line behind two good ones.
fn wrong(line: &str) -> TrustParseError {
    let text = format!("# a list\n{}\n{line}\n", id(1));
    let error = parse(&text).unwrap_err();
    assert_eq!(error.line(), Some(3), "{line}: {error}");
    assert!(error.to_string().contains('3'), "{error}");
    error
}

#[test]
fn i4_a_mistake_never_widens_trust() {
    let id = id(2);
    for (rest, option) in [
        ("expire=2027-01-01", "expire"),
        ("Expires=2027-01-01", "Expires"),
        ("expires:2027-01-01", "expires:2027-01-01"),
        ("expires 2027-01-01", "expires"),
        ("expires = 2027-01-01", "expires"),
        ("=2027-01-01", ""),
        ("Anna's laptop", "Anna's"),
        ("label", "label"),
        ("Label=Anna", "Label"),
        ("added=2026-01-01 expieres=2027-01-01 label=Anna", "expieres"),
        ("\u{a0}expires=2027-01-01", "\u{a0}expires"),
    ] {
        let expected = TrustParseError::UnknownOption { line: 3, option: option.into() };
        assert_eq!(wrong(&format!("{id} {rest}")), expected, "{rest}");
    }
    let long = wrong(&format!("{id} {}", "é".repeat(1000)));
    assert_eq!(long, TrustParseError::UnknownOption { line: 3, option: "é".repeat(32) });

    let time = |option, error| TrustParseError::BadTime { line: 3, option, error };
    assert_eq!(wrong(&format!("{id} expires=")), time("expires", TimeError::Form));
    assert_eq!(wrong(&format!("{id} expires=never")), time("expires", TimeError::Form));
    assert_eq!(wrong(&format!("{id} expires=2027-02-29")), time("expires", TimeError::NoSuchTime));
    assert_eq!(wrong(&format!("{id} added=1969-01-01 label=a")), time("added", TimeError::Before1970));
    let twice = format!("{id} expires=2027-01-01 expires=2037-01-01");
    assert_eq!(wrong(&twice), TrustParseError::RepeatedOption { line: 3, option: "expires" });

    let label = |error| TrustParseError::BadLabel { line: 3, error };
    assert_eq!(wrong(&format!("{id} label=Anna expires=2027-01-01")), label(LabelError::EqualsSign));
    assert_eq!(wrong(&format!("{id} label=a\tb")), label(LabelError::Control));
    assert_eq!(wrong(&format!("{id} label=a\rb")), label(LabelError::Control));
    assert_eq!(wrong(&format!("{id} label=a\u{202e}b")), label(LabelError::Control));
    let long = format!("{id} label={}", "a".repeat(MAX_LABEL + 1));
    assert_eq!(wrong(&long), label(LabelError::TooLong { bytes: MAX_LABEL + 1 }));
    assert!(parse(&format!("{id} label={}\n", "a".repeat(MAX_LABEL))).is_ok());
}

#[test]
fn i4_only_ids_are_listed_each_once() {
    let text = id(2).to_string();
    let bad = |line: &str| {
        assert!(
            matches!(wrong(line), TrustParseError::BadId { error: ParseNodeIdError::Text(_), .. }),
            "{line}"
        );
    };
    bad("Anna");
    bad(&text[..61]);
    bad(&format!("{text},"));
    bad(&format!("\u{feff}{text}"));
    bad(&format!("{text}#"));
    // The neutral point: a text in order, and no key.
    let mut weak = [0; 32];
    weak[0] = 1;
    let weak = crate::identity::ClaimedId::new(weak).to_string();
    assert!(matches!(wrong(&weak), TrustParseError::BadId { error: ParseNodeIdError::Id(_), .. }));

    let twice = TrustParseError::Duplicate { first: 2, second: 3 };
    assert_eq!(wrong(&id(1).to_string()), twice);
    assert_eq!(wrong(&id(1).to_string().to_uppercase()), twice);
    assert!(twice.to_string().contains("2 and 3"));
}

#[test]
fn i4_a_secret_key_on_a_list_is_named_and_not_shown() {
    let secret = key(7).to_text();
    for line in [
        secret.expose().into(),
        secret.expose().to_uppercase(),
        format!("{} {}", id(2), secret.expose()),
        format!("{} added=2026-01-01 {}=a", id(2), secret.expose()),
    ] {
        let error = wrong(&line);
        assert_eq!(error, TrustParseError::SecretKey { line: 3 });
        assert!(!error.to_string().contains(&secret.expose()[8..20]));
    }
}

/// A file may be seen while it is being written, or be cut off by a full disk.
#[test]
fn i4_a_list_that_is_cut_off_anywhere_trusts_nobody_for_longer() {
    let (text, whole) = (sample(), parse(&sample()).unwrap());
    let mut read = 0;
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        if let Ok(list) = parse(&text[..end]) {
            read += 1;
            for entry in list.iter() {
                assert_eq!(whole.get(&entry.id), Some(entry), "cut at {end}");
            }
        }
    }
    assert!(read > 10);
    let unfinished = format!("{}\n{} ", id(1), id(2));
    assert_eq!(parse(&unfinished), Err(TrustParseError::Unfinished { line: 2 }));
}

#[test]
fn i4_labels_are_checked_wherever_they_come_from() {
    let with = |label: &str| TrustEntry::new(id(1)).with_label(label).map(|entry| entry.label().to_string());
    assert_eq!(with("  Anna Ćwik  "), Ok("Anna Ćwik".into()));
    assert_eq!(with("   "), Ok(String::new()));
    assert_eq!(with("a\nhcl1"), Err(LabelError::Control));
    assert_eq!(with("a\u{85}b"), Err(LabelError::Control));
    assert_eq!(with("a\u{2028}b"), Err(LabelError::Control));
    assert_eq!(with("a=b"), Err(LabelError::EqualsSign));
    assert_eq!(with(&"é".repeat(128)), Err(LabelError::TooLong { bytes: 256 }));
    assert!(with(&"é".repeat(127)).is_ok());
}

#[test]
fn i4_a_list_is_bounded() {
    let spaces = " ".repeat(MAX_BYTES);
    assert!(parse(&spaces).unwrap().is_empty());
    assert_eq!(parse(&format!("{spaces}\n")), Err(TrustParseError::TooLarge { bytes: MAX_BYTES + 1 }));

    let room = entry(1, "a").to_string().len() + 1;
    let mut list = parse(&format!("#{}", " ".repeat(MAX_BYTES - room - 2))).unwrap();
    assert_eq!(list.add(entry(1, "a")), Ok(Added::New));
    assert_eq!(list.text_len(), MAX_BYTES);
    let text = list.to_string();
    assert_eq!(list.add(entry(1, "ab")), Err(TrustListFull::Bytes));
    assert_eq!(list.add(entry(2, "")), Err(TrustListFull::Bytes));
    assert_eq!(list.to_string(), text);
    assert!(matches!(list.add(entry(1, "")), Ok(Added::Updated(_))));
    assert_eq!(list.text_len(), list.to_string().len());
}

/// Takes a second or so: each id is a point of the curve that is checked to be one.
#[test]
fn i4_a_list_has_room_for_65536_peers_and_no_more() {
    use crate::crypto::Seed;
    use crate::identity::{SecretKey, Signer};
    let peer = |n: usize| {
        let mut seed = [0xbb; 32];
        seed[..8].copy_from_slice(&n.to_be_bytes());
        SecretKey::from_seed(&Seed::new(seed)).node_id()
    };
    let mut list = TrustList::new();
    for n in 0..MAX_ENTRIES {
        assert_eq!(list.add(TrustEntry::new(peer(n))), Ok(Added::New));
    }
    assert_eq!(list.add(TrustEntry::new(peer(MAX_ENTRIES))), Err(TrustListFull::Entries));
    assert_eq!(list.add(TrustEntry::new(peer(7)).expires(at("2030-01-01"))).map(|_| ()), Ok(()));
    let text = list.to_string();
    let longer = format!("{text}{}\n", peer(MAX_ENTRIES));
    // Known ids cost nothing, so this is the list's own bound and not the test's patience.
    assert_eq!(TrustList::parse_knowing(&text, &list).unwrap(), list);
    let error = TrustParseError::TooManyEntries { line: MAX_ENTRIES + 1 };
    assert_eq!(TrustList::parse_knowing(&longer, &list), Err(error));
}

#[derive(Clone, Debug)]
enum Step {
    Add { peer: u8, expires: Option<u64>, label: String },
    Remove(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let label = "[a-zé ]{0,8}";
    prop_oneof![
        (0..6_u8, proptest::option::of(0..4_u64), label).prop_map(|(peer, expires, label)| Step::Add {
            peer,
            expires,
            label
        }),
        (0..6_u8).prop_map(Step::Remove),
    ]
}

/// Lines of every kind, of which no two name one peer.
fn text() -> impl Strategy<Value = String> {
    vec(("[ \t]{0,2}", 0..8_u8, "[ \t]{1,2}", any::<bool>()), 0..10).prop_map(|lines| {
        let mut listed = Vec::new();
        let mut text = String::new();
        for (before, peer, between, windows) in lines {
            let line;
            if peer < 6 && !listed.contains(&peer) {
                line = format!("{before}{}{between}label=peer {peer}{between}", id(peer));
                listed.push(peer);
            } else if peer == 6 {
                line = format!("{before}# {}{between}", id(0));
            } else {
                line = before;
            }
            text += &line;
            text += if windows { "\r\n" } else { "\n" };
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a plain map, and what was not touched stands as it stood, in its order.
    #[test]
    fn i4_any_changes_leave_a_list_that_reads_as_it_says(text in text(), steps in vec(step(), 0..20)) {
        let mut list = parse(&text).unwrap();
        let mut model: alloc::collections::BTreeMap<NodeId, TrustEntry> =
            list.iter().map(|entry| (entry.id, entry.clone())).collect();
        let mut touched = alloc::collections::BTreeSet::new();
        for step in steps {
            match step {
                Step::Add { peer, expires, label } => {
                    let mut entry = entry(peer, &label);
                    entry.expires = expires.map(UnixTime::from_secs);
                    let expected = match model.insert(entry.id, entry.clone()) {
                        None => Added::New,
                        Some(old) if old == entry => Added::Unchanged,
                        Some(old) => Added::Updated(old),
                    };
                    if expected != Added::Unchanged {
                        touched.insert(entry.id);
                    }
                    prop_assert_eq!(list.add(entry), Ok(expected));
                }
                Step::Remove(peer) => {
                    touched.insert(id(peer));
                    prop_assert_eq!(list.remove(&id(peer)), model.remove(&id(peer)).is_some());
                }
            }
        }
        let written = list.to_string();
        let read = parse(&written).unwrap();
        prop_assert_eq!(&read, &list);
        prop_assert_eq!(list.text_len(), written.len());
        prop_assert_eq!(list.len(), model.len());
        for (id, entry) in &model {
            prop_assert_eq!(read.get(id), Some(entry));
        }
        let untouched = |text: &str| -> Vec<String> {
            let is_touched =
                |line: &&str| touched.iter().any(|id| line.trim_start().starts_with(&id.to_string()));
            text.split_inclusive('\n').filter(|line| !is_touched(line)).map(String::from).collect()
        };
        prop_assert_eq!(untouched(&written), untouched(&text));
    }

    #[test]
    fn i4_no_text_makes_the_parser_panic(noise in "\\PC*", at in 0..300_usize, byte in any::<char>()) {
        let _ = parse(&noise);
        let mut text = sample();
        let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.insert(at.min(text.len()), byte);
        if let Ok(list) = parse(&text) {
            prop_assert_eq!(list.to_string(), text);
        }
    }
}
