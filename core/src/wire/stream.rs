//! Frames of byte streams (docs/wire.md §5.6).

use alloc::vec::Vec;

use super::frame::{FLAGS, FrameWriter, HEADER_LEN, text};
use super::reader::{Malformed, Reader, VARINT_MAX, put_varint, varint_len};

pub(super) const OPEN: u8 = 0x28;
const DATA: u8 = 0x29;
const RESET: u8 = 0x2a;
const CREDIT: u8 = 0x2b;
pub(super) const STOP: u8 = 0x2c;

/// With OPEN and DATA: the last bytes of their direction.
const FIN: u8 = 0x20;

/// The most bytes that STOP, RESET and CREDIT of one stream take together.
pub(crate) const WORDS_LEN: usize = 3 * (HEADER_LEN + 8) + 4 + 4 + 8;

/// What a frame says of the stream that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamFrame<'a> {
    Open { name: &'a str, data: &'a [u8], fin: bool },
    Data { data: &'a [u8], fin: bool },
    Reset { code: u32 },
    Credit { bytes: u64 },
    Stop { code: u32 },
}

/// Parses the body of a frame of one of these types: the stream's id, and what is said of it.
pub(super) fn parse(kind: u8, flags: u8, mut body: Reader<'_>) -> Result<(u64, StreamFrame<'_>), Malformed> {
    let may_end = matches!(kind, OPEN | DATA);
    if flags != 0 && !(may_end && flags == FIN) {
        return Err(FLAGS);
    }
    let fin = flags == FIN;
    let id = body.varint()?;
    let frame = match kind {
        OPEN => {
            let name = text(body.prefixed_u8()?)?;
            return Ok((id, StreamFrame::Open { name, data: body.rest(), fin }));
        }
        DATA => {
            let data = body.rest();
            if data.is_empty() && !fin {
                return Err(Malformed::new("STREAM_DATA: neither bytes nor an end"));
            }
            return Ok((id, StreamFrame::Data { data, fin }));
        }
        RESET => StreamFrame::Reset { code: body.u32()? },
        CREDIT => StreamFrame::Credit { bytes: body.varint()? },
        _ => StreamFrame::Stop { code: body.u32()? },
    };
    if body.is_empty() { Ok((id, frame)) } else { Err(Malformed::new("frame: bytes behind its last field")) }
}

/// The bytes that the first frame of stream `id` takes beside the data in it.
pub(crate) const fn open_len(id: u64, name: &str) -> usize {
    data_len(id) + 1 + name.len()
}

/// The bytes that a further frame takes beside the data in it.
pub(crate) const fn data_len(id: u64) -> usize {
    HEADER_LEN + varint_len(id)
}

impl FrameWriter<'_> {
    pub(crate) fn stream_open(&mut self, id: u64, name: &str, fin: bool, fill: impl FnOnce(&mut Vec<u8>)) {
        self.frame(OPEN, if fin { FIN } else { 0 }, |out| {
            put_varint(out, id);
            out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(name.as_bytes());
            fill(out);
        });
    }

    pub(crate) fn stream_data(&mut self, id: u64, fin: bool, fill: impl FnOnce(&mut Vec<u8>)) {
        self.frame(DATA, if fin { FIN } else { 0 }, |out| {
            put_varint(out, id);
            fill(out);
        });
    }

    pub(crate) fn stream_reset(&mut self, id: u64, code: u32) {
        self.frame(RESET, 0, |out| {
            put_varint(out, id);
            out.extend_from_slice(&code.to_be_bytes());
        });
    }

    pub(crate) fn stream_credit(&mut self, id: u64, bytes: u64) {
        self.frame(CREDIT, 0, |out| {
            put_varint(out, id);
            put_varint(out, bytes.min(VARINT_MAX));
        });
    }

    pub(crate) fn stream_stop(&mut self, id: u64, code: u32) {
        self.frame(STOP, 0, |out| {
            put_varint(out, id);
            out.extend_from_slice(&code.to_be_bytes());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::Frame;
    use super::*;

    #[test]
    fn m12_every_frame_of_a_stream_is_read_as_it_was_written() {
        for id in [0, 3, 63, 64, 16_384, 1 << 40, VARINT_MAX] {
            let mut out = Vec::new();
            let mut writer = FrameWriter::new(&mut out);
            writer.stream_open(id, "née", true, |out| out.extend_from_slice(b"first"));
            writer.stream_open(id, "", false, |_| {});
            writer.stream_data(id, false, |out| out.extend_from_slice(b"next"));
            writer.stream_data(id, true, |_| {});
            writer.stream_reset(id, u32::MAX);
            writer.stream_credit(id, VARINT_MAX);
            writer.stream_stop(id, 7);
            let mut reader = Reader::new(&out);
            for frame in [
                StreamFrame::Open { name: "née", data: b"first", fin: true },
                StreamFrame::Open { name: "", data: b"", fin: false },
                StreamFrame::Data { data: b"next", fin: false },
                StreamFrame::Data { data: b"", fin: true },
                StreamFrame::Reset { code: u32::MAX },
                StreamFrame::Credit { bytes: VARINT_MAX },
                StreamFrame::Stop { code: 7 },
            ] {
                assert_eq!(Frame::parse(&mut reader), Ok(Frame::Stream { id, frame }));
            }
            assert!(reader.is_empty());
            let mut lengths = Vec::new();
            FrameWriter::new(&mut lengths).stream_open(id, "name", false, |_| {});
            assert_eq!(lengths.len(), open_len(id, "name"));
            lengths.clear();
            FrameWriter::new(&mut lengths).stream_data(id, true, |_| {});
            assert_eq!(lengths.len(), data_len(id));
            lengths.clear();
            let mut writer = FrameWriter::new(&mut lengths);
            writer.stream_reset(id, 1);
            writer.stream_credit(id, VARINT_MAX);
            writer.stream_stop(id, 1);
            assert!(lengths.len() <= WORDS_LEN);
        }
    }
}
