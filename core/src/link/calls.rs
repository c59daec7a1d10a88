//! Calls in flight, in both directions, and how they end.
//!
//! Both tables are sorted by request id. Ids grow, so that entries are added at the end and mostly leave at
//! the front, which a deque does without moving the rest and, in the steady state, without allocating.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::context::Context;
use super::queue::{Body, Kind};
use super::session::Session;
use super::timers::Timer;
use crate::error::{CallError, ServiceError};
use crate::time::Instant;
use crate::wire::Malformed;
use crate::wire::frame::Lane;
use crate::wire::reader::{Reader, VARINT_MAX};

/// How much of an own request has left this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sealed {
    Nothing,
    Part,
    Whole,
}

/// A call that this side made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) id: u64,
    pub(super) deadline: Instant,
    pub(super) lane: Lane,
    pub(super) sealed: Sealed,
}

/// A call that the peer made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Serving {
    pub(super) id: u64,
    /// Counts the calls served. The caller may use an id again after a cancel; this tells the two calls
    /// apart.
    pub(super) serial: u64,
    pub(super) deadline: Instant,
    /// The lane that the call came in: a long answer goes back in it.
    pub(super) lane: Lane,
    /// Whether the application has been given the call.
    pub(super) dispatched: bool,
}

pub(super) trait Keyed {
    fn id(&self) -> u64;
    fn deadline(&self) -> Instant;
}

impl Keyed for Pending {
    fn id(&self) -> u64 {
        self.id
    }
    fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Keyed for Serving {
    fn id(&self) -> u64 {
        self.id
    }
    fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// Calls in flight in one direction.
#[derive(Debug)]
pub(super) struct CallTable<T>(VecDeque<T>);

impl<T> Default for CallTable<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Keyed> CallTable<T> {
    fn find(&self, id: u64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, T::id)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        let at = self.find(id).ok()?;
        self.0.get_mut(at)
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.find(id).is_ok()
    }

    /// Adds a call; false if its id is in flight already.
    #[must_use]
    pub(super) fn insert(&mut self, call: T) -> bool {
        match self.find(call.id()) {
            Ok(_) => false,
            Err(at) => {
                self.0.insert(at, call);
                true
            }
        }
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let at = self.find(id).ok()?;
        self.0.remove(at)
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    /// Takes out one call whose deadline has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<T> {
        let at = self.0.iter().position(|call| call.deadline() <= now)?;
        self.0.remove(at)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().map(T::deadline).min()
    }

    pub(super) fn shrink(&mut self) {
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }
}

impl Session {
    /// Calls that may still be made. A failure that nobody has taken yet counts too, and a cancel that was not sealed:
    /// else an owner that takes none could pile them up, and a peer that answers nothing.
    pub(super) fn call_space(&self) -> usize {
        let taken = self.pending.len() + self.untaken_failures + self.control.cancels.len();
        if self.next_call > VARINT_MAX { 0 } else { (self.limits.max_calls as usize).saturating_sub(taken) }
    }

    /// Queues an ERROR.
    pub(super) fn answer_error(&mut self, id: u64, error: &ServiceError) {
        let code = error.code();
        let mut detail = Vec::new();
        match error {
            ServiceError::TooLarge { limit } => detail.extend_from_slice(&limit.to_be_bytes()),
            ServiceError::Application { code, detail: bytes } => {
                detail.extend_from_slice(&code.to_be_bytes());
                detail.extend_from_slice(bytes);
            }
            _ => {}
        }
        self.lanes.push(Lane::REPLY, Kind::Error { id, code }, "", Body::Copied(&detail));
    }

    /// Ends what is over by `now`: own calls fail, the peer's are dropped.
    pub(super) fn expire_calls(&mut self, context: &mut Context<'_>) {
        while let Some(call) = self.pending.take_due(context.now) {
            let executed = call.executed();
            self.withdraw(&call);
            let error = CallError::DeadlineExceeded { executed };
            self.fail(call.id, error, None);
        }
        while let Some(call) = self.serving.take_due(context.now) {
            self.tell_cancelled(&call);
        }
        let next = self.pending.next_deadline().into_iter().chain(self.serving.next_deadline()).min();
        if let Some(next) = next {
            context.timers.set(Timer::Calls, next);
        }
    }

    /// Takes an own call back as far as it has not left, and tells the peer of what has.
    pub(super) fn withdraw(&mut self, call: &Pending) {
        match call.sealed {
            Sealed::Whole => self.control.cancels.push_back(call.id),
            _ => self.lanes.cancel(call.lane, call.id),
        }
    }
}

/// The error that an ERROR frame says.
pub(super) fn parse_error(code: u16, detail: &[u8]) -> Result<ServiceError, Malformed> {
    let mut reader = Reader::new(detail);
    // TOO_LARGE has the limit in front, and the application's own error its code.
    let value = if matches!(code, 7 | 8) { reader.u32()? } else { 0 };
    Ok(ServiceError::of(code, value, || Bytes::copy_from_slice(reader.rest())))
}
