//! What this node offers: handlers by name, with a rule for each.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::prelude::v1::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use event_listener::Event;

use super::Runtime;
use super::link::Link;
use super::peer::PeerInfo;
#[cfg(feature = "recording")]
use super::records::Records;
use super::shared::Shared;
use super::streams::ByteStream;
use super::sync::{lock, wake_all};
#[cfg(feature = "recording")]
use crate::recording::Recording;
use crate::services::{Allow, LongServiceName, Service, ServiceTable};
use crate::signed::SignedMessage;
use crate::{Priority, Refusal, ServiceError};

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(crate) type Entry<R> = Service<Handler<R>>;
pub(crate) type PassOn = Arc<dyn Fn(Relay) -> BoxFuture<()> + Send + Sync>;
pub(crate) type Admission = Arc<dyn Fn(Arc<PeerInfo>) -> BoxFuture<Result<(), Refusal>> + Send + Sync>;

/// A message or call that came in, or the opening of a byte stream.
#[non_exhaustive]
pub struct Request<R> {
    /// Who sent it: the authenticated peer.
    pub peer: Arc<PeerInfo>,
    /// Its body; empty for a stream.
    pub body: Bytes,
    /// Its priority.
    pub priority: Priority,
    /// Its place among the messages of its priority on this link, from 0; a stream's id.
    pub sequence: u64,
    /// When the caller stops waiting; `None` for a one-way message or a stream.
    pub deadline: Option<std::time::Instant>,
    /// If it came as a [signed message](crate::signed), the whole of it: verified, for this node, and come for the
    /// first time. What it says is its [origin](SignedMessage::origin)'s word, whoever the peer is.
    pub signed: Option<Box<SignedMessage>>,
    pub(crate) service: Arc<Entry<R>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) over: Over,
}

impl<R: Runtime> Request<R> {
    /// The name that the peer used.
    pub fn service(&self) -> &str {
        self.service.name()
    }

    /// A handle to the link that it came on, for instance to call back.
    pub fn link(&self) -> Link<R> {
        Link::new(&self.shared, &self.peer)
    }

    /// A token for work that is not a part of the handler's future, such as a blocking thread: it says when
    /// nobody waits any more, because the request was dropped: answered, cancelled by the caller, out of
    /// time, or because the link has ended.
    ///
    /// The handler's own future needs none: it is dropped then.
    pub fn cancelled(&self) -> Cancelled {
        Cancelled(Arc::clone(self.over.0.get_or_init(Arc::default)))
    }
}

impl<R> fmt::Debug for Request<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("peer", &self.peer.id)
            .field("service", &self.service.name())
            .field("bytes", &self.body.len())
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

/// A signed message that is for another node, or for a topic; see [`Services::relay`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Relay {
    /// Who sent it here: the authenticated peer, which need not be its origin.
    pub peer: Arc<PeerInfo>,
    /// The message, verified. [`SignedMessage::message`] is what to send on: unchanged, byte for byte.
    pub message: Box<SignedMessage>,
    /// The priority that it came with.
    pub priority: Priority,
}

#[derive(Debug, Default)]
struct Flag {
    set: AtomicBool,
    changed: Event,
}

/// Sets the flag, if anybody has asked for it, when the request is dropped.
#[derive(Debug, Default)]
pub(crate) struct Over(OnceLock<Arc<Flag>>);

impl Drop for Over {
    fn drop(&mut self) {
        if let Some(flag) = self.0.get() {
            flag.set.store(true, Ordering::Release);
            wake_all(&flag.changed);
        }
    }
}

/// Whether anybody still waits for a request; see [`Request::cancelled`].
#[derive(Clone, Debug)]
pub struct Cancelled(Arc<Flag>);

impl Cancelled {
    /// Whether the request is over.
    pub fn is_cancelled(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Waits until the request is over. Cancel-safe: dropping the future changes nothing.
    pub async fn wait(&self) {
        let changed = self.0.changed.listen();
        if !self.is_cancelled() {
            changed.await;
        }
    }
}

/// What runs for each message or call of a service.
///
/// A handler is an asynchronous function and must not block its thread: its first step runs on the link's own
/// task, so that an answer that is ready at once costs no task of its own. The rest runs on a task. At the end of the link
/// calls are dropped, since nobody waits for their answers; handlers of messages and streams have the
/// [drain time](crate::Timing::drain) to end.
pub struct Handler<R>(pub(crate) Kind<R>);

type Run<R, T> = Box<dyn Fn(Request<R>) -> BoxFuture<T> + Send + Sync>;

pub(crate) enum Kind<R> {
    Call(Run<R, Result<Bytes, ServiceError>>),
    Message(Run<R, ()>),
    Stream(Box<dyn Fn(Request<R>, ByteStream) -> BoxFuture<()> + Send + Sync>),
}

impl<R: Runtime> Handler<R> {
    /// Answers calls. Many may run at a time, as many as the link's limits allow. Its future is dropped when
    /// the caller gives up or its time is over. A panic is answered with [`ServiceError::HandlerFailed`].
    ///
    /// While the caller does not read its answers, and one of them waits for room in the
    /// [send buffer](crate::ConfigBuilder::send_buffer), its calls and ordered messages are not taken.
    pub fn call<F, Answer>(handler: F) -> Self
    where
        F: Fn(Request<R>) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<Bytes, ServiceError>> + Send + 'static,
    {
        Self(Kind::Call(Box::new(move |request| Box::pin(handler(request)))))
    }

    /// Takes one-way messages, one after the other in the order they came on their link. While it is behind,
    /// the link takes no further messages and calls, so that the sender feels it.
    ///
    /// [Unordered](crate::Message::unordered) messages are taken even then, and side by side: as many at a time as
    /// the link may have calls, and about as many bytes as its window.
    ///
    /// **A handler of ordered messages should not wait for a call to the peer that sent them.** If the peer's own
    /// handler does the same, neither side takes the other's call before its own handler is done, and both wait until
    /// the calls' deadlines. Have such messages sent unordered, or give the call to a task of its own and return.
    ///
    /// A message is taken when its handler begins, and its sender counts it as confirmed from then on
    /// ([`Closed::unknown`](crate::Closed::unknown)); what no handler has begun with at the end of the link is
    /// [`Closed::untaken`](crate::Closed::untaken).
    pub fn message<F, Done>(handler: F) -> Self
    where
        F: Fn(Request<R>) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        Self(Kind::Message(Box::new(move |request| Box::pin(handler(request)))))
    }

    /// Takes byte streams, each in a future of its own. A stream is given up when it is dropped before it was closed,
    /// so also when the future panics.
    ///
    /// Twice as many futures run at a time as the peer may have streams open
    /// ([`StreamLimits::max_open`](crate::StreamLimits::max_open)). A stream that comes while as many run is refused:
    /// a future should end when its stream does, and soon when the peer has given the stream up.
    ///
    /// When the link ends, what came before can still be read; then comes the peer's end of the stream, if that had
    /// come, or else [`StreamError::LinkEnded`](super::StreamError::LinkEnded), which a write gives as well. Futures
    /// that run on are dropped after the [drain time](crate::Timing::drain), and at once where this side has
    /// [closed](Link::close) the link or revoked the peer. Until then [`Link::closed`] waits for them: one that waits
    /// for something else than its stream should wait for its stream's end as well.
    pub fn stream<F, Done>(handler: F) -> Self
    where
        F: Fn(Request<R>, R::Stream) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        Self(Kind::Stream(Box::new(move |request, stream| Box::pin(handler(request, stream.into())))))
    }
}

impl<R> fmt::Debug for Handler<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Call(_) => "Handler::call",
            Kind::Message(_) => "Handler::message",
            Kind::Stream(_) => "Handler::stream",
        })
    }
}

/// The services that a node offers on its links: by name, each with a rule over the authenticated peer.
/// Nothing is offered by default.
///
/// A clone is a handle to the same services: what is added or withdrawn holds at once for all links, also for
/// those that live already. A call that has begun goes on when its service is withdrawn.
pub struct Services<R>(Arc<Inner<R>>);

impl<R> Clone for Services<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> Default for Services<R> {
    fn default() -> Self {
        Self(Arc::new(Inner {
            table: Mutex::default(),
            version: AtomicU64::new(0),
            admission: Mutex::default(),
            relay: Mutex::default(),
            #[cfg(feature = "recording")]
            records: Mutex::default(),
        }))
    }
}

struct Inner<R> {
    /// Links hold snapshots; a change makes a new one and moves `version`, which is all that they look at
    /// for a message.
    table: Mutex<Arc<ServiceTable<Handler<R>>>>,
    version: AtomicU64,
    admission: Mutex<Option<Admission>>,
    relay: Mutex<Option<PassOn>>,
    #[cfg(feature = "recording")]
    records: Mutex<Option<Arc<Records>>>,
}

impl<R: Runtime> Services<R> {
    /// Services of which there are none yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers calls of `name` with `handler`; see [`Handler::call`].
    ///
    /// # Panics
    /// If `name` has more than 255 bytes; [`add`](Self::add) says so instead.
    #[must_use]
    pub fn serve<F, Answer>(self, name: &str, allow: Allow, handler: F) -> Self
    where
        F: Fn(Request<R>) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<Bytes, ServiceError>> + Send + 'static,
    {
        self.add(name, allow, Handler::call(handler)).expect("a service name of at most 255 bytes");
        self
    }

    /// Hands one-way messages for `name` to `handler`, in their order, one after the other; see [`Handler::message`].
    ///
    /// A handler that waits for a call to its peer may wait for a handler there that waits for it, until the deadline
    /// of the call: have the messages sent [unordered](crate::Message::unordered), or make the call on a task of its
    /// own and return.
    ///
    /// # Panics
    /// If `name` has more than 255 bytes; [`add`](Self::add) says so instead.
    #[must_use]
    pub fn on<F, Done>(self, name: &str, allow: Allow, handler: F) -> Self
    where
        F: Fn(Request<R>) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        self.add(name, allow, Handler::message(handler)).expect("a service name of at most 255 bytes");
        self
    }

    /// Hands byte streams that peers open for `name` to `handler`; see [`Handler::stream`].
    ///
    /// # Panics
    /// If `name` has more than 255 bytes; [`add`](Self::add) says so instead.
    #[must_use]
    pub fn stream<F, Done>(self, name: &str, allow: Allow, handler: F) -> Self
    where
        F: Fn(Request<R>, R::Stream) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        self.add(name, allow, Handler::stream(handler)).expect("a service name of at most 255 bytes");
        self
    }

    /// Offers `name` from now on, in place of what had the name before; true if something had.
    ///
    /// # Errors
    /// [`LongServiceName`] for a name over 255 bytes.
    pub fn add(&self, name: &str, allow: Allow, handler: Handler<R>) -> Result<bool, LongServiceName> {
        self.change(|table| table.add(name, allow, handler).map(|old| old.is_some()))
    }

    /// Offers `name` no longer; true if it was offered.
    pub fn withdraw(&self, name: &str) -> bool {
        self.change(|table| table.withdraw(name).is_some())
    }

    /// Decides about peers that have proved their id, under [`Trust::Ask`](crate::Trust::Ask). Without
    /// this, such peers are [denied](Refusal::Denied). The decision has the time of a
    /// [step](crate::Timing::step) of the handshake, 7 s by default, less an eighth: then its future is dropped, and the link ends.
    #[must_use]
    pub fn admit<F, Decision>(self, decide: F) -> Self
    where
        F: Fn(Arc<PeerInfo>) -> Decision + Send + Sync + 'static,
        Decision: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        let decide: Admission = Arc::new(move |peer| Box::pin(decide(peer)));
        *lock(&self.0.admission) = Some(decide);
        self
    }

    /// Takes [signed messages](crate::signed) that are to be passed on, where the configuration's
    /// [policy](crate::signed::SignedPolicy::relay) has them taken at all: one after the other, in turn with other
    /// messages of the same link. Without this, they are dropped.
    #[must_use]
    pub fn relay<F, Done>(self, handler: F) -> Self
    where
        F: Fn(Relay) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        let pass_on: PassOn = Arc::new(move |relay| Box::pin(handler(relay)));
        *lock(&self.0.relay) = Some(pass_on);
        self
    }

    /// Debugging only: records each link that is made with these services from now on, without secrets and payloads
    /// ([`Recorder::redacted`](crate::recording::Recorder::redacted)), in at most `limit` bytes each. `sink` is given
    /// the recording when the link has ended, on the link's own task: it should hand it on and return.
    #[cfg(feature = "recording")]
    #[must_use]
    pub fn record(self, limit: usize, sink: impl Fn(Recording) + Send + Sync + 'static) -> Self {
        let sink = Box::new(sink);
        *lock(&self.0.records) = Some(Arc::new(Records { limit, sink }));
        self
    }

    #[cfg(feature = "recording")]
    pub(crate) fn records(&self) -> Option<Arc<Records>> {
        lock(&self.0.records).clone()
    }

    pub(crate) fn pass_on(&self) -> Option<PassOn> {
        lock(&self.0.relay).clone()
    }

    pub(crate) fn admission(&self) -> Option<Admission> {
        lock(&self.0.admission).clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut ServiceTable<Handler<R>>) -> T) -> T {
        let mut table = lock(&self.0.table);
        let result = change(Arc::make_mut(&mut table));
        self.0.version.fetch_add(1, Ordering::Release);
        result
    }
}

impl<R> fmt::Debug for Services<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lock(&self.0.table).fmt(f)
    }
}

/// One link's view of the services: a snapshot, and whether it is still the latest.
#[derive(Debug)]
pub(crate) struct View<R> {
    services: Services<R>,
    table: Arc<ServiceTable<Handler<R>>>,
    version: u64,
}

impl<R: Runtime> View<R> {
    pub(crate) fn new(services: &Services<R>) -> Self {
        let mut view = Self { services: services.clone(), table: Arc::default(), version: 0 };
        view.refresh();
        view
    }

    fn refresh(&mut self) {
        let table = lock(&self.services.0.table);
        // Under the lock the two belong together.
        self.version = self.services.0.version.load(Ordering::Acquire);
        self.table = Arc::clone(&table);
    }

    pub(crate) fn find(&mut self, name: &str) -> Option<Arc<Entry<R>>> {
        if self.services.0.version.load(Ordering::Acquire) != self.version {
            self.refresh();
        }
        self.table.find(name).cloned()
    }

    pub(crate) fn admission(&self) -> Option<Admission> {
        self.services.admission()
    }

    pub(crate) fn pass_on(&self) -> Option<PassOn> {
        self.services.pass_on()
    }
}

/// A future whose panics end it with `None`.
pub(crate) struct Caught<T>(pub(crate) BoxFuture<T>);

impl<T> Future for Caught<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        // After a panic the future is never polled again, so nobody sees what it left half done.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    }
}
