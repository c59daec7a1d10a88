//! Nodes: whom they take, and what they tell of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_channel::bounded;
use futures_lite::future::{yield_now, zip};
use handclasp::node::{DialError, Drift, DriftPolicy, Known, NodeEvent, NodePolicy, PeerState, Permanence};
use handclasp::runtime::{
    Direction, Handler, Missed, NoLink, Node, PeerRegistry, RegistryFuture, Runtime, Services, StartError,
    WhyNotSent,
};
use handclasp::services::Allow;
use handclasp::{CallError, Executed, Message, NodeId, Reason, Refusal, ServiceError, Trust};
use handclasp_adapters::nodes::{address, echo, event, id, node, policy, start, stop};
use handclasp_adapters::{Host, Scope, Scoped, TaskSet, sleep, soon, spawn, timeout, until};

/// Node 1, linked to `other`.
async fn linked_to<R: Runtime>(other: &Node<R>) -> Node<R> {
    let anna =
        start(node::<R>(1).services(&echo()).peer(other.id(), [address(other)], Permanence::Permanent)).await;
    soon(anna.peer(other.id()).connect()).await.expect("a link");
    anna
}

async fn trust<R: Runtime>(node: &Node<R>, number: u8, time: Option<Duration>) -> bool {
    soon(node.trust(id(number), time)).await.expect("there is no file")
}

async fn revoke<R: Runtime>(node: &Node<R>, number: u8) -> bool {
    soon(node.revoke(id(number))).await.expect("there is no file")
}

async fn i5_a_revoked_peer_loses_its_link_its_calls_and_its_messages_at_once<H: Host>() {
    let (begun, begins) = bounded(1);
    let services = echo().serve("wait", Allow::Anyone, move |_| {
        begun.try_send(()).expect("it is called once");
        std::future::pending()
    });
    let ben = start(node::<H>(2).services(&services).listen("127.0.0.1:0")).await;
    let anna = linked_to(&ben).await;
    let peer = anna.peer(id(2));
    let call = spawn::<H, _>({
        let peer = peer.clone();
        async move { peer.call("wait", "").await }
    });
    soon(begins.recv()).await.expect("the handler began");
    let (mut here, mut there) = (anna.events(), ben.events());
    assert!(revoke(&anna, 2).await && !anna.is_trusted(id(2)) && !revoke(&anna, 2).await);
    let revoked =
        |event: &NodeEvent| matches!(event, NodeEvent::Revoked { peer } if *peer == id(2)).then_some(());
    event(&mut here, revoked).await;
    let CallError::LinkClosed { reason: Reason::Revoked, executed: Executed::Unknown } =
        soon(call).await.expect("no panic").expect_err("revoked")
    else {
        panic!("another error");
    };
    let closed = event(&mut there, |event| match event {
        NodeEvent::Unlinked { closed, .. } => Some(closed.reason.clone()),
        _ => None,
    });
    assert_eq!(closed.await, Reason::Revoked);
    let refused = peer.try_send(Message::new("log", "")).expect_err("revoked");
    assert_eq!(refused.why, WhyNotSent::Untrusted);
    assert_eq!(soon(peer.connect()).await.expect_err("revoked"), NoLink::Dial(DialError::Untrusted));
    // It is refused from both directions.
    let back = ben.peer(id(1));
    let home = soon(anna.listen("127.0.0.1:0")).await.expect("a port");
    back.set_addresses([home]);
    let NoLink::Dial(DialError::Closed { closed, .. }) = soon(back.connect()).await.expect_err("revoked")
    else {
        panic!("another error");
    };
    assert_eq!(closed.reason, Reason::Refused(Refusal::Denied));
    // Nothing further is told of it until it is trusted again.
    assert!(trust(&anna, 2, None).await && !trust(&anna, 2, None).await);
    peer.set_addresses([address(&ben)]);
    assert_eq!(soon(peer.call("echo", "again")).await.expect("an answer"), "again");
    event(&mut here, |event| match event {
        NodeEvent::Linked { .. } => Some(()),
        // Somebody claimed its id, and proved nothing.
        NodeEvent::HandshakeEnded { closed, .. } if closed.peer.is_none() => None,
        other => panic!("{other:?} of a revoked peer"),
    })
    .await;
}

async fn i5_trust_for_a_time_runs_out<H: Host>() {
    let ben = start(node::<H>(2).services(&echo()).listen("127.0.0.1:0")).await;
    let anna =
        start(node::<H>(1).trust(Trust::listed([])).peer(id(2), [address(&ben)], Permanence::Permanent))
            .await;
    let mut events = anna.events();
    let peer = anna.peer(id(2));
    let begun = std::time::Instant::now();
    trust(&anna, 2, Some(Duration::from_millis(300))).await;
    let link = soon(peer.connect()).await.expect("a link");
    assert_eq!(soon(link.closed()).await.reason, Reason::Revoked);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    event(&mut events, |event| matches!(event, NodeEvent::Revoked { .. }).then_some(())).await;
}

async fn i9_services_are_for_whom_they_are_allowed_and_change_while_links_live<H: Host>() {
    let services = echo().serve("one", Allow::listed([id(1)]), |_| async { Ok("for one".into()) });
    let ben = start(node::<H>(2).services(&services).listen("127.0.0.1:0")).await;
    let ask = |number: u8, service: &'static str| {
        let home = address(&ben);
        async move {
            let node = start(node::<H>(number).peer(id(2), [home], Permanence::Ephemeral)).await;
            soon(node.peer(id(2)).call(service, "")).await
        }
    };
    assert_eq!(ask(1, "one").await.expect("allowed"), "for one");
    assert_eq!(ask(3, "one").await, Err(CallError::Service(ServiceError::Forbidden)));
    assert_eq!(ask(1, "two").await, Err(CallError::Service(ServiceError::NoSuchService)));
    let anna = linked_to(&ben).await;
    let (peer, added) = (anna.peer(id(2)), ben.services());
    added.add("two", Allow::Anyone, Handler::call(|_| async { Ok("new".into()) })).expect("a short name");
    assert_eq!(soon(peer.call("two", "")).await.expect("added"), "new");
    assert!(added.withdraw("two"));
    let gone = soon(peer.call("two", "")).await;
    assert_eq!(gone, Err(CallError::Service(ServiceError::NoSuchService)));
    // The other side calls as well, by the same link.
    assert_eq!(soon(ben.peer(id(1)).call("echo", "back")).await.expect("an answer"), "back");
}

async fn h6_the_application_decides_about_each_peer<H: Host>() {
    let asked = Arc::new(AtomicUsize::new(0));
    let services = echo().admit({
        let asked = Arc::clone(&asked);
        move |peer| {
            asked.fetch_add(1, Ordering::Relaxed);
            assert!(peer.id != id(4), "a decision that panics");
            let welcome = peer.name() == Some("node-1@test");
            async move {
                sleep(Duration::from_millis(20)).await;
                if welcome { Ok(()) } else { Err(Refusal::ShuttingDown) }
            }
        }
    });
    let ben = start(node::<H>(2).trust(Trust::Ask).services(&services).listen("127.0.0.1:0")).await;
    let anna = linked_to(&ben).await;
    assert_eq!(soon(anna.peer(id(2)).call("echo", "in")).await.expect("an answer"), "in");
    for (number, refusal) in [(3, "shutting_down"), (4, "denied")] {
        let other = start(node::<H>(number).peer(id(2), [address(&ben)], Permanence::Permanent)).await;
        let mut events = other.events();
        let reason = event(&mut events, |event| match event {
            NodeEvent::DialFailed { error, .. } => Some(error.name()),
            _ => None,
        });
        assert_eq!(reason.await, refusal);
    }
    assert!(asked.load(Ordering::Relaxed) >= 3);
}

/// A registry in a map, with moods.
#[derive(Default)]
struct Book {
    known: Mutex<BTreeMap<NodeId, Known>>,
    looked_up: AtomicUsize,
    fails: Mutex<Option<&'static str>>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Book>);

impl PeerRegistry for Shared {
    fn look_up(&self, peer: NodeId) -> RegistryFuture<'_, Option<Known>> {
        Box::pin(async move {
            self.0.looked_up.fetch_add(1, Ordering::Relaxed);
            yield_now().await;
            let fails = *self.0.fails.lock().expect("no panic");
            match fails {
                Some("panic") => panic!("a registry that panics"),
                Some(why) => Err(why.into()),
                None => Ok(self.0.known.lock().expect("no panic").get(&peer).cloned()),
            }
        })
    }

    fn write(&self, peer: NodeId, known: Known) -> RegistryFuture<'_, ()> {
        Box::pin(async move {
            self.0.known.lock().expect("no panic").insert(peer, known);
            Ok(())
        })
    }
}

async fn i10_an_external_registry_is_asked_and_told_and_its_failure_refuses<H: Host>() {
    let book = Shared::default();
    let policy = NodePolicy { drift: DriftPolicy::Refuse, ..policy() };
    let ben =
        node::<H>(2).policy(policy.clone()).registry(book.clone()).services(&echo()).listen("127.0.0.1:0");
    let ben = start(ben).await;
    let mut events = ben.events();
    let refused = async |number: u8, name: &'static str| {
        let node = node::<H>(number).config(|config| config.name(name));
        let node = start(node.peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
        let mut events = node.events();
        node.peer(id(2)).try_send(Message::new("log", "")).expect("it is queued");
        event(&mut events, |event| match event {
            NodeEvent::DialFailed { error, .. } => Some(error.name()),
            _ => None,
        })
        .await
    };
    // It knows nobody at first, and is told.
    let anna = linked_to(&ben).await;
    until("written", || book.0.known.lock().expect("no panic").contains_key(&id(1))).await;
    let known = book.0.known.lock().expect("no panic").get(&id(1)).cloned().expect("written");
    assert_eq!(known.name.as_deref(), Some("node-1@test"));
    assert_eq!(book.0.looked_up.load(Ordering::Relaxed), 1);
    drop(anna);
    // Another name than the last time.
    assert_eq!(refused(1, "somebody else").await, "registry");
    let drift = event(&mut events, |event| match event {
        NodeEvent::Drifted { peer, drift, refused: true } if *peer == id(1) => Some(drift.clone()),
        _ => None,
    });
    let (was, is) = (Some("node-1@test".into()), Some("somebody else".into()));
    assert_eq!(drift.await, [Drift::Name { was, is }]);
    // It fails.
    for failure in ["the database is away", "panic"] {
        *book.0.fails.lock().expect("no panic") = Some(failure);
        assert_eq!(refused(3, "node-3@test").await, "registry", "{failure}");
    }
    *book.0.fails.lock().expect("no panic") = None;
    let again = linked_to(&ben).await;
    assert_eq!(soon(again.peer(id(2)).call("echo", "in")).await.expect("an answer"), "in");
    // A policy without a registry is no configuration.
    let none = NodePolicy { registry: handclasp::node::Registry::External, ..policy };
    assert!(matches!(node::<H>(3).policy(none).start().await, Err(StartError::NoRegistry)));
}

async fn o1_a_snapshot_shows_peers_and_links<H: Host>() {
    let ben = start(node::<H>(2).services(&echo()).listen("127.0.0.1:0")).await;
    let anna = linked_to(&ben).await;
    let nowhere = anna.peer(id(3));
    nowhere.try_send(Message::new("log", "12345")).expect("it is queued");
    for _ in 0..10 {
        soon(anna.peer(id(2)).call("echo", "hello")).await.expect("an answer");
    }
    let (here, there) = soon(zip(anna.snapshot(), ben.snapshot())).await;
    assert_eq!((here.links, here.listening.len(), here.handshakes.completed), (1, 0, 1));
    assert_eq!((there.links, &there.listening[..], there.inbound_handshakes), (1, &ben.local_addrs()[..], 0));
    assert_eq!((here.stats.dials, here.stats.established, there.stats.accepted), (1, 1, 1));
    let [ben_here, absent] = &here.peers[..] else { panic!("{here:?}") };
    let [anna_there] = &there.peers[..] else { panic!("{there:?}") };
    let (ben_here, absent) =
        if ben_here.status.id == id(2) { (ben_here, absent) } else { (absent, ben_here) };
    assert_eq!((absent.status.queued, absent.status.queued_bytes), (1, 64 + 3 + 5));
    assert!(absent.link.is_none() && absent.status.last_error == Some(DialError::NoAddress));
    let (link, other) = (ben_here.link.as_ref().expect("a link"), anna_there.link.as_ref().expect("a link"));
    assert!(matches!(&ben_here.status.state, PeerState::Linked { link: id, .. } if *id == link.id));
    assert_eq!(ben_here.status.name.as_deref(), Some("node-2@test"));
    assert_eq!((link.direction, other.direction), (Direction::Outbound, Direction::Inbound));
    assert_eq!(link.remote, Some(address(&ben)));
    assert!(link.since <= std::time::Instant::now() && link.since.elapsed() < Duration::from_secs(15));
    let stats = link.stats.expect("figures");
    assert!(
        stats.messages_sent == 10 && stats.messages_received == 10 && stats.bytes_sent > 500,
        "{stats:?}"
    );
    soon(anna.peer(id(2)).disconnect(9, "bye")).await;
    let last = ben.peer(id(1)).status().and_then(|status| status.last_closed);
    // A peer of which nothing is left to know is forgotten.
    assert!(last.is_none_or(|closed| closed.reason == Reason::Goodbye { code: 9, detail: "bye".into() }));
}

async fn o4_many_nodes_live_in_one_process<H: Host>() {
    let all: Vec<NodeId> = (0..30).map(id).collect();
    let mut nodes = Vec::new();
    for number in 0..30 {
        nodes.push(
            start(
                node::<H>(number).trust(Trust::listed(all.clone())).services(&echo()).listen("127.0.0.1:0"),
            )
            .await,
        );
    }
    for one in &nodes {
        for other in &nodes {
            one.peer(other.id()).set_addresses([address(other)]);
        }
    }
    let mut calls = TaskSet::new();
    for one in &nodes {
        for other in nodes.iter().filter(|other| other.id() != one.id()) {
            let peer = one.peer(other.id());
            calls.spawn::<H>(async move {
                // All at once: on a slow machine that takes its time.
                let (text, time) = (peer.id().to_string(), Duration::from_secs(30));
                loop {
                    match peer.call_with(Message::new("echo", &*text), time).await {
                        Ok(answer) => return assert_eq!(answer, text),
                        // Of two dials at a time, the one that lost.
                        Err(CallError::LinkClosed { reason: Reason::Superseded, .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    }
    soon(async {
        while let Some(call) = calls.join_next().await {
            call.expect("an answer");
        }
    })
    .await;
    let settled = || nodes.iter().all(|node| format!("{node:?}").contains("links: 29,"));
    until("one link for each pair", settled).await;
}

async fn m8_an_application_that_takes_no_events_is_told_how_many_it_missed<H: Host>() {
    let anna = start(node::<H>(1).event_buffer(4)).await;
    let mut events = anna.events();
    for _ in 0..10 {
        trust(&anna, 9, None).await;
        revoke(&anna, 9).await;
    }
    assert_eq!(events.next().await.expect("it runs").expect_err("too many"), Missed(6));
    let mut left = 0;
    stop(anna).await;
    while let Some(event) = soon(events.next()).await {
        assert!(matches!(*event.expect("none missed"), NodeEvent::Revoked { .. }));
        left += 1;
    }
    assert_eq!(left, 4);
}

async fn l3_no_task_outlives_the_last_handle<H: Host>() {
    let scope = Scope::default();
    let tasks = || scope.tasks();
    let inside = scope.run(async {
        let stuck = Services::<Scoped<H>>::new().serve("wait", Allow::Anyone, |_| std::future::pending()).on(
            "log",
            Allow::Anyone,
            |_| std::future::pending(),
        );
        let ben =
            start(node::<Scoped<H>>(2).services(&stuck).registry(Shared::default()).listen("127.0.0.1:0"))
                .await;
        let anna = linked_to(&ben).await;
        let (peer, other, mut events) = (anna.peer(id(2)), anna.peer(id(3)), ben.events());
        other.set_addresses([address(&ben)]);
        other.try_send(Message::new("log", "")).expect("it is queued");
        let call = peer.call("wait", "");
        assert!(timeout(Duration::from_millis(50), call).await.is_none());
        peer.try_send(Message::new("log", "")).expect("it is queued");
        let _silent = H::connect(address(&ben)).await.expect("it listens");
        sleep(Duration::from_millis(50)).await;
        assert!(tasks() > 4, "{}", tasks());
        // The peer and the events stay, and so does a clone of the node for a while.
        let clone = anna.clone();
        drop(anna);
        assert!(clone.downgrade().upgrade().is_some() && peer.link().is_some());
        let weak = clone.downgrade();
        drop((clone, ben));
        assert!(weak.upgrade().is_none());
        until("no task is left", || tasks() == 0).await;
        while let Some(event) = soon(events.next()).await {
            event.expect("none missed");
        }
        let error = soon(peer.call("echo", "")).await.expect_err("it has ended");
        assert!(error.to_string().contains("shutting down"), "{error}");
    });
    inside.await;
}

/// A registry that takes its time, or never answers.
#[derive(Clone, Default)]
struct Slow {
    written: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    hangs: bool,
}

/// Counts itself out when it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl PeerRegistry for Slow {
    fn look_up(&self, _: NodeId) -> RegistryFuture<'_, Option<Known>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let counted = Counted(Arc::clone(&self.asked));
        Box::pin(async move {
            if self.hangs {
                std::future::pending::<()>().await;
            }
            drop(counted);
            Ok(None)
        })
    }

    fn write(&self, _: NodeId, _: Known) -> RegistryFuture<'_, ()> {
        Box::pin(async move {
            sleep(Duration::from_millis(200)).await;
            self.written.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }
}

async fn i10_a_shutdown_waits_for_what_the_registry_writes<H: Host>() {
    let slow = Slow::default();
    let ben = start(node::<H>(2).registry(slow.clone()).services(&echo()).listen("127.0.0.1:0")).await;
    let anna = linked_to(&ben).await;
    // The dialler may know of the link first.
    until("both know", || ben.peer(anna.id()).link().is_some()).await;
    soon(ben.shutdown(Duration::from_secs(5))).await;
    assert_eq!(slow.written.load(Ordering::SeqCst), 1);
    drop(anna);
}

async fn i10_a_registry_that_never_answers_keeps_no_question_for_long<H: Host>() {
    let slow = Slow { hangs: true, ..Slow::default() };
    let timing = handclasp::Timing { step: Duration::from_millis(100), ..handclasp::Timing::default() };
    let ben =
        node::<H>(2).config(|config| config.timing(timing)).registry(slow.clone()).listen("127.0.0.1:0");
    let ben = start(ben).await;
    let anna = start(node::<H>(1).peer(id(2), [address(&ben)], Permanence::Permanent)).await;
    until("it was asked", || slow.asked.load(Ordering::SeqCst) > 0).await;
    soon(anna.shutdown(Duration::from_secs(5))).await;
    until("nobody waits for it", || slow.asked.load(Ordering::SeqCst) == 0).await;
}

handclasp_adapters::on_every_host!(
    i5_a_revoked_peer_loses_its_link_its_calls_and_its_messages_at_once,
    i5_trust_for_a_time_runs_out,
    i9_services_are_for_whom_they_are_allowed_and_change_while_links_live,
    h6_the_application_decides_about_each_peer,
    i10_an_external_registry_is_asked_and_told_and_its_failure_refuses,
    o1_a_snapshot_shows_peers_and_links,
    o4_many_nodes_live_in_one_process,
    m8_an_application_that_takes_no_events_is_told_how_many_it_missed,
    l3_no_task_outlives_the_last_handle,
    i10_a_shutdown_waits_for_what_the_registry_writes,
    i10_a_registry_that_never_answers_keeps_no_question_for_long,
);
