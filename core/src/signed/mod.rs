//! Signed messages: what a node says to somebody, so that nodes on the way can pass it on and change nothing of
//! it. docs/signed.md has the bytes, the rules, and what they do and do not promise.
//!
//! A link proves who is at its other end, and no more: a message that came over a third node is that node's word.
//! A [`SignedMessage`] carries its originator's signature over origin, audience, service, epoch, sequence and body.
//! It is made by [`SignedMessage::sign`] or by [`Unverified::verify`], and in no other way, so whoever holds one
//! holds what its origin has signed. [`SignedMessage::message`] is the message that sends it, the same whether this
//! node has signed it or only passes it on: what is signed already is not signed again.
//!
//! The link that receives one verifies it before the application sees it, by the [`SignedPolicy`] of its
//! configuration. Without a policy it takes none.
//!
//! ```
//! use handclasp::crypto::RustCrypto;
//! use handclasp::signed::{Accepted, Audience, Content, Origins, ReplayWindows, SignedMessage, SignedPolicy, Topics};
//! use handclasp::{SecretKey, Signer};
//! use std::sync::{Arc, Mutex};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (anna, ben) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]).node_id());
//! let content = Content {
//!     audience: Audience::topic("weather"),
//!     service: "forecast",
//!     epoch: 1_803_902_400_000, // milliseconds since 1970, when Anna's process started
//!     sequence: 1,
//!     body: b"rain by noon",
//! };
//! let message = SignedMessage::sign(&content, &anna, &RustCrypto)?;
//! let sent = message.message(); // for `Link::send`, here and wherever it is passed on
//! assert_eq!((sent.service, sent.body.is_signed()), ("forecast", true));
//!
//! // What Ben's links do with it, once `ConfigBuilder::signed` has given them the policy.
//! let store = Arc::new(Mutex::new(ReplayWindows::default()));
//! let policy = SignedPolicy::new(Origins::listed([anna.node_id()]), store).topics(Topics::listed(["weather"]));
//! let judge = || policy.judge(&ben, sent.service, message.bytes().clone(), &RustCrypto);
//! assert_eq!(judge()?, Accepted::Deliver(message.clone()));
//! assert!(judge().is_err(), "it has come before");
//! # Ok(())
//! # }
//! ```

mod audience;
mod error;
mod policy;
mod replay;

pub use audience::{Audience, MAX_TOPIC};
pub use error::{InvalidSigned, Refused, SignError};
pub(crate) use policy::Judge;
pub use policy::{Accepted, Origins, SignedPolicy, Topics};
pub use replay::{NotFresh, ReplayStore, ReplayWindows, WINDOW};

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use self::audience::ClaimedAudience;
use crate::crypto::CryptoProvider;
use crate::identity::{ClaimedId, NodeId, Signer};
use crate::link::{MAX_SERVICE, Message, Payload};
use crate::wire::Malformed;
use crate::wire::reader::Reader;

/// Begins what is signed. Links and adverts sign behind other labels of the same length, so no signature of one
/// kind is ever one of another.
const SIGNATURE_LABEL: &[u8; 32] = b"handclasp/1 signed message\0\0\0\0\0\0";

/// The form that this file writes and reads.
const FORM: u8 = 1;

/// The bytes before the audience.
const HEADER: usize = 52;

const SIGNATURE: usize = 64;

/// The most bytes that a signed message has beside its body: it is sent as the body of a message, which may have
/// as many bytes as the link's `max_message`.
pub const LARGEST_OVERHEAD: usize = HEADER + MAX_TOPIC + MAX_SERVICE + SIGNATURE;

/// What a node says in a signed message.
#[derive(Clone)]
pub struct Content<'a> {
    /// Whom it is for.
    pub audience: Audience,
    /// The service that it is for, 0–255 bytes: links deliver it to no other one.
    pub service: &'a str,
    /// Which run of the origin's sequence it belongs to. A greater epoch makes all older ones void, so it has to
    /// grow each time the origin begins to count anew: milliseconds since 1970 at the start of the process will do.
    /// An incarnation will not: it is random.
    pub epoch: u64,
    /// Counts the origin's messages to this audience within the epoch. Each is taken once, and none that is
    /// [`WINDOW`] or more behind the greatest that has come.
    pub sequence: u64,
    /// The body.
    pub body: &'a [u8],
}

impl fmt::Debug for Content<'_> {
    /// The length of the body only: bodies do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { audience, service, epoch, sequence, body } = self;
        write!(f, "Content({audience:?}, {service:?}, {epoch}.{sequence}, {} bytes)", body.len())
    }
}

/// A message that its origin has signed.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedMessage {
    origin: NodeId,
    audience: Audience,
    epoch: u64,
    sequence: u64,
    place: Place,
    bytes: Bytes,
}

/// Where the parts of different length are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    service: usize,
    body: usize,
}

impl SignedMessage {
    /// Says `content` as the node that `signer` speaks for.
    ///
    /// # Errors
    /// [`SignError`]: a topic or a service name of a length that there is not, or no signature.
    pub fn sign(
        content: &Content<'_>,
        signer: &dyn Signer,
        provider: &dyn CryptoProvider,
    ) -> Result<Self, SignError> {
        let origin = signer.node_id();
        let (mut bytes, place) = head(content, origin)?;
        let signature = signer.sign(&statement(&bytes, content.body, provider)).map_err(SignError::Signer)?;
        bytes.extend_from_slice(content.body);
        bytes.extend_from_slice(&signature);
        let Content { audience, epoch, sequence, .. } = content.clone();
        Ok(Self { origin, audience, epoch, sequence, place, bytes: bytes.into() })
    }

    /// What a link that is replayed takes for a message: what is before the body is that of `content`, body
    /// and signature are at the end of `bytes`, and nothing is verified. `None` if `bytes` are too short for
    /// it, or a part of `content` too long.
    #[cfg(feature = "recording")]
    pub(crate) fn replayed(content: &Content<'_>, origin: NodeId, bytes: &[u8]) -> Option<Self> {
        let (mut head, place) = head(content, origin).ok()?;
        head.extend_from_slice(bytes.get(place.body..).filter(|rest| rest.len() >= SIGNATURE)?);
        let Content { audience, epoch, sequence, .. } = content.clone();
        Some(Self { origin, audience, epoch, sequence, place, bytes: head.into() })
    }

    /// Reads a signed message without believing it.
    ///
    /// # Errors
    /// [`InvalidSigned::Malformed`]. What is read has one form: the same content of the same origin with the same
    /// signature has the same bytes.
    pub fn parse(bytes: Bytes) -> Result<Unverified, InvalidSigned> {
        let read = read(&bytes).map_err(InvalidSigned::Malformed)?;
        let Read { origin, audience, epoch, sequence, place } = read;
        Ok(Unverified { origin, audience, epoch, sequence, place, bytes })
    }

    /// The node that says it.
    pub const fn origin(&self) -> NodeId {
        self.origin
    }

    /// Whom it is for.
    pub const fn audience(&self) -> &Audience {
        &self.audience
    }

    /// The service that it is for.
    pub fn service(&self) -> &str {
        service(&self.bytes, self.place)
    }

    /// Its epoch: see [`Content::epoch`].
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Its number within the epoch: see [`Content::sequence`].
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What the origin says, without a copy.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(self.place.body..self.bytes.len() - SIGNATURE)
    }

    /// The bytes as they travel, signature included.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The message that sends it, unchanged, over any link: of normal priority, and not expiring.
    pub fn message(&self) -> Message<'_> {
        Message::new(self.service(), Payload::Signed(self.bytes.clone()))
    }
}

impl fmt::Debug for SignedMessage {
    /// The length of the body only: bodies do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedMessage")
            .field("origin", &self.origin)
            .field("audience", &self.audience)
            .field("service", &self.service())
            .field("epoch", &self.epoch)
            .field("sequence", &self.sequence)
            .field("body", &self.body().len())
            .finish_non_exhaustive()
    }
}

/// A signed message that was read and not yet believed. It tells what it takes to decide whether the signature is
/// worth a look.
#[derive(Clone)]
pub struct Unverified {
    origin: [u8; 32],
    audience: ClaimedAudience,
    epoch: u64,
    sequence: u64,
    place: Place,
    bytes: Bytes,
}

impl Unverified {
    /// The node that it claims to be of.
    pub const fn origin(&self) -> ClaimedId {
        ClaimedId::new(self.origin)
    }

    /// The service that it claims to be for.
    pub fn service(&self) -> &str {
        service(&self.bytes, self.place)
    }

    /// Checks origin, audience and signature: up to three signature checks' worth of work. Whether it is fresh is
    /// not a question of its bytes: ask [`ReplayWindows`].
    ///
    /// # Errors
    /// [`InvalidSigned::NotAnId`] or [`InvalidSigned::BadSignature`].
    pub fn verify(self, provider: &dyn CryptoProvider) -> Result<SignedMessage, InvalidSigned> {
        let origin = NodeId::from_bytes(self.origin).map_err(InvalidSigned::NotAnId)?;
        let audience = self.audience.clone().believe().map_err(InvalidSigned::NotAnId)?;
        self.verify_as(origin, audience, provider)
    }

    /// Checks the signature of `origin`, who it must claim to be of; `audience` is whom it claims to be for.
    fn verify_as(
        self,
        origin: NodeId,
        audience: Audience,
        provider: &dyn CryptoProvider,
    ) -> Result<SignedMessage, InvalidSigned> {
        let Self { origin: claimed, epoch, sequence, place, bytes, .. } = self;
        let (said, signature) = bytes.split_last_chunk::<SIGNATURE>().ok_or(InvalidSigned::BadSignature)?;
        let (head, body) = said.split_at_checked(place.body).ok_or(InvalidSigned::BadSignature)?;
        let statement = statement(head, body, provider);
        if claimed != *origin.as_bytes() || provider.verify(&claimed, &statement, signature).is_err() {
            return Err(InvalidSigned::BadSignature);
        }
        Ok(SignedMessage { origin, audience, epoch, sequence, place, bytes })
    }
}

impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified")
            .field("origin", &self.origin())
            .field("service", &self.service())
            .finish_non_exhaustive()
    }
}

/// Everything before the body of what `origin` says, with room for the rest, and where the parts are.
fn head(content: &Content<'_>, origin: NodeId) -> Result<(Vec<u8>, Place), SignError> {
    let Content { audience, service, epoch, sequence, body } = content;
    let audience_len = audience.len().ok_or(SignError::TopicLength)?;
    let service_len = u8::try_from(service.len()).map_err(|_| SignError::LongServiceName)?;
    let place = Place {
        service: HEADER + usize::from(audience_len),
        body: HEADER + usize::from(audience_len) + service.len(),
    };
    let mut bytes = Vec::with_capacity(place.body + body.len() + SIGNATURE);
    bytes.extend_from_slice(&[FORM, audience.kind()]);
    bytes.extend_from_slice(origin.as_bytes());
    bytes.extend_from_slice(&epoch.to_be_bytes());
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&[audience_len, service_len]);
    bytes.extend_from_slice(audience.bytes());
    bytes.extend_from_slice(service.as_bytes());
    Ok((bytes, place))
}

/// What the signature is made over. The body is in it as its hash, so that a signer elsewhere gets a few hundred
/// bytes whatever the body, and a receiver copies none of it.
fn statement(head: &[u8], body: &[u8], provider: &dyn CryptoProvider) -> Vec<u8> {
    [&SIGNATURE_LABEL[..], head, &provider.sha256(&[body])].concat()
}

fn service(bytes: &[u8], place: Place) -> &str {
    // It was read, or came in, as `&str`.
    bytes.get(place.service..place.body).and_then(|name| core::str::from_utf8(name).ok()).unwrap_or_default()
}

struct Read {
    origin: [u8; 32],
    audience: ClaimedAudience,
    epoch: u64,
    sequence: u64,
    place: Place,
}

fn read(bytes: &[u8]) -> Result<Read, Malformed> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != FORM {
        return Err(Malformed::new("signed message of another form"));
    }
    let kind = reader.u8()?;
    let origin = reader.array()?;
    let (epoch, sequence) = (reader.u64()?, reader.u64()?);
    let (audience_len, service_len) = (usize::from(reader.u8()?), usize::from(reader.u8()?));
    let audience = ClaimedAudience::read(kind, reader.bytes(audience_len)?)?;
    core::str::from_utf8(reader.bytes(service_len)?)
        .map_err(|_| Malformed::new("signed message: service name is not UTF-8"))?;
    if reader.rest().len() < SIGNATURE {
        return Err(Malformed::new("signed message: ends before its signature does"));
    }
    let service = HEADER + audience_len;
    let place = Place { service, body: service + service_len };
    Ok(Read { origin, audience, epoch, sequence, place })
}
