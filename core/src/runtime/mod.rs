//! Handles, tasks and nodes over any runtime: what all adapters have in common.
//!
//! An application takes these types from its adapter, `handclasp-tokio` or `handclasp-async-std`, under the
//! same names and with the runtime filled in: `handclasp_tokio::Link` is [`Link<Tokio>`](Link). A library that
//! works over both takes `R: Runtime` as a parameter.
//!
//! # What is here, and what is an adapter's
//! Here is all that does not touch the system: the queues between handles and a link's task, the task itself,
//! handlers and their rules, byte streams, the node's supervisor, its peers, its trust file. It waits with
//! [`core::task`] and knows no clock. An adapter implements [`Runtime`]: it opens and accepts sockets, spawns,
//! sleeps, tells the time, and gives [byte streams](ByteStream) its runtime's reading and writing traits.
//!
//! ```text
//!   Node ── supervisor ──┬─ listeners ─┐              one task each, all of them the supervisor's
//!    │                   ├─ dials ─────┤
//!   Peer                 └─ links ─────┴─▶ Driver ──▶ drive::pump ──▶ the stream
//!    │                                     │    │
//!   Link ── Shared (queues, the end) ──────┘    └─ Server: handlers of Services
//! ```
//!
//! No lock is held over an await, and none while the application's code runs.
//!
//! # Where handles are used
//! Their `async` methods wait with the timers of their runtime, and start tasks there. So with tokio their futures
//! are polled in a task of the runtime, or under its `block_on` or `enter`. **Elsewhere they panic** as soon as a
//! timer is needed: a [`call`](Link::call) under another crate's `block_on` goes well until it has to wait for room,
//! and then not. async-std and smol have one set of timers and tasks for the process, and nothing to be inside of.
//! Methods that are not `async` may be called, and handles dropped, anywhere.

// Runtimes set their timers in the system's terms. The clock is not read here: that stays disallowed.
#![allow(clippy::disallowed_types)]

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::prelude::v1::*;

use futures_io::{AsyncRead, AsyncWrite};

mod clock;
mod connect;
mod driver;
mod error;
mod link;
mod listener;
mod node;
mod peer;
mod queue;
#[cfg(feature = "recording")]
mod records;
mod serve;
mod services;
mod shared;
mod stream;
mod streams;
mod sync;

pub use clock::{incarnation, random_seed};
pub use connect::{accept_over, connect, connect_over};
pub use error::{AcceptError, ConnectError};
pub use link::{CALL_TIMEOUT, Link};
pub use listener::Listener;
pub use node::{
    Delivery, Events, LinkSnapshot, Missed, NoLink, Node, NodeBuilder, NodeSnapshot, NotSent, Peer,
    PeerRegistry, PeerSnapshot, RegistryFuture, StartError, TrustError, WeakNode, WhyNotSent,
};
pub use peer::{Direction, PeerInfo};
pub use services::{Cancelled, Handler, Relay, Request, Services};
pub use streams::{ByteStream, OpenError, StreamError};

/// What an adapter gives: its runtime's tasks, clock and sockets.
///
/// Functions without state, so that a type without values stands for the runtime. Nothing here is asked for
/// once per message: the cost of a link is in [`pump`](crate::drive::pump), which knows no runtime.
///
/// Futures are dropped when they are not needed any more; that must be harmless.
pub trait Runtime: fmt::Debug + Send + Sync + Sized + 'static {
    /// A connection over TCP. What is written to it leaves at once (`TCP_NODELAY`).
    type Tcp: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// A socket that takes connections over TCP.
    type TcpListener: fmt::Debug + Send + Sync + 'static;

    /// A byte stream of a link, with the reading and writing traits of the runtime.
    type Stream: From<ByteStream> + Send + 'static;

    /// Waits for a point in time.
    type Sleep: Future<Output = ()> + Send + 'static;

    /// The monotonic clock's time.
    fn now() -> std::time::Instant;

    /// The calendar's time.
    fn today() -> std::time::SystemTime;

    /// Waits until `at`, which may be over.
    fn sleep_until(at: std::time::Instant) -> Self::Sleep;

    /// Runs `task` to its end, whoever waits for it.
    fn spawn(task: impl Future<Output = ()> + Send + 'static);

    /// Runs `work`, which may block, where that keeps no task waiting. It runs to its end.
    fn unblock(work: impl FnOnce() + Send + 'static);

    /// Fills `bytes` with randomness of the operating system.
    ///
    /// # Panics
    /// If there is none: nothing here is safe without.
    fn random(bytes: &mut [u8]);

    /// The addresses that `host:port` stands for.
    fn resolve(address: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Connects over TCP.
    fn connect(address: SocketAddr) -> impl Future<Output = io::Result<Self::Tcp>> + Send;

    /// Listens on `address`; on port 0 the system chooses one.
    fn bind(address: SocketAddr) -> impl Future<Output = io::Result<Self::TcpListener>> + Send;

    /// The next connection. An error is about one connection, or about the system's want of means, and the
    /// socket goes on.
    fn accept(
        listener: &Self::TcpListener,
    ) -> impl Future<Output = io::Result<(Self::Tcp, SocketAddr)>> + Send;

    /// The other end's address.
    fn peer_addr(stream: &Self::Tcp) -> Option<SocketAddr>;

    /// The address that a socket listens on.
    fn local_addr(listener: &Self::TcpListener) -> io::Result<SocketAddr>;
}

/// Resolves `address` and listens on the first of its addresses that can be.
async fn bind<R: Runtime>(address: &str) -> io::Result<R::TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses::<R>(address).await? {
        match R::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The addresses that `host:port` stands for. An address needs no resolver, which may hang.
async fn addresses<R: Runtime>(address: &str) -> io::Result<Vec<SocketAddr>> {
    match address.parse() {
        Ok(address) => Ok(vec![address]),
        Err(_) => R::resolve(address).await,
    }
}

/// Connects to `host:port` before `deadline`. Each address that a name has is tried; one that swallows what is
/// sent leaves time for those behind it.
async fn dial<R: Runtime>(address: &str, deadline: std::time::Instant) -> io::Result<R::Tcp> {
    let dialled = async {
        let addresses = addresses::<R>(address).await?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for (at, address) in addresses.iter().enumerate() {
            let now = R::now();
            let left = deadline.saturating_duration_since(now);
            let share = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
            match sync::timeout_at::<R, _>(now + share, R::connect(*address)).await {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => last = error,
                None => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    };
    sync::timeout_at::<R, _>(deadline, dialled).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}
