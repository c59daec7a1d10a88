//! Bytes and events: what the machine says, sorted to whom it concerns.

use std::pin::Pin;
use std::prelude::v1::*;
use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::Driver;
use super::streams::StreamNews;
use crate::drive::{Pumped, Taking, pump};
use crate::runtime::Runtime;
use crate::runtime::peer::PeerInfo;
use crate::runtime::services::{Entry, Over, Relay, Request};
use crate::runtime::shared::Shared;
use crate::runtime::streams::ByteStream;
use crate::signed::SignedMessage;
use crate::{
    Action, Closed, Envelope, Event, Incoming, Instant, Link as Core, Priority, Ready, Reason, StreamId,
};

/// Messages and calls begun in one turn at most, in number and bytes.
const TAKEN: usize = 256;
const TAKEN_BYTES: usize = 256 << 10;

/// What came in beside requests and is for a handler.
pub(super) enum Item<R> {
    Cancelled(u64),
    Stream { id: StreamId, name: Box<str>, priority: Priority, service: Option<Arc<Entry<R>>> },
}

/// A message or call that was taken from the machine.
struct Taken {
    body: Bytes,
    priority: Priority,
    sequence: u64,
    signed: Option<Box<SignedMessage>>,
}

/// What one turn of events brought beside items.
#[derive(Default)]
pub(super) struct News {
    pub(super) established: bool,
    pub(super) draining: Option<Reason>,
    pub(super) closed: Option<Closed>,
    /// Messages that were not sent in time.
    pub(super) expired: Vec<Envelope>,
    pub(super) streams: Vec<StreamNews>,
}

impl<S: AsyncRead + AsyncWrite + Unpin, R: Runtime> Driver<S, R> {
    /// Moves bytes and events, all but requests; true if there is more.
    pub(super) fn pump(&mut self, context: &mut Context<'_>) -> (News, bool) {
        let clock = self.shared.clock;
        let Self { link, stream, shared, calls, items, view, unflushed, .. } = self;
        let mut news = News::default();
        let read = |context: &mut Context<'_>, space: &mut [u8]| {
            Pin::new(&mut *stream.borrow_mut()).poll_read(context, space)
        };
        let write = |context: &mut Context<'_>, bytes: &[u8]| {
            let written = Pin::new(&mut *stream.borrow_mut()).poll_write(context, bytes);
            // While a write is pending there is nothing to flush: it comes behind, and a flush would make some
            // streams forget whom to wake (async-net).
            *unflushed = written.is_ready();
            written
        };
        let deliver = |event: Event<'_>| {
            match event {
                Event::Reply { call, body } => calls.complete(call, Ok(body.into_bytes())),
                Event::CallFailed { call, error } => calls.complete(call, Err(error)),
                Event::Cancelled { call } => items.push(Item::Cancelled(call)),
                Event::StreamOpened { id, name, priority } => {
                    let service = view.find(&name);
                    items.push(Item::Stream { id, name, priority, service });
                }
                Event::StreamReadable(id) | Event::StreamWritable(id) | Event::StreamReset { id, .. } => {
                    news.streams.push(StreamNews::Moves(id));
                }
                Event::StreamStopped { id, code } => news.streams.push(StreamNews::Stopped(id, code)),
                Event::Established(_) => news.established = true,
                Event::Draining { code, detail, .. } => {
                    news.draining = Some(Reason::Goodbye { code, detail: detail.into() });
                }
                Event::Expired(envelope) => news.expired.push(envelope),
                Event::Ready => shared.set_ready(),
                Event::Closed(closed) => news.closed = Some(closed.clone()),
                // `Identified` is answered by the phase that the link is in; requests are taken by `serve`.
                _ => {}
            }
            Taking::NoRequests
        };
        match pump(link, context, || clock.now(), Taking::NoRequests, read, write, deliver) {
            Ok(Pumped::Idle { deadline }) => {
                self.deadline = deadline;
                (news, false)
            }
            Ok(Pumped::Busy) => (news, true),
            Ok(Pumped::Finished) => {
                self.deadline = None;
                (news, false)
            }
            Err(error) => {
                debug!(%error, "the stream failed");
                self.error = Some(Arc::new(error));
                (news, true)
            }
        }
    }

    /// Gives what came in to the handlers; true if there was anything.
    pub(super) fn serve(&mut self, now: Instant, context: &mut Context<'_>) -> bool {
        let mut any = !self.items.is_empty();
        self.serve_items(context);
        any |= self.serve_requests(now, context);
        if self.link.closed().is_some() {
            // Handlers learn of the end by their streams: what came before it can still be read, and then comes the
            // end, or why there is none.
            self.streams.end(&mut self.link);
        }
        if self.closed.is_some() && self.server.has_no_message() {
            // Streams have no order with what comes on the next link.
            self.pass_turn();
        }
        any
    }

    fn serve_items(&mut self, context: &mut Context<'_>) {
        let Self { link, server, shared, peer, items, streams, .. } = self;
        let Some(peer) = peer else { return items.clear() };
        for item in items.drain(..) {
            match item {
                Item::Cancelled(call) => server.cancel(call),
                Item::Stream { id, name, priority, service } => {
                    let open = |service: Arc<Entry<R>>, link: &mut Core| {
                        let taken = Taken { body: Bytes::new(), priority, sequence: id.get(), signed: None };
                        let pipe = streams.add(id);
                        // What the machine said of it before is not said again.
                        pipe.serve(link);
                        let stream = ByteStream::new(&pipe, shared, peer, name, None);
                        (taken.request(peer, shared, None)(service), stream)
                    };
                    server.stream(link, id, service.as_ref(), open, context);
                }
            }
        }
    }

    /// Takes requests from the machine one by one: each is with its handler before the next one is taken. What no
    /// handler can take stays in the machine, where it is unconfirmed, and counted at the end; to take it is to tell
    /// its sender that it is in the application's hands.
    fn serve_requests(&mut self, now: Instant, context: &mut Context<'_>) -> bool {
        let has_turn = self.server.is_ready() && self.has_turn();
        let Self { link, server, shared, peer, view, .. } = self;
        let Some(peer) = peer else { return false };
        let over = link.stats().expired_calls;
        let (mut taken, mut bytes) = (0, 0);
        while taken < TAKEN && bytes < TAKEN_BYTES {
            // What has no order waits neither for its turn nor for what is behind. Nothing is written here, and the
            // stream is not what this waits for.
            let (requests, unordered) = (has_turn && server.is_ready(), server.takes_unordered());
            let Action::Event(event) = link.poll(now, Ready { requests, unordered, ..Ready::WRITE }) else {
                break;
            };
            taken += 1;
            match event {
                Event::Call { token, request, deadline } => {
                    let (service, request) = (view.find(request.service), Taken::of(request));
                    bytes += request.body.len();
                    let request = request.request(peer, shared, Some(deadline));
                    server.call(link, token, service, request, context);
                }
                Event::Message(message) => {
                    let (service, unordered) = (view.find(message.service), message.unordered);
                    let message = Taken::of(message);
                    bytes += message.body.len();
                    server.message(link, service, message.request(peer, shared, None), unordered, context);
                }
                Event::Relay { message, priority } => {
                    bytes += message.body().len();
                    let relay = Relay { peer: Arc::clone(peer), message, priority };
                    server.relay(view.pass_on(), relay, context);
                }
                // It is asked for requests only.
                _ => {}
            }
        }
        // Credit of calls that were over before they were taken has to leave as well.
        taken > 0 || link.stats().expired_calls > over
    }
}

impl Taken {
    fn of(incoming: Incoming<'_>) -> Self {
        let Incoming { body, priority, sequence, signed, .. } = incoming;
        Self { body: body.into_bytes(), priority, sequence, signed }
    }

    /// The request that it is, for the service that it is for.
    fn request<R>(
        self,
        peer: &Arc<PeerInfo>,
        shared: &Arc<Shared>,
        deadline: Option<Instant>,
    ) -> impl FnOnce(Arc<Entry<R>>) -> Request<R> {
        let (peer, shared) = (Arc::clone(peer), Arc::clone(shared));
        move |service| Request {
            peer,
            body: self.body,
            priority: self.priority,
            sequence: self.sequence,
            signed: self.signed,
            deadline: deadline.map(|at| shared.clock.to_std(at)),
            service,
            shared,
            over: Over::default(),
        }
    }
}
