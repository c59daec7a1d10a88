//! Everything at once: random commands at both ends, streams cut anyhow, slow readers, cancels, time; and a model that says what must
//! come of it. Rows M1–M6, M8, K4, L3, and the invariants of any link.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use handclasp::{
    CallError, CallId, Executed, Limits, Message, Payload, Priority, Ready, Reason, RekeyPolicy, ReplyToken,
    ServiceError, Timing, Why,
};
use handclasp_sim::{Owned, Pair, Side};
use proptest::prelude::*;

use crate::support::{SIDES, body, number_of, secs, seeded_pair, smallest, take_events};

#[derive(Clone, Debug)]
enum Step {
    Act,
    /// One write of so many bytes at most, which can stop in the middle of a message.
    Write(usize),
    Deliver(usize),
    Pass(u64),
    Ready(bool, bool, bool),
    Send(usize, usize),
    Call(usize, usize, u64),
    Cancel(usize),
    Reply(usize, usize),
    Fail(usize),
    Rekey,
    Ping,
}

fn steps() -> impl Strategy<Value = Vec<(bool, Step)>> {
    let length = || prop_oneof![30 => 8..64_usize, 12 => 900..1025_usize, 3 => 4000..20_000_usize, 1 => 66_000..80_000_usize];
    let step = prop_oneof![
        4 => Just(Step::Act),
        3 => prop_oneof![1..100_usize, Just(usize::MAX)].prop_map(Step::Write),
        6 => prop_oneof![1..100_usize, 1000..5000_usize, Just(usize::MAX)].prop_map(Step::Deliver),
        2 => (1..700_u64).prop_map(Step::Pass),
        2 => any::<(bool, bool, bool)>().prop_map(|(events, requests, write)| Step::Ready(events, requests, write)),
        6 => (0..4_usize, length()).prop_map(|(priority, length)| Step::Send(priority, length)),
        6 => (0..4_usize, length(), 1..5000_u64).prop_map(|(priority, length, time)| Step::Call(priority, length, time)),
        2 => (0..20_usize).prop_map(Step::Cancel),
        5 => (0..20_usize, length()).prop_map(|(which, length)| Step::Reply(which, length)),
        1 => (0..20_usize).prop_map(Step::Fail),
        1 => Just(Step::Rekey),
        1 => Just(Step::Ping),
    ];
    proptest::collection::vec((any::<bool>(), step), 1..100)
}

/// What one end has done and seen.
#[derive(Debug, Default)]
struct Model {
    /// Sends that were taken, by priority: their numbers in order.
    sent: BTreeMap<Priority, Vec<u64>>,
    /// Own calls: the number in the request.
    calls: BTreeMap<CallId, u64>,
    cancelled: BTreeSet<CallId>,
    /// Outcomes of own calls.
    outcomes: BTreeMap<CallId, u32>,
    /// Numbers of requests that surely were not executed.
    not_executed: BTreeSet<u64>,
    /// Messages that came.
    came: BTreeMap<Priority, Vec<u64>>,
    /// The last sequence number of each priority.
    sequence: BTreeMap<Priority, u64>,
    /// Numbers of the requests that came.
    executed: BTreeSet<u64>,
    /// Calls to answer: token, number.
    open: Vec<(ReplyToken, u64)>,
    drained: bool,
}

struct Storm {
    pair: Pair,
    models: [Model; 2],
    /// The number of the next message: each is unique.
    next: u64,
    limits: Limits,
}

/// A third of all messages ask for no order.
const fn is_unordered(number: u64) -> bool {
    number.is_multiple_of(3)
}

/// Those in order, and the others ascending.
fn by_order(numbers: Option<&Vec<u64>>) -> (Vec<u64>, Vec<u64>) {
    let numbers = numbers.into_iter().flatten().copied();
    let (mut unordered, ordered): (Vec<_>, Vec<_>) = numbers.partition(|number| is_unordered(*number));
    unordered.sort_unstable();
    (ordered, unordered)
}

const fn index(side: Side) -> usize {
    match side {
        Side::Initiator => 0,
        Side::Responder => 1,
    }
}

impl Storm {
    fn new(run: u64, small: bool) -> Self {
        let limits = if small { smallest(3) } else { Limits { max_calls: 8, ..Limits::default() } };
        // Nobody is given up for being slow here.
        let limits = Limits { idle: secs(3600), ..limits };
        let timing = Timing { stall: secs(3600), ..Timing::default() };
        let rekey = RekeyPolicy { records: 7, bytes: 50_000, age: secs(2) };
        let change = |builder: handclasp::ConfigBuilder| {
            builder.limits(limits).timing(timing.clone()).rekey(rekey.clone()).send_buffer(100_000)
        };
        Self { pair: seeded_pair(change, run), models: Default::default(), next: 1, limits }
    }

    fn message(&mut self, length: usize) -> (u64, Vec<u8>) {
        let number = self.next;
        self.next += 1;
        (number, body(number, length.min(self.limits.max_message as usize)))
    }

    fn apply(&mut self, side: Side, step: &Step) {
        let now = self.pair.now;
        match *step {
            Step::Act => drop(self.pair.act(side)),
            Step::Write(count) => {
                let end = self.pair.end(side);
                let bytes = end.link.transmit(now);
                let count = count.min(bytes.len());
                end.pipe.bytes.extend(&bytes[..count]);
                end.pipe.log.extend(&bytes[..count]);
                end.link.transmitted(count, now);
            }
            Step::Deliver(count) => {
                let pipe = &mut self.pair.end(side.other()).pipe.bytes;
                let count = count.min(pipe.len());
                let bytes = pipe.make_contiguous()[..count].to_vec();
                pipe.drain(..count);
                self.pair.inject(side, &bytes);
            }
            Step::Pass(millis) => self.pair.pass(Duration::from_millis(millis)),
            Step::Ready(events, requests, write) => {
                self.pair.end(side).ready = Ready { events, requests, unordered: requests || write, write };
            }
            Step::Send(priority, length) => {
                let (number, body) = self.message(length);
                let priority = Priority::ALL[priority];
                let mut message = Message::new("storm", body).priority(priority);
                message.unordered = is_unordered(number);
                match self.pair.link(side).send(message) {
                    Ok(()) => self.models[index(side)].sent.entry(priority).or_default().push(number),
                    Err(rejected) => assert_eq!(rejected.why, Why::Full),
                }
            }
            Step::Call(priority, length, time) => {
                let (number, body) = self.message(length);
                let message = Message::new("storm", body).priority(Priority::ALL[priority]);
                match self.pair.link(side).call(message, Duration::from_millis(time), now) {
                    Ok(call) => {
                        let before = self.models[index(side)].calls.insert(call, number);
                        assert_eq!(before, None, "a request id again");
                    }
                    Err(rejected) => assert!(matches!(rejected.why, Why::Full | Why::TooManyCalls { .. })),
                }
            }
            Step::Cancel(which) => {
                let calls: Vec<CallId> = self.models[index(side)].calls.keys().copied().collect();
                if let Some(call) = calls.len().checked_sub(1 + which).map(|at| calls[at]) {
                    self.pair.link(side).cancel(call, now);
                    self.models[index(side)].cancelled.insert(call);
                }
            }
            Step::Reply(which, length) => self.reply(side, which, Some(length)),
            Step::Fail(which) => self.reply(side, which, None),
            Step::Rekey => self.pair.link(side).rekey(now),
            Step::Ping => self.pair.link(side).ping(now),
        }
        self.look();
    }

    fn reply(&mut self, side: Side, which: usize, length: Option<usize>) {
        let open = &mut self.models[index(side)].open;
        if open.is_empty() {
            return;
        }
        let (token, number) = open.remove(which % open.len());
        let answer = match length {
            Some(length) => Ok(Payload::from(body(number, length.min(self.limits.max_message as usize)))),
            None => Err(ServiceError::HandlerFailed),
        };
        if let Err(rejected) = self.pair.link(side).reply(token, answer) {
            match rejected.token {
                Some(token) => {
                    assert_eq!(rejected.why, Why::Full);
                    self.models[index(side)].open.push((token, number));
                }
                None => assert_eq!(rejected.why, Why::NobodyWaits),
            }
        }
    }

    /// Takes what has come and holds it against the model.
    fn look(&mut self) {
        for side in SIDES {
            for event in take_events(&mut self.pair, side) {
                self.see(side, event);
            }
            let (own, served) = self.pair.link(side).calls_in_flight();
            assert!(own.max(served) <= self.limits.max_calls as usize, "{own} and {served} calls in flight");
        }
    }

    fn see(&mut self, side: Side, event: Owned) {
        let model = &mut self.models[index(side)];
        match event {
            Owned::Message { body, priority, sequence, unordered, .. } => {
                let number = number_of(&body);
                model.came.entry(priority).or_default().push(number);
                assert_eq!(unordered, is_unordered(number));
                if !unordered {
                    let last = model.sequence.insert(priority, sequence);
                    assert!(last.is_none_or(|last| last < sequence), "{sequence} behind {last:?}");
                }
            }
            Owned::Call { token, body, .. } => {
                let number = number_of(&body);
                assert!(model.executed.insert(number), "call {number} was given out twice");
                model.open.push((token, number));
            }
            Owned::Cancelled(call) => model.open.retain(|(token, _)| token.call() != call),
            Owned::Reply { call, body } => {
                assert_eq!(model.calls.get(&call), Some(&number_of(&body)), "another call's answer");
                *model.outcomes.entry(call).or_default() += 1;
            }
            Owned::CallFailed { call, error } => {
                *model.outcomes.entry(call).or_default() += 1;
                let executed = match error {
                    CallError::DeadlineExceeded { executed } | CallError::LinkClosed { executed, .. } => {
                        executed
                    }
                    CallError::Service(_) => Executed::Unknown,
                    CallError::NoLink { .. } | CallError::OneWayOnly => {
                        panic!("there is a link, and nothing is signed")
                    }
                };
                if executed == Executed::No {
                    model.not_executed.insert(model.calls[&call]);
                }
            }
            Owned::Draining { .. } => model.drained = true,
            Owned::Closed(closed) => assert!(model.drained, "an end without a goodbye: {closed:?}"),
            other => panic!("{other:?}"),
        }
    }

    /// Lets everything come to rest, then says goodbye, and draws the sum.
    fn finish(&mut self, both: bool) {
        for side in SIDES {
            self.pair.end(side).ready = Ready::ALL;
        }
        // Half of what is open is answered, the rest runs into its deadline.
        for _ in 0..40 {
            self.pair.run();
            self.look();
            for side in SIDES {
                if self.models[index(side)].open.len() > 1 {
                    self.reply(side, 0, Some(100));
                }
            }
        }
        self.pair.pass(secs(6));
        self.look();
        for (side, priority) in
            SIDES.into_iter().flat_map(|side| Priority::ALL.map(|priority| (side, priority)))
        {
            let sent = self.models[index(side)].sent.get(&priority);
            let came = self.models[index(side.other())].came.get(&priority);
            assert_eq!(by_order(sent), by_order(came), "{side:?} {priority:?}: lost, twice, or out of order");
        }
        for side in SIDES {
            assert_eq!(self.pair.link(side).queued(), 0);
            assert_eq!(self.pair.link(side).calls_in_flight(), (0, 0));
            let model = &self.models[index(side)];
            for call in model.calls.keys() {
                let outcomes = model.outcomes.get(call).copied().unwrap_or(0);
                let cancelled = model.cancelled.contains(call);
                assert!(outcomes == 1 || cancelled && outcomes == 0, "{call:?} has {outcomes} outcomes");
            }
            let executed = &self.models[index(side.other())].executed;
            assert!(model.not_executed.is_disjoint(executed), "executed, though it was said not to be");
        }
        let now = self.pair.now;
        self.pair.initiator.link.goodbye(1, "", now);
        if both {
            self.pair.responder.link.goodbye(2, "", now);
        }
        self.pair.run();
        self.look();
        for side in SIDES {
            let closed = self.pair.closed(side);
            assert!(matches!(closed.reason, Reason::Goodbye { .. }), "{closed:?}");
            assert_eq!(closed.unsent, 0);
            assert!(self.pair.link(side).is_finished());
        }
    }
}

fn play(steps: &[(bool, Step)], run: u64, small: bool, both: bool) -> [Vec<u8>; 2] {
    let mut storm = Storm::new(run, small);
    for (initiator, step) in steps {
        storm.apply(if *initiator { Side::Initiator } else { Side::Responder }, step);
    }
    storm.finish(both);
    SIDES.map(|side| std::mem::take(&mut storm.pair.end(side).pipe.log))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn m6_a_storm_loses_nothing_doubles_nothing_and_ends(steps in steps(), run in 0..100_u64, small: bool, both: bool) {
        play(&steps, run, small, both);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn o4_the_same_seed_and_inputs_give_the_same_bytes(steps in steps(), run in 0..100_u64, small: bool) {
        let first = play(&steps, run, small, false);
        prop_assert_eq!(&first, &play(&steps, run, small, false));
        prop_assert_ne!(&first, &play(&steps, run + 1, small, false));
    }

    /// A goodbye in the middle of it: both ends close within the drain time, and nothing comes twice or is made up.
    #[test]
    fn l3_a_goodbye_in_the_storm_closes_both_ends_in_time(steps in steps(), at in 0..100_usize, run in 0..100_u64, small: bool) {
        let mut storm = Storm::new(run, small);
        let at = at.min(steps.len());
        for (initiator, step) in &steps[..at] {
            storm.apply(if *initiator { Side::Initiator } else { Side::Responder }, step);
        }
        let now = storm.pair.now;
        storm.pair.initiator.link.goodbye(1, "", now);
        for side in SIDES {
            storm.pair.end(side).ready = Ready::ALL;
        }
        storm.pair.pass(secs(6));
        storm.look();
        for side in SIDES {
            prop_assert!(storm.pair.link(side).is_finished(), "{:?} is still there", side);
        }
        for (side, priority) in SIDES.into_iter().flat_map(|side| Priority::ALL.map(|priority| (side, priority))) {
            let sent = storm.models[index(side)].sent.get(&priority).cloned().unwrap_or_default();
            let came = storm.models[index(side.other())].came.get(&priority).cloned().unwrap_or_default();
            prop_assert_eq!(by_order(Some(&sent[..came.len()].to_vec())), by_order(Some(&came)));
        }
        for side in SIDES {
            let mut back: BTreeMap<Priority, Vec<u64>> = BTreeMap::new();
            while let Some(unsent) = storm.pair.link(side).take_unsent() {
                back.entry(unsent.priority).or_default().push(number_of(&unsent.body));
            }
            for (priority, sent) in &storm.models[index(side)].sent {
                let came = storm.models[index(side.other())].came.get(priority).map_or(0, Vec::len);
                let back = back.remove(priority).unwrap_or_default();
                // Sealed in part and cut off by the deadline, one a lane at most.
                prop_assert!(sent.len() - came - back.len() <= 1, "{} sent, {} came, {:?} back", sent.len(), came, back);
                prop_assert_eq!(&sent[sent.len() - back.len()..], &back[..]);
            }
            let model = &storm.models[index(side)];
            for call in model.calls.keys() {
                let outcomes = model.outcomes.get(call).copied().unwrap_or(0);
                prop_assert!(outcomes == 1 || model.cancelled.contains(call) && outcomes == 0, "{:?}: {}", call, outcomes);
            }
            let executed = &storm.models[index(side.other())].executed;
            prop_assert!(model.not_executed.is_disjoint(executed));
        }
    }
}
