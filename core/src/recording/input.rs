//! What goes into a link: each call of its owner's, with the arguments that it had.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::BadRecording;
use super::bytes::{Cursor, Writer};
use super::words::{get_refusal, put_refusal, put_word};
use crate::error::ServiceError;
use crate::link::{Envelope, Message, Payload, Priority, Ready};
use crate::node::ToLink;
use crate::refusal::Refusal;
use crate::time::Instant;

/// Bytes of the application: in an exact recording themselves, in a redacted one as many zeros.
#[derive(Clone, Debug)]
pub(crate) enum Blob<'a> {
    Shown(Cow<'a, [u8]>),
    Blank(usize),
}

impl<'a> Blob<'a> {
    pub(crate) const fn of(bytes: &'a [u8]) -> Self {
        Self::Shown(Cow::Borrowed(bytes))
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Shown(bytes) => bytes.len(),
            Self::Blank(length) => *length,
        }
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        match self {
            Self::Shown(bytes) => bytes.to_vec(),
            Self::Blank(length) => alloc::vec![0; *length],
        }
    }

    pub(crate) fn to_text(&self) -> String {
        String::from_utf8(self.to_vec()).unwrap_or_default()
    }

    pub(crate) fn put(&self, exact: bool, out: &mut Writer) {
        out.length(self.len());
        if let (true, Self::Shown(bytes)) = (exact, self) {
            out.raw(bytes);
        }
    }

    pub(crate) fn get(exact: bool, cursor: &mut Cursor<'a>) -> Result<Self, BadRecording> {
        let length = cursor.length()?;
        Ok(if exact { Self::of(cursor.raw(length)?) } else { Self::Blank(length) })
    }
}

/// A call, a served call or a stream, by its number on this link. One of another link has none: nothing comes
/// of naming it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    pub(crate) id: u64,
    pub(crate) own: bool,
}

/// A body that is to go, and whether it is marked as a signed message.
#[derive(Clone, Debug)]
pub(crate) struct Body<'a> {
    pub(crate) bytes: Blob<'a>,
    pub(crate) signed: bool,
}

impl<'a> From<&'a Payload<'_>> for Body<'a> {
    fn from(payload: &'a Payload<'_>) -> Self {
        let bytes = match payload {
            Payload::Borrowed(bytes) => Blob::of(bytes),
            Payload::Owned(bytes) | Payload::Signed(bytes) => Blob::of(bytes),
        };
        Self { bytes, signed: payload.is_signed() }
    }
}

impl<'a> Body<'a> {
    pub(crate) fn to_payload(&self) -> Payload<'static> {
        let bytes = self.bytes.to_vec().into();
        if self.signed { Payload::Signed(bytes) } else { Payload::Owned(bytes) }
    }

    fn put(&self, exact: bool, out: &mut Writer) {
        out.flag(self.signed);
        self.bytes.put(exact, out);
    }

    fn get(exact: bool, from: &mut Cursor<'a>) -> Result<Self, BadRecording> {
        Ok(Self { signed: from.flag()?, bytes: Blob::get(exact, from)? })
    }
}

/// A message that is to go.
#[derive(Clone, Debug)]
pub(crate) struct Post<'a> {
    pub(crate) service: Cow<'a, str>,
    pub(crate) body: Body<'a>,
    pub(crate) priority: Priority,
    pub(crate) expires: Option<Instant>,
    pub(crate) unordered: bool,
}

impl<'a> From<&'a Message<'_>> for Post<'a> {
    fn from(message: &'a Message<'_>) -> Self {
        Self {
            service: message.service.into(),
            body: (&message.body).into(),
            priority: message.priority,
            expires: message.expires,
            unordered: message.unordered,
        }
    }
}

impl<'a> From<&'a Envelope> for Post<'a> {
    fn from(envelope: &'a Envelope) -> Self {
        Self {
            service: envelope.service.as_str().into(),
            body: Body { bytes: Blob::of(&envelope.body), signed: envelope.signed },
            priority: envelope.priority,
            expires: envelope.expires,
            unordered: envelope.unordered,
        }
    }
}

impl Post<'_> {
    pub(crate) fn to_message(&self) -> Message<'_> {
        let Self { service, body, priority, expires, unordered } = self;
        let (priority, expires, unordered) = (*priority, *expires, *unordered);
        Message { service, body: body.to_payload(), priority, expires, unordered }
    }
}

/// An answer to a call.
#[derive(Clone, Debug)]
pub(crate) enum Answer<'a> {
    Body(Body<'a>),
    /// `value` is the limit or the application's code, where there is one.
    Error {
        code: u16,
        value: u32,
        detail: Blob<'a>,
    },
}

impl<'a> From<&'a Result<Payload<'_>, ServiceError>> for Answer<'a> {
    fn from(answer: &'a Result<Payload<'_>, ServiceError>) -> Self {
        let error = match answer {
            Ok(body) => return Self::Body(body.into()),
            Err(error) => error,
        };
        let (value, detail) = match error {
            ServiceError::TooLarge { limit } => (*limit, &[][..]),
            ServiceError::Application { code, detail } => (*code, &detail[..]),
            _ => (0, &[][..]),
        };
        Self::Error { code: error.code(), value, detail: Blob::of(detail) }
    }
}

impl Answer<'_> {
    /// What [`Link::reply`](crate::Link::reply) is given.
    pub(crate) fn to_answer(&self) -> Result<Payload<'static>, ServiceError> {
        let (code, value, detail) = match self {
            Self::Body(body) => return Ok(body.to_payload()),
            Self::Error { code, value, detail } => (*code, *value, detail),
        };
        Err(ServiceError::of(code, value, || detail.to_vec().into()))
    }
}

/// One call of the owner's. Each variant is the method of [`Link`](crate::Link) of that name.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    Poll(Ready),
    /// `recv_space`, without `received` right behind it.
    RecvSpace,
    /// `bytes` are those that there was room for.
    Received {
        count: usize,
        bytes: Cow<'a, [u8]>,
    },
    RecvClosed,
    TransportFailed,
    Transmit,
    /// `digest` is of the bytes that the stream took; in a redacted recording there is none.
    Transmitted {
        count: usize,
        digest: Option<[u8; 8]>,
    },
    Send(Post<'a>),
    Call(Post<'a>, Duration),
    Cancel(Named),
    Reply {
        call: Named,
        serial: u64,
        answer: Answer<'a>,
    },
    Admit,
    Refuse(Cow<'a, Refusal>),
    Goodbye {
        code: u32,
        detail: Blob<'a>,
    },
    Close,
    Revoke,
    Rekey,
    Ping,
    Ready,
    TakeUnsent,
    PollNode,
    OpenStream {
        name: Cow<'a, str>,
        priority: Priority,
    },
    StreamWrite(Named, Blob<'a>),
    StreamRead(Named, usize),
    StreamFinish(Named),
    StreamReset(Named, u32),
    StreamStop(Named, u32),
    /// `on_node`.
    Node(Word<'a>),
    StopWaiting,
}

/// A node's word to its link: as it is said, or as it was recorded.
#[derive(Debug)]
pub(crate) enum Word<'a> {
    Said(&'a ToLink),
    Recorded(&'a [u8]),
}

/// The name of each kind of input, in the order of their numbers: new ones go to the end.
const NAMES: [&str; 29] = [
    "poll",
    "recv_space",
    "received",
    "recv_closed",
    "transport_failed",
    "transmit",
    "transmitted",
    "send",
    "call",
    "cancel",
    "reply",
    "admit",
    "refuse",
    "goodbye",
    "close",
    "revoke",
    "rekey",
    "ping",
    "ready",
    "take_unsent",
    "poll_node",
    "open_stream",
    "stream_write",
    "stream_read",
    "stream_finish",
    "stream_reset",
    "stream_stop",
    "on_node",
    "stop_waiting",
];

impl<'a> Input<'a> {
    pub(crate) const fn kind(&self) -> u8 {
        match self {
            Self::Poll(_) => 0,
            Self::RecvSpace => 1,
            Self::Received { .. } => 2,
            Self::RecvClosed => 3,
            Self::TransportFailed => 4,
            Self::Transmit => 5,
            Self::Transmitted { .. } => 6,
            Self::Send(_) => 7,
            Self::Call(..) => 8,
            Self::Cancel(_) => 9,
            Self::Reply { .. } => 10,
            Self::Admit => 11,
            Self::Refuse(_) => 12,
            Self::Goodbye { .. } => 13,
            Self::Close => 14,
            Self::Revoke => 15,
            Self::Rekey => 16,
            Self::Ping => 17,
            Self::Ready => 18,
            Self::TakeUnsent => 19,
            Self::PollNode => 20,
            Self::OpenStream { .. } => 21,
            Self::StreamWrite(..) => 22,
            Self::StreamRead(..) => 23,
            Self::StreamFinish(_) => 24,
            Self::StreamReset(..) => 25,
            Self::StreamStop(..) => 26,
            Self::Node(_) => 27,
            Self::StopWaiting => 28,
        }
    }

    /// The method's name.
    pub(crate) fn name(&self) -> &'static str {
        NAMES.get(usize::from(self.kind())).copied().unwrap_or_default()
    }

    /// Writes the arguments.
    pub(crate) fn put(&self, exact: bool, out: &mut Writer) {
        match self {
            Self::Poll(Ready { events, requests, unordered, write }) => {
                let bits = [*events, *requests, *write, *unordered];
                out.byte(bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
            }
            Self::Received { count, bytes } => {
                out.length(*count);
                if exact { out.string(bytes) } else { out.sparse(bytes) }
            }
            Self::Transmitted { count, digest } => {
                out.length(*count);
                out.raw(digest.as_ref().map_or(&[], |digest| digest.as_slice()));
            }
            Self::Send(post) => put_post(post, exact, out),
            Self::Call(post, timeout) => {
                put_post(post, exact, out);
                out.duration(*timeout);
            }
            Self::Cancel(named) | Self::StreamFinish(named) => put_named(*named, out),
            Self::Reply { call, serial, answer } => {
                put_named(*call, out);
                out.number(*serial);
                out.flag(matches!(answer, Answer::Error { .. }));
                match answer {
                    Answer::Body(body) => body.put(exact, out),
                    Answer::Error { code, value, detail } => {
                        out.number((*code).into());
                        out.number((*value).into());
                        detail.put(exact, out);
                    }
                }
            }
            Self::Refuse(refusal) => put_refusal(refusal, out),
            Self::Goodbye { code, detail } => {
                out.number((*code).into());
                detail.put(exact, out);
            }
            Self::OpenStream { name, priority } => {
                out.string(name.as_bytes());
                out.byte(*priority as u8);
            }
            Self::StreamWrite(stream, bytes) => {
                put_named(*stream, out);
                bytes.put(exact, out);
            }
            Self::StreamRead(stream, room) => {
                put_named(*stream, out);
                out.length(*room);
            }
            Self::StreamReset(stream, code) | Self::StreamStop(stream, code) => {
                put_named(*stream, out);
                out.number((*code).into());
            }
            Self::Node(Word::Said(word)) => put_word(word, exact, out),
            Self::Node(Word::Recorded(word)) => out.raw(word),
            _ => {}
        }
    }

    /// Reads the arguments of an input of number `kind`.
    pub(crate) fn get(kind: u8, exact: bool, from: &mut Cursor<'a>) -> Result<Self, BadRecording> {
        Ok(match kind {
            0 => {
                let bits = from.byte()?;
                let [events, requests, write, unordered] = [0, 1, 2, 3].map(|bit| bits >> bit & 1 != 0);
                Self::Poll(Ready { events, requests, unordered, write })
            }
            1 => Self::RecvSpace,
            2 => {
                let count = from.length()?;
                let bytes = if exact { from.string()?.into() } else { from.sparse()?.into() };
                Self::Received { count, bytes }
            }
            3 => Self::RecvClosed,
            4 => Self::TransportFailed,
            5 => Self::Transmit,
            6 => {
                let count = from.length()?;
                Self::Transmitted { count, digest: if exact { Some(from.array()?) } else { None } }
            }
            7 => Self::Send(get_post(exact, from)?),
            8 => Self::Call(get_post(exact, from)?, from.duration()?),
            9 => Self::Cancel(get_named(from)?),
            10 => Self::Reply {
                call: get_named(from)?,
                serial: from.number()?,
                answer: if from.flag()? {
                    Answer::Error {
                        code: from.small()?,
                        value: from.small()?,
                        detail: Blob::get(exact, from)?,
                    }
                } else {
                    Answer::Body(Body::get(exact, from)?)
                },
            },
            11 => Self::Admit,
            12 => Self::Refuse(Cow::Owned(get_refusal(from)?)),
            13 => Self::Goodbye { code: from.small()?, detail: Blob::get(exact, from)? },
            14 => Self::Close,
            15 => Self::Revoke,
            16 => Self::Rekey,
            17 => Self::Ping,
            18 => Self::Ready,
            19 => Self::TakeUnsent,
            20 => Self::PollNode,
            21 => Self::OpenStream { name: from.text()?.into(), priority: get_priority(from)? },
            22 => Self::StreamWrite(get_named(from)?, Blob::get(exact, from)?),
            23 => Self::StreamRead(get_named(from)?, from.length()?),
            24 => Self::StreamFinish(get_named(from)?),
            25 => Self::StreamReset(get_named(from)?, from.small()?),
            26 => Self::StreamStop(get_named(from)?, from.small()?),
            27 => {
                let word = from.rest();
                *from = Cursor::new(&[]);
                Self::Node(Word::Recorded(word))
            }
            28 => Self::StopWaiting,
            _ => return Err(BadRecording::Malformed("an input that this version does not know")),
        })
    }
}

fn put_named(named: Named, out: &mut Writer) {
    out.number(named.id);
    out.flag(named.own);
}

fn get_named(from: &mut Cursor<'_>) -> Result<Named, BadRecording> {
    Ok(Named { id: from.number()?, own: from.flag()? })
}

fn get_priority(from: &mut Cursor<'_>) -> Result<Priority, BadRecording> {
    let number = usize::from(from.byte()?);
    Priority::ALL.get(number).copied().ok_or(BadRecording::Malformed("no such priority"))
}

pub(crate) fn put_post(post: &Post<'_>, exact: bool, out: &mut Writer) {
    out.string(post.service.as_bytes());
    post.body.put(exact, out);
    out.byte(post.priority as u8);
    out.maybe_instant(post.expires);
    out.flag(post.unordered);
}

pub(crate) fn get_post<'a>(exact: bool, from: &mut Cursor<'a>) -> Result<Post<'a>, BadRecording> {
    Ok(Post {
        service: from.text()?.into(),
        body: Body::get(exact, from)?,
        priority: get_priority(from)?,
        expires: from.maybe_instant()?,
        unordered: from.flag()?,
    })
}
