//! What this node offers: handlers by name, with a rule for each.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use handclasp::services::{Allow, LongServiceName, Service, ServiceTable};
use handclasp::{Priority, Refusal, ServiceError};
use tokio::sync::Notify;

use crate::link::Link;
use crate::peer::PeerInfo;
use crate::shared::Shared;

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(crate) type Entry = Service<Handler>;
pub(crate) type Admission = Arc<dyn Fn(Arc<PeerInfo>) -> BoxFuture<Result<(), Refusal>> + Send + Sync>;

/// A message or call that came in.
#[non_exhaustive]
pub struct Request {
    /// Who sent it: the authenticated peer.
    pub peer: Arc<PeerInfo>,
    /// Its body.
    pub body: Bytes,
    /// Its priority.
    pub priority: Priority,
    /// Its place among the messages of its priority on this link, from 0.
    pub sequence: u64,
    /// When the caller stops waiting; `None` for a one-way message.
    pub deadline: Option<std::time::Instant>,
    pub(crate) service: Arc<Entry>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) over: Over,
}

impl Request {
    /// The name that the peer used.
    pub fn service(&self) -> &str {
        self.service.name()
    }

    /// A handle to the link that it came on, for instance to call back.
    pub fn link(&self) -> Link {
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

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("peer", &self.peer.id)
            .field("service", &self.service())
            .field("bytes", &self.body.len())
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Flag {
    set: AtomicBool,
    changed: Notify,
}

/// Sets the flag, if anybody has asked for it, when the request is dropped.
#[derive(Debug, Default)]
pub(crate) struct Over(OnceLock<Arc<Flag>>);

impl Drop for Over {
    fn drop(&mut self) {
        if let Some(flag) = self.0.get() {
            flag.set.store(true, Ordering::Release);
            flag.changed.notify_waiters();
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
        let mut changed = std::pin::pin!(self.0.changed.notified());
        changed.as_mut().enable();
        if !self.is_cancelled() {
            changed.await;
        }
    }
}

/// What runs for each message or call of a service.
///
/// A handler is an asynchronous function and must not block its thread: its first step runs on the link's own
/// task, so that an answer that is ready at once costs no task of its own. The rest runs on a task that ends
/// with the link.
pub struct Handler(pub(crate) Kind);

pub(crate) enum Kind {
    Call(Box<dyn Fn(Request) -> BoxFuture<Result<Bytes, ServiceError>> + Send + Sync>),
    Message(Box<dyn Fn(Request) -> BoxFuture<()> + Send + Sync>),
}

impl Handler {
    /// Answers calls. Many may run at a time, as many as the link's limits allow. Its future is dropped when
    /// the caller gives up or its time is over. A panic is answered with [`ServiceError::HandlerFailed`].
    pub fn call<F, R>(handler: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Bytes, ServiceError>> + Send + 'static,
    {
        Self(Kind::Call(Box::new(move |request| Box::pin(handler(request)))))
    }

    /// Takes one-way messages, one after the other in the order they came on their link. While it is behind,
    /// the link takes no further messages and calls, so that the sender feels it.
    pub fn message<F, R>(handler: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self(Kind::Message(Box::new(move |request| Box::pin(handler(request)))))
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Call(_) => "Handler::call",
            Kind::Message(_) => "Handler::message",
        })
    }
}

/// The services that a node offers on its links: by name, each with a rule over the authenticated peer.
/// Nothing is offered by default.
///
/// A clone is a handle to the same services: what is added or withdrawn holds at once for all links, also for
/// those that live already. A call that has begun goes on when its service is withdrawn.
///
/// ```
/// use handclasp_tokio::{Allow, Services};
///
/// let services = Services::new()
///     .serve("echo", Allow::Anyone, |request| async move { Ok(request.body) })
///     .on("log", Allow::Anyone, |request| async move { println!("{:?}", request.body) });
/// assert!(services.withdraw("log"));
/// ```
#[derive(Clone, Default)]
pub struct Services(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Links hold snapshots; a change makes a new one and moves `version`, which is all that they look at
    /// for a message.
    table: Mutex<Arc<ServiceTable<Handler>>>,
    version: AtomicU64,
    admission: Mutex<Option<Admission>>,
}

impl Services {
    /// Services of which there are none yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers calls of `name` with `handler`; see [`Handler::call`].
    ///
    /// # Panics
    /// If `name` has more than 255 bytes; [`add`](Self::add) says so instead.
    #[must_use]
    pub fn serve<F, R>(self, name: &str, allow: Allow, handler: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Bytes, ServiceError>> + Send + 'static,
    {
        self.add(name, allow, Handler::call(handler)).expect("a service name of at most 255 bytes");
        self
    }

    /// Hands one-way messages for `name` to `handler`; see [`Handler::message`].
    ///
    /// # Panics
    /// If `name` has more than 255 bytes; [`add`](Self::add) says so instead.
    #[must_use]
    pub fn on<F, R>(self, name: &str, allow: Allow, handler: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.add(name, allow, Handler::message(handler)).expect("a service name of at most 255 bytes");
        self
    }

    /// Offers `name` from now on, in place of what had the name before; true if something had.
    ///
    /// # Errors
    /// [`LongServiceName`] for a name over 255 bytes.
    pub fn add(&self, name: &str, allow: Allow, handler: Handler) -> Result<bool, LongServiceName> {
        self.change(|table| table.add(name, allow, handler).map(|old| old.is_some()))
    }

    /// Offers `name` no longer; true if it was offered.
    pub fn withdraw(&self, name: &str) -> bool {
        self.change(|table| table.withdraw(name).is_some())
    }

    /// Decides about peers that have proved their id, under [`Trust::Ask`](handclasp::Trust::Ask). Without
    /// this, such peers are [denied](Refusal::Denied). The handshake's deadline runs on meanwhile.
    #[must_use]
    pub fn admit<F, R>(self, decide: F) -> Self
    where
        F: Fn(Arc<PeerInfo>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        let decide: Admission = Arc::new(move |peer| Box::pin(decide(peer)));
        *self.0.admission.lock().unwrap_or_else(PoisonError::into_inner) = Some(decide);
        self
    }

    pub(crate) fn admission(&self) -> Option<Admission> {
        self.0.admission.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut ServiceTable<Handler>) -> T) -> T {
        let mut table = self.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(Arc::make_mut(&mut table));
        self.0.version.fetch_add(1, Ordering::Release);
        result
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner).fmt(f)
    }
}

/// One link's view of the services: a snapshot, and whether it is still the latest.
#[derive(Debug)]
pub(crate) struct View {
    services: Services,
    table: Arc<ServiceTable<Handler>>,
    version: u64,
}

impl View {
    pub(crate) fn new(services: &Services) -> Self {
        let mut view = Self { services: services.clone(), table: Arc::default(), version: 0 };
        view.refresh();
        view
    }

    fn refresh(&mut self) {
        let table = self.services.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock the two belong together.
        self.version = self.services.0.version.load(Ordering::Acquire);
        self.table = Arc::clone(&table);
    }

    pub(crate) fn find(&mut self, name: &str) -> Option<Arc<Entry>> {
        if self.services.0.version.load(Ordering::Acquire) != self.version {
            self.refresh();
        }
        self.table.find(name).cloned()
    }

    pub(crate) fn admission(&self) -> Option<Admission> {
        self.services.admission()
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
