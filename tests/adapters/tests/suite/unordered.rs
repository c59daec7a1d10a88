//! Messages that ask for no order: beside others, and within bounds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_channel::unbounded;
use async_lock::Semaphore;
use handclasp::node::Permanence;
use handclasp::runtime::{Request, Services};
use handclasp::services::Allow;
use handclasp::{Limits, Message};
use handclasp_adapters::links::{builder, id, pair, pair_of};
use handclasp_adapters::nodes::{address, node, start};
use handclasp_adapters::{Host, sleep, soon, spawn, until};

/// A service whose handler notes the body of each message, and then waits until the gate lets it through.
struct Gated<H: Host> {
    services: Services<H>,
    gate: Arc<Semaphore>,
    begun: Arc<Mutex<Vec<String>>>,
    done: Arc<AtomicUsize>,
}

impl<H: Host> Gated<H> {
    fn new() -> Self {
        let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let done = Arc::new(AtomicUsize::new(0));
        let (own, seen, count) = (Arc::clone(&gate), Arc::clone(&begun), Arc::clone(&done));
        let services = Services::<H>::new().on("work", Allow::Anyone, move |request: Request<H>| {
            let text = String::from_utf8(request.body.to_vec()).expect("text");
            seen.lock().expect("no panic").push(text);
            let (gate, done) = (Arc::clone(&own), Arc::clone(&count));
            async move {
                gate.acquire().await.forget();
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { services, gate, begun, done }
    }

    fn begun(&self) -> Vec<String> {
        self.begun.lock().expect("no panic").clone()
    }
}

async fn m11_unordered_messages_are_handled_beside_one_that_is_behind<H: Host>() {
    let gated = Gated::<H>::new();
    let (link, _other) = pair(&gated.services).await;
    for text in ["first", "second"] {
        soon(link.send(Message::new("work", text))).await.expect("sent");
    }
    let long = "long ".repeat(1000);
    for text in ["third", "fourth", &long] {
        soon(link.send(Message::new("work", text).unordered())).await.expect("sent");
    }
    until("all that ask for no order have begun", || gated.begun().len() == 4).await;
    assert_eq!(gated.begun(), ["first", "third", "fourth", &long]);
    gated.gate.add_permits(100);
    until("all are done", || gated.done.load(Ordering::SeqCst) == 5).await;
    assert_eq!(gated.begun().last().map(String::as_str), Some("second"));
}

async fn m8_m11_no_more_of_them_run_at_a_time_than_calls_may<H: Host>() {
    let gated = Gated::<H>::new();
    let limits = Limits { max_calls: 3, ..Limits::default() };
    let few = |number| builder::<H>(number).limits(limits).build().expect("a configuration");
    let (link, _other) = pair_of((&few(1), &Services::<H>::new()), (&few(2), &gated.services)).await;
    for number in 0..10 {
        let message = Message::new("work", number.to_string()).unordered();
        soon(link.send(message)).await.expect("sent");
    }
    until("three have begun", || gated.begun().len() == 3).await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(gated.begun().len(), 3);
    gated.gate.add_permits(2);
    until("two others have begun", || gated.begun().len() == 5).await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(gated.begun().len(), 5);
    gated.gate.add_permits(100);
    until("all are done", || gated.done.load(Ordering::SeqCst) == 10).await;
}

async fn l3_m11_what_came_before_the_end_of_its_link_is_handled<H: Host>() {
    let gated = Gated::<H>::new();
    let (link, other) = pair(&gated.services).await;
    for number in 0..3 {
        let message = Message::new("work", number.to_string()).unordered();
        soon(link.send(message)).await.expect("sent");
    }
    until("all have begun", || gated.begun().len() == 3).await;
    let (sender, said) = unbounded();
    let goodbye = spawn::<H, _>(async move {
        let closed = link.goodbye(1, "").await;
        sender.try_send(closed).expect("the test waits");
    });
    sleep(Duration::from_millis(50)).await;
    gated.gate.add_permits(3);
    soon(said.recv()).await.expect("an end");
    soon(goodbye).await.expect("no panic");
    soon(other.closed()).await;
    until("all are done", || gated.done.load(Ordering::SeqCst) == 3).await;
}

async fn l3_m11_a_closed_link_ends_their_handlers<H: Host>() {
    let gated = Gated::<H>::new();
    let (link, other) = pair(&gated.services).await;
    soon(link.send(Message::new("work", "never done").unordered())).await.expect("sent");
    until("it has begun", || gated.begun().len() == 1).await;
    other.close();
    soon(other.closed()).await;
    soon(link.closed()).await;
    gated.gate.add_permits(1);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(gated.done.load(Ordering::SeqCst), 0);
}

async fn m11_a_node_s_messages_keep_their_mark<H: Host>() {
    let gated = Gated::<H>::new();
    let ben = start(node::<H>(2).services(&gated.services).listen("127.0.0.1:0")).await;
    let anna = start(node::<H>(1).peer(id(2), [address(&ben)], Permanence::Permanent)).await;
    let peer = anna.peer(id(2));
    // They wait for the link at first, in the node.
    for (text, unordered) in [("1", false), ("2", false), ("3", true), ("4", true)] {
        let mut message = Message::new("work", text);
        message.unordered = unordered;
        soon(peer.send(message)).await.expect("queued");
    }
    until("three have begun", || gated.begun().len() == 3).await;
    assert_eq!(gated.begun(), ["1", "3", "4"]);
    gated.gate.add_permits(4);
    until("all are done", || gated.done.load(Ordering::SeqCst) == 4).await;
}

handclasp_adapters::on_every_host!(
    m11_unordered_messages_are_handled_beside_one_that_is_behind,
    m8_m11_no_more_of_them_run_at_a_time_than_calls_may,
    l3_m11_what_came_before_the_end_of_its_link_is_handled,
    l3_m11_a_closed_link_ends_their_handlers,
    m11_a_node_s_messages_keep_their_mark,
);
