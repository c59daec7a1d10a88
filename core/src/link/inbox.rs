//! What has come in and waits for the application, and messages that have come in part.
//!
//! The peer's credit bounds both: what is in here was charged to it, and is given back when the application
//! takes it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::action::Body;
use super::bytes::ByteQueue;
use super::message::{Envelope, SMALL_BODY};
use crate::error::{By, CallError};
use crate::signed::SignedMessage;
use crate::time::Instant;
use crate::wire::frame::Lane;

/// What waits for a service: a message or a call.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) lane: Lane,
    pub(super) sequence: u64,
    /// The service name is in the byte queue, before a small body.
    pub(super) service_len: u8,
    pub(super) body: Stored,
    /// If it is a call.
    pub(super) call: Option<RequestedCall>,
    /// What was charged to messages that came behind it and were not for the application.
    pub(super) behind: usize,
    /// It or one of those is a one-way message.
    pub(super) confirms: bool,
}

/// The call that a request is.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestedCall {
    pub(super) id: u64,
    /// As in [`Serving`](super::calls::Serving).
    pub(super) serial: u64,
    pub(super) deadline: Instant,
}

/// What waits for the callers and for the owner of the link.
#[derive(Debug)]
pub(super) enum Notice {
    Reply {
        call: u64,
        body: Stored,
    },
    /// `charged` is what an ERROR of the peer's was charged, without the overhead.
    Failed {
        call: u64,
        error: CallError,
        charged: Option<usize>,
    },
    Cancelled {
        serial: u64,
    },
    /// A message of this side's was not sent in time.
    Expired(Box<Envelope>),
    Draining {
        by: By,
        code: u32,
        detail: Box<str>,
    },
}

/// Where a body is.
#[derive(Debug)]
pub(super) enum Stored {
    Small(usize),
    Large(Bytes),
    /// A signed message, verified and for this node.
    Signed(Box<SignedMessage>),
    /// A signed message, verified and for somebody else.
    Relayed(Box<SignedMessage>),
}

impl Stored {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Small(len) => *len,
            Self::Large(bytes) => bytes.len(),
            Self::Signed(message) | Self::Relayed(message) => message.bytes().len(),
        }
    }

    fn small_len(&self) -> usize {
        match self {
            Self::Small(len) => *len,
            Self::Large(_) | Self::Signed(_) | Self::Relayed(_) => 0,
        }
    }

    /// The body as it is given out, where `small` are the bytes of a small one.
    pub(super) fn lend(self, small: &[u8]) -> Body<'_> {
        match self {
            Self::Small(_) => Body::Lent(small),
            Self::Large(bytes) => Body::Owned(bytes),
            Self::Signed(message) | Self::Relayed(message) => Body::Owned(message.body()),
        }
    }
}

impl Request {
    /// What the peer was charged for it, without the overhead.
    pub(super) fn charged(&self) -> usize {
        usize::from(self.service_len) + self.body.len()
    }
}

/// Something whose small bytes are in a byte queue.
pub(super) trait Queued {
    fn small_len(&self) -> usize;
}

impl Queued for Request {
    fn small_len(&self) -> usize {
        usize::from(self.service_len) + self.body.small_len()
    }
}

impl Queued for Notice {
    fn small_len(&self) -> usize {
        match self {
            Self::Reply { body, .. } => body.small_len(),
            _ => 0,
        }
    }
}

/// Things that wait, in order. Requests and notices have one each: an owner that is behind with the one still
/// takes the other.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    items: VecDeque<T>,
    small: ByteQueue,
    /// Bytes at the front of `small` that the last event lent out.
    lent: usize,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), small: ByteQueue::default(), lent: 0 }
    }
}

impl<T: Queued> Inbox<T> {
    pub(super) fn push(&mut self, item: T) {
        self.items.push_back(item);
    }

    pub(super) fn back_mut(&mut self) -> Option<&mut T> {
        self.items.back_mut()
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.items.front()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Copies a service name in; to be followed by its body and its item.
    pub(super) fn store_service(&mut self, service: &[u8]) -> u8 {
        self.small.push(service);
        u8::try_from(service.len()).unwrap_or(u8::MAX)
    }

    /// Keeps a body: a small one out of a record in the queue, others apart.
    pub(super) fn store(&mut self, body: Body<'_>) -> Stored {
        match body {
            Body::Lent(bytes) if bytes.len() <= SMALL_BODY => {
                self.small.push(bytes);
                Stored::Small(bytes.len())
            }
            body => Stored::Large(body.into_bytes()),
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        self.small.pop(core::mem::take(&mut self.lent));
        let item = self.items.pop_front()?;
        self.lent = item.small_len();
        Some(item)
    }

    /// The service name and the small body of the item popped last.
    pub(super) fn lent(&self, service_len: u8) -> (&str, &[u8]) {
        let bytes = self.small.front(self.lent);
        let (service, body) = bytes.split_at_checked(usize::from(service_len)).unwrap_or_default();
        // It came in as `&str`.
        (core::str::from_utf8(service).unwrap_or_default(), body)
    }

    pub(super) fn shrink(&mut self) {
        if self.items.is_empty() {
            self.small.pop(core::mem::take(&mut self.lent));
            self.small.shrink();
            self.items = VecDeque::new();
        }
    }
}

/// What kind of message is under way in a lane.
#[derive(Clone, Copy, Debug)]
pub(super) enum Begun {
    Send,
    Signed,
    Call { id: u64, deadline: Instant },
    Reply { id: u64 },
}

/// A message of which some frames have come.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) begun: Begun,
    pub(super) service_len: u8,
    /// Service name, then body so far. It grows as bytes come, to `total` at most.
    bytes: Vec<u8>,
    total: usize,
}

impl Partial {
    pub(super) fn new(begun: Begun, service: &str, total: usize) -> Self {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(service.as_bytes());
        Self { begun, service_len: u8::try_from(service.len()).unwrap_or(u8::MAX), bytes, total }
    }

    /// Adds a piece; `None` if the message has no room for it.
    pub(super) fn add(&mut self, piece: &[u8]) -> Option<()> {
        let whole = usize::from(self.service_len) + self.total;
        let needed = self.bytes.len().checked_add(piece.len()).filter(|needed| *needed <= whole)?;
        if needed > self.bytes.capacity() {
            let grown = needed.max(self.bytes.capacity() * 2).min(whole);
            self.bytes.reserve_exact(grown - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Some(())
    }

    pub(super) fn is_whole(&self) -> bool {
        self.bytes.len() == usize::from(self.service_len) + self.total
    }

    /// What the message was charged, overhead excluded.
    pub(super) fn charged(&self) -> usize {
        usize::from(self.service_len) + self.total
    }

    /// Service name and body.
    pub(super) fn finish(self) -> (Bytes, Bytes) {
        let mut service = Bytes::from(self.bytes);
        let body = service.split_off(usize::from(self.service_len).min(service.len()));
        (service, body)
    }
}
