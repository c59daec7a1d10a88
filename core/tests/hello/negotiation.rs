//! H2 and H12: versions and limits, and the bytes that both sides hash.

use std::time::Duration;

use handclasp::Refusal;
use handclasp::crypto::{RustCrypto, SuiteSet};
use handclasp::hello::{Hello, Limits, VersionRange};
use handclasp::negotiation::{CommonCapability, Outcome, negotiate};
use proptest::prelude::*;

use super::arbitrary::{hello, limits, plain};

fn speaks(versions: VersionRange) -> Hello {
    Hello::new(versions, SuiteSet::EMPTY, 1, 2)
}

#[test]
fn h2_the_highest_common_version_or_both_ranges() {
    let ranges: Vec<_> = (0..7)
        .flat_map(|min| (min..7).map(move |max| VersionRange::new(min, max).unwrap()))
        .chain([VersionRange::only(u16::MAX), VersionRange::new(0, u16::MAX).unwrap()])
        .collect();
    for &ours in &ranges {
        for &theirs in &ranges {
            let result = negotiate(&speaks(ours), &speaks(theirs));
            let both = |version: &u16| ours.contains(*version) && theirs.contains(*version);
            match (0..=u16::MAX).rev().find(both) {
                Some(version) => assert_eq!(result.as_ref().unwrap().version, version),
                None => assert_eq!(result, Err(Refusal::Incompatible { ours, theirs })),
            }
            let from_there = negotiate(&speaks(theirs), &speaks(ours));
            assert_eq!(from_there.map_err(Refusal::mirrored), result);
        }
    }
}

#[test]
fn h2_an_other_protocol_is_found_before_the_versions() {
    let with = |protocol: Option<&[u8]>, version| {
        let mut hello = speaks(VersionRange::only(version));
        hello.protocol = protocol.map(Into::into);
        hello
    };
    assert_eq!(negotiate(&with(Some(b"a"), 1), &with(Some(b"b"), 2)), Err(Refusal::OtherProtocol));
    assert_eq!(negotiate(&with(Some(b"a"), 1), &with(Some(b"A"), 1)), Err(Refusal::OtherProtocol));
    for (ours, theirs) in
        [(None, None), (Some(&b"a"[..]), None), (None, Some(&b"a"[..])), (Some(b"a"), Some(b"a"))]
    {
        assert!(negotiate(&with(ours, 1), &with(theirs, 1)).is_ok());
    }
}

#[test]
fn h2_outcome_bytes_and_digest_stand_as_the_document_says() {
    let outcome = Outcome {
        version: 0x0102,
        limits: Limits {
            max_message: 0x0304_0506,
            window: 0x0708_090a,
            max_calls: 0x0b0c_0d0e,
            idle: Duration::from_millis(0x0f10_1112),
            max_record: 0x1314,
        },
        capabilities: vec![
            CommonCapability { name: "chat".into(), version: 0x1516 },
            CommonCapability { name: "zip".into(), version: 0x1718 },
        ],
    };
    let mut expected: Vec<u8> = (1..=0x14).collect();
    expected.extend(b"\x04chat\x15\x16\x03zip\x17\x18");
    assert_eq!(outcome.bytes(), expected);
    // By another implementation of SHA-256, over the label and the bytes above.
    let digest = [
        0x26, 0xa7, 0x4e, 0xe4, 0xb7, 0xe7, 0x59, 0x99, 0xbe, 0xc3, 0xb2, 0x96, 0x36, 0xce, 0x2f, 0xc0, 0x90,
        0xf5, 0xd7, 0xbe, 0x2e, 0x63, 0x5f, 0x7a, 0xe9, 0xbe, 0xbe, 0xb3, 0x3e, 0x75, 0x01, 0x35,
    ];
    assert_eq!(outcome.digest(&RustCrypto), digest);
}

#[test]
fn h12_each_limit_is_the_minimum_on_its_own() {
    let low = Limits {
        max_message: 2000,
        window: 3000,
        max_calls: 2,
        idle: Duration::from_millis(200),
        max_record: 5000,
    };
    let changes: [fn(&mut Limits); 5] = [
        |l| l.max_message -= 1,
        |l| l.window -= 1,
        |l| l.max_calls -= 1,
        |l| l.idle -= Duration::from_millis(1),
        |l| l.max_record -= 1,
    ];
    for change in changes {
        let mut lower = low;
        change(&mut lower);
        assert_eq!(low.smaller_of(lower), lower);
        assert_eq!(lower.smaller_of(low), lower);
    }
}

proptest! {
    #[test]
    fn h12_limits_are_the_minimum_of_both(ours in limits(), theirs in limits()) {
        let with = |limits| {
            let mut hello = plain();
            hello.limits = limits;
            hello
        };
        let agreed = negotiate(&with(ours), &with(theirs)).unwrap().limits;
        prop_assert_eq!(agreed.max_message, ours.max_message.min(theirs.max_message));
        prop_assert_eq!(agreed.window, ours.window.min(theirs.window));
        prop_assert_eq!(agreed.max_calls, ours.max_calls.min(theirs.max_calls));
        prop_assert_eq!(agreed.idle, ours.idle.min(theirs.idle));
        prop_assert_eq!(agreed.max_record, ours.max_record.min(theirs.max_record));
        prop_assert_eq!(agreed.check(), Ok(()));
    }

    #[test]
    fn h2_both_sides_agree_on_any_two_hellos(ours in hello(), theirs in hello()) {
        let here = negotiate(&ours, &theirs);
        let there = negotiate(&theirs, &ours);
        if let (Ok(here), Ok(there)) = (&here, &there) {
            prop_assert_eq!(here.bytes(), there.bytes());
        }
        prop_assert_eq!(here, there.map_err(Refusal::mirrored));
    }
}
