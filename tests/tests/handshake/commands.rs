//! H10: whatever the application and the stream do in the middle of a handshake, each side has one outcome.

use std::time::Duration;

use handclasp::{Message, Refusal, Trust};
use handclasp_sim::{Pair, Side, builder, id};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{SIDES, settle};

#[derive(Clone, Copy, Debug)]
enum Step {
    Act,
    Deliver,
    Pass(u16),
    Admit,
    Refuse(bool),
    Goodbye,
    Close,
    HangUp,
    Fail,
    SendAndCall,
    RekeyAndPing,
    Ready,
    Revoke,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Act),
        8 => Just(Step::Deliver),
        2 => (0_u16..9000).prop_map(Step::Pass),
        2 => Just(Step::Admit),
        1 => any::<bool>().prop_map(Step::Refuse),
        1 => Just(Step::Goodbye),
        1 => Just(Step::Close),
        1 => Just(Step::HangUp),
        1 => Just(Step::Fail),
        2 => Just(Step::SendAndCall),
        2 => Just(Step::RekeyAndPing),
        2 => Just(Step::Ready),
        1 => Just(Step::Revoke),
    ]
}

fn take(pair: &mut Pair, side: Side, step: Step) {
    let now = pair.now;
    match step {
        Step::Act => drop(pair.act(side)),
        Step::Deliver => drop(pair.deliver(side)),
        Step::Pass(millis) => pair.pass(Duration::from_millis(millis.into())),
        Step::Admit => pair.link(side).admit(now),
        Step::Refuse(true) => {
            pair.link(side).refuse(Refusal::OverCapacity { retry_after: Duration::from_secs(1) }, now);
        }
        Step::Refuse(false) => pair.link(side).refuse(Refusal::Registry, now),
        Step::Goodbye => pair.link(side).goodbye(1, "", now),
        Step::Close => pair.link(side).close(now),
        Step::HangUp => pair.end(side).pipe.close(),
        Step::Fail => pair.link(side).transport_failed(now),
        Step::SendAndCall => {
            let _ = pair.link(side).send(Message::new("s", &b"x"[..]));
            let _ = pair.link(side).call(Message::new("s", &b"x"[..]), Duration::from_secs(1), now);
        }
        Step::Ready => pair.link(side).ready(now),
        Step::Revoke => pair.link(side).revoke(now),
        Step::RekeyAndPing => {
            pair.link(side).rekey(now);
            pair.link(side).ping(now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn h10_commands_and_failures_in_any_state_leave_exactly_one_outcome(
        asks in any::<[bool; 2]>(),
        holds in any::<[bool; 2]>(),
        steps in vec((any::<bool>(), step()), 0..40),
    ) {
        let node = |number, peer, asks: bool, holds: bool| {
            let trust = if asks { Trust::Ask } else { Trust::listed([id(peer)]) };
            let builder = builder(number, &[]).trust(trust);
            if holds { builder.hold_ready() } else { builder }.build().unwrap()
        };
        let mut pair = Pair::of(&node(1, 2, asks[0], holds[0]), &node(2, 1, asks[1], holds[1]), None);
        for (initiates, step) in steps {
            take(&mut pair, if initiates { Side::Initiator } else { Side::Responder }, step);
        }
        // `settle` checks each side's events as a whole.
        let verdicts = settle(&mut pair);
        for (verdict, peer) in verdicts.iter().zip([2, 1]) {
            if verdict.is_established() {
                prop_assert_eq!(verdict.view().id, id(peer));
            }
        }
        // After the end every call is a harmless no-op.
        let written = SIDES.map(|side| pair.end(side).pipe.log.len());
        for side in SIDES {
            if pair.link(side).is_finished() {
                let events = pair.end(side).events.len();
                for step in [Step::Admit, Step::Refuse(true), Step::Goodbye, Step::Close, Step::Fail, Step::SendAndCall, Step::RekeyAndPing, Step::Ready, Step::Revoke, Step::Act] {
                    take(&mut pair, side, step);
                }
                prop_assert_eq!(pair.end(side).events.len(), events);
                prop_assert_eq!(pair.end(side).pipe.log.len(), written[usize::from(side == Side::Responder)]);
            }
        }
    }
}
