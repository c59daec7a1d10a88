//! Nodes on real sockets.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use handclasp::node::{Backoff, NodeEvent, NodePolicy};
use handclasp::runtime::{Events, Node, NodeBuilder, Runtime, incarnation};
use handclasp::{Envelope, NodeId, Trust};

pub use crate::links::{echo, id, key};
use crate::soon;

/// Waits that suit a test.
pub fn policy() -> NodePolicy {
    let backoff =
        Backoff { first: Duration::from_millis(20), most: Duration::from_millis(100), ..Backoff::default() };
    NodePolicy { backoff, ..NodePolicy::default() }
}

/// Node `number`, which trusts nodes 1 to 4 and serves nothing.
pub fn node<R: Runtime>(number: u8) -> NodeBuilder<R> {
    Node::builder(key(number))
        .config(|config| config.name(format!("node-{number}@test")))
        .trust(Trust::listed([id(1), id(2), id(3), id(4)]))
        .policy(policy())
}

/// Starts a node.
pub async fn start<R: Runtime>(builder: NodeBuilder<R>) -> Node<R> {
    soon(builder.start()).await.expect("a node")
}

/// The node's one address.
pub fn address<R: Runtime>(node: &Node<R>) -> SocketAddr {
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

/// Shuts a node down; gives what was not delivered.
pub async fn stop<R: Runtime>(node: Node<R>) -> Vec<(NodeId, Envelope)> {
    soon(node.shutdown(Duration::from_secs(5))).await
}

/// A folder that is gone with the test.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir()
            .join(format!("handclasp-{name}-{:x}", incarnation::<handclasp_tokio::Tokio>()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    /// Where its trust file is, or will be.
    pub fn list(&self) -> PathBuf {
        self.0.join("trusted")
    }

    /// Makes `text` the trust file.
    pub fn write(&self, text: &str) {
        // As editors do it: a new file in place of the old one.
        let new = self.0.join("new");
        fs::write(&new, text).expect("a file");
        // Whatever the umask: a list that others can write is refused.
        fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("own file");
        fs::rename(new, self.list()).expect("a file");
    }

    /// What the trust file says.
    pub fn read(&self) -> String {
        fs::read_to_string(self.list()).expect("a file")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
