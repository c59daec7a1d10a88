//! Byte streams with tokio's traits.

use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead as _, AsyncWrite as _};
use handclasp::runtime::ByteStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream over a link: a [`ByteStream`] with tokio's [`AsyncRead`] and [`AsyncWrite`]. `shutdown` is what
/// closes its writer.
#[derive(Debug)]
pub struct Stream(ByteStream);

impl From<ByteStream> for Stream {
    fn from(stream: ByteStream) -> Self {
        Self(stream)
    }
}

impl Deref for Stream {
    type Target = ByteStream;

    fn deref(&self) -> &ByteStream {
        &self.0
    }
}

impl DerefMut for Stream {
    fn deref_mut(&mut self) -> &mut ByteStream {
        &mut self.0
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = ready!(Pin::new(&mut self.0).poll_read(cx, buffer.initialize_unfilled()))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
