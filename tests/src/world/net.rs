//! TCP as a machine: bytes that are late, come in pieces, wait for room, or never come.

use std::collections::VecDeque;
use std::time::Duration;

use handclasp::node::LinkId;

/// What is on its way.
#[derive(Debug)]
pub(super) enum Packet {
    Bytes(Vec<u8>),
    /// The writer has said its last.
    Fin,
    /// The writer has gone, and says so.
    Reset,
}

/// One direction of a connection.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub(super) struct Pipe {
    pub(super) flight: VecDeque<(Duration, Packet)>,
    /// Bytes in flight.
    pub(super) under_way: usize,
    /// Arrived, and not yet read.
    pub(super) inbox: VecDeque<u8>,
    /// The reader sees the end of the stream behind what is in the inbox.
    pub(super) over: bool,
    /// The reader's end was reset.
    pub(super) reset: bool,
    /// The writer found no room and waits for it.
    pub(super) blocked: bool,
    /// The writer has closed its side.
    pub(super) shut: bool,
    last: Duration,
}

impl Pipe {
    /// The time of arrival of what is written now: never before what was written earlier.
    pub(super) fn arrival(&mut self, soonest: Duration) -> Duration {
        self.last = self.last.max(soonest);
        self.last
    }

    pub(super) fn held(&self) -> usize {
        self.under_way + self.inbox.len()
    }
}

/// Who is at an end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The host has not been told of the connection.
    Coming,
    /// A link.
    Linked(LinkId),
    /// Nobody who says anything: what comes is read until this time, then the end is gone.
    Lingering(Duration),
    /// Nobody. What comes is answered by a reset, or by nothing.
    Gone { silent: bool },
}

/// What a link's end of a connection has come to, for the ledger.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Messages of all kinds whose last byte was sealed.
    pub(super) sealed: u64,
    /// Messages, calls and answers that the application has taken.
    pub(super) taken: u64,
    /// One-way messages that this end's link did not know the fate of when it ended.
    pub(super) unknown: u64,
    /// It was established at some time.
    pub(super) established: bool,
    /// It ended in good order, with nothing left behind.
    pub(super) orderly: bool,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) host: usize,
    /// Which life of the host it belongs to.
    pub(super) life: u32,
    pub(super) state: State,
    pub(super) tally: Tally,
}

/// A connection: side 0 dialled, side 1 accepted. `pipes[side]` is what that side writes.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) ends: [End; 2],
    pub(super) pipes: [Pipe; 2],
    /// Bytes that one direction holds before the writer has to wait.
    pub(super) room: usize,
    /// Reads and writes come in pieces.
    pub(super) choppy: bool,
    /// Nothing passes any more, and nobody is told.
    pub(super) dead: bool,
}

impl Conn {
    pub(super) fn new(from: (usize, u32), to: (usize, u32), room: usize, choppy: bool) -> Self {
        let end = |(host, life)| End { host, life, state: State::Coming, tally: Tally::default() };
        Self {
            ends: [end(from), end(to)],
            pipes: [Pipe::default(), Pipe::default()],
            room,
            choppy,
            dead: false,
        }
    }

    /// Whether anybody is at either end.
    pub(super) fn is_open(&self) -> bool {
        self.ends.iter().any(|end| matches!(end.state, State::Linked(_) | State::Coming))
    }
}
