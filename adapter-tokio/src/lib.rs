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
//! The protocol is in the crate `handclasp`, which has no sockets, clock or randomness; this crate adds them,
//! and nothing else.
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

mod clock;
mod connect;
mod driver;
mod error;
mod link;
mod listener;
mod node;
mod peer;
mod serve;
mod services;
mod shared;
mod stream;

pub use clock::{incarnation, random_seed};
pub use connect::{accept_over, connect, connect_over};
pub use error::{AcceptError, ConnectError};
pub use handclasp::services::{Allow, LongServiceName};
pub use link::{CALL_TIMEOUT, Link};
pub use listener::Listener;
pub use node::{
    Delivery, Events, LinkSnapshot, Missed, NoLink, Node, NodeBuilder, NodeSnapshot, NotSent, Peer,
    PeerRegistry, PeerSnapshot, RegistryFuture, StartError, TrustError, WeakNode, WhyNotSent,
};
pub use peer::{Direction, PeerInfo};
pub use services::{Cancelled, Handler, Request, Services};

/// The README's code is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
