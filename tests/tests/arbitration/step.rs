//! What can happen next in a world, and how a node applies its rules to it.

use std::mem;

use handclasp::NodeId;
use handclasp::node::arbitration::{Dialler, LinkFacts, Standing, Verdict};

use crate::rules::{Milestone, Rules};
use crate::world::{AcceptEnd, Connection, DialEnd, Flight, MOST_AGES, SLOTS, Side, World};

/// One thing that happens. A connection is named by its place in the world before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// What is in flight arrives.
    Deliver(usize),
    /// A node hears from its link that it is established.
    Told(usize, Side),
    /// The application takes a peer that it was asked about.
    Welcome(usize),
    /// A node finds out that there is nobody at the other end.
    Notice(usize, Side),
    /// A node that wants a link, and has neither one nor a dial under way, dials.
    Dial(Side),
    /// A connection carries nothing any more, and nobody is told.
    Cut(usize),
    /// A node gives its end of a connection up, as when a step takes too long.
    GiveUp(usize, Side),
    /// A node's process ends and another one starts. Its peer is told nothing.
    Restart(Side),
}

/// What a step is to those who wait for the world to come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What is under way goes on.
    Settle,
    Dial,
    Fault,
}

impl Step {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Deliver(_) | Self::Told(..) | Self::Welcome(_) | Self::Notice(..) => Kind::Settle,
            Self::Dial(_) => Kind::Dial,
            Self::Cut(_) | Self::GiveUp(..) | Self::Restart(_) => Kind::Fault,
        }
    }

    /// The connection on which something happens.
    pub(crate) const fn place(self) -> Option<usize> {
        match self {
            Self::Deliver(at)
            | Self::Told(at, _)
            | Self::Welcome(at)
            | Self::Notice(at, _)
            | Self::Cut(at)
            | Self::GiveUp(at, _) => Some(at),
            Self::Dial(_) | Self::Restart(_) => None,
        }
    }

    pub(crate) fn tell(self, before: &World) -> String {
        let name = |at: usize| format!("[{}]", before.connections[at]);
        match self {
            Self::Deliver(at) => format!("{:?} arrives on {}", before.connections[at].flight, name(at)),
            Self::Told(at, side) => format!("{side:?} is told of its link {}", name(at)),
            Self::Welcome(at) => format!("the application takes the peer of {}", name(at)),
            Self::Notice(at, side) => format!("{side:?} notices that nobody is there on {}", name(at)),
            Self::Dial(side) => format!("{side:?} dials"),
            Self::Cut(at) => format!("FAULT: a cut of {}", name(at)),
            Self::GiveUp(at, side) => format!("FAULT: {side:?} gives up {}", name(at)),
            Self::Restart(side) => format!("FAULT: {side:?} is restarted"),
        }
    }
}

/// By which rules two nodes go, which of them want a link, and how much goes wrong.
pub(crate) struct Model<'a> {
    pub(crate) rules: &'a dyn Rules,
    pub(crate) wants: [bool; 2],
    pub(crate) faults: u8,
    /// Whether the application is asked about each peer that dials.
    pub(crate) asks: bool,
    /// Which faults there are.
    pub(crate) can_happen: fn(Step) -> bool,
    pub(crate) ids: [NodeId; 2],
}

impl<'a> Model<'a> {
    pub(crate) fn new(rules: &'a dyn Rules, wants: [bool; 2], faults: u8) -> Self {
        let mut ids = [1, 2].map(handclasp_sim::id);
        ids.sort_unstable();
        Self { rules, wants, faults, asks: false, can_happen: |_| true, ids }
    }

    fn id(&self, side: Side) -> NodeId {
        self.ids[side as usize]
    }

    /// Everything that can happen next.
    pub(crate) fn steps(&self, world: &World, steps: &mut Vec<Step>) {
        steps.clear();
        for (at, connection) in world.connections.iter().enumerate() {
            // A node hears of a record behind the word that the link is established.
            let waits_for_word =
                connection.flight == Flight::FirstRecord && connection.accept == AcceptEnd::Admitted;
            if connection.flight != Flight::Nothing && !waits_for_word {
                steps.push(Step::Deliver(at));
            }
            if connection.dial == DialEnd::Accepted {
                steps.push(Step::Told(at, connection.dialler));
            }
            if connection.accept == AcceptEnd::Admitted {
                steps.push(Step::Told(at, connection.dialler.other()));
            }
            if connection.accept == AcceptEnd::Questioned {
                steps.push(Step::Welcome(at));
            }
            for side in Side::BOTH {
                if connection.can_be_missed_by(side) && !self.is_kept_by_another(world, connection, side) {
                    steps.push(Step::Notice(at, side));
                }
            }
        }
        if world.connections.len() < SLOTS {
            steps.extend(Side::BOTH.into_iter().filter(|side| self.would_dial(world, *side)).map(Step::Dial));
        }
        if world.faults == 0 {
            return;
        }
        for (at, connection) in world.connections.iter().enumerate() {
            if connection.is_whole() {
                steps.push(Step::Cut(at));
            }
            for side in Side::BOTH {
                if connection.is_held_by(side) && !connection.can_be_missed_by(side) {
                    steps.push(Step::GiveUp(at, side));
                }
            }
        }
        let has_room = |side: &Side| world.connections.iter().all(|link| link.age(*side) < MOST_AGES);
        steps.extend(Side::BOTH.into_iter().filter(has_room).map(Step::Restart));
        steps.retain(|step| step.kind() != Kind::Fault || (self.can_happen)(*step));
    }

    fn would_dial(&self, world: &World, side: Side) -> bool {
        let is_enough = |connection: &Connection| {
            connection.stands_at(side) || connection.dialler == side && connection.dial != DialEnd::Gone
        };
        self.wants[side as usize] && !world.connections.iter().any(is_enough)
    }

    /// Whether a node does not dial only because there are too many connections about.
    pub(crate) fn lacks_room(&self, world: &World) -> bool {
        world.connections.len() == SLOTS && Side::BOTH.into_iter().any(|side| self.would_dial(world, side))
    }

    fn is_kept_by_another(&self, world: &World, connection: &Connection, side: Side) -> bool {
        self.rules.merges()
            && connection.is_link_of(side)
            && world.connections.iter().any(|other| {
                other.is_link_of(side) && other.order_at(side) > connection.order_at(side) && other.is_whole()
            })
    }

    /// The world after a step.
    pub(crate) fn after(&self, world: &World, step: Step) -> World {
        let mut world = self.in_place(world, step);
        world.tidy();
        world
    }

    /// The world after a step with every connection at the place where it was.
    pub(crate) fn in_place(&self, world: &World, step: Step) -> World {
        let mut now = Now { model: self, world: world.clone() };
        match step {
            Step::Deliver(at) => now.deliver(at),
            Step::Told(at, side) => now.told(at, side),
            Step::Welcome(at) => now.decide(at, world.connections[at].dialler.other()),
            Step::Notice(at, side) | Step::GiveUp(at, side) => now.end(at, side),
            Step::Dial(side) => now.dial(side),
            Step::Cut(at) => now.world.connections[at].cut = true,
            Step::Restart(side) => now.restart(side),
        }
        now.world.faults -= u8::from(step.kind() == Kind::Fault);
        now.world
    }

    /// The world after somebody has told `side` that he is its peer, and has proved nothing.
    pub(crate) fn claimed(&self, world: &World, side: Side) -> World {
        let mut now = Now { model: self, world: world.clone() };
        if self.rules.heeds_claims() {
            for at in 0..world.connections.len() {
                if now.world.connections[at].is_link_of(side) {
                    now.end(at, side);
                }
            }
        }
        now.world.tidy();
        now.world
    }
}

struct Now<'a> {
    model: &'a Model<'a>,
    world: World,
}

impl Now<'_> {
    fn dial(&mut self, side: Side) {
        let own = |connection: &&Connection| connection.dialler == side && connection.dialler_age == 0;
        let last = self.world.connections.iter().filter(own).map(|connection| connection.sequence).max();
        self.world.connections.push(Connection::new(side, last.map_or(0, |last| last + 1)));
    }

    fn restart(&mut self, side: Side) {
        for connection in &mut self.world.connections {
            if connection.dialler == side {
                connection.dial = DialEnd::Gone;
                connection.dialler_age += 1;
            } else if connection.accept != AcceptEnd::NotYet {
                connection.accept = AcceptEnd::Gone;
                connection.acceptor_age += 1;
            }
        }
    }

    fn deliver(&mut self, at: usize) {
        let dialler = self.world.connections[at].dialler;
        let acceptor = dialler.other();
        let flight = mem::replace(&mut self.world.connections[at].flight, Flight::Nothing);
        match flight {
            Flight::Nothing => {}
            Flight::Connect => {
                self.world.connections[at].accept = AcceptEnd::Unauthenticated;
                self.world.connections[at].flight = Flight::AuthR;
            }
            Flight::AuthR => {
                if self.model.rules.proceed(self.facts(at, dialler), self.standing(at, dialler).link) {
                    self.world.connections[at].dial = DialEnd::Waits;
                    self.world.connections[at].flight = Flight::AuthI;
                } else {
                    self.end(at, dialler);
                }
            }
            Flight::AuthI => {
                if !self.is_newest_undecided(at, acceptor) {
                    self.end(at, acceptor);
                } else if self.model.asks {
                    self.world.connections[at].accept = AcceptEnd::Questioned;
                } else {
                    self.decide(at, acceptor);
                }
            }
            Flight::StatusAlive => {
                let goes_on =
                    self.model.rules.goes_on(self.facts(at, dialler), self.standing(at, dialler).link);
                self.world.connections[at].flight = if goes_on { Flight::GoesOn } else { Flight::Abandons };
            }
            Flight::GoesOn | Flight::Abandons => {
                let verdict = self.model.rules.answered(
                    self.model.id(acceptor),
                    self.model.id(dialler),
                    self.facts(at, acceptor),
                    self.standing(at, acceptor).own_dial,
                    flight == Flight::GoesOn,
                );
                self.apply(at, acceptor, &verdict);
            }
            Flight::StatusAccept => {
                self.world.connections[at].dial = DialEnd::Accepted;
                self.world.connections[at].flight = Flight::FirstRecord;
            }
            Flight::FirstRecord => {
                self.world.connections[at].accept = AcceptEnd::Confirmed;
                self.supersede(at, acceptor, Milestone::Confirmed);
            }
        }
    }

    fn told(&mut self, at: usize, side: Side) {
        let dialled_it = self.world.connections[at].dialler == side;
        // Who was dialled has counted the link since it took it.
        if dialled_it || self.model.rules.counts_from_the_word() {
            self.take_newest_place(at, side);
        }
        if dialled_it {
            self.world.connections[at].dial = DialEnd::Established;
            self.supersede(at, side, Milestone::Accepted);
            self.own_dial_is_over(side);
        } else {
            self.world.connections[at].accept = AcceptEnd::Unconfirmed;
            for other in 0..self.world.connections.len() {
                let own = &self.world.connections[other];
                let drops = own.dial == DialEnd::Unrevealed
                    || own.dial == DialEnd::Waits && self.model.rules.drops_revealed_dial();
                if own.dialler == side && drops {
                    self.end(other, side);
                }
            }
        }
    }

    fn decide(&mut self, at: usize, side: Side) {
        let (own, peer) = (self.model.id(side), self.model.id(side.other()));
        let verdict = self.model.rules.decide(own, peer, self.facts(at, side), self.standing(at, side));
        self.apply(at, side, &verdict);
    }

    fn apply(&mut self, at: usize, side: Side, verdict: &Verdict) {
        let connection = &mut self.world.connections[at];
        match verdict {
            Verdict::Admit { .. } => {
                connection.accept = AcceptEnd::Admitted;
                connection.flight = Flight::StatusAccept;
                self.take_newest_place(at, side);
                self.supersede(at, side, Milestone::Admitted);
            }
            Verdict::AskAlive => {
                // A link asks once.
                if connection.accept != AcceptEnd::AskedAndDeferred {
                    connection.flight = Flight::StatusAlive;
                }
                connection.accept = AcceptEnd::Asked;
            }
            Verdict::Defer if connection.accept == AcceptEnd::Asked => {
                connection.accept = AcceptEnd::AskedAndDeferred;
            }
            Verdict::Defer => connection.accept = AcceptEnd::Deferred,
            Verdict::Refuse(_) => self.end(at, side),
        }
    }

    /// Of the links that the peer dialled and that wait for a decision, only the newest goes on.
    fn is_newest_undecided(&mut self, new: usize, side: Side) -> bool {
        let facts = self.facts(new, side);
        for at in 0..self.world.connections.len() {
            let old = self.world.connections[at];
            if old.dialler == side || !old.is_undecided() {
                continue;
            }
            let old = self.facts(at, side);
            if old.incarnation == facts.incarnation && old.sequence >= facts.sequence {
                return false;
            }
            self.end(at, side);
        }
        true
    }

    fn take_newest_place(&mut self, at: usize, side: Side) {
        *self.world.connections[at].order_mut(side) = 0;
        let newest = self.world.connections.iter().map(|connection| connection.order_at(side)).max();
        *self.world.connections[at].order_mut(side) = newest.unwrap_or(0) + 1;
    }

    /// Ends the links that are older than this one, if it is time.
    fn supersede(&mut self, newer: usize, side: Side, when: Milestone) {
        if !self.model.rules.supersedes(when) {
            return;
        }
        let newest = self.world.connections[newer].order_at(side);
        for at in 0..self.world.connections.len() {
            let old = self.world.connections[at];
            if old.stands_at(side) && old.order_at(side) < newest {
                self.end(at, side);
            }
        }
    }

    fn end(&mut self, at: usize, side: Side) {
        let connection = &mut self.world.connections[at];
        *connection.order_mut(side) = 0;
        if connection.dialler == side {
            let was_own_dial = connection.is_revealed_dial();
            connection.dial = DialEnd::Gone;
            if was_own_dial {
                self.own_dial_is_over(side);
            }
        } else {
            connection.accept = AcceptEnd::Gone;
        }
    }

    fn own_dial_is_over(&mut self, side: Side) {
        let (own, peer) = (self.model.id(side), self.model.id(side.other()));
        for at in 0..self.world.connections.len() {
            let connection = self.world.connections[at];
            if connection.dialler != side && connection.is_deferred() {
                let goes_on = connection.accept == AcceptEnd::AskedAndDeferred;
                let (new, standing) = (self.facts(at, side), self.standing(at, side));
                let verdict = self.model.rules.own_dial_over(own, peer, new, standing, goes_on);
                self.apply(at, side, &verdict);
            }
        }
    }

    /// What stands at `side` in the way of a connection: links with the same process of the peer.
    fn standing(&self, new: usize, side: Side) -> Standing {
        let here = || self.world.connections.iter().enumerate();
        let incarnation = self.facts(new, side).incarnation;
        let newest = here()
            .filter(|(_, link)| link.stands_at(side))
            .filter(|(at, _)| {
                self.model.rules.mixes_incarnations() || self.facts(*at, side).incarnation == incarnation
            })
            .max_by_key(|(_, link)| link.order_at(side));
        Standing {
            link: newest.map(|(at, _)| self.facts(at, side)),
            own_dial: here().any(|(_, dial)| dial.dialler == side && dial.is_revealed_dial()),
        }
    }

    /// What `side` knows of a connection. Incarnations only differ, so ages do as well.
    fn facts(&self, at: usize, side: Side) -> LinkFacts {
        let connection = &self.world.connections[at];
        let (dialler, age) = if connection.dialler == side {
            (Dialler::Own, connection.acceptor_age)
        } else {
            (Dialler::Peer, connection.dialler_age)
        };
        LinkFacts { dialler, incarnation: age.into(), sequence: connection.sequence.into() }
    }
}
