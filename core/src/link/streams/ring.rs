//! The bytes of one direction of a stream.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The least that is allocated at a time.
const FIRST: usize = 256;

/// What is kept although it is not used: who writes little and often does not allocate each time.
const KEPT: usize = 1024;

/// A queue of bytes. It holds no more memory than its limit, and no more than twice what is in it or [`KEPT`].
#[derive(Debug, Default)]
pub(super) struct Ring(VecDeque<u8>);

impl Ring {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds bytes, which with those that are here are at most `limit`.
    pub(super) fn push(&mut self, bytes: &[u8], limit: usize) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let grown = (self.0.capacity() * 2).max(FIRST).min(limit).max(needed);
            self.0.reserve_exact(grown - self.0.len());
        }
        self.0.extend(bytes);
    }

    /// The first `count` bytes, which are here, in two parts.
    fn front(&self, count: usize) -> [&[u8]; 2] {
        let (first, second) = self.0.as_slices();
        let of_first = count.min(first.len());
        [first.get(..of_first).unwrap_or_default(), second.get(..count - of_first).unwrap_or_default()]
    }

    /// Moves bytes from the front into `out`, as many as there are or as fit.
    pub(super) fn read(&mut self, mut out: &mut [u8]) -> usize {
        let count = self.0.len().min(out.len());
        for part in self.front(count) {
            let (place, rest) = out.split_at_mut(part.len());
            place.copy_from_slice(part);
            out = rest;
        }
        self.remove(count);
        count
    }

    /// Moves `count` bytes from the front to the end of `out`.
    pub(super) fn append_to(&mut self, count: usize, out: &mut Vec<u8>) {
        for part in self.front(count) {
            out.extend_from_slice(part);
        }
        self.remove(count);
    }

    fn remove(&mut self, count: usize) {
        self.0.drain(..count);
        if self.0.capacity() > KEPT && self.0.len() < self.0.capacity() / 2 {
            self.0.shrink_to(KEPT);
        }
    }

    /// Gives the memory back if nothing is in it.
    pub(super) fn shrink(&mut self) {
        if self.0.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_their_order_around_the_end_and_the_limit_holds() {
        let (mut ring, mut next_in, mut next_out) = (Ring::default(), 0_u8, 0_u8);
        for round in 0..3000_usize {
            let room = 9000 - ring.len();
            let bytes: Vec<u8> = (0..(round * 701) % (room + 1))
                .map(|_| {
                    next_in = next_in.wrapping_add(1);
                    next_in
                })
                .collect();
            ring.push(&bytes, 9000);
            assert!(ring.capacity() <= 9000, "{}", ring.capacity());
            let mut out = alloc::vec![0; (round * 1301) % 5000];
            if round % 2 == 0 {
                let count = ring.read(&mut out);
                out.truncate(count);
            } else {
                let count = out.len().min(ring.len());
                out.clear();
                ring.append_to(count, &mut out);
                assert_eq!(out.len(), count);
            }
            assert!(ring.capacity() <= (2 * ring.len()).max(KEPT), "{} for {}", ring.capacity(), ring.len());
            for byte in out {
                next_out = next_out.wrapping_add(1);
                assert_eq!(byte, next_out);
            }
        }
    }
}
