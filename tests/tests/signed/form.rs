//! The bytes: each where the document says, and no others.

use bytes::Bytes;
use handclasp::crypto::RustCrypto;
use handclasp::identity::{InvalidNodeId, SignerError};
use handclasp::signed::{Audience, Content, InvalidSigned, SignError, SignedMessage};
use handclasp::{NodeId, Payload, Priority, Signer};
use handclasp_sim::{id, key};
use proptest::prelude::*;

use crate::support::{HEADER, LABEL, by_hand, content, head, read, signed};

fn to_topic() -> SignedMessage {
    signed(1, &Content { audience: Audience::topic("news"), ..content(7, b"the body") })
}

fn malformed(bytes: Vec<u8>) -> bool {
    matches!(SignedMessage::parse(bytes.into()), Err(InvalidSigned::Malformed(_)))
}

#[test]
fn m10_every_field_stands_where_the_document_says() {
    let message = Content { service: "ledger", epoch: 0x0102_0304, ..content(0x0506, b"the body") };
    let message = signed(1, &message);
    let mut bytes = vec![1, 0];
    bytes.extend(id(1).as_bytes());
    bytes.extend([0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 5, 6, 32, 6]);
    assert_eq!(bytes.len(), HEADER);
    bytes.extend(id(2).as_bytes());
    bytes.extend(b"ledger");
    assert_eq!(message.bytes()[..], by_hand(LABEL, &bytes, b"the body", &key(1)));

    let topic = to_topic();
    let bytes = head([1, 1], id(1).as_bytes(), (1, 7), b"news", b"s");
    assert_eq!(topic.bytes()[..], by_hand(LABEL, &bytes, b"the body", &key(1)));
    for message in [message, topic] {
        assert_eq!(read(message.bytes().clone()), Ok(message));
    }
}

#[test]
fn m10_what_is_read_is_what_was_signed() {
    let message =
        signed(1, &Content { audience: id(3).into(), service: "ledger", ..content(9, b"the body") });
    let read = read(message.bytes().clone()).expect("verifies");
    assert_eq!((read.origin(), read.audience()), (id(1), &Audience::Node(id(3))));
    assert_eq!((read.service(), read.epoch(), read.sequence()), ("ledger", 1, 9));
    assert_eq!(read.body(), "the body");
    let sent = read.message();
    assert_eq!((sent.service, sent.priority, sent.expires), ("ledger", Priority::Normal, None));
    assert!(matches!(&sent.body, Payload::Signed(bytes) if bytes == message.bytes()), "{sent:?}");
}

#[test]
fn m10_every_flipped_bit_is_refused() {
    for message in [signed(1, &content(7, b"the body")), to_topic()] {
        for bit in 0..message.bytes().len() * 8 {
            let mut bytes = message.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read(bytes).is_err(), "bit {bit} of {message:?}");
        }
    }
}

#[test]
fn m10_a_signed_message_is_cut_off_nowhere_and_nothing_stands_behind_it() {
    for message in [signed(1, &content(7, b"the body")), to_topic(), signed(1, &content(0, b""))] {
        let least = message.bytes().len() - message.body().len();
        for end in 0..message.bytes().len() {
            let refused = read(message.bytes().slice(..end)).expect_err("cut off");
            // With a shorter body the form is right, and the signature is not.
            assert_eq!(refused == InvalidSigned::BadSignature, end >= least, "{end} bytes: {refused}");
        }
        let longer = [&message.bytes()[..], &[0]].concat();
        assert_eq!(read(longer), Err(InvalidSigned::BadSignature));
    }
}

/// Signed by the right key over just these bytes, and refused for the form all the same.
#[test]
fn m10_only_one_form_is_taken() {
    let (own, node, long) = (*id(1).as_bytes(), *id(2).as_bytes(), [b'x'; 255]);
    let hand = |kinds, audience: &[u8], service: &[u8]| {
        by_hand(LABEL, &head(kinds, &own, (1, 7), audience, service), b"body", &key(1))
    };
    for right in [
        hand([1, 0], &node, b"s"),
        hand([1, 0], &node, b""),
        hand([1, 0], &node, &long),
        hand([1, 1], b"t", b"s"),
        hand([1, 1], &long, &long),
    ] {
        assert!(read(right.clone()).is_ok(), "{right:x?}");
    }
    for (what, wrong) in [
        ("form 0", hand([0, 0], &node, b"s")),
        ("form 2", hand([2, 0], &node, b"s")),
        ("a third kind of audience", hand([1, 2], &node, b"s")),
        ("a node of 31 bytes", hand([1, 0], &node[1..], b"s")),
        ("a node of 33 bytes", hand([1, 0], &[&node[..], &[0]].concat(), b"s")),
        ("no node", hand([1, 0], b"", b"s")),
        ("a topic without a name", hand([1, 1], b"", b"s")),
        ("a topic that is no text", hand([1, 1], b"\xff", b"s")),
        ("a service name that is no text", hand([1, 0], &node, b"\xc3")),
        ("text cut in two", hand([1, 1], "é".as_bytes().split_at(1).0, b"s")),
    ] {
        assert!(malformed(wrong), "{what}");
    }
    for length in 0..HEADER + 33 + 64 {
        assert!(malformed(signed(1, &content(7, b"")).bytes()[..length].to_vec()), "{length} bytes");
    }
}

#[test]
fn m10_what_another_key_signed_is_refused() {
    let as_first = head([1, 0], id(1).as_bytes(), (1, 7), id(2).as_bytes(), b"s");
    assert!(read(by_hand(LABEL, &as_first, b"body", &key(1))).is_ok());
    let forged = by_hand(LABEL, &as_first, b"body", &key(3));
    assert_eq!(read(forged), Err(InvalidSigned::BadSignature));
    // One node's signature under another's id, over all the rest unchanged.
    let mut claimed = signed(3, &content(7, b"body")).bytes().to_vec();
    claimed[2..34].copy_from_slice(id(1).as_bytes());
    assert_eq!(read(claimed), Err(InvalidSigned::BadSignature));
}

/// Ids that nobody's key has, and that a lenient check takes: R the neutral point, S zero.
#[test]
fn m10_weak_and_non_canonical_ids_are_refused() {
    let neutral = {
        let mut point = [0; 32];
        point[0] = 1;
        point
    };
    let not_canonical = {
        // The neutral point once more: p + 1.
        let mut point = [0xff; 32];
        (point[0], point[31]) = (0xee, 0x7f);
        point
    };
    let order_eight: [u8; 32] =
        hex::decode("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
            .expect("hex")
            .try_into()
            .expect("32 bytes");
    let mixed = {
        let point = |bytes| {
            let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).expect("a point");
            key.to_edwards()
        };
        (point(*id(1).as_bytes()) + point(order_eight)).compress().to_bytes()
    };
    let off_the_curve = (2..=u8::MAX)
        .map(|low| {
            let mut bytes = [0; 32];
            bytes[0] = low;
            bytes
        })
        .find(|bytes| NodeId::from_bytes(*bytes) == Err(InvalidNodeId::NotAPoint))
        .expect("half of all numbers are no points");
    for (bytes, why) in [
        (neutral, InvalidNodeId::SmallOrder),
        (order_eight, InvalidNodeId::SmallOrder),
        (not_canonical, InvalidNodeId::NotCanonical),
        (mixed, InvalidNodeId::MixedOrder),
        (off_the_curve, InvalidNodeId::NotAPoint),
    ] {
        let head = head([1, 0], &bytes, (1, 7), id(2).as_bytes(), b"s");
        let mut lenient = [head, b"body".to_vec()].concat();
        lenient.extend(neutral);
        lenient.extend([0; 32]);
        assert_eq!(read(lenient), Err(InvalidSigned::NotAnId(why)), "origin {}", hex::encode(bytes));
        let to_nobody = self::head([1, 0], id(1).as_bytes(), (1, 7), &bytes, b"s");
        let to_nobody = by_hand(LABEL, &to_nobody, b"body", &key(1));
        assert_eq!(read(to_nobody), Err(InvalidSigned::NotAnId(why)), "audience {}", hex::encode(bytes));
    }
}

/// A signer whose key is out of reach.
#[derive(Debug)]
struct Away;

impl Signer for Away {
    fn node_id(&self) -> NodeId {
        id(1)
    }

    fn sign(&self, _: &[u8]) -> Result<[u8; 64], SignerError> {
        Err(SignerError::Unavailable)
    }
}

#[test]
fn m10_what_has_no_form_is_not_signed() {
    let sign = |audience: Audience, service: &str| {
        let content = Content { audience, service, ..content(7, b"") };
        SignedMessage::sign(&content, &key(1), &RustCrypto)
            .map(|message| read(message.bytes().clone()).is_ok())
    };
    let long = "x".repeat(256);
    assert_eq!(sign(Audience::topic(""), "s"), Err(SignError::TopicLength));
    assert_eq!(sign(Audience::topic(&*long), "s"), Err(SignError::TopicLength));
    assert_eq!(sign(Audience::topic(&long[1..]), &long), Err(SignError::LongServiceName));
    assert_eq!(sign(Audience::topic(&long[1..]), &long[1..]), Ok(true));
    assert_eq!(sign(Audience::topic("x"), ""), Ok(true));
    let away = SignedMessage::sign(&content(7, b""), &Away, &RustCrypto);
    assert_eq!(away, Err(SignError::Signer(SignerError::Unavailable)));
}

#[test]
fn m10_debug_shows_no_body() {
    let body = b"nobody's business";
    let message = signed(1, &content(7, body));
    let unverified = SignedMessage::parse(message.bytes().clone()).expect("has the form");
    let shown = format!("{message:?} {unverified:?} {:?} {:?}", content(7, body), message.message());
    for part in ["business", "98, 117, 115", "627573"] {
        assert!(!shown.contains(part), "{shown}");
    }
}

proptest! {
    #[test]
    fn m10_any_content_goes_there_and_back(
        topic in proptest::option::of("\\PC{1,40}"),
        service in "\\PC{0,40}",
        numbers: (u64, u64),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        origin in 1..9_u8,
    ) {
        let audience = topic.map_or(id(9).into(), Audience::topic);
        let (epoch, sequence) = numbers;
        let content = Content { audience: audience.clone(), service: &service, epoch, sequence, body: &body };
        let message = signed(origin, &content);
        let came = read(message.bytes().clone()).expect("verifies");
        prop_assert_eq!((came.origin(), came.audience(), came.service()), (id(origin), &audience, &*service));
        prop_assert_eq!((came.epoch(), came.sequence(), &came.body()[..]), (epoch, sequence, &body[..]));
        prop_assert_eq!(came, message);
    }

    #[test]
    fn m10_no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for form in [0, 1] {
            let bytes: Bytes = [&[1, form], &bytes[..]].concat().into();
            prop_assert!(read(bytes).is_err());
        }
    }
}
