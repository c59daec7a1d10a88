//! A deterministic world for handclasp links: no socket, no clock, no thread. The same inputs give the same
//! run.
//!
//! [`Pair`] joins two links by two pipes of bytes that a test can look at, cut, delay and edit. [`Solo`] is
//! one link whose other side is the test itself: [`hostile::Hostile`] speaks the handshake for it,
//! [`raw::Raw`] has real traffic keys and seals what it is told. [`watched::Watched`] looks on at
//! cryptography, or spoils it, and [`Counting`] counts what it costs. [`world`] has whole nodes, many of them,
//! and a network that does its worst. [`Said`] hears what errors say to people.

#![forbid(unsafe_code)]

mod counting;
pub mod document;
pub mod hostile;
mod owned;
mod pair;
pub mod raw;
mod said;
mod solo;
mod step;
pub mod watched;
pub mod world;

pub use counting::{Count, Counting, CountingSigner, Counts};
pub use owned::Owned;
pub use pair::{End, Pair, Pipe, Side};
pub use said::Said;
pub use solo::Solo;

use std::sync::Arc;

use handclasp::{Config, ConfigBuilder, NodeId, SecretKey, Seed, Signer, Trust};

/// The secret key of node number `number`.
pub fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes([number; 32])
}

/// The id of node number `number`.
pub fn id(number: u8) -> NodeId {
    key(number).node_id()
}

/// A seed, different for each number.
pub fn seed(number: u64) -> Seed {
    let mut bytes = [0x5e; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Seed::new(bytes)
}

/// The beginning of a configuration for node `number` that trusts the nodes `trusted`.
pub fn builder(number: u8, trusted: &[u8]) -> ConfigBuilder {
    Config::builder(key(number), u64::from(number)).trust(Trust::listed(trusted.iter().copied().map(id)))
}

/// A configuration for node `number` that trusts the nodes `trusted`.
///
/// # Panics
/// Never: the configuration is valid.
pub fn config(number: u8, trusted: &[u8]) -> Arc<Config> {
    builder(number, trusted).build().expect("a valid configuration")
}
