//! What errors say to people: each something else, with the figures that it carries at their places, and with the
//! error behind it where there is one.

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::time::Duration;

use handclasp::crypto::{CryptoError, Primitive, SelfTestFailure, Suite, SuiteSet};
use handclasp::hello::{HelloError, HelloPart};
use handclasp::identity::keyfile::KeyFileError;
use handclasp::identity::{InvalidNodeId, ParseNodeIdError, SignerError, TextError};
use handclasp::node::adverts::AdvertError;
use handclasp::node::trust::{
    LabelError, TimeError, TrustFileError, TrustListFull, TrustParseError, UnixTime,
};
use handclasp::services::Denied;
use handclasp::signed::SignError;
use handclasp::{ConfigError, Refusal, VersionRange};

/// What has been said so far.
#[derive(Default)]
struct Said(BTreeSet<String>);

impl Said {
    /// An error says the words in this order, and what no error has said before.
    fn hear(&mut self, error: &dyn Error, words: &[&str]) {
        let text = error.to_string();
        let mut rest = text.as_str();
        for word in words {
            let at =
                rest.find(word).unwrap_or_else(|| panic!("{word:?} is not where it should be in {text:?}"));
            rest = &rest[at + word.len()..];
        }
        // A sentence for people, not the name of a variant.
        assert!(text.contains(' ') && !text.contains(['{', '}']), "{text:?}");
        assert!(self.0.insert(text.clone()), "said twice: {text:?}");
    }

    /// As [`hear`](Self::hear), for an error that has another one behind it, and says what that says.
    fn hear_cause(&mut self, error: &dyn Error, words: &[&str]) {
        self.hear(error, words);
        let cause = error.source().unwrap_or_else(|| panic!("nothing behind {error}"));
        assert!(error.to_string().contains(&cause.to_string()), "{error}, because {cause}");
    }
}

#[test]
fn what_a_hello_must_not_have_is_said_with_its_bounds() {
    let mut said = Said::default();
    said.hear(&HelloError::EmptyRange { min: 3, max: 2 }, &["3..=2"]);
    let parts = [
        HelloPart::Name,
        HelloPart::Protocol,
        HelloPart::Capabilities,
        HelloPart::Info,
        HelloPart::Addresses,
        HelloPart::Adverts,
        HelloPart::Destination,
        HelloPart::Hold,
        HelloPart::Streams,
        HelloPart::Unknown,
    ];
    for part in parts {
        said.hear(&HelloError::Empty { part }, &["empty"]);
        said.hear(&HelloError::TooLong { part, len: 300, most: 255 }, &["300", "255"]);
        said.hear(&HelloError::TooMany { part, count: 65, most: 64 }, &["65", "64"]);
        said.hear(&HelloError::Unordered { part }, &[&part.to_string(), "ascend"]);
        said.hear(
            &HelloError::Duplicate { part, name: "zip".into() },
            &[&part.to_string(), "\"zip\"", "twice"],
        );
    }
    let limit = HelloError::Limit { limit: "window", value: 7, least: 16, most: 4096 };
    said.hear(&limit, &["window", "7", "16", "4096"]);
    said.hear(&HelloError::IdleNotWhole { idle: Duration::from_micros(1500) }, &["1.5ms"]);
    said.hear(&HelloError::ExtensionType { kind: 0x8001 }, &["0x8001"]);
    let large = HelloError::TooLarge { size: 5000, most: 3000, largest: HelloPart::Info, largest_size: 4000 };
    said.hear(&large, &["5000", "3000", "info", "4000"]);

    // As the hello says it.
    Said::default().hear(&ConfigError::from(limit.clone()), &["window", "7", "16", "4096"]);
    said.hear(&ConfigError::ShortSecret { length: 3 }, &["16", "3"]);
    said.hear(&ConfigError::ShortTiming { field: "drain" }, &["drain"]);
    said.hear(&ConfigError::LongNetwork { length: 300 }, &["255", "300"]);
    said.hear(&ConfigError::NoSuite, &["suite"]);
    said.hear(&ConfigError::Provider(CryptoError::BadLength), &["provider", "length"]);
    said.hear(&AdvertError::VersionZero, &["0"]);
    said.hear(&AdvertError::TooLarge { size: 3000 }, &["3000", "2048"]);
    said.hear_cause(&AdvertError::Content(limit), &["advert", "window"]);
    said.hear_cause(&AdvertError::Signer(SignerError::Refused), &["advert", "refuses"]);
}

#[test]
fn i3_what_is_wrong_with_a_key_file_or_an_id_is_said() {
    let mut said = Said::default();
    let refused = || io::Error::new(io::ErrorKind::PermissionDenied, "permission denied");
    said.hear(&KeyFileError::NotFound, &["no such"]);
    said.hear(&KeyFileError::AlreadyExists, &["exists"]);
    said.hear(&KeyFileError::NotAFile, &["regular"]);
    said.hear(&KeyFileError::Exposed { mode: 0o644 }, &["0644", "0600"]);
    said.hear(&KeyFileError::TooLong, &["more than"]);
    said.hear(&KeyFileError::NotText, &["not text"]);
    said.hear(&KeyFileError::NoKey, &["no key"]);
    said.hear(&KeyFileError::SeveralKeys, &["more than one"]);
    said.hear_cause(&KeyFileError::BadKey(TextError::MixedCase), &["key", "capital"]);
    said.hear_cause(&KeyFileError::Io(refused()), &["permission denied"]);
    // The file itself would be `NotFound`.
    said.hear(&KeyFileError::Io(io::ErrorKind::NotFound.into()), &["folder"]);
    assert!(KeyFileError::NoKey.source().is_none());

    for error in [TextError::MixedCase, TextError::WrongLength] {
        said.hear(&ParseNodeIdError::Text(error), &[]);
    }
    let invalid = [
        InvalidNodeId::NotCanonical,
        InvalidNodeId::NotAPoint,
        InvalidNodeId::SmallOrder,
        InvalidNodeId::MixedOrder,
    ];
    for error in invalid {
        said.hear(&error, &[]);
    }
    said.hear(&SignerError::Unavailable, &["reached"]);
    said.hear(&SignerError::Refused, &["refuses"]);
    said.hear(&SignError::TopicLength, &["topic"]);
    said.hear(&SignError::LongServiceName, &["service"]);
    said.hear(&Denied::NoSuchService, &["service"]);
    said.hear(&Denied::Forbidden, &[]);
}

#[test]
fn i4_what_is_wrong_with_a_trust_list_is_said_with_its_line() {
    let mut said = Said::default();
    let too_large = TrustParseError::TooLarge { bytes: 9_999_999 };
    said.hear(&too_large, &["9999999", "shorten"]);
    assert_eq!(too_large.line(), None);
    let lines = [
        (TrustParseError::TooManyEntries { line: 12 }, ["line 12", "remove"]),
        (TrustParseError::SecretKey { line: 12 }, ["line 12", "secret key"]),
        (TrustParseError::UnknownOption { line: 12, option: "foo".into() }, ["line 12", "\"foo\""]),
        (TrustParseError::RepeatedOption { line: 12, option: "label" }, ["line 12", "label"]),
        (TrustParseError::Duplicate { first: 3, second: 12 }, ["lines 3 and 12", "same"]),
        (TrustParseError::Unfinished { line: 12 }, ["line 12", "cut off"]),
    ];
    for (error, words) in lines {
        said.hear(&error, &words);
        assert_eq!(error.line(), Some(12), "{error}");
        assert!(error.source().is_none(), "{error}");
    }
    let error = ParseNodeIdError::Text(TextError::WrongLength);
    let causes = [
        TrustParseError::BadId { line: 12, error },
        TrustParseError::BadTime { line: 12, option: "expires", error: time_error() },
        TrustParseError::BadLabel { line: 12, error: label_error() },
    ];
    for error in causes {
        said.hear_cause(&error, &["line 12"]);
        assert_eq!(error.line(), Some(12), "{error}");
        said.hear_cause(&TrustFileError::from(error), &["trust file", "line 12"]);
    }
    said.hear(&TrustListFull::Entries, &["peers"]);
    said.hear(&TrustListFull::Bytes, &["bytes"]);

    said.hear(&TrustFileError::NotFound, &["no such"]);
    said.hear(&TrustFileError::NotAFile, &["regular"]);
    said.hear(&TrustFileError::Writable { mode: 0o664 }, &["0664", "chmod"]);
    said.hear(&TrustFileError::TooLarge { bytes: 9_999_999 }, &["9999999"]);
    said.hear(&TrustFileError::NotText { line: 4 }, &["line 4"]);
    said.hear(&TrustFileError::ChangedMeanwhile, &["read it again"]);
    said.hear_cause(&TrustFileError::from(io::Error::other("the disk is full")), &["disk is full"]);
    said.hear(&TrustFileError::Io(io::ErrorKind::NotFound.into()), &["folder"]);
    assert!(TrustFileError::NotFound.source().is_none());
}

fn time_error() -> TimeError {
    "yesterday".parse::<UnixTime>().expect_err("no time")
}

fn label_error() -> LabelError {
    let entry = handclasp::node::trust::TrustEntry::new(handclasp_sim::id(1));
    entry.with_label("a\nb").expect_err("no label")
}

#[test]
fn k8_what_a_provider_fails_at_is_said() {
    let mut said = Said::default();
    let errors = [
        CryptoError::BadTag,
        CryptoError::BadSignature,
        CryptoError::ZeroSharedSecret,
        CryptoError::CounterExhausted,
        CryptoError::BadLength,
        CryptoError::UnsupportedCipher,
        CryptoError::OutOfTurn,
        CryptoError::PskMismatch,
    ];
    for error in errors {
        said.hear(&error, &[]);
    }
    let primitives = [
        Primitive::X25519,
        Primitive::Ed25519,
        Primitive::Sha256,
        Primitive::HkdfSha256,
        Primitive::ChaChaPoly,
    ];
    for primitive in primitives {
        said.hear(&SelfTestFailure { primitive }, &[&primitive.to_string()]);
    }
    let none = SuiteSet::EMPTY;
    assert!(none.to_string().starts_with("none"), "{none}");
    assert_eq!(none.with(Suite::NnChaChaPoly).to_string(), "Noise_NN_25519_ChaChaPoly_SHA256");
    let both = none.with(Suite::NnChaChaPoly).with(Suite::NnPsk0ChaChaPoly);
    assert_eq!(both.to_string(), "Noise_NN_25519_ChaChaPoly_SHA256, Noise_NNpsk0_25519_ChaChaPoly_SHA256");
}

#[test]
fn h6_each_refusal_says_what_to_do_and_has_a_name_of_its_own() {
    let (ours, theirs) = (VersionRange::only(1), VersionRange::new(2, 3).expect("a range"));
    let refusals = [
        (Refusal::OverCapacity { retry_after: Duration::from_secs(9) }, vec!["9s"]),
        (Refusal::Incompatible { ours, theirs }, vec!["1..=1", "2..=3"]),
        (Refusal::Denied, vec!["trust"]),
        (Refusal::MissingCapability { names: vec!["a".into(), "b".into()] }, vec!["\"a\", \"b\""]),
        (Refusal::Alive, vec!["alive"]),
        (Refusal::Simultaneous, vec!["same time"]),
        (Refusal::SelfConnection, vec!["itself"]),
        (Refusal::WrongDestination, vec!["another node"]),
        (Refusal::Registry, vec!["registry"]),
        (Refusal::ShuttingDown, vec!["shutting down"]),
        (Refusal::OtherProtocol, vec!["protocol"]),
    ];
    let (mut said, mut names, mut codes) = (Said::default(), BTreeSet::new(), BTreeSet::new());
    for (refusal, words) in &refusals {
        said.hear(refusal, words);
        names.insert(refusal.name());
        codes.insert(refusal.code());
    }
    assert_eq!((names.len(), codes.len()), (refusals.len(), refusals.len()));
    assert_eq!(codes, (20..=30).collect());
    let mirrored = Refusal::Incompatible { ours, theirs }.mirrored();
    assert_eq!(mirrored, Refusal::Incompatible { ours: theirs, theirs: ours });
}
