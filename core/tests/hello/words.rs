//! H4, H8: what is wrong with a hello is said so that a person can put it right.

use std::collections::BTreeSet;
use std::time::Duration;

use handclasp::hello::{HelloError, HelloPart};
use handclasp::wire::hello::{emit, parse};

use super::arbitrary::{extension, plain};

const PARTS: [(HelloPart, &str); 10] = [
    (HelloPart::Name, "the name"),
    (HelloPart::Protocol, "the protocol id"),
    (HelloPart::Capabilities, "the capabilities"),
    (HelloPart::Info, "the info pairs"),
    (HelloPart::Addresses, "the addresses"),
    (HelloPart::Adverts, "the advert versions"),
    (HelloPart::Destination, "the destination"),
    (HelloPart::Hold, "the hold"),
    (HelloPart::Streams, "the streams"),
    (HelloPart::Unknown, "the unknown extensions"),
];

#[test]
fn h4_each_part_of_a_hello_is_called_by_its_name() {
    for (part, name) in PARTS {
        assert_eq!(part.to_string(), name);
        assert_eq!(HelloError::Unordered { part }.to_string(), format!("{name} do not ascend"));
    }
    // An error about one entry of a list does not blame the whole of it.
    for (part, entry) in [
        (HelloPart::Name, "the name"),
        (HelloPart::Capabilities, "a capability's name"),
        (HelloPart::Info, "an info key"),
        (HelloPart::Addresses, "an address"),
        (HelloPart::Unknown, "an extension's type"),
    ] {
        assert_eq!(HelloError::Empty { part }.to_string(), format!("{entry} is empty"));
    }
}

#[test]
fn h4_what_is_wrong_with_a_hello_is_said_with_its_figures() {
    let part = HelloPart::Info;
    let sentences = [
        (HelloError::EmptyRange { min: 7, max: 3 }, "no version lies in 7..=3"),
        (HelloError::Empty { part }, "an info key is empty"),
        (
            HelloError::TooLong { part, len: 300, most: 255 },
            "an info key takes 300 bytes; at most 255 are allowed",
        ),
        (HelloError::TooMany { part, count: 65, most: 64 }, "the info pairs are 65; at most 64 are allowed"),
        (HelloError::Duplicate { part, name: "zone".into() }, "the info pairs hold \"zone\" twice"),
        (
            HelloError::Limit { limit: "window", value: 5, least: 1343, most: 9999 },
            "window is 5; it must be from 1343 to 9999",
        ),
        (
            HelloError::IdleNotWhole { idle: Duration::from_micros(100_500) },
            "idle is 100.5ms; it must be a whole number of milliseconds",
        ),
        (
            HelloError::ExtensionType { kind: 0x8001 },
            "extension type 0x8001 is known or critical; an ignorable one must be neither",
        ),
        (
            HelloError::TooLarge { size: 4000, most: 3983, largest: part, largest_size: 3900 },
            "hello takes 4000 bytes of at most 3983; the info pairs alone take 3900: shorten them",
        ),
    ];
    for (error, sentence) in sentences {
        assert_eq!(error.to_string(), sentence);
    }
}

/// Two hellos that are wrong in different ways are not told apart by a refusal's code, only by these words.
#[test]
fn h8_what_is_malformed_in_a_hello_is_said() {
    let mut head = Vec::new();
    emit(&plain(), &mut head).unwrap();
    let cases = [
        ("empty", extension(1, b"")),
        ("longer than 255 bytes", extension(1, &[b'n'; 256])),
        ("not UTF-8", extension(1, b"\xff")),
        ("critical", extension(0x800a, b"")),
        ("do not ascend", [extension(2, b"p"), extension(1, b"n")].concat()),
        ("ends too early", extension(6, &[0; 15])),
        ("goes on behind its value", extension(6, &[0; 17])),
    ];
    let mut said = BTreeSet::new();
    for (word, tail) in &cases {
        let malformed = parse(&[&head[..], tail].concat()).unwrap_err();
        assert_eq!(malformed.to_string(), malformed.what);
        assert!(malformed.what.contains(word), "{word}: {malformed}");
        said.insert(malformed.what);
    }
    assert_eq!(said.len(), cases.len());
}
