//! AUTH: each side's proof of its id, and the traffic keys that both proofs are part of (docs/wire.md §3.3,
//! §3.5).

#[cfg(feature = "key-log")]
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Handshake, length_field};
use crate::config::{Config, Trust};
use crate::crypto::cipher::{OpenKey, SealKey};
use crate::crypto::noise::Role;
use crate::crypto::{Secret, Suite};
use crate::error::Reason;
use crate::hello::Hello;
use crate::identity::{ClaimedId, NodeId};
use crate::negotiation::{Outcome, negotiate};
use crate::refusal::Refusal;
use crate::wire::{self, Malformed};

const SIGNATURE_LABEL: &[u8; 32] = b"handclasp/1 link authentication\0";
const TRAFFIC_LABEL: &[u8] = b"handclasp/1 traffic keys";

/// Kinds of handshake record.
pub(super) const AUTH: u8 = 1;
pub(super) const REFUSE: u8 = 2;

/// What the other side's AUTH says, parsed and not yet believed.
pub(super) struct Claim<'a> {
    hello_bytes: &'a [u8],
    pub(super) hello: Hello,
    pub(super) id: [u8; 32],
    signature: [u8; 64],
}

impl<'a> Claim<'a> {
    pub(super) fn parse(auth: &'a [u8]) -> Result<Self, Malformed> {
        let (rest, signature) = auth.split_last_chunk().ok_or(Malformed::new("AUTH: too short"))?;
        let (hello_bytes, id) = rest.split_last_chunk().ok_or(Malformed::new("AUTH: too short"))?;
        Ok(Self { hello_bytes, hello: wire::hello::parse(hello_bytes)?, id: *id, signature: *signature })
    }
}

/// The traffic keys of one side, and what is exported beside them (docs/wire.md §3.5).
pub(super) struct Keys {
    pub(super) seal: SealKey,
    pub(super) open: OpenKey,
    pub(super) exporter: Secret<32>,
    pub(super) binding: [u8; 32],
    #[cfg(feature = "key-log")]
    pub(super) log: Box<crate::link::KeyLog>,
}

impl Handshake {
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
    pub(super) fn auth(&self, config: &Config) -> Result<Vec<u8>, Reason> {
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

    /// Makes the initiator's AUTH, which is sent once the application takes the peer, and the keys that
    /// follow from it.
    pub(super) fn prepare_initiator(&mut self, config: &Config) -> Result<Keys, Reason> {
        self.own_auth = self.auth(config)?;
        self.keys(config, &config.provider.sha256(&[&self.own_auth]))
    }

    /// Checks the other side's AUTH, cheap things first; see docs/wire.md §3.3 for the order.
    pub(super) fn check(
        &self,
        config: &Config,
        claim: &Claim<'_>,
        proved: &mut Option<NodeId>,
    ) -> Result<(NodeId, Outcome), Reason> {
        let own = config.node_id();
        if claim.id == *own.as_bytes() {
            return Err(Reason::Refused(Refusal::SelfConnection));
        }
        // Before trust: what is said to an unproved id must not depend on whether it is trusted.
        if self.role == Role::Responder
            && claim.hello.destination.is_some_and(|wanted| wanted != *own.as_bytes())
        {
            return Err(Reason::Refused(Refusal::WrongDestination));
        }
        let id = match (&self.expected, &self.trust) {
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
        if !self.is_proved(config, claim) {
            return Err(Reason::BadSignature);
        }
        *proved = Some(id);
        let common = claim.hello.suites.intersection(config.suites);
        if common.strongest() > self.suite {
            return Err(Reason::Downgrade);
        }
        let outcome = negotiate(&self.hello, &claim.hello).map_err(Reason::Refused)?;
        Ok((id, outcome))
    }

    /// Whether the other side signed its AUTH with the id that it claims.
    pub(super) fn is_proved(&self, config: &Config, claim: &Claim<'_>) -> bool {
        let peer_role = match self.role {
            Role::Initiator => Role::Responder,
            Role::Responder => Role::Initiator,
        };
        let Some(channel) = &self.channel else { return false };
        let signed =
            Self::signed(peer_role, &channel.hash, &self.responder_auth, claim.hello_bytes, &claim.id);
        config.provider.verify(&claim.id, &signed, &claim.signature).is_ok()
    }

    pub(super) fn keys(&self, config: &Config, initiator_auth: &[u8; 32]) -> Result<Keys, Reason> {
        let channel = self.channel.as_ref().ok_or(Reason::ProviderFailed)?;
        let provider = &*config.provider;
        let mut out = Secret::<128>::default();
        let info = [TRAFFIC_LABEL, &self.responder_auth, initiator_auth];
        let derived = provider.hkdf_sha256(&channel.hash, channel.master.expose(), &info, out.expose_mut());
        derived.map_err(|_| Reason::ProviderFailed)?;
        // One place serves each part in turn.
        let mut place = Secret::<32>::default();
        let (seal, open) = match self.role {
            Role::Initiator => (0, 1),
            Role::Responder => (1, 0),
        };
        let cipher = self.suite.unwrap_or(Suite::NnChaChaPoly).cipher();
        let seal = SealKey::new(provider, cipher, part(&out, seal, &mut place));
        let open = OpenKey::new(provider, cipher, part(&out, open, &mut place));
        #[cfg(feature = "key-log")]
        let traffic_keys = [0, 1].map(|index| part(&out, index, &mut place).clone());
        // The last part is no secret.
        let binding = *part(&out, 3, &mut place).expose();
        part(&out, 2, &mut place);
        Ok(Keys {
            seal: seal.map_err(|_| Reason::ProviderFailed)?,
            open: open.map_err(|_| Reason::ProviderFailed)?,
            exporter: place,
            binding,
            #[cfg(feature = "key-log")]
            log: Box::new(crate::link::KeyLog { handshake_hash: channel.hash, traffic_keys }),
        })
    }
}

/// Part `index` of the derived keys, in `place`.
fn part<'a>(derived: &Secret<128>, index: usize, place: &'a mut Secret<32>) -> &'a Secret<32> {
    if let Some(bytes) = derived.expose().get(32 * index..32 * (index + 1)) {
        place.expose_mut().copy_from_slice(bytes);
    }
    place
}
