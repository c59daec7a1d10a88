//! Interleavings: things that happen at the same moment, or too late, or again and again.
use super::*;

/// All words of a link are handled before the node is polled: the natural loop.
#[test]
fn m6_messages_on_their_way_to_a_link_that_ended_come_back() {
    let (mut bench, peer) = permanent(&[there()]);
    bench.node.queue(peer, Message::new("s", "x"), bench.now).expect("room");
    let own = bench.connect();
    bench.identify(own, peer, 9);
    drop(bench.actions());
    bench.say(own, FromLink::Established);
    bench.say(own, FromLink::Confirmed);
    bench.end(own, Reason::Truncated, By::Transport);
    let mut delivered_to_dead = 0;
    let mut undelivered = 0;
    for action in bench.actions() {
        match action {
            NodeAction::ToLink(link, word) if link == own => {
                delivered_to_dead += word.into_undelivered().len();
            }
            NodeAction::Event(NodeEvent::Undelivered { .. }) => undelivered += 1,
            _ => {}
        }
    }
    let queued = bench.node.status(peer).map_or(0, |status| status.queued);
    assert_eq!((delivered_to_dead, undelivered + queued), (0, 1));
}

#[test]
fn l3_a_shut_down_admits_nobody_who_was_asked_alive() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let old = bench.linked_by(peer, 9);
    let new = bench.accept();
    bench.identify(new, peer, 9);
    drop(bench.actions());
    bench.node.shut_down(0, "", bench.now);
    drop(bench.actions());
    bench.end(old, Reason::Goodbye { code: 0, detail: alloc::string::String::new() }, By::Local);
    bench.say(new, FromLink::AliveAnswered { goes_on: true });
    assert_eq!(named(&bench.words()), []);
}

#[test]
fn l3_a_shut_down_admits_nobody_who_was_deferred() {
    let mut bench = Bench::new();
    let lesser = bench.lesser;
    let (own, theirs) = bench.both_dial(lesser);
    drop(bench.words());
    bench.node.shut_down(0, "", bench.now);
    drop(bench.actions());
    bench.end(own, Reason::Goodbye { code: 0, detail: alloc::string::String::new() }, By::Local);
    let words = named(&bench.words());
    bench.say(theirs, FromLink::Established);
    let events = bench.events();
    assert!(!words.contains(&(theirs, "admit")), "{words:?} {events:?}");
}

#[test]
fn l3_a_shut_down_admits_nobody_by_a_late_answer() {
    let mut bench = Bench::with(NodePolicy::default(), Some(Trust::Ask));
    let peer = bench.greater;
    let link = bench.accept();
    bench.identify(link, peer, 9);
    let question = bench.events().into_iter().find_map(|event| match event {
        NodeEvent::Question(question) => Some(question),
        _ => None,
    });
    bench.node.shut_down(0, "", bench.now);
    drop(bench.actions());
    bench.node.answer(question.expect("q").ticket, Answer::Admit { known: None }, bench.now);
    assert_ne!(named(&bench.words()), [(link, "admit")]);
}

#[test]
fn c1_a_peer_that_restarts_for_ever_has_few_links() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    for n in 0..200 {
        let link = bench.accept();
        bench.identify(link, peer, 100 + n);
        bench.say(link, FromLink::Established);
        bench.end_all_told();
    }
    assert!(bench.node.link_counts().0 < 10, "{:?}", bench.node.link_counts());
}

#[test]
fn c1_a_peer_that_goes_on_for_ever_has_few_links() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    for _ in 0..200 {
        let link = bench.accept();
        bench.identify(link, peer, 9);
        bench.say(link, FromLink::AliveAnswered { goes_on: true });
        bench.say(link, FromLink::Established);
        bench.end_all_told();
    }
    assert!(bench.node.link_counts().0 < 10, "{:?}", bench.node.link_counts());
}

#[test]
fn i4_trust_that_has_run_out_counts_no_more_before_the_next_poll() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.node.trust(peer, Some(bench.now + Duration::from_secs(1)), bench.now);
    let link = bench.accept();
    drop(bench.actions());
    bench.pass(Duration::from_secs(2));
    bench.identify(link, peer, 9);
    assert_eq!(named(&bench.words()), [(link, "denied")]);
    assert!(!bench.node.is_trusted(peer));
}

#[test]
fn m6_what_a_link_did_not_send_that_was_never_seen_established_comes_back() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let link = bench.accept();
    bench.identify(link, peer, 9);
    drop(bench.actions());
    // The link is established, its word is on its way, and the application has used it already.
    bench.node.shut_down(0, "", bench.now);
    bench.say(link, FromLink::Established);
    bench.end_with(link, Reason::Transport, By::Transport, alloc::vec![Message::new("s", "x").into()]);
    assert_eq!(bench.node.take_leftover().len(), 1);
}

#[test]
fn c6_the_end_of_a_revoked_peers_handshake_is_told_too() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let link = bench.accept();
    bench.identify(link, peer, 9);
    bench.node.revoke(peer, bench.now);
    drop(bench.actions());
    bench.end(link, Reason::Refused(Refusal::Denied), By::Local);
    assert!(bench.events().iter().any(|e| matches!(e, NodeEvent::HandshakeEnded { .. })));
}

#[test]
fn i5_what_is_set_after_a_revocation_stays() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let link = bench.linked_by(peer, 9);
    bench.node.revoke(peer, bench.now);
    bench.node.set_addresses(peer, alloc::vec![there()], bench.now);
    bench.node.set_permanence(peer, Permanence::Permanent, bench.now);
    bench.end(link, Reason::Revoked, By::Local);
    bench.node.trust(peer, None, bench.now);
    drop(bench.dial());
}

#[test]
fn c6_a_shut_down_is_no_want_of_room() {
    let mut bench = Bench::new();
    bench.node.shut_down(0, "", bench.now);
    assert!(bench.node.accept(Source::LOCAL, bench.now).is_err());
    assert_eq!(bench.node.stats().over_capacity, 0);
    assert!(bench.events().is_empty());
}

#[test]
fn i10_an_external_registry_has_the_word() {
    let policy =
        NodePolicy { registry: Registry::External, drift: DriftPolicy::Refuse, ..NodePolicy::default() };
    let mut bench = Bench::with(policy, None);
    let peer = bench.greater;
    for name in ["one", "two"] {
        let link = bench.accept();
        bench.sequence += 1;
        let mut hello = Bench::hello(9, bench.sequence);
        hello.name = Some(name.into());
        bench.say(link, FromLink::Identified(Box::new(Identity { id: peer, hello })));
        let question = bench
            .events()
            .into_iter()
            .find_map(|event| match event {
                NodeEvent::Question(question) => Some(question),
                _ => None,
            })
            .expect("q");
        bench.node.answer(question.ticket, Answer::Admit { known: None }, bench.now);
        assert_eq!(named(&bench.words()), [(link, "admit")], "{name}");
        bench.say(link, FromLink::Established);
        bench.end(link, Reason::Truncated, By::Transport);
        drop(bench.actions());
    }
}

#[test]
fn i5_what_a_revoked_link_did_not_send_stays_unsent() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let link = bench.linked_by(peer, 9);
    bench.node.revoke(peer, bench.now);
    bench.node.trust(peer, None, bench.now);
    bench.end_with(link, Reason::Truncated, By::Transport, alloc::vec![Message::new("s", "old").into()]);
    assert_eq!(bench.node.status(peer).map_or(0, |status| status.queued), 0);
}

#[test]
fn i5_the_end_of_a_revoked_link_is_nothing_to_a_peer_that_is_trusted_again() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let link = bench.linked_by(peer, 9);
    bench.node.revoke(peer, bench.now);
    bench.node.trust(peer, None, bench.now);
    bench.node.set_addresses(peer, alloc::vec![there()], bench.now);
    bench.node.set_permanence(peer, Permanence::Permanent, bench.now);
    let ticket = bench.dial();
    bench.node.dial_failed(ticket, DialFailure::TimedOut, bench.now);
    bench.end(link, Reason::Revoked, By::Local);
    drop(bench.actions());
    assert!(bench.deadline().is_some(), "{:?}", bench.node.status(peer));
}

#[test]
fn c3_the_link_that_stands_is_probed() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    let old = bench.linked_by(peer, 9);
    let mid = bench.accept();
    bench.identify(mid, peer, 10);
    bench.say(mid, FromLink::Established);
    bench.say(mid, FromLink::Confirmed);
    drop(bench.words());
    let new = bench.accept();
    bench.identify(new, peer, 10);
    let _ = old;
    assert_eq!(named(&bench.words()), [(new, "ask alive"), (mid, "probe")]);
}

#[test]
fn i5_a_revocation_answers_the_question() {
    // Events of the peer behind Revoked: a stranger's words.
    let mut bench = Bench::new();
    let peer = bench.greater;
    let link = bench.linked_by(peer, 9);
    bench.node.revoke(peer, bench.now);
    drop(bench.actions());
    let another = bench.accept();
    bench.identify(another, peer, 9);
    bench.end(another, Reason::Refused(Refusal::Denied), By::Local);
    let events = bench.events();
    std_print(&events);
    let _ = link;
}
fn std_print(events: &[NodeEvent]) {
    extern crate std;
    std::println!("{events:?}");
}

#[test]
fn i11_links_of_all_peers_together_are_bounded() {
    let mut bench = Bench::with(NodePolicy { links: 50, ..NodePolicy::default() }, Some(Trust::Anyone));
    for n in 0..100u32 {
        let mut k = [7; 32];
        k[..4].copy_from_slice(&n.to_be_bytes());
        bench.linked_by(SecretKey::from_bytes(k).node_id(), 1);
        bench.end_all_told();
    }
    assert!((50..60).contains(&bench.node.peers.len()), "{}", bench.node.peers.len());
}

#[test]
fn c1_a_peer_that_says_goodbye_for_ever_has_few_links() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    for _ in 0..200 {
        let link = bench.linked_by(peer, 9);
        bench.say(link, FromLink::Draining { unsent: Vec::new(), owes: false });
        bench.end_all_told();
    }
    assert!(bench.node.link_counts().0 < 10, "{:?}", bench.node.link_counts());
}

#[test]
fn c4_what_a_loser_did_not_send_that_was_never_seen_established_comes_back() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    let one = bench.accept();
    bench.identify(one, peer, 9);
    let two = bench.accept();
    bench.identify(two, peer, 10);
    bench.say(two, FromLink::Established);
    bench.say(two, FromLink::Confirmed);
    bench.say(one, FromLink::Established);
    bench.end_with(one, Reason::Superseded, By::Local, alloc::vec![Message::new("s", "x").into()]);
    let words = bench.words();
    assert!(words.iter().any(|(link, w)| *link == two && matches!(w, ToLink::Deliver(_))), "{words:?}");
}

#[test]
fn c4_a_live_link_waits_for_no_drain_that_owes_nothing() {
    let (mut bench, peer) = permanent(&[there()]);
    let own = bench.connect();
    bench.identify(own, peer, 9);
    bench.say(own, FromLink::Established);
    drop(bench.actions());
    bench.node.disconnect(peer, 0, "", bench.now);
    bench.say(own, FromLink::Draining { unsent: Vec::new(), owes: false });
    drop(bench.actions());
    let theirs = bench.linked_by(peer, 9);
    bench.pass(Duration::from_secs(2));
    drop(bench.actions());
    assert_eq!(bench.node.route(peer), Some(theirs), "two seconds with a live link and no route");
}
