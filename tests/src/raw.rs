//! A peer that speaks docs/wire.md by hand: it has real traffic keys and puts any plaintext under them.
//!
//! It plays what no link would send, and shows what a link sends frame by frame.

use std::sync::Arc;

use handclasp::crypto::RustCrypto;
use handclasp::hello::{Hello, StreamOffer};
use handclasp::negotiation::{Outcome, negotiate};
use handclasp::wire::hello::parse;
use handclasp::{Config, Limits};

use crate::hostile::{Hostile, Traffic, hello, hello_of};
use crate::{Owned, Solo, key};

/// The number of the node that a raw peer is.
pub const RAW: u8 = 9;

/// A frame as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its body.
    pub body: Vec<u8>,
}

/// The bytes of a frame.
///
/// # Panics
/// If the body is longer than a frame can say.
pub fn frame(kind: u8, flags: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = u16::try_from(body.len()).expect("a frame's length");
    let mut out = vec![kind, flags];
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// A varint in its shortest form.
///
/// # Panics
/// From 2⁶² on.
pub fn varint(value: u64) -> Vec<u8> {
    let (form, length) = match value {
        0..=0x3f => (0, 1),
        0x40..=0x3fff => (1, 2),
        0x4000..=0x3fff_ffff => (2, 4),
        _ => (3, 8),
    };
    assert!(value < 1 << 62, "no varint");
    let mut bytes = value.to_be_bytes()[8 - length..].to_vec();
    bytes[0] |= form << 6;
    bytes
}

/// A service name behind its length.
fn name(service: &str) -> Vec<u8> {
    let length = u8::try_from(service.len()).expect("a name's length");
    [&[length], service.as_bytes()].concat()
}

/// The value of a varint and the bytes behind it.
///
/// # Panics
/// If the bytes end within it.
pub fn read_varint(bytes: &[u8]) -> (u64, &[u8]) {
    let length = 1 << (bytes[0] >> 6);
    let value = bytes[..length].iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    (value & ((1 << (8 * length - 2)) - 1), &bytes[length..])
}

/// SEND of a whole message, in lane 3 (normal priority).
pub fn send(service: &str, body: &[u8]) -> Vec<u8> {
    frame(0x10, 3, [&name(service), body].concat())
}

/// CALL of a whole message, in lane 3.
pub fn call(id: u64, timeout_ms: u64, service: &str, body: &[u8]) -> Vec<u8> {
    frame(0x11, 3, [&varint(id), &varint(timeout_ms), &name(service), body].concat())
}

/// REPLY of a whole message, in lane 1.
pub fn reply(id: u64, body: &[u8]) -> Vec<u8> {
    frame(0x12, 1, [&varint(id), body].concat())
}

/// CREDIT.
pub fn credit(budget: u8, bytes: u64) -> Vec<u8> {
    frame(0x20, 0, [&[budget], &varint(bytes)[..]].concat())
}

/// `STREAM_OPEN` of a stream without a name.
pub fn stream_open(id: u64, data: &[u8]) -> Vec<u8> {
    frame(0x28, 0, [&varint(id), &[0][..], data].concat())
}

/// `STREAM_DATA`; with `fin` the last of its direction.
pub fn stream_data(id: u64, data: &[u8], fin: bool) -> Vec<u8> {
    frame(0x29, if fin { 0x20 } else { 0 }, [&varint(id), data].concat())
}

/// `STREAM_RESET`.
pub fn stream_reset(id: u64, code: u32) -> Vec<u8> {
    frame(0x2a, 0, [&varint(id)[..], &code.to_be_bytes()].concat())
}

/// `STREAM_CREDIT`.
pub fn stream_credit(id: u64, bytes: u64) -> Vec<u8> {
    frame(0x2b, 0, [varint(id), varint(bytes)].concat())
}

/// `STREAM_STOP`.
pub fn stream_stop(id: u64, code: u32) -> Vec<u8> {
    frame(0x2c, 0, [&varint(id)[..], &code.to_be_bytes()].concat())
}

/// What a configuration says of streams in its hello.
fn offer(config: &Config) -> Option<StreamOffer> {
    let streams = config.streams();
    (streams.max_open > 0).then_some(StreamOffer { max_streams: streams.max_open, window: streams.window })
}

/// What a raw peer knows of its link.
#[derive(Debug)]
pub struct Keys {
    /// The keys of both directions.
    pub traffic: Traffic,
    /// The limits of the link.
    pub limits: Limits,
}

/// A link, and the raw peer at its other end.
pub type Raw = Solo<Keys>;

impl Raw {
    /// A raw peer dials a link of `config`, which has to trust node [`RAW`]. Both are established.
    ///
    /// # Panics
    /// If they are not.
    pub fn dialling(config: &Arc<Config>) -> Self {
        Self::dialling_as(config, |_| {})
    }

    /// The same with another hello than the usual one.
    ///
    /// # Panics
    /// If they are not established.
    pub fn dialling_as(config: &Arc<Config>, edit: impl FnOnce(&mut Hello)) -> Self {
        let mut solo = Solo::responder(config, 0);
        let mut peer = Hostile::dial_to(&mut solo);
        let own = hello(|hello| {
            hello.limits = *config.limits();
            hello.streams = offer(config);
            edit(hello);
        });
        let auth = peer.auth(&key(RAW), &own);
        solo.feed(&peer.seal(&auth));
        let traffic = peer.traffic(&peer.heard, &auth);
        let (mut raw, _) = Self::new(solo, traffic, &own, &peer.heard);
        let status = raw.records();
        assert!(matches!(&status[..], [frames] if frames[0].kind == 0x01 && frames[0].body[0] == 0));
        raw.established()
    }

    /// A link of `config` dials a raw peer.
    ///
    /// # Panics
    /// If they are not established.
    pub fn dialled_by(config: &Arc<Config>) -> Self {
        let mut solo = Solo::initiator(config, None, 0);
        let (mut peer, second) = Hostile::answer_to(&mut solo);
        let own = hello(|hello| {
            hello.limits = *config.limits();
            hello.streams = offer(config);
        });
        let auth = peer.auth(&key(RAW), &own);
        solo.feed(&[second, peer.seal(&auth)].concat());
        let theirs = peer.open(&solo.written());
        let traffic = peer.traffic(&auth, &theirs);
        let (mut raw, outcome) = Self::new(solo, traffic, &own, &theirs);
        let digest = outcome.digest(&RustCrypto);
        raw.send(&frame(0x01, 0, [&[0][..], &outcome.version.to_be_bytes(), &digest].concat()));
        raw.established()
    }

    /// The peer that said `own`, and heard the link's AUTH.
    fn new(solo: Solo, traffic: Traffic, own: &[u8], auth: &[u8]) -> (Self, Outcome) {
        let [own, theirs] = [own, hello_of(auth)].map(|hello| parse(hello).expect("a hello"));
        let outcome = negotiate(&own, &theirs).expect("agreement");
        (solo.with_keys(Keys { traffic, limits: outcome.limits }), outcome)
    }

    fn established(mut self) -> Self {
        let established = self.events.iter().any(|event| matches!(event, Owned::Established(_)));
        assert!(established, "not established: {:?}", self.events);
        self.events.clear();
        self
    }

    /// Seals `plaintext` into one record, lets the link read it, and lets it act.
    pub fn send(&mut self, plaintext: &[u8]) {
        let record = self.sealed(plaintext);
        self.feed(&record);
    }

    /// The bytes of a record of `plaintext`.
    ///
    /// # Panics
    /// If it is too long for a record.
    pub fn sealed(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.keys.traffic.seal(plaintext)
    }

    /// Opens every whole record that the link has written.
    ///
    /// # Panics
    /// If one does not open, or its frames do not add up.
    pub fn records(&mut self) -> Vec<Vec<RawFrame>> {
        let mut records = Vec::new();
        while let Some(length) = self.out.first_chunk::<2>() {
            let end = 2 + usize::from(u16::from_be_bytes(*length));
            if self.out.len() < end {
                break;
            }
            let text = self.keys.traffic.open(&self.out[..end]);
            self.out.drain(..end);
            let limit = usize::from(self.keys.limits.max_record);
            assert!(text.len() <= limit, "a record of {} bytes", text.len());
            let frames = split(&text);
            if frames.iter().any(|frame| frame.kind == 0x40) {
                self.keys.traffic.open.rekey(&RustCrypto).expect("the next key");
            }
            records.push(frames);
        }
        records
    }

    /// All frames of [`records`](Self::records).
    pub fn frames(&mut self) -> Vec<RawFrame> {
        self.records().into_iter().flatten().collect()
    }
}

fn split(mut text: &[u8]) -> Vec<RawFrame> {
    let mut frames = Vec::new();
    while let [kind, flags, high, low, rest @ ..] = text {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        frames.push(RawFrame { kind: *kind, flags: *flags, body: rest[..length].to_vec() });
        text = &rest[length..];
    }
    assert!(text.is_empty(), "bytes behind the last frame");
    frames
}
