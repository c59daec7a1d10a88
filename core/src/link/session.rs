//! What a link has from its traffic keys on, and what each incoming frame does to it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::time::Duration;

use super::action::{Body as Received, Stats};
use super::barrier::Barrier;
use super::calls::{self, CallTable, Pending, Sealed, Serving};
use super::context::Context;
use super::control::Control;
use super::credit::{Budget, MESSAGE_OVERHEAD, RecvCredit, SendCredit};
use super::inbox::{Begun, Inbox, Notice, Partial};
use super::liveness::Liveness;
use super::queue::Lanes;
use super::requests::{Content, Head, RequestedCall, Requests};
use super::state::Outbound;
use super::streams::Streams;
use super::timers::Timer;
use crate::crypto::Secret;
use crate::crypto::cipher::{OpenKey, SealKey};
use crate::error::{CallError, Reason, ServiceError};
use crate::hello::Limits;
use crate::time::Instant;
use crate::wire::frame::{Begin, Frame, Lane, MAX_ADVERT, Marks};
use crate::wire::stream::StreamFrame;

/// When the key of the sending direction changes next.
#[derive(Debug)]
pub(super) struct KeyAge {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) since: Instant,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) exporter: Secret<32>,
    pub(super) seal: SealKey,
    pub(super) open: OpenKey,
    pub(super) key_age: KeyAge,
    pub(super) limits: Limits,
    pub(super) control: Control,
    pub(super) barrier: Barrier,
    pub(super) lanes: Lanes,
    /// From the first stream on.
    pub(super) streams: Option<Box<Streams>>,
    pub(super) send_credit: [SendCredit; 2],
    pub(super) recv_credit: [RecvCredit; 2],
    pub(super) requests: Requests,
    pub(super) notices: Inbox,
    /// In boxes: an idle link has none.
    pub(super) partial: [Option<Box<Partial>>; Lane::COUNT],
    /// Messages of each lane so far.
    sequence: [u64; Lane::COUNT],
    pub(super) pending: CallTable<Pending>,
    pub(super) serving: CallTable<Serving>,
    pub(super) next_call: u64,
    /// Failures of own calls that the owner has not taken.
    pub(super) untaken_failures: usize,
    /// Calls of the peer's that ended, of which the owner has not been told.
    pub(super) untaken_cancels: usize,
    /// What expired messages were charged to the send buffer that the owner has not been told of.
    pub(super) untaken_expired: usize,
    /// Calls of the peer's so far.
    served: u64,
    /// The peer has said goodbye: it begins nothing new.
    pub(super) peer_said_goodbye: bool,
    /// A goodbye is under way: what is taken is confirmed at once.
    pub(super) draining: bool,
    pub(super) outbound: Outbound,
    pub(super) liveness: Liveness,
    /// The last message or answer, in either direction.
    pub(super) activity: Instant,
}

/// What a frame asks of the link as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signal<'a> {
    Goodbye { code: u32, detail: &'a str },
    Stream { id: u64, frame: StreamFrame<'a> },
    Close(&'a [u8]),
    Rekey,
    Permanence(bool),
    Advert(&'a [u8]),
    Ready,
    AdvertAcked(u64),
}

/// Whether a whole message goes to the application.
enum Verdict {
    /// It does, as a message or as this call.
    Deliver(Option<RequestedCall>),
    /// It has been dealt with.
    Drop,
}

impl Session {
    pub(super) fn new(
        seal: SealKey,
        open: OpenKey,
        exporter: Secret<32>,
        limits: Limits,
        first_ping: u64,
        now: Instant,
    ) -> Self {
        let send = SendCredit::new(limits.window);
        let recv = RecvCredit::new(limits.window, limits.max_message);
        Self {
            exporter,
            seal,
            open,
            key_age: KeyAge { records: 0, bytes: 0, since: now },
            limits,
            control: Control::default(),
            barrier: Barrier::default(),
            lanes: Lanes::default(),
            streams: None,
            send_credit: [send; 2],
            recv_credit: [recv; 2],
            requests: Requests::default(),
            notices: Inbox::default(),
            partial: Default::default(),
            sequence: [0; Lane::COUNT],
            pending: CallTable::default(),
            serving: CallTable::default(),
            next_call: 1,
            untaken_failures: 0,
            untaken_cancels: 0,
            untaken_expired: 0,
            served: 0,
            peer_said_goodbye: false,
            draining: false,
            outbound: Outbound::Open,
            liveness: Liveness::new(first_ping, now),
            activity: now,
        }
    }

    /// Handles a frame; `last` says that it ends its record.
    pub(super) fn on_frame<'a>(
        &mut self,
        frame: Frame<'a>,
        last: bool,
        context: &mut Context<'_>,
    ) -> Result<Option<Signal<'a>>, Reason> {
        match frame {
            Frame::Pad | Frame::Skipped => {}
            Frame::Status(_) => return Err(context.violation("STATUS: a second one")),
            Frame::AliveReply { .. } => return Err(context.violation("ALIVE_REPLY: nobody asked")),
            Frame::Begin { lane, begin, total, body } => self.on_begin(lane, begin, total, body, context)?,
            Frame::Data { lane, more, body } => self.on_data(lane, more, body, context)?,
            Frame::Abandon { lane } => {
                let partial = self.take_partial(lane, context)?;
                self.release(budget_of(partial.begun), partial.charged());
            }
            Frame::Error { lane, id, code, detail } => self.on_error(lane, id, code, detail, context)?,
            Frame::Cancel { id } => self.on_cancel(id),
            Frame::Credit { budget, bytes } => {
                let credit = self.send_credit.get_mut(usize::from(budget));
                let credit = credit.ok_or_else(|| context.violation("CREDIT: no such budget"))?;
                if !credit.restore(bytes) {
                    return Err(Reason::FlowControl);
                }
                if usize::from(budget) == Budget::Messages as usize {
                    self.lanes.confirm(*credit);
                }
            }
            Frame::Stream { id, frame } => return Ok(Some(Signal::Stream { id, frame })),
            Frame::Ping(nonce) => self.control.pong = Some(nonce),
            Frame::Pong(nonce) => self.on_pong(nonce, context),
            Frame::Ready => return Ok(Some(Signal::Ready)),
            Frame::Permanence(kept) => return Ok(Some(Signal::Permanence(kept))),
            Frame::Advert(advert) => {
                if advert.len() > MAX_ADVERT {
                    return Err(Reason::TooLarge);
                }
                if core::mem::replace(&mut self.control.adverts.received, true) {
                    return Err(context.violation("ADVERT: the one before was not acknowledged"));
                }
                return Ok(Some(Signal::Advert(advert)));
            }
            Frame::AdvertAck { version } => {
                if !core::mem::take(&mut self.control.adverts.sent) {
                    return Err(context.violation("ADVERT_ACK: no advert waits for it"));
                }
                return Ok(Some(Signal::AdvertAcked(version)));
            }
            Frame::Rekey { request } => {
                if !last {
                    return Err(context.violation("REKEY: not the last frame of its record"));
                }
                self.control.rekey.heard(request);
                return Ok(Some(Signal::Rekey));
            }
            Frame::Goodbye { code, detail } => {
                if core::mem::replace(&mut self.peer_said_goodbye, true) {
                    return Err(context.violation("GOODBYE: a second one"));
                }
                return Ok(Some(Signal::Goodbye { code, detail }));
            }
            Frame::Close(body) => {
                if !last {
                    return Err(context.violation("CLOSE: not the last frame of its record"));
                }
                return Ok(Some(Signal::Close(body)));
            }
        }
        Ok(None)
    }

    /// A message begins. Its length is checked before anything of it is kept.
    fn on_begin(
        &mut self,
        lane: Lane,
        first: Begin<'_>,
        total: Option<u64>,
        body: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), Reason> {
        let length = total.unwrap_or(body.len() as u64);
        let length = usize::try_from(length).map_err(|_| Reason::TooLarge)?;
        if length > self.limits.max_message as usize {
            return Err(Reason::TooLarge);
        }
        if self.partial[lane.index()].is_some() {
            return Err(context.violation("a message begins inside another one of its lane"));
        }
        let (begun, service) = match first {
            Begin::Send { service, marks } => (Begun::Send(marks), service),
            Begin::Call { id, timeout_ms, service } => {
                let deadline = context.now + Duration::from_millis(timeout_ms);
                (Begun::Call { id, deadline }, service)
            }
            Begin::Reply { id } => (Begun::Reply { id }, ""),
        };
        if self.peer_said_goodbye && budget_of(begun) == Budget::Messages {
            return Err(context.violation("new work behind GOODBYE"));
        }
        let charged = service.len() + length;
        if !self.recv_credit[budget_of(begun) as usize].charge(charged + MESSAGE_OVERHEAD) {
            return Err(Reason::FlowControl);
        }
        if total.is_some() {
            let mut partial = Box::new(Partial::new(begun, service, length));
            partial.add(body).ok_or_else(|| context.violation("a message longer than it says"))?;
            self.partial[lane.index()] = Some(partial);
            return Ok(());
        }
        self.on_message(lane, begun, service.as_bytes(), Received::Lent(body), context)
    }

    fn on_data(
        &mut self,
        lane: Lane,
        more: bool,
        body: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), Reason> {
        let mut partial = self.take_partial(lane, context)?;
        if partial.add(body).is_none() || partial.is_whole() == more {
            return Err(context.violation("DATA: does not add up to the message's length"));
        }
        if more {
            self.partial[lane.index()] = Some(partial);
            return Ok(());
        }
        let begun = partial.begun;
        let (service, body) = partial.finish();
        self.on_message(lane, begun, &service, Received::Owned(body), context)
    }

    /// A message has come whole.
    fn on_message(
        &mut self,
        lane: Lane,
        begun: Begun,
        service: &[u8],
        body: Received<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Reason> {
        let charged = service.len() + body.len();
        match begun {
            Begun::Reply { id } => {
                if self.answered(id, context) {
                    self.notices.push_reply(id, body);
                } else {
                    self.release(Budget::Replies, charged);
                }
            }
            Begun::Call { .. } => {
                if let Verdict::Deliver(call) = self.accepts(lane, begun, charged, context)? {
                    self.deliver(lane, call, false, service, Content::Bytes(body));
                }
            }
            Begun::Send(Marks { signed, unordered }) => {
                self.accepts(lane, begun, charged, context)?;
                let said = if signed { context.judge(service, body) } else { Some(Content::Bytes(body)) };
                match said {
                    Some(said) => self.deliver(lane, None, unordered, service, said),
                    None => self.release_in_turn(charged, true),
                }
            }
        }
        Ok(())
    }

    fn take_partial(&mut self, lane: Lane, context: &Context<'_>) -> Result<Box<Partial>, Reason> {
        self.partial[lane.index()]
            .take()
            .ok_or_else(|| context.violation("DATA: no message is under way in its lane"))
    }

    /// Whether a whole message goes to the application, and as which call if it is one. A call over the limit
    /// is answered at once, one without time left is dropped, and an id in use ends the link.
    fn accepts(
        &mut self,
        lane: Lane,
        begun: Begun,
        charged: usize,
        context: &mut Context<'_>,
    ) -> Result<Verdict, Reason> {
        context.stats.messages_received += 1;
        self.activity = context.now;
        let Begun::Call { id, deadline } = begun else { return Ok(Verdict::Deliver(None)) };
        if self.serving.contains(id) {
            return Err(context.violation("CALL: its request id is in flight"));
        }
        // Answers wait for the peer to take them, and it has no reason to let more of them pile up than it
        // may have calls.
        let most = self.limits.max_calls as usize;
        if self.lanes.answers() >= most.saturating_mul(2) {
            return Err(Reason::Flood);
        }
        if deadline <= context.now {
            context.stats.expired_calls += 1;
            self.release_in_turn(charged, false);
            return Ok(Verdict::Drop);
        }
        if self.serving.len() >= most {
            self.release_in_turn(charged, false);
            self.answer_error(id, &ServiceError::Overloaded);
            return Ok(Verdict::Drop);
        }
        let serial = self.served;
        self.served += 1;
        // The id is not in the table, as was asked above.
        let _ = self.serving.insert(Serving { id, serial, deadline, lane, dispatched: false });
        context.timers.set_earliest(Timer::Calls, deadline);
        Ok(Verdict::Deliver(Some(RequestedCall { id, serial, deadline })))
    }

    /// Queues a message or call for the application.
    fn deliver(
        &mut self,
        lane: Lane,
        call: Option<RequestedCall>,
        unordered: bool,
        service: &[u8],
        content: Content<'_>,
    ) {
        let sequence = self.sequence[lane.index()];
        self.sequence[lane.index()] += 1;
        self.requests.push(Head { lane, sequence, call, unordered }, service, content);
    }

    /// Notes that an answer to call `id` has come; false if nobody waits for it.
    fn answered(&mut self, id: u64, context: &mut Context<'_>) -> bool {
        context.stats.messages_received += 1;
        self.activity = context.now;
        match self.pending.get_mut(id) {
            // An answer to a request that has not left whole answers something else.
            Some(call) if call.sealed == Sealed::Whole => self.pending.remove(id).is_some(),
            _ => {
                context.stats.unknown_replies += 1;
                false
            }
        }
    }

    fn on_error(
        &mut self,
        lane: Lane,
        id: u64,
        code: u16,
        detail: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), Reason> {
        if self.partial[lane.index()].is_some() {
            return Err(context.violation("ERROR: inside a message of its lane"));
        }
        if detail.len() > super::message::MAX_ERROR_DETAIL + 4 {
            return Err(Reason::TooLarge);
        }
        if !self.recv_credit[Budget::Replies as usize].charge(detail.len() + MESSAGE_OVERHEAD) {
            return Err(Reason::FlowControl);
        }
        let error = calls::parse_error(code, detail).map_err(|what| context.malformed(what))?;
        if self.answered(id, context) {
            self.fail(id, CallError::Service(error), Some(detail.len()));
        } else {
            self.release(Budget::Replies, detail.len());
        }
        Ok(())
    }

    /// Queues word of an own call's failure.
    pub(super) fn fail(&mut self, call: u64, error: CallError, charged: Option<usize>) {
        self.untaken_failures += 1;
        self.notices.push(Notice::Failed { call, error, charged });
    }

    fn on_cancel(&mut self, id: u64) {
        if let Some(call) = self.serving.remove(id) {
            self.tell_cancelled(&call);
        }
    }

    /// Queues word that nobody waits for the answer to a call, if the owner knows of it.
    pub(super) fn tell_cancelled(&mut self, call: &Serving) {
        if call.dispatched {
            self.untaken_cancels += 1;
            self.notices.push(Notice::Cancelled { serial: call.serial });
        }
    }

    /// Drops messages whose turn it is and whose time is over; false if there are none.
    pub(super) fn expire_messages(&mut self, now: Instant, stats: &mut Stats) -> bool {
        let mut any = false;
        while let Some(envelope) = self.lanes.take_expired(now) {
            any = true;
            stats.expired_messages += 1;
            self.untaken_expired += envelope.charge();
            self.notices.push(Notice::Expired(Box::new(envelope)));
        }
        any
    }

    /// Begins nothing new: the peer has said goodbye.
    pub(super) fn hold(&mut self) {
        self.lanes.held = true;
        if let Some(streams) = &mut self.streams {
            streams.hold();
        }
    }

    /// Whether something is queued of which the peer has not heard.
    pub(super) fn has_new_work(&self) -> bool {
        self.lanes.has_new_work() || self.streams.as_ref().is_some_and(|streams| streams.has_new_work())
    }

    /// Forgets what was only half received, and the calls being served.
    pub(super) fn drop_inbound(&mut self) {
        self.partial = Default::default();
        self.serving = CallTable::default();
    }

    /// Gives memory back that an idle link does not need.
    pub(super) fn shrink(&mut self) {
        self.lanes.shrink();
        self.requests.shrink();
        self.notices.shrink();
        self.pending.shrink();
        self.serving.shrink();
        if let Some(streams) = &mut self.streams {
            streams.shrink();
        }
        if self.control.cancels.is_empty() {
            self.control.cancels = VecDeque::new();
        }
    }
}

fn budget_of(begun: Begun) -> Budget {
    match begun {
        Begun::Send(_) | Begun::Call { .. } => Budget::Messages,
        Begun::Reply { .. } => Budget::Replies,
    }
}
