//! What a node brings to each of its links.

mod counters;
mod error;
mod streams;
mod worst_case;

pub use counters::HandshakeStats;
pub use error::ConfigError;
pub use streams::StreamLimits;
pub use worst_case::WorstCase;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;

use zeroize::Zeroizing;

use self::counters::Counters;
use crate::crypto::{CryptoProvider, RustCrypto, Secret, Suite, SuiteSet};
use crate::hello::{Capability, DialAddress, Hello, Limits, VersionRange};
use crate::identity::{NodeId, Signer};
use crate::signed::{Judge, SignedPolicy};

/// The longest network id in bytes.
const MAX_NETWORK: usize = 255;

/// Everything that the links of one node have in common. Build it once with [`Config::builder`] and share it.
pub struct Config {
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) provider: Arc<dyn CryptoProvider>,
    pub(crate) trust: Trust,
    pub(crate) network: Vec<u8>,
    pub(crate) psks: Vec<Secret<32>>,
    pub(crate) suites: SuiteSet,
    pub(crate) hello: Hello,
    pub(crate) timing: Timing,
    pub(crate) rekey: RekeyPolicy,
    pub(crate) padding: Padding,
    pub(crate) send_buffer: usize,
    pub(crate) streams: StreamLimits,
    pub(crate) signed: Option<Arc<dyn Judge>>,
    /// Shared with the configuration of a link that is recorded.
    counters: Arc<Counters>,
}

impl Config {
    /// Starts a configuration for the node that `signer` speaks for.
    ///
    /// `incarnation` is a random number, fresh at each start of the process: peers tell by it that a node has
    /// been restarted. Draw it from the operating system's randomness.
    pub fn builder(signer: impl Signer + 'static, incarnation: u64) -> ConfigBuilder {
        ConfigBuilder {
            signer: Arc::new(signer),
            provider: Arc::new(RustCrypto),
            trust: Trust::listed([]),
            network: Vec::new(),
            secrets: Vec::new(),
            hello: Hello::new(VersionRange::only(1), SuiteSet::EMPTY, incarnation, 0),
            capabilities: Vec::new(),
            info: Vec::new(),
            timing: Timing::default(),
            rekey: RekeyPolicy::default(),
            padding: Padding::None,
            send_buffer: 1 << 20,
            streams: StreamLimits::default(),
            signed: None,
        }
    }

    /// The node's own id.
    pub fn node_id(&self) -> NodeId {
        self.signer.node_id()
    }

    /// How many handshakes there were so far. The figures of a moment: handshakes under way are `started`
    /// only.
    pub fn handshakes(&self) -> HandshakeStats {
        self.counters.handshakes()
    }

    /// The next link sequence. Peers compare only numbers of one incarnation, which is this configuration's.
    #[cfg(feature = "runtime")]
    pub(crate) fn next_sequence(&self) -> u64 {
        self.counters.sequence.fetch_add(1, Relaxed) as u64 + 1
    }

    pub(crate) fn note_start(&self) {
        self.counters.started.fetch_add(1, Relaxed);
    }

    pub(crate) fn note_established(&self) {
        self.counters.completed.fetch_add(1, Relaxed);
    }

    pub(crate) fn note_failure(&self) {
        self.counters.failed.fetch_add(1, Relaxed);
    }

    /// The same with another signer, provider and judge, and the same counts: for a link that is recorded.
    #[cfg(feature = "recording")]
    pub(crate) fn with_taps(
        &self,
        signer: Arc<dyn Signer>,
        provider: Arc<dyn CryptoProvider>,
        judge: Option<Arc<dyn Judge>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            signer,
            provider,
            trust: self.trust.clone(),
            network: self.network.clone(),
            psks: self.psks.clone(),
            suites: self.suites,
            hello: self.hello.clone(),
            timing: self.timing.clone(),
            rekey: self.rekey.clone(),
            padding: self.padding,
            send_buffer: self.send_buffer,
            streams: self.streams,
            signed: judge,
            counters: Arc::clone(&self.counters),
        })
    }

    /// The deadlines in force.
    pub const fn timing(&self) -> &Timing {
        &self.timing
    }

    /// The limits that the node offers.
    pub const fn limits(&self) -> &Limits {
        &self.hello.limits
    }

    /// What the node takes of byte streams.
    pub const fn streams(&self) -> &StreamLimits {
        &self.streams
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("node_id", &self.node_id())
            .field("provider", &self.provider.name())
            .field("trust", &self.trust)
            .field("suites", &self.suites)
            .field("hello", &self.hello)
            .field("timing", &self.timing)
            .field("rekey", &self.rekey)
            .finish_non_exhaustive()
    }
}

/// Which peers a node links with. The default is an empty list: nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// Only these. An id off the list is refused before its signature is even checked. An initiator that
    /// names the peer it dials ([`Dial::to`](crate::Dial::to)) trusts that one for that link, listed or
    /// not.
    Listed(Arc<BTreeSet<NodeId>>),
    /// Everyone who proves an id.
    Anyone,
    /// The application decides for each peer that has proved its id:
    /// [`Event::Identified`](crate::Event::Identified) asks, `admit` or `refuse` answers.
    Ask,
}

impl Trust {
    /// Trust in the peers `ids` and nobody else.
    pub fn listed(ids: impl IntoIterator<Item = NodeId>) -> Self {
        Self::Listed(Arc::new(ids.into_iter().collect()))
    }
}

/// A secret that all nodes of a cluster share; without it no key exchange with them succeeds.
///
/// It is mixed into the key exchange and never sent. Who records a handshake can try guesses against it
/// offline, so it must not be guessable: at least 16 bytes, best 32 random ones; not a password.
#[derive(Clone)]
pub struct ClusterSecret(Zeroizing<Vec<u8>>);

impl ClusterSecret {
    /// The shortest secret in bytes.
    pub const MIN_LEN: usize = 16;

    /// Takes over `bytes`.
    ///
    /// # Errors
    /// [`ConfigError::ShortSecret`] below [`MIN_LEN`](Self::MIN_LEN) bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, ConfigError> {
        let bytes = Zeroizing::new(bytes.into());
        if bytes.len() < Self::MIN_LEN {
            return Err(ConfigError::ShortSecret { length: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// The psk of a network (docs/wire.md §3.2).
    fn psk(&self, provider: &dyn CryptoProvider, network: &[u8]) -> Result<Secret<32>, ConfigError> {
        let mut psk = Secret::default();
        provider
            .hkdf_sha256(b"handclasp/1 cluster secret", &self.0, &[network], psk.expose_mut())
            .map_err(ConfigError::Provider)?;
        Ok(psk)
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(…)")
    }
}

/// How long a link waits, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Each step of the handshake. Default 7 s.
    pub step: Duration,
    /// The whole handshake. Default 30 s.
    pub handshake: Duration,
    /// A stream that takes no bytes is given up after this. Default 30 s.
    pub stall: Duration,
    /// The drain after a goodbye. Default 5 s.
    pub drain: Duration,
    /// The last bytes of a link that ends at once. Default 1 s.
    pub flush: Duration,
    /// From a link's establishment until each side that [holds](ConfigBuilder::hold_ready) it has said that it
    /// is ready. Default 30 s.
    pub ready: Duration,
    /// If set, a link without application traffic for this long says goodbye by itself. Default: none.
    pub ephemeral: Option<Duration>,
}

impl Timing {
    fn check(&self) -> Result<(), ConfigError> {
        let fields = [
            ("step", self.step),
            ("handshake", self.handshake),
            ("stall", self.stall),
            ("drain", self.drain),
            ("flush", self.flush),
            ("ready", self.ready),
            ("ephemeral", self.ephemeral.unwrap_or(Duration::MAX)),
        ];
        match fields.into_iter().find(|(_, value)| *value < Duration::from_millis(1)) {
            Some((field, _)) => Err(ConfigError::ShortTiming { field }),
            None => Ok(()),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            step: Duration::from_secs(7),
            handshake: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            flush: Duration::from_secs(1),
            ready: Duration::from_secs(30),
            ephemeral: None,
        }
    }
}

/// When a sender changes its key. Whichever comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RekeyPolicy {
    /// After this many records. Default 2²⁰.
    pub records: u64,
    /// After this many bytes of plaintext. Default 1 GiB.
    pub bytes: u64,
    /// With the first record after this time. Default 15 minutes.
    pub age: Duration,
}

impl Default for RekeyPolicy {
    fn default() -> Self {
        Self { records: 1 << 20, bytes: 1 << 30, age: Duration::from_secs(15 * 60) }
    }
}

/// How records hide the length of what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Padding {
    /// Not at all.
    #[default]
    None,
    /// Up to the next multiple of so many bytes.
    Block(u16),
    /// By Padmé: at most 12 % more, and the length leaks O(log log n) bits.
    Padme,
}

/// Collects a [`Config`]; made by [`Config::builder`].
#[must_use = "a builder does nothing until `build`"]
pub struct ConfigBuilder {
    signer: Arc<dyn Signer>,
    provider: Arc<dyn CryptoProvider>,
    trust: Trust,
    network: Vec<u8>,
    secrets: Vec<ClusterSecret>,
    hello: Hello,
    capabilities: Vec<Capability>,
    info: Vec<(String, Box<[u8]>)>,
    timing: Timing,
    rekey: RekeyPolicy,
    padding: Padding,
    send_buffer: usize,
    streams: StreamLimits,
    signed: Option<SignedPolicy>,
}

impl fmt::Debug for ConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigBuilder").field("hello", &self.hello).finish_non_exhaustive()
    }
}

impl ConfigBuilder {
    /// Which peers the node links with. Default: nobody.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// The cryptography, instead of [`RustCrypto`].
    pub fn provider(mut self, provider: impl CryptoProvider + 'static) -> Self {
        self.provider = Arc::new(provider);
        self
    }

    /// The network id: links form only between nodes of the same one. At most 255 bytes; it is no secret.
    pub fn network(mut self, network: impl Into<Vec<u8>>) -> Self {
        self.network = network.into();
        self
    }

    /// Adds a cluster secret. The first one added is the one that this node dials with; the others are
    /// accepted beside it, so that a secret can be changed node by node: add the new one behind the old
    /// everywhere, then put it first everywhere, then take the old one away.
    pub fn cluster_secret(mut self, secret: ClusterSecret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// The node's name: a label for people, authenticated, the key of nothing. 1–255 bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.hello.name = Some(name.into());
        self
    }

    /// The id of the application's protocol; a peer that names another one is refused. 1–255 bytes.
    pub fn protocol(mut self, protocol: impl Into<Box<[u8]>>) -> Self {
        self.hello.protocol = Some(protocol.into());
        self
    }

    /// The versions of the application's protocol that the node takes. Default `1..=1`.
    pub fn versions(mut self, versions: VersionRange) -> Self {
        self.hello.versions = versions;
        self
    }

    /// Adds a capability.
    pub fn capability(mut self, capability: Capability) -> Self {
        self.capabilities.push(capability);
        self
    }

    /// Adds an info pair. Keys are 1–255 bytes and unique.
    pub fn info(mut self, key: impl Into<String>, value: impl Into<Box<[u8]>>) -> Self {
        self.info.push((key.into(), value.into()));
        self
    }

    /// Adds an address that the node can be dialled at.
    pub fn address(mut self, weight: u16, address: impl Into<String>) -> Self {
        self.hello.addresses.push(DialAddress { weight, address: address.into() });
        self
    }

    /// Holds each link, once it is established, until the application says that it is
    /// [ready](crate::Link::ready): both sides learn by [`Event::Ready`](crate::Event::Ready) that each that
    /// holds has said so, and the link ends if one does not within [`Timing::ready`]. Messages flow
    /// meanwhile. Default: not held.
    pub fn hold_ready(mut self) -> Self {
        self.hello.hold = true;
        self
    }

    /// The limits that the node offers; a link has the smaller of both sides' for each.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.hello.limits = limits;
        self
    }

    /// The deadlines.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// When keys change.
    pub fn rekey(mut self, rekey: RekeyPolicy) -> Self {
        self.rekey = rekey;
        self
    }

    /// How records are padded. Default: not.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Bytes that may wait to be sealed in one link before `send` says that it is full: a quarter of them for each
    /// priority ([`Link::send_space`](crate::Link::send_space)). One message is always taken. The streams of a link
    /// have as much again, all together. Default 1 MiB.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// What the node takes of byte streams on each link, and opens. [`StreamLimits::NONE`] is none at all.
    pub fn streams(mut self, streams: StreamLimits) -> Self {
        self.streams = streams;
        self
    }

    /// Which [signed messages](crate::signed) the node takes, and whether it relays those of others. Default: none
    /// are taken.
    pub fn signed(mut self, policy: SignedPolicy) -> Self {
        self.signed = Some(policy);
        self
    }

    /// Checks and completes the configuration.
    ///
    /// # Errors
    /// [`ConfigError`] names what is out of its range.
    pub fn build(self) -> Result<Arc<Config>, ConfigError> {
        self.timing.check()?;
        if self.network.len() > MAX_NETWORK {
            return Err(ConfigError::LongNetwork { length: self.network.len() });
        }
        let mut suites = SuiteSet::EMPTY;
        for suite in Suite::ALL {
            if suite.has_psk() != self.secrets.is_empty() && self.provider.suites().contains(suite) {
                suites = suites.with(suite);
            }
        }
        if suites.strongest().is_none() {
            return Err(ConfigError::NoSuite);
        }
        let mut hello = self.hello.with_capabilities(self.capabilities)?.with_info(self.info)?;
        hello.suites = suites;
        self.streams.check()?;
        hello.streams = self.streams.offer();
        // A link may add its destination to the hello: leave room for it.
        hello.destination = Some([0; 32]);
        hello.check()?;
        hello.destination = None;
        let psks = self.secrets.iter().map(|secret| secret.psk(&*self.provider, &self.network));
        let psks = psks.collect::<Result<_, _>>()?;
        Ok(Arc::new(Config {
            signer: self.signer,
            provider: self.provider,
            trust: self.trust,
            network: self.network,
            psks,
            suites,
            hello,
            timing: self.timing,
            rekey: self.rekey,
            padding: self.padding,
            send_buffer: self.send_buffer,
            streams: self.streams,
            signed: self.signed.map(|policy| Arc::new(policy) as Arc<dyn Judge>),
            counters: Arc::default(),
        }))
    }
}
