//! What a node keeps of peers that its application asked about, measured by the allocator. On one thread, so
//! that what is counted is the node's; the other runtimes have nothing to do with it.

use allocation_counter::measure;
use handclasp::node::Permanence;
use handclasp::runtime::Node;
use handclasp::{NodeId, SecretKey, Seed, Signer};
use handclasp_adapters::nodes::{address, echo, id, node, port, start};
use handclasp_adapters::{soon, spawn, until};
use handclasp_tokio::Tokio;

/// So many others, none of whom the node trusts.
const MANY: u16 = 4000;

/// What may be kept: room for the handles of a hundred peers or two, and nothing that grows with the number of
/// those asked about. Of all of them it would be ten times as much.
const BOUND: i64 = 100_000;

fn strangers() -> Vec<NodeId> {
    let id = |number: u16| {
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&number.to_be_bytes());
        SecretKey::from_seed(&Seed::new(seed)).node_id()
    };
    (0..MANY).map(id).collect()
}

fn ask(node: &Node<Tokio>, peers: &[NodeId]) {
    for peer in peers {
        let peer = node.peer(*peer);
        assert!(peer.link().is_none() && peer.status().is_none());
        assert!(peer.try_send(handclasp::Message::new("log", "")).is_err());
    }
}

#[tokio::test]
async fn m8_of_peers_that_were_only_asked_about_a_node_keeps_little_and_all_of_those_in_use() {
    let ben = start(node::<Tokio>(2).services(&echo()).listen("127.0.0.1:0")).await;
    let anna = node::<Tokio>(1).peer(id(2), [address(&ben)], Permanence::Permanent);
    let anna = start(anna).await;
    let strangers = strangers();
    // One peer has a link, and nobody holds its handle; to another one a link is waited for.
    soon(anna.peer(id(2)).connect()).await.expect("a link");
    let waits = spawn::<Tokio, _>({
        let absent = anna.peer(id(3));
        async move { absent.connect().await.map(|link| link.peer().id) }
    });
    let (_port, nobody) = port();
    anna.peer(id(3)).set_addresses([nobody]);
    until("it waits", || anna.peer(id(3)).status().is_some()).await;

    let kept = measure(|| ask(&anna, &strangers));
    assert!(kept.count_total > u64::from(MANY), "{kept:?}");
    assert!(kept.bytes_current < BOUND, "{kept:?}");
    // And no more the second time.
    let again = measure(|| ask(&anna, &strangers));
    assert!(again.bytes_current < BOUND / 10, "{again:?}");
    // Where somebody holds handles, that is what it costs: so the figures above can grow.
    let mut handles = Vec::new();
    let held = measure(|| handles.extend(strangers.iter().map(|peer| anna.peer(*peer))));
    assert!(held.bytes_current > 4 * BOUND, "{held:?}");
    drop(handles);

    assert!(anna.peer(id(2)).link().is_some(), "the link is still the peer's");
    assert_eq!(soon(anna.peer(id(2)).call("echo", "in")).await.expect("an answer"), "in");
    let cora = start(node::<Tokio>(3).listen("127.0.0.1:0")).await;
    anna.peer(id(3)).set_addresses([address(&cora)]);
    assert_eq!(soon(waits).await, Ok(Ok(id(3))), "whoever waits is told");
}
