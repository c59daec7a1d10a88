//! Streams in a storm: random writes, reads and ends at both sides, the byte stream cut anyhow, messages beside; and
//! a model that says what must come of it.

use std::collections::BTreeMap;
use std::time::Duration;

use handclasp::{
    Limits, Message, Priority, Ready, Reason, RekeyPolicy, STREAM_REFUSED, StreamId, StreamLimits,
    StreamRead, Timing, Why,
};
use handclasp_sim::{Owned, Pair, Side};
use proptest::prelude::*;

use super::pattern;
use crate::support::{SIDES, secs, seeded_pair, smallest, take_events};

#[derive(Clone, Debug)]
enum Step {
    Act,
    /// One write of so many bytes at most.
    Write(usize),
    Deliver(usize),
    Pass(u64),
    Ready(bool, bool),
    Open(usize),
    StreamWrite(usize, usize),
    StreamRead(usize, usize),
    Finish(usize),
    Reset(usize),
    Stop(usize),
    Send(usize),
    Rekey,
}

fn steps() -> impl Strategy<Value = Vec<(bool, Step)>> {
    let length = || prop_oneof![10 => 1..50_usize, 10 => 400..1100_usize, 3 => 3000..9000_usize, 1 => Just(20_000_usize)];
    let which = || 0..12_usize;
    let step = prop_oneof![
        4 => Just(Step::Act),
        3 => prop_oneof![1..100_usize, Just(usize::MAX)].prop_map(Step::Write),
        8 => prop_oneof![1..100_usize, 1000..5000_usize, Just(usize::MAX)].prop_map(Step::Deliver),
        1 => (1..700_u64).prop_map(Step::Pass),
        1 => any::<(bool, bool)>().prop_map(|(events, write)| Step::Ready(events, write)),
        5 => (0..4_usize).prop_map(Step::Open),
        14 => (which(), length()).prop_map(|(which, length)| Step::StreamWrite(which, length)),
        12 => (which(), length()).prop_map(|(which, length)| Step::StreamRead(which, length)),
        3 => which().prop_map(Step::Finish),
        1 => which().prop_map(Step::Reset),
        1 => which().prop_map(Step::Stop),
        2 => length().prop_map(Step::Send),
        1 => Just(Step::Rekey),
    ];
    proptest::collection::vec((any::<bool>(), step), 1..160)
}

/// One direction of a stream.
#[derive(Clone, Debug, Default)]
struct Flow {
    written: usize,
    read: usize,
    finished: bool,
    reset: Option<u32>,
    stopped: Option<u32>,
    /// The reader has had its end.
    ended: bool,
    told_stopped: bool,
}

/// What is known of a stream: who knows it, and its directions by who writes.
#[derive(Debug, Default)]
struct Known {
    by: [Option<StreamId>; 2],
    flows: [Flow; 2],
    refused: bool,
}

struct Storm {
    pair: Pair,
    streams: BTreeMap<u64, Known>,
    limits: StreamLimits,
    sent: [u64; 2],
    came: [u64; 2],
}

const fn side_of(at: usize) -> Side {
    if at == 0 { Side::Initiator } else { Side::Responder }
}

/// Where the bytes of a direction of a stream begin in the pattern.
fn salt(id: u64, writer: usize) -> usize {
    (id as usize * 7919 + writer * 104_729) % 500_000
}

impl Storm {
    fn new(run: u64, small: bool) -> Self {
        let limits = if small { smallest(4) } else { Limits::default() };
        let limits = Limits { idle: secs(3600), ..limits };
        let timing = Timing { stall: secs(3600), ..Timing::default() };
        let rekey = RekeyPolicy { records: 7, bytes: 50_000, age: secs(2) };
        let streams = if small {
            StreamLimits { max_open: 4, window: 700, largest_window: 3000, growth: 4000, send_buffer: 500 }
        } else {
            StreamLimits { max_open: 8, ..StreamLimits::default() }
        };
        let change = |builder: handclasp::ConfigBuilder| {
            let send_buffer = if small { 1200 } else { 1 << 20 };
            builder
                .limits(limits)
                .timing(timing.clone())
                .rekey(rekey.clone())
                .streams(streams)
                .send_buffer(send_buffer)
        };
        let pair = seeded_pair(change, run);
        Self { pair, streams: BTreeMap::new(), limits: streams, sent: [0; 2], came: [0; 2] }
    }

    /// A stream that this side knows, if it knows any.
    fn pick(&self, at: usize, which: usize) -> Option<(u64, StreamId)> {
        let known: Vec<_> =
            self.streams.iter().filter_map(|(id, known)| Some((*id, known.by[at]?))).collect();
        // Mostly the latest ones.
        let from = known.len().saturating_sub(12);
        let recent = &known[from..];
        (!recent.is_empty()).then(|| recent[which % recent.len()])
    }

    fn apply(&mut self, at: usize, step: &Step) {
        let (side, now) = (side_of(at), self.pair.now);
        match *step {
            Step::Act => drop(self.pair.act(side)),
            Step::Write(count) => {
                let end = self.pair.end(side);
                let bytes = end.link.transmit(now);
                let count = count.min(bytes.len());
                end.pipe.bytes.extend(&bytes[..count]);
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
            Step::Ready(events, write) => {
                self.pair.end(side).ready = Ready { events, requests: events, unordered: events, write };
            }
            Step::Open(priority) => match self.pair.link(side).open_stream("s", Priority::ALL[priority]) {
                Ok(id) => {
                    let known = self.streams.entry(id.get()).or_default();
                    assert_eq!(known.by, [None; 2], "an id again");
                    known.by[at] = Some(id);
                }
                Err(why) => assert_eq!(why, Why::TooManyStreams { limit: self.limits.max_open }),
            },
            Step::StreamWrite(which, length) => {
                if let Some((id, tagged)) = self.pick(at, which) {
                    self.write(at, id, tagged, length);
                }
            }
            Step::StreamRead(which, length) => {
                if let Some((id, tagged)) = self.pick(at, which) {
                    self.read(at, id, tagged, length);
                }
            }
            Step::Finish(which) => {
                if let Some((id, tagged)) = self.pick(at, which) {
                    self.pair.link(side).stream_finish(tagged);
                    self.flow(id, at).finished = true;
                }
            }
            Step::Reset(which) => {
                if let Some((id, tagged)) = self.pick(at, which) {
                    self.pair.link(side).stream_reset(tagged, 1000 + at as u32);
                    self.flow(id, at).reset.get_or_insert(1000 + at as u32);
                }
            }
            Step::Stop(which) => {
                if let Some((id, tagged)) = self.pick(at, which) {
                    self.pair.link(side).stream_stop(tagged, 2000 + at as u32);
                    self.flow(id, 1 - at).stopped.get_or_insert(2000 + at as u32);
                }
            }
            Step::Send(length) => {
                let mut body = vec![0; length.clamp(8, 1024)];
                body[..8].copy_from_slice(&self.sent[at].to_be_bytes());
                if self.pair.link(side).send(Message::new("storm", body)).is_ok() {
                    self.sent[at] += 1;
                }
            }
            Step::Rekey => self.pair.link(side).rekey(now),
        }
        self.look();
    }

    fn flow(&mut self, id: u64, writer: usize) -> &mut Flow {
        &mut self.streams.get_mut(&id).expect("known").flows[writer]
    }

    fn write(&mut self, at: usize, id: u64, tagged: StreamId, length: usize) {
        let written = self.flow(id, at).written;
        let count = self.pair.link(side_of(at)).stream_write(tagged, pattern(salt(id, at) + written, length));
        let largest = self.limits.largest_window as usize;
        let flow = self.flow(id, at);
        assert!(count == 0 || !(flow.finished || flow.reset.is_some()), "written behind the end");
        flow.written += count;
        // What is on its way, or waits on either side, is within what the reader has granted.
        assert!(flow.written - flow.read <= largest, "{} of {largest} bytes", flow.written - flow.read);
    }

    fn read(&mut self, at: usize, id: u64, tagged: StreamId, length: usize) {
        let mut space = vec![0; length];
        let answer = self.pair.link(side_of(at)).stream_read(tagged, &mut space);
        if answer == StreamRead::Reset(STREAM_REFUSED) {
            self.refused(at, id);
        }
        let refused = self.streams[&id].refused;
        let flow = self.flow(id, 1 - at);
        match answer {
            StreamRead::Data(count) => {
                assert!(count > 0 && flow.stopped.is_none() && !flow.ended);
                assert_eq!(&space[..count], pattern(salt(id, 1 - at) + flow.read, count), "other bytes");
                flow.read += count;
                assert!(flow.read <= flow.written);
            }
            StreamRead::End => {
                assert!(flow.finished && !flow.ended && flow.read == flow.written, "{flow:?}");
                flow.ended = true;
            }
            StreamRead::Reset(code) => {
                assert!(!flow.ended);
                assert!(flow.reset == Some(code) || (refused && code == STREAM_REFUSED), "{code}: {flow:?}");
                flow.ended = true;
            }
            StreamRead::Pending => assert!(!flow.ended && flow.stopped.is_none()),
            StreamRead::Over => assert!(flow.ended || flow.stopped.is_some(), "{flow:?}"),
        }
    }

    /// The stream was refused, says the side that has opened it: the other has not heard of it.
    fn refused(&mut self, at: usize, id: u64) {
        let known = self.streams.get_mut(&id).expect("known");
        assert_eq!(known.by[1 - at], None, "refused, though it was told");
        known.refused = true;
    }

    /// Takes what has come.
    fn look(&mut self) {
        for (at, side) in SIDES.into_iter().enumerate() {
            let (own, peers) = self.pair.link(side).streams_open();
            let most = self.limits.max_open as usize;
            assert!(own <= most && peers <= most, "{own} and {peers} streams");
            for event in take_events(&mut self.pair, side) {
                self.see(at, event);
            }
        }
    }

    fn see(&mut self, at: usize, event: Owned) {
        match event {
            Owned::StreamOpened { id, name, priority } => {
                assert_eq!((name.as_str(), priority as u64), ("s", id.get() >> 1 & 3));
                let known = self.streams.get_mut(&id.get()).expect("somebody has opened it");
                assert_eq!(known.by[at].replace(id), None, "told twice");
            }
            Owned::StreamReadable(id) | Owned::StreamWritable(id) => {
                assert!(self.streams[&id.get()].by[at] == Some(id), "before it was opened");
            }
            Owned::StreamReset { id, code } => {
                if code == STREAM_REFUSED {
                    self.refused(at, id.get());
                }
                let known = &self.streams[&id.get()];
                assert!(known.refused || known.flows[1 - at].reset == Some(code));
            }
            Owned::StreamStopped { id, code } => {
                if code == STREAM_REFUSED {
                    self.refused(at, id.get());
                }
                let known = self.streams.get_mut(&id.get()).expect("known");
                let flow = &mut known.flows[at];
                assert!(known.refused || flow.stopped == Some(code));
                assert!(!core::mem::replace(&mut flow.told_stopped, true), "told twice");
                // That is what its reader, if there still is one, gets from here on.
                flow.reset.get_or_insert(code);
            }
            Owned::Message { body, .. } => {
                let number = u64::from_be_bytes(*body.first_chunk().expect("a number"));
                assert_eq!(number, self.came[at]);
                self.came[at] += 1;
            }
            other => panic!("{other:?}"),
        }
    }

    /// Everybody finishes and reads to the end: every byte comes, every table is empty.
    fn finish(&mut self) {
        for side in SIDES {
            self.pair.end(side).ready = Ready::ALL;
        }
        for round in 0.. {
            assert!(round < 10_000, "it does not come to rest: {:?}", self.streams);
            self.pair.run();
            self.look();
            let mut open = false;
            for at in 0..2 {
                let known: Vec<_> =
                    self.streams.iter().filter_map(|(id, known)| Some((*id, known.by[at]?))).collect();
                for (id, tagged) in known {
                    self.pair.link(side_of(at)).stream_finish(tagged);
                    self.flow(id, at).finished = true;
                    let flow = self.flow(id, 1 - at);
                    if !flow.ended && flow.stopped.is_none() {
                        open = true;
                        self.read(at, id, tagged, 20_000);
                    }
                }
            }
            if !open {
                break;
            }
        }
        self.pair.run();
        self.look();
        for side in SIDES {
            assert_eq!(self.pair.link(side).streams_open(), (0, 0), "{:?}", self.streams);
            assert!(self.pair.link(side).closed().is_none());
        }
        for known in self.streams.values() {
            // One that was refused is not told of it where it had sent everything and wanted no answer.
            let unheard = known.by.contains(&None);
            let careless =
                known.by.iter().zip(&known.flows).any(|(by, flow)| by.is_none() && flow.stopped.is_some());
            assert!(!unheard || known.refused || careless, "{known:?}");
            for flow in &known.flows {
                let cut = flow.reset.is_some() || flow.stopped.is_some() || known.refused || unheard;
                assert!(cut || flow.read == flow.written, "{known:?}");
            }
        }
        assert_eq!(self.sent, [self.came[1], self.came[0]]);
        let now = self.pair.now;
        self.pair.initiator.link.goodbye(0, "", now);
        self.pair.run();
        for side in SIDES {
            assert!(matches!(self.pair.closed(side).reason, Reason::Goodbye { .. }));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn m12_a_storm_of_streams_loses_nothing_doubles_nothing_and_leaves_nothing(
        steps in steps(), run in 0..100_u64, small: bool,
    ) {
        let mut storm = Storm::new(run, small);
        for (initiator, step) in &steps {
            storm.apply(usize::from(!initiator), step);
        }
        storm.finish();
    }

    /// A goodbye in the middle of it ends both links by its deadline, and nothing is made up meanwhile.
    #[test]
    fn m12_a_goodbye_in_a_storm_of_streams_ends_both_links_in_time(
        steps in steps(), run in 0..100_u64, small: bool, both: bool,
    ) {
        let mut storm = Storm::new(run, small);
        for (initiator, step) in &steps {
            storm.apply(usize::from(!initiator), step);
        }
        for side in SIDES {
            storm.pair.end(side).ready = Ready::ALL;
        }
        let now = storm.pair.now;
        storm.pair.initiator.link.goodbye(0, "", now);
        if both {
            storm.pair.responder.link.goodbye(0, "", now);
        }
        storm.pair.pass(secs(6));
        for side in SIDES {
            prop_assert!(storm.pair.link(side).is_finished(), "{:?} is still there", side);
        }
        // Whatever is read now is the right bytes, and the tables hold no more than before.
        let known: Vec<_> = storm.streams.iter().map(|(id, known)| (*id, known.by)).collect();
        for (id, by) in known {
            for (at, tagged) in by.into_iter().enumerate() {
                let Some(tagged) = tagged else { continue };
                let mut space = vec![0; 2 << 20];
                let flow = storm.flow(id, 1 - at).clone();
                if let StreamRead::Data(count) = storm.pair.link(side_of(at)).stream_read(tagged, &mut space) {
                    prop_assert!(flow.finished && flow.read + count == flow.written);
                    prop_assert_eq!(&space[..count], pattern(salt(id, 1 - at) + flow.read, count));
                }
                prop_assert_eq!(storm.pair.link(side_of(at)).stream_write(tagged, b"x"), 0);
            }
        }
    }
}
