//! H3: every field travels, in one form only.

use std::time::Duration;

use handclasp::crypto::SuiteSet;
use handclasp::hello::{Hello, HelloError, HelloPart, Limits, StreamOffer, UnknownExtension, VersionRange};
use handclasp::wire::hello::{MAX_HELLO, emit, parse};
use proptest::prelude::*;

use super::arbitrary::{extension, full, hello, plain};

fn emitted(hello: &Hello) -> Vec<u8> {
    let mut out = Vec::new();
    emit(hello, &mut out).unwrap();
    out
}

/// The bytes of `full()`, written out by docs/wire.md.
fn full_bytes() -> Vec<u8> {
    let mut bytes = vec![0, 2, 0, 5];
    bytes.extend([0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
    bytes.extend([0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28]);
    bytes.extend([0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6]);
    bytes.extend([0x17, 8, 2, 3]);
    bytes.extend(extension(0, b"zero"));
    bytes.extend(extension(1, "née".as_bytes()));
    bytes.extend(extension(2, b"app/2"));
    bytes.extend(extension(3, b"\x04chat\0\x04\0\x07\0\0\x04meta\x03zip\0\x01\0\x03\x01\0\0"));
    bytes.extend(extension(4, b"\x05build\0\0\x04zone\0\x01b"));
    bytes.extend(extension(5, b"\0\x09\x03b:1\x0a\x0b\x03a:1"));
    bytes.extend(extension(6, b"\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04"));
    bytes.extend(extension(7, &[0xd5; 32]));
    bytes.extend(extension(8, b""));
    bytes.extend(extension(9, b"\x05\x06\x07\x08\x06\x07\x08\x09"));
    bytes.extend(extension(10, b""));
    bytes.extend(extension(0x7fff, b"last"));
    bytes
}

#[test]
fn h3_every_field_stands_where_the_document_says() {
    assert_eq!(emitted(&full()), full_bytes());
    assert_eq!(parse(&full_bytes()).unwrap(), full());
    assert_eq!(emitted(&plain()).len(), 40);
}

type Change = fn(&mut Hello);

#[test]
fn h3_every_field_travels() {
    let cases: [(&str, Change); 22] = [
        ("versions", |h| h.versions = VersionRange::new(2, 6).unwrap()),
        ("incarnation", |h| h.incarnation += 1),
        ("link_sequence", |h| h.link_sequence += 1),
        ("max_message", |h| h.limits.max_message += 1),
        ("window", |h| h.limits.window += 1),
        ("max_calls", |h| h.limits.max_calls += 1),
        ("idle", |h| h.limits.idle += Duration::from_millis(1)),
        ("max_record", |h| h.limits.max_record += 1),
        ("suites", |h| h.suites = SuiteSet::from_bits(0x8001)),
        ("name", |h| h.name = None),
        ("protocol", |h| h.protocol = None),
        ("capability name", |h| h.capabilities[0].name.push('2')),
        ("capability versions", |h| h.capabilities[0].versions = VersionRange::only(4)),
        ("capability required", |h| h.capabilities[0].required = true),
        ("capability metadata", |h| h.capabilities[0].metadata = Box::default()),
        ("info", |h| h.info[0].1 = [1].into()),
        ("address weight", |h| h.addresses[1].weight = 1),
        ("adverts", |h| h.adverts = None),
        ("destination", |h| h.destination = Some([1; 32])),
        ("hold", |h| h.hold = false),
        ("streams", |h| h.streams = None),
        ("unknown", |h| h.unknown[1].value = [7].into()),
    ];
    for (what, change) in cases {
        let mut changed = full();
        change(&mut changed);
        let bytes = emitted(&changed);
        assert_ne!(bytes, full_bytes(), "{what}");
        assert_eq!(parse(&bytes).unwrap(), changed, "{what}");
    }
}

#[test]
fn h3_unknown_extensions_are_kept_and_unknown_critical_ones_are_refused() {
    let with = |kind| [emitted(&plain()), extension(kind, b"new")].concat();
    for kind in [0, 10, 100, 0x7fff] {
        let parsed = parse(&with(kind)).unwrap();
        assert_eq!(parsed.unknown, [UnknownExtension { kind, value: b"new".as_slice().into() }]);
        assert_eq!(emitted(&parsed), with(kind));
        assert!(parse(&with(kind | 0x8000)).is_err(), "critical {kind}");
    }
}

/// What goes out is what the other side reads: one form only, and nothing that it would have to refuse.
#[test]
fn h3_unknown_extensions_go_out_only_in_the_form_that_is_read() {
    let with = |kinds: &[u16]| {
        let mut hello = plain();
        hello.unknown = kinds.iter().map(|&kind| UnknownExtension { kind, value: Box::default() }).collect();
        let mut out = b"before".to_vec();
        let result = emit(&hello, &mut out);
        assert_eq!(result.is_err(), out == b"before", "{kinds:?}");
        result
    };
    for known in 1..=9 {
        assert_eq!(with(&[known]), Err(HelloError::ExtensionType { kind: known }));
    }
    for critical in [0x8000, 0x8001, 0x800a, 0xffff] {
        assert_eq!(with(&[0, critical]), Err(HelloError::ExtensionType { kind: critical }));
    }
    for unordered in [[10, 10], [0, 0], [0x7fff, 0x7fff], [11, 10]] {
        assert_eq!(with(&unordered), Err(HelloError::Unordered { part: HelloPart::Unknown }));
    }
    assert_eq!(with(&[0, 10, 11, 0x7ffe, 0x7fff]), Ok(()));
}

#[test]
fn h3_a_known_extension_may_be_marked_critical() {
    let marked = [
        emitted(&plain()),
        extension(0x8001, b"n"),
        extension(2, b"p"),
        extension(0x8007, &[1; 32]),
        extension(0x8008, b""),
        extension(0x8009, &[1, 2, 3, 4, 5, 6, 7, 8]),
    ];
    let parsed = parse(&marked.concat()).unwrap();
    assert_eq!(parsed.name.as_deref(), Some("n"));
    assert_eq!(parsed.destination, Some([1; 32]));
    assert!(parsed.hold);
    assert_eq!(parsed.streams, Some(StreamOffer { max_streams: 0x0102_0304, window: 0x0506_0708 }));
    assert_eq!(emitted(&parsed), marked.concat());
}

#[test]
fn h3_only_a_cut_between_extensions_leaves_a_hello() {
    let bytes = full_bytes();
    let mut edges = vec![40];
    while let Some(&edge) = edges.last().filter(|edge| **edge < bytes.len()) {
        let len = u16::from_be_bytes([bytes[edge + 2], bytes[edge + 3]]);
        edges.push(edge + 4 + usize::from(len));
    }
    assert_eq!(edges.len(), 13);
    for cut in 0..=bytes.len() {
        match parse(&bytes[..cut]) {
            Ok(hello) => {
                assert!(edges.contains(&cut), "cut at {cut}");
                assert_eq!(emitted(&hello), bytes[..cut]);
            }
            Err(_) => assert!(!edges.contains(&cut), "cut at {cut}"),
        }
    }
}

#[test]
fn h8_other_forms_are_malformed() {
    let many = |entry: &[u8]| entry.repeat(65);
    let numbered =
        |tail: &[u8]| -> Vec<u8> { (0..65_u8).flat_map(|n| [&[1, b'!' + n][..], tail].concat()).collect() };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("types descend", [extension(2, b"p"), extension(1, b"n")].concat()),
        ("a type twice", [extension(1, b"n"), extension(1, b"n")].concat()),
        ("an unknown type twice", [extension(10, b""), extension(10, b"")].concat()),
        ("short streams", extension(9, &[0; 7])),
        ("long streams", extension(9, &[0; 9])),
        ("a type twice, once critical", [extension(1, b"n"), extension(0x8001, b"n")].concat()),
        ("descending past the critical bit", [extension(0x8002, b"p"), extension(1, b"n")].concat()),
        ("empty name", extension(1, b"")),
        ("long name", extension(1, &[b'n'; 256])),
        ("name not UTF-8", extension(1, b"\xff")),
        ("empty protocol", extension(2, b"")),
        ("long protocol", extension(2, &[0; 256])),
        ("no capabilities", extension(3, b"")),
        ("empty capability name", extension(3, b"\0\0\x01\0\x01\0\0\0")),
        ("capability name not UTF-8", extension(3, b"\x01\xff\0\x01\0\x01\0\0\0")),
        ("capability min above max", extension(3, b"\x01a\0\x02\0\x01\0\0\0")),
        ("capability flags", extension(3, b"\x01a\0\x01\0\x01\x02\0\0")),
        ("capability flags", extension(3, b"\x01a\0\x01\0\x01\x81\0\0")),
        ("capability metadata ends early", extension(3, b"\x01a\0\x01\0\x01\0\0\x01")),
        ("capability twice", extension(3, b"\x01a\0\x01\0\x01\0\0\0\x01a\0\x01\0\x01\0\0\0")),
        ("capabilities descend", extension(3, b"\x01b\0\x01\0\x01\0\0\0\x01a\0\x01\0\x01\0\0\0")),
        ("65 capabilities", extension(3, &numbered(b"\0\x01\0\x01\0\0\0"))),
        ("no info", extension(4, b"")),
        ("empty key", extension(4, b"\0\0\0")),
        ("key twice", extension(4, b"\x01k\0\0\x01k\0\0")),
        ("keys descend", extension(4, b"\x01l\0\0\x01k\0\0")),
        ("65 pairs", extension(4, &numbered(b"\0\0"))),
        ("no addresses", extension(5, b"")),
        ("empty address", extension(5, b"\0\0\0")),
        ("address not UTF-8", extension(5, b"\0\0\x01\xc0")),
        ("65 addresses", extension(5, &many(b"\0\0\x01a"))),
        ("short adverts", extension(6, &[0; 15])),
        ("long adverts", extension(6, &[0; 17])),
        ("short destination", extension(7, &[0; 31])),
        ("long destination", extension(7, &[0; 33])),
        ("a hold that says something", extension(8, &[0])),
    ];
    let plain = emitted(&plain());
    for (what, tail) in cases {
        assert!(parse(&[&plain[..], &tail].concat()).is_err(), "{what}");
    }
    // The longest allowed forms of the same are read.
    for tail in [
        extension(1, &[b'n'; 255]),
        extension(2, &[0; 255]),
        extension(3, &numbered(b"\0\x01\0\x01\0\0\0")[..64 * 9]),
        extension(4, &numbered(b"\0\0")[..64 * 4]),
        extension(5, &many(b"\0\0\x01a")[..64 * 4]),
    ] {
        assert!(parse(&[&plain[..], &tail].concat()).is_ok());
    }
}

#[test]
fn h8_a_hello_larger_than_a_record_holds_is_malformed() {
    let sized = |size: usize| [emitted(&plain()), extension(10, &vec![0; size - 44])].concat();
    assert_eq!(MAX_HELLO, 3983);
    assert!(parse(&sized(3983)).is_ok());
    assert!(parse(&sized(3984)).is_err());
}

#[test]
fn h8_limits_out_of_range_are_malformed_and_do_not_go_out() {
    let good = Limits {
        max_message: 1024,
        window: 1024 + 319,
        max_calls: 1,
        idle: Duration::from_millis(100),
        max_record: 4096,
    };
    let mut hello = plain();
    hello.limits = good;
    let bytes = emitted(&hello);
    assert_eq!(parse(&bytes).unwrap().limits, good);
    // The last byte of a field that stands at its smallest value: one less is out of range.
    for (limit, last) in
        [("max_message", 23), ("window", 27), ("max_calls", 31), ("idle", 35), ("max_record", 37)]
    {
        let mut less = bytes.clone();
        let field = last - 1..=last;
        let value = u16::from_be_bytes([less[last - 1], less[last]]) - 1;
        less[field].copy_from_slice(&value.to_be_bytes());
        assert!(parse(&less).is_err(), "{limit}");

        let mut limits = good;
        match limit {
            "max_message" => limits.max_message -= 1,
            "window" => limits.window -= 1,
            "max_calls" => limits.max_calls -= 1,
            "idle" => limits.idle -= Duration::from_millis(1),
            _ => limits.max_record -= 1,
        }
        hello.limits = limits;
        let mut out = b"before".to_vec();
        match emit(&hello, &mut out) {
            Err(HelloError::Limit { limit: named, .. }) => assert_eq!(named, limit),
            other => panic!("{limit}: {other:?}"),
        }
        assert_eq!(out, b"before");
    }
    let mut empty_range = bytes;
    empty_range[1] = 2;
    assert!(parse(&empty_range).is_err());
    let all = Limits { max_message: u32::MAX, window: u32::MAX, ..good };
    assert!(all.check().is_err(), "no window is large enough for that message");
    let fraction = Limits { idle: Duration::from_micros(100_500), ..good };
    assert!(matches!(fraction.check(), Err(HelloError::IdleNotWhole { .. })));
    let long = Limits { idle: Duration::from_secs(u64::MAX), ..good };
    assert!(matches!(long.check(), Err(HelloError::Limit { limit: "idle", .. })));
    assert_eq!(Limits::default().check(), Ok(()));
}

#[test]
fn h4_what_makes_a_hello_too_large_is_named() {
    let mut hello = full();
    hello.capabilities[0].metadata = vec![0; 70_000].into();
    match emit(&hello, &mut Vec::new()) {
        Err(HelloError::TooLarge { size, most: 3983, largest: HelloPart::Capabilities, largest_size }) => {
            assert_eq!(largest_size, 4 + 12 + 70_000 + 11);
            assert_eq!(size, full_bytes().len() - 4 + 70_000);
        }
        other => panic!("{other:?}"),
    }
    // Exactly full goes out; a byte more does not.
    let mut hello = plain();
    hello.unknown = vec![UnknownExtension { kind: 10, value: vec![0; 3983 - 44].into() }];
    assert_eq!(emitted(&hello).len(), 3983);
    hello.unknown[0].value = vec![0; 3983 - 43].into();
    assert!(matches!(hello.check(), Err(HelloError::TooLarge { size: 3984, .. })));
}

proptest! {
    #[test]
    fn h3_any_hello_round_trips(hello in hello()) {
        let bytes = emitted(&hello);
        prop_assert!(bytes.len() <= MAX_HELLO);
        prop_assert_eq!(parse(&bytes).unwrap(), hello);
    }

    #[test]
    fn h8_random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        if let Ok(hello) = parse(&bytes) {
            prop_assert_eq!(emitted(&hello), bytes);
        }
    }

    /// Whatever an edit makes of a hello, it is refused or has one form.
    #[test]
    fn h8_edited_hellos_are_canonical_or_refused(
        hello in hello(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut bytes = emitted(&hello);
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len().max(1));
            match kind {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => bytes[at] ^= 1 << (byte % 8),
                2 => bytes.insert(at, byte),
                _ => bytes.truncate(at.max(40)),
            }
        }
        if let Ok(parsed) = parse(&bytes) {
            prop_assert_eq!(parsed.check(), Ok(()));
            prop_assert_eq!(emitted(&parsed), bytes);
        }
    }

    /// Well-formed heads around arbitrary values reach deeper than random bytes do.
    #[test]
    fn h8_arbitrary_extensions_are_canonical_or_refused(
        tails in proptest::collection::btree_map(
            (0..10_u16, any::<bool>()), proptest::collection::vec(0..4_u8, 0..24), 0..4),
    ) {
        let mut bytes = emitted(&plain());
        for ((kind, critical), value) in tails {
            bytes.extend(extension(if critical { kind | 0x8000 } else { kind }, &value));
        }
        if let Ok(parsed) = parse(&bytes) {
            prop_assert_eq!(parsed.check(), Ok(()));
            prop_assert_eq!(emitted(&parsed), bytes);
        }
    }
}
