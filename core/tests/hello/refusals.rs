//! H6: every refusal reaches the other side, and says whether to try again.

use std::time::Duration;

use handclasp::hello::VersionRange;
use handclasp::wire::refusal::{MAX_REFUSAL, emit, parse};
use handclasp::{Refusal, Retry};
use proptest::prelude::*;

use super::arbitrary::refusal;

const DOCUMENT: &str = include_str!("../../../docs/wire.md");

fn emitted(refusal: &Refusal) -> Vec<u8> {
    let mut out = Vec::new();
    emit(refusal, &mut out);
    out
}

/// One of each, in the order of their codes, with the bytes of its detail.
fn each() -> Vec<(Refusal, &'static [u8])> {
    let (ours, theirs) = (VersionRange::new(1, 2).unwrap(), VersionRange::new(3, 0x0405).unwrap());
    vec![
        (Refusal::OverCapacity { retry_after: Duration::from_millis(0x0102_0304) }, b"\x01\x02\x03\x04"),
        (Refusal::Incompatible { ours, theirs }, b"\0\x01\0\x02\0\x03\x04\x05"),
        (Refusal::Denied, b""),
        (Refusal::MissingCapability { names: vec!["chat".into(), "zip".into()] }, b"\x02\x04chat\x03zip"),
        (Refusal::Alive, b""),
        (Refusal::Simultaneous, b""),
        (Refusal::SelfConnection, b""),
        (Refusal::WrongDestination, b""),
        (Refusal::Registry, b""),
        (Refusal::ShuttingDown, b""),
        (Refusal::OtherProtocol, b""),
    ]
}

#[test]
fn h6_every_refusal_stands_as_the_document_says() {
    for (refusal, detail) in each() {
        let bytes = [&refusal.code().to_be_bytes()[..], detail].concat();
        assert_eq!(emitted(&refusal), bytes, "{}", refusal.name());
        assert_eq!(parse(&bytes).unwrap(), refusal);
        let grown = [&bytes[..], b"more of a later version"].concat();
        assert_eq!(parse(&grown).unwrap(), refusal, "details may grow");
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut]).is_err(), "{} cut at {cut}", refusal.name());
        }
    }
}

#[test]
fn h6_codes_names_and_retry_classes_are_those_of_the_documents_table() {
    let section = DOCUMENT.split("### 3.7 Refusals").nth(1).unwrap().split("\n##").next().unwrap();
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| code"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    // The last two are close reasons that a handshake may give beside the refusals (docs/wire.md §10).
    let codes: Vec<&str> = rows.iter().skip(each().len()).map(|row| row[0]).collect();
    assert_eq!(codes, ["40", "45"]);
    for (row, (refusal, detail)) in rows.iter().zip(each()) {
        let [code, name, documented, again] = row[..] else { panic!("{row:?}") };
        assert_eq!(refusal.code().to_string(), code);
        assert_eq!(refusal.name(), name);
        assert_eq!(detail.is_empty(), documented.is_empty(), "{name}");
        let class = match refusal.retry() {
            Retry::Never => "never",
            Retry::Later(None) => "later",
            Retry::Later(Some(_)) => "later, after that time",
            Retry::Now => "now, over the other link",
        };
        assert_eq!(class, again, "{name}");
    }
}

#[test]
fn h6_codes_names_and_sentences_are_unique() {
    let mut texts: Vec<_> = each().iter().map(|(refusal, _)| refusal.to_string()).collect();
    let mut names: Vec<_> = each().iter().map(|(refusal, _)| refusal.name()).collect();
    let mut codes: Vec<_> = each().iter().map(|(refusal, _)| refusal.code()).collect();
    texts.sort();
    texts.dedup();
    names.sort_unstable();
    names.dedup();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!([texts.len(), names.len(), codes.len()], [11; 3]);
}

#[test]
fn h6_sentences_carry_the_details() {
    let text = |index: usize| each()[index].0.to_string();
    assert!(text(0).contains("16909.06s"), "{}", text(0));
    assert!(text(1).contains("this side takes 1..=2, the other 3..=1029"), "{}", text(1));
    assert!(text(3).contains("\"chat\", \"zip\""), "{}", text(3));
}

#[test]
fn h6_a_refused_side_reads_the_ranges_as_its_own() {
    for (refusal, _) in each() {
        let there = refusal.clone().mirrored();
        if let (Refusal::Incompatible { ours, theirs }, Refusal::Incompatible { ours: o, theirs: t }) =
            (&refusal, &there)
        {
            assert_eq!((ours, theirs), (t, o));
            assert_ne!(refusal, there);
        } else {
            assert_eq!(refusal, there);
        }
        assert_eq!(there.mirrored(), refusal);
    }
}

#[test]
fn h6_unknown_codes_and_broken_details_are_malformed() {
    for code in (0..=u16::MAX).filter(|code| !(20..=30).contains(code)) {
        assert!(parse(&[&code.to_be_bytes()[..], &[0; 16]].concat()).is_err(), "{code}");
    }
    for bytes in [
        &b"\0\x15\0\x02\0\x01\0\x01\0\x01"[..],
        b"\0\x15\0\x01\0\x01\0\x02\0\x01",
        b"\0\x17\x01\0",
        b"\0\x17\x01\x01\xff",
        b"\0\x17\x02\x01a",
    ] {
        assert!(parse(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn h6_a_time_is_rounded_up_and_bounded() {
    let sent = |retry_after| parse(&emitted(&Refusal::OverCapacity { retry_after })).unwrap().retry();
    let later = |millis| Retry::Later(Some(Duration::from_millis(millis)));
    assert_eq!(sent(Duration::from_nanos(1)), later(1));
    assert_eq!(sent(Duration::ZERO), later(0));
    assert_eq!(sent(Duration::MAX), later(u32::MAX.into()));
}

#[test]
fn h6_a_long_list_of_names_is_cut_to_fit() {
    let long: Vec<String> = (0..128).map(|n| format!("{n:0255}")).collect();
    let bytes = emitted(&Refusal::MissingCapability { names: long.clone() });
    assert!(bytes.len() <= MAX_REFUSAL);
    assert_eq!(parse(&bytes).unwrap(), Refusal::MissingCapability { names: long[..15].to_vec() });

    let short: Vec<String> = (0..300).map(|n| format!("{n:03}")).collect();
    let bytes = emitted(&Refusal::MissingCapability { names: short.clone() });
    assert_eq!(parse(&bytes).unwrap(), Refusal::MissingCapability { names: short[..255].to_vec() });

    let odd = vec![String::new(), "a".into(), "b".repeat(256)];
    let bytes = emitted(&Refusal::MissingCapability { names: odd });
    assert_eq!(parse(&bytes).unwrap(), Refusal::MissingCapability { names: vec!["a".into()] });
}

/// The longest list of names that fits goes out whole, and one of a byte more loses its last name.
#[test]
fn h6_a_list_of_names_fills_a_refusal_to_its_last_byte() {
    let names_up_to = |last: usize| {
        let mut names: Vec<String> =
            (0..15_u8).map(|n| char::from(b'a' + n).to_string().repeat(255)).collect();
        names.push("z".repeat(last));
        names
    };
    // 2 of the code, 1 of the count, and a byte of length before each name.
    let last = MAX_REFUSAL - 3 - 15 * 256 - 1;
    let full = emitted(&Refusal::MissingCapability { names: names_up_to(last) });
    assert_eq!(full.len(), MAX_REFUSAL);
    assert_eq!(parse(&full).unwrap(), Refusal::MissingCapability { names: names_up_to(last) });
    let over = emitted(&Refusal::MissingCapability { names: names_up_to(last + 1) });
    assert_eq!(parse(&over).unwrap(), Refusal::MissingCapability { names: names_up_to(last)[..15].to_vec() });
}

proptest! {
    #[test]
    fn h6_any_refusal_round_trips(refusal in refusal()) {
        let bytes = emitted(&refusal);
        prop_assert!(bytes.len() <= MAX_REFUSAL);
        prop_assert_eq!(parse(&bytes).unwrap(), refusal);
    }

    /// Whatever is read is a prefix of what came, written the same way.
    #[test]
    fn h6_any_bytes_are_read_without_panic(code in 18_u16..33, detail in proptest::collection::vec(0..6_u8, 0..40)) {
        let bytes = [&code.to_be_bytes()[..], &detail].concat();
        if let Ok(refusal) = parse(&bytes) {
            prop_assert!(bytes.starts_with(&emitted(&refusal)));
        }
    }
}
