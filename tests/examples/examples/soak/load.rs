//! What the nodes say to each other: messages of all priorities and sizes, calls, and byte streams.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use handclasp::node::{NodeEvent, Permanence};
use handclasp::{CallError, Executed, Message, Priority, ServiceError};
use handclasp_tokio::{Allow, Delivery, Events, OpenError, Peer, Request, Services, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::ledger::Way;
use crate::random::{Content, Draws, HEADER, body, opened};

const CALLERS: u64 = 6;
const STREAMERS: u64 = 3;

/// After a failure, so that a peer that is not there makes no busy loop.
const PAUSE: Duration = Duration::from_millis(50);

/// No stream takes longer: its bytes are on their way within seconds, or its link is found to be dead. Far more than
/// that, so that a slow machine is no finding.
const PATIENCE: Duration = Duration::from_secs(120);

/// The longest stream; a multiple of [`PART`].
const LONGEST: u64 = 1 << 20;
const PART: usize = 16 << 10;

/// What a stream is given up with on purpose.
const GIVEN_UP: u32 = 7;

/// What a node offers: the receiving end of a way.
pub(crate) fn services(way: &Arc<Way>) -> Services {
    let (receives, executes, takes) = (Arc::clone(way), Arc::clone(way), Arc::clone(way));
    Services::new()
        .on("note", Allow::Anyone, move |request| {
            let pause = note(&receives, &request);
            async move {
                if let Some(pause) = pause {
                    sleep(pause).await;
                }
            }
        })
        .serve("work", Allow::Anyone, move |request| {
            let way = Arc::clone(&executes);
            async move {
                let Some(number) = opened(&request.body) else {
                    way.violation("a call came changed");
                    return Err(ServiceError::HandlerFailed);
                };
                way.executes(number);
                // Some answers are ready at once.
                if number % 4 != 0 {
                    sleep(Duration::from_millis(number % 16)).await;
                }
                Ok(request.body)
            }
        })
        .stream("blob", Allow::Anyone, move |_, stream| {
            let way = Arc::clone(&takes);
            async move { take(&way, stream).await }
        })
}

/// A message has come. A handler that is slow now and then makes the sender feel it.
fn note(way: &Way, request: &Request) -> Option<Duration> {
    match opened(&request.body) {
        None => {
            way.violation(format_args!("a {:?} message came changed", request.priority));
            None
        }
        Some(number) => {
            way.received(request.priority, number);
            (number % 1000 == 0).then_some(Duration::from_millis(20))
        }
    }
}

/// Reads a stream: whole, or to an error. What is cut short without one is what must not be.
async fn take(way: &Way, mut stream: Stream) {
    // A link that ends says so by an error.
    let Ok((number, length)) = read_header(way, &mut stream).await else { return };
    way.takes(number);
    let mut content = Content::new(number);
    let mut space = vec![0; PART];
    let mut left = length;
    while left > 0 {
        let part = usize::try_from(left).map_or(PART, |left| left.min(PART));
        match stream.read_exact(&mut space[..part]).await {
            Ok(_) if !content.matches(&space[..part]) => {
                return way.violation(format_args!("stream {number} came changed"));
            }
            Ok(_) => left -= part as u64,
            Err(error) => return ended_early(way, number, &error),
        }
    }
    match stream.read(&mut space).await {
        Ok(0) => {}
        Ok(_) => return way.violation(format_args!("stream {number} is longer than {length} bytes")),
        Err(_) => return,
    }
    way.read(number, length);
    let confirmed = stream.write_all(&number.to_be_bytes()).await;
    if confirmed.is_ok() {
        let _ = stream.shutdown().await;
    }
}

async fn read_header(way: &Way, stream: &mut Stream) -> io::Result<(u64, u64)> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await.inspect_err(|error| ended_early(way, 0, error))?;
    let word = |at: usize| header[at..].first_chunk().map_or(0, |word| u64::from_be_bytes(*word));
    Ok((word(0), word(8)))
}

/// `read_exact` says `UnexpectedEof` where the stream ended as if it were whole.
fn ended_early(way: &Way, number: u64, error: &io::Error) {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        way.violation(format_args!("stream {number} was cut short without a word"));
    }
}

/// Talks to a peer until it is time to stop: the sending end of a way.
pub(crate) fn talk(way: &Arc<Way>, peer: &Peer, seed: u64, stop: &watch::Receiver<bool>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let task =
        |kind, number| (Arc::clone(way), peer.clone(), Draws::new(seed, &[kind, number]), stop.clone());
    for priority in Priority::ALL {
        let (way, peer, draws, stop) = task(1, priority as u64);
        tasks.spawn(async move { send(&way, &peer, draws, priority, &stop).await });
    }
    for caller in 0..CALLERS {
        let (way, peer, draws, stop) = task(2, caller);
        tasks.spawn(async move { call(&way, &peer, draws, &stop).await });
    }
    for streamer in 0..STREAMERS {
        let (way, peer, draws, stop) = task(3, streamer);
        tasks.spawn(async move { write(&way, &peer, draws, &stop).await });
    }
    tasks
}

/// Most messages are small.
fn size(draws: &mut Draws, priority: Priority) -> usize {
    let longest = match (priority, draws.within(0..100)) {
        (Priority::Bulk, 0..10) => 256 << 10,
        (_, 0..3) => 64 << 10,
        (_, 3..20) => 4 << 10,
        _ => 200,
    };
    HEADER + usize::try_from(draws.within(0..longest)).unwrap_or_default()
}

/// One task for each priority, so that the order of its sends is the order of its numbers.
async fn send(way: &Way, peer: &Peer, mut draws: Draws, priority: Priority, stop: &watch::Receiver<bool>) {
    while !*stop.borrow() {
        for _ in 0..draws.within(1..12) {
            let delivery = if draws.percent(20) {
                Delivery::Until(draws.millis(50..1500))
            } else if draws.percent(5) {
                Delivery::Now
            } else {
                Delivery::Keep
            };
            let size = size(&mut draws, priority);
            send_one(way, peer, priority, size, delivery).await;
        }
        sleep(draws.millis(1..8)).await;
    }
}

async fn send_one(way: &Way, peer: &Peer, priority: Priority, size: usize, delivery: Delivery) {
    let number = way.send(priority);
    let message = Message::new("note", body(number, size)).priority(priority);
    if peer.send_with(message, delivery).await.is_err() {
        way.returned(priority, number);
    }
}

/// One more message of each priority, to be kept until it is there.
pub(crate) async fn send_last(way: &Way, peer: &Peer) {
    for priority in Priority::ALL {
        send_one(way, peer, priority, HEADER, Delivery::Keep).await;
    }
}

async fn call(way: &Way, peer: &Peer, mut draws: Draws, stop: &watch::Receiver<bool>) {
    while !*stop.borrow() {
        let number = way.call();
        let longest = if draws.percent(5) { 64 << 10 } else { 500 };
        let size = HEADER + usize::try_from(draws.within(0..longest)).unwrap_or_default();
        let body = body(number, size);
        let priority = Priority::ALL[(number % 4) as usize];
        let message = Message::new("work", &body[..]).priority(priority);
        let executed = match peer.call_with(message, draws.millis(100..5000)).await {
            Ok(answer) if answer == body => {
                way.answered(number);
                continue;
            }
            Ok(_) => {
                way.violation(format_args!("call {number} got another one's answer"));
                Executed::Unknown
            }
            Err(CallError::LinkClosed { executed, .. } | CallError::DeadlineExceeded { executed }) => {
                executed
            }
            Err(CallError::NoLink { .. }) => Executed::No,
            Err(CallError::Service(ServiceError::DeadlineExceeded)) => Executed::Unknown,
            Err(error) => {
                way.violation(format_args!("call {number} failed: {error}"));
                Executed::Unknown
            }
        };
        way.failed(number, executed);
        sleep(PAUSE).await;
    }
}

/// How a stream ended for who wrote it.
enum Written {
    Confirmed,
    GivenUp,
}

async fn write(way: &Way, peer: &Peer, mut draws: Draws, stop: &watch::Receiver<bool>) {
    while !*stop.borrow() {
        let number = way.stream();
        let length = if draws.percent(30) { draws.within(0..LONGEST) } else { draws.within(0..64 << 10) };
        let until = draws.percent(10).then(|| draws.within(0..length + 1));
        let priority = Priority::ALL[(number % 4) as usize];
        match timeout(PATIENCE, write_one(way, peer, priority, number, length, until)).await {
            Ok(Ok(Written::Confirmed)) => way.confirmed(number),
            Ok(Ok(Written::GivenUp)) => way.given_up(),
            Ok(Err(_)) => {
                way.broken();
                sleep(PAUSE).await;
            }
            Err(_) => {
                way.violation(format_args!("stream {number} neither ended nor failed in {PATIENCE:?}"));
                way.broken();
            }
        }
        sleep(draws.millis(5..60)).await;
    }
}

/// Writes a stream of `length` bytes and waits for the confirmation; gives it up after `until` if there is that.
async fn write_one(
    way: &Way,
    peer: &Peer,
    priority: Priority,
    number: u64,
    length: u64,
    until: Option<u64>,
) -> io::Result<Written> {
    let opened = peer.open_stream_with("blob", priority).await;
    let mut stream = opened.map_err(|error| {
        if !matches!(error, OpenError::LinkClosed { .. } | OpenError::NoLink(_)) {
            way.violation(format_args!("stream {number} was not opened: {error}"));
        }
        io::Error::other(error)
    })?;
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&number.to_be_bytes());
    header[8..].copy_from_slice(&length.to_be_bytes());
    stream.write_all(&header).await?;
    let mut content = Content::new(number);
    let mut space = vec![0; PART];
    let mut written = 0;
    while written < length {
        if until.is_some_and(|until| written >= until) {
            break;
        }
        let part = usize::try_from(length - written).map_or(PART, |left| left.min(PART));
        content.write(&mut space[..part]);
        stream.write_all(&space[..part]).await?;
        written += part as u64;
    }
    if until.is_some() {
        // By a code, or as a handle does that is just dropped.
        if number % 2 == 0 {
            stream.reset(GIVEN_UP);
        }
        return Ok(Written::GivenUp);
    }
    stream.shutdown().await?;
    let mut confirmation = Vec::new();
    (&mut stream).take(64).read_to_end(&mut confirmation).await?;
    if confirmation != number.to_be_bytes() {
        way.violation(format_args!("stream {number} was answered with {} bytes", confirmation.len()));
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Written::Confirmed)
}

/// Writes down what a node gives back, and counts why its links ended, until it has.
pub(crate) async fn watch(way: &Way, mut events: Events) -> Vec<(&'static str, u64)> {
    let mut ends: Vec<(&'static str, u64)> = Vec::new();
    while let Some(event) = events.next().await {
        match event.as_deref() {
            Ok(NodeEvent::Undelivered { envelope, .. }) => {
                give_back(way, envelope.priority, &envelope.body);
            }
            Ok(NodeEvent::Unlinked { closed, .. }) => {
                let reason = closed.reason.name();
                match ends.iter_mut().find(|(name, _)| *name == reason) {
                    Some((_, count)) => *count += 1,
                    None => ends.push((reason, 1)),
                }
            }
            Ok(_) => {}
            // The ledger would not know what was given back.
            Err(missed) => way.violation(missed),
        }
    }
    ends
}

pub(crate) fn give_back(way: &Way, priority: Priority, body: &[u8]) {
    match opened(body) {
        Some(number) => way.returned(priority, number),
        None => way.violation("a message was given back changed"),
    }
}

/// Has both sides dial each other, now and whenever there is no link.
pub(crate) fn keep(peer: &Peer, address: std::net::SocketAddr) {
    peer.set_addresses([address]);
    peer.set_permanence(Permanence::Permanent);
}
