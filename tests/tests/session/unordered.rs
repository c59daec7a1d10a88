//! M11: messages that ask for no order.

use std::time::Duration;

use handclasp::{Limits, Message, Priority, Ready};
use handclasp_sim::{Owned, Pair, Side};
use proptest::prelude::*;

use crate::support::{body, number_of, pair_with, secs, take_events};

/// Whoever is behind with requests, and still takes what has no order.
const BEHIND: Ready = Ready { events: true, requests: false, unordered: true, write: true };

fn send(pair: &mut Pair, text: &str, unordered: bool) {
    let mut message = Message::new("post", text);
    message.unordered = unordered;
    pair.initiator.link.send(message).expect("taken");
}

/// The bodies of messages and calls that the responder was given, in order.
fn bodies(pair: &mut Pair) -> Vec<String> {
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).expect("text");
    take_events(pair, Side::Responder)
        .into_iter()
        .filter_map(|event| match event {
            Owned::Message { body, unordered: true, .. } => Some(text(&body) + "*"),
            Owned::Message { body, .. } | Owned::Call { body, .. } => Some(text(&body)),
            _ => None,
        })
        .collect()
}

#[test]
fn m11_an_unordered_message_is_taken_before_all_that_waits() {
    let mut pair = pair_with(|builder| builder);
    pair.responder.ready = BEHIND;
    let long = "long".repeat(5000);
    send(&mut pair, "first", false);
    send(&mut pair, "second", true);
    let now = pair.now;
    pair.initiator.link.call(Message::new("post", "call"), secs(5), now).expect("taken");
    send(&mut pair, &long, true);
    send(&mut pair, "last", false);
    send(&mut pair, "", true);
    pair.run();
    assert_eq!(bodies(&mut pair), ["second*".to_owned(), long + "*", "*".to_owned()]);
    send(&mut pair, "later", true);
    pair.run();
    assert_eq!(bodies(&mut pair), ["later*"]);
    pair.responder.ready = Ready::ALL;
    pair.run();
    assert_eq!(bodies(&mut pair), ["first", "call", "last"]);
}

#[test]
fn m11_where_nobody_is_behind_messages_come_as_they_were_sent() {
    let mut pair = pair_with(|builder| builder);
    for (text, unordered) in [("1", true), ("2", false), ("3", true), ("4", true), ("5", false)] {
        send(&mut pair, text, unordered);
    }
    pair.run();
    assert_eq!(bodies(&mut pair), ["1*", "2", "3*", "4*", "5"]);
}

/// Credit comes back in the order in which messages came; so nothing is taken for confirmed that was not taken.
#[test]
fn m6_m11_what_is_taken_before_its_turn_is_confirmed_in_its_turn() {
    for (takes_all, unknown) in [(true, 0), (false, 5)] {
        let mut pair = pair_with(|builder| builder);
        pair.responder.ready = BEHIND;
        for (text, unordered) in [("1", false), ("2", true), ("3", true), ("4", false), ("5", true)] {
            send(&mut pair, text, unordered);
        }
        pair.run();
        assert_eq!(bodies(&mut pair).len(), 3);
        if takes_all {
            pair.responder.ready = Ready::ALL;
        }
        // Beside the answer to a ping goes what was taken.
        let now = pair.now;
        pair.initiator.link.ping(now);
        pair.run();
        pair.initiator.link.recv_closed(now);
        pair.run();
        assert_eq!(pair.closed(Side::Initiator).unknown, unknown);
    }
}

/// A call tells nobody what was taken, but what was taken behind it still has to be told.
#[test]
fn m6_m11_behind_a_call_too_what_was_taken_before_its_turn_is_confirmed() {
    let mut pair = pair_with(|builder| builder);
    pair.responder.ready = BEHIND;
    let now = pair.now;
    pair.initiator.link.call(Message::new("post", "call"), secs(5), now).expect("taken");
    send(&mut pair, "1", true);
    pair.run();
    assert_eq!(bodies(&mut pair), ["1*"]);
    pair.responder.ready = Ready::ALL;
    pair.run();
    assert_eq!(bodies(&mut pair), ["call"]);
    pair.initiator.link.ping(now);
    pair.run();
    pair.initiator.link.recv_closed(now);
    pair.run();
    assert_eq!(pair.closed(Side::Initiator).unknown, 0);
}

#[test]
fn l3_m11_what_was_taken_before_its_turn_is_not_untaken_at_the_end() {
    let mut pair = pair_with(|builder| builder);
    pair.responder.ready = BEHIND;
    for (text, unordered) in [("1", false), ("2", true), ("3", true), ("4", false), ("5", true), ("6", false)]
    {
        send(&mut pair, text, unordered);
    }
    pair.run();
    assert_eq!(bodies(&mut pair), ["2*", "3*", "5*"]);
    let now = pair.now;
    pair.responder.link.close(now);
    pair.run();
    assert_eq!(pair.closed(Side::Responder).untaken, 3);
}

#[test]
fn m8_m11_a_peer_that_sends_nothing_but_unordered_messages_has_its_window_and_no_more() {
    let limits = Limits { window: 20_000, max_message: 10_000, ..Limits::default() };
    let mut pair = pair_with(|builder| builder.limits(limits).send_buffer(usize::MAX));
    pair.responder.ready = BEHIND;
    send(&mut pair, "in front", false);
    for _ in 0..100 {
        let message = Message::new("", vec![b'x'; 936]).priority(Priority::Normal).unordered();
        pair.initiator.link.send(message).expect("taken");
    }
    pair.run();
    // As long as the first one waits, nothing is given back: seven eighths of the window in this priority.
    assert_eq!(bodies(&mut pair).len(), 17);
    pair.responder.ready = Ready::ALL;
    pair.run();
    assert_eq!(bodies(&mut pair).len(), 1 + 83);
}

#[derive(Clone, Debug)]
enum Step {
    Send { length: usize, priority: usize, unordered: bool },
    Call { length: usize, millis: u64 },
    Takes(bool, bool),
    Move(usize),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = || prop_oneof![8 => 8..200_usize, 2 => 900..1200_usize, 1 => 3000..9000_usize];
    let step = prop_oneof![
        6 => (length(), 0..4_usize, any::<bool>()).prop_map(|(length, priority, unordered)| Step::Send { length, priority, unordered }),
        2 => (length(), 1..3000_u64).prop_map(|(length, millis)| Step::Call { length, millis }),
        3 => any::<(bool, bool)>().prop_map(|(requests, unordered)| Step::Takes(requests, unordered)),
        3 => prop_oneof![1..2000_usize, Just(usize::MAX)].prop_map(Step::Move),
        1 => (1..2000_u64).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// However requests are taken, each comes once with its own bytes, those with an order in it, and never more is
    /// said to have been taken than was.
    #[test]
    fn m6_m11_each_message_comes_once_whatever_is_taken_when(steps in steps(), cut: bool) {
        let limits = Limits { window: 30_000, max_message: 10_000, ..Limits::default() };
        let mut pair = pair_with(|builder| builder.limits(limits).send_buffer(usize::MAX));
        let mut sent: Vec<(u64, usize, bool)> = Vec::new();
        let mut came: Vec<(u64, usize, bool)> = Vec::new();
        let mut number = 0;
        let mut see = |pair: &mut Pair| {
            for event in take_events(pair, Side::Responder) {
                if let Owned::Message { body, priority, unordered, .. } = event {
                    came.push((number_of(&body), priority as usize, unordered));
                }
            }
            came.clone()
        };
        for step in &steps {
            let now = pair.now;
            number += 1;
            match *step {
                Step::Send { length, priority, unordered } => {
                    let mut message = Message::new("s", body(number, length)).priority(Priority::ALL[priority]);
                    message.unordered = unordered;
                    pair.initiator.link.send(message).expect("taken");
                    sent.push((number, priority, unordered));
                }
                Step::Call { length, millis } => {
                    let call = Message::new("c", body(number, length));
                    let _ = pair.initiator.link.call(call, Duration::from_millis(millis), now);
                }
                Step::Takes(requests, unordered) => {
                    pair.responder.ready = Ready { requests, unordered, ..Ready::ALL };
                }
                Step::Move(chunk) => {
                    pair.chunk = chunk;
                    pair.step();
                    pair.chunk = usize::MAX;
                }
                Step::Pass(millis) => pair.pass(Duration::from_millis(millis)),
            }
            see(&mut pair);
        }
        if cut {
            let now = pair.now;
            pair.initiator.link.recv_closed(now);
            pair.responder.pipe.bytes.clear();
            pair.initiator.pipe.bytes.clear();
            let back = std::iter::from_fn(|| pair.initiator.link.take_unsent()).count();
            let unknown = pair.closed(Side::Initiator).unknown;
            let came = see(&mut pair).len();
            prop_assert!(sent.len() <= came + back + unknown, "{} sent, {came} came, {back} back, {unknown} unknown", sent.len());
            return Ok(());
        }
        pair.responder.ready = Ready::ALL;
        pair.run();
        let came = see(&mut pair);
        for (priority, unordered) in (0..8).map(|case| (case / 2, case % 2 == 0)) {
            let of = |all: &[(u64, usize, bool)]| -> Vec<u64> {
                let these = all.iter().filter(|each| (each.1, each.2) == (priority, unordered));
                these.map(|each| each.0).collect()
            };
            prop_assert_eq!(of(&sent), of(&came));
        }
    }
}
