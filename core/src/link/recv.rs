//! Bytes in: from the receive buffer to whole messages, each handed to what the phase expects.

use core::time::Duration;

use super::Link;
use super::session::Signal;
use crate::crypto::TAG_LEN;
use crate::error::{By, Reason};
use crate::node::FromLink;
use crate::phase::Phase;
use crate::refusal::Refusal;
use crate::time::Instant;
use crate::wire::Malformed;
use crate::wire::frame::Frame;
use crate::wire::preamble::{CLEARTEXT_LEN, CleartextRefusal, PREAMBLE_LEN};
use crate::wire::reader::Reader;
use crate::wire::reason;

/// The largest body of a message before there are traffic keys.
pub(super) const MAX_HANDSHAKE: usize = 4096;

/// The longest time that a refusal in the clear can keep a dialler away.
const LONGEST_HINT: Duration = Duration::from_secs(60);

/// Bytes that a link with traffic keys reads at a time, at most.
const READ_AHEAD: usize = 64 << 10;

impl Link {
    /// Room for the bytes of the next read. An empty slice means that the link takes none at the moment: it
    /// has ended, or it holds as much as it may before its peer is authenticated.
    pub fn recv_space(&mut self) -> &mut [u8] {
        #[cfg(feature = "recording")]
        self.note_space();
        let limit = match (self.phase, &self.session) {
            (Phase::Closed, _) => 0,
            (Phase::Alive | Phase::Status | Phase::Established | Phase::Draining, Some(session)) => {
                READ_AHEAD.max(2 + usize::from(session.limits.max_record) + TAG_LEN)
            }
            _ => 2 + MAX_HANDSHAKE,
        };
        self.recv.space(limit)
    }

    /// Takes in `count` bytes that were read into [`recv_space`](Self::recv_space).
    pub fn received(&mut self, count: usize, now: Instant) {
        note!(self, Some(now), Input::Received { count, bytes: self.recv.being_filled(count).into() });
        self.advance(now);
        if self.phase == Phase::Closed {
            return;
        }
        self.stats.bytes_received += count as u64;
        self.recv.filled(count);
        self.process();
    }

    /// The stream has ended: nothing more will come.
    pub fn recv_closed(&mut self, now: Instant) {
        note!(self, Some(now), Input::RecvClosed);
        self.advance(now);
        match &self.drain {
            // The end after CLOSE is as it should be; this side may still have its own to send.
            Some(drain) if drain.close_received.is_some() => {}
            _ => self.end(Reason::Truncated, By::Transport),
        }
    }

    /// The stream has failed: nothing more will come or go.
    pub fn transport_failed(&mut self, now: Instant) {
        note!(self, Some(now), Input::TransportFailed);
        self.advance(now);
        self.end(Reason::Transport, By::Transport);
        self.send.clear();
        if let Some(ending) = &mut self.ending {
            ending.flushed = true;
        }
    }

    /// Handles every whole message that has come, as far as the phase takes any.
    pub(super) fn process(&mut self) {
        loop {
            let done = match self.phase {
                Phase::Preamble => self.process_preamble(),
                Phase::KeyExchange | Phase::Authentication => self.process_handshake(),
                Phase::Admission | Phase::Closed => None,
                // The dialler's node has the word, and the peer waits for it.
                Phase::Alive if self.is_initiator() => None,
                Phase::Alive | Phase::Status | Phase::Established | Phase::Draining => self.process_record(),
            };
            if done.is_none() {
                break;
            }
        }
    }

    fn process_preamble(&mut self) -> Option<()> {
        let preamble = *self.recv.pending().first_chunk::<PREAMBLE_LEN>()?;
        self.recv.take(PREAMBLE_LEN)?;
        self.on_preamble(preamble);
        Some(())
    }

    fn process_handshake(&mut self) -> Option<()> {
        let length = self.next_length()?;
        if length == 0 {
            return self.process_cleartext();
        }
        if length > MAX_HANDSHAKE {
            self.end(Reason::TooLarge, By::Local);
            return None;
        }
        if self.phase == Phase::KeyExchange && length != self.key_exchange_len() {
            self.violate(Malformed::new("key exchange: a message of another length than its suite's"));
            return None;
        }
        // Taken out of `self` while its bytes are read: the two are apart.
        let mut recv = core::mem::take(&mut self.recv);
        let body = recv.take_framed(length);
        let whole = body.is_some();
        if let Some(body) = body {
            // It answers what this side said last, if it has said anything.
            if let Some(spoke) = self.handshake.as_ref().and_then(|handshake| handshake.spoke) {
                self.stats.note_rtt(self.now.since(spoke));
            }
            if self.phase == Phase::KeyExchange {
                self.on_key_exchange(body);
            } else {
                self.on_authentication(body);
            }
        }
        if self.phase != Phase::Closed {
            self.recv = recv;
        }
        whole.then_some(())
    }

    /// A refusal in the clear ends this attempt; it is a hint, and by whom is not known.
    fn process_cleartext(&mut self) -> Option<()> {
        let [_, _, refusal @ ..] = *self.recv.pending().first_chunk::<CLEARTEXT_LEN>()?;
        let why = match CleartextRefusal::parse(refusal) {
            Ok(CleartextRefusal::UnsupportedWire { major }) => Reason::UnsupportedWire { theirs: major },
            Ok(CleartextRefusal::UnsupportedSuite { suites }) => Reason::UnsupportedSuite { theirs: suites },
            Ok(CleartextRefusal::OverCapacity { seconds }) => {
                // Anybody on the way can say this, so it is not believed for long.
                let retry_after = Duration::from_secs(seconds.into()).min(LONGEST_HINT);
                Reason::Refused(Refusal::OverCapacity { retry_after })
            }
            Ok(CleartextRefusal::KeyExchangeFailed) => Reason::KeyExchangeFailed,
            Err(what) => {
                self.violate(what);
                return None;
            }
        };
        self.end(why, By::Peer);
        None
    }

    fn next_length(&self) -> Option<usize> {
        let length = self.recv.pending().first_chunk::<2>()?;
        Some(usize::from(u16::from_be_bytes(*length)))
    }

    /// Opens the next record in place and hands its frames on.
    fn process_record(&mut self) -> Option<()> {
        let length = self.next_length()?;
        if length == 0 && self.phase == Phase::Status && !self.alive_asked() {
            return self.process_cleartext();
        }
        let session = self.session.as_mut()?;
        if length <= TAG_LEN {
            self.violate(Malformed::new("record: empty"));
            return None;
        }
        if length > usize::from(session.limits.max_record) + TAG_LEN {
            self.end(Reason::TooLarge, By::Local);
            return None;
        }
        let mut recv = core::mem::take(&mut self.recv);
        let body = recv.take_framed(length);
        let whole = body.is_some();
        if let Some((text, tag)) = body.and_then(<[u8]>::split_last_chunk_mut::<TAG_LEN>) {
            if session.open.open(text, tag).is_ok() {
                self.on_record(text);
            } else {
                self.end(Reason::DecryptFailed, By::Local);
            }
        }
        if self.phase != Phase::Closed {
            self.recv = recv;
        }
        whole.then_some(())
    }

    fn on_record(&mut self, text: &[u8]) {
        self.stats.records_opened += 1;
        if let Some(session) = &mut self.session {
            session.liveness.hear(self.now);
        }
        if self.phase.is_open() {
            self.tell_confirmed();
        }
        let mut record = Reader::new(text);
        while !record.is_empty() && self.phase != Phase::Closed {
            if let Err(why) = self.on_frame(&mut record) {
                self.end(why, By::Local);
            }
        }
        self.answer_alive_without_node();
        self.advance_drain();
    }

    fn on_frame(&mut self, record: &mut Reader<'_>) -> Result<(), Reason> {
        // A peer that has sent CLOSE has nothing more to say.
        let said_all = self.drain.as_ref().is_some_and(|drain| drain.close_received.is_some());
        let Some((session, mut context, _)) = self.session_parts() else { return Ok(()) };
        let frame = Frame::parse(record).map_err(|what| context.malformed(what))?;
        match (context.phase, frame) {
            (Phase::Status, Frame::Status(status)) => return self.on_status(status),
            (Phase::Status, _) => {
                return Err(context.malformed(Malformed::new("the first frame is not STATUS")));
            }
            (Phase::Alive | Phase::Admission, frame) => return self.on_alive_frame(frame),
            _ => {}
        }
        if said_all {
            return Err(context.malformed(Malformed::new("a frame behind CLOSE")));
        }
        match session.on_frame(frame, record.is_empty(), &mut context)? {
            None => {}
            Some(Signal::Rekey) => {
                session.open.rekey(&*context.config.provider).map_err(|_| Reason::ProviderFailed)?;
                context.stats.rekeys_received += 1;
            }
            Some(Signal::Ready) => self.on_ready()?,
            Some(Signal::Stream { id, frame }) => self.on_stream_frame(id, frame)?,
            Some(Signal::Permanence(kept)) => self.on_permanence(kept),
            Some(Signal::Advert(advert)) => self.on_advert(advert),
            Some(Signal::AdvertAcked(version)) => self.tell_node(|| FromLink::AdvertAcked { version }),
            Some(Signal::Goodbye { code, detail }) => {
                session.hold();
                self.drain(By::Peer, Reason::Goodbye { code, detail: detail.into() });
            }
            Some(Signal::Close(body)) => {
                let theirs = reason::parse(body, context.config.node_id(), context.phase)
                    .map_err(|what| context.malformed(what))?;
                if matches!(theirs, Reason::WrongPeer { .. } | Reason::Downgrade) {
                    return Err(context.malformed(Malformed::new("CLOSE: a reason of the handshake")));
                }
                self.close_received(theirs);
            }
        }
        Ok(())
    }
}
