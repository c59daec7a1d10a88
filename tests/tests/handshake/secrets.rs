//! I8: the cluster secret.

use std::sync::Arc;

use handclasp::crypto::{Suite, SuiteSet};
use handclasp::{By, ClusterSecret, Config, Phase, Reason};
use handclasp_sim::hostile::{Hostile, psk};
use handclasp_sim::{Counting, Pair, Side, Solo, builder, id};

use crate::{failures, settle};

const A: &[u8] = b"the first secret of the cluster";
const B: &[u8] = b"the other secret of the cluster";

fn node(number: u8, peer: u8, secrets: &[&[u8]], counts: &Counting) -> Arc<Config> {
    let builder = builder(number, &[peer]).provider(counts.clone()).network("net");
    let add = |builder: handclasp::ConfigBuilder, secret: &&[u8]| {
        builder.cluster_secret(ClusterSecret::new(*secret).unwrap())
    };
    secrets.iter().fold(builder, add).build().unwrap()
}

fn pair(dialler: &[&[u8]], listener: &[&[u8]]) -> (Pair, Counting) {
    let counts = Counting::default();
    let (i, r) = (node(1, 2, dialler, &Counting::default()), node(2, 1, listener, &counts));
    (Pair::of(&i, &r, Some(id(2))), counts)
}

#[test]
fn i8_a_common_secret_is_in_the_key_exchange_and_nowhere_else() {
    let (mut pair, counts) = pair(&[A], &[A]);
    assert!(settle(&mut pair).iter().all(super::Verdict::is_established));
    for side in [Side::Initiator, Side::Responder] {
        assert_eq!(pair.link(side).peer().unwrap().suite, Suite::NnPsk0ChaChaPoly);
        let log = &pair.end(side).pipe.log;
        let derived = psk(A, b"net");
        for secret in [A, derived.expose()] {
            assert!(!log.windows(8).any(|bytes| secret.windows(8).any(|part| part == bytes)));
        }
    }
    assert_eq!((counts.exchanged.get(), counts.verified.get()), (1, 1), "the counters do count");
}

#[test]
fn i8_a_wrong_secret_fails_on_both_sides_and_costs_the_listener_one_tag_for_each_of_its_secrets() {
    for (listener, tags) in [(&[B][..], 1), (&[B, b"a third secret of the cluster"], 2)] {
        let (mut pair, counts) = pair(&[A], listener);
        let [i, r] = failures(&mut pair);
        assert_eq!((i.reason, i.by, i.phase), (Reason::KeyExchangeFailed, By::Peer, Phase::KeyExchange));
        assert_eq!((r.reason, r.by, r.phase), (Reason::KeyExchangeFailed, By::Local, Phase::KeyExchange));
        assert_eq!((r.claimed, i.claimed), (None, None));
        assert_eq!((counts.exchanged.get(), counts.public_keys.get(), counts.verified.get()), (0, 0, 0));
        assert_eq!(counts.opened.get(), tags);
    }
}

#[test]
fn i8_a_secret_on_one_side_only_is_named_as_such() {
    let (plain, secret) =
        (SuiteSet::EMPTY.with(Suite::NnChaChaPoly), SuiteSet::EMPTY.with(Suite::NnPsk0ChaChaPoly));
    for (dialler, listener, offered, had) in [(&[A][..], &[][..], secret, plain), (&[], &[A], plain, secret)]
    {
        let (mut pair, counts) = pair(dialler, listener);
        let [i, r] = failures(&mut pair);
        assert_eq!((i.reason, i.by), (Reason::UnsupportedSuite { theirs: had }, By::Peer));
        assert_eq!((r.reason, r.by), (Reason::UnsupportedSuite { theirs: offered }, By::Local));
        assert_eq!((counts.exchanged.get(), counts.public_keys.get(), counts.opened.get()), (0, 0, 0));
    }
}

/// Every pair of stages of a rotation that differ by one step, in both directions, and those that are two steps apart.
#[test]
fn i8_rotation_keeps_every_two_neighbouring_stages_linked() {
    let stages: [&[&[u8]]; 4] = [&[A], &[A, B], &[B, A], &[B]];
    for (x, dialler) in stages.iter().enumerate() {
        for (y, listener) in stages.iter().enumerate() {
            let (mut pair, _) = pair(dialler, listener);
            let verdicts = settle(&mut pair);
            let wanted = listener.contains(&dialler[0]);
            assert!(wanted || x.abs_diff(y) > 1, "the table is wrong");
            for verdict in verdicts {
                assert_eq!(verdict.is_established(), wanted, "stage {x} dials stage {y}");
            }
        }
    }
}

#[test]
fn i8_a_secret_is_bound_to_its_network() {
    // The right secret, derived for another network, is a wrong one.
    for (network, wanted) in [(&b"net"[..], true), (b"ten", false)] {
        let mut solo = Solo::responder(&node(2, 1, &[A], &Counting::default()), 0);
        let (_, preamble, first) = Hostile::dial(Some(psk(A, network)), b"net");
        solo.feed(&[preamble, first].concat());
        assert_eq!(solo.link.closed().is_none(), wanted);
    }
}

#[test]
fn i8_another_network_fails_without_a_secret_too() {
    let i = builder(1, &[2]).network("one").build().unwrap();
    let r = builder(2, &[1]).network("two").build().unwrap();
    let [i, r] = failures(&mut Pair::of(&i, &r, Some(id(2))));
    assert_eq!((i.reason, i.by), (Reason::KeyExchangeFailed, By::Local));
    assert_eq!((r.reason, r.by), (Reason::KeyExchangeFailed, By::Peer));
    assert_eq!(i.claimed, None, "nothing of another network is believed or even shown");
}
