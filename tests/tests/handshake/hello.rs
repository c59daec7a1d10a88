//! H2, H3 and H12: what the two sides say of themselves, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use handclasp::crypto::{Suite, SuiteSet};
use handclasp::hello::{AdvertVersions, DialAddress, UnknownExtension};
use handclasp::{By, Capability, Config, Limits, Phase, Reason, Refusal, Retry, VersionRange};
use handclasp_sim::hostile::{Hostile, hello, id_bytes};
use handclasp_sim::{Pair, Side, Solo, builder, config, id, key};

use crate::{failures, settle};

fn versions(number: u8, peer: u8, min: u16, max: u16) -> Arc<Config> {
    builder(number, &[peer]).versions(VersionRange::new(min, max).unwrap()).build().unwrap()
}

#[test]
fn h2_the_highest_common_version_or_both_ranges() {
    let bounds = [0, 1, 2, 3, u16::MAX];
    let ranges: Vec<(u16, u16)> = bounds
        .iter()
        .flat_map(|min| bounds.iter().map(move |max| (*min, *max)))
        .filter(|(a, b)| a <= b)
        .collect();
    for (a, b) in &ranges {
        for (c, d) in &ranges {
            let mut pair = Pair::of(&versions(1, 2, *a, *b), &versions(2, 1, *c, *d), Some(id(2)));
            // The highest number that lies in both, by looking at each of the bounds.
            let common =
                [*b, *d].into_iter().filter(|v| (*a..=*b).contains(v) && (*c..=*d).contains(v)).max();
            if let Some(version) = common {
                let [i, r] = settle(&mut pair);
                assert_eq!((i.view().outcome.version, r.view().outcome.version), (version, version));
                assert_eq!(i.view().binding, r.view().binding);
            } else {
                let [i, r] = failures(&mut pair);
                let (ours, theirs) = (VersionRange::new(*a, *b).unwrap(), VersionRange::new(*c, *d).unwrap());
                assert_eq!(i.reason, Reason::Refused(Refusal::Incompatible { ours, theirs }));
                let (ours, theirs) = (theirs, ours);
                assert_eq!(r.reason, Reason::Refused(Refusal::Incompatible { ours, theirs }));
                assert_eq!((i.by, r.by), (By::Local, By::Peer));
                assert_eq!(r.reason.retry(), Retry::Never);
            }
        }
    }
}

/// Each bit of the preamble, flipped on the way: what it says is bound into the transcript.
#[test]
fn h2_an_edited_preamble_establishes_nothing() {
    for bit in 0..64 {
        let mut pair = Pair::new();
        pair.run_with(|side, pipe| {
            if side == Side::Initiator && pipe.log.len() == pipe.bytes.len() && !pipe.bytes.is_empty() {
                pipe.bytes[bit / 8] ^= 1 << (bit % 8);
            }
        });
        let [i, r] = failures(&mut pair);
        assert!(i.claimed.is_none() && r.claimed.is_none(), "bit {bit}: nobody has said who they are");
    }
}

#[test]
fn h2_a_forged_refusal_in_the_clear_ends_one_attempt_and_no_more() {
    let forged: [(u8, u16, Reason); 4] = [
        (1, 9, Reason::UnsupportedWire { theirs: 9 }),
        (2, 1, Reason::UnsupportedSuite { theirs: SuiteSet::from_bits(1) }),
        // Whatever it says, a minute is the most that anybody can keep a dialler away.
        (3, 61, Reason::Refused(Refusal::OverCapacity { retry_after: Duration::from_mins(1) })),
        (4, 0, Reason::KeyExchangeFailed),
    ];
    for (code, aux, reason) in forged {
        let mut solo = Solo::initiator(&config(1, &[2]), Some(id(2)), 0);
        solo.written();
        let [high, low] = aux.to_be_bytes();
        solo.feed(&[0, 0, code, high, low]);
        let closed = solo.closed();
        assert_eq!((&closed.reason, closed.by, closed.peer), (&reason, By::Peer, None));
        assert_ne!(closed.reason.retry(), Retry::Never, "{reason:?}: anybody on the path can say that");
        assert!(
            solo.written().is_empty(),
            "no second attempt, with less or with anything, on the same stream"
        );
    }
}

#[test]
fn h2_a_dialler_with_a_secret_never_falls_back_to_no_secret() {
    let secret = handclasp::ClusterSecret::new(*b"a secret of the cluster").unwrap();
    let config = builder(1, &[2]).cluster_secret(secret).build().unwrap();
    assert_eq!(Solo::initiator(&config, None, 0).written()[4..8], [2, 0, 0, 2]);
    // A forger answers as if suite 1 had been agreed on.
    let mut solo = Solo::initiator(&config, Some(id(2)), 0);
    let mut plain = Solo::responder(&handclasp_sim::config(2, &[1]), 0);
    let (_, preamble, first) = Hostile::dial(None, &[]);
    plain.feed(&[preamble, first].concat());
    solo.feed(&plain.written());
    assert_eq!((solo.closed().reason, solo.closed().claimed), (Reason::KeyExchangeFailed, None));
}

#[test]
fn h2_a_suite_that_only_the_other_side_has_is_no_downgrade() {
    let mut solo = Solo::initiator(&config(1, &[2]), Some(id(2)), 0);
    let (mut peer, second) = Hostile::answer_to(&mut solo);
    let all = SuiteSet::EMPTY.with(Suite::NnChaChaPoly).with(Suite::NnPsk0ChaChaPoly);
    let auth = peer.auth(&key(2), &hello(|hello| hello.suites = all));
    solo.feed(&[second, peer.seal(&auth)].concat());
    assert_eq!(solo.link.phase(), Phase::Status);
}

/// A node that says all there is to say.
fn talkative(number: u8, peer: u8) -> Arc<Config> {
    let limits = Limits {
        max_message: 100_000 + u32::from(number),
        window: 300_000 + u32::from(number),
        max_calls: 10 + u32::from(number),
        idle: Duration::from_millis(20_000 + u64::from(number)),
        max_record: 5000 + u16::from(number),
    };
    let capability = Capability::new("search", 2..=7).unwrap().metadata([number, 1, 2]);
    builder(number, &[peer])
        .name(format!("ñode-{number}@host"))
        .protocol(*b"\x00chat")
        .versions(VersionRange::new(1, 5 + u16::from(number)).unwrap())
        .capability(Capability::new("zip", 0..=u16::from(number)).unwrap().required())
        .capability(capability)
        .info("region", *b"north")
        .info("build", [number; 300])
        .address(number.into(), format!("10.0.0.{number}:4000"))
        .address(1, "[::1]:1")
        .limits(limits)
        .build()
        .unwrap()
}

#[test]
fn h3_every_field_of_the_hello_reaches_the_other_side() {
    let [i, r] = settle(&mut Pair::of(&talkative(1, 2), &talkative(2, 1), Some(id(2))));
    for (view, number, destination) in [(r.view(), 1_u8, Some(id_bytes(2))), (i.view(), 2, None)] {
        let hello = &view.hello;
        let n = u16::from(number);
        assert_eq!((view.id, hello.incarnation, hello.link_sequence), (id(number), n.into(), 1));
        assert_eq!(hello.versions, VersionRange::new(1, 5 + n).unwrap());
        assert_eq!(hello.name.as_deref(), Some(format!("ñode-{number}@host").as_str()));
        assert_eq!(hello.protocol.as_deref(), Some(&b"\x00chat"[..]));
        assert_eq!(hello.suites, SuiteSet::EMPTY.with(Suite::NnChaChaPoly));
        let [search, zip] = &hello.capabilities[..] else { panic!("{hello:?}") };
        assert_eq!(
            (search.name.as_str(), search.required, &search.metadata[..]),
            ("search", false, &[number, 1, 2][..])
        );
        assert_eq!(search.versions, VersionRange::new(2, 7).unwrap());
        assert_eq!((zip.name.as_str(), zip.required, zip.metadata.len()), ("zip", true, 0));
        assert_eq!(zip.versions, VersionRange::new(0, n).unwrap());
        let info: Vec<(&str, usize)> =
            hello.info.iter().map(|(key, value)| (key.as_str(), value.len())).collect();
        assert_eq!(info, [("build", 300), ("region", 5)]);
        let address = |weight, address: String| DialAddress { weight, address };
        assert_eq!(
            hello.addresses,
            [address(n, format!("10.0.0.{number}:4000")), address(1, "[::1]:1".into())]
        );
        assert_eq!(hello.destination, destination);
        assert_eq!(hello.limits.max_message, 100_000 + u32::from(number));
        assert_eq!(hello.limits.idle, Duration::from_millis(20_000 + u64::from(number)));
    }
    assert_eq!(i.view().outcome, r.view().outcome);
    assert_eq!(
        (i.view().outcome.capability("zip"), i.view().outcome.capability("search")),
        (Some(1), Some(7))
    );
}

#[test]
fn h3_adverts_and_unknown_fields_are_kept_and_authenticated() {
    let edit = |hello: &mut handclasp::hello::Hello| {
        hello.adverts = Some(AdvertVersions { own: u64::MAX, held: 3 });
        hello.unknown = vec![
            UnknownExtension { kind: 0, value: Box::default() },
            UnknownExtension { kind: 10, value: Box::new([1, 2, 3]) },
            UnknownExtension { kind: 0x7fff, value: Box::new([9; 1000]) },
        ];
    };
    let mut solo = Solo::responder(&config(2, &[1]), 0);
    let mut peer = Hostile::dial_to(&mut solo);
    let auth = peer.auth(&key(1), &hello(edit));
    let record = peer.seal(&auth);
    solo.feed(&record);
    assert_eq!(solo.link.phase(), Phase::Established);
    let heard = &solo.link.peer().unwrap().hello;
    assert_eq!(heard.adverts, Some(AdvertVersions { own: u64::MAX, held: 3 }));
    assert_eq!(heard.unknown.iter().map(|each| each.kind).collect::<Vec<_>>(), [0, 10, 0x7fff]);
    assert_eq!(heard.unknown[1].value[..], [1, 2, 3]);
}

#[test]
fn h3_an_unknown_critical_field_ends_the_handshake() {
    for which in [Side::Initiator, Side::Responder] {
        let mut bytes = hello(|_| {});
        bytes.extend([0x80, 10, 0, 1, 0xff]);
        let mut solo = match which {
            Side::Initiator => Solo::initiator(&config(1, &[2]), Some(id(2)), 0),
            Side::Responder => Solo::responder(&config(2, &[1]), 0),
        };
        let record = if which == Side::Initiator {
            let (mut peer, second) = Hostile::answer_to(&mut solo);
            solo.feed(&second);
            let auth = peer.auth(&key(2), &bytes);
            peer.seal(&auth)
        } else {
            let mut peer = Hostile::dial_to(&mut solo);
            let auth = peer.auth(&key(1), &bytes);
            peer.seal(&auth)
        };
        solo.feed(&record);
        match solo.closed().reason {
            Reason::Violation(violation) => {
                assert_eq!(violation.phase, Phase::Authentication);
                assert!(violation.what.what.contains("critical"), "{violation}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn h12_each_limit_is_the_smaller_of_both() {
    let low = Limits {
        max_message: 1024,
        window: 1024 + 319,
        max_calls: 1,
        idle: Duration::from_millis(100),
        max_record: 4096,
    };
    let high = Limits {
        max_message: 1 << 30,
        window: u32::MAX,
        max_calls: u32::MAX,
        idle: Duration::from_millis(u32::MAX.into()),
        max_record: 65_519,
    };
    // Every mixture: bit n says which side has the low value of limit n.
    for mixture in 0..32_u8 {
        let mix = |flip: u8| {
            let pick = |bit: u8| if (mixture ^ flip) & (1 << bit) == 0 { low } else { high };
            let mut limits = Limits {
                max_message: pick(0).max_message,
                window: pick(1).window,
                max_calls: pick(2).max_calls,
                idle: pick(3).idle,
                max_record: pick(4).max_record,
            };
            limits.window = limits.window.max(limits.max_message + 319);
            limits
        };
        let (ours, theirs) = (mix(0), mix(0xff));
        let i = builder(1, &[2]).limits(ours).build().unwrap();
        let r = builder(2, &[1]).limits(theirs).build().unwrap();
        // A link with so short an idle time pings on; it is enough to bring it up.
        let mut pair = Pair::of(&i, &r, Some(id(2)));
        pair.run();
        for side in crate::SIDES {
            let limits = pair.link(side).peer().unwrap().outcome.limits;
            let lowest = Limits { window: ours.window.min(theirs.window), ..low };
            assert_eq!(limits, lowest, "{side:?}, mixture {mixture}");
            // They are in force, not only shown.
            let message = handclasp::Message::new("s", vec![0; 1025]);
            let rejected = pair.link(side).send(message).unwrap_err();
            assert_eq!(rejected.why, handclasp::Why::TooLarge { limit: 1024 });
            let now = pair.now;
            let call = handclasp::Message::new("s", &b"x"[..]);
            assert!(pair.link(side).call(call.clone(), Duration::from_secs(1), now).is_ok());
            let rejected = pair.link(side).call(call, Duration::from_secs(1), now).unwrap_err();
            assert_eq!(rejected.why, handclasp::Why::TooManyCalls { limit: 1 });
        }
    }
}
