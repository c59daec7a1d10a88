//! The handle to a link.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::prelude::v1::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_channel::oneshot;

use super::Runtime;
use super::peer::PeerInfo;
use super::queue::{Answer, Job};
use super::shared::{Export, Open, Shared};
use super::streams::OpenError;
use super::sync::{lock, timeout_at};
use crate::crypto::CryptoError;
use crate::{
    CallError, Closed, Envelope, Executed, Instant, MAX_SERVICE, Message, Payload, Priority, Reason,
    Rejected, ServiceError, Stats, Why,
};

/// How long a call waits for its answer where nothing else is said.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle to an established link. Clones are handles to the same link.
///
/// The link is owned by a task of its own, which alone reads and writes the stream; handles give it commands
/// through a bounded queue. So every future of a handle can be dropped at any time without harm to the link,
/// and what that means for its own work is said with each.
///
/// **When the last handle is dropped, the link is closed at once** as by [`close`](Self::close), whatever is
/// queued. Say [`goodbye`](Self::goodbye) to end a link in good order.
pub struct Link<R> {
    hold: Hold,
    peer: Arc<PeerInfo>,
    runtime: PhantomData<fn() -> R>,
}

/// Keeps a link: without any it is closed.
pub(crate) struct Hold(Arc<Shared>);

impl Hold {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        shared.handles.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.tell(|control| control.close = true);
        }
    }
}

impl<R: Runtime> Link<R> {
    pub(crate) fn new(shared: &Arc<Shared>, peer: &Arc<PeerInfo>) -> Self {
        Self { hold: Hold::new(shared), peer: Arc::clone(peer), runtime: PhantomData }
    }

    /// The authenticated peer, and what was agreed on with it.
    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    /// The time on the link's clock, which begins at zero with the link, or with the node that it belongs to:
    /// that of [`Message::expires`].
    pub fn now(&self) -> Instant {
        self.hold.0.clock.now()
    }

    /// Sends a message one way, once there is room for it. Returns when the message is queued, which says
    /// nothing about its arrival.
    ///
    /// Messages of one priority keep the order in which their `send`s returned. Cancel-safe: a dropped future
    /// has not sent its message.
    ///
    /// # Errors
    /// [`Rejected`] gives the message back: too large, or the link takes none any more.
    pub async fn send<'a>(&self, message: Message<'a>) -> Result<(), Rejected<'a>> {
        let message = self.checked(message)?;
        let pushed = self.push(message, Job::Send, None).await;
        pushed.map_err(|(why, message, _)| Rejected { why, message })
    }

    /// As [`send`](Self::send), and [`Why::Full`] if there is no room before `until`.
    pub(crate) async fn send_before<'a>(
        &self,
        message: Message<'a>,
        until: Instant,
    ) -> Result<(), Rejected<'a>> {
        let message = self.checked(message)?;
        let pushed = self.push(message, Job::Send, Some(until)).await;
        pushed.map_err(|(why, message, _)| Rejected { why, message })
    }

    /// Queues a message once there is room for it, or says [`Why::Full`] if there is none before `until`.
    async fn push<'a>(
        &self,
        message: Message<'a>,
        job: Job,
        until: Option<Instant>,
    ) -> Result<(), (Why, Message<'a>, Job)> {
        let (message, job) = match self.hold.0.try_push(message, job) {
            Err((Why::Full, message, job)) => (message, job),
            pushed => return pushed,
        };
        let mut room = self.hold.0.room(&message);
        let found = match until {
            None => (&mut room).await,
            Some(until) => {
                let until = self.hold.0.clock.to_std(until);
                timeout_at::<R, _>(until, &mut room).await.unwrap_or(Err(Why::Full))
            }
        };
        match found {
            Ok(()) => self.hold.0.push_into(room, message, job),
            Err(why) => Err((why, message, job)),
        }
    }

    /// Sends a message one way if there is room for it now.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Why::Full`].
    pub fn try_send<'a>(&self, message: Message<'a>) -> Result<(), Rejected<'a>> {
        let message = self.checked(message)?;
        self.hold.0.try_push(message, Job::Send).map_err(|(why, message, _)| Rejected { why, message })
    }

    /// Calls `service` of the peer and waits for the answer, at most [`CALL_TIMEOUT`].
    ///
    /// Cancel-safe: dropping the future gives the call up, and tells the peer to stop if it has the request
    /// already.
    ///
    /// # Errors
    /// [`CallError`] says whether the service, the clock or the link failed it, and whether it may have been
    /// executed.
    pub async fn call<'a>(&self, service: &'a str, body: impl Into<Payload<'a>>) -> Result<Bytes, CallError> {
        self.call_with(Message::new(service, body), CALL_TIMEOUT).await
    }

    /// Calls a service of the peer and waits for the answer, at most `timeout`, the wait for room included.
    ///
    /// Cancel-safe as [`call`](Self::call).
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_with(&self, message: Message<'_>, timeout: Duration) -> Result<Bytes, CallError> {
        let deadline = self.hold.0.clock.now() + timeout;
        match self.call_before(message, deadline).await {
            Ok(answer) => answer,
            Err(_) => Err(self.gone(Executed::No)),
        }
    }

    /// As [`call_with`](Self::call_with), with a point in time on the link's clock. A link that takes no new
    /// work gives the message back.
    pub(crate) async fn call_before<'a>(
        &self,
        message: Message<'a>,
        deadline: Instant,
    ) -> Result<Answer, Message<'a>> {
        if message.body.is_signed() {
            return Ok(Err(CallError::OneWayOnly));
        }
        let message = match self.checked(message) {
            Ok(message) => message,
            Err(Rejected { why: Why::TooLarge { limit }, .. }) => {
                return Ok(Err(CallError::Service(ServiceError::TooLarge { limit })));
            }
            // A peer cannot offer a service of such a name.
            Err(_) => return Ok(Err(CallError::Service(ServiceError::NoSuchService))),
        };
        let (answer, answered) = oneshot::channel();
        match self.push(message, Job::Call { answer, deadline }, Some(deadline)).await {
            Ok(()) => {}
            Err((Why::Full, ..)) => {
                return Ok(Err(CallError::DeadlineExceeded { executed: Executed::No }));
            }
            Err((_, message, _)) => return Err(message),
        }
        let mut pending = Pending { shared: &self.hold.0, answered: Some(answered) };
        // Without a word the task has let go of the call.
        Ok(pending.answer().await.unwrap_or_else(|| Err(self.gone(Executed::Unknown))))
    }

    /// Opens a byte stream to the service `name` of the peer, with the default priority; as
    /// [`open_stream_with`](Self::open_stream_with).
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_stream(&self, name: &str) -> Result<R::Stream, OpenError> {
        self.open_stream_with(name, Priority::default()).await
    }

    /// Opens a byte stream to the service `name` of the peer. It can be written to at once; that the peer does
    /// not take it shows as [`StreamError::Refused`](super::StreamError::Refused) when it is read or written.
    ///
    /// Streams of one priority share what is sent with the messages of that priority; none waits for another,
    /// and no message for a stream. Cancel-safe: a stream that was opened for a dropped future is given up.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_stream_with(&self, name: &str, priority: Priority) -> Result<R::Stream, OpenError> {
        let (answer, opened) = oneshot::channel();
        let open = Open { name: name.into(), priority, answer };
        self.hold.0.tell(|control| control.opens.push(open));
        match opened.await {
            Ok(opened) => opened.map(R::Stream::from),
            Err(_) => Err(OpenError::LinkClosed { reason: self.reason() }),
        }
    }

    /// The same message, if the peer can take it at all.
    fn checked<'a>(&self, message: Message<'a>) -> Result<Message<'a>, Rejected<'a>> {
        let limit = self.peer.limits().max_message;
        if message.service.len() > MAX_SERVICE {
            Err(Rejected { why: Why::LongServiceName, message })
        } else if message.body.len() > limit as usize {
            Err(Rejected { why: Why::TooLarge { limit }, message })
        } else {
            Ok(message)
        }
    }

    fn gone(&self, executed: Executed) -> CallError {
        CallError::LinkClosed { reason: self.reason(), executed }
    }

    /// Why the link takes no new work.
    fn reason(&self) -> Reason {
        let ended = self.hold.0.end().map(|end| &end.closed.reason);
        ended.or_else(|| self.hold.0.why()).cloned().unwrap_or(Reason::Dropped)
    }

    /// Ends the link in good order: no new work from here on; what was queued goes out, calls in flight and
    /// streams finish, and what came is handled. Returns how the link ended, which the other side may have
    /// decided before.
    ///
    /// All of that has the [drain time](crate::Timing::drain), counted from the first goodbye, and the end of
    /// the stream is within it. What was queued is waited for until half of it is over, what is under way
    /// until four fifths are: then the reason is [`DrainTimeout`](Reason::DrainTimeout), and calls fail.
    /// Handlers that are still busy when nine tenths are over are dropped. Only a handler that blocks its
    /// thread may outlive that.
    ///
    /// `code` and `detail` (cut to 255 bytes) are for the peer's application. Cancel-safe: the goodbye is
    /// said as soon as the future is polled, and takes its course when it is dropped. Of several goodbyes
    /// the first counts.
    pub async fn goodbye(&self, code: u32, detail: &str) -> Closed {
        self.hold.0.tell(|control| {
            if control.goodbye.is_none() {
                control.goodbye = Some((code, detail.to_owned()));
            }
        });
        self.closed().await
    }

    /// Ends the link at once: the peer is told `dropped`, calls in flight fail, what is queued is not sent.
    pub fn close(&self) {
        self.hold.0.tell(|control| control.close = true);
    }

    /// Waits until the link has ended and says how. Its stream is closed by then and its handlers are gone.
    /// Cancel-safe.
    pub async fn closed(&self) -> Closed {
        self.hold.0.ended().await.closed.clone()
    }

    /// How the link ended, if it has: [`closed`](Self::closed) without waiting.
    pub fn try_closed(&self) -> Option<&Closed> {
        self.hold.0.end().map(|end| &end.closed)
    }

    /// The error of the stream that ended the link, where the reason is [`Reason::Transport`].
    pub fn transport_error(&self) -> Option<Arc<io::Error>> {
        self.hold.0.end().and_then(|end| end.error.clone())
    }

    /// After the end, once: the one-way messages that were queued and of which nothing was sent, in the order
    /// of their priorities.
    pub fn take_unsent(&self) -> Vec<Envelope> {
        let Some(end) = self.hold.0.end() else { return Vec::new() };
        std::mem::take(&mut *lock(&end.unsent))
    }

    /// Bytes that wait for the link's task, each message with its overhead.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.hold.0.waiting_bytes()
    }

    pub(crate) fn shared_peer(&self) -> Arc<PeerInfo> {
        Arc::clone(&self.peer)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.is_of(&other.hold.0)
    }

    pub(crate) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.hold.0, shared)
    }

    /// The link's figures; after the end, those of the end. Cancel-safe.
    pub async fn stats(&self) -> Stats {
        self.told_stats(self.ask_stats()).await
    }

    pub(crate) fn ask_stats(&self) -> oneshot::Receiver<Stats> {
        let (sender, stats) = oneshot::channel();
        self.hold.0.tell(|control| control.stats.push(sender));
        stats
    }

    pub(crate) async fn told_stats(&self, stats: oneshot::Receiver<Stats>) -> Stats {
        match stats.await {
            Ok(stats) => stats,
            Err(_) => self.hold.0.ended().await.stats,
        }
    }

    /// Measures the round trip with a ping, or with one that is under way. Cancel-safe.
    ///
    /// # Errors
    /// [`Closed`] if the link ends first.
    pub async fn ping(&self) -> Result<Duration, Box<Closed>> {
        let (sender, pong) = oneshot::channel();
        self.hold.0.tell(|control| control.pings.push(sender));
        match pong.await {
            Ok(time) => Ok(time),
            Err(_) => Err(Box::new(self.closed().await)),
        }
    }

    /// Says that this side is ready, and waits until both are. Only a side whose configuration
    /// [holds](crate::ConfigBuilder::hold_ready) its links is waited for, for the
    /// [`ready`](crate::Timing::ready) time at most; messages flow meanwhile, so that an application can
    /// bring itself up to date over the link first.
    ///
    /// Cancel-safe: the word is said as soon as the future is polled, and holds when it is dropped.
    ///
    /// # Errors
    /// [`Closed`] if the link ends first, for instance because the other side was
    /// [not ready](Reason::NotReady) in time.
    pub async fn ready(&self) -> Result<(), Box<Closed>> {
        self.hold.0.tell(|control| control.ready = true);
        self.hold.0.ready().await.map_err(|end| Box::new(end.closed.clone()))
    }

    /// Changes the keys of both directions, soon and in passing. Links do so by themselves by their
    /// [policy](crate::RekeyPolicy).
    pub fn rekey(&self) {
        self.hold.0.tell(|control| control.rekey = true);
    }

    /// Fills `out` with keying material that only the two sides of this link share, the same on both for the
    /// same `label` and `context`. Cancel-safe; `out` is only written at the end.
    ///
    /// # Errors
    /// [`CryptoError::BadLength`] if `out` is longer than 8160 bytes, or `label` or `context` longer than 65
    /// 535; [`CryptoError::OutOfTurn`] after the link has ended.
    pub async fn export(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
        const MOST: usize = 8160;
        if out.len() > MOST {
            return Err(CryptoError::BadLength);
        }
        let (answer, exported) = oneshot::channel();
        let export = Export { label: label.into(), context: context.into(), length: out.len(), answer };
        self.hold.0.tell(|control| control.exports.push(export));
        let material = exported.await.map_err(|_| CryptoError::OutOfTurn)??;
        out.copy_from_slice(&material);
        Ok(())
    }
}

impl<R: Runtime> Clone for Link<R> {
    fn clone(&self) -> Self {
        Self::new(&self.hold.0, &self.peer)
    }
}

impl<R> fmt::Debug for Link<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("peer", &self.peer.id)
            .field("direction", &self.peer.direction)
            .field("remote", &self.peer.remote)
            .field("closed", &self.hold.0.end().map(|end| &end.closed))
            .finish_non_exhaustive()
    }
}

/// A call under way, which is given up when this is dropped.
struct Pending<'a> {
    shared: &'a Shared,
    answered: Option<oneshot::Receiver<Answer>>,
}

impl Pending<'_> {
    async fn answer(&mut self) -> Option<Answer> {
        let answer = match &mut self.answered {
            Some(answered) => answered.await.ok(),
            None => None,
        };
        self.answered = None;
        answer
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        // First the receiver, so that the task finds the call without one.
        if self.answered.take().is_some() {
            self.shared.tell(|control| control.cancelled = true);
        }
    }
}
