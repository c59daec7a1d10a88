//! The one task that every other task of a node belongs to.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use handclasp::node::{DialFailure, DialTicket, LinkId, Source};
use handclasp::{Instant, Link as CoreLink};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{Instrument, field, warn};

use super::state::{Inner, Member};
use crate::connect::Setting;
use crate::driver::Driver;
use crate::listener::is_of_one_connection;
use crate::peer::Direction;
use crate::shared::Shared;
use crate::stream::wind_down;

/// Refused connections that are wound down at a time; more are just dropped.
const REFUSALS: usize = 64;

/// How long the system is left alone after it could give no connection.
const PAUSE: Duration = Duration::from_millis(100);

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
struct Over(Arc<Inner>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.act(|state, now| {
            state.node.shut_down(0, "", now);
            state.conclude();
        });
        self.0.room.notify_waiters();
        self.0.ended.notify_waiters();
    }
}

#[derive(Default)]
struct Tasks {
    listeners: JoinSet<()>,
    links: JoinSet<()>,
    helpers: JoinSet<()>,
}

impl Tasks {
    fn spawn(&mut self, task: Task) {
        match task {
            Task::Listener(work) => self.listeners.spawn(work),
            Task::Link(work) => self.links.spawn(work),
            Task::Helper(work) => self.helpers.spawn(work),
        };
    }

    /// Everything at once, waited for at most until `deadline`: a task that blocks its thread is left behind.
    async fn end(&mut self, deadline: std::time::Instant) {
        let all = async {
            self.listeners.shutdown().await;
            self.helpers.shutdown().await;
            self.links.shutdown().await;
        };
        if tokio::time::timeout_at(deadline.into(), all).await.is_err() {
            warn!("a handler blocks its thread");
        }
    }
}

/// Runs a node until it was told to stop and everything has ended.
pub(super) async fn supervise(inner: Arc<Inner>, mut queue: mpsc::UnboundedReceiver<Task>) {
    let mut tasks = Tasks::default();
    let over = Over(Arc::clone(&inner));
    let stop = loop {
        let due = inner.arm();
        turn(&inner, &mut tasks, &mut queue, due.map(|due| inner.clock.to_std(due)), false).await;
        // Looking is acting: the machine does what is due.
        if let Some(stop) = inner.act(|state, _| state.stop) {
            break stop;
        }
    };
    tasks.listeners.shutdown().await;
    inner.act(|state, now| {
        state.node.shut_down(0, "shutting down", now);
        state.wake_all();
    });
    inner.room.notify_waiters();
    // First each link by its own rules; those that take too long are closed, then dropped.
    let now = std::time::Instant::now();
    let total = stop.deadline.saturating_duration_since(now);
    let before = |share: Duration| stop.deadline.checked_sub(share).unwrap_or(now);
    let close = if stop.gently { before(total / 5) } else { now };
    for deadline in [close, before(total / 10)] {
        while !tasks.links.is_empty() || !queue.is_empty() || !inner.keeping.is_written() {
            if std::time::Instant::now() >= deadline {
                break;
            }
            turn(&inner, &mut tasks, &mut queue, Some(deadline), true).await;
            inner.act(|_, _| ());
        }
        inner.look(super::state::State::close_links);
    }
    queue.close();
    while let Ok(task) = queue.try_recv() {
        drop(task);
    }
    tasks.end(stop.deadline).await;
    drop(over);
}

/// Waits until there is something to do: the node wants it, or it is `until`; or, if that is asked for, a
/// link's task has ended.
async fn turn(
    inner: &Inner,
    tasks: &mut Tasks,
    queue: &mut mpsc::UnboundedReceiver<Task>,
    until: Option<std::time::Instant>,
    links: bool,
) {
    let mut woken = pin!(inner.wake.notified());
    let mut sleep = pin!(until.map(|until| tokio::time::sleep_until(until.into())));
    poll_fn(|context| {
        let mut ended = false;
        loop {
            while let Poll::Ready(Some(task)) = queue.poll_recv(context) {
                tasks.spawn(task);
            }
            let mut joined = false;
            for set in [&mut tasks.listeners, &mut tasks.helpers] {
                joined |= matches!(set.poll_join_next(context), Poll::Ready(Some(_)));
            }
            if let Poll::Ready(Some(_)) = tasks.links.poll_join_next(context) {
                (joined, ended) = (true, true);
            }
            if !joined {
                break;
            }
        }
        let due = sleep.as_mut().as_pin_mut().is_some_and(|sleep| sleep.poll(context).is_ready());
        if woken.as_mut().poll(context).is_ready() || due || (links && ended) {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// Starts the task of a link that the node has begun.
pub(super) fn start(
    inner: &Arc<Inner>,
    id: LinkId,
    link: CoreLink,
    stream: TcpStream,
    shared: Arc<Shared>,
    direction: Direction,
) {
    // Without it links are slower, no more.
    let _ = stream.set_nodelay(true);
    let remote = stream.peer_addr().ok();
    let span = tracing::info_span!(
        "link",
        peer = field::Empty,
        direction = direction.name(),
        remote = remote.map(field::display)
    );
    let setting =
        Setting { config: &inner.config, services: &inner.services, clock: inner.clock, remote, direction };
    let member = Member { inner: Arc::clone(inner), link: id };
    let driver = Driver::new(link, stream, shared, &setting, None).of_node(member);
    inner.run(Task::Link(Box::pin(Box::new(driver).run().instrument(span))));
}

/// Takes connections for as long as the node runs.
pub(super) async fn listen(inner: Arc<Inner>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => accept(&inner, stream, remote),
            // The connection was gone before it was taken.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                warn!(%error, "listener_failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn accept(inner: &Arc<Inner>, mut stream: TcpStream, remote: SocketAddr) {
    match inner.accepted(Source::from(remote.ip())) {
        Ok((id, link, shared)) => start(inner, id, link, stream, shared, Direction::Inbound),
        Err(last_words) => {
            if inner.refusals.fetch_add(1, Ordering::Relaxed) < REFUSALS {
                let inner_of_task = Arc::clone(inner);
                inner.run(Task::Helper(Box::pin(async move {
                    wind_down(&mut stream, &last_words).await;
                    inner_of_task.refusals.fetch_sub(1, Ordering::Relaxed);
                })));
            } else {
                inner.refusals.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// Makes the connection that a ticket stands for.
pub(super) async fn dial(inner: Arc<Inner>, ticket: DialTicket) {
    let deadline = inner.clock.to_std(ticket.deadline());
    let result = tokio::time::timeout_at(deadline.into(), connect(ticket.address(), deadline)).await;
    let failure = match result {
        Ok(Ok(stream)) => return inner.connected(ticket, stream),
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => DialFailure::TimedOut,
        Ok(Err(error)) => DialFailure::Unreachable(error.to_string()),
        Err(_) => DialFailure::TimedOut,
    };
    inner.act(|state, now: Instant| state.node.dial_failed(ticket, failure, now));
}

/// Tries each address that a name has. One that swallows what is sent leaves time for those behind it.
async fn connect(address: &str, deadline: std::time::Instant) -> io::Result<TcpStream> {
    // An address needs no resolver, which may hang.
    let addresses = match address.parse::<SocketAddr>() {
        Ok(address) => vec![address],
        Err(_) => lookup_host(address).await?.collect(),
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (at, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let share = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}
