//! M12: byte streams with credit over the same link, half-close and reset.

mod bounds;
mod ends;
mod flow;
mod hostile;
mod storm;

use std::sync::LazyLock;

use handclasp::{Link, Priority, StreamId, StreamLimits, StreamRead};
use handclasp_sim::{Owned, Pair, Side};

use crate::support::{pair_with, take_events};

/// A pair of which both sides have these limits.
fn pair_of(limits: StreamLimits) -> Pair {
    pair_with(|builder| builder.streams(limits))
}

/// Opens a stream of normal priority.
fn open(pair: &mut Pair, side: Side, name: &str) -> StreamId {
    pair.link(side).open_stream(name, Priority::Normal).expect("taken")
}

/// Everything that can be read at the moment, and the answer behind it.
fn read_all(link: &mut Link, stream: StreamId) -> (Vec<u8>, StreamRead) {
    let (mut bytes, mut space) = (Vec::new(), [0; 10_007]);
    loop {
        match link.stream_read(stream, &mut space) {
            StreamRead::Data(count) => bytes.extend_from_slice(&space[..count]),
            end => return (bytes, end),
        }
    }
}

/// The peer's next stream; every other event is passed over.
fn accepted(pair: &mut Pair, side: Side) -> StreamId {
    accepted_all(pair, side).into_iter().next().expect("a stream")
}

/// The peer's new streams; every other event is passed over.
fn accepted_all(pair: &mut Pair, side: Side) -> Vec<StreamId> {
    let opened = |event| if let Owned::StreamOpened { id, .. } = event { Some(id) } else { None };
    take_events(pair, side).into_iter().filter_map(opened).collect()
}

/// A stream that the initiator has opened, as each side knows it.
fn both(pair: &mut Pair) -> (StreamId, StreamId) {
    let here = open(pair, Side::Initiator, "stream");
    pair.run();
    (here, accepted(pair, Side::Responder))
}

/// Bytes that tell where they stand.
fn pattern(from: usize, count: usize) -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut state = 1_u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        core::iter::repeat_with(next).take(3 << 20).collect()
    });
    &BYTES[from % (1 << 20)..][..count]
}
