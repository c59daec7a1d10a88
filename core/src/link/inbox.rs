//! What has come in and waits for the application, and messages that have come in part.
//!
//! The peer's credit bounds both: what is in here was charged to it, and is given back when the application takes it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::bytes::ByteQueue;
use super::message::SMALL_BODY;
use crate::error::{By, CallError};
use crate::time::Instant;
use crate::wire::frame::Lane;

/// What waits. Service names, and bodies without `large`, are in the byte queue.
#[derive(Debug)]
pub(super) enum Item {
    Message { lane: Lane, sequence: u64, service_len: u8, body: Stored },
    Call { id: u64, lane: Lane, sequence: u64, service_len: u8, body: Stored, deadline: Instant },
    Reply { call: u64, body: Stored },
    Failed { call: u64, error: CallError },
    Cancelled { call: u64 },
    Draining { by: By, code: u32, detail: Box<str> },
}

/// Where a body is.
#[derive(Debug)]
pub(super) enum Stored {
    Small(usize),
    Large(Bytes),
}

impl Stored {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Small(len) => *len,
            Self::Large(bytes) => bytes.len(),
        }
    }

    fn small_len(&self) -> usize {
        match self {
            Self::Small(len) => *len,
            Self::Large(_) => 0,
        }
    }
}

impl Item {
    fn small_len(&self) -> usize {
        match self {
            Self::Message { service_len, body, .. } | Self::Call { service_len, body, .. } => {
                usize::from(*service_len) + body.small_len()
            }
            Self::Reply { body, .. } => body.small_len(),
            _ => 0,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    items: VecDeque<Item>,
    small: ByteQueue,
    /// Bytes at the front of `small` that the last event lent out.
    lent: usize,
}

impl Inbox {
    pub(super) fn push(&mut self, item: Item) {
        self.items.push_back(item);
    }

    pub(super) fn front(&self) -> Option<&Item> {
        self.items.front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Copies a service name in; to be followed by its body and its item.
    pub(super) fn store_service(&mut self, service: &[u8]) -> u8 {
        self.small.push(service);
        u8::try_from(service.len()).unwrap_or(u8::MAX)
    }

    /// Keeps a body out of a record: small ones in the queue, larger ones apart.
    pub(super) fn store(&mut self, body: &[u8]) -> Stored {
        if body.len() > SMALL_BODY {
            return Stored::Large(Bytes::copy_from_slice(body));
        }
        self.small.push(body);
        Stored::Small(body.len())
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
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
