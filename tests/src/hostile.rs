//! A peer that keeps to the handshake only as far as the test wants. It is written from docs/wire.md on the
//! public parts of the crate (the Noise engine and the hello's layout), and shares no code with the link
//! machine.

use handclasp::crypto::cipher::{OpenKey, SealKey};
use handclasp::crypto::noise::{HandshakeState, Protocol, Role, Split};
use handclasp::crypto::{Cipher, CryptoProvider, RustCrypto, Secret, Suite, SuiteSet, TAG_LEN};
use handclasp::hello::Hello;
use handclasp::wire::hello::emit;
use handclasp::{SecretKey, Signer, VersionRange};

use crate::{Solo, id};

/// The kind of an AUTH record.
pub const AUTH: u8 = 1;
/// The kind of a REFUSE record.
pub const REFUSE: u8 = 2;

/// A length in two bytes, as it travels.
///
/// # Panics
/// Above 65 535.
pub fn u16_field(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("a length of two bytes").to_be_bytes()
}

/// `u16(length) ‖ body`.
pub fn framed(body: &[u8]) -> Vec<u8> {
    [&u16_field(body.len())[..], body].concat()
}

/// Splits one direction of a handshake into its messages: the preamble if `preamble`, then each length with
/// its body. What is no whole message stays as the last part.
pub fn messages(mut bytes: &[u8], preamble: bool) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    if preamble && bytes.len() >= 8 {
        let (part, rest) = bytes.split_at(8);
        parts.push(part.to_vec());
        bytes = rest;
    }
    while let Some(length) = bytes.first_chunk::<2>() {
        let end = bytes.len().min(2 + usize::from(u16::from_be_bytes(*length)));
        let (part, rest) = bytes.split_at(end);
        parts.push(part.to_vec());
        bytes = rest;
    }
    if !bytes.is_empty() {
        parts.push(bytes.to_vec());
    }
    parts
}

/// The bytes of a hello with the defaults of suite 1, edited.
///
/// # Panics
/// If the edited hello is not a valid one.
pub fn hello(edit: impl FnOnce(&mut Hello)) -> Vec<u8> {
    let suites = SuiteSet::EMPTY.with(Suite::NnChaChaPoly);
    let mut hello = Hello::new(VersionRange::only(1), suites, 77, 1);
    edit(&mut hello);
    let mut bytes = Vec::new();
    emit(&hello, &mut bytes).expect("a valid hello");
    bytes
}

/// What a signature is made over (docs/wire.md §3.3).
pub fn signed(role: u8, hash: &[u8; 32], auth_r: &[u8; 32], hello: &[u8], id: &[u8; 32]) -> Vec<u8> {
    let label = b"handclasp/1 link authentication\0";
    [&label[..], &[role], hash, auth_r, &u16_field(hello.len()), hello, id].concat()
}

/// A suite's cluster secret as a Noise psk (docs/wire.md §3.2).
///
/// # Panics
/// Never: the output is short.
pub fn psk(secret: &[u8], network: &[u8]) -> Secret<32> {
    let mut psk = Secret::default();
    let derived = RustCrypto.hkdf_sha256(b"handclasp/1 cluster secret", secret, &[network], psk.expose_mut());
    derived.expect("32 bytes are not too many");
    psk
}

/// One side of a handshake, in the test's hands.
#[derive(Debug)]
pub struct Hostile {
    role: Role,
    noise: Option<HandshakeState>,
    channel: Option<Split>,
    /// The plaintext of the AUTH that the other side sent.
    pub heard: Vec<u8>,
}

/// Traffic keys (docs/wire.md §3.5).
#[derive(Debug)]
pub struct Traffic {
    /// The key that the test seals with.
    pub seal: SealKey,
    /// The key that it opens with.
    pub open: OpenKey,
    /// The channel binding.
    pub binding: [u8; 32],
}

impl Hostile {
    fn start(role: Role, preamble: &[u8], psk: Option<Secret<32>>, network: &[u8]) -> Self {
        let prologue = [b"handclasp/1 link", preamble, &framed(network)].concat();
        let suite = if psk.is_some() { Suite::NnPsk0ChaChaPoly } else { Suite::NnChaChaPoly };
        let ephemeral = Secret::new([if role == Role::Initiator { 0x1a } else { 0x2a }; 32]);
        let mut noise = HandshakeState::new(&RustCrypto, Protocol::of(suite), role, &prologue, ephemeral);
        if let Some(psk) = psk {
            noise.set_psk(psk).expect("the suite has a psk");
        }
        Self { role, noise: Some(noise), channel: None, heard: Vec::new() }
    }

    /// An initiator of suite 1, or of suite 2 with a psk: itself, the preamble, and the first message with
    /// its length.
    ///
    /// # Panics
    /// Never.
    pub fn dial(psk: Option<Secret<32>>, network: &[u8]) -> (Self, Vec<u8>, Vec<u8>) {
        let suite = if psk.is_some() { 2 } else { 1 };
        let preamble = [b'H', b'C', b'L', 1, suite, 0, 0, suite];
        let mut this = Self::start(Role::Initiator, &preamble, psk, network);
        let first = this.write();
        (this, preamble.to_vec(), first)
    }

    fn write(&mut self) -> Vec<u8> {
        let (noise, mut message) = (self.noise.as_mut().expect("in the key exchange"), Vec::new());
        noise.write_message(&RustCrypto, &[], &mut message).expect("own turn");
        framed(&message)
    }

    fn read(&mut self, message: &[u8]) {
        let noise = self.noise.as_mut().expect("in the key exchange");
        noise.read_message(&RustCrypto, &message[2..], &mut Vec::new()).expect("an honest message");
    }

    fn split(&mut self) {
        let noise = self.noise.take().expect("in the key exchange");
        self.channel = Some(noise.split(&RustCrypto).expect("both messages are done"));
    }

    /// Dials the link of `solo` and goes as far as to have its AUTH.
    ///
    /// # Panics
    /// If the link does not answer as it should.
    pub fn dial_to(solo: &mut Solo) -> Self {
        let (mut this, preamble, first) = Self::dial(None, &[]);
        solo.feed(&[preamble, first].concat());
        let answer = solo.written();
        let [second, auth] = &messages(&answer, false)[..] else { panic!("no answer: {answer:x?}") };
        this.read(second);
        this.split();
        this.heard = this.open(auth);
        this
    }

    /// Answers the link of `solo`, which dialled, with the second message: itself, and that message.
    ///
    /// # Panics
    /// If the link does not dial as it should.
    pub fn answer_to(solo: &mut Solo) -> (Self, Vec<u8>) {
        let dialled = solo.written();
        let [preamble, first] = &messages(&dialled, true)[..] else { panic!("no dial: {dialled:x?}") };
        let mut this = Self::start(Role::Responder, preamble, None, &[]);
        this.read(first);
        let second = this.write();
        this.split();
        (this, second)
    }

    /// The handshake hash.
    ///
    /// # Panics
    /// Before the key exchange is done.
    pub fn hash(&self) -> [u8; 32] {
        self.channel().hash
    }

    fn channel(&self) -> &Split {
        self.channel.as_ref().expect("the key exchange is done")
    }

    /// Seals a record of the handshake.
    ///
    /// # Panics
    /// Before the key exchange is done.
    pub fn seal(&mut self, text: &[u8]) -> Vec<u8> {
        seal(&mut self.channel.as_mut().expect("the key exchange is done").seal, text)
    }

    /// Opens a record of the handshake.
    ///
    /// # Panics
    /// If it does not open.
    pub fn open(&mut self, record: &[u8]) -> Vec<u8> {
        open(&mut self.channel.as_mut().expect("the key exchange is done").open, record)
    }

    /// The right AUTH of `key` with this hello. The initiator must have heard the responder's.
    ///
    /// # Panics
    /// Never.
    pub fn auth(&self, key: &SecretKey, hello: &[u8]) -> Vec<u8> {
        let (role, auth_r) = match self.role {
            Role::Initiator => (0, RustCrypto.sha256(&[&self.heard])),
            Role::Responder => (1, [0; 32]),
        };
        let id = key.node_id();
        let over = signed(role, &self.hash(), &auth_r, hello, id.as_bytes());
        auth(hello, id.as_bytes(), &key.sign(&over).expect("a key in memory signs"))
    }

    /// The traffic keys that follow from both AUTH.
    ///
    /// # Panics
    /// Before the key exchange is done.
    pub fn traffic(&self, auth_r: &[u8], auth_i: &[u8]) -> Traffic {
        let channel = self.channel();
        let (r, i) = (RustCrypto.sha256(&[auth_r]), RustCrypto.sha256(&[auth_i]));
        let mut out = [0; 128];
        let info: [&[u8]; 3] = [b"handclasp/1 traffic keys", &r, &i];
        let derived = RustCrypto.hkdf_sha256(&channel.hash, channel.master.expose(), &info, &mut out);
        derived.expect("128 bytes are not too many");
        let part =
            |index: usize| -> [u8; 32] { out[32 * index..][..32].try_into().expect("32 bytes are 32 bytes") };
        let (seal, open) = match self.role {
            Role::Initiator => (part(0), part(1)),
            Role::Responder => (part(1), part(0)),
        };
        Traffic {
            seal: SealKey::new(&RustCrypto, Cipher::ChaChaPoly, &Secret::new(seal))
                .expect("the cipher is there"),
            open: OpenKey::new(&RustCrypto, Cipher::ChaChaPoly, &Secret::new(open))
                .expect("the cipher is there"),
            binding: part(3),
        }
    }
}

/// The plaintext of an AUTH made of any parts.
pub fn auth(hello: &[u8], id: &[u8; 32], signature: &[u8; 64]) -> Vec<u8> {
    [&[AUTH], hello, id, signature].concat()
}

/// The hello in the plaintext of an AUTH.
///
/// # Panics
/// If it is none: a REFUSE perhaps.
pub fn hello_of(auth: &[u8]) -> &[u8] {
    assert_eq!(auth[0], AUTH, "not AUTH: {auth:x?}");
    &auth[1..auth.len() - 96]
}

impl Traffic {
    /// Seals a record of frames.
    ///
    /// # Panics
    /// If it is too long for a record.
    pub fn seal(&mut self, text: &[u8]) -> Vec<u8> {
        seal(&mut self.seal, text)
    }

    /// Opens a record of frames.
    ///
    /// # Panics
    /// If it does not open.
    pub fn open(&mut self, record: &[u8]) -> Vec<u8> {
        open(&mut self.open, record)
    }
}

fn seal(key: &mut SealKey, text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    let tag = key.seal(&mut text).expect("the counter is far from its end");
    framed(&[&text[..], &tag].concat())
}

fn open(key: &mut OpenKey, record: &[u8]) -> Vec<u8> {
    let (text, tag) = record[2..].split_last_chunk::<TAG_LEN>().expect("a record has a tag");
    let mut text = text.to_vec();
    key.open(&mut text, tag).expect("the record opens");
    text
}

/// The bytes of the id of node number `number`.
pub fn id_bytes(number: u8) -> [u8; 32] {
    *id(number).as_bytes()
}
