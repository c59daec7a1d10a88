//! A second implementation of the wire format, written from `docs/wire.md` alone. It is there to disagree: with the
//! link, or with the document.

#![allow(dead_code, reason = "each suite uses a part of it")]
#![allow(clippy::struct_excessive_bools, reason = "the states of a goodbye are independent of each other")]

pub mod bytes;
pub mod crypto;
pub mod handshake;
pub mod hello;
pub mod streams;
mod traffic;

use bytes::{Frame, lengthy};
use crypto::{Cipher, Hash, Noise};
use hello::{Coded, Hello, Outcome};

/// What one side is configured with.
#[derive(Clone)]
pub struct Setup {
    pub identity: [u8; 32],
    pub ephemeral: [u8; 32],
    pub network: Vec<u8>,
    pub secret: Option<Vec<u8>>,
    pub hello: Hello,
    /// The id that an initiator dials, or the only one that a responder trusts.
    pub expected: Option<Hash>,
    /// The suites in the preamble's bitmap.
    pub offered: u16,
    /// Edits the AUTH that is signed, before it is sealed.
    pub tamper: Option<fn(&mut Vec<u8>)>,
    /// Goes on where it should refuse, so that the other side has to.
    pub stubborn: bool,
    /// As a responder: asks first whether an older link is dead.
    pub asks: bool,
    /// As a responder: had a dial of its own under way, which loses.
    pub simultaneous: bool,
}

impl Setup {
    pub fn id(&self) -> Hash {
        ed25519_dalek::SigningKey::from_bytes(&self.identity).verifying_key().to_bytes()
    }

    /// Suite 1 or 2.
    pub fn suite(&self) -> u8 {
        1 + u8::from(self.secret.is_some())
    }

    pub fn psk(&self) -> Option<Hash> {
        let out = crypto::hkdf(b"handclasp/1 cluster secret", self.secret.as_ref()?, &self.network, 32);
        Some(crypto::split::<1>(&out)[0])
    }

    pub fn preamble(&self) -> [u8; 8] {
        let [high, low] = self.offered.to_be_bytes();
        [b'H', b'C', b'L', 1, self.suite(), 0, high, low]
    }

    pub fn prologue(&self, preamble: &[u8]) -> Vec<u8> {
        [b"handclasp/1 link", preamble, &lengthy(&self.network)].concat()
    }
}

/// The states of §3.8, without `admission`: this peer decides at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Preamble,
    KeyExchange,
    Authentication,
    Status,
    Alive,
    Open,
    Over,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// The other side refused, by REFUSE or STATUS.
    Refused(Coded),
    /// This side did.
    Refusing(Coded),
    /// The other side refused in cleartext.
    Cleartext(u8, u16),
    /// CLOSE went both ways; this is the first.
    Closed(Coded),
    /// The other side did what the document forbids.
    Violation(&'static str),
    /// A record did not open.
    Undecryptable,
}

/// What came, whole messages and single frames alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    Send { lane: u8, service: String, body: Vec<u8> },
    Call { lane: u8, id: u64, timeout: u64, service: String, body: Vec<u8> },
    Reply { lane: u8, id: u64, body: Vec<u8> },
    Error { id: u64, code: u16, detail: Vec<u8> },
    Cancel(u64),
    Abandoned(u8),
    Credit(u8, u64),
    StreamOpen { id: u64, name: String },
    StreamEnd(u64),
    StreamReset(u64, u32),
    StreamStop(u64, u32),
    Ping([u8; 8]),
    Pong([u8; 8]),
    Rekey(u8),
    Alive(u8),
    Advert(Vec<u8>),
    AdvertAck(u64),
    Permanence(bool),
    Ready,
    Goodbye(u32, String),
    Close(Coded),
}

/// Everything that the key schedule of §3.5 gives.
#[derive(Clone)]
pub struct Keys {
    pub i_to_r: Hash,
    pub r_to_i: Hash,
    pub exporter: Hash,
    pub binding: Hash,
}

/// A message of which not all has come.
struct Partial {
    got: Got,
    total: u64,
    charge: u64,
}

pub struct Peer {
    pub setup: Setup,
    pub initiator: bool,
    pub state: State,
    pub over: Option<Over>,
    /// To be written to the stream.
    pub output: Vec<u8>,
    input: Vec<u8>,
    preamble: Vec<u8>,
    pub noise: Option<Noise>,
    noise_keys: Option<[Cipher; 2]>,
    /// Plaintexts, kind byte included.
    pub auth_r: Vec<u8>,
    pub auth_i: Vec<u8>,
    pub keys: Option<Keys>,
    send: Option<Cipher>,
    receive: Option<Cipher>,
    pub theirs: Option<Hello>,
    pub their_id: Option<Hash>,
    pub outcome: Option<Outcome>,

    pub got: Vec<Got>,
    /// The frames of each record that came.
    pub records: Vec<Vec<Frame>>,
    /// What this side may still begin, by budget.
    pub credit: [u64; 2],
    /// What the other side may still begin.
    pub granted: [u64; 2],
    /// Gives back credit as messages come whole.
    pub generous: bool,
    lanes: [Option<Partial>; 6],
    /// Calls that the other side waits for, and own ones.
    pub serving: Vec<u64>,
    pub pending: Vec<u64>,
    pub streams: streams::Streams,
    goodbye_sent: bool,
    goodbye_got: bool,
    farewell: Option<Vec<u8>>,
    close_sent: bool,
    /// STATUS said so to this initiator.
    pub simultaneous: bool,
    /// STATUS has asked.
    asked: bool,
    /// The other side's READY is still to come, and its ADVERT may.
    ready_due: bool,
    advert_sent: bool,
}

impl Peer {
    pub fn initiator(setup: Setup) -> Self {
        let mut peer = Self::new(setup, true, State::KeyExchange);
        peer.dial();
        peer
    }

    pub fn responder(setup: Setup) -> Self {
        Self::new(setup, false, State::Preamble)
    }

    fn new(setup: Setup, initiator: bool, state: State) -> Self {
        Self {
            setup,
            initiator,
            state,
            over: None,
            output: Vec::new(),
            input: Vec::new(),
            preamble: Vec::new(),
            noise: None,
            noise_keys: None,
            auth_r: Vec::new(),
            auth_i: Vec::new(),
            keys: None,
            send: None,
            receive: None,
            theirs: None,
            their_id: None,
            outcome: None,
            got: Vec::new(),
            records: Vec::new(),
            credit: [0; 2],
            granted: [0; 2],
            generous: true,
            lanes: [const { None }; 6],
            serving: Vec::new(),
            pending: Vec::new(),
            streams: streams::Streams::default(),
            goodbye_sent: false,
            goodbye_got: false,
            farewell: None,
            close_sent: false,
            simultaneous: false,
            asked: false,
            ready_due: false,
            advert_sent: false,
        }
    }

    /// Takes bytes of the stream, in pieces of any size.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
        while let Some(unit) = self.next_unit() {
            if let Err(over) = self.unit(&unit) {
                self.over = Some(over);
                self.state = State::Over;
            }
        }
    }

    /// The preamble, a cleartext refusal with its zero length, or what is behind a length.
    fn next_unit(&mut self) -> Option<Vec<u8>> {
        if self.state == State::Over {
            return None;
        }
        if self.state == State::Preamble {
            return (self.input.len() >= 8).then(|| self.input.drain(..8).collect());
        }
        let length = usize::from(u16::from_be_bytes(self.input.get(..2)?.try_into().ok()?));
        let (skip, length) = match (length, self.state) {
            (0, state) if !matches!(state, State::Open | State::Alive) && !self.asked => (0, 5),
            (length, _) => (2, length),
        };
        (self.input.len() >= skip + length).then(|| {
            self.input.drain(..skip);
            self.input.drain(..length).collect()
        })
    }

    fn unit(&mut self, unit: &[u8]) -> Result<(), Over> {
        let early = !matches!(self.state, State::Open | State::Alive | State::Preamble) && !self.asked;
        // A responder that refuses sends no traffic record, so a zero length stands for a refusal until STATUS.
        if early && unit.starts_with(&[0, 0]) && unit.len() == 5 {
            return Err(Over::Cleartext(unit[2], u16::from_be_bytes([unit[3], unit[4]])));
        }
        match (self.state, self.initiator) {
            (State::Preamble, _) => self.on_preamble(unit),
            (State::KeyExchange, true) => self.on_msg2(unit),
            (State::KeyExchange, false) => self.on_msg1(unit),
            (State::Authentication, true) => self.on_auth_r(unit),
            (State::Authentication, false) => self.on_auth_i(unit),
            (State::Status | State::Alive | State::Open, _) => self.on_record(unit),
            (State::Over, _) => Ok(()),
        }
    }

    /// What is to be written, taken.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn message(&mut self, body: &[u8]) {
        self.output.extend(lengthy(body));
    }

    /// Seals one record under the traffic key.
    pub fn seal(&mut self, plaintext: &[u8]) {
        let record = self.send.as_mut().expect("keys").seal(&[], plaintext);
        self.message(&record);
    }

    /// Starts the sending key's counter anew, for a record in place of another that was never given out.
    pub fn send_reset(&mut self) {
        self.send.as_mut().expect("keys").counter = 0;
    }

    /// Sends one record of these frames.
    pub fn put(&mut self, frames: &[Frame]) {
        let plaintext: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        if let Some(outcome) = &self.outcome {
            assert!(plaintext.len() <= outcome.max_record.into(), "a record over the limit");
        }
        self.seal(&plaintext);
    }
}
