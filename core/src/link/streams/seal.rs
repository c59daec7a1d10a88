//! What streams put into records: short words before messages, bytes in turn with them.

use alloc::vec::Vec;
use core::time::Duration;

use super::super::queue::SHORTEST_PIECE;
use super::{OWN, PRIORITIES, Streams};
use crate::time::Instant;
use crate::wire::frame::FrameWriter;
use crate::wire::stream::{WORDS_LEN, data_len, open_len};

/// The most streams whose words stand in one record: they leave room for messages.
const WORDS: usize = 64;

impl Streams {
    /// Whether there is anything to seal.
    pub(in super::super) fn wants_seal(&self) -> bool {
        !self.words.is_empty() || self.ready.iter().any(|ready| !ready.is_empty())
    }

    /// Writes what goes before messages (STOP, RESET and credit) behind `out`, as far as `room` bytes hold
    /// it; the rest follows in the next record. True if a window has grown by it.
    pub(in super::super) fn write_words(
        &mut self,
        out: &mut Vec<u8>,
        room: usize,
        now: Instant,
        rtt: Option<Duration>,
    ) -> bool {
        let start = out.len();
        let mut grew = false;
        for _ in 0..WORDS {
            let Some(id) = self.words.first() else { break };
            if room.saturating_sub(out.len() - start) < WORDS_LEN {
                break;
            }
            let left = self.terms.limits.growth.saturating_sub(self.grown);
            let largest = self.terms.limits.largest_window;
            let Some(stream) = self.get_mut(id) else { break };
            let mut writer = FrameWriter::new(out);
            if let Some(code) = stream.incoming.take_stop() {
                writer.stream_stop(id, code);
            }
            let credit = stream.incoming.take_credit(left, largest, now, rtt);
            if let Some((bytes, _)) = credit {
                writer.stream_credit(id, bytes.into());
            }
            if let Some(code) = stream.outgoing.take_reset() {
                writer.stream_reset(id, code);
            }
            let grown = credit.map_or(0, |(_, grown)| grown);
            self.grown += grown;
            grew |= grown > 0;
            self.settle(id);
        }
        grew
    }

    /// For each priority, whether its first stream can write `room` bytes or fewer.
    pub(in super::super) fn writable(&self, room: usize) -> [bool; PRIORITIES] {
        let mut writable = [false; PRIORITIES];
        for (ready, writable) in self.ready.iter().zip(&mut writable) {
            let Some(id) = ready.first() else { continue };
            let Some(stream) = self.table[self.side(id)].get(&id) else { continue };
            *writable = room >= self.head_len(id) + stream.outgoing.queued().min(SHORTEST_PIECE);
        }
        writable
    }

    /// The bytes of the next frame of a stream beside its data.
    fn head_len(&self, id: u64) -> usize {
        let unopened = self.table[OWN].get(&id).filter(|stream| !stream.outgoing.is_opened());
        let name = unopened.and_then(|stream| stream.name.as_deref());
        name.map_or_else(|| data_len(id), |name| open_len(id, name))
    }

    /// Writes a frame of the first stream of a priority, which is writable, and lets the next have its turn.
    pub(in super::super) fn write(
        &mut self,
        at: usize,
        out: &mut FrameWriter<'_>,
        room: usize,
    ) -> Option<()> {
        let id = self.ready[at].first()?;
        let head = self.head_len(id);
        let side = self.side(id);
        let stream = self.table[side].get_mut(&id)?;
        let piece = stream.outgoing.piece(room.saturating_sub(head));
        if stream.outgoing.is_opened() {
            out.stream_data(id, piece.fin, |out| stream.outgoing.seal(piece, out));
        } else {
            self.unopened -= 1;
            let name = stream.name.take().unwrap_or_default();
            out.stream_open(id, &name, piece.fin, |out| stream.outgoing.seal(piece, out));
        }
        self.ready[at].set(id, &mut stream.ready, false);
        // A debt stays when the lane has nothing more: who writes little and often pays as who has much to write.
        self.accounts[at] -= i32::try_from(head + piece.len).unwrap_or(i32::MAX);
        self.queued -= piece.len;
        self.settle(id);
        self.unblock();
        Some(())
    }
}
