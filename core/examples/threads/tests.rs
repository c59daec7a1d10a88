//! O3: links on plain threads.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use handclasp::{
    Action, By, CallError, Closed, Config, ConfigBuilder, Dial, Event, Instant, Limits, Link, Peer, Ready,
    Reason, SecretKey, Seed, ServiceError, Signer, Timing, Trust,
};

use crate::connection::Connection;

/// A time that no step comes near, unless something hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes([number; 32])
}

fn builder(number: u8, peer: u8) -> ConfigBuilder {
    Config::builder(key(number), 1).trust(Trust::listed([key(peer).node_id()]))
}

/// Two ends of one TCP connection.
fn streams() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection");
    (near, listener.accept().expect("the same connection").0)
}

fn dialler(config: &Arc<Config>) -> impl FnOnce(Instant) -> Link {
    |now| Link::initiator(config, Dial::to(key(2).node_id()), &Seed::new([3; 32]), now)
}

fn acceptor(config: &Arc<Config>) -> impl FnOnce(Instant) -> Link {
    |now| Link::responder(config, 1, &Seed::new([4; 32]), now)
}

fn joined(driver: JoinHandle<Closed>) -> Closed {
    driver.join().expect("no panic")
}

#[test]
fn o3_the_example_runs_and_ends_by_itself() {
    crate::run().expect("every call answered, every link ended");
}

/// Both sides send more than the system's buffers and the link's credit hold, and neither reads only what
/// it has asked for: a thread that reads and writes by turns would hang.
#[test]
fn o3_large_calls_go_both_ways_at_once_over_blocking_sockets() {
    let (near, far) = streams();
    let (near_config, far_config) = (builder(1, 2).build().unwrap(), builder(2, 1).build().unwrap());
    let near = Connection::start(near, dialler(&near_config), crate::serve).expect("a connection");
    let far = Connection::start(far, acceptor(&far_config), crate::serve).expect("a connection");
    thread::scope(|scope| {
        for caller in 0..8_u8 {
            let connection = if caller % 2 == 0 { &near.0 } else { &far.0 };
            scope.spawn(move || {
                for round in 0..3 {
                    let body = vec![caller ^ round; 1 << 20];
                    let answer = connection.call("echo", &body, TIMEOUT).expect("an answer");
                    assert!(answer == body, "caller {caller} was given another answer in round {round}");
                }
            });
        }
    });
    near.0.goodbye();
    let (near, far) = (joined(near.1), joined(far.1));
    assert!(matches!(near.reason, Reason::Goodbye { .. }) && near.by == By::Local, "{near}");
    assert!(matches!(far.reason, Reason::Goodbye { .. }) && far.by == By::Peer, "{far}");
}

#[test]
fn o3_a_service_that_panics_fails_its_call_and_not_the_link() {
    let (near, far) = streams();
    let (near_config, far_config) = (builder(1, 2).build().unwrap(), builder(2, 1).build().unwrap());
    let (near, _) = Connection::start(near, dialler(&near_config), crate::serve).expect("a connection");
    let serve = |_: &Peer, service: &str, body: &[u8]| match service {
        "echo" => Ok(body.to_vec()),
        _ => panic!("this panic is meant"),
    };
    let (_far, driver) = Connection::start(far, acceptor(&far_config), serve).expect("a connection");
    let failed = near.call("boom", b"", TIMEOUT).expect_err("no answer");
    let failed = failed.downcast::<CallError>().expect("a call that was made");
    assert_eq!(*failed, CallError::Service(ServiceError::HandlerFailed));
    assert_eq!(near.call("echo", b"still there?", TIMEOUT).expect("an answer"), b"still there?");
    near.goodbye();
    assert!(matches!(joined(driver).reason, Reason::Goodbye { .. }));
}

#[test]
fn o3_a_stream_that_stays_silent_ends_at_the_links_own_deadline() {
    let (silent, far) = streams();
    let timing = Timing { step: Duration::from_millis(50), ..Timing::default() };
    let config = builder(2, 1).timing(timing).build().unwrap();
    let (connection, driver) = Connection::start(far, acceptor(&config), crate::serve).expect("a connection");
    assert_eq!(joined(driver).reason, Reason::HandshakeTimeout);
    let late = connection.call("echo", b"anybody there?", TIMEOUT).expect_err("the link is over");
    assert!(late.downcast_ref::<Closed>().is_some_and(|closed| closed.reason == Reason::HandshakeTimeout));
    drop(silent);
}

/// The driver waits in `write` most of the time, and sees the deadlines all the same.
#[test]
fn o3_a_peer_that_stops_reading_is_given_up() {
    let (mut near, far) = streams();
    let timing = Timing { stall: Duration::from_millis(300), ..Timing::default() };
    // More credit than the system has buffers: it is the stream that stops, not the link.
    let limits = Limits { window: 64 << 20, ..Limits::default() };
    let near_config = builder(1, 2).limits(limits).build().unwrap();
    let far_config = builder(2, 1).limits(limits).timing(timing).build().unwrap();
    let (connection, driver) =
        Connection::start(far, acceptor(&far_config), crate::serve).expect("a connection");
    let mut link = dialler(&near_config)(Instant::ZERO);
    // The peer does its part of the handshake, as far as its own side of it goes, and reads nothing from
    // there on.
    'handshake: loop {
        match link.poll(Instant::ZERO, Ready::ALL) {
            Action::Event(Event::Established(_)) => break 'handshake,
            Action::Event(event) => assert!(!matches!(event, Event::Closed(_)), "{event:?}"),
            Action::Send => {
                let count = near.write(link.transmit(Instant::ZERO)).expect("a stream that takes bytes");
                link.transmitted(count, Instant::ZERO);
            }
            Action::Timeout(_) => {
                let count = near.read(link.recv_space()).expect("a stream that gives bytes");
                link.received(count, Instant::ZERO);
            }
        }
    }
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let connection = Arc::clone(&connection);
            thread::spawn(move || connection.call("echo", &vec![0; 1 << 20], TIMEOUT).map(|body| body.len()))
        })
        .collect();
    assert_eq!(joined(driver).reason, Reason::WriteStalled);
    for caller in callers {
        assert!(caller.join().expect("no panic").is_err());
    }
    let _ = near.shutdown(Shutdown::Both);
}
