//! tokio as a runtime.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use handclasp::runtime::Runtime;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;

use crate::Stream;
use crate::io::Io;

/// tokio, with its network and time enabled.
///
/// Time is tokio's: with a clock that is paused in a test (`tokio::time::pause`), links and nodes wait for
/// nothing.
#[derive(Debug)]
pub enum Tokio {}

impl Runtime for Tokio {
    type Tcp = Io<TcpStream>;
    type TcpListener = TcpListener;
    type Stream = Stream;
    type Sleep = Sleep;

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn today() -> SystemTime {
        SystemTime::now()
    }

    fn sleep_until(at: Instant) -> Sleep {
        tokio::time::sleep_until(at.into())
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    fn unblock(work: impl FnOnce() + Send + 'static) {
        tokio::task::spawn_blocking(work);
    }

    fn random(bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives randomness");
    }

    async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host(address).await?.collect())
    }

    async fn connect(address: SocketAddr) -> io::Result<Io<TcpStream>> {
        Ok(prompt(TcpStream::connect(address).await?))
    }

    async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    async fn accept(listener: &TcpListener) -> io::Result<(Io<TcpStream>, SocketAddr)> {
        let (stream, remote) = listener.accept().await?;
        Ok((prompt(stream), remote))
    }

    fn peer_addr(stream: &Io<TcpStream>) -> Option<SocketAddr> {
        stream.0.peer_addr().ok()
    }

    fn local_addr(listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }
}

/// Frames leave whole: there is nothing to wait for.
fn prompt(stream: TcpStream) -> Io<TcpStream> {
    // Without it links are slower, no more.
    let _ = stream.set_nodelay(true);
    Io(stream)
}
