//! A deterministic world of nodes: their links, the connections between them, and everything that goes wrong.
//!
//! [`World`] has hosts, each a [`Node`] with its links, a clock of its own and an application on top, and TCP
//! between them as a machine. It owns no socket, clock, thread or chance: one seed is one run. On every step
//! it asserts what must always hold, and it keeps a [ledger](Account) of every message and call.
//!
//! [`storm`] is a run of thousands of faults from one seed; docs/simulation.md says how to use both.
//!
//! ```
//! use std::time::Duration;
//! use handclasp::node::Permanence;
//! use handclasp_sim::world::{NodeSpec, Post, World};
//!
//! let mut world = World::new(1);
//! let (a, b) = (world.add_node(NodeSpec::new()), world.add_node(NodeSpec::new()));
//! world.introduce(a, b); // trust and addresses, both ways
//! world.set_permanence(a, b, Permanence::Permanent);
//! assert!(world.run_until(Duration::from_secs(1), |world| world.agree(a, b) == Some(true)));
//!
//! let conn = world.connections(a, b)[0];
//! world.half_open(conn, 0); // host a is told that it failed, host b is not
//! let message = world.send(a, b, Post::new(100)).expect("queued");
//! assert!(world.run_until(Duration::from_secs(5), |world| world.under_way().count() == 0));
//! assert!(world.entry(message).is_some_and(|message| message.delivered));
//! ```

mod app;
mod clock;
mod crypto;
mod describe;
mod drive;
mod host;
mod ledger;
mod net;
mod random;
mod spec;
pub mod storm;
mod tcp;
mod trace;
mod wishes;

pub use app::{NotSent, Post};
pub use crypto::{Worthless, WorthlessSigner};
pub use host::{Figures, Received};
pub use ledger::{Account, Entry, Fate, Returned};
pub use random::Random;
pub use spec::{Answers, Crypto, Mischief, NodeSpec, Trusting, Weather};

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use handclasp::node::adverts::Advert;
use handclasp::node::{LinkId, Node, NodeEvent};
use handclasp::{Instant, Link, NodeId, Phase};

use self::host::Host;
use self::ledger::Ledger;
use self::net::{Conn, State};
use self::trace::Trace;

/// What is to happen at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// What a side has written arrives.
    Arrive {
        conn: usize,
        side: usize,
    },
    /// A side that waits for room has some.
    Space {
        conn: usize,
        side: usize,
    },
    /// The first packet of a connection arrives.
    Syn(usize),
    /// Its answer arrives, or that there is none.
    SynAck(usize),
    Refused(usize),
    /// The dialler waits for a connection no longer.
    DialOver(usize),
    /// A host does what it has to.
    Wake(usize),
    /// The end of a connection is read no longer.
    LingerOver {
        conn: usize,
        side: usize,
    },
}

/// How often something worth testing has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections made.
    pub connections: u64,
    /// Links that became established, both ends counted.
    pub established: u64,
    /// Lives that ended without a word.
    pub restarts: u64,
    /// Connections of which one end has gone without a word.
    pub half_open: u64,
    /// Messages and calls taken by applications.
    pub received: u64,
    /// Questions answered for a node.
    pub questions: u64,
    /// Messages that were on their way to a link that had ended, and went back.
    pub held: u64,
    /// Messages of which links did not know the fate when they ended.
    pub unknown: u64,
    /// Links that ended because nothing came from the peer.
    pub dead: u64,
    /// Connections that were turned away for want of room.
    pub busy: u64,
    /// Failed dials that were to be tried again.
    pub redials: u64,
    /// Peers whose trust was withdrawn or ran out.
    pub revocations: u64,
}

/// The world. See the [module's page](self).
#[derive(Debug)]
pub struct World {
    seed: u64,
    now: Duration,
    random: Random,
    weather: Weather,
    crypto: Crypto,
    mischief: Option<Mischief>,
    queue: BinaryHeap<Reverse<(Duration, u64, Due)>>,
    queued: u64,
    hosts: Vec<Host>,
    conns: Vec<Conn>,
    /// Ways that nothing passes.
    blocked: BTreeSet<(usize, usize)>,
    ledger: Ledger,
    trace: Trace,
    counts: Counts,
}

/// Who is at the dialling end of a connection that no host made.
const STRANGER: usize = usize::MAX;

impl World {
    /// An empty world in calm weather, with fast cryptography.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            now: Duration::ZERO,
            random: Random::new(seed),
            weather: Weather::default(),
            crypto: Crypto::Fast,
            mischief: None,
            queue: BinaryHeap::new(),
            queued: 0,
            hosts: Vec::new(),
            conns: Vec::new(),
            blocked: BTreeSet::new(),
            ledger: Ledger::default(),
            trace: Trace::new(seed),
            counts: Counts::default(),
        }
    }

    /// The same with this weather.
    pub fn weather(mut self, weather: Weather) -> Self {
        self.weather = weather;
        self
    }

    /// The same with this cryptography, for hosts that are added from here on.
    pub fn crypto(mut self, crypto: Crypto) -> Self {
        self.crypto = crypto;
        self
    }

    /// The same with an owner that does something wrong.
    pub fn mischief(mut self, mischief: Mischief) -> Self {
        self.mischief = Some(mischief);
        self
    }

    /// The same, and everything that happens is printed.
    pub fn aloud(mut self) -> Self {
        self.trace.aloud = true;
        self
    }

    /// Adds a host and starts it: its place in the world, from 0. At most 250.
    ///
    /// # Panics
    /// If there is no room for it, or its configuration is not valid.
    pub fn add_node(&mut self, spec: NodeSpec) -> usize {
        let place = self.hosts.len();
        let number = u8::try_from(place + 1).expect("at most 250 hosts");
        self.hosts.push(Host::new(number, spec, self.crypto));
        self.begin(place);
        place
    }

    /// The id of a host's node.
    pub fn id(&self, host: usize) -> NodeId {
        self.hosts[host].id
    }

    /// Which host this id is of.
    pub fn host_of(&self, id: NodeId) -> Option<usize> {
        self.hosts.iter().position(|host| host.id == id)
    }

    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there is no host.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The world's time since it began.
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// What a host's clock reads.
    pub fn clock(&self, host: usize) -> Instant {
        self.hosts[host].clock.read(self.now)
    }

    /// A host's node.
    ///
    /// # Panics
    /// If the host is down.
    pub fn node(&self, host: usize) -> &Node {
        self.hosts[host].node.as_ref().expect("the host is up")
    }

    /// Whether a host is up, and not shutting down.
    pub fn is_up(&self, host: usize) -> bool {
        self.hosts[host].node.is_some() && !self.hosts[host].stopping
    }

    /// Whether a host is down: its shutdown is done.
    pub fn is_down(&self, host: usize) -> bool {
        self.hosts[host].node.is_none()
    }

    /// A link of a host, until it has ended and its node knows.
    pub fn link(&self, host: usize, link: LinkId) -> Option<&Link> {
        self.hosts[host].links.get(&link).map(|driven| &driven.link)
    }

    /// The events of a host's node so far, with the world's time, over all of its lives.
    pub fn events(&self, host: usize) -> &[(Duration, NodeEvent)] {
        &self.hosts[host].events
    }

    /// What the application of a host was given so far.
    pub fn received(&self, host: usize) -> &[Received] {
        &self.hosts[host].received
    }

    /// A message or call by its number.
    pub fn entry(&self, number: usize) -> Option<&Entry> {
        self.ledger.get(number)
    }

    /// Messages and calls that have come to no end, as far as anything has to be said of them.
    pub fn under_way(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.ledger.open_ones()
    }

    /// What happened so far, counted.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// What all nodes of all lives have counted so far.
    pub fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        for host in &self.hosts {
            let Figures {
                superseded,
                deferred,
                alive_asked,
                dials,
                failed_dials,
                established,
                evicted,
                revoked,
            } = host.past;
            figures.superseded += superseded;
            figures.deferred += deferred;
            figures.alive_asked += alive_asked;
            figures.dials += dials;
            figures.failed_dials += failed_dials;
            figures.established += established;
            figures.evicted += evicted;
            figures.revoked += revoked;
            if let Some(node) = &host.node {
                figures.add(node.stats());
            }
        }
        figures
    }

    /// Whether nothing waits anywhere: no message in an outbox or a link, no call without its outcome, no word
    /// between a link and its node. Bytes may be on their way.
    pub fn is_quiet(&self) -> bool {
        self.hosts.iter().all(|host| {
            let links = host.links.values();
            let empty = |driven: &host::Driven| {
                driven.link.queued() == 0
                    && driven.calls.is_empty()
                    && driven.to_node.is_empty()
                    && driven.to_link.is_empty()
            };
            host.node.as_ref().is_none_or(|node| node.statuses().all(|status| status.queued == 0))
                && links.into_iter().all(empty)
        })
    }

    /// The run so far as one number: all bytes, all events, all times.
    pub const fn hash(&self) -> u64 {
        self.trace.hash()
    }

    /// Settles the ledger, once nothing is under way any more.
    ///
    /// # Panics
    /// If a message or call is not accounted for.
    pub fn settle(&self) -> Account {
        match self.ledger.settle(&self.conns) {
            Ok(account) => account,
            Err(what) => self.fail(&what),
        }
    }

    /// The established links between two hosts as the first one sees them: their connections.
    pub(crate) fn live(&self, host: usize, peer: usize) -> Vec<usize> {
        let id = self.hosts[peer].id;
        let links = self.hosts[host].links.values();
        let live = links.filter(|driven| {
            driven.link.phase().is_open() && driven.link.peer().is_some_and(|peer| peer.id == id)
        });
        live.map(|driven| driven.conn).collect()
    }

    /// Whether there is one link at most between two hosts, and it is not, or no longer, established at both ends
    /// (or their nodes have not heard of its end).
    fn is_ending(&self, one: usize, other: usize) -> bool {
        let (here, there) = (self.live(one, other), self.live(other, one));
        let conns: BTreeSet<_> = here.iter().chain(&there).copied().collect();
        let whole = |conn: &usize| {
            self.conns[*conn].ends.iter().all(|end| {
                let State::Linked(link) = end.state else { return false };
                self.link(end.host, link).is_some_and(|link| link.phase() == Phase::Established)
            })
        };
        conns.len() <= 1 && !conns.iter().any(whole)
    }

    /// Whether two hosts with a link know of each other what they tell: whether they want it kept, and their
    /// adverts.
    pub fn is_told(&self, one: usize, other: usize) -> bool {
        [(one, other), (other, one)].into_iter().all(|(host, peer)| {
            let (Some(node), Some(teller)) = (&self.hosts[host].node, &self.hosts[peer].node) else {
                return false;
            };
            let id = self.hosts[peer].id;
            let kept = node.status(id).is_some_and(|status| status.peer_is_permanent);
            let held = node.advert_of(id).map_or(0, Advert::version);
            kept == self.is_permanent(peer, host)
                && teller.advert().is_none_or(|advert| advert.version() == held)
        })
    }

    /// Whether both hosts agree that there is no link between them, or on the one that there is: the same
    /// one, and the route of both.
    pub fn agree(&self, one: usize, other: usize) -> Option<bool> {
        let (here, there) = (self.live(one, other), self.live(other, one));
        if here != there || here.len() > 1 {
            return None;
        }
        let route = |host: usize, peer: usize| {
            let route = self.hosts[host].node.as_ref()?.route(self.hosts[peer].id)?;
            self.hosts[host].links.get(&route).map(|driven| driven.conn)
        };
        let linked = here.first().copied();
        (route(one, other) == linked && route(other, one) == linked).then_some(linked.is_some())
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= until) {
            self.step();
        }
        self.now = until;
    }

    /// Runs until `done`, at most for `within`: whether it was.
    pub fn run_until(&mut self, within: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let until = self.now + within;
        loop {
            if done(self) {
                return true;
            }
            if self.queue.peek().is_none_or(|Reverse((at, ..))| *at > until) {
                self.now = until;
                return done(self);
            }
            self.step();
        }
    }

    /// The next thing happens. False if there is none.
    pub fn step(&mut self) -> bool {
        let Some(Reverse((at, _, due))) = self.queue.pop() else { return false };
        self.now = self.now.max(at);
        match due {
            Due::Arrive { conn, side } => self.arrive(conn, side),
            Due::Space { conn, side } => self.space(conn, side),
            Due::Syn(conn) => self.syn(conn),
            Due::SynAck(conn) => self.syn_ack(conn),
            Due::Refused(conn) => self.refused(conn, "refused"),
            Due::DialOver(conn) => self.dial_over(conn),
            Due::Wake(host) => {
                if self.hosts[host].wake == Some(at) {
                    self.hosts[host].wake = None;
                    self.turn(host);
                }
            }
            Due::LingerOver { conn, side } => {
                let end = &mut self.conns[conn].ends[side];
                if matches!(end.state, State::Lingering(until) if until <= at) {
                    end.state = State::Gone { silent: false };
                }
            }
        }
        true
    }

    fn plan(&mut self, at: Duration, due: Due) {
        self.queued += 1;
        self.queue.push(Reverse((at, self.queued, due)));
    }

    /// A promise was broken.
    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        panic!("seed {} at {:?}: {what}", self.seed, self.now)
    }

    fn ensure(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(&what());
        }
    }

    fn accounted(&self, result: Result<(), String>) {
        if let Err(what) = result {
            self.fail(&what);
        }
    }
}
