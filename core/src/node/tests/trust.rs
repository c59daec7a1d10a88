//! Trust that comes and goes while the node runs, and the registry.

use super::*;
use crate::hello::Capability;

fn revoked(bench: &mut Bench) -> (Vec<(LinkId, &'static str)>, bool) {
    let actions = bench.actions();
    let told = matches!(
        actions.iter().rev().find_map(|action| match action {
            NodeAction::Event(event) => Some(event),
            _ => None,
        }),
        Some(NodeEvent::Revoked { .. })
    );
    let words = actions.into_iter().filter_map(|action| match action {
        NodeAction::ToLink(link, word) => Some((link, name(&word.0))),
        _ => None,
    });
    (words.collect(), told)
}

#[test]
fn i5_a_revocation_ends_the_links_and_is_the_last_event_of_the_peer() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let link = bench.linked_by(peer, 9);
    drop(bench.actions());
    assert!(bench.node.revoke(peer, bench.now));
    assert_eq!(revoked(&mut bench), (alloc::vec![(link, "revoked")], true));
    // What the link still says is not heard of.
    bench.say(link, FromLink::Permanence(true));
    bench.say(link, FromLink::Draining { unsent: Vec::new(), owes: false });
    bench.end_with(link, Reason::Revoked, By::Local, alloc::vec![Message::new("s", "x").into()]);
    assert!(bench.actions().is_empty());
    assert!(bench.node.status(peer).is_none(), "nothing is kept");
    assert_eq!(bench.node.queued_bytes, 0);
    let refused = bench.node.queue(peer, Message::new("s", "x"), bench.now).expect_err("untrusted");
    assert_eq!(refused.why, WhyNotQueued::Untrusted);
    assert!(!bench.node.revoke(peer, bench.now), "it is not trusted any more");
}

#[test]
fn i5_a_revocation_wins_every_race_with_a_handshake() {
    let refused = "denied";
    // Before the peer is known: its link finds out when it has proved its id.
    let mut bench = Bench::new();
    let peer = bench.greater;
    let link = bench.accept();
    bench.node.revoke(peer, bench.now);
    drop(bench.actions());
    bench.identify(link, peer, 9);
    assert_eq!(named(&bench.words()), [(link, refused)]);

    // While the application is asked.
    let mut bench = Bench::with(NodePolicy::default(), Some(Trust::Ask));
    let link = bench.accept();
    bench.identify(link, peer, 9);
    let question = bench.events().into_iter().find_map(|event| match event {
        NodeEvent::Question(question) => Some(question),
        _ => None,
    });
    bench.node.revoke(peer, bench.now);
    assert_eq!(revoked(&mut bench), (alloc::vec![(link, refused)], true));
    let ticket = question.expect("a question").ticket;
    bench.node.answer(ticket, Answer::Admit { known: None }, bench.now);
    assert!(bench.actions().is_empty(), "an answer that comes too late admits nobody");

    // Between the node's word and the link's: the link is ended whatever it has become by then.
    let mut bench = Bench::new();
    let link = bench.accept();
    bench.identify(link, peer, 9);
    assert_eq!(named(&bench.words()), [(link, "admit")]);
    bench.node.revoke(peer, bench.now);
    assert_eq!(revoked(&mut bench).0, [(link, "revoked")]);
    bench.say(link, FromLink::Established);
    bench.say(link, FromLink::Confirmed);
    assert!(bench.actions().is_empty());
    assert_eq!(bench.node.route(peer), None);

    // A dial of the node's own, at each of its steps.
    let mut bench = Bench::new();
    bench.want(peer);
    let ticket = bench.dial();
    bench.node.revoke(peer, bench.now);
    assert!(bench.node.connected(ticket, bench.now).is_none());
    let mut bench = Bench::new();
    bench.want(peer);
    let own = bench.connect();
    bench.node.revoke(peer, bench.now);
    assert_eq!(revoked(&mut bench).0, [(own, refused)]);
    bench.end(own, Reason::Refused(Refusal::Denied), By::Local);
    assert!(bench.actions().is_empty(), "no event, no dial");
    assert_eq!(bench.deadline(), None);
}

#[test]
fn i5_a_deferred_dial_of_a_revoked_peer_is_refused() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    let (own, theirs) = bench.both_dial(peer);
    drop(bench.words());
    bench.node.revoke(peer, bench.now);
    let (mut words, _) = revoked(&mut bench);
    words.sort();
    assert_eq!(words, [(own, "revoked"), (theirs, "denied")]);
}

#[test]
fn i4_trust_runs_out_by_itself() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let until = bench.now + Duration::from_secs(60);
    assert!(bench.node.trust(peer, Some(until), bench.now));
    assert!(!bench.node.trust(peer, Some(until), bench.now), "again is no change");
    let link = bench.linked_by(peer, 9);
    drop(bench.actions());
    assert_eq!(bench.deadline(), Some(until));
    bench.pass(Duration::from_secs(60));
    assert_eq!(revoked(&mut bench), (alloc::vec![(link, "revoked")], true));
    assert!(!bench.node.is_trusted(peer));
    // Trusted again, it may come again.
    bench.node.trust(peer, None, bench.now);
    bench.end(link, Reason::Revoked, By::Local);
    let link = bench.linked_by(peer, 9);
    assert_eq!(bench.node.route(peer), Some(link));
}

#[test]
fn i4_a_new_list_revokes_whoever_is_not_on_it() {
    let mut bench = Bench::new();
    let (lesser, greater) = (bench.lesser, bench.greater);
    let kept = bench.linked_by(lesser, 9);
    let gone = bench.linked_by(greater, 9);
    drop(bench.actions());
    bench.node.set_trusted([(lesser, None)], bench.now);
    assert_eq!(revoked(&mut bench).0, [(gone, "revoked")]);
    assert_eq!(bench.node.route(lesser), Some(kept));
}

/// Where no list says who is welcome, a new one takes revocations back, and ends nobody's trust by not naming him.
#[test]
fn i4_a_new_list_revokes_nobody_where_anybody_may_come() {
    for mode in [Trust::Anyone, Trust::Ask] {
        let asks = mode == Trust::Ask;
        let mut bench = Bench::with(NodePolicy::default(), Some(mode));
        let (lesser, greater, revoked_one) = (bench.lesser, bench.greater, key(99).node_id());
        let mut linked = Vec::new();
        for peer in [lesser, greater] {
            let link = bench.accept();
            bench.identify(link, peer, 9);
            for event in bench.events() {
                if let NodeEvent::Question(question) = event {
                    assert!(asks);
                    bench.node.answer(question.ticket, Answer::Admit { known: None }, bench.now);
                }
            }
            bench.say(link, FromLink::Established);
            bench.say(link, FromLink::Confirmed);
            linked.push((peer, link));
        }
        // A name that has a time is still none that the list is made of.
        bench.node.trust(greater, Some(bench.now + Duration::from_secs(60)), bench.now);
        bench.node.revoke(revoked_one, bench.now);
        assert!(!bench.node.is_trusted(revoked_one));
        drop(bench.actions());
        bench.node.set_trusted([(lesser, None), (revoked_one, None)], bench.now);
        assert_eq!(revoked(&mut bench), (Vec::new(), false));
        for (peer, link) in linked {
            assert!(bench.node.is_trusted(peer));
            assert_eq!(bench.node.route(peer), Some(link));
        }
        assert!(bench.node.is_trusted(revoked_one), "it is on the new list");
    }
}

fn drifting(policy: DriftPolicy) -> (Vec<&'static str>, Vec<Drift>) {
    let mut bench = Bench::with(NodePolicy { drift: policy, ..NodePolicy::default() }, None);
    let peer = bench.greater;
    let link = bench.linked_by(peer, 9);
    bench.end(link, Reason::Truncated, By::Transport);
    drop(bench.actions());
    let link = bench.accept();
    let capability = Capability::new("new", 1..=1).expect("a capability");
    let hello = Bench::hello(9, 500).with_capabilities([capability]).expect("a hello");
    bench.say(link, FromLink::Identified(Box::new(Identity { id: peer, hello })));
    let (mut words, mut drift) = (Vec::new(), Vec::new());
    for action in bench.actions() {
        match action {
            NodeAction::ToLink(_, word) => words.push(name(&word.0)),
            NodeAction::Event(NodeEvent::Drifted { drift: seen, .. }) => drift = seen,
            _ => {}
        }
    }
    (words, drift)
}

#[test]
fn i10_drift_is_allowed_told_or_refused() {
    let drift = alloc::vec![Drift::Gained { capability: "new".into() }];
    assert_eq!(drifting(DriftPolicy::Allow), (alloc::vec!["admit"], Vec::new()));
    assert_eq!(drifting(DriftPolicy::Warn), (alloc::vec!["admit"], drift.clone()));
    assert_eq!(drifting(DriftPolicy::Refuse), (alloc::vec!["registry"], drift));
}

#[test]
fn i10_an_external_registry_is_asked_and_told() {
    let policy =
        NodePolicy { registry: Registry::External, drift: DriftPolicy::Refuse, ..NodePolicy::default() };
    let was = Known { name: Some("other".into()), incarnation: 1, capabilities: Vec::new() };
    let answers = [
        (Answer::Admit { known: None }, "admit"),
        (Answer::Admit { known: Some(was) }, "registry"),
        (Answer::Refuse(Refusal::Registry), "registry"),
    ];
    for (answer, verdict) in answers {
        let mut bench = Bench::with(policy.clone(), None);
        let (link, peer) = (bench.accept(), bench.greater);
        bench.identify(link, peer, 9);
        let events = bench.events();
        let [NodeEvent::Question(_)] = &events[..] else { panic!("{events:?}") };
        let Some(NodeEvent::Question(question)) = events.into_iter().next() else { return };
        assert_eq!(question.peer, peer);
        bench.node.answer(question.ticket, answer, bench.now);
        assert_eq!(named(&bench.words()), [(link, verdict)]);
        if verdict == "admit" {
            bench.say(link, FromLink::Established);
            assert!(bench.events().iter().any(|event| matches!(event, NodeEvent::Known { .. })));
        }
    }
}

#[test]
fn i11_whoever_is_not_trusted_leaves_no_trace() {
    let mut bench = Bench::new();
    let stranger = key(99).node_id();
    for _ in 0..100 {
        let link = bench.accept();
        bench.identify(link, stranger, 9);
        assert_eq!(named(&bench.words()), [(link, "denied")]);
        bench.end(link, Reason::Refused(Refusal::Denied), By::Local);
        assert!(matches!(bench.events()[..], [NodeEvent::HandshakeEnded { .. }]));
    }
    assert_eq!((bench.node.peers.len(), bench.node.links.len()), (0, 0));
    assert!(bench.node.registry.get(stranger).is_none());
}
