//! M8: what a link has grown to under load it gives back once it is idle.

use std::collections::VecDeque;

use allocation_counter::measure;
use handclasp::{Message, Payload, Priority, Ready};
use handclasp_sim::{Owned, Pair};

use crate::support::{SIDES, pair_with, secs, take_events};

/// Traffic of every kind both ways: some waits to be sent, some to be taken, and in the end nothing does.
fn work(pair: &mut Pair) {
    let now = pair.now;
    for side in SIDES {
        pair.end(side.other()).ready = Ready::WRITE;
        for number in 0..400 {
            let priority = Priority::ALL[number % 4];
            let message = Message::new("one way", vec![7; number]).priority(priority);
            pair.link(side).send(message).expect("taken");
            pair.link(side)
                .send(Message::new("kept", vec![7; 2000]).priority(priority).unordered())
                .expect("taken");
        }
        for _ in 0..100 {
            pair.link(side).call(Message::new("call", b"?"), secs(60), now).expect("taken");
        }
        pair.run();
        pair.end(side.other()).ready = Ready::ALL;
        pair.run();
        let mut came = 0;
        for event in take_events(pair, side.other()) {
            match event {
                Owned::Call { token, .. } => {
                    pair.link(side.other()).reply(token, Ok(Payload::from(vec![1; 300]))).expect("taken");
                }
                Owned::Message { .. } => came += 1,
                other => panic!("{other:?}"),
            }
        }
        pair.run();
        assert_eq!((came, take_events(pair, side).len()), (800, 100));
    }
}

/// What two idle links hold, in bytes, of which the pipes between them are not counted.
fn held(before: impl FnOnce(&mut Pair)) -> i64 {
    let mut kept = None;
    let memory = measure(|| {
        let mut pair = pair_with(|builder| builder.send_buffer(usize::MAX));
        before(&mut pair);
        pair.pass(secs(60));
        for side in SIDES {
            let end = pair.end(side);
            assert!(end.link.closed().is_none() && end.events.is_empty());
            end.events = Vec::new();
            (end.pipe.bytes, end.pipe.log) = (VecDeque::new(), Vec::new());
        }
        kept = Some(pair);
    });
    drop(kept);
    memory.bytes_current
}

#[test]
fn m8_an_idle_link_holds_no_more_than_one_that_was_never_busy() {
    let (busy, never) = (held(work), held(|_| {}));
    assert!(busy <= never, "{busy} bytes, {never} where nothing was sent");
}
