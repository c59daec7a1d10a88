//! What a node tells its application, and its log.

use std::fmt;
use std::prelude::v1::*;
use std::sync::Arc;

use async_broadcast::{InactiveReceiver, Receiver, RecvError, Sender};
use tracing::{debug, info, warn};

use crate::NodeId;
use crate::node::NodeEvent;

/// What happens to a node and its peers, from the moment of [`Node::events`](super::Node::events) on.
///
/// Each `Events` gets every event. The node never waits for a slow one: that misses the oldest events, and is
/// told how many. Questions are not among the events: [`Services::admit`](crate::runtime::Services::admit) and the
/// registry answer them.
#[derive(Debug)]
pub struct Events(Receiver<Arc<NodeEvent>>);

/// Where events are told. Nobody may be listening, and nobody is waited for.
#[derive(Debug)]
pub(crate) struct Told {
    sender: Sender<Arc<NodeEvent>>,
    /// Keeps the channel while nobody listens.
    listeners: InactiveReceiver<Arc<NodeEvent>>,
}

impl Told {
    pub(super) fn new(buffer: usize) -> Self {
        let (mut sender, receiver) = async_broadcast::broadcast(buffer.max(1));
        sender.set_overflow(true);
        sender.set_await_active(false);
        Self { sender, listeners: receiver.deactivate() }
    }

    pub(super) fn tell(&self, event: &Arc<NodeEvent>) {
        // It fails when nobody listens.
        let _ = self.sender.try_broadcast(Arc::clone(event));
    }

    pub(super) fn subscribe(&self) -> Events {
        Events(self.listeners.activate_cloned())
    }
}

/// So many events were told while nobody took them, and are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed(pub u64);

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events were missed: take them faster, or give the node a larger event buffer", self.0)
    }
}

impl std::error::Error for Missed {}

impl Events {
    /// Those of a node that has ended.
    pub(super) fn ended() -> Self {
        Self(async_broadcast::broadcast(1).1)
    }

    /// The next event; `None` when the node has ended and all its events have been taken. Cancel-safe: a
    /// dropped future has taken none.
    ///
    /// # Errors
    /// [`Missed`] in place of events that were not taken in time; the next ones follow.
    pub async fn next(&mut self) -> Option<Result<Arc<NodeEvent>, Missed>> {
        match self.0.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(RecvError::Overflowed(count)) => Some(Err(Missed(count))),
            Err(RecvError::Closed) => None,
        }
    }
}

/// One line for each event, by a stable name. Bodies of messages are not in it.
pub(super) fn log(node: NodeId, event: &NodeEvent) {
    let node = node.fingerprint();
    match event {
        NodeEvent::Linked { peer, link, dialler } => {
            info!(%node, %peer, link = link.get(), ?dialler, "linked");
        }
        NodeEvent::Unlinked { peer, closed } => {
            info!(%node, %peer, reason = closed.reason.name(), code = closed.reason.code(), "unlinked");
        }
        NodeEvent::Superseded { peer, loser, winner } => {
            info!(%node, %peer, loser = loser.get(), winner = winner.get(), "superseded");
        }
        NodeEvent::HandshakeEnded { link, closed, .. } => {
            let claimed = closed.claimed.map(tracing::field::display);
            debug!(%node, link = link.get(), reason = closed.reason.name(), claimed, "handshake_ended");
        }
        NodeEvent::OverCapacity { source } => debug!(%node, ?source, "over_capacity"),
        NodeEvent::DialFailed { peer, error, again } => {
            info!(%node, %peer, reason = error.name(), %error, again = again.is_some(), "dial_failed");
        }
        NodeEvent::Drifted { peer, drift, refused } => {
            for drift in drift {
                warn!(%node, %peer, %drift, refused, "drifted");
            }
        }
        NodeEvent::Undelivered { peer, why, .. } => debug!(%node, %peer, %why, "undelivered"),
        NodeEvent::Permanence { peer, permanent } => debug!(%node, %peer, permanent, "permanence"),
        NodeEvent::Advert { peer, advert } => {
            info!(%node, %peer, version = advert.version(), "advert");
        }
        NodeEvent::AdvertRefused { peer, why } => warn!(%node, %peer, %why, "advert_refused"),
        NodeEvent::Revoked { peer } => info!(%node, %peer, "revoked"),
        other => debug!(%node, event = ?other, "node_event"),
    }
}
