//! Strategies for valid hellos and refusals, and a small writer of the wire form that shares no code with the crate's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use handclasp::Refusal;
use handclasp::crypto::SuiteSet;
use handclasp::hello::{
    AdvertVersions, Capability, DialAddress, Hello, Limits, StreamOffer, UnknownExtension, VersionRange,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

pub(crate) fn range() -> impl Strategy<Value = VersionRange> {
    (any::<u16>(), any::<u16>()).prop_map(|(a, b)| VersionRange::new(a.min(b), a.max(b)).unwrap())
}

pub(crate) fn limits() -> impl Strategy<Value = Limits> {
    let most = u32::MAX - Limits::WINDOW_MARGIN;
    (1024..=most, any::<u32>(), 1..=u32::MAX, 100..=u32::MAX, 4096..=65_519_u16).prop_map(
        |(max_message, window, max_calls, idle, max_record)| Limits {
            max_message,
            window: window.max(max_message + Limits::WINDOW_MARGIN),
            max_calls,
            idle: Duration::from_millis(idle.into()),
            max_record,
        },
    )
}

pub(crate) fn label() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-zé日]{1,12}", 1 => "[a-z]{255}"]
}

fn bytes(most: usize) -> impl Strategy<Value = Box<[u8]>> {
    vec(any::<u8>(), 0..=most).prop_map(Vec::into_boxed_slice)
}

fn capabilities() -> impl Strategy<Value = Vec<Capability>> {
    btree_map(label(), (range(), any::<bool>(), bytes(20)), 0..6).prop_map(|entries| {
        let built = |(name, (versions, required, metadata)): (String, (VersionRange, bool, Box<[u8]>))| {
            Capability { name, versions, required, metadata }
        };
        entries.into_iter().map(built).collect()
    })
}

/// Capabilities of few names and few versions, so that two sets have much in common and collide in every way.
pub(crate) fn narrow_capabilities() -> impl Strategy<Value = Vec<Capability>> {
    let versions = (0_u16..5, 0_u16..5).prop_map(|(a, b)| VersionRange::new(a.min(b), a.max(b)).unwrap());
    btree_map("[a-e]", (versions, any::<bool>()), 0..6).prop_map(|entries: BTreeMap<_, _>| {
        let built =
            |(name, (versions, required))| Capability { name, versions, required, metadata: Box::default() };
        entries.into_iter().map(built).collect()
    })
}

fn unknown() -> impl Strategy<Value = Vec<UnknownExtension>> {
    let kind = prop_oneof![Just(0_u16), 10_u16..40, 0x7ff0_u16..=0x7fff];
    btree_map(kind, bytes(30), 0..4).prop_map(|entries| {
        entries.into_iter().map(|(kind, value)| UnknownExtension { kind, value }).collect()
    })
}

pub(crate) fn hello() -> impl Strategy<Value = Hello> {
    let fixed = (range(), any::<u64>(), any::<u64>(), limits(), any::<u16>());
    let protocol = vec(any::<u8>(), 1..=255).prop_map(Vec::into_boxed_slice);
    let address = (any::<u16>(), label()).prop_map(|(weight, address)| DialAddress { weight, address });
    let adverts = (any::<u64>(), any::<u64>()).prop_map(|(own, held)| AdvertVersions { own, held });
    let streams =
        (any::<u32>(), any::<u32>()).prop_map(|(max_streams, window)| StreamOffer { max_streams, window });
    let extensions = (
        option::of(label()),
        option::of(protocol),
        capabilities(),
        btree_map(label(), bytes(20), 0..6),
        vec(address, 0..6),
        option::of(adverts),
        option::of(any::<[u8; 32]>()),
        (any::<bool>(), option::of(streams)),
        unknown(),
    );
    (fixed, extensions)
        .prop_map(|((versions, incarnation, sequence, limits, suites), extensions)| {
            let mut hello = Hello::new(versions, SuiteSet::from_bits(suites), incarnation, sequence);
            hello.limits = limits;
            hello.name = extensions.0;
            hello.protocol = extensions.1;
            hello.capabilities = extensions.2;
            hello.info = extensions.3.into_iter().collect();
            hello.addresses = extensions.4;
            hello.adverts = extensions.5;
            hello.destination = extensions.6;
            (hello.hold, hello.streams) = extensions.7;
            hello.unknown = extensions.8;
            hello
        })
        .prop_filter("too large for a record", |hello| hello.check().is_ok())
}

pub(crate) fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        any::<u32>()
            .prop_map(|millis| Refusal::OverCapacity { retry_after: Duration::from_millis(millis.into()) }),
        (range(), range()).prop_map(|(ours, theirs)| Refusal::Incompatible { ours, theirs }),
        btree_set(label(), 0..12).prop_map(|names: BTreeSet<String>| Refusal::MissingCapability {
            names: names.into_iter().collect()
        }),
        Just(Refusal::Denied),
        Just(Refusal::Alive),
        Just(Refusal::Simultaneous),
        Just(Refusal::SelfConnection),
        Just(Refusal::WrongDestination),
        Just(Refusal::Registry),
        Just(Refusal::ShuttingDown),
        Just(Refusal::OtherProtocol),
    ]
}

/// A hello with every field set to a value of its own.
pub(crate) fn full() -> Hello {
    let mut hello = Hello::new(
        VersionRange::new(2, 5).unwrap(),
        SuiteSet::from_bits(0x0203),
        0x1112_1314_1516_1718,
        0x2122_2324_2526_2728,
    )
    .with_capabilities([
        Capability::new("zip", 1..=3).unwrap().required(),
        Capability::new("chat", 4..=7).unwrap().metadata(*b"meta"),
    ])
    .unwrap()
    .with_info([("zone".into(), b"b".as_slice().into()), ("build".into(), Box::default())])
    .unwrap();
    hello.limits = Limits {
        max_message: 0x0001_0203,
        window: 0x0102_0304,
        max_calls: 0x0203_0405,
        idle: Duration::from_millis(0x0304_0506),
        max_record: 0x1708,
    };
    hello.name = Some("née".into());
    hello.protocol = Some(b"app/2".as_slice().into());
    hello.addresses = vec![
        DialAddress { weight: 9, address: "b:1".into() },
        DialAddress { weight: 0x0a0b, address: "a:1".into() },
    ];
    hello.adverts = Some(AdvertVersions { own: 3, held: 4 });
    hello.destination = Some([0xd5; 32]);
    hello.hold = true;
    hello.streams = Some(StreamOffer { max_streams: 0x0506_0708, window: 0x0607_0809 });
    hello.unknown = vec![
        UnknownExtension { kind: 0, value: b"zero".as_slice().into() },
        UnknownExtension { kind: 10, value: Box::default() },
        UnknownExtension { kind: 0x7fff, value: b"last".as_slice().into() },
    ];
    hello
}

/// A hello with no extension.
pub(crate) fn plain() -> Hello {
    Hello::new(VersionRange::only(1), SuiteSet::from_bits(1), 1, 2)
}

/// The form of an extension.
pub(crate) fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &u16::try_from(value.len()).unwrap().to_be_bytes()[..], value].concat()
}
