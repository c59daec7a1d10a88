//! Streams and listeners that the system fails.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use futures_lite::future::zip;
use handclasp::node::Permanence;
use handclasp::runtime::{
    AcceptError, ConnectError, Link, Listener, Runtime, Services, accept_over, connect, connect_over,
};
use handclasp::{By, CallError, Dial, Executed, Phase, Reason};
use handclasp_adapters::links::{config, hanging, id};
use handclasp_adapters::nodes::{address, echo, node, start};
use handclasp_adapters::{
    Flaw, Flawed, FlawedStream, Host, Scoped, Switch, pipe, soon, spawn, timeout, until,
};
use tracing::instrument::WithSubscriber;

use crate::log::Log;

/// Node 1 dials node 2 over a stream that goes wrong at its end when the switch says so.
async fn flawed<H: Host>(services: &Services<H>) -> (Link<H>, Link<H>, Switch) {
    let ((near, far, _), switch) = (pipe(64 << 10), Switch::default());
    let (one, two, none) = (config::<H>(1), config::<H>(2), Services::<H>::new());
    let (dialled, accepted) = soon(zip(
        connect_over(FlawedStream::new(near, &switch), &one, Dial::to(id(2)), &none),
        accept_over(far, &two, services),
    ))
    .await;
    (dialled.expect("a link"), accepted.expect("a link"), switch)
}

async fn l5_m4_a_stream_that_fails_ends_its_link_with_the_system_s_error<H: Host>() {
    let flaws = [
        (Flaw::Read(ErrorKind::ConnectionReset), Some(ErrorKind::ConnectionReset)),
        (Flaw::Write(ErrorKind::BrokenPipe), Some(ErrorKind::BrokenPipe)),
        (Flaw::Flush(ErrorKind::StorageFull), Some(ErrorKind::StorageFull)),
        // It is the stream's doing, and there is no error to show.
        (Flaw::WriteZero, None),
    ];
    for (flaw, kind) in flaws {
        let (services, alive) = hanging::<H>();
        let (link, other, switch) = flawed(&services).await;
        let waiting = spawn::<H, _>({
            let link = link.clone();
            async move { link.call("hang", "").await }
        });
        until("the handler runs", || alive.load(std::sync::atomic::Ordering::SeqCst) == 1).await;
        assert!(link.transport_error().is_none() && link.try_closed().is_none());
        switch.set(flaw);
        // Bytes move both ways.
        let (here, there) = (link.clone(), other.clone());
        let pings =
            spawn::<H, _>(async move { zip(here.ping(), there.ping()).await.0.map_err(|closed| *closed) });
        let closed = soon(link.closed()).await;
        assert_eq!((&closed.reason, closed.by), (&Reason::Transport, By::Transport), "{flaw:?}: {closed}");
        assert_eq!(closed.phase, Phase::Established, "{flaw:?}");
        assert_eq!(link.transport_error().map(|error| error.kind()), kind, "{flaw:?}");
        let failed = CallError::LinkClosed { reason: Reason::Transport, executed: Executed::Unknown };
        assert_eq!(soon(waiting).await.expect("no panic"), Err(failed), "{flaw:?}");
        assert_eq!(soon(pings).await.expect("no panic"), Err(closed), "{flaw:?}");
        // The other side sees the stream end, and its handlers go.
        let closed = soon(other.closed()).await;
        assert_eq!((&closed.reason, closed.by), (&Reason::Truncated, By::Transport), "{flaw:?}: {closed}");
        assert_eq!(alive.load(std::sync::atomic::Ordering::SeqCst), 0, "{flaw:?}");
    }
}

async fn l5_a_stream_that_fails_from_the_start_makes_no_link<H: Host>() {
    for flaw in [
        Flaw::Read(ErrorKind::ConnectionReset),
        Flaw::Write(ErrorKind::BrokenPipe),
        Flaw::Flush(ErrorKind::StorageFull),
        Flaw::WriteZero,
    ] {
        let ((near, far, _), switch) = (pipe(64 << 10), Switch::default());
        switch.set(flaw);
        let (one, two, none) = (config::<H>(1), config::<H>(2), Services::<H>::new());
        let (dialled, accepted) = soon(zip(
            connect_over(FlawedStream::new(near, &switch), &one, Dial::to(id(2)), &none),
            accept_over(far, &two, &none),
        ))
        .await;
        let closed = dialled.expect_err("no stream");
        assert_eq!((&closed.reason, closed.by), (&Reason::Transport, By::Transport), "{flaw:?}: {closed}");
        assert_eq!(accepted.expect_err("no stream").reason, Reason::Truncated, "{flaw:?}");
    }
}

/// How long a listener leaves the system alone that could give it no connection.
const PAUSE: Duration = Duration::from_millis(100);

async fn c6_c7_a_listener_passes_over_lost_connections_and_tells_what_the_system_lacks<H: Host>() {
    let mut listener =
        Listener::<Flawed<H>>::bind("127.0.0.1:0", &config::<H>(2), &echo()).await.expect("a port");
    let home = listener.local_addr().expect("its address");
    let dial = || {
        spawn::<H, _>(async move {
            let link = connect(home, &config::<H>(1), Dial::to(id(2)), &Services::<H>::new()).await?;
            link.call("echo", "in").await.expect("an answer");
            Ok::<_, ConnectError>(link)
        })
    };
    // A connection; behind it one that was lost, which nobody hears of; and then the system has no more. The
    // handshake under way is not disturbed by that, and may end before or behind.
    let first = dial();
    let (mut link, mut failed) = (None, None);
    while link.is_none() || failed.is_none() {
        match soon(listener.accept()).await {
            Ok(accepted) => assert!(link.replace(accepted).is_none(), "only one has dialled"),
            Err(AcceptError::Listener(error)) => assert!(failed.replace((error, Instant::now())).is_none()),
            Err(error) => panic!("{error}"),
        }
    }
    let (Some(link), Some((error, begun))) = (link, failed) else { unreachable!("both are there") };
    assert_eq!((error.kind(), link.peer().id), (ErrorKind::OutOfMemory, id(1)));
    let first = soon(first).await.expect("no panic").expect("a link");
    // And after a while it takes connections again.
    let second = dial();
    let other = soon(listener.accept()).await.expect("the second link");
    assert!(begun.elapsed() >= PAUSE, "{:?}", begun.elapsed());
    let second = soon(second).await.expect("no panic").expect("a link");
    assert_ne!(link.peer().channel_binding, other.peer().channel_binding);
    assert_eq!(second.peer().channel_binding, other.peer().channel_binding);
    drop(first);
}

async fn c6_c7_a_node_s_listener_goes_on_when_the_system_has_no_connection_to_give<H: Host>() {
    let log = Log::default();
    node_s_listener::<H, Flawed<Scoped<H>>>(&log).with_subscriber(log.subscriber()).await;
}

async fn node_s_listener<H: Host, R: Runtime>(log: &Log) {
    let ben = start(node::<R>(2).services(&echo()).listen("127.0.0.1:0")).await;
    for number in [1, 3] {
        let other = node::<H>(number).peer(id(2), [address(&ben)], Permanence::Ephemeral);
        let other = start(other).await;
        assert_eq!(soon(other.peer(id(2)).call("echo", "in")).await.expect("an answer"), "in");
        if number == 1 {
            until("it is told", || log.text().contains("listener_failed")).await;
        }
    }
    let text = log.text();
    // Once, and not of connections that were lost on the way.
    let told: Vec<_> = text.lines().filter(|line| line.contains("listener_failed")).collect();
    let [line] = told[..] else { panic!("{text}") };
    let error = std::io::Error::from(ErrorKind::OutOfMemory).to_string();
    assert!(line.contains(" WARN ") && line.contains(&error), "{line}");
}

/// Who is turned away over a stream that takes nothing is let go of all the same.
async fn c6_a_refusal_that_cannot_be_written_keeps_nobody<H: Host>() {
    let two = config::<H>(2);
    let socket = Flawed::<H>::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let switch = socket.switch.clone();
    let mut listener = Listener::<Flawed<H>>::over(socket, &two, &Services::new()).capacity(1);
    let home = listener.local_addr().expect("its address");
    let _silent = TcpStream::connect(home).expect("a connection");
    assert!(matches!(soon(listener.accept()).await, Err(AcceptError::Listener(_))));
    switch.set(Flaw::WriteZero);
    let dialled = spawn::<H, _>(async move {
        let dialled = connect(home, &config::<H>(1), Dial::to(id(2)), &Services::<H>::new()).await;
        dialled.map(|_| ()).map_err(|error| error.reason().cloned())
    });
    let refused = soon(listener.accept()).await.expect_err("no room");
    assert!(matches!(refused, AcceptError::OverCapacity { .. }), "{refused}");
    // The refusal runs while the listener is asked.
    let told = soon(async {
        loop {
            let accepting = timeout(Duration::from_millis(10), listener.accept()).await;
            assert!(accepting.is_none(), "nobody else came");
            if dialled.is_finished() {
                return dialled.await.expect("no panic");
            }
        }
    });
    let reason = told.await.expect_err("refused").expect("it had a stream");
    assert!(matches!(reason, Reason::Truncated | Reason::Transport), "{reason}");
}

handclasp_adapters::on_every_host!(
    l5_m4_a_stream_that_fails_ends_its_link_with_the_system_s_error,
    l5_a_stream_that_fails_from_the_start_makes_no_link,
    c6_c7_a_listener_passes_over_lost_connections_and_tells_what_the_system_lacks,
    c6_c7_a_node_s_listener_goes_on_when_the_system_has_no_connection_to_give,
    c6_a_refusal_that_cannot_be_written_keeps_nobody,
);
