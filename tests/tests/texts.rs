//! What errors say to people: each something else, with the figures that it carries at their places, and with the
//! error behind it where there is one.

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::time::Duration;

use handclasp::crypto::cipher::{OpenKey, SealKey};
use handclasp::crypto::noise::{HandshakeState, Protocol, Role};
use handclasp::crypto::{
    Cipher, CryptoError, Primitive, RustCrypto, Secret, SelfTestFailure, Suite, SuiteSet,
};
use handclasp::hello::{HelloError, HelloPart};
use handclasp::identity::keyfile::KeyFileError;
use handclasp::identity::{InvalidNodeId, ParseNodeIdError, SignerError, TextError};
use handclasp::node::adverts::{AdvertError, InvalidAdvert};
use handclasp::node::trust::{
    LabelError, TimeError, TrustFileError, TrustListFull, TrustParseError, UnixTime,
};
use handclasp::node::{DialError, Drift, PeerState, Undelivered, WhyNotQueued};
use handclasp::services::Denied;
use handclasp::signed::SignError;
use handclasp::{
    By, CallError, Closed, ClusterSecret, Config, ConfigError, Dial, Executed, Instant, Link, Message,
    Payload, Phase, Reason, Refusal, Rejected, Retry, SecretKey, Seed, ServiceError, Signer, Trust,
    VersionRange, Why,
};
use handclasp_sim::Said;

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

#[test]
fn l5_each_reason_says_why_and_has_a_name_of_its_own() {
    let (one, other) = (handclasp_sim::id(1), handclasp_sim::id(2));
    let suites = SuiteSet::EMPTY.with(Suite::NnPsk0ChaChaPoly);
    let goodbye = |code, detail: &str| Reason::Goodbye { code, detail: detail.into() };
    let reasons = [
        (goodbye(7, "that was all"), vec!["7", "that was all"]),
        (Reason::Idle, vec!["idle"]),
        (Reason::Superseded, vec!["newer"]),
        (Reason::Revoked, vec!["withdrawn"]),
        (Reason::Dropped, vec!["without a goodbye"]),
        (Reason::DrainTimeout, vec!["deadline"]),
        (Reason::Truncated, vec!["stream"]),
        (Reason::Transport, vec!["stream failed"]),
        (Reason::PeerDead, vec!["pings"]),
        (Reason::WriteStalled, vec!["no bytes"]),
        (Reason::HandshakeTimeout, vec!["too long"]),
        (Reason::NotReady, vec!["ready"]),
        (Reason::WrongPeer { expected: one, got: None }, vec![]),
        (Reason::UnsupportedWire { theirs: 9 }, vec!["9", "1"]),
        (Reason::UnsupportedSuite { theirs: suites }, vec!["NNpsk0"]),
        (Reason::KeyExchangeFailed, vec!["cluster secret"]),
        (Reason::BadSignature, vec!["prove"]),
        (Reason::Downgrade, vec!["stronger"]),
        (Reason::SignerFailed, vec!["signer"]),
        (Reason::ProviderFailed, vec!["provider"]),
        (Reason::DecryptFailed, vec!["open"]),
        (Reason::TooLarge, vec!["limit"]),
        (Reason::FlowControl, vec!["credit"]),
        (Reason::CounterExhausted, vec!["key"]),
        (Reason::Flood, vec!["answers"]),
    ];
    let (mut said, mut names, mut codes) = (Said::default(), BTreeSet::new(), BTreeSet::new());
    for (reason, words) in &reasons {
        said.hear(&Closed::new(reason.clone(), By::Peer, Phase::Established, Some(other)), words);
        names.insert(reason.name());
        codes.insert(reason.code());
    }
    assert_eq!((names.len(), codes.len()), (reasons.len(), reasons.len()));
    // Not the names and numbers of a refusal, which is one of the reasons and has those of its kind.
    let refused = Reason::Refused(Refusal::Denied);
    assert_eq!((refused.name(), refused.code()), (Refusal::Denied.name(), Refusal::Denied.code()));
    assert!(codes.iter().all(|code| !(20..40).contains(code)));
    said.hear(&refused, &["trust"]);
    assert_eq!(goodbye(0, "").to_string(), "goodbye");
    assert_eq!(goodbye(7, "").to_string(), "goodbye (code 7)");
    for (by, word) in [(By::Local, "local"), (By::Peer, "peer"), (By::Transport, "transport")] {
        let closed = Closed::new(Reason::Truncated, by, Phase::Authentication, None);
        said.hear(&closed, &["stream", word, &Phase::Authentication.to_string()]);
    }
}

#[test]
fn m4_m5_a_call_that_failed_says_how_and_whether_it_may_have_been_executed() {
    let mut said = Said::default();
    let errors = [
        (ServiceError::NoSuchService, "no service"),
        (ServiceError::Forbidden, "to this node"),
        (ServiceError::HandlerFailed, "handler"),
        (ServiceError::Overloaded, "as many"),
        (ServiceError::DeadlineExceeded, "time"),
        (ServiceError::Cancelled, "gave"),
        (ServiceError::TooLarge { limit: 4096 }, "4096"),
        (ServiceError::Application { code: 17, detail: "not shown".into() }, "17"),
        (ServiceError::Other { code: 99 }, "99"),
    ];
    let mut codes = BTreeSet::new();
    for (error, word) in errors {
        said.hear(&error, &[word]);
        assert!(!error.to_string().contains("not shown"), "{error}");
        assert_eq!(CallError::Service(error.clone()).to_string(), error.to_string());
        codes.insert(error.code());
    }
    assert_eq!(codes.len(), 9);
    for (executed, word) in
        [(Executed::No, "was not executed"), (Executed::Unknown, "may have been executed")]
    {
        said.hear(&CallError::DeadlineExceeded { executed }, &["time", word]);
        said.hear(&CallError::LinkClosed { reason: Reason::Truncated, executed }, &["stream", word]);
    }
    said.hear(&CallError::OneWayOnly, &["one way", "not executed"]);

    let whys = [
        (Why::NotEstablished, "not established"),
        (Why::Draining, "goodbye"),
        (Why::Closed, "ended"),
        (Why::Full, "full"),
        (Why::TooManyCalls { limit: 32 }, "32"),
        (Why::TooLarge { limit: 4096 }, "4096"),
        (Why::LongServiceName, "255"),
        (Why::NoStreams, "streams"),
        (Why::TooManyStreams { limit: 8 }, "8"),
        (Why::NobodyWaits, "nobody"),
        (Why::OneWayOnly, "one way"),
    ];
    for (why, word) in whys {
        said.hear(&why, &[word]);
        let rejected = Rejected { why, message: Message::new("greet", "a body that is nobody's business") };
        said.hear(&rejected, &["\"greet\"", word]);
        assert!(!rejected.to_string().contains("business") && !format!("{rejected:?}").contains("business"));
    }
    assert_eq!(format!("{:?}", Payload::from("four")), "Payload(4 bytes)");
}

#[test]
fn d5_a_dial_that_failed_says_which_it_was_and_whether_to_try_again() {
    const HOUR: Duration = Duration::from_hours(1);
    let closed = |reason, by, peer| {
        let closed = Box::new(Closed::new(reason, by, Phase::Authentication, peer));
        DialError::Closed { address: "b:1".into(), closed }
    };
    let proved = Some(handclasp_sim::id(2));
    let busy = || Reason::Refused(Refusal::OverCapacity { retry_after: HOUR });
    let both = || Reason::Refused(Refusal::Simultaneous);
    // Who has proved nothing is not believed that dialling is no use, that it is to be done at once, nor for long.
    let dials = [
        (DialError::Unreachable { address: "b:1".into(), detail: "no route".into() }, Retry::Later(None)),
        (DialError::TimedOut { address: "b:1".into() }, Retry::Later(None)),
        (DialError::Untrusted, Retry::Never),
        (DialError::NoAddress, Retry::Never),
        (closed(Reason::Refused(Refusal::Denied), By::Peer, proved), Retry::Never),
        (closed(Reason::Refused(Refusal::Denied), By::Peer, None), Retry::Later(None)),
        (closed(both(), By::Peer, proved), Retry::Now),
        (closed(both(), By::Peer, None), Retry::Later(None)),
        (closed(both(), By::Local, None), Retry::Now),
        (closed(busy(), By::Peer, proved), Retry::Later(Some(HOUR))),
        (closed(busy(), By::Peer, None), Retry::Later(Some(Duration::from_mins(1)))),
    ];
    for (error, retry) in &dials {
        assert_eq!(error.retry(), *retry, "{error:?}");
        let own = matches!(error, DialError::Closed { .. });
        assert_eq!(error.source().is_some(), own, "{error:?}");
        assert_eq!(["unreachable", "timed_out", "untrusted", "no_address"].contains(&error.name()), !own);
    }
    let mut said = Said::default();
    said.hear(&dials[0].0, &["b:1", "no route"]);
    said.hear(&dials[1].0, &["b:1", "time"]);
    said.hear(&dials[2].0, &["trust"]);
    said.hear(&dials[3].0, &["no address"]);
    said.hear_cause(&dials[4].0, &["b:1", "trusted"]);
    said.hear(&CallError::NoLink { error: Box::new(dials[0].0.clone()) }, &["no route", "not executed"]);
}

#[test]
fn d3_i10_what_a_node_tells_of_peers_and_messages_says_what_it_is() {
    let mut said = Said::default();
    let invalid = [
        (InvalidAdvert::TooLarge { size: 3000 }, vec!["3000", "2048"]),
        (InvalidAdvert::NotAnId(InvalidNodeId::SmallOrder), vec!["id"]),
        (InvalidAdvert::BadSignature, vec!["signature"]),
    ];
    for (error, words) in invalid {
        said.hear(&error, &words);
        assert_eq!(error.source().is_some(), matches!(error, InvalidAdvert::NotAnId(_)), "{error}");
    }
    let whys = [
        (WhyNotQueued::Full, "too much"),
        (WhyNotQueued::TooLarge, "longer"),
        (WhyNotQueued::Expired, "over already"),
        (WhyNotQueued::Untrusted, "trust"),
        (WhyNotQueued::SelfConnection, "itself"),
        (WhyNotQueued::ShuttingDown, "shutting down"),
    ];
    for (why, word) in whys {
        said.hear(&why, &[word]);
    }
    let (was, is) = (VersionRange::only(1), VersionRange::new(2, 3).expect("a range"));
    let zip = || "zip".to_owned();
    let told = [
        (Drift::Name { was: Some("anna".into()), is: None }.to_string(), ["anna", "None"]),
        (Drift::Lost { capability: zip() }.to_string(), ["\"zip\"", "gone"]),
        (Drift::Gained { capability: zip() }.to_string(), ["\"zip\"", "new"]),
        (Drift::Versions { capability: zip(), was, is }.to_string(), ["1..=1", "2..=3"]),
        (Undelivered::Expired.to_string(), ["time", "link"]),
        (Undelivered::GivenUp.to_string(), ["dialling", "nothing"]),
        (Undelivered::Revoked.to_string(), ["trust", "withdrawn"]),
        (Undelivered::Refused(Why::Draining).to_string(), ["drains", "goodbye"]),
    ];
    for (text, words) in told {
        said.hear(&io::Error::other(text), &words);
    }
    let states =
        [PeerState::Idle, PeerState::Ending, PeerState::GivenUp, PeerState::Waiting { until: Instant::ZERO }];
    assert_eq!(states.map(|state| state.name()), ["idle", "ending", "given_up", "waiting"]);
}

/// What somebody prints to see what is wrong holds no secret: as text, as hexadecimal digits, as a list of bytes.
#[test]
fn k6_debug_of_what_holds_secrets_shows_none() {
    const BYTE: u8 = 0xab;
    let bytes = [BYTE; 32];
    let phrase = "correct horse battery staple";
    let config = || {
        let secret = ClusterSecret::new(phrase).expect("long enough");
        Config::builder(SecretKey::from_bytes(bytes), 1).cluster_secret(secret).trust(Trust::Anyone)
    };
    let built = config().build().expect("a configuration");
    let key = SecretKey::from_bytes(bytes);
    let state = || {
        let protocol = &Protocol::NN_PSK0_CHACHA_POLY;
        HandshakeState::new(&RustCrypto, protocol, Role::Initiator, b"", Secret::new(bytes))
    };
    let seal = SealKey::new(&RustCrypto, Cipher::ChaChaPoly, &Secret::new(bytes)).expect("a key");
    let open = OpenKey::new(&RustCrypto, Cipher::ChaChaPoly, &Secret::new(bytes)).expect("a key");
    let link = Link::initiator(&built, Dial::to(key.node_id()), &Seed::new(bytes), Instant::ZERO);
    let (text, secret, seed) = (key.to_text(), Secret::new(bytes), Seed::new(bytes));
    let cluster = ClusterSecret::new(phrase).expect("long enough");
    let printed = [
        format!("{:?} {:#?}", config(), config()),
        format!("{built:?} {built:#?}"),
        format!("{key:?} {key:#?} {text:?} {text:#?}"),
        format!("{:?} {:#?}", state(), state()),
        format!("{seal:?} {open:?} {seal:#?} {open:#?}"),
        format!("{link:?} {link:#?}"),
        format!("{secret:?} {seed:?} {cluster:?} {secret:#?} {seed:#?} {cluster:#?}"),
    ];
    for printed in printed {
        let spaceless: String =
            printed.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
        for shape in ["171,171", "abab", "ab,ab", "0xab", "correct", "99,111,114,114", "636f7272", "hclsec"] {
            assert!(!spaceless.contains(shape), "{shape} is in {printed}");
        }
    }
    // The same search finds what is there.
    let shown = format!("{:?}", secret.expose());
    assert!(shown.replace(' ', "").contains("171,171"), "{shown}");
}
