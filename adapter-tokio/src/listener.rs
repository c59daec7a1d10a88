//! Links that others dial.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use handclasp::{Closed, Config, Link as Core, Refusal};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Sleep;

use crate::clock::{Clock, next_sequence, random_seed};
use crate::connect::{Handshake, Setting, start};
use crate::error::AcceptError;
use crate::link::Link;
use crate::peer::Direction;
use crate::services::Services;
use crate::stream::wind_down;

/// Handshakes under way, and links waiting to be accepted, at most.
const CAPACITY: usize = 1000;

/// Refused connections that are wound down at a time; more are just dropped.
const REFUSALS: usize = 64;

/// When to try again, for those who are refused for want of room.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long the system is left alone after it could give no connection.
const PAUSE: Duration = Duration::from_millis(100);

type Outcome = (u64, SocketAddr, Result<Link, Closed>);

/// Accepts links on a TCP address.
///
/// Handshakes run side by side, each on the task of its link, so that a silent or slow peer delays nobody.
/// They go on between calls of [`accept`](Self::accept), but new connections are only taken while it is
/// awaited: keep it in a loop.
///
/// Dropping the listener ends the handshakes under way; accepted links live on.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    config: Arc<Config>,
    services: Services,
    /// One place for each handshake under way.
    places: mpsc::Sender<Outcome>,
    outcomes: mpsc::Receiver<Outcome>,
    handshakes: HashMap<u64, Handshake>,
    next: u64,
    refusals: JoinSet<()>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Listener {
    /// Listens on `address`; on port 0 the system chooses one, see [`local_addr`](Self::local_addr). Its
    /// links serve `services`.
    ///
    /// # Errors
    /// The system's, for instance because the port is taken.
    pub async fn bind(
        address: impl ToSocketAddrs,
        config: &Arc<Config>,
        services: &Services,
    ) -> io::Result<Self> {
        Ok(Self::over(TcpListener::bind(address).await?, config, services))
    }

    /// Takes over a socket that listens already, with whatever options it has.
    pub fn over(tcp: TcpListener, config: &Arc<Config>, services: &Services) -> Self {
        let (places, outcomes) = mpsc::channel(CAPACITY);
        Self {
            tcp,
            config: Arc::clone(config),
            services: services.clone(),
            places,
            outcomes,
            handshakes: HashMap::new(),
            next: 0,
            refusals: JoinSet::new(),
            pause: None,
        }
    }

    /// Allows `handshakes` at a time instead of 1000, at least one. Set it before the first `accept`:
    /// handshakes under way end.
    #[must_use]
    pub fn capacity(mut self, handshakes: usize) -> Self {
        (self.places, self.outcomes) = mpsc::channel(handshakes.max(1));
        self.handshakes.clear();
        self
    }

    /// The address that the listener has, with the port that the system chose.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The next link that is established, or the next failure. A failure is about one connection: go on
    /// accepting.
    ///
    /// Cancel-safe: dropping the future loses no link and no handshake.
    ///
    /// # Errors
    /// [`AcceptError`] says who connected and how the handshake ended; each failed handshake is told once.
    pub async fn accept(&mut self) -> Result<Link, AcceptError> {
        poll_fn(|context| self.poll_accept(context)).await
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<Result<Link, AcceptError>> {
        while let Poll::Ready(Some(_)) = self.refusals.poll_join_next(context) {}
        loop {
            if let Poll::Ready(Some((number, remote, outcome))) = self.outcomes.poll_recv(context) {
                if let Some(handshake) = self.handshakes.remove(&number) {
                    handshake.release();
                }
                let failed = |closed| AcceptError::Handshake { remote, closed: Box::new(closed) };
                return Poll::Ready(outcome.map_err(failed));
            }
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
            }
            match self.tcp.poll_accept(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok((stream, remote))) => {
                    if !self.begin(stream, remote) {
                        return Poll::Ready(Err(AcceptError::OverCapacity { remote }));
                    }
                }
                // The connection was gone before it was taken.
                Poll::Ready(Err(error)) if is_of_one_connection(&error) => {}
                Poll::Ready(Err(error)) => {
                    self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
                    return Poll::Ready(Err(AcceptError::Listener(error)));
                }
            }
        }
    }

    /// Starts a handshake; false if there are too many.
    fn begin(&mut self, stream: TcpStream, remote: SocketAddr) -> bool {
        let clock = Clock::start();
        let mut link = Core::responder(&self.config, next_sequence(), &random_seed(), clock.now());
        let Ok(place) = self.places.clone().try_reserve_owned() else {
            link.refuse(Refusal::OverCapacity { retry_after: RETRY_AFTER }, clock.now());
            if self.refusals.len() < REFUSALS {
                self.refusals.spawn(refuse(stream, link, clock));
            }
            return false;
        };
        // Without it links are slower, no more.
        let _ = stream.set_nodelay(true);
        let number = self.next;
        self.next += 1;
        let report = Box::new(move |outcome| {
            place.send((number, remote, outcome));
        });
        let setting = Setting {
            config: &self.config,
            services: &self.services,
            clock,
            remote: Some(remote),
            direction: Direction::Inbound,
        };
        let handshake = start(link, stream, &setting, report);
        self.handshakes.insert(number, handshake);
        true
    }
}

async fn refuse(mut stream: TcpStream, mut link: Core, clock: Clock) {
    let last = link.transmit(clock.now()).to_vec();
    drop(link);
    wind_down(&mut stream, &last).await;
}

pub(crate) fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
