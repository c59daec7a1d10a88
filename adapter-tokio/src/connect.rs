//! Links over streams that are there already, and dialled ones.

use std::net::SocketAddr;
use std::sync::Arc;

use handclasp::{By, Closed, Config, Dial, Link as Core, Phase, Reason};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::sync::oneshot;
use tracing::{Instrument, field};

use crate::clock::{Clock, next_sequence, random_seed};
use crate::driver::{Driver, Report};
use crate::error::ConnectError;
use crate::link::Link;
use crate::peer::Direction;
use crate::services::Services;
use crate::shared::Shared;

/// Dials `address` over TCP and establishes a link with whom `dial` names.
///
/// Connecting and the handshake together have the [handshake's time](handclasp::Timing::handshake), 30 s by
/// default. Of several addresses that a name has, each is tried. A dial without a link sequence gets the next
/// one of this process. Cancel-safe: dropping the future gives the dial up.
///
/// # Errors
/// [`ConnectError`] says how far it came, why it ended, and whether trying again can help.
///
/// # Panics
/// Outside a tokio runtime with network and time enabled.
pub async fn connect(
    address: impl ToSocketAddrs,
    config: &Arc<Config>,
    dial: Dial,
    services: &Services,
) -> Result<Link, ConnectError> {
    let dialled = async {
        let stream = TcpStream::connect(address).await.map_err(ConnectError::Unreachable)?;
        // Frames leave whole: there is nothing to wait for.
        stream.set_nodelay(true).map_err(ConnectError::Unreachable)?;
        let remote = stream.peer_addr().ok();
        let clock = Clock::start();
        let link = Core::initiator(config, sequenced(dial), &random_seed(), clock.now());
        let setting = Setting { config, services, clock, remote, direction: Direction::Outbound };
        Ok(establish(link, stream, &setting).await?)
    };
    match tokio::time::timeout(config.timing().handshake, dialled).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::TimedOut),
    }
}

/// Establishes a link over `stream`, as the side that opened it. The stream must be reliable and ordered: a
/// Unix socket, an in-memory pipe, TLS, a QUIC stream. Cancel-safe: dropping the future gives the stream up.
///
/// # Errors
/// How the handshake ended.
///
/// # Panics
/// Outside a tokio runtime with time enabled.
pub async fn connect_over<S>(
    stream: S,
    config: &Arc<Config>,
    dial: Dial,
    services: &Services,
) -> Result<Link, Box<Closed>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let clock = Clock::start();
    let link = Core::initiator(config, sequenced(dial), &random_seed(), clock.now());
    let setting = Setting { config, services, clock, remote: None, direction: Direction::Outbound };
    Ok(establish(link, stream, &setting).await?)
}

/// Establishes a link over `stream`, as the side that accepted it; as [`connect_over`] otherwise.
///
/// # Errors
/// How the handshake ended.
///
/// # Panics
/// As [`connect_over`].
pub async fn accept_over<S>(stream: S, config: &Arc<Config>, services: &Services) -> Result<Link, Box<Closed>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let clock = Clock::start();
    let link = Core::responder(config, next_sequence(), &random_seed(), clock.now());
    let setting = Setting { config, services, clock, remote: None, direction: Direction::Inbound };
    Ok(establish(link, stream, &setting).await?)
}

fn sequenced(dial: Dial) -> Dial {
    if dial.sequence == 0 { dial.sequence(next_sequence()) } else { dial }
}

/// What a link is started with.
pub(crate) struct Setting<'a> {
    pub(crate) config: &'a Config,
    pub(crate) services: &'a Services,
    pub(crate) clock: Clock,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) direction: Direction,
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

/// Starts the link's task.
pub(crate) fn start<S>(link: Core, stream: S, setting: &Setting<'_>, report: Report) -> Handshake
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let shared = Shared::new(setting.clock);
    let span = tracing::info_span!(
        "link",
        peer = field::Empty,
        direction = setting.direction.name(),
        remote = setting.remote.map(field::display)
    );
    let driver = Box::new(Driver::new(link, stream, Arc::clone(&shared), setting, Some(report)));
    tokio::spawn(driver.run().instrument(span));
    Handshake(Some(shared))
}

async fn establish<S>(link: Core, stream: S, setting: &Setting<'_>) -> Result<Link, ClosedBox>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, outcome) = oneshot::channel();
    let report: Report = Box::new(move |outcome| {
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
