//! A TCP proxy that does to connections what networks do to them, as a seed says.
//!
//! Each connection has a life drawn from the seed, the proxy's name and its number at that proxy. What happens in
//! it is the same in each run with that seed; when, relative to what the nodes do, is the system's choice.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::random::Draws;

/// Bytes of one read, and how many reads are on their way in one direction: this bounds what a proxy holds.
const CHUNK: usize = 16 << 10;
const CHUNKS: usize = 16;

/// A half-open connection stays this long, unless one of its ends gives up before; longer than that takes.
const HALF_OPEN: Duration = Duration::from_secs(20);

/// How many of each fault there were.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) connections: AtomicU64,
    refused: AtomicU64,
    cut: AtomicU64,
    reset: AtomicU64,
    swallowing: AtomicU64,
    holding: AtomicU64,
    one_sided: AtomicU64,
    slow_starts: AtomicU64,
    delayed: AtomicU64,
    stalled: AtomicU64,
    split: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Faults {
    /// By name.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 10] {
        [
            ("refused", &self.refused),
            ("cut", &self.cut),
            ("reset", &self.reset),
            ("half-open, swallowing", &self.swallowing),
            ("half-open, holding", &self.holding),
            ("one-sided resets", &self.one_sided),
            ("slow starts", &self.slow_starts),
            ("delays", &self.delayed),
            ("stalls", &self.stalled),
            ("splits", &self.split),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }
}

/// What one direction is like at the moment.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// How long each chunk takes.
    delay: Duration,
    /// Nothing goes on; what is sent waits.
    frozen: bool,
    /// What is sent is taken and forgotten. Nothing follows it, not even the end.
    swallows: bool,
    /// If not 0, bytes leave in pieces of at most so many.
    pieces: usize,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// The connection is taken and reset at once.
    Refused,
    /// An end to both sides, in good order as TCP has it, wherever the bytes are.
    Cut,
    /// A reset to both sides: what they have not read is lost.
    Reset,
    /// One direction dies without a word; the proxy takes what is sent in it, or lets it wait.
    HalfOpen { way: usize, swallows: bool },
    /// A reset to the dialler or to the listener; the other one is told nothing, and has a link that its peer does
    /// not have any more when that dials anew.
    OneSided { dialler: bool },
}

/// What is still to be done for a connection's end.
#[derive(Clone, Copy, Debug)]
enum End {
    Orderly,
    Reset,
    OneSided { dialler: bool },
}

impl Fate {
    fn draw(draws: &mut Draws) -> Self {
        let way = usize::from(draws.percent(50));
        match draws.within(0..100) {
            0..8 => Self::Refused,
            8..30 => Self::Cut,
            30..52 => Self::Reset,
            52..66 => Self::HalfOpen { way, swallows: true },
            66..80 => Self::HalfOpen { way, swallows: false },
            _ => Self::OneSided { dialler: way == 0 },
        }
    }
}

/// Takes connections on an address of its own and passes them on to `target`, until it is dropped by its runtime.
/// Gives the address. As soon as `calm` is true, nothing goes wrong any more.
pub(crate) async fn start(
    target: SocketAddr,
    (seed, name): (u64, u64),
    faults: Arc<Faults>,
    calm: watch::Receiver<bool>,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((client, _)) = listener.accept().await else {
                // For want of file descriptors, most likely: they come back.
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            count(&faults.connections);
            let draws = Draws::new(seed, &[name, number]);
            tokio::spawn(connection(client, target, draws, Arc::clone(&faults), calm.clone()));
        }
    });
    Ok(address)
}

/// One connection, from its dial to its end.
async fn connection(
    mut client: TcpStream,
    target: SocketAddr,
    mut draws: Draws,
    faults: Arc<Faults>,
    mut calm: watch::Receiver<bool>,
) {
    let fate = Fate::draw(&mut draws);
    if matches!(fate, Fate::Refused) && !*calm.borrow() {
        count(&faults.refused);
        let _ = client.set_zero_linger();
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let weather = [Weather::default(); 2].map(|weather| watch::channel(weather).0);
    let end = {
        let [out, back] = [weather[0].subscribe(), weather[1].subscribe()];
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let pumps = async {
            tokio::try_join!(pump(from_client, to_server, out), pump(from_server, to_client, back)).is_ok()
        };
        let life = async {
            match live(&mut draws, fate, &weather, &faults, &mut calm).await {
                Some(end) => end,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            orderly = pumps => if orderly { End::Orderly } else { End::Reset },
            end = life => end,
        }
    };
    match end {
        End::Orderly => {
            for stream in [&mut client, &mut server] {
                let _ = stream.shutdown().await;
            }
            // A socket that is dropped with unread bytes sends a reset.
            let drained = async { tokio::join!(drain(&mut client), drain(&mut server)) };
            let _ = timeout(Duration::from_millis(500), drained).await;
        }
        End::Reset => {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        End::OneSided { dialler } => {
            let (told, mut untold) = if dialler { (client, server) } else { (server, client) };
            let _ = told.set_zero_linger();
            drop(told);
            tokio::select! {
                () = drain(&mut untold) => {}
                _ = timeout(HALF_OPEN, calm.wait_for(|calm| *calm)) => {}
            }
            let _ = untold.set_zero_linger();
        }
    }
}

async fn drain(stream: &mut TcpStream) {
    let mut bytes = [0; 4096];
    while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

/// What happens to a connection, and how it is to end; `None` where it is not, because it has become calm.
async fn live(
    draws: &mut Draws,
    fate: Fate,
    weather: &[watch::Sender<Weather>; 2],
    faults: &Faults,
    calm: &mut watch::Receiver<bool>,
) -> Option<End> {
    let end = if draws.percent(15) { draws.millis(0..50) } else { draws.millis(300..6000) };
    let end = Instant::now() + end;
    let troubled = async {
        // Handshakes that take their time, so that both nodes dial before either has a link.
        if draws.percent(40) {
            count(&faults.slow_starts);
            let slow = Weather { delay: draws.millis(5..150), ..Weather::default() };
            set(weather, slow);
            sleep(Duration::from_millis(600)).await;
            set(weather, Weather::default());
        }
        loop {
            trouble(draws, weather, faults).await;
        }
    };
    let calmed = tokio::select! {
        _ = calm.wait_for(|calm| *calm) => true,
        () = troubled => true,
        () = sleep_until(end) => false,
    };
    set(weather, Weather::default());
    if calmed {
        return None;
    }
    match fate {
        Fate::Refused | Fate::Cut => {
            count(&faults.cut);
            Some(End::Orderly)
        }
        Fate::Reset => {
            count(&faults.reset);
            Some(End::Reset)
        }
        Fate::OneSided { dialler } => {
            count(&faults.one_sided);
            Some(End::OneSided { dialler })
        }
        Fate::HalfOpen { way, swallows } => {
            count(if swallows { &faults.swallowing } else { &faults.holding });
            weather[way].send_modify(|weather| {
                weather.swallows = swallows;
                weather.frozen = !swallows;
            });
            let _ = timeout(HALF_OPEN, calm.wait_for(|calm| *calm)).await;
            Some(End::Reset)
        }
    }
}

/// The same for both directions.
fn set(weather: &[watch::Sender<Weather>; 2], new: Weather) {
    for way in weather {
        way.send_replace(new);
    }
}

/// A spell without trouble, and one with it.
async fn trouble(draws: &mut Draws, weather: &[watch::Sender<Weather>; 2], faults: &Faults) {
    sleep(draws.millis(50..1500)).await;
    let mut bad = Weather::default();
    let lasts = match draws.within(0..3) {
        0 => {
            count(&faults.delayed);
            bad.delay = draws.millis(1..120);
            draws.millis(200..2000)
        }
        1 => {
            count(&faults.stalled);
            bad.frozen = true;
            if draws.percent(10) { draws.millis(2000..5000) } else { draws.millis(20..1000) }
        }
        _ => {
            count(&faults.split);
            bad.pieces = usize::try_from(draws.within(1..48)).unwrap_or(1);
            draws.millis(20..400)
        }
    };
    let hit = draws.within(1..4);
    for (at, way) in weather.iter().enumerate() {
        if hit & (1 << at) != 0 {
            way.send_replace(bad);
        }
    }
    sleep(lasts).await;
    set(weather, Weather::default());
}

/// One direction, until its end has been passed on. An error is one of either side's socket.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut weather: watch::Receiver<Weather>,
) -> io::Result<()> {
    let (chunks, mut coming) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS);
    let delay = weather.clone();
    let reads = async move {
        let mut space = vec![0; CHUNK];
        loop {
            let count = from.read(&mut space).await?;
            if count == 0 {
                return Ok(());
            }
            let due = Instant::now() + delay.borrow().delay;
            if chunks.send((due, space[..count].to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    let writes = async move {
        while let Some((due, bytes)) = coming.recv().await {
            if due > Instant::now() {
                sleep_until(due).await;
            }
            let mut left = &bytes[..];
            while !left.is_empty() {
                let now = thawed(&mut weather).await;
                if now.swallows {
                    break;
                }
                let piece = if now.pieces == 0 { left.len() } else { now.pieces.min(left.len()) };
                let (first, rest) = left.split_at(piece);
                to.write_all(first).await?;
                left = rest;
                if now.pieces > 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
        if thawed(&mut weather).await.swallows {
            return std::future::pending().await;
        }
        to.shutdown().await
    };
    tokio::try_join!(reads, writes).map(|((), ())| ())
}

/// The weather, once it lets anything through.
async fn thawed(weather: &mut watch::Receiver<Weather>) -> Weather {
    let thawed = weather.wait_for(|weather| !weather.frozen).await.map(|weather| *weather);
    match thawed {
        Ok(weather) => weather,
        // The connection's end: nobody writes any more.
        Err(_) => std::future::pending().await,
    }
}
