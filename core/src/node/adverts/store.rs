//! The newest advert of each peer.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::cmp::Ordering;

use super::{Advert, InvalidAdvert};
use crate::crypto::CryptoProvider;
use crate::identity::NodeId;

/// What [`AdvertStore::insert`] did with an advert.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a stale or forked advert is refused, and its peer may be told"]
#[non_exhaustive]
pub enum Inserted {
    /// Kept; there was none of the peer.
    New,
    /// Kept in place of an older one.
    Newer {
        /// The version of the older one.
        old: u64,
    },
    /// The store holds this statement already.
    Same,
    /// Refused: the store holds a newer one. Whether the stale one was ever signed was not looked at.
    Stale {
        /// The version of the newer one.
        held: u64,
    },
    /// Refused: the peer has signed two different statements of one version. Its key is in use at two
    /// places, or it has lost count. The one that was there first stays.
    Forked {
        /// The one that stays.
        held: Box<Advert>,
        /// The one that was refused, verified as well.
        other: Box<Advert>,
    },
    /// Refused: the store is full, and a peer that comes late displaces nobody. Else whoever has many ids
    /// could push out all others. [`AdvertStore::remove`] makes room.
    Full,
}

/// The newest advert of each peer, for a bounded number of peers.
#[derive(Clone, Debug)]
pub struct AdvertStore {
    held: BTreeMap<NodeId, Advert>,
    capacity: usize,
}

impl AdvertStore {
    /// The capacity of a store that is made by default, in peers. It is then bounded to about 8 MiB of
    /// adverts, and as much again for what was read from them.
    pub const DEFAULT_CAPACITY: usize = 4096;

    /// An empty store for `capacity` peers.
    pub const fn new(capacity: usize) -> Self {
        Self { held: BTreeMap::new(), capacity }
    }

    /// Takes in the advert that `from`, a peer that has proved its id, brought of itself.
    ///
    /// Cheap things are checked first, and the signature only of an advert that would change the store or be
    /// the proof of a fork. Nothing in the store changes before the signature has verified.
    ///
    /// # Errors
    /// [`InvalidAdvert`]: the peer breaks the wire format, or speaks for somebody else. The store is as it
    /// was.
    pub fn insert(
        &mut self,
        from: NodeId,
        bytes: &[u8],
        provider: &dyn CryptoProvider,
    ) -> Result<Inserted, InvalidAdvert> {
        let advert = Advert::parse(bytes)?;
        if advert.id != *from.as_bytes() {
            return Err(InvalidAdvert::NotTheirs { from, of: advert.id() });
        }
        let inserted = match self.held.get(&from) {
            None if self.held.len() >= self.capacity => return Ok(Inserted::Full),
            None => Inserted::New,
            Some(held) => match advert.version().cmp(&held.version()) {
                Ordering::Greater => Inserted::Newer { old: held.version() },
                Ordering::Less => return Ok(Inserted::Stale { held: held.version() }),
                Ordering::Equal if advert.says_the_same(held) => return Ok(Inserted::Same),
                Ordering::Equal => {
                    let held = Box::new(held.clone());
                    let other = Box::new(advert.verify_as(from, provider)?);
                    return Ok(Inserted::Forked { held, other });
                }
            },
        };
        let advert = advert.verify_as(from, provider)?;
        self.held.insert(from, advert);
        Ok(inserted)
    }

    /// Forgets the advert of a peer, and gives it back.
    pub fn remove(&mut self, id: &NodeId) -> Option<Advert> {
        self.held.remove(id)
    }

    /// The advert of a peer.
    pub fn get(&self, id: &NodeId) -> Option<&Advert> {
        self.held.get(id)
    }

    /// The version of a peer's advert, 0 for none: what a hello says of it.
    pub fn version(&self, id: &NodeId) -> u64 {
        self.get(id).map_or(0, Advert::version)
    }

    /// All adverts, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Advert> {
        self.held.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How many there can be.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }
}

impl Default for AdvertStore {
    fn default() -> Self {
        Self::new(Self::DEFAULT_CAPACITY)
    }
}
