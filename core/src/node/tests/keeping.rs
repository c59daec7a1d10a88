//! What a node keeps of its links and peers, gives up, and counts.
use super::*;

fn message(body: &'static str) -> Message<'static> {
    Message::new("s", body)
}

/// The words of now; links that are told to end do so.
fn obeyed(bench: &mut Bench) -> Vec<(LinkId, &'static str)> {
    let words = bench.words();
    for (link, word) in &words {
        match word {
            ToLink::Refuse(refusal) => bench.end(*link, Reason::Refused(refusal.clone()), By::Local),
            ToLink::Close(reason) => bench.end(*link, reason.clone(), By::Local),
            _ => {}
        }
    }
    named(&words)
}

/// Its former processes cannot keep a peer out: the oldest of the links on which nothing has come makes room.
#[test]
fn c1_a_peer_that_restarts_again_and_again_is_taken_each_time() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let used = bench.linked_by(peer, 99);
    drop(bench.actions());
    let mut standing = Vec::new();
    for n in 0..50 {
        let link = bench.accept();
        bench.identify(link, peer, 100 + n);
        let words = obeyed(&mut bench);
        assert!(words.contains(&(link, "admit")), "process {n}: {words:?}");
        let ended: Vec<_> =
            words.iter().filter(|(_, word)| *word == "superseded").map(|(id, _)| *id).collect();
        let expected: Vec<_> = if standing.len() == 4 { alloc::vec![standing.remove(0)] } else { Vec::new() };
        assert_eq!(ended, expected, "process {n}");
        standing.push(link);
        bench.say(link, FromLink::Established);
        drop(bench.actions());
        assert_eq!(bench.node.route(peer), Some(used), "the link that works stays until another one does");
    }
    let newest = *standing.last().unwrap();
    bench.say(newest, FromLink::Confirmed);
    obeyed(&mut bench);
    assert_eq!(bench.node.route(peer), Some(newest));
    assert_eq!(bench.node.link_counts().0, 1);
}

#[test]
fn c3_of_a_peers_waiting_dials_the_one_begun_last_goes_on_in_whichever_order_they_come() {
    let mut bench = Bench::with(NodePolicy::default(), Some(Trust::Ask));
    let peer = bench.greater;
    let mut arrive = |sequence| {
        let link = bench.accept();
        let hello = Bench::hello(9, sequence);
        bench.say(link, FromLink::Identified(Box::new(Identity { id: peer, hello })));
        let refused = named(&bench.words());
        (link, refused)
    };
    let (first, words) = arrive(5);
    assert_eq!(words, []);
    let (late, words) = arrive(4);
    assert_eq!(words, [(late, "alive")]);
    let (newer, words) = arrive(6);
    assert_eq!((words, newer == first), (alloc::vec![(first, "alive")], false));
}

/// The owner of a link that still sends what came before this node's goodbye has as long as the link may take, and a
/// second to say what is left.
#[test]
fn c4_a_link_that_says_goodbye_may_take_its_time_to_give_back() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    let old = bench.linked_by(peer, 9);
    drop(bench.actions());
    bench.say(old, FromLink::Draining { unsent: Vec::new(), owes: true });
    bench.node.queue(peer, message("later"), bench.now).expect("room");
    let new = bench.linked_by(peer, 9);
    bench.say(new, FromLink::AliveAnswered { goes_on: true });
    bench.say(new, FromLink::Established);
    bench.say(new, FromLink::Confirmed);
    drop(bench.actions());
    let timing = config_of(&bench).timing.clone();
    let longest = timing.drain + timing.flush + Duration::from_secs(1);
    bench.pass(longest.saturating_sub(Duration::from_millis(1)));
    assert!(!named(&bench.words()).contains(&(new, "deliver")), "what is owed goes first");
    assert_eq!(bench.node.route(peer), None);
    bench.pass(Duration::from_millis(1));
    assert!(
        named(&bench.words()).contains(&(new, "deliver")),
        "an owner that hangs holds nothing up for ever"
    );
}

#[test]
fn m6_the_end_of_one_link_takes_nothing_back_that_is_on_its_way_to_another() {
    let mut bench = Bench::new();
    let peers = [bench.lesser, bench.greater];
    for peer in peers {
        bench.node.queue(peer, message("for it"), bench.now).expect("room");
    }
    drop(bench.actions());
    // Each link's words are on their way, what waited for it among them, when one link ends.
    let links = peers.map(|peer| bench.linked_by(peer, 9));
    bench.end(links[0], Reason::Truncated, By::Transport);
    let words = bench.words();
    assert_eq!(named(&words), [(links[1], "admit"), (links[1], "deliver")]);
    let delivered = words.into_iter().flat_map(|(_, word)| match word {
        ToLink::Deliver(envelopes) => envelopes,
        _ => Vec::new(),
    });
    assert_eq!(delivered.map(|envelope| envelope.body).collect::<Vec<_>>(), ["for it"]);
    assert_eq!(bench.node.status(peers[0]).map(|status| status.queued), Some(1));
}

/// The last reason is that of the link of which there is no successor.
#[test]
fn o1_a_status_says_why_the_last_link_ended() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    let last = |bench: &Bench| {
        bench.node.status(peer).and_then(|status| status.last_closed).map(|closed| closed.reason.name())
    };
    let ends = [
        (Reason::Truncated, By::Transport, "truncated"),
        (Reason::Superseded, By::Local, "truncated"),
        (Reason::PeerDead, By::Transport, "peer_dead"),
        (Reason::Superseded, By::Peer, "superseded"),
        (Reason::DrainTimeout, By::Local, "drain_timeout"),
        (Reason::Superseded, By::Local, "drain_timeout"),
    ];
    bench.node.set_addresses(peer, alloc::vec![there()], bench.now);
    bench.node.set_permanence(peer, Permanence::Permanent, bench.now);
    for (incarnation, (reason, by, name)) in (9..).zip(ends) {
        let link = bench.linked_by(peer, incarnation);
        drop(bench.actions());
        bench.end(link, reason, by);
        assert_eq!(last(&bench), Some(name));
        drop(bench.actions());
    }
}

#[test]
fn d2_a_message_that_expires_ends_no_dialling_that_is_wanted_for_more() {
    let (mut bench, peer) = permanent(&[there()]);
    let ticket = bench.dial();
    bench
        .node
        .queue(peer, message("soon over").expires(bench.now + Duration::from_millis(10)), bench.now)
        .expect("room");
    bench.node.dial_failed(ticket, DialFailure::TimedOut, bench.now);
    drop(bench.actions());
    bench.pass(Duration::from_millis(10));
    assert!(bench.events().iter().any(|event| matches!(event, NodeEvent::Undelivered { .. })));
    bench.now = bench.deadline().expect("it is dialled again");
    drop(bench.dial());
}

/// A count that is a product or a flag would say nothing.
#[test]
fn o1_what_becomes_of_links_and_messages_is_counted() {
    let mut bench = Bench::new();
    let (lesser, greater) = (bench.lesser, bench.greater);
    for n in 1..4_u64 {
        // Asked whether the older one is dead, which it is; then superseded.
        bench.linked_by(greater, 10 * n);
        let asked = bench.accept();
        bench.identify(asked, greater, 10 * n);
        bench.say(asked, FromLink::AliveAnswered { goes_on: true });
        bench.say(asked, FromLink::Established);
        bench.say(asked, FromLink::Confirmed);
        obeyed(&mut bench);
        bench.end(asked, Reason::Truncated, By::Transport);
        drop(bench.actions());
        let stats = bench.node.stats();
        assert_eq!((stats.alive_asked, stats.superseded, stats.established), (n, n, 2 * n));
    }
    let (own, _) = bench.both_dial(lesser);
    assert_eq!(bench.node.stats().deferred, 1);
    bench.end(own, Reason::Truncated, By::Transport);
    obeyed(&mut bench);

    let before = bench.node.stats();
    for _ in 0..3 {
        let brief = message("brief").expires(bench.now + Duration::from_millis(10));
        bench.node.queue(greater, brief, bench.now).expect("room");
    }
    bench.pass(Duration::from_millis(10));
    drop(bench.actions());
    let after = bench.node.stats();
    assert_eq!((after.queued - before.queued, after.undelivered - before.undelivered), (3, 3));
    // What a link gives back is queued again; of a peer that is trusted no more it is lost.
    let link = bench.linked_by(greater, 77);
    let unsent = || alloc::vec![Envelope::from(message("one")), Envelope::from(message("two"))];
    bench.end_with(link, Reason::Truncated, By::Transport, unsent());
    assert_eq!(bench.node.stats().queued - after.queued, 2);
    let link = bench.linked_by(greater, 78);
    drop(bench.actions());
    bench.node.revoke(greater, bench.now);
    drop(bench.actions());
    let before = bench.node.stats().undelivered;
    bench.end_with(link, Reason::Revoked, By::Local, unsent());
    assert_eq!(bench.node.stats().undelivered - before, 2);
}

/// The peer's dial has been taken and is not established yet when the own one learns who answers.
#[test]
fn c2_an_own_dial_gives_way_to_a_link_that_was_taken_meanwhile() {
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.want(peer);
    let own = bench.connect();
    let theirs = bench.accept();
    bench.identify(theirs, peer, 9);
    assert_eq!(named(&bench.words()), [(theirs, "admit")]);
    bench.identify(own, peer, 9);
    assert_eq!(named(&bench.words()), [(own, "simultaneous")]);
}

/// The question that an event asked, which has to be there.
fn question(bench: &mut Bench) -> QuestionTicket {
    let asked = bench.events().into_iter().find_map(|event| match event {
        NodeEvent::Question(question) => Some(question.ticket),
        _ => None,
    });
    asked.expect("a question")
}

#[test]
fn d2_a_dial_of_the_peers_that_was_refused_moves_no_dial_of_this_nodes() {
    let mut bench = Bench::with(NodePolicy::default(), Some(Trust::Ask));
    let peer = bench.greater;
    bench.want(peer);
    let ticket = bench.dial();
    bench.node.dial_failed(ticket, DialFailure::TimedOut, bench.now);
    drop(bench.actions());
    let before = bench.deadline();
    let link = bench.accept();
    bench.identify(link, peer, 9);
    let ticket = question(&mut bench);
    bench.node.answer(ticket, Answer::Refuse(Refusal::Denied), bench.now);
    assert_eq!(obeyed(&mut bench), [(link, "denied")]);
    drop(bench.actions());
    assert_eq!(bench.deadline(), before);
}

/// Only a link that was taken may have kept this node from dialling. With one that never was, what was given up stays
/// given up, and what waits for the end of a link that drains waits on.
#[test]
fn d2_the_end_of_a_dial_of_the_peers_that_was_never_taken_begins_none_of_this_nodes() {
    let refused = |bench: &mut Bench, peer| {
        let link = bench.accept();
        bench.identify(link, peer, 9);
        let ticket = question(bench);
        bench.node.answer(ticket, Answer::Refuse(Refusal::Registry), bench.now);
        assert_eq!(obeyed(bench), [(link, "registry")]);
        drop(bench.actions());
    };
    let state = |bench: &Bench, peer| bench.node.status(peer).map(|status| status.state);

    // No address is known: dialling was given up.
    let mut bench = Bench::with(NodePolicy::default(), Some(Trust::Ask));
    let peer = bench.greater;
    bench.node.set_permanence(peer, Permanence::Permanent, bench.now);
    drop(bench.actions());
    assert_eq!(state(&bench, peer), Some(PeerState::GivenUp));
    refused(&mut bench, peer);
    assert_eq!((state(&bench, peer), bench.deadline()), (Some(PeerState::GivenUp), None));

    // The peer's goodbye is under way on the link that there is.
    bench.node.set_addresses(peer, alloc::vec![there()], bench.now);
    let own = bench.connect();
    bench.identify(own, peer, 9);
    let ticket = question(&mut bench);
    bench.node.answer(ticket, Answer::Admit { known: None }, bench.now);
    bench.say(own, FromLink::Established);
    bench.say(own, FromLink::Confirmed);
    bench.say(own, FromLink::Draining { unsent: Vec::new(), owes: false });
    drop(bench.actions());
    refused(&mut bench, peer);
    assert_eq!((state(&bench, peer), bench.deadline()), (Some(PeerState::Ending), None));
    bench.end(own, Reason::Goodbye { code: 0, detail: alloc::string::String::new() }, By::Peer);
    drop(bench.actions());
    bench.now = bench.deadline().expect("now it is dialled");
    drop(bench.dial());
}

/// What the application says a peer was like counts only where the application keeps that.
#[test]
fn i10_a_registry_in_memory_is_asked_whatever_the_application_answers() {
    let policy = NodePolicy { drift: DriftPolicy::Refuse, ..NodePolicy::default() };
    let mut bench = Bench::with(policy, Some(Trust::Ask));
    let peer = bench.greater;
    let mut named_so = |name: &str| {
        let link = bench.accept();
        bench.sequence += 1;
        let mut hello = Bench::hello(bench.sequence, bench.sequence);
        hello.name = Some(name.into());
        bench.say(link, FromLink::Identified(Box::new(Identity { id: peer, hello })));
        let ticket = question(&mut bench);
        bench.node.answer(ticket, Answer::Admit { known: None }, bench.now);
        let words = named(&bench.words());
        bench.say(link, FromLink::Established);
        bench.end(link, Reason::Truncated, By::Transport);
        drop(bench.actions());
        words.into_iter().map(|(_, word)| word).collect::<Vec<_>>()
    };
    assert_eq!(named_so("anna"), ["admit"]);
    assert_eq!(named_so("anna"), ["admit"]);
    assert_eq!(named_so("ben"), ["registry"]);
}
