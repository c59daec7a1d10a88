//! Links under pressure: queues that are full or blocked, and tasks that are gone.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::future::zip;
use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt};
use handclasp::identity::SignerError;
use handclasp::runtime::{ConnectError, Runtime, Services, accept_over, connect, connect_over};
use handclasp::services::Allow;
use handclasp::{CallError, Config, Dial, Limits, Message, NodeId, SecretKey, Signer, Timing, Trust};
use handclasp_adapters::links::{builder, config, id, key, listen, pair_of};
use handclasp_adapters::{Host, Pipe, TaskSet, pipe, sleep, soon, spawn, timeout};

/// A configuration of node `number` whose peers have one call in flight at a time.
fn one_call<R: Runtime>(number: u8) -> Arc<Config> {
    builder::<R>(number)
        .limits(Limits { max_calls: 1, ..Limits::default() })
        .build()
        .expect("a configuration")
}

async fn m3_a_deadline_holds_behind_a_call_that_blocks<H: Host>() {
    let services = Services::<H>::new().serve("stuck", Allow::Anyone, |_| pending());
    let (link, _other) =
        pair_of((&one_call::<H>(1), &Services::<H>::new()), (&one_call::<H>(2), &services)).await;
    let mut calls = TaskSet::new();
    // The first is in flight, the second blocks the queue, the third waits behind it with less time than both.
    for time in [8000, 6000, 200] {
        let link = link.clone();
        calls.spawn::<H>(async move {
            let start = Instant::now();
            let time = Duration::from_millis(time);
            let failed = link.call_with(Message::new("stuck", "?"), time).await;
            assert!(matches!(failed, Err(CallError::DeadlineExceeded { .. })), "{failed:?}");
            (time, start.elapsed())
        });
        sleep(Duration::from_millis(50)).await;
    }
    let (time, took) = soon(calls.join_next()).await.expect("a call").expect("no panic");
    assert_eq!(time, Duration::from_millis(200), "the shortest ends first");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

/// A stream that counts how often it is asked to write.
struct Counting(Pipe, Arc<AtomicUsize>);

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, bytes)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// Calls that were given up count until the peer has been told. Where it cannot be told, the next call waits, and its
/// link's task sleeps.
async fn m8_a_call_that_waits_for_cancels_to_leave_does_not_keep_the_task_busy<H: Host>() {
    let services = Services::<H>::new().serve("stuck", Allow::Anyone, |_| pending());
    let (one, two, none) = (one_call::<H>(1), one_call::<H>(2), Services::<H>::new());
    let (near, far, tap) = pipe(64 << 10);
    let writes = Arc::new(AtomicUsize::new(0));
    let near = Counting(near, Arc::clone(&writes));
    let (link, other) =
        soon(zip(connect_over(near, &one, Dial::to(id(2)), &none), accept_over(far, &two, &services))).await;
    let (link, _other) = (link.expect("a link"), other.expect("a link"));
    let mut given_up = Box::pin(link.call("stuck", "?"));
    assert!(timeout(Duration::from_millis(50), &mut given_up).await.is_none());
    tap.stall_after(0);
    soon(link.send(Message::new("nobody", vec![7; 250_000]))).await.expect("it is queued");
    sleep(Duration::from_millis(50)).await;
    drop(given_up);
    let mut waits = Box::pin(link.call("stuck", "?"));
    assert!(timeout(Duration::from_millis(50), &mut waits).await.is_none());
    let before = writes.load(Ordering::Relaxed);
    assert!(timeout(Duration::from_millis(200), &mut waits).await.is_none());
    let writes = writes.load(Ordering::Relaxed) - before;
    assert!(writes < 50, "{writes} writes were tried");
}

async fn m8_answers_that_found_no_room_go_out_as_soon_as_there_is_some<H: Host>() {
    let services = Services::<H>::new().serve("large", Allow::Anyone, |_| async { Ok(vec![7; 3000].into()) });
    let tight = builder::<H>(2).send_buffer(4000).build().expect("a configuration");
    let (link, _other) = pair_of((&config::<H>(1), &Services::<H>::new()), (&tight, &services)).await;
    let mut calls = TaskSet::new();
    for _ in 0..20 {
        let link = link.clone();
        calls.spawn::<H>(async move { link.call("large", "?").await.map(|answer| answer.len()) });
    }
    while let Some(answer) = soon(calls.join_next()).await {
        assert_eq!(answer.expect("no panic"), Ok(3000));
    }
}

async fn l3_a_goodbye_follows_all_that_was_queued<H: Host>() {
    let notes = Arc::new(AtomicUsize::new(0));
    let heard = Arc::clone(&notes);
    let services = Services::<H>::new()
        .serve("stuck", Allow::Anyone, |_| pending())
        .serve("echo", Allow::Anyone, |request| async move { Ok(request.body) })
        .on("note", Allow::Anyone, move |_| {
            heard.fetch_add(1, Ordering::Relaxed);
            std::future::ready(())
        });
    let (link, _other) =
        pair_of((&one_call::<H>(1), &Services::<H>::new()), (&one_call::<H>(2), &services)).await;
    let mut first = Box::pin(link.call("stuck", "?"));
    assert!(timeout(Duration::from_millis(50), &mut first).await.is_none());
    let caller = link.clone();
    let second = spawn::<H, _>(async move { caller.call("echo", "?").await });
    sleep(Duration::from_millis(50)).await;
    link.send(Message::new("note", "behind a blocked call")).await.expect("taken");
    // In one turn of the task: room for the second call, and the goodbye.
    drop(first);
    soon(link.goodbye(0, "")).await;
    assert!(soon(second).await.expect("no panic").is_ok());
    assert!(link.take_unsent().is_empty());
    assert_eq!(notes.load(Ordering::Relaxed), 1);
}

/// A signer whose library panics.
#[derive(Debug)]
struct Panics(SecretKey);

impl Signer for Panics {
    fn node_id(&self) -> NodeId {
        self.0.node_id()
    }

    fn sign(&self, _: &[u8]) -> Result<[u8; 64], SignerError> {
        panic!("as a test wants it")
    }
}

async fn c6_a_handshake_whose_task_panics_is_told_like_any_other<H: Host>() {
    let broken = Config::builder(Panics(key(2)), 1).trust(Trust::listed([id(1)])).build();
    let (mut listener, address) = listen::<H>(&broken.expect("a configuration"), &Services::<H>::new()).await;
    let dialled = spawn::<H, _>(async move {
        connect(address, &config::<H>(1), Dial::to(id(2)), &Services::<H>::new()).await.map(|_| ())
    });
    assert!(soon(listener.accept()).await.is_err());
    assert!(soon(dialled).await.expect("no panic").is_err());
}

async fn d5_a_failure_is_told_before_the_stream_is_wound_down<H: Host>() {
    let timing = Timing {
        handshake: Duration::from_millis(900),
        step: Duration::from_millis(800),
        ..Timing::default()
    };
    let hasty = builder::<H>(1).timing(timing).build().expect("a configuration");
    let other = H::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
    let address = H::local_addr(&other).expect("its address");
    let server = spawn::<H, _>(async move {
        let (mut stream, _) = H::accept(&other).await.expect("a connection");
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await.expect("written");
        // And keeps it open.
        stream
    });
    let failed = soon(connect(address, &hasty, Dial::to(id(2)), &Services::<H>::new())).await.map(|_| ());
    assert!(matches!(&failed, Err(ConnectError::Closed(_))), "{failed:?}");
    drop(server.await);
}

handclasp_adapters::on_every_host!(
    m3_a_deadline_holds_behind_a_call_that_blocks,
    m8_a_call_that_waits_for_cancels_to_leave_does_not_keep_the_task_busy,
    m8_answers_that_found_no_room_go_out_as_soon_as_there_is_some,
    l3_a_goodbye_follows_all_that_was_queued,
    c6_a_handshake_whose_task_panics_is_told_like_any_other,
    d5_a_failure_is_told_before_the_stream_is_wound_down,
);
