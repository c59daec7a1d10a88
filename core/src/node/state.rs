//! Every change of a link's stage: what a link says, and what the node makes of it.
//!
//! ```text
//!  dialled here                              dialled by the peer
//!  Handshake                                 Handshake
//!      │ Identified                              │ Identified
//!  Asked ── answer                           Asked ── answer
//!      │ proceed                                 │ decide ──▶ Deferred ── own dial ends ──▶ decide again
//!  Proved                                        │        ──▶ AliveAsked ── AliveAnswered ─┐
//!      │ Established                         Admitted ◀────────────────────────────────────┘
//!      ▼                                         │ Established
//!  Established ◀─────────────────────────────────┘
//!      │ Confirmed: older links end
//!  Draining, Ending ── Ended ──▶ gone
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Node;
use super::action::{Answer, NodeAction, NodeEvent, Question, QuestionTicket, Undelivered};
use super::arbitration::{self, Dialler, LinkFacts, Standing, Verdict};
use super::message::{FromLink, Identity, LinkId, ToLink};
use super::peers::{Dialling, LinkRecord, Stage};
use super::registry::{DriftPolicy, Known, Registry};
use super::schedule::Due;
use crate::error::{Closed, Reason};
use crate::identity::NodeId;
use crate::link::Envelope;
use crate::refusal::{Refusal, Retry};
use crate::time::Instant;

/// Links that a peer dialled and on which nothing of it has come, at most, beside the one in use. More than
/// one there are only if the peer is restarted again and again within the time in which a dead link is found
/// dead.
const UNCONFIRMED: usize = 4;

/// Links of one peer at most, those that drain included: it has no use for more than a few.
const LINKS_OF_A_PEER: usize = 8;

impl Node {
    pub(super) fn on_word(&mut self, link: LinkId, word: FromLink) {
        let Some(record) = self.links.get_mut(&link) else { return };
        match word {
            FromLink::Heard => {
                if let Some(source) = record.source.filter(|_| record.counted) {
                    self.admission.heard(source, link);
                }
            }
            FromLink::Identified(identity) => self.on_identified(link, identity),
            FromLink::AliveAsked => self.on_alive_asked(link),
            FromLink::AliveAnswered { goes_on } => self.on_alive_answered(link, goes_on),
            FromLink::Established => self.on_established(link),
            FromLink::Confirmed => self.on_confirmed(link),
            FromLink::Draining { unsent, owes } => self.on_draining(link, unsent, owes),
            FromLink::Permanence(permanent) => {
                record.kept = permanent;
                if let Some(peer) = record.peer {
                    self.look_at_permanence(peer);
                }
            }
            FromLink::Advert(bytes) => self.on_advert(link, &bytes),
            FromLink::AdvertAcked { version } => self.on_advert_acked(link, version),
            FromLink::Undeliverable(envelope, why) => {
                if let Some(peer) = record.peer {
                    self.undelivered(peer, envelope, Undelivered::Refused(why));
                }
            }
            FromLink::Ended { closed, unsent } => self.on_ended(link, closed, unsent),
        }
    }

    /// The peer has proved its id: is it welcome?
    fn on_identified(&mut self, link: LinkId, identity: Box<Identity>) {
        let Some(record) = self.links.get_mut(&link) else { return };
        // The node may have told it to end meanwhile.
        if record.stage != Stage::Handshake {
            return;
        }
        let peer = identity.id;
        let dialler = record.dialler;
        let sequence = if dialler == Dialler::Own { record.sequence } else { identity.hello.link_sequence };
        record.facts = Some(LinkFacts { dialler, incarnation: identity.hello.incarnation, sequence });
        if let Some(source) = record.source {
            self.admission.proved(source, link);
        }
        // Trust may have been withdrawn since the link began.
        if !self.trusted.contains(peer, self.now) {
            return self.refuse(link, Refusal::Denied);
        }
        record.peer = Some(peer);
        let identity = &*record.identity.insert(identity);
        let asks = self.trusted.asks() || self.policy.registry == Registry::External;
        let hello = asks.then(|| Box::new(identity.hello.clone()));
        if dialler == Dialler::Peer {
            let crowded = self.links_of(peer).filter(|(_, link)| link.stage != Stage::Ending).count()
                >= LINKS_OF_A_PEER
                || self.links.len() - self.admission.total() >= self.policy.links;
            self.peers.entry(peer).or_default().links.push(link);
            if crowded {
                let retry_after = self.policy.retry_after;
                return self.refuse(link, Refusal::OverCapacity { retry_after });
            }
            if !self.refuse_older_waiting(peer, link) {
                return self.refuse(link, Refusal::Alive);
            }
        }
        if let Some(hello) = hello {
            self.enter(link, Stage::Asked);
            let ticket = QuestionTicket { link, node: self.tag };
            return self.event(NodeEvent::Question(Question { ticket, peer, hello, dialler }));
        }
        let known = self.registry.get(peer).cloned();
        self.admit_known(peer, link, known.as_ref());
    }

    /// Of the links that a peer dialled and that wait for a decision, only the newest goes on: a peer has no
    /// more than one place here. Refuses the older ones; false if one that waits is newer.
    fn refuse_older_waiting(&mut self, peer: NodeId, new: LinkId) -> bool {
        let Some(facts) = self.links.get(&new).and_then(|record| record.facts) else { return false };
        let waiting: Vec<_> = self
            .links_of(peer)
            .filter(|(id, link)| *id != new && link.is_undecided())
            .filter_map(|(id, link)| Some((id, link.facts?)))
            .collect();
        for (id, old) in waiting {
            if old.incarnation == facts.incarnation && old.sequence >= facts.sequence {
                return false;
            }
            self.refuse(id, Refusal::Alive);
        }
        true
    }

    /// The application's answer to a question.
    ///
    /// Does nothing if the link has ended meanwhile, or the question was another node's.
    #[allow(clippy::needless_pass_by_value)] // the ticket is good for one answer
    pub fn answer(&mut self, ticket: QuestionTicket, answer: Answer, now: Instant) {
        self.advance(now);
        let QuestionTicket { link, node } = ticket;
        let Some(record) = self.links.get(&link).filter(|_| node == self.tag) else { return };
        let (Stage::Asked, Some(peer)) = (record.stage, record.peer) else { return };
        match answer {
            Answer::Refuse(refusal) => self.refuse(link, refusal),
            Answer::Admit { known } if self.policy.registry == Registry::External => {
                self.admit_known(peer, link, known.as_ref());
            }
            Answer::Admit { .. } => {
                let known = self.registry.get(peer).cloned();
                self.admit_known(peer, link, known.as_ref());
            }
        }
    }

    /// Goes on with a peer that is welcome, if it is as it was or may differ.
    fn admit_known(&mut self, peer: NodeId, link: LinkId, known: Option<&Known>) {
        let identity = self.links.get(&link).and_then(|record| record.identity.as_ref());
        if let (Some(known), Some(identity)) = (known, identity) {
            let drift = known.drift(&Known::of(&identity.hello));
            let refused = self.policy.drift == DriftPolicy::Refuse && !drift.is_empty();
            if !drift.is_empty() && self.policy.drift != DriftPolicy::Allow {
                self.event(NodeEvent::Drifted { peer, drift, refused });
            }
            if refused {
                return self.refuse(link, Refusal::Registry);
            }
        }
        self.arbitrate(link, false);
    }

    /// Decides about a link whose peer is welcome.
    fn arbitrate(&mut self, link: LinkId, deferred: bool) {
        let Some(record) = self.links.get(&link) else { return };
        let (Some(facts), Some(peer), dialler) = (record.facts, record.peer, record.dialler) else { return };
        let standing = self.standing(peer, facts.incarnation);
        match dialler {
            Dialler::Peer => {
                let verdict = if deferred {
                    arbitration::own_dial_over(self.own, peer, facts, standing, record.goes_on)
                } else {
                    arbitration::decide(self.own, peer, facts, standing, false)
                };
                self.apply(link, verdict);
            }
            Dialler::Own if arbitration::proceed(facts, standing.link) => {
                self.enter(link, Stage::Proved);
                self.tell(link, ToLink::Admit { simultaneous: false });
            }
            Dialler::Own => self.refuse(link, Refusal::Simultaneous),
        }
    }

    /// What stands with a peer of that incarnation.
    fn standing(&self, peer: NodeId, incarnation: u64) -> Standing {
        let link = self.standing_link(peer, incarnation).map(|(_, facts)| facts);
        Standing { link, own_dial: self.has_own_dial(peer) }
    }

    /// The newest link with a peer of that incarnation that has been taken.
    fn standing_link(&self, peer: NodeId, incarnation: u64) -> Option<(LinkId, LinkFacts)> {
        let standing = self.links_of(peer).filter(|(_, link)| link.stands());
        let facts = standing.filter_map(|(id, link)| Some((link.place, id, link.facts?)));
        let newest =
            facts.filter(|(.., facts)| facts.incarnation == incarnation).max_by_key(|(place, ..)| *place);
        newest.map(|(_, id, facts)| (id, facts))
    }

    fn apply(&mut self, link: LinkId, verdict: Verdict) {
        match verdict {
            Verdict::Admit { simultaneous } => {
                self.make_place(link);
                self.take_place(link);
                self.enter(link, Stage::Admitted);
                self.tell(link, ToLink::Admit { simultaneous });
            }
            Verdict::AskAlive => {
                self.stats.alive_asked += 1;
                self.enter(link, Stage::AliveAsked);
                self.tell(link, ToLink::AskAlive);
                let asked = self.links.get(&link).and_then(|record| Some((record.peer?, record.facts?)));
                let older = asked.and_then(|(peer, facts)| self.standing_link(peer, facts.incarnation));
                if let Some((older, _)) = older {
                    self.tell(older, ToLink::Probe);
                }
            }
            Verdict::Defer => {
                self.stats.deferred += 1;
                self.enter(link, Stage::Deferred);
            }
            Verdict::Refuse(refusal) => self.refuse(link, refusal),
        }
    }

    /// This node's own dial of a peer has come to an end, or what stood has gone: decides about those who
    /// wait for that.
    pub(super) fn reconsider(&mut self, peer: NodeId) {
        let waiting: Vec<_> =
            self.links_of(peer).filter(|(_, link)| link.stage == Stage::Deferred).map(|(id, _)| id).collect();
        for link in waiting {
            if !self.has_own_dial(peer) {
                self.arbitrate(link, true);
            }
        }
    }

    fn on_alive_asked(&mut self, link: LinkId) {
        let Some(record) = self.links.get(&link) else { return };
        if let (Stage::Proved, Some(facts), Some(peer)) = (record.stage, record.facts, record.peer) {
            let go_on = arbitration::goes_on(facts, self.standing(peer, facts.incarnation).link);
            self.tell(link, ToLink::AnswerAlive { go_on });
        }
    }

    fn on_alive_answered(&mut self, link: LinkId, goes_on: bool) {
        let Some(record) = self.links.get_mut(&link) else { return };
        if let (Stage::AliveAsked, Some(facts), Some(peer)) = (record.stage, record.facts, record.peer) {
            record.goes_on = goes_on;
            let own_dial = self.has_own_dial(peer);
            self.apply(link, arbitration::answered(self.own, peer, facts, own_dial, goes_on));
        }
    }

    fn on_established(&mut self, link: LinkId) {
        let now = self.now;
        let Some(record) = self.links.get_mut(&link) else { return };
        if core::mem::take(&mut record.counted) {
            if let Some(source) = record.source {
                self.admission.leave(source, link);
            }
        }
        if !matches!(record.stage, Stage::Proved | Stage::Admitted) {
            return;
        }
        record.stage = Stage::Established;
        record.since = Some(now);
        let (dialler, identity) = (record.dialler, record.identity.take());
        let (Some(peer), Some(identity)) = (record.peer, identity) else { return };
        self.stats.established += 1;
        if dialler == Dialler::Own {
            self.take_place(link);
        }
        let known = Known::of(&identity.hello);
        match self.policy.registry {
            Registry::Memory => self.registry.write(peer, known, self.policy.remembered),
            Registry::External => self.event(NodeEvent::Known { peer, known }),
        }
        let Some(record) = self.peers.get_mut(&peer) else { return };
        record.name = identity.hello.name.as_deref().map(Box::from);
        record.offered.clone_from(&identity.hello.addresses);
        record.last_error = None;
        if record.is_permanent() {
            self.tell(link, ToLink::Permanence(true));
        }
        self.look_at_permanence(peer);
        self.exchange_adverts(peer, link, &identity.hello);
        match dialler {
            Dialler::Own => self.dial_succeeded(peer),
            Dialler::Peer => self.drop_unproved_dial(peer),
        }
        self.choose_route(peer);
        if dialler == Dialler::Own {
            self.reconsider(peer);
        }
    }

    /// A link has carried a record of the peer's. If the peer dialled it, the older ones have lost.
    ///
    /// Only the acceptor ends links for another one: it has decided. A dialler's newer link may be one that
    /// the acceptor took before, and has lost since; so it only looks after its older ones.
    fn on_confirmed(&mut self, newer: LinkId) {
        let Some(record) = self.links.get_mut(&newer).filter(|record| record.stage == Stage::Established)
        else {
            return;
        };
        record.confirmed = true;
        let (Some(peer), place, dialler) = (record.peer, record.place, record.dialler) else { return };
        let older: Vec<_> = self
            .links_of(peer)
            // One that drains is on its way out.
            .filter(|(_, link)| link.stands() && link.place < place)
            .map(|(id, _)| id)
            .collect();
        for link in older {
            match dialler {
                Dialler::Own => self.tell(link, ToLink::Probe),
                Dialler::Peer => self.supersede(peer, link, newer),
            }
        }
        self.choose_route(peer);
    }

    fn supersede(&mut self, peer: NodeId, loser: LinkId, winner: LinkId) {
        self.stats.superseded += 1;
        self.enter(loser, Stage::Ending);
        self.tell(loser, ToLink::Close(Reason::Superseded));
        self.event(NodeEvent::Superseded { peer, loser, winner });
        self.stop_routing(peer, loser);
    }

    /// The peer's wish is what it has said on the newest of its established links; that may be another link now.
    pub(super) fn look_at_permanence(&mut self, peer: NodeId) {
        let established = self.links_of(peer).filter(|(_, link)| link.stage == Stage::Established);
        let Some((_, newest)) = established.max_by_key(|(_, link)| link.place) else { return };
        let permanent = newest.kept;
        let Some(record) = self.peers.get_mut(&peer) else { return };
        if core::mem::replace(&mut record.peer_is_permanent, permanent) != permanent {
            self.event(NodeEvent::Permanence { peer, permanent });
        }
    }

    fn on_draining(&mut self, link: LinkId, unsent: Vec<Envelope>, owes: bool) {
        let Some(record) = self.links.get_mut(&link) else { return };
        if record.stage == Stage::Established {
            record.stage = Stage::Draining;
        }
        if let Some(peer) = record.peer {
            self.stop_routing(peer, link);
            if owes {
                self.put_back(peer, unsent);
            } else {
                self.gave_back(peer, link, unsent);
            }
        }
    }

    fn on_ended(&mut self, link: LinkId, closed: Box<Closed>, unsent: Vec<Envelope>) {
        let Some(record) = self.links.remove(&link) else { return };
        let unsent = self.recall(link, unsent);
        if let Some(source) = record.source {
            if record.counted {
                self.admission.leave(source, link);
            }
            if record.since.is_none() {
                self.event(NodeEvent::HandshakeEnded { link, source, closed: closed.clone() });
            }
        }
        let Some(peer) = record.peer else {
            // A peer that has proved nothing, or is trusted no longer, leaves no trace.
            self.stats.undelivered += unsent.len() as u64;
            return;
        };
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.links.retain(|id| *id != link);
        }
        self.gave_back(peer, link, unsent);
        match record.since {
            Some(since) => self.link_lost(peer, since, *closed),
            None if record.dialler == Dialler::Own => self.dial_link_ended(peer, link, closed),
            // It was taken, and gone before it knew: nothing was dialled because of it.
            None if record.place > 0 => self.redial(peer, Retry::Later(None)),
            None => {}
        }
        self.reconsider(peer);
        self.forget_if_idle(peer);
    }

    /// Takes back what was on its way to a link that has ended: its messages stand behind what the link gives
    /// back itself.
    fn recall(&mut self, link: LinkId, mut unsent: Vec<Envelope>) -> Vec<Envelope> {
        let on_their_way = |action: &NodeAction| matches!(action, NodeAction::ToLink(to, _) if *to == link);
        if self.actions.iter().any(on_their_way) {
            for action in core::mem::take(&mut self.actions) {
                match action {
                    NodeAction::ToLink(to, word) if to == link => unsent.extend(word.into_undelivered()),
                    action => self.actions.push_back(action),
                }
            }
        }
        unsent
    }

    pub(super) fn refuse(&mut self, link: LinkId, refusal: Refusal) {
        self.enter(link, Stage::Ending);
        self.tell(link, ToLink::Refuse(refusal));
    }

    pub(super) fn enter(&mut self, link: LinkId, stage: Stage) {
        if let Some(record) = self.links.get_mut(&link) {
            record.stage = stage;
        }
    }

    /// Whether a dial of this node's own has told the peer who dials, and waits for its word.
    fn has_own_dial(&self, peer: NodeId) -> bool {
        self.links_of(peer).any(|(_, link)| link.stage == Stage::Proved)
    }

    /// Ends the oldest links of a link's peer that nothing has come on, if there are several of them: else a
    /// peer could have any number of them, one incarnation each.
    fn make_place(&mut self, link: LinkId) {
        let Some(peer) = self.links.get(&link).and_then(|record| record.peer) else { return };
        let route = self.peers.get(&peer).and_then(|record| record.route);
        let mut unconfirmed: Vec<_> = self
            .links_of(peer)
            .filter(|(id, link)| link.stands() && !link.confirmed && Some(*id) != route)
            .map(|(id, link)| (link.place, id))
            .collect();
        unconfirmed.sort_unstable();
        let most = unconfirmed.len().saturating_sub(UNCONFIRMED - 1);
        for (_, older) in unconfirmed.into_iter().take(most) {
            self.supersede(peer, older, link);
        }
    }

    fn take_place(&mut self, link: LinkId) {
        self.taken += 1;
        if let Some(record) = self.links.get_mut(&link) {
            record.place = self.taken;
        }
    }

    /// The links of a peer whose ends have not come.
    pub(super) fn links_of(&self, peer: NodeId) -> impl Iterator<Item = (LinkId, &LinkRecord)> {
        let links = self.peers.get(&peer).map_or(&[][..], |record| &record.links);
        links.iter().filter_map(|id| Some((*id, self.links.get(id)?)))
    }

    /// The own dial is not needed if it has not told the peer who dials.
    fn drop_unproved_dial(&mut self, peer: NodeId) {
        let Some(record) = self.peers.get_mut(&peer) else { return };
        match &record.dial {
            Dialling::Connecting { .. } | Dialling::Waiting => {
                record.dial = Dialling::Idle;
                record.round.clear();
                self.schedule.stop(Due::Dial(peer));
                self.schedule.stop(Due::Redial(peer));
            }
            Dialling::Handshake { link, .. } => {
                let link = *link;
                let stage = self.links.get(&link).map(|link| link.stage);
                if matches!(stage, Some(Stage::Handshake | Stage::Asked)) {
                    self.refuse(link, Refusal::Simultaneous);
                }
            }
            Dialling::Idle => {}
            Dialling::GivenUp => record.dial = Dialling::Idle,
        }
    }
}
