//! L5: one closed set of reasons, the same in the API, on the wire and in docs/wire.md.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use handclasp::crypto::SuiteSet;
use handclasp::wire::{Malformed, hello};
use handclasp::{
    Action, By, CallError, Event, Message, Payload, Phase, Ready, Reason, Refusal, Retry, ServiceError,
    VersionRange, Violation,
};
use handclasp_sim::raw::frame;
use handclasp_sim::{Owned, Pair, Side, id};

use crate::support::{asked, ended, raw};

const DOCUMENT: &str = include_str!("../../../docs/wire.md");

/// Every reason once. A new variant does not compile here until it is added.
fn all() -> Vec<Reason> {
    let what: Malformed = hello::parse(&[]).expect_err("no hello");
    let refusals = [
        Refusal::OverCapacity { retry_after: Duration::from_secs(9) },
        Refusal::Incompatible { ours: VersionRange::only(1), theirs: VersionRange::only(2) },
        Refusal::Denied,
        Refusal::MissingCapability { names: vec!["c".into()] },
        Refusal::Alive,
        Refusal::Simultaneous,
        Refusal::SelfConnection,
        Refusal::WrongDestination,
        Refusal::Registry,
        Refusal::ShuttingDown,
        Refusal::OtherProtocol,
    ];
    let mut all: Vec<Reason> = refusals.into_iter().map(Reason::Refused).collect();
    all.extend([
        Reason::Goodbye { code: 1, detail: "text".into() },
        Reason::Idle,
        Reason::Superseded,
        Reason::Revoked,
        Reason::Dropped,
        Reason::DrainTimeout,
        Reason::Truncated,
        Reason::Transport,
        Reason::PeerDead,
        Reason::WriteStalled,
        Reason::HandshakeTimeout,
        Reason::NotReady,
        Reason::WrongPeer { expected: id(1), got: None },
        Reason::UnsupportedWire { theirs: 2 },
        Reason::UnsupportedSuite { theirs: SuiteSet::EMPTY },
        Reason::KeyExchangeFailed,
        Reason::BadSignature,
        Reason::Downgrade,
        Reason::SignerFailed,
        Reason::ProviderFailed,
        Reason::Violation(Violation { phase: Phase::Established, what }),
        Reason::DecryptFailed,
        Reason::TooLarge,
        Reason::FlowControl,
        Reason::CounterExhausted,
        Reason::Flood,
    ]);
    for reason in &all {
        match reason {
            Reason::Refused(_)
            | Reason::Goodbye { .. }
            | Reason::Idle
            | Reason::Superseded
            | Reason::Revoked
            | Reason::Dropped
            | Reason::DrainTimeout
            | Reason::Truncated
            | Reason::Transport
            | Reason::PeerDead
            | Reason::WriteStalled
            | Reason::HandshakeTimeout
            | Reason::NotReady
            | Reason::WrongPeer { .. }
            | Reason::UnsupportedWire { .. }
            | Reason::UnsupportedSuite { .. }
            | Reason::KeyExchangeFailed
            | Reason::BadSignature
            | Reason::Downgrade
            | Reason::SignerFailed
            | Reason::ProviderFailed
            | Reason::Violation(_)
            | Reason::DecryptFailed
            | Reason::TooLarge
            | Reason::FlowControl
            | Reason::CounterExhausted
            | Reason::Flood => {}
        }
    }
    all
}

/// The rows of the table below a heading of the document: cells, trimmed.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = DOCUMENT.split_once(heading).expect("the heading").1;
    let section = section.split("\n#").next().unwrap_or(section);
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    section
        .lines()
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
        .map(cells)
        .collect()
}

/// The rows of the refusals, without those that stand in the table of reasons as well.
fn refusal_rows() -> Vec<Vec<&'static str>> {
    let mut refusals = rows("### 3.7 Refusals");
    refusals.retain(|row| (20..=30).contains(&row[0].parse::<u16>().expect("a number")));
    refusals
}

#[test]
fn l5_codes_and_names_are_unique_and_those_of_the_document() {
    let mut documented = BTreeMap::new();
    for row in rows("## 10. Close reasons").iter().filter(|row| !row[0].contains('–')).chain(&refusal_rows())
    {
        let before = documented.insert(row[0].parse::<u16>().expect("a number"), row[1]);
        assert_eq!(before, None, "{row:?} stands there twice");
    }
    let mut ours = BTreeMap::new();
    for reason in all() {
        assert_eq!(ours.insert(reason.code(), reason.name()), None, "{reason:?}: its number is taken");
    }
    let names: std::collections::BTreeSet<_> = ours.values().collect();
    assert_eq!(names.len(), ours.len(), "a name is taken twice");
    assert_eq!(ours, documented);
}

#[test]
fn l5_the_document_says_when_a_refused_dial_may_be_tried_again() {
    let refusals: BTreeMap<u16, Retry> = all()
        .into_iter()
        .filter_map(|reason| {
            if let Reason::Refused(_) = &reason { Some((reason.code(), reason.retry())) } else { None }
        })
        .collect();
    let table = refusal_rows();
    assert_eq!(table.len(), refusals.len());
    for row in table {
        let retry = refusals[&row[0].parse::<u16>().expect("a number")];
        let expected = match row[3].split([',', ' ']).next() {
            Some("never") => matches!(retry, Retry::Never),
            Some("later") => matches!(retry, Retry::Later(_)),
            Some("now") => matches!(retry, Retry::Now),
            other => panic!("{other:?}"),
        };
        assert!(expected, "{row:?}: {retry:?}");
    }
}

#[test]
fn l5_a_reason_that_travels_arrives_as_itself_and_the_others_are_not_believed() {
    for row in rows("## 10. Close reasons").into_iter().filter(|row| !row[0].contains('–')) {
        let code: u16 = row[0].parse().expect("a number");
        let detail: &[u8] = if code == 1 { b"\0\0\0\x05text" } else { b"" };
        let mut raw = raw();
        raw.send(&frame(0x42, 0, [&code.to_be_bytes()[..], detail].concat()));
        let closed = raw.link.closed().expect("CLOSE without a goodbye is the end").clone();
        let elsewhere = ["never sent", "in cleartext only", "none; only in"];
        if elsewhere.iter().any(|words| row[3].starts_with(words)) {
            assert!(matches!(closed.reason, Reason::Violation(_)), "{row:?}: {closed:?}");
            assert_eq!(closed.by, By::Local, "{row:?}");
        } else {
            assert_eq!((closed.reason.code(), closed.reason.name()), (code, row[1]));
            assert_eq!(closed.by, By::Peer, "{row:?}");
        }
    }
}

#[test]
fn l5_every_reason_has_a_sentence_of_its_own() {
    let sentences: std::collections::BTreeSet<String> = all().iter().map(ToString::to_string).collect();
    assert_eq!(sentences.len(), all().len());
}

/// Plays the same link again: all that the initiator writes from its establishment on, up to `cut` bytes, then the end
/// of the stream. The responder's end, and how much came to it.
fn truncated_at(cut: usize) -> (Option<Reason>, usize) {
    let mut pair = Pair::established();
    let now = pair.now;
    for length in [10, 200] {
        pair.initiator.link.send(Message::new("s", vec![0; length])).expect("taken");
        pair.act(Side::Initiator);
    }
    pair.initiator.link.goodbye(3, "bye", now);
    let mut came = 0;
    while pair.act(Side::Initiator) || came == 0 {
        let bytes: Vec<u8> = pair.initiator.pipe.bytes.drain(..).collect();
        let count = bytes.len().min(cut - came);
        pair.inject(Side::Responder, &bytes[..count]);
        came += count;
        if came == cut {
            break;
        }
        pair.deliver(Side::Initiator);
    }
    pair.responder.link.recv_closed(now);
    pair.act(Side::Responder);
    let events = &pair.responder.events;
    let ends = events.iter().filter(|event| matches!(event, Owned::Closed(_))).count();
    assert_eq!(ends, usize::from(pair.responder.link.closed().is_some()), "{events:?}");
    (pair.responder.link.closed().map(|closed| closed.reason.clone()), came)
}

#[test]
fn l5_the_end_of_the_stream_at_any_byte_is_truncation_and_never_a_clean_end() {
    let (_, whole) = truncated_at(usize::MAX);
    for cut in 0..whole {
        assert_eq!(truncated_at(cut).0, Some(Reason::Truncated), "cut at {cut} of {whole}");
    }
    assert_eq!(truncated_at(whole).0, Some(Reason::Goodbye { code: 3, detail: "bye".into() }));
}

#[test]
fn l5_truncation_is_nobodys_word() {
    let mut pair = Pair::established();
    pair.initiator.pipe.close();
    pair.deliver(Side::Responder);
    pair.act(Side::Responder);
    let closed = pair.closed(Side::Responder);
    assert_eq!(
        (closed.reason, closed.by, closed.phase),
        (Reason::Truncated, By::Transport, Phase::Established)
    );
}

#[test]
fn l5_the_end_of_the_stream_behind_close_is_clean_even_with_own_work_to_finish() {
    let mut raw = raw();
    raw.send(&handclasp_sim::raw::call(1, 3000, "s", b""));
    raw.send(&[frame(0x41, 0, [0; 4]), frame(0x42, 0, [0, 1, 0, 0, 0, 0])].concat());
    let now = raw.now;
    raw.link.recv_closed(now);
    raw.act();
    assert_ne!(ended(&raw), Some(&Reason::Truncated));
    raw.pass(Duration::from_secs(6));
    assert_eq!(ended(&raw), Some(&Reason::Goodbye { code: 0, detail: String::new() }));
    assert!(raw.link.is_finished());
}

/// Links, events and errors are logged with `Debug`: what people say to each other does not belong there.
#[test]
fn o2_no_debug_text_shows_a_body() {
    const BODY: &[u8] = b"a body that nobody should read in a log";
    let shows = |text: &dyn std::fmt::Debug| {
        let text = format!("{text:?}");
        let numbers = format!("{:?}", &BODY[2..12]);
        text.contains("nobody") || text.contains(numbers.trim_matches(['[', ']']))
    };
    assert!(shows(&BODY) && shows(&Bytes::from_static(BODY)), "the check can fail");
    let application = || ServiceError::Application { code: 3, detail: Bytes::from_static(BODY) };
    for payload in [Payload::Borrowed(BODY), Payload::Owned(Bytes::from_static(BODY))] {
        assert!(!shows(&payload) && !shows(&Message::new("s", payload.clone())), "{payload:?}");
    }
    assert!(!shows(&application()) && !shows(&CallError::Service(application())));
    let mut pair = Pair::established();
    let (_, token) = asked(&mut pair, Side::Initiator, Duration::from_secs(5));
    pair.initiator.link.send(Message::new("s", BODY)).expect("taken");
    assert!(!shows(&pair.initiator.link));
    pair.act(Side::Initiator);
    let bytes: Vec<u8> = pair.initiator.pipe.bytes.drain(..).collect();
    let (link, now) = (&mut pair.responder.link, pair.now);
    link.recv_space()[..bytes.len()].copy_from_slice(&bytes);
    link.received(bytes.len(), now);
    match link.poll(now, Ready::ALL) {
        Action::Event(event @ Event::Message(_)) => assert!(!shows(&event), "{event:?}"),
        other => panic!("{other:?}"),
    }
    link.close(now);
    let rejected = link.reply(token, Err(application())).unwrap_err();
    assert!(!shows(&rejected), "{rejected:?}");
    let (link, now) = (&mut pair.initiator.link, pair.now);
    link.send(Message::new("s", BODY)).expect("taken");
    link.close(now);
    let rejected = link.send(Message::new("s", BODY)).unwrap_err();
    assert!(!shows(&rejected), "{rejected:?}");
    let unsent = link.take_unsent().expect("given back");
    assert_eq!(unsent.body, BODY);
    assert!(!shows(&unsent), "{unsent:?}");
}
