//! What the peer may send on a stream, and how that grows (docs/wire.md §5.6).

use core::time::Duration;

use crate::time::Instant;

/// Twice what a link seals and reads at a time. With a smaller window the two ends take turns, and each waits for the
/// other.
const ROOMY: u32 = 128 << 10;

/// What is fast, below that: half a window in this time.
const FAST: Duration = Duration::from_millis(1);

/// How many credits are looked at together, above that: what comes in one go after a pause says nothing of the pace.
const CREDITS: u8 = 4;

/// The window of one direction, at its reader.
#[derive(Debug)]
pub(super) struct Window {
    /// What is here, what the peer may still send, and what was read and not given back, in all.
    size: u32,
    available: u32,
    owed: u32,
    grown: u32,
    /// Credits that were looked at together so far, and when that began.
    credits: u8,
    began: Option<Instant>,
}

impl Window {
    pub(super) const fn new(size: u32) -> Self {
        Self { size, available: size, owed: 0, grown: 0, credits: 0, began: None }
    }

    pub(super) fn size(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }

    /// So many bytes came; false if the peer had no credit for them.
    #[must_use]
    pub(super) fn charge(&mut self, bytes: usize) -> bool {
        match u32::try_from(bytes).ok().and_then(|bytes| self.available.checked_sub(bytes)) {
            Some(left) => {
                self.available = left;
                true
            }
            None => false,
        }
    }

    /// So many bytes were read.
    pub(super) fn release(&mut self, bytes: usize) {
        self.owed = self.owed.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Whether credit goes back: once it is half the window. What was read came out of the other half or out of this
    /// one, so a peer that has used everything up is owed that much as soon as everything was read.
    pub(super) const fn is_due(&self) -> bool {
        self.owed > 0 && self.owed >= self.size / 2
    }

    /// Takes what is to be given back. The second number is what the window grew by.
    ///
    /// A window that is used up in two round trips holds its sender up, and one of which everything was read does not
    /// suit its reader: it doubles, by `room` at most and up to `largest`. One that lasts longer than that is large
    /// enough: more of it would only stand in line, before messages and in buffers on the way.
    pub(super) fn take(
        &mut self,
        all_read: bool,
        room: u32,
        largest: u32,
        now: Instant,
        rtt: Option<Duration>,
    ) -> (u32, u32) {
        let mut grown = 0;
        if self.is_short(now, rtt) && all_read {
            grown = self.size.min(largest.saturating_sub(self.size)).min(room);
            self.size += grown;
            self.grown += grown;
        }
        let bytes = core::mem::take(&mut self.owed) + grown;
        self.available += bytes;
        (bytes, grown)
    }

    /// Notes that half a window was used up, and says whether that went so fast that the window is too small.
    fn is_short(&mut self, now: Instant, rtt: Option<Duration>) -> bool {
        let small = self.size < ROOMY;
        self.credits += 1;
        let Some(began) = self.began else {
            self.look(now);
            return true;
        };
        if !small && self.credits < CREDITS {
            return false;
        }
        let took = now.since(began);
        // Who cannot tell how long a round trip takes grows.
        let fast = rtt.is_none_or(|rtt| {
            let half = if small { rtt.max(FAST) } else { rtt };
            took <= half * u32::from(self.credits)
        });
        self.look(now);
        fast
    }

    /// Begins to look anew.
    fn look(&mut self, now: Instant) {
        self.credits = 0;
        self.began = Some(now);
    }

    /// What the window had grown by.
    pub(super) fn take_growth(&mut self) -> u32 {
        core::mem::take(&mut self.grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(10);
    const LARGEST: u32 = 1 << 20;

    /// The window after a sender has moved bytes at `rate` bytes a millisecond for two seconds, with a round trip of
    /// `RTT` and as far as the window lets it, and a reader that reads in steps of `step` milliseconds.
    fn settle(rate: u32, step: u64) -> usize {
        let mut window = Window::new(16 << 10);
        let mut now = Instant::ZERO;
        // Credit and data are half a round trip on their way.
        let (mut credit, mut unread) = (window.size, 0);
        let mut on_the_way = alloc::collections::VecDeque::from([0; 5]);
        let mut back = alloc::collections::VecDeque::from([0; 5]);
        for at in 1..2000_u64 {
            now = now + Duration::from_millis(1);
            credit += back.pop_front().unwrap_or(0);
            let sent = rate.min(credit);
            credit -= sent;
            on_the_way.push_back(sent);
            let came = on_the_way.pop_front().unwrap_or(0);
            assert!(window.charge(came as usize));
            unread += came;
            if at % step == 0 {
                window.release(unread as usize);
                unread = 0;
            }
            let given = if window.is_due() {
                window.take(unread == 0, LARGEST, LARGEST, now, Some(RTT)).0
            } else {
                0
            };
            back.push_back(given);
        }
        window.size()
    }

    #[test]
    fn m12_a_window_grows_to_what_two_round_trips_bring_and_not_beyond_what_that_takes() {
        // Slow senders keep the window that they have, but for the first look.
        assert_eq!(settle(100, 1), 32 << 10);
        for rate in [10_000, 20_000, 40_000] {
            let size = u32::try_from(settle(rate, 1)).expect("small");
            assert!(size >= rate * 10 && size <= 4 * rate * 10, "{rate}: {size}");
        }
        assert_eq!(settle(1_000_000, 1), LARGEST as usize);
    }

    /// What has piled up while the reader slept comes at once. That is no reason for a larger window.
    #[test]
    fn a_burst_after_a_pause_does_not_let_a_window_grow() {
        let mut window = Window { began: Some(Instant::ZERO), ..Window::new(ROOMY) };
        let mut now = Instant::ZERO;
        let mut half = |after: Duration| {
            now = now + after;
            assert!(window.charge(ROOMY as usize / 2));
            window.release(ROOMY as usize / 2);
            assert!(window.is_due());
            window.take(true, LARGEST, LARGEST, now, Some(RTT)).1
        };
        for turn in 0..40 {
            assert_eq!(half(if turn % 4 == 0 { RTT * 4 } else { RTT / 10 }), 0, "{turn}");
        }
        assert_eq!([RTT; 4].map(half), [0, 0, 0, ROOMY]);
    }
}
