//! The world itself: what a script builds on.

use std::time::Duration;

use handclasp::Priority;
use handclasp::node::{NodeEvent, Permanence};
use handclasp_sim::world::{NodeSpec, Post, World};

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
