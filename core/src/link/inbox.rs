//! What waits for the callers and the owner of a link, where its bytes are, and messages that have come in part.
//!
//! The peer's credit bounds both: what is in here was charged to it, and is given back when the application
//! takes it. What waits for services is in `requests`.

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
use crate::wire::frame::Marks;

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

    /// Keeps a body: a small one out of a record in `small`, others apart.
    pub(super) fn of(body: Body<'_>, small: &mut ByteQueue) -> Self {
        match body {
            Body::Lent(bytes) if bytes.len() <= SMALL_BODY => {
                small.push(bytes);
                Self::Small(bytes.len())
            }
            body => Self::Large(body.into_bytes()),
        }
    }

    pub(super) fn small_len(&self) -> usize {
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

impl Notice {
    fn small_len(&self) -> usize {
        match self {
            Self::Reply { body, .. } => body.small_len(),
            _ => 0,
        }
    }
}

/// Words for the owner, in order. They do not stand behind requests: an owner that is behind with the one still
/// takes the other.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    items: VecDeque<Notice>,
    small: ByteQueue,
    /// Bytes at the front of `small` that the last event lent out.
    lent: usize,
}

impl Inbox {
    pub(super) fn push(&mut self, notice: Notice) {
        self.items.push_back(notice);
    }

    pub(super) fn push_reply(&mut self, call: u64, body: Body<'_>) {
        let body = Stored::of(body, &mut self.small);
        self.push(Notice::Reply { call, body });
    }

    #[cfg(feature = "recording")]
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Notice> {
        self.small.pop(core::mem::take(&mut self.lent));
        let notice = self.items.pop_front()?;
        self.lent = notice.small_len();
        Some(notice)
    }

    /// The small body of the answer popped last.
    pub(super) fn lent(&self) -> &[u8] {
        self.small.front(self.lent)
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
    Send(Marks),
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
