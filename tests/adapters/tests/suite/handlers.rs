//! What becomes of messages, calls and streams at the side that serves them: at the end of their link, and when there
//! are too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_lock::Semaphore;
use handclasp::runtime::{Link, Runtime, Services};
use handclasp::services::Allow;
use handclasp::{ConfigBuilder, Limits, Message, Timing};
use handclasp_adapters::links::{builder, config, tapped};
use handclasp_adapters::{Host, Tap, sleep, soon, until};

/// A service `work` for messages, whose handlers wait at a gate.
struct Gated<R> {
    services: Services<R>,
    gate: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
    done: Arc<AtomicUsize>,
}

impl<R: Runtime> Gated<R> {
    fn new() -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let (begun, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (own, started, ended) = (Arc::clone(&gate), Arc::clone(&begun), Arc::clone(&done));
        let services = Services::<R>::new().on("work", Allow::Anyone, move |_| {
            started.fetch_add(1, Ordering::SeqCst);
            let (gate, done) = (Arc::clone(&own), Arc::clone(&ended));
            async move {
                gate.acquire().await.forget();
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { services, gate, begun, done }
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// Lets `count` handlers through, and waits until the one behind them has begun.
    async fn let_through(&self, count: usize) {
        let done = self.done.load(Ordering::SeqCst) + count;
        self.gate.add_permits(count);
        until("they are done", || self.done.load(Ordering::SeqCst) == done).await;
        until("the next has begun", || self.begun() == done + 1).await;
    }
}

/// Node `number`, whose links wait for their handlers at their end for as long as `drain`.
fn patient<R: Runtime>(number: u8, drain: Duration) -> ConfigBuilder {
    // Small enough that the sender counts each large body by itself; small ones are counted together.
    let limits = Limits { window: 600_000, max_message: 10_000, max_calls: 3, ..Limits::default() };
    builder::<R>(number).timing(Timing { drain, ..Timing::default() }).limits(limits)
}

/// Node 2 with `services` and such limits, and a link to it.
async fn patient_pair<H: Host>(services: &Services<H>, drain: Duration) -> (Link<H>, Link<H>, Tap) {
    let two = patient::<H>(2, drain).build().expect("a configuration");
    tapped((&config::<H>(1), &Services::<H>::new()), (&two, services)).await
}

/// Sends messages to the service `work`, and waits until all have come.
async fn send_work<H: Host>(link: &Link<H>, other: &Link<H>, count: u64) {
    for _ in 0..count {
        soon(link.send(Message::new("work", LARGE))).await.expect("sent");
    }
    while soon(other.stats()).await.messages_received < count {
        sleep(Duration::from_millis(2)).await;
    }
}

/// See [`patient`].
const LARGE: &[u8] = &[7; 5000];

/// Longer than anything in here takes.
const LONG: Duration = Duration::from_secs(120);

/// Short enough to be waited for.
const SHORT: Duration = Duration::from_millis(300);

async fn m6_l3_at_a_goodbye_each_message_is_handled_or_counted_at_both_ends<H: Host>() {
    let gated = Gated::<H>::new();
    let (link, other, _) = patient_pair(&gated.services, SHORT).await;
    send_work(&link, &other, 100).await;
    gated.let_through(3).await;
    // The answer brings word of what was taken.
    soon(link.ping()).await.expect("an answer");
    let (here, there) = (soon(link.goodbye(0, "")).await, soon(other.closed()).await);
    assert_eq!((gated.begun(), here.unsent), (4, 0));
    assert_eq!(here.unknown, 96, "the sender's");
    assert_eq!(there.untaken, 96, "the receiver's");
}

async fn m6_l5_at_a_cut_each_message_is_handled_or_counted_at_both_ends<H: Host>() {
    let gated = Gated::<H>::new();
    let (link, other, tap) = patient_pair(&gated.services, SHORT).await;
    send_work(&link, &other, 100).await;
    gated.let_through(3).await;
    soon(link.ping()).await.expect("an answer");
    tap.cut_after(0);
    let (here, there) = (soon(link.closed()).await, soon(other.closed()).await);
    assert_eq!((gated.begun(), here.unsent), (4, 0));
    assert_eq!(here.unknown, 96, "the sender's");
    assert_eq!(there.untaken, 96, "the receiver's");
}

async fn m6_m11_unordered_messages_beyond_what_may_run_are_counted_at_both_ends<H: Host>() {
    let gated = Gated::<H>::new();
    let (link, other, _) = patient_pair(&gated.services, SHORT).await;
    for _ in 0..10 {
        soon(link.send(Message::new("work", LARGE).unordered())).await.expect("sent");
    }
    until("three have begun", || gated.begun() == 3).await;
    soon(link.ping()).await.expect("an answer");
    let (here, there) = (soon(link.goodbye(0, "")).await, soon(other.closed()).await);
    assert_eq!((gated.begun(), here.unknown, there.untaken), (3, 7, 7));
}

async fn m6_l3_what_came_before_the_end_is_handled_in_its_time_by_one_handler_after_the_other<H: Host>() {
    let gated = Gated::<H>::new();
    let (link, other, _) = patient_pair(&gated.services, LONG).await;
    for _ in 0..50 {
        soon(link.send(Message::new("work", "to do"))).await.expect("sent");
    }
    gated.let_through(1).await;
    soon(link.goodbye(0, "")).await;
    gated.let_through(20).await;
    gated.gate.add_permits(50);
    assert_eq!(soon(other.closed()).await.untaken, 0);
    assert_eq!(gated.done.load(Ordering::SeqCst), 50);
}

handclasp_adapters::on_every_host!(
    m6_l3_at_a_goodbye_each_message_is_handled_or_counted_at_both_ends,
    m6_l5_at_a_cut_each_message_is_handled_or_counted_at_both_ends,
    m6_m11_unordered_messages_beyond_what_may_run_are_counted_at_both_ends,
    m6_l3_what_came_before_the_end_is_handled_in_its_time_by_one_handler_after_the_other,
);
