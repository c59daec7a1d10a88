//! Streams and listeners whose system fails them.

use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use handclasp::runtime::Runtime;

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Reads fail with this.
    Read(io::ErrorKind),
    /// Writes fail with this.
    Write(io::ErrorKind),
    /// What is written is never taken.
    WriteZero,
    /// What was written cannot be flushed.
    Flush(io::ErrorKind),
}

/// Says when a stream goes wrong, and how.
#[derive(Clone, Debug, Default)]
pub struct Switch(Arc<Mutex<Option<Flaw>>>);

impl Switch {
    /// From here on the streams of this switch have the flaw; one that waits for bytes has it when they come.
    pub fn set(&self, flaw: Flaw) {
        *self.0.lock().expect("nobody panics while holding it") = Some(flaw);
    }

    fn get(&self) -> Option<Flaw> {
        *self.0.lock().expect("nobody panics while holding it")
    }
}

/// A stream that goes wrong when it is told.
#[derive(Debug)]
pub struct FlawedStream<S> {
    stream: S,
    switch: Switch,
}

impl<S> FlawedStream<S> {
    /// As `stream` until `switch` says otherwise.
    pub fn new(stream: S, switch: &Switch) -> Self {
        Self { stream, switch: switch.clone() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FlawedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.switch.get() {
            Some(Flaw::Read(kind)) => Poll::Ready(Err(kind.into())),
            _ => Pin::new(&mut self.stream).poll_read(cx, space),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FlawedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.switch.get() {
            Some(Flaw::Write(kind)) => Poll::Ready(Err(kind.into())),
            Some(Flaw::WriteZero) => Poll::Ready(Ok(0)),
            // It keeps what it cannot flush.
            Some(Flaw::Flush(_)) => Poll::Ready(Ok(bytes.len())),
            _ => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.switch.get() {
            Some(Flaw::Flush(kind)) => Poll::Ready(Err(kind.into())),
            _ => Pin::new(&mut self.stream).poll_flush(cx),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// What a [`FlawedListener`] gives: a connection, or an error. After these, connections.
const GIVES: [Option<io::ErrorKind>; 4] = [
    None,
    Some(io::ErrorKind::ConnectionAborted),
    Some(io::ErrorKind::OutOfMemory),
    Some(io::ErrorKind::ConnectionReset),
];

/// A listener that fails in between: behind the first connection with an error of one connection, with one of
/// the system, [`OutOfMemory`](io::ErrorKind::OutOfMemory), and again with one of one connection.
#[derive(Debug)]
pub struct FlawedListener<L> {
    listener: L,
    given: AtomicUsize,
    /// For all streams that it accepts from here on.
    pub switch: Switch,
}

/// The runtime `R`, whose listeners are [`FlawedListener`]s.
pub struct Flawed<R>(PhantomData<fn() -> R>);

impl<R> fmt::Debug for Flawed<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flawed")
    }
}

impl<R: Runtime> Runtime for Flawed<R> {
    type Tcp = FlawedStream<R::Tcp>;
    type TcpListener = FlawedListener<R::TcpListener>;

    crate::forward!(R: Stream Sleep now today sleep_until spawn unblock random resolve);

    async fn connect(address: SocketAddr) -> io::Result<Self::Tcp> {
        Ok(FlawedStream::new(R::connect(address).await?, &Switch::default()))
    }

    async fn bind(address: SocketAddr) -> io::Result<Self::TcpListener> {
        let listener = R::bind(address).await?;
        Ok(FlawedListener { listener, given: AtomicUsize::new(0), switch: Switch::default() })
    }

    async fn accept(listener: &Self::TcpListener) -> io::Result<(Self::Tcp, SocketAddr)> {
        let FlawedListener { listener, given, switch } = listener;
        if let Some(Some(kind)) = GIVES.get(given.load(Ordering::SeqCst)) {
            given.fetch_add(1, Ordering::SeqCst);
            return Err((*kind).into());
        }
        let (stream, remote) = R::accept(listener).await?;
        given.fetch_add(1, Ordering::SeqCst);
        Ok((FlawedStream::new(stream, switch), remote))
    }

    fn peer_addr(stream: &Self::Tcp) -> Option<SocketAddr> {
        R::peer_addr(&stream.stream)
    }

    fn local_addr(listener: &Self::TcpListener) -> io::Result<SocketAddr> {
        R::local_addr(&listener.listener)
    }
}
