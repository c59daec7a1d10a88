//! Nodes: what becomes of messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_channel::bounded;
use handclasp::node::{NodeEvent, NodePolicy, Permanence, Undelivered};
use handclasp::runtime::{Delivery, NotSent, Peer, Request, Runtime, Services, WhyNotSent};
use handclasp::services::Allow;
use handclasp::{CallError, Executed, Limits, Message, Priority, Reason, Trust};
use handclasp_adapters::nodes::{address, echo, event, id, node, policy, port, start, stop};
use handclasp_adapters::{Host, sleep, soon, spawn, timeout, unblock, until};

/// Numbers that came in, with the links that they came on.
#[derive(Clone, Default)]
pub(crate) struct Numbers(Arc<Mutex<Vec<(Binding, u32)>>>);

/// What tells links apart.
pub(crate) type Binding = [u8; 32];

impl Numbers {
    pub(crate) fn services<R: Runtime>(&self) -> Services<R> {
        let log = self.clone();
        echo().on("log", Allow::Anyone, move |request| {
            log.note(&request);
            async {}
        })
    }

    pub(crate) fn note<R: Runtime>(&self, request: &Request<R>) {
        let number = request.body.first_chunk().copied().expect("a number");
        let entry = (request.peer.channel_binding, u32::from_be_bytes(number));
        self.0.lock().expect("no panic").push(entry);
    }

    /// The links that carried them.
    pub(crate) fn links(&self) -> BTreeSet<Binding> {
        self.0.lock().expect("no panic").iter().map(|(link, _)| *link).collect()
    }

    pub(crate) fn has(&self, number: u32) -> bool {
        self.0.lock().expect("no panic").iter().any(|(_, one)| *one == number)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().expect("no panic").len()
    }

    /// The numbers as they were sent: link by link, since two links have handlers of their own, and what one
    /// has carried is before what the next one carries.
    pub(crate) fn sent(&self) -> Vec<u32> {
        let mut links: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        for (link, number) in &*self.0.lock().expect("no panic") {
            links.entry(*link).or_default().push(*number);
        }
        let mut links: Vec<_> = links.into_values().collect();
        links.sort_by_key(|numbers| numbers.first().copied());
        let sent = links.concat();
        assert!(sent.is_sorted_by(|one, next| one < next), "out of order or twice: {links:?}");
        sent
    }
}

async fn log<R: Runtime>(peer: &Peer<R>, number: u32) {
    soon(peer.send(Message::new("log", &number.to_be_bytes()))).await.expect("it is queued");
}

async fn d3_what_is_sent_before_there_is_a_peer_comes_later_in_order<H: Host>() {
    let seen = Numbers::default();
    let anna = start(node::<H>(1)).await;
    let (_port, home) = port();
    let peer = anna.peer(id(2));
    peer.set_addresses([home]);
    for number in 0..100 {
        log(&peer, number).await;
    }
    assert_eq!(peer.status().expect("it is known").queued, 100);
    let _ben = start(node::<H>(2).services(&seen.services()).listen(home)).await;
    until("all there", || seen.len() == 100).await;
    log(&peer, 100).await;
    until("all there", || seen.len() == 101).await;
    assert_eq!(seen.sent(), (0..101).collect::<Vec<_>>());
    assert_eq!(peer.status().expect("it is known").queued, 0);
}

async fn d3_m11_what_cannot_be_sent_in_its_time_comes_back<H: Host>() {
    let anna = start(node::<H>(1)).await;
    let mut events = anna.events();
    let peer = anna.peer(id(2));
    // An address that is tried again and again.
    let (_port, nobody) = port();
    peer.set_addresses([nobody]);
    let message = Message::new("log", "a secret body");
    let now = soon(peer.send_with(message.clone(), Delivery::Now)).await.expect_err("no link");
    assert_eq!((now.why, now.message.body.len()), (WhyNotSent::NotNow, 13));
    let begun = Instant::now();
    let time = Duration::from_millis(150);
    soon(peer.send_with(message.clone(), Delivery::Until(time))).await.expect("it is kept");
    let (envelope, why) = event(&mut events, |event| match event {
        NodeEvent::Undelivered { envelope, why, .. } => Some((envelope.clone(), *why)),
        _ => None,
    })
    .await;
    assert_eq!(
        (&*envelope.service, &*envelope.body, why),
        ("log", &b"a secret body"[..], Undelivered::Expired)
    );
    assert!(begun.elapsed() >= time && begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Where dialling changes nothing it comes back at once.
    let ben = start(node::<H>(2).trust(Trust::listed([id(3)])).listen("127.0.0.1:0")).await;
    peer.set_addresses([address(&ben)]);
    soon(peer.send(message)).await.expect("it is kept");
    let given_up = event(&mut events, |event| match event {
        NodeEvent::Undelivered { why, .. } => Some(*why),
        _ => None,
    });
    assert_eq!(given_up.await, Undelivered::GivenUp);
}

async fn m11_what_is_for_now_is_dropped_when_a_busy_link_cannot_send_it<H: Host>() {
    let stuck = Services::<H>::new().on("log", Allow::Anyone, |_| std::future::pending());
    let limits = Limits { window: 64 << 10, max_message: 32 << 10, ..Limits::default() };
    let ben = node::<H>(2).config(|config| config.limits(limits)).services(&stuck).listen("127.0.0.1:0");
    let ben = start(ben).await;
    let anna = node::<H>(1).config(|config| config.send_buffer(64 << 10));
    let anna = start(anna.peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
    let (peer, mut events) = (anna.peer(id(2)), anna.events());
    soon(peer.connect()).await.expect("a link");
    let body = vec![0; 30 << 10];
    let message = || Message::new("log", &*body);
    // Ones that go, until the peer's window is full, and one that is queued behind them.
    let dropped = loop {
        soon(peer.send_with(message(), Delivery::Now)).await.expect("there is room");
        let expired = event(&mut events, |event| match event {
            NodeEvent::Undelivered { envelope, why, .. } => Some((envelope.body.len(), *why)),
            _ => None,
        });
        if let Some(dropped) = timeout(Duration::from_millis(300), expired).await {
            break dropped;
        }
    };
    assert_eq!(dropped, (body.len(), Undelivered::Expired));
    // And one that finds no room, since others wait that are worth keeping.
    while timeout(Duration::from_millis(300), peer.send(message())).await.is_some() {}
    let begun = Instant::now();
    let refused = soon(peer.send_with(message(), Delivery::Now)).await.expect_err("no room");
    assert_eq!((refused.why, refused.message.body.len()), (WhyNotSent::NotNow, body.len()));
    assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
}

async fn m8_the_outbox_is_bounded_and_send_waits_for_room<H: Host>() {
    let bounded = NodePolicy { outbox_per_peer: 10_000, ..policy() };
    let seen = Numbers::default();
    let anna = start(node::<H>(1).policy(bounded)).await;
    let peer = anna.peer(id(2));
    let (_port, home) = port();
    peer.set_addresses([home]);
    let mut body = [0; 1000];
    let mut taken: u32 = 0;
    let refused = loop {
        body[..4].copy_from_slice(&taken.to_be_bytes());
        match peer.try_send(Message::new("log", &body)) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused.why, refused.message.body.len(), taken), (WhyNotSent::Full, 1000, 10));
    let waiting = spawn::<H, _>({
        let peer = peer.clone();
        async move { log(&peer, 99).await }
    });
    sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    let _ben = start(node::<H>(2).services(&seen.services()).listen(home)).await;
    soon(waiting).await.expect("no panic");
    until("all there", || seen.len() == 11).await;
    assert_eq!(seen.sent().last(), Some(&99));
    // What nobody takes at all.
    let name = "x".repeat(256);
    let long = peer.try_send(Message::new(&name, "")).expect_err("too long");
    assert_eq!(long.why, WhyNotSent::LongServiceName);
    let large = vec![0; 17 << 20];
    let NotSent { why, .. } = peer.try_send(Message::new("log", large)).expect_err("too large");
    assert_eq!(why, WhyNotSent::TooLarge { limit: anna_limit(&peer) });
}

fn anna_limit<R: Runtime>(peer: &Peer<R>) -> u32 {
    peer.link().map_or(Limits::default().max_message, |link| link.peer().limits().max_message)
}

const COUNT: u32 = 20_000;

async fn m4_m6_order_is_kept_and_nothing_comes_twice_while_links_are_killed<H: Host>() {
    let seen = Numbers::default();
    let ben = start(node::<H>(2).services(&seen.services()).listen("127.0.0.1:0")).await;
    let anna = node::<H>(1).event_buffer(16 << 10).peer(id(2), [address(&ben)], Permanence::Permanent);
    let anna = start(anna).await;
    let (peer, mut events) = (anna.peer(id(2)), anna.events());
    soon(peer.connect()).await.expect("a link");
    let (done, told) = bounded::<()>(1);
    let killing = spawn::<H, _>({
        let (here, there) = (peer.clone(), ben.peer(id(1)));
        async move {
            let mut killed = 0;
            loop {
                let wait = timeout(Duration::from_millis(7), told.recv());
                if wait.await.is_some() {
                    return killed;
                }
                // Turn by turn from each side.
                let side = if killed % 2 == 0 { &here } else { &there };
                if let Some(link) = side.link() {
                    link.close();
                    killed += 1;
                }
            }
        }
    });
    let calls = spawn::<H, _>({
        let peer = peer.clone();
        async move {
            let (mut answered, mut failed) = (0, 0);
            for number in 0..500_u32 {
                match soon(peer.call("echo", number.to_string())).await {
                    Ok(body) => {
                        assert_eq!(body, number.to_string());
                        answered += 1;
                    }
                    Err(CallError::LinkClosed { reason: Reason::Dropped, executed }) => {
                        assert!(matches!(executed, Executed::No | Executed::Unknown));
                        failed += 1;
                    }
                    Err(CallError::LinkClosed { reason: Reason::Truncated | Reason::Transport, .. }) => {
                        failed += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            (answered, failed)
        }
    });
    for number in 0..COUNT {
        log(&peer, number).await;
        if number % 50 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    let (answered, failed) = soon(calls).await.expect("no panic");
    drop(done);
    let killed = soon(killing).await.expect("no panic");
    // An answer shows that this link lives.
    soon(async { while peer.call("echo", "").await.is_err() {} }).await;
    log(&peer, COUNT).await;
    until("the last one", || seen.has(COUNT)).await;
    let got = seen.sent();
    let links = seen.links();
    // What was sealed when its link was killed may be lost, and is reported; the rest came.
    assert!(stop(anna).await.is_empty());
    let mut unknown = 0;
    while let Some(event) = soon(events.next()).await {
        match &*event.expect("none missed") {
            NodeEvent::Unlinked { closed, .. } => unknown += closed.unknown,
            event @ (NodeEvent::Undelivered { .. } | NodeEvent::Superseded { .. }) => panic!("{event:?}"),
            _ => {}
        }
    }
    assert!(got.len() + unknown > COUNT as usize, "{} came, {unknown} unknown", got.len());
    assert!(killed > 3 && links.len() > 1, "{killed} links were killed, {} carried messages", links.len());
    assert!(answered > 0 && answered + failed == 500, "{answered} answered, {failed} failed");
}

async fn c4_m6_nothing_is_lost_or_reordered_when_one_link_takes_over_from_another<H: Host>() {
    // Both dial again and again: each time one link takes over while messages are under way.
    let seen = Numbers::default();
    let ben = start(node::<H>(2).services(&seen.services()).listen("127.0.0.1:0")).await;
    let anna = start(node::<H>(1).services(&echo()).listen("127.0.0.1:0")).await;
    let (to_ben, to_anna) = (anna.peer(id(2)), ben.peer(id(1)));
    to_ben.set_addresses([address(&ben)]);
    to_anna.set_addresses([address(&anna)]);
    let mut number = 0;
    for _ in 0..30 {
        for _ in 0..50 {
            log(&to_ben, number).await;
            number += 1;
        }
        // A goodbye from here, and a new link from there while it drains.
        let parting = spawn::<H, _>({
            let peer = to_ben.clone();
            async move { peer.disconnect(0, "").await }
        });
        for _ in 0..20 {
            log(&to_ben, number).await;
            number += 1;
        }
        soon(to_anna.call("echo", "")).await.ok();
        soon(parting).await.expect("no panic");
    }
    until("all there", || seen.len() == number as usize).await;
    assert_eq!(seen.sent(), (0..number).collect::<Vec<_>>());
}

async fn m6_order_is_kept_at_the_moment_at_which_a_link_comes_up<H: Host>() {
    for _ in 0..30 {
        let seen = Numbers::default();
        let ben = start(node::<H>(2).services(&seen.services()).listen("127.0.0.1:0")).await;
        let anna = start(node::<H>(1).peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
        let peer = anna.peer(id(2));
        // From a thread of its own, without a pause: before, while and after the link comes up.
        let sending = unblock::<H, _>(move || {
            let (mut next, mut after) = (0_u32, 0);
            while after < 300 {
                match peer.try_send(Message::new("log", &next.to_be_bytes())) {
                    Ok(()) => next += 1,
                    Err(full) => assert_eq!(full.why, WhyNotSent::Full),
                }
                after += u32::from(peer.link().is_some());
            }
            next
        });
        let sent = soon(sending).await.expect("no panic");
        until("all there", || seen.len() >= sent as usize).await;
        assert_eq!(seen.sent(), (0..sent).collect::<Vec<_>>());
    }
}

async fn m1_m7_priorities_go_with_their_messages<H: Host>() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let services = Services::<H>::new().on("log", Allow::Anyone, {
        let order = Arc::clone(&order);
        move |request| {
            order.lock().expect("no panic").push((request.priority, request.sequence));
            async {}
        }
    });
    let ben = start(node::<H>(2).services(&services).listen("127.0.0.1:0")).await;
    let anna = start(node::<H>(1).peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
    let peer = anna.peer(id(2));
    // Some of them wait for the link, the others go by it.
    for priority in [Priority::Bulk, Priority::Urgent, Priority::Bulk, Priority::Urgent] {
        soon(peer.send(Message::new("log", "").priority(priority))).await.expect("it is queued");
    }
    soon(peer.connect()).await.expect("a link");
    for priority in [Priority::Bulk, Priority::Urgent] {
        soon(peer.send(Message::new("log", "").priority(priority))).await.expect("it is queued");
    }
    until("all there", || order.lock().expect("no panic").len() == 6).await;
    let order = order.lock().expect("no panic").clone();
    for priority in [Priority::Bulk, Priority::Urgent] {
        let sequence: Vec<_> = order.iter().filter(|(of, _)| *of == priority).map(|(_, at)| *at).collect();
        assert_eq!(sequence, [0, 1, 2], "{order:?}");
    }
}

async fn l3_shutdown_gives_back_what_was_not_delivered_and_keeps_its_deadline<H: Host>() {
    let stuck = Services::<H>::new().on("log", Allow::Anyone, |_| std::future::pending());
    let ben = start(node::<H>(2).services(&stuck).listen("127.0.0.1:0")).await;
    let anna = start(node::<H>(1).peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
    let (peer, absent) = (anna.peer(id(2)), anna.peer(id(3)));
    let (_port, nobody) = port();
    absent.set_addresses([nobody]);
    soon(absent.send(Message::new("log", "for nobody"))).await.expect("it is kept");
    soon(peer.connect()).await.expect("a link");
    // More than the other side takes: until nothing moves any more.
    let body = vec![1; 60_000];
    let (mut sent, mut full) = (0, 0);
    while full < 100 {
        if peer.try_send(Message::new("log", &*body)).is_ok() {
            (sent, full) = (sent + 1, 0);
        } else {
            full += 1;
        }
        sleep(Duration::from_millis(2)).await;
    }
    let begun = Instant::now();
    let left = anna.shutdown(Duration::from_millis(700)).await;
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    assert!(left.iter().any(|(peer, envelope)| *peer == id(3) && envelope.body == "for nobody"), "{left:?}");
    let stuck = left.iter().filter(|(peer, envelope)| *peer == id(2) && envelope.body == body).count();
    assert!(stuck > 0 && stuck <= sent, "{stuck} of {sent}");
    // Whoever asks again learns the same.
    let NotSent { why, .. } = soon(peer.send(Message::new("log", ""))).await.expect_err("it has ended");
    assert_eq!(why, WhyNotSent::ShuttingDown);
    assert!(soon(peer.call("echo", "")).await.is_err() && peer.link().is_none());
    assert_eq!(stop(anna).await, []);
}

/// Messages of one peer are handled one after the other, all of them and in order, also while one link takes
/// over from another and the handler is far behind.
async fn handled_over_two_links<H: Host>(ending: impl AsyncFn(&Peer<H>)) {
    let handled = Arc::new(Mutex::new(Vec::new()));
    let (seen, busy) = (Arc::clone(&handled), Arc::new(AtomicBool::new(false)));
    let services = Services::<H>::new().on("slow", Allow::Anyone, move |request| {
        let (seen, busy) = (Arc::clone(&seen), Arc::clone(&busy));
        async move {
            assert!(!busy.swap(true, Ordering::SeqCst), "two at a time");
            sleep(Duration::from_millis(5)).await;
            seen.lock()
                .expect("no panic")
                .push(u32::from_be_bytes(request.body.first_chunk().copied().expect("a number")));
            busy.store(false, Ordering::SeqCst);
        }
    });
    let ben = start(node::<H>(2).services(&services).listen("127.0.0.1:0")).await;
    let anna = start(node::<H>(1).peer(id(2), [address(&ben)], Permanence::Permanent)).await;
    let peer = anna.peer(id(2));
    soon(peer.connect()).await.expect("a link");
    for number in 0..50_u32 {
        soon(peer.send(Message::new("slow", &number.to_be_bytes()[..]))).await.expect("it is queued");
    }
    until("some are handled", || handled.lock().expect("no panic").len() > 5).await;
    soon(ending(&peer)).await;
    for number in 50..100_u32 {
        soon(peer.send(Message::new("slow", &number.to_be_bytes()[..]))).await.expect("it is queued");
    }
    until("all are handled", || handled.lock().expect("no panic").len() >= 100).await;
    assert_eq!(*handled.lock().expect("no panic"), (0..100).collect::<Vec<_>>());
}

async fn m6_what_came_before_a_goodbye_is_handled_before_what_comes_on_the_next_link<H: Host>() {
    handled_over_two_links::<H>(async |peer| drop(peer.disconnect(0, "").await)).await;
}

async fn m6_what_came_before_a_close_is_handled_before_what_comes_on_the_next_link<H: Host>() {
    handled_over_two_links::<H>(async |peer| peer.link().expect("a link").close()).await;
}

handclasp_adapters::on_every_host!(
    d3_what_is_sent_before_there_is_a_peer_comes_later_in_order,
    d3_m11_what_cannot_be_sent_in_its_time_comes_back,
    m11_what_is_for_now_is_dropped_when_a_busy_link_cannot_send_it,
    m8_the_outbox_is_bounded_and_send_waits_for_room,
    m4_m6_order_is_kept_and_nothing_comes_twice_while_links_are_killed,
    c4_m6_nothing_is_lost_or_reordered_when_one_link_takes_over_from_another,
    m6_order_is_kept_at_the_moment_at_which_a_link_comes_up,
    m1_m7_priorities_go_with_their_messages,
    l3_shutdown_gives_back_what_was_not_delivered_and_keeps_its_deadline,
    m6_what_came_before_a_goodbye_is_handled_before_what_comes_on_the_next_link,
    m6_what_came_before_a_close_is_handled_before_what_comes_on_the_next_link,
);
