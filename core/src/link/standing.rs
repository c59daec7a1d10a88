//! What two nodes tell each other beside their applications: whether the link is to stay, and their adverts.

use bytes::Bytes;

use super::Link;
use super::timers::Timer;
use crate::node::FromLink;
use crate::phase::Phase;
use crate::wire::frame::MAX_ADVERT;

/// Who wants the link kept. A link that nobody does is ephemeral.
#[derive(Debug, Default)]
pub(super) struct Permanence {
    pub(super) own: bool,
    /// What the peer was told last.
    pub(super) told: bool,
    pub(super) peer: bool,
}

impl Permanence {
    pub(super) fn is_due(&self) -> bool {
        self.own != self.told
    }

    fn is_kept(&self) -> bool {
        self.own || self.peer
    }
}

/// Adverts, of which one is under way in each direction.
#[derive(Debug, Default)]
pub(super) struct Adverts {
    /// The own one that goes next.
    pub(super) next: Option<Bytes>,
    /// The own one was sent, and the peer has not taken it.
    pub(super) sent: bool,
    /// The peer's was received, and is not acknowledged.
    pub(super) received: bool,
    /// The acknowledgement of the peer's, once this side has taken it.
    pub(super) ack: Option<u64>,
}

impl Adverts {
    /// Whether the own one can go.
    pub(super) fn is_due(&self) -> bool {
        self.next.is_some() && !self.sent
    }
}

impl Link {
    /// This side wants the link kept, or does not.
    pub(super) fn set_permanence(&mut self, own: bool) {
        if let Some(session) = self.session.as_mut().filter(|_| self.phase.is_open()) {
            session.control.permanence.own = own;
            self.time_ephemeral();
        }
    }

    /// The peer does.
    pub(super) fn on_permanence(&mut self, peer: bool) {
        if let Some(session) = &mut self.session {
            session.control.permanence.peer = peer;
            self.time_ephemeral();
            self.tell_node(|| FromLink::Permanence(peer));
        }
    }

    /// Starts the time after which an unused link goes, or stops it while somebody wants the link kept.
    pub(super) fn time_ephemeral(&mut self) {
        let kept = self.session.as_ref().is_some_and(|session| session.control.permanence.is_kept());
        match self.config.timing.ephemeral {
            Some(after) if !kept && self.phase == Phase::Established => {
                self.timers.set(Timer::Ephemeral, self.now + after);
            }
            _ => self.timers.stop(Timer::Ephemeral),
        }
    }

    /// Sends this side's advert, once the peer has taken the one before; only the latest of those that wait.
    /// One that is longer than a peer takes is not sent.
    pub(super) fn push_advert(&mut self, advert: Bytes) {
        if let Some(session) = self.session.as_mut().filter(|_| self.phase.is_open()) {
            if advert.len() <= MAX_ADVERT {
                session.control.adverts.next = Some(advert);
            }
        }
    }

    /// The peer's has come: the node takes it. A link without one has no use for it.
    pub(super) fn on_advert(&mut self, advert: &[u8]) {
        if self.managed.is_none() {
            self.ack_advert(0);
        }
        self.tell_node(|| FromLink::Advert(Bytes::copy_from_slice(advert)));
    }

    /// Tells the peer that its advert was taken, and which version is here. Does nothing unless one waits for
    /// that.
    pub(super) fn ack_advert(&mut self, version: u64) {
        if let Some(session) = self.session.as_mut().filter(|_| self.phase.is_open()) {
            let adverts = &mut session.control.adverts;
            if adverts.received {
                adverts.ack = Some(version);
            }
        }
    }
}
