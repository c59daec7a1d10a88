//! What the cases need of a runtime beyond what links need.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::ops::DerefMut;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use futures_io::{AsyncRead, AsyncWrite};
use handclasp::runtime::{ByteStream, Link, Runtime, Services};
use handclasp::{Closed, Config, Dial, Seed};

use crate::streams::ByTokio;

/// A runtime with its adapter.
pub trait Host: Runtime {
    /// What the runtime is called, for a process of its own (`src/bin/victim.rs`).
    const NAME: &'static str;

    /// The runtime's own Unix socket, as its adapter takes it.
    type Unix: Send + 'static;

    /// Makes a socket the runtime's.
    ///
    /// # Errors
    /// The system's.
    fn unix(socket: UnixStream) -> io::Result<Self::Unix>;

    /// A byte stream of a link, read and written by the runtime's own traits.
    type Io: AsyncRead + AsyncWrite + DerefMut<Target = ByteStream> + Debug + Unpin + Send + 'static;

    /// Makes what a link gives readable and writable for a case that knows no runtime.
    fn io(stream: Self::Stream) -> Self::Io;

    /// The adapter's `connect_over`.
    fn connect_over(
        socket: Self::Unix,
        config: &Arc<Config>,
        dial: Dial,
        services: &Services<Self>,
    ) -> impl Future<Output = Result<Link<Self>, Box<Closed>>> + Send;

    /// The adapter's `accept_over`.
    fn accept_over(
        socket: Self::Unix,
        config: &Arc<Config>,
        services: &Services<Self>,
    ) -> impl Future<Output = Result<Link<Self>, Box<Closed>>> + Send;

    /// The adapter's `random_seed`.
    fn random_seed() -> Seed;

    /// The adapter's `incarnation`.
    fn incarnation() -> u64;
}

macro_rules! host {
    ($name:literal, $runtime:ty, $unix:ty, $own:expr, $io:ty, $as_io:expr, $($adapter:ident)::+) => {
        impl Host for $runtime {
            const NAME: &'static str = $name;

            type Unix = $unix;

            fn unix(socket: UnixStream) -> io::Result<Self::Unix> {
                socket.set_nonblocking(true)?;
                $own(socket)
            }

            type Io = $io;

            fn io(stream: Self::Stream) -> Self::Io {
                $as_io(stream)
            }

            async fn connect_over(
                socket: Self::Unix,
                config: &Arc<Config>,
                dial: Dial,
                services: &Services<Self>,
            ) -> Result<Link<Self>, Box<Closed>> {
                $($adapter)::+::connect_over(socket, config, dial, services).await
            }

            async fn accept_over(
                socket: Self::Unix,
                config: &Arc<Config>,
                services: &Services<Self>,
            ) -> Result<Link<Self>, Box<Closed>> {
                $($adapter)::+::accept_over(socket, config, services).await
            }

            fn random_seed() -> Seed {
                $($adapter)::+::random_seed()
            }

            fn incarnation() -> u64 {
                $($adapter)::+::incarnation()
            }
        }
    };
}

host!(
    "tokio",
    handclasp_tokio::Tokio,
    tokio::net::UnixStream,
    tokio::net::UnixStream::from_std,
    ByTokio,
    ByTokio::from,
    handclasp_tokio
);
host!(
    "async-std",
    handclasp_async_std::AsyncStd,
    async_std::os::unix::net::UnixStream,
    |socket| Ok(async_std::os::unix::net::UnixStream::from(socket)),
    Box<ByteStream>,
    Box::new,
    handclasp_async_std
);
host!(
    "smol",
    handclasp_async_std::smol::Smol,
    smol::net::unix::UnixStream,
    |socket| Ok(async_io::Async::new(socket)?.into()),
    Box<ByteStream>,
    Box::new,
    handclasp_async_std::smol
);
