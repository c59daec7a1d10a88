//! Messages that wait for a link: in order, bounded in bytes, each until its time is over.

use alloc::collections::{BTreeMap, BTreeSet};
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
    /// By their places: what comes later has a higher one, what is put back a lower one.
    waiting: BTreeMap<i64, Envelope>,
    /// The places by when they are over. Each may have a time of its own, and a full outbox has many.
    expiries: BTreeSet<(Instant, i64)>,
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
        let place = self.waiting.last_key_value().map_or(0, |(last, _)| last + 1);
        self.put(place, envelope);
    }

    /// Puts back what a link did not send, before everything that came later.
    pub(super) fn push_front(&mut self, earlier: Vec<Envelope>) {
        for envelope in earlier.into_iter().rev() {
            let place = self.waiting.first_key_value().map_or(0, |(first, _)| first - 1);
            self.put(place, envelope);
        }
    }

    fn put(&mut self, place: i64, envelope: Envelope) {
        self.bytes += charge(&envelope);
        self.expiries.extend(envelope.expires.map(|expires| (expires, place)));
        self.waiting.insert(place, envelope);
    }

    pub(super) fn take_all(&mut self) -> Vec<Envelope> {
        core::mem::take(self).waiting.into_values().collect()
    }

    /// Takes out what is over by `now`, in its order.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<Envelope> {
        let mut over = Vec::new();
        while let Some((_, place)) = self.expiries.first().filter(|(expires, _)| *expires <= now).copied() {
            self.expiries.pop_first();
            over.push(place);
        }
        over.sort_unstable();
        let expired: Vec<_> = over.iter().filter_map(|place| self.waiting.remove(place)).collect();
        self.bytes -= expired.iter().map(charge).sum::<usize>();
        expired
    }

    /// When the first of them is over.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(expires, _)| *expires)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::link::Message;

    #[derive(Clone, Debug)]
    enum Step {
        Push(Option<u64>),
        PutBack(Vec<Option<u64>>),
        Expire(u64),
        TakeAll,
    }

    fn step() -> impl Strategy<Value = Step> {
        let expires = || proptest::option::weighted(0.8, 0_u64..50);
        prop_oneof![
            6 => expires().prop_map(Step::Push),
            2 => vec(expires(), 0..4).prop_map(Step::PutBack),
            3 => (0_u64..50).prop_map(Step::Expire),
            1 => Just(Step::TakeAll),
        ]
    }

    fn at(second: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(second)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// It does what a plain list does.
        #[test]
        fn d3_messages_leave_the_outbox_in_order_each_once(steps in vec(step(), 0..60)) {
            let (mut outbox, mut list, mut number) = (Outbox::default(), Vec::new(), 0_u32);
            let mut envelope = |expires: Option<u64>| {
                number += 1;
                let body = number.to_be_bytes();
                let message = Message::new("s", &body);
                Envelope { expires: expires.map(at), ..message.into() }
            };
            for step in steps {
                match step {
                    Step::Push(expires) => {
                        let envelope = envelope(expires);
                        list.push(envelope.clone());
                        outbox.push(envelope);
                    }
                    Step::PutBack(earlier) => {
                        let earlier: Vec<_> = earlier.into_iter().map(&mut envelope).collect();
                        list.splice(..0, earlier.iter().cloned());
                        outbox.push_front(earlier);
                    }
                    Step::Expire(now) => {
                        let is_over = |one: &Envelope| one.expires.is_some_and(|expires| expires <= at(now));
                        let (expired, kept): (Vec<_>, Vec<_>) = list.into_iter().partition(is_over);
                        list = kept;
                        prop_assert_eq!(outbox.take_expired(at(now)), expired);
                    }
                    Step::TakeAll => prop_assert_eq!(outbox.take_all(), core::mem::take(&mut list)),
                }
                prop_assert_eq!((outbox.len(), outbox.is_empty()), (list.len(), list.is_empty()));
                prop_assert_eq!(outbox.bytes(), list.iter().map(charge).sum::<usize>());
                prop_assert_eq!(outbox.next_expiry(), list.iter().filter_map(|one| one.expires).min());
            }
        }
    }
}
