//! What a node tells its application, and its log.

use std::collections::VecDeque;
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
/// told how many. Those that wait are bounded in number, by
/// [`event_buffer`](super::NodeBuilder::event_buffer), and in bytes: messages in
/// [`Undelivered`](NodeEvent::Undelivered) have together at most the bytes of the policy's
/// [`outbox`](crate::node::NodePolicy::outbox), or it is one message alone. Questions are not among the
/// events: [`Services::admit`](crate::runtime::Services::admit) and the registry answer them.
#[derive(Debug)]
pub struct Events(Receiver<Arc<NodeEvent>>);

/// Where events are told. Nobody may be listening, and nobody is waited for.
#[derive(Debug)]
pub(crate) struct Told {
    sender: Sender<Arc<NodeEvent>>,
    /// Keeps the channel while nobody listens.
    listeners: InactiveReceiver<Arc<NodeEvent>>,
    /// The number of the next event that somebody hears.
    next: u64,
    /// Events that may wait.
    most: usize,
    /// Events with a message that may still wait: the number and the bytes of each, all their bytes, and how
    /// many of those may wait.
    messages: VecDeque<(u64, usize)>,
    bytes: usize,
    most_bytes: usize,
}

impl Told {
    pub(super) fn new((most, most_bytes): (usize, usize)) -> Self {
        let most = most.max(1);
        let (mut sender, receiver) = async_broadcast::broadcast(most);
        sender.set_overflow(true);
        sender.set_await_active(false);
        let listeners = receiver.deactivate();
        Self { sender, listeners, next: 0, most, messages: VecDeque::new(), bytes: 0, most_bytes }
    }

    pub(super) fn tell(&mut self, event: &Arc<NodeEvent>) {
        // It fails when nobody listens.
        if self.sender.try_broadcast(Arc::clone(event)).is_err() {
            return;
        }
        self.next += 1;
        let NodeEvent::Undelivered { envelope, .. } = &**event else { return };
        let bytes = envelope.service.len() + envelope.body.len();
        self.messages.push_back((self.next - 1, bytes));
        self.bytes += bytes;
        let first = self.next.saturating_sub(self.sender.len() as u64);
        self.forget_before(first);
        // The oldest events go, up to and with the message that is too much; the last one stays.
        while self.bytes > self.most_bytes && self.messages.len() > 1 {
            let Some((oldest, _)) = self.messages.front().copied() else { return };
            let left = usize::try_from(self.next - (oldest + 1)).unwrap_or(usize::MAX);
            self.sender.set_capacity(left.clamp(1, self.most));
            self.sender.set_capacity(self.most);
            self.forget_before(oldest + 1);
        }
    }

    /// Events before this one do not wait any more.
    fn forget_before(&mut self, number: u64) {
        while let Some((_, bytes)) = self.messages.front().filter(|(message, _)| *message < number) {
            self.bytes -= bytes;
            self.messages.pop_front();
        }
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
