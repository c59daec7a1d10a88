//! The table of streams near the end of its ids, which no link comes to.

use alloc::collections::BTreeSet;

use super::{OWN, STEP, Streams, Terms};
use crate::config::StreamLimits;
use crate::hello::StreamOffer;
use crate::link::message::Priority;
use crate::wire::reader::VARINT_MAX;

#[test]
fn m12_an_id_is_used_once_and_the_last_one_is_one_that_travels() {
    let theirs = StreamOffer { max_streams: 100, window: 1000 };
    let terms = Terms { limits: StreamLimits::default(), send_buffer: 1 << 20, theirs, initiator: true };
    let mut streams = Streams::new(terms);
    let mut ids = BTreeSet::new();
    for priority in Priority::ALL {
        // Three ids of this priority are left, the largest of them the last that a varint holds.
        let first = streams.next[OWN][priority as usize];
        streams.next[OWN][priority as usize] = VARINT_MAX / STEP * STEP - 2 * STEP + first;
        for _ in 0..3 {
            ids.insert(streams.open("s", priority).expect("an id that is left"));
        }
        assert_eq!(streams.open("s", priority), None, "{priority:?}: every id is used");
    }
    assert_eq!(ids.len(), 12);
    assert_eq!(ids.last(), Some(&VARINT_MAX));
}
