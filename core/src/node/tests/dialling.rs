//! When peers are dialled.

use alloc::borrow::ToOwned;

use super::*;

fn address(weight: u16, address: &str) -> DialAddress {
    DialAddress { weight, address: address.into() }
}

#[test]
fn d1_a_permanent_peer_is_dialled_at_once_and_again_when_its_link_ends() {
    let (mut bench, peer) = permanent(&[address(1, "there")]);
    let own = bench.connect();
    bench.identify(own, peer, 9);
    bench.say(own, FromLink::Established);
    bench.say(own, FromLink::Confirmed);
    assert!(named(&bench.words()).contains(&(own, "permanence")), "the peer is told");
    bench.pass(Duration::from_secs(11));
    bench.end(own, Reason::PeerDead, By::Transport);
    drop(bench.actions());
    let until = bench.deadline().expect("a wait");
    assert!(until <= bench.now + Duration::from_millis(500), "after useful uptime the wait is short");
    bench.now = until;
    let again = bench.connect();
    assert_ne!(own, again);

    // No longer permanent: it is not dialled again.
    bench.node.set_permanence(peer, Permanence::Ephemeral, bench.now);
    bench.end(again, Reason::Truncated, By::Transport);
    drop(bench.actions());
    assert_eq!(bench.deadline(), None);
}

#[test]
fn d1_an_ephemeral_peer_is_dialled_by_the_first_message_and_not_again() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.node.set_addresses(peer, alloc::vec![address(1, "there")], bench.now);
    assert!(bench.actions().is_empty());
    bench.node.queue(peer, Message::new("s", "x"), bench.now).expect("room");
    let own = bench.connect();
    bench.identify(own, peer, 9);
    bench.say(own, FromLink::Established);
    drop(bench.actions());
    bench.pass(Duration::from_secs(60));
    bench.end(own, Reason::Truncated, By::Transport);
    let events = bench.events();
    assert!(matches!(events.last(), Some(NodeEvent::Unlinked { .. })));
    assert_eq!(bench.deadline(), None);
}

#[test]
fn d1_the_peers_own_permanence_is_told() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let link = bench.linked_by(peer, 9);
    bench.say(link, FromLink::Permanence(true));
    assert!(matches!(bench.events().last(), Some(NodeEvent::Permanence { permanent: true, .. })));
    assert_eq!(bench.node.status(peer).map(|status| status.peer_is_permanent), Some(true));
}

#[test]
fn d2_waits_grow_with_failures_and_go_on_for_ever() {
    let (mut bench, peer) = permanent(&[address(1, "there")]);
    let mut longest = Duration::ZERO;
    for failures in 0..200_u32 {
        let ticket = bench.dial();
        bench.node.dial_failed(ticket, DialFailure::TimedOut, bench.now);
        drop(bench.actions());
        let wait = bench.deadline().expect("it goes on").since(bench.now);
        let ceiling = Duration::from_millis(500 << failures.min(6)).min(Duration::from_secs(30));
        assert!(wait <= ceiling, "{wait:?} after {failures} failures");
        longest = longest.max(wait);
        bench.pass(wait);
    }
    assert!(longest > Duration::from_secs(25), "{longest:?}");
    assert_eq!(bench.node.status(peer).map(|status| status.failures), Some(200));
}

#[test]
fn d2_a_link_that_is_lost_at_once_is_no_success() {
    let (mut bench, peer) = permanent(&[address(1, "there")]);
    let mut failures = Vec::new();
    for uptime in [1, 1, 11, 1] {
        let own = bench.connect();
        bench.identify(own, peer, 9);
        bench.say(own, FromLink::Established);
        bench.pass(Duration::from_secs(uptime));
        bench.end(own, Reason::Truncated, By::Transport);
        drop(bench.actions());
        failures.push(bench.node.status(peer).expect("a record").failures);
        bench.now = bench.deadline().expect("a wait");
    }
    assert_eq!(failures, [1, 2, 0, 1]);
}

#[test]
fn d2_the_time_that_a_refusal_names_is_kept_to() {
    let (mut bench, peer) = permanent(&[address(1, "there"), address(1, "elsewhere")]);
    let own = bench.connect();
    bench.identify(own, peer, 9);
    let retry_after = Duration::from_secs(20);
    bench.end(own, Reason::Refused(Refusal::OverCapacity { retry_after }), By::Peer);
    assert!(
        bench.events().iter().any(|event| matches!(event, NodeEvent::DialFailed { again: Some(at), .. }
            if *at >= bench.now + retry_after)),
        "its other address leads to the same peer"
    );
}

#[test]
fn d2_one_attempt_at_a_time_through_all_addresses() {
    let (mut bench, _) = permanent(&[address(1, "a"), address(1, "b"), address(0, "c")]);
    let mut tried = Vec::new();
    for _ in 0..3 {
        let ticket = bench.dial();
        tried.push(ticket.address().to_owned());
        bench.node.dial_failed(ticket, DialFailure::Unreachable("refused".into()), bench.now);
    }
    assert_eq!(tried.pop().as_deref(), Some("c"));
    tried.sort();
    assert_eq!(tried, ["a", "b"]);
    drop(bench.actions());
    assert!(bench.deadline().is_some(), "after all of them it waits");
}

#[test]
fn d2_a_dial_has_its_time_connecting_and_handshake_together() {
    let (mut bench, _) = permanent(&[address(1, "there")]);
    let ticket = bench.dial();
    assert_eq!(ticket.deadline(), bench.now + Duration::from_secs(30));
    bench.pass(Duration::from_secs(30));
    assert!(
        matches!(&bench.events()[..], [NodeEvent::DialFailed { error, .. }] if error.name() == "timed_out")
    );
    assert!(bench.node.connected(ticket, bench.now).is_none(), "a stale ticket makes no link");

    let (mut bench, _) = permanent(&[address(1, "there")]);
    let ticket = bench.dial();
    bench.pass(Duration::from_secs(29));
    let (own, _) = bench.node.connected(ticket, bench.now).expect("in time");
    bench.pass(Duration::from_secs(1));
    assert_eq!(named(&bench.words()), [(own, "handshake_timeout")]);
}

#[test]
fn d5_each_failure_has_its_name_and_whether_to_retry() {
    let ends = [
        // Whoever answers there and proves nothing cannot end it for good.
        (Reason::WrongPeer { expected: key(1).node_id(), got: None }, By::Local, false, "wrong_peer", true),
        (Reason::BadSignature, By::Local, false, "bad_signature", true),
        (Reason::Refused(Refusal::Denied), By::Peer, false, "denied", true),
        (Reason::Refused(Refusal::Denied), By::Peer, true, "denied", false),
        (Reason::Refused(Refusal::ShuttingDown), By::Peer, true, "shutting_down", true),
        (Reason::HandshakeTimeout, By::Local, false, "handshake_timeout", true),
        (Reason::KeyExchangeFailed, By::Peer, false, "key_exchange_failed", true),
    ];
    for (reason, by, proved, name, again) in ends {
        let (mut bench, peer) = permanent(&[address(1, "there")]);
        let own = bench.connect();
        if proved {
            bench.identify(own, peer, 9);
        }
        bench.end(own, reason, by);
        drop(bench.actions());
        let status = bench.node.status(peer).expect("a record");
        assert_eq!(status.last_error.map(|error| error.name()), Some(name));
        // A permanent peer is tried for ever, but not soon if it has said that it will not have it.
        let PeerState::Waiting { until } = status.state else { panic!("{name}: {:?}", status.state) };
        assert_eq!(until < bench.now + Duration::from_secs(30), again, "{name}");
    }
    let (mut bench, peer) = permanent(&[]);
    let status = bench.node.status(peer).expect("a record");
    assert_eq!(status.last_error.map(|error| error.name()), Some("no_address"));
    // What was given up is taken up when there is something new to try.
    drop(bench.actions());
    bench.node.set_addresses(peer, alloc::vec![address(1, "there")], bench.now);
    drop(bench.dial());

    let mut bench = Bench::new();
    let stranger = key(99).node_id();
    bench.node.set_addresses(stranger, alloc::vec![address(1, "there")], bench.now);
    bench.node.set_permanence(stranger, Permanence::Permanent, bench.now);
    let status = bench.node.status(stranger).expect("a record");
    assert_eq!(status.last_error.map(|error| error.name()), Some("untrusted"));
    bench.node.trust(stranger, None, bench.now);
    drop(bench.dial());
}

#[test]
fn d6_an_address_that_a_peer_gave_is_dialled_only_if_policy_allows() {
    for dial_back in [false, true] {
        let mut bench = Bench::with(NodePolicy { dial_back, ..NodePolicy::default() }, None);
        let peer = bench.greater;
        let link = bench.accept();
        let mut hello = Bench::hello(9, 500);
        hello.addresses.push(address(1, "where I am"));
        bench.say(link, FromLink::Identified(Box::new(Identity { id: peer, hello })));
        bench.say(link, FromLink::Established);
        bench.node.set_permanence(peer, Permanence::Permanent, bench.now);
        bench.end(link, Reason::Truncated, By::Transport);
        drop(bench.actions());
        bench.pass(Duration::from_secs(2));
        let dials: Vec<_> = bench
            .actions()
            .into_iter()
            .filter_map(|action| match action {
                NodeAction::Dial(ticket) => Some(ticket.address().to_owned()),
                _ => None,
            })
            .collect();
        assert_eq!(dials, if dial_back { alloc::vec!["where I am".to_owned()] } else { Vec::new() });
    }
}

#[test]
fn i12_the_node_does_not_dial_itself() {
    let mut bench = Bench::new();
    let own = bench.node.id();
    let until = bench.now + Duration::from_secs(1);
    assert_eq!(bench.node.want(own, until, bench.now), Err(WhyNotQueued::SelfConnection));
    bench.node.set_permanence(own, Permanence::Permanent, bench.now);
    assert!(bench.actions().is_empty());
}
