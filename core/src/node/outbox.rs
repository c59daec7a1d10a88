//! Messages that wait for a link: in order, bounded in bytes, each until its time is over.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::link::Envelope;
use crate::time::Instant;

/// What an envelope is charged beside its bytes.
const OVERHEAD: usize = 64;

pub(super) fn charge(envelope: &Envelope) -> usize {
    OVERHEAD + envelope.service.len() + envelope.body.len()
}

/// One peer's.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Envelope>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of bodies and service names, with an overhead of 64 for each message.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, envelope: Envelope) {
        self.bytes += charge(&envelope);
        self.waiting.push_back(envelope);
    }

    /// Puts back what a link did not send, before everything that came later.
    pub(super) fn push_front(&mut self, earlier: Vec<Envelope>) {
        for envelope in earlier.into_iter().rev() {
            self.bytes += charge(&envelope);
            self.waiting.push_front(envelope);
        }
    }

    pub(super) fn take_all(&mut self) -> Vec<Envelope> {
        self.bytes = 0;
        core::mem::take(&mut self.waiting).into()
    }

    /// Takes out what is over by `now`.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<Envelope> {
        let is_over = |envelope: &Envelope| envelope.expires.is_some_and(|expires| expires <= now);
        if !self.waiting.iter().any(is_over) {
            return Vec::new();
        }
        let (expired, waiting): (Vec<_>, Vec<_>) =
            self.take_all().into_iter().partition(|envelope| is_over(envelope));
        self.bytes = waiting.iter().map(charge).sum();
        self.waiting = waiting.into();
        expired
    }

    /// When the first of them is over.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|envelope| envelope.expires).min()
    }
}
