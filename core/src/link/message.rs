//! What the owner gives to a link: messages, calls, answers.

use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use super::credit::MESSAGE_OVERHEAD;
use super::queue::Body as Queued;
use crate::error::ServiceError;
use crate::time::Instant;
use crate::wire::frame::Lane;

/// The longest service name in bytes.
pub const MAX_SERVICE: usize = 255;

/// The longest detail of an application's error in bytes: an error always fits one record.
pub const MAX_ERROR_DETAIL: usize = 900;

/// Owned bodies above this are kept as [`Bytes`], those up to it are copied into the link's own queue.
pub(crate) const SMALL_BODY: usize = 1024;

/// Which messages go first. Each priority is a lane of its own: order is kept within one, and none starves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Priority {
    /// Before all else of the application.
    Urgent = 0,
    /// Where nothing else is said.
    #[default]
    Normal = 1,
    /// After normal ones.
    Low = 2,
    /// Large transfers that should disturb nothing.
    Bulk = 3,
}

impl Priority {
    /// All four, first to last.
    pub const ALL: [Self; 4] = [Self::Urgent, Self::Normal, Self::Low, Self::Bulk];

    pub(super) const fn lane(self) -> Lane {
        Lane::of_priority(self as u8)
    }

    pub(super) fn of_lane(lane: Lane) -> Self {
        lane.priority().and_then(|priority| Self::ALL.get(usize::from(priority)).copied()).unwrap_or_default()
    }
}

/// The bytes of a message or an answer: borrowed ones are copied if they have to wait, owned ones are not.
#[derive(Clone)]
pub enum Payload<'a> {
    /// Borrowed; copied when queued.
    Borrowed(&'a [u8]),
    /// Owned; above 1 KiB it is sent from where it lies.
    Owned(Bytes),
    /// The bytes of a [`SignedMessage`](crate::signed::SignedMessage), marked as such: the peer's link verifies
    /// them. For one-way messages only.
    Signed(Bytes),
}

impl Payload<'_> {
    /// The length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Borrowed(bytes) => bytes.len(),
            Self::Owned(bytes) | Self::Signed(bytes) => bytes.len(),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is marked as a signed message.
    pub const fn is_signed(&self) -> bool {
        matches!(self, Self::Signed(_))
    }

    /// The bytes, owned, without the mark of a signed message.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Self::Owned(bytes) | Self::Signed(bytes) => bytes,
        }
    }

    pub(super) fn queued(&self) -> Queued<'_> {
        match self {
            // It has to be copied in any case, and the queue's memory is there already.
            Self::Borrowed(bytes) => Queued::Copied(bytes),
            Self::Owned(bytes) | Self::Signed(bytes) if bytes.len() > SMALL_BODY => {
                Queued::Kept(bytes.clone())
            }
            Self::Owned(bytes) | Self::Signed(bytes) => Queued::Copied(bytes),
        }
    }
}

impl fmt::Debug for Payload<'_> {
    /// The length only: bodies do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a> From<&'a str> for Payload<'a> {
    fn from(text: &'a str) -> Self {
        Self::Borrowed(text.as_bytes())
    }
}

impl From<Bytes> for Payload<'_> {
    fn from(bytes: Bytes) -> Self {
        Self::Owned(bytes)
    }
}

impl From<alloc::string::String> for Payload<'_> {
    fn from(text: alloc::string::String) -> Self {
        Self::Owned(text.into())
    }
}

impl From<alloc::vec::Vec<u8>> for Payload<'_> {
    fn from(bytes: alloc::vec::Vec<u8>) -> Self {
        Self::Owned(bytes.into())
    }
}

/// A message for a service of the peer.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The service, 0–255 bytes.
    pub service: &'a str,
    /// The body, at most the link's `max_message` bytes.
    pub body: Payload<'a>,
    /// Its priority.
    pub priority: Priority,
    /// From when on a one-way message is not worth sending any more; `None` is never. A call has its timeout
    /// instead. On the clock of the link or node that is to send it: over a runtime, `now()` of its handle is
    /// the present time.
    pub expires: Option<Instant>,
    /// Whether a one-way message may be taken before those of its priority that were sent before it, and after
    /// those that are sent after it. Of a call it says nothing: calls are served side by side.
    pub unordered: bool,
}

impl<'a> Message<'a> {
    /// An ordered message of normal priority that does not expire.
    pub fn new(service: &'a str, body: impl Into<Payload<'a>>) -> Self {
        Self { service, body: body.into(), priority: Priority::Normal, expires: None, unordered: false }
    }

    /// The same message, dropped and reported if it could not be sent before `at`.
    #[must_use]
    pub fn expires(mut self, at: Instant) -> Self {
        self.expires = Some(at);
        self
    }

    /// The same message, in no order with others: the peer need not be done with those before it. It still
    /// leaves in its turn.
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.unordered = true;
        self
    }

    /// The same message with another priority.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}

/// A one-way message that waits for a link, or that a link gave back because nothing whole of it was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The service it is for, 0–255 bytes.
    pub service: String,
    /// Its body.
    pub body: Bytes,
    /// Whether the body is marked as a signed message: see [`Payload::Signed`].
    pub signed: bool,
    /// Its priority.
    pub priority: Priority,
    /// From when on it is not worth sending any more; `None` is never.
    pub expires: Option<Instant>,
    /// See [`Message::unordered`].
    pub unordered: bool,
}

impl Envelope {
    /// What it counts in the send buffer.
    pub(super) fn charge(&self) -> usize {
        self.service.len() + self.body.len() + MESSAGE_OVERHEAD
    }

    /// The same as a message to send.
    pub fn message(&self) -> Message<'_> {
        let body = self.body.clone();
        Message {
            service: &self.service,
            body: if self.signed { Payload::Signed(body) } else { Payload::Owned(body) },
            priority: self.priority,
            expires: self.expires,
            unordered: self.unordered,
        }
    }
}

impl From<Message<'_>> for Envelope {
    fn from(message: Message<'_>) -> Self {
        Self {
            service: message.service.into(),
            signed: message.body.is_signed(),
            body: message.body.into_bytes(),
            priority: message.priority,
            expires: message.expires,
            unordered: message.unordered,
        }
    }
}

impl fmt::Debug for Envelope {
    /// The length of the body only: bodies do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({:?}, {} bytes)", self.service, self.body.len())
    }
}

/// A message that was not taken, with the reason. Nothing of it was sent.
#[derive(Clone, Debug)]
pub struct Rejected<'a> {
    /// Why.
    pub why: Why,
    /// The message, given back.
    pub message: Message<'a>,
}

/// Why a command was not taken. The link lives on as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The link is not established yet.
    NotEstablished,
    /// A goodbye was said: the link takes no new work.
    Draining,
    /// The link has ended.
    Closed,
    /// The send buffer is full: try again after bytes have been transmitted.
    Full,
    /// As many calls are in flight as the peer serves at a time.
    TooManyCalls {
        /// That number.
        limit: u32,
    },
    /// The body is longer than the peer takes.
    TooLarge {
        /// The most bytes it takes.
        limit: u32,
    },
    /// The name, of a service or of a stream, has more than 255 bytes.
    LongServiceName,
    /// The peer takes no byte streams, or this side is configured to have none.
    NoStreams,
    /// As many streams of this side's are open as may be at a time.
    TooManyStreams {
        /// That number: the smaller of what the peer takes and what this side opens.
        limit: u32,
    },
    /// The answer is for nobody: the caller gave up, or it is another link's.
    NobodyWaits,
    /// A call or an answer is marked as a [signed message](Payload::Signed), which only goes one way.
    OneWayOnly,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEstablished => f.write_str("the link is not established yet"),
            Self::Draining => f.write_str("the link drains after a goodbye and takes no new work"),
            Self::Closed => f.write_str("the link has ended"),
            Self::Full => f.write_str("the send buffer is full"),
            Self::TooManyCalls { limit } => {
                write!(f, "{limit} calls are in flight, as many as the peer serves")
            }
            Self::TooLarge { limit } => write!(f, "longer than the {limit} bytes that the peer takes"),
            Self::LongServiceName => write!(f, "the name has more than {MAX_SERVICE} bytes"),
            Self::NoStreams => f.write_str("one of the two sides takes no byte streams"),
            Self::TooManyStreams { limit } => write!(f, "{limit} streams are open, as many as may be"),
            Self::NobodyWaits => f.write_str("nobody waits for this answer any more"),
            Self::OneWayOnly => f.write_str("a signed message goes one way: it is no call and no answer"),
        }
    }
}

impl core::error::Error for Why {}

impl fmt::Display for Rejected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message for {:?} not taken: {}", self.message.service, self.why)
    }
}

impl core::error::Error for Rejected<'_> {}

/// An own call in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId {
    pub(super) id: u64,
    /// Which link made it, so that no other one takes it for its own.
    pub(super) link: u64,
}

impl CallId {
    /// The request id on the wire, unique within the link.
    pub const fn get(self) -> u64 {
        self.id
    }
}

/// The right to answer one call, once: [`Link::reply`](super::Link::reply) consumes it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an unanswered call waits until its deadline"]
pub struct ReplyToken {
    pub(super) id: u64,
    /// Which of the calls with this id.
    pub(super) serial: u64,
    /// Which link gave it out, so that no other one takes it.
    pub(super) link: u64,
}

impl ReplyToken {
    /// The number that [`Event::Cancelled`](super::Event::Cancelled) speaks of: it counts the calls that the
    /// link has served.
    pub const fn call(&self) -> u64 {
        self.serial
    }
}

/// An answer that was not taken, given back.
#[derive(Debug)]
pub struct ReplyRejected<'a> {
    /// Why.
    pub why: Why,
    /// The token, if the caller still waits: answer with something else, or later.
    pub token: Option<ReplyToken>,
    /// The answer.
    pub answer: Result<Payload<'a>, ServiceError>,
}

impl fmt::Display for ReplyRejected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answer not taken: {}", self.why)
    }
}

impl core::error::Error for ReplyRejected<'_> {}
