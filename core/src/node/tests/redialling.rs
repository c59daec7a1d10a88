//! Dialling where something else happens meanwhile.
use super::*;

#[test]
fn d2_no_end_of_a_link_ends_the_dialling_of_a_permanent_peer() {
    for (reason, by) in [
        (Reason::Refused(Refusal::Denied), By::Peer),
        (Reason::WrongPeer { expected: key(1).node_id(), got: None }, By::Local),
        (Reason::BadSignature, By::Local),
    ] {
        let (mut bench, peer) = permanent(&[there()]);
        let own = bench.connect();
        let closed = Box::new(Closed::new(reason, by, Phase::Authentication, None));
        bench.say(own, FromLink::Ended { closed, unsent: Vec::new() });
        drop(bench.actions());
        assert_ne!(bench.node.status(peer).map(|status| status.state), Some(PeerState::GivenUp));
    }
}

/// A peer may have reason to say "now" again and again, but not without end.
#[test]
fn d2_a_peer_that_always_says_now_is_dialled_ever_more_slowly() {
    let (mut bench, peer) = permanent(&[there()]);
    let (start, rounds) = (bench.now, 50);
    for _ in 0..rounds {
        let own = bench.connect();
        let reason = Reason::Refused(Refusal::Simultaneous);
        let closed = Box::new(Closed::new(reason, By::Peer, Phase::Authentication, Some(peer)));
        bench.say(own, FromLink::Ended { closed, unsent: Vec::new() });
        drop(bench.actions());
        let next = bench.deadline().expect("it is dialled again");
        bench.pass(next.since(bench.now));
    }
    // 50 waits of a back-off that goes up to 30 seconds have a mean of 13 seconds and more.
    let passed = bench.now.since(start);
    assert!(passed > 10 * Duration::from_secs(30), "{rounds} dials in {passed:?}");
}

#[test]
fn d1_a_disconnect_gives_up_a_dial() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.want(peer);
    let ticket = bench.dial();
    bench.node.disconnect(peer, 0, "", bench.now);
    assert!(bench.node.connected(ticket, bench.now).is_none());
}

#[test]
fn d2_a_link_that_was_taken_and_died_is_followed_by_a_dial() {
    let (mut bench, peer) = permanent(&[there()]);
    let ticket = bench.dial();
    bench.node.dial_failed(ticket, DialFailure::TimedOut, bench.now);
    let link = bench.accept();
    bench.identify(link, peer, 9);
    drop(bench.actions());
    bench.pass(Duration::from_secs(2));
    drop(bench.actions());
    bench.end(link, Reason::Truncated, By::Transport);
    drop(bench.actions());
    assert!(bench.deadline().is_some(), "{:?}", bench.node.status(peer));
}

#[test]
fn d1_a_wish_that_a_handover_fulfils_is_over() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    bench.node.set_addresses(peer, alloc::vec![there()], bench.now);
    let old = bench.linked_by(peer, 9);
    let new = bench.accept();
    bench.identify(new, peer, 10);
    bench.say(new, FromLink::Established);
    bench.say(new, FromLink::Confirmed);
    bench.node.want(peer, bench.now + Duration::from_secs(3600), bench.now).expect("wanted");
    bench.end(old, Reason::Superseded, By::Local);
    assert_eq!(bench.node.route(peer), Some(new));
    bench.pass(Duration::from_secs(60));
    bench.end(new, Reason::Truncated, By::Transport);
    drop(bench.actions());
    assert!(
        matches!(bench.node.status(peer).map(|s| s.state), Some(PeerState::Idle)),
        "an ephemeral peer is redialled"
    );
}

#[test]
fn d2_a_dial_is_announced_only_if_it_comes() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.node.set_addresses(
        peer,
        alloc::vec![there(), DialAddress { weight: 1, address: "b".into() }],
        bench.now,
    );
    let soon = bench.now + Duration::from_secs(1);
    bench.node.queue(peer, Message::new("s", "x").expires(soon), bench.now).expect("room");
    let ticket = bench.dial();
    bench.pass(Duration::from_secs(1));
    drop(bench.actions());
    bench.node.dial_failed(ticket, DialFailure::TimedOut, bench.now);
    let actions = bench.actions();
    let again =
        actions.iter().any(|a| matches!(a, NodeAction::Event(NodeEvent::DialFailed { again: Some(_), .. })));
    let dialled = actions.iter().any(|a| matches!(a, NodeAction::Dial(_)));
    assert_eq!(again, dialled);
}

#[test]
fn d2_a_time_that_one_address_asks_for_holds_beside_another_there() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.node.set_addresses(
        peer,
        alloc::vec![there(), DialAddress { weight: 0, address: "b".into() }],
        bench.now,
    );
    bench.node.set_permanence(peer, Permanence::Permanent, bench.now);
    let own = bench.connect();
    let retry_after = Duration::from_secs(20);
    let closed = Box::new(Closed::new(
        Reason::Refused(Refusal::OverCapacity { retry_after }),
        By::Peer,
        Phase::KeyExchange,
        None,
    ));
    bench.say(own, FromLink::Ended { closed, unsent: Vec::new() });
    let ticket = bench.dial();
    bench.node.dial_failed(ticket, DialFailure::TimedOut, bench.now);
    drop(bench.actions());
    assert!(bench.deadline().expect("a wait") >= bench.now + retry_after);
}

#[test]
fn d2_the_same_addresses_again_hasten_nothing() {
    let (mut bench, peer) = permanent(&[there()]);
    for _ in 0..50 {
        let ticket = bench.dial();
        bench.node.dial_failed(ticket, DialFailure::TimedOut, bench.now);
        bench.node.set_addresses(peer, alloc::vec![there()], bench.now);
        drop(bench.actions());
        bench.now = bench.deadline().expect("a wait");
    }
    let passed = bench.now.since(Instant::from_nanos(1_000_000_000));
    assert!(passed > Duration::from_secs(60), "{passed:?} for 50 dials");
}

#[test]
fn d5_refused_alive_again_and_again_is_told() {
    let (mut bench, peer) = permanent(&[there()]);
    for _ in 0..20 {
        let own = bench.connect();
        let closed =
            Box::new(Closed::new(Reason::Refused(Refusal::Alive), By::Peer, Phase::Authentication, None));
        bench.say(own, FromLink::Ended { closed, unsent: Vec::new() });
        if bench.events().iter().any(|e| matches!(e, NodeEvent::DialFailed { .. })) {
            return;
        }
        bench.now = bench.deadline().expect("a wait");
    }
    panic!("20 dials in vain, no event, last_error {:?}", bench.node.status(peer).and_then(|s| s.last_error));
}

#[test]
fn d2_a_new_round_has_all_addresses() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let list = alloc::vec![there(), DialAddress { weight: 0, address: "b".into() }];
    bench.node.set_addresses(peer, list, bench.now);
    let soon = bench.now + Duration::from_secs(1);
    bench.node.queue(peer, Message::new("s", "x").expires(soon), bench.now).expect("room");
    let ticket = bench.dial();
    assert_eq!(ticket.address(), "there");
    bench.pass(Duration::from_secs(1));
    drop(bench.actions());
    bench.node.dial_failed(ticket, DialFailure::TimedOut, bench.now);
    drop(bench.actions());
    bench.pass(Duration::from_secs(3600));
    bench.node.want(peer, bench.now + Duration::from_secs(9), bench.now).expect("wanted");
    assert_eq!(bench.dial().address(), "there", "an hour later it goes on in the middle of the list");
}

#[test]
fn d1_a_disconnect_in_the_handshake_does_not_dial_on() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let list = alloc::vec![there(), DialAddress { weight: 0, address: "b".into() }];
    bench.node.set_addresses(peer, list, bench.now);
    bench.node.want(peer, bench.now + Duration::from_secs(9), bench.now).expect("wanted");
    let own = bench.connect();
    bench.node.disconnect(peer, 0, "", bench.now);
    let closed = Box::new(Closed::new(
        Reason::Goodbye { code: 0, detail: alloc::string::String::new() },
        By::Local,
        Phase::KeyExchange,
        None,
    ));
    bench.say(own, FromLink::Ended { closed, unsent: Vec::new() });
    let events = bench.events();
    assert!(!events.iter().any(|e| matches!(e, NodeEvent::DialFailed { again: Some(_), .. })), "{events:?}");
}

#[test]
fn d2_nobody_keeps_this_node_from_dialling_for_long() {
    let (mut bench, peer) = permanent(&[there()]);
    let own = bench.connect();
    bench.identify(own, peer, 9);
    let retry_after = Duration::from_millis(u32::MAX.into());
    bench.end(own, Reason::Refused(Refusal::OverCapacity { retry_after }), By::Peer);
    drop(bench.actions());
    assert!(bench.deadline().expect("a wait") < bench.now + Duration::from_secs(86_400));
}

#[test]
fn d2_a_link_that_drains_is_no_reason_not_to_dial() {
    let (mut bench, peer) = permanent(&[there()]);
    let own = bench.connect();
    bench.identify(own, peer, 9);
    bench.say(own, FromLink::Established);
    // The peer, restarted, dials itself; its first link drains.
    bench.say(own, FromLink::Draining { unsent: Vec::new(), owes: false });
    let new = bench.linked_by(peer, 10);
    bench.end(new, Reason::Truncated, By::Transport);
    drop(bench.actions());
    assert!(bench.deadline().is_some(), "{:?}", bench.node.status(peer).map(|s| s.state));
}

#[test]
fn d3_a_message_that_is_over_is_not_taken() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.node.set_addresses(peer, alloc::vec![there()], bench.now);
    let refused = bench.node.queue(peer, Message::new("s", "x").expires(bench.now), bench.now);
    assert_eq!(refused.expect_err("it is over").why, WhyNotQueued::Expired);
    let actions = bench.actions();
    assert!(!actions.iter().any(|a| matches!(a, NodeAction::Dial(_))), "{actions:?}");
}

#[test]
fn d1_permanence_is_what_a_live_link_says() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    let old = bench.linked_by(peer, 9);
    let new = bench.linked_by(peer, 10);
    bench.say(new, FromLink::Permanence(true));
    bench.say(old, FromLink::Permanence(false));
    assert_eq!(bench.node.status(peer).map(|s| s.peer_is_permanent), Some(true));
}

#[test]
fn d1_an_older_link_that_is_established_late_says_nothing_of_a_newer_one() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let (own, theirs) = bench.both_dial(peer);
    bench.say(own, FromLink::Established);
    bench.say(own, FromLink::Permanence(true));
    let told = |bench: &Bench| bench.node.status(peer).map(|status| status.peer_is_permanent);
    assert_eq!(told(&bench), Some(true));
    bench.say(theirs, FromLink::Established);
    assert_eq!(told(&bench), Some(true), "the newest link is kept");
    bench.end(own, Reason::Truncated, By::Transport);
    assert_eq!(told(&bench), Some(false), "nobody has asked to keep the one that is left");
    bench.say(theirs, FromLink::Permanence(true));
    assert_eq!(told(&bench), Some(true));
}

/// The own dial gives way to a link of the peer's that is gone before the dial has ended: that address may be tried
/// again at once, and the other one, that cannot be reached, does not change it, whichever came first.
#[test]
fn d2_of_two_failed_dials_the_one_that_may_be_tried_again_at_once_is_gone_by() {
    let fail = |bench: &mut Bench| {
        let ticket = bench.dial();
        bench.node.dial_failed(ticket, DialFailure::TimedOut, bench.now);
    };
    let give_way = |bench: &mut Bench, peer| {
        let own = bench.connect();
        let theirs = bench.linked_by(peer, 9);
        assert!(named(&bench.words()).contains(&(own, "simultaneous")));
        bench.end(theirs, Reason::Truncated, By::Transport);
        bench.end(own, Reason::Refused(Refusal::Simultaneous), By::Local);
    };
    for now_comes_first in [true, false] {
        let (mut bench, peer) = permanent(&[there(), DialAddress { weight: 0, address: "b".into() }]);
        for _ in 0..3 {
            fail(&mut bench);
            fail(&mut bench);
            drop(bench.actions());
            bench.now = bench.deadline().expect("a wait");
        }
        if now_comes_first {
            give_way(&mut bench, peer);
            fail(&mut bench);
        } else {
            fail(&mut bench);
            give_way(&mut bench, peer);
        }
        let announced = bench.events().into_iter().find_map(|event| match event {
            NodeEvent::DialFailed { again: Some(at), .. } if at > bench.now => Some(at),
            _ => None,
        });
        // A peer is believed that now is the time three times in a row. The link that was lost at once is a
        // failure too: this is the first wait behind those, not the fifth.
        let wait = announced.expect("a wait").since(bench.now);
        assert!(wait <= 2 * bench.node.policy().backoff.first, "{now_comes_first}: {wait:?}");
    }
}
