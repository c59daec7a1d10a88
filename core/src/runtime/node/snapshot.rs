//! How a node stands.

use std::net::SocketAddr;
use std::prelude::v1::*;
use std::sync::Arc;
use std::time::Duration;

use crate::node::{LinkId, NodeStats, PeerState, PeerStatus};
use crate::{HandshakeStats, Stats};

use super::state::Inner;
use crate::runtime::Runtime;
use crate::runtime::link::Link;
use crate::runtime::peer::{Direction, PeerInfo};
use crate::runtime::sync::timeout_at;

/// How long a link has to tell its figures.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a node and its peers stand at a moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeSnapshot {
    /// Counts since the node's start.
    pub stats: NodeStats,
    /// The handshakes of its links.
    pub handshakes: HandshakeStats,
    /// Links that there are, handshakes included.
    pub links: usize,
    /// Handshakes of others that are under way.
    pub inbound_handshakes: usize,
    /// Where it listens.
    pub listening: Vec<SocketAddr>,
    /// The peers of which there is anything to say, ascending by id.
    pub peers: Vec<PeerSnapshot>,
}

/// How one peer stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerSnapshot {
    /// What the node knows of it: state, queue, last error, last close.
    pub status: PeerStatus,
    /// The link that messages go to.
    pub link: Option<LinkSnapshot>,
}

/// How one link stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LinkSnapshot {
    /// Its number at this node.
    pub id: LinkId,
    /// The other end's address.
    pub remote: Option<SocketAddr>,
    /// Who dialled.
    pub direction: Direction,
    /// Since when it is established.
    pub since: std::time::Instant,
    /// Bytes that wait for the link's task, each message with its overhead.
    pub waiting: usize,
    /// Its figures; `None` if the link did not tell them within a second, because a handler blocks its
    /// thread.
    pub stats: Option<Stats>,
    /// The peer, and what was agreed on with it.
    pub peer: Arc<PeerInfo>,
}

pub(super) async fn take<R: Runtime>(inner: &Inner<R>) -> NodeSnapshot {
    let (mut snapshot, links) = inner.look(|state| {
        let statuses: Vec<_> = state.node.statuses().collect();
        let links: Vec<Option<Link<R>>> = statuses
            .iter()
            .map(|status| match status.state {
                PeerState::Linked { link, .. } => state.link(link).cloned(),
                _ => None,
            })
            .collect();
        let (total, inbound_handshakes) = state.node.link_counts();
        let snapshot = NodeSnapshot {
            stats: state.node.stats(),
            handshakes: inner.config.handshakes(),
            links: total,
            inbound_handshakes,
            listening: state.addresses.clone(),
            peers: statuses.into_iter().map(|status| PeerSnapshot { status, link: None }).collect(),
        };
        (snapshot, links)
    });
    // All are asked first, and have one time together: a link that does not answer costs no other one's word.
    let links: Vec<_> = links.into_iter().map(|link| link.map(|link| (link.ask_stats(), link))).collect();
    let patience = R::now() + PATIENCE;
    for (peer, link) in snapshot.peers.iter_mut().zip(links) {
        let (Some((stats, link)), PeerState::Linked { link: id, since, .. }) = (link, &peer.status.state)
        else {
            continue;
        };
        let info = link.shared_peer();
        peer.link = Some(LinkSnapshot {
            id: *id,
            remote: info.remote,
            direction: info.direction,
            since: inner.clock.to_std(*since),
            waiting: link.waiting_bytes(),
            stats: timeout_at::<R, _>(patience, link.told_stats(stats)).await,
            peer: info,
        });
    }
    snapshot
}
