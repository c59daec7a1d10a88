//! Futures of byte streams, dropped at each of their await points: what was read or written is neither lost nor
//! doubled.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_channel::{Receiver, unbounded};
use async_lock::Semaphore;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use handclasp::StreamLimits;
use handclasp::runtime::{Link, OpenError, Services, StreamError};
use handclasp::services::Allow;
use handclasp_adapters::links::{Guard, builder, config, pair, pair_of};
use handclasp_adapters::streams::{bytes, echo, echoing, error_of, open, round_trip};
use handclasp_adapters::{Cuts, Host, sleep, soon, timeout, until};

/// A service `collect` that reads to the end, slowly, and what it has read: `None` if there was no end.
fn collecting<H: Host>() -> (Services<H>, Receiver<Option<Vec<u8>>>) {
    let (sender, collected) = unbounded();
    let services = echoing::<H>().stream("collect", Allow::Anyone, move |_, stream| {
        let (sender, mut stream) = (sender.clone(), H::io(stream));
        async move {
            let (mut all, mut some) = (Vec::new(), vec![0; 8 << 10]);
            let all = loop {
                match stream.read(&mut some).await {
                    Ok(0) => break Some(all),
                    Ok(count) => all.extend_from_slice(&some[..count]),
                    Err(_) => break None,
                }
                sleep(Duration::from_millis(1)).await;
            };
            sender.try_send(all).expect("the test waits");
        }
    });
    (services, collected)
}

/// A stream of the link works: something goes there and comes back.
async fn works<H: Host>(link: &Link<H>) {
    assert_eq!(soon(round_trip(open(link, "echo").await, bytes(3000, 1))).await, bytes(3000, 1));
}

/// Nothing but one stream fits on the link: one that is left behind is in the way of every other.
async fn m12_open_stream_dropped_at_any_await_leaves_no_stream<H: Host>() {
    let (alive, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let services = Services::<H>::new().stream("echo", Allow::Anyone, {
        let (alive, begun) = (Arc::clone(&alive), Arc::clone(&begun));
        move |_, stream| {
            let (guard, stream) = (Guard::new(&alive), H::io(stream));
            begun.fetch_add(1, Ordering::SeqCst);
            async move {
                let _guard = guard;
                echo(stream).await;
            }
        }
    });
    let limits = StreamLimits { max_open: 1, ..StreamLimits::default() };
    let limited = builder::<H>(2).streams(limits).build().expect("a configuration");
    let (link, _other) = pair_of((&config::<H>(1), &Services::<H>::new()), (&limited, &services)).await;
    let (mut cuts, mut opened) = (Cuts::new(), 0);
    while cuts.more() {
        opened += usize::from(cuts.is_polled());
        if let Some(stream) = soon(cuts.cut(link.open_stream("echo"))).await {
            let stream = stream.map(H::io).expect("the only one");
            assert_eq!(soon(round_trip(stream, bytes(3000, opened))).await, bytes(3000, opened));
        }
        // One that was given up counts until the peer has given it up as well.
        let next = soon(async {
            loop {
                match link.open_stream("echo").await.map(H::io) {
                    Ok(stream) => return stream,
                    Err(error) => assert_eq!(error, OpenError::TooMany { limit: 1 }),
                }
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        opened += 1;
        assert_eq!(soon(round_trip(next, bytes(3000, opened))).await, bytes(3000, opened));
        until("no handler is left", || alive.load(Ordering::SeqCst) == 0).await;
    }
    assert!(begun.load(Ordering::SeqCst) <= opened);
}

async fn m12_what_a_dropped_read_would_have_read_is_read_by_the_next<H: Host>() {
    const LENGTH: usize = 240_000;
    let services = Services::<H>::new().stream("pour", Allow::Anyone, |_, stream| async move {
        let mut stream = H::io(stream);
        for part in bytes(LENGTH, 5).chunks(3001) {
            stream.write_all(part).await.expect("room");
            // So that the reader has to wait.
            sleep(Duration::from_millis(2)).await;
        }
        stream.close().await.expect("room");
    });
    let (link, _other) = pair::<H>(&services).await;
    let mut stream = open(&link, "pour").await;
    let (mut all, mut some, mut dropped) = (Vec::new(), vec![0; 2048], 0);
    let mut cuts = Cuts::new();
    loop {
        if !cuts.more() {
            cuts = Cuts::new();
        }
        some.fill(255);
        let polled = cuts.is_polled();
        let Some(count) = soon(cuts.cut(stream.read(&mut some))).await else {
            dropped += usize::from(polled);
            assert!(some.iter().all(|byte| *byte == 255), "a read that gave nothing took something");
            continue;
        };
        match count.expect("the stream lives") {
            0 => break,
            count => all.extend_from_slice(&some[..count]),
        }
    }
    assert!(all == bytes(LENGTH, 5), "{} bytes of {LENGTH}", all.len());
    assert!(dropped >= 10, "{dropped} were dropped while they waited");
}

async fn m12_what_a_dropped_write_did_not_report_was_not_written<H: Host>() {
    let (services, collected) = collecting::<H>();
    let (link, _other) = pair::<H>(&services).await;
    let mut stream = open(&link, "collect").await;
    let sent = bytes(900_000, 6);
    let (mut rest, mut dropped, mut cuts) = (&sent[..], 0, Cuts::new());
    while !rest.is_empty() {
        if !cuts.more() {
            cuts = Cuts::new();
        }
        let polled = cuts.is_polled();
        match soon(cuts.cut(stream.write(&rest[..rest.len().min(5000)]))).await {
            Some(count) => rest = &rest[count.expect("the stream lives")..],
            None => dropped += usize::from(polled),
        }
    }
    soon(stream.close()).await.expect("the end");
    let got = soon(collected.recv()).await.expect("a handler").expect("the end, in good order");
    assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
    assert!(dropped >= 10, "{dropped} were dropped while they waited");
}

async fn m12_a_flush_may_be_dropped_at_any_await<H: Host>() {
    let (services, collected) = collecting::<H>();
    let (link, _other) = pair::<H>(&services).await;
    let mut cuts = Cuts::new();
    while cuts.more() {
        let mut stream = open(&link, "collect").await;
        // More than the link holds for a peer that is slow.
        let sent = bytes(150_000, 7);
        soon(stream.write_all(&sent[..140_000])).await.expect("room");
        if let Some(flushed) = soon(cuts.cut(stream.flush())).await {
            flushed.expect("the stream lives");
        }
        soon(stream.write_all(&sent[140_000..])).await.expect("room");
        soon(stream.flush()).await.expect("the stream lives");
        soon(stream.close()).await.expect("the end");
        let got = soon(collected.recv()).await.expect("a handler").expect("the end, in good order");
        assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
    }
    works(&link).await;
}

/// An end that was begun takes its course while the stream is held, whoever waits for it; one that was not leaves
/// the stream as it was.
async fn m12_a_close_dropped_at_any_await_takes_its_course<H: Host>() {
    let (services, collected) = collecting::<H>();
    let (link, _other) = pair::<H>(&services).await;
    let mut cuts = Cuts::new();
    while cuts.more() {
        let mut stream = open(&link, "collect").await;
        let mut sent = bytes(140_000, 8);
        soon(stream.write_all(&sent)).await.expect("room");
        let polled = cuts.is_polled();
        if let Some(closed) = soon(cuts.cut(stream.close())).await {
            closed.expect("the stream lives");
        }
        let more = stream.write_all(b"more");
        if polled {
            let error = soon(more).await.expect_err("nothing behind the end");
            assert_eq!(error_of(&error), StreamError::Ended);
        } else {
            soon(more).await.expect("room");
            sent.extend_from_slice(b"more");
            soon(stream.close()).await.expect("the end");
        }
        let got = soon(collected.recv()).await.expect("a handler").expect("the end, in good order");
        assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
        // It says the same to who asks again.
        soon(stream.close()).await.expect("it has ended");
    }
    works(&link).await;
}

/// Writes that are dropped take no room that a peer who does not read has not given.
async fn m12_m8_dropped_writes_keep_the_backpressure<H: Host>() {
    let gate = Arc::new(Semaphore::new(0));
    let (sender, collected) = unbounded();
    let services = echoing::<H>().stream("slow", Allow::Anyone, {
        let gate = Arc::clone(&gate);
        move |_, stream| {
            let (gate, sender, mut stream) = (Arc::clone(&gate), sender.clone(), H::io(stream));
            async move {
                gate.acquire().await.forget();
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.expect("the end");
                sender.try_send(all).expect("the test waits");
            }
        }
    });
    let (link, _other) = pair::<H>(&services).await;
    let mut stream = open(&link, "slow").await;
    let (sent, mut written, mut dropped) = (bytes(1 << 20, 9), 0, 0);
    // Most are given up at once, the last ones have time to find room.
    while dropped < 300 && written < sent.len() {
        let mut write = pin!(stream.write(&sent[written..sent.len().min(written + 4096)]));
        let time = Duration::from_micros(if dropped < 280 { 100 } else { 10_000 });
        match timeout(time, &mut write).await {
            Some(count) => written += count.expect("the stream lives"),
            None => dropped += 1,
        }
    }
    // A pipe at each end, what the link holds of it unsent, and the window: until its pipe is full the receiver reads, so
    // that it may have doubled with half of 16, of 32 and of 64 KiB.
    let most = 2 * (64 << 10) + (64 << 10) + (128 << 10);
    assert!((16 << 10..=most).contains(&written), "{written} bytes were taken");
    works(&link).await;
    gate.add_permits(1);
    soon(stream.close()).await.expect("the end");
    let got = soon(collected.recv()).await.expect("a handler");
    assert!(got == sent[..written], "{} bytes of {written}", got.len());
}

handclasp_adapters::on_every_host!(
    m12_open_stream_dropped_at_any_await_leaves_no_stream,
    m12_what_a_dropped_read_would_have_read_is_read_by_the_next,
    m12_what_a_dropped_write_did_not_report_was_not_written,
    m12_a_flush_may_be_dropped_at_any_await,
    m12_a_close_dropped_at_any_await_takes_its_course,
    m12_m8_dropped_writes_keep_the_backpressure,
);
