//! H6, L4, L5, O3: `drive::pump` over a stream in memory, made of two closures.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use handclasp::crypto::CryptoError;
use handclasp::drive::{Pumped, Taking, pump};
use handclasp::{By, Dial, Event, Instant, Link, Message, Payload, Reason};
use handclasp_sim::raw::{self, RAW, Raw, frame};
use handclasp_sim::watched::{At, Key, Tag, Watch, Watched};
use handclasp_sim::{Owned, builder, config, id, seed};

/// A stream's end: what can be read, what was written, and what becomes of either.
#[derive(Debug, Default)]
struct Stream {
    inbound: VecDeque<u8>,
    outbound: Vec<u8>,
    /// What a read gives once nothing is left: pending if this is `None`.
    then: Option<Result<usize, &'static str>>,
    /// What each write gives: it takes everything if this is `None`.
    write: Option<Poll<Result<usize, &'static str>>>,
    /// The most bytes that a read or a write moves.
    chunk: usize,
    reads: usize,
    writes: usize,
}

impl Stream {
    fn of(inbound: Vec<u8>) -> Self {
        Self { inbound: inbound.into(), chunk: usize::MAX, ..Self::default() }
    }

    fn read(&mut self, space: &mut [u8]) -> Poll<Result<usize, &'static str>> {
        self.reads += 1;
        assert!(!space.is_empty(), "a read into nothing looks like the end of the stream");
        let count = self.inbound.len().min(space.len()).min(self.chunk);
        if count == 0 {
            return self.then.map_or(Poll::Pending, Poll::Ready);
        }
        for (place, byte) in space.iter_mut().zip(self.inbound.drain(..count)) {
            *place = byte;
        }
        Poll::Ready(Ok(count))
    }

    fn write(&mut self, bytes: &[u8]) -> Poll<Result<usize, &'static str>> {
        self.writes += 1;
        assert!(!bytes.is_empty(), "a write of nothing");
        self.write.unwrap_or_else(|| {
            let count = bytes.len().min(self.chunk);
            self.outbound.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        })
    }
}

/// One step that takes what `taking` says, and goes on taking that.
fn step(
    link: &mut Link,
    now: Instant,
    stream: &mut Stream,
    taking: Taking,
    events: &mut Vec<Owned>,
) -> Result<Pumped, &'static str> {
    let stream = std::cell::RefCell::new(stream);
    pump(
        link,
        &mut Context::from_waker(Waker::noop()),
        || now,
        taking,
        |_, space| stream.borrow_mut().read(space),
        |_, bytes| stream.borrow_mut().write(bytes),
        |event: Event<'_>| {
            events.push(Owned::from(event));
            taking
        },
    )
}

/// A raw peer's link, which is established.
fn raw() -> Raw {
    Raw::dialling(&builder(2, &[RAW]).build().expect("a valid configuration"))
}

/// Steps until the link is over; the steps' errors, and the end. Fails if the link does not get there.
fn end(raw: &mut Raw, stream: &mut Stream) -> (Vec<&'static str>, Reason, By) {
    let mut errors = Vec::new();
    for _ in 0..100 {
        match step(&mut raw.link, raw.now, stream, Taking::Everything, &mut raw.events) {
            Ok(Pumped::Finished) => match raw.events.last() {
                Some(Owned::Closed(closed)) => return (errors, closed.reason.clone(), closed.by),
                other => panic!("finished without its last event: {other:?}"),
            },
            Ok(_) => {}
            Err(error) => errors.push(error),
        }
    }
    panic!("not over: {:?}, {:?}", raw.link, raw.events);
}

/// CLOSE with the reason `revoked`.
fn revoked() -> Vec<u8> {
    frame(0x42, 0, [0, 4])
}

#[test]
fn o3_two_links_live_from_the_first_byte_to_goodbye_by_pump_alone() {
    for chunk in [1, 13, usize::MAX] {
        let now = Instant::from_nanos(1_000_000_000);
        let mut links = [
            Link::initiator(&config(1, &[2]), Dial::to(id(2)), &seed(0), now),
            Link::responder(&config(2, &[1]), 1, &seed(1), now),
        ];
        let mut streams = [(); 2].map(|()| Stream { chunk, ..Stream::of(Vec::new()) });
        let mut events = [Vec::new(), Vec::new()];
        let mut finished = [false; 2];
        let (mut asked, mut answered) = (false, false);
        for _ in 0..5000 {
            for at in [0, 1] {
                if finished[at] {
                    continue;
                }
                let written = std::mem::take(&mut streams[1 - at].outbound);
                streams[at].inbound.extend(written);
                match step(&mut links[at], now, &mut streams[at], Taking::Everything, &mut events[at]) {
                    Ok(Pumped::Finished) => finished[at] = true,
                    Ok(Pumped::Idle { deadline }) => assert!(deadline.is_some_and(|at| at > now)),
                    Ok(Pumped::Busy) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            if !asked && events[0].iter().any(|event| matches!(event, Owned::Established(_))) {
                asked = true;
                links[0].send(Message::new("s", vec![1; 5000])).expect("taken");
                links[0].call(Message::new("s", b"question"), Duration::from_secs(5), now).expect("taken");
            }
            let call = events[1].iter().position(|event| matches!(event, Owned::Call { .. }));
            if let Some(Owned::Call { token, body, .. }) = call.map(|at| events[1].remove(at)) {
                assert_eq!(body, b"question"[..]);
                links[1].reply(token, Ok(Payload::from(b"answer"))).expect("taken");
            }
            if !answered && events[0].iter().any(|event| matches!(event, Owned::Reply { .. })) {
                answered = true;
                links[0].goodbye(7, "done", now);
            }
            if finished == [true; 2] {
                break;
            }
        }
        assert_eq!(finished, [true; 2], "{links:?}");
        assert!(
            events[1].iter().any(|event| matches!(event, Owned::Message { body, .. } if body.len() == 5000))
        );
        for (events, by) in events.iter().zip([By::Local, By::Peer]) {
            match events.last() {
                Some(Owned::Closed(closed)) => {
                    let goodbye = Reason::Goodbye { code: 7, detail: "done".into() };
                    assert_eq!((&closed.reason, closed.by), (&goodbye, by));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn l5_a_last_word_that_has_come_is_the_reason_although_writing_fails() {
    for chunk in [1, usize::MAX] {
        for before in [0, 20] {
            let mut raw = raw();
            // Other records may stand before it.
            let mut bytes = Vec::new();
            for _ in 0..before {
                bytes.extend(raw.sealed(&raw::send("s", b"x")));
            }
            bytes.extend(raw.sealed(&revoked()));
            let mut stream =
                Stream { chunk, write: Some(Poll::Ready(Err("broken pipe"))), ..Stream::of(bytes) };
            raw.link.send(Message::new("s", b"own")).expect("taken");
            let (_, reason, by) = end(&mut raw, &mut stream);
            assert_eq!((reason, by), (Reason::Revoked, By::Peer), "{before} records before it, by {chunk}");
            assert_eq!(raw.events.len(), before + 1);
        }
    }
}

#[test]
fn l5_without_a_last_word_a_failed_write_is_the_end_and_its_error_is_given_once() {
    let mut raw = raw();
    let bytes = raw.sealed(&raw::send("s", b"came before"));
    let mut stream = Stream { write: Some(Poll::Ready(Err("broken pipe"))), ..Stream::of(bytes) };
    raw.link.send(Message::new("s", b"own")).expect("taken");
    assert_eq!(end(&mut raw, &mut stream), (vec!["broken pipe"], Reason::Transport, By::Transport));
    assert!(matches!(&raw.events[..], [Owned::Message { .. }, Owned::Closed(_)]), "{:?}", raw.events);
    assert_eq!(stream.writes, 1, "it was tried again");
}

#[test]
fn l5_a_stream_that_takes_nothing_of_something_has_failed() {
    let mut raw = raw();
    let mut stream = Stream { write: Some(Poll::Ready(Ok(0))), ..Stream::of(Vec::new()) };
    raw.link.send(Message::new("s", b"own")).expect("taken");
    assert_eq!(end(&mut raw, &mut stream), (vec![], Reason::Transport, By::Transport));
    assert_eq!(stream.writes, 1);
}

/// A provider that seals nothing any more once it is told so.
#[derive(Debug)]
struct Sealing {
    fails: Arc<AtomicBool>,
}

impl Watch for Sealing {
    fn seal(&self, key: &Key, at: At, text: &mut [u8]) -> Result<Tag, CryptoError> {
        if self.fails.load(Ordering::Relaxed) { Err(CryptoError::BadLength) } else { key.seal(at, text) }
    }
}

#[test]
fn l5_a_provider_that_cannot_seal_is_the_reason_and_nothing_is_written() {
    let fails = Arc::new(AtomicBool::new(false));
    let provider = Watched::new(Sealing { fails: Arc::clone(&fails) });
    let config = builder(2, &[RAW]).provider(provider.clone()).build().expect("a valid configuration");
    let mut raw = Raw::dialling(&config);
    raw.link.send(Message::new("s", b"own")).expect("taken");
    fails.store(true, Ordering::Relaxed);
    let mut stream = Stream::of(Vec::new());
    assert_eq!(end(&mut raw, &mut stream), (vec![], Reason::ProviderFailed, By::Local));
    assert_eq!(stream.writes, 0);
}

#[test]
fn l5_a_failed_read_and_the_end_of_the_stream_are_told_apart() {
    for (then, errors, reason) in
        [(Err("reset"), vec!["reset"], Reason::Transport), (Ok(0), vec![], Reason::Truncated)]
    {
        let mut raw = raw();
        let bytes = raw.sealed(&raw::send("s", b"x"));
        let mut stream = Stream { then: Some(then), ..Stream::of(bytes) };
        assert_eq!(end(&mut raw, &mut stream), (errors, reason, By::Transport));
        assert!(matches!(&raw.events[..], [Owned::Message { .. }, Owned::Closed(_)]), "{:?}", raw.events);
    }
    // Behind CLOSE the stream may end.
    let mut raw = raw();
    let bytes = raw.sealed(&revoked());
    let mut stream = Stream { then: Some(Ok(0)), ..Stream::of(bytes) };
    assert_eq!(end(&mut raw, &mut stream), (vec![], Reason::Revoked, By::Peer));
}

#[test]
fn c7_one_step_of_a_busy_link_is_bounded() {
    for reads in [true, false] {
        let mut raw = raw();
        let mut stream = Stream { chunk: 1, ..Stream::default() };
        if reads {
            stream.inbound = raw.sealed(&raw::send("s", &[0; 1000])).into();
        } else {
            raw.link.send(Message::new("s", &[0; 1000][..])).expect("taken");
        }
        let (mut steps, mut before) = (0, 0);
        loop {
            let pumped = step(&mut raw.link, raw.now, &mut stream, Taking::Everything, &mut raw.events);
            let moved = stream.reads + stream.writes - before;
            before += moved;
            match pumped {
                Ok(Pumped::Busy) => steps += 1,
                Ok(Pumped::Idle { .. }) => break,
                other => panic!("{other:?}"),
            }
            assert!((1..=64).contains(&moved), "{moved} reads and writes in one step");
        }
        assert!(steps >= 15, "{steps} steps for a thousand bytes one by one");
        assert!(stream.inbound.is_empty());
        assert_eq!(raw.events.len(), usize::from(reads), "and it does get there");
        assert_eq!(stream.outbound.len() > 1000, !reads);
    }
}

#[test]
fn m8_answers_are_delivered_while_requests_are_not_taken() {
    let mut raw = raw();
    let call = raw.link.call(Message::new("s", b""), Duration::from_secs(5), raw.now).expect("taken");
    let mut stream = Stream::of(Vec::new());
    let pumped = |raw: &mut Raw, stream: &mut Stream, taking| {
        let pumped = step(&mut raw.link, raw.now, stream, taking, &mut raw.events);
        assert!(matches!(pumped, Ok(Pumped::Idle { .. })), "{pumped:?}");
    };
    pumped(&mut raw, &mut stream, Taking::NoRequests);
    assert!(!stream.outbound.is_empty(), "the call has left");
    let plain = [raw::send("s", b"request"), raw::reply(call.get(), b"answer"), frame(0x30, 0, *b"a nonce!")];
    stream.inbound.extend(raw.sealed(&plain.concat()));
    // An owner that takes nothing at all: bytes go both ways all the same.
    stream.outbound.clear();
    pumped(&mut raw, &mut stream, Taking::Nothing);
    assert!(raw.events.is_empty() && stream.inbound.is_empty());
    assert!(!stream.outbound.is_empty(), "the ping is answered");
    pumped(&mut raw, &mut stream, Taking::NoRequests);
    assert!(matches!(&raw.events[..], [Owned::Reply { .. }]), "{:?}", raw.events);
    pumped(&mut raw, &mut stream, Taking::Everything);
    assert!(matches!(&raw.events[..], [_, Owned::Message { .. }]), "{:?}", raw.events);
}

#[test]
fn l4_a_stream_that_frees_itself_after_closed_is_offered_nothing() {
    let mut raw = raw();
    raw.link.send(Message::new("s", vec![1; 100_000])).expect("taken");
    let mut stream = Stream { chunk: 100, ..Stream::of(Vec::new()) };
    // Part of a record leaves, then the stream is full.
    let taken = raw.link.transmit(raw.now).len().min(100);
    raw.link.transmitted(taken, raw.now);
    stream.write = Some(Poll::Pending);
    raw.link.close(raw.now);
    let pumped = step(&mut raw.link, raw.now, &mut stream, Taking::Everything, &mut raw.events);
    match pumped {
        Ok(Pumped::Idle { deadline: Some(deadline) }) => raw.now = deadline,
        other => panic!("{other:?}"),
    }
    // It frees itself at the moment that the last bytes' time is over.
    stream.write = None;
    let (errors, reason, by) = end(&mut raw, &mut stream);
    assert_eq!((errors, reason, by), (vec![], Reason::Dropped, By::Local));
    assert_eq!(stream.outbound, b"");
}
