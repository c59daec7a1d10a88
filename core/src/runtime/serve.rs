//! The handlers of one link: calls and unordered messages side by side, other messages one after the other.
//!
//! Nothing waits here for its handler: what no handler can take stays in the link, where it is charged to its sender
//! and counted at the end.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::prelude::v1::*;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tracing::{Instrument, debug, info, trace, warn};

use super::Runtime;
use super::services::{BoxFuture, Caught, Entry, Kind, PassOn, Relay, Request};
use super::streams::ByteStream;
use super::sync::{Abort, Tasks, timeout_at};
use crate::{
    Instant, Limits, Link as Core, NodeId, Payload, Peer, Refusal, ReplyToken, STREAM_REFUSED, ServiceError,
    StreamId, Why,
};

type Answer = Result<Bytes, ServiceError>;

/// What a handler's task ends with.
#[derive(Debug)]
enum Done {
    Call(u64, Option<Answer>),
    Message,
    Unordered(u64),
    Stream,
    Admission(Option<Result<(), Refusal>>),
}

#[derive(Debug)]
struct Running {
    token: ReplyToken,
    task: Abort,
}

/// Unordered messages whose handlers have a task.
#[derive(Debug)]
struct Beside {
    /// Ascending by number; each with the length of its body.
    running: VecDeque<(u64, usize, Abort)>,
    next: u64,
    bytes: usize,
    /// What there may be: as many as calls, and as many bytes as the peer may have under way.
    most: usize,
    most_bytes: usize,
}

impl Beside {
    fn new(limits: &Limits) -> Self {
        let (most, most_bytes) = (limits.max_calls as usize, limits.window as usize);
        Self { running: VecDeque::new(), next: 0, bytes: 0, most, most_bytes }
    }

    fn is_full(&self) -> bool {
        self.running.len() >= self.most || self.bytes >= self.most_bytes
    }

    fn add(&mut self, bytes: usize, task: Abort) {
        self.running.push_back((self.next, bytes, task));
        self.next += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, number: u64) {
        let at = self.running.binary_search_by_key(&number, |(number, ..)| *number);
        if let Some((_, bytes, _)) = at.ok().and_then(|at| self.running.remove(at)) {
            self.bytes -= bytes;
        }
    }
}

/// Runs handlers. The tasks are its own: they end with it.
#[derive(Debug)]
pub(crate) struct Server<R> {
    tasks: Tasks<Done>,
    /// Calls whose handlers have a task, ascending by the peer's number.
    running: VecDeque<Running>,
    /// Answers that the link had no room for: one, and those of calls that were running then.
    waiting: VecDeque<(ReplyToken, Bytes)>,
    /// A message handler is behind.
    behind: Option<Abort>,
    /// There while there are any.
    beside: Option<Box<Beside>>,
    /// Stream handlers that have a task, and how many may have one: twice as many as streams may be open. The link
    /// itself counts a stream no more once it is over, whatever its handler does, and its peer may open the next one
    /// while that is about to end.
    streams: usize,
    most_streams: usize,
    /// The link has ended and its handlers had their time.
    abandoned: bool,
    runtime: PhantomData<fn() -> R>,
}

impl<R> Server<R> {
    /// For a link on which `max_open` streams of the peer's may be open.
    pub(crate) fn new(max_open: u32) -> Self {
        let most_streams = usize::try_from(max_open).unwrap_or(usize::MAX).saturating_mul(2);
        Self {
            tasks: Tasks::default(),
            running: VecDeque::new(),
            waiting: VecDeque::new(),
            behind: None,
            beside: None,
            streams: 0,
            most_streams,
            abandoned: false,
            runtime: PhantomData,
        }
    }
}

/// Calls a handler and polls its future once: the future only if there is more to do.
fn begin<T>(call: impl FnOnce() -> BoxFuture<T>, context: &mut Context<'_>) -> Result<Option<T>, Caught<T>> {
    let Ok(future) = catch_unwind(AssertUnwindSafe(call)) else { return Ok(None) };
    let mut future = Caught(future);
    match Pin::new(&mut future).poll(context) {
        Poll::Ready(result) => Ok(result),
        Poll::Pending => Err(future),
    }
}

/// What a peer may use of a service.
fn check<'a, R>(entry: &'a Entry<R>, peer: &Peer) -> Result<&'a Kind<R>, ServiceError> {
    if let Ok(checked) = catch_unwind(AssertUnwindSafe(|| entry.check(peer))) {
        return checked.map(|handler| &handler.0).map_err(ServiceError::from);
    }
    warn!(service = entry.name(), peer = %peer.id, "the rule of a service panicked");
    Err(ServiceError::HandlerFailed)
}

impl<R: Runtime> Server<R> {
    /// Whether answers wait for room in the link.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the next request can go to its handler, whatever it is. While answers wait for room it cannot: another
    /// call would be another answer.
    pub(crate) fn is_ready(&self) -> bool {
        self.behind.is_none() && self.waiting.is_empty() && self.takes_unordered()
    }

    /// Whether an unordered message can.
    pub(crate) fn takes_unordered(&self) -> bool {
        !self.abandoned && self.beside.as_ref().is_none_or(|beside| !beside.is_full())
    }

    /// Whether no message is with its handler.
    pub(crate) fn has_no_message(&self) -> bool {
        self.behind.is_none() && self.beside.is_none()
    }

    /// Whether no handler keeps a link that has ended: none has a message or a stream that came before the end.
    pub(crate) fn is_idle(&self) -> bool {
        self.has_no_message() && (self.streams == 0 || self.abandoned)
    }

    /// Begins a call, and answers it if that is possible at once.
    pub(crate) fn call(
        &mut self,
        link: &mut Core,
        token: ReplyToken,
        entry: Option<Arc<Entry<R>>>,
        request: impl FnOnce(Arc<Entry<R>>) -> Request<R>,
        context: &mut Context<'_>,
    ) {
        let denied = |link: &mut Core, token, error| {
            // Who is not waiting any more needs no refusal.
            let _ = link.reply(token, Err(error));
        };
        let (Some(entry), Some(peer)) = (entry, link.peer()) else {
            return denied(link, token, ServiceError::NoSuchService);
        };
        match check(&entry, peer) {
            Ok(Kind::Call(handler)) => {
                let request = request(Arc::clone(&entry));
                let begun = begin(|| handler(request), context);
                let (id, peer) = (token.call(), peer.id);
                match self.finish(begun, Some(entry), peer, move |answer| Done::Call(id, answer)) {
                    Ok(answer) => self.answer(link, token, answer),
                    Err(task) => {
                        let at = self.running.partition_point(|running| running.token.call() < id);
                        self.running.insert(at, Running { token, task });
                    }
                }
            }
            Ok(_) => denied(link, token, ServiceError::NoSuchService),
            Err(error) => denied(link, token, error),
        }
    }

    /// Hands a message to its handler: an unordered one where the server takes those, another where it is ready.
    pub(crate) fn message(
        &mut self,
        link: &Core,
        entry: Option<Arc<Entry<R>>>,
        request: impl FnOnce(Arc<Entry<R>>) -> Request<R>,
        unordered: bool,
        context: &mut Context<'_>,
    ) {
        let (Some(entry), Some(peer)) = (entry, link.peer()) else {
            trace!("message for no service dropped");
            return;
        };
        let Ok(Kind::Message(handler)) = check(&entry, peer) else {
            trace!(service = entry.name(), "message dropped: the service is not for it");
            return;
        };
        let request = request(Arc::clone(&entry));
        let bytes = request.body.len();
        let begun = begin(|| handler(request), context);
        if !unordered {
            self.behind = self.finish(begun, Some(entry), peer.id, |_| Done::Message).err();
            return;
        }
        let number = self.beside.as_ref().map_or(0, |beside| beside.next);
        if let Err(task) = self.finish(begun, Some(entry), peer.id, move |_| Done::Unordered(number)) {
            let beside = self.beside.get_or_insert_with(|| Box::new(Beside::new(&peer.outcome.limits)));
            beside.add(bytes, task);
        }
    }

    /// Hands a signed message on, in turn with the ordered ones.
    pub(crate) fn relay(&mut self, pass_on: Option<PassOn>, relay: Relay, context: &mut Context<'_>) {
        if let Some(pass_on) = pass_on {
            let peer = relay.peer.id;
            let begun = begin(|| pass_on(relay), context);
            self.behind = self.finish(begun, None, peer, |_| Done::Message).err();
        } else {
            trace!("message for another node dropped: nobody relays");
        }
    }

    /// Gives a task to a handler that is not done at once, within the span of its link; `done` makes what it ends
    /// with. A panic is the program's fault, and is told as such.
    fn finish<T: Send + 'static>(
        &mut self,
        begun: Result<Option<T>, Caught<T>>,
        service: Option<Arc<Entry<R>>>,
        peer: NodeId,
        done: impl FnOnce(Option<T>) -> Done + Send + 'static,
    ) -> Result<Option<T>, Abort> {
        let panicked = move || {
            let service = service.as_ref().map(|entry| entry.name());
            warn!(service, %peer, "a handler panicked");
        };
        match begun {
            Ok(result) => {
                if result.is_none() {
                    panicked();
                }
                Ok(result)
            }
            Err(rest) => {
                let rest = async move {
                    let result = rest.await;
                    if result.is_none() {
                        panicked();
                    }
                    done(result)
                };
                Err(self.tasks.spawn::<R>(rest.in_current_span()))
            }
        }
    }

    /// Hands a stream to its handler, or refuses it.
    pub(crate) fn stream(
        &mut self,
        link: &mut Core,
        id: StreamId,
        entry: Option<&Arc<Entry<R>>>,
        open: impl FnOnce(Arc<Entry<R>>, &mut Core) -> (Request<R>, ByteStream),
        context: &mut Context<'_>,
    ) {
        let has_room = self.streams < self.most_streams;
        if !has_room {
            debug!(running = self.streams, "stream refused: handlers of earlier ones run on");
        }
        let checked = entry.zip(link.peer()).filter(|_| has_room);
        let checked = checked.and_then(|(entry, peer)| Some((entry, check(entry, peer).ok()?, peer.id)));
        let Some((entry, Kind::Stream(handler), peer)) = checked else {
            link.stream_reset(id, STREAM_REFUSED);
            return link.stream_stop(id, STREAM_REFUSED);
        };
        let (request, stream) = open(Arc::clone(entry), link);
        let begun = begin(|| handler(request, stream), context);
        if self.finish(begun, Some(Arc::clone(entry)), peer, |_| Done::Stream).is_err() {
            self.streams += 1;
        }
    }

    /// Decides about a peer.
    pub(crate) fn decide(
        &mut self,
        link: &mut Core,
        call: impl FnOnce() -> BoxFuture<Result<(), Refusal>>,
        now: Instant,
        context: &mut Context<'_>,
    ) {
        match begin(call, context) {
            Ok(decision) => decided(link, decision, now),
            Err(rest) => {
                self.tasks.spawn::<R>(async move { Done::Admission(rest.await) }.in_current_span());
            }
        }
    }

    /// Answers what is done. True if anything happened, so that more may be taken.
    pub(crate) fn poll(&mut self, link: &mut Core, now: Instant, context: &mut Context<'_>) -> bool {
        let mut progress = false;
        while let Some((token, body)) = self.waiting.pop_front() {
            let before = self.waiting.len();
            self.answer(link, token, Some(Ok(body)));
            if self.waiting.len() > before {
                self.waiting.rotate_right(1);
                break;
            }
            progress = true;
        }
        while !self.tasks.is_empty() {
            let Poll::Ready(done) = self.tasks.poll_next(context) else { break };
            progress = true;
            match done {
                Some(Done::Call(id, answer)) => {
                    if let Some(running) = self.take(id) {
                        self.answer(link, running.token, answer);
                    }
                }
                Some(Done::Message) => self.behind = None,
                Some(Done::Unordered(number)) => {
                    if let Some(beside) = &mut self.beside {
                        beside.remove(number);
                    }
                    self.beside = self.beside.take().filter(|beside| !beside.running.is_empty());
                }
                Some(Done::Admission(decision)) => decided(link, decision, now),
                Some(Done::Stream) => self.streams -= 1,
                // Who aborted it has seen to the rest.
                None => {}
            }
        }
        progress
    }

    fn take(&mut self, id: u64) -> Option<Running> {
        let at = self.running.binary_search_by_key(&id, |running| running.token.call()).ok()?;
        self.running.remove(at)
    }

    fn answer(&mut self, link: &mut Core, token: ReplyToken, answer: Option<Answer>) {
        let answer = answer.unwrap_or(Err(ServiceError::HandlerFailed)).map(Payload::Owned);
        let Err(rejected) = link.reply(token, answer) else { return };
        // Without a token nobody waits any more.
        let Some(token) = rejected.token else { return };
        let instead = match (rejected.why, rejected.answer) {
            (Why::Full, Ok(body)) => return self.waiting.push_back((token, body.into_bytes())),
            (Why::TooLarge { limit }, Ok(_)) => ServiceError::TooLarge { limit },
            (why, _) => {
                trace!(%why, "answer of a handler not taken");
                ServiceError::HandlerFailed
            }
        };
        let _ = link.reply(token, Err(instead));
    }

    /// The caller gave up, or its time is over: drops the handler's future.
    pub(crate) fn cancel(&mut self, id: u64) {
        if let Some(running) = self.take(id) {
            running.task.abort();
        }
        self.waiting.retain(|(token, _)| token.call() != id);
    }

    /// The link has ended and nothing more is waited for.
    pub(crate) fn abandon(&mut self) {
        if !self.abandoned && !self.is_idle() {
            let messages = usize::from(self.behind.is_some())
                + self.beside.as_ref().map_or(0, |beside| beside.running.len());
            info!(messages, streams = self.streams, "handlers dropped: their link has ended");
        }
        self.abandoned = true;
        let beside = self.beside.take().map(|beside| beside.running).unwrap_or_default();
        let beside = beside.into_iter().map(|(.., task)| task);
        beside.chain(self.behind.take()).for_each(|task| task.abort());
    }

    /// Ends every handler and waits until they are gone. One that blocks its thread is left behind after
    /// `patience`.
    pub(crate) async fn shut_down(&mut self, patience: Duration) {
        self.abandon();
        self.running.clear();
        if self.tasks.is_empty() {
            return;
        }
        if timeout_at::<R, _>(R::now() + patience, self.tasks.shut_down()).await.is_none() {
            warn!("a handler blocks its thread");
        }
    }
}

fn decided(link: &mut Core, decision: Option<Result<(), Refusal>>, now: Instant) {
    match decision {
        Some(Ok(())) => link.admit(now),
        Some(Err(refusal)) => link.refuse(refusal, now),
        None => {
            warn!("the decision about a peer panicked");
            link.refuse(Refusal::Denied, now);
        }
    }
}
