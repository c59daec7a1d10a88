//! What the errors of links and nodes over a runtime say to people, and what programs read off them.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use handclasp::crypto::SuiteSet;
use handclasp::node::DialError;
use handclasp::node::trust::{TrustFileError, TrustListFull};
use handclasp::runtime::{
    AcceptError, ConnectError, Direction, Missed, NoLink, NotSent, OpenError, StartError, StreamError,
    TrustError, WhyNotSent,
};
use handclasp::{
    By, CallError, Closed, ConfigError, Executed, Message, Phase, Reason, Refusal, Retry, VersionRange,
};
use handclasp_adapters::links::id;
use handclasp_sim::Said;

fn closed(reason: Reason) -> Box<Closed> {
    Box::new(Closed::new(reason, By::Peer, Phase::Authentication, Some(id(2))))
}

fn refused(refusal: Refusal) -> ConnectError {
    ConnectError::Closed(closed(Reason::Refused(refusal)))
}

fn no_route() -> io::Error {
    io::Error::new(ErrorKind::HostUnreachable, "no route to host")
}

#[test]
fn d5_h6_a_dial_without_a_link_says_why_and_when_to_dial_again() {
    let (ours, theirs) = (VersionRange::only(1), VersionRange::only(2));
    let busy = Refusal::OverCapacity { retry_after: Duration::from_secs(9) };
    let dials = [
        (
            ConnectError::Unreachable(no_route()),
            Retry::Later(None),
            vec!["no route to host", "listens there"],
        ),
        (ConnectError::TimedOut, Retry::Later(None), vec!["time for dialling", "on the way"]),
        (
            refused(busy),
            Retry::Later(Some(Duration::from_secs(9))),
            vec!["no link: ", "; try again after 9s"],
        ),
        (
            refused(Refusal::Incompatible { ours, theirs }),
            Retry::Never,
            vec!["1..=1", "; trying again changes"],
        ),
        (refused(Refusal::ShuttingDown), Retry::Later(None), vec!["shutting down", "; try again later"]),
        (refused(Refusal::Simultaneous), Retry::Now, vec!["same time", "; try again now"]),
    ];
    let mut said = Said::default();
    for (error, retry, words) in &dials {
        assert_eq!(error.retry(), *retry, "{error:?}");
        let reason = error.reason();
        match error {
            ConnectError::Closed(closed) => {
                said.hear_cause(error, words);
                assert_eq!(reason, Some(&closed.reason));
            }
            ConnectError::Unreachable(_) => said.hear_cause(error, words),
            _ => {
                said.hear(error, words);
                assert!(error.source().is_none(), "{error:?}");
            }
        }
        assert_eq!(reason.is_some(), matches!(error, ConnectError::Closed(_)), "{error:?}");
    }
    // What is most likely a matter of configuration says so, whatever it says of trying again.
    for reason in [Reason::KeyExchangeFailed, Reason::UnsupportedSuite { theirs: SuiteSet::EMPTY }] {
        let error = ConnectError::from(*closed(reason.clone()));
        said.hear_cause(&error, &["compare the settings of both sides"]);
        assert_eq!(error.reason(), Some(&reason));
        assert!(!error.to_string().contains("changes nothing"), "{error}");
    }
}

#[test]
fn h6_what_a_listener_could_not_link_says_with_whom_and_why() {
    let remote: SocketAddr = "192.0.2.7:4100".parse().expect("an address");
    let accepts = [
        (
            AcceptError::Handshake { remote, closed: closed(Reason::Refused(Refusal::Denied)) },
            vec![": ", "trust"],
        ),
        (AcceptError::OverCapacity { remote }, vec!["192.0.2.7:4100", "too many handshakes"]),
        (AcceptError::Listener(io::Error::other("too many open files")), vec!["too many open files"]),
    ];
    let mut said = Said::default();
    for (error, words) in &accepts {
        match error {
            AcceptError::Handshake { closed, .. } => {
                said.hear_cause(error, words);
                assert_eq!(error.reason(), Some(&closed.reason));
            }
            AcceptError::Listener(_) => said.hear_cause(error, words),
            _ => {
                said.hear(error, words);
                assert!(error.source().is_none());
            }
        }
        let from = (!matches!(error, AcceptError::Listener(_))).then_some(remote);
        assert_eq!(error.remote(), from, "{error}");
        assert_eq!(error.to_string().contains("192.0.2.7:4100"), from.is_some(), "{error}");
        assert_eq!(error.reason().is_some(), matches!(error, AcceptError::Handshake { .. }), "{error}");
    }
    // Nobody is named who has claimed nothing.
    assert!(!accepts[0].0.to_string().contains("says to be"), "{}", accepts[0].0);
}

#[test]
fn d5_a_node_that_does_not_start_says_what_to_change() {
    let mut said = Said::default();
    said.hear_cause(&StartError::from(ConfigError::NoSuite), &["configuration", "suite"]);
    said.hear(&StartError::NoRegistry, &["external registry", "`registry`"]);
    said.hear(&StartError::Ended, &["has ended", "start another"]);
    let path = PathBuf::from("/etc/trusted");
    let error = TrustError::File(TrustFileError::Writable { mode: 0o664 });
    said.hear_cause(&StartError::Trust { path, error }, &["/etc/trusted", "0664"]);
    for error in [StartError::NoRegistry, StartError::Ended] {
        assert!(error.source().is_none(), "{error}");
    }
    let hints = [
        (ErrorKind::AddrInUse, "another port, or port 0"),
        (ErrorKind::AddrNotAvailable, "no such address"),
        (ErrorKind::PermissionDenied, "above 1023"),
        (ErrorKind::InvalidInput, "host:port"),
    ];
    for (kind, hint) in hints {
        let error = StartError::Listen { address: "b:1".into(), error: kind.into() };
        said.hear_cause(&error, &["\"b:1\"", &kind.to_string(), hint]);
    }
    let mut said = Said::default();
    let list = TrustError::Full(TrustListFull::Entries);
    said.hear_cause(&TrustError::File(TrustFileError::ChangedMeanwhile), &["read it again"]);
    said.hear_cause(&list, &["peers"]);
    said.hear(&TrustError::Ended, &["going down"]);
    assert!(TrustError::Ended.source().is_none());
}

#[test]
fn d3_d5_a_peer_that_takes_nothing_says_why() {
    let mut said = Said::default();
    let dial = DialError::Unreachable { address: "b:1".into(), detail: "no route".into() };
    said.hear_cause(&NoLink::Dial(dial.clone()), &["b:1", "no route"]);
    said.hear(&NoLink::SelfConnection, &["itself"]);
    said.hear(&NoLink::ShuttingDown, &["shutting down"]);
    assert!(NoLink::SelfConnection.source().is_none() && NoLink::ShuttingDown.source().is_none());
    // For a call, by the reasons that calls know, and never executed.
    assert_eq!(CallError::from(NoLink::Dial(dial.clone())), CallError::NoLink { error: Box::new(dial) });
    for (error, refusal) in
        [(NoLink::SelfConnection, Refusal::SelfConnection), (NoLink::ShuttingDown, Refusal::ShuttingDown)]
    {
        let reason = Reason::Refused(refusal);
        assert_eq!(CallError::from(error), CallError::LinkClosed { reason, executed: Executed::No });
    }

    let whys = [
        (WhyNotSent::Full, "no room"),
        (WhyNotSent::NotNow, "at once"),
        (WhyNotSent::TooLarge { limit: 4096 }, "4096 bytes"),
        (WhyNotSent::LongServiceName, "255"),
        (WhyNotSent::Expired, "over already"),
        (WhyNotSent::Untrusted, "add it to the trust list"),
        (WhyNotSent::SelfConnection, "itself"),
        (WhyNotSent::ShuttingDown, "shutting down"),
    ];
    let mut said = Said::default();
    for (why, words) in whys {
        said.hear(&io::Error::other(why.to_string()), &[words]);
        let not = NotSent { why, message: Message::new("greet", "nobody's business") };
        said.hear(&not, &["\"greet\"", "not sent", words]);
        assert!(!format!("{not} {not:?} {not:#?}").contains("business"), "{not:?}");
    }
    said.hear(&Missed(17), &["17 events", "larger event buffer"]);
}

#[test]
fn m12_a_stream_that_goes_no_further_says_why() {
    let streams = [
        (StreamError::Reset { code: 7 }, ErrorKind::ConnectionReset, "gave the stream up (code 7)"),
        (StreamError::Stopped { code: 8 }, ErrorKind::BrokenPipe, "reads no more of the stream (code 8)"),
        (StreamError::Refused, ErrorKind::ConnectionRefused, "does not take"),
        (StreamError::LinkEnded, ErrorKind::ConnectionAborted, "the link has ended"),
        (StreamError::Ended, ErrorKind::BrokenPipe, "this side has ended"),
    ];
    let mut said = Said::default();
    for (error, kind, words) in streams {
        said.hear(&error, &[words]);
        let of_io = io::Error::from(error);
        assert_eq!((of_io.kind(), of_io.to_string()), (kind, error.to_string()));
        assert_eq!(of_io.get_ref().and_then(|own| own.downcast_ref()), Some(&error));
    }
    let mut said = Said::default();
    said.hear(&OpenError::LongName, &["255"]);
    said.hear(&OpenError::NoStreams, &["no byte streams"]);
    said.hear(&OpenError::TooMany { limit: 12 }, &["12 streams"]);
    said.hear(&OpenError::LinkClosed { reason: Reason::Idle }, &["no new streams: ", "idle"]);
    said.hear_cause(&OpenError::NoLink(NoLink::SelfConnection), &["itself"]);
    assert!(OpenError::TooMany { limit: 12 }.source().is_none());
}

#[test]
fn o2_the_direction_of_a_link_has_a_stable_name() {
    for (direction, name) in [(Direction::Outbound, "outbound"), (Direction::Inbound, "inbound")] {
        assert_eq!((direction.name(), direction.to_string()), (name, name.to_owned()));
    }
}
