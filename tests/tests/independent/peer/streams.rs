//! Byte streams (§5.6).

use std::collections::BTreeMap;

use super::bytes::{FIN, Frame, Reader, kind, varint};
use super::{Got, Peer};

/// A stream, from this side.
#[derive(Debug, Default)]
pub struct Stream {
    /// What this side may still send, and the other.
    pub may_send: u64,
    pub may_come: u64,
    /// This side's direction has ended, and the other's.
    pub sent_end: bool,
    pub got_end: bool,
    /// What came.
    pub came: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct Streams {
    pub open: BTreeMap<u64, Stream>,
    /// For each side (the initiator's second) and priority, the lowest counter that it may use next.
    next: [[u64; 4]; 2],
}

impl Streams {
    pub fn all_ended(&self) -> bool {
        self.open.values().all(|stream| stream.sent_end && stream.got_end)
    }

    /// The counter of an id, with the place where the next one of its kind stands.
    fn next_of(&mut self, id: u64) -> (u64, &mut u64) {
        let (side, priority) = (usize::from(id % 2 == 1), usize::try_from(id / 2 % 4).expect("below 4"));
        (id / 8, &mut self.next[side][priority])
    }
}

/// `max_streams` and `window` of an extension 9.
fn read_offer(value: &[u8]) -> Option<(u32, u32)> {
    let mut reader = Reader(value);
    Some((reader.u32()?, reader.u32()?))
}

impl Peer {
    /// What each side's hello says of streams, this side's first, if both do.
    fn offers(&self) -> Option<[(u32, u32); 2]> {
        let ours = read_offer(self.setup.hello.other(9)?)?;
        let theirs = read_offer(self.theirs.as_ref()?.other(9)?)?;
        Some([ours, theirs])
    }

    fn new_stream(&self) -> Option<Stream> {
        let [(_, come), (_, send)] = self.offers()?;
        Some(Stream { may_send: send.into(), may_come: come.into(), ..Stream::default() })
    }

    /// The id of this side's next stream of a priority, passing over `gap` of them.
    pub fn stream_id(&mut self, priority: u64, gap: u64) -> u64 {
        let side = u64::from(self.initiator);
        let (_, next) = self.streams.next_of(2 * priority + side);
        let counter = *next + gap;
        *next = counter + 1;
        8 * counter + 2 * priority + side
    }

    /// Opens a stream with its first bytes.
    pub fn stream_open(&mut self, id: u64, name: &str, bytes: &[u8], fin: bool) {
        let mut stream = self.new_stream().expect("both sides take streams");
        stream.may_send -= bytes.len() as u64;
        stream.sent_end = fin;
        self.streams.open.insert(id, stream);
        let length = u8::try_from(name.len()).expect("a short name");
        let body = [&varint(id)[..], &[length], name.as_bytes(), bytes].concat();
        self.put(&[Frame::new(kind::STREAM_OPEN, if fin { FIN } else { 0 }, body)]);
    }

    /// Writes as much as there is credit for, in pieces, and the end behind all of it; how much it was.
    pub fn stream_write(&mut self, id: u64, bytes: &[u8], fin: bool, piece: usize) -> usize {
        let stream = self.streams.open.get_mut(&id).expect("open");
        let count = bytes.len().min(usize::try_from(stream.may_send).expect("small"));
        stream.may_send -= count as u64;
        let fin = fin && count == bytes.len();
        stream.sent_end |= fin;
        let mut pieces: Vec<&[u8]> = bytes[..count].chunks(piece).collect();
        if pieces.is_empty() && fin {
            pieces.push(&[]);
        }
        let last = pieces.len();
        for (at, piece) in pieces.into_iter().enumerate() {
            let flags = if fin && at + 1 == last { FIN } else { 0 };
            self.put(&[Frame::new(kind::STREAM_DATA, flags, [&varint(id), piece].concat())]);
        }
        count
    }

    pub fn stream_reset(&mut self, id: u64, code: u32) {
        self.streams.open.get_mut(&id).expect("open").sent_end = true;
        self.put(&[Frame::new(kind::STREAM_RESET, 0, [&varint(id)[..], &code.to_be_bytes()].concat())]);
    }

    pub fn stream_stop(&mut self, id: u64, code: u32) {
        self.put(&[Frame::new(kind::STREAM_STOP, 0, [&varint(id)[..], &code.to_be_bytes()].concat())]);
    }

    /// Grants what the application has read, or more.
    pub fn stream_credit(&mut self, id: u64, bytes: u64) {
        self.streams.open.get_mut(&id).expect("open").may_come += bytes;
        self.put(&[Frame::new(kind::STREAM_CREDIT, 0, [varint(id), varint(bytes)].concat())]);
    }

    /// `None` for anything that the document forbids.
    pub(super) fn on_stream(&mut self, frame: &Frame) -> Option<()> {
        self.offers()?;
        let mut reader = Reader(&frame.body);
        let id = reader.varint()?;
        if frame.kind == kind::STREAM_OPEN {
            let name = reader.name()?;
            let theirs = (id % 2 == 1) != self.initiator;
            let (counter, next) = self.streams.next_of(id);
            if !theirs || counter < *next {
                return None;
            }
            *next = counter + 1;
            let stream = self.new_stream()?;
            self.streams.open.insert(id, stream);
            self.got.push(Got::StreamOpen { id, name });
        }
        let generous = self.generous;
        let stream = self.streams.open.get_mut(&id)?;
        match frame.kind {
            kind::STREAM_OPEN | kind::STREAM_DATA => {
                let fin = frame.flags == FIN;
                if stream.got_end || (frame.kind == kind::STREAM_DATA && reader.0.is_empty() && !fin) {
                    return None;
                }
                let count = reader.0.len() as u64;
                stream.may_come = stream.may_come.checked_sub(count)?;
                stream.came.extend(reader.0);
                stream.got_end = fin;
                if fin {
                    self.got.push(Got::StreamEnd(id));
                } else if generous && count > 0 {
                    self.stream_credit(id, count);
                }
            }
            kind::STREAM_RESET => {
                let code = reader.u32()?;
                if stream.got_end || !reader.0.is_empty() {
                    return None;
                }
                stream.got_end = true;
                self.got.push(Got::StreamReset(id, code));
            }
            kind::STREAM_CREDIT => {
                let bytes = reader.varint()?;
                stream.may_send = stream.may_send.checked_add(bytes)?;
                if stream.may_send > u64::from(u32::MAX) || !reader.0.is_empty() {
                    return None;
                }
            }
            _ => {
                let code = reader.u32()?;
                if !reader.0.is_empty() {
                    return None;
                }
                let ended = stream.sent_end;
                self.got.push(Got::StreamStop(id, code));
                if !ended {
                    self.stream_reset(id, code);
                }
            }
        }
        Some(())
    }
}
