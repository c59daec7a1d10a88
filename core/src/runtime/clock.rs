//! What the core takes as arguments: time and randomness.

use std::time::{Duration, Instant as StdInstant};

use super::Runtime;
use crate::crypto::Secret;
use crate::{Instant, Seed};

/// A link's clock: the runtime's monotonic clock, counted from the link's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: StdInstant,
    now: fn() -> StdInstant,
}

/// A deadline too far for the system's clock is as good as none: a day is far enough to look again.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

impl Clock {
    pub(crate) fn start<R: Runtime>() -> Self {
        Self { start: R::now(), now: R::now }
    }

    pub(crate) fn now(self) -> Instant {
        Instant::ZERO + (self.now)().saturating_duration_since(self.start)
    }

    /// The same point in time on the system's clock.
    pub(crate) fn to_std(self, at: Instant) -> StdInstant {
        self.start.checked_add(at.since(Instant::ZERO)).unwrap_or_else(|| (self.now)() + FAR)
    }
}

/// Fresh random bytes of the operating system, for one link or one key.
///
/// # Panics
/// If the operating system has no randomness: nothing here is safe without.
pub fn random_seed<R: Runtime>() -> Seed {
    let mut bytes = Secret::default();
    R::random(bytes.expose_mut());
    Seed::from_secret(bytes)
}

/// A random number for [`Config::builder`](crate::Config::builder): draw it once at the start of the process.
///
/// # Panics
/// As [`random_seed`].
pub fn incarnation<R: Runtime>() -> u64 {
    let mut bytes = [0; 8];
    R::random(&mut bytes);
    u64::from_le_bytes(bytes)
}
