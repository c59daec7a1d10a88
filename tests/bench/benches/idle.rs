//! What idle peers cost: heap for each link, and a poll of their node. docs/performance.md has the figures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use handclasp::hello::DialAddress;
use handclasp::node::{DialFailure, Node as Core, NodeAction, NodePolicy, Permanence};
use handclasp::{Config, Dial, Limits, SecretKey, Seed, Signer, Trust};
use handclasp_bench::allocations::{Live, live_bytes};
use handclasp_tokio::{Listener, Node, Services, connect};
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATOR: Live = Live;

/// Links to one node.
const LINKS: usize = 1000;

fn main() {
    // `cargo bench` passes options of the harness that this one does not have.
    println!("heap of {LINKS} idle links over TCP, both ends and their tasks, per link:");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let node = runtime.block_on(node_with_peers());
    println!("  a node's, with its peers' links at the other ends: {node} bytes");
    let links = runtime.block_on(bare_links());
    println!("  links without a node at either end:                {links} bytes");
    println!("a poll of a node with nothing due:");
    for peers in [1, 1000, 100_000] {
        println!("  {peers:>6} peers: {:.0} ns", poll(peers));
    }
}

fn key(number: u32) -> SecretKey {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_bytes(bytes)
}

/// A short idle time, so that what a link gives back when it is idle is given back within this run.
fn limits() -> Limits {
    Limits { idle: Duration::from_millis(500), ..Limits::default() }
}

fn dialler(number: u32) -> Arc<Config> {
    let builder = Config::builder(key(number), 1).trust(Trust::Anyone).limits(limits());
    builder.build().expect("a configuration")
}

/// Configurations are shared by all links of a program, so they are not part of a link's cost.
fn diallers() -> Vec<Arc<Config>> {
    (1..=u32::try_from(LINKS).expect("a small number")).map(dialler).collect()
}

async fn node_with_peers() -> usize {
    let hub = key(0);
    let id = hub.node_id();
    let node = Node::builder(hub)
        .config(|config| config.limits(limits()))
        .trust(Trust::Anyone)
        .listen("127.0.0.1:0")
        .start()
        .await
        .expect("a node");
    let address = node.local_addrs()[0];
    let (configs, services) = (diallers(), Services::new());
    settle().await;
    let before = live_bytes();
    let mut links = Vec::with_capacity(LINKS);
    for config in &configs {
        links.push(connect(address, config, Dial::to(id), &services).await.expect("a link"));
    }
    settle().await;
    let used = live_bytes() - before;
    assert_eq!(node.snapshot().await.links, LINKS);
    drop(links);
    node.shutdown(Duration::from_secs(5)).await;
    used / LINKS
}

async fn bare_links() -> usize {
    let (config, services) = (dialler(0), Services::new());
    let id = config.node_id();
    let mut listener = Listener::bind("127.0.0.1:0", &config, &services).await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let configs = diallers();
    settle().await;
    let before = live_bytes();
    let (mut accepted, mut links) = (Vec::with_capacity(LINKS), Vec::with_capacity(LINKS));
    for config in &configs {
        let (link, other) =
            tokio::join!(connect(address, config, Dial::to(id), &services), listener.accept());
        links.push(link.expect("a link"));
        accepted.push(other.expect("a link"));
    }
    settle().await;
    let used = live_bytes() - before;
    drop((links, accepted));
    settle().await;
    used / LINKS
}

/// Long enough for links to find themselves idle and give back what they do not need.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

/// Polls to take the mean of.
const POLLS: u32 = 1_000_000;

/// Nanoseconds for a poll of a node that waits to dial so many peers again.
fn poll(peers: u32) -> f64 {
    let ids: Vec<_> = (1..=peers).map(|number| key(number).node_id()).collect();
    let trust = Trust::listed(ids.iter().copied());
    let config = Config::builder(key(0), 1).trust(trust).build().expect("a configuration");
    let mut node = Core::new(&config, NodePolicy::default(), &Seed::new([1; 32]), handclasp::Instant::ZERO);
    let now = handclasp::Instant::ZERO;
    for id in ids {
        node.set_addresses(id, vec![DialAddress { weight: 1, address: "nowhere".into() }], now);
        node.set_permanence(id, Permanence::Permanent, now);
    }
    loop {
        match node.poll(now) {
            NodeAction::Dial(ticket) => node.dial_failed(ticket, DialFailure::TimedOut, now),
            NodeAction::Timeout(_) => break,
            _ => {}
        }
    }
    let start = Instant::now();
    for _ in 0..POLLS {
        assert!(matches!(std::hint::black_box(node.poll(now)), NodeAction::Timeout(Some(_))));
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(POLLS)
}
