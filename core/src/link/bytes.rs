//! The byte buffers of a link: one for what comes in, one for what goes out, and queues of small bodies.

use alloc::vec::Vec;

/// What a receive buffer starts with: an idle link holds no more.
const FIRST: usize = 256;

/// Received bytes, opened in place. It grows only when bytes have filled it, never because a length field
/// says so.
#[derive(Debug, Default)]
pub(super) struct RecvBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read filled all the room there was.
    brimful: bool,
}

impl RecvBuffer {
    /// Room for the next read, at least one byte unless `limit` bytes wait already.
    pub(super) fn space(&mut self, limit: usize) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.end == self.bytes.len() && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if (self.brimful || self.bytes.is_empty()) && self.bytes.len() < limit {
            self.bytes.resize((self.bytes.len() * 4).clamp(FIRST.min(limit), limit), 0);
            self.brimful = false;
        }
        let room = limit.min(self.bytes.len());
        self.bytes.get_mut(self.end..room).unwrap_or_default()
    }

    /// The first `count` bytes of the space, which were read and are not noted yet.
    #[cfg(feature = "recording")]
    pub(super) fn being_filled(&self, count: usize) -> &[u8] {
        let end = self.end.saturating_add(count).min(self.bytes.len());
        self.bytes.get(self.end..end).unwrap_or_default()
    }

    /// Notes that `count` bytes were read into the space; more than there was room for count as that room.
    pub(super) fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.bytes.len());
        self.brimful = self.end == self.bytes.len();
    }

    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Takes `count` bytes off the front, to be read or opened in place. They stay valid until the next call
    /// of `space`.
    pub(super) fn take(&mut self, count: usize) -> Option<&mut [u8]> {
        let from = self.start;
        let to = from.checked_add(count).filter(|to| *to <= self.end)?;
        self.start = to;
        self.bytes.get_mut(from..to)
    }

    /// Takes a two-byte length field and the `count` bytes behind it off the front, if they are all there;
    /// gives the latter.
    pub(super) fn take_framed(&mut self, count: usize) -> Option<&mut [u8]> {
        self.take(2 + count)?.get_mut(2..)
    }

    /// Gives the memory back if nothing waits in it.
    pub(super) fn shrink(&mut self) {
        if self.start == self.end && self.bytes.len() > FIRST {
            *self = Self::default();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Sealed bytes that the stream has not taken yet.
#[derive(Debug, Default)]
pub(super) struct SendBuffer {
    bytes: Vec<u8>,
    sent: usize,
}

impl SendBuffer {
    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent >= self.bytes.len()
    }

    /// Whether none of what is here is under way: more may be put behind it without the sent bytes piling up
    /// in front.
    pub(super) fn is_fresh(&self) -> bool {
        self.sent == 0 || self.is_empty()
    }

    /// The buffer's end, to write the next record at.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        if self.is_empty() {
            self.bytes.clear();
            self.sent = 0;
        }
        &mut self.bytes
    }

    pub(super) fn advance(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count).min(self.bytes.len());
    }

    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// What a byte queue keeps although it is not used: what fills and drains all the time does not allocate.
const KEPT: usize = 64 << 10;

/// A queue of byte strings whose lengths its owner keeps: one allocation for any number of small bodies.
///
/// It holds no more memory than twice what has ever been in it at a time, and no more than four times what is in
/// it, or [`KEPT`].
#[derive(Debug, Default)]
pub(super) struct ByteQueue {
    bytes: Vec<u8>,
    head: usize,
}

impl ByteQueue {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.compact();
            let needed = self.bytes.len() + bytes.len();
            // A move that frees a quarter is paid for by the bytes that fill it.
            if needed > self.bytes.capacity() / 4 * 3 {
                self.bytes.reserve_exact(needed + bytes.len());
            }
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// The first `count` bytes.
    pub(super) fn front(&self, count: usize) -> &[u8] {
        self.slice(0, count)
    }

    /// `count` bytes that stand `before` bytes behind the first.
    pub(super) fn slice(&self, before: usize, count: usize) -> &[u8] {
        let from = self.head + before;
        self.bytes.get(from..from + count).unwrap_or_default()
    }

    /// Takes out `count` bytes that stand `before` bytes behind the first.
    pub(super) fn remove(&mut self, before: usize, count: usize) {
        if before == 0 {
            // Mostly it is the first that leaves, and then nothing moves.
            return self.pop(count);
        }
        let from = (self.head + before).min(self.bytes.len());
        self.bytes.drain(from..from.saturating_add(count).min(self.bytes.len()));
        self.pop(0);
    }

    /// Takes `count` bytes off the front; forgets those that are gone once none is left.
    pub(super) fn pop(&mut self, count: usize) {
        self.head += count;
        if self.head >= self.bytes.len() {
            self.bytes.clear();
            self.head = 0;
        }
        let (len, capacity) = (self.bytes.len() - self.head, self.bytes.capacity());
        if capacity > KEPT && len < capacity / 4 {
            self.compact();
            self.bytes.shrink_to((2 * len).max(KEPT));
        }
    }

    /// Moves what is in the queue to the front of its memory.
    fn compact(&mut self) {
        self.bytes.drain(..self.head);
        self.head = 0;
    }

    pub(super) fn shrink(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_length_allocates_nothing_until_bytes_have_come() {
        let mut buffer = RecvBuffer::default();
        let space = buffer.space(70_000);
        assert_eq!(space.len(), FIRST);
        space[..2].copy_from_slice(&[0xff, 0xff]);
        buffer.filled(2);
        // The record says 65 535 bytes; the room stays what it was until it is full.
        assert_eq!(buffer.space(70_000).len(), FIRST - 2);
        buffer.filled(FIRST - 2);
        assert!(buffer.space(70_000).len() <= 3 * FIRST);
    }

    #[test]
    fn space_never_passes_the_limit_and_bytes_keep_their_order() {
        let mut buffer = RecvBuffer::default();
        let (mut next_in, mut next_out) = (0_u8, 0_u8);
        for round in 1..2000_usize {
            let space = buffer.space(4098);
            let count = space.len().min(round % 700);
            for byte in space.iter_mut().take(count) {
                *byte = next_in;
                next_in = next_in.wrapping_add(1);
            }
            buffer.filled(count);
            assert!(buffer.pending().len() <= 4098);
            let take = buffer.pending().len() * (round % 3) / 2;
            for byte in buffer.take(take.min(buffer.pending().len())).unwrap() {
                assert_eq!(*byte, next_out);
                next_out = next_out.wrapping_add(1);
            }
        }
        assert!(buffer.take(5000).is_none());
    }

    #[test]
    fn m8_a_byte_queue_holds_a_bounded_multiple_of_what_is_in_it() {
        let (mut queue, mut next_in, mut next_out, mut peak) = (ByteQueue::default(), 0_u8, 0_u8, 0);
        let mut held = alloc::collections::VecDeque::new();
        let mut len = 0;
        for round in 0..20_000_usize {
            // It fills and drains in waves, of which each is larger than the one before.
            let fills = (round / 1000) % 2 == 0;
            if fills || round % 3 == 0 {
                let bytes: Vec<u8> = (0..(round * 7919) % 1300)
                    .map(|_| {
                        next_in = next_in.wrapping_add(1);
                        next_in
                    })
                    .collect();
                queue.push(&bytes);
                held.push_back(bytes.len());
                len += bytes.len();
            }
            if !fills || round % 3 == 0 {
                if let Some(count) = held.pop_front() {
                    for byte in queue.front(count) {
                        next_out = next_out.wrapping_add(1);
                        assert_eq!(*byte, next_out);
                    }
                    queue.pop(count);
                    len -= count;
                }
            }
            peak = peak.max(len);
            let capacity = queue.bytes.capacity();
            assert!(capacity <= 2 * peak + 2600, "{capacity} where there were {peak} at most");
            assert!(capacity <= (4 * len + 2600).max(KEPT), "{capacity} for {len}");
        }
        assert!(peak > 4 * KEPT);
    }
}
