//! Signs of life: what counts as one, pings, and the silence after which a peer is dead.

use super::Link;
use super::context::Context;
use super::session::Session;
use super::timers::Timer;
use crate::error::{By, Reason};
use crate::time::Instant;

/// Pings in a row without life before the peer counts as dead.
const PINGS: u8 = 2;

/// When the peer was last heard, and the pings that ask it.
#[derive(Debug)]
pub(super) struct Liveness {
    /// The last authenticated record.
    heard: Instant,
    /// Pings since then.
    unanswered: u8,
    /// The ping under way, and when it was sealed.
    ping: Option<(u64, Instant)>,
    next_ping: u64,
}

impl Liveness {
    pub(super) const fn new(first_ping: u64, now: Instant) -> Self {
        Self { heard: now, unanswered: 0, ping: None, next_ping: first_ping }
    }

    /// A record has come: whatever it says, the peer lives.
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.unanswered = 0;
    }

    /// The ping `nonce` was sealed.
    pub(super) fn asked(&mut self, nonce: u64, now: Instant) {
        self.ping = Some((nonce, now));
    }
}

impl Session {
    /// A PONG has come. Only the answer to the ping under way says anything; a late, forged or second one is counted.
    pub(super) fn on_pong(&mut self, nonce: u64, context: &mut Context<'_>) {
        let Some((_, sent)) = self.liveness.ping.take_if(|(expected, _)| *expected == nonce) else {
            context.stats.unknown_pongs += 1;
            return;
        };
        context.stats.pongs += 1;
        let rtt = context.now.since(sent);
        context.stats.note_ping(rtt);
        self.lanes.pace.arrived(rtt, context.now);
        self.measure_pace();
    }

    pub(super) fn queue_ping(&mut self) {
        self.control.ping = Some(self.liveness.next_ping);
        self.liveness.next_ping = self.liveness.next_ping.wrapping_add(1);
    }

    /// Queues a ping for the round trip's sake, unless one is under way.
    pub(super) fn measure(&mut self) {
        if self.liveness.ping.is_none() && self.control.ping.is_none() {
            self.queue_ping();
        }
    }

    /// Asks for word of what the lowest priority has on its way, if it is time. A lane that has to wait never waits
    /// without a question under way.
    pub(super) fn measure_pace(&mut self) {
        if self.lanes.pace.wants_mark() {
            self.measure();
        }
    }
}

impl Link {
    /// The idle time may be over: sends a ping, or gives the peer up. The timer is set once an idle time and
    /// looks at what has happened since, so that records need not touch it.
    pub(super) fn on_silence(&mut self) {
        let Some(session) = &mut self.session else { return };
        let idle = session.limits.idle;
        if self.now >= session.activity + idle {
            session.shrink();
            self.recv.shrink();
            self.send.shrink();
        }
        let silent_until = session.liveness.heard + idle;
        if self.now < silent_until {
            self.timers.set(Timer::Silence, silent_until);
            return;
        }
        if session.liveness.unanswered >= PINGS {
            self.end(Reason::PeerDead, By::Transport);
            return;
        }
        session.liveness.unanswered += 1;
        session.queue_ping();
        self.timers.set(Timer::Silence, self.now + idle);
    }
}
