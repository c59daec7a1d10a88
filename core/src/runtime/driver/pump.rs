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
use crate::runtime::services::{Entry, Over, Relay, Request, View};
use crate::runtime::streams::ByteStream;
use crate::signed::SignedMessage;
use crate::{
    Closed, Envelope, Event, Incoming, Instant, Link as Core, Priority, Reason, ReplyToken, StreamId,
};

/// Messages and calls taken in one turn at most, in number and bytes.
const TAKEN: usize = 256;
const TAKEN_BYTES: usize = 256 << 10;

/// What came in and is for a handler.
pub(super) enum Item<R> {
    Call { token: ReplyToken, deadline: Instant, incoming: Taken<R> },
    Message(Taken<R>),
    Relay { message: Box<SignedMessage>, priority: Priority },
    Cancelled(u64),
    Stream { id: StreamId, name: Box<str>, priority: Priority, service: Option<Arc<Entry<R>>> },
}

pub(super) struct Taken<R> {
    service: Option<Arc<Entry<R>>>,
    body: Bytes,
    priority: Priority,
    sequence: u64,
    unordered: bool,
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
    /// Moves bytes and events; true if there is more.
    pub(super) fn pump(&mut self, context: &mut Context<'_>) -> (News, bool) {
        let clock = self.shared.clock;
        let taking = match (self.server.is_ready() && self.has_turn(), self.server.takes_unordered()) {
            (true, _) => Taking::Everything,
            // What has no order waits neither for its turn nor for what is behind.
            (false, true) => Taking::Unordered,
            (false, false) => Taking::NoRequests,
        };
        let Self { link, stream, shared, calls, items, view, unflushed, .. } = self;
        let mut news = News::default();
        let mut taken = 0;
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
                Event::Call { token, request, deadline } => {
                    taken += request.body.len();
                    items.push(Item::Call { token, deadline, incoming: take(request, view) });
                }
                Event::Message(incoming) => {
                    taken += incoming.body.len();
                    items.push(Item::Message(take(incoming, view)));
                }
                Event::Relay { message, priority } => {
                    taken += message.body().len();
                    items.push(Item::Relay { message, priority });
                }
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
                // `Identified` is answered by the phase that the link is in.
                _ => {}
            }
            if items.len() + news.streams.len() < TAKEN && taken < TAKEN_BYTES {
                taking
            } else {
                Taking::NoRequests
            }
        };
        match pump(link, context, || clock.now(), taking, read, write, deliver) {
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

    /// Gives what came in to the handlers.
    pub(super) fn serve(&mut self, context: &mut Context<'_>) {
        let Self { link, server, shared, peer, items, streams, view, .. } = self;
        let Some(peer) = peer else { return items.clear() };
        for item in items.drain(..) {
            let request = |taken: Taken<R>, deadline: Option<Instant>| {
                let (peer, shared) = (Arc::clone(peer), Arc::clone(shared));
                move |service: Arc<Entry<R>>| Request {
                    peer,
                    body: taken.body,
                    priority: taken.priority,
                    sequence: taken.sequence,
                    signed: taken.signed,
                    deadline: deadline.map(|at| shared.clock.to_std(at)),
                    service,
                    shared,
                    over: Over::default(),
                }
            };
            match item {
                Item::Call { token, deadline, mut incoming } => {
                    let service = incoming.service.take();
                    server.call(link, token, service, request(incoming, Some(deadline)), context);
                }
                Item::Message(mut incoming) => {
                    let (service, unordered) = (incoming.service.take(), incoming.unordered);
                    server.message(link, service, request(incoming, None), unordered, context);
                }
                Item::Relay { message, priority } => {
                    let relay = Relay { peer: Arc::clone(peer), message, priority };
                    server.relay(view.pass_on(), relay, context);
                }
                Item::Cancelled(call) => server.cancel(call),
                Item::Stream { id, name, priority, service } => {
                    let open = |service: Arc<Entry<R>>, link: &mut Core| {
                        let (body, sequence) = (Bytes::new(), id.get());
                        let taken =
                            Taken { service: None, body, priority, sequence, unordered: false, signed: None };
                        let pipe = streams.add(id);
                        // What the machine said of it before is not said again.
                        pipe.serve(link);
                        let stream = ByteStream::new(&pipe, shared, peer, name, None);
                        (request(taken, None)(service), stream)
                    };
                    server.stream(link, id, service.as_ref(), open, context);
                }
            }
        }
    }
}

fn take<R: Runtime>(incoming: Incoming<'_>, view: &mut View<R>) -> Taken<R> {
    let service = view.find(incoming.service);
    let Incoming { body, priority, sequence, unordered, signed, .. } = incoming;
    Taken { service, body: body.into_bytes(), priority, sequence, unordered, signed }
}
