//! The world itself: what a script builds on.

use std::time::Duration;

use handclasp::Priority;
use handclasp::node::{NodeEvent, Permanence};
use handclasp_sim::world::{Crypto, Fate, NodeSpec, Post, Returned, World};

const SECOND: Duration = Duration::from_secs(1);

fn two() -> (World, usize, usize) {
    let mut world = World::new(1);
    let (a, b) = (world.add_node(NodeSpec::new()), world.add_node(NodeSpec::new()));
    world.introduce(a, b);
    (world, a, b)
}

#[test]
fn c1_two_hosts_that_want_a_link_have_one_and_messages_flow() {
    let (mut world, a, b) = two();
    world.set_permanence(a, b, Permanence::Permanent);
    assert!(world.run_until(SECOND, |world| world.agree(a, b) == Some(true)));
    let linked = world.events_of(b, |event| matches!(event, NodeEvent::Linked { .. }).then_some(()));
    assert_eq!(linked.count(), 1);
    for priority in Priority::ALL {
        world.send(a, b, Post::new(100).priority(priority)).expect("taken");
        world.call(b, a, Post::new(5000).priority(priority)).expect("taken");
    }
    assert!(world.run_until(SECOND, |world| world.under_way().count() == 0));
    let account = world.settle();
    assert_eq!((account.delivered, account.answered), (4, 4));
    assert_eq!((world.received(a).len(), world.received(b).len()), (4, 4));
}

#[test]
fn d3_what_waits_for_a_link_goes_by_the_first_one() {
    let (mut world, a, b) = two();
    world.partition(a, b);
    let early = world.send(a, b, Post::new(10)).expect("queued");
    let hasty = world.send(a, b, Post::new(10).within(SECOND)).expect("queued");
    world.run_for(SECOND * 2);
    assert_eq!(world.entry(hasty).map(|entry| entry.fate), Some(Fate::Returned(Returned::Expired)));
    world.heal(a, b);
    assert!(world.run_until(SECOND * 30, |world| world.under_way().count() == 0));
    assert_eq!(world.received(b).iter().map(|message| message.number).collect::<Vec<_>>(), [early]);
}

#[test]
fn m6_what_was_sealed_and_cut_off_is_reported_as_unknown_and_what_was_not_goes_by_the_next_link() {
    let (mut world, a, b) = two();
    world.set_permanence(a, b, Permanence::Permanent);
    assert!(world.run_until(SECOND, |world| world.agree(a, b) == Some(true)));
    let unknown = |world: &World| -> Vec<usize> {
        let pick = |event: &NodeEvent| match event {
            NodeEvent::Unlinked { closed, .. } => Some(closed.unknown),
            _ => None,
        };
        world.events_of(a, pick).collect()
    };
    // Nothing passes any more: what is sealed now is lost, and nobody says so before the link is dead.
    let conn = world.connections(a, b)[0];
    world.mute(conn);
    let lost: Vec<_> = (10..13).map(|length| world.send(a, b, Post::new(length)).expect("sealed")).collect();
    assert!(world.run_until(SECOND * 120, |world| !unknown(world).is_empty()));
    assert_eq!(unknown(&world), [3]);
    let later = world.send(a, b, Post::new(10)).expect("queued");
    assert!(world.run_until(SECOND * 60, |world| world.agree(a, b) == Some(true)));
    world.run_for(SECOND);
    assert_eq!(world.received(b).iter().map(|message| message.number).collect::<Vec<_>>(), [later]);
    for number in lost {
        assert_eq!(world.entry(number).map(|entry| (entry.fate, entry.delivered)), Some((Fate::Open, false)));
    }
    let account = world.settle();
    assert_eq!((account.delivered, account.unknown), (1, 3));
}

#[test]
fn c3_after_a_restart_the_new_incarnation_takes_over_from_a_half_open_link() {
    let (mut world, a, b) = two();
    world.set_permanence(a, b, Permanence::Permanent);
    assert!(world.run_until(SECOND, |world| world.agree(a, b) == Some(true)));
    world.restart(a, true);
    assert!(
        world.run_until(SECOND, |world| world.agree(a, b) == Some(true)),
        "long before the old one is dead"
    );
    let superseded = world.events_of(b, |event| matches!(event, NodeEvent::Superseded { .. }).then_some(()));
    assert_eq!(superseded.count(), 1);
}

#[test]
fn c3_a_link_that_is_dead_at_one_end_only_is_asked_about_and_replaced() {
    let (mut world, a, b) = two();
    world.set_permanence(a, b, Permanence::Permanent);
    assert!(world.run_until(SECOND, |world| world.agree(a, b) == Some(true)));
    let conn = world.connections(a, b)[0];
    world.half_open(conn, 0);
    assert!(world.run_until(SECOND * 5, |world| world.agree(a, b) == Some(true)));
    assert_eq!(world.node(b).stats().alive_asked, 1);
}

#[test]
fn i5_a_revoked_peer_has_no_link_and_gets_none() {
    let (mut world, a, b) = two();
    world.set_permanence(b, a, Permanence::Permanent);
    assert!(world.run_until(SECOND, |world| world.agree(a, b) == Some(true)));
    world.revoke(a, b);
    world.run_for(SECOND * 60);
    assert_eq!(world.agree(a, b), Some(false));
    world.introduce(a, b);
    world.set_permanence(a, b, Permanence::Permanent);
    assert!(world.run_until(SECOND * 2, |world| world.agree(a, b) == Some(true)));
}

#[test]
fn c2_two_that_dial_each_other_at_the_same_moment_come_to_one_link() {
    let (mut world, a, b) = two();
    world.set_permanence(a, b, Permanence::Permanent);
    world.set_permanence(b, a, Permanence::Permanent);
    assert!(world.run_until(SECOND, |world| world.agree(a, b) == Some(true)));
    let met = world.node(a).stats().deferred + world.node(b).stats().deferred;
    assert_eq!(met, 1);
}

#[test]
fn c6_a_silent_stranger_and_one_that_talks_nonsense_leave_no_trace() {
    let (mut world, a, b) = two();
    world.stranger(a, b"", false);
    world.stranger(a, b"GET / HTTP/1.1\r\n\r\n", true);
    assert_eq!(world.node(a).link_counts(), (2, 2));
    world.run_for(SECOND * 40);
    assert_eq!(world.node(a).link_counts(), (0, 0));
    assert_eq!(world.node(a).statuses().count(), 1, "that of host {b}");
}

#[test]
fn l3_a_shutdown_ends_with_everything_handed_back() {
    let (mut world, a, b) = two();
    world.set_permanence(a, b, Permanence::Permanent);
    assert!(world.run_until(SECOND, |world| world.agree(a, b) == Some(true)));
    world.shut_down(a);
    world.run_for(SECOND * 6);
    assert!(!world.is_up(a));
    assert_eq!(world.agree(a, b), Some(false));
}

#[test]
fn o4_one_seed_is_one_run_with_real_and_with_worthless_cryptography() {
    for crypto in [Crypto::Real, Crypto::Fast] {
        let run = |seed| {
            let mut world = World::new(seed).crypto(crypto);
            let (a, b) = (world.add_node(NodeSpec::new()), world.add_node(NodeSpec::new()));
            world.introduce(a, b);
            for length in 10..30 {
                world.send(a, b, Post::new(length)).expect("taken");
                world.run_for(Duration::from_millis(1));
            }
            world.run_for(SECOND);
            assert_eq!(world.settle().delivered, 20);
            world.hash()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
