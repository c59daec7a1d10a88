//! The link's deadlines: a table of one instant per kind.

use crate::time::Instant;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The present step of the handshake.
    Step,
    /// The whole handshake.
    Handshake,
    /// The earliest deadline of a call, in either direction; may fire early, never late.
    Calls,
    /// Silence of the peer.
    Silence,
    /// Bytes offered and not taken.
    Stall,
    /// A side that is not ready.
    Ready,
    /// No application traffic on an ephemeral link.
    Ephemeral,
    /// The drain after a goodbye.
    Drain,
    /// The last bytes before the end.
    Flush,
}

const COUNT: usize = 9;

/// The end of all time: what no clock reaches. It stands for no deadline in half the room of an option.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// One deadline at most for each [`Timer`].
#[derive(Clone, Debug)]
pub(super) struct Timers([Instant; COUNT]);

impl Default for Timers {
    fn default() -> Self {
        Self([NEVER; COUNT])
    }
}

impl Timers {
    pub(super) const ALL: [Timer; COUNT] = [
        Timer::Step,
        Timer::Handshake,
        Timer::Calls,
        Timer::Silence,
        Timer::Stall,
        Timer::Ready,
        Timer::Ephemeral,
        Timer::Drain,
        Timer::Flush,
    ];

    pub(super) fn get(&self, timer: Timer) -> Option<Instant> {
        Some(self.0[timer as usize]).filter(|at| *at != NEVER)
    }

    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = at;
    }

    /// Brings the deadline forward to `at`, or sets it.
    pub(super) fn set_earliest(&mut self, timer: Timer, at: Instant) {
        let slot = &mut self.0[timer as usize];
        *slot = at.min(*slot);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = NEVER;
    }

    pub(super) fn stop_all(&mut self) {
        *self = Self::default();
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().min().copied().filter(|at| *at != NEVER)
    }

    /// Stops the first timer that is due and returns it.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let timer = Self::ALL.into_iter().find(|timer| self.get(*timer).is_some_and(|at| at <= now))?;
        self.stop(timer);
        Some(timer)
    }
}
