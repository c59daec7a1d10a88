//! Somebody on the path of an established link: whatever is done to its bytes, what is heard is what was said, up
//! to the edit, and a loss is never taken for an end.

use std::time::Duration;

use handclasp::{Message, Phase, Priority, Reason, StreamId, StreamRead};
use handclasp_sim::hostile::messages;
use handclasp_sim::{Owned, Pair, Side};

/// What the responder's application has heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Heard {
    bodies: Vec<Vec<u8>>,
    stream: Vec<u8>,
    /// The stream has come to the end that its writer gave it.
    whole: bool,
}

impl Heard {
    /// Whether this is as much of `all` as has come so far.
    fn begins(&self, all: &Self) -> bool {
        all.bodies.starts_with(&self.bodies)
            && all.stream.starts_with(&self.stream)
            && (!self.whole || self.stream == all.stream)
    }
}

/// An established pair whose initiator has said a few things, in a record each.
struct Said {
    pair: Pair,
    records: Vec<Vec<u8>>,
    heard: Heard,
    streams: Vec<StreamId>,
}

fn said() -> Said {
    let mut pair = Pair::established();
    let now = pair.now;
    let stream = pair.initiator.link.open_stream("file", Priority::Normal).expect("taken");
    for part in 0..3_u8 {
        let body = [b'a' + part; 5];
        pair.initiator.link.send(Message::new("s", &body)).expect("taken");
        pair.act(Side::Initiator);
        pair.initiator.link.call(Message::new("c", &body), 2 * Duration::from_secs(30), now).expect("taken");
        pair.act(Side::Initiator);
        assert_eq!(pair.initiator.link.stream_write(stream, &[b'0' + part; 9]), 9);
        pair.act(Side::Initiator);
    }
    pair.initiator.link.stream_finish(stream);
    pair.act(Side::Initiator);
    let bytes: Vec<u8> = pair.initiator.pipe.bytes.drain(..).collect();
    Said { pair, records: messages(&bytes, false), heard: Heard::default(), streams: Vec::new() }
}

impl Said {
    /// Bytes come to the responder, and its application takes what it can.
    fn come(&mut self, bytes: &[u8]) {
        self.pair.inject(Side::Responder, bytes);
        self.take();
    }

    /// All of these records, or what has become of them.
    fn come_all(&mut self, records: &[Vec<u8>]) {
        for record in records {
            self.come(record);
        }
    }

    /// The stream of the link has ended.
    fn over(&mut self) {
        let now = self.pair.now;
        self.pair.responder.link.recv_closed(now);
        self.take();
    }

    fn take(&mut self) {
        self.pair.act(Side::Responder);
        for event in self.pair.responder.events.drain(..) {
            match event {
                Owned::Message { body, .. } | Owned::Call { body, .. } => {
                    self.heard.bodies.push(body.to_vec());
                }
                Owned::StreamOpened { id, .. } => self.streams.push(id),
                _ => {}
            }
        }
        for id in &self.streams {
            let mut space = [0; 100];
            loop {
                match self.pair.responder.link.stream_read(*id, &mut space) {
                    StreamRead::Data(count) => self.heard.stream.extend_from_slice(&space[..count]),
                    StreamRead::End => {
                        self.heard.whole = true;
                        break;
                    }
                    _ => break,
                }
            }
        }
    }

    fn phase(&self) -> Phase {
        self.pair.responder.link.phase()
    }

    fn reason(&mut self) -> Reason {
        self.pair.closed(Side::Responder).reason
    }
}

/// All that was said, as it is heard if nobody does anything, and what is heard before each record.
fn all() -> (Heard, Vec<Heard>) {
    let mut said = said();
    let mut before = Vec::new();
    for record in said.records.clone() {
        before.push(said.heard.clone());
        said.come(&record);
    }
    let Heard { bodies, stream, whole } = &said.heard;
    assert_eq!((bodies.len(), stream.len(), *whole), (6, 27, true));
    (said.heard, before)
}

#[test]
fn k3_every_bit_flipped_in_traffic_is_noticed_and_nothing_behind_it_is_heard() {
    let (all, before) = all();
    for (number, before) in before.iter().enumerate() {
        for place in 0..said().records[number].len() {
            for bit in 0..8 {
                let mut said = said();
                let mut records = said.records.clone();
                records[number][place] ^= 1 << bit;
                said.come_all(&records);
                // A length that was raised is waited for: its bytes never come, or do not open.
                if said.phase() != Phase::Closed {
                    said.come(&vec![0; 70_000]);
                }
                let what = format!("record {number}, byte {place}, bit {bit}");
                assert_eq!(&said.heard, before, "{what}");
                assert!(said.heard.begins(&all));
                let reason = said.reason();
                let noticed =
                    matches!(reason, Reason::DecryptFailed | Reason::TooLarge | Reason::Violation(_));
                assert!(noticed, "{what}: {reason:?}");
            }
        }
    }
}

#[test]
fn k5_records_of_traffic_dropped_repeated_or_swapped_end_the_link() {
    let (all, before) = all();
    let count = before.len();
    for place in 0..count {
        for act in ["drop", "repeat", "swap"] {
            let mut said = said();
            let mut records = said.records.clone();
            match act {
                "drop" => drop(records.remove(place)),
                "repeat" => records.insert(place, records[place].clone()),
                _ if place + 1 < count => records.swap(place, place + 1),
                _ => continue,
            }
            said.come_all(&records);
            let heard = if act == "repeat" { before.get(place + 1).unwrap_or(&all) } else { &before[place] };
            assert_eq!(&said.heard, heard, "{act} of record {place}");
            if act == "drop" && place + 1 == count {
                // Nothing behind it shows that it is missing: what it said is not heard, and the end tells.
                assert_eq!(said.phase(), Phase::Established);
                said.over();
                assert_eq!(said.reason(), Reason::Truncated);
            } else {
                assert_eq!(said.reason(), Reason::DecryptFailed, "{act} of record {place}");
            }
        }
    }
}

/// Cut at any byte: a stream that has not come whole never ends well, and the link says that it was cut.
#[test]
fn l5_a_byte_stream_cut_with_its_link_at_any_byte_never_looks_whole() {
    let (all, _) = all();
    for place in 0..said().records.concat().len() {
        let mut said = said();
        let bytes = said.records.concat();
        said.come(&bytes[..place]);
        said.over();
        assert!(said.heard.begins(&all) && !said.heard.whole, "cut at {place}: {:?}", said.heard);
        assert_eq!(said.reason(), Reason::Truncated, "cut at {place}");
    }
}
