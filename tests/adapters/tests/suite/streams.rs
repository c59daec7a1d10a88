//! Byte streams over links (M12).

use std::future::pending;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_lock::Semaphore;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use handclasp::StreamLimits;
use handclasp::node::Permanence;
use handclasp::runtime::{OpenError, Services, StreamError};
use handclasp::services::Allow;
use handclasp_adapters::links::{Guard, builder, config, id, pair, pair_of, tapped};
use handclasp_adapters::nodes::{address, node, start, stop};
use handclasp_adapters::streams::{bytes, echo, echoing, error_of, open, round_trip};
use handclasp_adapters::{Host, Scope, Scoped, TaskSet, sleep, soon, spawn, timeout, until};

async fn m12_a_stream_carries_bytes_both_ways_whole_and_in_order<H: Host>() {
    let (link, _peer) = pair::<H>(&echoing()).await;
    for length in [0, 1, 16 << 10, 3 << 20] {
        let stream = open(&link, "echo").await;
        assert_eq!((stream.name(), stream.peer().id), ("echo", id(2)));
        let sent = bytes(length, length);
        assert!(soon(round_trip(stream, sent.clone())).await == sent, "{length} bytes");
    }
}

async fn m12_either_direction_ends_by_itself<H: Host>() {
    let services = Services::<H>::new().stream("sum", Allow::Anyone, |_, stream| async move {
        let mut stream = H::io(stream);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.expect("the end");
        let sum: u64 = all.iter().map(|byte| u64::from(*byte)).sum();
        stream.write_all(&sum.to_be_bytes()).await.expect("room");
        stream.close().await.expect("room");
    });
    let (link, _peer) = pair(&services).await;
    let mut stream = open(&link, "sum").await;
    stream.write_all(&vec![1; 100_000]).await.expect("room");
    stream.close().await.expect("room");
    let late = stream.write_all(b"late").await.expect_err("nothing behind the end");
    assert_eq!((late.kind(), error_of(&late)), (ErrorKind::BrokenPipe, StreamError::Ended));
    let mut sum = Vec::new();
    soon(stream.read_to_end(&mut sum)).await.expect("the end");
    assert_eq!(sum, 100_000_u64.to_be_bytes());
}

async fn m12_what_is_given_up_is_told_from_what_has_ended<H: Host>() {
    let services = Services::<H>::new()
        .stream("drop", Allow::Anyone, |_, stream| async move {
            let mut stream = H::io(stream);
            stream.write_all(b"half of").await.expect("room");
            stream.flush().await.expect("room");
        })
        .stream("reset", Allow::Anyone, |_, stream| async move {
            H::io(stream).reset(7);
        })
        .stream("stop", Allow::Anyone, |_, stream| async move {
            let mut stream = H::io(stream);
            stream.stop(8);
            stream.close().await.expect("room");
            pending::<()>().await;
        })
        .stream("panic", Allow::Anyone, |_, _stream| async move { panic!("a handler's own fault") });
    let (link, _peer) = pair(&services).await;
    for (name, code) in [("drop", 0), ("reset", 7), ("panic", 0)] {
        let mut stream = open(&link, name).await;
        let error = soon(stream.read_to_end(&mut Vec::new())).await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(error_of(&error), StreamError::Reset { code }, "{name}");
    }
    let mut stream = open(&link, "stop").await;
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

async fn m12_i9_a_stream_to_no_service_is_refused<H: Host>() {
    let services = echoing::<H>().stream("forbidden", Allow::Nobody, |_, stream| echo(H::io(stream)));
    let (link, _peer) = pair(&services).await;
    for name in ["forbidden", "unknown", "echo-call"] {
        let mut stream = open(&link, name).await;
        let error = soon(stream.read(&mut [0; 8])).await.expect_err(name);
        assert_eq!((error.kind(), error_of(&error)), (ErrorKind::ConnectionRefused, StreamError::Refused));
    }
    let long = soon(link.open_stream(&"x".repeat(256))).await.map(H::io).expect_err("a long name");
    assert_eq!(long, OpenError::LongName);
    assert_eq!(soon(link.call("echo-call", "still here")).await.expect("an answer"), "still here");
}

async fn m12_a_thousand_streams_share_a_link_and_no_call_waits_for_them<H: Host>() {
    let (link, _peer) = pair::<H>(&echoing()).await;
    let (mut all, done) = (TaskSet::new(), Arc::new(AtomicUsize::new(0)));
    for number in 0..1000 {
        let (link, done) = (link.clone(), Arc::clone(&done));
        all.spawn::<H>(async move {
            let sent = bytes(5000 + number, number);
            let stream = H::io(link.open_stream("echo").await.expect("a stream"));
            let back = round_trip(stream, sent.clone()).await;
            done.fetch_add(1, Ordering::SeqCst);
            assert!(back == sent, "stream {number}");
        });
    }
    let calling = async {
        let mut calls = 0;
        while done.load(Ordering::SeqCst) < 1000 {
            assert_eq!(link.call("echo-call", "now").await.expect("an answer"), "now");
            calls += 1;
        }
        calls
    };
    let calls = soon(calling).await;
    while let Some(stream) = soon(all.join_next()).await {
        stream.expect("no panic");
    }
    assert!(calls > 10, "{calls} calls beside a thousand streams");
}

async fn m12_a_stream_that_nobody_reads_stops_its_writer_and_nothing_else<H: Host>() {
    let read = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&read);
    let services = echoing::<H>().stream("slow", Allow::Anyone, move |_, stream| {
        let (gate, mut stream) = (Arc::clone(&gate), H::io(stream));
        async move {
            gate.acquire().await.forget();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.expect("the end");
            stream.write_all(&(all.len() as u64).to_be_bytes()).await.expect("room");
            stream.close().await.expect("room");
        }
    });
    let (link, _peer) = pair(&services).await;
    let mut stream = open(&link, "slow").await;
    let written = AtomicUsize::new(0);
    let fill = async {
        loop {
            let count = stream.write(&[1; 4096]).await.expect("the stream lives");
            written.fetch_add(count, Ordering::Relaxed);
        }
    };
    assert!(timeout(Duration::from_millis(500), fill).await.is_none());
    let written = written.into_inner();
    // A pipe at each end, what the link holds of it unsent, and the window, which grows while the pipe fills.
    let most = 2 * (64 << 10) + (64 << 10) + (128 << 10);
    assert!((16 << 10..=most).contains(&written), "{written} bytes were taken");
    let other = open(&link, "echo").await;
    assert_eq!(soon(round_trip(other, bytes(100_000, 1))).await, bytes(100_000, 1));
    assert_eq!(soon(link.call("echo-call", "hello")).await.expect("an answer"), "hello");
    read.add_permits(1);
    stream.close().await.expect("room");
    let mut count = Vec::new();
    soon(stream.read_to_end(&mut count)).await.expect("the end");
    assert_eq!(count, (written as u64).to_be_bytes());
}

async fn m12_streams_end_with_their_link<H: Host>() {
    let (link, peer) = pair::<H>(&echoing()).await;
    let mut stream = open(&link, "echo").await;
    stream.write_all(b"there and back").await.expect("room");
    let mut back = [0; 14];
    soon(stream.read_exact(&mut back)).await.expect("the echo");
    peer.close();
    let error = soon(stream.read(&mut back)).await.expect_err("the link has ended");
    assert_eq!((error.kind(), error_of(&error)), (ErrorKind::ConnectionAborted, StreamError::LinkEnded));
    assert!(soon(stream.write_all(b"more")).await.is_err());
    soon(link.closed()).await;
    let late = soon(link.open_stream("echo")).await.map(H::io);
    assert!(matches!(late, Err(OpenError::LinkClosed { .. })), "{late:?}");
}

async fn m12_an_open_stream_keeps_its_link_and_a_goodbye_lets_it_finish<H: Host>() {
    let (link, peer) = pair::<H>(&echoing()).await;
    let stream = open(&link, "echo").await;
    drop(link);
    assert_eq!(soon(round_trip(stream, bytes(50_000, 3))).await, bytes(50_000, 3));
    // With the stream the last handle was dropped.
    soon(peer.closed()).await;

    let (link, _peer) = pair::<H>(&echoing()).await;
    let mut stream = open(&link, "echo").await;
    stream.write_all(b"before").await.expect("room");
    let leaving = spawn::<H, _>(async move { link.goodbye(0, "").await });
    sleep(Duration::from_millis(50)).await;
    assert_eq!(soon(round_trip(stream, b" and after".to_vec())).await, b"before and after");
    assert_eq!(soon(leaving).await.expect("no panic").reason.name(), "goodbye");
}

async fn m12_no_more_streams_than_may_be_open<H: Host>() {
    let limits = StreamLimits { max_open: 2, ..StreamLimits::default() };
    let limited = builder::<H>(2).streams(limits).build().expect("a configuration");
    let services = echoing::<H>();
    let (link, _peer) = pair_of((&config::<H>(1), &Services::<H>::new()), (&limited, &services)).await;
    let one = open(&link, "echo").await;
    let _two = open(&link, "echo").await;
    assert_eq!(
        soon(link.open_stream("echo")).await.map(H::io).expect_err("too many"),
        OpenError::TooMany { limit: 2 }
    );
    soon(round_trip(one, b"bye".to_vec())).await;
    // The first one has ended.
    drop(open(&link, "echo").await);

    let none = builder::<H>(2).streams(StreamLimits::NONE).build().expect("a configuration");
    let (link, _peer) = pair_of((&config::<H>(1), &Services::<H>::new()), (&none, &services)).await;
    assert_eq!(soon(link.open_stream("echo")).await.map(H::io).expect_err("none"), OpenError::NoStreams);
}

async fn m12_a_peer_of_a_node_is_dialled_for_a_stream<H: Host>() {
    let far = start(node::<H>(2).services(&echoing()).listen("127.0.0.1:0")).await;
    let near = start(node::<H>(1).peer(id(2), [address(&far)], Permanence::Ephemeral)).await;
    let stream = soon(near.peer(id(2)).open_stream("echo")).await.map(H::io).expect("a stream");
    assert_eq!(soon(round_trip(stream, bytes(70_000, 9))).await, bytes(70_000, 9));
    let nowhere = soon(near.peer(id(9)).open_stream("echo")).await.map(H::io);
    assert!(matches!(nowhere, Err(OpenError::NoLink(_))), "{nowhere:?}");
    assert_eq!(stop(near).await, []);
    assert_eq!(stop(far).await, []);
}

/// However a link ends, no handler of its streams outlives it, whether it looks at its stream or not.
async fn m12_the_handlers_of_streams_are_dropped_with_their_link<H: Host>() {
    const EACH: usize = 5;
    let scope = Scope::default();
    let inside = scope.run(async {
        for end in ["near", "far", "between"] {
            let alive = Arc::new(AtomicUsize::new(0));
            let (deaf, writing) = (Arc::clone(&alive), Arc::clone(&alive));
            let services = Services::<Scoped<H>>::new()
                .stream("deaf", Allow::Anyone, move |_, stream| {
                    let held = (Guard::new(&deaf), stream);
                    async move {
                        let _held = held;
                        pending::<()>().await;
                    }
                })
                .stream("writing", Allow::Anyone, move |_, stream| {
                    let (guard, mut stream) = (Guard::new(&writing), H::io(stream));
                    async move {
                        let _guard = guard;
                        while stream.write_all(&[7; 4096]).await.is_ok() {}
                        // It was told, and stays.
                        pending::<()>().await;
                    }
                });
            let (one, two) = (config::<H>(1), config::<H>(2));
            let (near, far, tap) = tapped((&one, &Services::<Scoped<H>>::new()), (&two, &services)).await;
            let mut streams = Vec::new();
            for name in ["deaf", "writing"].into_iter().cycle().take(2 * EACH) {
                streams.push(soon(near.open_stream(name)).await.map(H::io).expect("a stream"));
            }
            until("all handlers run", || alive.load(Ordering::SeqCst) == 2 * EACH).await;
            match end {
                "near" => near.close(),
                "far" => far.close(),
                _ => tap.cut_after(0),
            }
            if end == "between" {
                // A broken stream shows to who uses it.
                let _ = near.ping().await;
            }
            until("no handler is left", || alive.load(Ordering::SeqCst) == 0).await;
            soon(near.closed()).await;
            soon(far.closed()).await;
            for stream in &mut streams {
                // What had come is read before the end of the link shows.
                let error = soon(stream.read_to_end(&mut Vec::new())).await.expect_err("no end came");
                assert_eq!(error_of(&error), StreamError::LinkEnded);
            }
            // Whoever still holds the link's handles and streams holds no task.
            until("no task is left", || scope.tasks() == 0).await;
        }
    });
    inside.await;
}

handclasp_adapters::on_every_host!(
    m12_a_stream_carries_bytes_both_ways_whole_and_in_order,
    m12_either_direction_ends_by_itself,
    m12_what_is_given_up_is_told_from_what_has_ended,
    m12_i9_a_stream_to_no_service_is_refused,
    m12_a_thousand_streams_share_a_link_and_no_call_waits_for_them,
    m12_a_stream_that_nobody_reads_stops_its_writer_and_nothing_else,
    m12_streams_end_with_their_link,
    m12_an_open_stream_keeps_its_link_and_a_goodbye_lets_it_finish,
    m12_no_more_streams_than_may_be_open,
    m12_a_peer_of_a_node_is_dialled_for_a_stream,
    m12_the_handlers_of_streams_are_dropped_with_their_link,
);
