//! Messages that leave the queues unsent: cancelled, expired, held back for good, or left at the end of the link.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Entry, Kind, Lanes};
use crate::link::credit::Budget;
use crate::link::message::{Envelope, Priority};
use crate::time::Instant;
use crate::wire::frame::Lane;

impl Lanes {
    /// The next one-way message of which the last byte was not sealed; for the end of a link, where everything
    /// else that is queued is dropped. The peer delivers whole messages only, so it has delivered none of
    /// these.
    pub(in crate::link) fn take_unsent(&mut self) -> Option<Envelope> {
        for at in 0..Lane::COUNT {
            self.queues[at].abandon = false;
            while !self.queues[at].entries.is_empty() {
                if let Some(unsent) = self.remove_first(at) {
                    return Some(unsent);
                }
            }
        }
        None
    }

    /// A one-way message whose turn it is and whose time is over, taken out of its lane.
    pub(in crate::link) fn take_expired(&mut self, now: Instant) -> Option<Envelope> {
        let (at, _) = self.expiries().find(|(_, expires)| *expires <= now)?;
        self.remove_first(at)
    }

    /// When the first of the messages whose turn it is expires.
    pub(in crate::link) fn next_expiry(&self) -> Option<Instant> {
        self.expiries().map(|(_, expires)| expires).min()
    }

    /// The lanes whose first message is not begun and expires. What a goodbye holds back has no turn.
    fn expiries(&self) -> impl Iterator<Item = (usize, Instant)> {
        let queues = if self.expiring == 0 || self.held { &[][..] } else { &self.queues };
        let waiting = queues.iter().enumerate().filter(|(_, queue)| queue.begun.is_none());
        waiting.filter_map(|(at, queue)| match queue.entries.front()?.kind {
            Kind::Send { expires, .. } => Some((at, expires?)),
            _ => None,
        })
    }

    /// Takes the first entry of a lane off, and gives it back if it is a one-way message.
    fn remove_first(&mut self, at: usize) -> Option<Envelope> {
        let queue = &mut self.queues[at];
        let entry = queue.entries.front()?;
        let (budget, begun) = (entry.kind.budget() as usize, queue.begun.take());
        queue.bytes[budget] -= entry.unsealed(begun);
        self.waiting[budget] -= usize::from(begun.is_none());
        let message = if let Kind::Send { expires, marks } = entry.kind {
            let small = queue.small.front(entry.small_len());
            let (service, body) = small.split_at_checked(usize::from(entry.service_len)).unwrap_or_default();
            Some(Envelope {
                service: core::str::from_utf8(service).unwrap_or_default().to_string(),
                body: entry.large.clone().unwrap_or_else(|| Bytes::copy_from_slice(body)),
                signed: marks.signed,
                unordered: marks.unordered,
                priority: Priority::of_lane(Lane::ALL[at]),
                expires,
            })
        } else {
            None
        };
        self.expiring -= usize::from(entry.kind.expires());
        queue.passed = 0;
        queue.pop();
        message
    }

    /// The one-way messages that were not begun, for a goodbye that holds them back for good. All else keeps
    /// its place.
    pub(in crate::link) fn take_held(&mut self) -> Vec<Envelope> {
        let mut held = Vec::new();
        for at in 0..Lane::COUNT {
            let begun = self.queues[at].begun.take();
            // Once around: what stays goes from the front to the back.
            for index in 0..self.queues[at].entries.len() {
                let stays = |entry: &Entry| !matches!(entry.kind, Kind::Send { .. });
                if (index == 0 && begun.is_some()) || self.queues[at].entries.front().is_some_and(stays) {
                    self.queues[at].rotate();
                } else {
                    held.extend(self.remove_first(at));
                }
            }
            self.queues[at].begun = begun;
        }
        held
    }

    /// Takes a call out of its lane, as far as it has not left.
    pub(in crate::link) fn cancel(&mut self, lane: Lane, call: u64) {
        let queue = &mut self.queues[lane.index()];
        let mut before = 0;
        let found = queue.entries.iter().position(|entry| {
            let found = matches!(entry.kind, Kind::Call { id, .. } if id == call);
            before += if found { 0 } else { entry.small_len() };
            found
        });
        let Some(at) = found else { return };
        let Some(entry) = queue.entries.remove(at) else { return };
        queue.small.remove(before, entry.small_len());
        let begun = if at == 0 { queue.begun.take() } else { None };
        if at == 0 {
            queue.passed = 0;
        }
        let budget = Budget::Messages as usize;
        queue.bytes[budget] -= entry.unsealed(begun);
        self.waiting[budget] -= usize::from(begun.is_none());
        queue.abandon |= begun.is_some();
        if queue.entries.is_empty() {
            queue.account = 0;
        }
    }

    /// How many one-way messages [`take_unsent`](Self::take_unsent) would give.
    pub(in crate::link) fn unsent(&self) -> usize {
        let entries = self.queues.iter().flat_map(|queue| &queue.entries);
        entries.filter(|entry| matches!(entry.kind, Kind::Send { .. })).count()
    }
}
