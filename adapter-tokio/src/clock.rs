//! What the core takes as arguments: time, randomness, and the number of a link.

use std::sync::atomic::{AtomicU64, Ordering};

use handclasp::{Instant, Seed};

/// A link's clock: the system's monotonic clock, counted from the link's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn now(self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }

    /// The same point in time on the system's clock.
    pub(crate) fn to_std(self, at: Instant) -> std::time::Instant {
        let since = at.since(Instant::ZERO);
        // A deadline too far for the system's clock is as good as none: a day is far enough to look again.
        self.0.checked_add(since).unwrap_or_else(|| std::time::Instant::now() + FAR)
    }
}

const FAR: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// Fresh random bytes of the operating system, for one link or one key.
///
/// # Panics
/// If the operating system has no randomness: nothing here is safe without.
pub fn random_seed() -> Seed {
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).expect("the operating system gives randomness");
    Seed::new(*bytes)
}

/// A random number for [`Config::builder`](handclasp::Config::builder): draw it once at the start of the
/// process.
///
/// # Panics
/// As [`random_seed`].
pub fn incarnation() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    u64::from_le_bytes(bytes)
}

/// The next link sequence of this process. Peers only compare numbers of one incarnation, so one counter for
/// all nodes of a process serves: each node's links still get growing numbers.
pub(crate) fn next_sequence() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
