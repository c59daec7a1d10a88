//! One host: a node, its links, its clock, and the application on top.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use handclasp::node::{
    DialTicket, LinkId, LinkToNode, Node, NodeEvent, NodeStats, NodeToLink, Permanence, QuestionTicket,
};
use handclasp::{CallId, Config, Envelope, Instant, Link, NodeId, Priority, ReplyToken, Seed, Trust};

use super::clock::Clock;
use super::crypto::{Worthless, WorthlessSigner};
use super::random::Random;
use super::spec::{Crypto, NodeSpec, Trusting};
use crate::key;

/// A link and what its owner keeps beside it.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub(super) struct Driven {
    pub(super) link: Link,
    pub(super) conn: usize,
    pub(super) side: usize,
    /// Words under way, each with the time at which it is there.
    pub(super) to_node: VecDeque<(Duration, LinkToNode)>,
    pub(super) to_link: VecDeque<(Duration, NodeToLink)>,
    /// The link has said that it gives messages back: what the node sends it meanwhile is held here.
    pub(super) gives_back: bool,
    pub(super) held: Vec<Envelope>,
    /// The link has said its last word to the node.
    pub(super) end_said: bool,
    /// The node has heard it.
    pub(super) end_heard: bool,
    /// The end of the stream was told.
    pub(super) eof: bool,
    /// The stream takes nothing at the moment.
    pub(super) full: bool,
    /// Something has happened to it since it was last driven.
    pub(super) dirty: bool,
    pub(super) deadline: Option<Instant>,
    /// Calls to answer later.
    pub(super) tokens: Vec<(Duration, ReplyToken, usize)>,
    /// Own calls under way.
    pub(super) calls: BTreeMap<CallId, usize>,
    /// Since when it drains, and since when it is closed.
    pub(super) draining: Option<Instant>,
    pub(super) closed: Option<Instant>,
    /// When the application is ready for it.
    pub(super) ready_at: Option<Duration>,
    /// These events have come.
    pub(super) established: bool,
    pub(super) ready: bool,
    /// The last message of each priority that came.
    pub(super) last: BTreeMap<Priority, usize>,
}

impl Driven {
    pub(super) fn new(link: Link, conn: usize, side: usize) -> Self {
        Self {
            link,
            conn,
            side,
            to_node: VecDeque::new(),
            to_link: VecDeque::new(),
            gives_back: false,
            held: Vec::new(),
            end_said: false,
            end_heard: false,
            eof: false,
            full: false,
            dirty: true,
            deadline: None,
            tokens: Vec::new(),
            calls: BTreeMap::new(),
            draining: None,
            closed: None,
            ready_at: None,
            established: false,
            ready: false,
            last: BTreeMap::new(),
        }
    }

    /// When it has to be driven next, apart from its deadline.
    pub(super) fn due(&self) -> Option<Duration> {
        let words = self.to_link.front().map(|(at, _)| *at);
        let tokens = self.tokens.iter().map(|(at, ..)| *at).min();
        words.into_iter().chain(tokens).chain(self.ready_at).min()
    }
}

/// A message or call that an application was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its number in the ledger: what [`World::send`](super::World::send) gave.
    pub number: usize,
    /// The host that sent it.
    pub from: usize,
    /// Whether it is a call.
    pub call: bool,
    /// Its priority.
    pub priority: Priority,
    /// The link that it came by.
    pub link: LinkId,
    /// When, in the world's time.
    pub at: Duration,
}

/// Figures of nodes, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Links that a newer one took over from.
    pub superseded: u64,
    /// Links that were held until an own dial had ended.
    pub deferred: u64,
    /// Questions asked whether an older link is dead.
    pub alive_asked: u64,
    /// Dials begun.
    pub dials: u64,
    /// Dials that made no link.
    pub failed_dials: u64,
    /// Links established.
    pub established: u64,
    /// Silent connections that made room for others.
    pub evicted: u64,
    /// Links that ended because trust was withdrawn.
    pub revoked: u64,
}

impl Figures {
    pub(super) fn add(&mut self, stats: NodeStats) {
        self.superseded += stats.superseded;
        self.deferred += stats.deferred;
        self.alive_asked += stats.alive_asked;
        self.dials += stats.dials;
        self.failed_dials += stats.failed_dials;
        self.established += stats.established;
        self.evicted += stats.evicted;
        self.revoked += stats.revoked;
    }
}

/// One host of the world.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) number: u8,
    pub(super) id: NodeId,
    pub(super) spec: NodeSpec,
    pub(super) crypto: Crypto,
    pub(super) life: u32,
    pub(super) clock: Clock,
    /// `None` while it is down.
    pub(super) node: Option<Node>,
    pub(super) node_deadline: Option<Instant>,
    pub(super) links: BTreeMap<LinkId, Driven>,
    /// Dials under way, by connection.
    pub(super) dials: BTreeMap<usize, DialTicket>,
    /// The connections that were routes in this or an earlier life, in order.
    pub(super) routes: BTreeMap<usize, usize>,
    pub(super) questions: Vec<(Duration, QuestionTicket)>,
    pub(super) listening: bool,
    /// The application takes what comes.
    pub(super) taking: bool,
    pub(super) stopping: bool,
    pub(super) wake: Option<Duration>,
    /// Turns taken at one instant.
    pub(super) turns: (Duration, u32),
    pub(super) events: Vec<(Duration, NodeEvent)>,
    pub(super) received: Vec<Received>,
    /// Peers whose link was told, and not its end.
    pub(super) linked: BTreeSet<NodeId>,
    /// Links of others whose end was told.
    pub(super) ended: BTreeSet<LinkId>,
    /// Peers that are revoked: nothing is to be heard of them.
    pub(super) muted: BTreeSet<NodeId>,
    /// Figures of the nodes of earlier lives.
    pub(super) past: Figures,
    /// What survives a restart.
    pub(super) trusted: BTreeSet<usize>,
    pub(super) revoked: BTreeSet<usize>,
    pub(super) addresses: BTreeMap<usize, Vec<String>>,
    pub(super) permanence: BTreeMap<usize, Permanence>,
}

impl Host {
    pub(super) fn new(number: u8, spec: NodeSpec, crypto: Crypto) -> Self {
        Self {
            number,
            id: crate::id(number),
            clock: Clock::new(spec.offset, spec.rate),
            spec,
            crypto,
            life: 0,
            node: None,
            node_deadline: None,
            links: BTreeMap::new(),
            dials: BTreeMap::new(),
            routes: BTreeMap::new(),
            questions: Vec::new(),
            listening: true,
            taking: true,
            stopping: false,
            wake: None,
            turns: (Duration::ZERO, 0),
            events: Vec::new(),
            received: Vec::new(),
            linked: BTreeSet::new(),
            ended: BTreeSet::new(),
            muted: BTreeSet::new(),
            past: Figures::default(),
            trusted: BTreeSet::new(),
            revoked: BTreeSet::new(),
            addresses: BTreeMap::new(),
            permanence: BTreeMap::new(),
        }
    }

    fn config(&self, incarnation: u64, trusted: &[NodeId]) -> Arc<Config> {
        let builder = match self.crypto {
            Crypto::Fast => Config::builder(WorthlessSigner(self.id), incarnation).provider(Worthless),
            Crypto::Real => Config::builder(key(self.number), incarnation),
        };
        let trust = match self.spec.trusting {
            Trusting::Listed => Trust::listed(trusted.iter().copied()),
            Trusting::Anyone => Trust::Anyone,
            Trusting::Ask => Trust::Ask,
        };
        let builder = (self.spec.config)(builder.trust(trust)).send_buffer(self.spec.send_buffer);
        let builder = if self.spec.holds.is_some() { builder.hold_ready() } else { builder };
        builder.build().expect("a valid configuration")
    }

    /// Begins a life, with a new incarnation.
    pub(super) fn begin(&mut self, now: Duration, random: &mut Random, trusted: &[NodeId]) {
        let config = self.config(random.next(), trusted);
        let (seed, now) = (Seed::new(random.bytes()), self.clock.read(now));
        self.node = Some(Node::new(&config, self.spec.policy.clone(), &seed, now));
        self.life += 1;
        self.listening = true;
        self.taking = true;
        self.stopping = false;
    }

    /// Ends a life without a word: everything of it is gone.
    pub(super) fn end(&mut self) {
        if let Some(node) = self.node.take() {
            self.past.add(node.stats());
        }
        self.node_deadline = None;
        self.links.clear();
        self.dials.clear();
        self.questions.clear();
        self.muted.clear();
        self.linked.clear();
        self.ended.clear();
        self.wake = None;
    }
}
