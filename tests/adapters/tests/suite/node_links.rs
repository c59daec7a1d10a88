//! Nodes: which links there are.

use std::net::TcpListener;
use std::time::Duration;

use handclasp::node::{DialError, NodeEvent, PeerState, Permanence};
use handclasp::runtime::{Direction, NoLink, NotSent, StartError, WhyNotSent};
use handclasp::{CallError, Message, Reason, Trust};
use handclasp_adapters::nodes::{address, echo, event, id, node, policy, port, start, stop};
use handclasp_adapters::{Host, sleep, soon, spawn, until};

async fn o6_several_listeners_report_their_ports_and_dual_stack_takes_both<H: Host>() {
    let ben = start(node::<H>(2).services(&echo()).listen("127.0.0.1:0").listen("localhost:0")).await;
    let third = soon(ben.listen("127.0.0.1:0")).await.expect("a third one");
    let addresses = ben.local_addrs();
    assert!(addresses.len() == 3 && addresses.iter().all(|address| address.port() != 0), "{addresses:?}");
    assert_eq!(addresses[2], third);
    let mut all: Vec<_> = addresses.iter().map(|address| format!("{address}")).collect();
    if let Ok(both) = ben.listen("[::]:0").await {
        all.extend([format!("127.0.0.1:{}", both.port()), format!("[::1]:{}", both.port())]);
    }
    for address in all {
        let anna = start(node::<H>(1).peer(id(2), [&address], Permanence::Ephemeral)).await;
        assert_eq!(soon(anna.peer(id(2)).call("echo", "hi")).await.expect(&address), "hi");
        assert_eq!(stop(anna).await, []);
    }
    let taken = node::<H>(1).listen(third).start().await.expect_err("the port is taken");
    assert!(matches!(&taken, StartError::Listen { address, .. } if *address == third.to_string()), "{taken}");
    assert!(taken.to_string().contains("choose another port"), "{taken}");
}

async fn c1_c2_two_nodes_that_dial_each_other_at_once_end_with_one_link_50_times<H: Host>() {
    for round in 0..50 {
        let (anna, ben) = (
            start(node::<H>(1).services(&echo()).listen("127.0.0.1:0")).await,
            start(node::<H>(2).services(&echo()).listen("127.0.0.1:0")).await,
        );
        let (to_ben, to_anna) = (anna.peer(id(2)), ben.peer(id(1)));
        to_ben.set_addresses([address(&ben)]);
        to_anna.set_addresses([address(&anna)]);
        let here = spawn::<H, _>({
            let peer = to_ben.clone();
            async move { peer.call("echo", "from anna").await }
        });
        let there = spawn::<H, _>({
            let peer = to_anna.clone();
            async move { peer.call("echo", "from ben").await }
        });
        // A call may be on the link that loses, and fails with it then.
        for (call, text) in [(here, "from anna"), (there, "from ben")] {
            match soon(call).await.expect("no panic") {
                Ok(answer) => assert_eq!(answer, text),
                Err(CallError::LinkClosed { reason: Reason::Superseded, .. }) => {}
                Err(error) => panic!("round {round}: {error}"),
            }
        }
        let settled = || [&anna, &ben].iter().all(|node| format!("{node:?}").contains("links: 1,"));
        until("one link", settled).await;
        let (one, other) = (to_ben.link().expect("a link"), to_anna.link().expect("a link"));
        assert_eq!(one.peer().channel_binding, other.peer().channel_binding, "round {round}");
        assert_eq!(soon(to_ben.call("echo", "again")).await.expect("an answer"), "again");
        assert_eq!(soon(to_anna.call("echo", "again")).await.expect("an answer"), "again");
        drop((anna, ben));
    }
}

async fn d1_d2_a_permanent_peer_is_dialled_again_after_its_listener_restarts<H: Host>() {
    let (_port, home) = port();
    let ben = start(node::<H>(2).services(&echo()).listen(home)).await;
    let anna = start(node::<H>(1).peer(id(2), [home], Permanence::Permanent)).await;
    let mut events = anna.events();
    let peer = anna.peer(id(2));
    let first = soon(peer.connect()).await.expect("a link");
    assert_eq!(first.peer().direction, Direction::Outbound);
    drop(ben);
    event(&mut events, |event| {
        matches!(event, NodeEvent::Unlinked { peer, .. } if *peer == id(2)).then_some(())
    })
    .await;
    let unreachable = event(&mut events, |event| match event {
        NodeEvent::DialFailed { error: DialError::Unreachable { address, .. }, again: Some(_), .. } => {
            Some(address.clone())
        }
        _ => None,
    });
    assert_eq!(unreachable.await, home.to_string());
    let status = peer.status().expect("it is known");
    assert!(status.failures > 0 && status.last_error.is_some() && status.last_closed.is_some(), "{status:?}");

    let ben = start(node::<H>(2).services(&echo()).listen(home)).await;
    let again = soon(peer.connect()).await.expect("a link");
    assert_ne!(first.peer().channel_binding, again.peer().channel_binding);
    assert_ne!(first.peer().hello.incarnation, again.peer().hello.incarnation);
    assert_eq!(soon(peer.call("echo", "back")).await.expect("an answer"), "back");
    // Its permanence is known there, and an ephemeral one is not dialled again.
    let here = ben.peer(id(1));
    until("permanence told", || here.status().is_some_and(|status| status.peer_is_permanent)).await;
    peer.set_permanence(Permanence::Ephemeral);
    until("permanence told", || here.status().is_some_and(|status| !status.peer_is_permanent)).await;
    let closed = soon(peer.disconnect(3, "enough")).await.expect("there was a link");
    assert_eq!(closed.reason, Reason::Goodbye { code: 3, detail: "enough".into() });
    sleep(Duration::from_millis(200)).await;
    assert!(matches!(peer.status().expect("it is known").state, PeerState::Idle), "{:?}", peer.status());
    assert_eq!(soon(peer.call("echo", "anew")).await.expect("dialled by the call"), "anew");
}

async fn d5_whoever_waits_for_a_link_learns_why_there_is_none<H: Host>() {
    let anna = start(node::<H>(1).trust(Trust::listed([id(2), id(3)]))).await;
    // No address.
    let peer = anna.peer(id(2));
    assert_eq!(soon(peer.connect()).await.expect_err("no address"), NoLink::Dial(DialError::NoAddress));
    let error = soon(peer.call("echo", "")).await.expect_err("no address");
    assert_eq!(error, CallError::NoLink { error: Box::new(DialError::NoAddress) });
    assert!(error.to_string().ends_with("the call was not executed"), "{error}");
    // Not trusted, here and there.
    let stranger = anna.peer(id(9));
    assert_eq!(soon(stranger.connect()).await.expect_err("untrusted"), NoLink::Dial(DialError::Untrusted));
    let NotSent { why, message } = stranger.try_send(Message::new("log", "kept")).expect_err("untrusted");
    assert_eq!((why, message.body.len()), (WhyNotSent::Untrusted, 4));
    let ben = start(node::<H>(2).trust(Trust::listed([id(3)])).listen("127.0.0.1:0")).await;
    peer.set_addresses([address(&ben)]);
    let NoLink::Dial(DialError::Closed { closed, .. }) = soon(peer.connect()).await.expect_err("denied")
    else {
        panic!("another error");
    };
    assert_eq!(closed.reason.name(), "denied");
    // Another one answers at that address.
    let other = anna.peer(id(3));
    other.set_addresses([address(&ben)]);
    let mut events = anna.events();
    other.set_permanence(Permanence::Permanent);
    let again = event(&mut events, |event| match event {
        NodeEvent::DialFailed { peer, error, again } if *peer == id(3) => {
            Some((error.name(), again.is_some()))
        }
        _ => None,
    });
    // Whoever proves nothing is no reason to give up.
    assert_eq!(again.await, ("wrong_peer", true));
    other.set_permanence(Permanence::Ephemeral);
    // Itself.
    assert_eq!(soon(anna.peer(id(1)).connect()).await.expect_err("itself"), NoLink::SelfConnection);
    // Out of time.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let peer = anna.peer(id(3));
    peer.set_addresses([silent.local_addr().expect("its address")]);
    let late = peer.call_with(Message::new("echo", ""), Duration::from_millis(50)).await;
    // Or, where the dial of the former address was under way, what became of that.
    let is_late = matches!(late, Err(CallError::DeadlineExceeded { .. } | CallError::NoLink { .. }));
    assert!(is_late, "{late:?}");
    assert_eq!(stop(anna).await, []);
}

async fn c6_c7_an_honest_node_gets_through_a_thousand_silent_connections<H: Host>() {
    let ben = start(node::<H>(2).services(&echo()).listen("127.0.0.1:0")).await;
    let home = address(&ben);
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(H::connect(home).await.expect("the backlog has room"));
    }
    let begun = std::time::Instant::now();
    let anna = start(node::<H>(1).peer(id(2), [home], Permanence::Ephemeral)).await;
    assert_eq!(soon(anna.peer(id(2)).call("echo", "hello")).await.expect("an answer"), "hello");
    assert!(begun.elapsed() < Duration::from_secs(5), "less than a step of the silent ones");
    let snapshot = ben.snapshot().await;
    assert!(snapshot.inbound_handshakes <= policy().handshakes_per_source, "{snapshot:?}");
    assert!(snapshot.stats.over_capacity > 0 && snapshot.stats.established == 1, "{:?}", snapshot.stats);
    drop(silent);
    until("all gone", || format!("{ben:?}").contains("links: 1,")).await;
}

handclasp_adapters::on_every_host!(
    o6_several_listeners_report_their_ports_and_dual_stack_takes_both,
    c1_c2_two_nodes_that_dial_each_other_at_once_end_with_one_link_50_times,
    d1_d2_a_permanent_peer_is_dialled_again_after_its_listener_restarts,
    d5_whoever_waits_for_a_link_learns_why_there_is_none,
    c6_c7_an_honest_node_gets_through_a_thousand_silent_connections,
);
