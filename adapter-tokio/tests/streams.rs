//! Byte streams over links (M12).

mod common;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{builder, config, id, key, pair, pair_of, soon};
use handclasp::node::Permanence;
use handclasp::{StreamLimits, Trust};
use handclasp_tokio::{Allow, Node, OpenError, Services, Stream, StreamError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends back what comes, and ends when that does.
async fn echo(stream: Stream) {
    let (mut read, mut write) = tokio::io::split(stream);
    if tokio::io::copy(&mut read, &mut write).await.is_ok() {
        let _ = write.shutdown().await;
    }
}

fn echoing() -> Services {
    Services::new().stream("echo", Allow::Anyone, |_, stream| echo(stream)).serve(
        "echo-call",
        Allow::Anyone,
        |request| async move { Ok(request.body) },
    )
}

/// Bytes of which each place is its own.
#[allow(clippy::cast_possible_truncation)] // below 251
fn bytes(length: usize, salt: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 31 + (at >> 8) + salt) % 251) as u8).collect()
}

/// Writes `sent` and reads what comes back, both at a time.
async fn round_trip(stream: Stream, sent: Vec<u8>) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(stream);
    let writing = async {
        write.write_all(&sent).await.expect("the link takes it");
        write.shutdown().await.expect("the link takes the end");
    };
    let mut back = Vec::new();
    let ((), read) = tokio::join!(writing, read.read_to_end(&mut back));
    read.expect("the end, in good order");
    back
}

fn error_of(error: &std::io::Error) -> StreamError {
    *error.get_ref().expect("an error of ours").downcast_ref().expect("a stream's error")
}

#[tokio::test]
async fn m12_a_stream_carries_bytes_both_ways_whole_and_in_order() {
    let (link, _peer) = pair(&echoing()).await;
    for length in [0, 1, 16 << 10, 3 << 20] {
        let stream = soon(link.open_stream("echo")).await.expect("a stream");
        assert_eq!((stream.name(), stream.peer().id), ("echo", id(2)));
        let sent = bytes(length, length);
        assert!(soon(round_trip(stream, sent.clone())).await == sent, "{length} bytes");
    }
}

#[tokio::test]
async fn m12_either_direction_ends_by_itself() {
    let services = Services::new().stream("sum", Allow::Anyone, |_, mut stream| async move {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.expect("the end");
        let sum: u64 = all.iter().map(|byte| u64::from(*byte)).sum();
        stream.write_all(&sum.to_be_bytes()).await.expect("room");
        stream.shutdown().await.expect("room");
    });
    let (link, _peer) = pair(&services).await;
    let mut stream = soon(link.open_stream("sum")).await.expect("a stream");
    stream.write_all(&vec![1; 100_000]).await.expect("room");
    stream.shutdown().await.expect("room");
    let late = stream.write_all(b"late").await.expect_err("nothing behind the end");
    assert_eq!((late.kind(), error_of(&late)), (ErrorKind::BrokenPipe, StreamError::Ended));
    let mut sum = Vec::new();
    soon(stream.read_to_end(&mut sum)).await.expect("the end");
    assert_eq!(sum, 100_000_u64.to_be_bytes());
}

#[tokio::test]
async fn m12_what_is_given_up_is_told_from_what_has_ended() {
    let services = Services::new()
        .stream("drop", Allow::Anyone, |_, mut stream| async move {
            stream.write_all(b"half of").await.expect("room");
            stream.flush().await.expect("room");
        })
        .stream("reset", Allow::Anyone, |_, mut stream| async move { stream.reset(7) })
        .stream("stop", Allow::Anyone, |_, mut stream| async move {
            stream.stop(8);
            stream.shutdown().await.expect("room");
            std::future::pending::<()>().await;
        })
        .stream("panic", Allow::Anyone, |_, _stream| async move { panic!("a handler's own fault") });
    let (link, _peer) = pair(&services).await;
    for (name, code) in [("drop", 0), ("reset", 7), ("panic", 0)] {
        let mut stream = soon(link.open_stream(name)).await.expect("a stream");
        let error = soon(stream.read_to_end(&mut Vec::new())).await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(error_of(&error), StreamError::Reset { code }, "{name}");
    }
    let mut stream = soon(link.open_stream("stop")).await.expect("a stream");
    let error = soon(async {
        loop {
            if let Err(error) = stream.write_all(&[0; 1000]).await {
                return error;
            }
        }
    })
    .await;
    assert_eq!((error.kind(), error_of(&error)), (ErrorKind::BrokenPipe, StreamError::Stopped { code: 8 }));
    // The other direction does not care.
    assert_eq!(soon(stream.read(&mut [0; 8])).await.expect("the end"), 0);
}

#[tokio::test]
async fn m12_i9_a_stream_to_no_service_is_refused() {
    let services = echoing().stream("forbidden", Allow::Nobody, |_, stream| echo(stream));
    let (link, _peer) = pair(&services).await;
    for name in ["forbidden", "unknown", "echo-call"] {
        let mut stream = soon(link.open_stream(name)).await.expect("a stream");
        let error = soon(stream.read(&mut [0; 8])).await.expect_err(name);
        assert_eq!((error.kind(), error_of(&error)), (ErrorKind::ConnectionRefused, StreamError::Refused));
    }
    let long = soon(link.open_stream(&"x".repeat(256))).await.expect_err("a long name");
    assert_eq!(long, OpenError::LongName);
    assert_eq!(soon(link.call("echo-call", "still here")).await.expect("an answer"), "still here");
}

#[tokio::test]
async fn m12_a_thousand_streams_share_a_link_and_no_call_waits_for_them() {
    let (link, _peer) = pair(&echoing()).await;
    let mut all = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let link = link.clone();
        all.spawn(async move {
            let sent = bytes(5000 + number, number);
            let stream = link.open_stream("echo").await.expect("a stream");
            assert!(round_trip(stream, sent.clone()).await == sent, "stream {number}");
        });
    }
    let calling = async {
        let mut calls = 0;
        loop {
            assert_eq!(link.call("echo-call", "now").await.expect("an answer"), "now");
            calls += 1;
            if all.is_empty() {
                return calls;
            }
            while let Some(done) = all.try_join_next() {
                done.expect("no panic");
            }
        }
    };
    let calls = soon(calling).await;
    assert!(calls > 10, "{calls} calls beside a thousand streams");
}

#[tokio::test]
async fn m12_a_stream_that_nobody_reads_stops_its_writer_and_nothing_else() {
    let read = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&read);
    let services = echoing().stream("slow", Allow::Anyone, move |_, mut stream| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.expect("open").forget();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.expect("the end");
            stream.write_all(&(all.len() as u64).to_be_bytes()).await.expect("room");
            stream.shutdown().await.expect("room");
        }
    });
    let (link, _peer) = pair(&services).await;
    let mut stream = soon(link.open_stream("slow")).await.expect("a stream");
    let written = AtomicUsize::new(0);
    let fill = async {
        loop {
            let count = stream.write(&[1; 4096]).await.expect("the stream lives");
            written.fetch_add(count, Ordering::Relaxed);
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(500), fill).await.is_err());
    let written = written.into_inner();
    // A pipe at each end, what the link holds of it unsent, and the first window.
    let most = 2 * (64 << 10) + (64 << 10) + (16 << 10);
    assert!((16 << 10..=most).contains(&written), "{written} bytes were taken");
    let other = soon(link.open_stream("echo")).await.expect("a stream");
    assert_eq!(soon(round_trip(other, bytes(100_000, 1))).await, bytes(100_000, 1));
    assert_eq!(soon(link.call("echo-call", "hello")).await.expect("an answer"), "hello");
    read.add_permits(1);
    stream.shutdown().await.expect("room");
    let mut count = Vec::new();
    soon(stream.read_to_end(&mut count)).await.expect("the end");
    assert_eq!(count, (written as u64).to_be_bytes());
}

#[tokio::test]
async fn m12_streams_end_with_their_link() {
    let (link, peer) = pair(&echoing()).await;
    let mut stream = soon(link.open_stream("echo")).await.expect("a stream");
    stream.write_all(b"there and back").await.expect("room");
    let mut back = [0; 14];
    soon(stream.read_exact(&mut back)).await.expect("the echo");
    peer.close();
    let error = soon(stream.read(&mut back)).await.expect_err("the link has ended");
    assert_eq!((error.kind(), error_of(&error)), (ErrorKind::ConnectionAborted, StreamError::LinkEnded));
    assert!(soon(stream.write_all(b"more")).await.is_err());
    soon(link.closed()).await;
    assert!(matches!(soon(link.open_stream("echo")).await, Err(OpenError::LinkClosed { .. })));
}

#[tokio::test]
async fn m12_an_open_stream_keeps_its_link_and_a_goodbye_lets_it_finish() {
    let (link, peer) = pair(&echoing()).await;
    let stream = soon(link.open_stream("echo")).await.expect("a stream");
    drop(link);
    assert_eq!(soon(round_trip(stream, bytes(50_000, 3))).await, bytes(50_000, 3));
    // With the stream the last handle was dropped.
    soon(peer.closed()).await;

    let (link, _peer) = pair(&echoing()).await;
    let mut stream = soon(link.open_stream("echo")).await.expect("a stream");
    stream.write_all(b"before").await.expect("room");
    let leaving = tokio::spawn(async move { link.goodbye(0, "").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(soon(round_trip(stream, b" and after".to_vec())).await, b"before and after");
    assert_eq!(soon(leaving).await.expect("no panic").reason.name(), "goodbye");
}

#[tokio::test]
async fn m12_no_more_streams_than_may_be_open() {
    let limits = StreamLimits { max_open: 2, ..StreamLimits::default() };
    let limited = builder(2).streams(limits).build().expect("a configuration");
    let services = echoing();
    let (link, _peer) = pair_of((&config(1), &Services::new()), (&limited, &services)).await;
    let one = soon(link.open_stream("echo")).await.expect("a stream");
    let _two = soon(link.open_stream("echo")).await.expect("a stream");
    assert_eq!(soon(link.open_stream("echo")).await.expect_err("too many"), OpenError::TooMany { limit: 2 });
    soon(round_trip(one, b"bye".to_vec())).await;
    soon(link.open_stream("echo")).await.expect("the first one has ended");

    let none = builder(2).streams(StreamLimits::NONE).build().expect("a configuration");
    let (link, _peer) = pair_of((&config(1), &Services::new()), (&none, &services)).await;
    assert_eq!(soon(link.open_stream("echo")).await.expect_err("none"), OpenError::NoStreams);
}

#[tokio::test]
async fn m12_a_peer_of_a_node_is_dialled_for_a_stream() {
    let far = Node::builder(key(2)).trust(Trust::listed([id(1)])).services(&echoing()).listen("127.0.0.1:0");
    let far = far.start().await.expect("a node");
    let near = Node::builder(key(1))
        .trust(Trust::listed([id(2), id(3)]))
        .peer(id(2), far.local_addrs(), Permanence::Ephemeral)
        .start()
        .await
        .expect("a node");
    let stream = soon(near.peer(id(2)).open_stream("echo")).await.expect("a stream");
    assert_eq!(soon(round_trip(stream, bytes(70_000, 9))).await, bytes(70_000, 9));
    let nowhere = soon(near.peer(id(4)).open_stream("echo")).await;
    assert!(matches!(nowhere, Err(OpenError::NoLink(_))), "{nowhere:?}");
    soon(near.shutdown(Duration::from_secs(5))).await;
    soon(far.shutdown(Duration::from_secs(5))).await;
}
