//! One link: the state machine from the first byte to the last.
//!
//! [`Link`] owns no socket, clock or randomness. Its owner does four things in a loop: gives it bytes that
//! came (`recv_space`, `received`), tells it the time and asks what to do (`poll`), and gives commands
//! (`send`, `call`, `reply`, …).
//!
//! Where to look: `state` has every change of phase, `handshake` the way to the traffic keys, `recv` and
//! `send` the way of bytes in and out, `session` what each frame does (`context` is what it does it to), `due` what
//! each deadline does, `liveness` pings and silence, `events` what the owner is told and when. `queue`, `control`, `inbox` and `requests` are what waits, `streams` the byte
//! streams, `calls`, `credit` and `pace` the accounts. `managed` is what a link and its node tell each other,
//! `alive` how two nodes find out which of two links is dead, `standing` what else they say of the link, `barrier`
//! whether both are ready.

#[macro_use]
mod note;

mod action;
mod alive;
mod barrier;
mod bytes;
mod calls;
mod commands;
mod context;
mod control;
mod credit;
mod due;
mod events;
pub(crate) mod footprint;
mod handshake;
mod inbox;
#[cfg(feature = "key-log")]
mod key_log;
mod liveness;
mod managed;
mod message;
mod pace;
mod peer;
mod queue;
#[cfg(feature = "recording")]
mod recorded;
mod recv;
mod requests;
mod send;
mod session;
mod standing;
mod state;
mod streams;
#[cfg(test)]
mod tests;
mod timers;

#[cfg(feature = "key-log")]
pub use action::KeyLog;
pub use action::{Action, Body, Event, Incoming, Ready, Stats};
pub(crate) use message::SMALL_BODY;
pub use message::{
    CallId, Envelope, MAX_ERROR_DETAIL, MAX_SERVICE, Message, Payload, Priority, Rejected, ReplyRejected,
    ReplyToken, Why,
};
#[cfg(feature = "recording")]
pub(crate) use peer::EXPORTER_LABEL;
pub use peer::Peer;
pub use streams::{STREAM_LINK_ENDED, STREAM_REFUSED, StreamId, StreamRead};

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use self::bytes::{RecvBuffer, SendBuffer};
use self::credit::Budget;
use self::events::Announce;
use self::handshake::Handshake;
use self::managed::Managed;
use self::session::Session;
use self::state::{Drain, Ending};
use self::timers::{Timer, Timers};
use crate::config::{Config, Trust};
use crate::crypto::noise::Role;
use crate::crypto::{CryptoProvider, Secret, Seed};
use crate::error::{By, Closed, Reason};
use crate::hello::Hello;
use crate::identity::{ClaimedId, NodeId};
use crate::phase::Phase;
use crate::time::Instant;

/// Whom an initiator dials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dial {
    /// The peer that has to answer. `None` takes whoever answers and is trusted.
    pub expected: Option<NodeId>,
    /// The link's number among those that this process started; it must grow from link to link. Peers use it
    /// to tell a late dial from a new one.
    pub sequence: u64,
}

impl Dial {
    /// Dials `peer` and nobody else. To name it is to trust it, for this link: it need not be on the list of
    /// [`Trust::Listed`](crate::Trust::Listed).
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
    peer: Option<Arc<Peer>>,
    claimed: Option<ClaimedId>,
    proved: Option<NodeId>,
    drain: Option<Box<Drain>>,
    ending: Option<Box<Ending>>,
    managed: Option<Box<Managed>>,
    announce: Announce,
    stats: Stats,
    #[cfg(feature = "key-log")]
    key_log: Option<Box<KeyLog>>,
    /// The owner has asked for it.
    #[cfg(feature = "key-log")]
    logs_keys: bool,
    #[cfg(feature = "recording")]
    recorded: recorded::Recorded,
}

/// What a link begins with that is not the same for all links of its configuration.
struct Terms {
    hello: Hello,
    trust: Trust,
    managed: Option<Box<Managed>>,
}

impl Terms {
    /// Those of a link without a node.
    fn of(config: &Config) -> Self {
        Self { hello: config.hello.clone(), trust: config.trust.clone(), managed: None }
    }
}

impl Link {
    /// The side that opened the stream. `seed` is all the randomness that the link uses: 32 fresh bytes for
    /// each link.
    pub fn initiator(config: &Arc<Config>, dial: Dial, seed: &Seed, now: Instant) -> Self {
        Self::start(config, Role::Initiator, dial, Terms::of(config), seed, now)
    }

    /// The side that accepted the stream. `sequence` is as in [`Dial::sequence`], `seed` as in
    /// [`initiator`](Self::initiator).
    pub fn responder(config: &Arc<Config>, sequence: u64, seed: &Seed, now: Instant) -> Self {
        let dial = Dial::anyone().sequence(sequence);
        Self::start(config, Role::Responder, dial, Terms::of(config), seed, now)
    }

    fn start(config: &Arc<Config>, role: Role, dial: Dial, terms: Terms, seed: &Seed, now: Instant) -> Self {
        let drawn = draws(&*config.provider, seed);
        let failed = drawn.is_none();
        let (ephemeral, tag, ping) = drawn.unwrap_or_default();
        let Terms { hello, trust, managed } = terms;
        let handshake = Handshake::new(role, dial, hello, trust, ephemeral, ping);
        let mut timers = Timers::default();
        timers.set(Timer::Handshake, now + config.timing.handshake);
        config.note_start();
        let mut link = Self {
            config: Arc::clone(config),
            role,
            phase: Phase::KeyExchange,
            now,
            tag,
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
            managed,
            announce: Announce { opened: true, ..Announce::default() },
            stats: Stats::default(),
            #[cfg(feature = "key-log")]
            key_log: None,
            #[cfg(feature = "key-log")]
            logs_keys: false,
            #[cfg(feature = "recording")]
            recorded: recorded::Recorded::default(),
        };
        if failed {
            // Without its draws the link would use a key that everybody knows.
            link.end(Reason::ProviderFailed, By::Local);
            return link;
        }
        match role {
            Role::Initiator => link.start_initiator(),
            Role::Responder => link.enter_step(Phase::Preamble),
        }
        link
    }

    /// Time does not step back: a clock that does is heard again once it has caught up.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Acts on what is due by `now`, and says what to do next, out of what the owner is `ready` for: an event
    /// to take, bytes to write, or neither, with the time by which to poll again. Poll until the answer
    /// is `Timeout`.
    ///
    /// The owner says what it can take because the one must not wait for the other: events come while the
    /// stream takes no bytes, bytes go while the application takes no events, and answers come while its
    /// services are behind with requests.
    pub fn poll(&mut self, now: Instant, ready: Ready) -> Action<'_> {
        note!(self, Some(now), Input::Poll(ready));
        #[cfg(feature = "recording")]
        let log = self.recorded.log();
        let action = self.next_action(now, ready);
        #[cfg(feature = "recording")]
        let action = recorded::noted(log.as_ref(), action);
        action
    }

    fn next_action(&mut self, now: Instant, ready: Ready) -> Action<'_> {
        self.advance(now);
        self.handle_due();
        self.expire_messages();
        match self.next_source(ready) {
            Some(source) => self.take(source).map_or(Action::Timeout(None), Action::Event),
            None if ready.write && self.wants_write() => Action::Send,
            None => {
                // An owner that waits for the stream to take bytes is stalled by it as much as one that tries
                // in vain.
                if !ready.write && self.wants_write() {
                    self.arm_stall();
                }
                Action::Timeout(self.next_deadline())
            }
        }
    }

    /// When there is something to do at the latest.
    fn next_deadline(&self) -> Option<Instant> {
        let session = self.session.as_ref().filter(|_| self.phase.is_open());
        let expiry = session.and_then(|session| session.lanes.next_expiry());
        self.timers.next().into_iter().chain(expiry).min()
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

    /// The same, to keep beyond the link. It is whole from [`Event::Established`] on: before, a dialler does
    /// not know whether its dial was [simultaneous](Peer::simultaneous).
    pub fn shared_peer(&self) -> Option<Arc<Peer>> {
        self.peer.clone()
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

    /// Calls in flight: own ones, and the peer's.
    pub fn calls_in_flight(&self) -> (usize, usize) {
        self.session.as_ref().map_or((0, 0), |session| (session.pending.len(), session.serving.len()))
    }

    /// Bytes of messages and answers that wait to be sealed, with an overhead of 64 for each.
    pub fn queued(&self) -> usize {
        let Some(session) = &self.session else { return 0 };
        session.lanes.bytes(Budget::Messages) + session.lanes.bytes(Budget::Replies)
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

/// Three independent draws from the one seed: ephemeral key, token tag, first ping.
fn draws(provider: &dyn CryptoProvider, seed: &Seed) -> Option<(Secret<32>, u64, u64)> {
    let mut draws = Secret::<48>::default();
    provider.hkdf_sha256(b"handclasp/1 seed", seed.secret().expose(), &[], draws.expose_mut()).ok()?;
    let (ephemeral, rest) = draws.expose().split_first_chunk::<32>()?;
    let (tag, rest) = rest.split_first_chunk::<8>()?;
    let ping = rest.first_chunk::<8>()?;
    Some((Secret::copied(ephemeral), u64::from_be_bytes(*tag), u64::from_be_bytes(*ping)))
}
