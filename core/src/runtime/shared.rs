//! What a link's handles and its task have in common: the way of commands, and the end.
//!
//! Messages and calls wait in one queue a priority, bounded in bytes; who finds no room waits in line. A handle
//! puts its message behind the others under a short lock and wakes the task if it sleeps; the task takes
//! everything at once by exchanging the queue for an empty one. So a command costs no allocation of its own,
//! and the task is woken once for as many commands as came while it slept.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::prelude::v1::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use event_listener::Event;
use futures_channel::oneshot;
use zeroize::Zeroizing;

use super::clock::Clock;
use super::streams::{ByteStream, OpenError, Pipe};
use super::sync::{lock, wake, wake_all};
use crate::crypto::CryptoError;
use crate::node::NodeToLink;
use crate::{CallError, Closed, Envelope, Instant, Message, Payload, Priority, Reason, Stats, Why};

pub(crate) const LANES: usize = Priority::ALL.len();

/// The bytes that may wait in one priority's queue for the link's task; one message is always taken.
const QUEUE: usize = 64 << 10;

/// What a message is charged beside its bytes.
const OVERHEAD: usize = 64;

/// Bodies above this are kept as they are, those up to it are copied into the queue.
pub(crate) const SMALL: usize = 1024;

pub(crate) type Answer = Result<Bytes, CallError>;

/// What to do with a queued message.
#[derive(Debug)]
pub(crate) enum Job {
    Send,
    Call { answer: oneshot::Sender<Answer>, deadline: Instant },
}

#[derive(Debug)]
struct Entry {
    job: Job,
    service_len: usize,
    body_len: usize,
    expires: Option<Instant>,
    /// The body, unless it lies in the small bytes behind the service name.
    large: Option<Bytes>,
    /// It is a signed message.
    signed: bool,
}

impl Entry {
    fn small_len(&self) -> usize {
        self.service_len + if self.large.is_none() { self.body_len } else { 0 }
    }
}

/// Messages of one priority, in order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    entries: VecDeque<Entry>,
    small: Vec<u8>,
    at: usize,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn push(&mut self, message: Message<'_>, job: Job) {
        let (service_len, body_len) = (message.service.len(), message.body.len());
        let (expires, signed) = (message.expires, message.body.is_signed());
        self.small.extend_from_slice(message.service.as_bytes());
        let large = match message.body {
            Payload::Borrowed(bytes) if bytes.len() <= SMALL => {
                self.small.extend_from_slice(bytes);
                None
            }
            Payload::Owned(bytes) if bytes.len() <= SMALL => {
                self.small.extend_from_slice(&bytes);
                None
            }
            body => Some(body.into_bytes()),
        };
        self.entries.push_back(Entry { job, service_len, body_len, expires, large, signed });
    }

    /// The first message and what to do with it.
    pub(crate) fn front(&self, priority: Priority) -> Option<(Message<'_>, &Job)> {
        let entry = self.entries.front()?;
        let small = self.small.get(self.at..self.at + entry.small_len()).unwrap_or_default();
        let (service, body) = small.split_at_checked(entry.service_len).unwrap_or_default();
        let body = match &entry.large {
            Some(bytes) if entry.signed => Payload::Signed(bytes.clone()),
            Some(bytes) => Payload::Owned(bytes.clone()),
            None => Payload::Borrowed(body),
        };
        // It came in as `&str`.
        let service = std::str::from_utf8(service).unwrap_or_default();
        Some((Message { service, body, priority, expires: entry.expires }, &entry.job))
    }

    /// Takes the first message off; gives its job and what it was charged.
    pub(crate) fn pop(&mut self) -> Option<(Job, usize)> {
        let entry = self.entries.pop_front()?;
        self.at += entry.small_len();
        if self.entries.is_empty() {
            self.small.clear();
            self.at = 0;
        }
        Some((entry.job, charge(entry.service_len, entry.body_len)))
    }

    /// Takes over the messages of `later`, behind its own.
    fn append(&mut self, later: &mut Self) {
        if later.is_empty() {
            return;
        }
        self.small.drain(..self.at);
        self.at = 0;
        self.small.extend_from_slice(later.small.get(later.at..).unwrap_or_default());
        later.small.clear();
        later.at = 0;
        self.entries.append(&mut later.entries);
    }

    /// When the first of its calls runs out of time.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.entries.iter().filter_map(|entry| match entry.job {
            Job::Call { deadline, .. } => Some(deadline),
            Job::Send => None,
        });
        deadlines.min()
    }

    /// Fails calls whose time is over, wherever they stand; they keep their place until it is their turn.
    pub(crate) fn expire(&mut self, now: Instant) {
        use crate::Executed;
        for entry in &mut self.entries {
            if matches!(entry.job, Job::Call { deadline, .. } if deadline <= now) {
                // What has lost its caller is dropped when its turn comes.
                let (answer, _) = oneshot::channel();
                let gone = Job::Call { answer, deadline: Instant::from_nanos(u64::MAX) };
                if let Job::Call { answer, .. } = std::mem::replace(&mut entry.job, gone) {
                    let _ = answer.send(Err(CallError::DeadlineExceeded { executed: Executed::No }));
                }
            }
        }
    }

    /// Gives memory back that an idle link does not need.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

fn charge(service_len: usize, body_len: usize) -> usize {
    (OVERHEAD + service_len + body_len).min(QUEUE)
}

/// Whether the link takes new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Handshake,
    Open,
    Draining,
    Closed,
}

#[derive(Debug)]
struct Queue {
    lanes: [Lane; LANES],
    state: State,
    /// The task's waker while it sleeps.
    waker: Option<Waker>,
}

/// The messages of one priority that wait for the task, and who waits for room among them.
#[derive(Debug)]
struct Lane {
    batch: Batch,
    free: usize,
    /// Whoever waits longest is first, and nobody gets ahead. There while somebody waits: mostly nobody does.
    #[allow(clippy::box_collection)] // a link has four of these
    line: Option<Box<VecDeque<Waiting>>>,
    /// The next ticket. None is given twice: who was let in may not have noticed yet.
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    cost: usize,
    waker: Waker,
}

impl Default for Lane {
    fn default() -> Self {
        Self { batch: Batch::default(), free: QUEUE, line: None, next: 0 }
    }
}

impl Lane {
    /// Takes room if there is some and nobody has a better claim.
    fn take(&mut self, cost: usize) -> bool {
        let fits = self.line.is_none() && self.free >= cost;
        if fits {
            self.free -= cost;
        }
        fits
    }

    /// Gives room back, and to those who wait for it; they are to be woken.
    fn give_back(&mut self, cost: usize) -> Vec<Waker> {
        // A line that was dissolved at the end gives back what it never had.
        self.free = (self.free + cost).min(QUEUE);
        let mut wakers = Vec::new();
        let Some(line) = &mut self.line else { return wakers };
        while line.front().is_some_and(|first| first.cost <= self.free) {
            let Some(first) = line.pop_front() else { break };
            self.free -= first.cost;
            wakers.push(first.waker);
        }
        if line.is_empty() {
            self.line = None;
        }
        wakers
    }

    /// Puts somebody at the end of the line; the ticket shows the place.
    fn line_up(&mut self, cost: usize, waker: Waker) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.line.get_or_insert_default().push_back(Waiting { ticket, cost, waker });
        ticket
    }

    /// Who waits with this ticket, unless it was their turn.
    fn find(&mut self, ticket: u64) -> Option<&mut Waiting> {
        self.line.as_mut()?.iter_mut().find(|waiting| waiting.ticket == ticket)
    }
}

/// A request for keying material.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) label: Vec<u8>,
    pub(crate) context: Vec<u8>,
    pub(crate) length: usize,
    pub(crate) answer: oneshot::Sender<Result<Zeroizing<Vec<u8>>, CryptoError>>,
}

/// A stream to be opened.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) name: Box<str>,
    pub(crate) priority: Priority,
    pub(crate) answer: oneshot::Sender<Result<ByteStream, OpenError>>,
}

/// What handles ask for beside messages. Its lists hold one entry for each caller that waits.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each asks for something of its own
pub(crate) struct Control {
    pub(crate) close: bool,
    pub(crate) goodbye: Option<(u32, String)>,
    pub(crate) rekey: bool,
    /// The application is ready.
    pub(crate) ready: bool,
    /// The link's node trusts the peer no longer.
    pub(crate) revoke: bool,
    /// A call's future was dropped: look which.
    pub(crate) cancelled: bool,
    pub(crate) pings: Vec<oneshot::Sender<Duration>>,
    pub(crate) stats: Vec<oneshot::Sender<Stats>>,
    pub(crate) exports: Vec<Export>,
    pub(crate) opens: Vec<Open>,
    /// Streams whose handles have something for the task to do, each once.
    pub(crate) streams: Vec<Arc<Pipe>>,
    /// From the link's node, in order.
    pub(crate) words: Vec<NodeToLink>,
}

/// How a link ended, for its handles.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) closed: Closed,
    pub(crate) stats: Stats,
    pub(crate) error: Option<Arc<std::io::Error>>,
    pub(crate) unsent: Mutex<Vec<Envelope>>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    queue: Mutex<Queue>,
    attention: AtomicBool,
    control: Mutex<Control>,
    /// Why no new work is taken, from the goodbye on.
    why: OnceLock<Box<Reason>>,
    /// In boxes: a link that lives has no use for the room.
    end: OnceLock<Box<End>>,
    /// The link has ended, or both sides are ready.
    news: Event,
    /// Both sides are ready.
    ready: AtomicBool,
    pub(crate) handles: AtomicUsize,
    /// The link's node sends messages this way. What the node itself had kept for the link is among the
    /// words by then.
    pub(crate) routed: AtomicBool,
}

impl Shared {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            queue: Mutex::new(Queue { lanes: Default::default(), state: State::Handshake, waker: None }),
            attention: AtomicBool::new(false),
            control: Mutex::default(),
            why: OnceLock::new(),
            end: OnceLock::new(),
            news: Event::new(),
            ready: AtomicBool::new(false),
            handles: AtomicUsize::new(0),
            routed: AtomicBool::new(false),
        })
    }

    /// Puts a message in its queue if there is room at once.
    pub(crate) fn try_push<'a>(&self, message: Message<'a>, job: Job) -> Result<(), (Why, Message<'a>, Job)> {
        let mut queue = lock(&self.queue);
        let state = queue.state;
        let lane = &mut queue.lanes[message.priority as usize];
        if state != State::Open || !lane.take(cost(&message)) {
            drop(queue);
            return Err((why_of(state), message, job));
        }
        lane.batch.push(message, job);
        let waker = queue.waker.take();
        drop(queue);
        wake(waker);
        Ok(())
    }

    /// Waits for room for a message; gives it by [`push_into`](Self::push_into). Cancel-safe.
    pub(crate) fn room(&self, message: &Message<'_>) -> Room<'_> {
        Room { shared: self, lane: message.priority as usize, cost: cost(message), ticket: None, held: false }
    }

    /// Puts a message in the room that was waited for; the task gives the room back.
    pub(crate) fn push_into<'a>(
        &self,
        mut room: Room<'_>,
        message: Message<'a>,
        job: Job,
    ) -> Result<(), (Why, Message<'a>, Job)> {
        let mut queue = lock(&self.queue);
        match queue.state {
            State::Open => {}
            state => {
                drop(queue);
                return Err((why_of(state), message, job));
            }
        }
        room.held = false;
        queue.lanes[message.priority as usize].batch.push(message, job);
        let waker = queue.waker.take();
        drop(queue);
        wake(waker);
        Ok(())
    }

    /// Tells the task something, and wakes it.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Control)) {
        change(&mut lock(&self.control));
        if self.end.get().is_some() {
            return self.forget();
        }
        self.attention.store(true, Ordering::Release);
        let waker = lock(&self.queue).waker.take();
        wake(waker);
    }

    /// What the task has been told since it last asked.
    pub(crate) fn told(&self) -> Option<Control> {
        // Read before it is written, which is all that a poll without news costs.
        if !self.attention.load(Ordering::Relaxed) || !self.attention.swap(false, Ordering::AcqRel) {
            return None;
        }
        Some(std::mem::take(&mut *lock(&self.control)))
    }

    /// The messages in what the link's node said last and the task has not heard.
    pub(crate) fn take_messages(&self) -> Vec<Envelope> {
        lock(&self.control).words.iter_mut().flat_map(NodeToLink::take_messages).collect()
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        lock(&self.queue).lanes.iter().map(|lane| QUEUE - lane.free.min(QUEUE)).sum()
    }

    /// Moves what has been queued to the task's batches: all of it, so that the task knows every deadline.
    /// Both together keep to the room that there is.
    pub(crate) fn take(&self, batches: &mut [Batch; LANES]) {
        let mut queue = lock(&self.queue);
        for (lane, batch) in queue.lanes.iter_mut().zip(batches) {
            if batch.is_empty() {
                std::mem::swap(&mut lane.batch, batch);
            } else {
                batch.append(&mut lane.batch);
            }
        }
    }

    /// Gives room back that messages of one priority took up.
    pub(crate) fn give_back(&self, priority: Priority, cost: usize) {
        let wakers = lock(&self.queue).lanes[priority as usize].give_back(cost);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Registers the task's waker, unless there is something for it to take.
    pub(crate) fn sleep(&self, waker: &Waker) -> bool {
        let mut queue = lock(&self.queue);
        let more = queue.lanes.iter().any(|lane| !lane.batch.is_empty());
        if more || self.attention.load(Ordering::Acquire) {
            return false;
        }
        if !queue.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            queue.waker = Some(waker.clone());
        }
        true
    }

    /// Enters a later state. Whoever waits for room is told when it is one that takes no new work.
    pub(crate) fn enter(&self, state: State) {
        let mut queue = lock(&self.queue);
        queue.state = state;
        if matches!(state, State::Draining | State::Closed) {
            let lines = queue.lanes.each_mut().map(|lane| std::mem::take(&mut lane.line));
            drop(queue);
            let waiting = lines.into_iter().flatten().flat_map(|line| *line);
            waiting.for_each(|waiting| waiting.waker.wake());
        }
    }

    pub(crate) fn shrink(&self) {
        for lane in &mut lock(&self.queue).lanes {
            lane.batch.shrink();
        }
    }

    pub(crate) fn finish(&self, end: End) {
        let _ = self.end.set(Box::new(end));
        wake_all(&self.news);
        self.forget();
    }

    /// Whoever asks for something after the end learns of the end when the question is dropped.
    fn forget(&self) {
        drop(std::mem::take(&mut *lock(&self.control)));
    }

    /// Notes why no new work is taken; the first reason stands.
    pub(crate) fn set_why(&self, why: Reason) {
        let _ = self.why.set(Box::new(why));
    }

    pub(crate) fn why(&self) -> Option<&Reason> {
        self.why.get().map(Box::as_ref)
    }

    pub(crate) fn end(&self) -> Option<&End> {
        self.end.get().map(Box::as_ref)
    }

    pub(crate) async fn ended(&self) -> &End {
        self.wait_for(|| self.end()).await
    }

    /// Both sides are ready.
    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
        wake_all(&self.news);
    }

    /// Waits until both sides are ready.
    pub(crate) async fn ready(&self) -> Result<(), &End> {
        self.wait_for(|| match self.end() {
            Some(end) => Some(Err(end)),
            None => self.ready.load(Ordering::Acquire).then_some(Ok(())),
        })
        .await
    }

    async fn wait_for<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            let news = self.news.listen();
            if let Some(found) = look() {
                return found;
            }
            news.await;
        }
    }
}

/// Room in a lane: waited for, then held until a message is put into it.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    shared: &'a Shared,
    lane: usize,
    cost: usize,
    /// The place in the line.
    ticket: Option<u64>,
    held: bool,
}

impl Future for Room<'_> {
    type Output = Result<(), Why>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut queue = lock(&self.shared.queue);
        if queue.state != State::Open {
            self.ticket = None;
            return Poll::Ready(Err(why_of(queue.state)));
        }
        let lane = &mut queue.lanes[self.lane];
        if let Some(ticket) = self.ticket {
            if let Some(waiting) = lane.find(ticket) {
                waiting.waker.clone_from(context.waker());
                return Poll::Pending;
            }
            // Whoever gave room back has taken this out of the line.
            (self.ticket, self.held) = (None, true);
        } else if !self.held {
            if lane.take(self.cost) {
                self.held = true;
            } else {
                self.ticket = Some(lane.line_up(self.cost, context.waker().clone()));
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.ticket.is_none() && !self.held {
            return;
        }
        let mut queue = lock(&self.shared.queue);
        let lane = &mut queue.lanes[self.lane];
        // Who is in the line still has nothing to give; but those behind may fit now.
        let waits = self.ticket.is_some_and(|ticket| lane.find(ticket).is_some());
        if let Some(line) = &mut lane.line {
            line.retain(|waiting| Some(waiting.ticket) != self.ticket);
        }
        let held = if waits { 0 } else { self.cost };
        let wakers = lane.give_back(held);
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
    }
}

fn cost(message: &Message<'_>) -> usize {
    charge(message.service.len(), message.body.len())
}

const fn why_of(state: State) -> Why {
    match state {
        State::Handshake => Why::NotEstablished,
        // Only a message that found no room while it was closed asks in this state.
        State::Open => Why::Full,
        State::Draining => Why::Draining,
        State::Closed => Why::Closed,
    }
}
