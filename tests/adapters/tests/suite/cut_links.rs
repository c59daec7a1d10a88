//! Futures of links, listeners and requests, dropped at each of their await points.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_channel::unbounded;
use futures_lite::future::{yield_now, zip};
use handclasp::runtime::{Cancelled, Link, Listener, Request, Services, accept_over, connect, connect_over};
use handclasp::services::Allow;
use handclasp::{Dial, Limits, Message, Reason, Why};
use handclasp_adapters::links::{Guard, builder, config, echo, id, listen, pair, pair_of};
use handclasp_adapters::{Cuts, Host, Scope, Scoped, TaskSet, pipe, sleep, soon, spawn, until};

/// The link works: something goes there and comes back.
async fn works<H: Host>(link: &Link<H>) {
    assert_eq!(soon(link.call("echo", "still here")).await.expect("a live link"), "still here");
}

/// A peer that takes one call at a time: one that is left behind is in the way of every other.
async fn calls<H: Host>(fill: usize) {
    let (alive, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let services = echo::<H>().serve("work", Allow::Anyone, {
        let (alive, begun) = (Arc::clone(&alive), Arc::clone(&begun));
        move |request: Request<H>| {
            let guard = Guard::new(&alive);
            begun.fetch_add(1, Ordering::SeqCst);
            async move {
                yield_now().await;
                sleep(Duration::from_millis(1)).await;
                drop(guard);
                Ok(request.body)
            }
        }
    });
    let services = services.on("sink", Allow::Anyone, |_| sleep(Duration::from_millis(1)));
    let limits = Limits { max_calls: 1, window: 64 << 10, max_message: 32 << 10, ..Limits::default() };
    let one = |number| builder::<H>(number).limits(limits).send_buffer(1).build().expect("a configuration");
    let (link, _other) = pair_of((&one(1), &Services::<H>::new()), (&one(2), &services)).await;
    let mut cuts = Cuts::new();
    let mut number = 0_u32;
    while cuts.more() {
        number += 1;
        // So many messages that some calls have to wait for room, too.
        let body = vec![0; 30 << 10];
        for _ in 0..fill {
            if link.try_send(Message::new("sink", &body[..])).is_err() {
                break;
            }
        }
        let answer = soon(
            cuts.cut(link.call_with(Message::new("work", &number.to_be_bytes()), Duration::from_secs(60))),
        )
        .await;
        if let Some(answer) = answer {
            assert_eq!(answer.expect("an answer"), number.to_be_bytes()[..]);
        }
        works(&link).await;
        // It was given up there as well, and its handler is gone.
        until("no handler is left", || alive.load(Ordering::SeqCst) == 0).await;
    }
    assert!(begun.load(Ordering::SeqCst) <= number as usize);
    assert_eq!(soon(link.stats()).await.expired_calls, 0);
}

async fn m3_calls_dropped_at_every_await_leave_nothing_in_flight<H: Host>() {
    calls::<H>(0).await;
}

async fn m3_calls_dropped_while_they_wait_for_room_leave_nothing_in_flight<H: Host>() {
    calls::<H>(100).await;
}

async fn m6_m8_a_send_dropped_at_any_await_is_sent_once_or_not_at_all<H: Host>() {
    let got = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&got);
    let services = echo::<H>().on("log", Allow::Anyone, move |request| {
        let seen = Arc::clone(&seen);
        async move {
            // Slowly, so that senders wait.
            yield_now().await;
            let number = request.body.first_chunk().copied().expect("a number");
            seen.lock().expect("no panic").push(u32::from_be_bytes(number));
        }
    });
    let limits = Limits { window: 64 << 10, max_message: 32 << 10, ..Limits::default() };
    let small = |number| builder::<H>(number).limits(limits).send_buffer(1).build().expect("a configuration");
    let (link, _other) = pair_of((&small(1), &Services::<H>::new()), (&small(2), &services)).await;
    let mut body = vec![0; 30 << 10];
    let (mut sent, mut number, mut waited) = (Vec::new(), 0_u32, 0);
    for _ in 0..20 {
        let mut cuts = Cuts::new();
        while cuts.more() {
            // Until there is no room, so that the next one waits.
            loop {
                body[..4].copy_from_slice(&number.to_be_bytes());
                match link.try_send(Message::new("log", &*body)) {
                    Ok(()) => sent.push(number),
                    Err(full) => {
                        assert_eq!(full.why, Why::Full);
                        break;
                    }
                }
                number += 1;
            }
            let polled = cuts.is_polled();
            match soon(cuts.cut(link.send(Message::new("log", &*body)))).await {
                Some(done) => {
                    done.expect("it is queued");
                    sent.push(number);
                }
                None => waited += usize::from(polled),
            }
            number += 1;
        }
    }
    assert!(waited >= 20, "{waited} were dropped while they waited");
    // All that was sent comes, in order and once, and nothing else.
    works(&link).await;
    until("all there", || got.lock().expect("no panic").len() >= sent.len()).await;
    works(&link).await;
    assert_eq!(*got.lock().expect("no panic"), sent);
}

async fn l3_a_goodbye_dropped_at_any_await_takes_its_course<H: Host>() {
    let mut cuts = Cuts::new();
    while cuts.more() {
        let (link, other) = pair::<H>(&echo()).await;
        let polled = cuts.is_polled();
        let call = spawn::<H, _>({
            let link = link.clone();
            async move { link.call("echo", "under way").await }
        });
        let said = soon(cuts.cut(link.goodbye(7, "that was all"))).await;
        // A call that was under way finishes, one that was not is told.
        match soon(call).await.expect("no panic") {
            Ok(answer) => assert_eq!(answer, "under way"),
            Err(error) => assert!(polled && error.to_string().contains("goodbye"), "{error}"),
        }
        if !polled {
            works(&link).await;
            continue;
        }
        let goodbye = Reason::Goodbye { code: 7, detail: "that was all".into() };
        assert!(said.is_none_or(|closed| closed.reason == goodbye));
        assert_eq!(soon(link.closed()).await.reason, goodbye);
        assert_eq!(soon(other.closed()).await.reason, goodbye);
    }
}

async fn l4_waiting_for_the_end_may_be_dropped_at_any_await<H: Host>() {
    let mut cuts = Cuts::new();
    while cuts.more() {
        let (link, other) = pair::<H>(&echo()).await;
        let ending = spawn::<H, _>(async move {
            sleep(Duration::from_millis(1)).await;
            other.close();
        });
        let closed = soon(cuts.cut(link.closed())).await;
        assert!(closed.is_none_or(|closed| closed.reason == Reason::Dropped));
        assert_eq!(soon(link.closed()).await.reason, Reason::Dropped);
        soon(ending).await.expect("no panic");
    }
}

async fn o1_questions_dropped_at_any_await_harm_nothing<H: Host>() {
    let held = builder::<H>(2).hold_ready().build().expect("a configuration");
    let (link, other) = pair_of((&config::<H>(1), &Services::<H>::new()), (&held, &echo::<H>())).await;
    let mut key = [0; 32];
    let mut here = [0; 32];
    soon(other.export(b"cut", b"", &mut key)).await.expect("keying material");
    let mut cuts = Cuts::new();
    while cuts.more() {
        if let Some(stats) = soon(cuts.cut(link.stats())).await {
            assert!(stats.records_sealed > 0);
        }
        works(&link).await;
    }
    let mut cuts = Cuts::new();
    while cuts.more() {
        if let Some(time) = soon(cuts.cut(link.ping())).await {
            assert!(time.expect("a live link") < Duration::from_secs(30));
        }
        works(&link).await;
    }
    let mut cuts = Cuts::new();
    while cuts.more() {
        here.fill(0);
        match soon(cuts.cut(link.export(b"cut", b"", &mut here))).await {
            Some(exported) => assert!(exported.is_ok() && here == key),
            // It is written at the end only.
            None => assert_eq!(here, [0; 32]),
        }
        works(&link).await;
    }
    // The word is said by the first poll, and holds.
    let mut cuts = Cuts::new();
    let ready = spawn::<H, _>(async move {
        sleep(Duration::from_millis(5)).await;
        (other.ready().await.is_ok(), other)
    });
    while cuts.more() {
        if let Some(ready) = soon(cuts.cut(link.ready())).await {
            ready.expect("both are ready");
        }
        works(&link).await;
    }
    let (is_ready, _other) = soon(ready).await.expect("no panic");
    assert!(is_ready);
}

/// A dial that is given up ends at the other side too, and leaves no task.
async fn d5_connect_dropped_at_any_await_leaves_nothing<H: Host>() {
    let scope = Scope::default();
    let inside = scope.run(async {
        let (mut listener, address) = listen::<Scoped<H>>(&config::<H>(2), &echo()).await;
        let (sender, accepted) = unbounded();
        let accepting = spawn::<Scoped<H>, _>(async move {
            loop {
                let outcome = listener.accept().await;
                if sender.send(outcome).await.is_err() {
                    return;
                }
            }
        });
        let (one, none) = (config::<H>(1), Services::<Scoped<H>>::new());
        let mut cuts = Cuts::new();
        while cuts.more() {
            let dialled = soon(cuts.cut(connect(address, &one, Dial::to(id(2)), &none))).await;
            if let Some(link) = dialled {
                let link = link.expect("a link");
                assert_eq!(soon(link.call("echo", "hello")).await.expect("an answer"), "hello");
            }
            until("no task is left but the one that accepts", || {
                // What came of it at the other side is dropped here, and with it the link.
                while accepted.try_recv().is_ok() {}
                scope.tasks() == 1
            })
            .await;
        }
        accepting.abort();
    });
    inside.await;
}

/// The same over a stream that is there, from either side. The other one never waits for its deadline.
async fn d5_connect_over_and_accept_over_dropped_at_any_await_give_their_stream_up<H: Host>() {
    let scope = Scope::default();
    let inside = scope.run(async {
        for dialler_is_cut in [true, false] {
            let mut cuts = Cuts::new();
            while cuts.more() {
                let (near, far, _) = pipe(4096);
                let (one, two, echo) = (config::<H>(1), config::<H>(2), echo::<Scoped<H>>());
                let none = Services::new();
                let (dial, accept) =
                    (connect_over(near, &one, Dial::to(id(2)), &none), accept_over(far, &two, &echo));
                let (dialled, accepted) = if dialler_is_cut {
                    soon(zip(cuts.cut(dial), async { Some(accept.await) })).await
                } else {
                    soon(zip(async { Some(dial.await) }, cuts.cut(accept))).await
                };
                match (dialled, accepted) {
                    (Some(dialled), Some(accepted)) => {
                        let (dialled, _accepted) = (dialled.expect("a link"), accepted.expect("a link"));
                        assert_eq!(soon(dialled.call("echo", "x")).await.expect("an answer"), "x");
                    }
                    // The side that was not cut may have had its link already; it ends then.
                    (Some(left), None) | (None, Some(left)) => {
                        if let Ok(left) = left {
                            soon(left.closed()).await;
                        }
                    }
                    (None, None) => unreachable!("one side is never cut"),
                }
                until("no task is left", || scope.tasks() == 0).await;
            }
        }
    });
    inside.await;
}

async fn o6_bind_dropped_at_any_await_listens_on_nothing<H: Host>() {
    let (_port, address) = handclasp_adapters::nodes::port();
    let mut cuts = Cuts::new();
    while cuts.more() {
        // The name is what it waits for.
        let name = format!("localhost:{}", address.port());
        let bound = soon(cuts.cut(Listener::<H>::bind(name, &config::<H>(2), &echo()))).await;
        drop(bound.map(|bound| bound.expect("the port is free")));
        let again = Listener::<H>::bind(address, &config::<H>(2), &echo()).await;
        assert_eq!(again.expect("the port is free").local_addr().expect("its address"), address);
    }
}

async fn c7_accept_dropped_at_any_await_loses_no_link_and_no_failure<H: Host>() {
    const EACH: usize = 20;
    let (mut listener, address) = listen::<H>(&config::<H>(2), &echo()).await;
    let mut dials = TaskSet::new();
    for number in 0..2 * EACH {
        dials.spawn::<H>(async move {
            // Every other one is a stranger.
            let one = config::<H>(if number % 2 == 0 { 1 } else { 9 });
            sleep(Duration::from_millis(number as u64)).await;
            connect::<H>(address, &one, Dial::to(id(2)), &Services::new()).await
        });
    }
    let (mut links, mut refused, mut cuts) = (Vec::new(), 0, Cuts::new());
    while links.len() + refused < 2 * EACH {
        if !cuts.more() {
            cuts = Cuts::new();
        }
        match soon(cuts.cut(listener.accept())).await {
            Some(Ok(link)) => links.push(link),
            Some(Err(error)) => {
                assert!(matches!(error.reason(), Some(Reason::Refused(_))), "{error}");
                refused += 1;
            }
            None => yield_now().await,
        }
    }
    assert_eq!((links.len(), refused), (EACH, EACH));
    let mut dialled = Vec::new();
    while let Some(outcome) = soon(dials.join_next()).await {
        dialled.extend(outcome.expect("no panic"));
    }
    assert_eq!(dialled.len(), EACH);
    for link in &dialled {
        works(link).await;
    }
    let bindings = |links: &[Link<H>]| {
        let mut all: Vec<_> = links.iter().map(|link| link.peer().channel_binding).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    assert_eq!(bindings(&links), bindings(&dialled));
    assert_eq!(bindings(&links).len(), EACH);
}

async fn m3_waiting_for_a_cancellation_may_be_dropped_at_any_await<H: Host>() {
    let (sender, tokens) = unbounded::<Cancelled>();
    let services = echo::<H>().serve("hang", Allow::Anyone, move |request: Request<H>| {
        sender.try_send(request.cancelled()).expect("the test waits");
        async move {
            let () = pending().await;
            drop(request);
            unreachable!()
        }
    });
    let (link, _other) = pair(&services).await;
    let mut cuts = Cuts::new();
    while cuts.more() {
        let call = spawn::<H, _>({
            let link = link.clone();
            async move { link.call_with(Message::new("hang", ""), Duration::from_secs(60)).await }
        });
        let token = soon(tokens.recv()).await.expect("the handler began");
        assert!(!token.is_cancelled());
        // With one who waits to the end.
        let waiting = spawn::<H, _>({
            let token = token.clone();
            async move { token.wait().await }
        });
        call.abort();
        soon(cuts.cut(token.wait())).await;
        soon(waiting).await.expect("no panic");
        assert!(token.is_cancelled());
        works(&link).await;
    }
}

handclasp_adapters::on_every_host!(
    m3_calls_dropped_at_every_await_leave_nothing_in_flight,
    m3_calls_dropped_while_they_wait_for_room_leave_nothing_in_flight,
    m6_m8_a_send_dropped_at_any_await_is_sent_once_or_not_at_all,
    l3_a_goodbye_dropped_at_any_await_takes_its_course,
    l4_waiting_for_the_end_may_be_dropped_at_any_await,
    o1_questions_dropped_at_any_await_harm_nothing,
    d5_connect_dropped_at_any_await_leaves_nothing,
    d5_connect_over_and_accept_over_dropped_at_any_await_give_their_stream_up,
    o6_bind_dropped_at_any_await_listens_on_nothing,
    c7_accept_dropped_at_any_await_loses_no_link_and_no_failure,
    m3_waiting_for_a_cancellation_may_be_dropped_at_any_await,
);
