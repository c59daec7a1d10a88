//! What a node goes by, beside what its links have in common.

use core::time::Duration;

use super::backoff::Backoff;
use super::registry::{DriftPolicy, Registry};

/// How a node deals with its peers. [`Config`](crate::Config) has what concerns each link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePolicy {
    /// Handshakes that others may have under way at a time. Default 1000.
    pub handshakes: usize,
    /// The same for one [`Source`](super::Source). Default 250.
    pub handshakes_per_source: usize,
    /// Links with peers that have proved their id, at most, whoever dialled; over it those who dial are told
    /// `over_capacity`. Default 10 000.
    pub links: usize,
    /// How long a connection may be silent before it makes room for another one, where room is short. A
    /// dialler speaks first, so an honest one is silent no longer than its first packet is late. One that has
    /// spoken and not proved an id makes room after four times as long. Default 250 ms.
    pub silence: Duration,
    /// When those are to try again who find no room. Default 1 s.
    pub retry_after: Duration,
    /// The time for a dial, connecting and handshake together. Default 30 s.
    pub dial: Duration,
    /// The waits between dials.
    pub backoff: Backoff,
    /// Bytes that may wait for a link to one peer. Default 1 MiB.
    pub outbox_per_peer: usize,
    /// Bytes that may wait for links to all peers together. Default 16 MiB.
    pub outbox: usize,
    /// How long a message without an expiry of its own waits for a link. Default 30 s.
    pub outbox_expiry: Duration,
    /// Whether addresses are dialled that a peer gave itself. Default: no. A peer could point at anybody.
    pub dial_back: bool,
    /// Where the registry of peers is. Default: in memory.
    pub registry: Registry,
    /// What to do about a peer that is not as it was at its last link. Default: tell.
    pub drift: DriftPolicy,
    /// Peers that the registry in memory remembers, and adverts that are kept. Default 4096.
    pub remembered: usize,
}

impl Default for NodePolicy {
    fn default() -> Self {
        Self {
            handshakes: 1000,
            handshakes_per_source: 250,
            links: 10_000,
            silence: Duration::from_millis(250),
            retry_after: Duration::from_secs(1),
            dial: Duration::from_secs(30),
            backoff: Backoff::default(),
            outbox_per_peer: 1 << 20,
            outbox: 16 << 20,
            outbox_expiry: Duration::from_secs(30),
            dial_back: false,
            registry: Registry::default(),
            drift: DriftPolicy::default(),
            remembered: 4096,
        }
    }
}
