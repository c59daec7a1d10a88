//! What becomes of each deadline that has come.

use super::Link;
use super::timers::Timer;
use crate::error::{By, Reason};

impl Link {
    /// Acts on every deadline that has come.
    pub(super) fn handle_due(&mut self) {
        while let Some(timer) = self.timers.take_due(self.now) {
            match timer {
                Timer::Step | Timer::Handshake => self.end(Reason::HandshakeTimeout, By::Local),
                Timer::Calls => self.expire_calls(),
                Timer::Silence => self.on_silence(),
                Timer::Stall => self.end(Reason::WriteStalled, By::Transport),
                Timer::Ready => self.end(Reason::NotReady, By::Local),
                Timer::Ephemeral => self.on_ephemeral(),
                Timer::Drain => match &mut self.ending {
                    Some(ending) => ending.waited = true,
                    None => self.end(Reason::DrainTimeout, By::Local),
                },
                Timer::Flush => {
                    if let Some(ending) = &mut self.ending {
                        ending.flushed = true;
                    }
                }
            }
        }
    }

    /// Drops own messages whose turn has come too late.
    pub(super) fn expire_messages(&mut self) {
        let Some(session) = self.session.as_mut().filter(|_| self.phase.is_open()) else { return };
        if session.expire_messages(self.now, &mut self.stats) {
            self.advance_drain();
        }
    }

    fn expire_calls(&mut self) {
        if let Some((session, mut context, _)) = self.session_parts() {
            session.expire_calls(&mut context);
        }
        self.advance_drain();
    }

    fn on_ephemeral(&mut self) {
        let (Some(after), Some(session)) = (self.config.timing.ephemeral, &self.session) else { return };
        let until = session.activity + after;
        let streams = session.streams.as_ref().is_some_and(|streams| !streams.is_empty());
        if self.now < until || streams || !session.pending.is_empty() || !session.serving.is_empty() {
            // A call or a stream under way keeps the link: look again soon.
            self.timers.set(Timer::Ephemeral, until.max(self.now + after / 8));
        } else {
            self.drain(By::Local, Reason::Idle);
        }
    }
}
