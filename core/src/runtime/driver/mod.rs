//! The task of one link: it alone owns the protocol's machine and the stream.
//!
//! Each turn takes what handles have queued, gives it to the machine as far as it has room, moves bytes and
//! events with [`pump`](crate::drive::pump), and runs handlers. Answers of handlers that are ready at
//! once leave with the same write.

mod calls;
mod end;
mod managed;
mod parting;
mod pump;
mod streams;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::prelude::v1::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_channel::oneshot;
use futures_io::{AsyncRead, AsyncWrite};
use tracing::info;
use zeroize::Zeroizing;

use self::calls::Calls;
use self::parting::Parting;
use self::pump::Item;
use self::streams::Streams;
use crate::node::NodeToLink;
use crate::runtime::Runtime;
use crate::runtime::connect::Setting;
use crate::runtime::link::Link;
use crate::runtime::node::{Member, Slot};
use crate::runtime::peer::{Direction, PeerInfo};
use crate::runtime::queue::{Batch, Job, LANES};
#[cfg(feature = "recording")]
use crate::runtime::records::Records;
use crate::runtime::serve::Server;
use crate::runtime::services::View;
use crate::runtime::shared::{Control, Shared, State};
use crate::runtime::stream::Refusals;
use crate::{Closed, Instant, Link as Core, Phase, Priority, Why};

/// Turns of one poll at most, so that one busy link lets others of its thread run.
const TURNS: usize = 16;

/// Told once how the handshake ended.
pub(crate) type Report<R> = Box<dyn FnOnce(Result<Link<R>, Closed>) + Send>;

pub(crate) struct Driver<S, R: Runtime> {
    link: Core,
    stream: RefCell<S>,
    shared: Arc<Shared>,
    peer: Option<Arc<PeerInfo>>,
    remote: Option<SocketAddr>,
    direction: Direction,
    report: Option<Report<R>>,
    batches: [Batch; LANES],
    calls: Calls,
    /// Who waits for the next pong.
    pings: Vec<oneshot::Sender<Duration>>,
    /// The pongs so far.
    pongs: u64,
    view: View<R>,
    server: Server<R>,
    streams: Streams,
    items: Vec<Item<R>>,
    /// A goodbye that waits for what was queued before it.
    goodbye: Option<(u32, String)>,
    /// There from this side's goodbye on.
    parting: Option<Parting>,
    asked: bool,
    closed: Option<Closed>,
    error: Option<Arc<io::Error>>,
    unflushed: bool,
    /// What the machine waits for, and since when it has ended.
    deadline: Option<Instant>,
    /// How long messages that came before the end have for their handlers, and a goodbye altogether.
    drain: Duration,
    ended: Option<Instant>,
    /// What bounds the ends of handshakes that failed, for a connection that came in.
    refusals: Option<Refusals>,
    sleep: Option<Pin<Box<R::Sleep>>>,
    armed: Option<Instant>,
    member: Option<Member<R>>,
    /// What outlives the links to the peer, from the proof of its id on, for a link of a node.
    slot: Option<Arc<Slot<R>>>,
    /// The node's messages have come in before a turn, so that what is queued now is later than those.
    routed: bool,
    #[cfg(feature = "recording")]
    records: Option<Arc<Records>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin, R: Runtime> Driver<S, R> {
    pub(crate) fn new(
        #[cfg_attr(not(feature = "recording"), allow(unused_mut))] mut link: Core,
        stream: S,
        shared: Arc<Shared>,
        setting: &Setting<'_, R>,
        report: Option<Report<R>>,
    ) -> Self {
        Self {
            #[cfg(feature = "recording")]
            records: setting.services.records().and_then(|records| records.begin(&mut link)),
            link,
            stream: RefCell::new(stream),
            shared,
            peer: None,
            remote: setting.remote,
            direction: setting.direction,
            report,
            batches: Default::default(),
            calls: Calls::default(),
            pings: Vec::new(),
            pongs: 0,
            view: View::new(setting.services),
            server: Server::new(setting.config.streams().max_open),
            streams: Streams::default(),
            items: Vec::new(),
            goodbye: None,
            parting: None,
            asked: false,
            closed: None,
            error: None,
            unflushed: false,
            deadline: None,
            drain: setting.config.timing().drain,
            ended: None,
            refusals: setting.refusals.clone(),
            sleep: None,
            armed: None,
            member: None,
            slot: None,
            routed: false,
        }
    }

    /// Runs the link to its end.
    ///
    /// In a box, and the end in one of its own: a future that held either would hold it twice, all the time
    /// that the link is idle.
    pub(crate) async fn run(mut self: Box<Self>) {
        let closed = std::future::poll_fn(|context| self.poll(context)).await;
        Box::pin(self.finish(closed)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Closed> {
        for _ in 0..TURNS {
            let now = self.shared.clock.now();
            if self.turn(now, context) {
                continue;
            }
            if self.server.is_idle() {
                if let Some(closed) = self.closed.take() {
                    return Poll::Ready(closed);
                }
            }
            if self.shared.sleep(context.waker()) && self.arm(now, context) {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// One turn; true if another one may find more to do.
    fn turn(&mut self, now: Instant, context: &mut Context<'_>) -> bool {
        // In this order: what was queued behind the node's first messages is not taken before those.
        let routed = self.member.is_some() && self.shared.routed.load(Ordering::Acquire);
        self.shared.take(&mut self.batches);
        let mut control = self.shared.told();
        self.expire(now);
        let mut words =
            control.as_mut().map(|control| std::mem::take(&mut control.words)).unwrap_or_default();
        if !words.is_empty() {
            // What was queued before the last of them is here now.
            self.shared.take(&mut self.batches);
        }
        // Behind the node's first messages comes what was queued since, and a goodbye behind that.
        let first = words.iter().rposition(NodeToLink::delivers).filter(|_| !self.routed);
        let rest = words.split_off(first.map_or(0, |last| last + 1));
        self.hear(words, now);
        self.queue(now);
        self.hear(rest, now);
        self.routed = routed;
        if let Some(mut control) = control {
            self.streams.serve(&control.streams, &mut self.link);
            self.open(std::mem::take(&mut control.opens));
            self.obey(control, now);
        }
        self.part(now);
        let mut again = self.server.poll(&mut self.link, now, context);
        let (news, pumped) = self.pump(context);
        again |= pumped;
        if news.established {
            self.established();
        }
        again |= !news.streams.is_empty();
        self.streams.hear(&news.streams, &mut self.link);
        if let Some(reason) = news.draining {
            self.shared.set_why(reason);
            if self.member.is_none() {
                self.shared.enter(State::Draining);
            }
        }
        if self.closed.is_none() {
            self.closed = news.closed;
        }
        self.report_to_node();
        self.report_expired(news.expired);
        if self.link.phase() == Phase::Admission && !self.asked && self.member.is_none() {
            self.ask(now, context);
            again = true;
        }
        again |= self.serve(now, context);
        if self.link.closed().is_some() && self.ended.is_none() {
            self.ended = Some(now);
            again = true;
        }
        self.measure();
        again |= self.flush(context);
        again || (self.link.reply_space() > 0 && self.server.has_waiting()) || self.may_queue()
    }

    /// Deadlines of what this side holds itself.
    fn expire(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            // A quiet link gives back what it does not need.
            self.batches.iter_mut().for_each(Batch::shrink);
            self.shared.shrink();
            self.calls.shrink();
            self.items.shrink_to_fit();
            self.streams.shrink();
        }
        for batch in &mut self.batches {
            if !batch.is_empty() && batch.deadline().is_some_and(|deadline| deadline <= now) {
                batch.expire(now);
            }
        }
        if self.patience().is_some_and(|end| end <= now) {
            self.server.abandon();
        }
        // The queue's share ends with the goodbye, in `part`.
        if self.link.phase() >= Phase::Draining && self.next_share().is_some_and(|end| end <= now) {
            self.link.stop_waiting(now);
        }
    }

    /// When handlers that are behind no longer keep an ended link.
    fn patience(&self) -> Option<Instant> {
        let ended = self.ended.filter(|_| !self.server.is_idle())?;
        let end = ended + self.grace();
        Some(self.parting.map_or(end, |parting| end.min(parting.handlers())))
    }

    fn grace(&self) -> Duration {
        self.peer.as_ref().map_or(Duration::ZERO, |_| self.drain)
    }

    /// Gives queued messages to the machine, urgent ones first, as far as it has room.
    fn queue(&mut self, now: Instant) {
        for (batch, priority) in self.batches.iter_mut().zip(Priority::ALL) {
            let mut room = 0;
            while let Some((message, job)) = batch.front(priority) {
                let result = match job {
                    Job::Send => self.link.send(message).map(|()| None),
                    Job::Call { answer, .. } if answer.is_canceled() => Ok(None),
                    Job::Call { deadline, .. } => self.link.call(message, deadline.since(now), now).map(Some),
                };
                let call = match result {
                    Ok(call) => call,
                    // They wait: for bytes to leave, or for answers.
                    Err(rejected) if matches!(rejected.why, Why::Full | Why::TooManyCalls { .. }) => break,
                    // The link takes no more; `finish` sees to what is left.
                    Err(_) if self.link.phase() != Phase::Established => break,
                    // The handle checks messages, so there is none; it would be dropped, and its call fail.
                    Err(_) => None,
                };
                let Some((job, cost)) = batch.pop() else { break };
                room += cost;
                if let (Some(id), Job::Call { answer, .. }) = (call, job) {
                    self.calls.add(id, answer);
                }
            }
            if room > 0 {
                self.shared.give_back(priority, room);
            }
        }
    }

    /// Whether there is a message that the machine might take.
    fn may_queue(&self) -> bool {
        self.link.phase() == Phase::Established
            && self.batches.iter().zip(Priority::ALL).any(|(batch, priority)| match batch.front(priority) {
                Some((_, Job::Call { answer, .. })) if answer.is_canceled() => true,
                Some((_, Job::Call { .. })) if self.link.call_space() == 0 => false,
                Some(_) => self.link.send_space(priority) > 0,
                None => false,
            })
    }

    fn obey(&mut self, control: Control, now: Instant) {
        if control.cancelled {
            let link = &mut self.link;
            self.calls.take_cancelled(|call| link.cancel(call, now));
        }
        if control.rekey {
            self.link.rekey(now);
        }
        if control.ready {
            self.link.ready(now);
        }
        if !control.pings.is_empty() {
            self.link.ping(now);
            self.pings.extend(control.pings);
        }
        for stats in control.stats {
            let _ = stats.send(self.link.stats());
        }
        for export in control.exports {
            let mut material = Zeroizing::new(vec![0; export.length]);
            let result = self.link.export(&export.label, &export.context, &mut material);
            let _ = export.answer.send(result.map(|()| material));
        }
        if let Some((code, detail)) = control.goodbye {
            self.begin_parting(code, detail, now);
        }
        // What came on a link that has ended by itself is handled, though nobody holds the link any more.
        let closes = control.close && self.link.closed().is_none();
        if control.close {
            self.link.close(now);
        }
        if control.revoke {
            self.link.revoke(now);
        }
        if closes || control.revoke {
            self.server.abandon();
        }
    }

    fn established(&mut self) {
        if let (Some(known), Some(peer)) = (&mut self.peer, self.link.shared_peer()) {
            // What was known while somebody was asked about the peer lacks the peer's last word.
            *known = Arc::new(PeerInfo::new(peer, self.remote, self.direction));
        }
        let Some(peer) = self.identified() else { return };
        info!(version = peer.version(), name = peer.name(), suite = ?peer.suite, "established");
        self.shared.enter(State::Open);
        if let Some(report) = self.report.take() {
            report(Ok(Link::new(&self.shared, &peer)));
        }
    }

    fn ask(&mut self, now: Instant, context: &mut Context<'_>) {
        self.asked = true;
        match (self.view.admission(), self.identified()) {
            (Some(decide), Some(peer)) => self.server.decide(&mut self.link, || decide(peer), now, context),
            _ => self.link.refuse(crate::Refusal::Denied, now),
        }
    }

    /// Tells those who wait for a round trip.
    fn measure(&mut self) {
        let stats = self.link.stats();
        if stats.pongs == self.pongs {
            return;
        }
        self.pongs = stats.pongs;
        let rtt = stats.rtt;
        for ping in self.pings.drain(..) {
            let _ = rtt.map(|rtt| ping.send(rtt));
        }
    }

    /// Flushes a stream that keeps written bytes to itself; true if that failed.
    fn flush(&mut self, context: &mut Context<'_>) -> bool {
        if !self.unflushed {
            return false;
        }
        match Pin::new(self.stream.get_mut()).poll_flush(context) {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                false
            }
            Poll::Ready(Err(error)) => {
                self.unflushed = false;
                self.error = Some(Arc::new(error));
                self.link.transport_failed(self.shared.clock.now());
                true
            }
        }
    }

    /// Sets the timer for whatever is due next; false if something is due already.
    fn arm(&mut self, now: Instant, context: &mut Context<'_>) -> bool {
        let held = self.batches.iter().filter_map(Batch::deadline).min();
        let due = [self.deadline, held, self.next_share(), self.patience()].into_iter().flatten().min();
        let Some(due) = due else { return true };
        if due <= now {
            return false;
        }
        // A timer that fires early costs less than one that is set anew with each call.
        if self.armed.is_none_or(|armed| armed > due) {
            let sleep = R::sleep_until(self.shared.clock.to_std(due));
            match &mut self.sleep {
                Some(known) => known.set(sleep),
                None => self.sleep = Some(Box::pin(sleep)),
            }
            self.armed = Some(due);
        }
        let fired = self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready());
        if fired {
            self.armed = None;
        }
        !fired
    }
}
