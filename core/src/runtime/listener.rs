//! Links that others dial.

use std::collections::HashMap;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::prelude::v1::*;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Runtime;
use super::clock::{Clock, random_seed};
use super::connect::{Handshake, Setting, start};
use super::error::AcceptError;
use super::link::Link;
use super::peer::Direction;
use super::services::Services;
use super::stream::{LINGER, Place, Refusals, wind_down};
use super::sync::{Mailbox, Tasks};
use crate::{Closed, Config, Link as Core, Refusal};

/// Handshakes under way, and links waiting to be accepted, at most.
const CAPACITY: usize = 1000;

/// When to try again, for those who are refused for want of room.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long the system is left alone after it could give no connection.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

type Outcome<R> = (u64, SocketAddr, Result<Link<R>, Closed>);

/// Accepts links on a TCP address.
///
/// Handshakes run side by side, each on the task of its link, so that a silent or slow peer delays nobody.
/// They go on between calls of [`accept`](Self::accept), but new connections are only taken while it is
/// awaited: keep it in a loop.
///
/// Dropping the listener ends the handshakes under way; accepted links live on.
#[derive(Debug)]
pub struct Listener<R: Runtime> {
    tcp: R::TcpListener,
    config: Arc<Config>,
    services: Services<R>,
    capacity: usize,
    /// How handshakes ended, and links that wait to be accepted.
    outcomes: Arc<Mailbox<Outcome<R>>>,
    handshakes: HashMap<u64, Handshake>,
    next: u64,
    /// Connections that are told that there is no room.
    turning_away: Tasks<()>,
    refusals: Refusals,
    pause: Option<Pin<Box<R::Sleep>>>,
}

impl<R: Runtime> Listener<R> {
    /// Listens on `address`, `host:port`; on port 0 the system chooses one, see
    /// [`local_addr`](Self::local_addr). Of several addresses that a name has, the first that can be bound is.
    /// Its links serve `services`.
    ///
    /// # Errors
    /// The system's, for instance because the port is taken.
    pub async fn bind(
        address: impl Display,
        config: &Arc<Config>,
        services: &Services<R>,
    ) -> io::Result<Self> {
        let address = address.to_string();
        Ok(Self::over(super::bind::<R>(&address).await?, config, services))
    }

    /// Takes over a socket that listens already, with whatever options it has.
    pub fn over(tcp: R::TcpListener, config: &Arc<Config>, services: &Services<R>) -> Self {
        Self {
            tcp,
            config: Arc::clone(config),
            services: services.clone(),
            capacity: CAPACITY,
            outcomes: Arc::default(),
            handshakes: HashMap::new(),
            next: 0,
            turning_away: Tasks::default(),
            refusals: Refusals::default(),
            pause: None,
        }
    }

    /// Allows `handshakes` at a time instead of 1000, at least one.
    #[must_use]
    pub fn capacity(mut self, handshakes: usize) -> Self {
        self.capacity = handshakes.max(1);
        self
    }

    /// The address that the listener has, with the port that the system chose.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        R::local_addr(&self.tcp)
    }

    /// The next link that is established, or the next failure. A failure is about one connection: go on
    /// accepting.
    ///
    /// Cancel-safe: dropping the future loses no link and no handshake.
    ///
    /// # Errors
    /// [`AcceptError`] says who connected and how the handshake ended; each failed handshake is told once.
    pub async fn accept(&mut self) -> Result<Link<R>, AcceptError> {
        loop {
            let Self { tcp, outcomes, handshakes, turning_away, pause, .. } = self;
            let news = {
                let mut connection = pin!(R::accept(tcp));
                poll_fn(|context| {
                    while turning_away.poll_next(context).is_ready() {}
                    if let Poll::Ready(outcome) = outcomes.poll_take(context) {
                        return Poll::Ready(News::Outcome(outcome));
                    }
                    if paused(pause, context) {
                        return Poll::Pending;
                    }
                    connection.as_mut().poll(context).map(News::Connection)
                })
                .await
            };
            match news {
                News::Outcome((number, remote, outcome)) => {
                    if let Some(handshake) = handshakes.remove(&number) {
                        handshake.release();
                    }
                    let failed = |closed| AcceptError::Handshake { remote, closed: Box::new(closed) };
                    return outcome.map_err(failed);
                }
                News::Connection(Ok((stream, remote))) => {
                    if !self.begin(stream, remote) {
                        return Err(AcceptError::OverCapacity { remote });
                    }
                }
                // The connection was gone before it was taken.
                News::Connection(Err(error)) if is_of_one_connection(&error) => {}
                News::Connection(Err(error)) => {
                    self.pause = Some(Box::pin(R::sleep_until(R::now() + PAUSE)));
                    return Err(AcceptError::Listener(error));
                }
            }
        }
    }

    /// Starts a handshake; false if there are too many.
    fn begin(&mut self, stream: R::Tcp, remote: SocketAddr) -> bool {
        let clock = Clock::start::<R>();
        let sequence = self.config.next_sequence();
        let mut link = Core::responder(&self.config, sequence, &random_seed::<R>(), clock.now());
        // A handshake has its place until its outcome is taken.
        if self.handshakes.len() >= self.capacity {
            link.refuse(Refusal::OverCapacity { retry_after: RETRY_AFTER }, clock.now());
            if let Some(place) = self.refusals.place() {
                self.turning_away.spawn::<R>(refuse::<R>(stream, link, clock, place));
            }
            return false;
        }
        let number = self.next;
        self.next += 1;
        let outcomes = Arc::clone(&self.outcomes);
        let report = Box::new(move |outcome| {
            // Without a listener the link is dropped here.
            let _ = outcomes.put((number, remote, outcome));
        });
        let setting = Setting {
            config: &self.config,
            services: &self.services,
            clock,
            remote: Some(remote),
            direction: Direction::Inbound,
            refusals: Some(self.refusals.clone()),
        };
        let handshake = start(link, stream, &setting, report);
        self.handshakes.insert(number, handshake);
        true
    }
}

impl<R: Runtime> Drop for Listener<R> {
    fn drop(&mut self) {
        drop(self.outcomes.close());
    }
}

enum News<R: Runtime> {
    Outcome(Outcome<R>),
    Connection(io::Result<(R::Tcp, SocketAddr)>),
}

/// Whether the system is still left alone.
fn paused<S: Future>(pause: &mut Option<Pin<Box<S>>>, context: &mut Context<'_>) -> bool {
    if pause.as_mut().is_some_and(|pause| pause.as_mut().poll(context).is_ready()) {
        *pause = None;
    }
    pause.is_some()
}

async fn refuse<R: Runtime>(mut stream: R::Tcp, mut link: Core, clock: Clock, _place: Place) {
    let last = link.transmit(clock.now()).to_vec();
    drop(link);
    wind_down::<R>(&mut stream, &last, R::now() + LINGER).await;
}

pub(crate) fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
