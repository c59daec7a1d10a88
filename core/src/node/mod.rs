//! One node: who may connect, and which connection lives.
//!
//! A process talks to many peers over time. [`Node`] keeps a record of each: whether it is trusted, where it
//! can be dialled, which link to it lives, what waits for one. It is control plane only. Each
//! [`Link`] is a machine of its own, and the messages of an application go through it without
//! passing the node. Like a link, a node owns no socket, clock or randomness.
//!
//! # The loop
//! - A connection comes in: [`Node::accept`] gives a link for it, or the last words to write.
//! - [`Node::poll`] gives [`NodeAction::Dial`]: connect, and tell [`Node::connected`], which gives a link, or
//!   [`Node::dial_failed`].
//! - Each link is driven as ever. What [`Link::poll_node`](crate::Link::poll_node) says goes to
//!   [`Node::handle`], and what [`NodeAction::ToLink`] says to [`Link::on_node`](crate::Link::on_node).
//! - [`NodeEvent::Linked`] names the link that messages for a peer go to. Without one,
//!   [`Node::queue`] keeps them for the next, and dials.
//!
//! # Where to look
//! `state` has every change of a link's stage, `arbitration` the decision which of two links lives,
//! `dialling` when whom is dialled, `commands` what the owner can ask for.

mod action;
mod admission;
mod advertising;
pub mod adverts;
pub mod arbitration;
mod backoff;
mod commands;
mod dial;
mod dialling;
mod message;
mod outbox;
mod peers;
mod policy;
mod registry;
mod routes;
mod schedule;
mod state;
#[cfg(test)]
mod tests;

pub mod trust;
mod trusted;

pub use action::{
    AdvertRefusal, Answer, Busy, NodeAction, NodeEvent, NodeStats, NotQueued, PeerState, PeerStatus,
    Permanence, Question, QuestionTicket, Undelivered, WhyNotQueued,
};
pub use admission::Source;
pub use backoff::Backoff;
pub use dial::{DialError, DialFailure, DialTicket};
pub(crate) use message::{FromLink, Identity, ToLink};
pub use message::{LinkId, LinkToNode, NodeToLink};
pub use policy::NodePolicy;
pub use registry::{Drift, DriftPolicy, Known, Registry};

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use self::admission::{Admission, Room};
use self::adverts::{Advert, AdvertStore};
use self::arbitration::Dialler;
use self::backoff::Draws;
use self::peers::{Dialling, LinkRecord, PeerRecord, Stage};
use self::registry::Memory;
use self::schedule::{Due, Schedule};
use self::trusted::Trusted;
use crate::config::Config;
use crate::crypto::noise::Role;
use crate::crypto::{Secret, Seed};
use crate::error::Reason;
use crate::hello::DialAddress;
use crate::identity::NodeId;
use crate::link::{Dial, Envelope, Link};
use crate::refusal::Refusal;
use crate::time::Instant;
use crate::wire::preamble::CleartextRefusal;

/// How many times longer than a silent one a handshake keeps its place that has said something.
const UNPROVED: u32 = 4;

/// The control plane of one node. See the [module's page](self) for the loop around it.
pub struct Node {
    config: Arc<Config>,
    policy: NodePolicy,
    own: NodeId,
    now: Instant,
    seed: Seed,
    /// Seeds drawn for links so far.
    drawn: u64,
    draws: Draws,
    /// Names this node to its own tickets.
    tag: u64,
    trusted: Trusted,
    admission: Admission,
    links: BTreeMap<LinkId, LinkRecord>,
    /// In boxes: a map keeps room for more entries than it has.
    peers: BTreeMap<NodeId, Box<PeerRecord>>,
    attempts: u64,
    /// Links taken so far, at either end.
    taken: u64,
    schedule: Schedule,
    actions: VecDeque<NodeAction>,
    registry: Memory,
    /// What peers say of themselves.
    adverts: AdvertStore,
    /// What this node says of itself.
    advert: Option<Advert>,
    /// Where this node can be dialled: goes into its hellos.
    addresses: Vec<DialAddress>,
    /// Bytes in all outboxes.
    queued_bytes: usize,
    stopping: bool,
    /// What could not be sent any more when the node was shut down.
    leftover: Vec<(NodeId, Envelope)>,
    stats: NodeStats,
}

impl Node {
    /// A node that links by `config`. `seed` is all the randomness that it and its links use.
    ///
    /// Trust begins as the configuration has it and changes by [`trust`](Self::trust) and
    /// [`revoke`](Self::revoke). A node differs from a link of its own in this: a peer has to be trusted to
    /// be dialled.
    pub fn new(config: &Arc<Config>, policy: NodePolicy, seed: &Seed, now: Instant) -> Self {
        let mut draws = Secret::<16>::default();
        // A provider that fails here fails each link too: then there is nothing to draw for.
        let info: [&[u8]; 1] = [b"draws"];
        let _ = config.provider.hkdf_sha256(
            b"handclasp/1 node",
            seed.secret().expose(),
            &info,
            draws.expose_mut(),
        );
        let (tag, draws) = draws.expose().split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let draws = draws.first_chunk::<8>().unwrap_or(&[0; 8]);
        let adverts = AdvertStore::new(policy.remembered);
        Self {
            own: config.node_id(),
            trusted: Trusted::new(config.trust.clone()),
            config: Arc::clone(config),
            policy,
            now,
            seed: seed.clone(),
            drawn: 0,
            draws: Draws::new(u64::from_be_bytes(*draws)),
            tag: u64::from_be_bytes(*tag),
            admission: Admission::default(),
            links: BTreeMap::new(),
            peers: BTreeMap::new(),
            attempts: 0,
            taken: 0,
            schedule: Schedule::default(),
            actions: VecDeque::new(),
            registry: Memory::default(),
            adverts,
            advert: None,
            addresses: config.hello.addresses.clone(),
            queued_bytes: 0,
            stopping: false,
            leftover: Vec::new(),
            stats: NodeStats::default(),
        }
    }

    /// The node's own id.
    pub const fn id(&self) -> NodeId {
        self.own
    }

    /// The configuration of its links.
    pub const fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// What it goes by.
    pub const fn policy(&self) -> &NodePolicy {
        &self.policy
    }

    /// A connection came in: gives a link for it. It is counted before anything is computed for it.
    ///
    /// # Errors
    /// [`Busy`] if as many handshakes are under way as may, or the node is shutting down.
    pub fn accept(&mut self, source: Source, now: Instant) -> Result<(LinkId, Link), Busy> {
        self.advance(now);
        if self.stopping || !self.make_room(source) {
            if !self.stopping {
                self.stats.over_capacity += 1;
                self.event(NodeEvent::OverCapacity { source });
            }
            let seconds = self.policy.retry_after.as_millis().div_ceil(1000);
            let seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
            return Err(Busy { last_words: CleartextRefusal::OverCapacity { seconds }.emit() });
        }
        self.stats.accepted += 1;
        let (id, link) = self.begin(Dialler::Peer, None, Some(source));
        self.admission.enter(source, id);
        Ok((id, link))
    }

    /// Whether there is room for one more handshake, if need be in place of one that has been silent, or has
    /// proved nothing, for long enough.
    fn make_room(&mut self, source: Source) -> bool {
        let NodePolicy { handshakes, handshakes_per_source, silence, retry_after, .. } = self.policy;
        let Room::Instead { silent, unproved } =
            self.admission.room(source, handshakes, handshakes_per_source)
        else {
            return true;
        };
        let aged = |link: Option<LinkId>, age| {
            link.filter(|id| self.links.get(id).is_some_and(|link| self.now.since(link.began) >= age))
        };
        let Some(out) = aged(silent, silence).or_else(|| aged(unproved, silence.saturating_mul(UNPROVED)))
        else {
            return false;
        };
        if let Some(record) = self.links.get_mut(&out) {
            record.counted = false;
            if let Some(source) = record.source {
                self.admission.leave(source, out);
            }
        }
        self.stats.evicted += 1;
        self.refuse(out, Refusal::OverCapacity { retry_after });
        true
    }

    /// The connection for a dial is there: gives a link for it. `None` if the dial has been given up
    /// meanwhile, because the peer came by itself, its time was over or it was revoked: close the
    /// connection.
    #[allow(clippy::needless_pass_by_value)] // the ticket is good for one connection
    pub fn connected(&mut self, ticket: DialTicket, now: Instant) -> Option<(LinkId, Link)> {
        self.advance(now);
        let DialTicket { peer, attempt: made, node, .. } = ticket;
        let record = self.peers.get_mut(&peer).filter(|_| node == self.tag)?;
        let Dialling::Connecting { attempt, address } = &record.dial else { return None };
        if *attempt != made {
            return None;
        }
        let address = address.clone();
        let (id, link) = self.begin(Dialler::Own, Some(peer), None);
        if let Some(record) = self.peers.get_mut(&peer) {
            record.dial = Dialling::Handshake { link: id, address };
            record.links.push(id);
        }
        Some((id, link))
    }

    /// There is no connection for a dial.
    pub fn dial_failed(&mut self, ticket: DialTicket, why: DialFailure, now: Instant) {
        self.advance(now);
        let DialTicket { peer, address, attempt: made, node, .. } = ticket;
        let Some(record) = self.peers.get(&peer).filter(|_| node == self.tag) else { return };
        if matches!(record.dial, Dialling::Connecting { attempt, .. } if attempt == made) {
            let error = match why {
                DialFailure::Unreachable(detail) => DialError::Unreachable { address, detail },
                DialFailure::TimedOut => DialError::TimedOut { address },
            };
            self.dial_ended(peer, error);
        }
    }

    /// Takes in word from one of the node's links. Poll before the next one: at the end of a link all actions that wait
    /// are looked through.
    pub fn handle(&mut self, link: LinkId, message: LinkToNode, now: Instant) {
        self.advance(now);
        self.on_word(link, message.0);
    }

    /// Acts on what is due by `now`, and says what to do next. Poll until the answer is
    /// [`NodeAction::Timeout`]. A poll with nothing to do looks at two things, however many peers there are.
    pub fn poll(&mut self, now: Instant) -> NodeAction {
        self.advance(now);
        while let Some(due) = self.schedule.take_due(self.now) {
            self.on_due(due);
        }
        self.actions.pop_front().unwrap_or_else(|| NodeAction::Timeout(self.schedule.next()))
    }

    fn on_due(&mut self, due: Due) {
        match due {
            Due::Redial(peer) => self.start_dial(peer),
            Due::Dial(peer) => self.dial_timed_out(peer),
            Due::Outbox(peer) => self.expire_outbox(peer),
            Due::Handover(peer) => self.give_up_handover(peer),
            Due::Want(peer) => self.stop_wanting(peer),
            Due::Trust => {
                for id in self.trusted.expired(self.now) {
                    self.withdraw_trust(id);
                }
                self.watch_trust();
            }
        }
    }

    /// Time does not step back.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Makes a link and its record.
    fn begin(&mut self, dialler: Dialler, peer: Option<NodeId>, source: Option<Source>) -> (LinkId, Link) {
        self.drawn += 1;
        let id = LinkId(self.drawn);
        let mut seed = Secret::default();
        let drawn = self.config.provider.hkdf_sha256(
            b"handclasp/1 node link",
            self.seed.secret().expose(),
            &[&self.drawn.to_be_bytes()],
            seed.expose_mut(),
        );
        let (role, dial) = match peer {
            Some(peer) => (Role::Initiator, Dial::to(peer)),
            None => (Role::Responder, Dial::anyone()),
        };
        let mut link = Link::managed(
            &self.config,
            role,
            dial.sequence(self.drawn),
            self.trusted.snapshot(),
            self.advert_versions(peer),
            &self.addresses,
            &Seed::from_secret(seed),
            self.now,
        );
        if drawn.is_err() {
            // Everybody knows what it would use instead.
            link.fail(Reason::ProviderFailed);
        }
        let record = LinkRecord {
            dialler,
            source,
            counted: source.is_some(),
            sequence: self.drawn,
            peer,
            facts: None,
            identity: None,
            stage: Stage::Handshake,
            began: self.now,
            since: None,
            place: 0,
            goes_on: false,
            confirmed: false,
            kept: false,
        };
        self.links.insert(id, record);
        (id, link)
    }

    fn tell(&mut self, link: LinkId, word: ToLink) {
        self.actions.push_back(NodeAction::ToLink(link, NodeToLink(word)));
    }

    fn event(&mut self, event: NodeEvent) {
        self.actions.push_back(NodeAction::Event(event));
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.own)
            .field("links", &self.links.len())
            .field("peers", &self.peers.len())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
