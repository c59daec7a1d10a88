//! What a link's handles and its task have in common: the way of commands, and the end.
//!
//! Messages and calls wait in one queue a priority, bounded in bytes; who finds no room waits in line. A handle
//! puts its message behind the others under a short lock and wakes the task if it sleeps; the task takes
//! everything at once by exchanging the queue for an empty one. So a command costs no allocation of its own,
//! and the task is woken once for as many commands as came while it slept.

use std::future::Future;
use std::pin::Pin;
use std::prelude::v1::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use event_listener::Event;
use futures_channel::oneshot;
use zeroize::Zeroizing;

use super::clock::Clock;
use super::queue::{Batch, Job, LANES, Lane, cost};
use super::streams::{ByteStream, OpenError, Pipe};
use super::sync::{lock, wake, wake_all};
use crate::crypto::CryptoError;
use crate::node::NodeToLink;
use crate::{Closed, Envelope, Message, Priority, Reason, Stats, Why};

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
        push(queue, message, job);
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
        let queue = lock(&self.queue);
        let state = queue.state;
        if state != State::Open {
            drop(queue);
            return Err((why_of(state), message, job));
        }
        room.held = false;
        push(queue, message, job);
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
        lock(&self.queue).lanes.iter().map(Lane::waiting_bytes).sum()
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
            let lines = queue.lanes.each_mut().map(Lane::dissolve);
            drop(queue);
            lines.into_iter().flatten().for_each(Waker::wake);
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
        // Let go of without the lock: whoever waits is woken, and may be the last to hold the link.
        let unheard = std::mem::take(&mut *lock(&self.control));
        drop(unheard);
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
            if let Some(replaced) = lane.keep_place(ticket, context.waker()) {
                // A waker may be the last to hold the link, and is let go of without the lock.
                drop(queue);
                drop(replaced);
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
        let left = self.ticket.and_then(|ticket| lane.leave(ticket));
        // Who was in the line still has nothing to give; but those behind may fit now.
        let wakers = lane.give_back(if left.is_some() { 0 } else { self.cost });
        drop(queue);
        drop(left);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Puts a message into the room that it has, and wakes the task.
fn push(mut queue: MutexGuard<'_, Queue>, message: Message<'_>, job: Job) {
    queue.lanes[message.priority as usize].batch.push(message, job);
    let waker = queue.waker.take();
    drop(queue);
    wake(waker);
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
