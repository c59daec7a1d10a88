//! Two nodes and the connections between them, as small as a search wants them.
//!
//! A world holds nothing but what a later step can depend on: sequences, incarnations and the order of links
//! are counted over what is still about, and a connection that both ends have left is gone. Each world has
//! one form, and packs into one number.

use std::fmt;

/// The most connections that are about at the same time. With as many, nobody dials.
pub(crate) const SLOTS: usize = 5;

/// The most former processes of a node that connections are still about of. With as many, none ends.
pub(crate) const MOST_AGES: u8 = 3;

/// One of the two nodes. `A` has the smaller id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::B];

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// The end of a connection at the node that dialled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialEnd {
    Gone,
    /// Connects, or waits for AUTH of the acceptor, who does not know yet who dials.
    Unrevealed,
    /// Its own AUTH is sent: waits for STATUS.
    Waits,
    /// The link has been accepted, and its node has not been told.
    Accepted,
    Established,
}

/// The end of a connection at the node that was dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptEnd {
    /// The connection has not come here yet.
    NotYet,
    Gone,
    /// Waits for AUTH of the dialler.
    Unauthenticated,
    /// The application has been asked whether the peer is welcome.
    Questioned,
    Deferred,
    /// The dialler has been asked whether its older link is dead.
    Asked,
    /// Deferred, after the dialler was asked: that happens once for a link.
    AskedAndDeferred,
    /// The node has taken it, and has not been told that it is established.
    Admitted,
    /// Established, and the dialler has not sent a record yet.
    Unconfirmed,
    Confirmed,
}

/// What is in flight on a connection: one message at most, for a handshake goes to and fro.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flight {
    Nothing,
    Connect,
    /// AUTH of the acceptor.
    AuthR,
    /// AUTH of the dialler.
    AuthI,
    StatusAlive,
    GoesOn,
    Abandons,
    StatusAccept,
    FirstRecord,
}

impl Flight {
    const fn is_to_acceptor(self) -> bool {
        matches!(self, Self::Connect | Self::AuthI | Self::GoesOn | Self::Abandons | Self::FirstRecord)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) dialler: Side,
    /// How many times the dialler has been restarted since, as far as one can tell.
    pub(crate) dialler_age: u8,
    /// The same of the acceptor, since it answered.
    pub(crate) acceptor_age: u8,
    /// The dialler's number of it.
    pub(crate) sequence: u8,
    pub(crate) dial: DialEnd,
    pub(crate) accept: AcceptEnd,
    pub(crate) flight: Flight,
    /// Nothing gets through any more, and no end has noticed.
    pub(crate) cut: bool,
    /// Its place in the order in which the dialler's links were established; 0 before.
    pub(crate) dial_order: u8,
    /// The same at the acceptor.
    pub(crate) accept_order: u8,
}

impl Connection {
    pub(crate) const fn new(dialler: Side, sequence: u8) -> Self {
        Self {
            dialler,
            dialler_age: 0,
            acceptor_age: 0,
            sequence,
            dial: DialEnd::Unrevealed,
            accept: AcceptEnd::NotYet,
            flight: Flight::Connect,
            cut: false,
            dial_order: 0,
            accept_order: 0,
        }
    }

    /// Whether `side` has an end of it that still lives.
    pub(crate) fn is_held_by(&self, side: Side) -> bool {
        if side == self.dialler {
            self.dial != DialEnd::Gone
        } else {
            !matches!(self.accept, AcceptEnd::NotYet | AcceptEnd::Gone)
        }
    }

    /// Whether `side` knows it as established.
    pub(crate) fn is_link_of(&self, side: Side) -> bool {
        if side == self.dialler {
            self.dial == DialEnd::Established
        } else {
            matches!(self.accept, AcceptEnd::Unconfirmed | AcceptEnd::Confirmed)
        }
    }

    /// Whether it stands in the way of another one at `side`: established, or about to be.
    pub(crate) fn stands_at(&self, side: Side) -> bool {
        self.is_link_of(side) || side != self.dialler && self.accept == AcceptEnd::Admitted
    }

    /// Whether it is a dial that its dialler has told the peer of, and waits for.
    pub(crate) fn is_revealed_dial(&self) -> bool {
        matches!(self.dial, DialEnd::Waits | DialEnd::Accepted)
    }

    /// Whether it waits for the end of the acceptor's own dial.
    pub(crate) fn is_deferred(&self) -> bool {
        matches!(self.accept, AcceptEnd::Deferred | AcceptEnd::AskedAndDeferred)
    }

    /// Whether it waits for the acceptor's decision.
    pub(crate) fn is_undecided(&self) -> bool {
        self.is_deferred() || matches!(self.accept, AcceptEnd::Questioned | AcceptEnd::Asked)
    }

    /// Whether nothing is wrong with it: no end is gone, nothing is cut.
    pub(crate) fn is_whole(&self) -> bool {
        !self.cut && self.dial != DialEnd::Gone && self.accept != AcceptEnd::Gone
    }

    /// Whether it is whole and a link of both.
    pub(crate) fn lives(&self) -> bool {
        self.is_whole() && Side::BOTH.into_iter().all(|side| self.is_link_of(side))
    }

    /// Whether `side` can find out that there is nobody at the other end.
    pub(crate) fn can_be_missed_by(&self, side: Side) -> bool {
        let other_is_gone =
            if side == self.dialler { self.accept == AcceptEnd::Gone } else { self.dial == DialEnd::Gone };
        self.is_held_by(side) && (self.cut || other_is_gone)
    }

    pub(crate) fn order_at(&self, side: Side) -> u8 {
        if side == self.dialler { self.dial_order } else { self.accept_order }
    }

    pub(crate) fn order_mut(&mut self, side: Side) -> &mut u8 {
        if side == self.dialler { &mut self.dial_order } else { &mut self.accept_order }
    }

    pub(crate) const fn age(&self, side: Side) -> u8 {
        if side as u8 == self.dialler as u8 { self.dialler_age } else { self.acceptor_age }
    }

    fn age_mut(&mut self, side: Side) -> &mut u8 {
        if side == self.dialler { &mut self.dialler_age } else { &mut self.acceptor_age }
    }

    /// 24 bits, never 0: a connection that nobody holds is not kept.
    fn pack(&self) -> u32 {
        // What is cut carries nothing.
        let flight = if self.cut { CUT } else { self.flight as u32 };
        u32::from(self.dialler == Side::B)
            | u32::from(self.dialler_age) << 1
            | u32::from(self.acceptor_age) << 3
            | u32::from(self.sequence) << 5
            | (self.dial as u32 * ACCEPT_ENDS.len() as u32 + self.accept as u32) << 8
            | flight << 14
            | u32::from(self.dial_order) << 18
            | u32::from(self.accept_order) << 21
    }

    fn unpack(bits: u32) -> Self {
        let field = |shift: u32, width: u32| bits >> shift & ((1 << width) - 1);
        let small = |shift, width| field(shift, width) as u8;
        let flight = field(14, 4);
        Self {
            dialler: Side::BOTH[field(0, 1) as usize],
            dialler_age: small(1, 2),
            acceptor_age: small(3, 2),
            sequence: small(5, 3),
            dial: DIAL_ENDS[field(8, 6) as usize / ACCEPT_ENDS.len()],
            accept: ACCEPT_ENDS[field(8, 6) as usize % ACCEPT_ENDS.len()],
            flight: if flight == CUT { Flight::Nothing } else { FLIGHTS[flight as usize] },
            cut: flight == CUT,
            dial_order: small(18, 3),
            accept_order: small(21, 3),
        }
    }

    /// Forgets what no later step depends on.
    fn tidy(&mut self) {
        let reader_is_gone = if self.flight.is_to_acceptor() {
            self.accept == AcceptEnd::Gone
        } else {
            self.dial == DialEnd::Gone
        };
        if reader_is_gone || self.cut {
            self.flight = Flight::Nothing;
        }
        // An end that knows nobody, and will not learn of anybody, decides nothing.
        let knows_nobody = matches!(self.accept, AcceptEnd::NotYet | AcceptEnd::Unauthenticated);
        let will_not =
            self.flight == Flight::Nothing || self.dial == DialEnd::Gone && self.flight != Flight::AuthI;
        if knows_nobody && will_not {
            self.accept = AcceptEnd::Gone;
        }
        if self.dial == DialEnd::Gone {
            (self.cut, self.acceptor_age, self.dial_order) = (false, 0, 0);
        }
        if self.accept == AcceptEnd::Gone {
            (self.cut, self.accept_order) = (false, 0);
        }
    }
}

const CUT: u32 = 15;

const DIAL_ENDS: [DialEnd; 5] =
    [DialEnd::Gone, DialEnd::Unrevealed, DialEnd::Waits, DialEnd::Accepted, DialEnd::Established];

const ACCEPT_ENDS: [AcceptEnd; 10] = [
    AcceptEnd::NotYet,
    AcceptEnd::Gone,
    AcceptEnd::Unauthenticated,
    AcceptEnd::Questioned,
    AcceptEnd::Deferred,
    AcceptEnd::Asked,
    AcceptEnd::AskedAndDeferred,
    AcceptEnd::Admitted,
    AcceptEnd::Unconfirmed,
    AcceptEnd::Confirmed,
];

const FLIGHTS: [Flight; 9] = [
    Flight::Nothing,
    Flight::Connect,
    Flight::AuthR,
    Flight::AuthI,
    Flight::StatusAlive,
    Flight::GoesOn,
    Flight::Abandons,
    Flight::StatusAccept,
    Flight::FirstRecord,
];

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dialler, acceptor) = (self.dialler, self.dialler.other());
        let before = if self.dialler_age > 0 { "former " } else { "" };
        write!(f, "{before}{dialler:?}→{acceptor:?} {:?}/{:?}", self.dial, self.accept)?;
        if self.flight != Flight::Nothing {
            write!(f, " {:?}~", self.flight)?;
        }
        if self.cut { f.write_str(" cut") } else { Ok(()) }
    }
}

/// All connections, in their one form, and how many faults may still happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) connections: Vec<Connection>,
    pub(crate) faults: u8,
}

impl World {
    pub(crate) fn new(faults: u8) -> Self {
        Self { connections: Vec::with_capacity(SLOTS), faults }
    }

    pub(crate) fn pack(&self) -> u128 {
        let fold = |packed: u128, connection: &Connection| packed << 24 | u128::from(connection.pack());
        self.connections.iter().fold(0, fold) | u128::from(self.faults) << (24 * SLOTS)
    }

    pub(crate) fn unpack(mut packed: u128) -> Self {
        let mut world = Self::new((packed >> (24 * SLOTS)) as u8);
        packed &= (1 << (24 * SLOTS)) - 1;
        while packed != 0 {
            world.connections.push(Connection::unpack((packed & 0xff_ffff) as u32));
            packed >>= 24;
        }
        world.connections.reverse();
        world
    }

    /// Brings the world into its one form.
    pub(crate) fn tidy(&mut self) {
        self.connections.iter_mut().for_each(Connection::tidy);
        self.connections.retain(|connection| Side::BOTH.into_iter().any(|side| connection.is_held_by(side)));
        for side in Side::BOTH {
            renumber(&mut self.connections, |connection| connection.age_mut(side));
            renumber(&mut self.connections, |connection| connection.order_mut(side));
        }
        // Sequences of different diallers and incarnations are never compared.
        let group = |connection: &Connection| (connection.dialler as u8, connection.dialler_age);
        self.connections.sort_unstable_by_key(|connection| (group(connection), connection.sequence));
        let mut last = None;
        for connection in &mut self.connections {
            let next = match last {
                Some((of, sequence)) if of == group(connection) => sequence + 1,
                _ => 0,
            };
            connection.sequence = next;
            last = Some((group(connection), next));
        }
    }
}

/// Closes the gaps between the numbers in a field. 0 stays 0: it stands for itself.
fn renumber(connections: &mut [Connection], field: impl Fn(&mut Connection) -> &mut u8) {
    let mut new = [0; 1 << 4];
    for connection in &mut *connections {
        new[usize::from(*field(connection))] = 1;
    }
    let mut next = 0;
    for number in new.iter_mut().skip(1).filter(|number| **number == 1) {
        next += 1;
        *number = next;
    }
    new[0] = 0;
    for connection in connections {
        let number = field(connection);
        *number = new[usize::from(*number)];
    }
}
