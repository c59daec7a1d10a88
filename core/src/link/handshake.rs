//! The handshake, both sides of it: SIGMA-I on Noise (docs/wire.md §3).
//!
//! The order of checks is cheap first, and nothing is revealed before it must be: an initiator sends its own id only to a peer that
//! has proved to be the one it wants; a responder computes no key exchange for a preamble that it cannot serve, and no
//! signature for a peer that it does not trust.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::peer::Peer;
use super::session::Session;
use super::{Link, Phase};
use crate::config::{Config, Trust};
use crate::crypto::cipher::{OpenKey, SealKey};
use crate::crypto::noise::{HandshakeState, Protocol, Role, Split};
use crate::crypto::{CryptoError, Secret, Suite, TAG_LEN};
use crate::error::{By, Reason};
use crate::hello::Hello;
use crate::identity::{ClaimedId, NodeId};
use crate::negotiation::{Outcome, negotiate};
use crate::refusal::Refusal;
use crate::wire::frame::FrameWriter;
use crate::wire::preamble::{CleartextRefusal, PREAMBLE_LEN, Preamble, PreambleError};
use crate::wire::reader::Reader;
use crate::wire::{self, Malformed};

const PROLOGUE_LABEL: &[u8; 16] = b"handclasp/1 link";
const SIGNATURE_LABEL: &[u8; 32] = b"handclasp/1 link authentication\0";
const TRAFFIC_LABEL: &[u8] = b"handclasp/1 traffic keys";

/// Kinds of handshake record.
const AUTH: u8 = 1;
const REFUSE: u8 = 2;

/// What a link holds during its handshake and wipes at its end.
pub(super) struct Handshake {
    role: Role,
    /// The peer that the initiator dials.
    expected: Option<NodeId>,
    hello: Hello,
    ephemeral: Secret<32>,
    /// The suite chosen, once there is a preamble.
    suite: Option<Suite>,
    noise: Option<HandshakeState>,
    /// What the key exchange gave.
    channel: Option<Split>,
    /// SHA-256 of `AUTH_R`, once it was sent or received.
    responder_auth: [u8; 32],
    pub(super) first_ping: u64,
}

impl Handshake {
    pub(super) fn new(
        config: &Config,
        role: Role,
        expected: Option<NodeId>,
        sequence: u64,
        ephemeral: Secret<32>,
        first_ping: u64,
    ) -> Self {
        let mut hello = config.hello.clone();
        hello.link_sequence = sequence;
        hello.destination = expected.map(|id| *id.as_bytes());
        Self {
            role,
            expected,
            hello,
            ephemeral,
            suite: None,
            noise: None,
            channel: None,
            responder_auth: [0; 32],
            first_ping,
        }
    }

    fn begin_noise(&mut self, config: &Config, preamble: [u8; PREAMBLE_LEN], suite: Suite) {
        let mut prologue = Vec::with_capacity(PROLOGUE_LABEL.len() + PREAMBLE_LEN + 2 + config.network.len());
        prologue.extend_from_slice(PROLOGUE_LABEL);
        prologue.extend_from_slice(&preamble);
        prologue.extend_from_slice(&length_field(config.network.len()));
        prologue.extend_from_slice(&config.network);
        let ephemeral = core::mem::take(&mut self.ephemeral);
        let protocol = Protocol::of(suite);
        self.noise = Some(HandshakeState::new(&*config.provider, protocol, self.role, &prologue, ephemeral));
        self.suite = Some(suite);
    }

    /// The bytes that a signature is made over.
    fn signed(
        role: Role,
        hash: &[u8; 32],
        responder_auth: &[u8; 32],
        hello: &[u8],
        id: &[u8; 32],
    ) -> Vec<u8> {
        let (role, responder_auth) = match role {
            Role::Initiator => (0, *responder_auth),
            Role::Responder => (1, [0; 32]),
        };
        let mut signed = Vec::with_capacity(32 + 1 + 32 + 32 + 2 + hello.len() + 32);
        signed.extend_from_slice(SIGNATURE_LABEL);
        signed.push(role);
        signed.extend_from_slice(hash);
        signed.extend_from_slice(&responder_auth);
        signed.extend_from_slice(&length_field(hello.len()));
        signed.extend_from_slice(hello);
        signed.extend_from_slice(id);
        signed
    }

    /// The own AUTH, signed.
    fn auth(&self, config: &Config) -> Result<Vec<u8>, Reason> {
        let channel = self.channel.as_ref().ok_or(Reason::ProviderFailed)?;
        let id = config.node_id();
        let mut auth = Vec::with_capacity(512);
        auth.push(AUTH);
        wire::hello::emit(&self.hello, &mut auth).map_err(|_| Reason::SignerFailed)?;
        let hello = auth.get(1..).unwrap_or_default();
        let signed = Self::signed(self.role, &channel.hash, &self.responder_auth, hello, id.as_bytes());
        let signature = config.signer.sign(&signed).map_err(|_| Reason::SignerFailed)?;
        auth.extend_from_slice(id.as_bytes());
        auth.extend_from_slice(&signature);
        Ok(auth)
    }

    /// Seals a record of the handshake into `out`.
    fn seal(&mut self, mut text: Vec<u8>, out: &mut Vec<u8>) -> Result<(), Reason> {
        let channel = self.channel.as_mut().ok_or(Reason::ProviderFailed)?;
        let tag = channel.seal.seal(&mut text).map_err(|_| Reason::ProviderFailed)?;
        out.extend_from_slice(&length_field(text.len() + TAG_LEN));
        out.extend_from_slice(&text);
        out.extend_from_slice(&tag);
        Ok(())
    }
}

/// What the other side's AUTH says, parsed and not yet believed.
struct Claim<'a> {
    hello_bytes: &'a [u8],
    hello: Hello,
    id: [u8; 32],
    signature: [u8; 64],
}

impl<'a> Claim<'a> {
    fn parse(auth: &'a [u8]) -> Result<Self, Malformed> {
        let (rest, signature) = auth.split_last_chunk().ok_or(Malformed::new("AUTH: too short"))?;
        let (hello_bytes, id) = rest.split_last_chunk().ok_or(Malformed::new("AUTH: too short"))?;
        Ok(Self { hello_bytes, hello: wire::hello::parse(hello_bytes)?, id: *id, signature: *signature })
    }
}

/// The traffic keys of one side, and what is exported beside them (docs/wire.md §3.5).
struct Keys {
    seal: SealKey,
    open: OpenKey,
    exporter: Secret<32>,
    binding: [u8; 32],
    #[cfg(feature = "key-log")]
    log: Box<super::KeyLog>,
}

impl Link {
    /// Starts the initiator: preamble and first message of the key exchange.
    pub(super) fn start_initiator(&mut self) {
        let Some(handshake) = &mut self.handshake else { return };
        let Some(suite) = self.config.suites.strongest() else { return };
        let preamble = Preamble::new(suite, self.config.suites).emit();
        handshake.begin_noise(&self.config, preamble, suite);
        if let (Some(noise), Some(psk)) = (&mut handshake.noise, self.config.psks.first()) {
            // Cannot fail: the suite has a psk exactly if there is one, and no message was sent.
            let _ = noise.set_psk(psk.clone());
        }
        self.send.out().extend_from_slice(&preamble);
        self.write_key_exchange();
        if self.phase != Phase::Closed {
            self.enter_step(Phase::KeyExchange);
        }
    }

    /// Writes the own message of the key exchange.
    fn write_key_exchange(&mut self) {
        let Some(noise) = self.handshake.as_mut().and_then(|handshake| handshake.noise.as_mut()) else {
            return;
        };
        let out = self.send.out();
        let start = out.len();
        out.extend_from_slice(&[0, 0]);
        let written = noise.write_message(&*self.config.provider, &[], out);
        let length = length_field((out.len() - start).saturating_sub(2));
        if let Some(field) = out.get_mut(start..start + 2) {
            field.copy_from_slice(&length);
        }
        if let Err(error) = written {
            self.end(key_exchange_failure(error), By::Local);
        }
    }

    /// The responder reads the preamble.
    pub(super) fn on_preamble(&mut self, bytes: [u8; PREAMBLE_LEN]) {
        let preamble = match Preamble::parse(bytes) {
            Ok(preamble) => preamble,
            Err(PreambleError::Magic) => return self.violate(Malformed::new("preamble: not handclasp")),
            Err(PreambleError::Malformed(what)) => return self.violate(what),
            Err(PreambleError::Major(theirs)) => {
                return self.refuse_in_clear(
                    CleartextRefusal::UnsupportedWire { major: wire::MAJOR },
                    Reason::UnsupportedWire { theirs },
                );
            }
        };
        let suite = Suite::from_code(preamble.suite).filter(|suite| self.config.suites.contains(*suite));
        let Some(suite) = suite else {
            return self.refuse_in_clear(
                CleartextRefusal::UnsupportedSuite { suites: self.config.suites },
                Reason::UnsupportedSuite { theirs: preamble.offered },
            );
        };
        let Some(handshake) = &mut self.handshake else { return };
        handshake.begin_noise(&self.config, bytes, suite);
        self.enter_step(Phase::KeyExchange);
    }

    /// The one length that the other side's message of the key exchange has.
    pub(super) fn key_exchange_len(&self) -> usize {
        match self.handshake.as_deref() {
            Some(Handshake { role: Role::Responder, suite: Some(suite), .. }) if !suite.has_psk() => 32,
            _ => 32 + TAG_LEN,
        }
    }

    /// The other side's message of the key exchange.
    pub(super) fn on_key_exchange(&mut self, message: &[u8]) {
        let Some(handshake) = &mut self.handshake else { return };
        let Some(noise) = &mut handshake.noise else { return };
        let provider = &*self.config.provider;
        let mut payload = Vec::new();
        let mut read = Err(CryptoError::BadTag);
        if handshake.role == Role::Responder && !self.config.psks.is_empty() {
            // One tag check for each secret that is accepted, before any key exchange is computed.
            for psk in &self.config.psks {
                read = noise
                    .set_psk(psk.clone())
                    .and_then(|()| noise.read_message(provider, message, &mut payload));
                if read.is_ok() {
                    break;
                }
            }
        } else {
            read = noise.read_message(provider, message, &mut payload);
        }
        if let Err(error) = read {
            return self.refuse_in_clear(CleartextRefusal::KeyExchangeFailed, key_exchange_failure(error));
        }
        if handshake.role == Role::Responder {
            self.write_key_exchange();
        }
        self.finish_key_exchange();
    }

    fn finish_key_exchange(&mut self) {
        let Some(handshake) = &mut self.handshake else { return };
        let Some(noise) = handshake.noise.take() else { return };
        match noise.split(&*self.config.provider) {
            Ok(channel) => handshake.channel = Some(channel),
            Err(error) => return self.end(key_exchange_failure(error), By::Local),
        }
        self.enter_step(Phase::Authentication);
        if self.handshake.as_ref().is_some_and(|handshake| handshake.role == Role::Responder) {
            self.send_responder_auth();
        }
    }

    fn send_responder_auth(&mut self) {
        let Some(handshake) = &mut self.handshake else { return };
        let sent = handshake.auth(&self.config).and_then(|auth| {
            handshake.responder_auth = self.config.provider.sha256(&[&auth]);
            handshake.seal(auth, self.send.out())
        });
        if let Err(why) = sent {
            self.end(why, By::Local);
        }
    }

    /// The other side's record of the handshake.
    pub(super) fn on_authentication(&mut self, body: &mut [u8]) {
        let Some(channel) = self.handshake.as_mut().and_then(|handshake| handshake.channel.as_mut()) else {
            return;
        };
        let Some((text, tag)) = body.split_last_chunk_mut::<TAG_LEN>() else {
            return self.violate(Malformed::new("handshake record: shorter than its tag"));
        };
        if channel.open.open(text, tag).is_err() {
            return self.end(Reason::DecryptFailed, By::Local);
        }
        match text.split_first() {
            Some((&AUTH, claim)) => match Claim::parse(claim) {
                Ok(claim) => self.on_auth(text, claim),
                Err(what) => self.violate(what),
            },
            Some((&REFUSE, refusal)) => self.on_refuse(refusal),
            _ => self.violate(Malformed::new("handshake record: unknown kind")),
        }
    }

    fn on_refuse(&mut self, refusal: &[u8]) {
        match wire::reason::parse(refusal, self.config.node_id(), self.phase) {
            Ok(why @ (Reason::Refused(_) | Reason::WrongPeer { .. } | Reason::Downgrade)) => {
                self.end(why, By::Peer);
            }
            Ok(_) => self.violate(Malformed::new("REFUSE: a reason that is no refusal")),
            Err(what) => self.violate(what),
        }
    }

    fn on_auth(&mut self, auth: &[u8], claim: Claim<'_>) {
        let Some(handshake) = &mut self.handshake else { return };
        let hash = self.config.provider.sha256(&[auth]);
        self.claimed = Some(ClaimedId::new(claim.id));
        // The responder's answer, refusals too, goes under the traffic keys, which both sides' AUTH are part of.
        let keys = match handshake.role {
            Role::Initiator => {
                handshake.responder_auth = hash;
                None
            }
            Role::Responder => match handshake.keys(&self.config, &hash) {
                Ok(keys) => Some(keys),
                Err(why) => return self.end(why, By::Local),
            },
        };
        let checked = handshake.check(&self.config, &claim, &mut self.proved);
        let suite = handshake.suite.unwrap_or(Suite::NnChaChaPoly);
        let (outcome, id, verdict) = match checked {
            Ok((id, outcome)) => (Some(outcome), Some(id), None),
            Err(why) => (None, None, Some(why)),
        };
        let mut exports = (Secret::default(), [0; 32]);
        if let Some(keys) = keys {
            // Before they agree on limits, both sides keep to their own.
            let limits = outcome.as_ref().map_or(handshake.hello.limits, |outcome| outcome.limits);
            let session = Session::new(keys.seal, keys.open, limits, handshake.first_ping, self.now);
            self.session = Some(Box::new(session));
            exports = (keys.exporter, keys.binding);
            #[cfg(feature = "key-log")]
            {
                self.key_log = Some(keys.log);
            }
        }
        let (Some(id), Some(outcome)) = (id, outcome) else {
            return self.refuse_with(verdict.unwrap_or(Reason::BadSignature));
        };
        let (exporter, channel_binding) = exports;
        let peer = Peer { id, hello: claim.hello, outcome, suite, channel_binding, exporter };
        self.peer = Some(Box::new(peer));
        self.announce.identified = true;
        if self.config.trust == Trust::Ask {
            self.enter_admission();
        } else {
            self.accept();
        }
    }

    /// This side takes the peer: the initiator proves itself in turn, the responder says so.
    pub(super) fn accept(&mut self) {
        let (Some(handshake), Some(peer)) = (&mut self.handshake, &mut self.peer) else { return };
        let provider = &*self.config.provider;
        match handshake.role {
            Role::Responder => {
                let digest = peer.outcome.digest(provider);
                let mut status = Vec::new();
                FrameWriter::new(&mut status).status_accept(peer.outcome.version, &digest);
                if let Some(session) = &mut self.session {
                    session.control.status = Some(status);
                }
                self.establish();
            }
            Role::Initiator => {
                let sent = handshake.auth(&self.config).and_then(|auth| {
                    let hash = provider.sha256(&[&auth]);
                    let keys = handshake.keys(&self.config, &hash)?;
                    handshake.seal(auth, self.send.out())?;
                    Ok(keys)
                });
                match sent {
                    Ok(keys) => {
                        let limits = peer.outcome.limits;
                        let first_ping = handshake.first_ping;
                        (peer.exporter, peer.channel_binding) = (keys.exporter, keys.binding);
                        let session = Session::new(keys.seal, keys.open, limits, first_ping, self.now);
                        self.session = Some(Box::new(session));
                        #[cfg(feature = "key-log")]
                        {
                            self.key_log = Some(keys.log);
                        }
                        self.enter_step(Phase::Status);
                    }
                    Err(why) => self.end(why, By::Local),
                }
            }
        }
    }

    /// The responder's word reaches the initiator.
    pub(super) fn on_status(&mut self, status: &[u8]) -> Result<(), Reason> {
        let malformed = |what| Reason::Violation(crate::error::Violation { phase: Phase::Status, what });
        let Some(peer) = &self.peer else { return Ok(()) };
        let mut reader = Reader::new(status);
        match reader.u8().map_err(malformed)? {
            0 => {
                let version = reader.u16().map_err(malformed)?;
                let digest: [u8; 32] = reader.array().map_err(malformed)?;
                let own = peer.outcome.digest(&*self.config.provider);
                if version != peer.outcome.version || digest != own {
                    return Err(malformed(Malformed::new("STATUS: another outcome than this side's")));
                }
                self.establish();
            }
            2 => {
                let refusal = wire::refusal::parse(reader.rest()).map_err(malformed)?;
                self.end(Reason::Refused(refusal.mirrored()), By::Peer);
            }
            _ => return Err(malformed(Malformed::new("STATUS: unknown status"))),
        }
        Ok(())
    }

    /// Ends the handshake and says why, as far as the other side may know.
    pub(super) fn refuse_with(&mut self, why: Reason) {
        // Whether an id is trusted is not told to somebody who cannot prove it.
        let told = if why == Reason::BadSignature { Reason::Refused(Refusal::Denied) } else { why.clone() };
        let sayable = matches!(told, Reason::Refused(_) | Reason::WrongPeer { .. } | Reason::Downgrade);
        let role = self.handshake.as_ref().map(|handshake| handshake.role);
        if sayable && role == Some(Role::Initiator) {
            let mut text = Vec::new();
            text.push(REFUSE);
            wire::reason::emit(&told, &mut text);
            if let Some(handshake) = &mut self.handshake {
                // If it cannot be sealed it is not said; the link ends all the same.
                let _ = handshake.seal(text, self.send.out());
            }
        }
        self.end(why, By::Local);
        if let (Some(session), Some(Role::Responder), Reason::Refused(refusal)) =
            (&mut self.session, role, &told)
        {
            let mut status = Vec::new();
            FrameWriter::new(&mut status).status_refuse(|out| wire::refusal::emit(refusal, out));
            session.control.status = Some(status);
            session.closed = false;
        }
    }

    /// Ends the handshake with a hint in the clear.
    pub(super) fn refuse_in_clear(&mut self, refusal: CleartextRefusal, why: Reason) {
        self.send.out().extend_from_slice(&refusal.emit());
        self.end(why, By::Local);
    }
}

impl Handshake {
    /// Checks the other side's AUTH, cheap things first; see docs/wire.md §3.3 for the order.
    fn check(
        &self,
        config: &Config,
        claim: &Claim<'_>,
        proved: &mut Option<NodeId>,
    ) -> Result<(NodeId, Outcome), Reason> {
        let own = config.node_id();
        if claim.id == *own.as_bytes() {
            return Err(Reason::Refused(Refusal::SelfConnection));
        }
        let id = match (&self.expected, &config.trust) {
            (Some(expected), _) if *expected.as_bytes() != claim.id => {
                return Err(Reason::WrongPeer { expected: *expected, got: Some(ClaimedId::new(claim.id)) });
            }
            (Some(expected), _) => *expected,
            (None, Trust::Listed(listed)) => {
                *listed.get(&claim.id).ok_or(Reason::Refused(Refusal::Denied))?
            }
            (None, Trust::Anyone | Trust::Ask) => {
                NodeId::from_bytes(claim.id).map_err(|_| Reason::BadSignature)?
            }
        };
        if self.role == Role::Responder
            && claim.hello.destination.is_some_and(|wanted| wanted != *own.as_bytes())
        {
            return Err(Reason::Refused(Refusal::WrongDestination));
        }
        let peer_role = match self.role {
            Role::Initiator => Role::Responder,
            Role::Responder => Role::Initiator,
        };
        let hash = self.channel.as_ref().map(|channel| &channel.hash).ok_or(Reason::ProviderFailed)?;
        let signed = Self::signed(peer_role, hash, &self.responder_auth, claim.hello_bytes, &claim.id);
        config.provider.verify(&claim.id, &signed, &claim.signature).map_err(|_| Reason::BadSignature)?;
        *proved = Some(id);
        let common = claim.hello.suites.intersection(config.suites);
        if common.strongest() > self.suite {
            return Err(Reason::Downgrade);
        }
        let outcome = negotiate(&self.hello, &claim.hello).map_err(Reason::Refused)?;
        Ok((id, outcome))
    }

    fn keys(&self, config: &Config, initiator_auth: &[u8; 32]) -> Result<Keys, Reason> {
        let channel = self.channel.as_ref().ok_or(Reason::ProviderFailed)?;
        let provider = &*config.provider;
        let mut out = Secret::<128>::default();
        let info = [TRAFFIC_LABEL, &self.responder_auth, initiator_auth];
        let derived = provider.hkdf_sha256(&channel.hash, channel.master.expose(), &info, out.expose_mut());
        derived.map_err(|_| Reason::ProviderFailed)?;
        let part = |index: usize| {
            let mut part = Secret::<32>::default();
            if let Some(bytes) = out.expose().get(32 * index..32 * (index + 1)) {
                part.expose_mut().copy_from_slice(bytes);
            }
            part
        };
        let (seal, open) = match self.role {
            Role::Initiator => (part(0), part(1)),
            Role::Responder => (part(1), part(0)),
        };
        let cipher = self.suite.unwrap_or(Suite::NnChaChaPoly).cipher();
        Ok(Keys {
            seal: SealKey::new(provider, cipher, &seal).map_err(|_| Reason::ProviderFailed)?,
            open: OpenKey::new(provider, cipher, &open).map_err(|_| Reason::ProviderFailed)?,
            exporter: part(2),
            binding: *part(3).expose(),
            #[cfg(feature = "key-log")]
            log: Box::new(super::KeyLog { handshake_hash: channel.hash, traffic_keys: [part(0), part(1)] }),
        })
    }
}

/// A length on the wire. What it counts is far below 65 536: network ids, hellos and handshake messages have their limits.
fn length_field(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// Why a step of the key exchange failed, as the link's reason.
fn key_exchange_failure(error: CryptoError) -> Reason {
    match error {
        CryptoError::BadTag | CryptoError::ZeroSharedSecret | CryptoError::BadLength => {
            Reason::KeyExchangeFailed
        }
        _ => Reason::ProviderFailed,
    }
}
