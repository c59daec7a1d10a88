//! Messages and calls of the peer's that have come whole and wait for the application.
//!
//! They stand in the order in which they came, which is that of their credit. An unordered message can be taken
//! before those that came before it: it leaves an empty place, and what it was charged is given back when all
//! before it have been taken. So the sender learns from credit what was taken, whatever the order.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::action::Body;
use super::bytes::ByteQueue;
use super::credit::MESSAGE_OVERHEAD;
use super::inbox::Stored;
use crate::signed::SignedMessage;
use crate::time::Instant;
use crate::wire::frame::Lane;

/// The call that a request is.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestedCall {
    pub(super) id: u64,
    /// As in [`Serving`](super::calls::Serving).
    pub(super) serial: u64,
    pub(super) deadline: Instant,
}

/// What a request is, beside what it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) lane: Lane,
    pub(super) sequence: u64,
    /// If it is a call.
    pub(super) call: Option<RequestedCall>,
    pub(super) unordered: bool,
}

/// What a request says.
#[derive(Debug)]
pub(super) enum Content<'a> {
    Bytes(Body<'a>),
    /// A signed message, verified and for this node.
    Signed(Box<SignedMessage>),
    /// A signed message, verified and for somebody else.
    Relayed(Box<SignedMessage>),
}

/// When a request may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    InTurn,
    Any,
    /// It was, before its turn.
    Taken,
}

/// A request that waits. Its service name is in the byte queue, before a small body. There may be many: they are
/// kept small.
#[derive(Debug)]
pub(super) struct Request {
    sequence: u64,
    call: Option<RequestedCall>,
    body: Stored,
    /// What is given back with it: what it was charged, and messages behind it that were not for the application.
    owed: usize,
    /// Where its bytes stand among all that ever came into the byte queue, modulo 2³²: a window is shorter.
    at: u32,
    lane: Lane,
    order: Order,
    service_len: u8,
    /// Some of what is owed was charged for a one-way message.
    confirms: bool,
}

/// A request that was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) head: Head,
    pub(super) body: Stored,
    service_len: u8,
    /// Where its bytes stand in the byte queue.
    offset: usize,
}

/// Credit that is to be given back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Freed {
    pub(super) bytes: usize,
    /// Some of it was charged for a one-way message.
    pub(super) confirms: bool,
}

impl Freed {
    /// What a message is charged of which this much is service name and body.
    pub(super) const fn of(charged: usize, one_way: bool) -> Self {
        Self { bytes: charged + MESSAGE_OVERHEAD, confirms: one_way }
    }

    fn add(&mut self, request: &Request) {
        self.bytes += request.owed;
        self.confirms |= request.confirms;
    }
}

#[derive(Debug, Default)]
pub(super) struct Requests {
    /// The first is never one that was taken.
    items: VecDeque<Request>,
    small: ByteQueue,
    /// Bytes at the front of `small` that nobody needs once the last event is done with.
    lent: usize,
    /// Bytes that have left `small`, modulo 2³².
    gone: u32,
    /// No unordered one waits before this place.
    looked: usize,
    /// Places of those that were taken before their turn.
    early: usize,
}

impl Request {
    fn head(&self) -> Head {
        let Self { lane, sequence, call, order, .. } = *self;
        Head { lane, sequence, call, unordered: order != Order::InTurn }
    }

    fn small_len(&self) -> usize {
        usize::from(self.service_len) + self.body.small_len()
    }
}

impl Requests {
    pub(super) fn push(&mut self, head: Head, service: &[u8], content: Content<'_>) {
        let at = self.gone.wrapping_add(truncated(self.small.len()));
        self.small.push(service);
        let body = match content {
            Content::Bytes(body) => Stored::of(body, &mut self.small),
            Content::Signed(message) => Stored::Signed(message),
            Content::Relayed(message) => Stored::Relayed(message),
        };
        let Freed { bytes: owed, confirms } = Freed::of(service.len() + body.len(), head.call.is_none());
        let service_len = u8::try_from(service.len()).unwrap_or(u8::MAX);
        let Head { lane, sequence, call, unordered } = head;
        let order = if unordered { Order::Any } else { Order::InTurn };
        let request = Request { sequence, call, body, owed, at, lane, order, service_len, confirms };
        self.items.push_back(request);
    }

    /// Adds credit of a message that is not for the application to that of the one before it. False if none
    /// waits.
    #[must_use]
    pub(super) fn owe_behind(&mut self, freed: Freed) -> bool {
        let Some(last) = self.items.back_mut() else { return false };
        last.owed += freed.bytes;
        last.confirms |= freed.confirms;
        true
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.items.len() - self.early
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The first one, if it is a call.
    pub(super) fn first_call(&self) -> Option<RequestedCall> {
        self.items.front()?.call
    }

    /// Whether an unordered message waits. What was looked at is not looked at again.
    pub(super) fn has_unordered(&mut self) -> bool {
        while let Some(request) = self.items.get(self.looked) {
            if request.order == Order::Any {
                return true;
            }
            self.looked += 1;
        }
        false
    }

    /// Takes the first one, and the credit that is due with it.
    pub(super) fn take(&mut self) -> Option<(Taken, Freed)> {
        self.forget_lent();
        let request = self.pop()?;
        let mut freed = Freed { bytes: request.owed, confirms: request.confirms };
        while self.items.front().is_some_and(|next| next.order == Order::Taken) {
            self.early -= 1;
            freed.add(&self.pop()?);
        }
        let head = request.head();
        Some((Taken { head, body: request.body, service_len: request.service_len, offset: 0 }, freed))
    }

    /// Takes the first unordered message, whatever stands before it.
    pub(super) fn take_unordered(&mut self) -> Option<(Taken, Freed)> {
        if !self.has_unordered() {
            return None;
        }
        if self.looked == 0 {
            return self.take();
        }
        self.forget_lent();
        let request = self.items.get_mut(self.looked)?;
        let head = request.head();
        request.order = Order::Taken;
        self.early += 1;
        // Its small bytes stay where they are until its place goes.
        let place = Stored::Small(request.body.small_len());
        let body = core::mem::replace(&mut request.body, place);
        let offset = request.at.wrapping_sub(self.gone) as usize;
        let taken = Taken { head, body, service_len: request.service_len, offset };
        Some((taken, Freed::default()))
    }

    fn pop(&mut self) -> Option<Request> {
        let request = self.items.pop_front()?;
        self.lent += request.small_len();
        self.looked = self.looked.saturating_sub(1);
        Some(request)
    }

    fn forget_lent(&mut self) {
        let lent = core::mem::take(&mut self.lent);
        self.small.pop(lent);
        self.gone = self.gone.wrapping_add(truncated(lent));
    }

    /// The service name and the small body of the request that was taken last.
    pub(super) fn lent(&self, taken: &Taken) -> (&str, &[u8]) {
        let service_len = usize::from(taken.service_len);
        let bytes = self.small.slice(taken.offset, service_len + taken.body.small_len());
        let (service, body) = bytes.split_at_checked(service_len).unwrap_or_default();
        // It came in as `&str`.
        (core::str::from_utf8(service).unwrap_or_default(), body)
    }

    pub(super) fn shrink(&mut self) {
        if self.items.is_empty() {
            self.forget_lent();
            self.small.shrink();
            self.items = VecDeque::new();
        }
    }
}

/// A length modulo 2³².
#[allow(clippy::cast_possible_truncation)] // it is what this is for
const fn truncated(length: usize) -> u32 {
    length as u32
}
