//! Links over real sockets.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use async_channel::unbounded;
use futures_lite::future::zip;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use handclasp::runtime::{
    AcceptError, ConnectError, Direction, Listener, Services, accept_over, connect, incarnation,
};
use handclasp::services::Allow;
use handclasp::{
    By, CallError, ClusterSecret, Config, Dial, Executed, Message, Reason, Refusal, Retry, Trust,
};
use handclasp_adapters::links::{builder, config, echo, id, key, listen, unix_pair};
use handclasp_adapters::{Host, pipe, soon, spawn};

async fn m1_calls_go_both_ways_over_tcp_and_handlers_see_the_authenticated_peer<H: Host>() {
    let who = |services: Services<H>| {
        services.serve("who", Allow::Anyone, |request| async move {
            assert_eq!(request.service(), "who");
            Ok(request.peer.id.to_string().into())
        })
    };
    let (mut listener, address) = listen(&config::<H>(2), &who(echo())).await;
    let (config, services) = (config::<H>(1), who(Services::<H>::new()));
    let (dialled, accepted) =
        soon(zip(connect(address, &config, Dial::to(id(2)), &services), listener.accept())).await;
    let (dialled, accepted) = (dialled.expect("a link"), accepted.expect("a link"));

    assert_eq!((dialled.peer().id, dialled.peer().direction), (id(2), Direction::Outbound));
    assert_eq!((accepted.peer().id, accepted.peer().direction), (id(1), Direction::Inbound));
    assert_eq!(dialled.peer().remote, Some(address));
    assert!(accepted.peer().remote.is_some_and(|remote| remote.ip().is_loopback()));
    assert_eq!(dialled.peer().name(), Some("node-2@test"));
    assert_eq!((dialled.peer().version(), accepted.peer().version()), (1, 1));
    assert_eq!(dialled.peer().channel_binding, accepted.peer().channel_binding);

    assert_eq!(soon(dialled.call("echo", "hello")).await.expect("an answer"), "hello");
    assert_eq!(soon(dialled.call("who", "")).await.expect("an answer"), id(1).to_string());
    assert_eq!(soon(accepted.call("who", "")).await.expect("an answer"), id(2).to_string());
    let large = vec![7; 1 << 20];
    assert_eq!(soon(dialled.call("echo", large.clone())).await.expect("an answer"), large);

    assert!(soon(dialled.ping()).await.expect("a live link") < Duration::from_secs(5));
    let (mut here, mut there) = ([0; 48], [0; 48]);
    soon(dialled.export(b"test", b"", &mut here)).await.expect("keying material");
    soon(accepted.export(b"test", b"", &mut there)).await.expect("keying material");
    assert_eq!(here, there);
    assert_ne!(here, [0; 48]);
    dialled.rekey();
    assert_eq!(soon(dialled.call("echo", "after")).await.expect("an answer"), "after");
    let stats = soon(dialled.stats()).await;
    assert!(stats.rekeys_sent == 1 && stats.messages_sent == 5 && stats.rtt.is_some(), "{stats:?}");

    let closed = soon(dialled.goodbye(7, "done")).await;
    let why = Reason::Goodbye { code: 7, detail: "done".into() };
    assert_eq!((&closed.reason, closed.by), (&why, By::Local));
    let closed = soon(accepted.closed()).await;
    assert_eq!((&closed.reason, closed.by), (&why, By::Peer));
    assert_eq!(
        soon(dialled.call("echo", "")).await,
        Err(CallError::LinkClosed { reason: why, executed: Executed::No })
    );
    // Figures and questions outlive the link.
    assert_eq!(soon(dialled.stats()).await.messages_sent, 5);
    assert!(soon(dialled.ping()).await.is_err());
}

async fn o3_a_link_lives_on_a_unix_socket<H: Host>() {
    let (dialled, accepted) = unix_pair::<H, H>(&echo::<H>()).await;
    assert_eq!(dialled.peer().remote, None);
    assert_eq!(soon(dialled.call("echo", "unix")).await.expect("an answer"), "unix");
    soon(dialled.goodbye(0, "")).await;
    assert_eq!(soon(accepted.closed()).await.by, By::Peer);
}

async fn o6_several_listeners_report_their_ports_and_dual_stack_takes_both<H: Host>() {
    let (first, address) = listen(&config::<H>(2), &echo::<H>()).await;
    let (_second, other) = listen(&config::<H>(2), &echo::<H>()).await;
    assert!(address.port() != 0 && other.port() != 0 && address != other);
    drop(first);
    let Ok(mut both) = Listener::bind("[::]:0", &config::<H>(2), &echo::<H>()).await else {
        // A machine without IPv6 has nothing to show.
        return;
    };
    let port = both.local_addr().expect("its address").port();
    let accepting = spawn::<H, _>(async move {
        for _ in 0..2 {
            both.accept().await.expect("a link");
        }
    });
    for host in ["127.0.0.1", "::1"] {
        let link =
            soon(connect(format!("{host}:{port}"), &config::<H>(1), Dial::to(id(2)), &Services::<H>::new()))
                .await;
        assert_eq!(link.expect("a link").peer().id, id(2), "over {host}");
    }
    soon(accepting).await.expect("two links");
}

async fn h6_a_stranger_is_refused_with_the_reason_on_both_sides<H: Host>() {
    let (mut listener, address) = listen(&config::<H>(2), &echo::<H>()).await;
    let stranger =
        Config::builder(key(9), incarnation::<H>()).trust(Trust::Anyone).build().expect("a configuration");
    let none = Services::<H>::new();
    let (dialled, accepted) =
        soon(zip(connect(address, &stranger, Dial::to(id(2)), &none), listener.accept())).await;
    let error = dialled.expect_err("a refusal");
    assert_eq!(error.reason(), Some(&Reason::Refused(Refusal::Denied)));
    assert_eq!(error.retry(), Retry::Never);
    assert!(error.to_string().contains("add it to the trust"), "{error}");
    let error = accepted.expect_err("a refusal");
    assert_eq!(error.reason(), Some(&Reason::Refused(Refusal::Denied)));
    assert!(error.to_string().contains(&id(9).to_string()), "{error}");
    assert!(error.remote().is_some());
}

async fn i8_another_cluster_secret_fails_the_key_exchange_on_both_sides<H: Host>() {
    let with = |number, secret: &str| {
        let secret = ClusterSecret::new(secret).expect("long enough");
        builder::<H>(number).cluster_secret(secret).build().expect("a configuration")
    };
    let (mut listener, address) = listen(&with(2, "the secret of these nodes"), &echo::<H>()).await;
    let (other, none) = (with(1, "some other secret of nodes"), Services::<H>::new());
    let (dialled, accepted) =
        soon(zip(connect(address, &other, Dial::to(id(2)), &none), listener.accept())).await;
    assert_eq!(accepted.expect_err("no link").reason(), Some(&Reason::KeyExchangeFailed));
    let error = dialled.expect_err("no link");
    assert!(matches!(error, ConnectError::Closed(_)), "{error:?}");
}

async fn i6_another_peer_than_the_pinned_one_is_told_apart<H: Host>() {
    let (mut listener, address) = listen(&config::<H>(2), &echo::<H>()).await;
    let accepting = spawn::<H, _>(async move { listener.accept().await.map(|_| ()) });
    let pinned = Dial::to(id(3));
    let error =
        soon(connect(address, &config::<H>(1), pinned, &Services::<H>::new())).await.expect_err("no link");
    match error.reason() {
        Some(Reason::WrongPeer { expected, got: Some(got) }) => {
            assert_eq!((*expected, got.as_bytes()), (id(3), id(2).as_bytes()));
        }
        other => panic!("{other:?}"),
    }
    soon(accepting).await.expect("no panic").expect_err("no link");
}

async fn d5_nobody_listens_is_told_apart_from_somebody_silent<H: Host>() {
    let (listener, address) = listen(&config::<H>(2), &echo::<H>()).await;
    drop(listener);
    let error = soon(connect(address, &config::<H>(1), Dial::to(id(2)), &Services::<H>::new())).await;
    assert!(matches!(error, Err(ConnectError::Unreachable(_))), "{error:?}");

    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("its address");
    let timing = handclasp::Timing { handshake: Duration::from_millis(200), ..Default::default() };
    let hasty = builder::<H>(1).timing(timing).build().expect("a configuration");
    let error =
        soon(connect(address, &hasty, Dial::to(id(2)), &Services::<H>::new())).await.expect_err("no link");
    let timed_out =
        matches!(error, ConnectError::TimedOut) || error.reason() == Some(&Reason::HandshakeTimeout);
    assert!(timed_out && error.retry() == Retry::Later(None), "{error:?}");
}

async fn d5_a_dial_whose_packets_are_swallowed_is_out_of_time<H: Host>() {
    let full = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = full.local_addr().expect("its address");
    let knock = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
    // The operating system takes so many, and of the next one nothing is heard.
    let taken: Vec<_> = std::iter::from_fn(knock).take(10_000).collect();
    let timing = handclasp::Timing { handshake: Duration::from_millis(200), ..Default::default() };
    let hasty = builder::<H>(1).timing(timing).build().expect("a configuration");
    let error = soon(connect(address, &hasty, Dial::to(id(2)), &Services::<H>::new())).await;
    assert!(matches!(error, Err(ConnectError::TimedOut)), "{error:?} behind {}", taken.len());
}

async fn c7_silent_peers_delay_nobodys_accept<H: Host>() {
    let (mut listener, address) = listen(&config::<H>(2), &echo::<H>()).await;
    let accepting = spawn::<H, _>(async move { (listener.accept().await, listener) });
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(H::connect(address).await.expect("a connection"));
    }
    // Half a preamble, and no more.
    silent[0].write_all(b"HCL").await.expect("sent");
    let start = Instant::now();
    let link = soon(connect(address, &config::<H>(1), Dial::to(id(2)), &Services::<H>::new()))
        .await
        .expect("a link");
    let (accepted, listener) = soon(accepting).await.expect("no panic");
    assert_eq!(accepted.expect("the one that spoke").peer().id, id(1));
    assert!(start.elapsed() < Duration::from_secs(5), "less than a step of the silent ones");
    // The handshakes under way end with the listener.
    drop((listener, link));
    for mut stream in silent {
        soon(stream.read_to_end(&mut Vec::new())).await.ok();
    }
}

async fn c6_over_the_cap_a_dialler_is_told_so_and_a_free_place_is_used_again<H: Host>() {
    let (listener, address) = listen(&config::<H>(2), &echo::<H>()).await;
    let mut listener = listener.capacity(1);
    let silent = H::connect(address).await.expect("a connection");
    let accepting = spawn::<H, _>(async move {
        let first = listener.accept().await;
        // The silent one gives up, so the next dialler finds a place.
        let second = listener.accept().await;
        (first.map(|_| ()), second.map(|_| ()), listener)
    });
    let none = Services::<H>::new();
    let error = soon(connect(address, &config::<H>(1), Dial::to(id(2)), &none)).await.expect_err("no place");
    assert!(
        matches!(error.reason(), Some(Reason::Refused(Refusal::OverCapacity { .. }))),
        "not refused for want of room: {error}"
    );
    assert!(matches!(error.retry(), Retry::Later(Some(_))));
    drop(silent);
    let (first, second, mut listener) = soon(accepting).await.expect("no panic");
    assert!(matches!(first, Err(AcceptError::OverCapacity { .. })), "{first:?}");
    assert_eq!(second.expect_err("the silent one").reason(), Some(&Reason::Truncated));
    let one = config::<H>(1);
    let (dialled, accepted) =
        soon(zip(connect(address, &one, Dial::to(id(2)), &none), listener.accept())).await;
    assert!(dialled.is_ok() && accepted.is_ok());
}

async fn h6_a_refusal_arrives_although_the_refused_side_has_sent_more<H: Host>() {
    // The refused side keeps sending: closing its socket right away would turn the refusal into a reset.
    let (mut listener, address) = listen(&config::<H>(2), &echo::<H>()).await;
    let accepting = spawn::<H, _>(async move { listener.accept().await.map(|_| ()) });
    let mut stream = H::connect(address).await.expect("a connection");
    // A good magic, but a wire version from the future, and bytes that nobody will read.
    let mut hello = b"HCL\xff\x01\x00\x00\x01".to_vec();
    hello.resize(100_000, 0);
    stream.write_all(&hello).await.expect("sent");
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.expect("an end, not a reset");
    assert!(!answer.is_empty(), "nothing came of the refusal");
    drop(stream);
    assert!(matches!(
        soon(accepting).await.expect("no panic").expect_err("no link").reason(),
        Some(Reason::UnsupportedWire { theirs: 0xff })
    ));
}

async fn h6_a_refused_side_is_heard_out_so_that_the_refusal_is_not_lost<H: Host>() {
    // A socket that is dropped with bytes unread is reset, and a reset can destroy the refusal on its way.
    let (near, mut far, _) = pipe(1024);
    let two = config::<H>(2);
    let accepting =
        spawn::<H, _>(async move { accept_over(near, &two, &Services::<H>::new()).await.map(|_| ()) });
    far.write_all(b"HCL\xff\x01\x00\x00\x01").await.expect("sent");
    soon(far.read_to_end(&mut Vec::new())).await.expect("the refusal and its end");
    soon(far.write_all(&vec![0; 50_000])).await.expect("somebody still reads");
    drop(far);
    let closed = soon(accepting).await.expect("no panic").expect_err("no link");
    assert!(matches!(closed.reason, Reason::UnsupportedWire { theirs: 0xff }));
}

async fn m4_when_the_peer_closes_calls_in_flight_get_its_reason<H: Host>() {
    let (sender, begun) = unbounded();
    let services = Services::<H>::new().serve("hang", Allow::Anyone, move |_| {
        sender.try_send(()).expect("the test waits");
        std::future::pending()
    });
    let (mut listener, address) = listen(&config::<H>(2), &services).await;
    let (one, none) = (config::<H>(1), Services::<H>::new());
    let (link, accepted) = soon(zip(connect(address, &one, Dial::to(id(2)), &none), listener.accept())).await;
    let (accepted, link) = (accepted.expect("a link"), link.expect("a link"));
    let waiting = spawn::<H, _>({
        let link = link.clone();
        async move { link.call("hang", "").await }
    });
    soon(begun.recv()).await.expect("the handler began");
    accepted.close();
    let reason = Reason::Dropped;
    assert_eq!(
        soon(waiting).await.expect("no panic"),
        Err(CallError::LinkClosed { reason: reason.clone(), executed: Executed::Unknown })
    );
    assert_eq!(soon(link.closed()).await.reason, reason);
    assert_eq!(link.try_send(Message::new("x", "kept")).expect_err("no link").message.body.len(), 4);
}

handclasp_adapters::on_every_host!(
    m1_calls_go_both_ways_over_tcp_and_handlers_see_the_authenticated_peer,
    o3_a_link_lives_on_a_unix_socket,
    o6_several_listeners_report_their_ports_and_dual_stack_takes_both,
    h6_a_stranger_is_refused_with_the_reason_on_both_sides,
    i8_another_cluster_secret_fails_the_key_exchange_on_both_sides,
    i6_another_peer_than_the_pinned_one_is_told_apart,
    d5_nobody_listens_is_told_apart_from_somebody_silent,
    d5_a_dial_whose_packets_are_swallowed_is_out_of_time,
    c7_silent_peers_delay_nobodys_accept,
    c6_over_the_cap_a_dialler_is_told_so_and_a_free_place_is_used_again,
    h6_a_refusal_arrives_although_the_refused_side_has_sent_more,
    h6_a_refused_side_is_heard_out_so_that_the_refusal_is_not_lost,
    m4_when_the_peer_closes_calls_in_flight_get_its_reason,
);
