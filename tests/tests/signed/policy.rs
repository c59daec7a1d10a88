//! What a policy lets through, in which order it looks, and what it changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use handclasp::crypto::RustCrypto;
use handclasp::identity::InvalidNodeId;
use handclasp::signed::{
    Accepted, Audience, Content, InvalidSigned, NotFresh, Origins, Refused, SignedMessage, SignedPolicy,
    Topics,
};
use handclasp_sim::{Counting, id, key};

use crate::support::{LABEL, Spy, by_hand, content, head, policy, read, signed, store};

/// What node 2 says of the bytes of a message.
fn judge(policy: &SignedPolicy, message: &SignedMessage) -> Result<Accepted, Refused> {
    policy.judge(&id(2), message.service(), message.bytes().clone(), &RustCrypto)
}

fn to(audience: impl Into<Audience>, sequence: u64) -> SignedMessage {
    signed(1, &Content { audience: audience.into(), ..content(sequence, b"body") })
}

#[test]
fn m10_a_message_is_taken_by_its_audience_alone() {
    let ours = policy(&[1], &store());
    let topics = policy(&[1], &store()).topics(Topics::listed(["news", "weather"]));
    let rule = policy(&[1], &store()).topics(Topics::rule(|topic| topic.starts_with("new")));
    let (own, other) = (to(id(2), 1), to(id(3), 1));
    let (news, weather) = (to(Audience::topic("news"), 1), to(Audience::topic("weather"), 1));
    let wrong = Err(Refused::OtherAudience);
    for (policy, expected) in [
        (&ours, [true, false, false, false]),
        (&topics, [true, false, true, true]),
        (&rule, [true, false, true, false]),
    ] {
        for (message, taken) in [&own, &other, &news, &weather].into_iter().zip(expected) {
            let judged = judge(policy, message);
            let right = Ok(Accepted::Deliver(message.clone()));
            assert_eq!(judged, if taken { right } else { wrong.clone() }, "{message:?} by {policy:?}");
        }
    }
    // A topic that is spelled like an id is a topic, and no prefix of one is one.
    let ours = ours.topics(Topics::listed([id(2).to_string()]));
    assert_eq!(judge(&ours, &to(id(3), 2)), wrong);
    assert!(judge(&ours, &to(Audience::topic(id(2).to_string()), 2)).is_ok());
    for near in ["new", "newss", "News", "news\0", " news"] {
        assert_eq!(judge(&topics, &to(Audience::topic(near), 2)), wrong, "{near:?}");
    }
}

#[test]
fn m10_only_origins_that_are_listened_to_are_taken() {
    let message = to(id(2), 1);
    let (accepted, unknown) = (Ok(Accepted::Deliver(message.clone())), Err(Refused::UnknownOrigin));
    let of = |origins| SignedPolicy::new(origins, store());
    assert_eq!(judge(&of(Origins::listed([id(1)])), &message), accepted);
    assert_eq!(judge(&of(Origins::listed([id(3)])), &message), unknown);
    assert_eq!(judge(&of(Origins::default()), &message), unknown);
    assert_eq!(judge(&of(Origins::Anyone), &message), accepted);

    // A rule follows what it looks at: a node that was let go is not heard, whoever brings its words.
    let trusted = Arc::new(AtomicBool::new(true));
    let rule = Arc::clone(&trusted);
    let policy = of(Origins::rule(move |origin| rule.load(Relaxed) && *origin == id(1)));
    assert_eq!(judge(&policy, &message), accepted);
    trusted.store(false, Relaxed);
    assert_eq!(judge(&policy, &to(id(2), 2)), unknown);
    assert_eq!(judge(&policy, &signed(3, &content(1, b""))), unknown);

    // Its own words come back to nobody.
    let own = signed(2, &Content { audience: Audience::topic("news"), ..content(1, b"") });
    for origins in [Origins::Anyone, Origins::listed([id(2)])] {
        let policy = of(origins).topics(Topics::rule(|_| true)).relay();
        assert_eq!(judge(&policy, &own), Err(Refused::OwnOrigin));
    }
}

#[test]
fn m10_a_message_is_for_the_service_that_its_origin_meant() {
    let policy = policy(&[1], &store());
    let message = to(id(2), 1);
    for service in ["", "S", "ss", "s\0", "delete everything"] {
        let judged = policy.judge(&id(2), service, message.bytes().clone(), &RustCrypto);
        assert_eq!(judged, Err(Refused::OtherService), "{service:?}");
    }
    assert!(judge(&policy, &message).is_ok(), "nothing of it was noted");
}

#[test]
fn m10_ids_that_are_none_are_refused_by_every_policy() {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let lenient = |origin: &[u8; 32], audience: &[u8; 32]| -> Bytes {
        let head = head([1, 0], origin, (1, 7), audience, b"s");
        [&head[..], b"body", &neutral, &[0; 32]].concat().into()
    };
    let small = Refused::Invalid(InvalidSigned::NotAnId(InvalidNodeId::SmallOrder));
    for (origins, why) in [
        (Origins::Anyone, small),
        (Origins::rule(|_| true), small),
        (Origins::listed([id(1)]), Refused::UnknownOrigin),
    ] {
        let policy = SignedPolicy::new(origins, store()).relay();
        let judged = policy.judge(&id(2), "s", lenient(&neutral, id(2).as_bytes()), &RustCrypto);
        assert_eq!(judged, Err(why));
    }
    let to_nobody = by_hand(LABEL, &head([1, 0], id(1).as_bytes(), (1, 7), &neutral, b"s"), b"", &key(1));
    let relay = policy(&[1], &store()).relay();
    assert_eq!(relay.judge(&id(2), "s", to_nobody.into(), &RustCrypto), Err(small));
}

#[test]
fn m10_what_is_cheap_is_looked_at_first_and_nothing_changes_before_the_signature() {
    let (spy, counts) = (Arc::new(Spy::default()), Counting::default());
    let policy = policy(&[1], &spy);
    let asked = |bytes: Bytes, service: &str| {
        let judged = policy.judge(&id(2), service, bytes, &counts);
        (judged.err(), counts.verified.take(), std::mem::take(&mut *spy.count()))
    };
    let right = to(id(2), 1).bytes().clone();
    let mut forged = right.to_vec();
    *forged.last_mut().expect("a signature") ^= 1;
    let bad = Refused::Invalid(InvalidSigned::BadSignature);
    assert_eq!(asked(right.clone(), "other"), (Some(Refused::OtherService), 0, 0));
    assert_eq!(asked(to(id(3), 1).bytes().clone(), "s"), (Some(Refused::OtherAudience), 0, 0));
    let unknown = signed(3, &content(1, b""));
    assert_eq!(asked(unknown.bytes().clone(), "s"), (Some(Refused::UnknownOrigin), 0, 0));
    assert_eq!(asked(forged.into(), "s"), (Some(bad), 1, 0));
    let mut far = to(id(2), u64::MAX).bytes().to_vec();
    far[42] ^= 0x80;
    assert_eq!(asked(far.into(), "s"), (Some(bad), 1, 0), "a window that nobody moved");
    assert_eq!(asked(right.clone(), "s"), (None, 1, 1));
    assert_eq!(asked(right, "s"), (Some(Refused::NotFresh(NotFresh::Seen)), 1, 1));
    assert!(matches!(asked(Bytes::from_static(b"hello"), "s"), (Some(Refused::Invalid(_)), 0, 0)));
}

#[test]
fn m10_a_relay_lets_through_what_is_verified_and_remembers_nothing() {
    let spy = Arc::new(Spy::default());
    let relay = policy(&[1], &spy).topics(Topics::listed(["news"])).relay();
    for (message, for_us) in [
        (to(id(3), 1), false),
        (to(Audience::topic("weather"), 1), false),
        (to(id(2), 1), true),
        (to(Audience::topic("news"), 1), true),
    ] {
        for time in 0..2 {
            let expected = match (for_us, time) {
                (false, _) => Ok(Accepted::Relay(message.clone())),
                (true, 0) => Ok(Accepted::Deliver(message.clone())),
                (true, _) => Err(Refused::NotFresh(NotFresh::Seen)),
            };
            assert_eq!(judge(&relay, &message), expected, "{message:?}, {time}");
        }
        let mut forged = message.bytes().to_vec();
        forged[60] ^= 1;
        assert!(relay.judge(&id(2), "s", forged.into(), &RustCrypto).is_err());
    }
    assert_eq!(*spy.count(), 4);
    let stranger = signed(3, &Content { audience: id(4).into(), ..content(1, b"") });
    assert_eq!(judge(&relay, &stranger), Err(Refused::UnknownOrigin), "nor does it pass on for strangers");
}

#[test]
fn m10_each_error_says_what_is_wrong() {
    let shown = [
        Refused::OtherService,
        Refused::OtherAudience,
        Refused::OwnOrigin,
        Refused::UnknownOrigin,
        Refused::Invalid(InvalidSigned::BadSignature),
        Refused::Invalid(InvalidSigned::NotAnId(InvalidNodeId::SmallOrder)),
        Refused::Invalid(read(&b"x"[..]).expect_err("malformed")),
        Refused::NotFresh(NotFresh::Seen),
        Refused::NotFresh(NotFresh::TooOld),
        Refused::NotFresh(NotFresh::OldEpoch),
        Refused::NotFresh(NotFresh::Full),
    ]
    .map(|why| why.to_string());
    let different: std::collections::BTreeSet<_> = shown.iter().collect();
    assert_eq!(different.len(), shown.len(), "{shown:?}");
}
