//! M6: order within a lane, whatever the mix and however the stream is cut; and what a link gives back at its end.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use handclasp::{CallId, Envelope, Limits, Message, Payload, Priority, Ready, Reason, ReplyToken};
use handclasp_sim::raw::{Raw, credit};
use handclasp_sim::{Owned, Pair, Side};
use proptest::prelude::*;

use crate::support::{SIDES, ended, pair_with, raw, secs, smallest, take_events};

/// A body that says which message it is of.
fn body(number: usize, length: usize) -> Vec<u8> {
    let mut body = vec![number as u8; length.max(4)];
    body[..4].copy_from_slice(&(number as u32).to_be_bytes());
    body
}

fn number_of(body: &[u8]) -> usize {
    u32::from_be_bytes(body[..4].try_into().expect("four bytes")) as usize
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 4..200_usize, 2 => 900..1200_usize, 2 => 4000..20_000_usize, 1 => 50_000..100_000_usize]
}

/// Side, priority, length.
fn mixes() -> impl Strategy<Value = Vec<(bool, usize, usize)>> {
    proptest::collection::vec((any::<bool>(), 0..4_usize, lengths()), 1..40)
}

const fn side(initiator: bool) -> Side {
    if initiator { Side::Initiator } else { Side::Responder }
}

fn test_order(mix: &[(bool, usize, usize)], chunk: usize, limits: Limits, steps: bool) {
    let mut pair = pair_with(|builder| builder.limits(limits).send_buffer(1 << 24));
    pair.chunk = chunk;
    let mut sent: BTreeMap<(bool, Priority), Vec<usize>> = BTreeMap::new();
    for (number, (from, priority, length)) in mix.iter().enumerate() {
        let priority = Priority::ALL[*priority];
        let message = body(number, (*length).min(limits.max_message as usize));
        pair.link(side(*from)).send(Message::new("s", message).priority(priority)).expect("taken");
        sent.entry((*from, priority)).or_default().push(number);
        if steps {
            pair.step();
        }
    }
    pair.run();
    let mut came: BTreeMap<(bool, Priority), Vec<usize>> = BTreeMap::new();
    for from in [true, false] {
        for event in take_events(&mut pair, side(!from)) {
            let Owned::Message { body: bytes, priority, sequence, .. } = event else { panic!("{event:?}") };
            let number = number_of(&bytes);
            assert_eq!(bytes.len(), mix[number].2.max(4).min(limits.max_message as usize));
            assert!(bytes == body(number, bytes.len()));
            let lane = came.entry((from, priority)).or_default();
            assert_eq!(sequence, lane.len() as u64, "its number in its lane");
            lane.push(number);
        }
    }
    assert_eq!(came, sent);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn m6_each_lane_keeps_its_order_in_every_mix_and_chunking(
        mix in mixes(),
        chunk in prop_oneof![1 => 30..100_usize, 3 => 500..5000_usize, 1 => Just(usize::MAX)],
        steps: bool,
    ) {
        test_order(&mix, chunk, Limits::default(), steps);
    }

    #[test]
    fn m6_the_same_with_the_smallest_limits(mix in mixes(), chunk in 1..3000_usize, steps: bool) {
        test_order(&mix, chunk, smallest(1), steps);
    }

    /// The link ends at any point: each message either arrived, or is given back in order, but for the one of each
    /// lane that was half sent.
    #[test]
    fn m6_what_was_never_begun_is_given_back_in_order(mix in mixes(), steps in 0..12_usize, chunk in 500..30_000_usize) {
        let mut pair = pair_with(|builder| builder.send_buffer(1 << 24));
        pair.chunk = chunk;
        let mut sent: BTreeMap<Priority, Vec<usize>> = BTreeMap::new();
        for (number, (_, priority, length)) in mix.iter().enumerate() {
            let priority = Priority::ALL[*priority];
            let message = Message::new("service", body(number, *length)).priority(priority);
            pair.initiator.link.send(message).expect("taken");
            sent.entry(priority).or_default().push(number);
        }
        // One write and one read at a time, so that the end comes in the middle.
        for _ in 0..steps {
            let now = pair.now;
            let bytes = pair.initiator.link.transmit(now);
            let count = bytes.len().min(chunk);
            let bytes = bytes[..count].to_vec();
            pair.initiator.link.transmitted(count, now);
            pair.inject(Side::Responder, &bytes);
        }
        let now = pair.now;
        // What has been sealed still reaches the other side.
        loop {
            let queued = pair.initiator.link.queued();
            let bytes = pair.initiator.link.transmit(now).to_vec();
            pair.initiator.link.transmitted(bytes.len(), now);
            pair.inject(Side::Responder, &bytes);
            if steps > 0 || bytes.is_empty() || queued > 0 {
                break;
            }
        }
        pair.initiator.link.transport_failed(now);
        pair.act(Side::Initiator);
        let closed = pair.closed(Side::Initiator);
        let mut back: BTreeMap<Priority, Vec<usize>> = BTreeMap::new();
        let mut count = 0;
        while let Some(Envelope { service, body: bytes, priority, .. }) = pair.initiator.link.take_unsent() {
            let number = number_of(&bytes);
            prop_assert_eq!(service, "service");
            prop_assert_eq!(bytes, Bytes::from(body(number, mix[number].2)));
            back.entry(priority).or_default().push(number);
            count += 1;
        }
        prop_assert_eq!(closed.unsent, count);
        let mut came: BTreeMap<Priority, Vec<usize>> = BTreeMap::new();
        for event in take_events(&mut pair, Side::Responder) {
            if let Owned::Message { body, priority, .. } = event {
                came.entry(priority).or_default().push(number_of(&body));
            }
        }
        for (priority, sent) in sent {
            let came = came.remove(&priority).unwrap_or_default();
            let back = back.remove(&priority).unwrap_or_default();
            let lost = sent.len() - came.len() - back.len();
            prop_assert!(lost <= 1, "{} of {} are neither there nor back", lost, sent.len());
            prop_assert_eq!(&sent[..came.len()], &came[..]);
            prop_assert_eq!(&sent[sent.len() - back.len()..], &back[..]);
        }
    }
}

/// What happens to a link before it is cut.
#[derive(Clone, Debug)]
enum Step {
    Send {
        priority: usize,
        length: usize,
    },
    Call {
        priority: usize,
        length: usize,
        millis: u64,
    },
    Cancel(usize),
    /// Whether the other side takes requests.
    Takes(bool),
    Answer(usize),
    /// One write of so many bytes at most, and one read.
    Move(usize),
    /// Everything moves until it rests.
    Run,
    Pass(u64),
    Ping,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = || prop_oneof![6 => 4..100_usize, 3 => 900..1024_usize, 1 => 4000..9000_usize];
    let step = prop_oneof![
        8 => (0..4_usize, length()).prop_map(|(priority, length)| Step::Send { priority, length }),
        4 => (0..4_usize, length(), 1..3000_u64)
            .prop_map(|(priority, length, millis)| Step::Call { priority, length, millis }),
        2 => (0..9_usize).prop_map(Step::Cancel),
        3 => any::<bool>().prop_map(Step::Takes),
        2 => (0..9_usize).prop_map(Step::Answer),
        6 => prop_oneof![30..300_usize, 1000..6000_usize].prop_map(Step::Move),
        3 => Just(Step::Run),
        1 => (1..800_u64).prop_map(Step::Pass),
        1 => Just(Step::Ping),
    ];
    proptest::collection::vec(step, 1..80)
}

/// One-way messages from the initiator: queued, and taken at the other side.
struct Fates {
    pair: Pair,
    sent: usize,
    taken: usize,
    calls: Vec<CallId>,
    tokens: Vec<ReplyToken>,
}

impl Fates {
    fn new(limits: Limits) -> Self {
        let pair = pair_with(|builder| builder.limits(limits).send_buffer(1 << 24));
        Self { pair, sent: 0, taken: 0, calls: Vec::new(), tokens: Vec::new() }
    }

    fn look(&mut self) {
        for event in take_events(&mut self.pair, Side::Responder) {
            match event {
                Owned::Message { .. } => self.taken += 1,
                Owned::Call { token, .. } => self.tokens.push(token),
                _ => {}
            }
        }
    }

    fn apply(&mut self, step: &Step, limit: usize) {
        let now = self.pair.now;
        let link = &mut self.pair.initiator.link;
        match *step {
            Step::Send { priority, length } => {
                let body = vec![0; length.min(limit)];
                link.send(Message::new("s", body).priority(Priority::ALL[priority])).expect("taken");
                self.sent += 1;
            }
            Step::Call { priority, length, millis } => {
                let message = Message::new("s", vec![0; length.min(limit)]).priority(Priority::ALL[priority]);
                self.calls.extend(link.call(message, Duration::from_millis(millis), now).ok());
            }
            Step::Cancel(which) if !self.calls.is_empty() => {
                let call = self.calls.swap_remove(which % self.calls.len());
                link.cancel(call, now);
            }
            Step::Takes(takes) => self.pair.responder.ready = Ready { requests: takes, ..Ready::ALL },
            Step::Answer(which) if !self.tokens.is_empty() => {
                let token = self.tokens.swap_remove(which % self.tokens.len());
                let _ = self.pair.responder.link.reply(token, Ok(Payload::from(b"answer")));
            }
            Step::Move(chunk) => {
                self.pair.chunk = chunk;
                self.pair.step();
                self.pair.chunk = usize::MAX;
            }
            Step::Run => self.pair.run(),
            Step::Pass(millis) => self.pair.pass(Duration::from_millis(millis)),
            Step::Ping => link.ping(now),
            Step::Cancel(_) | Step::Answer(_) => {}
        }
        self.look();
    }

    /// Cuts the link: sealed ones, and those of them that the link does not know the fate of.
    fn cut(&mut self) -> (usize, usize) {
        let now = self.pair.now;
        self.pair.initiator.link.transport_failed(now);
        self.pair.act(Side::Initiator);
        let closed = self.pair.closed(Side::Initiator);
        let back = std::iter::from_fn(|| self.pair.initiator.link.take_unsent()).count();
        assert_eq!(back, closed.unsent);
        (self.sent - back, closed.unknown)
    }
}

/// Limits with the smallest window, with one in which neighbours are counted together, and few calls at a time.
fn limits(wide: bool) -> Limits {
    let limits = smallest(3);
    if wide { Limits { window: 40_000, max_message: 9000, ..limits } } else { limits }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each message is delivered, given back or unknown, whatever was cancelled, refused, abandoned or left waiting.
    #[test]
    fn m6_no_message_counts_as_confirmed_that_was_not_taken(steps in steps(), wide: bool) {
        let limits = limits(wide);
        let mut fates = Fates::new(limits);
        for step in &steps {
            fates.apply(step, limits.max_message as usize);
        }
        let (sealed, unknown) = fates.cut();
        prop_assert!(unknown <= sealed, "{} of {} are unknown", unknown, sealed);
        let confirmed = sealed - unknown;
        prop_assert!(confirmed <= fates.taken, "{} are confirmed, {} were taken", confirmed, fates.taken);
        // All that was not given back can still be taken, and nothing else.
        fates.pair.responder.ready = Ready::ALL;
        fates.pair.run();
        fates.look();
        prop_assert!(fates.taken <= sealed, "{} of {}", fates.taken, sealed);
    }

    /// Once all is taken, the answer to a ping says so.
    #[test]
    fn m6_behind_a_ping_nothing_is_unknown_that_was_taken(steps in steps(), wide: bool) {
        let limits = limits(wide);
        let mut fates = Fates::new(limits);
        for step in &steps {
            fates.apply(step, limits.max_message as usize);
        }
        for step in [Step::Takes(true), Step::Run, Step::Ping, Step::Run] {
            fates.apply(&step, 0);
        }
        let (sealed, unknown) = fates.cut();
        prop_assert_eq!((sealed, fates.taken, unknown), (fates.sent, fates.sent, 0));
    }

    /// A goodbye confirms what was taken at the time of CLOSE, on both sides.
    #[test]
    fn m6_an_orderly_end_confirms_all_that_was_taken(steps in steps(), wide: bool, takes: bool) {
        let limits = limits(wide);
        let mut fates = Fates::new(limits);
        for step in &steps {
            fates.apply(step, limits.max_message as usize);
        }
        fates.apply(&Step::Takes(takes), 0);
        let now = fates.pair.now;
        fates.pair.initiator.link.goodbye(0, "", now);
        fates.pair.pass(secs(6));
        fates.look();
        let closed = fates.pair.closed(Side::Initiator);
        let back = std::iter::from_fn(|| fates.pair.initiator.link.take_unsent()).count();
        prop_assert!(fates.sent - back - closed.unknown <= fates.taken);
        if takes && matches!(closed.reason, Reason::Goodbye { .. }) {
            prop_assert_eq!((fates.taken, closed.unknown), (fates.sent - back, 0));
        }
        prop_assert_eq!(fates.pair.closed(Side::Responder).unknown, 0);
    }
}

/// A raw peer to which the link has sent `lengths`, each a body of service `s`, and what it was charged.
fn sent_to(raw: &mut Raw, lengths: &[usize]) -> Vec<u64> {
    for length in lengths {
        let message = Message::new("s", vec![0; *length]).priority(Priority::Urgent);
        raw.link.send(message).expect("taken");
        raw.act();
    }
    lengths.iter().map(|length| *length as u64 + 65).collect()
}

fn unknown(raw: &mut Raw) -> usize {
    let now = raw.now;
    raw.link.transport_failed(now);
    raw.link.closed().expect("it has ended").unknown
}

#[test]
fn m6_credit_confirms_messages_from_the_front() {
    for taken in 0..=3 {
        let mut raw = raw();
        // Each costs more than a hundredth of the window, so that none are counted together.
        let charges = sent_to(&mut raw, &[30_000, 20_000, 40_000]);
        raw.send(&credit(0, charges[..taken].iter().sum()));
        assert_eq!(unknown(&mut raw), 3 - taken);
    }
}

#[test]
fn m6_credit_of_an_abandoned_call_confirms_nothing_else() {
    let mut raw = raw();
    let now = raw.now;
    let long = Message::new("s", vec![0; 500_000]).priority(Priority::Low);
    let call = raw.link.call(long, secs(5), now).expect("taken");
    // One batch of records, which is not all of it.
    let bytes = raw.link.transmit(now).len();
    raw.link.transmitted(bytes, now);
    assert!(bytes < 400_000);
    raw.link.cancel(call, now);
    let charges = sent_to(&mut raw, &[30_000, 20_000]);
    raw.send(&credit(0, 500_065));
    // The peer gave back what the call was charged, as it may at once. Both messages can be unread.
    assert_eq!((ended(&raw), charges.len()), (None, 2));
    assert_eq!(unknown(&mut raw), 2);
}

#[test]
fn m6_nothing_is_given_back_before_the_end_nor_twice() {
    let mut pair = Pair::established();
    let now = pair.now;
    pair.initiator.link.send(Message::new("s", b"x")).expect("taken");
    assert_eq!(pair.initiator.link.take_unsent(), None);
    pair.initiator.link.close(now);
    assert!(pair.initiator.link.take_unsent().is_some());
    assert_eq!(pair.initiator.link.take_unsent(), None);
    pair.run();
    for side in SIDES {
        assert!(take_events(&mut pair, side).iter().all(|event| matches!(event, Owned::Closed(_))));
    }
}
