//! What becomes of messages, calls and streams at the side that serves them: at the end of their link, and when there
//! are too many.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_lock::Semaphore;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use handclasp::node::Permanence;
use handclasp::runtime::{Link, OpenError, Runtime, Services, StreamError};
use handclasp::services::Allow;
use handclasp::{CallError, ConfigBuilder, Limits, Message, ServiceError, StreamLimits, Timing};
use handclasp_adapters::links::{Guard, builder, config, id, pair, pair_of, tapped};
use handclasp_adapters::nodes::{address, node, start};
use handclasp_adapters::streams::{bytes, error_of, open};
use handclasp_adapters::{Host, Scoped, Tap, TaskSet, sleep, soon, until};
use tracing::instrument::WithSubscriber;

use crate::log::Log;

/// A service `work` for messages, whose handlers wait at a gate.
struct Gated<R> {
    services: Services<R>,
    gate: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
    done: Arc<AtomicUsize>,
}

impl<R: Runtime> Gated<R> {
    fn new() -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let (begun, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (own, started, ended) = (Arc::clone(&gate), Arc::clone(&begun), Arc::clone(&done));
        let services = Services::<R>::new().on("work", Allow::Anyone, move |_| {
            started.fetch_add(1, Ordering::SeqCst);
            let (gate, done) = (Arc::clone(&own), Arc::clone(&ended));
            async move {
                gate.acquire().await.forget();
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { services, gate, begun, done }
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// Lets `count` handlers through, and waits until the one behind them has begun.
    async fn let_through(&self, count: usize) {
        let done = self.done.load(Ordering::SeqCst) + count;
        self.gate.add_permits(count);
        until("they are done", || self.done.load(Ordering::SeqCst) == done).await;
        until("the next has begun", || self.begun() == done + 1).await;
    }
}

/// Node `number`, whose links wait for their handlers at their end for as long as `drain`.
fn patient<R: Runtime>(number: u8, drain: Duration) -> ConfigBuilder {
    // Small enough that the sender counts each large body by itself; small ones are counted together.
    let limits = Limits { window: 600_000, max_message: 10_000, max_calls: 3, ..Limits::default() };
    builder::<R>(number).timing(Timing { drain, ..Timing::default() }).limits(limits)
}

/// Node 2 with `services` and such limits, and a link to it.
async fn patient_pair<H: Host>(services: &Services<H>, drain: Duration) -> (Link<H>, Link<H>, Tap) {
    let two = patient::<H>(2, drain).build().expect("a configuration");
    tapped((&config::<H>(1), &Services::<H>::new()), (&two, services)).await
}

/// Sends messages to the service `work`, and waits until all have come.
async fn send_work<H: Host>(link: &Link<H>, other: &Link<H>, count: u64) {
    for _ in 0..count {
        soon(link.send(Message::new("work", LARGE))).await.expect("sent");
    }
    while soon(other.stats()).await.messages_received < count {
        sleep(Duration::from_millis(2)).await;
    }
}

/// See [`patient`].
const LARGE: &[u8] = &[7; 5000];

/// Longer than anything in here takes.
const LONG: Duration = Duration::from_secs(120);

/// Short enough to be waited for.
const SHORT: Duration = Duration::from_millis(300);

async fn m6_l3_at_a_goodbye_each_message_is_handled_or_counted_at_both_ends<H: Host>() {
    let gated = Gated::<H>::new();
    let (link, other, _) = patient_pair(&gated.services, SHORT).await;
    send_work(&link, &other, 100).await;
    gated.let_through(3).await;
    // The answer brings word of what was taken.
    soon(link.ping()).await.expect("an answer");
    let (here, there) = (soon(link.goodbye(0, "")).await, soon(other.closed()).await);
    assert_eq!((gated.begun(), here.unsent), (4, 0));
    assert_eq!(here.unknown, 96, "the sender's");
    assert_eq!(there.untaken, 96, "the receiver's");
}

async fn m6_l5_at_a_cut_each_message_is_handled_or_counted_at_both_ends<H: Host>() {
    let gated = Gated::<H>::new();
    let (link, other, tap) = patient_pair(&gated.services, SHORT).await;
    send_work(&link, &other, 100).await;
    gated.let_through(3).await;
    soon(link.ping()).await.expect("an answer");
    tap.cut_after(0);
    let (here, there) = (soon(link.closed()).await, soon(other.closed()).await);
    assert_eq!((gated.begun(), here.unsent), (4, 0));
    assert_eq!(here.unknown, 96, "the sender's");
    assert_eq!(there.untaken, 96, "the receiver's");
}

async fn m6_m11_unordered_messages_beyond_what_may_run_are_counted_at_both_ends<H: Host>() {
    let gated = Gated::<H>::new();
    let (link, other, _) = patient_pair(&gated.services, SHORT).await;
    for _ in 0..10 {
        soon(link.send(Message::new("work", LARGE).unordered())).await.expect("sent");
    }
    until("three have begun", || gated.begun() == 3).await;
    soon(link.ping()).await.expect("an answer");
    let (here, there) = (soon(link.goodbye(0, "")).await, soon(other.closed()).await);
    assert_eq!((gated.begun(), here.unknown, there.untaken), (3, 7, 7));
}

async fn m6_l3_what_came_before_the_end_is_handled_in_its_time_by_one_handler_after_the_other<H: Host>() {
    let gated = Gated::<H>::new();
    let (link, other, _) = patient_pair(&gated.services, LONG).await;
    for _ in 0..50 {
        soon(link.send(Message::new("work", "to do"))).await.expect("sent");
    }
    gated.let_through(1).await;
    soon(link.goodbye(0, "")).await;
    gated.let_through(20).await;
    gated.gate.add_permits(50);
    assert_eq!(soon(other.closed()).await.untaken, 0);
    assert_eq!(gated.done.load(Ordering::SeqCst), 50);
}

/// Node 2 with `services`, and a link to it over which a stream has come whole while nobody reads it: 60 000 bytes.
async fn unread<H: Host>(services: &Services<H>, drain: Duration, closed: &AtomicUsize) -> [Link<H>; 2] {
    let (link, other, _) = patient_pair(services, drain).await;
    let mut stream = open(&link, "late").await;
    stream.write_all(&bytes(60_000, 7)).await.expect("room");
    stream.close().await.expect("room");
    assert_eq!(soon(stream.read(&mut [0; 8])).await.expect("the end"), 0);
    until("the handler has closed its writer", || closed.load(Ordering::SeqCst) == 1).await;
    [link, other]
}

async fn m12_l3_a_stream_that_came_whole_can_be_read_after_a_goodbye<H: Host>() {
    let (gate, closed) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (sender, read) = async_channel::unbounded();
    let (own, count) = (Arc::clone(&gate), Arc::clone(&closed));
    let services = Services::<H>::new().stream("late", Allow::Anyone, move |_, stream| {
        let (mut stream, sender) = (H::io(stream), sender.clone());
        let (gate, closed) = (Arc::clone(&own), Arc::clone(&count));
        async move {
            stream.close().await.expect("room");
            closed.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.forget();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.expect("the end, in good order");
            // What follows the last byte is a part of the handler too.
            sleep(Duration::from_millis(20)).await;
            sender.try_send(all).expect("the test waits");
        }
    });
    let [link, other] = unread(&services, LONG, &closed).await;
    soon(link.goodbye(0, "")).await;
    sleep(Duration::from_millis(50)).await;
    gate.add_permits(1);
    assert!(soon(read.recv()).await.expect("the handler ran to its end") == bytes(60_000, 7));
    soon(other.closed()).await;
}

async fn l3_m12_a_stream_handler_that_does_not_end_is_dropped_at_the_deadline<H: Host>() {
    let (alive, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (living, count) = (Arc::clone(&alive), Arc::clone(&closed));
    let services = Services::<H>::new().stream("late", Allow::Anyone, move |_, stream| {
        let (mut stream, guard, closed) = (H::io(stream), Guard::new(&living), Arc::clone(&count));
        async move {
            let _guard = guard;
            stream.close().await.expect("room");
            closed.fetch_add(1, Ordering::SeqCst);
            pending::<()>().await;
        }
    });
    let [link, other] = unread(&services, SHORT, &closed).await;
    soon(link.goodbye(0, "")).await;
    soon(other.closed()).await;
    until("the handler is gone", || alive.load(Ordering::SeqCst) == 0).await;
}

async fn l3_m12_a_stream_handler_sees_the_end_of_its_link_at_once<H: Host>() {
    let (sender, failed) = async_channel::unbounded();
    let services = Services::<H>::new().stream("feed", Allow::Anyone, move |_, stream| {
        let (mut stream, sender) = (H::io(stream), sender.clone());
        async move {
            let mut all = Vec::new();
            let read = stream.read_to_end(&mut all).await.expect_err("it is no end");
            let write = stream.write_all(b"more").await.expect_err("nobody reads it");
            sender.try_send((all, error_of(&read), error_of(&write))).expect("the test waits");
        }
    });
    let (link, other, tap) = patient_pair(&services, LONG).await;
    let mut stream = open(&link, "feed").await;
    stream.write_all(b"half of").await.expect("room");
    stream.flush().await.expect("room");
    soon(link.ping()).await.expect("an answer");
    tap.cut_after(0);
    let (all, read, write) = soon(failed.recv()).await.expect("the handler ran to its end");
    assert_eq!(
        (all.as_slice(), read, write),
        (&b"half of"[..], StreamError::LinkEnded, StreamError::LinkEnded)
    );
    soon(other.closed()).await;
}

async fn m6_m12_messages_on_the_next_link_do_not_wait_for_stream_handlers_of_the_last<H: Host>() {
    let (alive, noted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (living, count) = (Arc::clone(&alive), Arc::clone(&noted));
    let services = Services::<H>::new()
        .stream("linger", Allow::Anyone, move |_, stream| {
            let guard = Guard::new(&living);
            async move {
                let _guard = (guard, stream);
                pending::<()>().await;
            }
        })
        .on("note", Allow::Anyone, move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async {}
        });
    let timing = Timing { drain: LONG, ..Timing::default() };
    let ben = node::<H>(2).config(|config| config.timing(timing)).services(&services);
    let ben = start(ben.listen("127.0.0.1:0")).await;
    let anna = start(node::<H>(1).peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
    let peer = anna.peer(id(2));
    let stream = soon(peer.open_stream("linger")).await.map(H::io).expect("a stream");
    until("the handler runs", || alive.load(Ordering::SeqCst) == 1).await;
    drop(stream);
    soon(peer.disconnect(0, "")).await;
    soon(peer.send(Message::new("note", "over the next link"))).await.expect("it is queued");
    until("it was handled", || noted.load(Ordering::SeqCst) == 1).await;
    assert_eq!(alive.load(Ordering::SeqCst), 1, "the handler of the last link still has its time");
}

/// Opens a stream as soon as the link has room for one.
async fn open_in_time<H: Host>(link: &Link<H>, name: &str) -> H::Io {
    loop {
        match soon(link.open_stream(name)).await {
            Ok(stream) => return H::io(stream),
            Err(OpenError::TooMany { .. }) => sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn m8_m12_no_more_stream_handlers_run_than_twice_the_streams_that_may_be_open<H: Host>() {
    let (gate, alive) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (own, living) = (Arc::clone(&gate), Arc::clone(&alive));
    let services = Services::<H>::new().stream("hang", Allow::Anyone, move |_, stream| {
        let (mut stream, gate, guard) = (H::io(stream), Arc::clone(&own), Guard::new(&living));
        async move {
            let _guard = guard;
            gate.acquire().await.forget();
            // The peer may have given it up.
            let _ = stream.close().await;
        }
    });
    let streams = StreamLimits { max_open: 4, ..StreamLimits::default() };
    let two = builder::<H>(2).streams(streams).build().expect("a configuration");
    let (link, _other) = pair_of((&config::<H>(1), &Services::<H>::new()), (&two, &services)).await;
    for number in 1..=16 {
        let mut stream = open_in_time(&link, "hang").await;
        if number <= 8 {
            until("its handler runs", || alive.load(Ordering::SeqCst) == number).await;
        } else {
            let error = soon(stream.read(&mut [0; 8])).await.expect_err("refused");
            assert_eq!(error_of(&error), StreamError::Refused);
        }
        // So the link has room for another one, and the handler is where it was.
        drop(stream);
    }
    assert_eq!(alive.load(Ordering::SeqCst), 8);
    gate.add_permits(100);
    until("they are done", || alive.load(Ordering::SeqCst) == 0).await;
    soon(async {
        // The link may hear later than this that they are done.
        while open_in_time(&link, "hang").await.read(&mut [0; 8]).await.is_err() {}
    })
    .await;
}

async fn m8_no_call_is_begun_while_an_answer_waits_for_room<H: Host>() {
    const CALLS: usize = 64;
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let services = Services::<H>::new().serve("large", Allow::Anyone, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok(vec![7; 60_000].into()) }
    });
    let tight = builder::<H>(1).send_buffer(4000).build().expect("a configuration");
    let (_other, link, tap) = tapped((&tight, &services), (&config::<H>(2), &Services::<H>::new())).await;
    tap.stall_after(0);
    let mut calls = TaskSet::new();
    for _ in 0..CALLS {
        let link = link.clone();
        calls.spawn::<H>(async move { link.call("large", "?").await.map(|answer| answer.len()) });
    }
    until("calls have come", || begun.load(Ordering::SeqCst) > 0).await;
    sleep(Duration::from_millis(100)).await;
    // What is on the way and in the link's buffers, and one that waits.
    let taken = begun.load(Ordering::SeqCst);
    assert!(taken < 16, "{taken} calls were begun whose answers have no room");
    tap.stall_after(usize::MAX);
    while let Some(answer) = soon(calls.join_next()).await {
        assert_eq!(answer.expect("no panic"), Ok(60_000));
    }
    assert_eq!(begun.load(Ordering::SeqCst), CALLS);
}

async fn o2_handlers_log_in_the_span_of_their_link_and_their_panics_are_warnings<H: Host>() {
    let log = Log::default();
    logging::<Scoped<H>>(&log).with_subscriber(log.subscriber()).await;
}

async fn wait() {
    sleep(Duration::from_millis(1)).await;
}

async fn logging<R: Runtime>(log: &Log) {
    let services = Services::<R>::new()
        .serve("call", Allow::Anyone, |_| async {
            wait().await;
            tracing::info!("a call is served");
            Ok("".into())
        })
        .on("message", Allow::Anyone, |_| async {
            wait().await;
            tracing::info!("a message is served");
        })
        .stream("stream", Allow::Anyone, |_, _stream| async {
            wait().await;
            tracing::info!("a stream is served");
        })
        .serve("call-now", Allow::Anyone, |_| async { panic!("as the test wants it") })
        .serve("call-late", Allow::Anyone, |_| async {
            wait().await;
            panic!("as the test wants it")
        })
        .on("message-now", Allow::Anyone, |_| async { panic!("as the test wants it") })
        .on("message-late", Allow::Anyone, |_| async {
            wait().await;
            panic!("as the test wants it")
        })
        .stream("stream-now", Allow::Anyone, |_, _stream| async { panic!("as the test wants it") })
        .stream("stream-late", Allow::Anyone, |_, _stream| async {
            wait().await;
            panic!("as the test wants it")
        });
    let (link, _other) = pair::<R>(&services).await;
    for name in ["call", "call-now", "call-late"] {
        let answer = soon(link.call(name, "?")).await;
        let failed = Err(CallError::Service(ServiceError::HandlerFailed));
        assert!(if name == "call" { answer.is_ok() } else { answer == failed }, "{name}: {answer:?}");
    }
    for name in ["message", "message-now", "message-late"] {
        soon(link.send(Message::new(name, "!"))).await.expect("sent");
    }
    let mut streams = Vec::new();
    for name in ["stream", "stream-now", "stream-late"] {
        streams.push(soon(link.open_stream(name)).await.expect("a stream"));
    }
    for kind in ["call", "message", "stream"] {
        let said = format!("a {kind} is served");
        until(&said, || line(log, &said).is_some()).await;
        let spoken = line(log, &said).unwrap_or_default();
        assert!(spoken.contains(&format!("link{{direction=\"inbound\" peer={}}}", id(1))), "{spoken}");
        for moment in ["now", "late"] {
            let service = format!("service=\"{kind}-{moment}\"");
            until(&service, || line(log, &service).is_some()).await;
            let spoken = line(log, &service).unwrap_or_default();
            let of_peer = spoken.ends_with(&format!("peer={}", id(1)));
            assert!(spoken.contains("WARN") && spoken.contains("link{") && of_peer, "{spoken}");
        }
    }
}

/// The first line with this in it.
fn line(log: &Log, part: &str) -> Option<String> {
    log.text().lines().find(|line| line.contains(part)).map(String::from)
}

handclasp_adapters::on_every_host!(
    m6_l3_at_a_goodbye_each_message_is_handled_or_counted_at_both_ends,
    m6_l5_at_a_cut_each_message_is_handled_or_counted_at_both_ends,
    m6_m11_unordered_messages_beyond_what_may_run_are_counted_at_both_ends,
    m6_l3_what_came_before_the_end_is_handled_in_its_time_by_one_handler_after_the_other,
    m12_l3_a_stream_that_came_whole_can_be_read_after_a_goodbye,
    l3_m12_a_stream_handler_that_does_not_end_is_dropped_at_the_deadline,
    l3_m12_a_stream_handler_sees_the_end_of_its_link_at_once,
    m6_m12_messages_on_the_next_link_do_not_wait_for_stream_handlers_of_the_last,
    m8_m12_no_more_stream_handlers_run_than_twice_the_streams_that_may_be_open,
    m8_no_call_is_begun_while_an_answer_waits_for_room,
    o2_handlers_log_in_the_span_of_their_link_and_their_panics_are_warnings,
);
