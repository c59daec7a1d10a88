//! Events that outlive the link's loan.

use bytes::Bytes;
use handclasp::{
    By, CallError, CallId, Closed, Envelope, Event, Instant, NodeId, Priority, ReplyToken, StreamId,
};

/// An [`Event`] with its bytes owned.
#[derive(Debug)]
pub enum Owned {
    /// See [`Event::Opened`].
    Opened,
    /// See [`Event::Identified`].
    Identified(NodeId),
    /// See [`Event::Established`].
    Established(NodeId),
    /// See [`Event::Ready`].
    Ready,
    /// See [`Event::Message`].
    Message {
        /// Its service.
        service: String,
        /// Its body.
        body: Bytes,
        /// Its priority.
        priority: Priority,
        /// Its number in its lane.
        sequence: u64,
        /// It asks for no order.
        unordered: bool,
    },
    /// See [`Event::Call`].
    Call {
        /// The right to answer.
        token: ReplyToken,
        /// Its service.
        service: String,
        /// Its body.
        body: Bytes,
        /// When the caller stops waiting.
        deadline: Instant,
    },
    /// See [`Event::Reply`].
    Reply {
        /// The call.
        call: CallId,
        /// The answer.
        body: Bytes,
    },
    /// See [`Event::CallFailed`].
    CallFailed {
        /// The call.
        call: CallId,
        /// Why.
        error: CallError,
    },
    /// See [`Event::Cancelled`].
    Cancelled(u64),
    /// See [`Event::Expired`].
    Expired(Envelope),
    /// See [`Event::StreamOpened`].
    StreamOpened {
        /// The stream.
        id: StreamId,
        /// Its name.
        name: String,
        /// Its priority.
        priority: Priority,
    },
    /// See [`Event::StreamReadable`].
    StreamReadable(StreamId),
    /// See [`Event::StreamWritable`].
    StreamWritable(StreamId),
    /// See [`Event::StreamReset`].
    StreamReset {
        /// The stream.
        id: StreamId,
        /// The code.
        code: u32,
    },
    /// See [`Event::StreamStopped`].
    StreamStopped {
        /// The stream.
        id: StreamId,
        /// The code.
        code: u32,
    },
    /// See [`Event::Draining`].
    Draining {
        /// Who said goodbye.
        by: By,
        /// The application's code.
        code: u32,
        /// The application's text.
        detail: String,
    },
    /// See [`Event::Closed`].
    Closed(Closed),
}

impl From<Event<'_>> for Owned {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Opened => Self::Opened,
            Event::Identified(peer) => Self::Identified(peer.id),
            Event::Established(peer) => Self::Established(peer.id),
            Event::Ready => Self::Ready,
            Event::Message(message) => Self::Message {
                service: message.service.to_owned(),
                priority: message.priority,
                sequence: message.sequence,
                unordered: message.unordered,
                body: message.body.into_bytes(),
            },
            Event::Call { token, request, deadline } => Self::Call {
                token,
                service: request.service.to_owned(),
                body: request.body.into_bytes(),
                deadline,
            },
            Event::Reply { call, body } => Self::Reply { call, body: body.into_bytes() },
            Event::CallFailed { call, error } => Self::CallFailed { call, error },
            Event::Cancelled { call } => Self::Cancelled(call),
            Event::Expired(envelope) => Self::Expired(envelope),
            Event::StreamOpened { id, name, priority } => {
                Self::StreamOpened { id, name: name.into(), priority }
            }
            Event::StreamReadable(id) => Self::StreamReadable(id),
            Event::StreamWritable(id) => Self::StreamWritable(id),
            Event::StreamReset { id, code } => Self::StreamReset { id, code },
            Event::StreamStopped { id, code } => Self::StreamStopped { id, code },
            Event::Draining { by, code, detail } => Self::Draining { by, code, detail: detail.into() },
            Event::Closed(closed) => Self::Closed(closed.clone()),
            other => unreachable!("an event that the sim does not know: {other:?}"),
        }
    }
}
