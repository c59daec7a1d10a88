//! How many bytes of messages of the lowest priority are on their way at a time.
//!
//! That priority is to disturb nothing. But what has left stands before all that is more urgent, on the wire and in
//! buffers that may hold megabytes, and credit says nothing of it: it comes back for whole messages, once they are
//! taken. So pings pace the lane: a PONG says that what was sealed before its PING has arrived. How much may go ahead
//! follows from how much longer they take than the quickest did, as in LEDBAT (RFC 6817): that is what waits on the
//! path.

use core::time::Duration;

use crate::time::Instant;

/// What may be on its way at first, and at the least: about a record, and what TCP begins with (RFC 6928).
const LEAST: u32 = 16 << 10;

/// What may be on its way as long as answers are [quick](QUICK). Half of it is twice what a link seals and reads at a
/// time, so that the ends need not take turns.
const FREE: u32 = 256 << 10;

/// A delay that nobody minds, whatever the round trip: paths jitter, and their ends have other work.
const QUICK: Duration = Duration::from_millis(20);

/// A delay that adds up to one that people notice. RFC 6817 has 100 ms as the most that may be aimed at. More than twice
/// what is quick, so that what was doubled is not halved again.
const SLOW: Duration = Duration::from_millis(50);

/// How long a least round trip counts. The path may have become a longer one by then, which looks like one that is full.
const MEMORY: Duration = Duration::from_secs(60);

/// The account of what is on its way, in bytes of messages.
#[derive(Debug)]
pub(super) struct Pace {
    limit: u32,
    /// Sealed, and not known to have arrived.
    ahead: u32,
    /// What of it was sealed before the ping that is under way.
    marked: Option<u32>,
    /// The least round trip, and since when.
    least: Option<(Duration, Instant)>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { limit: LEAST, ahead: 0, marked: None, least: None }
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

    /// The ping's answer has come after `rtt`. All that it took longer than the least is a delay, of which this lane's
    /// bytes are taken to be the cause. A ping leaves half way, and so meets about half of what the lane makes others
    /// wait.
    pub(super) fn arrived(&mut self, rtt: Duration, now: Instant) {
        let least = self.least(rtt, now);
        let Some(arrived) = self.marked.take() else { return };
        let delay = rtt.saturating_sub(least);
        let (near, far) = (delay <= least / 2, delay / 2 > least);
        if far && delay > SLOW {
            self.limit = (self.limit / 2).max(LEAST);
        } else if far && self.limit > FREE {
            self.limit = (self.limit / 2).max(FREE);
        } else if self.is_spent() && (near || (delay <= QUICK && self.limit < FREE)) {
            self.limit = self.limit.saturating_mul(2);
        }
        self.ahead -= arrived;
    }

    /// The least round trip of late. When it is forgotten the lane begins anew, so that the next answers say what the
    /// path takes without it.
    fn least(&mut self, rtt: Duration, now: Instant) -> Duration {
        let (least, since) = match self.least {
            Some((least, since)) if now.since(since) < MEMORY => (least.min(rtt), since),
            _ => {
                self.limit = LEAST;
                (rtt, now)
            }
        };
        self.least = Some((least, since));
        least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST_RTT: Duration = Duration::from_millis(10);

    fn at(millis: u32) -> Instant {
        Instant::ZERO + Duration::from_millis(millis.into())
    }

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
                pace.arrived(Duration::from_millis((due - sent).into()), at(now));
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
        for rate in [10, 1000, 2500, 10_000, 50_000, 1_000_000] {
            let (ahead, moved) = settle(rate);
            // All but what a step of a millisecond leaves out.
            assert!(moved >= rate * 1000 / 10 * 9, "{rate}: {moved}");
            // A ping's round trip is half again as long if half a round trip's bytes wait when it leaves, with twice as
            // much behind it; and limits are doubled. The same for half of it that waits for as long as is quick.
            let short = (rate * 2 * 2 * (10 + 20)).clamp(LEAST, FREE);
            // The first answer has nothing to be compared with, and has met half of the least that may go.
            assert!(ahead <= (LEAST + short).max(rate * 10 * 6), "{rate}: {ahead}");
        }
    }

    /// The limits in KiB after answers with these delays, in milliseconds, each to all that might go.
    fn limits<const N: usize>(pace: &mut Pace, least: u64, delays: [u64; N]) -> [u32; N] {
        delays.map(|delay| {
            while !pace.is_spent() {
                pace.sealed(1000);
            }
            assert!(pace.wants_mark());
            pace.mark();
            assert!(!pace.wants_mark(), "one at a time");
            pace.arrived(Duration::from_millis(least + delay), at(0));
            assert!(!pace.is_spent(), "all of it has arrived");
            pace.limit >> 10
        })
    }

    #[test]
    fn the_limit_follows_the_round_trip_between_its_bounds() {
        // It opens while answers are quick, or near the least round trip.
        let mut pace = Pace::default();
        assert_eq!(limits(&mut pace, 100, [0, 20, 50, 51, 50]), [32, 64, 128, 128, 256]);
        // Slow is what takes long by the clock and by the round trip.
        assert_eq!(limits(&mut pace, 100, [0, 51, 200, 201, 204]), [512, 512, 512, 256, 128]);
        let mut pace = Pace::default();
        assert_eq!(limits(&mut pace, 2, [0, 20, 20, 20, 20]), [32, 64, 128, 256, 256]);
        // Beyond what is free only by the round trip. And so it comes back.
        assert_eq!(limits(&mut pace, 2, [1, 2, 1, 4, 6, 50]), [512, 512, 1024, 1024, 512, 256]);
        assert_eq!(limits(&mut pace, 2, [50, 51, 50, 51, 51, 51, 51]), [256, 128, 128, 64, 32, 16, 16]);
    }

    #[test]
    fn m7_what_a_stall_took_from_the_lowest_priority_comes_back() {
        let mut pace = Pace::default();
        // The least round trip was that of an idle path: no answer beside bulk is ever near it again.
        assert_eq!(
            limits(&mut pace, 1, [0, 20, 20, 20, 300, 300, 300, 300]),
            [32, 64, 128, 256, 128, 64, 32, 16]
        );
        assert_eq!(limits(&mut pace, 1, [21, 20, 20, 20, 20, 20]), [16, 32, 64, 128, 256, 256]);
    }

    #[test]
    fn m7_a_path_that_has_become_longer_is_not_taken_for_a_full_one_for_long() {
        let mut pace = Pace::default();
        let mut limits = alloc::vec::Vec::new();
        for second in 0..130 {
            while !pace.is_spent() {
                pace.sealed(1000);
            }
            pace.mark();
            let rtt = if second < 10 { 10 } else { 100 };
            pace.arrived(Duration::from_millis(rtt), at(second * 1000));
            limits.push(pace.limit >> 10);
        }
        assert_eq!(limits[..3], [32, 64, 128]);
        assert_eq!(limits[30..60], [16; 30]);
        // It is measured anew from the least that may go, and then grows as on any path.
        assert_eq!(limits[60..64], [32, 64, 128, 256]);
        assert_eq!(limits[118..123], [u32::MAX >> 10, u32::MAX >> 10, 32, 64, 128]);
    }

    #[test]
    fn what_is_not_used_up_does_not_grow_and_what_was_sealed_behind_the_ping_stays_ahead() {
        let mut pace = Pace::default();
        pace.sealed(LEAST as usize / 2);
        pace.mark();
        pace.sealed(1000);
        pace.arrived(LEAST_RTT, at(0));
        assert_eq!((pace.limit, pace.ahead), (LEAST, 1000));
        // An answer to nothing.
        pace.arrived(LEAST_RTT, at(0));
        assert_eq!((pace.limit, pace.ahead), (LEAST, 1000));
        pace.sealed(usize::MAX);
        assert!(pace.is_spent() && pace.wants_mark());
    }
}
