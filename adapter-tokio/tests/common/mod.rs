//! What the tests of the adapter share: two nodes and ways to link them.
#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod nodes;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use handclasp::{Config, ConfigBuilder, Dial, NodeId, SecretKey, Seed, Signer, Trust};
use handclasp_tokio::{Link, Listener, Services, accept_over, connect_over, incarnation};

pub fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&Seed::new([number; 32]))
}

pub fn id(number: u8) -> NodeId {
    key(number).node_id()
}

/// Node `number`, which trusts nodes 1 and 2.
pub fn builder(number: u8) -> ConfigBuilder {
    Config::builder(key(number), incarnation())
        .trust(Trust::listed([id(1), id(2)]))
        .name(format!("node-{number}@test"))
}

pub fn config(number: u8) -> Arc<Config> {
    builder(number).build().expect("a good configuration")
}

/// Fails the test instead of hanging it.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(15), future).await.expect("within 15 s")
}

pub async fn listen(config: &Arc<Config>, services: &Services) -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0", config, services).await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// Node 1 dials node 2 over an in-memory pipe: both ends.
pub async fn pair_of(
    (one, one_services): (&Arc<Config>, &Services),
    (two, two_services): (&Arc<Config>, &Services),
) -> (Link, Link) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (dialled, accepted) = soon(async {
        tokio::join!(
            connect_over(near, one, Dial::to(two.node_id()), one_services),
            accept_over(far, two, two_services)
        )
    })
    .await;
    (dialled.expect("a link"), accepted.expect("a link"))
}

/// The same with the nodes 1 and 2, of which only the second serves anything.
pub async fn pair(services: &Services) -> (Link, Link) {
    pair_of((&config(1), &Services::new()), (&config(2), services)).await
}
