//! A peer that does its worst in every way, against the number that the configuration computes for it.

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::{measure, opt_out};
use handclasp::hello::UnknownExtension;
use handclasp::{
    Action, CallId, Config, Event, Limits, Message, Phase, Priority, Ready, ReplyToken, ServiceError,
    StreamLimits,
};
use handclasp_sim::hostile::{Hostile, hello};
use handclasp_sim::raw::{RAW, Raw, call, credit, frame, reply, send, stream_data, varint};
use handclasp_sim::{Solo, builder, key};
use proptest::prelude::*;

/// What each message is charged beside its bytes.
const OVERHEAD: usize = 64;

/// The longest name.
const NAME: &str = match std::str::from_utf8(&[b'n'; 255]) {
    Ok(name) => name,
    Err(_) => "",
};

/// The longest body that a link copies into a queue of its own.
const SMALL: usize = 1024;

/// Longer than any test.
const HOUR: Duration = Duration::from_secs(3600);

fn small_config(limits: Limits, streams: StreamLimits, send_buffer: usize) -> Arc<Config> {
    let builder = builder(2, &[RAW]).limits(limits).streams(streams).send_buffer(send_buffer);
    builder.build().expect("a valid configuration")
}

/// Extensions that mean nothing, as many as fit a hello.
fn unknown() -> Vec<UnknownExtension> {
    (10..970).map(|kind| UnknownExtension { kind, value: Box::default() }).collect()
}

/// A link, its owner, who takes and gives what the test says, and its peer. What the peer needs is not counted.
struct Attack {
    raw: Raw,
    limits: Limits,
    streams: StreamLimits,
    /// The peer's calls so far, and what the owner was asked to answer.
    called: u64,
    tokens: Vec<ReplyToken>,
}

impl Attack {
    fn new(config: &Arc<Config>) -> Self {
        let raw = Raw::dialling_as(config, |hello| hello.unknown = unknown());
        Self { raw, limits: *config.limits(), streams: *config.streams(), called: 0, tokens: Vec::new() }
    }

    fn window(&self) -> usize {
        self.limits.window as usize
    }

    fn record(&self) -> usize {
        self.limits.max_record.into()
    }

    /// The link reads a record of this text, and writes what it has to say.
    fn feed(&mut self, text: impl FnOnce() -> Vec<u8>) {
        let mut record = Vec::new();
        opt_out(|| record = self.raw.sealed(&text()));
        let mut rest = &record[..];
        while !rest.is_empty() {
            let space = self.raw.link.recv_space();
            let count = space.len().min(rest.len());
            assert!(count > 0, "the link has ended: {:?}", self.raw.link.closed());
            space[..count].copy_from_slice(&rest[..count]);
            self.raw.link.received(count, self.raw.now);
            rest = &rest[count..];
        }
        opt_out(|| drop(record));
        self.write();
        assert_eq!(self.raw.link.phase(), Phase::Established, "{:?}", self.raw.link.closed());
    }

    /// The same of `count` frames, as many in a record as it holds.
    fn feed_all(&mut self, count: usize, frame: impl Fn(usize) -> Vec<u8>) {
        let mut next = 0;
        while next < count {
            let most = self.record();
            self.feed(|| {
                let mut text = Vec::new();
                while next < count {
                    let frame = frame(next);
                    if text.len() + frame.len() > most {
                        break;
                    }
                    text.extend(frame);
                    next += 1;
                }
                assert!(!text.is_empty(), "a frame that no record holds");
                text
            });
        }
    }

    fn write(&mut self) {
        let (link, now) = (&mut self.raw.link, self.raw.now);
        while let Action::Send = link.poll(now, Ready::WRITE) {
            let count = link.transmit(now).len();
            link.transmitted(count, now);
        }
    }

    /// The owner takes so many messages, calls and answers, and what stands before them.
    fn take(&mut self, count: usize) {
        let (link, now, tokens) = (&mut self.raw.link, self.raw.now, &mut self.tokens);
        let mut taken = 0;
        while taken < count {
            match link.poll(now, Ready::EVENTS) {
                Action::Event(Event::Call { token, .. }) => {
                    opt_out(|| tokens.push(token));
                    taken += 1;
                }
                Action::Event(Event::Message(_) | Event::Reply { .. }) => taken += 1,
                Action::Event(_) => {}
                _ => break,
            }
        }
        self.write();
    }

    /// The owner makes so many calls, and the peer gives their credit back: their ids.
    fn own_calls(&mut self, count: usize) -> Vec<CallId> {
        let mut ids = Vec::new();
        opt_out(|| ids.reserve(count));
        for _ in 0..count {
            ids.push(self.raw.link.call(Message::new("", &[]), HOUR, self.raw.now).expect("taken"));
        }
        self.write();
        self.feed(|| credit(0, (count * OVERHEAD) as u64));
        ids
    }

    /// Answers to so many own calls, which the owner does not take.
    fn answers(&mut self, count: usize, body: &[u8]) {
        let mut left = count;
        while left > 0 {
            let ids = self.own_calls(left.min(self.limits.max_calls as usize));
            left -= ids.len();
            self.feed_all(ids.len(), |at| reply(ids[at].get(), body));
            opt_out(|| drop(ids));
        }
    }

    /// Both windows full of what each takes the most: first lists as long as they get, then bytes that were copied,
    /// then the rest in allocations of their own.
    fn fill_answers(&mut self) {
        let window = self.window();
        self.answers(window / OVERHEAD, b"");
        self.take(usize::MAX);
        let count = window / (OVERHEAD + SMALL);
        self.answers(count, &[7; SMALL]);
        self.take(count / 2);
        let large = self.large();
        self.answers(count / 2 * (OVERHEAD + SMALL) / (OVERHEAD + large.len()), large);
    }

    fn fill_requests(&mut self) {
        let window = self.window();
        // A quarter of the window may be owed for what came before.
        self.feed_all(window / 4 * 3 / OVERHEAD, |_| send("", b""));
        self.take(usize::MAX);
        let charge = OVERHEAD + NAME.len() + SMALL;
        let count = window / charge;
        self.feed_all(count, |_| send(NAME, &[7; SMALL]));
        self.take(count / 2);
        let large = self.large();
        self.feed_all(count / 2 * charge / (OVERHEAD + large.len()), |_| send("", large));
    }

    /// A body that is kept apart and fits a record.
    fn large(&self) -> &'static [u8] {
        const LARGE: [u8; 16 << 10] = [7; 16 << 10];
        &LARGE[..LARGE.len().min(self.limits.max_message as usize).min(self.record() - 64)]
    }

    /// Calls that are served with the longest errors, for which the peer gives no credit, as many as can wait.
    fn fill_errors(&mut self) {
        let (calls, error) = (self.limits.max_calls as usize, OVERHEAD + 904);
        self.serve(calls);
        while self.raw.link.queued() < (2 * calls - 1) * error {
            self.serve(1);
        }
        self.serve(calls);
        assert!(self.raw.link.queued() >= (3 * calls - 1) * error);
    }

    fn serve(&mut self, count: usize) {
        let first = self.called;
        self.called += count as u64;
        self.feed_all(count, |at| call(1 + first + at as u64, 3_600_000, "", b""));
        self.take(usize::MAX);
        let mut tokens = std::mem::take(&mut self.tokens);
        assert_eq!(tokens.len(), count, "a call was not taken");
        for token in tokens.drain(..) {
            let error = ServiceError::Application { code: 1, detail: bytes::Bytes::from_static(&[7; 900]) };
            self.raw.link.reply(token, Err(error)).expect("taken");
        }
        opt_out(|| drop(tokens));
        self.write();
    }

    /// Messages of the owner's until the link has no room: how much it took.
    fn push(&mut self, priority: Priority, service: &str, body: &[u8]) -> usize {
        let before = self.raw.link.send_space();
        while self.raw.link.send(Message::new(service, body).priority(priority)).is_ok() {}
        before - self.raw.link.send_space()
    }

    /// Lists of each lane as long as they get, then bytes: those that the peer gives credit for, and as many again.
    fn fill_queue(&mut self) {
        for priority in Priority::ALL {
            self.push(priority, "", b"");
            loop {
                let before = self.raw.link.queued();
                self.write();
                let sealed = before - self.raw.link.queued();
                if sealed == 0 {
                    break;
                }
                self.feed(|| credit(0, sealed as u64));
            }
        }
        loop {
            let before = self.raw.link.queued();
            while self.raw.link.send_space() > 2 * (OVERHEAD + NAME.len() + SMALL) {
                let message = Message::new(NAME, &[7; SMALL]).priority(Priority::Urgent);
                self.raw.link.send(message).expect("room");
            }
            let full = self.raw.link.queued();
            self.write();
            if self.raw.link.queued() == full && before == full {
                break;
            }
        }
        let mut largest = Vec::new();
        opt_out(|| largest.resize(self.limits.max_message as usize, 7));
        self.push(Priority::Urgent, NAME, &largest);
        opt_out(|| drop(largest));
    }

    /// Streams of both sides, as many as may be and as many again that were refused, all unread.
    fn fill_streams(&mut self) {
        let StreamLimits { max_open, window, send_buffer, .. } = self.streams;
        let (mut own, bytes) = (Vec::new(), [7; 64 << 10]);
        for _ in 0..max_open {
            let id = self.raw.link.open_stream(NAME, Priority::Normal).expect("taken");
            opt_out(|| own.push(id));
        }
        self.write();
        let peers: Vec<u64> = (0..max_open.into()).map(|number| 3 + 8 * number).collect();
        for id in &peers {
            let name = NAME.as_bytes();
            self.feed(|| frame(0x28, 0, [&varint(*id)[..], &[255], name].concat()));
        }
        for id in peers.iter().copied().chain(own.iter().map(|id| id.get())) {
            let mut left = window as usize;
            while left > 0 {
                let piece = left.min(self.record() - 64).min(bytes.len());
                left -= piece;
                self.feed(|| stream_data(id, &bytes[..piece], false));
            }
        }
        let most = u64::from(max_open);
        for number in most..2 * most {
            self.feed(|| frame(0x28, 0, [&varint(3 + 8 * number)[..], &[0]].concat()));
        }
        for id in &own {
            self.raw.link.stream_write(*id, &bytes[..bytes.len().min(send_buffer as usize)]);
        }
        opt_out(|| drop(own));
    }

    /// Frames that are answered, which the peer does not read.
    fn flood(&mut self) {
        let (link, now) = (&mut self.raw.link, self.raw.now);
        link.goodbye(1, NAME, now);
        let text = frame(0x30, 0, [7; 8]).repeat(100);
        let record = self.raw.sealed(&text);
        let space = self.raw.link.recv_space();
        let count = space.len().min(record.len());
        space[..count].copy_from_slice(&record[..count]);
        self.raw.link.received(count, now);
    }
}

type Way = (&'static str, fn(&mut Attack));

/// What a peer can do, in an order in which all of it can be done to one link.
const WAYS: [Way; 6] = [
    ("errors without credit", Attack::fill_errors),
    ("answers that are not taken", Attack::fill_answers),
    ("calls without an answer", |attack| {
        let ids = attack.own_calls(attack.limits.max_calls as usize);
        opt_out(|| drop(ids));
    }),
    ("messages without credit", Attack::fill_queue),
    ("streams", Attack::fill_streams),
    ("requests that are not taken", Attack::fill_requests),
];

/// The most bytes held while a link comes up and is attacked in these ways, one after the other.
fn peak(config: &Arc<Config>, ways: &[Way]) -> u64 {
    let memory = measure(|| {
        let mut attack = Attack::new(config);
        for (_, way) in ways {
            way(&mut attack);
        }
        attack.flood();
    });
    assert!(memory.bytes_current.abs() < 4096, "{memory:?}: what was counted is not what was freed");
    memory.bytes_max
}

/// Limits of which no part is lost beside the others.
fn limits() -> (Limits, StreamLimits, usize) {
    let limits = Limits { max_message: 32 << 10, window: 512 << 10, max_calls: 200, ..Limits::default() };
    let streams = StreamLimits { max_open: 40, window: 10 << 10, growth: 0, ..StreamLimits::default() };
    (limits, streams, 256 << 10)
}

#[test]
fn m8_the_worst_case_of_a_link_holds_under_a_peer_that_does_its_worst_and_is_not_far_above_it() {
    let (limits, streams, send_buffer) = limits();
    let config = small_config(limits, streams, send_buffer);
    let (worst, total) = (config.worst_case(), config.worst_case_bytes());
    for way in WAYS {
        let held = peak(&config, &[way]);
        println!("{}: {held}", way.0);
        assert!(held < total, "{}: {held} of {worst:?}", way.0);
    }
    let held = peak(&config, &WAYS);
    println!("{held} of {total}: {worst:?}");
    assert!(held < total, "{held} of {worst:?}");
    assert!(held > total / 3, "{held} of {total}: {worst:?}");
}
