//! How many may knock at the same time.

use super::*;

fn policy() -> NodePolicy {
    NodePolicy { handshakes: 10, handshakes_per_source: 4, ..NodePolicy::default() }
}

fn source(net: u8) -> Source {
    Ipv4Addr::new(192, 0, net, 1).into()
}

#[test]
fn c6_over_the_cap_is_answered_with_last_words_and_counted() {
    let mut bench = Bench::with(policy(), None);
    for _ in 0..4 {
        let (link, _) = bench.node.accept(source(1), bench.now).expect("room");
        bench.say(link, FromLink::Heard);
    }
    bench.pass(Duration::from_millis(900));
    let busy = bench.node.accept(source(1), bench.now).expect_err("no room from there");
    assert_eq!(busy.last_words[..2], [0, 0], "a cleartext refusal");
    assert!(matches!(bench.events()[..], [NodeEvent::OverCapacity { .. }]));
    assert_eq!((bench.node.stats().over_capacity, bench.node.stats().accepted), (1, 4));
    for net in 2..4 {
        for _ in 0..3 {
            let (link, _) = bench.node.accept(source(net), bench.now).expect("room");
            bench.say(link, FromLink::Heard);
        }
    }
    assert!(bench.node.accept(source(9), bench.now).is_err(), "no room at all");
}

#[test]
fn c7_the_silent_make_room_for_those_who_speak() {
    let mut bench = Bench::with(policy(), None);
    let silent: Vec<_> = (0..4).map(|_| bench.node.accept(source(1), bench.now).expect("room").0).collect();
    assert!(bench.node.accept(source(1), bench.now).is_err(), "they may only be slow");
    bench.pass(Duration::from_millis(250));
    drop(bench.actions());
    let (link, _) = bench.node.accept(source(1), bench.now).expect("room");
    assert_eq!(named(&bench.words()), [(silent[0], "over_capacity")]);
    assert_eq!(bench.node.stats().evicted, 1);
    // What the evicted one still says changes nothing.
    bench.say(silent[0], FromLink::Heard);
    bench.identify(silent[0], bench.greater, 9);
    bench.end(silent[0], Reason::Refused(Refusal::OverCapacity { retry_after: Duration::ZERO }), By::Local);
    bench.say(link, FromLink::Heard);
    bench.identify(link, bench.greater, 9);
    assert_eq!(named(&bench.words()), [(link, "admit")]);
    assert_eq!(bench.node.admission.total(), 4);
}

#[test]
fn c6_the_end_of_a_handshake_is_told_once_and_gives_its_place_back() {
    let mut bench = Bench::with(policy(), None);
    for round in 0..50 {
        let link = bench.node.accept(source(1), bench.now).expect("room").0;
        if round % 2 == 0 {
            bench.say(link, FromLink::Heard);
        }
        bench.end(link, Reason::HandshakeTimeout, By::Local);
        bench.end(link, Reason::HandshakeTimeout, By::Local);
        let events = bench.events();
        assert!(matches!(&events[..], [NodeEvent::HandshakeEnded { link: ended, .. }] if *ended == link));
    }
    assert_eq!(bench.node.link_counts(), (0, 0));
}

#[test]
fn c6_a_silence_without_end_takes_no_place_from_anybody() {
    let policy = NodePolicy { silence: Duration::MAX, ..policy() };
    let mut bench = Bench::with(policy, None);
    for _ in 0..4 {
        bench.node.accept(source(1), bench.now).expect("room");
    }
    bench.pass(Duration::from_secs(3600));
    assert!(bench.node.accept(source(1), bench.now).is_err());
    assert_eq!(bench.node.stats().evicted, 0);
}

#[test]
fn c6_established_links_do_not_count() {
    let mut bench = Bench::with(policy(), Some(Trust::Anyone));
    for byte in 10..40 {
        bench.linked_by(key(byte).node_id(), 1);
    }
    assert_eq!(bench.node.link_counts(), (30, 0));
}
