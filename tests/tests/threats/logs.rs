//! What a peer says of itself, and why it goes, ends up in logs and on terminals: it must not write lines there.

use handclasp::hello::Capability;
use handclasp::node::{NodeEvent, NodePolicy};
use handclasp::{Phase, Reason, Refusal, Trust};
use handclasp_sim::raw::{RAW, Raw, frame};
use handclasp_sim::{Pair, Side, Solo, builder, id};

use crate::host::{Host, Met, source};

/// A line break, a terminal's escape, a carriage return, a change of direction.
const EVIL: &str = "x\n2027-01-01 INFO trusted \u{1b}[2J\r\u{202e}\u{85}y";

/// Nothing in `text` begins a line or speaks to a terminal. `{:#?}` has line breaks of its own.
fn is_one_line(what: &str, text: &str) {
    let evil = text.chars().find(|char| char.is_control() || ('\u{202a}'..='\u{202e}').contains(char));
    assert_eq!(evil, None, "{what}: {text}");
}

fn check(what: &str, value: &(impl std::fmt::Display + std::fmt::Debug)) {
    is_one_line(what, &format!("{value}"));
    is_one_line(what, &format!("{value:?}"));
}

/// The text of a goodbye, in GOODBYE and in CLOSE.
#[test]
fn l5_the_text_of_a_goodbye_breaks_no_line_of_a_log() {
    let mut raw = Raw::dialling(&builder(2, &[RAW]).build().expect("a valid configuration"));
    raw.send(&frame(0x41, 0, [&[0; 4], EVIL.as_bytes()].concat()));
    raw.send(&frame(0x42, 0, [&[0, 1, 0, 0, 0, 0], EVIL.as_bytes()].concat()));
    let closed = raw.closed();
    assert!(matches!(&closed.reason, Reason::Goodbye { detail, .. } if detail == EVIL), "{closed:?}");
    check("closed", &closed);
    check("reason", &closed.reason);
    raw.events.iter().for_each(|event| is_one_line("an event", &format!("{event:?}")));
    is_one_line("a link", &format!("{:?}", raw.link));
}

/// The name of a capability that is missing, in the refusal that both sides get.
#[test]
fn l5_the_names_in_a_refusal_break_no_line_of_a_log() {
    let wants = Capability::new(EVIL, 1..=1).expect("any text is a name").required();
    let i = builder(1, &[2]).capability(wants).build().expect("a valid configuration");
    let r = builder(2, &[1]).build().expect("a valid configuration");
    let mut pair = Pair::of(&i, &r, Some(id(2)));
    pair.run();
    for side in [Side::Initiator, Side::Responder] {
        let closed = pair.closed(side);
        assert!(matches!(&closed.reason, Reason::Refused(Refusal::MissingCapability { .. })), "{closed:?}");
        check("closed", &closed);
    }
}

/// What a node tells of its peers: their names, addresses, and what has changed.
#[test]
fn o2_what_a_node_tells_of_its_peers_breaks_no_line_of_a_log() {
    let config = builder(2, &[]).trust(Trust::Anyone).build().expect("a valid configuration");
    let mut host = Host::new(&config, NodePolicy::default());
    for (run, name) in [(0, "honest"), (1, EVIL)] {
        let dialler = builder(1, &[2]).name(name).info(EVIL, EVIL.as_bytes());
        let mut solo = Solo::initiator(&dialler.build().expect("a valid configuration"), Some(id(2)), run);
        let Met::Link(link) = host.connect(source(1)) else { panic!("there is room") };
        loop {
            let said = solo.written();
            if said.is_empty() {
                break;
            }
            let answer = host.feed(link, &said);
            solo.feed(&answer);
        }
        assert_eq!(solo.link.phase(), Phase::Established);
        for status in host.node.statuses() {
            is_one_line("a status", &format!("{status:?}"));
        }
        host.hang_up(link);
    }
    let drifted = |event: &NodeEvent| matches!(event, NodeEvent::Drifted { .. });
    assert!(host.events.iter().any(drifted), "{:?}", host.events);
    for event in &host.events {
        is_one_line("an event", &format!("{event:?}"));
        if let NodeEvent::Drifted { drift, .. } = event {
            for drift in drift {
                check("a drift", drift);
            }
        }
    }
}
