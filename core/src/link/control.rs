//! What travels beside messages.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::standing::{Adverts, Permanence};

/// What is queued beside messages. Each kind has one place, or is bounded by the calls in flight, so that no
/// peer can make it grow.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// STATUS that accepts, written out.
    pub(super) status: Option<Vec<u8>>,
    /// A frame that has a record to itself, written out: STATUS that asks, or the answer to it.
    pub(super) alone: Option<Vec<u8>>,
    pub(super) ping: Option<u64>,
    pub(super) pong: Option<u64>,
    pub(super) cancels: VecDeque<u64>,
    /// Change the own key; true also asks the peer to.
    pub(super) rekey: Option<bool>,
    /// The goodbye of this side, sent once no new work is left before it.
    pub(super) goodbye: Option<(u32, Box<str>)>,
    /// This side's READY.
    pub(super) ready: bool,
    pub(super) permanence: Permanence,
    pub(super) adverts: Adverts,
}

impl Control {
    /// Whether there is anything to send, apart from a goodbye, which waits for its time.
    pub(super) fn wants_seal(&self) -> bool {
        self.status.is_some()
            || self.alone.is_some()
            || self.ping.is_some()
            || self.pong.is_some()
            || self.rekey.is_some()
            || self.ready
            || self.permanence.is_due()
            || self.adverts.is_due()
            || self.adverts.ack.is_some()
            || !self.cancels.is_empty()
    }
}
