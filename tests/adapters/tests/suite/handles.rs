//! What handles show of themselves when they are printed.

use std::sync::{Arc, Mutex};

use futures_lite::future::yield_now;
use handclasp::crypto::CryptoError;
use handclasp::node::Permanence;
use handclasp::runtime::{Delivery, Handler, Node, Request, Services, WeakNode};
use handclasp::services::Allow;
use handclasp::{Capability, ClusterSecret, Message, Signer};
use handclasp_adapters::links::{builder, id, key, pair, pair_of};
use handclasp_adapters::nodes::{address, node, start, stop};
use handclasp_adapters::streams::{echo, open};
use handclasp_adapters::{Host, soon};

const SECRET: &str = "correct horse battery staple";
const BODY: &str = "nobody's business";

/// The text says each part, and nothing secret: neither as text nor as a list of bytes.
fn shows(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let spaceless: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let key = key(1).to_text();
    // "corr" and "nobo" as bytes.
    for secret in [BODY, SECRET, "99,111,114,114", "110,111,98,111", key.expose(), "hclsec"] {
        assert!(!text.contains(secret) && !spaceless.contains(secret), "{secret:?} is in {text}");
    }
}

async fn k6_a_handle_shows_what_it_stands_for_and_nothing_secret<H: Host>() {
    let secret = || ClusterSecret::new(SECRET).expect("long enough");
    let described = node::<H>(1).config(|config| config.cluster_secret(secret()));
    shows(&format!("{described:?} {described:#?}"), &["NodeBuilder", "node-1@test"]);
    let shown = Arc::new(Mutex::new(String::new()));
    let services = Services::<H>::new()
        .serve("call", Allow::listed([id(1)]), {
            let shown = Arc::clone(&shown);
            move |request: Request<H>| {
                *shown.lock().expect("no panic") = format!("{request:?}");
                async { Ok("".into()) }
            }
        })
        .stream("bytes", Allow::Anyone, |_, stream| echo(H::io(stream)));
    shows(&format!("{services:?}"), &["call", "bytes", "Listed", "Anyone"]);
    let ben = node::<H>(2).config(|config| config.cluster_secret(secret())).services(&services);
    let ben = start(ben.listen("127.0.0.1:0")).await;
    let anna = start(described.peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
    let peer = anna.peer(id(2));
    let own = id(2).to_string();
    shows(&format!("{peer:?}"), &["Peer", &own, "link: None"]);
    let link = soon(peer.connect()).await.expect("a link");
    let home = address(&ben).to_string();
    shows(&format!("{link:?}"), &["Link", &own, "Outbound", &home, "closed: None"]);
    shows(&format!("{peer:?}"), &["Peer", "Link", &own]);
    soon(peer.call("call", BODY)).await.expect("an answer");
    let request = shown.lock().expect("no panic").clone();
    shows(&request, &["Request", &id(1).to_string(), "\"call\"", "17", "Normal"]);
    let stream = open(&link, "bytes").await;
    let number = format!("id: {}", stream.id());
    shows(&format!("{:?}", *stream), &["ByteStream", &number, "\"bytes\"", &own, "reading: Open"]);
    drop(stream);
    // What waits for a peer is not shown either.
    let absent = anna.peer(id(3));
    let waits = Message::new("log", BODY);
    soon(absent.send_with(waits, Delivery::Keep)).await.expect("it is kept");
    shows(&format!("{anna:?} {anna:#?} {absent:?}"), &["Node", &id(1).to_string(), &id(3).to_string()]);
    shows(&format!("{:?}", anna.downgrade()), &["WeakNode"]);
    soon(link.goodbye(9, "enough")).await;
    shows(&format!("{link:?}"), &["Goodbye", "9", "enough"]);
    for (handler, name) in [
        (Handler::<H>::call(|_| async { Ok("".into()) }), "Handler::call"),
        (Handler::message(|_| async {}), "Handler::message"),
        (Handler::stream(|_, _| async {}), "Handler::stream"),
    ] {
        assert_eq!(format!("{handler:?}"), name);
    }
    let left = stop(anna).await;
    assert_eq!(left.len(), 1);
    shows(&format!("{left:?}"), &["log"]);
}

async fn h4_a_link_says_which_version_of_a_capability_both_sides_have<H: Host>() {
    let with = |number, max| {
        let zip = Capability::new("zip", 1..=max).expect("a capability");
        builder::<H>(number).capability(zip).build().expect("a configuration")
    };
    let (one, two) =
        pair_of((&with(1, 3), &Services::<H>::new()), (&with(2, 2), &Services::<H>::new())).await;
    for link in [&one, &two] {
        assert_eq!((link.peer().capability("zip"), link.peer().capability("tar")), (Some(2), None));
    }
    assert_eq!(one.transport_error().map(|error| error.kind()), None);
}

async fn k7_keying_material_is_as_long_as_asked_or_there_is_none<H: Host>() {
    let (one, two) = pair::<H>(&Services::new()).await;
    let (mut here, mut there) = (vec![0; 8160], vec![0; 8160]);
    soon(one.export(b"label", b"context", &mut here)).await.expect("the most there is");
    soon(two.export(b"label", b"context", &mut there)).await.expect("the most there is");
    assert!(here == there && here.iter().any(|byte| *byte != 0));
    let mut more = vec![7; 8161];
    assert_eq!(soon(one.export(b"label", b"context", &mut more)).await, Err(CryptoError::BadLength));
    let long = vec![0; 1 << 16];
    for (label, context) in [(&*long, &b"context"[..]), (b"label", &*long)] {
        assert_eq!(soon(one.export(label, context, &mut more[..32])).await, Err(CryptoError::BadLength));
    }
    soon(one.goodbye(0, "")).await;
    assert_eq!(soon(one.export(b"label", b"context", &mut more[..32])).await, Err(CryptoError::OutOfTurn));
    assert!(more.iter().all(|byte| *byte == 7), "what there is none of is not written");
}

/// A weak handle gives the node while somebody holds it, and keeps nothing itself.
async fn o4_a_weak_handle_keeps_no_node<H: Host>() {
    assert!(WeakNode::<H>::default().upgrade().is_none());
    let anna: Node<H> = start(node::<H>(1).listen("127.0.0.1:0")).await;
    let weak = anna.downgrade();
    let same = weak.clone().upgrade().expect("it is held");
    assert_eq!((same.id(), same.local_addrs()), (key(1).node_id(), anna.local_addrs()));
    let (mut events, peer) = (anna.events(), anna.peer(id(2)));
    drop(anna);
    assert!(weak.upgrade().is_some(), "one handle is left");
    drop(same);
    assert!(weak.upgrade().is_none());
    // And the node ends with the last of them, whoever holds a peer of it.
    while soon(events.next()).await.is_some() {
        yield_now().await;
    }
    assert!(peer.link().is_none());
}

handclasp_adapters::on_every_host!(
    k6_a_handle_shows_what_it_stands_for_and_nothing_secret,
    h4_a_link_says_which_version_of_a_capability_both_sides_have,
    k7_keying_material_is_as_long_as_asked_or_there_is_none,
    o4_a_weak_handle_keeps_no_node,
);
