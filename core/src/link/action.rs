//! What a link tells its owner.

use alloc::boxed::Box;
use core::fmt;
use core::ops::Deref;
use core::time::Duration;

use bytes::Bytes;

use super::message::{CallId, Envelope, Priority, ReplyToken};
use super::peer::Peer;
use super::streams::StreamId;
use crate::error::{By, CallError, Closed};
use crate::signed::SignedMessage;
use crate::time::Instant;

/// What the owner can take at the moment; see [`Link::poll`](super::Link::poll).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is asked for by itself
pub struct Ready {
    /// It can take an event that is no request: answers, failures, and what concerns the link.
    pub events: bool,
    /// It can take any request of the peer's: [`Event::Message`], [`Event::Relay`] or [`Event::Call`].
    pub requests: bool,
    /// It can take an [unordered](Incoming::unordered) message, even where it cannot take the requests that came
    /// before it.
    pub unordered: bool,
    /// It can write bytes to the stream.
    pub write: bool,
}

impl Ready {
    /// Everything.
    pub const ALL: Self = Self { events: true, requests: true, unordered: true, write: true };
    /// Events of all kinds, while the stream takes no bytes.
    pub const EVENTS: Self = Self { events: true, requests: true, unordered: true, write: false };
    /// Writing, while the application takes nothing.
    pub const WRITE: Self = Self { events: false, requests: false, unordered: false, write: true };
    /// Nothing: to ask for the next deadline only.
    pub const NOTHING: Self = Self { events: false, requests: false, unordered: false, write: false };
}

/// What to do next.
#[derive(Debug)]
#[must_use = "an event that is not looked at is lost"]
pub enum Action<'a> {
    /// Something happened.
    Event(Event<'a>),
    /// There are bytes to write: take them from `transmit`, tell with `transmitted`. If `transmit` has none
    /// after all, what there was has expired, or the link has ended since its provider could not seal: poll
    /// again.
    Send,
    /// Nothing else is queued of what the owner can take. Poll again at this time, if there is one, or when
    /// something comes before: bytes, or a command.
    Timeout(Option<Instant>),
}

/// Something that happened on a link. Bodies up to about 1 KiB are lent; [`Body::into_bytes`] keeps them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The link began its handshake.
    Opened,
    /// The peer has proved its id. Under [`Trust::Ask`](crate::Trust::Ask), and only then, this is a
    /// question: answer with [`admit`](super::Link::admit) or [`refuse`](super::Link::refuse). On a link that
    /// belongs to a node it never is: the node answers.
    Identified(&'a Peer),
    /// The handshake is done and messages can flow.
    Established(&'a Peer),
    /// Each side that [holds](crate::ConfigBuilder::hold_ready) its links has said that it is
    /// [ready](super::Link::ready). Comes once: right behind `Established` if neither does, and messages flow
    /// before it.
    Ready,
    /// The peer sent a message one way.
    Message(Incoming<'a>),
    /// A [signed message](crate::signed) for somebody else has come, verified, at a node that
    /// [relays](crate::signed::SignedPolicy::relay): its audience is another node, or a topic that this one does not
    /// take. [`SignedMessage::message`] passes it on.
    Relay {
        /// The message.
        message: Box<SignedMessage>,
        /// The priority that it came with.
        priority: Priority,
    },
    /// The peer calls a service. The token is the one way to answer.
    Call {
        /// To be given to [`reply`](super::Link::reply).
        token: ReplyToken,
        /// Service, body, priority.
        request: Incoming<'a>,
        /// When the caller stops waiting.
        deadline: Instant,
    },
    /// The answer to a call.
    Reply {
        /// The call.
        call: CallId,
        /// The answer.
        body: Body<'a>,
    },
    /// A call ended without an answer.
    CallFailed {
        /// The call.
        call: CallId,
        /// Why.
        error: CallError,
    },
    /// The peer no longer waits for the answer to a call that was given out; its token is void.
    Cancelled {
        /// The number of the [`ReplyToken`].
        call: u64,
    },
    /// A one-way message [was not worth sending any more](super::Message::expires) when its turn came: nothing
    /// of it was sent.
    Expired(Envelope),
    /// The peer has opened a stream. Bytes of it may be there already: [`StreamReadable`](Self::StreamReadable)
    /// says so.
    StreamOpened {
        /// The stream.
        id: StreamId,
        /// What it is for, 0–255 bytes, in the peer's words.
        name: Box<str>,
        /// Its priority, in both directions.
        priority: Priority,
    },
    /// A stream has something to read: the first bytes, or more after everything was read, or its end. One event
    /// for all that comes until the stream is read.
    StreamReadable(StreamId),
    /// A stream takes bytes again, after a write that it did not take whole.
    StreamWritable(StreamId),
    /// The peer has given its direction of a stream up: [`stream_read`](super::Link::stream_read) says so too, and
    /// must be called, or [`stream_stop`](super::Link::stream_stop), before the stream is forgotten.
    StreamReset {
        /// The stream.
        id: StreamId,
        /// The peer's code, [`STREAM_REFUSED`](super::STREAM_REFUSED), or
        /// [`STREAM_LINK_ENDED`](super::STREAM_LINK_ENDED) where a goodbye leaves no time for it.
        code: u32,
    },
    /// The peer reads no more of a stream: what was written and not sent is dropped, and this direction is over.
    StreamStopped {
        /// The stream.
        id: StreamId,
        /// As in [`StreamReset`](Self::StreamReset).
        code: u32,
    },
    /// A goodbye was said: no new sends, calls or streams, until the link has drained and closes.
    Draining {
        /// Who said it.
        by: By,
        /// The application's code.
        code: u32,
        /// The application's text.
        detail: Box<str>,
    },
    /// The link has ended, and every stream with it. The last event of each link, and exactly one.
    Closed(&'a Closed),
}

/// A message that came in.
#[derive(Debug)]
#[non_exhaustive]
pub struct Incoming<'a> {
    /// The service that it is for.
    pub service: &'a str,
    /// Its body. Of a signed message, what its origin says, without what is around it.
    pub body: Body<'a>,
    /// Its priority.
    pub priority: Priority,
    /// Its place among the messages of its priority on this link, in the order in which they came, from 0.
    pub sequence: u64,
    /// Its sender asks for no order: it need not wait for those before it. Of a call it says nothing.
    pub unordered: bool,
    /// If it came as a [signed message](crate::signed), the whole of it: verified, for this node, and come for the
    /// first time. What it says is its [origin](SignedMessage::origin)'s word, whoever the peer is.
    pub signed: Option<Box<SignedMessage>>,
}

/// Bytes that came in: small ones lent by the link, large ones owned.
pub enum Body<'a> {
    /// Lent until the link is used again.
    Lent(&'a [u8]),
    /// Owned.
    Owned(Bytes),
}

impl Body<'_> {
    /// The bytes to keep: copies a lent body.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Lent(bytes) => Bytes::copy_from_slice(bytes),
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Deref for Body<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Body<'_> {
    /// The length only: bodies do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

impl Stats {
    pub(super) fn note_ping(&mut self, rtt: Duration) {
        self.rtt = Some(rtt);
        self.note_rtt(rtt);
    }

    pub(super) fn note_rtt(&mut self, rtt: Duration) {
        self.least_rtt = Some(self.least_rtt.map_or(rtt, |least| least.min(rtt)));
    }
}

/// Figures of one link since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes that were taken from the stream.
    pub bytes_received: u64,
    /// Bytes that the stream took.
    pub bytes_sent: u64,
    /// Traffic records opened.
    pub records_opened: u64,
    /// Traffic records sealed.
    pub records_sealed: u64,
    /// Messages of all kinds that came in whole.
    pub messages_received: u64,
    /// Messages of all kinds whose last byte was sealed.
    pub messages_sent: u64,
    /// Changes of the key that this side seals with.
    pub rekeys_sent: u64,
    /// Changes of the key that the peer seals with.
    pub rekeys_received: u64,
    /// Answers that came too late, twice, or to nothing.
    pub unknown_replies: u64,
    /// Pongs that answered a ping.
    pub pongs: u64,
    /// Pongs that answered no ping under way.
    pub unknown_pongs: u64,
    /// Calls that were over before the application could be given them.
    pub expired_calls: u64,
    /// One-way messages whose time was over before they could be sent.
    pub expired_messages: u64,
    /// Signed messages that came in and verified, for this node or to be passed on.
    pub signed_accepted: u64,
    /// Signed messages that came in and were dropped: their form, service, audience, origin or signature was not
    /// right, or this node takes none.
    pub signed_refused: u64,
    /// Signed messages that came in, verified, and were dropped because they may have come before.
    pub signed_replays: u64,
    /// The last round trip measured by a ping.
    pub rtt: Option<Duration>,
    /// The least round trip that was seen: of the handshake, with what the peer computed meanwhile, or of a ping.
    pub least_rtt: Option<Duration>,
}

/// What a protocol analyser needs to read a link; see [`Link::key_log`](super::Link::key_log). `Debug` shows
/// none of it.
#[cfg(feature = "key-log")]
#[derive(Debug)]
#[non_exhaustive]
pub struct KeyLog {
    /// The handshake hash, which names the link.
    pub handshake_hash: [u8; 32],
    /// The first traffic keys: initiator to responder, responder to initiator.
    pub traffic_keys: [crate::crypto::Secret<32>; 2],
}
