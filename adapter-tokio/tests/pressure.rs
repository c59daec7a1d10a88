//! Links under pressure: queues that are full or blocked, and tasks that are gone.

mod common;

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use handclasp::identity::SignerError;
use handclasp::{CallError, Config, Dial, Limits, Message, NodeId, Reason, SecretKey, Signer, Timing, Trust};
use handclasp_tokio::{Allow, ConnectError, Services, connect};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use common::{builder, config, id, key, listen, pair, pair_of, soon};

/// A configuration of node `number` whose peers have one call in flight at a time.
fn one_call(number: u8) -> Arc<Config> {
    builder(number).limits(Limits { max_calls: 1, ..Limits::default() }).build().expect("a configuration")
}

#[tokio::test]
async fn m3_a_deadline_holds_behind_a_call_that_blocks() {
    let services = Services::new().serve("stuck", Allow::Anyone, |_| pending());
    let (link, _other) = pair_of((&one_call(1), &Services::new()), (&one_call(2), &services)).await;
    let mut calls = JoinSet::new();
    // The first is in flight, the second blocks the queue, the third waits behind it with less time than both.
    for time in [8000, 6000, 200] {
        let link = link.clone();
        calls.spawn(async move {
            let start = Instant::now();
            let time = Duration::from_millis(time);
            let failed = link.call_with(Message::new("stuck", "?"), time).await;
            assert!(matches!(failed, Err(CallError::DeadlineExceeded { .. })), "{failed:?}");
            (time, start.elapsed())
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (time, took) = soon(calls.join_next()).await.expect("a call").expect("no panic");
    assert_eq!(time, Duration::from_millis(200), "the shortest ends first");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn m8_answers_that_found_no_room_go_out_as_soon_as_there_is_some() {
    let services = Services::new().serve("large", Allow::Anyone, |_| async { Ok(vec![7; 3000].into()) });
    let tight = builder(2).send_buffer(4000).build().expect("a configuration");
    let (link, _other) = pair_of((&config(1), &Services::new()), (&tight, &services)).await;
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let link = link.clone();
        calls.spawn(async move { link.call("large", "?").await.map(|answer| answer.len()) });
    }
    while let Some(answer) = soon(calls.join_next()).await {
        assert_eq!(answer.expect("no panic"), Ok(3000));
    }
}

#[tokio::test]
async fn l3_a_goodbye_follows_all_that_was_queued() {
    let notes = Arc::new(AtomicUsize::new(0));
    let heard = Arc::clone(&notes);
    let services = Services::new()
        .serve("stuck", Allow::Anyone, |_| pending())
        .serve("echo", Allow::Anyone, |request| async move { Ok(request.body) })
        .on("note", Allow::Anyone, move |_| {
            heard.fetch_add(1, Ordering::Relaxed);
            std::future::ready(())
        });
    let (link, _other) = pair_of((&one_call(1), &Services::new()), (&one_call(2), &services)).await;
    let mut first = Box::pin(link.call("stuck", "?"));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut first).await.is_err());
    let caller = link.clone();
    let second = tokio::spawn(async move { caller.call("echo", "?").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    link.send(Message::new("note", "behind a blocked call")).await.expect("taken");
    // In one turn of the task: room for the second call, and the goodbye.
    drop(first);
    soon(link.goodbye(0, "")).await;
    assert!(soon(second).await.expect("no panic").is_ok());
    assert!(link.take_unsent().is_empty());
    assert_eq!(notes.load(Ordering::Relaxed), 1);
}

#[test]
fn m4_a_caller_on_another_runtime_is_told_when_the_links_runtime_goes() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (theirs, own) = (runtime(), runtime());
    let services = Services::new().serve("echo", Allow::Anyone, |request| async move { Ok(request.body) });
    let (link, _other) = theirs.block_on(pair(&services));
    // The call is queued while nobody runs the link's task, which then goes.
    let mut call = Box::pin(link.call("echo", "?"));
    own.block_on(async {
        std::future::poll_fn(|context| {
            assert!(call.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    });
    drop(theirs);
    let failed = own.block_on(soon(call));
    assert!(matches!(failed, Err(CallError::LinkClosed { reason: Reason::Dropped, .. })), "{failed:?}");
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

#[tokio::test]
async fn c6_a_handshake_whose_task_panics_is_told_like_any_other() {
    let broken = Config::builder(Panics(key(2)), 1).trust(Trust::listed([id(1)])).build();
    let (mut listener, address) = listen(&broken.expect("a configuration"), &Services::new()).await;
    let dialled = tokio::spawn(async move {
        connect(address, &config(1), Dial::to(id(2)), &Services::new()).await.map(|_| ())
    });
    assert!(soon(listener.accept()).await.is_err());
    assert!(soon(dialled).await.expect("no panic").is_err());
}

#[tokio::test]
async fn d5_a_failure_is_told_before_the_stream_is_wound_down() {
    let timing = Timing {
        handshake: Duration::from_millis(900),
        step: Duration::from_millis(800),
        ..Timing::default()
    };
    let hasty = builder(1).timing(timing).build().expect("a configuration");
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = other.local_addr().expect("its address");
    let server = tokio::spawn(async move {
        let (mut stream, _) = other.accept().await.expect("a connection");
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await.expect("written");
        // And keeps it open.
        stream
    });
    let failed = soon(connect(address, &hasty, Dial::to(id(2)), &Services::new())).await.map(|_| ());
    assert!(matches!(&failed, Err(ConnectError::Closed(_))), "{failed:?}");
    drop(server.await);
}
