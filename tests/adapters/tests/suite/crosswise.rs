//! Two runtimes in one process, with links between them: `A` dials, `B` listens.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_lock::Semaphore;
use futures_lite::future::zip;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use handclasp::node::{NodeEvent, Permanence};
use handclasp::runtime::{Link, Request, Runtime, Services, StreamError};
use handclasp::services::Allow;
use handclasp::{By, CallError, Executed, Message, Reason};
use handclasp_adapters::links::{Guard, config, echo, hanging, pair_of, tcp_pair, unix_pair};
use handclasp_adapters::nodes::{address, event, id, node, port, start, stop};
use handclasp_adapters::streams::{bytes, echoing, error_of, open, round_trip};
use handclasp_adapters::{Host, TaskSet, sleep, soon, spawn, timeout, until};

/// What tells links apart.
type Binding = [u8; 32];

/// Numbers that came, by the link that brought them.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Binding, u32)>>>);

impl Log {
    fn services<R: Runtime>(&self) -> Services<R> {
        let log = Arc::clone(&self.0);
        echo::<R>().on("log", Allow::Anyone, move |request: Request<R>| {
            let number = request.body.first_chunk().copied().expect("a number");
            let entry = (request.peer.channel_binding, u32::from_be_bytes(number));
            log.lock().expect("no panic").push(entry);
            async {}
        })
    }

    /// The numbers, in order on each link.
    fn numbers(&self) -> Vec<u32> {
        let mut links: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        for (link, number) in &*self.0.lock().expect("no panic") {
            links.entry(*link).or_default().push(*number);
        }
        let mut links: Vec<_> = links.into_values().collect();
        links.sort_by_key(|numbers| numbers.first().copied());
        links.concat()
    }

    fn len(&self) -> usize {
        self.0.lock().expect("no panic").len()
    }
}

/// All that a link does, with the two ends on different runtimes.
async fn works<A: Host, B: Host>((near, far): (Link<A>, Link<B>), log: &Log) {
    assert_eq!(near.peer().channel_binding, far.peer().channel_binding);
    // Calls at once, from tasks of the dialler's runtime.
    let mut calls = TaskSet::new();
    for number in 0..200_u32 {
        let link = near.clone();
        calls.spawn::<A>(async move {
            let body = vec![number.to_be_bytes()[3]; 1 + number as usize * 100];
            assert_eq!(link.call("echo", body.clone()).await.expect("an answer"), body);
        });
    }
    while let Some(call) = soon(calls.join_next()).await {
        call.expect("the right answer");
    }
    // Messages in order, and answers in both directions.
    for number in 0..500_u32 {
        soon(near.send(Message::new("log", &number.to_be_bytes()))).await.expect("sent");
    }
    until("all there", || log.len() == 500).await;
    assert_eq!(log.numbers(), (0..500).collect::<Vec<_>>());
    let nothing = soon(far.call("echo", "")).await.expect_err("the dialler serves nothing");
    assert!(matches!(nothing, CallError::Service(_)), "{nothing}");
    let (here, there) = soon(zip(near.ping(), far.ping())).await;
    assert!(here.is_ok() && there.is_ok());
    let goodbye = Reason::Goodbye { code: 7, detail: "across".into() };
    let closed = soon(near.goodbye(7, "across")).await;
    assert_eq!((&closed.reason, closed.by), (&goodbye, By::Local));
    let closed = soon(far.closed()).await;
    assert_eq!((&closed.reason, closed.by), (&goodbye, By::Peer));
}

async fn o3_a_link_between_two_runtimes_over_tcp<A: Host, B: Host>() {
    let log = Log::default();
    works(tcp_pair::<A, B>(&log.services()).await, &log).await;
}

async fn o3_a_link_between_two_runtimes_over_unix_sockets<A: Host, B: Host>() {
    let log = Log::default();
    works(unix_pair::<A, B>(&log.services()).await, &log).await;
}

async fn o3_a_link_between_two_runtimes_over_a_stream_that_is_neithers<A: Host, B: Host>() {
    let log = Log::default();
    let (one, two) = (config::<A>(1), config::<B>(2));
    works(pair_of((&one, &Services::<A>::new()), (&two, &log.services::<B>())).await, &log).await;
}

async fn m3_a_call_dropped_on_one_runtime_ends_its_handler_on_the_other<A: Host, B: Host>() {
    let (services, alive) = hanging::<B>();
    let (near, _far) = unix_pair::<A, B>(&services).await;
    let running = || alive.load(Ordering::SeqCst);
    let call = spawn::<A, _>({
        let link = near.clone();
        async move { link.call_with(Message::new("hang", ""), Duration::from_secs(60)).await }
    });
    until("the handler runs", || running() == 1).await;
    call.abort();
    until("the handler's future is dropped", || running() == 0).await;
    let error = soon(near.call_with(Message::new("hang", ""), Duration::from_millis(50))).await;
    assert_eq!(error, Err(CallError::DeadlineExceeded { executed: Executed::Unknown }));
    until("the handler's future is dropped", || running() == 0).await;
}

/// Nodes on both runtimes: calls both ways, links that are killed, a listener that restarts, a shutdown.
async fn o3_o4_nodes_on_two_runtimes_keep_one_link<A: Host, B: Host>() {
    let (log, (_port, home)) = (Log::default(), port());
    let ben = start(node::<B>(2).services(&log.services()).listen(home)).await;
    let anna =
        node::<A>(1).services(&echo()).listen("127.0.0.1:0").peer(id(2), [home], Permanence::Permanent);
    let anna = start(anna).await;
    let (to_ben, to_anna) = (anna.peer(id(2)), ben.peer(id(1)));
    to_anna.set_addresses([address(&anna)]);
    let (here, there) = soon(zip(to_ben.call("echo", "there"), to_anna.call("echo", "back"))).await;
    for (answer, text) in [(here, "there"), (there, "back")] {
        match answer {
            Ok(answer) => assert_eq!(answer, text),
            // Of two dials at a time, the one that lost.
            Err(CallError::LinkClosed { reason: Reason::Superseded, .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    // Links are killed from either side while messages go: what was sealed may be lost, the rest comes, in
    // order and once.
    let mut number = 0_u32;
    for kill in 0..10 {
        for _ in 0..100 {
            soon(to_ben.send(Message::new("log", &number.to_be_bytes()))).await.expect("it is queued");
            number += 1;
        }
        sleep(Duration::from_millis(2)).await;
        if kill % 2 == 0 {
            drop(to_ben.link().inspect(Link::close));
        } else {
            drop(to_anna.link().inspect(Link::close));
        }
    }
    // An answer shows that this link lives.
    soon(async { while to_ben.call("echo", "").await.is_err() {} }).await;
    soon(to_ben.send(Message::new("log", &number.to_be_bytes()))).await.expect("it is queued");
    until("the last one", || log.numbers().last() == Some(&number)).await;
    let got = log.numbers();
    assert!(got.is_sorted_by(|one, next| one < next), "out of order or twice: {got:?}");
    // What was sealed when its link was killed may be lost: on a slow machine that is nearly all of it.
    assert!(got.len() > number as usize / 20, "{} of {number}", got.len());
    // The listener goes at once, and another one comes at its place.
    let mut events = anna.events();
    drop((ben, to_anna));
    event(&mut events, |event| matches!(event, NodeEvent::Unlinked { .. }).then_some(())).await;
    let ben = start(node::<B>(2).services(&log.services()).listen(home)).await;
    soon(to_ben.connect()).await.expect("a link");
    assert_eq!(soon(to_ben.call("echo", "again")).await.expect("an answer"), "again");
    let settled = || format!("{anna:?}").contains("links: 1,") && format!("{ben:?}").contains("links: 1,");
    until("one link", settled).await;
    // In good order: the other side hears a goodbye.
    to_ben.set_permanence(Permanence::Ephemeral);
    assert_eq!(stop(ben).await, []);
    let closed = event(&mut events, |event| match event {
        NodeEvent::Unlinked { closed, .. } => Some((closed.reason.name(), closed.by)),
        _ => None,
    });
    assert_eq!(closed.await, ("goodbye", By::Peer));
    assert_eq!(stop(anna).await, []);
}

async fn m12_streams_between_two_runtimes<A: Host, B: Host>() {
    let services = echoing::<B>().stream("reset", Allow::Anyone, |_, stream| async move {
        B::io(stream).reset(7);
    });
    let (near, _far) = unix_pair::<A, B>(&services).await;
    // At once, from tasks of the dialler's runtime.
    let mut streams = TaskSet::new();
    for number in 0..20 {
        let link = near.clone();
        streams.spawn::<A>(async move {
            let sent = bytes(number * 20_000, number);
            assert!(round_trip(open(&link, "echo").await, sent.clone()).await == sent, "stream {number}");
        });
    }
    while let Some(stream) = soon(streams.join_next()).await {
        stream.expect("the same bytes");
    }
    for (name, expected) in [("reset", StreamError::Reset { code: 7 }), ("nobody's", StreamError::Refused)] {
        let error = soon(open(&near, name).await.read(&mut [0; 8])).await.expect_err(name);
        assert_eq!(error_of(&error), expected);
    }
}

/// The listener opens, and the dialler reads only when it is told to.
async fn m12_backpressure_and_the_links_end_between_two_runtimes<A: Host, B: Host>() {
    let (alive, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let services = Services::<A>::new().stream("slow", Allow::Anyone, {
        let (alive, gate) = (Arc::clone(&alive), Arc::clone(&gate));
        move |_, stream| {
            let (guard, gate, mut stream) = (Guard::new(&alive), Arc::clone(&gate), A::io(stream));
            async move {
                let _guard = guard;
                gate.acquire().await.forget();
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.expect("the end");
                stream.write_all(&all).await.expect("room");
                stream.close().await.expect("room");
                pending::<()>().await;
            }
        }
    });
    let (one, two) = (config::<A>(1), config::<B>(2));
    let (near, far) = pair_of((&one, &services), (&two, &Services::<B>::new())).await;
    let sent = bytes(500_000, 1);
    let mut round = std::pin::pin!(round_trip(open(&far, "slow").await, sent.clone()));
    assert!(timeout(Duration::from_millis(200), &mut round).await.is_none(), "nobody reads");
    assert_eq!(soon(far.ping()).await.map(drop), Ok(()));
    gate.add_permits(1);
    assert!(soon(round).await == sent);
    assert_eq!(alive.load(Ordering::SeqCst), 1);
    far.close();
    until("the handler's future is dropped", || alive.load(Ordering::SeqCst) == 0).await;
    soon(near.closed()).await;
}

handclasp_adapters::crosswise!(
    m12_streams_between_two_runtimes,
    m12_backpressure_and_the_links_end_between_two_runtimes,
    o3_a_link_between_two_runtimes_over_tcp,
    o3_a_link_between_two_runtimes_over_unix_sockets,
    o3_a_link_between_two_runtimes_over_a_stream_that_is_neithers,
    m3_a_call_dropped_on_one_runtime_ends_its_handler_on_the_other,
    o3_o4_nodes_on_two_runtimes_keep_one_link,
);
