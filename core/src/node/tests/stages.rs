//! Which link lives: the node does what arbitration says.

use super::*;

#[test]
fn c1_a_peer_that_is_welcome_is_admitted_and_linked_once() {
    let mut bench = Bench::new();
    let (link, peer) = (bench.accept(), bench.greater);
    bench.identify(link, peer, 9);
    assert_eq!(named(&bench.words()), [(link, "admit")]);
    bench.say(link, FromLink::Established);
    let events = bench.events();
    assert!(
        matches!(&events[..], [NodeEvent::Linked { link: to, dialler: Dialler::Peer, .. }] if *to == link)
    );
    assert_eq!(bench.node.route(peer), Some(link));
    assert_eq!(bench.node.link_counts(), (1, 0), "it no longer counts as a handshake");
}

#[test]
fn c2_of_two_dials_the_greater_ids_wins_at_both_ends() {
    // The peer is the greater: its dial is taken, and told so.
    let mut bench = Bench::new();
    let greater = bench.greater;
    bench.want(greater);
    let own = bench.connect();
    bench.identify(own, greater, 9);
    assert_eq!(named(&bench.words()), [(own, "admit")]);
    let theirs = bench.accept();
    bench.identify(theirs, greater, 9);
    assert_eq!(named(&bench.words()), [(theirs, "admit simultaneous")]);
    bench.say(theirs, FromLink::Established);
    bench.end(own, Reason::Refused(Refusal::Simultaneous), By::Peer);
    assert_eq!(bench.node.route(greater), Some(theirs));
    let status = bench.node.status(greater).expect("a record");
    assert_eq!(status.last_error, None, "to lose is no error");

    // The peer is the lesser: its dial waits until the own one has come to an end, and is refused then.
    let mut bench = Bench::new();
    let lesser = bench.lesser;
    let (own, theirs) = bench.both_dial(lesser);
    assert_eq!(named(&bench.words()), [(own, "admit")], "theirs waits");
    bench.say(own, FromLink::Established);
    assert_eq!(named(&bench.words()), [(theirs, "simultaneous")]);
}

/// However far the own dial has come, it has not failed when the peer's wins: who waits for a link gets that.
#[test]
fn c2_a_dial_that_another_link_makes_needless_is_no_failure() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.want(peer);
    let own = bench.connect();
    let theirs = bench.accept();
    bench.identify(theirs, peer, 9);
    bench.say(theirs, FromLink::Established);
    bench.say(theirs, FromLink::Confirmed);
    assert_eq!(bench.node.route(peer), Some(theirs));
    drop(bench.actions());
    bench.end(own, Reason::Refused(Refusal::Simultaneous), By::Local);
    let events = bench.events();
    let failed = events.iter().any(|event| matches!(event, NodeEvent::DialFailed { .. }));
    assert!(!failed, "{events:?}");
}

#[test]
fn c2_a_deferred_dial_is_taken_if_the_own_one_fails() {
    let mut bench = Bench::new();
    let lesser = bench.lesser;
    let (own, theirs) = bench.both_dial(lesser);
    drop(bench.words());
    bench.end(own, Reason::Truncated, By::Transport);
    assert_eq!(named(&bench.words()), [(theirs, "admit")]);
}

#[test]
fn c3_a_restarted_peer_replaces_its_old_link_at_once() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    let old = bench.linked_by(peer, 9);
    drop(bench.words());
    let new = bench.accept();
    bench.identify(new, peer, 10);
    assert_eq!(named(&bench.words()), [(new, "admit")]);
    bench.say(new, FromLink::Established);
    assert_eq!(bench.node.route(peer), Some(old), "the new one has carried nothing yet");
    bench.say(new, FromLink::Confirmed);
    assert_eq!(named(&bench.words()), [(old, "superseded")]);
}

#[test]
fn c3_the_same_incarnation_is_asked_whether_its_older_link_is_dead() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let old = bench.linked_by(peer, 9);
    drop(bench.words());
    for (goes_on, verdict) in [(false, "alive"), (true, "admit")] {
        let new = bench.accept();
        bench.identify(new, peer, 9);
        assert_eq!(named(&bench.words()), [(new, "ask alive"), (old, "probe")]);
        bench.say(new, FromLink::AliveAnswered { goes_on });
        assert_eq!(named(&bench.words()), [(new, verdict)]);
        if !goes_on {
            bench.end(new, Reason::Refused(Refusal::Alive), By::Local);
        }
    }
    // A dial that was begun before the one that stands is late.
    let late = bench.accept();
    let hello = Bench::hello(9, 1);
    bench.say(late, FromLink::Identified(Box::new(Identity { id: peer, hello })));
    assert_eq!(named(&bench.words()), [(late, "alive")]);
}

#[test]
fn c3_a_dialler_goes_on_only_if_it_has_no_other_link() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.want(peer);
    let own = bench.connect();
    bench.identify(own, peer, 9);
    drop(bench.words());
    bench.say(own, FromLink::AliveAsked);
    assert_eq!(named(&bench.words()), [(own, "go on")]);
    let theirs = bench.linked_by(peer, 9);
    drop(bench.words());
    bench.say(own, FromLink::AliveAsked);
    assert_eq!(named(&bench.words()), [(own, "abandon")]);
    assert_eq!(bench.node.route(peer), Some(theirs));
}

#[test]
fn c4_the_losers_messages_go_before_all_that_came_later() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    let old = bench.linked_by(peer, 9);
    let new = bench.accept();
    bench.identify(new, peer, 10);
    bench.say(new, FromLink::Established);
    bench.say(new, FromLink::Confirmed);
    drop(bench.words());
    // The change-over is under way: messages wait.
    assert_eq!(bench.node.route(peer), None);
    bench.node.queue(peer, Message::new("s", "later"), bench.now).expect("room");
    assert_eq!(named(&bench.words()), [], "the winner waits for the loser's owner only");
    let unsent =
        alloc::vec![Envelope::from(Message::new("s", "one")), Envelope::from(Message::new("s", "two"))];
    bench.end_with(old, Reason::Superseded, By::Local, unsent);
    let words = bench.words();
    let [(to, ToLink::Deliver(envelopes))] = &words[..] else { panic!("{words:?}") };
    let bodies: Vec<&[u8]> = envelopes.iter().map(|envelope| &envelope.body[..]).collect();
    assert_eq!((*to, &bodies[..]), (new, &[&b"one"[..], b"two", b"later"][..]));
    assert_eq!(bench.node.route(peer), Some(new));
    assert_eq!(bench.node.queued_bytes, 0);
}

#[test]
fn c4_a_loser_whose_owner_hangs_holds_nothing_up_for_long() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    let old = bench.linked_by(peer, 9);
    let new = bench.accept();
    bench.identify(new, peer, 10);
    bench.say(new, FromLink::Established);
    bench.say(new, FromLink::Confirmed);
    bench.node.queue(peer, Message::new("s", "later"), bench.now).expect("room");
    drop(bench.words());
    bench.pass(Duration::from_secs(1));
    assert_eq!(named(&bench.words()), [(new, "deliver")]);
    // What comes too late to be first is sent all the same.
    bench.end_with(old, Reason::Superseded, By::Local, alloc::vec![Message::new("s", "late").into()]);
    assert_eq!(named(&bench.words()), [(new, "deliver")]);
    assert_eq!(bench.node.route(peer), Some(new), "the old link's end takes nothing away");
}

#[test]
fn c4_only_the_acceptor_ends_the_older_link() {
    // The dialler's link is established late: the acceptor took it, lost it, and has dialled since.
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.want(peer);
    let own = bench.connect();
    bench.identify(own, peer, 9);
    let theirs = bench.linked_by(peer, 9);
    drop(bench.words());
    bench.say(own, FromLink::Established);
    bench.say(own, FromLink::Confirmed);
    assert_eq!(named(&bench.words()), [(theirs, "probe")]);
    assert_eq!(bench.node.route(peer), Some(theirs));
    bench.end(theirs, Reason::Truncated, By::Transport);
    assert_eq!(bench.node.route(peer), Some(own));
}

#[test]
fn c5_a_goes_on_that_meets_an_own_dial_waits_for_it() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    bench.want(peer);
    drop(bench.actions());
    let old = bench.linked_by(peer, 9);
    let new = bench.accept();
    bench.identify(new, peer, 9);
    assert!(named(&bench.words()).contains(&(new, "ask alive")));
    // The old link ends, and this node dials before the answer comes.
    bench.end(old, Reason::Truncated, By::Transport);
    bench.node.want(peer, bench.now + Duration::from_secs(60), bench.now).expect("wanted");
    bench.pass(Duration::from_secs(1));
    let own = bench.connect();
    bench.identify(own, peer, 9);
    drop(bench.words());
    bench.say(new, FromLink::AliveAnswered { goes_on: true });
    assert_eq!(named(&bench.words()), [], "deferred");
    bench.say(own, FromLink::Established);
    assert_eq!(named(&bench.words()), [(new, "simultaneous")]);
}

#[test]
fn i11_a_peer_has_one_place_among_those_that_wait() {
    let mut bench = Bench::with(NodePolicy::default(), Some(Trust::Ask));
    let peer = bench.greater;
    let mut last = None;
    for _ in 0..50 {
        let link = bench.accept();
        bench.identify(link, peer, 9);
        let words = named(&bench.words());
        assert_eq!(words, last.map(|older| (older, "alive")).into_iter().collect::<Vec<_>>());
        last = Some(link);
    }
}

#[test]
fn c1_a_link_of_the_peers_own_dial_drops_a_dial_that_has_revealed_nothing() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    bench.want(peer);
    let ticket = bench.dial();
    bench.linked_by(peer, 9);
    drop(bench.actions());
    assert!(bench.node.connected(ticket, bench.now).is_none(), "the dial has been given up");

    let mut bench = Bench::new();
    bench.want(peer);
    let own = bench.connect();
    bench.linked_by(peer, 9);
    assert!(named(&bench.words()).contains(&(own, "simultaneous")));
}

#[test]
fn a_poll_of_an_idle_node_touches_nothing() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.linked_by(peer, 9);
    drop(bench.actions());
    assert_eq!(bench.deadline(), None);
    assert_eq!(config_of(&bench).node_id(), bench.node.id());
}

#[test]
fn c5_a_link_that_was_taken_and_gone_before_it_knew_is_no_reason_not_to_dial() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.want(peer);
    let ticket = bench.dial();
    bench.node.dial_failed(ticket, DialFailure::TimedOut, bench.now);
    let link = bench.accept();
    bench.identify(link, peer, 9);
    // The wait for the next dial is over while the link is on its way.
    bench.pass(Duration::from_secs(1));
    assert_eq!(named(&bench.words()), [(link, "admit")]);
    bench.end(link, Reason::Truncated, By::Transport);
    drop(bench.actions());
    bench.now = bench.deadline().expect("it is dialled again");
    drop(bench.dial());
}

#[test]
fn c5_links_have_the_order_in_which_they_were_taken_whatever_the_clock_says() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    let first = bench.linked_by(peer, 9);
    let second = bench.accept();
    bench.identify(second, peer, 9);
    bench.end(first, Reason::Truncated, By::Transport);
    bench.want(peer);
    bench.pass(Duration::from_secs(1));
    // The third link has the greater number and is established first.
    let third = bench.connect();
    bench.say(second, FromLink::AliveAnswered { goes_on: true });
    bench.identify(third, peer, 9);
    drop(bench.words());
    bench.say(second, FromLink::Established);
    bench.say(second, FromLink::Confirmed);
    assert_eq!(bench.node.route(peer), Some(second));
    assert!(named(&bench.words()).iter().all(|(link, word)| *link == third && *word == "simultaneous"));
}

#[test]
fn c5_a_late_link_of_a_former_process_hides_nothing() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    let real = bench.linked_by(peer, 10);
    let late = bench.accept();
    bench.identify(late, peer, 9);
    bench.say(late, FromLink::Established);
    drop(bench.words());
    assert_eq!(bench.node.route(peer), Some(real), "nothing has come on the late one");
    let again = bench.accept();
    bench.identify(again, peer, 10);
    assert_eq!(named(&bench.words()), [(again, "ask alive"), (real, "probe")]);
    bench.say(again, FromLink::AliveAnswered { goes_on: false });
    bench.end(late, Reason::PeerDead, By::Transport);
    assert_eq!(bench.node.route(peer), Some(real));
}

#[test]
fn m6_what_a_goodbye_holds_back_goes_before_what_came_later() {
    for by in [By::Peer, By::Local] {
        let mut bench = Bench::new();
        let peer = bench.lesser;
        let old = bench.linked_by(peer, 9);
        drop(bench.words());
        let held = alloc::vec![Envelope::from(Message::new("s", "held"))];
        let now = if by == By::Peer { held.clone() } else { Vec::new() };
        bench.say(old, FromLink::Draining { unsent: now, owes: by == By::Local });
        bench.node.queue(peer, Message::new("s", "later"), bench.now).expect("room");
        let new = bench.linked_by(peer, 9);
        if by == By::Local {
            assert_eq!(bench.node.route(peer), None, "the old one may still send it");
            bench.end_with(old, Reason::DrainTimeout, By::Local, held);
        }
        let words = bench.words();
        let delivered = words.iter().find_map(|(link, word)| match word {
            ToLink::Deliver(envelopes) if *link == new => Some(envelopes),
            _ => None,
        });
        let bodies: Vec<_> = delivered.into_iter().flatten().map(|envelope| &envelope.body[..]).collect();
        assert_eq!(bodies, [&b"held"[..], b"later"]);
    }
}

#[test]
fn c5_what_a_dialler_has_said_is_not_asked_again() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    bench.want(peer);
    let own = bench.connect();
    let old = bench.linked_by(peer, 9);
    // The own dial reaches a former process of the peer, in whose way nothing stands.
    bench.node.links.get_mut(&own).expect("the dial").stage = Stage::Handshake;
    bench.identify(own, peer, 8);
    let new = bench.accept();
    bench.identify(new, peer, 9);
    drop(bench.words());
    bench.say(new, FromLink::AliveAnswered { goes_on: true });
    assert_eq!(named(&bench.words()), [], "it waits for the own dial");
    bench.end(own, Reason::Truncated, By::Transport);
    assert_eq!(named(&bench.words()), [(new, "admit")]);
    assert_eq!(bench.node.route(peer), Some(old));
}

#[test]
fn m6_a_link_that_gives_some_back_and_owes_others_loses_none() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    let old = bench.linked_by(peer, 9);
    drop(bench.words());
    let held = alloc::vec![Envelope::from(Message::new("s", "held"))];
    bench.say(old, FromLink::Draining { unsent: held, owes: true });
    bench.node.queue(peer, Message::new("s", "later"), bench.now).expect("room");
    let new = bench.linked_by(peer, 9);
    bench.end_with(old, Reason::Truncated, By::Transport, alloc::vec![Message::new("s", "begun").into()]);
    let words = bench.words();
    let delivered = words.iter().find_map(|(link, word)| match word {
        ToLink::Deliver(envelopes) if *link == new => Some(envelopes),
        _ => None,
    });
    let bodies: Vec<_> = delivered.into_iter().flatten().map(|envelope| &envelope.body[..]).collect();
    assert_eq!(bodies, [&b"begun"[..], b"held", b"later"]);
}

#[test]
fn d1_a_wish_to_keep_a_link_is_one_for_that_link() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    let old = bench.linked_by(peer, 9);
    bench.say(old, FromLink::Permanence(true));
    let new = bench.accept();
    bench.identify(new, peer, 10);
    bench.say(new, FromLink::Established);
    bench.say(new, FromLink::Confirmed);
    bench.say(old, FromLink::Permanence(true));
    assert_eq!(bench.node.status(peer).map(|status| status.peer_is_permanent), Some(false));
    let told = bench.events().into_iter().filter_map(|event| match event {
        NodeEvent::Permanence { permanent, .. } => Some(permanent),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [true, false]);
}

#[test]
fn l3_a_drain_without_end_is_no_deadline() {
    let timing = crate::Timing { drain: Duration::MAX, ..crate::Timing::default() };
    let mut bench = Bench::new();
    let trust = bench.node.config().trust.clone();
    bench.node.config =
        Config::builder(key(ids()[1].1), 1).timing(timing).trust(trust).build().expect("a configuration");
    let peer = bench.greater;
    bench.linked_by(peer, 9);
    bench.node.disconnect(peer, 1, "", bench.now);
    assert_eq!(bench.node.route(peer), None);
    drop(bench.actions());
    assert_eq!(bench.deadline(), Some(Instant::from_nanos(u64::MAX)));
}
