//! How many bytes of messages of the lowest priority are on their way at a time.
//!
//! That priority is to disturb nothing. But what has left stands before all that is more urgent, on the wire and in
//! buffers that may hold megabytes, and credit says nothing of it: it comes back for whole messages, once they are
//! taken. So pings pace the lane: a PONG says that what was sealed before its PING has arrived. How much may go ahead
//! follows from what they take, as in LEDBAT (RFC 6817): while a round trip is near the least one, nothing waits on the
//! path.

use core::time::Duration;

/// What may be on its way at first. Half of it is twice what a link seals and reads at a time, so that the ends need not
/// take turns.
const LEAST: u32 = 256 << 10;

/// What may be on its way where that is slow. About a record: a message of a few records goes in as many round trips.
const LEAST_OF_SLOW: u32 = 16 << 10;

/// What is slow: more than anybody would wait for, the target of RFC 6817.
const SLOW: Duration = Duration::from_millis(100);

/// Round trips of up to so many halves of the least one let more go ahead.
const NEAR_HALVES: u32 = 3;

/// Round trips of more than so many halves of the least one let less.
const FAR_HALVES: u32 = 6;

/// The account of what is on its way, in bytes of messages.
#[derive(Debug)]
pub(super) struct Pace {
    limit: u32,
    /// Sealed, and not known to have arrived.
    ahead: u32,
    /// What of it was sealed before the ping that is under way.
    marked: Option<u32>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { limit: LEAST, ahead: 0, marked: None }
    }
}

impl Pace {
    /// Whether the lane has to wait.
    pub(super) const fn is_spent(&self) -> bool {
        self.ahead >= self.limit
    }

    /// Bytes of the lane were sealed.
    pub(super) fn sealed(&mut self, bytes: usize) {
        self.ahead = self.ahead.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Whether it is time for a ping: half way, so that the lane need not wait if the answer is there before the
    /// other half has gone.
    pub(super) const fn wants_mark(&self) -> bool {
        self.marked.is_none() && self.ahead >= self.limit / 2
    }

    /// A ping was sealed, whatever for.
    pub(super) fn mark(&mut self) {
        self.marked = Some(self.ahead);
    }

    /// The ping's answer has come after `rtt`; `least` is the least round trip so far.
    pub(super) fn arrived(&mut self, rtt: Duration, least: Duration) {
        let Some(arrived) = self.marked.take() else { return };
        if 2 * rtt > FAR_HALVES * least {
            let least = if rtt > SLOW { LEAST_OF_SLOW } else { LEAST };
            // One that is below is not raised by an answer that came late.
            self.limit = (self.limit / 2).max(least.min(self.limit));
        } else if self.is_spent() && 2 * rtt <= NEAR_HALVES * least {
            self.limit = self.limit.saturating_mul(2);
        }
        self.ahead -= arrived;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST_RTT: Duration = Duration::from_millis(10);

    /// A path of `rate` bytes a millisecond without any delay but `LEAST_RTT` and that of its own queue: what the lane
    /// has ahead in the end, and what it moved in the last thousand milliseconds, in bytes.
    fn settle(rate: u32) -> (u32, u32) {
        let mut pace = Pace::default();
        let mut queue = 0_u32;
        let mut pongs = alloc::collections::VecDeque::new();
        let mut moved = 0;
        for now in 0..10_000_u32 {
            while pongs.front().is_some_and(|(_, due)| *due <= now) {
                let (sent, due): (u32, u32) = pongs.pop_front().unwrap_or_default();
                pace.arrived(Duration::from_millis((due - sent).into()), LEAST_RTT);
            }
            while !pace.is_spent() {
                if pace.wants_mark() {
                    pace.mark();
                    pongs.push_back((now, now + 10 + queue.div_ceil(rate)));
                }
                pace.sealed(1024);
                queue += 1024;
            }
            if pace.wants_mark() {
                pace.mark();
                pongs.push_back((now, now + 10 + queue.div_ceil(rate)));
            }
            let sent = queue.min(rate);
            queue -= sent;
            moved += if now >= 9000 { sent } else { 0 };
        }
        (pace.ahead, moved)
    }

    #[test]
    fn m7_the_lowest_priority_fills_a_path_and_stands_in_line_for_little_more_than_a_round_trip() {
        for rate in [10, 1000, 50_000, 1_000_000] {
            let (ahead, moved) = settle(rate);
            // All but what a step of a millisecond leaves out.
            assert!(moved >= rate * 1000 / 10 * 9, "{rate}: {moved}");
            // A ping's round trip is half again as long if half a round trip's bytes wait when it leaves, with twice as
            // much behind it; and limits are doubled.
            assert!(ahead <= LEAST.max(rate * 10 * 6), "{rate}: {ahead}");
        }
    }

    #[test]
    fn the_limit_follows_the_round_trip_between_its_bounds() {
        let mut pace = Pace::default();
        let mut round = |factor: u32| {
            while !pace.is_spent() {
                pace.sealed(1000);
            }
            assert!(pace.wants_mark());
            pace.mark();
            assert!(!pace.wants_mark(), "one at a time");
            pace.arrived(factor * LEAST_RTT, LEAST_RTT);
            assert!(!pace.is_spent(), "all of it has arrived");
            pace.limit
        };
        assert_eq!([1, 1, 2, 3, 4, 4, 4].map(&mut round), [2, 4, 4, 4, 2, 1, 1].map(|times| times * LEAST));
    }

    #[test]
    fn what_is_not_used_up_does_not_grow_and_what_was_sealed_behind_the_ping_stays_ahead() {
        let mut pace = Pace::default();
        pace.sealed(LEAST as usize / 2);
        pace.mark();
        pace.sealed(1000);
        pace.arrived(LEAST_RTT, LEAST_RTT);
        assert_eq!((pace.limit, pace.ahead), (LEAST, 1000));
        // An answer to nothing.
        pace.arrived(LEAST_RTT, LEAST_RTT);
        assert_eq!((pace.limit, pace.ahead), (LEAST, 1000));
        pace.sealed(usize::MAX);
        assert!(pace.is_spent() && pace.wants_mark());
    }
}
