//! A node's own clock: it began somewhere, runs a little fast or slow, and may jump ahead.

use std::time::Duration;

use handclasp::Instant;

/// Parts in a million.
const PPM: u128 = 1_000_000;

/// What a node takes for the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    since: Duration,
    read: Instant,
    rate: u32,
}

impl Clock {
    /// A clock that read `offset` when the world began and runs at `rate` parts in a million.
    pub(super) fn new(offset: Duration, rate: u32) -> Self {
        Self { since: Duration::ZERO, read: Instant::ZERO + offset, rate: rate.max(1) }
    }

    /// What it reads at the world's time `now`.
    pub(super) fn read(&self, now: Duration) -> Instant {
        let passed = now.saturating_sub(self.since).as_nanos() * u128::from(self.rate) / PPM;
        self.read + nanos(passed)
    }

    /// The world's time at which it first reads `local`.
    pub(super) fn when(&self, local: Instant) -> Duration {
        let passed = (local.since(self.read).as_nanos() * PPM).div_ceil(u128::from(self.rate));
        self.since.saturating_add(nanos(passed))
    }

    /// Steps ahead, as after a suspend.
    pub(super) fn jump(&mut self, now: Duration, by: Duration) {
        *self = Self { since: now, read: self.read(now) + by, rate: self.rate };
    }
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_reads_what_it_was_asked_for_at_the_time_it_gives_and_not_before() {
        for rate in [900_000, 949_999, 1_000_000, 1_050_001] {
            let mut clock = Clock::new(Duration::from_secs(77), rate);
            clock.jump(Duration::from_millis(1234), Duration::from_secs(3));
            for ahead in [1, 999, 1_000_003, 7_777_777_777] {
                let local = clock.read(Duration::from_secs(2)) + Duration::from_nanos(ahead);
                let when = clock.when(local);
                assert!(clock.read(when) >= local);
                let before = when.saturating_sub(Duration::from_nanos(1));
                assert!(clock.read(before) < local);
            }
        }
    }
}
