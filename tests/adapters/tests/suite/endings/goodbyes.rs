//! How long a goodbye takes at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use handclasp::node::Permanence;
use handclasp::runtime::{Link, Runtime, Services};
use handclasp::services::Allow;
use handclasp::{Message, Reason, Why};
use handclasp_adapters::links::{Guard, config, hanging, id, tapped};
use handclasp_adapters::nodes::{address, node, start};
use handclasp_adapters::{Host, Tap, Task, soon, spawn, until};

use super::held::{Clock, Held};

/// How long a goodbye may take: what nodes 1 and 2 have by default.
const DRAIN: Duration = Duration::from_secs(5);

/// A service `stuck` whose handler of messages never ends, and how many of those are alive.
fn stuck<R: Runtime>(services: Services<R>) -> (Services<R>, Arc<AtomicUsize>) {
    let alive = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&alive);
    let services = services.on("stuck", Allow::Anyone, move |_| {
        let guard = Guard::new(&counter);
        async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        }
    });
    (services, alive)
}

/// Says goodbye on a link of which nothing ends by itself, and lets no more time pass than that may take.
async fn ends_in_time<R: Host>(clock: &Clock, link: Link<Held<R>>, goodbye: Task<Reason>) {
    let drains =
        || matches!(link.try_send(Message::new("none", "")), Err(rejected) if rejected.why == Why::Draining);
    until("the link drains", drains).await;
    clock.pass(DRAIN);
    assert_eq!(soon(goodbye).await, Ok(Reason::DrainTimeout));
}

/// A link of which the first side has a message with a handler that never ends, and a call at the other side
/// that is never answered.
async fn busy<H: Host>() -> (Link<Held<H>>, Link<Held<H>>, Tap, Task<()>) {
    let (here, handlers) = stuck::<Held<H>>(Services::new());
    let (there, calls) = hanging::<Held<H>>();
    let (one, two) = (config::<Held<H>>(1), config::<Held<H>>(2));
    let (dialled, accepted, tap) = tapped((&one, &here), (&two, &there)).await;
    soon(accepted.send(Message::new("stuck", ""))).await.expect("an open link");
    let caller = dialled.clone();
    let call = spawn::<Held<H>, _>(async move {
        caller.call_with(Message::new("hang", ""), DRAIN * 100).await.expect_err("no answer");
    });
    let both = || handlers.load(Ordering::SeqCst) == 1 && calls.load(Ordering::SeqCst) == 1;
    until("both handlers run", both).await;
    (dialled, accepted, tap, call)
}

async fn l3_a_goodbye_keeps_its_deadline_with_handlers_and_calls_that_hang<H: Host>() {
    let clock = Clock::new();
    let work = async {
        let (dialled, _accepted, _tap, call) = busy::<H>().await;
        let link = dialled.clone();
        let goodbye = spawn::<Held<H>, _>(async move { link.goodbye(0, "").await.reason });
        ends_in_time(&clock, dialled, goodbye).await;
        soon(call).await.expect("it failed with the link");
    };
    clock.run(work).await;
}

async fn l3_a_goodbye_keeps_its_deadline_with_a_peer_that_takes_nothing<H: Host>() {
    let clock = Clock::new();
    let work = async {
        let (dialled, _accepted, tap, _call) = busy::<H>().await;
        tap.stall_after(0);
        let body = vec![0; 32 << 10];
        while dialled.try_send(Message::new("none", &*body)).is_ok() {}
        // The task takes what it can, and then no more.
        until("the queue stays full", || dialled.try_send(Message::new("none", &*body)).is_err()).await;
        let link = dialled.clone();
        let goodbye = spawn::<Held<H>, _>(async move { link.goodbye(0, "").await.reason });
        ends_in_time(&clock, dialled, goodbye).await;
    };
    clock.run(work).await;
}

async fn l3_disconnecting_a_peer_keeps_the_same_deadline<H: Host>() {
    let clock = Clock::new();
    let work = async {
        let (there, calls) = hanging::<Held<H>>();
        let ben = start(node::<Held<H>>(2).services(&there).listen("127.0.0.1:0")).await;
        let (here, handlers) = stuck::<Held<H>>(Services::new());
        let anna = node::<Held<H>>(1).services(&here);
        let anna = start(anna.peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
        let peer = anna.peer(id(2));
        let link = soon(peer.connect()).await.expect("a link");
        soon(ben.peer(id(1)).send(Message::new("stuck", ""))).await.expect("queued");
        let caller = link.clone();
        let _call = spawn::<Held<H>, _>(async move {
            caller.call_with(Message::new("hang", ""), DRAIN * 100).await.expect_err("no answer");
        });
        let both = || handlers.load(Ordering::SeqCst) == 1 && calls.load(Ordering::SeqCst) == 1;
        until("both handlers run", both).await;
        let goodbye =
            spawn::<Held<H>, _>(
                async move { peer.disconnect(0, "").await.expect("there was a link").reason },
            );
        ends_in_time(&clock, link, goodbye).await;
    };
    clock.run(work).await;
}

handclasp_adapters::on_every_host!(
    l3_a_goodbye_keeps_its_deadline_with_handlers_and_calls_that_hang,
    l3_a_goodbye_keeps_its_deadline_with_a_peer_that_takes_nothing,
    l3_disconnecting_a_peer_keeps_the_same_deadline,
);
