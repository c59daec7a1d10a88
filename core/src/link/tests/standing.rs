//! Permanence and adverts between links that belong to nodes.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::nodes::{BOTH, Nodes, Side, assert_word};
use crate::config::{ConfigBuilder, Timing};
use crate::error::Reason;
use crate::link::Message;
use crate::node::{FromLink, ToLink};
use crate::phase::Phase;
use crate::wire::frame::MAX_ADVERT;

const PERIOD: Duration = Duration::from_secs(300);

fn ephemeral(builder: ConfigBuilder) -> ConfigBuilder {
    builder.timing(Timing { ephemeral: Some(PERIOD), ..Timing::default() })
}

fn other(side: Side) -> Side {
    if side == Side::A { Side::B } else { Side::A }
}

/// What a side has been told of the other's wish, once all is told.
fn permanence(nodes: &mut Nodes, side: Side) -> Vec<bool> {
    nodes.run();
    let words = nodes.end(side).words.drain(..);
    words
        .map(|word| match word {
            FromLink::Permanence(kept) => kept,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn d1_a_link_that_either_side_wants_kept_outlives_its_idle_time() {
    for side in BOTH {
        let mut nodes = Nodes::with(ephemeral);
        nodes.establish();
        nodes.say(side, ToLink::Permanence(true));
        assert_eq!(permanence(&mut nodes, other(side)), [true]);
        nodes.pass(4 * PERIOD);
        nodes.a.none();
        // Both want it, then only the other one, then nobody: its whole idle time begins.
        nodes.say(other(side), ToLink::Permanence(true));
        nodes.say(side, ToLink::Permanence(false));
        nodes.pass(2 * PERIOD);
        assert_eq!(permanence(&mut nodes, side), [true]);
        assert_eq!(permanence(&mut nodes, other(side)), [false]);
        nodes.say(other(side), ToLink::Permanence(false));
        nodes.pass(PERIOD.saturating_sub(Duration::from_millis(1)));
        assert_eq!(permanence(&mut nodes, side), [false]);
        assert_eq!(nodes.a.link.phase(), Phase::Established);
        nodes.pass(Duration::from_millis(1));
        let ended = nodes.a.link.closed().expect("idle");
        assert_eq!(ended.reason, Reason::Idle);
    }
}

#[test]
fn d1_the_peer_is_told_what_changed_and_nothing_else() {
    let mut nodes = Nodes::established();
    let records = nodes.a.link.stats().records_sealed;
    nodes.say(Side::A, ToLink::Permanence(false));
    nodes.run();
    assert_eq!(nodes.a.link.stats().records_sealed, records, "it is what the peer takes for granted");
    nodes.say(Side::A, ToLink::Permanence(true));
    nodes.say(Side::A, ToLink::Permanence(false));
    nodes.run();
    assert_eq!(nodes.a.link.stats().records_sealed, records, "it changed and changed back");
    nodes.say(Side::A, ToLink::Permanence(true));
    nodes.say(Side::A, ToLink::Permanence(true));
    assert_eq!(permanence(&mut nodes, Side::B), [true]);
    assert_eq!(nodes.a.link.stats().records_sealed, records + 1);
    // A node that takes no words is told the latest.
    let now = nodes.now;
    for wish in [false, true, false] {
        nodes.say(Side::A, ToLink::Permanence(wish));
        super::carry(&mut nodes.a.link, &mut nodes.b.link, now);
    }
    assert_eq!(permanence(&mut nodes, Side::B), [false]);
}

#[test]
fn d1_a_wish_that_came_early_is_told_when_the_link_is_there() {
    let mut nodes = Nodes::with(ephemeral);
    for side in BOTH {
        nodes.say(side, ToLink::Permanence(side == Side::B));
        nodes.say(side, ToLink::Advert(Bytes::from_static(b"early")));
        nodes.run();
        nodes.say(side, ToLink::Admit { simultaneous: false });
    }
    nodes.run();
    let said = |words: &[FromLink]| words.iter().any(|word| matches!(word, FromLink::Permanence(true)));
    assert!(said(&nodes.a.words) && !said(&nodes.b.words));
    for side in BOTH {
        let words = &nodes.end(side).words;
        assert!(words.iter().any(|word| matches!(word, FromLink::Advert(bytes) if bytes == "early")));
        // The first record of each direction has what it must have first.
        assert!(words.iter().any(|word| matches!(word, FromLink::Confirmed)));
    }
    nodes.pass(2 * PERIOD);
    assert_eq!(nodes.a.link.phase(), Phase::Established);
}

#[test]
fn d4_an_advert_is_pushed_and_acknowledged_and_only_the_latest_waits() {
    for side in BOTH {
        let mut nodes = Nodes::established();
        let to = other(side);
        nodes.say(side, ToLink::Advert(Bytes::from_static(b"one")));
        nodes.run();
        assert!(matches!(nodes.end(to).word(), FromLink::Advert(bytes) if bytes == "one"));
        // The node takes its time; meanwhile there are newer ones.
        for advert in ["two", "three", "four"] {
            nodes.say(side, ToLink::Advert(Bytes::from(advert)));
            nodes.run();
        }
        nodes.end(to).none();
        nodes.say(to, ToLink::AckAdvert { version: 7 });
        nodes.run();
        assert_word!(nodes.end(side), FromLink::AdvertAcked { version: 7 });
        assert!(matches!(nodes.end(to).word(), FromLink::Advert(bytes) if bytes == "four"));
        nodes.end(to).none();
        nodes.say(to, ToLink::AckAdvert { version: 9 });
        // Twice is once.
        nodes.run();
        nodes.say(to, ToLink::AckAdvert { version: 10 });
        nodes.run();
        assert_word!(nodes.end(side), FromLink::AdvertAcked { version: 9 });
        nodes.end(side).none();
    }
}

#[test]
fn d4_the_longest_advert_goes_beside_everything_else_and_a_longer_one_does_not_go() {
    let mut nodes =
        Nodes::with(|builder| builder.limits(crate::Limits { max_record: 4096, ..crate::Limits::default() }));
    nodes.establish();
    let now = nodes.now;
    // Calls that were sent, and are all given up at once.
    let calls: Vec<_> = (0..400)
        .map(|_| nodes.a.link.call(Message::new("s", ""), Duration::from_secs(9), now).unwrap())
        .collect();
    nodes.run();
    for call in calls {
        nodes.a.link.cancel(call, now);
    }
    let advert = Bytes::from(alloc::vec![0xad; MAX_ADVERT]);
    nodes.say(Side::A, ToLink::Advert(advert.clone()));
    nodes.say(Side::A, ToLink::Permanence(true));
    nodes.say(Side::A, ToLink::Probe);
    nodes.say(Side::B, ToLink::Probe);
    nodes.a.link.rekey(now);
    nodes.a.link.goodbye(1, &"x".repeat(255), now);
    nodes.run();
    let words = core::mem::take(&mut nodes.b.words);
    assert!(
        words.iter().any(|word| matches!(word, FromLink::Advert(bytes) if *bytes == advert)),
        "{words:?}"
    );
    assert!(matches!(
        nodes.b.link.closed().map(|closed| &closed.reason),
        Some(Reason::Goodbye { code: 1, .. })
    ));

    let mut nodes = Nodes::established();
    nodes.say(Side::A, ToLink::Advert(Bytes::from(alloc::vec![0; MAX_ADVERT + 1])));
    nodes.run();
    nodes.b.none();
    assert_eq!(nodes.b.link.phase(), Phase::Established);
}

#[test]
fn d4_an_advert_before_the_acknowledgement_of_the_last_ends_the_link() {
    let mut nodes = Nodes::established();
    nodes.smuggle(Side::A, |writer| writer.advert(b"one"));
    assert_eq!(nodes.b.link.phase(), Phase::Established);
    nodes.smuggle(Side::A, |writer| writer.advert(b"two"));
    let closed = nodes.b.link.closed().expect("a violation");
    assert!(matches!(closed.reason, Reason::Violation(_)), "{closed}");

    let mut nodes = Nodes::established();
    nodes.smuggle(Side::A, |writer| writer.advert_ack(1));
    let closed = nodes.b.link.closed().expect("a violation");
    assert!(matches!(closed.reason, Reason::Violation(_)), "{closed}");

    let mut nodes = Nodes::established();
    nodes.smuggle(Side::A, |writer| writer.advert(&[0; MAX_ADVERT + 1]));
    assert_eq!(nodes.b.link.closed().map(|closed| &closed.reason), Some(&Reason::TooLarge));
}
