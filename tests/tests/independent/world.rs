//! One real link and one independent peer, with their bytes carried by hand.

use std::collections::VecDeque;
use std::sync::Arc;

use handclasp::{Action, ClusterSecret, Config, ConfigBuilder, Dial, Instant, Link, Ready};
use handclasp_sim::{Owned, builder, id, seed};

use crate::peer::hello::Hello;
use crate::peer::{Peer, Setup, State};

pub const NETWORK: &[u8] = b"orchard";
pub const SECRET: &[u8] = b"correct horse battery staple";

/// The link is node 1, the peer is node 2.
pub const LINK: u8 = 1;
pub const PEER: u8 = 2;

/// A hello with small limits, so that tests reach them.
pub fn hello() -> Hello {
    Hello {
        versions: (1, 1),
        incarnation: 0x0123_4567_89ab_cdef,
        sequence: 9,
        max_message: 100_000,
        window: 200_000,
        max_calls: 8,
        idle: 60_000,
        max_record: 4096,
        suites: 0b11,
        protocol: None,
        capabilities: Vec::new(),
        others: Vec::new(),
    }
}

/// The peer's configuration.
pub fn setup(secret: bool) -> Setup {
    Setup {
        identity: [PEER; 32],
        ephemeral: [0xe2; 32],
        network: NETWORK.to_vec(),
        secret: secret.then(|| SECRET.to_vec()),
        hello: Hello { suites: if secret { 0b10 } else { 0b01 }, ..hello() },
        expected: Some(*id(LINK).as_bytes()),
        offered: if secret { 0b10 } else { 0b01 },
        tamper: None,
        stubborn: false,
        asks: false,
        simultaneous: false,
    }
}

/// The link's configuration.
pub fn config(secret: bool) -> ConfigBuilder {
    let config = builder(LINK, &[PEER]).network(NETWORK);
    if secret { config.cluster_secret(ClusterSecret::new(SECRET).expect("long enough")) } else { config }
}

pub struct World {
    pub link: Link,
    pub peer: Peer,
    pub events: VecDeque<Owned>,
    pub now: Instant,
    /// The most bytes that go at once.
    pub chunk: usize,
    /// The link has ended its stream.
    pub ended: bool,
}

impl World {
    /// The link dials the peer, or the peer the link.
    pub fn new(link_dials: bool, config: &Arc<Config>, setup: Setup) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let link = if link_dials {
            Link::initiator(config, Dial { expected: Some(id(PEER)), sequence: 4 }, &seed(7), now)
        } else {
            Link::responder(config, 4, &seed(7), now)
        };
        let peer = if link_dials { Peer::responder(setup) } else { Peer::initiator(setup) };
        Self { link, peer, events: VecDeque::new(), now, chunk: usize::MAX, ended: false }
    }

    /// Both with these configurations and nothing more to do before messages flow.
    pub fn open(link_dials: bool, config: &Arc<Config>, setup: Setup) -> Self {
        let mut world = Self::new(link_dials, config, setup);
        world.run();
        assert_eq!((world.peer.state, &world.peer.over), (State::Open, &None), "{:?}", world.events);
        assert!(matches!(world.events.back(), Some(Owned::Ready)), "{:?}", world.events);
        world.events.clear();
        world
    }

    /// An open world without anything special about it.
    pub fn usual(link_dials: bool) -> Self {
        Self::open(link_dials, &config(false).build().expect("valid"), setup(false))
    }

    /// Gives the link bytes.
    pub fn give(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = self.link.recv_space();
            let count = space.len().min(rest.len()).min(self.chunk);
            if count == 0 {
                return;
            }
            space[..count].copy_from_slice(&rest[..count]);
            self.link.received(count, self.now);
            rest = &rest[count..];
            self.poll();
        }
    }

    /// Takes the link's events, and hands its bytes to the peer. Returns whether there were bytes.
    pub fn poll(&mut self) -> bool {
        let mut moved = false;
        loop {
            match self.link.poll(self.now, Ready::ALL) {
                Action::Event(event) => self.events.push_back(Owned::from(event)),
                Action::Send => {
                    let bytes = self.link.transmit(self.now);
                    let count = bytes.len().min(self.chunk);
                    self.peer.feed(&bytes[..count]);
                    self.link.transmitted(count, self.now);
                    moved = true;
                }
                Action::Timeout(_) => break,
            }
        }
        self.ended = self.link.is_finished();
        moved
    }

    /// Until nothing moves any more.
    pub fn run(&mut self) {
        loop {
            let moved = self.poll();
            let bytes = self.peer.take();
            self.give(&bytes);
            if !moved && bytes.is_empty() {
                return;
            }
        }
    }

    /// The peer closes its stream.
    pub fn end_stream(&mut self) {
        self.run();
        self.link.recv_closed(self.now);
        self.run();
    }

    /// The link's end.
    pub fn closed(&mut self) -> handclasp::Closed {
        self.link.closed().unwrap_or_else(|| panic!("the link lives: {:?}", self.events)).clone()
    }
}
