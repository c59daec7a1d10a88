//! What two sides say of the link itself: whether an older one lives, whether it is kept, adverts, readiness.

use std::time::Duration;

use handclasp::{By, Phase, Reason, Timing};
use handclasp_sim::Owned;

use crate::peer::bytes::{Frame, kind};
use crate::peer::{Got, Over, Setup, State};
use crate::world::{World, config, setup};

#[test]
fn c3_the_peer_asks_whether_an_older_link_lives() {
    for chunk in [usize::MAX, 1] {
        let mut world =
            World::new(true, &config(false).build().unwrap(), Setup { asks: true, ..setup(false) });
        world.chunk = chunk;
        world.run();
        assert_eq!((world.peer.state, &world.peer.over), (State::Open, &None));
        assert_eq!(world.peer.got, [Got::Alive(0)]);
        assert!(matches!(world.events.back(), Some(Owned::Ready)), "{:?}", world.events);
        assert!(!world.link.peer().unwrap().simultaneous);
    }
}

#[test]
fn c2_the_peer_tells_a_dialler_that_its_dial_won() {
    for asks in [true, false] {
        let setup = Setup { simultaneous: true, asks, ..setup(false) };
        let world = World::open(true, &config(false).build().unwrap(), setup);
        assert!(world.link.peer().unwrap().simultaneous);
    }
}

#[test]
fn c3_the_peer_may_refuse_in_place_of_its_second_word() {
    let mut world = World::new(true, &config(false).build().unwrap(), Setup { asks: true, ..setup(false) });
    // The question, and the refusal of one that does not wait for the answer.
    world.poll();
    let bytes = world.peer.take();
    world.give(&bytes);
    world.poll();
    let question = world.peer.take();
    world.peer.put(&[Frame::new(kind::STATUS, 0, [2, 0, 29])]);
    let refusal = world.peer.take();
    world.give(&[question, refusal].concat());
    assert_eq!((world.closed().reason.code(), world.closed().by), (29, By::Peer));
}

#[test]
fn d1_the_peer_wants_the_link_kept() {
    for role in [true, false] {
        let timing = Timing { ephemeral: Some(Duration::from_secs(10)), ..Timing::default() };
        let mut world = World::open(role, &config(false).timing(timing).build().unwrap(), setup(false));
        let pass = |world: &mut World, kept| {
            world.peer.permanence(kept);
            world.run();
            world.now = world.now + Duration::from_secs(11);
            world.run();
        };
        pass(&mut world, true);
        assert_eq!(world.link.phase(), Phase::Established);
        pass(&mut world, false);
        assert_eq!(world.closed().reason, Reason::Idle);
    }
}

#[test]
fn d4_the_peer_pushes_its_advert() {
    for role in [true, false] {
        let mut world = World::usual(role);
        for advert in [&b""[..], b"advert", &[7; 2048]] {
            world.peer.advert(advert);
            world.run();
            assert_eq!(world.peer.got.drain(..).collect::<Vec<_>>(), [Got::AdvertAck(0)]);
        }
        world.peer.put(&[Frame::new(kind::ADVERT, 0, [1]), Frame::new(kind::ADVERT, 0, [2])]);
        world.run();
        assert!(matches!(&world.peer.over, Some(Over::Closed(reason)) if reason.code == 50));
    }
}

#[test]
fn h11_both_hold_or_one_of_them() {
    for role in [true, false] {
        for (link_holds, peer_holds) in [(true, true), (true, false), (false, true)] {
            let mut setup = setup(false);
            if peer_holds {
                setup.hello.others.push((8, vec![]));
            }
            let config = if link_holds { config(false).hold_ready() } else { config(false) };
            let mut world = World::new(role, &config.build().unwrap(), setup);
            world.run();
            let ready = |world: &World| world.events.iter().any(|event| matches!(event, Owned::Ready));
            assert!(!ready(&world));
            if peer_holds {
                world.peer.ready();
                world.run();
                assert_eq!(ready(&world), !link_holds);
            }
            world.link.ready(world.now);
            world.run();
            assert!(ready(&world));
            let said: &[Got] = if link_holds { &[Got::Ready] } else { &[] };
            assert_eq!((&world.peer.got[..], &world.peer.over), (said, &None));
        }
    }
}
