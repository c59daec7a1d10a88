//! async-std and smol as runtimes. Both have the same sockets, under names of their own.

#[cfg(not(any(feature = "async-std", feature = "smol")))]
compile_error!("handclasp-async-std needs the feature `async-std` (the default) or `smol`");

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime};

use async_io::Timer;
use futures_io::{AsyncRead, AsyncWrite};
use handclasp::runtime::{ByteStream, Runtime};

/// Waits for a point in time.
#[derive(Debug)]
pub struct Sleep(Timer);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context).map(drop)
    }
}

/// A connection whose writing side ends when it is closed: async-std's own only flush then, and the other end
/// would wait for the end of what it reads.
#[derive(Debug)]
pub struct Tcp<S>(S);

trait Shutdown {
    fn shutdown_write(&self) -> io::Result<()>;
}

impl<S: AsyncRead + Unpin> AsyncRead for Tcp<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, space)
    }
}

impl<S: AsyncWrite + Shutdown + Unpin> AsyncWrite for Tcp<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Poll::Ready(match self.0.shutdown_write() {
            // The other end was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        })
    }
}

/// Implements [`Runtime`] with the sockets of the module `$net`.
macro_rules! runtime {
    ($name:ident, $($net:ident)::+, $resolve:expr, $spawn:expr, $unblock:expr) => {
        impl Shutdown for $($net)::+::TcpStream {
            fn shutdown_write(&self) -> io::Result<()> {
                self.shutdown(std::net::Shutdown::Write)
            }
        }

        impl Runtime for $name {
            type Tcp = Tcp<$($net)::+::TcpStream>;
            type TcpListener = $($net)::+::TcpListener;
            type Stream = ByteStream;
            type Sleep = Sleep;

            fn now() -> Instant {
                Instant::now()
            }

            fn today() -> SystemTime {
                SystemTime::now()
            }

            fn sleep_until(at: Instant) -> Sleep {
                Sleep(Timer::at(at))
            }

            fn spawn(task: impl Future<Output = ()> + Send + 'static) {
                $spawn(task);
            }

            fn unblock(work: impl FnOnce() + Send + 'static) {
                $unblock(work);
            }

            fn random(bytes: &mut [u8]) {
                getrandom::fill(bytes).expect("the operating system gives randomness");
            }

            async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
                $resolve(address.to_owned()).await
            }

            async fn connect(address: SocketAddr) -> io::Result<Self::Tcp> {
                let stream = $($net)::+::TcpStream::connect(address).await?;
                prompt(stream.set_nodelay(true));
                Ok(Tcp(stream))
            }

            async fn bind(address: SocketAddr) -> io::Result<Self::TcpListener> {
                Self::TcpListener::bind(address).await
            }

            async fn accept(listener: &Self::TcpListener) -> io::Result<(Self::Tcp, SocketAddr)> {
                let (stream, remote) = listener.accept().await?;
                prompt(stream.set_nodelay(true));
                Ok((Tcp(stream), remote))
            }

            fn peer_addr(stream: &Self::Tcp) -> Option<SocketAddr> {
                stream.0.peer_addr().ok()
            }

            fn local_addr(listener: &Self::TcpListener) -> io::Result<SocketAddr> {
                listener.local_addr()
            }
        }
    };
}

/// Frames leave whole: there is nothing to wait for. Without it links are slower, no more.
fn prompt(_: io::Result<()>) {}

/// async-std.
#[cfg(feature = "async-std")]
#[derive(Debug)]
pub enum AsyncStd {}

#[cfg(feature = "async-std")]
runtime!(
    AsyncStd,
    async_std::net,
    |address: String| async move {
        Ok(async_std::net::ToSocketAddrs::to_socket_addrs(&*address).await?.collect())
    },
    async_std::task::spawn,
    async_std::task::spawn_blocking
);

/// smol, with its global executor.
#[cfg(feature = "smol")]
#[derive(Debug)]
pub enum Smol {}

#[cfg(feature = "smol")]
runtime!(
    Smol,
    smol::net,
    |address: String| smol::net::resolve(address),
    |task| smol::spawn(task).detach(),
    |work| smol::unblock(work).detach()
);
