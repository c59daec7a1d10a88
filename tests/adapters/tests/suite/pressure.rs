//! Links under pressure: queues that are full or blocked, and tasks that are gone.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_lite::AsyncWriteExt;
use handclasp::identity::SignerError;
use handclasp::runtime::{ConnectError, Runtime, Services, connect};
use handclasp::services::Allow;
use handclasp::{CallError, Config, Dial, Limits, Message, NodeId, SecretKey, Signer, Timing, Trust};
use handclasp_adapters::links::{builder, config, id, key, listen, pair_of};
use handclasp_adapters::{Host, TaskSet, sleep, soon, spawn, timeout};

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
    m8_answers_that_found_no_room_go_out_as_soon_as_there_is_some,
    l3_a_goodbye_follows_all_that_was_queued,
    c6_a_handshake_whose_task_panics_is_told_like_any_other,
    d5_a_failure_is_told_before_the_stream_is_wound_down,
);
