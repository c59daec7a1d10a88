//! How links end, between the link and the peer.

use std::time::Duration;

use handclasp::{By, Message, Payload, Reason};
use handclasp_sim::Owned;

use crate::peer::bytes::{Frame, kind};
use crate::peer::hello::Coded;
use crate::peer::{Got, Over};
use crate::world::World;

const ROLES: [bool; 2] = [true, false];

fn bye(code: u32, text: &str) -> Coded {
    Coded { code: 1, detail: [&code.to_be_bytes(), text.as_bytes()].concat() }
}

#[test]
fn l3_the_link_says_goodbye() {
    for role in ROLES {
        let mut world = World::usual(role);
        world.link.goodbye(7, "später", world.now);
        world.run();
        assert_eq!(world.peer.got, [Got::Goodbye(7, "später".into()), Got::Close(bye(7, "später"))]);
        assert_eq!(world.peer.over, Some(Over::Closed(bye(7, "später"))));
        let closed = world.closed();
        assert_eq!(closed.reason, Reason::Goodbye { code: 7, detail: "später".into() });
        assert_eq!(closed.by, By::Local);
        assert!(world.ended);
    }
}

#[test]
fn l3_the_peer_says_goodbye() {
    for role in ROLES {
        let mut world = World::usual(role);
        world.peer.goodbye(9, "enough");
        world.run();
        assert_eq!(world.peer.got[0], Got::Goodbye(0, String::new()));
        assert!(matches!(&world.peer.over, Some(Over::Closed(reason)) if reason.code == 1));
        let closed = world.closed();
        assert_eq!(closed.reason, Reason::Goodbye { code: 9, detail: "enough".into() });
        assert_eq!(closed.by, By::Peer);
    }
}

#[test]
fn l3_calls_in_flight_are_answered_before_the_end() {
    for role in ROLES {
        for link_parts in [true, false] {
            let mut world = World::usual(role);
            let call =
                world.link.call(Message::new("a", &b""[..]), Duration::from_secs(4), world.now).unwrap();
            let frames = world.peer.call_frames(1, "b", b"", 10);
            world.peer.put(&frames);
            world.run();
            let Some(Owned::Call { token, .. }) = world.events.pop_front() else { panic!("no call") };
            if link_parts {
                world.link.goodbye(1, "", world.now);
            } else {
                world.peer.goodbye(1, "");
            }
            world.run();
            assert!(world.link.closed().is_none() && world.peer.over.is_none());
            world.link.reply(token, Ok(Payload::from(&b"done"[..]))).unwrap();
            world.run();
            assert!(
                world.peer.got.iter().any(|got| matches!(got, Got::Reply { body, .. } if body == b"done"))
            );
            assert!(world.link.closed().is_none() && world.peer.over.is_none());
            let reply = world.peer.reply_frames(1, call.get(), b"too", 10);
            world.peer.put(&reply);
            world.peer.settle();
            world.run();
            assert!(world.events.iter().any(|event| matches!(event, Owned::Reply { .. })));
            assert_eq!(world.closed().reason, Reason::Goodbye { code: 1, detail: String::new() });
            assert_eq!(world.peer.over, Some(Over::Closed(bye(1, ""))));
        }
    }
}

#[test]
fn l3_a_drain_that_takes_too_long_ends_as_drain_timeout() {
    let mut world = World::usual(true);
    let frames = world.peer.call_frames(1, "b", b"", 10);
    world.peer.put(&frames);
    world.run();
    world.link.goodbye(1, "", world.now);
    world.run();
    world.now = world.now + Duration::from_secs(5);
    world.run();
    assert_eq!(world.closed().reason, Reason::DrainTimeout);
    assert_eq!(world.peer.over, Some(Over::Closed(Coded::new(6, &[]))));
}

#[test]
fn l5_close_ends_at_once_in_both_directions() {
    for role in ROLES {
        let mut world = World::usual(role);
        world.link.close(world.now);
        world.run();
        assert_eq!(world.peer.over, Some(Over::Closed(Coded::new(5, &[]))));
        assert_eq!((world.closed().reason, world.closed().by), (Reason::Dropped, By::Local));

        for (code, reason) in [(3, Reason::Superseded), (4, Reason::Revoked), (5, Reason::Dropped)] {
            let mut world = World::usual(role);
            world.peer.close(&Coded::new(code, b"bytes behind"));
            world.run();
            assert!(matches!(world.peer.got[..], [Got::Close(_)]), "answered: {:?}", world.peer.got);
            assert_eq!((world.closed().reason, world.closed().by), (reason, By::Peer));
        }
    }
}

#[test]
fn l5_the_end_of_the_stream_without_close_is_truncated() {
    let mut world = World::usual(true);
    world.end_stream();
    assert_eq!(world.closed().reason, Reason::Truncated);
}

#[test]
fn k3_a_record_that_does_not_open_ends_the_link_without_a_word() {
    let mut world = World::usual(true);
    world.peer.put(&[Frame::new(kind::PAD, 0, [])]);
    *world.peer.output.last_mut().unwrap() ^= 1;
    world.run();
    assert_eq!(world.closed().reason, Reason::DecryptFailed);
    assert!(world.peer.records.iter().all(|frames| frames[0].kind == kind::STATUS || frames.is_empty()));
    assert_eq!(world.peer.over, None);
}
