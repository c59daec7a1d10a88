//! How long to wait before the next dial: exponential, with full jitter.

use core::time::Duration;

/// Draws for waits and choices: predictable from the node's seed, and not for secrets.
///
/// `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Debug)]
pub(super) struct Draws(u64);

impl Draws {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0. The bias is below `bound` / 2⁶⁴.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }
}

/// The waits between dials of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait before the first dial after a failure. Default 500 ms. It doubles with each failure.
    pub first: Duration,
    /// What it does not grow beyond. Default 30 s.
    pub most: Duration,
    /// A link that was established for this long makes the waits short again. Default 10 s: a link that is
    /// lost right after its handshake is no success.
    pub useful: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            most: Duration::from_secs(30),
            useful: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    /// The longest wait after so many failures in a row.
    fn ceiling(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }

    /// A wait after so many failures in a row: anything from nothing to the ceiling, so that nodes that lost
    /// the same peer do not come back at the same moment ("full jitter").
    pub(super) fn wait(&self, failures: u32, draws: &mut Draws) -> Duration {
        let ceiling = u64::try_from(self.ceiling(failures).as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(draws.below(ceiling.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d2_waits_double_from_half_a_second_to_thirty_with_full_jitter() {
        let (backoff, mut draws) = (Backoff::default(), Draws::new(7));
        let ceilings: [u64; 8] = core::array::from_fn(|n| {
            u64::try_from(backoff.ceiling(u32::try_from(n).unwrap_or(0)).as_millis()).unwrap_or(0)
        });
        assert_eq!(ceilings, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(backoff.ceiling(u32::MAX), Duration::from_secs(30));
        for failures in 0..8 {
            let waits: alloc::vec::Vec<_> = (0..1000).map(|_| backoff.wait(failures, &mut draws)).collect();
            let ceiling = backoff.ceiling(failures);
            assert!(waits.iter().all(|wait| *wait <= ceiling));
            // Full jitter: each tenth of the range is hit, the lowest one too.
            for tenth in 0..10 {
                let range = ceiling * tenth / 10..=ceiling * (tenth + 1) / 10;
                assert!(waits.iter().any(|wait| range.contains(wait)), "{failures}: nothing in {range:?}");
            }
        }
    }
}
