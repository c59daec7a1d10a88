//! Integers, varints and frames (head of the document, §5).

pub const fn u16be(value: u16) -> [u8; 2] {
    value.to_be_bytes()
}

/// `u16(len) ‖ body`, as handshake messages and records travel.
pub fn lengthy(body: &[u8]) -> Vec<u8> {
    [&u16be(u16::try_from(body.len()).expect("a short body")), body].concat()
}

/// RFC 9000 §16, in its shortest form.
pub fn varint(value: u64) -> Vec<u8> {
    let (log, bytes) = match value {
        0..=0x3f => (0u8, 1),
        0x40..=0x3fff => (1, 2),
        0x4000..=0x3fff_ffff => (2, 4),
        _ => (3, 8),
    };
    let mut out = value.to_be_bytes()[8 - bytes..].to_vec();
    out[0] |= log << 6;
    out
}

pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub fn name(&mut self) -> Option<String> {
        let length = self.u8()?;
        String::from_utf8(self.take(length.into())?.to_vec()).ok()
    }

    pub fn varint(&mut self) -> Option<u64> {
        let first = *self.0.first()?;
        let bytes = self.take(1 << (first >> 6))?;
        let value = bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let value = value & (u64::MAX >> (64 - 8 * bytes.len() + 2));
        (varint(value).len() == bytes.len()).then_some(value)
    }
}

pub mod kind {
    pub const PAD: u8 = 0x00;
    pub const STATUS: u8 = 0x01;
    pub const ALIVE_REPLY: u8 = 0x02;
    pub const SEND: u8 = 0x10;
    pub const CALL: u8 = 0x11;
    pub const REPLY: u8 = 0x12;
    pub const ERROR: u8 = 0x13;
    pub const CANCEL: u8 = 0x14;
    pub const DATA: u8 = 0x15;
    pub const CREDIT: u8 = 0x20;
    pub const STREAM_OPEN: u8 = 0x28;
    pub const STREAM_DATA: u8 = 0x29;
    pub const STREAM_RESET: u8 = 0x2a;
    pub const STREAM_CREDIT: u8 = 0x2b;
    pub const STREAM_STOP: u8 = 0x2c;
    pub const PING: u8 = 0x30;
    pub const PONG: u8 = 0x31;
    pub const ADVERT: u8 = 0x38;
    pub const ADVERT_ACK: u8 = 0x39;
    pub const PERMANENCE: u8 = 0x3a;
    pub const READY: u8 = 0x3b;
    pub const REKEY: u8 = 0x40;
    pub const GOODBYE: u8 = 0x41;
    pub const CLOSE: u8 = 0x42;
}

pub const MORE: u8 = 0x80;
pub const ABANDON: u8 = 0x40;
pub const FIN: u8 = 0x20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub body: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, body: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, body: body.into() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        [&[self.kind, self.flags][..], &lengthy(&self.body)].concat()
    }

    /// The frame's name in the document.
    pub const fn name(&self) -> &'static str {
        match self.kind {
            kind::PAD => "PAD",
            kind::STATUS => "STATUS",
            kind::ALIVE_REPLY => "ALIVE_REPLY",
            kind::SEND => "SEND",
            kind::CALL => "CALL",
            kind::REPLY => "REPLY",
            kind::ERROR => "ERROR",
            kind::CANCEL => "CANCEL",
            kind::DATA => "DATA",
            kind::CREDIT => "CREDIT",
            kind::STREAM_OPEN => "STREAM_OPEN",
            kind::STREAM_DATA => "STREAM_DATA",
            kind::STREAM_RESET => "STREAM_RESET",
            kind::STREAM_CREDIT => "STREAM_CREDIT",
            kind::STREAM_STOP => "STREAM_STOP",
            kind::PING => "PING",
            kind::PONG => "PONG",
            kind::ADVERT => "ADVERT",
            kind::ADVERT_ACK => "ADVERT_ACK",
            kind::PERMANENCE => "PERMANENCE",
            kind::READY => "READY",
            kind::REKEY => "REKEY",
            kind::GOODBYE => "GOODBYE",
            kind::CLOSE => "CLOSE",
            _ => "?",
        }
    }

    /// All frames of one record's plaintext.
    pub fn read_all(plaintext: &[u8]) -> Option<Vec<Self>> {
        let mut reader = Reader(plaintext);
        let mut out = Vec::new();
        while !reader.0.is_empty() {
            let (kind, flags, length) = (reader.u8()?, reader.u8()?, reader.u16()?);
            out.push(Self::new(kind, flags, reader.take(length.into())?));
        }
        (!out.is_empty()).then_some(out)
    }
}
