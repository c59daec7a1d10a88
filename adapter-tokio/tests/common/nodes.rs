//! Nodes on real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use handclasp::node::{Backoff, NodeEvent, NodePolicy};
use handclasp::{NodeId, Trust};
use handclasp_tokio::{Allow, Events, Node, NodeBuilder, Services};

use super::{id, key, soon};

/// Waits that suit a test.
pub fn policy() -> NodePolicy {
    let backoff =
        Backoff { first: Duration::from_millis(20), most: Duration::from_millis(100), ..Backoff::default() };
    NodePolicy { backoff, ..NodePolicy::default() }
}

/// Node `number`, which trusts nodes 1 to 4 and serves nothing.
pub fn node(number: u8) -> NodeBuilder {
    Node::builder(key(number))
        .config(|config| config.name(format!("node-{number}@test")))
        .trust(Trust::listed([id(1), id(2), id(3), id(4)]))
        .policy(policy())
}

pub fn echo() -> Services {
    Services::new().serve("echo", Allow::Anyone, |request| async move { Ok(request.body) })
}

pub async fn start(builder: NodeBuilder) -> Node {
    soon(builder.start()).await.expect("a node")
}

/// The node's one address.
pub fn address(node: &Node) -> SocketAddr {
    *node.local_addrs().first().expect("it listens")
}

/// A port that nobody else gets while the socket is kept, and that nobody listens on before a test does.
pub fn port() -> (tokio::net::TcpSocket, SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = socket.local_addr().expect("its address");
    (socket, address)
}

/// Waits for an event of the kind that `pick` looks for.
pub async fn event<T>(events: &mut Events, mut pick: impl FnMut(&NodeEvent) -> Option<T>) -> T {
    soon(async {
        loop {
            let event: Arc<NodeEvent> = events.next().await.expect("the node runs").expect("none missed");
            if let Some(found) = pick(&event) {
                return found;
            }
        }
    })
    .await
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within 15 s: {what}");
}

pub async fn stop(node: Node) -> Vec<(NodeId, handclasp::Envelope)> {
    soon(node.shutdown(Duration::from_secs(5))).await
}
