//! `snow`: the Noise protocol with its default, pure Rust resolver.

use crate::contest::{Handshake, Pair, Sink};
use snow::params::NoiseParams;
use snow::{Builder, HandshakeState, Keypair, TransportState};

/// The pattern with its cipher and hash.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    /// `Noise_XX_25519_ChaChaPoly_BLAKE2s`.
    ChaChaBlake2s,
    /// `Noise_XX_25519_ChaChaPoly_SHA256`.
    ChaChaSha256,
    /// `Noise_XX_25519_AESGCM_SHA256`.
    AesSha256,
}

impl Protocol {
    const fn noise_name(self) -> &'static str {
        match self {
            Self::ChaChaBlake2s => "Noise_XX_25519_ChaChaPoly_BLAKE2s",
            Self::ChaChaSha256 => "Noise_XX_25519_ChaChaPoly_SHA256",
            Self::AesSha256 => "Noise_XX_25519_AESGCM_SHA256",
        }
    }

    fn label(self) -> String {
        format!("snow {}", self.noise_name().trim_start_matches("Noise_").replace('_', " "))
    }
}

/// Handshakes of the XX pattern: both sides authenticate with static X25519 keys and learn the other's on the way.
pub struct Noise {
    protocol: Protocol,
    params: NoiseParams,
    initiator: Keypair,
    responder: Keypair,
    message: Vec<u8>,
    payload: Vec<u8>,
}

impl Noise {
    /// Two nodes with static keys of their own.
    pub fn new(protocol: Protocol) -> Self {
        let params: NoiseParams = protocol.noise_name().parse().expect("a known Noise protocol");
        let key = || Builder::new(params.clone()).generate_keypair().expect("a key pair");
        let (initiator, responder) = (key(), key());
        Self { protocol, params, initiator, responder, message: vec![0; 1024], payload: vec![0; 1024] }
    }

    fn connect(&mut self) -> (TransportState, TransportState) {
        let mut initiator = self.builder(&self.initiator).build_initiator().expect("an initiator");
        let mut responder = self.builder(&self.responder).build_responder().expect("a responder");
        self.step(&mut initiator, &mut responder);
        self.step(&mut responder, &mut initiator);
        self.step(&mut initiator, &mut responder);
        assert_eq!(initiator.get_remote_static(), Some(&*self.responder.public));
        assert_eq!(responder.get_remote_static(), Some(&*self.initiator.public));
        let transport = |state: HandshakeState| state.into_transport_mode().expect("a finished handshake");
        (transport(initiator), transport(responder))
    }

    fn builder<'a>(&self, key: &'a Keypair) -> Builder<'a> {
        Builder::new(self.params.clone()).local_private_key(&key.private).expect("a private key")
    }

    fn step(&mut self, from: &mut HandshakeState, to: &mut HandshakeState) {
        let len = from.write_message(b"", &mut self.message).expect("a handshake message");
        to.read_message(&self.message[..len], &mut self.payload).expect("an honest handshake message");
    }
}

impl Handshake for Noise {
    fn name(&self) -> String {
        self.protocol.label()
    }

    fn run(&mut self) {
        std::hint::black_box(self.connect());
    }
}

/// What one Noise message carries.
#[derive(Clone, Copy, Debug)]
pub enum Packing {
    /// One message of the application.
    One,
    /// Everything queued since the last flush, each with a length before it: what an application does that packs its
    /// small messages itself. At most 64 KiB per flush.
    All,
}

/// An established pair; on the wire, each Noise message has its u16 length before it.
pub struct NoisePair {
    protocol: Protocol,
    packing: Packing,
    sender: TransportState,
    receiver: TransportState,
    packed: Vec<u8>,
    wire: Vec<u8>,
    filled: usize,
    opened: Vec<u8>,
}

impl NoisePair {
    /// A pair that has finished its handshake.
    pub fn new(protocol: Protocol, packing: Packing) -> Self {
        let (sender, receiver) = Noise::new(protocol).connect();
        let buffer = || vec![0; 128 * 1024];
        Self {
            protocol,
            packing,
            sender,
            receiver,
            packed: Vec::new(),
            wire: buffer(),
            filled: 0,
            opened: buffer(),
        }
    }
}

/// Seals `body` into `wire` behind its length and returns how much that took.
fn seal(sender: &mut TransportState, body: &[u8], wire: &mut [u8]) -> usize {
    let len = sender.write_message(body, &mut wire[2..]).expect("room for a message");
    wire[..2].copy_from_slice(&u16::try_from(len).expect("a Noise message's length").to_be_bytes());
    2 + len
}

fn prefixed(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (len, rest) = bytes.split_at(2);
    rest.split_at(usize::from(u16::from_be_bytes([len[0], len[1]])))
}

impl Pair for NoisePair {
    fn name(&self) -> String {
        let label = self.protocol.label();
        match self.packing {
            Packing::One => label,
            Packing::All => format!("{label}, packed by the application"),
        }
    }

    fn send(&mut self, body: &[u8]) {
        match self.packing {
            Packing::One => self.filled += seal(&mut self.sender, body, &mut self.wire[self.filled..]),
            Packing::All => {
                let len = u16::try_from(body.len()).expect("a small message");
                self.packed.extend_from_slice(&len.to_be_bytes());
                self.packed.extend_from_slice(body);
            }
        }
    }

    fn flush(&mut self, sink: &mut Sink) {
        if let Packing::All = self.packing {
            self.filled = seal(&mut self.sender, &self.packed, &mut self.wire);
            self.packed.clear();
        }
        let mut rest = &self.wire[..self.filled];
        while !rest.is_empty() {
            let (message, behind) = prefixed(rest);
            rest = behind;
            let len = self.receiver.read_message(message, &mut self.opened).expect("what was sealed opens");
            let mut opened = &self.opened[..len];
            match self.packing {
                Packing::One => sink.take(opened),
                Packing::All => {
                    while !opened.is_empty() {
                        let (body, behind) = prefixed(opened);
                        sink.take(body);
                        opened = behind;
                    }
                }
            }
        }
        self.filled = 0;
    }
}
