//! Every change of phase. What changes the phase also sets its deadlines and queues its event.
//!
//! ```text
//!  initiator                                   responder
//!                                              Preamble
//!  KeyExchange                                 KeyExchange
//!      │ msg2                                      │ msg1
//!  Authentication                              Authentication
//!      │ AUTH_R                                    │ AUTH_I
//!  Admission ── admit                          Admission ◀──▶ Alive
//!      │                                           │ admit
//!  Status ── STATUS ──▶ Established ◀──────────────┘
//!      ▲                    │
//!      ▼                    │
//!    Alive                  │
//!                           │ goodbye, here or there
//!                       Draining
//!                           │ CLOSE both ways
//!  any ── end ─────────▶ Closed
//! ```

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::Link;
use super::calls::{Pending, Sealed};
use super::inbox::Notice;
use super::requests::Requests;
use super::session::Session;
use super::timers::Timer;
use crate::error::{By, CallError, Closed, Executed, Reason, Violation};
use crate::phase::Phase;
use crate::refusal::Refusal;
use crate::wire::Malformed;
use crate::wire::reason;

/// Whether a reason is the end of a drain.
fn is_orderly(why: &Reason) -> bool {
    matches!(why, Reason::Goodbye { .. } | Reason::Idle)
}

/// A reason as each call in flight is told: without a list, of which the peer could send a record full and have it
/// copied for every call. [`Closed`] has it whole.
fn briefly(why: &Reason) -> Reason {
    match why {
        Reason::Refused(Refusal::MissingCapability { .. }) => {
            Reason::Refused(Refusal::MissingCapability { names: Vec::new() })
        }
        why => why.clone(),
    }
}

/// A goodbye under way.
#[derive(Debug)]
pub(super) struct Drain {
    /// Who said it first.
    pub(super) by: By,
    /// Why; for CLOSE, if this side said it.
    pub(super) reason: Reason,
    /// CLOSE has come from the peer.
    pub(super) close_received: Option<Reason>,
}

/// What may still be sealed in the sending direction. It only moves forward.
#[derive(Debug, Default)]
pub(super) enum Outbound {
    /// Anything.
    #[default]
    Open,
    /// CLOSE with this reason, and nothing else.
    Close(Reason),
    /// A STATUS that refuses, written out, and nothing else.
    Refusal(Vec<u8>),
    /// Nothing.
    Over,
}

impl Outbound {
    /// Chooses the last word, unless it has been said. A later reason is the better one.
    pub(super) fn close(&mut self, why: &Reason) {
        if let Self::Open | Self::Close(_) = self {
            *self = Self::Close(why.clone());
        }
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }
}

/// The end, while the last bytes go out.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) closed: Closed,
    /// The stream takes nothing more, or has had its time: the event does not wait for what is left to send.
    pub(super) flushed: bool,
    /// Requests that came before the end have had their time: the event does not wait for them.
    pub(super) waited: bool,
}

impl Link {
    /// Enters a phase of the handshake, with its deadline.
    pub(super) fn enter_step(&mut self, phase: Phase) {
        self.phase = phase;
        self.timers.set(Timer::Step, self.now + self.config.timing.step);
    }

    pub(super) fn establish(&mut self) {
        self.phase = Phase::Established;
        self.announce.established = true;
        self.config.note_established();
        self.handshake = None;
        self.timers.stop(Timer::Step);
        self.timers.stop(Timer::Handshake);
        if let Some(session) = &mut self.session {
            session.liveness.hear(self.now);
            session.activity = self.now;
            self.timers.set(Timer::Silence, self.now + session.limits.idle);
        }
        self.time_ephemeral();
        self.raise_barrier();
        self.tell_established();
    }

    /// Begins to drain: by own wish, or because the peer said goodbye.
    pub(super) fn drain(&mut self, by: By, why: Reason) {
        let (Phase::Established, Some(session)) = (self.phase, &mut self.session) else { return };
        self.phase = Phase::Draining;
        let (code, detail) = match &why {
            Reason::Goodbye { code, detail } => (*code, detail.as_str()),
            _ => (0, ""),
        };
        session.draining = true;
        session.notices.push(Notice::Draining { by, code, detail: detail.into() });
        session.control.goodbye = Some(match by {
            By::Local => (code, detail.into()),
            // The answer to a goodbye, which has nothing of its own to say.
            By::Peer | By::Transport => (0, Box::default()),
        });
        if by == By::Peer {
            session.hold();
        }
        self.timers.stop(Timer::Ephemeral);
        self.timers.stop(Timer::Ready);
        self.timers.set(Timer::Drain, self.now + self.config.timing.drain);
        self.drain = Some(Box::new(Drain { by, reason: why, close_received: None }));
        self.tell_draining(by);
        self.advance_drain();
    }

    /// Queues CLOSE once nothing is left to do, and ends the link once CLOSE has gone both ways.
    pub(super) fn advance_drain(&mut self) {
        let (Some(drain), Some(session)) = (&self.drain, &mut self.session) else { return };
        // The other side may have begun work before it heard the goodbye: its own says that it has begun all
        // it will. Behind its CLOSE it reads nothing more: what waits here to be sent is for nobody.
        let done = match drain.close_received {
            None => session.peer_said_goodbye && session.is_drained(),
            Some(_) => session.streams_are_drained(),
        };
        if done {
            session.outbound.close(&drain.reason);
        }
        if session.outbound.is_over() {
            if let Some(theirs) = &drain.close_received {
                let (by, reason) = match drain.by {
                    By::Local => (By::Local, drain.reason.clone()),
                    by => (by, theirs.clone()),
                };
                self.end(reason, by);
            }
        }
    }

    /// The peer sent CLOSE.
    pub(super) fn close_received(&mut self, theirs: Reason) {
        match &mut self.drain {
            Some(drain) if is_orderly(&theirs) => {
                drain.close_received = Some(theirs);
                // The peer has nothing more to say, so whatever this side still waits for will not come.
                if let Some(session) = &mut self.session {
                    session.give_up_pending();
                    session.drop_inbound();
                    session.hold();
                    if let Some(streams) = &mut session.streams {
                        streams.end(false);
                    }
                }
                self.advance_drain();
            }
            _ => self.end(theirs, By::Peer),
        }
    }

    /// Ends the link for a breach of the wire format.
    pub(super) fn violate(&mut self, what: Malformed) {
        self.end(Reason::Violation(Violation { phase: self.phase, what }), By::Local);
    }

    /// Ends the link: the only way to `Closed`. The first reason stands.
    pub(super) fn end(&mut self, why: Reason, by: By) {
        if self.ending.is_some() {
            return;
        }
        let phase = core::mem::replace(&mut self.phase, Phase::Closed);
        self.timers.stop_all();
        self.recv.clear();
        self.handshake = None;
        let (mut unsent, mut unknown, mut untaken) = (0, 0, 0);
        if let Some(session) = &mut self.session {
            while let Some(call) = session.pending.pop() {
                let error = CallError::LinkClosed { reason: briefly(&why), executed: call.executed() };
                session.fail(call.id, error, None);
            }
            session.drop_inbound();
            let dropped = by == By::Local && matches!(why, Reason::Dropped | Reason::Revoked);
            if let Some(streams) = &mut session.streams {
                streams.end_with_link(dropped);
            }
            if dropped {
                // The owner has no use for the peer any more.
                untaken = session.requests.len();
                session.requests = Requests::default();
            }
            unsent = session.lanes.unsent();
            unknown = session.lanes.unknown();
            if by == By::Transport || !phase.is_open() || !reason::is_sent(&why) {
                session.outbound = Outbound::Over;
            } else {
                session.outbound.close(&why);
            }
        }
        if by == By::Transport {
            self.send.clear();
        }
        self.drain = None;
        self.timers.set(Timer::Flush, self.now + self.config.timing.flush);
        self.timers.set(Timer::Drain, self.now + self.config.timing.drain);
        if phase.is_handshake() {
            self.config.note_failure();
        }
        let (peer, claimed) = (self.proved, self.claimed);
        let closed = Closed { reason: why, by, phase, peer, claimed, untaken, unsent, unknown };
        self.ending = Some(Box::new(Ending { closed, flushed: by == By::Transport, waited: false }));
        self.tell_ended();
    }
}

impl Session {
    /// Whether a drain has nothing left to wait for.
    fn is_drained(&self) -> bool {
        self.control.goodbye.is_none()
            && self.lanes.is_drained()
            && self.pending.iter().all(|call| self.lanes.held && call.sealed == Sealed::Nothing)
            && self.serving.is_empty()
            && self.partial.iter().all(Option::is_none)
            && self.streams_are_drained()
    }

    /// Whether what came on streams was read, and nothing more is to come or go on them.
    fn streams_are_drained(&self) -> bool {
        self.streams.as_ref().is_none_or(|streams| streams.is_drained())
    }

    /// Fails the calls that the peer will not answer any more.
    fn give_up_pending(&mut self) {
        while let Some(call) = self.pending.pop() {
            self.lanes.cancel(call.lane, call.id);
            let reason = Reason::Goodbye { code: 0, detail: String::new() };
            let error = CallError::LinkClosed { reason, executed: call.executed() };
            self.fail(call.id, error, None);
        }
    }
}

impl Pending {
    /// What can be said of a call without an answer.
    pub(super) fn executed(&self) -> Executed {
        match self.sealed {
            Sealed::Whole => Executed::Unknown,
            Sealed::Nothing | Sealed::Part => Executed::No,
        }
    }
}
