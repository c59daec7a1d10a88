//! Where this node says that it can be dialled, and what its peers say.
//!
//! A hello tells the version of each side's advert, as far as it knows. The node that has a newer one than
//! its peer holds pushes it when the link is established, and when there is a new one; the peer acknowledges
//! what it holds then. A link carries one advert at a time in each direction, so a peer cannot make this node
//! check signatures faster than it takes acknowledgements.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Node;
use super::action::{AdvertRefusal, NodeEvent};
use super::adverts::{Advert, AdvertContent, AdvertError, Inserted};
use super::message::{LinkId, ToLink};
use super::peers::Stage;
use super::trust::UnixTime;
use crate::hello::{AdvertVersions, DialAddress, Hello};
use crate::identity::NodeId;

impl Node {
    /// Says where this node can be dialled: in the hellos of links that begin from now on, and by a signed
    /// advert, with the capabilities of the configuration, to all peers with a link now or later. They dial
    /// it only if their policy has [`dial_back`](super::NodePolicy::dial_back).
    ///
    /// `created` is the calendar's time. It is the advert's version as well, unless the last one had that or
    /// a later one: so versions grow over restarts without anything that is kept. The configuration's signer
    /// is asked for one signature, here and now.
    ///
    /// # Errors
    /// [`AdvertError`] for the first thing that is wrong; then all stays as it was.
    pub fn advertise(&mut self, addresses: Vec<DialAddress>, created: UnixTime) -> Result<(), AdvertError> {
        let content = self.advert_content(addresses, created);
        let advert = Advert::sign(content, &*self.config.signer)?;
        self.set_advert(advert);
        Ok(())
    }

    /// What an advert says that takes the place of the present one.
    pub(crate) fn advert_content(&self, addresses: Vec<DialAddress>, created: UnixTime) -> AdvertContent {
        let last = self.advert.as_ref().map_or(0, Advert::version);
        AdvertContent {
            version: created.as_secs().max(last.saturating_add(1)),
            created,
            addresses,
            capabilities: self.config.hello.capabilities.clone(),
        }
    }

    /// Takes this node's next advert, and tells its peers. False, and nothing has changed, if there is another
    /// one by now that is as new.
    pub(crate) fn set_advert(&mut self, advert: Advert) -> bool {
        if self.advert.as_ref().is_some_and(|present| present.version() >= advert.version()) {
            return false;
        }
        self.addresses = advert.addresses().to_vec();
        self.advert = Some(advert);
        let linked: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| link.stage == Stage::Established)
            .filter_map(|(id, link)| Some((link.peer?, *id)))
            .collect();
        for (peer, link) in linked {
            self.push_advert(peer, link);
        }
        true
    }

    /// This node's own advert.
    pub const fn advert(&self) -> Option<&Advert> {
        self.advert.as_ref()
    }

    /// The newest advert of a peer.
    pub fn advert_of(&self, peer: NodeId) -> Option<&Advert> {
        self.adverts.get(&peer)
    }

    /// What a hello says of adverts.
    pub(super) fn advert_versions(&self, peer: Option<NodeId>) -> Option<AdvertVersions> {
        let own = self.advert.as_ref().map_or(0, Advert::version);
        let held = peer.map_or(0, |peer| self.adverts.version(&peer));
        (own > 0 || held > 0).then_some(AdvertVersions { own, held })
    }

    /// A link was established: pushes this node's advert if the peer has not got it. A dialler says what it
    /// has; an acceptor cannot, since it does not know who dials when it says hello, and so gets it always.
    pub(super) fn exchange_adverts(&mut self, peer: NodeId, link: LinkId, hello: &Hello) {
        if let Some(record) = self.peers.get_mut(&peer) {
            record.acknowledged = hello.adverts.map_or(0, |versions| versions.held);
        }
        self.push_advert(peer, link);
    }

    fn push_advert(&mut self, peer: NodeId, link: LinkId) {
        let Some(advert) = &self.advert else { return };
        if self.peers.get(&peer).is_some_and(|record| record.acknowledged < advert.version()) {
            let bytes = advert.bytes().clone();
            self.tell(link, ToLink::Advert(bytes));
        }
    }

    /// A peer pushed its advert.
    pub(super) fn on_advert(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(record) = self.links.get(&link).filter(|record| record.stage != Stage::Ending) else {
            return;
        };
        let Some(peer) = record.peer else { return };
        let refusal = match self.adverts.insert(peer, bytes, &*self.config.provider) {
            Ok(Inserted::New | Inserted::Newer { .. }) => None,
            Ok(Inserted::Same) => Some(None),
            Ok(Inserted::Stale { held }) => Some(Some(AdvertRefusal::Stale { held })),
            Ok(Inserted::Forked { held, other }) => Some(Some(AdvertRefusal::Forked { held, other })),
            Ok(Inserted::Full) => Some(Some(AdvertRefusal::Full)),
            Err(invalid) => Some(Some(AdvertRefusal::Invalid(invalid))),
        };
        match refusal {
            None => {
                if let Some(advert) = self.adverts.get(&peer).cloned() {
                    if let Some(record) = self.peers.get_mut(&peer) {
                        record.offered = advert.addresses().to_vec();
                    }
                    self.event(NodeEvent::Advert { peer, advert: Box::new(advert) });
                }
            }
            Some(Some(why)) => self.event(NodeEvent::AdvertRefused { peer, why }),
            Some(None) => {}
        }
        let version = self.adverts.version(&peer);
        self.tell(link, ToLink::AckAdvert { version });
    }

    /// A peer says what it holds of this node's advert.
    pub(super) fn on_advert_acked(&mut self, link: LinkId, version: u64) {
        let Some(peer) = self.links.get(&link).and_then(|record| record.peer) else { return };
        if let Some(record) = self.peers.get_mut(&peer) {
            record.acknowledged = record.acknowledged.max(version);
        }
    }
}
