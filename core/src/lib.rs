//! handclasp core
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
mod refusal;
pub mod services;
mod time;
pub mod wire;

pub use config::{ClusterSecret, Config, ConfigBuilder, ConfigError, Padding, RekeyPolicy, Timing, Trust};
pub use crypto::Seed;
pub use error::{By, CallError, Closed, Executed, Reason, ServiceError, Violation};
pub use hello::{Capability, Limits, VersionRange};
pub use identity::{NodeId, SecretKey, Signer};
pub use link::{
    Action, Body, CallId, Dial, Event, Incoming, Link, MAX_ERROR_DETAIL, MAX_SERVICE, Message, Payload, Peer,
    Phase, Priority, Ready, Rejected, ReplyRejected, ReplyToken, Stats, Unsent, Why,
};
pub use negotiation::Outcome;
pub use refusal::{Refusal, Retry};
pub use time::Instant;
