//! That the scripts get to where they are meant to: a target that is stuck in a handshake finds nothing.

use handclasp::{Phase, Ready, Reason};

use crate::input::Input;
use crate::link;
use crate::peer::{Setup, frame, record};
use crate::seeds;

fn setup(bytes: [u8; 2]) -> Setup {
    Setup::read(&mut Input::new(&bytes))
}

#[test]
fn the_peer_gets_past_the_cryptography_in_both_roles() {
    for one in 0..=0x7f {
        for two in [0, 1] {
            let setup = setup([one, two]);
            // Nobody on the list, unless the link dials the peer by its id.
            let stranger = one >> 2 & 3 == 3 && !(setup.initiator && two == 1);
            assert_eq!(setup.established().is_none(), stranger, "{setup:?}");
        }
    }
}

#[test]
fn more_than_the_window_ends_the_link() {
    for role in [0, 1] {
        let mut owner = setup([0x10 | role, 0]).established().expect("a link");
        owner.ready = Ready { requests: false, ..Ready::ALL };
        let message = record(&frame(0x10, 3, &[0; 1900]));
        for _ in 0..2 {
            owner.read_all(&message);
            owner.act();
            assert_eq!(owner.link.phase(), Phase::Established);
        }
        owner.read_all(&message);
        assert!(matches!(owner.link.closed().expect("an end").reason, Reason::FlowControl));
        owner.ready = Ready::ALL;
        owner.act();
        assert_eq!(owner.got.len(), 2);
    }
}

#[test]
fn the_seeds_of_links_carry_messages_and_calls_both_ways() {
    let (mut established, mut carried, mut orderly) = (0, 0, 0);
    for seed in seeds::link() {
        let owner = link::play(&seed);
        let stats = owner.link.stats();
        established += usize::from(owner.was_established());
        carried += usize::from(stats.messages_received > 1 && stats.messages_sent > 1);
        let reason = owner.link.closed().map(|closed| &closed.reason);
        orderly += usize::from(matches!(reason, Some(Reason::Goodbye { .. })));
    }
    assert!(established > 250 && carried >= 8 && orderly >= 8, "{established}, {carried}, {orderly}");
}
