//! Frames: what a traffic record holds (docs/wire.md §5).

use alloc::vec::Vec;

use super::reader::{Malformed, Reader, VARINT_MAX, put_varint, varint_len};
use super::stream::{self, StreamFrame};

/// `type ‖ flags ‖ length`.
pub(crate) const HEADER_LEN: usize = 4;

/// The longest advert in bytes: with all else that goes beside messages, it fits the smallest record.
pub(crate) const MAX_ADVERT: usize = 2048;

const MORE: u8 = 0x80;
const ABANDON: u8 = 0x40;
const SIGNED: u8 = 0x10;
const UNORDERED: u8 = 0x08;
const LANE_MASK: u8 = 0x07;
const SKIPPABLE: u8 = 0x80;

/// Frame types, as they travel.
mod kind {
    pub(super) const PAD: u8 = 0x00;
    pub(super) const STATUS: u8 = 0x01;
    pub(super) const ALIVE_REPLY: u8 = 0x02;
    pub(super) const SEND: u8 = 0x10;
    pub(super) const CALL: u8 = 0x11;
    pub(super) const REPLY: u8 = 0x12;
    pub(super) const ERROR: u8 = 0x13;
    pub(super) const CANCEL: u8 = 0x14;
    pub(super) const DATA: u8 = 0x15;
    pub(super) const CREDIT: u8 = 0x20;
    pub(super) const STREAM_FIRST: u8 = super::stream::OPEN;
    pub(super) const STREAM_LAST: u8 = super::stream::STOP;
    pub(super) const PING: u8 = 0x30;
    pub(super) const PONG: u8 = 0x31;
    pub(super) const ADVERT: u8 = 0x38;
    pub(super) const ADVERT_ACK: u8 = 0x39;
    pub(super) const PERMANENCE: u8 = 0x3a;
    pub(super) const READY: u8 = 0x3b;
    pub(super) const REKEY: u8 = 0x40;
    pub(super) const GOODBYE: u8 = 0x41;
    pub(super) const CLOSE: u8 = 0x42;
}

/// A lane that messages travel in; lane 0, control, has no messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane(u8);

impl Lane {
    /// Answers that fit a record.
    pub(crate) const REPLY: Self = Self(1);
    /// The number of message lanes.
    pub(crate) const COUNT: usize = 5;

    /// The lane of application priority `priority`, 0 to 3.
    pub(crate) const fn of_priority(priority: u8) -> Self {
        Self(2 + (priority & 3))
    }

    /// The lane's place in a table of message lanes.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// The message lanes, in the order of their table.
    pub(crate) const ALL: [Self; Self::COUNT] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// The application priority, if this is not the reply lane.
    pub(crate) const fn priority(self) -> Option<u8> {
        self.0.checked_sub(2)
    }

    fn from_flags(flags: u8) -> Result<Self, Malformed> {
        match flags & LANE_MASK {
            lane @ 1..=5 => Ok(Self(lane)),
            _ => Err(Malformed::new("frame: no such message lane")),
        }
    }
}

/// What the flags of a SEND say of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Its body is a signed message.
    pub(crate) signed: bool,
    /// It need not keep its place among the messages of its lane.
    pub(crate) unordered: bool,
}

impl Marks {
    fn from_flags(flags: u8) -> Self {
        Self { signed: flags & SIGNED != 0, unordered: flags & UNORDERED != 0 }
    }

    fn flags(self) -> u8 {
        (if self.signed { SIGNED } else { 0 }) | (if self.unordered { UNORDERED } else { 0 })
    }
}

/// What a message's first frame says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin<'a> {
    Send { service: &'a str, marks: Marks },
    Call { id: u64, timeout_ms: u64, service: &'a str },
    Reply { id: u64 },
}

/// A frame, its bodies borrowed from the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Pad,
    Status(&'a [u8]),
    /// The dialler's answer whether an older link is dead for it.
    AliveReply {
        go_on: bool,
    },
    /// A message begins; `total` is there if more of its body follows in DATA frames.
    Begin {
        lane: Lane,
        begin: Begin<'a>,
        total: Option<u64>,
        body: &'a [u8],
    },
    Error {
        lane: Lane,
        id: u64,
        code: u16,
        detail: &'a [u8],
    },
    Cancel {
        id: u64,
    },
    Data {
        lane: Lane,
        more: bool,
        body: &'a [u8],
    },
    Abandon {
        lane: Lane,
    },
    Credit {
        budget: u8,
        bytes: u64,
    },
    /// What concerns the stream `id`.
    Stream {
        id: u64,
        frame: StreamFrame<'a>,
    },
    Ping(u64),
    Pong(u64),
    Advert(&'a [u8]),
    AdvertAck {
        version: u64,
    },
    /// Whether the sender wants the link kept.
    Permanence(bool),
    /// The sender's application is ready.
    Ready,
    Rekey {
        request: bool,
    },
    Goodbye {
        code: u32,
        detail: &'a str,
    },
    /// The end: a close reason, as in [`super::reason`].
    Close(&'a [u8]),
    /// A frame of a later version that may be passed over.
    Skipped,
}

impl<'a> Frame<'a> {
    /// Parses the next frame of a record.
    pub(crate) fn parse(record: &mut Reader<'a>) -> Result<Self, Malformed> {
        let (kind, flags) = (record.u8()?, record.u8()?);
        let mut body = Reader::new(record.prefixed_u16()?);
        match kind {
            kind::SEND | kind::CALL | kind::REPLY => return Self::parse_begin(kind, flags, body),
            kind::ERROR => {
                if flags & !LANE_MASK != 0 {
                    return Err(FLAGS);
                }
                let lane = Lane::from_flags(flags)?;
                let (id, code) = (request_id(&mut body)?, body.u16()?);
                return Ok(Self::Error { lane, id, code, detail: body.rest() });
            }
            kind::DATA => return Self::parse_data(flags, body.rest()),
            kind::STREAM_FIRST..=kind::STREAM_LAST => {
                let (id, frame) = stream::parse(kind, flags, body)?;
                return Ok(Self::Stream { id, frame });
            }
            _ if flags != 0 && kind & SKIPPABLE == 0 => return Err(FLAGS),
            _ => {}
        }
        let frame = match kind {
            kind::PAD => return Ok(Self::Pad),
            kind::STATUS => return Ok(Self::Status(body.rest())),
            kind::ALIVE_REPLY => match body.u8()? {
                reply @ (0 | 1) => Self::AliveReply { go_on: reply == 0 },
                _ => return Err(Malformed::new("ALIVE_REPLY: neither 0 nor 1")),
            },
            kind::CANCEL => Self::Cancel { id: request_id(&mut body)? },
            kind::CREDIT => Self::Credit { budget: body.u8()?, bytes: body.varint()? },
            kind::PING => Self::Ping(body.u64()?),
            kind::PONG => Self::Pong(body.u64()?),
            kind::ADVERT => return Ok(Self::Advert(body.rest())),
            kind::ADVERT_ACK => Self::AdvertAck { version: body.u64()? },
            kind::PERMANENCE => match body.u8()? {
                kept @ (0 | 1) => Self::Permanence(kept == 1),
                _ => return Err(Malformed::new("PERMANENCE: neither 0 nor 1")),
            },
            kind::READY => Self::Ready,
            kind::REKEY => match body.u8()? {
                request @ (0 | 1) => Self::Rekey { request: request == 1 },
                _ => return Err(Malformed::new("REKEY: request is neither 0 nor 1")),
            },
            kind::GOODBYE => {
                let code = body.u32()?;
                return Ok(Self::Goodbye { code, detail: text(body.rest())? });
            }
            kind::CLOSE => return Ok(Self::Close(body.rest())),
            _ if kind & SKIPPABLE != 0 => return Ok(Self::Skipped),
            _ => return Err(Malformed::new("frame: unknown type that may not be skipped")),
        };
        if body.is_empty() { Ok(frame) } else { Err(Malformed::new("frame: bytes behind its last field")) }
    }

    fn parse_begin(kind: u8, flags: u8, mut body: Reader<'a>) -> Result<Self, Malformed> {
        let marks = if kind == kind::SEND { SIGNED | UNORDERED } else { 0 };
        if flags & !(LANE_MASK | MORE | marks) != 0 {
            return Err(FLAGS);
        }
        let lane = Lane::from_flags(flags)?;
        if kind != kind::REPLY && lane == Lane::REPLY {
            return Err(Malformed::new("frame: SEND or CALL in the reply lane"));
        }
        let id = if kind == kind::SEND { 0 } else { request_id(&mut body)? };
        let timeout_ms = if kind == kind::CALL { body.varint()? } else { 0 };
        let total = if flags & MORE == 0 { None } else { Some(body.varint()?) };
        let begin = if kind == kind::REPLY {
            Begin::Reply { id }
        } else {
            let service = text(body.prefixed_u8()?)?;
            match kind {
                kind::CALL => Begin::Call { id, timeout_ms, service },
                _ => Begin::Send { service, marks: Marks::from_flags(flags) },
            }
        };
        let body = body.rest();
        if total.is_some_and(|total| total <= body.len() as u64) {
            return Err(Malformed::new("frame: MORE, but nothing is left to come"));
        }
        Ok(Self::Begin { lane, begin, total, body })
    }

    fn parse_data(flags: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        if flags & !(LANE_MASK | MORE | ABANDON) != 0 {
            return Err(FLAGS);
        }
        let lane = Lane::from_flags(flags)?;
        match (flags & ABANDON != 0, flags & MORE != 0, body.is_empty()) {
            (true, false, true) => Ok(Self::Abandon { lane }),
            (true, ..) => Err(Malformed::new("DATA: ABANDON with MORE or a body")),
            (false, _, true) => Err(Malformed::new("DATA: empty")),
            (false, more, false) => Ok(Self::Data { lane, more, body }),
        }
    }
}

pub(super) const FLAGS: Malformed = Malformed::new("frame: unknown flags");

fn request_id(body: &mut Reader<'_>) -> Result<u64, Malformed> {
    match body.varint()? {
        0 => Err(Malformed::new("frame: request id 0")),
        id => Ok(id),
    }
}

pub(super) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    if bytes.len() > 255 {
        return Err(Malformed::new("frame: text over 255 bytes"));
    }
    core::str::from_utf8(bytes).map_err(|_| Malformed::new("frame: text is not UTF-8"))
}

/// Writes frames behind one another into a record's plaintext.
#[derive(Debug)]
pub(crate) struct FrameWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> FrameWriter<'a> {
    pub(crate) const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Writes a frame whose body `fill` appends: at most 65 535 bytes, as every caller keeps by the record's
    /// size.
    pub(super) fn frame(&mut self, kind: u8, flags: u8, fill: impl FnOnce(&mut Vec<u8>)) {
        let header = self.out.len();
        self.out.extend_from_slice(&[kind, flags, 0, 0]);
        fill(self.out);
        let length = u16::try_from(self.out.len() - header - HEADER_LEN).unwrap_or(u16::MAX);
        if let Some(field) = self.out.get_mut(header + 2..header + HEADER_LEN) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// A frame that was written elsewhere.
    pub(crate) fn raw(&mut self, frame: &[u8]) {
        self.out.extend_from_slice(frame);
    }

    /// `simultaneous` says that a dial of this side's own loses to this link.
    pub(crate) fn status_accept(&mut self, version: u16, digest: &[u8; 32], simultaneous: bool) {
        self.frame(kind::STATUS, 0, |out| {
            out.push(if simultaneous { 3 } else { 0 });
            out.extend_from_slice(&version.to_be_bytes());
            out.extend_from_slice(digest);
        });
    }

    /// Asks whether an older link is dead for the dialler.
    pub(crate) fn status_alive(&mut self) {
        self.frame(kind::STATUS, 0, |out| out.push(1));
    }

    /// The dialler's answer.
    pub(crate) fn alive_reply(&mut self, go_on: bool) {
        self.frame(kind::ALIVE_REPLY, 0, |out| out.push(u8::from(!go_on)));
    }

    pub(crate) fn status_refuse(&mut self, emit_refusal: impl FnOnce(&mut Vec<u8>)) {
        self.frame(kind::STATUS, 0, |out| {
            out.push(2);
            emit_refusal(out);
        });
    }

    /// The first frame of a message: `total` as in [`Frame::Begin`]. The body is appended by `fill`.
    pub(crate) fn begin(
        &mut self,
        lane: Lane,
        begin: Begin<'_>,
        total: Option<u64>,
        fill: impl FnOnce(&mut Vec<u8>),
    ) {
        let (kind, marks) = match begin {
            Begin::Send { marks, .. } => (kind::SEND, marks.flags()),
            Begin::Call { .. } => (kind::CALL, 0),
            Begin::Reply { .. } => (kind::REPLY, 0),
        };
        let more = if total.is_some() { MORE } else { 0 };
        self.frame(kind, lane.0 | more | marks, |out| {
            if let Begin::Call { id, timeout_ms, .. } = begin {
                put_varint(out, id);
                put_varint(out, timeout_ms.min(VARINT_MAX));
            } else if let Begin::Reply { id } = begin {
                put_varint(out, id);
            }
            if let Some(total) = total {
                put_varint(out, total);
            }
            if let Begin::Send { service, .. } | Begin::Call { service, .. } = begin {
                out.push(u8::try_from(service.len()).unwrap_or(u8::MAX));
                out.extend_from_slice(service.as_bytes());
            }
            fill(out);
        });
    }

    pub(crate) fn error(&mut self, lane: Lane, id: u64, code: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        self.frame(kind::ERROR, lane.0, |out| {
            put_varint(out, id);
            out.extend_from_slice(&code.to_be_bytes());
            fill(out);
        });
    }

    pub(crate) fn data(&mut self, lane: Lane, more: bool, fill: impl FnOnce(&mut Vec<u8>)) {
        self.frame(kind::DATA, lane.0 | if more { MORE } else { 0 }, fill);
    }

    pub(crate) fn abandon(&mut self, lane: Lane) {
        self.frame(kind::DATA, lane.0 | ABANDON, |_| {});
    }

    pub(crate) fn cancel(&mut self, id: u64) {
        self.frame(kind::CANCEL, 0, |out| put_varint(out, id));
    }

    pub(crate) fn credit(&mut self, budget: u8, bytes: u64) {
        self.frame(kind::CREDIT, 0, |out| {
            out.push(budget);
            put_varint(out, bytes.min(VARINT_MAX));
        });
    }

    pub(crate) fn ping(&mut self, nonce: u64) {
        self.frame(kind::PING, 0, |out| out.extend_from_slice(&nonce.to_be_bytes()));
    }

    pub(crate) fn pong(&mut self, nonce: u64) {
        self.frame(kind::PONG, 0, |out| out.extend_from_slice(&nonce.to_be_bytes()));
    }

    /// At most [`MAX_ADVERT`] bytes.
    pub(crate) fn advert(&mut self, advert: &[u8]) {
        self.frame(kind::ADVERT, 0, |out| out.extend_from_slice(advert));
    }

    pub(crate) fn advert_ack(&mut self, version: u64) {
        self.frame(kind::ADVERT_ACK, 0, |out| out.extend_from_slice(&version.to_be_bytes()));
    }

    pub(crate) fn permanence(&mut self, kept: bool) {
        self.frame(kind::PERMANENCE, 0, |out| out.push(u8::from(kept)));
    }

    pub(crate) fn ready(&mut self) {
        self.frame(kind::READY, 0, |_| {});
    }

    pub(crate) fn rekey(&mut self, request: bool) {
        self.frame(kind::REKEY, 0, |out| out.push(u8::from(request)));
    }

    pub(crate) fn goodbye(&mut self, code: u32, detail: &str) {
        self.frame(kind::GOODBYE, 0, |out| {
            out.extend_from_slice(&code.to_be_bytes());
            out.extend_from_slice(detail.as_bytes());
        });
    }

    pub(crate) fn close(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        self.frame(kind::CLOSE, 0, fill);
    }

    /// Pads with `count` bytes in all, header included; fewer than a header's do nothing.
    pub(crate) fn pad(&mut self, count: usize) {
        if let Some(body) = count.checked_sub(HEADER_LEN) {
            self.frame(kind::PAD, 0, |out| out.resize(out.len() + body, 0));
        }
    }
}

/// The bytes that a message's first frame takes beside its body.
pub(crate) const fn begin_len(begin: &Begin<'_>, total: Option<u64>) -> usize {
    let total = match total {
        Some(total) => varint_len(total),
        None => 0,
    };
    HEADER_LEN
        + total
        + match begin {
            Begin::Send { service, .. } => 1 + service.len(),
            Begin::Call { id, timeout_ms, service } => {
                varint_len(*id) + varint_len(*timeout_ms) + 1 + service.len()
            }
            Begin::Reply { id } => varint_len(*id),
        }
}
