//! O3: links in a single-threaded event loop.

use std::time::{Duration, Instant};

use handclasp::{By, Config, Reason, SecretKey, Timing};

use crate::EventLoop;

#[test]
fn o3_a_hundred_links_in_one_thread_answer_every_call_and_end_by_goodbye() {
    let outcomes = crate::run(100, 5).expect("the loop ends by itself");
    assert_eq!(outcomes.len(), 200);
    for end in &outcomes {
        assert_eq!(end.answered, 5, "{}", end.closed);
        assert!(matches!(end.closed.reason, Reason::Goodbye { .. }), "{}", end.closed);
    }
    assert_eq!(outcomes.iter().filter(|end| end.closed.by == By::Local).count(), 100);
}

/// Nothing wakes the loop but its own deadlines: that of the handshake's first step, then that of the
/// stream's end.
#[test]
fn o3_a_connection_that_stays_silent_is_over_at_its_deadlines() {
    let timing = Timing { step: Duration::from_millis(50), ..Timing::default() };
    let config = Config::builder(SecretKey::from_bytes([1; 32]), 1).timing(timing).build();
    let mut event_loop = EventLoop::new(config.expect("a valid configuration"), 0).expect("a port");
    let address = event_loop.listener.local_addr().expect("bound");
    let silent = std::net::TcpStream::connect(address).expect("a connection");
    event_loop.accept().expect("the same connection");
    assert_eq!(event_loop.ends.len(), 1);
    let start = Instant::now();
    event_loop.run().expect("the loop ends by itself");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(event_loop.outcomes[0].closed.reason, Reason::HandshakeTimeout);
    assert!(event_loop.deadlines.is_empty() && event_loop.turn.is_empty());
    drop(silent);
}
