//! What becomes of messages around the goodbye of a node's link.

use std::sync::Arc;
use std::time::Duration;

use async_lock::Semaphore;
use handclasp::node::Permanence;
use handclasp::runtime::{Services, WhyNotSent};
use handclasp::services::Allow;
use handclasp::{Limits, Message};
use handclasp_adapters::nodes::{address, id, node, start};
use handclasp_adapters::{Host, sleep, soon, spawn, until};

use crate::node_messages::Numbers;

async fn m6_what_a_peers_goodbye_holds_back_goes_before_what_is_sent_later<H: Host>() {
    goodbye_in_traffic::<H>(true).await;
}

async fn m6_what_an_own_goodbye_holds_back_goes_before_what_is_sent_later<H: Host>() {
    goodbye_in_traffic::<H>(false).await;
}

/// A link that is full in each of its queues, here and there, drains while more is sent.
async fn goodbye_in_traffic<H: Host>(by_peer: bool) {
    let (seen, gate) = (Numbers::default(), Arc::new(Semaphore::new(0)));
    let slow = Services::<H>::new().serve("wait", Allow::Anyone, |_| std::future::pending());
    let slow = slow.on("log", Allow::Anyone, {
        let (log, gate) = (seen.clone(), Arc::clone(&gate));
        move |request| {
            let (log, gate) = (log.clone(), Arc::clone(&gate));
            async move {
                gate.acquire().await.forget();
                log.note(&request);
            }
        }
    });
    let limits = Limits { window: 64 << 10, max_message: 16 << 10, ..Limits::default() };
    let ben = node::<H>(2).config(|config| config.limits(limits)).services(&slow).listen("127.0.0.1:0");
    let ben = start(ben).await;
    let anna = node::<H>(1).config(|config| config.send_buffer(1));
    let anna = start(anna.peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
    let peer = anna.peer(id(2));
    let link = soon(peer.connect()).await.expect("a link");
    // A call that keeps the link draining.
    let call = spawn::<H, _>({
        let link = link.clone();
        async move { link.call_with(Message::new("wait", ""), Duration::from_secs(1)).await }
    });
    let mut body = vec![0; 8 << 10];
    let mut next: u32 = 0;
    let mut fill = |at_least: u32| {
        loop {
            body[..4].copy_from_slice(&next.to_be_bytes());
            match peer.try_send(Message::new("log", &*body)) {
                Ok(()) => next += 1,
                Err(full) => {
                    assert_eq!(full.why, WhyNotSent::Full);
                    return next;
                }
            }
            if next == at_least {
                return next;
            }
        }
    };
    // Until the queues are full, twice: the link's task has taken what it can by then.
    for _ in 0..10 {
        fill(1000);
        sleep(Duration::from_millis(20)).await;
    }
    let before = fill(1000);
    let parting = spawn::<H, _>({
        let peer = if by_peer { ben.peer(id(1)) } else { peer.clone() };
        async move { peer.disconnect(0, "").await }
    });
    let is_gone = || {
        let now = peer.link().map(|link| link.peer().channel_binding);
        now != Some(link.peer().channel_binding)
    };
    until("it drains", is_gone).await;
    let mut last = fill(before + 20);
    gate.add_permits(1000);
    // The next link may be there already, and full as well.
    while last < before + 20 {
        sleep(Duration::from_millis(1)).await;
        last = fill(before + 20);
    }
    // The next link may cut the old one off while that still sends what it had: this is reported.
    let unknown = soon(link.closed()).await.unknown;
    until("the last one", || seen.has(last - 1)).await;
    soon(parting).await.expect("no panic");
    soon(call).await.expect("no panic").expect_err("no answer");
    let sent = seen.sent();
    assert!(sent.len() + unknown >= last as usize, "{unknown} unknown, {sent:?} of {last}");
    assert_eq!(seen.links().len(), 2);
}

handclasp_adapters::on_every_host!(
    m6_what_a_peers_goodbye_holds_back_goes_before_what_is_sent_later,
    m6_what_an_own_goodbye_holds_back_goes_before_what_is_sent_later,
);
