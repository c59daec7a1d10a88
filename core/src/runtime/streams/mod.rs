//! Byte streams: their handles, and what a handle shares with the link's task.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::prelude::v1::*;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};

use super::link::Hold;
use super::peer::PeerInfo;
use super::shared::Shared;
use super::sync::{lock, remember, wake};
use crate::{Link as Core, StreamId, StreamRead};

mod error;

pub use error::{OpenError, StreamError};

/// The bytes that wait between a handle and the link's task, in each direction, beside what the link holds.
const PIPE: usize = 64 << 10;

/// The code that a stream is given up with that is dropped before its end.
const DROPPED: u32 = 0;

/// A byte stream over a link: two directions, each with its own end and its own backpressure.
///
/// An adapter gives it its runtime's reading and writing traits; here it has those of `futures-io`. A write
/// waits while the peer does not read. Closing the writer tells the peer that this is the end, and leaves the
/// reader open; it waits until the link has everything, which says nothing about its arrival.
///
/// **Dropping a stream that has not been closed gives it up:** the peer reads
/// [`StreamError::Reset`] in place of the end, so that nobody takes a part for the whole. Dropping it before
/// the peer's end was read tells the peer to write no more.
///
/// A stream that this side has opened keeps its link as a handle does. All futures over it are cancel-safe:
/// bytes are taken when the read or write is ready, never before.
pub struct ByteStream {
    pipe: Arc<Pipe>,
    shared: Arc<Shared>,
    peer: Arc<PeerInfo>,
    name: Box<str>,
    _hold: Option<Hold>,
}

impl ByteStream {
    pub(crate) fn new(
        pipe: &Arc<Pipe>,
        shared: &Arc<Shared>,
        peer: &Arc<PeerInfo>,
        name: Box<str>,
        hold: Option<Hold>,
    ) -> Self {
        let (pipe, shared, peer) = (Arc::clone(pipe), Arc::clone(shared), Arc::clone(peer));
        Self { pipe, shared, peer, name, _hold: hold }
    }

    /// The stream's id, the same on both sides, unique within the link.
    pub fn id(&self) -> u64 {
        self.pipe.id.get()
    }

    /// What it was opened for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The authenticated peer.
    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    /// Gives up what this side was writing: the peer reads [`StreamError::Reset`] with `code`. Does nothing
    /// after the end.
    pub fn reset(&mut self, code: u32) {
        self.change(|ends| {
            if matches!(ends.writing, Writing::Open | Writing::Closing) {
                ends.give_up(code);
            }
        });
    }

    /// Tells the peer to write no more: it gets [`StreamError::Stopped`] with `code`. What came and was not
    /// read is dropped. Does nothing after the end.
    pub fn stop(&mut self, code: u32) {
        self.change(|ends| {
            if matches!(ends.reading, Reading::Open) {
                ends.stop(code);
            }
        });
    }

    /// Changes the ends, and lets the link's task see to it.
    fn change<T>(&self, change: impl FnOnce(&mut Ends) -> T) -> T {
        let (result, call) = self.pipe.change(|ends| {
            let result = change(ends);
            let call = ends.call;
            if call == Call::Due {
                ends.call = Call::Made;
            }
            (result, call)
        });
        if call == Call::Due {
            self.shared.tell(|control| control.streams.push(Arc::clone(&self.pipe)));
        }
        result
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        self.change(|ends| {
            if !ends.incoming.is_empty() {
                let count = space.len().min(ends.incoming.len());
                ends.incoming.copy_to_slice(space.get_mut(..count).unwrap_or_default());
                if ends.starved && ends.incoming.len() <= PIPE / 2 {
                    ends.call_task();
                }
                return Poll::Ready(Ok(count));
            }
            match ends.reading {
                Reading::Open if !space.is_empty() => {
                    ends.await_bytes(cx);
                    Poll::Pending
                }
                Reading::Open | Reading::End => Poll::Ready(Ok(0)),
                Reading::Broken(error) => Poll::Ready(Err(error.into())),
            }
        })
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.change(|ends| match ends.writing {
            Writing::Open => {
                let room = PIPE.saturating_sub(ends.outgoing.len());
                let taken = bytes.get(..room).unwrap_or(bytes);
                if taken.is_empty() && !bytes.is_empty() {
                    ends.await_room(cx);
                    return Poll::Pending;
                }
                ends.outgoing.extend_from_slice(taken);
                ends.call_task();
                Poll::Ready(Ok(taken.len()))
            }
            Writing::Closing | Writing::Closed => Poll::Ready(Err(StreamError::Ended.into())),
            Writing::Broken(error) => Poll::Ready(Err(error.into())),
        })
    }

    /// Waits until the link has taken what was written.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.change(|ends| match ends.writing {
            Writing::Open | Writing::Closing if !ends.outgoing.is_empty() => {
                ends.await_room(cx);
                Poll::Pending
            }
            Writing::Broken(error) => Poll::Ready(Err(error.into())),
            _ => Poll::Ready(Ok(())),
        })
    }

    /// Ends this side's direction.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.change(|ends| match ends.writing {
            Writing::Open | Writing::Closing => {
                if ends.writing == Writing::Open {
                    ends.call_task();
                }
                ends.writing = Writing::Closing;
                ends.await_room(cx);
                Poll::Pending
            }
            Writing::Closed => Poll::Ready(Ok(())),
            Writing::Broken(error) => Poll::Ready(Err(error.into())),
        })
    }
}

impl Drop for ByteStream {
    fn drop(&mut self) {
        self.change(|ends| {
            ends.dropped = true;
            ends.call_task();
            if ends.writing == Writing::Open {
                ends.give_up(DROPPED);
            }
            if ends.reading == Reading::Open {
                ends.stop(DROPPED);
            }
        });
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = lock(&self.pipe.ends);
        f.debug_struct("ByteStream")
            .field("id", &self.id())
            .field("name", &self.name)
            .field("peer", &self.peer.id)
            .field("reading", &ends.reading)
            .field("writing", &ends.writing)
            .finish_non_exhaustive()
    }
}

/// What lies between a stream's handle and the link's task.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) id: StreamId,
    ends: Mutex<Ends>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    /// The end is behind what is here.
    End,
    Broken(StreamError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    /// The end goes behind what is here.
    Closing,
    Closed,
    Broken(StreamError),
}

/// Whether the task has something to do, and knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    None,
    Due,
    Made,
}

#[derive(Debug)]
struct Ends {
    reading: Reading,
    incoming: BytesMut,
    /// The link has more than there was room for.
    starved: bool,
    reader: Option<Waker>,
    writing: Writing,
    outgoing: BytesMut,
    writer: Option<Waker>,
    /// Codes for the peer that the link has not been told.
    reset: Option<u32>,
    stop: Option<u32>,
    call: Call,
    dropped: bool,
    /// For when the lock is free again: a waker may be the last to keep whoever holds the stream, and that
    /// takes the lock when it goes.
    late: Late,
}

/// Wakers that have done their part.
#[derive(Debug, Default)]
struct Late {
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// One that another has taken the place of, and that is only dropped.
    replaced: Option<Waker>,
}

impl Ends {
    /// Has the task woken that reads.
    fn wake_reader(&mut self) {
        self.late.reader = self.reader.take().or(self.late.reader.take());
    }

    /// Has the task woken that writes.
    fn wake_writer(&mut self) {
        self.late.writer = self.writer.take().or(self.late.writer.take());
    }

    /// Remembers the task that waits for something to read.
    fn await_bytes(&mut self, context: &Context<'_>) {
        self.late.replaced = remember(&mut self.reader, context);
    }

    /// Remembers the task that waits until what it wrote is taken.
    fn await_room(&mut self, context: &Context<'_>) {
        self.late.replaced = remember(&mut self.writer, context);
    }

    fn call_task(&mut self) {
        if self.call == Call::None {
            self.call = Call::Due;
        }
    }

    fn give_up(&mut self, code: u32) {
        self.writing = Writing::Broken(StreamError::Ended);
        self.outgoing = BytesMut::new();
        self.reset = Some(code);
        self.call_task();
        self.wake_writer();
    }

    fn stop(&mut self, code: u32) {
        self.reading = Reading::Broken(StreamError::Ended);
        self.incoming = BytesMut::new();
        self.stop = Some(code);
        self.call_task();
        self.wake_reader();
    }

    /// Takes what the link has, as far as there is room.
    fn read(&mut self, link: &mut Core, id: StreamId, most: usize) {
        let before = self.incoming.len();
        self.starved = false;
        while self.reading == Reading::Open {
            let filled = self.incoming.len();
            if filled >= most {
                self.starved = true;
                break;
            }
            self.incoming.resize(most.min(filled + PIPE), 0);
            let space = self.incoming.get_mut(filled..).unwrap_or_default();
            let read = link.stream_read(id, space);
            self.incoming.truncate(if let StreamRead::Data(count) = read { filled + count } else { filled });
            match read {
                StreamRead::Data(_) => {}
                StreamRead::End => self.reading = Reading::End,
                StreamRead::Reset(code) => self.reading = Reading::Broken(StreamError::reset(code)),
                StreamRead::Pending | StreamRead::Over => break,
            }
        }
        if self.incoming.len() > before || self.reading != Reading::Open {
            self.wake_reader();
        }
    }

    /// Gives the link what is here, as far as it has room.
    fn write(&mut self, link: &mut Core, id: StreamId) {
        let before = self.outgoing.len();
        while !self.outgoing.is_empty() {
            match link.stream_write(id, &self.outgoing) {
                0 => break,
                count => self.outgoing.advance(count),
            }
        }
        if self.outgoing.is_empty() && self.writing == Writing::Closing {
            link.stream_finish(id);
            self.outgoing = BytesMut::new();
            self.writing = Writing::Closed;
            self.wake_writer();
        }
        if self.outgoing.len() < before {
            self.wake_writer();
        }
    }
}

impl Pipe {
    pub(crate) fn new(id: StreamId) -> Arc<Self> {
        let ends = Ends {
            reading: Reading::Open,
            incoming: BytesMut::new(),
            starved: false,
            reader: None,
            writing: Writing::Open,
            outgoing: BytesMut::new(),
            writer: None,
            reset: None,
            stop: None,
            call: Call::None,
            dropped: false,
            late: Late::default(),
        };
        Arc::new(Self { id, ends: Mutex::new(ends) })
    }

    /// Changes the ends, and wakes whom that concerns once the lock is free.
    fn change<T>(&self, change: impl FnOnce(&mut Ends) -> T) -> T {
        let mut ends = lock(&self.ends);
        let result = change(&mut ends);
        let Late { reader, writer, replaced } = std::mem::take(&mut ends.late);
        drop(ends);
        wake(reader);
        wake(writer);
        drop(replaced);
        result
    }

    /// Moves bytes between the handle and the link; false once there is nothing to move any more.
    pub(crate) fn serve(&self, link: &mut Core) -> bool {
        self.change(|ends| {
            ends.call = Call::None;
            if let Some(code) = ends.reset.take() {
                link.stream_reset(self.id, code);
            }
            if let Some(code) = ends.stop.take() {
                link.stream_stop(self.id, code);
            }
            ends.write(link, self.id);
            ends.read(link, self.id, PIPE);
            !ends.dropped || matches!(ends.writing, Writing::Open | Writing::Closing)
        })
    }

    /// Gives memory back that an idle stream does not need.
    pub(crate) fn shrink(&self) {
        let mut ends = lock(&self.ends);
        let Ends { incoming, outgoing, .. } = &mut *ends;
        for buffer in [incoming, outgoing] {
            if buffer.is_empty() {
                *buffer = BytesMut::new();
            }
        }
    }

    /// The peer reads no more.
    pub(crate) fn stopped(&self, code: u32) {
        self.change(|ends| {
            if matches!(ends.writing, Writing::Open | Writing::Closing) {
                ends.writing = Writing::Broken(StreamError::stopped(code));
                ends.outgoing = BytesMut::new();
            }
            ends.wake_writer();
        });
    }

    /// The link has ended: what has all come can still be read.
    pub(crate) fn end(&self, link: &mut Core) {
        self.change(|ends| {
            ends.read(link, self.id, usize::MAX);
            if ends.reading == Reading::Open {
                ends.reading = Reading::Broken(StreamError::LinkEnded);
            }
            if matches!(ends.writing, Writing::Open | Writing::Closing) {
                ends.writing = Writing::Broken(StreamError::LinkEnded);
                ends.outgoing = BytesMut::new();
            }
            ends.wake_reader();
            ends.wake_writer();
        });
    }
}
