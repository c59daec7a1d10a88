//! Byte streams: any number of them on one link, each with its own credit in both directions.
//!
//! `halves` has the two directions of a stream, `window` what the peer may send, `turns` who waits for what,
//! `seal` what goes out, `commands` what the owner of the link may do. The rule here: a stream is in the table as
//! long as it is anything to anybody, every change of it ends in `settle`, and settled, it stands in exactly the
//! lists that it belongs in.

mod commands;
mod halves;
mod ring;
mod seal;
#[cfg(test)]
mod tests;
mod turns;
mod window;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

pub use self::commands::StreamId;
pub use self::halves::StreamRead;

use self::halves::{Incoming, Outgoing};
use self::turns::{Place, Turns};
use super::action::Event;
use super::message::Priority;
use crate::config::StreamLimits;
use crate::hello::StreamOffer;
use crate::wire::reader::{Malformed, VARINT_MAX};
use crate::wire::stream::StreamFrame;

/// The code of a stream that a link has refused: as many are open as it takes. An application refuses a stream with
/// the same code, if it has no use for its name. On the refused side no event tells of it.
pub const STREAM_REFUSED: u32 = 0xffff_ffff;

/// The code of a stream that ended with its link; [`Link::closed`](super::Link::closed) says why. It never travels.
pub const STREAM_LINK_ENDED: u32 = 0xffff_fffe;

/// How many priorities there are.
pub(super) const PRIORITIES: usize = Priority::ALL.len();

/// What is wrong with what the peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Violation(Malformed),
    FlowControl,
    Flood,
}

/// What both sides have said of streams, and which side this is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) limits: StreamLimits,
    /// Bytes of all streams that may wait to be sealed.
    pub(super) send_buffer: usize,
    pub(super) theirs: StreamOffer,
    pub(super) initiator: bool,
}

#[derive(Debug)]
struct Stream {
    /// Of an own stream until its first frame is sealed, of the peer's until its owner was told.
    name: Option<Box<str>>,
    incoming: Incoming,
    outgoing: Outgoing,
    /// This side has refused it: its owner never hears of it.
    refused: bool,
    /// The owner is to be told of the peer's stream.
    tells_opened: bool,
    ready: Place,
    words: Place,
    news: Place,
    blocked: Place,
}

impl Stream {
    fn is_over(&self) -> bool {
        self.incoming.is_over() && self.outgoing.is_over()
    }

    /// Whether the peer has not heard of it, and need not.
    fn is_moot(&self) -> bool {
        !self.outgoing.is_opened() && self.outgoing.is_resetting() && self.incoming.is_stopped()
    }

    fn has_words(&self) -> bool {
        self.outgoing.is_opened() && (self.incoming.has_words() || self.outgoing.is_resetting())
    }

    fn has_news(&self) -> bool {
        self.tells_opened
            || self.incoming.tells_readable()
            || self.incoming.tells_reset().is_some()
            || self.outgoing.tells_writable()
            || self.outgoing.tells_stopped().is_some()
    }

    /// Neither direction goes on.
    fn lose(&mut self, code: u32) {
        self.incoming.lose(code);
        self.outgoing.lose(code);
    }
}

/// The streams of a link.
#[derive(Debug)]
pub(super) struct Streams {
    terms: Terms,
    /// Streams by id, apart for who opened them: this side's first. Refused ones are the peer's.
    table: [BTreeMap<u64, Box<Stream>>; 2],
    refused: usize,
    /// For each side and priority, the lowest id that it has not used yet.
    next: [[u64; PRIORITIES]; 2],
    /// Own streams whose first frame was not sealed.
    unopened: usize,
    /// What windows have grown by.
    grown: u32,
    /// What waits to be sealed.
    queued: usize,
    /// Streams with something to seal among messages, for each priority.
    ready: [Turns; PRIORITIES],
    /// See [`Lanes`](super::queue::Lanes): one for each priority.
    pub(super) accounts: [i32; PRIORITIES],
    /// Streams with something to seal before messages.
    words: Turns,
    /// Streams that the owner is to be told of.
    news: Turns,
    /// Streams whose writers wait for room in the link's buffer, not in their own.
    blocked: Turns,
}

const OWN: usize = 0;
const PEERS: usize = 1;

/// The priority that an id says.
fn priority_of(id: u64) -> Priority {
    let at = usize::try_from(id >> 1 & 3).unwrap_or_default();
    Priority::ALL.get(at).copied().unwrap_or_default()
}

impl Streams {
    pub(super) fn new(terms: Terms) -> Self {
        let first = |initiator: bool| {
            let side = u64::from(initiator);
            [side, side | 2, side | 4, side | 6]
        };
        Self {
            terms,
            table: [BTreeMap::new(), BTreeMap::new()],
            refused: 0,
            next: [first(terms.initiator), first(!terms.initiator)],
            unopened: 0,
            grown: 0,
            queued: 0,
            ready: Default::default(),
            accounts: [0; PRIORITIES],
            words: Turns::default(),
            news: Turns::default(),
            blocked: Turns::default(),
        }
    }

    /// Whose stream it is: a place in the table.
    fn side(&self, id: u64) -> usize {
        if (id & 1 == 1) == self.terms.initiator { OWN } else { PEERS }
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Stream> {
        let side = self.side(id);
        self.table[side].get_mut(&id).map(|stream| &mut **stream)
    }

    /// Own streams, and the peer's that were not refused.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.table[OWN].len(), self.table[PEERS].len() - self.refused)
    }

    fn ids(&self) -> alloc::vec::Vec<u64> {
        self.table.iter().flat_map(BTreeMap::keys).copied().collect()
    }

    /// Puts a stream into the lists that it belongs in now, and forgets it if it belongs in none.
    fn settle(&mut self, id: u64) {
        let side = self.side(id);
        let Some(stream) = self.table[side].get_mut(&id) else { return };
        if stream.is_moot() {
            self.unopened -= 1;
            stream.incoming.over();
            stream.outgoing.over();
        }
        self.grown -= stream.incoming.take_growth();
        let room = self.terms.send_buffer.saturating_sub(self.queued);
        if stream.outgoing.waits() {
            // Its own buffer has room again, so that it waits for the link's only.
            let has_room = stream.outgoing.room(self.terms.limits.send_buffer) > 0;
            if has_room && room > 0 && !stream.blocked.is_taken() {
                stream.outgoing.wake();
            }
            self.blocked.set(id, &mut stream.blocked, has_room && stream.outgoing.waits());
        } else {
            self.blocked.set(id, &mut stream.blocked, false);
        }
        let at = priority_of(id) as usize;
        self.ready[at].set(id, &mut stream.ready, stream.outgoing.is_ready());
        let (has_words, has_news) = (stream.has_words(), stream.has_news());
        self.words.set(id, &mut stream.words, has_words);
        self.news.set(id, &mut stream.news, has_news);
        if stream.is_over() && !has_news {
            self.refused -= usize::from(stream.refused);
            self.table[side].remove(&id);
        }
    }

    /// Changes the outgoing direction of a stream, and notes what that frees.
    fn change<T>(&mut self, id: u64, change: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        let stream = self.get_mut(id)?;
        let before = stream.outgoing.queued();
        let result = change(stream);
        let after = stream.outgoing.queued();
        self.queued = self.queued - before + after;
        self.settle(id);
        if after < before {
            self.unblock();
        }
        Some(result)
    }

    /// Tells the writers that wait for the link's buffer once half of it is free: in the order in which they began
    /// to wait, so that each has its turn.
    fn unblock(&mut self) {
        if self.blocked.is_empty() || self.queued > self.terms.send_buffer / 2 {
            return;
        }
        while let Some(id) = self.blocked.first() {
            let side = self.side(id);
            let Some(stream) = self.table[side].get_mut(&id) else { return };
            stream.outgoing.wake();
            self.blocked.set(id, &mut stream.blocked, false);
            let has_news = stream.has_news();
            self.news.set(id, &mut stream.news, has_news);
        }
    }

    /// Opens a stream; `None` if as many are open as may be, or every id is used.
    fn open(&mut self, name: &str, priority: Priority) -> Option<u64> {
        let id = self.next[OWN][priority as usize];
        if self.table[OWN].len() >= self.most_open() || id > VARINT_MAX {
            return None;
        }
        self.next[OWN][priority as usize] = id + STEP;
        let stream = self.stream(name, false);
        self.table[OWN].insert(id, Box::new(stream));
        self.unopened += 1;
        self.settle(id);
        Some(id)
    }

    fn stream(&self, name: &str, opened: bool) -> Stream {
        Stream {
            name: Some(name.into()),
            incoming: Incoming::new(self.terms.limits.window),
            outgoing: Outgoing::new(self.terms.theirs.window, opened),
            refused: false,
            tells_opened: opened,
            ready: Place::default(),
            words: Place::default(),
            news: Place::default(),
            blocked: Place::default(),
        }
    }

    /// How many streams this side may have open at a time.
    fn most_open(&self) -> usize {
        usize::try_from(self.terms.limits.max_open.min(self.terms.theirs.max_streams)).unwrap_or(usize::MAX)
    }

    /// Handles a frame of the peer's. `no_more` says that it opens no more streams.
    pub(super) fn on_frame(&mut self, id: u64, frame: StreamFrame<'_>, no_more: bool) -> Result<(), Fault> {
        let violation = |what| Err(Fault::Violation(Malformed::new(what)));
        if let StreamFrame::Open { name, data, fin } = frame {
            if no_more {
                return violation("STREAM_OPEN: behind GOODBYE");
            }
            return self.on_open(id, name, data, fin);
        }
        let side = self.side(id);
        let next = self.next[side][priority_of(id) as usize];
        let stream = self.table[side].get(&id);
        let (forgotten, known) =
            (id < next && stream.is_none(), stream.is_some_and(|stream| stream.outgoing.is_opened()));
        match frame {
            StreamFrame::Data { data, fin } if known => {
                self.change(id, |stream| stream.incoming.take(data, fin)).unwrap_or(Ok(()))
            }
            StreamFrame::Reset { code } if known => {
                self.change(id, |stream| stream.incoming.reset(code)).unwrap_or(Ok(()))
            }
            StreamFrame::Credit { bytes } if known => {
                match self.change(id, |stream| stream.outgoing.grant(bytes)) {
                    Some(false) => Err(Fault::FlowControl),
                    _ => Ok(()),
                }
            }
            StreamFrame::Stop { code } if known => {
                self.change(id, |stream| stream.outgoing.reset(code, !stream.refused));
                Ok(())
            }
            // They may have been on their way when this side's direction ended.
            StreamFrame::Credit { .. } | StreamFrame::Stop { .. } if forgotten => Ok(()),
            _ => violation("a frame of a stream that is not open"),
        }
    }

    fn on_open(&mut self, id: u64, name: &str, data: &[u8], fin: bool) -> Result<(), Fault> {
        let violation = |what| Err(Fault::Violation(Malformed::new(what)));
        if self.side(id) == OWN {
            return violation("STREAM_OPEN: an id of the other side's");
        }
        let next = &mut self.next[PEERS][priority_of(id) as usize];
        if id < *next {
            return violation("STREAM_OPEN: its id does not ascend");
        }
        *next = id + STEP;
        let most = usize::try_from(self.terms.limits.max_open).unwrap_or(usize::MAX);
        let mut stream = self.stream(name, true);
        if self.counts().1 >= most {
            // Each of these takes a word of the peer's to be forgotten, and one that keeps to the limit owes few.
            if self.refused >= most {
                return Err(Fault::Flood);
            }
            self.refused += 1;
            stream = Stream { name: None, refused: true, tells_opened: false, ..stream };
            stream.incoming.stop(STREAM_REFUSED);
            stream.outgoing.reset(STREAM_REFUSED, false);
        }
        self.table[PEERS].insert(id, Box::new(stream));
        if data.is_empty() && !fin {
            self.settle(id);
            return Ok(());
        }
        self.change(id, |stream| stream.incoming.take(data, fin)).unwrap_or(Ok(()))
    }

    /// Whether there is an event to take.
    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// The next event.
    pub(super) fn next_news(&mut self, link: u64) -> Option<Event<'static>> {
        let id = self.news.first()?;
        let stream = self.get_mut(id)?;
        let tagged = StreamId { id, link };
        let event = if core::mem::take(&mut stream.tells_opened) {
            let name = stream.name.take().unwrap_or_default();
            Event::StreamOpened { id: tagged, name, priority: priority_of(id) }
        } else if stream.incoming.tells_readable() {
            stream.incoming.told_readable();
            Event::StreamReadable(tagged)
        } else if let Some(code) = stream.incoming.tells_reset() {
            stream.incoming.told_reset();
            Event::StreamReset { id: tagged, code }
        } else if let Some(code) = stream.outgoing.tells_stopped() {
            stream.outgoing.told_stopped();
            Event::StreamStopped { id: tagged, code }
        } else {
            stream.outgoing.told_writable();
            Event::StreamWritable(tagged)
        };
        self.settle(id);
        Some(event)
    }

    /// Whether the peer is to be told of streams that it has not heard of.
    pub(super) fn has_new_work(&self) -> bool {
        self.unopened > 0
    }

    /// Whether no stream keeps a link that drains: all that was to be sent is, and all that came was read.
    pub(super) fn is_drained(&self) -> bool {
        let mut streams = self.table.iter().flat_map(BTreeMap::values);
        streams.all(|stream| stream.outgoing.is_over() && stream.incoming.is_done())
    }

    /// Whether any stream is open.
    pub(super) fn is_empty(&self) -> bool {
        self.table.iter().all(BTreeMap::is_empty)
    }

    /// The peer takes no new streams: those that it has not heard of are over.
    pub(super) fn hold(&mut self) {
        if self.unopened == 0 {
            return;
        }
        for id in self.ids() {
            if self.get_mut(id).is_some_and(|stream| !stream.outgoing.is_opened()) {
                self.unopened -= 1;
                self.change(id, |stream| stream.lose(STREAM_LINK_ENDED));
            }
        }
    }

    /// Nothing more comes, and nothing goes. What came whole can still be read; but with `drop_whole` it
    /// cannot.
    pub(super) fn end(&mut self, drop_whole: bool) {
        self.unopened = 0;
        for id in self.ids() {
            self.change(id, |stream| {
                stream.outgoing.lose(STREAM_LINK_ENDED);
                if drop_whole || !stream.incoming.is_whole() {
                    stream.incoming.lose(STREAM_LINK_ENDED);
                }
            });
        }
    }

    /// The same at the end of the link, of which [`Event::Closed`] tells: what is left to be told is what came
    /// whole.
    pub(super) fn end_with_link(&mut self, drop_whole: bool) {
        self.end(drop_whole);
        for id in self.ids() {
            self.change(id, |stream| {
                stream.incoming.told_reset();
                stream.outgoing.told_stopped();
                stream.tells_opened &= stream.incoming.is_whole();
            });
        }
    }

    /// Gives memory back that no stream needs at the moment.
    pub(super) fn shrink(&mut self) {
        for stream in self.table.iter_mut().flat_map(BTreeMap::values_mut) {
            stream.incoming.shrink();
            stream.outgoing.shrink();
        }
    }
}

/// From one id of a side and a priority to the next.
const STEP: u64 = 8;

impl Streams {
    /// Bytes of one stream, beside its buffers, its name and its places in the lists.
    pub(super) const SIZE_OF_ONE: usize = size_of::<Stream>();
}

#[cfg(test)]
impl Streams {
    /// Bytes of memory that the buffers of all streams hold: of what came in, and of what goes out.
    pub(super) fn capacity(&self) -> (usize, usize) {
        let streams = self.table.iter().flat_map(BTreeMap::values);
        streams.fold((0, 0), |(incoming, outgoing), stream| {
            (incoming + stream.incoming.capacity(), outgoing + stream.outgoing.capacity())
        })
    }
}
