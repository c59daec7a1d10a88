//! Messages for peers without a link.

use super::*;

fn bodies(words: &[(LinkId, ToLink)]) -> Vec<&[u8]> {
    let delivered = words.iter().filter_map(|(_, word)| match word {
        ToLink::Deliver(envelopes) => Some(envelopes),
        _ => None,
    });
    delivered.flatten().map(|envelope| &envelope.body[..]).collect()
}

fn undelivered(events: &[NodeEvent]) -> Vec<(&[u8], Undelivered)> {
    let of = |event| match event {
        &NodeEvent::Undelivered { ref envelope, why, .. } => Some((&envelope.body[..], why)),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

#[test]
fn d3_a_message_without_a_link_dials_and_waits_in_order() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.want(peer);
    let own = bench.connect();
    for body in ["one", "two", "three"] {
        bench.node.queue(peer, Message::new("s", body), bench.now).expect("room");
    }
    assert_eq!(bench.node.status(peer).map(|status| status.queued), Some(3));
    bench.identify(own, peer, 9);
    drop(bench.words());
    bench.say(own, FromLink::Established);
    let words = bench.words();
    assert_eq!(bodies(&words), [&b"one"[..], b"two", b"three"]);
    let refused = bench.node.queue(peer, Message::new("s", "four"), bench.now).expect_err("linked");
    assert_eq!(refused.why, WhyNotQueued::Linked(own), "bodies do not pass the node while a link lives");
}

#[test]
fn d3_a_message_that_expires_is_told_and_no_longer_a_reason_to_dial() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let address = DialAddress { weight: 1, address: "there".into() };
    bench.node.set_addresses(peer, alloc::vec![address], bench.now);
    let soon = bench.now + Duration::from_secs(1);
    bench.node.queue(peer, Message::new("s", "default"), bench.now).expect("room");
    bench.node.queue(peer, Message::new("s", "soon").expires(soon), bench.now).expect("room");
    let ticket = bench.dial();
    bench.node.dial_failed(ticket, DialFailure::Unreachable("no".into()), bench.now);
    bench.pass(Duration::from_secs(1));
    assert_eq!(undelivered(&bench.events()), [(&b"soon"[..], Undelivered::Expired)]);
    // Its default wait is 30 s.
    bench.pass(Duration::from_secs(28));
    for action in bench.actions() {
        assert!(!matches!(action, NodeAction::Event(NodeEvent::Undelivered { .. })));
    }
    bench.pass(Duration::from_secs(1));
    assert_eq!(undelivered(&bench.events()), [(&b"default"[..], Undelivered::Expired)]);
    assert_eq!(bench.node.queued_bytes, 0);
    // The last dial has its time, and then there is nothing left to wait for.
    bench.pass(Duration::from_secs(60));
    drop(bench.actions());
    assert_eq!(bench.deadline(), None);
}

#[test]
fn d3_the_outbox_is_bounded_for_each_peer_and_for_all() {
    let policy = NodePolicy { outbox_per_peer: 1000, outbox: 1500, ..NodePolicy::default() };
    let mut bench = Bench::with(policy, None);
    let (lesser, greater) = (bench.lesser, bench.greater);
    let fill = |bench: &mut Bench, peer| {
        let mut taken = 0;
        while bench.node.queue(peer, Message::new("s", &[0; 100]), bench.now).is_ok() {
            taken += 1;
        }
        taken
    };
    bench.want(lesser);
    bench.want(greater);
    // Each is charged 100 + 1 + 64, and the last one may go over the limit.
    assert_eq!(fill(&mut bench, lesser), 7);
    assert_eq!(fill(&mut bench, greater), 3);
    let refused = bench.node.queue(greater, Message::new("s", "x"), bench.now).expect_err("full");
    assert_eq!((refused.why, &*refused.message.body.into_bytes()), (WhyNotQueued::Full, &b"x"[..]));
    bench.node.revoke(lesser, bench.now);
    assert_eq!(fill(&mut bench, greater), 4, "what was given up makes room");
}

#[test]
fn m6_what_a_lost_link_did_not_send_goes_first_on_the_next() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let old = bench.linked_by(peer, 9);
    drop(bench.actions());
    let unsent = ["one", "two"].map(|body| Message::new("s", body).into());
    bench.end_with(old, Reason::Transport, By::Transport, unsent.into());
    // No address of it is known: it has to come by itself.
    bench.node.queue(peer, Message::new("s", "three"), bench.now).expect("room");
    drop(bench.actions());
    let new = bench.linked_by(peer, 10);
    let words = bench.words();
    assert!(words.iter().all(|(link, _)| *link == new));
    assert_eq!(bodies(&words), [&b"one"[..], b"two", b"three"]);
}

#[test]
fn d3_a_peer_that_refuses_for_good_gets_no_more_messages() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.want(peer);
    let own = bench.connect();
    bench.node.queue(peer, Message::new("s", "x"), bench.now).expect("room");
    bench.identify(own, peer, 9);
    bench.end(own, Reason::Refused(Refusal::Denied), By::Peer);
    let events = bench.events();
    assert_eq!(undelivered(&events), [(&b"x"[..], Undelivered::GivenUp)]);
    assert!(
        matches!(events.last(), Some(NodeEvent::DialFailed { again: None, error, .. }) if error.name() == "denied")
    );
    assert_eq!(bench.node.status(peer).map(|status| status.state), Some(PeerState::GivenUp));
}

#[test]
fn m11_a_message_too_large_for_the_peer_comes_back() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let link = bench.linked_by(peer, 9);
    drop(bench.actions());
    let why = crate::Why::TooLarge { limit: 1024 };
    bench.say(link, FromLink::Undeliverable(Message::new("s", "large").into(), why));
    assert_eq!(undelivered(&bench.events()), [(&b"large"[..], Undelivered::Refused(why))]);
}

#[test]
fn l3_a_shut_down_says_goodbye_and_gives_back_what_was_not_sent() {
    let mut bench = Bench::new();
    let (lesser, greater) = (bench.lesser, bench.greater);
    let link = bench.linked_by(lesser, 9);
    let silent = bench.node.accept(Source::LOCAL, bench.now).expect("room").0;
    bench.want(greater);
    bench.node.queue(greater, Message::new("s", "waits"), bench.now).expect("room");
    let ticket = bench.dial();
    drop(bench.actions());
    bench.node.shut_down(3, "done", bench.now);
    assert_eq!(named(&bench.words()), [(link, "goodbye"), (silent, "shutting_down")]);
    assert!(bench.node.accept(Source::LOCAL, bench.now).is_err());
    assert!(bench.node.connected(ticket, bench.now).is_none());
    let refused = bench.node.queue(lesser, Message::new("s", "x"), bench.now).expect_err("shutting down");
    assert_eq!(refused.why, WhyNotQueued::ShuttingDown);
    bench.end(silent, Reason::Refused(Refusal::ShuttingDown), By::Local);
    assert!(!bench.node.is_stopped());
    bench.end_with(link, Reason::Truncated, By::Transport, alloc::vec![Message::new("s", "unsent").into()]);
    assert!(bench.node.is_stopped());
    let leftover = bench.node.take_leftover();
    let leftover: Vec<_> = leftover.iter().map(|(peer, envelope)| (*peer, &envelope.body[..])).collect();
    assert_eq!(leftover, [(greater, &b"waits"[..]), (lesser, b"unsent")]);
    drop(bench.actions());
    assert_eq!(bench.deadline(), None, "nothing is dialled any more");
}

/// What a link gives back is looked at when messages without a time of their own would be over, whether there are any
/// among them or not.
#[test]
fn d3_a_message_that_comes_back_with_a_long_time_of_its_own_has_all_of_it() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let link = bench.linked_by(peer, 9);
    drop(bench.actions());
    let until = bench.now + 2 * bench.node.policy().outbox_expiry;
    let unsent = Message::new("s", "patient").expires(until).into();
    bench.end_with(link, Reason::Truncated, By::Transport, alloc::vec![unsent]);
    drop(bench.actions());
    let queued = |bench: &Bench| bench.node.status(peer).map(|status| (status.queued, status.queued_bytes));
    let whole = queued(&bench);
    while bench.deadline() != Some(until) {
        bench.now = bench.deadline().expect("its time is kept");
        assert!(bench.now < until);
        assert_eq!(undelivered(&bench.events()), []);
        assert_eq!((queued(&bench), bench.node.queued_bytes), (whole, whole.expect("a record").1));
    }
    bench.now = until;
    assert_eq!(undelivered(&bench.events()), [(&b"patient"[..], Undelivered::Expired)]);
    assert_eq!((bench.node.queued_bytes, bench.deadline()), (0, None));
}
