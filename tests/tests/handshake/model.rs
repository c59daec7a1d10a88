//! H10: two random nodes, and what a model of the rules in docs/wire.md says of them. The model shares no code with the crate: it tries
//! every version rather than computing the highest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use handclasp::{By, Capability, ClusterSecret, Config, Refusal, Trust, VersionRange};
use handclasp_sim::{Pair, Side, builder, id};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use crate::{SIDES, Verdict, settle};

#[derive(Clone, Debug)]
enum Trusts {
    Listed(BTreeSet<u8>),
    Anyone,
    /// Whether the application then admits.
    Ask(bool),
}

#[derive(Clone, Debug)]
struct Node {
    number: u8,
    trusts: Trusts,
    secrets: Vec<u8>,
    network: u8,
    versions: (u16, u16),
    protocol: Option<u8>,
    capabilities: BTreeMap<u8, (u16, u16, bool)>,
}

fn range() -> impl Strategy<Value = (u16, u16)> {
    (0_u16..4, 0_u16..3).prop_map(|(min, more)| (min, min + more))
}

fn node(number: impl Strategy<Value = u8>) -> impl Strategy<Value = Node> {
    let trusts = prop_oneof![
        3 => btree_set(1_u8..4, 0..4).prop_map(Trusts::Listed),
        3 => Just(Trusts::Anyone),
        2 => any::<bool>().prop_map(Trusts::Ask),
    ];
    let secrets = prop_oneof![4 => Just(vec![]), 3 => vec(1_u8..4, 1..3)];
    let network = prop_oneof![9 => Just(0_u8), 1 => Just(1)];
    let protocol = prop_oneof![3 => Just(None), 3 => Just(Some(1_u8)), 1 => Just(Some(2))];
    let required = prop::bool::weighted(0.3);
    let capability = (range(), required).prop_map(|((min, max), required)| (min, max, required));
    let capabilities = btree_map(0_u8..4, capability, 0..4);
    (number, trusts, secrets, network, range(), protocol, capabilities).prop_map(
        |(number, trusts, secrets, network, versions, protocol, capabilities)| Node {
            number,
            trusts,
            secrets,
            network,
            versions,
            protocol,
            capabilities,
        },
    )
}

fn config(node: &Node) -> Arc<Config> {
    let trust = match &node.trusts {
        Trusts::Listed(numbers) => Trust::listed(numbers.iter().copied().map(id)),
        Trusts::Anyone => Trust::Anyone,
        Trusts::Ask(_) => Trust::Ask,
    };
    let (min, max) = node.versions;
    let mut config = builder(node.number, &[])
        .trust(trust)
        .network([node.network])
        .versions(VersionRange::new(min, max).unwrap());
    for secret in &node.secrets {
        config = config.cluster_secret(ClusterSecret::new([*secret; 32]).unwrap());
    }
    if let Some(protocol) = node.protocol {
        config = config.protocol([protocol]);
    }
    for (name, (min, max, required)) in &node.capabilities {
        let capability = Capability::new(name.to_string(), *min..=*max).unwrap();
        config = config.capability(if *required { capability.required() } else { capability });
    }
    config.build().unwrap()
}

/// What a handshake comes to: the number of the close reason and who caused it, as an initiator or responder; or what was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Foreseen {
    Fails { code: u16, caused_by: Side },
    Agrees { version: u16, capabilities: Vec<(String, u16)> },
}

fn within(version: u16, (min, max): (u16, u16)) -> bool {
    min <= version && version <= max
}

fn foresee(i: &Node, r: &Node, pin: Option<u8>) -> Foreseen {
    let fails = |code, caused_by| Foreseen::Fails { code, caused_by };
    // Suites, then the key exchange. The first tag that a psk protects is the responder's to check, else the initiator's.
    if i.secrets.is_empty() != r.secrets.is_empty() {
        return fails(42, Side::Responder);
    }
    if i.network != r.network || !i.secrets.first().is_none_or(|secret| r.secrets.contains(secret)) {
        return fails(43, if i.secrets.is_empty() { Side::Initiator } else { Side::Responder });
    }
    // The initiator looks at the responder.
    if i.number == r.number {
        return fails(26, Side::Initiator);
    }
    match (pin, &i.trusts) {
        (Some(pin), _) if pin != r.number => return fails(40, Side::Initiator),
        (None, Trusts::Listed(listed)) if !listed.contains(&r.number) => return fails(22, Side::Initiator),
        _ => {}
    }
    if i.protocol.zip(r.protocol).is_some_and(|(ours, theirs)| ours != theirs) {
        return fails(30, Side::Initiator);
    }
    let common = |a, b| (0..=100_u16).rev().find(|version| within(*version, a) && within(*version, b));
    let Some(version) = common(i.versions, r.versions) else { return fails(21, Side::Initiator) };
    let mut capabilities = Vec::new();
    for name in 0..4_u8 {
        let (ours, theirs) = (i.capabilities.get(&name), r.capabilities.get(&name));
        let required = [ours, theirs].into_iter().flatten().any(|(_, _, required)| *required);
        let version = ours.zip(theirs).and_then(|(a, b)| common((a.0, a.1), (b.0, b.1)));
        match version {
            Some(version) => capabilities.push((name.to_string(), version)),
            None if required => return fails(23, Side::Initiator),
            None => {}
        }
    }
    if let Trusts::Ask(false) = i.trusts {
        return fails(29, Side::Initiator);
    }
    // The responder looks at the initiator.
    match &r.trusts {
        Trusts::Listed(listed) if !listed.contains(&i.number) => fails(22, Side::Responder),
        Trusts::Ask(false) => fails(29, Side::Responder),
        _ => Foreseen::Agrees { version, capabilities },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn h10_both_sides_come_to_what_the_rules_say(
        i in node(Just(1)),
        r in node(prop_oneof![9 => Just(2_u8), 1 => Just(1)]),
        pin in prop_oneof![3 => Just(None), 5 => Just(Some(2_u8)), 1 => Just(Some(3))],
        run in 0_u64..1000,
        chunk in prop_oneof![Just(usize::MAX), 1_usize..300],
    ) {
        let mut pair = Pair::seeded(&config(&i), &config(&r), pin.map(id), run);
        pair.chunk = chunk;
        for _ in 0..2 {
            pair.run();
            for (side, node) in [(Side::Initiator, &i), (Side::Responder, &r)] {
                let now = pair.now;
                match node.trusts {
                    Trusts::Ask(true) => pair.link(side).admit(now),
                    Trusts::Ask(false) if pair.link(side).phase() == handclasp::Phase::Admission => {
                        pair.link(side).refuse(Refusal::ShuttingDown, now);
                    }
                    _ => {}
                }
                pair.run();
            }
        }
        let foreseen = foresee(&i, &r, pin);
        let verdicts = settle(&mut pair);
        for ((side, verdict), peer) in SIDES.into_iter().zip(&verdicts).zip([&r, &i]) {
            match (&foreseen, verdict) {
                (Foreseen::Fails { code, caused_by }, Verdict::Failed(closed)) => {
                    prop_assert_eq!(closed.reason.code(), *code, "{:?}: {}", side, closed);
                    prop_assert_eq!(closed.by == By::Local, *caused_by == side, "{:?}: {}", side, closed);
                    prop_assert!(closed.by != By::Transport);
                }
                (Foreseen::Agrees { version, capabilities }, Verdict::Established(view)) => {
                    prop_assert_eq!((view.id, view.outcome.version), (id(peer.number), *version));
                    let found: Vec<_> =
                        view.outcome.capabilities.iter().map(|each| (each.name.clone(), each.version)).collect();
                    prop_assert_eq!(&found, capabilities);
                }
                (foreseen, verdict) => prop_assert!(false, "{:?}: {:?}, but {:?}", side, foreseen, verdict),
            }
        }
        if let [Verdict::Established(ours), Verdict::Established(theirs)] = &verdicts {
            prop_assert_eq!(ours.binding, theirs.binding);
            prop_assert_eq!(&ours.outcome, &theirs.outcome);
        }
    }
}
