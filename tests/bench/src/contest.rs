//! What a contestant has to do for each kind of work.
//!
//! The rules are the same for all: both ends run in this process; nothing of a handshake is resumed or cached beyond
//! the long-term keys; every message really arrives and is looked at.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Makes connected, mutually authenticated pairs from nothing.
pub trait Handshake {
    /// The contestant's name in the table.
    fn name(&self) -> String;

    /// One full handshake, both ends, in memory: long-term keys exist already, everything else is fresh. Both ends must
    /// have checked that the other is the peer they expect, and be ready to carry messages, when it returns.
    fn run(&mut self);
}

/// A connected pair in memory that carries messages one way.
pub trait Pair {
    /// The contestant's name in the table.
    fn name(&self) -> String;

    /// Queues one message at the sender.
    fn send(&mut self, body: &[u8]);

    /// Seals whatever is queued, carries it over to the receiver and opens it: every message goes to `sink`. Nothing is
    /// left queued afterwards.
    fn flush(&mut self, sink: &mut Sink);
}

/// A client and a server that are connected over TCP on the loopback interface; the server echoes the 64-byte body of
/// every call. [`crate::loopback::connect`] makes the connection.
pub trait Caller {
    /// The contestant's name in the table.
    fn name(&self) -> String;

    /// Makes `calls` calls with [`IN_FLIGHT`] of them in flight, and returns when every reply is there.
    fn in_flight(&mut self, calls: u64);

    /// Makes `calls` calls one after the other and notes how long each took.
    fn one_by_one(&mut self, calls: u64, times: &mut Vec<Duration>);
}

/// Carries bytes one way over TCP on the loopback interface.
pub trait Flow {
    /// The contestant's name in the table.
    fn name(&self) -> String;

    /// Moves so many bytes, a multiple of [`FLOW`], and returns when the receiver has counted them.
    fn flow(&mut self, bytes: u64);
}

/// What a [`Flow`] moves at least, in bytes.
pub const FLOW: u64 = 1 << 20;

/// Calls that are in flight at any time in [`Caller::in_flight`].
pub const IN_FLIGHT: u64 = 64;

/// Length of a small message's body in bytes.
pub const SMALL: usize = 64;

/// Length of a large message's body in bytes: one TLS record's.
pub const LARGE: usize = 16 * 1024;

/// Where a receiver hands its messages.
#[derive(Debug, Default)]
pub struct Sink {
    messages: u64,
    bytes: u64,
    kept: Option<Vec<u8>>,
}

impl Sink {
    /// Takes one message, or one piece of a byte stream.
    pub fn take(&mut self, body: &[u8]) {
        self.messages += 1;
        self.bytes += black_box(body).len() as u64;
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(body);
        }
    }

    /// Messages or pieces taken so far.
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// Bytes taken so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Sends a few messages of different content through `pair` and compares what arrives, byte for byte.
pub fn verify(pair: &mut dyn Pair, len: usize) {
    let mut sink = Sink { kept: Some(Vec::new()), ..Sink::default() };
    let mut sent = Vec::new();
    for round in 0..4_u8 {
        for nth in 0..3_u8 {
            let body: Vec<u8> =
                (0..=250).cycle().take(len).map(|byte: u8| byte ^ (round * 3 + nth)).collect();
            pair.send(&body);
            sent.extend_from_slice(&body);
        }
        pair.flush(&mut sink);
    }
    assert!(sink.kept.as_deref() == Some(&sent), "{}: what arrived is not what was sent", pair.name());
}

/// Moves `messages` messages through `pair`, `batch` of them per flush, and checks that as many bytes arrive.
pub fn transfer(pair: &mut dyn Pair, body: &[u8], messages: u64, batch: u64) -> Duration {
    let mut sink = Sink::default();
    let start = Instant::now();
    for _ in 0..messages / batch {
        for _ in 0..batch {
            pair.send(black_box(body));
        }
        pair.flush(&mut sink);
    }
    let took = start.elapsed();
    assert_eq!(sink.bytes(), messages * body.len() as u64, "{}: bytes were lost", pair.name());
    took
}
