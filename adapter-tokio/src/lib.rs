//! handclasp links over tokio: one authenticated, encrypted link between two nodes, on real sockets.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use handclasp::{Config, Dial, SecretKey, Signer, Trust};
//! use handclasp_tokio::{Allow, Listener, Services, connect, incarnation, random_seed};
//!
//! // Two nodes that know each other's ids.
//! let (anna, ben) = (SecretKey::from_seed(&random_seed()), SecretKey::from_seed(&random_seed()));
//! let (anna_id, ben_id) = (anna.node_id(), ben.node_id());
//! let anna = Config::builder(anna, incarnation()).trust(Trust::listed([ben_id])).build()?;
//! let ben = Config::builder(ben, incarnation()).trust(Trust::listed([anna_id])).build()?;
//!
//! // Ben offers a service.
//! let services = Services::new().serve("echo", Allow::Anyone, |request| async move { Ok(request.body) });
//! let mut listener = Listener::bind("127.0.0.1:0", &ben, &services).await?;
//! let address = listener.local_addr()?;
//! let ben = tokio::spawn(async move { listener.accept().await.expect("a link").closed().await });
//!
//! // Anna calls it, and says goodbye.
//! let link = connect(address, &anna, Dial::to(ben_id), &Services::new()).await?;
//! assert_eq!(link.call("echo", "hello").await?, "hello");
//! link.goodbye(0, "that was all").await;
//! assert_eq!(ben.await?.to_string(), "goodbye (code 0): that was all (by peer, in phase draining)");
//! # Ok(())
//! # }
//! ```
//!
//! - [`Node`] is what a process with several peers needs: at most one link to each, dialled and dialled again
//!   as needed, messages that wait for it, trust that changes. [`Peer`] is the handle that outlives links.
//! - Without a node, [`connect`] and [`Listener`] make links over TCP, [`connect_over`] and [`accept_over`] over
//!   any other stream.
//! - [`Link`] is the handle: send, call, goodbye.
//! - [`Services`] is what this side offers, to whom.
//!
//! The protocol is in the crate `handclasp`, and so is all that adapters have in common
//! ([`handclasp::runtime`]): the types here are those of that module with [`Tokio`] filled in, where their
//! methods are described. This crate adds sockets, the clock, tasks and randomness, and nothing else.
//!
//! # Tracing
//! Each link has a span `link` with `peer` (the id, once proved), `direction` and `remote`. Events in it:
//! `established` with `version`, `name` and `suite`; `closed` with `reason` (the stable name), `code` (the
//! stable number), `by`, `phase` and `claimed` (the id that a refused peer claimed).
//!
//! A node has events of its own, with `node` (its fingerprint) and `peer`: `linked`, `unlinked`, `superseded`,
//! `dial_failed` with `reason` and `again`, `revoked`, `advert`, `trust_reloaded`; as warnings `drifted`,
//! `advert_refused`, `trust_file_refused`, `registry_failed`, `registry_write_failed`, `listener_failed`; at
//! debug level `handshake_ended`, `over_capacity`, `undelivered`, `permanence`.
//!
//! There is no event for a message that goes well, and nothing secret in any.
#![forbid(unsafe_code)]

mod io;
mod runtime;
mod stream;

use std::sync::Arc;

use handclasp::{Closed, Config, Dial, Seed};
use tokio::io::{AsyncRead, AsyncWrite};

pub use crate::runtime::Tokio;
pub use crate::stream::Stream;
pub use handclasp::runtime::{
    AcceptError, CALL_TIMEOUT, Cancelled, ConnectError, Delivery, Direction, Events, LinkSnapshot, Missed,
    NoLink, NodeSnapshot, NotSent, OpenError, PeerInfo, PeerRegistry, PeerSnapshot, RegistryFuture, Relay,
    StartError, StreamError, TrustError, WhyNotSent, connect,
};
pub use handclasp::services::{Allow, LongServiceName};

use io::Io;

/// [A handle](handclasp::runtime::Link) to an established link.
pub type Link = handclasp::runtime::Link<Tokio>;
/// [Accepts links](handclasp::runtime::Listener) on a TCP address.
pub type Listener = handclasp::runtime::Listener<Tokio>;
/// [What a node offers](handclasp::runtime::Services): handlers by name, with a rule for each.
///
/// ```
/// use handclasp_tokio::{Allow, Services};
///
/// let services = Services::new()
///     .serve("echo", Allow::Anyone, |request| async move { Ok(request.body) })
///     .on("log", Allow::Anyone, |request| async move { println!("{:?}", request.body) });
/// assert!(services.withdraw("log"));
/// ```
pub type Services = handclasp::runtime::Services<Tokio>;
/// [What runs](handclasp::runtime::Handler) for each message or call of a service.
pub type Handler = handclasp::runtime::Handler<Tokio>;
/// [A message or call](handclasp::runtime::Request) that came in.
pub type Request = handclasp::runtime::Request<Tokio>;
/// [A node](handclasp::runtime::Node): one identity, its listeners, its peers, and at most one live link to each of them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use handclasp::node::Permanence;
/// use handclasp::{SecretKey, Signer, Trust};
/// use handclasp_tokio::{Allow, Node, Services, random_seed};
///
/// let (anna, ben) = (SecretKey::from_seed(&random_seed()), SecretKey::from_seed(&random_seed()));
/// let (anna_id, ben_id) = (anna.node_id(), ben.node_id());
///
/// let services = Services::new().serve("echo", Allow::Anyone, |request| async move { Ok(request.body) });
/// let ben = Node::builder(ben).trust(Trust::listed([anna_id])).services(&services).listen("127.0.0.1:0");
/// let ben = ben.start().await?;
///
/// let anna = Node::builder(anna)
///     .config(|config| config.name("anna"))
///     .trust(Trust::listed([ben_id]))
///     .peer(ben_id, [ben.local_addrs()[0]], Permanence::Ephemeral)
///     .start()
///     .await?;
/// assert_eq!(anna.peer(ben_id).call("echo", "hello").await?, "hello");
/// # let wait = std::time::Duration::from_secs(5);
/// assert!(anna.shutdown(wait).await.is_empty());
/// # Ok(())
/// # }
/// ```
pub type Node = handclasp::runtime::Node<Tokio>;
/// [Describes a node](handclasp::runtime::NodeBuilder); made by [`Node::builder`].
pub type NodeBuilder = handclasp::runtime::NodeBuilder<Tokio>;
/// [A handle](handclasp::runtime::WeakNode) that does not keep its node running.
pub type WeakNode = handclasp::runtime::WeakNode<Tokio>;
/// [A handle to a peer](handclasp::runtime::Peer) of a node, which outlives links.
pub type Peer = handclasp::runtime::Peer<Tokio>;

/// Establishes a link over `stream`, as the side that opened it; as
/// [`handclasp::runtime::connect_over`].
///
/// # Errors
/// How the handshake ended.
///
/// # Panics
/// Outside a tokio runtime with time enabled.
pub async fn connect_over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    config: &Arc<Config>,
    dial: Dial,
    services: &Services,
) -> Result<Link, Box<Closed>> {
    handclasp::runtime::connect_over(Io(stream), config, dial, services).await
}

/// Establishes a link over `stream`, as the side that accepted it; as
/// [`handclasp::runtime::accept_over`].
///
/// # Errors
/// How the handshake ended.
///
/// # Panics
/// As [`connect_over`].
pub async fn accept_over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    config: &Arc<Config>,
    services: &Services,
) -> Result<Link, Box<Closed>> {
    handclasp::runtime::accept_over(Io(stream), config, services).await
}

/// Fresh random bytes of the operating system, for one link or one key.
///
/// # Panics
/// If the operating system has no randomness: nothing here is safe without.
pub fn random_seed() -> Seed {
    handclasp::runtime::random_seed::<Tokio>()
}

/// A random number for [`Config::builder`]: draw it once at the start of the process.
///
/// # Panics
/// As [`random_seed`].
pub fn incarnation() -> u64 {
    handclasp::runtime::incarnation::<Tokio>()
}

/// The README's code is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
