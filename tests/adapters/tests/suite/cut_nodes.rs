//! Futures of nodes, their peers and events, dropped at each of their await points.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_lite::future::yield_now;
use handclasp::node::{NodeEvent, NodePolicy, Permanence};
use handclasp::runtime::{Delivery, Listener, Node, Peer, Request, Runtime, Services};
use handclasp::services::Allow;
use handclasp::{Limits, Message, Reason, Trust};
use handclasp_adapters::links::{Guard, config};
use handclasp_adapters::nodes::{Folder, address, echo, event, id, key, node, policy, port, start, stop};
use handclasp_adapters::{Cuts, Host, Scope, Scoped, sleep, soon, spawn, until};

async fn works<R: Runtime>(peer: &Peer<R>) {
    assert_eq!(soon(peer.call("echo", "still here")).await.expect("an answer"), "still here");
}

/// Nodes 1 and 2, with a link from the one to the other.
async fn linked<R: Runtime>(services: &Services<R>) -> (Node<R>, Node<R>, Peer<R>) {
    let ben = start(node(2).services(services).listen("127.0.0.1:0")).await;
    let anna = start(node(1).peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
    let peer = anna.peer(id(2));
    soon(peer.connect()).await.expect("a link");
    (anna, ben, peer)
}

async fn d1_a_start_dropped_at_any_await_has_started_nothing<H: Host>() {
    let (folder, scope) = (Folder::new("cut-start"), Scope::default());
    let inside = scope.run(async {
        let (_port, home) = port();
        let mut cuts = Cuts::new();
        while cuts.more() {
            // It waits for its trust file, and for the names of its addresses.
            let starting = Node::<Scoped<H>>::builder(key(2))
                .policy(policy())
                .trust_file(folder.list())
                .listen("localhost:0")
                .listen(home);
            match soon(cuts.cut(starting.start())).await {
                Some(started) => {
                    let started = started.expect("a node");
                    assert_eq!(started.local_addrs().len(), 2);
                    assert_eq!(stop(started).await, []);
                }
                None => drop(Listener::<H>::bind(home, &config::<H>(2), &echo()).await.expect("free")),
            }
            until("no task is left", || scope.tasks() == 0).await;
        }
    });
    inside.await;
}

async fn o6_listen_dropped_at_any_await_listens_on_nothing<H: Host>() {
    let ben = start(node::<H>(2).services(&echo())).await;
    let mut cuts = Cuts::new();
    while cuts.more() {
        let before = ben.local_addrs();
        match soon(cuts.cut(ben.listen("localhost:0"))).await {
            Some(address) => {
                let address = address.expect("a port");
                assert_eq!(ben.local_addrs(), [before, vec![address]].concat());
                let anna = start(node::<H>(1).peer(id(2), [address], Permanence::Ephemeral)).await;
                works(&anna.peer(id(2))).await;
            }
            None => assert_eq!(ben.local_addrs(), before),
        }
    }
}

async fn i5_changes_of_trust_dropped_at_any_await_are_made_once_begun<H: Host>() {
    let folder = Folder::new("cut-trust");
    folder.write("# our nodes\n");
    let ben = Node::<H>::builder(key(2)).trust_file(folder.list());
    let ben = start(ben.trust_reload(Duration::from_secs(3600))).await;
    let is_written = || folder.read().contains(&id(1).to_string());
    let mut cuts = Cuts::new();
    while cuts.more() {
        let polled = cuts.is_polled();
        if let Some(trusted) = soon(cuts.cut(ben.trust(id(1), None))).await {
            assert!(trusted.expect("written") && ben.is_trusted(id(1)) && is_written());
        }
        if polled {
            until("trusted", || ben.is_trusted(id(1)) && is_written()).await;
            assert!(soon(ben.revoke(id(1))).await.expect("written") && !ben.is_trusted(id(1)));
        } else {
            assert!(!ben.is_trusted(id(1)) && !is_written());
        }
    }
    let mut cuts = Cuts::new();
    while cuts.more() {
        soon(ben.trust(id(1), None)).await.expect("written");
        let polled = cuts.is_polled();
        if let Some(revoked) = soon(cuts.cut(ben.revoke(id(1)))).await {
            assert!(revoked.expect("written") && !is_written());
        }
        // It holds at once, and is written by and by.
        assert_eq!(ben.is_trusted(id(1)), !polled);
        if polled {
            until("written", || !is_written()).await;
        }
    }
}

async fn o1_a_snapshot_dropped_at_any_await_harms_nothing<H: Host>() {
    let (anna, _ben, peer) = linked::<H>(&echo()).await;
    let mut cuts = Cuts::new();
    while cuts.more() {
        if let Some(snapshot) = soon(cuts.cut(anna.snapshot())).await {
            assert_eq!((snapshot.links, snapshot.peers.len()), (1, 1));
            assert!(snapshot.peers[0].link.as_ref().is_some_and(|link| link.stats.is_some()));
        }
        works(&peer).await;
    }
}

async fn l3_a_shutdown_dropped_at_any_await_goes_on<H: Host>() {
    let scope = Scope::default();
    let inside = scope.run(async {
        let mut cuts = Cuts::new();
        while cuts.more() {
            let (anna, ben, peer) = linked::<Scoped<H>>(&echo()).await;
            let mut there = ben.events();
            let absent = anna.peer(id(3));
            absent.try_send(Message::new("log", "for nobody")).expect("it is queued");
            let polled = cuts.is_polled();
            let mut left = soon(cuts.cut(anna.shutdown(Duration::from_secs(5)))).await;
            if polled {
                soon(anna.closed()).await;
                // Whoever asks again is given what the dropped one did not take.
                let rest = stop(anna.clone()).await;
                left = Some([left.unwrap_or_default(), rest].concat());
                let closed = event(&mut there, |event| match event {
                    NodeEvent::Unlinked { closed, .. } => Some(closed.reason.name()),
                    _ => None,
                });
                assert_eq!(closed.await, "goodbye");
            } else {
                works(&peer).await;
                left = Some(stop(anna.clone()).await);
            }
            let left = left.unwrap_or_default();
            // A message that cannot go anywhere may have been given back as an event before.
            assert!(left.iter().all(|(peer, envelope)| *peer == id(3) && envelope.body == "for nobody"));
            assert!(left.len() <= 1, "{left:?}");
            drop((anna, ben));
            until("no task is left", || scope.tasks() == 0).await;
        }
    });
    inside.await;
}

async fn l3_waiting_for_a_nodes_end_may_be_dropped_at_any_await<H: Host>() {
    let mut cuts = Cuts::new();
    while cuts.more() {
        let anna = start(node::<H>(1)).await;
        let ending = spawn::<H, _>({
            let anna = anna.clone();
            async move {
                sleep(Duration::from_millis(1)).await;
                anna.shutdown(Duration::from_secs(5)).await
            }
        });
        soon(cuts.cut(anna.closed())).await;
        assert_eq!(soon(ending).await.expect("no panic"), []);
        soon(anna.closed()).await;
    }
}

/// Numbers that come in, each of them slowly.
fn slow_log<R: Runtime>() -> (Services<R>, Arc<Mutex<Vec<u32>>>) {
    let got = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&got);
    let services = echo::<R>().on("log", Allow::Anyone, move |request: Request<R>| {
        let seen = Arc::clone(&seen);
        async move {
            yield_now().await;
            let number = request.body.first_chunk().copied().expect("a number");
            seen.lock().expect("no panic").push(u32::from_be_bytes(number));
        }
    });
    (services, got)
}

/// Sends that are dropped while they wait for room, in a link's queue or in the outbox.
async fn sends<H: Host>(delivery: Option<Delivery>, lose_links: bool) {
    let (services, got) = slow_log::<H>();
    let limits = Limits { window: 64 << 10, max_message: 32 << 10, ..Limits::default() };
    let ben = node::<H>(2).config(|config| config.limits(limits)).services(&services).listen("127.0.0.1:0");
    let ben = start(ben).await;
    let bounded = NodePolicy { outbox_per_peer: 100_000, ..policy() };
    let anna = node::<H>(1).policy(bounded).config(|config| config.limits(limits).send_buffer(1));
    let anna = start(anna.peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
    let peer = anna.peer(id(2));
    soon(peer.connect()).await.expect("a link");
    let mut body = vec![0; 30 << 10];
    let (mut sent, mut number) = (Vec::new(), 0_u32);
    for _ in 0..5 {
        let mut cuts = Cuts::new();
        while cuts.more() {
            if lose_links {
                // In good order, so that nothing that was sealed is lost: what is sent meanwhile waits in the
                // outbox for the next link.
                drop(soon(peer.disconnect(0, "")).await);
            }
            loop {
                body[..4].copy_from_slice(&number.to_be_bytes());
                if peer.try_send(Message::new("log", &*body)).is_err() {
                    break;
                }
                sent.push(number);
                number += 1;
            }
            let message = Message::new("log", &*body);
            let done = match delivery {
                None => soon(cuts.cut(peer.send(message))).await,
                Some(delivery) => soon(cuts.cut(peer.send_with(message, delivery))).await,
            };
            match done {
                Some(Ok(())) => sent.push(number),
                Some(Err(not)) => assert_eq!(delivery, Some(Delivery::Now), "{not:?}"),
                None => {}
            }
            number += 1;
        }
    }
    works(&peer).await;
    if delivery == Some(Delivery::Now) {
        // What was queued for now may have been dropped later; nothing else came, and each once.
        works(&peer).await;
        let got = got.lock().expect("no panic");
        assert!(got.is_sorted_by(|one, next| one < next), "{got:?}");
        assert!(got.iter().all(|number| sent.contains(number)) && got.len() > sent.len() / 2);
        return;
    }
    until("all there", || got.lock().expect("no panic").len() >= sent.len()).await;
    works(&peer).await;
    assert_eq!(*got.lock().expect("no panic"), sent);
}

async fn m6_m8_a_peers_send_dropped_at_any_await_is_sent_once_or_not_at_all<H: Host>() {
    sends::<H>(None, false).await;
}

async fn m6_m8_a_peers_send_dropped_without_a_link_is_sent_once_or_not_at_all<H: Host>() {
    sends::<H>(None, true).await;
}

async fn m11_a_send_with_an_end_dropped_at_any_await_is_sent_once_or_not_at_all<H: Host>() {
    sends::<H>(Some(Delivery::Until(Duration::from_secs(600))), false).await;
}

async fn m11_a_send_for_now_dropped_at_any_await_is_sent_once_or_not_at_all<H: Host>() {
    sends::<H>(Some(Delivery::Now), false).await;
}

async fn m3_a_peers_calls_dropped_at_every_await_leave_nothing_in_flight<H: Host>() {
    let alive = Arc::new(AtomicUsize::new(0));
    let services = echo::<H>().serve("work", Allow::Anyone, {
        let alive = Arc::clone(&alive);
        move |request: Request<H>| {
            let guard = Guard::new(&alive);
            async move {
                sleep(Duration::from_millis(1)).await;
                drop(guard);
                Ok(request.body)
            }
        }
    });
    // One at a time: one that is left behind is in the way of every other.
    let limits = Limits { max_calls: 1, ..Limits::default() };
    let ben = node::<H>(2).config(|config| config.limits(limits)).services(&services).listen("127.0.0.1:0");
    let ben = start(ben).await;
    let anna = start(node::<H>(1).peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
    let peer = anna.peer(id(2));
    for with_link in [true, false] {
        let (mut cuts, mut number) = (Cuts::new(), 0_u32);
        while cuts.more() {
            number += 1;
            if !with_link {
                // The call dials.
                drop(soon(peer.disconnect(0, "")).await);
            }
            let body = number.to_be_bytes();
            let message = Message::new("work", &body);
            let answer = soon(cuts.cut(peer.call_with(message, Duration::from_secs(60)))).await;
            if let Some(answer) = answer {
                assert_eq!(answer.expect("an answer"), body[..]);
            }
            works(&peer).await;
            until("no handler is left", || alive.load(Ordering::SeqCst) == 0).await;
        }
    }
}

async fn d1_connect_dropped_at_any_await_leaves_one_link_at_most<H: Host>() {
    let (anna, ben, peer) = linked::<H>(&echo()).await;
    let mut cuts = Cuts::new();
    while cuts.more() {
        drop(soon(peer.disconnect(0, "")).await);
        if let Some(link) = soon(cuts.cut(peer.connect())).await {
            assert_eq!(link.expect("a link").peer().id, id(2));
        }
        works(&peer).await;
        assert_eq!(anna.snapshot().await.links, 1);
    }
    until("one link", || format!("{ben:?}").contains("links: 1,")).await;
}

async fn l3_disconnect_dropped_at_any_await_takes_its_course<H: Host>() {
    let (_anna, _ben, peer) = linked::<H>(&echo()).await;
    let mut cuts = Cuts::new();
    while cuts.more() {
        works(&peer).await;
        let link = peer.link().expect("a link");
        let polled = cuts.is_polled();
        let closed = soon(cuts.cut(peer.disconnect(4, "enough"))).await;
        if polled {
            let goodbye = Reason::Goodbye { code: 4, detail: "enough".into() };
            assert!(closed.is_none_or(|closed| closed.is_some_and(|closed| closed.reason == goodbye)));
            assert_eq!(soon(link.closed()).await.reason, goodbye);
        } else {
            assert!(link.try_closed().is_none());
        }
    }
}

async fn l4_taking_an_event_may_be_dropped_at_any_await_and_none_is_lost<H: Host>() {
    let anna = start(node::<H>(1).trust(Trust::listed([]))).await;
    let mut events = anna.events();
    for _ in 0..20 {
        let mut cuts = Cuts::new();
        let telling = spawn::<H, _>({
            let anna = anna.clone();
            async move {
                for number in 10..30 {
                    sleep(Duration::from_micros(200)).await;
                    anna.trust(id(number), None).await.expect("there is no file");
                    anna.revoke(id(number)).await.expect("there is no file");
                }
            }
        });
        let mut got = Vec::new();
        while got.len() < 20 {
            if !cuts.more() {
                cuts = Cuts::new();
            }
            match soon(cuts.cut(events.next())).await {
                Some(event) => match *event.expect("it runs").expect("none missed") {
                    NodeEvent::Revoked { peer } => got.push(peer),
                    ref other => panic!("{other:?}"),
                },
                None => yield_now().await,
            }
        }
        soon(telling).await.expect("no panic");
        assert_eq!(got, (10..30).map(id).collect::<Vec<_>>());
    }
}

handclasp_adapters::on_every_host!(
    d1_a_start_dropped_at_any_await_has_started_nothing,
    o6_listen_dropped_at_any_await_listens_on_nothing,
    i5_changes_of_trust_dropped_at_any_await_are_made_once_begun,
    o1_a_snapshot_dropped_at_any_await_harms_nothing,
    l3_a_shutdown_dropped_at_any_await_goes_on,
    l3_waiting_for_a_nodes_end_may_be_dropped_at_any_await,
    m6_m8_a_peers_send_dropped_at_any_await_is_sent_once_or_not_at_all,
    m6_m8_a_peers_send_dropped_without_a_link_is_sent_once_or_not_at_all,
    m11_a_send_with_an_end_dropped_at_any_await_is_sent_once_or_not_at_all,
    m11_a_send_for_now_dropped_at_any_await_is_sent_once_or_not_at_all,
    m3_a_peers_calls_dropped_at_every_await_leave_nothing_in_flight,
    d1_connect_dropped_at_any_await_leaves_one_link_at_most,
    l3_disconnect_dropped_at_any_await_takes_its_course,
    l4_taking_an_event_may_be_dropped_at_any_await_and_none_is_lost,
);
