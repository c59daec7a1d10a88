//! One authenticated, encrypted, framed link between two nodes: a state machine that owns no socket, no
//! clock, no thread and no randomness.
//!
//! A node *is* its Ed25519 key ([`NodeId`]). Two nodes that know each other's ids connect over any reliable
//! byte stream, prove who they are, and exchange messages, calls and answers. Whatever ends a link says why
//! ([`Reason`]).
//!
//! # The loop
//! The owner of a [`Link`] gives it bytes and the time, asks what to do next, and gives it commands. This is
//! a whole client over a blocking socket; it needs no runtime, and neither does anything else here:
//!
//! ```
//! use handclasp::{Action, Config, Dial, Event, Instant, Link, Message, NodeId, Ready, Seed};
//! use std::io::{ErrorKind, Read, Write};
//! use std::{error::Error, net::TcpStream, sync::Arc, time::Duration};
//!
//! const WAIT: Duration = Duration::from_secs(5);
//!
//! fn ask(address: &str, config: &Arc<Config>, peer: NodeId, seed: &Seed) -> Result<String, Box<dyn Error>> {
//!     let (mut stream, start) = (TcpStream::connect(address)?, std::time::Instant::now());
//!     stream.set_write_timeout(Some(WAIT))?; // a peer that takes nothing is an error
//!     let now = || Instant::ZERO + start.elapsed();
//!     let mut link = Link::initiator(config, Dial::to(peer), seed, now());
//!     let mut answer = None;
//!     loop {
//!         match link.poll(now(), Ready::ALL) {
//!             Action::Event(Event::Established(_)) => drop(link.call(Message::new("greet", "world"), WAIT, now())?),
//!             Action::Event(Event::Reply { body, .. }) => {
//!                 answer = Some(String::from_utf8(body.to_vec())?);
//!                 link.goodbye(0, "thank you", now());
//!             }
//!             Action::Event(Event::CallFailed { error, .. }) => return Err(error.into()),
//!             Action::Event(Event::Closed(closed)) => return answer.ok_or(closed.clone().into()),
//!             Action::Event(_) => {}
//!             Action::Send => {
//!                 let count = stream.write(link.transmit(now()))?;
//!                 link.transmitted(count, now());
//!             }
//!             Action::Timeout(at) => {
//!                 stream.set_read_timeout(at.map(|at| at.since(now()).max(Duration::from_millis(1))))?;
//!                 match stream.read(link.recv_space()) {
//!                     Ok(0) => link.recv_closed(now()),
//!                     Ok(count) => link.received(count, now()),
//!                     Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
//!                     Err(error) => return Err(error.into()),
//!                 }
//!             }
//!         }
//!     }
//! }
//! # use handclasp::{SecretKey, Signer, Trust};
//! # // The other end: the same loop around a responder that answers one call.
//! # fn serve(listener: std::net::TcpListener, config: &Arc<Config>) -> Result<(), Box<dyn Error + Send + Sync>> {
//! #     let (mut stream, start) = (listener.accept()?.0, std::time::Instant::now());
//! #     let now = || Instant::ZERO + start.elapsed();
//! #     let mut link = Link::responder(config, 1, &Seed::new([7; 32]), now());
//! #     loop {
//! #         match link.poll(now(), Ready::ALL) {
//! #             Action::Event(Event::Call { token, request, .. }) => {
//! #                 assert_eq!(request.service, "greet");
//! #                 let answer = format!("hello, {}", String::from_utf8_lossy(&request.body));
//! #                 link.reply(token, Ok(answer.into_bytes().into())).map_err(|no| no.why)?;
//! #             }
//! #             Action::Event(Event::Closed(_)) => return Ok(()),
//! #             Action::Event(_) => {}
//! #             Action::Send => {
//! #                 let count = stream.write(link.transmit(now()))?;
//! #                 link.transmitted(count, now());
//! #             }
//! #             Action::Timeout(at) => {
//! #                 stream.set_read_timeout(at.map(|at| at.since(now()).max(Duration::from_millis(1))))?;
//! #                 match stream.read(link.recv_space()) {
//! #                     Ok(0) => link.recv_closed(now()),
//! #                     Ok(count) => link.received(count, now()),
//! #                     Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
//! #                     Err(error) => return Err(error.into()),
//! #                 }
//! #             }
//! #         }
//! #     }
//! # }
//! # fn main() -> Result<(), Box<dyn Error>> {
//! # let (alice, bob) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
//! # let (alice_id, bob_id) = (alice.node_id(), bob.node_id());
//! # let alice = Config::builder(alice, 1).trust(Trust::listed([bob_id])).build()?;
//! # let bob = Config::builder(bob, 2).trust(Trust::listed([alice_id])).build()?;
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?.to_string();
//! # let server = std::thread::spawn(move || serve(listener, &bob));
//! # let answer = ask(&address, &alice, bob_id, &Seed::new([3; 32]))?;
//! # assert_eq!(answer, "hello, world");
//! # server.join().expect("the server does not panic").map_err(|error| error.to_string())?;
//! # Ok(())
//! # }
//! ```
//!
//! The other end is the same loop around [`Link::responder`]. For tokio there is the crate `handclasp-tokio`,
//! which is this loop in a task with handles around it.
//!
//! # What the owner keeps to
//! 1. `now` comes from one monotonic clock. A link takes the greater of `now` and what it was told before.
//! 2. Each link has a [`Seed`] of its own: 32 unpredictable bytes, never used twice. The same seed and the
//!    same inputs give the same bytes on the wire, which is what makes a run replayable.
//! 3. Bytes from [`Link::transmit`] go to the stream in order, and [`Link::transmitted`] says how many it
//!    took.
//! 4. Poll until the answer is [`Action::Timeout`], and again at that time, after bytes came, and after
//!    commands.
//! 5. After [`Event::Closed`], shut the stream down for writing and read what still comes for a moment before
//!    dropping it: a stream that is closed with bytes unread may take the last words with it (RFC 9293
//!    §3.10.4).
//!
//! # Where to look
//! [`Config`] has what a node brings to its links, [`Event`] what a link tells, [`Reason`] how it ends. The
//! wire format is in docs/wire.md of the repository, the way of a byte through the code in
//! docs/architecture.md.
#![forbid(unsafe_code)]
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod config;
pub mod crypto;
#[cfg(feature = "drive")]
pub mod drive;
mod error;
pub mod hello;
pub mod identity;
mod link;
pub mod negotiation;
pub mod node;
mod phase;
#[cfg(feature = "recording")]
pub mod recording;
mod refusal;
#[cfg(feature = "runtime")]
pub mod runtime;
pub mod services;
pub mod signed;
mod time;
pub mod wire;

pub use config::{
    ClusterSecret, Config, ConfigBuilder, ConfigError, HandshakeStats, Padding, RekeyPolicy, StreamLimits,
    Timing, Trust, WorstCase,
};
pub use crypto::Seed;
pub use error::{By, CallError, Closed, Executed, Reason, ServiceError, Violation};
pub use hello::{Capability, Limits, VersionRange};
pub use identity::{NodeId, SecretKey, Signer};
#[cfg(feature = "key-log")]
pub use link::KeyLog;
pub use link::{
    Action, Body, CallId, Dial, Envelope, Event, Incoming, Link, MAX_ERROR_DETAIL, MAX_SERVICE, Message,
    Payload, Peer, Priority, Ready, Rejected, ReplyRejected, ReplyToken, STREAM_LINK_ENDED, STREAM_REFUSED,
    Stats, StreamId, StreamRead, Why,
};
pub use negotiation::Outcome;
pub use phase::Phase;
pub use refusal::{Refusal, Retry};
pub use time::Instant;

// Links move between threads, and configurations are shared.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Link>();
    is_send_and_sync::<Config>();
    is_send_and_sync::<Closed>();
    is_send_and_sync::<Peer>();
};
