//! Draws from a seed, and bodies that can be checked by whoever knows their key.

use std::ops::Range;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014): the same draws from the same seed.
#[derive(Debug)]
pub(crate) struct Draws(u64);

impl Draws {
    /// Draws of their own for each combination of `names`, so that one part's draws do not depend on how many
    /// another part has made.
    pub(crate) fn new(seed: u64, names: &[u64]) -> Self {
        let mut draws = Self(seed);
        for name in names {
            draws.0 = draws.next() ^ name.wrapping_mul(0xd134_2543_de82_ef95);
        }
        draws
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `range`, which is not empty.
    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// True in so many cases of a hundred.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.within(0..100) < chance
    }

    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// Fills `bytes` with what follows; the last word is cut.
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_be_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// The bytes that belong to a key, which can be made and checked in parts: all but the last are multiples of
/// eight long.
#[derive(Debug)]
pub(crate) struct Content(Draws);

impl Content {
    pub(crate) fn new(key: u64) -> Self {
        Self(Draws::new(key, &[0xc0]))
    }

    /// Writes the next part.
    pub(crate) fn write(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    /// Whether these are the next part.
    pub(crate) fn matches(&mut self, bytes: &[u8]) -> bool {
        bytes.chunks(8).all(|chunk| self.0.next().to_be_bytes()[..chunk.len()] == *chunk)
    }
}

/// What stands before the content of each body: its number and its whole length.
pub(crate) const HEADER: usize = 16;

/// A body of `length` bytes, at least [`HEADER`].
pub(crate) fn body(number: u64, length: usize) -> Vec<u8> {
    let mut body = vec![0; length.max(HEADER)];
    let whole = body.len() as u64;
    body[..8].copy_from_slice(&number.to_be_bytes());
    body[8..HEADER].copy_from_slice(&whole.to_be_bytes());
    Content::new(number).write(&mut body[HEADER..]);
    body
}

/// The number of a body that is whole and unchanged.
pub(crate) fn opened(body: &[u8]) -> Option<u64> {
    let (number, rest) = body.split_first_chunk()?;
    let (length, content) = rest.split_first_chunk()?;
    let number = u64::from_be_bytes(*number);
    let whole = u64::from_be_bytes(*length) == body.len() as u64;
    (whole && Content::new(number).matches(content)).then_some(number)
}
