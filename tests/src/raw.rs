//! A peer that speaks docs/wire.md by hand: it has real traffic keys and puts any plaintext under them.
//!
//! It plays what no link would send, and shows what a link sends frame by frame.

use std::sync::Arc;
use std::time::Duration;

use handclasp::crypto::cipher::{OpenKey, SealKey};
use handclasp::crypto::noise::{HandshakeState, Protocol, Role, Split};
use handclasp::crypto::{CryptoProvider, RustCrypto, Secret, Suite, SuiteSet, TAG_LEN};
use handclasp::hello::Hello;
use handclasp::negotiation::negotiate;
use handclasp::{Action, Closed, Config, Dial, Instant, Limits, Link, Ready, Signer, VersionRange, wire};

use crate::{Owned, key, seed};

/// The number of the node that a raw peer is.
pub const RAW: u8 = 9;

const PREAMBLE: &[u8; 8] = b"HCL\x01\x01\x00\x00\x01";

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

/// A link, and the raw peer at its other end.
#[derive(Debug)]
pub struct Raw {
    /// The link under test.
    pub link: Link,
    /// Its events, in order.
    pub events: Vec<Owned>,
    /// The time that it is told.
    pub now: Instant,
    /// What its owner takes.
    pub ready: Ready,
    /// What the link has written and [`records`](Self::records) has not opened.
    pub written: Vec<u8>,
    /// The limits of the link.
    pub limits: Limits,
    /// The key that the raw peer seals with.
    pub seal: SealKey,
    /// The key that it opens with.
    pub open: OpenKey,
}

/// What a handshake by hand needs before there are traffic keys.
struct Start {
    link: Link,
    now: Instant,
    events: Vec<Owned>,
    written: Vec<u8>,
    role: Role,
}

impl Raw {
    /// A raw peer dials a link of `config`, which has to trust node [`RAW`]. Both are established.
    pub fn initiator(config: &Arc<Config>) -> Self {
        Self::shake_hands(config, Role::Initiator)
    }

    /// A link of `config` dials a raw peer.
    pub fn responder(config: &Arc<Config>) -> Self {
        Self::shake_hands(config, Role::Responder)
    }

    fn shake_hands(config: &Arc<Config>, role: Role) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let link = match role {
            Role::Initiator => Link::responder(config, 1, &seed(1), now),
            Role::Responder => Link::initiator(config, Dial::anyone(), &seed(1), now),
        };
        let mut start = Start { link, now, events: Vec::new(), written: Vec::new(), role };
        let suites = SuiteSet::EMPTY.with(Suite::NnChaChaPoly);
        let mut hello = Hello::new(VersionRange::only(1), suites, 99, 1);
        hello.limits = *config.limits();
        let mut channel = start.key_exchange();
        let (own, theirs, hello_bytes) = match role {
            Role::Responder => {
                let own = start.auth(&mut channel, &hello, [0; 32]);
                let (theirs, hello_bytes) = start.read_auth(&mut channel);
                (own, theirs, hello_bytes)
            }
            Role::Initiator => {
                let (theirs, hello_bytes) = start.read_auth(&mut channel);
                (start.auth(&mut channel, &hello, theirs), theirs, hello_bytes)
            }
        };
        let (auth_r, auth_i) = if role == Role::Responder { (own, theirs) } else { (theirs, own) };
        let mut out = [0; 128];
        let info = [&b"handclasp/1 traffic keys"[..], &auth_r, &auth_i];
        RustCrypto.hkdf_sha256(&channel.hash, channel.master.expose(), &info, &mut out).expect("keys");
        let part = |at: usize| Secret::new(out[32 * at..32 * (at + 1)].try_into().expect("32 bytes"));
        let (sealing, opening) = if role == Role::Initiator { (0, 1) } else { (1, 0) };
        let cipher = Suite::NnChaChaPoly.cipher();
        let outcome =
            negotiate(&hello, &wire::hello::parse(&hello_bytes).expect("a hello")).expect("agreement");
        let mut raw = Self {
            link: start.link,
            events: start.events,
            now,
            ready: Ready::ALL,
            written: start.written,
            limits: outcome.limits,
            seal: SealKey::new(&RustCrypto, cipher, &part(sealing)).expect("a key"),
            open: OpenKey::new(&RustCrypto, cipher, &part(opening)).expect("a key"),
        };
        if role == Role::Responder {
            let digest = outcome.digest(&RustCrypto);
            raw.send(&frame(0x01, 0, [&[0][..], &outcome.version.to_be_bytes(), &digest].concat()));
        } else {
            raw.act();
            let status = raw.records();
            assert!(matches!(&status[..], [frames] if frames[0].kind == 0x01 && frames[0].body[0] == 0));
        }
        let established = raw.events.iter().any(|event| matches!(event, Owned::Established(_)));
        assert!(established, "not established: {:?}", raw.events);
        raw.events.clear();
        raw
    }

    /// Lets the link act: takes its events and its bytes.
    pub fn act(&mut self) {
        act(&mut self.link, self.now, self.ready, &mut self.events, &mut self.written);
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
        let mut text = plaintext.to_vec();
        let tag = self.seal.seal(&mut text).expect("sealed");
        let length = u16::try_from(text.len() + TAG_LEN).expect("a record's length");
        [&length.to_be_bytes()[..], &text, &tag].concat()
    }

    /// Lets the link read bytes as they are, and act.
    pub fn feed(&mut self, bytes: &[u8]) {
        feed(&mut self.link, self.now, bytes);
        self.act();
    }

    /// Opens every whole record that the link has written.
    ///
    /// # Panics
    /// If one does not open, or its frames do not add up.
    pub fn records(&mut self) -> Vec<Vec<RawFrame>> {
        let mut records = Vec::new();
        while let Some(length) = self.written.first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            if self.written.len() < 2 + length {
                break;
            }
            let mut record: Vec<u8> = self.written.drain(..2 + length).skip(2).collect();
            let (text, tag) = record.split_last_chunk_mut::<TAG_LEN>().expect("a tag");
            self.open.open(text, tag).expect("a record that opens");
            assert!(text.len() <= usize::from(self.limits.max_record), "a record of {} bytes", text.len());
            let frames = split(text);
            if frames.iter().any(|frame| frame.kind == 0x40) {
                self.open.rekey(&RustCrypto).expect("the next key");
            }
            records.push(frames);
        }
        records
    }

    /// All frames of [`records`](Self::records).
    pub fn frames(&mut self) -> Vec<RawFrame> {
        self.records().into_iter().flatten().collect()
    }

    /// Lets time pass, from one deadline of the link to the next.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.act();
            let next = match self.link.poll(self.now, Ready::NOTHING) {
                Action::Timeout(next) => next,
                action => unreachable!("{action:?} without being ready for it"),
            };
            self.now = next.map_or(until, |next| next.min(until));
        }
        self.act();
    }

    /// The end of the link, if it has ended.
    pub fn closed(&self) -> Option<&Closed> {
        self.link.closed()
    }
}

impl Start {
    fn act(&mut self) {
        act(&mut self.link, self.now, Ready::ALL, &mut self.events, &mut self.written);
    }

    fn feed(&mut self, bytes: &[u8]) {
        feed(&mut self.link, self.now, bytes);
        self.act();
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.act();
        assert!(self.written.len() >= count, "the link has written too little: {:?}", self.events);
        self.written.drain(..count).collect()
    }

    fn take_message(&mut self) -> Vec<u8> {
        let length = self.take(2);
        self.take(usize::from(u16::from_be_bytes([length[0], length[1]])))
    }

    fn give_message(&mut self, message: &[u8]) {
        let length = u16::try_from(message.len()).expect("a message's length");
        self.feed(&[&length.to_be_bytes(), message].concat());
    }

    fn key_exchange(&mut self) -> Split {
        let prologue = [&b"handclasp/1 link"[..], PREAMBLE, &[0, 0]].concat();
        let protocol = Protocol::of(Suite::NnChaChaPoly);
        let mut noise =
            HandshakeState::new(&RustCrypto, protocol, self.role, &prologue, Secret::new([RAW; 32]));
        let mut message = Vec::new();
        if self.role == Role::Initiator {
            self.feed(PREAMBLE);
            noise.write_message(&RustCrypto, &[], &mut message).expect("msg1");
            self.give_message(&message);
            let answer = self.take_message();
            noise.read_message(&RustCrypto, &answer, &mut Vec::new()).expect("msg2");
        } else {
            assert_eq!(self.take(8), PREAMBLE);
            let first = self.take_message();
            noise.read_message(&RustCrypto, &first, &mut Vec::new()).expect("msg1");
            noise.write_message(&RustCrypto, &[], &mut message).expect("msg2");
            self.give_message(&message);
        }
        noise.split(&RustCrypto).expect("keys")
    }

    /// Sends AUTH and returns its hash. `before` is the hash of the responder's, or zeros.
    fn auth(&mut self, channel: &mut Split, hello: &Hello, before: [u8; 32]) -> [u8; 32] {
        let mut auth = vec![1];
        wire::hello::emit(hello, &mut auth).expect("a hello");
        let id = *key(RAW).node_id().as_bytes();
        let role = u8::from(self.role == Role::Responder);
        let length = u16::try_from(auth.len() - 1).expect("a hello's length");
        let signed = [
            b"handclasp/1 link authentication\0",
            &[role][..],
            &channel.hash,
            &before,
            &length.to_be_bytes(),
            &auth[1..],
            &id,
        ];
        let signature = key(RAW).sign(&signed.concat()).expect("a signature");
        auth.extend_from_slice(&id);
        auth.extend_from_slice(&signature);
        let hash = RustCrypto.sha256(&[&auth]);
        let tag = channel.seal.seal(&mut auth).expect("sealed");
        auth.extend_from_slice(&tag);
        self.give_message(&auth);
        hash
    }

    /// Reads the link's AUTH: its hash, and its hello.
    fn read_auth(&mut self, channel: &mut Split) -> ([u8; 32], Vec<u8>) {
        let mut record = self.take_message();
        let (auth, tag) = record.split_last_chunk_mut::<TAG_LEN>().expect("a tag");
        channel.open.open(auth, tag).expect("AUTH opens");
        assert_eq!(auth[0], 1, "REFUSE in place of AUTH");
        (RustCrypto.sha256(&[auth]), auth[1..auth.len() - 96].to_vec())
    }
}

fn act(link: &mut Link, now: Instant, ready: Ready, events: &mut Vec<Owned>, written: &mut Vec<u8>) {
    loop {
        match link.poll(now, ready) {
            Action::Event(event) => {
                assert!(!matches!(events.last(), Some(Owned::Closed(_))), "{event:?} behind Closed");
                events.push(event.into());
            }
            Action::Send => {
                let bytes = link.transmit(now);
                assert!(!bytes.is_empty(), "Send was offered, but there is nothing to write");
                let count = bytes.len();
                written.extend_from_slice(bytes);
                link.transmitted(count, now);
            }
            Action::Timeout(at) => {
                assert!(at.is_none_or(|at| at > now), "a deadline in the past: {at:?} at {now:?}");
                return;
            }
        }
    }
}

fn feed(link: &mut Link, now: Instant, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let space = link.recv_space();
        let count = space.len().min(bytes.len());
        if count == 0 {
            return;
        }
        space[..count].copy_from_slice(&bytes[..count]);
        link.received(count, now);
        bytes = &bytes[count..];
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
