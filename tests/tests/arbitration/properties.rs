//! What must hold in every world.

use std::collections::HashSet;
use std::fmt;

use crate::search::Graph;
use crate::step::{Kind, Model, Step};
use crate::world::{AcceptEnd, Connection, DialEnd, Flight, Side, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Property {
    /// Without further faults, every way ends.
    EveryWayEnds,
    /// Where nothing can happen any more, there is exactly one link, and both nodes have it.
    OneLinkInTheEnd,
    /// If nothing is wrong with any connection there is, they become one link, without another dial.
    WholeDialsMakeALink,
    /// If dials have failed, and no link has, a whole dial that its peer knows of becomes the link.
    ABrokenDialCostsNoOther,
    /// A link that lives is lost only to one that lives.
    ALivingLinkStays,
    /// What the acceptor has taken, or has to take, becomes the link with no step of any other connection.
    TheWinnerWaitsForNobody,
    /// Who has proved nothing changes nothing.
    AClaimChangesNothing,
}

impl Property {
    pub(crate) const ALL: [Self; 7] = [
        Self::EveryWayEnds,
        Self::OneLinkInTheEnd,
        Self::WholeDialsMakeALink,
        Self::ABrokenDialCostsNoOther,
        Self::ALivingLinkStays,
        Self::TheWinnerWaitsForNobody,
        Self::AClaimChangesNothing,
    ];
}

/// How a property does not hold: the way there, and from there.
pub(crate) struct Violation {
    pub(crate) property: Property,
    told: String,
    /// What is to be said behind the way.
    behind: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} does not hold:\n{}{}", self.property, self.told, self.behind)
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const SETTLE: &[Kind] = &[Kind::Settle];
const NO_FAULT: &[Kind] = &[Kind::Settle, Kind::Dial];

/// How the worlds end that follow on one by settling alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    WithOneLink,
    Otherwise,
}

/// All there is to know about the worlds of one model.
pub(crate) struct Checked<'a> {
    model: &'a Model<'a>,
    pub(crate) graph: Graph,
    /// `None` if settling alone does not end.
    ends: Option<Vec<Ends>>,
    /// For how many worlds each property said something.
    pub(crate) cases: usize,
}

impl<'a> Checked<'a> {
    pub(crate) fn new(model: &'a Model<'a>) -> Self {
        let graph = Graph::explore(model);
        let mut ends = vec![Ends::WithOneLink; graph.len()];
        let order = graph.ends_first(SETTLE, |number| {
            let mut next = graph.next(number, SETTLE).peekable();
            let is_end = next.peek().is_none();
            let fails = if is_end {
                !has_one_link(&graph.world(number))
            } else {
                next.any(|(next, _)| ends[next] == Ends::Otherwise)
            };
            if fails {
                ends[number] = Ends::Otherwise;
            }
        });
        Self { model, ends: order.ok().map(|()| ends), graph, cases: 0 }
    }

    /// The shortest way on which a property does not hold.
    pub(crate) fn violation(&mut self, property: Property) -> Option<Violation> {
        self.cases = 0;
        match property {
            Property::EveryWayEnds => self.endless(),
            Property::OneLinkInTheEnd => self.bad_end(),
            Property::WholeDialsMakeALink => self.not_settled(property, all_is_whole),
            Property::ABrokenDialCostsNoOther => self.not_settled(property, only_dials_are_broken),
            Property::ALivingLinkStays => self.not_settled(property, a_link_lives),
            Property::TheWinnerWaitsForNobody => self.waiting_winner(),
            Property::AClaimChangesNothing => self.heeded_claim(),
        }
    }

    fn found(&self, property: Property, way: &[usize]) -> Violation {
        Violation { property, told: self.graph.tell(self.model, way), behind: String::new() }
    }

    fn endless(&mut self) -> Option<Violation> {
        self.cases = self.graph.len();
        self.graph.ends_first(NO_FAULT, |_| ()).err()?;
        // The nearest world that comes again.
        (0..self.graph.len()).find_map(|number| {
            let round = self.graph.way(number, NO_FAULT, |end| end == number)?;
            let mut way = self.graph.way_to(number);
            let lead = way.len() - 1;
            way.extend(round.into_iter().skip(1));
            let behind = format!("      and from there again as from step {lead} on\n");
            Some(Violation { behind, ..self.found(Property::EveryWayEnds, &way) })
        })
    }

    fn bad_end(&mut self) -> Option<Violation> {
        let ends: Vec<usize> = (0..self.graph.len())
            .filter(|number| self.graph.next(*number, NO_FAULT).next().is_none())
            .collect();
        self.cases = ends.len();
        let bad = ends.into_iter().find(|number| !has_one_link(&self.graph.world(*number)))?;
        Some(self.found(Property::OneLinkInTheEnd, &self.graph.way_to(bad)))
    }

    fn not_settled(&mut self, property: Property, is_case: fn(&World) -> bool) -> Option<Violation> {
        let Some(ends) = &self.ends else { return self.endless() };
        let cases: Vec<usize> =
            (0..self.graph.len()).filter(|number| is_case(&self.graph.world(*number))).collect();
        self.cases = cases.len();
        let mut shortest: Option<Vec<usize>> = None;
        for number in cases.into_iter().filter(|number| ends[*number] == Ends::Otherwise) {
            let mut way = self.graph.way_to(number);
            if shortest.as_ref().is_some_and(|shortest| shortest.len() <= way.len()) {
                continue;
            }
            let is_bad_end =
                |end: usize| ends[end] == Ends::Otherwise && self.graph.next(end, SETTLE).next().is_none();
            let rest = self.graph.way(number, SETTLE, is_bad_end).unwrap_or_default();
            way.extend(rest.into_iter().skip(1));
            if shortest.as_ref().is_none_or(|shortest| way.len() < shortest.len()) {
                shortest = Some(way);
            }
        }
        shortest.map(|way| self.found(property, &way))
    }

    fn waiting_winner(&mut self) -> Option<Violation> {
        for number in 0..self.graph.len() {
            let world = self.graph.world(number);
            for (at, winner) in world.connections.iter().enumerate() {
                if has_won(&world, winner) || will_win(&world, winner) {
                    self.cases += 1;
                    if !self.wins_alone(&world, at) {
                        let way = self.graph.way_to(number);
                        return Some(self.found(Property::TheWinnerWaitsForNobody, &way));
                    }
                }
            }
        }
        None
    }

    /// Whether a connection becomes the link of both ends when nothing else moves.
    fn wins_alone(&self, world: &World, at: usize) -> bool {
        let mut world = world.clone();
        let mut steps = Vec::new();
        loop {
            let winner = &world.connections[at];
            if winner.lives() && winner.accept == AcceptEnd::Confirmed {
                return true;
            }
            self.model.steps(&world, &mut steps);
            let own = |step: &&Step| step.kind() == Kind::Settle && step.place() == Some(at);
            let Some(step) = steps.iter().find(own) else { return false };
            world = self.model.in_place(&world, *step);
        }
    }

    fn heeded_claim(&mut self) -> Option<Violation> {
        self.cases = self.graph.len();
        for number in 0..self.graph.len() {
            let world = self.graph.world(number);
            for side in Side::BOTH {
                if self.model.claimed(&world, side) != world {
                    let found = self.found(Property::AClaimChangesNothing, &self.graph.way_to(number));
                    let behind = format!("      and somebody claims to {side:?} to be its peer\n");
                    return Some(Violation { behind, ..found });
                }
            }
        }
        None
    }

    /// In how many worlds a node would dial and does not, because there are too many connections about.
    pub(crate) fn without_room(&self) -> usize {
        (0..self.graph.len()).filter(|number| self.model.lacks_room(&self.graph.world(*number))).count()
    }

    /// All worlds in which nothing can happen any more that follow on one without faults.
    pub(crate) fn ends_of(&self, number: usize) -> Vec<World> {
        let (mut seen, mut ends, mut left) = (HashSet::from([number]), Vec::new(), vec![number]);
        while let Some(at) = left.pop() {
            let mut next = self.graph.next(at, NO_FAULT).peekable();
            if next.peek().is_none() {
                ends.push(self.graph.world(at));
            }
            left.extend(next.map(|(next, _)| next).filter(|next| seen.insert(*next)));
        }
        ends
    }

    /// The most dials that can still be needed in any world without further faults, for ways that end.
    pub(crate) fn most_dials(&self) -> usize {
        let mut dials = vec![0; self.graph.len()];
        let ended = self.graph.ends_first(NO_FAULT, |number| {
            let next = self.graph.next(number, NO_FAULT);
            let most = next.map(|(next, kind)| dials[next] + usize::from(kind == Kind::Dial)).max();
            dials[number] = most.unwrap_or(0);
        });
        assert!(ended.is_ok(), "every way ends");
        dials.into_iter().max().unwrap_or(0)
    }
}

fn has_one_link(world: &World) -> bool {
    match &world.connections[..] {
        [link] => link.lives() && link.accept == AcceptEnd::Confirmed && link.flight == Flight::Nothing,
        _ => false,
    }
}

/// Whether no link of `side` is newer than this one, or this is none of its links.
fn is_newest(world: &World, link: &Connection, side: Side) -> bool {
    let is_newer = |other: &Connection| other.stands_at(side) && other.order_at(side) > link.order_at(side);
    !link.stands_at(side) || !world.connections.iter().any(is_newer)
}

/// Whether the acceptor has taken it, and nothing newer.
fn has_won(world: &World, connection: &Connection) -> bool {
    connection.is_whole()
        && connection.stands_at(connection.dialler.other())
        && Side::BOTH.into_iter().all(|side| is_newest(world, connection, side))
}

/// Whether it is a dial by the greater id that the peer knows of or will, and there is no link.
fn will_win(world: &World, connection: &Connection) -> bool {
    let is_link = |other: &Connection| Side::BOTH.into_iter().any(|side| other.stands_at(side));
    is_meant(connection)
        && connection.dialler == Side::B
        && connection.dial == DialEnd::Waits
        && !world.connections.iter().any(is_link)
}

/// There are connections, nothing is wrong with any, and no dialler has said that it means none.
fn all_is_whole(world: &World) -> bool {
    !world.connections.is_empty() && world.connections.iter().all(is_meant)
}

/// A whole connection that its dialler stands by.
fn is_meant(connection: &Connection) -> bool {
    connection.is_whole() && connection.flight != Flight::Abandons
}

/// One dial is whole, and its peer knows of it or will. What is broken is no link at either end, and will not
/// become one by what is under way.
fn only_dials_are_broken(world: &World) -> bool {
    let is_known = |connection: &Connection| is_meant(connection) && connection.dial != DialEnd::Unrevealed;
    let is_harmless = |connection: &Connection| {
        connection.is_whole()
            || !Side::BOTH.into_iter().any(|side| connection.stands_at(side))
                && connection.dial != DialEnd::Accepted
                && connection.accept != AcceptEnd::Questioned
                && connection.flight == Flight::Nothing
    };
    world.connections.iter().any(is_known) && world.connections.iter().all(is_harmless)
}

/// A link lives, and no dialler that is gone has left its first record behind: that record is the word that
/// its link has taken over.
fn a_link_lives(world: &World) -> bool {
    let is_last_word = |connection: &Connection| {
        connection.dial == DialEnd::Gone && connection.flight == Flight::FirstRecord
    };
    world.connections.iter().any(Connection::lives) && !world.connections.iter().any(is_last_word)
}
