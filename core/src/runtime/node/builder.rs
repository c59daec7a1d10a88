//! What a node is started with.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::prelude::v1::*;
use std::sync::Arc;
use std::time::Duration;

use crate::hello::DialAddress;
use crate::node::{Node as Core, NodePolicy, Permanence, Registry};
use crate::{Config, ConfigBuilder, NodeId, Signer, Timing, Trust};

use super::error::StartError;
use super::registry::{Keeping, PeerRegistry, write_all};
use super::state::Inner;
use super::supervisor::{Task, supervise};
use super::trust::{Book, watch};
use super::{Handle, Node, bind, listen_on};
use crate::runtime::Runtime;
use crate::runtime::clock::{Clock, incarnation, random_seed};
use crate::runtime::services::Services;

/// After this long without application traffic an ephemeral link of a node ends.
const EPHEMERAL: Duration = Duration::from_secs(300);

/// Describes a node; made by [`Node::builder`].
#[must_use = "a builder does nothing until `start`"]
pub struct NodeBuilder<R> {
    config: ConfigBuilder,
    trust: Trust,
    trust_file: Option<PathBuf>,
    trust_reload: Duration,
    policy: NodePolicy,
    services: Services<R>,
    registry: Option<Arc<dyn PeerRegistry>>,
    listen: Vec<String>,
    peers: Vec<(NodeId, Vec<DialAddress>, Permanence)>,
    events: usize,
}

impl<R> fmt::Debug for NodeBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

pub(super) fn addresses(addresses: impl IntoIterator<Item = impl Display>) -> Vec<DialAddress> {
    let address = |address: _| DialAddress { weight: 1, address: ToString::to_string(&address) };
    addresses.into_iter().map(address).collect()
}

impl<R: Runtime> NodeBuilder<R> {
    pub(super) fn new(signer: impl Signer + 'static) -> Self {
        let timing = Timing { ephemeral: Some(EPHEMERAL), ..Timing::default() };
        Self {
            config: Config::builder(signer, incarnation::<R>()).timing(timing),
            trust: Trust::listed([]),
            trust_file: None,
            trust_reload: Duration::from_secs(1),
            policy: NodePolicy::default(),
            services: Services::new(),
            registry: None,
            listen: Vec::new(),
            peers: Vec::new(),
            events: 1024,
        }
    }

    /// What concerns each link: name, network, cluster secret, protocol, versions, capabilities, limits,
    /// timing. All defaults are those of [`Config::builder`], but [`Timing::ephemeral`], which is 300 s; the
    /// incarnation is drawn. Trust is set by [`trust`](Self::trust).
    pub fn config(mut self, change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Self {
        self.config = change(self.config);
        self
    }

    /// Which peers the node links with, whoever dials. Default: nobody. Takes the place of a
    /// [`trust_file`](Self::trust_file) given before.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self.trust_file = None;
        self
    }

    /// The node links with the peers that this file lists: a line for each, which begins with its id
    /// (docs/trust-file.md has the format). In place of [`trust`](Self::trust) given before.
    ///
    /// What changes in the file holds when it is looked at next, each second or as
    /// [`trust_reload`](Self::trust_reload) says; a file with a mistake in it changes nothing, and is
    /// told of in the log as `trust_file_refused`. [`Node::trust`] and [`Node::revoke`] write to it. A file
    /// that does not exist lists nobody.
    pub fn trust_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust = Trust::listed([]);
        self.trust_file = Some(path.into());
        self
    }

    /// The pause between two looks whether the trust file has changed, at least 10 ms: less is taken for that.
    /// Default 1 s.
    pub fn trust_reload(mut self, every: Duration) -> Self {
        self.trust_reload = every;
        self
    }

    /// How the node deals with its peers.
    pub fn policy(mut self, policy: NodePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// What the node offers on all its links, and by [`Services::admit`] whom it takes under [`Trust::Ask`].
    pub fn services(mut self, services: &Services<R>) -> Self {
        self.services = services.clone();
        self
    }

    /// Where it is kept what is known of peers, in place of the node's memory.
    pub fn registry(mut self, registry: impl PeerRegistry) -> Self {
        self.registry = Some(Arc::new(registry));
        self
    }

    /// Listens on an address from the start, as by [`Node::listen`]. May be given several times.
    pub fn listen(mut self, address: impl Display) -> Self {
        self.listen.push(address.to_string());
        self
    }

    /// Where a peer can be dialled, `host:port`, and whether its link is kept. It is dialled only if it is
    /// trusted as well. [`Peer`](super::Peer) has methods to change both.
    pub fn peer(
        mut self,
        id: NodeId,
        addresses: impl IntoIterator<Item = impl Display>,
        permanence: Permanence,
    ) -> Self {
        self.peers.push((id, self::addresses(addresses), permanence));
        self
    }

    /// How many events an [`Events`](super::Events) may be behind before it misses some. Default 1024. The
    /// messages in them have together at most the bytes of the policy's [`outbox`](NodePolicy::outbox),
    /// whatever their number.
    pub fn event_buffer(mut self, events: usize) -> Self {
        self.events = events;
        self
    }

    /// Starts the node: listens, and dials its permanent peers. Cancel-safe: a dropped future has started
    /// nothing.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    ///
    /// # Panics
    /// Where the runtime of `R` does not run, or the operating system has no randomness.
    pub async fn start(mut self) -> Result<Node<R>, StartError> {
        if self.registry.is_some() {
            self.policy.registry = Registry::External;
        } else if self.policy.registry == Registry::External {
            return Err(StartError::NoRegistry);
        }
        let asks = self.trust == Trust::Ask;
        let config = self.config.trust(self.trust).build()?;
        let mut book = None;
        if let Some(path) = self.trust_file {
            let opened = Book::open::<R>(&path, self.trust_reload).await;
            book = Some(opened.map_err(|error| StartError::Trust { path, error })?);
        }
        let mut listeners = Vec::new();
        for address in self.listen {
            listeners.push((bind::<R>(&address).await?, address));
        }
        // From here on nothing waits.
        let clock = Clock::start::<R>();
        let events = (self.events, self.policy.outbox);
        let node = Core::new(&config, self.policy, &random_seed::<R>(), clock.now());
        let keeping = Keeping::new(asks, self.registry);
        let inner = Inner::new(&config, node, &self.services, clock, (keeping, book), events);
        let handle = Node(Arc::new(Handle(Arc::clone(&inner))));
        R::spawn(supervise(Arc::clone(&inner)));
        if let Some(book) = &inner.book {
            book.apply(&inner);
            inner.run(Task::Helper(Box::pin(watch(Arc::clone(&inner)))));
        }
        for (listener, address) in listeners {
            listen_on(&inner, listener).map_err(|error| StartError::Listen { address, error })?;
        }
        inner.run(Task::Helper(Box::pin(write_all(Arc::clone(&inner)))));
        inner.act(|state, now| {
            for (peer, addresses, permanence) in self.peers {
                state.node.set_addresses(peer, addresses, now);
                state.node.set_permanence(peer, permanence, now);
            }
        });
        Ok(handle)
    }
}
