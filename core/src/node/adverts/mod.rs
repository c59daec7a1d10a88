//! Adverts: what a node says of itself, signed, so that others can keep it. docs/wire.md §12 has the bytes.
//!
//! An [`Advert`] is made by [`Advert::sign`] or by [`Unverified::verify`], and in no other way: whoever holds
//! one holds what its node has signed. An [`AdvertStore`] keeps the newest one of each peer.
//!
//! An advert proves who says it and nothing else. Its addresses are hints: a node that dials whatever a peer
//! names can be made to dial anything, so that is for a policy to allow.

mod error;
mod store;

#[cfg(test)]
mod tests;

pub use error::{AdvertError, InvalidAdvert};
pub use store::{AdvertStore, Inserted};

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::crypto::{CryptoProvider, SuiteSet};
use crate::hello::{Capability, DialAddress, Hello, HelloError, VersionRange};
use crate::identity::{ClaimedId, NodeId, Signer};
use crate::node::trust::UnixTime;
use crate::wire::Malformed;
use crate::wire::hello as layout;
use crate::wire::reader::Reader;

/// The most bytes of an advert, signature included.
pub const MAX_ADVERT: usize = crate::wire::frame::MAX_ADVERT;

/// Begins what is signed. A link's authentication signs behind another label of the same length, so no
/// signature of one kind is ever one of the other.
const SIGNATURE_LABEL: &[u8; 32] = b"handclasp/1 node advert\0\0\0\0\0\0\0\0\0";

const SIGNATURE: usize = 64;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertContent {
    /// Counts the node's adverts: at least 1, and greater in each new one, restarts or not. The seconds of
    /// [`created`](Self::created) will do if adverts are at least a second apart.
    pub version: u64,
    /// When the node made it, for people: which advert is newer, the version says.
    pub created: UnixTime,
    /// At most 64 addresses at which the node can be dialled, in its order.
    pub addresses: Vec<DialAddress>,
    /// At most 64 capabilities, each name once. [`Advert::sign`] takes them in any order; in an advert they
    /// ascend by name.
    pub capabilities: Vec<Capability>,
}

/// A statement that a node has made about itself and signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Advert {
    id: NodeId,
    content: AdvertContent,
    bytes: Bytes,
}

impl Advert {
    /// States `content` for the node that `signer` speaks for.
    ///
    /// # Errors
    /// [`AdvertError`] for the first thing that is wrong.
    pub fn sign(content: AdvertContent, signer: &dyn Signer) -> Result<Self, AdvertError> {
        let content = checked(content)?;
        let id = signer.node_id();
        let mut statement = SIGNATURE_LABEL.to_vec();
        emit(&content, &id, &mut statement);
        let size = statement.len() - SIGNATURE_LABEL.len() + SIGNATURE;
        if size > MAX_ADVERT {
            return Err(AdvertError::TooLarge { size });
        }
        let signature = signer.sign(&statement).map_err(AdvertError::Signer)?;
        statement.extend_from_slice(&signature);
        let bytes = Bytes::copy_from_slice(statement.get(SIGNATURE_LABEL.len()..).unwrap_or_default());
        Ok(Self { id, content, bytes })
    }

    /// Reads an advert without believing it.
    ///
    /// # Errors
    /// [`InvalidAdvert::TooLarge`] or [`InvalidAdvert::Malformed`]. Whatever is read has one form: the same
    /// content of the same node with the same signature has the same bytes.
    pub fn parse(bytes: &[u8]) -> Result<Unverified, InvalidAdvert> {
        if bytes.len() > MAX_ADVERT {
            return Err(InvalidAdvert::TooLarge { size: bytes.len() });
        }
        let (id, content) = read(bytes).map_err(InvalidAdvert::Malformed)?;
        Ok(Unverified { id, content, bytes: Bytes::copy_from_slice(bytes) })
    }

    /// The node that it is of.
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Its version, at least 1.
    pub const fn version(&self) -> u64 {
        self.content.version
    }

    /// When the node made it, by the node's own clock.
    pub const fn created(&self) -> UnixTime {
        self.content.created
    }

    /// At most 64 addresses at which the node says that it can be dialled, in its order.
    pub fn addresses(&self) -> &[DialAddress] {
        &self.content.addresses
    }

    /// At most 64 capabilities, ascending by name.
    pub fn capabilities(&self) -> &[Capability] {
        &self.content.capabilities
    }

    /// All that it says.
    pub const fn content(&self) -> &AdvertContent {
        &self.content
    }

    /// The bytes as they travel, at most [`MAX_ADVERT`].
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for Advert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Advert").field("id", &self.id).field("content", &self.content).finish_non_exhaustive()
    }
}

/// An advert that was read and not yet believed. It tells what it takes to decide whether the signature is
/// worth a look.
#[derive(Clone)]
pub struct Unverified {
    id: [u8; 32],
    content: AdvertContent,
    bytes: Bytes,
}

impl Unverified {
    /// The node that it claims to be of.
    pub const fn id(&self) -> ClaimedId {
        ClaimedId::new(self.id)
    }

    /// The version that it claims to have.
    pub const fn version(&self) -> u64 {
        self.content.version
    }

    /// Checks the id and the signature: about two signature checks' worth of work.
    ///
    /// # Errors
    /// [`InvalidAdvert::NotAnId`] or [`InvalidAdvert::BadSignature`].
    pub fn verify(self, provider: &dyn CryptoProvider) -> Result<Advert, InvalidAdvert> {
        let id = NodeId::from_bytes(self.id).map_err(InvalidAdvert::NotAnId)?;
        self.verify_as(id, provider)
    }

    /// Checks that `id` has signed it, which it must claim to be of.
    fn verify_as(self, id: NodeId, provider: &dyn CryptoProvider) -> Result<Advert, InvalidAdvert> {
        let (body, signature) =
            self.bytes.split_last_chunk::<SIGNATURE>().ok_or(InvalidAdvert::BadSignature)?;
        let statement = [&SIGNATURE_LABEL[..], body].concat();
        if self.id != *id.as_bytes() || provider.verify(&self.id, &statement, signature).is_err() {
            return Err(InvalidAdvert::BadSignature);
        }
        Ok(Advert { id, content: self.content, bytes: self.bytes })
    }

    /// Whether it says what `held` says, whatever the two signatures are: a signer may make many.
    fn says_the_same(&self, held: &Advert) -> bool {
        self.id == *held.id.as_bytes() && self.content == held.content
    }
}

impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified")
            .field("id", &self.id())
            .field("version", &self.content.version)
            .finish_non_exhaustive()
    }
}

/// The content in the order in which it travels, if its lists keep to what a hello's lists keep to.
fn checked(content: AdvertContent) -> Result<AdvertContent, AdvertError> {
    let AdvertContent { version, created, addresses, capabilities } = content;
    if version == 0 {
        return Err(AdvertError::VersionZero);
    }
    let lists = Hello::new(VersionRange::only(0), SuiteSet::default(), 0, 0).with_capabilities(capabilities);
    let mut lists = lists.map_err(AdvertError::Content)?;
    lists.addresses = addresses;
    match lists.check() {
        Ok(()) => Ok(AdvertContent {
            version,
            created,
            addresses: lists.addresses,
            capabilities: lists.capabilities,
        }),
        // What is too large for a hello is too large for an advert, which is smaller.
        Err(HelloError::TooLarge { size, .. }) => Err(AdvertError::TooLarge { size }),
        Err(error) => Err(AdvertError::Content(error)),
    }
}

/// Appends everything before the signature.
fn emit(content: &AdvertContent, id: &NodeId, out: &mut Vec<u8>) {
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(&content.version.to_be_bytes());
    out.extend_from_slice(&content.created.as_secs().to_be_bytes());
    let mut list = Vec::new();
    content.addresses.iter().for_each(|each| layout::put_address(&mut list, each));
    layout::put_prefixed_u16(out, &list);
    list.clear();
    content.capabilities.iter().for_each(|each| layout::put_capability(&mut list, each));
    layout::put_prefixed_u16(out, &list);
}

fn read(bytes: &[u8]) -> Result<([u8; 32], AdvertContent), Malformed> {
    let mut reader = Reader::new(bytes);
    let id = reader.array()?;
    let version = reader.u64()?;
    if version == 0 {
        return Err(Malformed::new("advert of version 0"));
    }
    let seconds = reader.u64()?;
    let created = UnixTime::from_secs(seconds);
    if created.as_secs() != seconds {
        return Err(Malformed::new("advert made behind the year 9999"));
    }
    let addresses = match reader.prefixed_u16()? {
        [] => Vec::new(),
        list => layout::entries(list, layout::address)?,
    };
    let capabilities = match reader.prefixed_u16()? {
        [] => Vec::new(),
        list => layout::ascending(list, layout::capability, |each| &each.name)?,
    };
    reader.bytes(SIGNATURE)?;
    if !reader.is_empty() {
        return Err(Malformed::new("advert goes on behind its signature"));
    }
    Ok((id, AdvertContent { version, created, addresses, capabilities }))
}
