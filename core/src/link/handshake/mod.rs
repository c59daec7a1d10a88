//! The handshake, both sides of it: SIGMA-I on Noise (docs/wire.md §3).
//!
//! The order of checks is cheap first, and nothing is revealed before it must be: an initiator sends its own
//! id only to a peer that has proved to be the one it wants; a responder computes no key exchange for a
//! preamble that it cannot serve, and no signature for a peer that it does not trust.

mod auth;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use self::auth::{AUTH, Claim, Keys, REFUSE};
use super::peer::Peer;
use super::session::Session;
use super::state::Outbound;
use super::{Dial, Link};
use crate::Instant;
use crate::config::{Config, Trust};
use crate::crypto::noise::{HandshakeState, Protocol, Role, Split};
use crate::crypto::{CryptoError, Secret, Suite, TAG_LEN};
use crate::error::{By, Reason};
use crate::hello::Hello;
use crate::identity::{ClaimedId, NodeId};
use crate::node::FromLink;
use crate::phase::Phase;
use crate::refusal::Refusal;
use crate::wire::frame::FrameWriter;
use crate::wire::preamble::{CleartextRefusal, PREAMBLE_LEN, Preamble, PreambleError};
use crate::wire::reader::Reader;
use crate::wire::{self, Malformed};

const PROLOGUE_LABEL: &[u8; 16] = b"handclasp/1 link";

/// What a link holds during its handshake and wipes at its end.
pub(super) struct Handshake {
    role: Role,
    /// The peer that the initiator dials.
    expected: Option<NodeId>,
    hello: Hello,
    /// Whom this side takes if it dials nobody in particular.
    trust: Trust,
    /// Until the key exchange begins.
    ephemeral: Option<Secret<32>>,
    /// The suite chosen, once there is a preamble.
    suite: Option<Suite>,
    noise: Option<HandshakeState>,
    /// What the key exchange gave.
    channel: Option<Split>,
    /// SHA-256 of `AUTH_R`, once it was sent or received.
    responder_auth: [u8; 32],
    /// The initiator's AUTH, made and not yet sent.
    own_auth: Vec<u8>,
    /// It was asked whether an older link still lives.
    pub(super) alive_asked: bool,
    pub(super) first_ping: u64,
    /// When this side last sent something that is to be answered.
    pub(super) spoke: Option<Instant>,
}

impl Handshake {
    pub(super) fn new(
        role: Role,
        dial: Dial,
        mut hello: Hello,
        trust: Trust,
        ephemeral: Secret<32>,
        first_ping: u64,
    ) -> Self {
        hello.link_sequence = dial.sequence;
        hello.destination = dial.expected.map(|id| *id.as_bytes());
        Self {
            role,
            expected: dial.expected,
            hello,
            trust,
            ephemeral: Some(ephemeral),
            suite: None,
            noise: None,
            channel: None,
            responder_auth: [0; 32],
            own_auth: Vec::new(),
            alive_asked: false,
            first_ping,
            spoke: None,
        }
    }

    #[cfg(feature = "recording")]
    pub(super) const fn expected(&self) -> Option<NodeId> {
        self.expected
    }

    #[cfg(feature = "recording")]
    pub(super) const fn hello(&self) -> &Hello {
        &self.hello
    }

    #[cfg(feature = "recording")]
    pub(super) const fn trust(&self) -> &Trust {
        &self.trust
    }

    fn begin_noise(&mut self, config: &Config, preamble: [u8; PREAMBLE_LEN], suite: Suite) {
        let mut prologue = Vec::with_capacity(PROLOGUE_LABEL.len() + PREAMBLE_LEN + 2 + config.network.len());
        prologue.extend_from_slice(PROLOGUE_LABEL);
        prologue.extend_from_slice(&preamble);
        prologue.extend_from_slice(&length_field(config.network.len()));
        prologue.extend_from_slice(&config.network);
        let Some(ephemeral) = self.ephemeral.take() else { return };
        let protocol = Protocol::of(suite);
        self.noise = Some(HandshakeState::new(&*config.provider, protocol, self.role, &prologue, ephemeral));
        self.suite = Some(suite);
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

impl Link {
    /// Starts the initiator: preamble and first message of the key exchange.
    pub(super) fn start_initiator(&mut self) {
        let Some(handshake) = &mut self.handshake else { return };
        let Some(suite) = self.config.suites.strongest() else { return };
        let preamble = Preamble::new(suite, self.config.suites).emit();
        handshake.begin_noise(&self.config, preamble, suite);
        if let (Some(noise), Some(psk)) = (&mut handshake.noise, self.config.psks.first()) {
            if noise.set_psk(psk.clone()).is_err() {
                return self.end(Reason::ProviderFailed, By::Local);
            }
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
        let mut message = Vec::with_capacity(32 + TAG_LEN);
        match noise.write_message(&*self.config.provider, &[], &mut message) {
            Ok(()) => {
                let out = self.send.out();
                out.extend_from_slice(&length_field(message.len()));
                out.extend_from_slice(&message);
            }
            Err(error) => self.fail_key_exchange(error),
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
        self.tell_node(|| FromLink::Heard);
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
            return self.fail_key_exchange(error);
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
            Err(error) => return self.fail_key_exchange(error),
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
        self.claimed = Some(ClaimedId::new(claim.id));
        let theirs = self.config.provider.sha256(&[auth]);
        // Both sides' AUTH are part of the traffic keys. A responder has both now, and its answer, a refusal
        // too, goes under them; an initiator makes its own first, if the other's is good.
        let keys = match handshake.role {
            Role::Initiator => {
                handshake.responder_auth = theirs;
                None
            }
            Role::Responder => match handshake.keys(&self.config, &theirs) {
                Ok(keys) => Some(keys),
                Err(why) => return self.end(why, By::Local),
            },
        };
        let checked = handshake.check(&self.config, &claim, &mut self.proved);
        let limits = handshake.hello.limits.smaller_of(claim.hello.limits);
        let first_ping = handshake.first_ping;
        let suite = handshake.suite.unwrap_or(Suite::NnChaChaPoly);
        let asks = handshake.trust == Trust::Ask;
        let prepared = match (&checked, keys) {
            (_, Some(keys)) => Ok(keys),
            (Ok(_), None) => handshake.prepare_initiator(&self.config),
            (Err(why), None) => {
                // The peer has proved nothing yet. Which id this side has or dials is told only to the owner
                // of the id that it stumbled over.
                let tells =
                    matches!(why, Reason::Refused(Refusal::SelfConnection) | Reason::WrongPeer { .. });
                let may_know = !tells || handshake.is_proved(&self.config, &claim);
                return self.refuse_with(why.clone(), may_know);
            }
        };
        let keys = match prepared {
            Ok(keys) => keys,
            Err(why) => return self.end(why, By::Local),
        };
        let Keys { seal, open, exporter, .. } = keys;
        let session = Session::new(seal, open, exporter, limits, first_ping, self.now);
        self.session = Some(Box::new(session));
        #[cfg(feature = "key-log")]
        {
            self.key_log = self.logs_keys.then_some(keys.log);
        }
        let (id, outcome) = match checked {
            Ok(checked) => checked,
            Err(why) => return self.refuse_with(why, true),
        };
        let (hello, channel_binding, simultaneous) = (claim.hello, keys.binding, false);
        self.peer = Some(Arc::new(Peer { id, hello, outcome, suite, channel_binding, simultaneous }));
        self.announce.identified = true;
        let has_node = self.tell_identified();
        if asks || has_node {
            self.enter_step(Phase::Admission);
        } else {
            self.accept(simultaneous);
        }
    }

    /// This side takes the peer: the initiator proves itself in turn, the responder says so, and whether a
    /// dial of its own loses by it.
    pub(super) fn accept(&mut self, simultaneous: bool) {
        let (Some(handshake), Some(peer), Some(session)) =
            (&mut self.handshake, &self.peer, &mut self.session)
        else {
            return;
        };
        match handshake.role {
            Role::Responder => {
                let digest = peer.outcome.digest(&*self.config.provider);
                let mut status = Vec::new();
                FrameWriter::new(&mut status).status_accept(peer.outcome.version, &digest, simultaneous);
                session.control.status = Some(status);
                self.establish();
            }
            Role::Initiator => {
                let auth = core::mem::take(&mut handshake.own_auth);
                match handshake.seal(auth, self.send.out()) {
                    Ok(()) => self.enter_step(Phase::Status),
                    Err(why) => self.end(why, By::Local),
                }
            }
        }
    }

    /// The responder's word reaches the initiator.
    pub(super) fn on_status(&mut self, status: &[u8]) -> Result<(), Reason> {
        let malformed = |what| Reason::Violation(crate::error::Violation { phase: Phase::Status, what });
        let Some(peer) = self.peer.as_mut().map(Arc::make_mut) else { return Ok(()) };
        let mut reader = Reader::new(status);
        match reader.u8().map_err(malformed)? {
            accept @ (0 | 3) => {
                let version = reader.u16().map_err(malformed)?;
                let digest: [u8; 32] = reader.array().map_err(malformed)?;
                let own = peer.outcome.digest(&*self.config.provider);
                if version != peer.outcome.version || digest != own {
                    return Err(malformed(Malformed::new("STATUS: another outcome than this side's")));
                }
                peer.simultaneous = accept == 3;
                self.establish();
            }
            1 if reader.is_empty() => self.on_alive_asked()?,
            2 => {
                let own = self.config.node_id();
                match wire::reason::parse(reader.rest(), own, Phase::Status).map_err(malformed)? {
                    why @ (Reason::Refused(_) | Reason::Downgrade) => self.end(why, By::Peer),
                    _ => return Err(malformed(Malformed::new("STATUS: a reason that is no refusal"))),
                }
            }
            _ => return Err(malformed(Malformed::new("STATUS: unknown status"))),
        }
        Ok(())
    }

    /// Ends the handshake and says why, or just `denied` to a side that may not know.
    pub(super) fn refuse_with(&mut self, why: Reason, may_know: bool) {
        // Whether an id is trusted is not told to somebody who cannot prove it.
        let told = if may_know && why != Reason::BadSignature {
            why.clone()
        } else {
            Reason::Refused(Refusal::Denied)
        };
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
        if let (Some(session), Some(Role::Responder), true) = (&mut self.session, role, sayable) {
            let mut status = Vec::new();
            FrameWriter::new(&mut status).status_refuse(|out| wire::reason::emit(&told, out));
            session.outbound = Outbound::Refusal(status);
        }
    }

    /// Ends the handshake because a step of the key exchange failed. Messages have been checked for their
    /// length, so all but what a peer can bring about is the own provider's fault.
    fn fail_key_exchange(&mut self, error: CryptoError) {
        match error {
            CryptoError::BadTag | CryptoError::ZeroSharedSecret => {
                self.refuse_in_clear(CleartextRefusal::KeyExchangeFailed, Reason::KeyExchangeFailed);
            }
            _ => self.end(Reason::ProviderFailed, By::Local),
        }
    }

    /// Ends the handshake with a hint in the clear.
    pub(super) fn refuse_in_clear(&mut self, refusal: CleartextRefusal, why: Reason) {
        self.send.out().extend_from_slice(&refusal.emit());
        self.end(why, By::Local);
    }
}

/// A length on the wire. What it counts is far below 65 536: network ids, hellos and handshake messages have
/// their limits.
fn length_field(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}
