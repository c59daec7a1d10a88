//! What the owner of a link does with streams.

use alloc::boxed::Box;

use super::super::Link;
use super::super::message::{MAX_SERVICE, Priority, Why};
use super::{Fault, StreamRead, Streams, Terms};
use crate::error::{Reason, Violation};
use crate::phase::Phase;
use crate::wire::Malformed;
use crate::wire::stream::StreamFrame;

/// A byte stream of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    pub(super) id: u64,
    /// Which link it is of, so that no other one takes it for its own.
    pub(super) link: u64,
}

impl StreamId {
    /// The id on the wire, the same on both sides, unique within the link.
    pub const fn get(self) -> u64 {
        self.id
    }

    #[cfg(feature = "recording")]
    pub(in crate::link) const fn link(self) -> u64 {
        self.link
    }

    #[cfg(feature = "recording")]
    pub(in crate::link) const fn replayed(id: u64, link: u64) -> Self {
        Self { id, link }
    }
}

impl Link {
    /// Opens a stream to the peer, which is told of it with the next record. Both sides can write to it and read
    /// from it, each direction ends by itself. The name says what it is for; it is 0–255 bytes.
    ///
    /// Streams of one priority share what is sent with the messages of that priority, half and half where both have
    /// enough; among themselves they take turns. No stream waits for another one, and no message for a stream.
    ///
    /// # Errors
    /// [`Why`]: not established, draining, closed, a name that is too long, a peer that takes no streams, or as many
    /// open as may be.
    pub fn open_stream(&mut self, name: &str, priority: Priority) -> Result<StreamId, Why> {
        note!(self, None, Input::OpenStream { name: name.into(), priority });
        match self.phase {
            Phase::Established => {}
            Phase::Draining => return Err(Why::Draining),
            Phase::Closed => return Err(Why::Closed),
            _ => return Err(Why::NotEstablished),
        }
        if name.len() > MAX_SERVICE {
            return Err(Why::LongServiceName);
        }
        let terms = self.stream_terms().ok_or(Why::NoStreams)?;
        let limit = terms.limits.max_open.min(terms.theirs.max_streams);
        let session = self.session.as_mut().ok_or(Why::Closed)?;
        let streams = session.streams.get_or_insert_with(|| Box::new(Streams::new(terms)));
        let id = streams.open(name, priority).ok_or(Why::TooManyStreams { limit })?;
        Ok(StreamId { id, link: self.tag })
    }

    /// Writes to a stream: takes as many of the first bytes as there is room for, in the stream's own buffer, in
    /// what the peer has granted, and in the buffer that the streams of the link share. How many it took; what it
    /// did not take is to be written again after [`Event::StreamWritable`](crate::Event::StreamWritable), which
    /// comes once there is room.
    ///
    /// 0 as well if this direction is over, and then no event comes: it was finished or reset here, the peer has
    /// stopped it, or the link has ended.
    pub fn stream_write(&mut self, stream: StreamId, bytes: &[u8]) -> usize {
        note!(self, None, Input::StreamWrite(self.named_stream(stream), Blob::of(bytes)));
        let Some(streams) = self.streams_of(stream) else { return 0 };
        let shared = streams.terms.send_buffer.saturating_sub(streams.queued);
        let limit = streams.terms.limits.send_buffer;
        let write = |stream: &mut super::Stream| {
            let room = stream.outgoing.room(limit).min(shared);
            stream.outgoing.write(bytes, room, limit)
        };
        streams.change(stream.id, write).unwrap_or(0)
    }

    /// Reads from a stream into `out`. What was read is given back to the peer as credit.
    ///
    /// Read until the answer is not [`StreamRead::Data`]: after [`StreamRead::Pending`], and only then or when
    /// everything was read, [`Event::StreamReadable`](crate::Event::StreamReadable) tells of more. A stream
    /// whose bytes have all come can still be read after its link has ended, unless this side dropped it.
    pub fn stream_read(&mut self, stream: StreamId, out: &mut [u8]) -> StreamRead {
        note!(self, None, Input::StreamRead(self.named_stream(stream), out.len().min(LONGEST)));
        let Some(streams) = self.streams_of(stream) else { return StreamRead::Over };
        let read = streams.change(stream.id, |stream| stream.incoming.read(out));
        self.advance_drain();
        read.unwrap_or(StreamRead::Over)
    }

    /// Ends this side's direction of a stream: the peer reads to the end of what was written. The other direction
    /// goes on. Does nothing if it is over already.
    pub fn stream_finish(&mut self, stream: StreamId) {
        note!(self, None, Input::StreamFinish(self.named_stream(stream)));
        if let Some(streams) = self.streams_of(stream) {
            streams.change(stream.id, |stream| stream.outgoing.finish());
        }
    }

    /// Gives this side's direction of a stream up: what was written and not sent is dropped, and the peer reads
    /// [`StreamRead::Reset`] with `code` in place of the rest. Does nothing if it is over already.
    ///
    /// The two highest codes are [`STREAM_REFUSED`](crate::STREAM_REFUSED) and
    /// [`STREAM_LINK_ENDED`](crate::STREAM_LINK_ENDED); the others are the application's.
    pub fn stream_reset(&mut self, stream: StreamId, code: u32) {
        note!(self, None, Input::StreamReset(self.named_stream(stream), code));
        if let Some(streams) = self.streams_of(stream) {
            streams.change(stream.id, |stream| stream.outgoing.reset(code, false));
        }
        self.advance_drain();
    }

    /// Asks the peer to write no more: what came and was not read is dropped, and its writer is told with
    /// [`Event::StreamStopped`](crate::Event::StreamStopped). The own direction goes on. Does nothing if nothing
    /// more can come.
    ///
    /// To be rid of a stream, reset it and stop it.
    pub fn stream_stop(&mut self, stream: StreamId, code: u32) {
        note!(self, None, Input::StreamStop(self.named_stream(stream), code));
        if let Some(streams) = self.streams_of(stream) {
            streams.change(stream.id, |stream| stream.incoming.stop(code));
        }
        self.advance_drain();
    }

    /// Streams that are open: those that this side has opened, and the peer's. One counts until both directions are
    /// over, what came was read, and what there is to tell of it was told.
    pub fn streams_open(&self) -> (usize, usize) {
        let streams = self.session.as_ref().and_then(|session| session.streams.as_ref());
        streams.map_or((0, 0), |streams| streams.counts())
    }

    /// The streams, if `stream` is of this link.
    fn streams_of(&mut self, stream: StreamId) -> Option<&mut Streams> {
        let session = self.session.as_mut().filter(|_| stream.link == self.tag)?;
        session.streams.as_deref_mut()
    }

    /// What both sides have said of streams, if both have.
    fn stream_terms(&self) -> Option<Terms> {
        let limits = self.config.streams;
        let theirs = self.peer.as_ref()?.hello.streams?;
        (limits.max_open > 0).then_some(Terms {
            limits,
            send_buffer: self.config.send_buffer.max(1),
            theirs,
            initiator: self.is_initiator(),
        })
    }

    /// A frame of a stream has come.
    pub(in super::super) fn on_stream_frame(
        &mut self,
        id: u64,
        frame: StreamFrame<'_>,
    ) -> Result<(), Reason> {
        let violation = |phase, what| Reason::Violation(Violation { phase, what });
        let phase = self.phase;
        let no_terms = Malformed::new("a frame of a stream, and not both sides take streams");
        let terms = self.stream_terms().ok_or_else(|| violation(phase, no_terms))?;
        let Some(session) = &mut self.session else { return Ok(()) };
        if matches!(frame, StreamFrame::Open { .. } | StreamFrame::Data { .. }) {
            session.activity = self.now;
        }
        let streams = session.streams.get_or_insert_with(|| Box::new(Streams::new(terms)));
        streams.on_frame(id, frame, session.peer_said_goodbye).map_err(|fault| match fault {
            Fault::Violation(what) => violation(phase, what),
            Fault::FlowControl => Reason::FlowControl,
            Fault::Flood => Reason::Flood,
        })
    }
}
