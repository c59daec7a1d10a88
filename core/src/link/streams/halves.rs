//! The two directions of a stream, each a small machine of its own.
//!
//! ```text
//!  incoming   Open ── FIN ──▶ Whole ── all was read ──▶ Over
//!              │  ╲── RESET ─▶ Reset ── that was read ──▶ Over
//!              └ the reader stops ▶ Stopped ── FIN, RESET ▶ Over
//!
//!  outgoing   Open ── the writer finishes ▶ Finishing ── FIN is sealed ──▶ Over
//!              └──┴── the writer resets, the reader stops ▶ Resetting ── RESET is sealed ──▶ Over
//! ```

use core::time::Duration;

use super::Fault;
use super::ring::Ring;
use super::window::Window;
use crate::time::Instant;
use crate::wire::reader::Malformed;

/// What [`Link::stream_read`](crate::Link::stream_read) found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamRead {
    /// So many bytes were moved into the reader's buffer.
    Data(usize),
    /// The peer has finished, and every byte was read. Said once.
    End,
    /// The peer has given its direction up, with this code; what was not read by then is gone. Said once.
    Reset(u32),
    /// There is nothing now. [`Event::StreamReadable`](crate::Event::StreamReadable) says when there is.
    Pending,
    /// There is nothing and will not be: the end was read already, or this side has stopped the peer, or the id is
    /// another link's.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum In {
    Open,
    Whole,
    Reset(u32),
    Stopped,
    Over,
}

/// The direction that this side reads.
#[derive(Debug)]
pub(super) struct Incoming {
    state: In,
    buffer: Ring,
    window: Window,
    /// The reader has taken everything that there was, and is to be told when there is more.
    waits: bool,
    /// It is to be told now.
    tell: bool,
    /// The peer's RESET is to be told.
    tell_reset: bool,
    /// STOP is to be sent, with this code.
    stop: Option<u32>,
}

impl Incoming {
    pub(super) fn new(window: u32) -> Self {
        Self {
            state: In::Open,
            buffer: Ring::default(),
            window: Window::new(window),
            waits: true,
            tell: false,
            tell_reset: false,
            stop: None,
        }
    }

    /// Bytes came, and the end of them perhaps.
    pub(super) fn take(&mut self, data: &[u8], fin: bool) -> Result<(), Fault> {
        if !matches!(self.state, In::Open | In::Stopped) {
            return Err(Fault::Violation(Malformed::new("STREAM_DATA: behind the end of its direction")));
        }
        if !self.window.charge(data.len()) {
            return Err(Fault::FlowControl);
        }
        if self.state == In::Stopped {
            if fin {
                self.over();
            }
            return Ok(());
        }
        self.buffer.push(data, self.window.size());
        if fin {
            self.state = In::Whole;
        }
        self.tell |= core::mem::take(&mut self.waits);
        Ok(())
    }

    /// The peer has given its direction up.
    pub(super) fn reset(&mut self, code: u32) -> Result<(), Fault> {
        match self.state {
            In::Open => self.lose(code),
            In::Stopped => self.over(),
            In::Whole | In::Reset(_) | In::Over => {
                return Err(Fault::Violation(Malformed::new(
                    "STREAM_RESET: behind the end of its direction",
                )));
            }
        }
        Ok(())
    }

    /// Nothing more will come, and what is here is of no use.
    pub(super) fn lose(&mut self, code: u32) {
        self.buffer.clear();
        self.stop = None;
        match self.state {
            In::Open | In::Whole => {
                self.state = In::Reset(code);
                self.tell_reset = true;
            }
            In::Stopped => self.state = In::Over,
            In::Reset(_) | In::Over => {}
        }
    }

    /// Nothing more will come, and nothing is to be read.
    pub(super) fn over(&mut self) {
        self.state = In::Over;
        self.buffer.clear();
        self.stop = None;
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> StreamRead {
        match self.state {
            In::Open | In::Whole if !self.buffer.is_empty() => {
                let count = self.buffer.read(out);
                self.window.release(count);
                self.wait();
                StreamRead::Data(count)
            }
            In::Open => {
                self.wait();
                StreamRead::Pending
            }
            In::Whole => {
                self.over();
                StreamRead::End
            }
            In::Reset(code) => {
                self.over();
                StreamRead::Reset(code)
            }
            In::Stopped | In::Over => StreamRead::Over,
        }
    }

    /// Once everything was read, the reader is told of what comes.
    fn wait(&mut self) {
        if self.state == In::Open && self.buffer.is_empty() {
            self.waits = true;
            self.tell = false;
        }
    }

    /// The reader wants no more.
    pub(super) fn stop(&mut self, code: u32) {
        match self.state {
            In::Open => {
                self.state = In::Stopped;
                self.buffer.clear();
                self.stop = Some(code);
            }
            In::Whole | In::Reset(_) => self.over(),
            In::Stopped | In::Over => {}
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state == In::Stopped
    }

    /// Takes the code of a STOP that is to be sent.
    pub(super) fn take_stop(&mut self) -> Option<u32> {
        self.stop.take()
    }

    /// Whether anything is to be sent about this direction.
    pub(super) fn has_words(&self) -> bool {
        self.stop.is_some() || self.credit_is_due()
    }

    fn credit_is_due(&self) -> bool {
        self.state == In::Open && self.window.is_due()
    }

    /// Takes what is to be given back, if it is time, and what the window grew by, `room` at most: see
    /// [`Window::take`].
    pub(super) fn take_credit(
        &mut self,
        room: u32,
        largest: u32,
        now: Instant,
        rtt: Option<Duration>,
    ) -> Option<(u32, u32)> {
        self.credit_is_due().then(|| self.window.take(self.buffer.is_empty(), room, largest, now, rtt))
    }

    /// What the window had grown by, once nothing of it is used any more.
    pub(super) fn take_growth(&mut self) -> u32 {
        if matches!(self.state, In::Open | In::Whole) { 0 } else { self.window.take_growth() }
    }

    /// Whether the reader is to be told that there is something to read.
    pub(super) fn tells_readable(&self) -> bool {
        self.tell && matches!(self.state, In::Open | In::Whole)
    }

    pub(super) fn told_readable(&mut self) {
        self.tell = false;
    }

    /// The code of a RESET that is to be told.
    pub(super) fn tells_reset(&self) -> Option<u32> {
        match self.state {
            In::Reset(code) if self.tell_reset => Some(code),
            _ => None,
        }
    }

    pub(super) fn told_reset(&mut self) {
        self.tell_reset = false;
    }

    /// Whether every byte of the peer's has come and some, or the end, are to be read.
    pub(super) fn is_whole(&self) -> bool {
        self.state == In::Whole
    }

    /// Whether the peer has nothing more to say here, and the reader has nothing to read but that.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, In::Over | In::Reset(_))
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == In::Over
    }

    pub(super) fn shrink(&mut self) {
        self.buffer.shrink();
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Out {
    Open,
    Finishing,
    Resetting(u32),
    Over,
}

/// The direction that this side writes. What waits in it has credit: it could all be sealed at once.
#[derive(Debug)]
pub(super) struct Outgoing {
    state: Out,
    buffer: Ring,
    /// What the peer has granted and was not sealed.
    credit: u32,
    /// The stream's first frame was sealed, or read.
    opened: bool,
    /// The writer had more than there was room for, and is to be told when there is some.
    waits: bool,
    /// It is to be told now.
    tell: bool,
    /// The peer's STOP is to be told.
    stopped: Option<u32>,
}

/// What is sealed of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) len: usize,
    pub(super) fin: bool,
}

impl Outgoing {
    pub(super) fn new(credit: u32, opened: bool) -> Self {
        Self {
            state: Out::Open,
            buffer: Ring::default(),
            credit,
            opened,
            waits: false,
            tell: false,
            stopped: None,
        }
    }

    /// The bytes that can be taken, where the stream's own buffer has `limit`.
    pub(super) fn room(&self, limit: u32) -> usize {
        let most = usize::try_from(self.credit.min(limit)).unwrap_or(usize::MAX);
        if self.is_open() { most.saturating_sub(self.buffer.len()) } else { 0 }
    }

    /// Takes the first bytes, at most `room`; notes whether the writer had more.
    pub(super) fn write(&mut self, bytes: &[u8], room: usize, limit: u32) -> usize {
        if !self.is_open() {
            return 0;
        }
        let count = bytes.len().min(room);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.buffer.push(bytes.get(..count).unwrap_or_default(), limit);
        self.waits |= count < bytes.len();
        count
    }

    pub(super) fn finish(&mut self) {
        if self.is_open() {
            self.state = Out::Finishing;
        }
    }

    /// The writer, or with `stopped` the reader at the other side, gives this direction up.
    pub(super) fn reset(&mut self, code: u32, stopped: bool) {
        if matches!(self.state, Out::Open | Out::Finishing) {
            self.state = Out::Resetting(code);
            self.buffer.clear();
            if stopped {
                self.stopped = Some(code);
            }
        }
    }

    /// Nothing of this direction goes any more, and its writer knows.
    pub(super) fn over(&mut self) {
        self.state = Out::Over;
        self.buffer.clear();
    }

    /// Nothing of this direction goes any more.
    pub(super) fn lose(&mut self, code: u32) {
        self.reset(code, true);
        self.state = Out::Over;
    }

    /// The peer grants more; false if that is more than there can be.
    #[must_use]
    pub(super) fn grant(&mut self, bytes: u64) -> bool {
        if !matches!(self.state, Out::Open | Out::Finishing) {
            return true;
        }
        match u64::from(self.credit).checked_add(bytes).map(u32::try_from) {
            Some(Ok(credit)) => {
                self.credit = credit;
                true
            }
            _ => false,
        }
    }

    /// The next piece, of at most `room` bytes. It is a frame's worth in any case if
    /// [`is_ready`](Self::is_ready).
    pub(super) fn piece(&self, room: usize) -> Piece {
        let len = self.buffer.len().min(room);
        Piece { len, fin: self.state == Out::Finishing && len == self.buffer.len() }
    }

    /// Moves a piece into a frame.
    pub(super) fn seal(&mut self, piece: Piece, out: &mut alloc::vec::Vec<u8>) {
        self.buffer.append_to(piece.len, out);
        self.credit = self.credit.saturating_sub(u32::try_from(piece.len).unwrap_or(u32::MAX));
        self.opened = true;
        if piece.fin {
            self.state = Out::Over;
        }
    }

    /// Whether there is a frame to seal that has its turn among messages.
    pub(super) fn is_ready(&self) -> bool {
        match self.state {
            Out::Open => !self.opened || !self.buffer.is_empty(),
            Out::Finishing => true,
            Out::Resetting(_) => !self.opened,
            Out::Over => false,
        }
    }

    /// Takes the code of a RESET that is to be sent: it ends this direction.
    pub(super) fn take_reset(&mut self) -> Option<u32> {
        match self.state {
            Out::Resetting(code) => {
                self.state = Out::Over;
                Some(code)
            }
            _ => None,
        }
    }

    pub(super) fn is_resetting(&self) -> bool {
        matches!(self.state, Out::Resetting(_))
    }

    pub(super) fn is_opened(&self) -> bool {
        self.opened
    }

    pub(super) fn queued(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn waits(&self) -> bool {
        self.waits && self.is_open()
    }

    /// The writer that waits is to be told.
    pub(super) fn wake(&mut self) {
        self.tell |= core::mem::take(&mut self.waits);
    }

    pub(super) fn tells_writable(&self) -> bool {
        self.tell && self.is_open()
    }

    pub(super) fn told_writable(&mut self) {
        self.tell = false;
    }

    pub(super) fn tells_stopped(&self) -> Option<u32> {
        self.stopped
    }

    pub(super) fn told_stopped(&mut self) {
        self.stopped = None;
    }

    fn is_open(&self) -> bool {
        self.state == Out::Open
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == Out::Over
    }

    pub(super) fn shrink(&mut self) {
        self.buffer.shrink();
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}
