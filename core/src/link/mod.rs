//! One link: the state machine from the first byte to the last.
//!
//! [`Link`] owns no socket, clock or randomness. Its owner does four things in a loop: gives it bytes that came
//! (`recv_space`, `received`), tells it the time (`handle_timeout`), asks what to do (`poll`), and gives commands (`send`, `call`,
//! `reply`, …).
//!
//! Where to look: `state` has every change of phase, `handshake` the way to the traffic keys, `recv` and `send` the way of bytes in and out,
//! `session` what each frame does, `queue` and `inbox` what waits, `calls` and `credit` the accounts.

mod action;
mod bytes;
mod calls;
mod commands;
pub(crate) mod credit;
mod handshake;
mod inbox;
mod message;
mod peer;
mod queue;
mod recv;
mod send;
mod session;
mod state;
mod timers;

#[cfg(feature = "key-log")]
pub use action::KeyLog;
pub use action::{Action, Body, Event, Incoming, Ready, Stats};
pub use message::{
    CallId, MAX_ERROR_DETAIL, MAX_SERVICE, Message, Payload, Priority, Rejected, ReplyRejected, ReplyToken,
    Why,
};
pub use peer::Peer;
pub use queue::Unsent;
pub use state::Phase;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use self::action::Event as E;
use self::bytes::{RecvBuffer, SendBuffer};
use self::handshake::Handshake;
use self::inbox::{Item, Stored};
use self::session::Session;
use self::state::{Drain, Ending};
use self::timers::{Timer, Timers};
use crate::config::Config;
use crate::crypto::noise::Role;
use crate::crypto::{Secret, Seed};
use crate::error::Closed;
use crate::identity::{ClaimedId, NodeId};
use crate::time::Instant;

/// Whom an initiator dials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dial {
    /// The peer that has to answer. `None` takes whoever answers and is trusted.
    pub expected: Option<NodeId>,
    /// The link's number among those that this process started; it must grow from link to link. Peers use it to tell a
    /// late dial from a new one.
    pub sequence: u64,
}

impl Dial {
    /// Dials `peer` and nobody else.
    pub const fn to(peer: NodeId) -> Self {
        Self { expected: Some(peer), sequence: 0 }
    }

    /// Dials whoever answers, if trusted.
    pub const fn anyone() -> Self {
        Self { expected: None, sequence: 0 }
    }

    /// The same with a link sequence.
    #[must_use]
    pub const fn sequence(mut self, sequence: u64) -> Self {
        self.sequence = sequence;
        self
    }
}

/// One end of one link. See the [crate's front page](crate) for the loop around it.
pub struct Link {
    config: Arc<Config>,
    role: Role,
    phase: Phase,
    /// The latest time that the owner has told.
    now: Instant,
    /// Names this link to its own tokens.
    tag: u64,
    timers: Timers,
    recv: RecvBuffer,
    send: SendBuffer,
    handshake: Option<Box<Handshake>>,
    session: Option<Box<Session>>,
    peer: Option<Box<Peer>>,
    claimed: Option<ClaimedId>,
    proved: Option<NodeId>,
    drain: Option<Box<Drain>>,
    ending: Option<Box<Ending>>,
    announce: Announce,
    stats: Stats,
    #[cfg(feature = "key-log")]
    key_log: Option<Box<KeyLog>>,
}

/// Events of which each link has one at most.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each event has come or not, on its own
struct Announce {
    opened: bool,
    identified: bool,
    established: bool,
    /// `Closed` has been given: nothing follows it.
    closed: bool,
}

impl Link {
    /// The side that opened the stream. `seed` is all the randomness that the link uses: 32 fresh bytes for each link.
    pub fn initiator(config: &Arc<Config>, dial: Dial, seed: &Seed, now: Instant) -> Self {
        let mut link = Self::new(config, Role::Initiator, dial, seed, now);
        link.start_initiator();
        link
    }

    /// The side that accepted the stream. `sequence` is as in [`Dial::sequence`], `seed` as in [`initiator`](Self::initiator).
    pub fn responder(config: &Arc<Config>, sequence: u64, seed: &Seed, now: Instant) -> Self {
        let mut link = Self::new(config, Role::Responder, Dial::anyone().sequence(sequence), seed, now);
        link.enter_step(Phase::Preamble);
        link
    }

    fn new(config: &Arc<Config>, role: Role, dial: Dial, seed: &Seed, now: Instant) -> Self {
        // Three independent draws from the one seed: ephemeral key, token tag, first ping.
        let mut draws = Secret::<48>::default();
        // 48 bytes cannot be too many.
        let _ =
            config.provider.hkdf_sha256(b"handclasp/1 seed", seed.secret().expose(), &[], draws.expose_mut());
        let (ephemeral, rest) = draws.expose().split_first_chunk::<32>().unwrap_or((&[0; 32], &[]));
        let (tag, rest) = rest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let ping = rest.first_chunk::<8>().unwrap_or(&[0; 8]);
        let handshake = Handshake::new(
            config,
            role,
            dial.expected,
            dial.sequence,
            Secret::new(*ephemeral),
            u64::from_be_bytes(*ping),
        );
        let mut timers = Timers::default();
        timers.set(Timer::Handshake, now + config.timing.handshake);
        Self {
            config: Arc::clone(config),
            role,
            phase: Phase::KeyExchange,
            now,
            tag: u64::from_be_bytes(*tag),
            timers,
            recv: RecvBuffer::default(),
            send: SendBuffer::default(),
            handshake: Some(Box::new(handshake)),
            session: None,
            peer: None,
            claimed: None,
            proved: None,
            drain: None,
            ending: None,
            announce: Announce { opened: true, ..Announce::default() },
            stats: Stats::default(),
            #[cfg(feature = "key-log")]
            key_log: None,
        }
    }

    /// Time does not step back: a clock that does is heard again once it has caught up.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Acts on what is due by `now`, and says what to do next, out of what the owner is `ready` for: an event to take, bytes to write,
    /// or neither, with the time by which to poll again. Poll until the answer is `Timeout`.
    ///
    /// The owner says what it can take because the two must not wait for each other: events come while the stream takes no bytes
    /// ([`Ready::EVENTS`]), and bytes go while the application takes no events ([`Ready::WRITE`]).
    pub fn poll(&mut self, now: Instant, ready: Ready) -> Action<'_> {
        self.handle_timeout(now);
        if ready.events && self.has_event() {
            return match self.next_event() {
                Some(event) => Action::Event(event),
                None => Action::Timeout(None),
            };
        }
        if ready.write && self.wants_write() {
            return Action::Send;
        }
        Action::Timeout(self.timers.next())
    }

    /// Whether [`next_event`](Self::next_event) has one; drops what is not worth giving out any more.
    fn has_event(&mut self) -> bool {
        if self.announce.opened || self.announce.identified || self.announce.established {
            return true;
        }
        if let Some(session) = &mut self.session {
            session.drop_stale(&mut self.stats);
            if !session.inbox.is_empty() {
                return true;
            }
        }
        match &self.ending {
            Some(ending) => !self.announce.closed && (ending.now || !self.wants_write()),
            None => false,
        }
    }

    fn next_event(&mut self) -> Option<Event<'_>> {
        if core::mem::take(&mut self.announce.opened) {
            return Some(E::Opened);
        }
        if core::mem::take(&mut self.announce.identified) {
            return self.peer.as_deref().map(E::Identified);
        }
        if core::mem::take(&mut self.announce.established) {
            return self.peer.as_deref().map(E::Established);
        }
        if self.session.as_ref().is_some_and(|session| !session.inbox.is_empty()) {
            return self.session.as_mut()?.next_event(self.tag);
        }
        self.announce.closed = true;
        self.timers.stop_all();
        self.send.clear();
        self.ending.as_deref().map(|ending| E::Closed(&ending.closed))
    }

    /// Where the link stands.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether this side opened the stream.
    pub fn is_initiator(&self) -> bool {
        self.role == Role::Initiator
    }

    /// The peer, once it has proved its id.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_deref()
    }

    /// How the link ended, once it has.
    pub fn closed(&self) -> Option<&Closed> {
        self.ending.as_deref().map(|ending| &ending.closed)
    }

    /// Whether the one event [`Event::Closed`] has been taken: the link is over and may be dropped.
    pub const fn is_finished(&self) -> bool {
        self.announce.closed
    }

    /// Figures since the link's start.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// The link's first traffic keys, for a protocol analyser. Only with the feature `key-log`, which is for debugging: who has
    /// these keys reads everything up to the first rekey, and after it too.
    #[cfg(feature = "key-log")]
    pub fn key_log(&self) -> Option<&KeyLog> {
        self.key_log.as_deref()
    }

    /// Calls in flight: own ones, and the peer's.
    pub fn calls_in_flight(&self) -> (usize, usize) {
        self.session.as_ref().map_or((0, 0), |session| (session.pending.len(), session.serving.len()))
    }

    /// Bytes that wait to be sealed.
    pub fn queued(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.lanes.bytes())
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("role", &self.role)
            .field("phase", &self.phase)
            .field("peer", &self.proved)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Drops calls at the front of the inbox that were cancelled or are over: expired work is never begun.
    fn drop_stale(&mut self, stats: &mut Stats) {
        while let Some(Item::Call { id, .. }) = self.inbox.front() {
            if self.serving.contains(*id) {
                break;
            }
            if let Some(Item::Call { service_len, body, .. }) = self.inbox.pop() {
                self.release(credit::Budget::Messages, usize::from(service_len) + body.len());
                stats.expired_calls += 1;
            }
        }
    }

    /// The first thing in the inbox, as an event; gives its credit back.
    fn next_event(&mut self, tag: u64) -> Option<Event<'_>> {
        let item = self.inbox.pop()?;
        match &item {
            Item::Message { service_len, body, .. } | Item::Call { service_len, body, .. } => {
                self.release(credit::Budget::Messages, usize::from(*service_len) + body.len());
            }
            Item::Reply { body, .. } => self.release(credit::Budget::Replies, body.len()),
            Item::Failed { .. } | Item::Cancelled { .. } | Item::Draining { .. } => {}
        }
        if let Item::Call { id, .. } = &item {
            if let Some(call) = self.serving.get_mut(*id) {
                call.dispatched = true;
            }
        }
        let Self { inbox, .. } = self;
        let body_of = |stored: Stored, small| match stored {
            Stored::Small(_) => Body::Lent(small),
            Stored::Large(bytes) => Body::Owned(bytes),
        };
        Some(match item {
            Item::Message { lane, sequence, service_len, body } => {
                let (service, small) = inbox.lent(service_len);
                let body = body_of(body, small);
                E::Message(Incoming { service, body, priority: Priority::of_lane(lane), sequence })
            }
            Item::Call { id, lane, sequence, service_len, body, deadline } => {
                let (service, small) = inbox.lent(service_len);
                let body = body_of(body, small);
                let request = Incoming { service, body, priority: Priority::of_lane(lane), sequence };
                E::Call { token: ReplyToken { id, link: tag }, request, deadline }
            }
            Item::Reply { call, body } => {
                let (_, small) = inbox.lent(0);
                E::Reply { call: CallId(call), body: body_of(body, small) }
            }
            Item::Failed { call, error } => E::CallFailed { call: CallId(call), error },
            Item::Cancelled { call } => E::Cancelled { call },
            Item::Draining { by, code, detail } => E::Draining { by, code, detail },
        })
    }
}
