//! A goodbye of this side, and the one deadline that it has.

use std::prelude::v1::*;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};

use super::Driver;
use crate::runtime::Runtime;
use crate::runtime::queue::Batch;
use crate::runtime::shared::State;
use crate::{Instant, Phase, Reason};

/// The time that a goodbye has. What has to happen one after the other shares it, so that whatever hangs leaves
/// time for what follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parting {
    begun: Instant,
    time: Duration,
}

impl Parting {
    /// Until when the goodbye waits for what was queued before it.
    fn queue(self) -> Instant {
        self.begun + self.time / 2
    }

    /// Until when calls and streams under way may finish.
    fn work(self) -> Instant {
        self.begun + self.time.saturating_sub(self.time / 5)
    }

    /// Until when handlers may finish with what came, and the last bytes leave.
    pub(super) fn handlers(self) -> Instant {
        self.begun + self.time.saturating_sub(self.time / 10)
    }

    /// Until when the stream is closed and everything is over.
    pub(super) fn end(self) -> Instant {
        self.begun + self.time
    }
}

impl<S, R: Runtime> Driver<S, R> {
    /// From now on this side parts: the first goodbye sets the deadline.
    pub(super) fn set_parting(&mut self, now: Instant) {
        self.parting.get_or_insert(Parting { begun: now, time: self.drain });
    }

    /// When the present share of a goodbye's time is over.
    pub(super) fn next_share(&self) -> Option<Instant> {
        let parting = self.parting?;
        match self.link.phase() {
            Phase::Draining => Some(parting.work()),
            Phase::Closed => Some(parting.handlers()),
            _ => self.goodbye.as_ref().map(|_| parting.queue()),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, R: Runtime> Driver<S, R> {
    /// A handle says goodbye.
    pub(super) fn begin_parting(&mut self, code: u32, detail: String, now: Instant) {
        if self.goodbye.is_some() {
            return;
        }
        if self.link.phase() == Phase::Established {
            self.shared.set_why(Reason::Goodbye { code, detail: detail.clone() });
        }
        if self.member.is_none() {
            self.shared.enter(State::Draining);
        }
        self.set_parting(now);
        // What was queued meanwhile goes before it.
        self.goodbye = Some((code, detail));
    }

    /// Says a goodbye once what was queued before it is with the machine.
    pub(super) fn part(&mut self, now: Instant) {
        if self.goodbye.is_none() {
            return;
        }
        self.shared.take(&mut self.batches);
        self.queue(now);
        let queued = self.batches.iter().all(Batch::is_empty);
        let late = self.parting.is_none_or(|parting| parting.queue() <= now);
        if let Some((code, detail)) = self.goodbye.take_if(|_| queued || late) {
            self.link.goodbye(code, &detail, now);
        }
    }
}
