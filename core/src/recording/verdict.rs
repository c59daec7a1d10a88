//! What a link was told of a signed message. The rules of its node and the store that all its links share are
//! outside of it, so their verdict goes into a recording as an input, and the replay has it from there.

use alloc::sync::Arc;
use core::fmt;

use bytes::Bytes;

use super::BadRecording;
use super::bytes::{Cursor, Writer};
use super::crypto::{Operation, Script};
use super::log::{Shared, tag};
use crate::crypto::CryptoProvider;
use crate::identity::{InvalidNodeId, NodeId};
use crate::signed::{Accepted, Audience, Content, InvalidSigned, Judge, NotFresh, Refused, SignedMessage};
use crate::wire::Malformed;

/// Of a signed message, all that is before its body, except the service: a link names that itself.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    origin: NodeId,
    audience: Audience,
    epoch: u64,
    sequence: u64,
}

impl Facts {
    pub(crate) fn of(message: &SignedMessage) -> Self {
        Self {
            origin: message.origin(),
            audience: message.audience().clone(),
            epoch: message.epoch(),
            sequence: message.sequence(),
        }
    }

    pub(crate) fn put(&self, out: &mut Writer) {
        out.raw(self.origin.as_bytes());
        match &self.audience {
            Audience::Node(id) => {
                out.flag(false);
                out.raw(id.as_bytes());
            }
            Audience::Topic(topic) => {
                out.flag(true);
                out.string(topic.as_bytes());
            }
        }
        out.number(self.epoch);
        out.number(self.sequence);
    }

    pub(crate) fn get(from: &mut Cursor<'_>) -> Result<Self, BadRecording> {
        let origin = id(from)?;
        let audience = if from.flag()? { Audience::topic(from.text()?) } else { Audience::Node(id(from)?) };
        Ok(Self { origin, audience, epoch: from.number()?, sequence: from.number()? })
    }

    /// The message of these facts for `service`: its body and signature are those at the end of `bytes`,
    /// whatever they are. `None` if there is no such message of that length.
    fn message(self, service: &str, bytes: &[u8]) -> Option<SignedMessage> {
        let Self { origin, audience, epoch, sequence } = self;
        SignedMessage::replayed(&Content { audience, service, epoch, sequence, body: &[] }, origin, bytes)
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, audience, epoch, sequence } = self;
        write!(f, "{origin} for {audience}, {epoch}.{sequence}")
    }
}

fn id(from: &mut Cursor<'_>) -> Result<NodeId, BadRecording> {
    NodeId::from_bytes(from.array()?).map_err(|_| BadRecording::Malformed("an id that is none"))
}

/// Reasons to refuse a message, by their numbers in a recording, from 1. Of what is malformed, and of an id
/// that is none, it does not say in what way.
const REFUSALS: [Refused; 11] = [
    Refused::Invalid(InvalidSigned::Malformed(Malformed::new("of another form"))),
    Refused::Invalid(InvalidSigned::NotAnId(InvalidNodeId::NotAPoint)),
    Refused::Invalid(InvalidSigned::BadSignature),
    Refused::OtherService,
    Refused::OtherAudience,
    Refused::OwnOrigin,
    Refused::UnknownOrigin,
    Refused::NotFresh(NotFresh::Seen),
    Refused::NotFresh(NotFresh::TooOld),
    Refused::NotFresh(NotFresh::OldEpoch),
    Refused::NotFresh(NotFresh::Full),
];

const fn number_of(refused: &Refused) -> u8 {
    match refused {
        Refused::Invalid(InvalidSigned::Malformed(_)) => 1,
        Refused::Invalid(InvalidSigned::NotAnId(_)) => 2,
        Refused::Invalid(InvalidSigned::BadSignature) => 3,
        Refused::OtherService => 4,
        Refused::OtherAudience => 5,
        Refused::OwnOrigin => 6,
        Refused::UnknownOrigin => 7,
        Refused::NotFresh(NotFresh::Seen) => 8,
        Refused::NotFresh(NotFresh::TooOld) => 9,
        Refused::NotFresh(NotFresh::OldEpoch) => 10,
        Refused::NotFresh(NotFresh::Full) => 11,
    }
}

/// A verdict, as it was recorded.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Deliver(Facts),
    Relay(Facts),
    Refused(Refused),
}

impl Verdict {
    fn put(judged: &Result<Accepted, Refused>, out: &mut Writer) {
        out.byte(Operation::Judge as u8);
        match judged {
            Err(refused) => out.byte(number_of(refused)),
            Ok(accepted) => {
                out.byte(0);
                out.flag(matches!(accepted, Accepted::Relay(_)));
                Facts::of(accepted.message()).put(out);
            }
        }
    }

    /// Reads what [`put`](Self::put) wrote behind `failed`.
    pub(crate) fn get(failed: u8, from: &mut Cursor<'_>) -> Result<Self, BadRecording> {
        let Some(place) = usize::from(failed).checked_sub(1) else {
            let relay = from.flag()?;
            let facts = Facts::get(from)?;
            return Ok(if relay { Self::Relay(facts) } else { Self::Deliver(facts) });
        };
        let refused = REFUSALS.get(place).copied();
        refused.map(Self::Refused).ok_or(BadRecording::Malformed("no such reason to refuse a signed message"))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver(facts) => write!(f, "taken, of {facts}"),
            Self::Relay(facts) => write!(f, "to be passed on, of {facts}"),
            Self::Refused(refused) => write!(f, "refused, {refused}"),
        }
    }
}

/// A judge that somebody listens to.
#[derive(Debug)]
pub(crate) struct JudgeTap {
    inner: Arc<dyn Judge>,
    /// Cryptography to which nobody listens: what comes of it here is in the verdict.
    provider: Arc<dyn CryptoProvider>,
    log: Shared,
}

impl JudgeTap {
    pub(crate) fn new(inner: &Arc<dyn Judge>, provider: &Arc<dyn CryptoProvider>, log: &Shared) -> Self {
        Self { inner: Arc::clone(inner), provider: Arc::clone(provider), log: log.clone() }
    }
}

impl Judge for JudgeTap {
    fn judge(
        &self,
        own: &NodeId,
        service: &str,
        bytes: Bytes,
        _provider: &dyn CryptoProvider,
    ) -> Result<Accepted, Refused> {
        let judged = self.inner.judge(own, service, bytes, &*self.provider);
        self.log.lock().entry(tag::CRYPTO, |out| Verdict::put(&judged, out));
        judged
    }
}

/// The judge of a replay: it comes to the verdict that was recorded, whatever the message says.
#[derive(Debug)]
pub(crate) struct StandInJudge {
    pub(crate) script: Script,
}

impl Judge for StandInJudge {
    fn judge(
        &self,
        _own: &NodeId,
        service: &str,
        bytes: Bytes,
        _provider: &dyn CryptoProvider,
    ) -> Result<Accepted, Refused> {
        // Without a verdict, or with one that cannot be of this message, the recording was altered. The
        // replay differs then, by what is recorded of this refusal.
        let other =
            Refused::Invalid(InvalidSigned::Malformed(Malformed::new("not the message of its verdict")));
        let outcome = self.script.next(Operation::Judge).and_then(|outcome| outcome.verdict);
        let (facts, accepted): (_, fn(SignedMessage) -> Accepted) = match outcome.ok_or(other)? {
            Verdict::Deliver(facts) => (facts, Accepted::Deliver),
            Verdict::Relay(facts) => (facts, Accepted::Relay),
            Verdict::Refused(refused) => return Err(refused),
        };
        facts.message(service, &bytes).map(accepted).ok_or(other)
    }
}
