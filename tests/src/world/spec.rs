//! What a host of the world is made of.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use handclasp::ConfigBuilder;
use handclasp::node::NodePolicy;

/// Which cryptography the hosts of a world use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crypto {
    /// The worthless one: a handshake costs microseconds.
    #[default]
    Fast,
    /// The real one.
    Real,
}

/// Whom a host trusts when it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trusting {
    /// Those whom [`World::trust`](super::World::trust) names.
    #[default]
    Listed,
    /// Everyone who proves an id.
    Anyone,
    /// Everyone may ask; the application answers yes after a moment.
    Ask,
}

/// How an application answers calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// Each at once, with the body of the call.
    #[default]
    AtOnce,
    /// Some at once, some later, some with an error, some never.
    Mixed,
    /// None.
    Never,
}

/// A host: configuration, policy, clock.
#[derive(Clone)]
pub struct NodeSpec {
    pub(super) policy: NodePolicy,
    pub(super) config: Arc<dyn Fn(ConfigBuilder) -> ConfigBuilder + Send + Sync>,
    pub(super) trusting: Trusting,
    pub(super) answers: Answers,
    pub(super) holds: Option<Duration>,
    pub(super) send_buffer: usize,
    pub(super) offset: Duration,
    pub(super) rate: u32,
}

impl Default for NodeSpec {
    fn default() -> Self {
        Self {
            policy: NodePolicy::default(),
            config: Arc::new(|builder| builder),
            trusting: Trusting::default(),
            answers: Answers::default(),
            holds: None,
            send_buffer: 1 << 20,
            offset: Duration::from_secs(1),
            rate: 1_000_000,
        }
    }
}

impl NodeSpec {
    /// Default configuration and policy, an empty trust list, a clock that is right.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this policy.
    pub fn policy(mut self, policy: NodePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// With a configuration that is changed by `change` from the default.
    pub fn config(mut self, change: impl Fn(ConfigBuilder) -> ConfigBuilder + Send + Sync + 'static) -> Self {
        self.config = Arc::new(change);
        self
    }

    /// With this kind of trust.
    pub fn trusting(mut self, trusting: Trusting) -> Self {
        self.trusting = trusting;
        self
    }

    /// With an application that answers calls like this.
    pub fn answers(mut self, answers: Answers) -> Self {
        self.answers = answers;
        self
    }

    /// With links that take so many bytes before they are full; in place of what the configuration says.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// With links that are held until the application is ready, up to `most` after it has heard of one.
    pub fn holds(mut self, most: Duration) -> Self {
        self.holds = Some(most);
        self
    }

    /// With a clock that reads `offset` at the beginning and runs at `rate` parts in a million of the
    /// world's.
    pub fn clock(mut self, offset: Duration, rate: u32) -> Self {
        (self.offset, self.rate) = (offset, rate);
        self
    }
}

impl fmt::Debug for NodeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeSpec")
            .field("policy", &self.policy)
            .field("trusting", &self.trusting)
            .finish_non_exhaustive()
    }
}

/// What the network between all hosts is like.
#[derive(Clone, Debug)]
pub struct Weather {
    /// The time of bytes on their way, from least to most.
    pub latency: (Duration, Duration),
    /// The longest delay of a word between a link and its node, as between threads.
    pub words: Duration,
    /// Bytes that one direction of a connection holds before its writer has to wait.
    pub room: usize,
    /// Of so many connections one reads and writes in pieces; 0 for none.
    pub choppy: u64,
}

impl Default for Weather {
    /// Calm: 1 to 5 ms, words at once, 64 KiB, whole reads and writes.
    fn default() -> Self {
        Self {
            latency: (Duration::from_millis(1), Duration::from_millis(5)),
            words: Duration::ZERO,
            room: 1 << 16,
            choppy: 0,
        }
    }
}

/// What an owner of links can do wrong. The checks of the world have to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mischief {
    /// Messages that the node gives to a link get lost.
    DropDelivered,
    /// A message is handed to the application twice.
    DeliverTwice,
    /// Messages on their way to a link that has ended are not given back.
    ForgetHeld,
    /// The words of a node are given to a link in the wrong order.
    SwapWords,
    /// What a link says of messages whose fate it does not know is not heard.
    ForgetUnknown,
}
