//! Handshakes in both roles, what they agree on, and how they are refused.

use std::sync::Arc;

use handclasp::{By, Capability, Config, Reason, Refusal, VersionRange};
use handclasp_sim::{Owned, id};

use crate::peer::hello::{self, Coded, Hello};
use crate::peer::{Over, Setup};
use crate::world::{LINK, PEER, World, config, setup};

fn ours(setup: Setup, change: impl FnOnce(&mut Hello)) -> Setup {
    let mut setup = setup;
    change(&mut setup.hello);
    setup
}

/// A peer that leaves every refusal to the link.
fn stubborn(setup: Setup) -> Setup {
    Setup { stubborn: true, ..setup }
}

/// Whichever initiates finds out first; a stubborn peer leaves it to the link in both roles. `reason` is how the link words
/// what `coded` says from the link's side, `mirrored` from the peer's.
fn refused(setup: &Setup, config: &Arc<Config>, reason: &Reason, coded: &Coded, mirrored: &Coded) {
    for link_dials in [true, false] {
        let mut world = World::new(link_dials, config, stubborn(setup.clone()));
        world.run();
        assert_eq!(world.closed().reason, *reason);
        assert_eq!((world.closed().by, world.closed().peer), (By::Local, Some(id(PEER))));
        assert_eq!(world.peer.over, Some(Over::Refused(coded.clone())));
    }
    let mut world = World::new(false, config, setup.clone());
    world.run();
    assert_eq!(world.closed().reason, *reason);
    assert_eq!((world.closed().by, world.closed().peer), (By::Peer, None));
    assert_eq!(world.peer.over, Some(Over::Refusing(mirrored.clone())));
}

#[test]
fn k1_both_roles_with_and_without_a_cluster_secret() {
    for secret in [false, true] {
        for link_dials in [true, false] {
            let mut world = World::open(link_dials, &config(secret).build().unwrap(), setup(secret));
            let keys = world.peer.keys.clone().unwrap();
            let link = world.link.peer().unwrap();
            assert_eq!(link.id, id(PEER));
            assert_eq!(link.channel_binding, keys.binding);
            assert_eq!(world.peer.their_id, Some(*id(LINK).as_bytes()));
            let mut exported = [0; 77];
            world.link.export(b"label", b"context", &mut exported).unwrap();
            assert_eq!(exported[..], keys.export(b"label", b"context", 77));
            assert!(world.events.pop_front().is_none());
        }
    }
}

#[test]
fn h9_every_byte_alone() {
    for link_dials in [true, false] {
        let mut world = World::new(link_dials, &config(true).build().unwrap(), setup(true));
        world.chunk = 1;
        world.run();
        assert!(matches!(world.events.back(), Some(Owned::Ready)), "{:?}", world.events);
    }
}

#[test]
fn k1_another_cluster_secret_or_network_id_exchanges_no_keys() {
    for link_dials in [true, false] {
        for (secret, network) in
            [(&b"another secret of the cluster"[..], None), (crate::world::SECRET, Some("other"))]
        {
            let mut other = setup(true);
            other.secret = Some(secret.to_vec());
            other.network = network.map_or(other.network, |network| network.as_bytes().to_vec());
            let mut world = World::new(link_dials, &config(true).build().unwrap(), other);
            world.run();
            assert_eq!(world.closed().reason, Reason::KeyExchangeFailed);
            let expected =
                if link_dials { Over::Refusing(Coded::new(4, &[0, 0])) } else { Over::Cleartext(4, 0) };
            assert_eq!(world.peer.over, Some(expected));
        }
    }
}

#[test]
fn h2_versions_meet_at_the_highest_common_one() {
    for link_dials in [true, false] {
        let config = config(false).versions(VersionRange::new(3, 9).unwrap()).build().unwrap();
        let world = World::open(link_dials, &config, ours(setup(false), |hello| hello.versions = (5, 7)));
        assert_eq!(world.peer.outcome.as_ref().unwrap().version, 7);
        assert_eq!(world.link.peer().unwrap().outcome.version, 7);
    }
}

#[test]
fn h2_no_common_version_is_refused_with_both_ranges() {
    let config = config(false).versions(VersionRange::new(3, 9).unwrap()).build().unwrap();
    let range = |min, max| VersionRange::new(min, max).unwrap();
    let reason = Reason::Refused(Refusal::Incompatible { ours: range(3, 9), theirs: range(10, 11) });
    let setup = ours(setup(false), |hello| hello.versions = (10, 11));
    let coded = |bytes: [u8; 8]| Coded::new(21, &bytes);
    refused(&setup, &config, &reason, &coded([0, 3, 0, 9, 0, 10, 0, 11]), &coded([0, 10, 0, 11, 0, 3, 0, 9]));
}

#[test]
fn h4_capabilities_and_digest_are_the_same_on_both_sides() {
    let theirs = [
        Capability::new("alpha", 1..=4).unwrap().metadata(*b"meta"),
        Capability::new("beta", 2..=3).unwrap(),
        Capability::new("delta", 1..=1).unwrap(),
        Capability::new("z", 1..=1).unwrap().required(),
    ];
    let mine = vec![
        hello::Capability::new("alpha", 2, 9),
        hello::Capability::new("beta", 4, 5),
        hello::Capability::new("gamma", 0, 0xffff),
        hello::Capability { required: true, ..hello::Capability::new("z", 0, 1) },
    ];
    for link_dials in [true, false] {
        let mut config = config(false).protocol(*b"p/1").name("Bär").info("k", *b"v").address(7, "host:1");
        for capability in theirs.clone() {
            config = config.capability(capability);
        }
        let setup = ours(setup(false), |hello| {
            hello.capabilities.clone_from(&mine);
            hello.protocol = Some(b"p/1".to_vec());
            // An unknown extension, a known one marked critical, and the adverts.
            hello.others = vec![
                (0x7001, b"what?".to_vec()),
                (0x8001, b"peer".to_vec()),
                (6, vec![0; 16]),
                (0, Vec::new()),
            ];
        });
        let world = World::open(link_dials, &config.build().unwrap(), setup);
        let link = world.link.peer().unwrap();
        let outcome = world.peer.outcome.as_ref().unwrap();
        assert_eq!(outcome.capabilities, [("alpha".into(), 4), ("z".into(), 1)]);
        assert_eq!(outcome.bytes(), link.outcome.bytes());
        assert_eq!(outcome.digest(), link.outcome.digest(&handclasp::crypto::RustCrypto));
        assert_eq!(link.hello.name.as_deref(), Some("peer"));
        assert_eq!(link.hello.unknown.len(), 2);
        let seen = world.peer.theirs.as_ref().unwrap();
        assert_eq!(seen.other(1), Some("Bär".as_bytes()));
        assert_eq!(seen.other(4), Some(&b"\x01k\0\x01v"[..]));
        assert_eq!(seen.other(5), Some(&b"\0\x07\x06host:1"[..]));
        assert_eq!(seen.other(7), link_dials.then(|| *id(PEER).as_bytes()).as_ref().map(|id| &id[..]));
        assert_eq!(seen.capabilities[0].metadata, b"meta");
        assert_eq!((seen.incarnation, seen.sequence), (LINK.into(), 4));
    }
}

#[test]
fn h5_a_missing_capability_is_named_to_both_sides() {
    let config = config(false).capability(Capability::new("needed", 1..=1).unwrap().required());
    let setup = ours(setup(false), |hello| {
        hello.capabilities = vec![hello::Capability { required: true, ..hello::Capability::new("a", 1, 1) }];
    });
    let names = vec!["a".to_owned(), "needed".to_owned()];
    let reason = Reason::Refused(Refusal::MissingCapability { names });
    let coded = Coded::new(23, b"\x02\x01a\x06needed");
    refused(&setup, &config.build().unwrap(), &reason, &coded, &coded);
}

#[test]
fn h6_the_peer_refuses_and_the_link_understands() {
    // Another destination than the one that it trusts, so that this peer denies the link.
    for link_dials in [true, false] {
        let mut other = setup(false);
        other.expected = Some(*id(9).as_bytes());
        let mut world = World::new(link_dials, &config(false).build().unwrap(), other);
        world.run();
        world.end_stream();
        let closed = world.closed();
        if link_dials {
            assert_eq!(closed.reason, Reason::Refused(Refusal::Denied));
        } else {
            assert!(matches!(closed.reason, Reason::WrongPeer { got: None, .. }), "{closed:?}");
        }
        assert_eq!(closed.by, By::Peer);
    }
}

#[test]
fn h6_the_link_denies_a_stranger() {
    let config = handclasp_sim::builder(LINK, &[7]).network(crate::world::NETWORK).build().unwrap();
    let mut world = World::new(false, &config, setup(false));
    world.run();
    assert_eq!(world.peer.over, Some(Over::Refused(Coded::new(22, &[]))));
    assert_eq!(world.closed().reason, Reason::Refused(Refusal::Denied));
}

#[test]
fn k1_a_bad_signature_is_denied_in_the_same_bytes_as_a_stranger() {
    for link_dials in [true, false] {
        // The peer signs another incarnation than the one that it sends.
        let tamper: fn(&mut Vec<u8>) = |auth| auth[5] ^= 1;
        let other = Setup { tamper: Some(tamper), ..setup(false) };
        let mut world = World::new(link_dials, &config(false).build().unwrap(), other);
        world.run();
        assert_eq!(world.closed().reason, Reason::BadSignature);
        assert_eq!(world.peer.over, Some(Over::Refused(Coded::new(22, &[]))));
        assert_eq!(world.closed().peer, None);
    }
}

#[test]
fn h6_wrong_peer_wrong_destination_and_self() {
    // The link dials node 2 and node 3 answers.
    let mut other = setup(false);
    other.identity = [3; 32];
    let mut world = World::new(true, &config(false).build().unwrap(), other);
    world.run();
    assert!(matches!(world.closed().reason, Reason::WrongPeer { .. }));
    assert_eq!(world.peer.over, Some(Over::Refused(Coded::new(40, &[]))));

    // The peer says that it dials node 5.
    let other = ours(setup(false), |hello| hello.others = vec![(7, id(5).as_bytes().to_vec())]);
    let mut world = World::new(false, &config(false).build().unwrap(), other);
    world.run();
    assert_eq!(world.closed().reason, Reason::Refused(Refusal::WrongDestination));
    assert_eq!(world.peer.over, Some(Over::Refused(Coded::new(27, &[]))));

    // The peer has the link's own key.
    for link_dials in [true, false] {
        let mut other = setup(false);
        other.identity = [LINK; 32];
        other.expected = None;
        let mut world = World::new(link_dials, &config(false).build().unwrap(), other);
        world.run();
        assert_eq!(world.closed().reason, Reason::Refused(Refusal::SelfConnection));
    }
}

#[test]
fn h6_other_protocols_part() {
    let config = config(false).protocol(*b"one").build().unwrap();
    let setup = ours(setup(false), |hello| hello.protocol = Some(b"two".to_vec()));
    let coded = Coded::new(30, &[]);
    refused(&setup, &config, &Reason::Refused(Refusal::OtherProtocol), &coded, &coded);
}

#[test]
fn h2_cleartext_refusals_of_major_version_and_suite() {
    let refuse = |change: fn(&mut Vec<u8>), secret| {
        let mut world = World::new(false, &config(secret).build().unwrap(), setup(secret));
        let mut bytes = world.peer.take();
        change(&mut bytes);
        world.give(&bytes);
        world.run();
        (world.peer.over.clone(), world.closed().reason)
    };
    let (over, reason) = refuse(|bytes| bytes[3] = 2, false);
    assert_eq!(over, Some(Over::Cleartext(1, 1)));
    assert_eq!(reason, Reason::UnsupportedWire { theirs: 2 });
    // Suite 2, to a side without a cluster secret; suite 1, to one that has one.
    let (over, reason) = refuse(|bytes| (bytes[4], bytes[7]) = (2, 2), false);
    assert_eq!((over, reason.code()), (Some(Over::Cleartext(2, 1)), 42));
    let (over, reason) = refuse(|bytes| (bytes[4], bytes[7]) = (1, 1), true);
    assert_eq!((over, reason.code()), (Some(Over::Cleartext(2, 2)), 42));
    // Flags, and an offer without the chosen suite.
    for change in [|bytes: &mut Vec<u8>| bytes[5] = 1, |bytes: &mut Vec<u8>| bytes[7] = 2] {
        let (over, reason) = refuse(change, false);
        assert_eq!((over, reason.code()), (None, 50));
    }
    let (over, reason) = refuse(|bytes| bytes[0] = b'h', false);
    assert_eq!((over, reason.code()), (None, 50));
}

#[test]
fn h2_cleartext_refusals_that_the_link_gets() {
    for (refusal, code) in
        [([0, 0, 1, 0, 7], 41), ([0, 0, 2, 0, 1], 42), ([0, 0, 3, 0, 9], 20), ([0, 0, 4, 0, 0], 43)]
    {
        let mut world = World::new(true, &config(false).build().unwrap(), setup(false));
        world.poll();
        world.peer.output.clear();
        world.give(&refusal);
        world.end_stream();
        let closed = world.closed();
        assert_eq!((closed.reason.code(), closed.by, closed.peer), (code, By::Peer, None));
    }
}

#[test]
fn h2_suites_that_only_one_side_has_are_no_downgrade() {
    // The peer's hello says suites 1 to 3, the link's only 1: nothing stronger is common.
    for link_dials in [true, false] {
        let other = ours(setup(false), |hello| hello.suites = 0b111);
        World::open(link_dials, &config(false).build().unwrap(), other);
    }
}

#[test]
fn h8_a_replayed_or_malformed_hello_ends_the_handshake() {
    let bad: [fn(&mut Hello); 8] = [
        |hello| hello.max_record = 4095,
        |hello| hello.max_record = 65_520,
        |hello| hello.max_message = 1023,
        |hello| hello.window = hello.max_message + 318,
        |hello| hello.idle = 99,
        |hello| hello.max_calls = 0,
        |hello| hello.versions = (2, 1),
        |hello| hello.others = vec![(0x8009, vec![])],
    ];
    for link_dials in [true, false] {
        for change in bad {
            let mut world =
                World::new(link_dials, &config(false).build().unwrap(), stubborn(ours(setup(false), change)));
            world.run();
            assert_eq!(world.peer.over, None);
            assert_eq!(world.closed().reason.code(), 50, "{:?}", world.peer.setup.hello);
        }
    }
}
