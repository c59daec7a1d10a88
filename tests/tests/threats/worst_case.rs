//! A peer that does its worst in every way, against the number that the configuration computes for it.

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::{measure, opt_out};
use handclasp::hello::UnknownExtension;
use handclasp::{
    Action, CallError, CallId, Config, Event, Limits, Message, Phase, Priority, Ready, Reason, Refusal,
    ReplyToken, ServiceError, StreamLimits, Why,
};
use handclasp_sim::hostile::{Hostile, hello};
use handclasp_sim::raw::{RAW, Raw, call, credit, frame, reply, send, stream_data, varint};
use handclasp_sim::{Owned, Solo, builder, key};
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
const LONG: Duration = Duration::from_secs(5000);

fn config(limits: Limits, streams: StreamLimits, send_buffer: usize) -> Arc<Config> {
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
            let mut call = self.raw.link.call(Message::new("", &[]), LONG, self.raw.now);
            if call.as_ref().is_err_and(|rejected| rejected.why == Why::Full) {
                self.write();
                call = self.raw.link.call(Message::new("", &[]), LONG, self.raw.now);
            }
            ids.push(call.expect("taken"));
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
        let before = self.raw.link.send_space(priority);
        while self.raw.link.send(Message::new(service, body).priority(priority)).is_ok() {}
        before - self.raw.link.send_space(priority)
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
        let mut largest = Vec::new();
        opt_out(|| largest.resize(self.limits.max_message as usize, 7));
        // From the lowest up: each may fill its part of the buffer, and its last message may go over it.
        for priority in Priority::ALL.into_iter().rev() {
            loop {
                let before = self.raw.link.queued();
                while self.raw.link.send_space(priority) > 2 * (OVERHEAD + NAME.len() + SMALL) {
                    let message = Message::new(NAME, &[7; SMALL]).priority(priority);
                    self.raw.link.send(message).expect("room");
                }
                let full = self.raw.link.queued();
                self.write();
                if self.raw.link.queued() == full && before == full {
                    break;
                }
            }
            self.push(priority, NAME, &largest);
        }
        opt_out(|| drop(largest));
    }

    /// Streams of both sides, as many as may be and as many again that were refused, all unread.
    fn fill_streams(&mut self) {
        let StreamLimits { max_open, window, send_buffer, .. } = self.streams;
        let (mut own, bytes) = (Vec::new(), [7; 16 << 10]);
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

    /// A goodbye and answers to pings, which the stream does not take; then the peer ends the link, for a reason of
    /// which every call in flight is told, with the longest list that fits.
    fn end(&mut self) {
        self.raw.link.goodbye(1, NAME, self.raw.now);
        let names = self.record() / 4 - 8;
        let mut record = Vec::new();
        opt_out(|| {
            let names: Vec<_> =
                (0..names.min(255)).map(|at| [&[4][..], format!("{at:04}").as_bytes()].concat()).collect();
            let count = u8::try_from(names.len()).expect("at most 255");
            let close = frame(0x42, 0, [&[0, 23, count][..], &names.concat()].concat());
            record = self.raw.sealed(&[frame(0x30, 0, [7; 8]).repeat(100), close].concat());
        });
        let space = self.raw.link.recv_space();
        space[..record.len()].copy_from_slice(&record);
        self.raw.link.received(record.len(), self.raw.now);
        opt_out(|| drop(record));
        assert_eq!(self.raw.link.phase(), Phase::Closed);
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

/// The most bytes held while a link comes up, is attacked in these ways, one after the other, and ends.
fn peak(config: &Arc<Config>, ways: &[Way]) -> u64 {
    let memory = measure(|| {
        let mut attack = Attack::new(config);
        for (_, way) in ways {
            way(&mut attack);
        }
        attack.end();
    });
    assert_eq!(memory.bytes_current, 0, "what was counted is not what was freed");
    memory.bytes_max
}

/// Where each part counts, and the old place of a buffer that moves is not most of it.
fn small() -> Arc<Config> {
    let limits = Limits { max_message: 32 << 10, window: 512 << 10, max_calls: 200, ..Limits::default() };
    let streams = StreamLimits { max_open: 40, window: 10 << 10, growth: 0, ..StreamLimits::default() };
    config(limits, streams, 256 << 10)
}

#[test]
fn m8_the_worst_case_of_a_link_holds_under_a_peer_that_does_its_worst_and_is_not_far_above_it() {
    let config = small();
    let (worst, total) = (config.worst_case(), config.worst_case_bytes());
    let held = peak(&config, &WAYS);
    assert!(held < total, "{held} of {worst:?}");
    assert!(held > total / 3, "{held} of {total}: {worst:?}");
}

/// Each part by itself: what a way of attack fills is no more than the number for it and for what every link has.
#[test]
fn m8_each_part_of_the_worst_case_holds_and_is_not_far_above_what_an_attack_fills() {
    let config = small();
    let worst = config.worst_case();
    let base = peak(&config, &[]);
    assert!(base < worst.fixed + worst.wire, "{base} of {worst:?}");
    let [errors, answers, calls, messages, streams, requests] = WAYS;
    for (ways, part) in [
        (&[errors, messages][..], worst.queued),
        (&[answers, requests], worst.received),
        (&[calls], worst.calls),
        (&[streams], worst.streams),
    ] {
        let (held, names) = (peak(&config, ways), ways.iter().map(|way| way.0).collect::<Vec<_>>());
        let most = part + worst.wire + worst.fixed + worst.moving;
        assert!(held < most, "{names:?}: {held} of {most}, {worst:?}");
        assert!(held - base > part / 4, "{names:?}: {held} of {most}, {worst:?}");
    }
}

#[test]
fn m8_the_default_worst_case_is_a_number_that_the_documents_name() {
    let config = builder(2, &[RAW]).build().expect("a valid configuration");
    let worst = config.worst_case();
    assert_eq!(worst.total() >> 20, 131, "{worst:?}");
    assert_eq!(config.worst_case_bytes(), worst.total());
}

/// Before the peer has proved its id: the longest hello, of what takes the most room when it is read, in a record of
/// which the signature is wrong in its last byte.
#[test]
fn i11_the_worst_case_before_authentication_holds() {
    let config = small();
    let worst = config.worst_case().before_authentication;
    let memory = measure(|| {
        let mut solo = Solo::responder(&config, 0);
        let mut peer = Hostile::dial_to(&mut solo);
        let mut record = Vec::new();
        opt_out(|| {
            let own = hello(|hello| hello.unknown = unknown());
            let mut auth = peer.auth(&key(RAW), &own);
            *auth.last_mut().expect("a signature") ^= 1;
            record = peer.seal(&auth);
        });
        // One byte after the other: each may find its buffer full.
        solo.feed_in(&record, 1);
        assert!(solo.link.closed().is_some());
        opt_out(|| drop(record));
    });
    assert!(memory.bytes_max < worst, "{} of {worst}", memory.bytes_max);
    assert!(memory.bytes_max > worst / 4, "{} of {worst}", memory.bytes_max);
}

/// A cancel that was not sealed counts as a call in flight: a peer that answers nothing, and reads slowly, does not
/// make them pile up.
#[test]
fn m8_cancels_that_were_not_sealed_count_as_calls_in_flight() {
    const CALLS: u32 = 6000;
    let limits = Limits { max_calls: CALLS, max_record: 4096, ..Limits::default() };
    let config = config(limits, StreamLimits::NONE, 1 << 20);
    let mut raw = Raw::dialling(&config);
    for _ in 0..21 {
        let mut ids = Vec::new();
        while let Ok(id) = raw.link.call(Message::new("", &[]), LONG, raw.now) {
            ids.push(id);
        }
        // One batch of records goes out, then the owner gives all of them up.
        let before = raw.link.queued();
        let bytes = raw.link.transmit(raw.now).to_vec();
        raw.link.transmitted(bytes.len(), raw.now);
        raw.out.extend(bytes);
        let sealed = before - raw.link.queued();
        for id in ids {
            raw.link.cancel(id, raw.now);
        }
        let record = raw.sealed(&credit(0, sealed as u64));
        raw.link.recv_space()[..record.len()].copy_from_slice(&record);
        raw.link.received(record.len(), raw.now);
    }
    // Those that the peer has read are gone; those that wait all go now.
    raw.records();
    raw.act();

    let cancels = raw.frames().iter().filter(|frame| frame.kind == 0x14).count();
    assert!((1..=CALLS as usize).contains(&cancels), "{cancels} cancels were waiting");
    assert_eq!(raw.link.phase(), Phase::Established);
}

/// A peer that ends the link says why once, and not once for each call in flight.
#[test]
fn m8_each_call_hears_of_a_refusal_without_its_list() {
    let mut raw = Raw::dialling(&small());
    raw.link.call(Message::new("", &[]), LONG, raw.now).expect("taken");
    let names = Refusal::MissingCapability { names: vec!["one".into(), "two".into()] };
    let mut close = Vec::new();
    handclasp::wire::refusal::emit(&names, &mut close);
    raw.send(&frame(0x42, 0, close));
    let brief = Reason::Refused(Refusal::MissingCapability { names: Vec::new() });
    let told = raw.events.iter().find_map(|event| match event {
        Owned::CallFailed { error: CallError::LinkClosed { reason, .. }, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(told, Some(&brief));
    assert_eq!(raw.closed().reason, Reason::Refused(names));
}

fn configurations() -> impl Strategy<Value = Arc<Config>> {
    let limits = (1024..40_000_u32, 20_000..200_000_u32, 1..300_u32, 4096..=65_519_u16);
    let streams = (1..30_u32, 1..20_000_u32, 1..20_000_u32);
    (limits, streams, 20_000..200_000_usize).prop_map(|(limits, (max_open, window, buffer), send_buffer)| {
        let (max_message, more, max_calls, max_record) = limits;
        // Three calls for each that is served have credit.
        let window_of_messages = max_message + Limits::WINDOW_MARGIN + more + 4 * 64 * max_calls;
        let limits =
            Limits { max_message, window: window_of_messages, max_calls, max_record, ..Limits::default() };
        let streams =
            StreamLimits { max_open, window, largest_window: window, growth: 0, send_buffer: buffer };
        config(limits, streams, send_buffer)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn m8_the_worst_case_holds_for_any_configuration(config in configurations()) {
        let worst = config.worst_case();
        let held = peak(&config, &WAYS);
        prop_assert!(held < worst.total(), "{held} of {worst:?}");
        // What every link has would be most of the smallest of them.
        let parts = worst.received + worst.queued + worst.calls + worst.streams;
        prop_assert!(held > parts / 5, "{held} of {parts}: {worst:?}");
    }
}
