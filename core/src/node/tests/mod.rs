//! The node by itself, its links' words made by hand: each rule at one place. Whole nodes with real links are
//! in the workspace's package `handclasp-sim`.

mod admission;
mod advertising;
mod dialling;
mod keeping;
mod outbox;
mod races;
mod redialling;
mod stages;
mod trust;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use super::message::{FromLink, Identity, ToLink};
use super::*;
use crate::crypto::{Suite, SuiteSet};
use crate::error::{By, Closed, Reason};
use crate::hello::{Hello, VersionRange};
use crate::phase::Phase;
use crate::{Message, SecretKey, Signer, Trust};

pub(super) fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

/// Three ids in ascending order: the middle one is the node's own.
pub(super) fn ids() -> [(NodeId, u8); 3] {
    let mut ids = [1, 2, 3].map(|byte| (key(byte).node_id(), byte));
    ids.sort();
    ids
}

/// A node with a clock, and what it has asked for.
pub(super) struct Bench {
    pub(super) node: Node,
    pub(super) now: Instant,
    /// A peer below the node's id, and one above.
    pub(super) lesser: NodeId,
    pub(super) greater: NodeId,
    pub(super) sequence: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(NodePolicy::default(), None)
    }

    pub(super) fn with(policy: NodePolicy, trust: Option<Trust>) -> Self {
        let [(lesser, _), (_, own), (greater, _)] = ids();
        let trust = trust.unwrap_or_else(|| Trust::listed([lesser, greater]));
        let config = Config::builder(key(own), 1).trust(trust).build().expect("a configuration");
        let now = Instant::from_nanos(1_000_000_000);
        let node = Node::new(&config, policy, &Seed::new([7; 32]), now);
        Self { node, now, lesser, greater, sequence: 100 }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Everything that the node wants done now.
    pub(super) fn actions(&mut self) -> Vec<NodeAction> {
        let mut actions = Vec::new();
        loop {
            match self.node.poll(self.now) {
                NodeAction::Timeout(_) => return actions,
                action => actions.push(action),
            }
        }
    }

    pub(super) fn events(&mut self) -> Vec<NodeEvent> {
        let events = self.actions().into_iter();
        events
            .filter_map(|action| if let NodeAction::Event(event) = action { Some(event) } else { None })
            .collect()
    }

    /// What the node tells its links now.
    pub(super) fn words(&mut self) -> Vec<(LinkId, ToLink)> {
        let actions = self.actions().into_iter();
        let words = actions.filter_map(|action| match action {
            NodeAction::ToLink(link, word) => Some((link, word.0)),
            _ => None,
        });
        words.collect()
    }

    /// The one dial that the node asks for now.
    pub(super) fn dial(&mut self) -> DialTicket {
        let mut dials: Vec<_> = self
            .actions()
            .into_iter()
            .filter_map(|action| if let NodeAction::Dial(ticket) = action { Some(ticket) } else { None })
            .collect();
        assert_eq!(dials.len(), 1, "dials");
        dials.remove(0)
    }

    pub(super) fn deadline(&mut self) -> Option<Instant> {
        match self.node.poll(self.now) {
            NodeAction::Timeout(at) => at,
            other => panic!("not at rest: {other:?}"),
        }
    }

    pub(super) fn say(&mut self, link: LinkId, word: FromLink) {
        self.node.handle(link, LinkToNode(word), self.now);
    }

    /// A connection from outside that has said something.
    pub(super) fn accept(&mut self) -> LinkId {
        let (link, _) = self.node.accept(Ipv4Addr::LOCALHOST.into(), self.now).expect("room");
        self.say(link, FromLink::Heard);
        link
    }

    pub(super) fn hello(incarnation: u64, sequence: u64) -> Hello {
        let suites = SuiteSet::EMPTY.with(Suite::NnChaChaPoly);
        Hello::new(VersionRange::only(1), suites, incarnation, sequence)
    }

    pub(super) fn identify(&mut self, link: LinkId, peer: NodeId, incarnation: u64) {
        self.sequence += 1;
        let hello = Self::hello(incarnation, self.sequence);
        self.say(link, FromLink::Identified(Box::new(Identity { id: peer, hello })));
    }

    /// A link that `peer` dialled, established and confirmed.
    pub(super) fn linked_by(&mut self, peer: NodeId, incarnation: u64) -> LinkId {
        let link = self.accept();
        self.identify(link, peer, incarnation);
        self.say(link, FromLink::Established);
        self.say(link, FromLink::Confirmed);
        link
    }

    /// Dials `peer`, which is to be wanted already, up to the connection.
    pub(super) fn connect(&mut self) -> LinkId {
        let ticket = self.dial();
        self.node.connected(ticket, self.now).expect("a dial under way").0
    }

    pub(super) fn want(&mut self, peer: NodeId) {
        let address = DialAddress { weight: 1, address: "there".into() };
        self.node.set_addresses(peer, alloc::vec![address], self.now);
        self.node.want(peer, self.now + Duration::from_secs(3600), self.now).expect("wanted");
    }

    /// Ends the links that the node tells to end now, as they would.
    pub(super) fn end_all_told(&mut self) {
        for (link, word) in self.words() {
            match word {
                ToLink::Refuse(refusal) => self.end(link, Reason::Refused(refusal), By::Local),
                ToLink::Close(reason) => self.end(link, reason, By::Local),
                _ => {}
            }
        }
        drop(self.actions());
    }

    pub(super) fn end(&mut self, link: LinkId, reason: Reason, by: By) {
        self.end_with(link, reason, by, Vec::new());
    }

    /// This node and the peer dial each other: its own link, which has told who dials, and the peer's.
    pub(super) fn both_dial(&mut self, peer: NodeId) -> (LinkId, LinkId) {
        self.want(peer);
        let own = self.connect();
        self.identify(own, peer, 9);
        let theirs = self.accept();
        self.identify(theirs, peer, 9);
        (own, theirs)
    }

    pub(super) fn end_with(&mut self, link: LinkId, reason: Reason, by: By, unsent: Vec<Envelope>) {
        let peer = self.node.links.get(&link).and_then(|record| record.facts.and(record.peer));
        let closed = Box::new(Closed::new(reason, by, Phase::Established, peer));
        self.say(link, FromLink::Ended { closed, unsent });
    }
}

/// A word by its name, to compare what was told.
pub(super) fn name(word: &ToLink) -> &'static str {
    match word {
        ToLink::Admit { simultaneous: false } => "admit",
        ToLink::Admit { simultaneous: true } => "admit simultaneous",
        ToLink::Refuse(refusal) => refusal.name(),
        ToLink::AskAlive => "ask alive",
        ToLink::AnswerAlive { go_on: true } => "go on",
        ToLink::AnswerAlive { go_on: false } => "abandon",
        ToLink::Probe => "probe",
        ToLink::Close(reason) => reason.name(),
        ToLink::Goodbye { .. } => "goodbye",
        ToLink::Permanence(_) => "permanence",
        ToLink::Advert(_) => "advert",
        ToLink::AckAdvert { .. } => "ack advert",
        ToLink::Deliver(_) => "deliver",
    }
}

pub(super) fn named(words: &[(LinkId, ToLink)]) -> Vec<(LinkId, &'static str)> {
    words.iter().map(|(link, word)| (*link, name(word))).collect()
}

pub(super) fn there() -> DialAddress {
    DialAddress { weight: 1, address: "there".into() }
}

/// A permanent peer that can be dialled at these addresses.
pub(super) fn permanent(addresses: &[DialAddress]) -> (Bench, NodeId) {
    let mut bench = Bench::new();
    let peer = bench.greater;
    bench.node.set_addresses(peer, addresses.to_vec(), bench.now);
    bench.node.set_permanence(peer, Permanence::Permanent, bench.now);
    (bench, peer)
}

pub(super) fn config_of(bench: &Bench) -> &Arc<Config> {
    bench.node.config()
}
