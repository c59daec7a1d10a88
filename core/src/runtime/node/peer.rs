//! The handle to a peer, whatever link there is to it at the moment.

use std::fmt::{self, Display};
use std::future::Future;
use std::prelude::v1::*;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::hello::DialAddress;
use crate::node::{DialError, LinkId, PeerStatus, Permanence, WhyNotQueued};
use crate::{CallError, Closed, Executed, Instant, Message, NodeId, Payload, Priority, Rejected, Why};
use bytes::Bytes;

use super::builder::addresses;
use super::error::{NoLink, NotSent, WhyNotSent};
use super::slot::Slot;
use super::state::{Inner, State};
use crate::runtime::Runtime;
use crate::runtime::clock::Clock;
use crate::runtime::link::{CALL_TIMEOUT, Link};
use crate::runtime::streams::OpenError;
use crate::runtime::sync::timeout_at;

/// How long a message for now may take until it is on its way.
const NOW: Duration = Duration::from_millis(100);

/// For how long at a time [`Peer::connect`] asks for a link.
const WANT: Duration = Duration::from_secs(30);

/// How far a message is worth keeping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// Until the message's own expiry; for one without, while it waits for a link, for the policy's
    /// [`outbox_expiry`](crate::node::NodePolicy::outbox_expiry).
    #[default]
    Keep,
    /// Kept for this long, across links.
    Until(Duration),
    /// Not kept: dropped if there is no link, or it is not on its way within 100 ms. That is said at once, or
    /// by an event when the message's turn would have come.
    Now,
}

/// A handle to a peer of a node. It outlives links: what is sent goes by the link that there is, or by the
/// next one, and the node sees to that.
///
/// Messages of one priority reach the peer in the order in which their sends returned, over all links, and
/// none twice. One that was sealed when a link was lost may or may not have arrived; one that was not is sent
/// again by the next link. What is given up comes as
/// [`NodeEvent::Undelivered`](crate::node::NodeEvent::Undelivered).
///
/// A peer does not keep its node running, nor anything of it in memory: after the node's end everything says
/// [`ShuttingDown`](WhyNotSent::ShuttingDown).
pub struct Peer<R: Runtime> {
    /// Not the node's own: a handler may have a peer, and the node has its handlers.
    inner: Weak<Inner<R>>,
    clock: Clock,
    slot: Arc<Slot<R>>,
}

impl<R: Runtime> Clone for Peer<R> {
    fn clone(&self) -> Self {
        Self { inner: Weak::clone(&self.inner), clock: self.clock, slot: Arc::clone(&self.slot) }
    }
}

/// Why a message has not gone anywhere yet.
enum Held<R> {
    /// The link's queue is full.
    Link(Link<R>),
    /// The outbox is.
    Outbox,
    /// It will not go.
    Not(WhyNotSent),
}

impl<R: Runtime> Peer<R> {
    pub(super) fn new(inner: &Arc<Inner<R>>, id: NodeId) -> Self {
        let slot = inner.change(|state| state.slot(id));
        Self { inner: Arc::downgrade(inner), clock: inner.clock, slot }
    }

    /// The peer's id.
    pub fn id(&self) -> NodeId {
        self.slot.id
    }

    /// The link that messages go to at the moment. Its handle does not keep it: the node ends links as it
    /// sees fit.
    pub fn link(&self) -> Option<Link<R>> {
        self.slot.route()
    }

    /// How the peer stands; `None` if the node has nothing to say of it.
    pub fn status(&self) -> Option<PeerStatus> {
        self.inner.upgrade()?.look(|state| state.node.status(self.id()))
    }

    /// Sends a message one way, once there is room for it: by the link, or by the next one, which is dialled.
    ///
    /// Returns when the message is queued, which says nothing about its arrival. Cancel-safe: a dropped future
    /// has not sent its message.
    ///
    /// # Errors
    /// [`NotSent`] gives the message back; it is never [`Full`](WhyNotSent::Full).
    pub async fn send<'a>(&self, mut message: Message<'a>) -> Result<(), NotSent<'a>> {
        loop {
            if message.expires.is_some_and(|at| at <= self.clock.now()) {
                return Err(NotSent { why: WhyNotSent::Expired, message });
            }
            let Some(inner) = self.inner.upgrade() else {
                return Err(NotSent { why: WhyNotSent::ShuttingDown, message });
            };
            let room = inner.room.listen();
            message = match self.put(&inner, message) {
                Ok(()) => return Ok(()),
                Err((Held::Not(why), message)) => return Err(NotSent { why, message }),
                Err((Held::Outbox, message)) => {
                    match message.expires {
                        Some(expires) => drop(self.within(expires, room).await),
                        None => room.await,
                    }
                    message
                }
                Err((Held::Link(link), message)) => {
                    let sent = match message.expires {
                        Some(expires) => link.send_before(message, expires).await,
                        None => link.send(message).await,
                    };
                    match sent {
                        Ok(()) => return Ok(()),
                        Err(Rejected { why, message }) => match final_word(why) {
                            Some(why) => return Err(NotSent { why, message }),
                            None => message,
                        },
                    }
                }
            };
        }
    }

    /// Sends a message one way if there is room for it now; otherwise as [`send`](Self::send).
    ///
    /// # Errors
    /// [`NotSent`] gives the message back.
    pub fn try_send<'a>(&self, message: Message<'a>) -> Result<(), NotSent<'a>> {
        let Some(inner) = self.inner.upgrade() else {
            return Err(NotSent { why: WhyNotSent::ShuttingDown, message });
        };
        self.put(&inner, message).map_err(|(held, message)| {
            let why = match held {
                Held::Not(why) => why,
                Held::Link(_) | Held::Outbox => WhyNotSent::Full,
            };
            NotSent { why, message }
        })
    }

    /// Sends a message one way, and says how far it is worth keeping. Cancel-safe as [`send`](Self::send).
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`NotNow`](WhyNotSent::NotNow). A message that expires later than here
    /// comes as [`NodeEvent::Undelivered`](crate::node::NodeEvent::Undelivered).
    pub async fn send_with<'a>(&self, message: Message<'a>, delivery: Delivery) -> Result<(), NotSent<'a>> {
        let expires = message.expires;
        // What comes back is as it was given.
        self.send_as(message, delivery).await.map_err(|mut not| {
            not.message.expires = expires;
            not
        })
    }

    async fn send_as<'a>(&self, message: Message<'a>, delivery: Delivery) -> Result<(), NotSent<'a>> {
        let now = self.clock.now();
        let earlier = |at: Instant| message.expires.map_or(at, |expires| expires.min(at));
        match delivery {
            Delivery::Keep => self.send(message).await,
            Delivery::Until(time) => {
                let expires = earlier(now + time);
                self.send(message.expires(expires)).await
            }
            Delivery::Now => {
                let Some(link) = self.link() else {
                    return Err(NotSent { why: WhyNotSent::NotNow, message });
                };
                let until = earlier(now + NOW);
                link.send_before(message.expires(until), until).await.map_err(|Rejected { why, message }| {
                    NotSent { why: final_word(why).unwrap_or(WhyNotSent::NotNow), message }
                })
            }
        }
    }

    /// Puts a message where it belongs: into the link's queue, or into the outbox.
    fn put<'a>(&self, inner: &Arc<Inner<R>>, mut message: Message<'a>) -> Result<(), (Held<R>, Message<'a>)> {
        let mut route = self.link();
        loop {
            if let Some(link) = route.take() {
                match link.try_send(message) {
                    Ok(()) => return Ok(()),
                    Err(Rejected { why: Why::Full, message }) => return Err((Held::Link(link), message)),
                    Err(Rejected { why, message: back }) => match final_word(why) {
                        Some(why) => return Err((Held::Not(why), back)),
                        // It takes no more: the node knows which one does, or keeps the message.
                        None => message = back,
                    },
                }
            }
            let queued = inner.act(|state, now| {
                state.node.queue(self.id(), message, now).map_err(|not| {
                    let route = if let WhyNotQueued::Linked(id) = not.why { state.link(id) } else { None };
                    (not.why, route.cloned(), not.message)
                })
            });
            let why = match queued {
                Ok(()) => return Ok(()),
                Err((WhyNotQueued::Linked(_), link, back)) => {
                    (route, message) = (link, back);
                    continue;
                }
                Err((why, _, back)) => {
                    message = back;
                    why
                }
            };
            let held = match why {
                WhyNotQueued::Full => Held::Outbox,
                WhyNotQueued::TooLarge if message.service.len() > crate::MAX_SERVICE => {
                    Held::Not(WhyNotSent::LongServiceName)
                }
                WhyNotQueued::TooLarge => {
                    Held::Not(WhyNotSent::TooLarge { limit: inner.config.limits().max_message })
                }
                WhyNotQueued::Expired => Held::Not(WhyNotSent::Expired),
                WhyNotQueued::Untrusted => Held::Not(WhyNotSent::Untrusted),
                WhyNotQueued::SelfConnection => Held::Not(WhyNotSent::SelfConnection),
                _ => Held::Not(WhyNotSent::ShuttingDown),
            };
            return Err((held, message));
        }
    }

    /// Calls `service` of the peer and waits for the answer, at most [`CALL_TIMEOUT`], the wait for a link
    /// included.
    ///
    /// Cancel-safe: dropping the future gives the call up, and tells the peer to stop if it has the request
    /// already.
    ///
    /// # Errors
    /// [`CallError`] says what failed it, and whether it may have been executed;
    /// [`CallError::NoLink`] if there was no link and none could be made, or none before the call's time was
    /// over: with the last dial's error, if there is one. A call that a link has taken is not made again by
    /// another one.
    pub async fn call<'a>(&self, service: &'a str, body: impl Into<Payload<'a>>) -> Result<Bytes, CallError> {
        self.call_with(Message::new(service, body), CALL_TIMEOUT).await
    }

    /// Calls a service of the peer and waits for the answer, at most `timeout`. Cancel-safe, and fails, as
    /// [`call`](Self::call).
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_with(&self, mut message: Message<'_>, timeout: Duration) -> Result<Bytes, CallError> {
        let deadline = self.clock.now() + timeout;
        let mut route = self.link();
        loop {
            let link = match route.take() {
                Some(link) => link,
                None => self.link_before(deadline).await?,
            };
            match link.call_before(message, deadline).await {
                Ok(answer) => return answer,
                Err(back) => message = back,
            }
        }
    }

    /// A link, or what is known about why there is none in time: by a dial that failed meanwhile, or by those
    /// before, of which the next one waits or is under way.
    async fn link_before(&self, deadline: Instant) -> Result<Link<R>, CallError> {
        let seen = self.slot.misses();
        let before = self.status().filter(|status| status.failures > 0).and_then(|status| status.last_error);
        if let Some(link) = self.within(deadline, self.wait(Some(deadline))).await {
            return Ok(link?);
        }
        Err(match self.slot.miss_since(seen).or(before) {
            Some(error) => NoLink::Dial(error).into(),
            None => CallError::DeadlineExceeded { executed: Executed::No },
        })
    }

    /// Opens a byte stream to the service `name` of the peer, with the default priority; as
    /// [`open_stream_with`](Self::open_stream_with).
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_stream(&self, name: &str) -> Result<R::Stream, OpenError> {
        self.open_stream_with(name, Priority::default()).await
    }

    /// Opens a byte stream to the service `name` of the peer, over the link that there is or, as
    /// [`connect`](Self::connect) does, over the next one: give it a timeout as well. A stream ends with its
    /// link. Otherwise as [`Link::open_stream_with`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_stream_with(&self, name: &str, priority: Priority) -> Result<R::Stream, OpenError> {
        loop {
            let link = match self.link() {
                Some(link) => link,
                None => self.connect().await.map_err(OpenError::NoLink)?,
            };
            match link.open_stream_with(name, priority).await {
                // It took no more when it was asked: the next one will.
                Err(OpenError::LinkClosed { .. }) if !self.is_route(&link) => {}
                opened => return opened,
            }
        }
    }

    fn is_route(&self, link: &Link<R>) -> bool {
        self.link().is_some_and(|route| route.is_same(link))
    }

    async fn within<T>(&self, deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
        let deadline = self.clock.to_std(deadline);
        timeout_at::<R, _>(deadline, future).await
    }

    /// Waits for a link to the peer; dials it if there is none. Waits as long as dialling can help, over
    /// failed dials too: where nobody listens, for ever. Give it a timeout; meanwhile and afterwards
    /// [`status`](Self::status) has the last dial's error in
    /// [`last_error`](PeerStatus::last_error). Cancel-safe: a dropped future asks for the link for 30 s more
    /// at most.
    ///
    /// # Errors
    /// [`NoLink`]: why dialling was given up.
    pub async fn connect(&self) -> Result<Link<R>, NoLink> {
        self.wait(None).await
    }

    async fn wait(&self, until: Option<Instant>) -> Result<Link<R>, NoLink> {
        let inner = self.inner.upgrade().ok_or(NoLink::ShuttingDown)?;
        loop {
            let changed = self.slot.changed.listen();
            let seen = self.slot.failures();
            let asked_until = until.unwrap_or(self.clock.now() + WANT);
            let wanted = inner.act(|state, now| {
                let wanted = state.node.want(self.id(), asked_until, now);
                let link = |id: LinkId| state.link(id).cloned();
                wanted.map_err(|why| (why, if let WhyNotQueued::Linked(id) = why { link(id) } else { None }))
            });
            match wanted {
                Ok(()) | Err((WhyNotQueued::Linked(_), None)) => {}
                Err((WhyNotQueued::Linked(_), Some(link))) => return Ok(link),
                Err((WhyNotQueued::Untrusted, _)) => return Err(NoLink::Dial(DialError::Untrusted)),
                Err((WhyNotQueued::SelfConnection, _)) => return Err(NoLink::SelfConnection),
                Err(_) => return Err(NoLink::ShuttingDown),
            }
            if let Some(error) = self.slot.failure_since(seen) {
                return Err(NoLink::Dial(error));
            }
            if self.within(asked_until, changed).await.is_none() && until.is_some() {
                // Whoever set that time is told by a timer of its own.
                std::future::pending::<()>().await;
            }
            if let Some(link) = self.link() {
                return Ok(link);
            }
            if let Some(error) = self.slot.failure_since(seen) {
                return Err(NoLink::Dial(error));
            }
        }
    }

    /// Has the node do something, if it is there.
    fn act(&self, act: impl FnOnce(&mut State<R>, Instant)) {
        if let Some(inner) = self.inner.upgrade() {
            inner.act(act);
        }
    }

    /// Says goodbye on the peer's link, wants no new one, and waits until it has ended; gives how. A permanent
    /// peer is dialled again: change that first. What was sent before goes out before the goodbye as far as
    /// the link takes it; the rest waits for the next link.
    ///
    /// `code` and `detail` (cut to 255 bytes) are for the peer's application. Cancel-safe: the goodbye is
    /// said as soon as the future is polled.
    pub async fn disconnect(&self, code: u32, detail: &str) -> Option<Closed> {
        let link = self.link();
        self.act(|state, now| state.node.disconnect(self.id(), code, detail, now));
        Some(link?.closed().await)
    }

    /// Says whether the peer's link is kept. A permanent peer is dialled at once.
    pub fn set_permanence(&self, permanence: Permanence) {
        self.act(|state, now| state.node.set_permanence(self.id(), permanence, now));
    }

    /// Says where the peer can be dialled, `host:port`, in place of what was said before.
    pub fn set_addresses(&self, addresses: impl IntoIterator<Item = impl Display>) {
        self.set_weighted_addresses(self::addresses(addresses));
    }

    /// The same with weights: of two addresses with weights 3 and 1 the first one is tried first three times
    /// of four.
    pub fn set_weighted_addresses(&self, addresses: Vec<DialAddress>) {
        self.act(|state, now| state.node.set_addresses(self.id(), addresses, now));
    }
}

impl<R: Runtime> fmt::Debug for Peer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("id", &self.id()).field("link", &self.link()).finish()
    }
}

/// What a link says of a message that no other link would take either.
fn final_word(why: Why) -> Option<WhyNotSent> {
    match why {
        Why::TooLarge { limit } => Some(WhyNotSent::TooLarge { limit }),
        Why::LongServiceName => Some(WhyNotSent::LongServiceName),
        _ => None,
    }
}
