//! Signed messages over real links and nodes (M10).

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{id, key, soon};
use handclasp::crypto::RustCrypto;
use handclasp::node::Permanence;
use handclasp::signed::{Audience, Content, Origins, ReplayWindows, SignedMessage, SignedPolicy};
use handclasp::{CallError, Trust};
use handclasp_tokio::{Allow, Node, NodeBuilder, Services};
use tokio::sync::mpsc;

const ANNA: u8 = 1;
const RELAY: u8 = 2;
const BEN: u8 = 3;

/// A policy that takes what Anna signs.
fn from_anna() -> SignedPolicy {
    SignedPolicy::new(Origins::listed([id(ANNA)]), Arc::new(Mutex::new(ReplayWindows::default())))
}

fn node(number: u8, services: &Services) -> NodeBuilder {
    Node::builder(key(number)).trust(Trust::listed([id(ANNA), id(RELAY), id(BEN)])).services(services)
}

/// Anna's word to Ben.
fn word(sequence: u64, body: &[u8]) -> SignedMessage {
    let content = Content { audience: Audience::Node(id(BEN)), service: "news", epoch: 1, sequence, body };
    SignedMessage::sign(&content, &key(ANNA), &RustCrypto).expect("a signature")
}

#[tokio::test]
async fn m10_a_node_passes_on_what_another_one_has_signed() {
    let (heard, mut news) = mpsc::unbounded_channel();
    let services = Services::new().on("news", Allow::Anyone, move |request| {
        let heard = heard.clone();
        async move {
            let origin = request.signed.map(|signed| signed.origin());
            heard.send((request.peer.id, origin, request.body.clone())).expect("the test listens");
        }
    });
    let ben = node(BEN, &services).config(|config| config.signed(from_anna())).listen("127.0.0.1:0");
    let ben = ben.start().await.expect("a node");

    let passing = Services::new();
    let relay = node(RELAY, &passing)
        .config(|config| config.signed(from_anna().relay()))
        .listen("127.0.0.1:0")
        .peer(id(BEN), ben.local_addrs(), Permanence::Ephemeral)
        .start()
        .await
        .expect("a node");
    let to_ben = relay.peer(id(BEN));
    let _passing = passing.relay(move |relayed| {
        let to_ben = to_ben.clone();
        async move {
            assert_eq!(relayed.peer.id, id(ANNA));
            to_ben.send(relayed.message.message()).await.expect("room");
        }
    });

    let anna = node(ANNA, &Services::new())
        .peer(id(RELAY), relay.local_addrs(), Permanence::Ephemeral)
        .start()
        .await
        .expect("a node");
    let to_relay = anna.peer(id(RELAY));
    // Small and large ones take different ways through the queues.
    for (sequence, body) in [(0, vec![7; 20]), (1, vec![8; 50_000])] {
        soon(to_relay.send(word(sequence, &body).message())).await.expect("room");
        let (peer, origin, got) = soon(news.recv()).await.expect("news");
        assert_eq!((peer, origin), (id(RELAY), Some(id(ANNA))));
        assert!(got == body, "{} bytes of body {sequence}", got.len());
    }
    // The same again reaches the relay, and Ben's link, and nobody else.
    soon(to_relay.send(word(0, &[7; 20]).message())).await.expect("room");
    soon(to_relay.send(word(2, b"last").message())).await.expect("room");
    assert_eq!(soon(news.recv()).await.expect("news").2, "last");
    let stats = soon(relay.peer(id(BEN)).link().expect("a link").stats()).await;
    assert_eq!(stats.signed_accepted, 0, "nobody sends the relay anything by this link");
    let at_ben = soon(ben.peer(id(RELAY)).link().expect("a link").stats()).await;
    assert_eq!((at_ben.signed_accepted, at_ben.signed_replays), (3, 1));

    let called = soon(to_relay.call_with(word(3, b"").message(), Duration::from_secs(5))).await;
    assert_eq!(called, Err(CallError::OneWayOnly));
    for node in [anna, relay, ben] {
        soon(node.shutdown(Duration::from_secs(5))).await;
    }
}

#[tokio::test]
async fn m10_without_a_policy_nothing_signed_is_taken() {
    let (heard, mut news) = mpsc::unbounded_channel();
    let services = Services::new().on("news", Allow::Anyone, move |request| {
        heard.send(request.body.clone()).expect("the test listens");
        async {}
    });
    let ben = node(BEN, &services).listen("127.0.0.1:0").start().await.expect("a node");
    let anna = node(ANNA, &Services::new()).peer(id(BEN), ben.local_addrs(), Permanence::Ephemeral);
    let anna = anna.start().await.expect("a node");
    soon(anna.peer(id(BEN)).send(word(0, b"signed").message())).await.expect("room");
    soon(anna.peer(id(BEN)).send(handclasp::Message::new("news", "plain"))).await.expect("room");
    assert_eq!(soon(news.recv()).await.expect("news"), "plain");
    soon(anna.shutdown(Duration::from_secs(5))).await;
    soon(ben.shutdown(Duration::from_secs(5))).await;
}
