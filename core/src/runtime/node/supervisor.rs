//! The one task that every other task of a node belongs to.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::prelude::v1::*;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::node::{DialFailure, DialTicket, LinkId, Source};
use crate::{Instant, Link as CoreLink};
use tracing::{Instrument, warn};

use super::state::{Inner, Member, State};
use crate::runtime::Runtime;
use crate::runtime::connect::{Setting, span};
use crate::runtime::driver::Driver;
use crate::runtime::listener::{PAUSE, is_of_one_connection};
use crate::runtime::peer::Direction;
use crate::runtime::shared::Shared;
use crate::runtime::stream::{LINGER, wind_down};
use crate::runtime::sync::{Tasks as Set, timeout_at, wake_all};

pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Something for the supervisor to run.
pub(crate) enum Task {
    /// Brings connections: ends first.
    Listener(Work),
    /// Ends by its own rules.
    Link(Work),
    /// Ends when the links have ended.
    Helper(Work),
}

/// Ends what is left when the supervisor does, however that comes.
struct Over<R: Runtime>(Arc<Inner<R>>);

impl<R: Runtime> Drop for Over<R> {
    fn drop(&mut self) {
        self.0.act(|state, now| {
            state.node.shut_down(0, "", now);
            state.conclude();
        });
        wake_all(&self.0.room);
        wake_all(&self.0.ended);
    }
}

#[derive(Default)]
struct Tasks {
    listeners: Set<()>,
    links: Set<()>,
    helpers: Set<()>,
}

impl Tasks {
    fn spawn<R: Runtime>(&mut self, task: Task) {
        match task {
            Task::Listener(work) => self.listeners.spawn::<R>(work),
            Task::Link(work) => self.links.spawn::<R>(work),
            Task::Helper(work) => self.helpers.spawn::<R>(work),
        };
    }

    /// Everything at once, waited for at most until `deadline`: a task that blocks its thread is left behind.
    async fn end<R: Runtime>(&mut self, deadline: std::time::Instant) {
        let all = async {
            self.listeners.shut_down().await;
            self.helpers.shut_down().await;
            self.links.shut_down().await;
        };
        if timeout_at::<R, _>(deadline, all).await.is_none() {
            warn!("a handler blocks its thread");
        }
    }
}

/// Runs a node until it was told to stop and everything has ended.
pub(super) async fn supervise<R: Runtime>(inner: Arc<Inner<R>>) {
    let mut tasks = Tasks::default();
    let over = Over(Arc::clone(&inner));
    let stop = loop {
        let due = inner.arm();
        turn(&inner, &mut tasks, due.map(|due| inner.clock.to_std(due)), false).await;
        // Looking is acting: the machine does what is due.
        if let Some(stop) = inner.act(|state, _| state.stop) {
            break stop;
        }
    };
    tasks.listeners.shut_down().await;
    inner.act(|state, now| {
        state.node.shut_down(0, "shutting down", now);
        state.wake_all();
    });
    wake_all(&inner.room);
    // First each link by its own rules; those that take too long are closed, then dropped.
    let now = R::now();
    let total = stop.deadline.saturating_duration_since(now);
    let before = |share: Duration| stop.deadline.checked_sub(share).unwrap_or(now);
    let close = if stop.gently { before(total / 5) } else { now };
    for deadline in [close, before(total / 10)] {
        while !tasks.links.is_empty() || !inner.tasks.is_empty() || !inner.keeping.is_written() {
            if R::now() >= deadline {
                break;
            }
            turn(&inner, &mut tasks, Some(deadline), true).await;
            inner.act(|_, _| ());
        }
        inner.look(State::close_links);
    }
    drop(inner.tasks.close());
    tasks.end::<R>(stop.deadline).await;
    drop(over);
}

/// Waits until there is something to do: the node wants it, or it is `until`; or, if that is asked for, a
/// link's task has ended.
async fn turn<R: Runtime>(
    inner: &Inner<R>,
    tasks: &mut Tasks,
    until: Option<std::time::Instant>,
    links: bool,
) {
    let mut sleep = pin!(until.map(R::sleep_until));
    poll_fn(|context| {
        let mut ended = false;
        loop {
            while let Poll::Ready(task) = inner.tasks.poll_take(context) {
                tasks.spawn::<R>(task);
            }
            let mut joined = false;
            for set in [&mut tasks.listeners, &mut tasks.helpers] {
                joined |= set.poll_next(context).is_ready();
            }
            if tasks.links.poll_next(context).is_ready() {
                (joined, ended) = (true, true);
            }
            if !joined {
                break;
            }
        }
        let due = sleep.as_mut().as_pin_mut().is_some_and(|sleep| sleep.poll(context).is_ready());
        if inner.wake.poll_rung(context).is_ready() || due || (links && ended) {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// Starts the task of a link that the node has begun.
pub(super) fn start<R: Runtime>(
    inner: &Arc<Inner<R>>,
    id: LinkId,
    link: CoreLink,
    stream: R::Tcp,
    shared: Arc<Shared>,
    direction: Direction,
) {
    let remote = R::peer_addr(&stream);
    let span = span(direction, remote);
    let setting = Setting {
        config: &inner.config,
        services: &inner.services,
        clock: inner.clock,
        remote,
        direction,
        refusals: (direction == Direction::Inbound).then(|| inner.refusals.clone()),
    };
    let member = Member { inner: Arc::clone(inner), link: id };
    let driver = Driver::new(link, stream, shared, &setting, None).of_node(member);
    inner.run(Task::Link(Box::pin(Box::new(driver).run().instrument(span))));
}

/// Takes connections for as long as the node runs.
pub(super) async fn listen<R: Runtime>(inner: Arc<Inner<R>>, listener: R::TcpListener) {
    loop {
        match R::accept(&listener).await {
            Ok((stream, remote)) => accept(&inner, stream, remote),
            // The connection was gone before it was taken.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                warn!(%error, "listener_failed");
                R::sleep_until(R::now() + PAUSE).await;
            }
        }
    }
}

fn accept<R: Runtime>(inner: &Arc<Inner<R>>, mut stream: R::Tcp, remote: SocketAddr) {
    match inner.accepted(Source::from(remote.ip())) {
        Ok((id, link, shared)) => start(inner, id, link, stream, shared, Direction::Inbound),
        Err(last_words) => {
            let Some(place) = inner.refusals.place() else { return };
            inner.run(Task::Helper(Box::pin(async move {
                wind_down::<R>(&mut stream, &last_words, R::now() + LINGER).await;
                drop(place);
            })));
        }
    }
}

/// Makes the connection that a ticket stands for.
pub(super) async fn dial<R: Runtime>(inner: Arc<Inner<R>>, ticket: DialTicket) {
    let deadline = inner.clock.to_std(ticket.deadline());
    let failure = match crate::runtime::dial::<R>(ticket.address(), deadline).await {
        Ok(stream) => return inner.connected(ticket, stream),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => DialFailure::TimedOut,
        Err(error) => DialFailure::Unreachable(error.to_string()),
    };
    inner.act(|state, now: Instant| state.node.dial_failed(ticket, failure, now));
}
