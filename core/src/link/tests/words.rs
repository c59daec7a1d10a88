//! Whatever two nodes say to their links, and whenever.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::nodes::{BOTH, End, Nodes, Side};
use crate::config::Timing;
use crate::error::Reason;
use crate::link::{Envelope, Priority};
use crate::node::{FromLink, ToLink};
use crate::phase::Phase;
use crate::refusal::Refusal;

#[derive(Clone, Debug)]
enum Word {
    Admit(bool),
    Refuse,
    AskAlive,
    AnswerAlive(bool),
    Probe,
    Close,
    Goodbye,
    Permanence(bool),
    Advert(u8),
    AckAdvert(u8),
    Deliver(u8),
}

#[derive(Clone, Debug)]
enum Step {
    Say(bool, Word),
    /// One side acts, and its bytes reach the other.
    Act(bool),
    /// The owner of one side wants something.
    Own(bool, u8),
    Pass(u16),
    Fail(bool),
}

fn word() -> impl Strategy<Value = Word> {
    prop_oneof![
        8 => any::<bool>().prop_map(Word::Admit),
        1 => Just(Word::Refuse),
        4 => Just(Word::AskAlive),
        4 => prop::bool::weighted(0.8).prop_map(Word::AnswerAlive),
        2 => Just(Word::Probe),
        1 => Just(Word::Close),
        1 => Just(Word::Goodbye),
        3 => any::<bool>().prop_map(Word::Permanence),
        4 => any::<u8>().prop_map(Word::Advert),
        4 => any::<u8>().prop_map(Word::AckAdvert),
        4 => (0..4_u8).prop_map(Word::Deliver),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (any::<bool>(), word()).prop_map(|(side, word)| Step::Say(side, word)),
        20 => any::<bool>().prop_map(Step::Act),
        4 => (any::<bool>(), 0..6_u8).prop_map(|(side, what)| Step::Own(side, what)),
        3 => (0..4000_u16).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Fail),
    ]
}

/// Which words a link says at most once, by a number for each.
fn once(word: &FromLink) -> Option<u8> {
    Some(match word {
        FromLink::Heard => 0,
        FromLink::Identified(_) => 1,
        FromLink::AliveAsked => 2,
        FromLink::AliveAnswered { .. } => 3,
        FromLink::Established => 4,
        FromLink::Confirmed => 5,
        FromLink::Draining { .. } => 6,
        FromLink::Ended { .. } => 7,
        FromLink::Permanence(_)
        | FromLink::Advert(_)
        | FromLink::AdvertAcked { .. }
        | FromLink::Undeliverable(..) => return None,
    })
}

/// Checks all the words that a link has said, and gives the messages that came back with them.
fn check(end: &End, given: usize) -> Vec<Envelope> {
    let mut times = BTreeMap::new();
    let mut back = Vec::new();
    let mut adverts = 0_usize;
    for (at, word) in end.words.iter().enumerate() {
        if let Some(kind) = once(word) {
            assert_eq!(times.insert(kind, at), None, "twice: {:?}", end.words);
        }
        match word {
            FromLink::Ended { unsent, .. } => {
                assert_eq!(at + 1, end.words.len());
                assert!(unsent.is_sorted_by_key(|envelope| envelope.priority));
                back.extend(unsent.iter().cloned());
            }
            FromLink::Undeliverable(envelope, _) => back.push(envelope.clone()),
            FromLink::Advert(_) => adverts += 1,
            _ => {}
        }
    }
    // Each stage comes behind the one before. A goodbye of this side's may come before the other is heard.
    for stages in [&[0, 1, 3, 4, 5, 7][..], &[1, 2, 4, 6, 7]] {
        let order: Vec<usize> = stages.iter().filter_map(|kind| times.get(kind).copied()).collect();
        assert!(order.is_sorted(), "{:?}", end.words);
    }
    for kind in [5, 6] {
        assert!(!times.contains_key(&kind) || times.contains_key(&4), "{:?}", end.words);
    }
    // Each advert but the last was acknowledged by this side's node.
    assert!(adverts <= given + 1, "{adverts} adverts, {given} acknowledgements");
    back
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn c4_whatever_nodes_say_no_link_breaks_and_each_message_has_one_end_in_order(
        steps in vec(step(), 0..120),
        hold in any::<bool>(),
        established in any::<bool>(),
    ) {
        let mut nodes = Nodes::with(|builder| {
            let timing = Timing { ephemeral: Some(Duration::from_secs(9)), ..Timing::default() };
            let builder = builder.timing(timing);
            if hold { builder.hold_ready() } else { builder }
        });
        if established {
            for side in BOTH {
                nodes.run();
                nodes.say(side, ToLink::Admit { simultaneous: false });
            }
            nodes.run();
        }
        let mut number = 0_u64;
        let mut given: [Vec<(Priority, String)>; 2] = [Vec::new(), Vec::new()];
        let mut acked = [0; 2];
        for step in steps {
            let side = |of: bool| if of { Side::A } else { Side::B };
            let now = nodes.now;
            match step {
                Step::Act(true) => {
                    nodes.a.act(now, &mut nodes.b.link);
                }
                Step::Act(false) => {
                    nodes.b.act(now, &mut nodes.a.link);
                }
                Step::Pass(millis) => nodes.pass(Duration::from_millis(millis.into())),
                Step::Fail(of) => nodes.end(side(of)).link.transport_failed(now),
                Step::Own(of, what) => {
                    let link = &mut nodes.end(side(of)).link;
                    match what {
                        0 => link.admit(now),
                        1 => link.ready(now),
                        2 => link.rekey(now),
                        3 => link.ping(now),
                        4 => drop(link.call(crate::Message::new("c", ""), Duration::from_secs(1), now)),
                        _ => link.goodbye(1, "", now),
                    }
                }
                Step::Say(of, word) => {
                    let word = match word {
                        Word::Admit(simultaneous) => ToLink::Admit { simultaneous },
                        Word::Refuse => ToLink::Refuse(Refusal::Alive),
                        Word::AskAlive => ToLink::AskAlive,
                        Word::AnswerAlive(go_on) => ToLink::AnswerAlive { go_on },
                        Word::Probe => ToLink::Probe,
                        Word::Close => ToLink::Close(Reason::Superseded),
                        Word::Goodbye => ToLink::Goodbye { code: 1, detail: String::new() },
                        Word::Permanence(own) => ToLink::Permanence(own),
                        Word::Advert(byte) => ToLink::Advert(Bytes::copy_from_slice(&[byte; 100])),
                        Word::AckAdvert(version) => {
                            acked[usize::from(of)] += 1;
                            ToLink::AckAdvert { version: version.into() }
                        }
                        Word::Deliver(count) => {
                            let batch = (0..count).map(|at| {
                                number += 1;
                                let priority = Priority::ALL[usize::from(at)];
                                given[usize::from(of)].push((priority, number.to_string()));
                                let body = vec![0; 30_000 * usize::from(at)].into();
                                Envelope {
                                    service: number.to_string(),
                                    body,
                                    signed: false,
                                    unordered: false,
                                    priority,
                                    expires: None,
                                }
                            });
                            ToLink::Deliver(batch.collect())
                        }
                    };
                    nodes.say(side(of), word);
                    let words = nodes.end(side(of)).link.managed.as_ref().map_or(0, |managed| managed.waiting());
                    prop_assert!(words <= 12, "{} words wait", words);
                }
            }
        }
        nodes.pass(Duration::from_secs(60));
        for of in [true, false] {
            let side = if of { Side::A } else { Side::B };
            let now = nodes.now;
            if nodes.end(side).link.phase() != Phase::Closed {
                nodes.end(side).link.close(now);
            }
        }
        nodes.run();
        for of in [true, false] {
            let (side, other) = if of { (Side::A, Side::B) } else { (Side::B, Side::A) };
            let came = nodes.end(other).messages.clone();
            let end = nodes.end(side);
            let closed = end.link.closed().cloned().expect("it was closed");
            let broken = matches!(
                closed.reason,
                Reason::Violation(_) | Reason::DecryptFailed | Reason::TooLarge | Reason::FlowControl | Reason::Flood
            );
            prop_assert!(!broken, "{}", closed);
            let mut back = check(end, acked[usize::from(of)]);
            let ended = matches!(end.words.last(), Some(FromLink::Ended { .. }));
            prop_assert!(ended);
            while let Some(late) = end.link.take_unsent() {
                back.push(late);
            }
            // What came or came back was given, in its order; what did neither was sealed when the link ended.
            for priority in Priority::ALL {
                let order: Vec<_> = given[usize::from(of)].iter().filter(|each| each.0 == priority).map(|each| &each.1).collect();
                let place = |service: &String| order.iter().position(|each| *each == service);
                let came: Vec<_> = came.iter().filter_map(place).collect();
                let back: Vec<_> = back.iter().filter(|each| each.priority == priority).map(|each| place(&each.service)).collect();
                prop_assert!(came.is_sorted() && back.is_sorted() && back.iter().all(Option::is_some), "{:?} {:?}", came, back);
                let first_back = back.first().copied().flatten();
                prop_assert!(came.last().zip(first_back).is_none_or(|(came, back)| *came < back));
                let mut ends: Vec<_> = came.into_iter().chain(back.into_iter().flatten()).collect();
                let count = ends.len();
                ends.sort_unstable();
                ends.dedup();
                prop_assert_eq!(count, ends.len(), "twice");
                let told = closed.phase.is_open();
                prop_assert!(told || count == order.len(), "{} of {}", count, order.len());
            }
        }
    }
}
