//! Byte streams over links, and what is said over them.

use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future::zip;
use futures_lite::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use handclasp::runtime::{ByteStream, Link, Services, StreamError};
use handclasp::services::Allow;
use handclasp_tokio::Stream;
use tokio::io::ReadBuf;

use crate::{Host, soon};

/// tokio's stream behind the traits of `futures-io`: each call goes through tokio's own traits.
#[derive(Debug)]
pub struct ByTokio(Stream);

impl From<Stream> for ByTokio {
    fn from(stream: Stream) -> Self {
        Self(stream)
    }
}

impl Deref for ByTokio {
    type Target = ByteStream;

    fn deref(&self) -> &ByteStream {
        &self.0
    }
}

impl DerefMut for ByTokio {
    fn deref_mut(&mut self) -> &mut ByteStream {
        &mut self.0
    }
}

impl AsyncRead for ByTokio {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(space);
        let read = tokio::io::AsyncRead::poll_read(Pin::new(&mut self.0), context, &mut buffer);
        read.map_ok(|()| buffer.filled().len())
    }
}

impl AsyncWrite for ByTokio {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.0), context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.0), context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.0), context)
    }
}

/// Opens a stream to the service `name` of the peer.
pub async fn open<H: Host>(link: &Link<H>, name: &str) -> H::Io {
    soon(link.open_stream(name)).await.map(H::io).expect("a stream")
}

/// Sends back what comes, and ends when that does.
pub async fn echo(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let (mut read, mut write) = split(stream);
    if copy(&mut read, &mut write).await.is_ok() {
        // Where it fails, the other end has given the stream up.
        let _ = write.close().await;
    }
}

/// Services that send a stream `echo` back, and answer calls of `echo-call` with what they say.
pub fn echoing<H: Host>() -> Services<H> {
    Services::new().stream("echo", Allow::Anyone, |_, stream| echo(H::io(stream))).serve(
        "echo-call",
        Allow::Anyone,
        |request| async move { Ok(request.body) },
    )
}

/// Bytes of which each place is its own.
#[allow(clippy::cast_possible_truncation)] // below 251
pub fn bytes(length: usize, salt: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 31 + (at >> 8) + salt) % 251) as u8).collect()
}

/// Writes `sent` and its end, and reads what comes back, both at a time.
pub async fn round_trip(stream: impl AsyncRead + AsyncWrite + Unpin, sent: Vec<u8>) -> Vec<u8> {
    let (mut read, mut write) = split(stream);
    let writing = async {
        write.write_all(&sent).await.expect("the link takes it");
        write.close().await.expect("the link takes the end");
    };
    let mut back = Vec::new();
    let ((), read) = zip(writing, read.read_to_end(&mut back)).await;
    read.expect("the end, in good order");
    back
}

/// What a read or a write of a stream failed with.
pub fn error_of(error: &io::Error) -> StreamError {
    *error.get_ref().expect("an error of ours").downcast_ref().expect("a stream's error")
}
