//! Links over streams that are there already, and dialled ones.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::prelude::v1::*;
use std::sync::Arc;

use futures_channel::oneshot;
use futures_io::{AsyncRead, AsyncWrite};
use tracing::{Instrument, field};

use super::Runtime;
use super::clock::{Clock, random_seed};
use super::driver::{Driver, Report};
use super::error::ConnectError;
use super::link::Link;
use super::peer::Direction;
use super::services::Services;
use super::shared::Shared;
use super::stream::Refusals;
use super::sync::timeout_at;
use crate::{By, Closed, Config, Dial, Instant, Link as Core, Phase, Reason};

/// Dials `address`, `host:port`, over TCP and establishes a link with whom `dial` names.
///
/// Connecting and the handshake together have the [handshake's time](crate::Timing::handshake), 30 s by
/// default. Of several addresses that a name has, each is tried. A dial without a link sequence gets the next
/// one of `config`. Cancel-safe: dropping the future gives the dial up.
///
/// # Errors
/// [`ConnectError`] says how far it came, why it ended, and whether trying again can help.
///
/// # Panics
/// Where the runtime of `R` does not run, or the operating system has no randomness.
pub async fn connect<R: Runtime>(
    address: impl Display,
    config: &Arc<Config>,
    dial: Dial,
    services: &Services<R>,
) -> Result<Link<R>, ConnectError> {
    let address = address.to_string();
    // By a clock whose end no configuration reaches.
    let deadline = Clock::start::<R>().to_std(Instant::ZERO + config.timing().handshake);
    let dialled = async {
        let stream = super::dial::<R>(&address, deadline).await.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => ConnectError::TimedOut,
            _ => ConnectError::Unreachable(error),
        })?;
        let clock = Clock::start::<R>();
        let link = Core::initiator(config, sequenced(dial, config), &random_seed::<R>(), clock.now());
        let remote = R::peer_addr(&stream);
        let setting =
            Setting { config, services, clock, remote, direction: Direction::Outbound, refusals: None };
        Ok(establish(link, stream, &setting).await?)
    };
    timeout_at::<R, _>(deadline, dialled).await.unwrap_or(Err(ConnectError::TimedOut))
}

/// Establishes a link over `stream`, as the side that opened it. The stream must be reliable and ordered: a
/// Unix socket, an in-memory pipe, TLS, a QUIC stream. Cancel-safe: dropping the future gives the stream up.
///
/// # Errors
/// How the handshake ended.
///
/// # Panics
/// As [`connect`].
pub async fn connect_over<R: Runtime>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    config: &Arc<Config>,
    dial: Dial,
    services: &Services<R>,
) -> Result<Link<R>, Box<Closed>> {
    let clock = Clock::start::<R>();
    let link = Core::initiator(config, sequenced(dial, config), &random_seed::<R>(), clock.now());
    let setting =
        Setting { config, services, clock, remote: None, direction: Direction::Outbound, refusals: None };
    Ok(establish(link, stream, &setting).await?)
}

/// Establishes a link over `stream`, as the side that accepted it; as [`connect_over`] otherwise.
///
/// # Errors
/// How the handshake ended.
///
/// # Panics
/// As [`connect`].
pub async fn accept_over<R: Runtime>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    config: &Arc<Config>,
    services: &Services<R>,
) -> Result<Link<R>, Box<Closed>> {
    let clock = Clock::start::<R>();
    let link = Core::responder(config, config.next_sequence(), &random_seed::<R>(), clock.now());
    let setting =
        Setting { config, services, clock, remote: None, direction: Direction::Inbound, refusals: None };
    Ok(establish(link, stream, &setting).await?)
}

fn sequenced(dial: Dial, config: &Config) -> Dial {
    if dial.sequence == 0 { dial.sequence(config.next_sequence()) } else { dial }
}

/// What a link is started with.
pub(crate) struct Setting<'a, R> {
    pub(crate) config: &'a Config,
    pub(crate) services: &'a Services<R>,
    pub(crate) clock: Clock,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) direction: Direction,
    /// What bounds how many streams like this one are wound down after a handshake that failed.
    pub(crate) refusals: Option<Refusals>,
}

/// A link that is not established yet. Dropping this closes it.
#[derive(Debug)]
pub(crate) struct Handshake(Option<Arc<Shared>>);

impl Handshake {
    /// From here on the link's handles decide when it is closed.
    pub(crate) fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.tell(|control| control.close = true);
        }
    }
}

/// The span of a link's task.
pub(crate) fn span(direction: Direction, remote: Option<SocketAddr>) -> tracing::Span {
    let (direction, remote) = (direction.name(), remote.map(field::display));
    tracing::info_span!("link", peer = field::Empty, direction, remote)
}

/// Starts the link's task.
pub(crate) fn start<R: Runtime>(
    link: Core,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    setting: &Setting<'_, R>,
    report: Report<R>,
) -> Handshake {
    let shared = Shared::new(setting.clock);
    let span = span(setting.direction, setting.remote);
    let driver = Box::new(Driver::new(link, stream, Arc::clone(&shared), setting, Some(report)));
    R::spawn(driver.run().instrument(span));
    Handshake(Some(shared))
}

async fn establish<R: Runtime>(
    link: Core,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    setting: &Setting<'_, R>,
) -> Result<Link<R>, ClosedBox> {
    let (sender, outcome) = oneshot::channel();
    let report: Report<R> = Box::new(move |outcome| {
        // Nobody may wait any more; the link is dropped with the message then.
        let _ = sender.send(outcome);
    });
    let handshake = start(link, stream, setting, report);
    match outcome.await {
        Ok(outcome) => {
            handshake.release();
            outcome.map_err(|closed| ClosedBox(Box::new(closed)))
        }
        // The runtime is going down, and the task with it.
        Err(_) => Err(ClosedBox(Box::new(Closed::new(Reason::Dropped, By::Local, Phase::Closed, None)))),
    }
}

/// Lets `?` turn the end into either error.
struct ClosedBox(Box<Closed>);

impl From<ClosedBox> for Box<Closed> {
    fn from(closed: ClosedBox) -> Self {
        closed.0
    }
}

impl From<ClosedBox> for ConnectError {
    fn from(closed: ClosedBox) -> Self {
        Self::Closed(closed.0)
    }
}
