//! The shortest whole story: two links find each other, talk, and part.

use handclasp::{By, Reason};
use handclasp_sim::{Owned, Pair, Side, id};

#[test]
fn two_links_authenticate_talk_and_say_goodbye() {
    let mut pair = Pair::new();
    pair.run();
    for (side, peer) in [(Side::Initiator, 2), (Side::Responder, 1)] {
        assert!(matches!(pair.event(side), Some(Owned::Opened)));
        assert!(matches!(pair.event(side), Some(Owned::Identified(who)) if who == id(peer)));
        assert!(matches!(pair.event(side), Some(Owned::Established(who)) if who == id(peer)));
        assert!(matches!(pair.event(side), Some(Owned::Ready)));
    }
    for from in [Side::Initiator, Side::Responder] {
        match pair.call(from, "echo", b"ping", b"pong") {
            Owned::Reply { body, .. } => assert_eq!(&body[..], b"pong"),
            other => panic!("{other:?}"),
        }
    }
    let now = pair.now;
    pair.initiator.link.goodbye(7, "done for today", now);
    pair.run();
    let why = Reason::Goodbye { code: 7, detail: "done for today".into() };
    for (side, by) in [(Side::Initiator, By::Local), (Side::Responder, By::Peer)] {
        let closed = pair.closed(side);
        assert_eq!((closed.reason, closed.by), (why.clone(), by));
        assert!(pair.link(side).is_finished());
    }
}
