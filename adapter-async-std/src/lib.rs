#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod runtime;

/// The items of the crate `handclasp-tokio`, under the same names, for one runtime.
macro_rules! surface {
    ($runtime:ident) => {
        use std::sync::Arc;

        use futures_io::{AsyncRead, AsyncWrite};
        use handclasp::{Closed, Config, Dial, Seed, runtime};

        pub use crate::runtime::$runtime;
        pub use handclasp::runtime::ByteStream as Stream;
        pub use handclasp::runtime::{
            AcceptError, CALL_TIMEOUT, Cancelled, ConnectError, Delivery, Direction, Events, LinkSnapshot,
            Missed, NoLink, NodeSnapshot, NotSent, OpenError, PeerInfo, PeerRegistry, PeerSnapshot,
            RegistryFuture, Relay, StartError, StreamError, TrustError, WhyNotSent, connect,
        };
        pub use handclasp::services::{Allow, LongServiceName};

        /// [A handle](runtime::Link) to an established link.
        pub type Link = runtime::Link<$runtime>;
        /// [Accepts links](runtime::Listener) on a TCP address.
        pub type Listener = runtime::Listener<$runtime>;
        /// [What a node offers](runtime::Services): handlers by name, with a rule for each.
        pub type Services = runtime::Services<$runtime>;
        /// [What runs](runtime::Handler) for each message or call of a service.
        pub type Handler = runtime::Handler<$runtime>;
        /// [A message or call](runtime::Request) that came in.
        pub type Request = runtime::Request<$runtime>;
        /// [A node](runtime::Node): one identity, its listeners, its peers, and at most one live link to each of
        /// them.
        pub type Node = runtime::Node<$runtime>;
        /// [Describes a node](runtime::NodeBuilder); made by [`Node::builder`].
        pub type NodeBuilder = runtime::NodeBuilder<$runtime>;
        /// [A handle](runtime::WeakNode) that does not keep its node running.
        pub type WeakNode = runtime::WeakNode<$runtime>;
        /// [A handle to a peer](runtime::Peer) of a node, which outlives links.
        pub type Peer = runtime::Peer<$runtime>;

        /// Establishes a link over `stream`, as the side that opened it; as [`runtime::connect_over`].
        ///
        /// # Errors
        /// How the handshake ended.
        pub async fn connect_over(
            stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
            config: &Arc<Config>,
            dial: Dial,
            services: &Services,
        ) -> Result<Link, Box<Closed>> {
            runtime::connect_over(stream, config, dial, services).await
        }

        /// Establishes a link over `stream`, as the side that accepted it; as [`runtime::accept_over`].
        ///
        /// # Errors
        /// How the handshake ended.
        pub async fn accept_over(
            stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
            config: &Arc<Config>,
            services: &Services,
        ) -> Result<Link, Box<Closed>> {
            runtime::accept_over(stream, config, services).await
        }

        /// Fresh random bytes of the operating system, for one link or one key.
        ///
        /// # Panics
        /// If the operating system has no randomness: nothing here is safe without.
        pub fn random_seed() -> Seed {
            runtime::random_seed::<$runtime>()
        }

        /// A random number for [`Config::builder`]: draw it once at the start of the process.
        ///
        /// # Panics
        /// As [`random_seed`].
        pub fn incarnation() -> u64 {
            runtime::incarnation::<$runtime>()
        }
    };
}

#[cfg(feature = "async-std")]
mod async_std_surface {
    surface!(AsyncStd);
}

#[cfg(feature = "async-std")]
pub use async_std_surface::*;

/// The same for smol, with its global executor.
#[cfg(feature = "smol")]
pub mod smol {
    surface!(Smol);
}
