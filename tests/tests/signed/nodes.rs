//! Through a node: a signed message that waits for a link, and goes from link to link.

use handclasp::hello::DialAddress;
use handclasp::node::{LinkId, Node, NodeAction, NodePolicy};
use handclasp::{Instant, Link, Message};
use handclasp_sim::{Pair, Side, id, seed};

use crate::support::{Came, config, content, delivered, policy, signed, store, take};

/// Polls the node until it dials, and gives it the connection.
fn dialled(node: &mut Node, now: Instant) -> (LinkId, Link) {
    loop {
        match node.poll(now) {
            NodeAction::Dial(ticket) => return node.connected(ticket, now).expect("wanted still"),
            NodeAction::Timeout(_) => panic!("nothing is dialled"),
            NodeAction::Event(_) | NodeAction::ToLink(..) => {}
        }
    }
}

/// Carries words between the node and the link that one end of the pair is, and bytes, until nothing moves.
fn settle(node: &mut Node, number: LinkId, pair: &mut Pair) {
    loop {
        pair.run();
        let mut moved = false;
        while let Some(word) = pair.initiator.link.poll_node() {
            node.handle(number, word, pair.now);
            moved = true;
        }
        loop {
            match node.poll(pair.now) {
                NodeAction::ToLink(to, word) if to == number => {
                    pair.initiator.link.on_node(word, pair.now);
                    moved = true;
                }
                NodeAction::Timeout(_) | NodeAction::Dial(_) => break,
                NodeAction::Event(_) | NodeAction::ToLink(..) => {}
            }
        }
        if !moved {
            return;
        }
    }
}

#[test]
fn m10_the_mark_survives_the_outbox_of_a_node_and_the_loss_of_a_link() {
    let two = config(2, &[1], Some(policy(&[1], &store())));
    let mut pair = Pair::of(&config(1, &[2], None), &two, Some(id(2)));
    let own = config(1, &[2], None);
    let mut node = Node::new(&own, NodePolicy::default(), &seed(77), pair.now);
    node.set_addresses(id(2), vec![DialAddress { weight: 1, address: "there".into() }], pair.now);
    let (first, second) = (signed(1, &content(1, b"first")), signed(1, &content(2, b"second")));
    for message in [first.message(), Message::new("s", b"plain")] {
        node.queue(id(2), message, pair.now).expect("room");
    }
    let (number, link) = dialled(&mut node, pair.now);
    pair.initiator.link = link;
    pair.responder.ready.requests = false;
    settle(&mut node, number, &mut pair);
    let came = take(&mut pair, Side::Responder);
    let [waited, Came::Message { signed: None, .. }] = &came[..] else { panic!("{came:?}") };
    assert_eq!(*waited, delivered(&first));

    // What this link never sent waits for the next one.
    pair.initiator.ready.write = false;
    pair.initiator.link.send(second.message()).expect("taken");
    pair.initiator.link.transport_failed(pair.now);
    settle(&mut node, number, &mut pair);
    assert_eq!(node.status(id(2)).expect("known").queued, 1);
    let mut next = Pair::of(&own, &two, Some(id(2)));
    next.now = pair.now + std::time::Duration::from_secs(5);
    let (number, link) = dialled(&mut node, next.now);
    next.initiator.link = link;
    next.responder.ready.requests = false;
    settle(&mut node, number, &mut next);
    assert_eq!(take(&mut next, Side::Responder), [delivered(&second)]);
}
