//! The ready barrier: who holds the link until its application says that it is ready, and has not said so.

use super::Link;
use super::timers::Timer;
use crate::error::{Reason, Violation};
use crate::phase::Phase;
use crate::time::Instant;
use crate::wire::Malformed;

/// Whose READY is still to come.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    own: bool,
    peer: bool,
}

impl Barrier {
    const fn is_open(&self) -> bool {
        !self.own && !self.peer
    }
}

impl Link {
    /// Says that this side's application is ready, on a link of a configuration that
    /// [holds](crate::ConfigBuilder::hold_ready); does nothing on another, or the second time. Said before
    /// the link is established it counts from there on.
    ///
    /// It goes out before messages that wait to be sent. A side whose readiness depends on what the other
    /// side has to hear calls it once that is answered.
    pub fn ready(&mut self, now: Instant) {
        note!(self, Some(now), Input::Ready);
        self.advance(now);
        if self.phase.is_handshake() {
            self.announce.said_ready = true;
        } else if let (Phase::Established, Some(session)) = (self.phase, &mut self.session) {
            if core::mem::take(&mut session.barrier.own) {
                session.control.ready = true;
                self.open_barrier();
            }
        }
    }

    /// Begins to wait for each side that holds.
    pub(super) fn raise_barrier(&mut self) {
        let (Some(session), Some(peer)) = (&mut self.session, &self.peer) else { return };
        let holds = self.config.hello.hold;
        session.control.ready = holds && self.announce.said_ready;
        session.barrier = Barrier { own: holds && !self.announce.said_ready, peer: peer.hello.hold };
        self.timers.set(Timer::Ready, self.now + self.config.timing.ready);
        self.open_barrier();
    }

    /// The peer is ready.
    pub(super) fn on_ready(&mut self) -> Result<(), Reason> {
        let Some(session) = &mut self.session else { return Ok(()) };
        if !core::mem::take(&mut session.barrier.peer) {
            let what = Malformed::new("READY: nobody waits for it");
            return Err(Reason::Violation(Violation { phase: self.phase, what }));
        }
        self.open_barrier();
        Ok(())
    }

    /// Tells the owner once there is nobody left to wait for. A link that drains is not ready any more.
    fn open_barrier(&mut self) {
        let open = self.session.as_ref().is_some_and(|session| session.barrier.is_open());
        if open && self.phase == Phase::Established {
            self.timers.stop(Timer::Ready);
            self.announce.ready = true;
        }
    }
}
