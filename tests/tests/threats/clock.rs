//! A clock that jumps: a machine that slept, a clock that was set. Nothing is done twice, nothing runs hot.

use std::time::Duration;

use handclasp::hello::DialAddress;
use handclasp::node::{DialFailure, NodePolicy, Permanence, WhyNotQueued};
use handclasp::{CallError, Instant, Message, Phase, Ready, Reason};
use handclasp_sim::{Owned, Pair, Side, Solo, config, id};

use crate::host::{Host, source};

fn hours(hours: u32) -> Duration {
    Duration::from_secs(1) * 3600 * hours
}

/// As far as a clock may be ahead: nearly the 584 years that it counts.
const END_OF_TIME: Instant = Instant::from_nanos(u64::MAX - 1_000_000_000_000);

/// An established link that wakes after hours asks whether its peer is there, and goes on if it is. What has
/// waited for too long fails, once.
#[test]
fn h7_a_clock_that_jumps_ahead_costs_an_established_link_its_late_calls_and_no_more() {
    let mut pair = Pair::established();
    let now = pair.now;
    for _ in 0..3 {
        let message = Message::new("s", b"x");
        pair.initiator.link.call(message, Duration::from_secs(5), now).expect("taken");
    }
    pair.run();
    pair.responder.events.clear();
    pair.now = pair.now + hours(10);
    pair.run();
    let failed =
        pair.initiator.events.drain(..).filter(|event| {
            matches!(event, Owned::CallFailed { error: CallError::DeadlineExceeded { .. }, .. })
        });
    assert_eq!(failed.count(), 3);
    // The other side's application is told that nobody waits any more.
    let cancelled = pair.responder.events.drain(..).filter(|event| matches!(event, Owned::Cancelled(_)));
    assert_eq!(cancelled.count(), 3);
    for side in [Side::Initiator, Side::Responder] {
        assert_eq!(pair.link(side).phase(), Phase::Established, "{side:?}");
        assert!(pair.link(side).stats().pongs > 0, "{side:?} has not asked");
    }
    assert!(matches!(pair.call(Side::Initiator, "s", b"ping", b"pong"), Owned::Reply { .. }));
}

/// A link whose clock is at its end does not run hot: it is over after a handful of steps.
#[test]
fn h7_a_clock_at_the_end_of_time_ends_a_link_in_a_few_steps() {
    for ahead in [END_OF_TIME, Instant::from_nanos(u64::MAX)] {
        for which in [Side::Initiator, Side::Responder] {
            let mut pair = Pair::established();
            let now = pair.now;
            let link = pair.link(which);
            link.call(Message::new("s", b"x"), Duration::MAX, now).expect("taken");
            let mut steps = 0;
            while !link.is_finished() && steps < 100 {
                steps += 1;
                match link.poll(ahead, Ready::ALL) {
                    handclasp::Action::Send => {
                        let count = link.transmit(ahead).len();
                        link.transmitted(count, ahead);
                    }
                    handclasp::Action::Event(_) => {}
                    handclasp::Action::Timeout(next) => {
                        if next.is_none_or(|next| next > ahead) {
                            break;
                        }
                    }
                }
            }
            assert!(steps < 100, "{which:?} at {ahead:?} runs hot: {link:?}");
        }
    }
}

/// A handshake does not outlive its deadline because nobody looked.
#[test]
fn h7_a_clock_that_jumps_ahead_ends_a_handshake_once() {
    let mut solo = Solo::responder(&config(2, &[1]), 0);
    solo.now = solo.now + hours(10);
    solo.act();
    assert_eq!(solo.closed().reason, Reason::HandshakeTimeout);
    assert_eq!(solo.events.iter().filter(|event| matches!(event, Owned::Closed(_))).count(), 1);
}

/// A node that wakes after hours dials once, not once for each wait that it slept through; one whose clock is
/// set back waits for it, and takes connections meanwhile.
#[test]
fn h7_a_node_dials_once_after_its_clock_has_jumped_and_stands_still_while_it_is_back() {
    let mut host = Host::new(&config(1, &[2]), NodePolicy::default());
    let address = DialAddress { weight: 1, address: "there".into() };
    host.node.set_addresses(id(2), vec![address], host.now);
    host.node.set_permanence(id(2), Permanence::Permanent, host.now);
    host.node_turn();
    for _ in 0..5 {
        let ticket = host.dials.pop().expect("a dial");
        host.node.dial_failed(ticket, DialFailure::TimedOut, host.now);
        host.node_turn();
        host.pass(hours(10));
        assert_eq!(host.dials.len(), 1, "dials after ten hours");
    }
    let ticket = host.dials.pop().expect("a dial");
    host.node.dial_failed(ticket, DialFailure::TimedOut, host.now);
    host.node_turn();
    let deadline = host.node_deadline().expect("a wait");
    let now = host.now;
    host.now = Instant::ZERO;
    host.node_turn();
    assert!(host.dials.is_empty(), "a clock that is back hastens nothing");
    assert!(host.knock(source(1), b""), "and keeps nobody out");
    assert_eq!(host.node_deadline(), Some(deadline), "nor does it put anything off");
    host.now = now;
    host.pass(deadline.since(now));
    assert_eq!(host.dials.len(), 1);
}

/// Trust that has run out does not come back because a clock was set back.
#[test]
fn i4_a_clock_that_is_set_back_revives_no_trust() {
    let mut host = Host::new(&config(1, &[]), NodePolicy::default());
    let start = host.now;
    host.node.trust(id(2), Some(start + hours(1)), start);
    assert!(host.node.is_trusted(id(2)));
    // Nobody polls: what has not been acted on must hold all the same.
    let late = start + hours(2);
    assert!(host.node.accept(source(1), late).is_ok());
    assert!(!host.node.is_trusted(id(2)));
    assert!(host.node.accept(source(1), start).is_ok());
    assert!(!host.node.is_trusted(id(2)), "the clock is back, and so is the trust");
    let refused = host.node.want(id(2), late, start).expect_err("it is not trusted");
    assert_eq!(refused, WhyNotQueued::Untrusted);
}
