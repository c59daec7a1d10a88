//! Sends, calls and services over streams in memory.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_channel::{bounded, unbounded};
use async_lock::Semaphore;
use futures_lite::future::yield_now;
use handclasp::runtime::{Handler, Link, Request, Services};
use handclasp::services::Allow;
use handclasp::{
    By, CallError, Capability, Executed, Limits, Message, Priority, Reason, Rejected, ServiceError, Timing,
    Why,
};
use handclasp_adapters::links::{Guard, builder, config, hanging, id, pair, pair_of};
use handclasp_adapters::{Host, TaskSet, sleep, soon, spawn, until};

async fn m1_sends_arrive_in_order_with_their_sender<H: Host>() {
    let (sender, got) = unbounded();
    let services = Services::<H>::new().on("log", Allow::Anyone, move |request: Request<H>| {
        let sender = sender.clone();
        async move {
            // Now and then a handler takes its time: the order stays.
            if request.sequence % 100 == 7 {
                sleep(Duration::from_millis(1)).await;
            }
            sender.try_send((request.peer.id, request.sequence, request.body)).expect("the test waits");
        }
    });
    let (link, _other) = pair(&services).await;
    for number in 0..1000_u32 {
        soon(link.send(Message::new("log", &number.to_be_bytes()))).await.expect("sent");
    }
    for number in 0..1000_u32 {
        let (peer, sequence, body) = soon(got.recv()).await.expect("a message");
        assert_eq!((peer, sequence, &body[..]), (id(1), u64::from(number), &number.to_be_bytes()[..]));
    }
}

async fn m1_many_calls_at_once_each_get_their_own_answer<H: Host>() {
    let services = Services::<H>::new().serve("slow", Allow::Anyone, |request| async move {
        // Every other one is answered later than those behind it.
        if request.body[0] % 2 == 0 {
            sleep(Duration::from_millis(u64::from(request.body[0] % 5))).await;
        }
        Ok(request.body)
    });
    let (link, _other) = pair(&services).await;
    let mut calls = TaskSet::new();
    for number in 0..2000_u32 {
        let link = link.clone();
        calls.spawn::<H>(async move {
            let body = [&number.to_le_bytes()[..1], &number.to_be_bytes()].concat();
            let answer = link.call_with(Message::new("slow", &body[..]), Duration::from_secs(15)).await;
            assert_eq!(answer.expect("an answer"), body);
        });
    }
    // More than the 1024 that the link takes at a time: the rest waits its turn.
    while let Some(done) = soon(calls.join_next()).await {
        done.expect("the right answer");
    }
}

async fn m1_a_handler_may_call_back_over_the_link_that_its_call_came_on<H: Host>() {
    let services = Services::<H>::new().serve("ask", Allow::Anyone, |request| async move {
        let answer = request.link().call("name", "").await;
        Ok(answer.unwrap_or_else(|error| error.to_string().into()))
    });
    let names = Services::<H>::new().serve("name", Allow::Anyone, |_| async { Ok("one".into()) });
    let (link, _other) = pair_of((&config::<H>(1), &names), (&config::<H>(2), &services)).await;
    assert_eq!(soon(link.call("ask", "")).await.expect("an answer"), "one");
}

async fn i9_default_deny_rules_and_withdrawal_while_the_link_lives<H: Host>() {
    let echo = |request: Request<H>| async move { Ok(request.body) };
    let services = Services::<H>::new()
        .serve("open", Allow::Anyone, echo)
        .serve("closed", Allow::default(), echo)
        .serve("one", Allow::listed([id(1)]), echo)
        .serve("two", Allow::listed([id(2)]), echo)
        .serve("able", Allow::capability("extras"), echo)
        .serve("unable", Allow::capability("others"), echo)
        .serve("named", Allow::rule(|peer| peer.hello.name.as_deref() == Some("node-1@test")), echo)
        .serve("panics", Allow::rule(|_| panic!("a broken rule")), echo)
        .on("oneway", Allow::Anyone, |_| async {});
    let able = |number| {
        let extras = Capability::new("extras", 1..=1).expect("a capability");
        builder::<H>(number).capability(extras).build().expect("a configuration")
    };
    let (link, _other) = pair_of((&able(1), &Services::<H>::new()), (&able(2), &services)).await;
    for service in ["open", "one", "able", "named"] {
        assert_eq!(soon(link.call(service, "x")).await.expect(service), "x");
    }
    let denied = |error| Err(CallError::Service(error));
    for service in ["closed", "two", "unable"] {
        assert_eq!(soon(link.call(service, "x")).await, denied(ServiceError::Forbidden), "{service}");
    }
    for service in ["none", "oneway", ""] {
        assert_eq!(soon(link.call(service, "x")).await, denied(ServiceError::NoSuchService), "{service}");
    }
    assert_eq!(soon(link.call("panics", "x")).await, denied(ServiceError::HandlerFailed));

    assert!(services.withdraw("open") && !services.withdraw("open"));
    assert_eq!(soon(link.call("open", "x")).await, denied(ServiceError::NoSuchService));
    services.add("open", Allow::default(), Handler::call(echo)).expect("a short name");
    assert_eq!(soon(link.call("open", "x")).await, denied(ServiceError::Forbidden));
    services.add("open", Allow::Anyone, Handler::call(echo)).expect("a short name");
    assert_eq!(soon(link.call("open", "x")).await.expect("offered again"), "x");
}

async fn m5_errors_of_handlers_reach_the_caller_and_harm_nothing<H: Host>() {
    let services = Services::<H>::new()
        .serve("own", Allow::Anyone, |request| async move {
            Err(ServiceError::Application { code: 77, detail: request.body })
        })
        .serve("panic", Allow::Anyone, |_| async { panic!("at once") })
        .serve("later", Allow::Anyone, |_| async {
            yield_now().await;
            panic!("later")
        })
        .serve("huge", Allow::Anyone, |_| async { Ok(vec![0; 5000].into()) })
        .serve("verbose", Allow::Anyone, |_| async {
            Err(ServiceError::Application { code: 1, detail: vec![0; 5000].into() })
        })
        .on("panic", Allow::Anyone, |_| async { panic!("one way") })
        .on("boom", Allow::Anyone, |_| async { panic!("one way") })
        .serve("panic", Allow::Anyone, |_| async { panic!("at once") })
        .serve("echo", Allow::Anyone, |request| async move { Ok(request.body) });
    let small = |number| {
        let limits = Limits { max_message: 4096, ..Limits::default() };
        builder::<H>(number).limits(limits).build().expect("a configuration")
    };
    let (link, _other) = pair_of((&small(1), &Services::<H>::new()), (&small(2), &services)).await;
    let failed = |error| Err(CallError::Service(error));
    let own = ServiceError::Application { code: 77, detail: "why".into() };
    assert_eq!(soon(link.call("own", "why")).await, failed(own));
    for service in ["panic", "later", "verbose"] {
        assert_eq!(soon(link.call(service, "")).await, failed(ServiceError::HandlerFailed), "{service}");
    }
    assert_eq!(soon(link.call("huge", "")).await, failed(ServiceError::TooLarge { limit: 4096 }));
    // The sender is told of its own too large message, and of an impossible name, at once.
    assert_eq!(soon(link.call("echo", vec![0; 4097])).await, failed(ServiceError::TooLarge { limit: 4096 }));
    let rejected = soon(link.send(Message::new("echo", vec![1; 4097]))).await.expect_err("too large");
    assert_eq!((rejected.why, rejected.message.body.len()), (Why::TooLarge { limit: 4096 }, 4097));
    let name = "x".repeat(256);
    assert_eq!(soon(link.call(&name, "")).await, failed(ServiceError::NoSuchService));
    // One-way messages to a panicking handler, to none, and to one for calls.
    for service in ["boom", "none", "echo"] {
        soon(link.send(Message::new(service, "x"))).await.expect("sent");
    }
    assert_eq!(soon(link.call("echo", "alive")).await.expect("a live link"), "alive");
}

async fn m3_dropping_a_call_cancels_it_at_the_other_side_after_every_poll<H: Host>() {
    let (services, alive) = hanging::<H>();
    let services = services.serve("echo", Allow::Anyone, |request| async move { Ok(request.body) });
    let (link, _other) = pair(&services).await;
    for polls in 0..6 {
        {
            // With more time than the test has: the deadline ends nothing here.
            let mut call = pin!(link.call_with(Message::new("hang", "x"), Duration::from_secs(60)));
            for _ in 0..polls {
                let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(matches!(polled, Poll::Pending));
                // Whatever is under way gets its turn.
                sleep(Duration::from_millis(2)).await;
            }
            if polls > 2 {
                until("the handler runs", || alive.load(Ordering::SeqCst) == 1).await;
            }
        }
        until("the handler's future is dropped", || alive.load(Ordering::SeqCst) == 0).await;
        assert_eq!(soon(link.call("echo", "next")).await.expect("a live link"), "next");
    }
}

async fn m3_time_out_ends_the_call_on_both_sides<H: Host>() {
    let (services, alive) = hanging::<H>();
    let (link, _other) = pair(&services).await;
    let error = soon(link.call_with(Message::new("hang", ""), Duration::from_millis(50))).await;
    assert_eq!(error, Err(CallError::DeadlineExceeded { executed: Executed::Unknown }));
    until("the handler's future is dropped", || alive.load(Ordering::SeqCst) == 0).await;
}

/// Sends to a service that takes nothing until the link takes nothing more, however long one tries; gives how
/// many messages it took.
async fn fill<H: Host>(link: &Link<H>, body: &[u8]) -> usize {
    let (mut sent, mut refused) = (0, 0);
    while refused < 5 {
        if link.try_send(Message::new("stuck", body)).is_ok() {
            (sent, refused) = (sent + 1, 0);
        } else {
            refused += 1;
            // Both sides had their turn, and what was on its way has come.
            soon(link.ping()).await.expect("a live link");
        }
        assert!(sent < 1000, "60 MB were taken and nobody handles them");
    }
    sent
}

async fn m3_a_call_that_finds_no_room_keeps_its_deadline<H: Host>() {
    // Nobody reads the other end's messages: everything fills up, the wait for room included.
    let services = Services::<H>::new().on("stuck", Allow::Anyone, |_| pending());
    let (link, _other) = pair(&services).await;
    let body = vec![0; 60_000];
    assert!(fill(&link, &body).await > 0);
    let mut calls = Vec::new();
    for _ in 0..10 {
        let (link, body) = (link.clone(), body.clone());
        calls.push(spawn::<H, _>(async move {
            link.call_with(Message::new("stuck", body), Duration::from_millis(100)).await
        }));
    }
    for call in calls {
        let error = soon(call).await.expect("no panic");
        assert_eq!(error, Err(CallError::DeadlineExceeded { executed: Executed::No }));
    }
}

async fn m3_a_handler_sees_when_nobody_waits_any_more<H: Host>() {
    let (sender, tokens) = unbounded();
    let services = Services::<H>::new().serve("work", Allow::Anyone, move |request: Request<H>| {
        assert!(request.deadline.is_some_and(|deadline| deadline > std::time::Instant::now()));
        sender.try_send(request.cancelled()).expect("the test waits");
        async move {
            let () = pending().await;
            drop(request);
            unreachable!()
        }
    });
    let (link, _other) = pair(&services).await;
    let call = spawn::<H, _>({
        let link = link.clone();
        async move { link.call_with(Message::new("work", ""), Duration::from_secs(60)).await }
    });
    let token = soon(tokens.recv()).await.expect("the handler began");
    assert!(!token.is_cancelled());
    call.abort();
    soon(token.wait()).await;
    assert!(token.is_cancelled());
}

async fn m8_a_slow_handler_holds_the_sender_back_and_try_send_returns_the_message<H: Host>() {
    let gate = Arc::new(Semaphore::new(0));
    let (done, handled) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&gate));
    let count = Arc::clone(&done);
    let services = Services::<H>::new().on("work", Allow::Anyone, move |_| {
        let (gate, count) = (Arc::clone(&handled), Arc::clone(&count));
        async move {
            gate.acquire().await.forget();
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let limits = Limits { max_message: 16 << 10, window: 64 << 10, ..Limits::default() };
    let small = |number| {
        let builder = builder::<H>(number).limits(limits).send_buffer(64 << 10);
        builder.build().expect("a configuration")
    };
    let (link, _other) = pair_of((&small(1), &Services::<H>::new()), (&small(2), &services)).await;
    let body = vec![3; 8 << 10];
    let mut sent = 0;
    // Everything between here and the handler fills up, and then nothing more is taken, however long one tries.
    let mut refused = 0;
    while refused < 100 {
        match link.try_send(Message::new("work", &body[..])) {
            Ok(()) => (sent, refused) = (sent + 1, 0),
            Err(rejected) => {
                assert_eq!((rejected.why, rejected.message.body.len()), (Why::Full, body.len()));
                refused += 1;
                sleep(Duration::from_millis(1)).await;
            }
        }
        assert!(sent < 200, "1.6 MB were taken by a link with windows of 64 KiB");
    }
    assert!(sent > 8, "at least the window fits");
    let mut waiting = pin!(link.send(Message::new("work", &body[..])));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    gate.add_permits(1 << 20);
    soon(waiting).await.expect("room again");
    until("everything is handled", || done.load(Ordering::SeqCst) == sent + 1).await;
}

async fn m7_an_urgent_call_overtakes_a_queue_of_bulk<H: Host>() {
    let services = Services::<H>::new().on("sink", Allow::Anyone, |_| async {}).serve(
        "echo",
        Allow::Anyone,
        |request| async move { Ok(request.body) },
    );
    let (link, _other) = pair(&services).await;
    let bulk = spawn::<H, _>({
        let link = link.clone();
        async move {
            for _ in 0..100 {
                let message = Message::new("sink", vec![0; 100_000]).priority(Priority::Bulk);
                link.send(message).await.expect("sent");
            }
        }
    });
    yield_now().await;
    let call = Message::new("echo", "x").priority(Priority::Urgent);
    assert_eq!(soon(link.call_with(call, Duration::from_secs(10))).await.expect("an answer"), "x");
    assert!(!bulk.is_finished(), "10 MB were through before one call");
    soon(bulk).await.expect("all sent");
}

async fn l3_goodbye_lets_calls_finish_and_refuses_new_work<H: Host>() {
    let (release, released) = bounded::<()>(1);
    let released = Arc::new(Mutex::new(Some(released)));
    let (sender, got) = unbounded();
    let services = Services::<H>::new()
        .serve("slow", Allow::Anyone, move |_| {
            let released = released.lock().expect("no panic").take();
            async move {
                released.expect("one call").recv().await.expect("released");
                Ok("finished".into())
            }
        })
        .on("log", Allow::Anyone, move |request: Request<H>| {
            sender.try_send(request.body).expect("the test waits");
            async {}
        });
    let (link, other) = pair(&services).await;
    let call = spawn::<H, _>({
        let link = link.clone();
        async move { link.call("slow", "").await }
    });
    soon(link.ping()).await.expect("a live link");
    for number in 0..50 {
        soon(link.send(Message::new("log", vec![number; 2000]))).await.expect("sent");
    }
    let goodbye = spawn::<H, _>({
        let link = link.clone();
        async move { link.goodbye(3, "bye").await }
    });
    // What was queued before the goodbye arrives.
    for number in 0..50 {
        assert_eq!(soon(got.recv()).await.expect("a message"), vec![number; 2000]);
    }
    let rejected = loop {
        match other.try_send(Message::new("x", "late")) {
            Ok(()) | Err(Rejected { why: Why::Full, .. }) => yield_now().await,
            Err(rejected) => break rejected,
        }
    };
    assert_eq!(rejected.why, Why::Draining);
    let why = Reason::Goodbye { code: 3, detail: "bye".into() };
    assert_eq!(
        soon(link.call("slow", "")).await,
        Err(CallError::LinkClosed { reason: why.clone(), executed: Executed::No })
    );
    assert!(!goodbye.is_finished(), "a call is in flight");
    release.try_send(()).expect("the handler waits");
    assert_eq!(soon(call).await.expect("no panic").expect("an answer"), "finished");
    assert_eq!(soon(goodbye).await.expect("no panic").reason, why);
    let closed = soon(other.closed()).await;
    assert_eq!((closed.reason, closed.by), (why, By::Peer));
}

async fn l3_dropping_the_last_handle_closes_the_link_and_its_handlers<H: Host>() {
    let (services, alive) = hanging::<H>();
    let (link, other) = pair(&services).await;
    let second = link.clone();
    let call = spawn::<H, _>(async move { second.call("hang", "").await });
    until("the handler runs", || alive.load(Ordering::SeqCst) == 1).await;
    drop(link);
    assert!(other.try_closed().is_none(), "a call holds a handle");
    call.abort();
    let closed = soon(other.closed()).await;
    assert_eq!((closed.reason, closed.by), (Reason::Dropped, By::Peer));
    assert_eq!(alive.load(Ordering::SeqCst), 0, "a handler outlives its link");
}

async fn l3_what_was_not_delivered_comes_back<H: Host>() {
    let services = Services::<H>::new().on("stuck", Allow::Anyone, |_| pending());
    let timing = Timing { drain: Duration::from_millis(100), ..Timing::default() };
    let patient = builder::<H>(2).timing(timing).build().expect("a configuration");
    let (link, other) = pair_of((&config::<H>(1), &Services::<H>::new()), (&patient, &services)).await;
    let body = vec![0; 60_000];
    let sent = fill(&link, &body).await;
    link.close();
    let closed = soon(link.closed()).await;
    let unsent = link.take_unsent();
    assert_eq!(unsent.len(), closed.unsent, "all of it comes back");
    assert!(unsent.len() > 1 && unsent.len() < sent, "{} of {sent}", unsent.len());
    assert!(unsent.iter().all(|message| message.service == "stuck" && message.body.len() == body.len()));
    assert!(link.take_unsent().is_empty(), "once");
    // The side whose handler is stuck ends as well, in its own time.
    soon(other.closed()).await;
}

async fn m1_a_message_handler_may_call_back_over_its_link<H: Host>() {
    let (sender, got) = unbounded();
    let services = Services::<H>::new().on("ask", Allow::Anyone, move |request: Request<H>| {
        let sender = sender.clone();
        async move {
            sender.try_send(request.link().call("name", "").await).expect("the test waits");
        }
    });
    let names = Services::<H>::new().serve("name", Allow::Anyone, |_| async { Ok("one".into()) });
    let (link, _other) = pair_of((&config::<H>(1), &names), (&config::<H>(2), &services)).await;
    for _ in 0..10 {
        soon(link.send(Message::new("ask", ""))).await.expect("sent");
    }
    for _ in 0..10 {
        assert_eq!(soon(got.recv()).await.expect("an answer").expect("a name"), "one");
    }
}

async fn m3_calls_given_up_at_any_moment_leave_no_trace<H: Host>() {
    let alive = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&alive);
    let services = Services::<H>::new()
        .serve("maybe", Allow::Anyone, move |request: Request<H>| {
            let guard = Guard::new(&counter);
            async move {
                for _ in 0..request.body[0] % 4 {
                    yield_now().await;
                }
                drop(guard);
                Ok(request.body)
            }
        })
        .serve("echo", Allow::Anyone, |request| async move { Ok(request.body) });
    let (link, _other) = pair(&services).await;
    let mut tasks = TaskSet::new();
    for task in 0..16_u8 {
        let link = link.clone();
        tasks.spawn::<H>(async move {
            let mut answered = 0;
            for call in 0..200_u8 {
                let body = [call, task];
                // As many polls as there is patience for.
                let mut patience = call % 7;
                let mut future = pin!(link.call("maybe", &body));
                let answer = std::future::poll_fn(|context| match future.as_mut().poll(context) {
                    Poll::Ready(answer) => Poll::Ready(Some(answer)),
                    Poll::Pending if patience == 0 => Poll::Ready(None),
                    Poll::Pending => {
                        patience -= u8::from(call % 3 != 0);
                        if call % 3 != 0 {
                            context.waker().wake_by_ref();
                        }
                        Poll::Pending
                    }
                })
                .await;
                if let Some(answer) = answer {
                    assert_eq!(answer.expect("an answer"), body[..]);
                    answered += 1;
                }
            }
            answered
        });
    }
    let mut answered = 0;
    while let Some(task) = soon(tasks.join_next()).await {
        answered += task.expect("the right answers");
    }
    assert!(answered > 500, "only {answered} calls were answered");
    assert_eq!(soon(link.call("echo", "still here")).await.expect("a live link"), "still here");
    until("no handler is left", || alive.load(Ordering::SeqCst) == 0).await;
}

handclasp_adapters::on_every_host!(
    m1_sends_arrive_in_order_with_their_sender,
    m1_many_calls_at_once_each_get_their_own_answer,
    m1_a_handler_may_call_back_over_the_link_that_its_call_came_on,
    i9_default_deny_rules_and_withdrawal_while_the_link_lives,
    m5_errors_of_handlers_reach_the_caller_and_harm_nothing,
    m3_dropping_a_call_cancels_it_at_the_other_side_after_every_poll,
    m3_time_out_ends_the_call_on_both_sides,
    m3_a_call_that_finds_no_room_keeps_its_deadline,
    m3_a_handler_sees_when_nobody_waits_any_more,
    m8_a_slow_handler_holds_the_sender_back_and_try_send_returns_the_message,
    m7_an_urgent_call_overtakes_a_queue_of_bulk,
    l3_goodbye_lets_calls_finish_and_refuses_new_work,
    l3_dropping_the_last_handle_closes_the_link_and_its_handlers,
    l3_what_was_not_delivered_comes_back,
    m1_a_message_handler_may_call_back_over_its_link,
    m3_calls_given_up_at_any_moment_leave_no_trace,
);
