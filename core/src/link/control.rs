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
    pub(super) rekey: Rekey,
    /// The goodbye of this side, sent once no new work is left before it.
    pub(super) goodbye: Option<(u32, Box<str>)>,
    /// This side's READY.
    pub(super) ready: bool,
    pub(super) permanence: Permanence,
    pub(super) adverts: Adverts,
}

/// Changes of the own key that do not come of its age.
#[derive(Debug, Default)]
pub(super) struct Rekey {
    /// The peer has asked for one.
    pub(super) owed: bool,
    /// The owner has, and the peer is to change its own as well.
    pub(super) wanted: bool,
    /// The peer was asked to and has not answered yet.
    asked: bool,
}

impl Rekey {
    /// A REKEY has come.
    pub(super) fn heard(&mut self, request: bool) {
        if request {
            self.owed = true;
        } else {
            self.asked = false;
        }
    }

    fn is_due(&self) -> bool {
        self.owed || self.wanted
    }

    /// Whether this record is the last under its key, where `aged` is whether that is due by itself, and if so whether
    /// the peer is asked for the same. An answer asks for nothing, so it goes first.
    pub(super) fn take(&mut self, aged: bool) -> Option<bool> {
        if core::mem::take(&mut self.owed) {
            Some(false)
        } else if core::mem::take(&mut self.wanted) {
            Some(!core::mem::replace(&mut self.asked, true))
        } else {
            aged.then_some(false)
        }
    }
}

impl Control {
    /// Whether there is anything to send, apart from a goodbye, which waits for its time.
    pub(super) fn wants_seal(&self) -> bool {
        self.status.is_some()
            || self.alone.is_some()
            || self.ping.is_some()
            || self.pong.is_some()
            || self.rekey.is_due()
            || self.ready
            || self.permanence.is_due()
            || self.adverts.is_due()
            || self.adverts.ack.is_some()
            || !self.cancels.is_empty()
    }
}
