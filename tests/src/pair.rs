//! Two links and the two pipes between them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use handclasp::{Action, Config, Dial, Instant, Link, Message, NodeId, Payload, Ready};

use crate::{Owned, id, seed, step};

/// Which of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end that dialled.
    Initiator,
    /// The end that accepted.
    Responder,
}

impl Side {
    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// One end: its link, the events that it gave, and the pipe that it writes into.
#[derive(Debug)]
pub struct End {
    /// The link.
    pub link: Link,
    /// Events in order, not yet looked at by the test.
    pub events: Vec<Owned>,
    /// What this end has written and the other has not read.
    pub pipe: Pipe,
    /// What the end can take; a test closes one side of it to play a slow application or a full socket.
    pub ready: Ready,
}

/// Bytes on the way, in one direction.
#[derive(Debug, Default)]
pub struct Pipe {
    /// Written and not yet read.
    pub bytes: VecDeque<u8>,
    /// Everything ever written, for replays.
    pub log: Vec<u8>,
    /// The writer has closed its side.
    pub closed: bool,
    /// The reader has been told so.
    told: bool,
}

impl Pipe {
    /// Closes the writer's side: the reader sees the end of the stream behind what is on the way.
    pub fn close(&mut self) {
        self.closed = true;
    }
}

/// Two links joined by pipes.
#[derive(Debug)]
pub struct Pair {
    /// The end that dialled.
    pub initiator: End,
    /// The end that accepted.
    pub responder: End,
    /// The time that both are told.
    pub now: Instant,
    /// The most bytes that one write or read moves.
    pub chunk: usize,
}

impl Pair {
    /// Node 1 dials node 2, each trusting the other, with default configurations.
    pub fn new() -> Self {
        Self::of(&crate::config(1, &[2]), &crate::config(2, &[1]), Some(id(2)))
    }

    /// An initiator with one configuration dials a responder with another.
    pub fn of(initiator: &Arc<Config>, responder: &Arc<Config>, expected: Option<NodeId>) -> Self {
        Self::seeded(initiator, responder, expected, 0)
    }

    /// The same with other randomness for each `run`.
    pub fn seeded(
        initiator: &Arc<Config>,
        responder: &Arc<Config>,
        expected: Option<NodeId>,
        run: u64,
    ) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let end = |link| End { link, events: Vec::new(), pipe: Pipe::default(), ready: Ready::ALL };
        let dial = Dial { expected, sequence: 1 };
        Self {
            initiator: end(Link::initiator(initiator, dial, &seed(2 * run), now)),
            responder: end(Link::responder(responder, 1, &seed(2 * run + 1), now)),
            now,
            chunk: usize::MAX,
        }
    }

    /// A pair that is established, its events up to there taken.
    pub fn established() -> Self {
        let mut pair = Self::new();
        pair.establish();
        pair
    }

    /// Runs until both ends are established, and takes the events.
    ///
    /// # Panics
    /// If they are not.
    pub fn establish(&mut self) {
        self.run();
        for side in [Side::Initiator, Side::Responder] {
            let events = std::mem::take(&mut self.end(side).events);
            assert!(
                matches!(events[..], [.., Owned::Established(_)] | [.., Owned::Established(_), Owned::Ready]),
                "{side:?} is not established: {events:?}"
            );
        }
    }

    /// One end.
    pub fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Initiator => &mut self.initiator,
            Side::Responder => &mut self.responder,
        }
    }

    /// The link of one end.
    pub fn link(&mut self, side: Side) -> &mut Link {
        &mut self.end(side).link
    }

    /// The next event of one end.
    pub fn event(&mut self, side: Side) -> Option<Owned> {
        let events = &mut self.end(side).events;
        (!events.is_empty()).then(|| events.remove(0))
    }

    /// Moves bytes and events, without time passing, until nothing moves any more.
    pub fn run(&mut self) {
        while self.step() {}
    }

    /// Runs, and shows `edit` what each end has written before the other reads it: `pipe.log.len() -
    /// pipe.bytes.len()` is the place in the stream of the first byte on its way, as long as no edit adds
    /// or takes bytes.
    pub fn run_with(&mut self, mut edit: impl FnMut(Side, &mut Pipe)) {
        loop {
            let mut moved = false;
            for side in [Side::Initiator, Side::Responder] {
                moved |= self.act(side);
                edit(side, &mut self.end(side).pipe);
                moved |= self.deliver(side.other());
            }
            if !moved {
                return;
            }
        }
    }

    /// One round: each end does what it can and reads what has come. False if nothing moved.
    pub fn step(&mut self) -> bool {
        let mut moved = false;
        for side in [Side::Initiator, Side::Responder] {
            moved |= self.act(side);
            moved |= self.deliver(side);
        }
        moved
    }

    /// Lets one end act: its events are taken and its bytes written into its pipe. False if it had nothing to
    /// do.
    ///
    /// # Panics
    /// If the link breaks a promise: an event behind `Closed`, a deadline in the past, `Send` without bytes
    /// or bytes without `Send`.
    pub fn act(&mut self, side: Side) -> bool {
        let (now, chunk) = (self.now, self.chunk);
        let End { link, events, pipe, ready } = self.end(side);
        let Pipe { bytes: under_way, log, .. } = pipe;
        let (moved, _) = step::act(link, now, *ready, chunk, events, |bytes| {
            under_way.extend(bytes);
            log.extend(bytes);
        });
        moved
    }

    /// Lets one end read what the other has written. False if nothing had come.
    ///
    /// # Panics
    /// Never.
    pub fn deliver(&mut self, side: Side) -> bool {
        let (now, chunk) = (self.now, self.chunk);
        let (reader, writer) = match side {
            Side::Initiator => (&mut self.initiator, &mut self.responder),
            Side::Responder => (&mut self.responder, &mut self.initiator),
        };
        let mut moved = false;
        loop {
            let count = step::read(&mut reader.link, now, writer.pipe.bytes.make_contiguous(), chunk);
            if count == 0 {
                break;
            }
            writer.pipe.bytes.drain(..count);
            moved = true;
        }
        if writer.pipe.closed && writer.pipe.bytes.is_empty() && !writer.pipe.told {
            writer.pipe.told = true;
            reader.link.recv_closed(now);
            moved = true;
        }
        moved
    }

    /// Gives one end bytes as if they came from the stream, in one read for each chunk that it has room for.
    pub fn inject(&mut self, side: Side, mut bytes: &[u8]) {
        let now = self.now;
        let link = self.link(side);
        loop {
            let count = step::read(link, now, bytes, usize::MAX);
            if count == 0 {
                break;
            }
            bytes = &bytes[count..];
        }
        self.act(side);
    }

    /// Lets time pass, from one deadline to the next, with everything that happens on the way.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.run();
            let next =
                [Side::Initiator, Side::Responder].into_iter().filter_map(|side| self.deadline(side)).min();
            match next.filter(|next| *next <= until) {
                Some(next) => self.now = next,
                None => self.now = until,
            }
            if self.now == until {
                self.run();
                return;
            }
        }
    }

    /// When one end wants to be woken.
    pub fn deadline(&mut self, side: Side) -> Option<Instant> {
        let now = self.now;
        match self.link(side).poll(now, Ready::NOTHING) {
            Action::Timeout(at) => at,
            action => unreachable!("{action:?} without being ready for it"),
        }
    }

    /// Calls `service` from one end, lets the other answer with `answer`, and returns what the caller gets.
    ///
    /// # Panics
    /// If the call cannot be made, or is not answered at once.
    pub fn call(&mut self, from: Side, service: &str, body: &[u8], answer: &[u8]) -> Owned {
        let now = self.now;
        let call = self.link(from).call(Message::new(service, body), Duration::from_secs(5), now);
        call.expect("the call is taken");
        self.run();
        match self.event(from.other()) {
            Some(Owned::Call { token, service: name, body: request, .. }) => {
                assert_eq!((name.as_str(), &request[..]), (service, body));
                self.link(from.other()).reply(token, Ok(Payload::from(answer))).expect("the answer is taken");
            }
            other => panic!("expected the call, got {other:?}"),
        }
        self.run();
        self.event(from).expect("an answer")
    }

    /// The end of one side.
    ///
    /// # Panics
    /// If it has not ended.
    pub fn closed(&mut self, side: Side) -> handclasp::Closed {
        self.link(side).closed().unwrap_or_else(|| panic!("{side:?} has not ended")).clone()
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}
