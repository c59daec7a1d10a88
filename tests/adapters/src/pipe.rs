//! Streams in memory, which can be stopped and cut.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};

/// One direction of a pipe.
#[derive(Debug, Default)]
struct Way {
    bytes: VecDeque<u8>,
    most: usize,
    /// How many bytes the reader still gets, and what comes then.
    left: Option<(usize, Fault)>,
    closed: bool,
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Stall,
    Cut,
}

#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Way>>);

impl Shared {
    fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Way { most, ..Way::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Way> {
        self.0.lock().expect("nobody panics while holding it")
    }

    fn change(&self, change: impl FnOnce(&mut Way)) {
        let mut way = self.lock();
        change(&mut way);
        let wakers = [way.reader.take(), way.writer.take()];
        drop(way);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// One end of a stream in memory. Dropping it closes the stream: the other end reads what is on its way and
/// then the end, and can write no more.
#[derive(Debug)]
pub struct Pipe {
    incoming: Shared,
    outgoing: Shared,
}

/// Makes what goes wrong on the way between the two ends of a pipe.
#[derive(Clone, Debug)]
pub struct Tap {
    there: Shared,
    back: Shared,
}

/// A stream in memory that holds `most` bytes in each direction: its two ends, and what disturbs it.
pub fn pipe(most: usize) -> (Pipe, Pipe, Tap) {
    let (there, back) = (Shared::new(most), Shared::new(most));
    let near = Pipe { incoming: back.clone(), outgoing: there.clone() };
    let far = Pipe { incoming: there.clone(), outgoing: back.clone() };
    (near, far, Tap { there, back })
}

impl Tap {
    /// Lets `bytes` more through from the first end to the second, and then nothing; the other direction goes
    /// on.
    pub fn stall_after(&self, bytes: usize) {
        self.there.change(|way| way.left = Some((bytes, Fault::Stall)));
    }

    /// Lets `bytes` more through from the first end to the second, and then breaks the stream for both.
    pub fn cut_after(&self, bytes: usize) {
        self.there.change(|way| way.left = Some((bytes, Fault::Cut)));
        if bytes == 0 {
            self.cut();
        }
    }

    fn cut(&self) {
        for way in [&self.there, &self.back] {
            way.change(|way| way.broken = true);
        }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut way = self.incoming.lock();
        let let_through = way.left.map_or(usize::MAX, |(left, _)| left);
        let count = space.len().min(way.bytes.len()).min(let_through);
        if way.broken {
            return Poll::Ready(Ok(0));
        }
        if count == 0 && !space.is_empty() {
            if way.closed && way.bytes.is_empty() {
                return Poll::Ready(Ok(0));
            }
            way.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        for (to, from) in space.iter_mut().zip(way.bytes.drain(..count)) {
            *to = from;
        }
        let mut over = false;
        if let Some((left, fault)) = &mut way.left {
            *left -= count;
            over = *left == 0 && *fault == Fault::Cut;
        }
        let writer = way.writer.take();
        drop(way);
        if let Some(writer) = writer {
            writer.wake();
        }
        if over {
            Tap { there: self.incoming.clone(), back: self.outgoing.clone() }.cut();
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut way = self.outgoing.lock();
        if way.broken || way.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(way.most - way.bytes.len());
        if count == 0 && !bytes.is_empty() {
            way.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        way.bytes.extend(&bytes[..count]);
        let reader = way.reader.take();
        drop(way);
        if let Some(reader) = reader {
            reader.wake();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.change(|way| way.closed = true);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.outgoing.change(|way| way.closed = true);
        // Nobody reads it any more.
        self.incoming.change(|way| way.closed = true);
    }
}
