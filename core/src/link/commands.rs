//! What the owner tells a link to do. A command is checked and queued at once, or refused with a reason and
//! the message given back.

use super::Link;
use super::calls::{Pending, Sealed};
use super::credit::Budget;
use super::message::{
    CallId, Envelope, MAX_ERROR_DETAIL, MAX_SERVICE, Message, Payload, Priority, Rejected, ReplyRejected,
    ReplyToken, Why,
};
use super::queue::{Kind, Lanes};
use super::requests::Requests;
use super::timers::Timer;
use crate::crypto::CryptoError;
use crate::error::{By, Reason, ServiceError};
use crate::phase::Phase;
use crate::refusal::Refusal;
use crate::time::Instant;
use crate::wire::frame::{Begin, Lane, begin_len};
use crate::wire::reason::MAX_DETAIL;
use core::time::Duration;

impl Link {
    /// Sends a message one way. It is queued at once; its order among messages of the same priority is kept,
    /// unless it is [unordered](Message::unordered).
    ///
    /// # Errors
    /// [`Rejected`] gives the message back with the reason: not established, draining, closed, full, too
    /// large.
    pub fn send<'a>(&mut self, message: Message<'a>) -> Result<(), Rejected<'a>> {
        note!(self, None, Input::Send((&message).into()));
        if let Err(why) = self.may_queue(&message) {
            return Err(Rejected { why, message });
        }
        if let Some(session) = &mut self.session {
            session.lanes.push_message(&message);
        }
        Ok(())
    }

    /// Calls a service of the peer and waits at most `timeout` for the answer, which comes as
    /// [`Event::Reply`](super::Event::Reply) or [`Event::CallFailed`](super::Event::CallFailed).
    ///
    /// # Errors
    /// As [`send`](Self::send), as many calls in flight as the peer serves, and a signed message, which goes one way.
    pub fn call<'a>(
        &mut self,
        message: Message<'a>,
        timeout: Duration,
        now: Instant,
    ) -> Result<CallId, Rejected<'a>> {
        note!(self, Some(now), Input::Call((&message).into(), timeout));
        self.advance(now);
        if message.body.is_signed() {
            return Err(Rejected { why: Why::OneWayOnly, message });
        }
        if let Err(why) = self.may_queue(&message) {
            return Err(Rejected { why, message });
        }
        let Some(session) = &mut self.session else { return Err(Rejected { why: Why::Closed, message }) };
        if session.call_space() == 0 {
            let limit = session.limits.max_calls;
            return Err(Rejected { why: Why::TooManyCalls { limit }, message });
        }
        let id = session.next_call;
        session.next_call += 1;
        let (deadline, lane) = (self.now + timeout, message.priority.lane());
        // The id is new, so there is room for it.
        let _ = session.pending.insert(Pending { id, deadline, lane, sealed: Sealed::Nothing });
        session.lanes.push(lane, Kind::Call { id, deadline }, message.service, message.body.queued());
        self.timers.set_earliest(Timer::Calls, deadline);
        Ok(CallId { id, link: self.tag })
    }

    fn may_queue(&self, message: &Message<'_>) -> Result<(), Why> {
        match self.phase {
            Phase::Established => {}
            Phase::Draining => return Err(Why::Draining),
            Phase::Closed => return Err(Why::Closed),
            _ => return Err(Why::NotEstablished),
        }
        let Some(session) = &self.session else { return Err(Why::Closed) };
        if message.service.len() > MAX_SERVICE {
            return Err(Why::LongServiceName);
        }
        let limit = session.limits.max_message;
        if message.body.len() > limit as usize {
            return Err(Why::TooLarge { limit });
        }
        if self.send_space(message.priority) == 0 {
            return Err(Why::Full);
        }
        Ok(())
    }

    /// Bytes of messages that may still be queued with this priority before the send buffer is full; each message
    /// counts 64 more than its body and service name, and one that has expired counts, for every priority, until its
    /// event is taken. The last one may go over it.
    ///
    /// Each priority has a quarter of the buffer: what is urgent does not wait for room until a large message of a lower
    /// priority has left, and what is not has room whatever urgent messages come.
    pub fn send_space(&self, priority: Priority) -> usize {
        let part = (self.config.send_buffer / Priority::ALL.len()).max(1);
        self.session.as_ref().map_or(part, |session| {
            // An owner that takes no events could pile up what has expired.
            let taken = session.lanes.messages(priority.lane()) + session.untaken_expired;
            part.saturating_sub(taken)
        })
    }

    /// Calls that may still be made before as many are in flight as the peer serves. One that has failed counts until its
    /// event is taken, and one that was given up until the peer has been told.
    pub fn call_space(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.call_space())
    }

    /// Bytes of answers that may still be queued: they have a bound of their own, of the same size. Behind
    /// calls that wait for credit, two busy sides would wait for each other.
    pub fn reply_space(&self) -> usize {
        let queued = self.session.as_ref().map_or(0, |session| session.lanes.bytes(Budget::Replies));
        self.config.send_buffer.max(1).saturating_sub(queued)
    }

    /// Gives up a call and tells the peer to stop. No event of it follows, unless its answer has come already
    /// and waits to be taken. Does nothing if the call is over.
    pub fn cancel(&mut self, call: CallId, now: Instant) {
        note!(self, Some(now), Input::Cancel(self.named_call(call)));
        self.advance(now);
        if let Some(session) = self.session.as_mut().filter(|_| call.link == self.tag) {
            if let Some(pending) = session.pending.remove(call.id) {
                session.withdraw(&pending);
            }
        }
        self.advance_drain();
    }

    /// Answers a call.
    ///
    /// # Errors
    /// [`ReplyRejected`] gives the answer back; with the token if another one can still be given: the body is
    /// longer than the caller takes or marked as a signed message, or [`reply_space`](Self::reply_space) is used
    /// up. Without the token
    /// if nobody waits any more, which is no fault.
    pub fn reply<'a>(
        &mut self,
        token: ReplyToken,
        answer: Result<Payload<'a>, ServiceError>,
    ) -> Result<(), ReplyRejected<'a>> {
        note!(self, None, self.answering(&token, &answer));
        let space = self.reply_space();
        let session = self.session.as_mut().filter(|_| self.phase.is_open() && token.link == self.tag);
        let call = session.and_then(|session| {
            let call = *session.serving.get_mut(token.id)?;
            (call.serial == token.serial).then_some((session, call))
        });
        let Some((session, call)) = call else {
            return Err(ReplyRejected { why: Why::NobodyWaits, token: None, answer });
        };
        let limit = session.limits.max_message;
        let refused = match &answer {
            Ok(body) if body.is_signed() => Some(Why::OneWayOnly),
            Ok(body) if body.len() > limit as usize => Some(Why::TooLarge { limit }),
            Err(ServiceError::Application { detail, .. }) if detail.len() > MAX_ERROR_DETAIL => {
                Some(Why::TooLarge { limit: u32::try_from(MAX_ERROR_DETAIL).unwrap_or(u32::MAX) })
            }
            Ok(_) if space == 0 => Some(Why::Full),
            _ => None,
        };
        if let Some(why) = refused {
            return Err(ReplyRejected { why, token: Some(token), answer });
        }
        session.serving.remove(token.id);
        match answer {
            Ok(body) => {
                let begin = Begin::Reply { id: token.id };
                let fits = begin_len(&begin, None) + body.len() <= usize::from(session.limits.max_record) / 2;
                // A long answer goes back the way its call came: in the reply lane it would hold up short
                // ones.
                let lane = if fits { Lane::REPLY } else { call.lane };
                session.lanes.push(lane, Kind::Reply { id: token.id }, "", body.queued());
            }
            Err(error) => session.answer_error(token.id, &error),
        }
        Ok(())
    }

    /// Takes the peer that [`Event::Identified`](super::Event::Identified) asked about. Does nothing in
    /// another phase, and on a link that belongs to a node, which answers in its place.
    pub fn admit(&mut self, now: Instant) {
        note!(self, Some(now), Input::Admit);
        self.advance(now);
        if self.phase == Phase::Admission && self.managed.is_none() {
            self.accept(false);
            self.process();
        }
    }

    /// Refuses the peer that [`Event::Identified`](super::Event::Identified) asked about, and tells it why.
    /// In an earlier phase of a responder, [`Refusal::OverCapacity`] goes out in the clear; in any other
    /// case the link just ends.
    pub fn refuse(&mut self, refusal: Refusal, now: Instant) {
        use crate::wire::preamble::CleartextRefusal;
        note!(self, Some(now), Input::Refuse(alloc::borrow::Cow::Borrowed(&refusal)));
        self.advance(now);
        match (self.phase, &refusal) {
            (
                Phase::Preamble | Phase::KeyExchange | Phase::Authentication,
                Refusal::OverCapacity { retry_after },
            ) if !self.is_initiator() => {
                let seconds = u16::try_from(retry_after.as_millis().div_ceil(1000)).unwrap_or(u16::MAX);
                self.refuse_in_clear(CleartextRefusal::OverCapacity { seconds }, Reason::Refused(refusal));
            }
            (Phase::Alive, _) if !self.is_initiator() => self.refuse_with(Reason::Refused(refusal), true),
            (Phase::Admission, _) => self.refuse_with(Reason::Refused(refusal), true),
            (phase, _) if phase.is_handshake() => self.end(Reason::Refused(refusal), By::Local),
            _ => {}
        }
    }

    /// Says goodbye: no new sends, calls or streams from here on; what was queued before goes out, calls in flight
    /// and streams finish, and what they brought is read, then the link closes, at the latest after the drain time. Saying it again changes nothing.
    /// Before the link is established it just ends.
    ///
    /// `detail` is cut to 255 bytes.
    pub fn goodbye(&mut self, code: u32, detail: &str, now: Instant) {
        note!(self, Some(now), Input::Goodbye { code, detail: goodbye_text(detail) });
        self.advance(now);
        let why = Reason::Goodbye { code, detail: cut(detail, MAX_DETAIL).into() };
        match self.phase {
            Phase::Established => self.drain(By::Local, why),
            phase if phase.is_handshake() => self.end(why, By::Local),
            _ => {}
        }
    }

    /// Waits no longer, because the owner's time is over before the drain time is: a goodbye ends as if that were
    /// over, and a link that has ended waits neither for its last bytes to leave nor for requests to be taken.
    #[cfg(any(feature = "runtime", feature = "recording"))]
    pub(crate) fn stop_waiting(&mut self, now: Instant) {
        note!(self, Some(now), Input::StopWaiting);
        self.advance(now);
        match &mut self.ending {
            Some(ending) => (ending.flushed, ending.waited) = (true, true),
            None if self.phase == Phase::Draining => self.end(Reason::DrainTimeout, By::Local),
            None => {}
        }
    }

    /// Ends the link at once, without a goodbye; the peer is told `dropped`, as far as the stream takes it.
    /// Requests that have not been taken are dropped.
    pub fn close(&mut self, now: Instant) {
        note!(self, Some(now), Input::Close);
        self.advance(now);
        self.end(Reason::Dropped, By::Local);
    }

    /// Ends the link at once because trust in the peer was withdrawn; the peer is told `revoked`, as far as
    /// the stream takes it. Requests that have not been taken are dropped, also those of a link that has ended
    /// already.
    pub fn revoke(&mut self, now: Instant) {
        note!(self, Some(now), Input::Revoke);
        self.advance(now);
        self.end(Reason::Revoked, By::Local);
        if let (Some(session), Some(ending)) = (&mut self.session, &mut self.ending) {
            ending.closed.untaken += session.requests.len();
            session.requests = Requests::default();
            if let Some(streams) = &mut session.streams {
                streams.end_with_link(true);
            }
        }
    }

    /// Changes the key of this direction with the next record, and asks the peer to change its own. Requests
    /// do not pile up.
    pub fn rekey(&mut self, now: Instant) {
        note!(self, Some(now), Input::Rekey);
        self.advance(now);
        if let Some(session) = self.session.as_mut().filter(|_| self.phase.is_open()) {
            session.control.rekey.wanted = true;
        }
    }

    /// Sends a ping, to measure the round trip: see [`Stats::rtt`](super::Stats::rtt). One that is under way serves as
    /// well: else pings in quick succession would each make the answer to the one before worthless.
    pub fn ping(&mut self, now: Instant) {
        note!(self, Some(now), Input::Ping);
        self.advance(now);
        if let Some(session) = self.session.as_mut().filter(|_| self.phase.is_open()) {
            session.measure();
        }
    }

    /// Fills `out` with keying material that only the two sides of this link share, for the application's own
    /// use. Different labels give independent bytes.
    ///
    /// # Errors
    /// [`CryptoError::BadLength`] if `out` is longer than 8160 bytes, or `label` or `context` longer than 65
    /// 535; [`CryptoError::OutOfTurn`] unless the link is established.
    pub fn export(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
        match &self.session {
            Some(session) if self.phase.is_open() => {
                super::peer::export(&session.exporter, &*self.config.provider, label, context, out)
            }
            _ => Err(CryptoError::OutOfTurn),
        }
    }

    /// After the end: the one-way messages of which the last byte was not sealed, in order of their priority
    /// and in the order in which they were queued within one. The peer delivers whole messages only, so it has
    /// delivered none of them. Those of a link that belongs to a node go to the node.
    pub fn take_unsent(&mut self) -> Option<Envelope> {
        note!(self, None, Input::TakeUnsent);
        let lanes =
            self.session.as_mut().filter(|_| self.phase == Phase::Closed).map(|session| &mut session.lanes);
        lanes.and_then(Lanes::take_unsent).or_else(|| self.take_kept())
    }
}

/// The longest beginning of `text` that has at most `limit` bytes.
fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}
