//! Signed messages over real links and nodes (M10).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_channel::unbounded;
use handclasp::crypto::RustCrypto;
use handclasp::node::Permanence;
use handclasp::runtime::{NodeBuilder, Request, Services};
use handclasp::services::Allow;
use handclasp::signed::{Audience, Content, Origins, ReplayWindows, SignedMessage, SignedPolicy};
use handclasp::{CallError, Message};
use handclasp_adapters::nodes::{self, address, id, key, start, stop};
use handclasp_adapters::{Host, soon};

const ANNA: u8 = 1;
const RELAY: u8 = 2;
const BEN: u8 = 3;

/// A policy that takes what Anna signs.
fn from_anna() -> SignedPolicy {
    SignedPolicy::new(Origins::listed([id(ANNA)]), Arc::new(Mutex::new(ReplayWindows::default())))
}

fn node<H: Host>(number: u8, services: &Services<H>) -> NodeBuilder<H> {
    nodes::node(number).services(services)
}

/// Anna's word to Ben.
fn word(sequence: u64, body: &[u8]) -> SignedMessage {
    let content = Content { audience: Audience::Node(id(BEN)), service: "news", epoch: 1, sequence, body };
    SignedMessage::sign(&content, &key(ANNA), &RustCrypto).expect("a signature")
}

async fn m10_a_node_passes_on_what_another_one_has_signed<H: Host>() {
    let (heard, news) = unbounded();
    let services = Services::new().on("news", Allow::Anyone, move |request: Request<H>| {
        let heard = heard.clone();
        async move {
            let origin = request.signed.map(|signed| signed.origin());
            heard.try_send((request.peer.id, origin, request.body.clone())).expect("the test listens");
        }
    });
    let ben = node(BEN, &services).config(|config| config.signed(from_anna())).listen("127.0.0.1:0");
    let ben = start(ben).await;

    let passing = Services::new();
    let relay = node(RELAY, &passing)
        .config(|config| config.signed(from_anna().relay()))
        .listen("127.0.0.1:0")
        .peer(id(BEN), [address(&ben)], Permanence::Ephemeral);
    let relay = start(relay).await;
    let to_ben = relay.peer(id(BEN));
    let _passing = passing.relay(move |relayed| {
        let to_ben = to_ben.clone();
        async move {
            assert_eq!(relayed.peer.id, id(ANNA));
            to_ben.send(relayed.message.message()).await.expect("room");
        }
    });

    let anna = node::<H>(ANNA, &Services::new()).peer(id(RELAY), [address(&relay)], Permanence::Ephemeral);
    let anna = start(anna).await;
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
        assert_eq!(stop(node).await, []);
    }
}

async fn m10_without_a_policy_nothing_signed_is_taken<H: Host>() {
    let (heard, news) = unbounded();
    let services = Services::new().on("news", Allow::Anyone, move |request: Request<H>| {
        heard.try_send(request.body.clone()).expect("the test listens");
        async {}
    });
    let ben = start(node(BEN, &services).listen("127.0.0.1:0")).await;
    let anna = node::<H>(ANNA, &Services::new()).peer(id(BEN), [address(&ben)], Permanence::Ephemeral);
    let anna = start(anna).await;
    soon(anna.peer(id(BEN)).send(word(0, b"signed").message())).await.expect("room");
    soon(anna.peer(id(BEN)).send(Message::new("news", "plain"))).await.expect("room");
    assert_eq!(soon(news.recv()).await.expect("news"), "plain");
    assert_eq!(stop(anna).await, []);
    assert_eq!(stop(ben).await, []);
}

handclasp_adapters::on_every_host!(
    m10_a_node_passes_on_what_another_one_has_signed,
    m10_without_a_policy_nothing_signed_is_taken,
);
