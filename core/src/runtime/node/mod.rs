//! A node: all links of one identity, kept by what the protocol's control plane decides.

mod builder;
mod error;
mod events;
mod peer;
mod registry;
mod slot;
mod snapshot;
mod state;
mod supervisor;
mod trust;

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::prelude::v1::*;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::hello::DialAddress;
use crate::node::adverts::{Advert, AdvertError};
use crate::{Envelope, Instant, NodeId, Signer};

pub use builder::NodeBuilder;
pub use error::{NoLink, NotSent, StartError, WhyNotSent};
pub use events::{Events, Missed};
pub use peer::{Delivery, Peer};
pub use registry::{PeerRegistry, RegistryFuture};
pub(crate) use slot::Slot;
pub use snapshot::{LinkSnapshot, NodeSnapshot, PeerSnapshot};
pub(crate) use state::Member;
use state::{Inner, Stop};
use supervisor::Task;
pub use trust::TrustError;

use super::Runtime;
use super::services::Services;
use super::sync::timeout_at;

/// A deadline that the system's clock does not reach is as good as this one.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long a node takes to end that nobody holds any more.
const ABANDONED: Duration = Duration::from_secs(1);

/// A node: one identity, its listeners, its peers, and at most one live link to each of them.
///
/// Clones are handles to the same node. Everything that it does runs in tasks of its own, which end with it:
/// by [`shutdown`](Self::shutdown) in good order, and **when the last handle is dropped at once**, as by
/// [`Link::close`](crate::runtime::Link::close) on all links. A [`Peer`], an [`Events`] or a
/// [`Link`](crate::runtime::Link) does not keep a node running, and once it has ended keeps neither its signer
/// nor its services in memory. A handle that a service's handler captures would keep it running for ever, since
/// the node owns its services: give a handler a [`Peer`] or a [`WeakNode`].
pub struct Node<R: Runtime>(Arc<Handle<R>>);

impl<R: Runtime> Clone for Node<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What the handles of a node have in common. Without it the node ends.
struct Handle<R: Runtime>(Arc<Inner<R>>);

impl<R: Runtime> Drop for Handle<R> {
    fn drop(&mut self) {
        stop(&self.0, Stop { deadline: R::now() + ABANDONED, gently: false });
    }
}

/// The first word counts.
fn stop<R: Runtime>(inner: &Inner<R>, stop: Stop) {
    inner.change(|state| state.stop.get_or_insert(stop).deadline);
    inner.wake.ring();
}

/// A handle that does not keep its node running.
pub struct WeakNode<R: Runtime>(Weak<Handle<R>>);

impl<R: Runtime> Clone for WeakNode<R> {
    fn clone(&self) -> Self {
        Self(Weak::clone(&self.0))
    }
}

impl<R: Runtime> Default for WeakNode<R> {
    fn default() -> Self {
        Self(Weak::new())
    }
}

impl<R: Runtime> WeakNode<R> {
    /// The node, if there is still a handle to it.
    pub fn upgrade(&self) -> Option<Node<R>> {
        self.0.upgrade().map(Node)
    }
}

impl<R: Runtime> fmt::Debug for WeakNode<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakNode")
    }
}

impl<R: Runtime> fmt::Debug for Node<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner().look(|state| state.node.fmt(f))
    }
}

impl<R: Runtime> Node<R> {
    /// Starts the description of the node that `signer` speaks for: a key, for instance from
    /// [`keyfile`](crate::identity::keyfile), or an agent's.
    pub fn builder(signer: impl Signer + 'static) -> NodeBuilder<R> {
        NodeBuilder::new(signer)
    }

    fn inner(&self) -> &Arc<Inner<R>> {
        &self.0.0
    }

    /// The node's own id.
    pub fn id(&self) -> NodeId {
        self.inner().id
    }

    /// The time on the node's clock, which begins at zero with the node: that of
    /// [`Message::expires`](crate::Message::expires), of
    /// [`PeerState`](crate::node::PeerState) and of all its links.
    pub fn now(&self) -> Instant {
        self.inner().clock.now()
    }

    /// A handle that does not keep the node running.
    pub fn downgrade(&self) -> WeakNode<R> {
        WeakNode(Arc::downgrade(&self.0))
    }

    /// What the node offers to its peers: change it as you like while links live.
    pub fn services(&self) -> &Services<R> {
        &self.inner().services
    }

    /// Listens on one more address, `host:port`; gives the address with the port that the system chose in
    /// place of 0. Of several addresses that a name has, the first that can be bound is. Cancel-safe: a
    /// dropped future listens on nothing.
    ///
    /// On `[::]` IPv4 connections come in as well where the system's default is so: on Linux unless
    /// `net.ipv6.bindv6only` is set, on macOS and FreeBSD, not on Windows and OpenBSD. There, listen on
    /// `0.0.0.0` as well.
    ///
    /// # Errors
    /// [`StartError::Listen`], and [`StartError::Ended`] after the node's end.
    pub async fn listen(&self, address: impl Display) -> Result<SocketAddr, StartError> {
        let address = address.to_string();
        let listener = bind::<R>(&address).await?;
        if self.inner().look(|state| state.stop.is_some()) {
            return Err(StartError::Ended);
        }
        listen_on(self.inner(), listener).map_err(|error| StartError::Listen { address, error })
    }

    /// The addresses that the node listens on, in the order in which that began.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.inner().look(|state| state.addresses.clone())
    }

    /// A handle to a peer. It costs nothing and dials nobody.
    pub fn peer(&self, id: NodeId) -> Peer<R> {
        Peer::new(self.inner(), id)
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        self.inner().events()
    }

    /// Trusts a peer from now on, for `time` if that is given; true if that changes anything.
    ///
    /// Under [`Trust::Listed`](crate::Trust::Listed) the peer is added to the list; otherwise only a
    /// revocation of it is taken back. Where there is a [trust file](NodeBuilder::trust_file) it is written
    /// there first, with times of whole seconds; the peer keeps the label that it has. Changes are made in the
    /// order in which their futures were first polled, and one that a later revocation of the peer has
    /// overtaken comes to nothing: false. Cancel-safe: once begun, the change is made, also if the future is
    /// dropped.
    ///
    /// # Errors
    /// [`TrustError`] if the trust file could not be changed; the peer is trusted as before then. Never
    /// without such a file.
    pub async fn trust(&self, peer: NodeId, time: Option<Duration>) -> Result<bool, TrustError> {
        trust::trust(self.inner(), peer, time).await
    }

    /// Trusts a peer no longer: its links end at once with [`Reason::Revoked`](crate::Reason::Revoked), it
    /// is not dialled again, and what waits for it is given up. True if it was trusted.
    ///
    /// Where there is a [trust file](NodeBuilder::trust_file) the peer is taken off it afterwards.
    /// Cancel-safe: the revocation holds as soon as the future is polled, until the peer is trusted by a later
    /// call, and is written also if it is dropped then.
    ///
    /// # Errors
    /// [`TrustError`] if the trust file could not be changed: the peer is revoked, until it is trusted by
    /// [`trust`](Self::trust), but again trusted after a restart if the file lists it then. Never without
    /// such a file.
    pub async fn revoke(&self, peer: NodeId) -> Result<bool, TrustError> {
        trust::revoke(self.inner(), peer).await
    }

    /// Whether a peer is trusted at the moment.
    pub fn is_trusted(&self, peer: NodeId) -> bool {
        self.inner().look(|state| state.node.is_trusted(peer))
    }

    /// Says where this node can be dialled: in hellos, and by an advert that the node signs and that all peers
    /// with a link get, now or later. They dial it only if their policy has
    /// [`dial_back`](crate::node::NodePolicy::dial_back).
    ///
    /// The signer is asked for a signature in this call, which takes as long as that does; the node goes on
    /// meanwhile. Of several calls at a time the one that ends last counts.
    ///
    /// # Errors
    /// [`AdvertError`] for the first thing that is wrong; then all stays as it was.
    pub fn advertise(&self, addresses: Vec<DialAddress>) -> Result<(), AdvertError> {
        let (inner, created) = (self.inner(), R::today().into());
        let mut content = inner.look(|state| state.node.advert_content(addresses, created));
        loop {
            // Not under the node's lock: a signer may take its time, and ask the node.
            let advert = Advert::sign(content.clone(), &*inner.config.signer)?;
            if inner.act(|state, _| state.node.set_advert(advert)) {
                return Ok(());
            }
            // Another call has come in between: this one is later, and its advert the newer one.
            content = inner.look(|state| state.node.advert_content(content.addresses, created));
        }
    }

    /// How the node and all its peers stand. Asks each link for its figures and waits at most a second for
    /// them. Cancel-safe.
    pub async fn snapshot(&self) -> NodeSnapshot {
        snapshot::take(self.inner()).await
    }

    /// Ends the node in good order: takes no connections, dials nobody, says goodbye on all links, lets calls
    /// under way finish, and ends all tasks, handlers among them. Whatever has not ended shortly before
    /// `deadline` is closed and dropped. Gives the messages that were not delivered, to whoever asks first.
    ///
    /// Takes `deadline` at most. Cancel-safe: the shutdown goes on when the future is dropped. Of several
    /// shutdowns the first one's deadline counts.
    pub async fn shutdown(&self, deadline: Duration) -> Vec<(NodeId, Envelope)> {
        let now = R::now();
        let deadline = now.checked_add(deadline).unwrap_or(now + FAR);
        stop(self.inner(), Stop { deadline, gently: true });
        // A supervisor that cannot run, because its thread is blocked, does not delay this.
        let _ = timeout_at::<R, _>(deadline, self.closed()).await;
        self.inner().act(|state, _| {
            let mut leftover = std::mem::take(&mut state.leftover);
            leftover.extend(state.node.take_leftover());
            leftover
        })
    }

    /// Waits until the node has ended. Cancel-safe.
    pub async fn closed(&self) {
        self.inner().closed().await;
    }
}

async fn bind<R: Runtime>(address: &str) -> Result<R::TcpListener, StartError> {
    let bound = super::bind::<R>(address).await;
    bound.map_err(|error| StartError::Listen { address: address.to_owned(), error })
}

fn listen_on<R: Runtime>(inner: &Arc<Inner<R>>, listener: R::TcpListener) -> std::io::Result<SocketAddr> {
    let address = R::local_addr(&listener)?;
    inner.change(|state| state.addresses.push(address));
    inner.run(Task::Listener(Box::pin(supervisor::listen(Arc::clone(inner), listener))));
    Ok(address)
}
