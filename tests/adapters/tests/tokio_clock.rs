//! A clock that a test holds still, which tokio alone has.

use std::future::pending;
use std::time::Duration;

use handclasp::node::{NodeEvent, Undelivered};
use handclasp::{CallError, Executed, Message, Timing};
use handclasp_adapters::links::{builder, config, echo, pair_of};
use handclasp_adapters::nodes::{id, node};
use handclasp_tokio::{Allow, Delivery, Services, Tokio};

/// Time is tokio's: while nothing else can happen, a clock that is held still goes on to the next deadline.
#[tokio::test(start_paused = true)]
async fn l1_l6_m3_a_paused_clock_brings_deadlines_at_once() {
    let (real, begun) = (std::time::Instant::now(), tokio::time::Instant::now());
    let hours = Duration::from_secs(3600);
    let timing = Timing { ephemeral: Some(10 * hours), ..Timing::default() };
    let one = builder::<Tokio>(1).timing(timing).build().expect("a configuration");
    let stuck = echo::<Tokio>().serve("hang", Allow::Anyone, |_| pending());
    let (link, other) = pair_of((&one, &Services::new()), (&config::<Tokio>(2), &stuck)).await;
    // A call's time is over an hour later, to the millisecond, and hours of pings end nothing.
    let late = link.call_with(Message::new("hang", ""), hours).await;
    assert_eq!(late, Err(CallError::DeadlineExceeded { executed: Executed::Unknown }));
    let took = begun.elapsed();
    assert!(took >= hours && took < hours + Duration::from_millis(10), "{took:?}");
    assert_eq!(link.call("echo", "still here").await.expect("a live link"), "still here");
    // Without traffic of the application the link ends when its time is over.
    let idle = tokio::time::Instant::now();
    let closed = link.closed().await;
    assert_eq!(closed.reason.name(), "idle", "{closed}");
    assert_eq!(other.closed().await.reason.name(), "idle");
    let took = idle.elapsed();
    assert!(took >= 10 * hours && took < 11 * hours, "{took:?}");
    assert!(real.elapsed() < Duration::from_secs(20), "{:?} of real time", real.elapsed());
}

/// A node's dials wait by the same clock.
#[tokio::test(start_paused = true)]
async fn d3_a_paused_clock_brings_a_messages_end_at_once() {
    let real = std::time::Instant::now();
    let anna = node::<Tokio>(1).start().await.expect("a node");
    let mut events = anna.events();
    let message = Message::new("log", "for nobody");
    let day = Duration::from_secs(24 * 3600);
    let begun = tokio::time::Instant::now();
    // There is no address to dial, so that nothing but the clock has a say.
    let peer = anna.peer(id(2));
    peer.send_with(message, Delivery::Until(day)).await.expect("it is kept");
    loop {
        let event = events.next().await.expect("it runs").expect("none missed");
        if let NodeEvent::Undelivered { envelope, why, .. } = &*event {
            assert_eq!(*why, Undelivered::Expired);
            assert_eq!(envelope.body, "for nobody");
            break;
        }
    }
    assert!(
        begun.elapsed() >= day && begun.elapsed() < day + Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert!(real.elapsed() < Duration::from_secs(20), "{:?} of real time", real.elapsed());
}
