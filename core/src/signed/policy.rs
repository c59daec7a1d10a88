//! Which signed messages a node takes.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use core::fmt;

use bytes::Bytes;

use super::audience::ClaimedAudience;
use super::{Audience, InvalidSigned, Refused, ReplayStore, SignedMessage, Unverified};
use crate::crypto::CryptoProvider;
use crate::identity::NodeId;

/// Whose signed messages a node takes, whoever passes them on. The default is an empty list: nobody's.
#[derive(Clone)]
#[non_exhaustive]
pub enum Origins {
    /// These nodes'.
    Listed(Arc<BTreeSet<NodeId>>),
    /// Everyone's who can sign. Whoever makes many keys fills the windows with them; see
    /// [`ReplayWindows`](super::ReplayWindows).
    Anyone,
    /// Those that the rule says yes to. It is asked for each message, so it should be quick, and before the
    /// signature is verified, so it should have no effect. A rule over a list that changes follows it at once.
    Rule(Arc<dyn Fn(&NodeId) -> bool + Send + Sync>),
}

impl Origins {
    /// The nodes `ids` and nobody else.
    pub fn listed(ids: impl IntoIterator<Item = NodeId>) -> Self {
        Self::Listed(Arc::new(ids.into_iter().collect()))
    }

    /// Nodes that `rule` says yes to.
    pub fn rule(rule: impl Fn(&NodeId) -> bool + Send + Sync + 'static) -> Self {
        Self::Rule(Arc::new(rule))
    }

    /// The id of these bytes, if it is one that is listened to. An id off a list costs a look-up only.
    fn find(&self, claimed: [u8; 32]) -> Result<NodeId, Refused> {
        if let Self::Listed(ids) = self {
            return ids.get(&claimed).copied().ok_or(Refused::UnknownOrigin);
        }
        let id = NodeId::from_bytes(claimed).map_err(|why| Refused::Invalid(InvalidSigned::NotAnId(why)))?;
        match self {
            Self::Rule(rule) if !rule(&id) => Err(Refused::UnknownOrigin),
            _ => Ok(id),
        }
    }
}

impl Default for Origins {
    fn default() -> Self {
        Self::listed([])
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(ids) => f.debug_tuple("Listed").field(ids).finish(),
            Self::Anyone => f.write_str("Anyone"),
            Self::Rule(_) => f.write_str("Rule(…)"),
        }
    }
}

/// Which topics a node takes. The default is none.
#[derive(Clone)]
#[non_exhaustive]
pub enum Topics {
    /// These.
    Listed(Arc<BTreeSet<Box<str>>>),
    /// Those that the rule says yes to. What is said of the rule of [`Origins`] holds for it too.
    Rule(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl Topics {
    /// The topics `names` and no others.
    pub fn listed<T: Into<Box<str>>>(names: impl IntoIterator<Item = T>) -> Self {
        Self::Listed(Arc::new(names.into_iter().map(Into::into).collect()))
    }

    /// Topics that `rule` says yes to.
    pub fn rule(rule: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::Rule(Arc::new(rule))
    }

    fn has(&self, topic: &str) -> bool {
        match self {
            Self::Listed(topics) => topics.contains(topic),
            Self::Rule(rule) => rule(topic),
        }
    }
}

impl Default for Topics {
    fn default() -> Self {
        Self::Listed(Arc::default())
    }
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(topics) => f.debug_tuple("Listed").field(topics).finish(),
            Self::Rule(_) => f.write_str("Rule(…)"),
        }
    }
}

/// Which signed messages a node takes, and where it finds out that one has come before.
#[derive(Clone, Debug)]
pub struct SignedPolicy {
    origins: Origins,
    topics: Topics,
    relay: bool,
    store: Arc<dyn ReplayStore>,
}

/// A signed message that a [`SignedPolicy`] lets through: verified, in each case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Accepted {
    /// For this node: its own id or a topic that it takes. It has not come before.
    Deliver(SignedMessage),
    /// For somebody else. It may have come before: that is for its audience to find out.
    Relay(SignedMessage),
}

impl Accepted {
    /// The message, whoever it is for.
    pub const fn message(&self) -> &SignedMessage {
        match self {
            Self::Deliver(message) | Self::Relay(message) => message,
        }
    }
}

/// Whom a link asks about a signed message: its node's policy, or what listens to it or stands in for it
/// where links are recorded.
pub(crate) trait Judge: fmt::Debug + Send + Sync {
    /// As [`SignedPolicy::judge`].
    fn judge(
        &self,
        own: &NodeId,
        service: &str,
        bytes: Bytes,
        provider: &dyn CryptoProvider,
    ) -> Result<Accepted, Refused>;
}

impl Judge for SignedPolicy {
    fn judge(
        &self,
        own: &NodeId,
        service: &str,
        bytes: Bytes,
        provider: &dyn CryptoProvider,
    ) -> Result<Accepted, Refused> {
        Self::judge(self, own, service, bytes, provider)
    }
}

impl SignedPolicy {
    /// Takes what `origins` have signed for this node's own id. Whatever has been taken is noted in `store`, which
    /// all links of the node share, however many configurations they have.
    pub fn new(origins: Origins, store: Arc<dyn ReplayStore>) -> Self {
        Self { origins, topics: Topics::default(), relay: false, store }
    }

    /// The same, which takes these topics too.
    #[must_use]
    pub fn topics(mut self, topics: Topics) -> Self {
        self.topics = topics;
        self
    }

    /// The same, which lets messages of these origins for others through as well: they come as
    /// [`Event::Relay`](crate::Event::Relay), and never as [`Event::Message`](crate::Event::Message).
    #[must_use]
    pub fn relay(mut self) -> Self {
        self.relay = true;
        self
    }

    /// Judges bytes that came as a signed message for `service`, at the node `own`. Links do this by themselves;
    /// it is for bytes that came in another way.
    ///
    /// Cheap things are checked first, the signature before the last, and what has come only then: who signs
    /// nothing changes nothing.
    ///
    /// # Errors
    /// [`Refused`] for the first thing that is wrong.
    pub fn judge(
        &self,
        own: &NodeId,
        service: &str,
        bytes: Bytes,
        provider: &dyn CryptoProvider,
    ) -> Result<Accepted, Refused> {
        let claim = SignedMessage::parse(bytes).map_err(Refused::Invalid)?;
        if claim.service() != service {
            return Err(Refused::OtherService);
        }
        let for_us = self.is_for_us(&claim, own);
        if !for_us && !self.relay {
            return Err(Refused::OtherAudience);
        }
        if claim.origin == *own.as_bytes() {
            return Err(Refused::OwnOrigin);
        }
        let origin = self.origins.find(claim.origin)?;
        let audience = match &claim.audience {
            ClaimedAudience::Node(_) if for_us => Audience::Node(*own),
            audience => {
                audience.clone().believe().map_err(|why| Refused::Invalid(InvalidSigned::NotAnId(why)))?
            }
        };
        let message = claim.verify_as(origin, audience, provider).map_err(Refused::Invalid)?;
        if !for_us {
            return Ok(Accepted::Relay(message));
        }
        let SignedMessage { origin, audience, epoch, sequence, .. } = &message;
        self.store.admit(origin, audience, *epoch, *sequence).map_err(Refused::NotFresh)?;
        Ok(Accepted::Deliver(message))
    }

    fn is_for_us(&self, claim: &Unverified, own: &NodeId) -> bool {
        match &claim.audience {
            ClaimedAudience::Node(id) => id == own.as_bytes(),
            ClaimedAudience::Topic(topic) => self.topics.has(topic),
        }
    }
}
