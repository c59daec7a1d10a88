//! A node: all links of one identity, kept by what the protocol's control plane decides.

mod builder;
mod error;
mod events;
mod peer;
mod registry;
mod snapshot;
mod state;
mod supervisor;
mod trust;

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use handclasp::hello::DialAddress;
use handclasp::node::adverts::AdvertError;
use handclasp::{Envelope, NodeId, Signer};
use tokio::net::{TcpListener, lookup_host};

pub use builder::NodeBuilder;
pub use error::{NoLink, NotSent, StartError, WhyNotSent};
pub use events::{Events, Missed};
pub use peer::{Delivery, Peer};
pub use registry::{PeerRegistry, RegistryFuture};
pub use snapshot::{LinkSnapshot, NodeSnapshot, PeerSnapshot};
use state::{Inner, Stop};
pub(crate) use state::{Member, Slot};
use supervisor::Task;
pub use trust::TrustError;

use crate::services::Services;

/// A deadline that the system's clock does not reach is as good as this one.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long a node takes to end that nobody holds any more.
const ABANDONED: Duration = Duration::from_secs(1);

/// A node: one identity, its listeners, its peers, and at most one live link to each of them.
///
/// Clones are handles to the same node. Everything that it does runs in tasks of its own, which end with it:
/// by [`shutdown`](Self::shutdown) in good order, and **when the last handle is dropped at once**, as by
/// [`Link::close`](crate::Link::close) on all links. A [`Peer`], an [`Events`] or a [`Link`](crate::Link) does
/// not keep a node running. A handle that a service's handler captures would keep it running for ever, since
/// the node owns its services: give a handler a [`Peer`] or a [`WeakNode`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use handclasp::node::Permanence;
/// use handclasp::{SecretKey, Signer, Trust};
/// use handclasp_tokio::{Allow, Node, Services, random_seed};
///
/// let (anna, ben) = (SecretKey::from_seed(&random_seed()), SecretKey::from_seed(&random_seed()));
/// let (anna_id, ben_id) = (anna.node_id(), ben.node_id());
///
/// let services = Services::new().serve("echo", Allow::Anyone, |request| async move { Ok(request.body) });
/// let ben = Node::builder(ben).trust(Trust::listed([anna_id])).services(&services).listen("127.0.0.1:0");
/// let ben = ben.start().await?;
///
/// let anna = Node::builder(anna)
///     .config(|config| config.name("anna"))
///     .trust(Trust::listed([ben_id]))
///     .peer(ben_id, [ben.local_addrs()[0]], Permanence::Ephemeral)
///     .start()
///     .await?;
/// assert_eq!(anna.peer(ben_id).call("echo", "hello").await?, "hello");
/// # let wait = std::time::Duration::from_secs(5);
/// assert!(anna.shutdown(wait).await.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Node(Arc<Handle>);

/// What the handles of a node have in common. Without it the node ends.
struct Handle(Arc<Inner>);

impl Drop for Handle {
    fn drop(&mut self) {
        stop(&self.0, Stop { deadline: Instant::now() + ABANDONED, gently: false });
    }
}

/// The first word counts.
fn stop(inner: &Inner, stop: Stop) {
    inner.change(|state| state.stop.get_or_insert(stop).deadline);
    inner.wake.notify_one();
}

/// A handle that does not keep its node running.
#[derive(Clone, Default)]
pub struct WeakNode(Weak<Handle>);

impl WeakNode {
    /// The node, if there is still a handle to it.
    pub fn upgrade(&self) -> Option<Node> {
        self.0.upgrade().map(Node)
    }
}

impl fmt::Debug for WeakNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakNode")
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner().look(|state| state.node.fmt(f))
    }
}

impl Node {
    /// Starts the description of the node that `signer` speaks for: a key, for instance from
    /// [`keyfile`](handclasp::identity::keyfile), or an agent's.
    pub fn builder(signer: impl Signer + 'static) -> NodeBuilder {
        NodeBuilder::new(signer)
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.0.0
    }

    /// The node's own id.
    pub fn id(&self) -> NodeId {
        self.inner().id
    }

    /// A handle that does not keep the node running.
    pub fn downgrade(&self) -> WeakNode {
        WeakNode(Arc::downgrade(&self.0))
    }

    /// What the node offers to its peers: change it as you like while links live.
    pub fn services(&self) -> &Services {
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
        let listener = bind(&address).await?;
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
    pub fn peer(&self, id: NodeId) -> Peer {
        Peer::new(self.inner(), id)
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        self.inner().events()
    }

    /// Trusts a peer from now on, for `time` if that is given; true if that changes anything.
    ///
    /// Under [`Trust::Listed`](handclasp::Trust::Listed) the peer is added to the list; otherwise only a
    /// revocation of it is taken back. Where there is a [trust file](NodeBuilder::trust_file) it is written
    /// there first, with times of whole seconds; the peer keeps the label that it has. Cancel-safe: once
    /// begun, the change is made, also if the future is dropped.
    ///
    /// # Errors
    /// [`TrustError`] if the trust file could not be changed; the peer is trusted as before then. Never
    /// without such a file.
    pub async fn trust(&self, peer: NodeId, time: Option<Duration>) -> Result<bool, TrustError> {
        trust::trust(self.inner(), peer, time).await
    }

    /// Trusts a peer no longer: its links end at once with [`Reason::Revoked`](handclasp::Reason::Revoked), it
    /// is not dialled again, and what waits for it is given up. True if it was trusted.
    ///
    /// Where there is a [trust file](NodeBuilder::trust_file) the peer is taken off it afterwards.
    /// Cancel-safe: the revocation holds as soon as the future is polled, and is written also if it is
    /// dropped then.
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
    /// [`dial_back`](handclasp::node::NodePolicy::dial_back).
    ///
    /// # Errors
    /// [`AdvertError`] for the first thing that is wrong; then all stays as it was.
    pub fn advertise(&self, addresses: Vec<DialAddress>) -> Result<(), AdvertError> {
        let created = SystemTime::now().into();
        self.inner().act(|state, _| state.node.advertise(addresses, created))
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
        let now = Instant::now();
        let deadline = now.checked_add(deadline).unwrap_or(now + FAR);
        stop(self.inner(), Stop { deadline, gently: true });
        // A supervisor that cannot run, because its thread is blocked, does not delay this.
        let _ = tokio::time::timeout_at(deadline.into(), self.closed()).await;
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

async fn bind(address: &str) -> Result<TcpListener, StartError> {
    let bound = async {
        let addresses: Vec<_> = lookup_host(address).await?.collect();
        TcpListener::bind(&*addresses).await
    };
    bound.await.map_err(|error| StartError::Listen { address: address.to_owned(), error })
}

fn listen_on(inner: &Arc<Inner>, listener: TcpListener) -> std::io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    inner.change(|state| state.addresses.push(address));
    inner.run(Task::Listener(Box::pin(supervisor::listen(Arc::clone(inner), listener))));
    Ok(address)
}
