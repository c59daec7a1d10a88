//! What somebody who answers a dial, and proves nothing, can make of the dials to come.

use std::time::Duration;

use handclasp::hello::DialAddress;
use handclasp::node::{NodePolicy, PeerState, Permanence};
use handclasp_sim::hostile::{Hostile, REFUSE};
use handclasp_sim::{config, id};

use crate::host::Host;

/// The longest that an unproved word may keep a node from dialling, with the longest wait of its back-off.
const MINUTE_AND_BACKOFF: Duration = Duration::from_secs(60 + 30);

/// A node that wants a link to node 2, for good or for a day.
fn dialler(for_good: bool) -> Host {
    let mut host = Host::new(&config(1, &[2]), NodePolicy::default());
    let address = DialAddress { weight: 1, address: "there".into() };
    host.node.set_addresses(id(2), vec![address], host.now);
    if for_good {
        host.node.set_permanence(id(2), Permanence::Permanent, host.now);
    } else {
        let day = host.now + Duration::from_secs(1) * 86_400;
        host.node.want(id(2), day, host.now).expect("wanted");
    }
    host.node_turn();
    host
}

/// Answers the dial of `host` with a key exchange, and in place of a proof with `refusal`.
fn refused(host: &mut Host, refusal: &[u8]) {
    let ticket = host.dials.pop().expect("a dial");
    let (link, machine) = host.node.connected(ticket, host.now).expect("the dial is wanted");
    let mut solo = host.by_hand(link, machine);
    let (mut peer, second) = Hostile::answer_to(&mut solo);
    let record = peer.seal(&[&[REFUSE], refusal].concat());
    solo.feed(&[second, record].concat());
    assert_eq!(solo.closed().peer, None, "whoever answered has proved nothing");
    host.talk(link, &mut solo);
}

/// The time to the next dial, which is there.
fn next_dial(host: &mut Host) -> Duration {
    let at = host.node_deadline().expect("it is dialled again");
    let wait = at.since(host.now);
    host.pass(wait);
    assert_eq!(host.dials.len(), 1, "one dial when its time has come");
    wait
}

#[test]
fn d2_who_proves_nothing_keeps_a_node_from_dialling_for_a_minute_at_most() {
    // over_capacity for 49 days.
    let for_ever = [&[0, 20][..], &u32::MAX.to_be_bytes()].concat();
    let words = (20..=30_u8).chain([40, 45]).map(|code| match code {
        20 => for_ever.clone(),
        21 => vec![0, code, 0, 1, 0, 1, 0, 2, 0, 2],
        23 => vec![0, code, 1, 1, b'x'],
        _ => vec![0, code],
    });
    for word in words {
        // A peer that is wanted for good is never given up; another one is, if it is the peer that says never.
        for for_good in [true, false] {
            let mut host = dialler(for_good);
            for round in 0..20 {
                refused(&mut host, &word);
                let state = host.node.status(id(2)).expect("a record").state;
                assert_ne!(state, PeerState::GivenUp, "{word:?}");
                let wait = next_dial(&mut host);
                assert!(wait <= MINUTE_AND_BACKOFF, "{word:?}, round {round}: {wait:?}");
            }
        }
    }
}

/// `simultaneous` says that another link is about to be there: of somebody who proves nothing it hastens nothing.
#[test]
fn d2_who_proves_nothing_cannot_make_a_node_dial_without_a_rest() {
    for word in [[0, 25], [0, 24]] {
        let mut host = dialler(true);
        let (start, rounds) = (host.now, 50);
        for _ in 0..rounds {
            refused(&mut host, &word);
            next_dial(&mut host);
        }
        // 50 waits of a back-off that goes up to 30 seconds have a mean of 13 seconds and more.
        let passed = host.now.since(start);
        assert!(passed > 10 * Duration::from_secs(30), "{rounds} dials in {passed:?} because of {word:?}");
    }
}
