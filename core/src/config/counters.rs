//! How many handshakes the links of a configuration have had.

use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;

/// How many handshakes the links of a configuration have had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeStats {
    /// Begun, in either role.
    pub started: usize,
    /// Ended established.
    pub completed: usize,
    /// Ended otherwise.
    pub failed: usize,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) started: AtomicUsize,
    pub(super) completed: AtomicUsize,
    pub(super) failed: AtomicUsize,
    #[cfg(feature = "runtime")]
    pub(super) sequence: AtomicUsize,
}

impl Counters {
    pub(super) fn handshakes(&self) -> HandshakeStats {
        HandshakeStats {
            started: self.started.load(Relaxed),
            completed: self.completed.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }
}
