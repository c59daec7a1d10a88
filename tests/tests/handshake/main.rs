//! The handshake, end to end, with honest and with hostile peers: one file a theme.

mod bounds;
mod commands;
mod edits;
mod forgery;
mod garbage;
mod hello;
mod identity;
mod keys;
mod model;
mod refusals;
mod replay;
mod secrets;
mod splits;
mod states;
mod time;

use std::collections::VecDeque;
use std::time::Duration;

use handclasp::hello::Hello;
use handclasp::{Closed, Link, NodeId, Outcome};
use handclasp_sim::{Owned, Pair, Side};

const SIDES: [Side; 2] = [Side::Initiator, Side::Responder];

/// Longer than any handshake may take.
const WHOLE: Duration = Duration::from_secs(31);

/// What one side holds of the other once it is established.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    id: NodeId,
    hello: Hello,
    outcome: Outcome,
    binding: [u8; 32],
}

fn view(link: &Link) -> View {
    let peer = link.peer().expect("a link that is or was established has a peer");
    View {
        id: peer.id,
        hello: peer.hello.clone(),
        outcome: peer.outcome.clone(),
        binding: peer.channel_binding,
    }
}

/// The one outcome of a side's handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Established(Box<View>),
    Failed(Box<Closed>),
}

impl Verdict {
    fn is_established(&self) -> bool {
        matches!(self, Self::Established(_))
    }

    fn view(&self) -> &View {
        match self {
            Self::Established(view) => view,
            Self::Failed(closed) => panic!("not established: {closed}"),
        }
    }

    fn failure(&self) -> &Closed {
        match self {
            Self::Established(view) => panic!("established with {}", view.id),
            Self::Failed(closed) => closed,
        }
    }
}

/// The outcome of a handshake that has had its time, from all the events that the link gave. Fails unless there is exactly one.
fn verdict_of(link: &Link, events: &VecDeque<Owned>) -> Verdict {
    let mut verdicts = Vec::new();
    for (place, event) in events.iter().enumerate() {
        assert_eq!(place == 0, matches!(event, Owned::Opened), "Opened comes first and once: {events:?}");
        match event {
            Owned::Established(id) => {
                let view = view(link);
                assert_eq!(view.id, *id);
                verdicts.push(Verdict::Established(Box::new(view)));
            }
            Owned::Closed(closed) => {
                assert_eq!(place + 1, events.len(), "something behind Closed: {events:?}");
                assert_eq!(Some(closed), link.closed());
                if closed.phase.is_handshake() {
                    verdicts.push(Verdict::Failed(Box::new(closed.clone())));
                }
            }
            _ => {}
        }
    }
    assert_eq!(verdicts.len(), 1, "not exactly one outcome: {events:?}");
    verdicts.remove(0)
}

/// Both outcomes of a pair, initiator first, after as much time as a handshake may take.
fn settle(pair: &mut Pair) -> [Verdict; 2] {
    pair.pass(WHOLE);
    SIDES.map(|side| {
        let end = pair.end(side);
        verdict_of(&end.link, &end.events)
    })
}

/// The same for a handshake that must fail on both sides.
fn failures(pair: &mut Pair) -> [Closed; 2] {
    settle(pair).map(|verdict| verdict.failure().clone())
}
