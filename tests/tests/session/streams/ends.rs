//! How streams end: finished, reset, stopped, with a goodbye, with their link.

use handclasp::{By, Phase, Priority, Reason, STREAM_LINK_ENDED, STREAM_REFUSED, StreamLimits, StreamRead};
use handclasp_sim::{Owned, Side};

use super::{accepted, both, open, pair_of, read_all};
use crate::support::{SIDES, pair_with, secs, take_events};

#[test]
fn m12_a_reset_takes_the_place_of_what_was_not_read() {
    let mut pair = pair_of(StreamLimits::default());
    let (here, there) = both(&mut pair);
    pair.initiator.link.stream_write(here, b"came and was not read");
    pair.run();
    take_events(&mut pair, Side::Responder);
    pair.initiator.link.stream_write(here, b"was not sent");
    pair.initiator.link.stream_reset(here, 77);
    pair.initiator.link.stream_reset(here, 78);
    pair.initiator.link.stream_finish(here);
    assert_eq!(pair.initiator.link.stream_write(here, b"x"), 0);
    pair.run();
    assert!(matches!(
        take_events(&mut pair, Side::Responder)[..],
        [Owned::StreamReset { id, code: 77 }] if id == there
    ));
    assert_eq!(read_all(&mut pair.responder.link, there), (Vec::new(), StreamRead::Reset(77)));
    assert_eq!(pair.responder.link.stream_read(there, &mut [0]), StreamRead::Over);
    // The other direction goes on.
    pair.responder.link.stream_write(there, b"answer");
    pair.responder.link.stream_finish(there);
    pair.run();
    assert_eq!(read_all(&mut pair.initiator.link, here), (b"answer".to_vec(), StreamRead::End));
    assert_eq!(SIDES.map(|side| pair.link(side).streams_open()), [(0, 0); 2]);
}

#[test]
fn m12_a_stop_reaches_the_writer_and_what_is_under_way_is_dropped() {
    let mut pair = pair_of(StreamLimits::default());
    let (here, there) = both(&mut pair);
    pair.initiator.link.stream_write(here, &[1; 5000]);
    pair.act(Side::Initiator);
    pair.responder.link.stream_stop(there, 5);
    assert_eq!(pair.responder.link.stream_read(there, &mut [0]), StreamRead::Over);
    pair.run();
    assert!(matches!(
        take_events(&mut pair, Side::Initiator)[..],
        [Owned::StreamStopped { id, code: 5 }] if id == here
    ));
    assert!(take_events(&mut pair, Side::Responder).is_empty());
    assert_eq!(pair.initiator.link.stream_write(here, b"x"), 0);
    pair.responder.link.stream_finish(there);
    pair.run();
    assert_eq!(read_all(&mut pair.initiator.link, here), (Vec::new(), StreamRead::End));
    assert_eq!(SIDES.map(|side| pair.link(side).streams_open()), [(0, 0); 2]);
    // A writer that has finished already is not told.
    let (here, there) = both(&mut pair);
    take_events(&mut pair, Side::Initiator);
    pair.initiator.link.stream_write(here, b"all");
    pair.initiator.link.stream_finish(here);
    pair.run();
    pair.responder.link.stream_stop(there, 5);
    pair.responder.link.stream_reset(there, 6);
    pair.run();
    assert!(matches!(take_events(&mut pair, Side::Initiator)[..], [Owned::StreamReset { code: 6, .. }]));
    assert_eq!(read_all(&mut pair.initiator.link, here), (Vec::new(), StreamRead::Reset(6)));
    assert_eq!(SIDES.map(|side| pair.link(side).streams_open()), [(0, 0); 2]);
}

#[test]
fn m12_a_stream_given_up_before_it_left_was_never_there() {
    let mut pair = pair_of(StreamLimits::default());
    let here = open(&mut pair, Side::Initiator, "no");
    pair.initiator.link.stream_write(here, b"no");
    pair.initiator.link.stream_reset(here, 1);
    pair.initiator.link.stream_stop(here, 1);
    let other = open(&mut pair, Side::Initiator, "yes");
    pair.run();
    let events = take_events(&mut pair, Side::Responder);
    assert!(matches!(&events[..], [Owned::StreamOpened { name, .. }] if name == "yes"), "{events:?}");
    assert_eq!(SIDES.map(|side| pair.link(side).streams_open()), [(1, 0), (0, 1)]);
    // In one direction only: the other is there.
    pair.initiator.link.stream_reset(other, 1);
    let asks = open(&mut pair, Side::Initiator, "asks");
    pair.initiator.link.stream_reset(asks, 9);
    pair.run();
    take_events(&mut pair, Side::Responder)
        .iter()
        .find(|event| matches!(event, Owned::StreamReset { code: 9, .. }))
        .expect("it opened, and then its first direction was given up");
}

/// A goodbye follows what was to leave before it, and nothing else.
#[test]
fn l3_a_stream_that_never_left_holds_no_goodbye_up() {
    for given_up in 1..3 {
        let mut pair = pair_of(StreamLimits::default());
        for _ in 0..given_up {
            let here = open(&mut pair, Side::Initiator, "no");
            pair.initiator.link.stream_reset(here, 1);
            pair.initiator.link.stream_stop(here, 1);
        }
        let (before, now) = (pair.now, pair.now);
        pair.initiator.link.goodbye(4, "done", now);
        pair.run();
        for side in SIDES {
            let closed = pair.link(side).closed().expect("nothing is left to wait for").clone();
            assert!(matches!(closed.reason, Reason::Goodbye { code: 4, .. }), "{side:?}: {closed}");
        }
        assert_eq!(pair.now, before);
    }
}

#[test]
fn m12_an_application_refuses_as_a_link_does() {
    let mut pair = pair_of(StreamLimits::default());
    let (here, there) = both(&mut pair);
    pair.initiator.link.stream_write(here, b"for whom?");
    pair.responder.link.stream_stop(there, STREAM_REFUSED);
    pair.responder.link.stream_reset(there, STREAM_REFUSED);
    pair.run();
    assert!(matches!(
        take_events(&mut pair, Side::Initiator)[..],
        [Owned::StreamReset { code: STREAM_REFUSED, .. }, Owned::StreamStopped { code: STREAM_REFUSED, .. }]
    ));
    assert_eq!(pair.initiator.link.stream_read(here, &mut [0]), StreamRead::Reset(STREAM_REFUSED));
    assert_eq!(SIDES.map(|side| pair.link(side).streams_open()), [(0, 0); 2]);
}

#[test]
fn m12_a_goodbye_lets_open_streams_finish_and_takes_no_new_ones() {
    let mut pair = pair_of(StreamLimits::default());
    let (here, there) = both(&mut pair);
    // One that was opened before the goodbye goes out before it.
    let last = open(&mut pair, Side::Initiator, "last");
    let now = pair.now;
    pair.initiator.link.goodbye(1, "enough", now);
    pair.run();
    take_events(&mut pair, Side::Initiator);
    assert!(pair.responder.link.open_stream("", Priority::Normal).is_err());
    let last_there = accepted(&mut pair, Side::Responder);
    for (here, there) in [(here, there), (last, last_there)] {
        for _ in 0..3 {
            pair.initiator.link.stream_write(here, b"forth");
            pair.responder.link.stream_write(there, b"back");
            pair.run();
            assert_eq!(read_all(&mut pair.initiator.link, here).0, b"back");
            assert_eq!(read_all(&mut pair.responder.link, there).0, b"forth");
        }
        pair.initiator.link.stream_finish(here);
        pair.responder.link.stream_finish(there);
        pair.run();
        assert_eq!(pair.initiator.link.phase(), Phase::Draining);
        assert_eq!(read_all(&mut pair.initiator.link, here).1, StreamRead::End);
        pair.run();
        assert_eq!(pair.responder.link.phase(), Phase::Draining, "the reader has not read the end");
        assert_eq!(read_all(&mut pair.responder.link, there).1, StreamRead::End);
    }
    pair.run();
    for side in SIDES {
        assert_eq!(pair.closed(side).reason, Reason::Goodbye { code: 1, detail: "enough".into() });
    }
}

#[test]
fn m12_a_stream_that_the_peer_has_not_heard_of_does_not_outlive_its_goodbye() {
    let mut pair = pair_of(StreamLimits::default());
    let now = pair.now;
    pair.responder.link.goodbye(0, "", now);
    pair.act(Side::Responder);
    // The goodbye is on its way when the initiator opens one, and reads it before anything leaves.
    let here = open(&mut pair, Side::Initiator, "late");
    pair.initiator.link.stream_write(here, b"late");
    pair.deliver(Side::Initiator);
    pair.run();
    let events = take_events(&mut pair, Side::Initiator);
    let told = |events: &[Owned], reset| {
        events.iter().any(|event| match event {
            Owned::StreamReset { id, code } => reset && (*id, *code) == (here, STREAM_LINK_ENDED),
            Owned::StreamStopped { id, code } => !reset && (*id, *code) == (here, STREAM_LINK_ENDED),
            _ => false,
        })
    };
    assert!(told(&events, true) && told(&events, false), "{events:?}");
    assert!(
        take_events(&mut pair, Side::Responder)
            .iter()
            .all(|event| { matches!(event, Owned::Draining { .. } | Owned::Closed(_)) })
    );
    assert_eq!(pair.closed(Side::Initiator).by, By::Peer);
}

#[test]
fn l3_streams_that_do_not_finish_are_reset_at_the_deadline_of_a_goodbye() {
    let mut pair = pair_of(StreamLimits::default());
    let (here, there) = both(&mut pair);
    pair.responder.link.stream_write(there, b"to be lost");
    let now = pair.now;
    pair.initiator.link.goodbye(0, "", now);
    pair.pass(secs(6));
    for (side, stream) in [(Side::Initiator, here), (Side::Responder, there)] {
        assert_eq!(pair.closed(side).reason, Reason::DrainTimeout);
        assert_eq!(read_all(pair.link(side), stream), (Vec::new(), StreamRead::Reset(STREAM_LINK_ENDED)));
        assert_eq!(pair.link(side).stream_write(stream, b"x"), 0);
        let events = take_events(&mut pair, side);
        assert!(matches!(events.last(), Some(Owned::Closed(_))), "{events:?}");
    }
}

#[test]
fn m12_what_came_whole_is_read_after_the_link_has_ended() {
    for (revoked, transport) in [(false, true), (false, false), (true, false)] {
        let mut pair = pair_of(StreamLimits::default());
        let half = open(&mut pair, Side::Initiator, "half");
        pair.initiator.link.stream_write(half, b"half");
        pair.run();
        let half_there = accepted(&mut pair, Side::Responder);
        let whole = open(&mut pair, Side::Initiator, "whole");
        pair.initiator.link.stream_write(whole, b"all of it");
        pair.initiator.link.stream_finish(whole);
        let fresh = open(&mut pair, Side::Initiator, "fresh");
        pair.initiator.link.stream_write(fresh, b"half");
        pair.act(Side::Initiator);
        // It all comes with one read, and then the end, before the application has looked.
        pair.responder.ready.events = false;
        pair.deliver(Side::Responder);
        let now = pair.now;
        match (revoked, transport) {
            (true, _) => pair.responder.link.revoke(now),
            (_, true) => pair.responder.link.transport_failed(now),
            _ => pair.responder.link.recv_closed(now),
        }
        pair.responder.ready.events = true;
        pair.act(Side::Responder);
        let events = take_events(&mut pair, Side::Responder);
        assert_eq!(
            read_all(&mut pair.responder.link, half_there),
            (Vec::new(), StreamRead::Reset(STREAM_LINK_ENDED))
        );
        if revoked {
            assert!(matches!(events[..], [Owned::Closed(_)]), "{events:?}");
            continue;
        }
        let [Owned::StreamOpened { id, name, .. }, Owned::StreamReadable(_), Owned::Closed(_)] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(name, "whole");
        assert_eq!(read_all(&mut pair.responder.link, *id), (b"all of it".to_vec(), StreamRead::End));
    }
}

#[test]
fn m12_what_came_whole_is_waited_for_when_the_peer_has_closed() {
    let mut pair = pair_of(StreamLimits::default());
    let (here, there) = both(&mut pair);
    pair.responder.link.stream_finish(there);
    pair.run();
    assert_eq!(read_all(&mut pair.initiator.link, here).1, StreamRead::End);
    pair.initiator.link.stream_write(here, b"the last words");
    pair.initiator.link.stream_finish(here);
    let now = pair.now;
    pair.initiator.link.goodbye(0, "", now);
    pair.run();
    assert_eq!(pair.responder.link.phase(), Phase::Draining);
    pair.pass(secs(1));
    assert_eq!(read_all(&mut pair.responder.link, there), (b"the last words".to_vec(), StreamRead::End));
    pair.run();
    for side in SIDES {
        assert!(matches!(pair.closed(side).reason, Reason::Goodbye { .. }), "{:?}", pair.closed(side));
    }
}

#[test]
fn l6_an_open_stream_keeps_an_ephemeral_link() {
    use handclasp::Timing;
    let timing = Timing { ephemeral: Some(secs(10)), ..Timing::default() };
    let mut pair = pair_with(|builder| builder.timing(timing.clone()));
    let (here, there) = both(&mut pair);
    pair.pass(secs(60));
    assert_eq!(pair.initiator.link.phase(), Phase::Established);
    for (side, stream) in [(Side::Initiator, here), (Side::Responder, there)] {
        pair.link(side).stream_finish(stream);
    }
    pair.run();
    for (side, stream) in [(Side::Initiator, here), (Side::Responder, there)] {
        assert_eq!(read_all(pair.link(side), stream).1, StreamRead::End);
    }
    pair.pass(secs(20));
    assert_eq!(pair.closed(Side::Initiator).reason, Reason::Idle);
}
