//! What a node or a listener holds of connections whose handshake failed.

use std::net::SocketAddr;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use handclasp_adapters::links::{config, echo, listen};
use handclasp_adapters::nodes::{address, node, start};
use handclasp_adapters::{Host, soon, spawn, until};

use super::held::{Clock, Held};

/// Connections whose handshake fails, more than may be wound down at a time.
const NONSENSE: usize = 200;

/// Connections that are wound down at a time, and the other tasks that there may be.
const WOUND_DOWN: usize = 64;
const OTHERS: usize = 10;

/// Says nonsense on many connections, waits until each has been closed by the listener, and keeps them.
async fn flood<H: Host>(to: SocketAddr) -> Vec<H::Tcp> {
    let mut kept = Vec::new();
    for _ in 0..NONSENSE {
        let mut stream = soon(H::connect(to)).await.expect("a connection");
        // It may be closed by now.
        let _ = soon(stream.write_all(b"GET / HT")).await;
        // The end, or a reset where not all of it was read.
        let _ = soon(stream.read_to_end(&mut Vec::new())).await;
        kept.push(stream);
    }
    kept
}

/// Of the connections that failed only a few are held, and those until the other side closes them or their
/// time is over: which does not pass here.
async fn are_capped<H: Host>(clock: &Clock, to: SocketAddr) {
    let held = || clock.tasks();
    let kept = flood::<H>(to).await;
    until("the others are gone", || held() <= WOUND_DOWN + OTHERS).await;
    assert!(held() >= WOUND_DOWN, "{} tasks", held());
    drop(kept);
    until("all are gone", || held() <= OTHERS).await;
    // There is room again.
    let kept = flood::<H>(to).await;
    until("the others are gone", || held() <= WOUND_DOWN + OTHERS).await;
    assert!(held() >= WOUND_DOWN, "{} tasks", held());
    drop(kept);
    until("all are gone", || held() <= OTHERS).await;
}

async fn c6_connections_whose_handshake_failed_are_capped_at_a_node<H: Host>() {
    let clock = Clock::new();
    let work = async {
        let ben = start(node::<Held<H>>(2).listen("127.0.0.1:0")).await;
        are_capped::<H>(&clock, address(&ben)).await;
    };
    clock.run(work).await;
}

async fn c6_connections_whose_handshake_failed_are_capped_at_a_listener<H: Host>() {
    let clock = Clock::new();
    let work = async {
        let (mut listener, to) = listen(&config::<H>(2), &echo::<Held<H>>()).await;
        let accepting = spawn::<Held<H>, ()>(async move {
            loop {
                let _ = listener.accept().await;
            }
        });
        are_capped::<H>(&clock, to).await;
        accepting.abort();
    };
    clock.run(work).await;
}

handclasp_adapters::on_every_host!(
    c6_connections_whose_handshake_failed_are_capped_at_a_node,
    c6_connections_whose_handshake_failed_are_capped_at_a_listener,
);
