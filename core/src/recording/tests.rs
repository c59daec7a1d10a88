//! What can be seen from inside only: what blanking keeps, links of nodes, and what a link that is not
//! recorded has of it.

mod forms;

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::blank::{authentication, record};
use super::bytes::{Cursor, Writer};
use super::skeleton::Skeleton;
use super::words::{get_refusal, get_word, put_refusal, put_word};
use super::{End, Recorder, Replay};
use crate::config::{Config, Trust};
use crate::crypto::Seed;
use crate::crypto::noise::Role;
use crate::error::Reason;
use crate::hello::VersionRange;
use crate::identity::{SecretKey, Signer};
use crate::link::{Action, Dial, Envelope, Event, Link, Message, Priority, Ready};
use crate::node::{NodeToLink, ToLink};
use crate::refusal::Refusal;
use crate::time::Instant;
use crate::wire::frame::{Begin, Frame, FrameWriter, Lane, Marks};
use crate::wire::reader::Reader;
use crate::wire::reason;

/// What all frames of a record are, or the first that is malformed.
fn shape(text: &[u8]) -> Vec<alloc::string::String> {
    let mut reader = Reader::new(text);
    let mut shapes = Vec::new();
    while !reader.is_empty() {
        let frame = Frame::parse(&mut reader);
        let malformed = frame.is_err();
        shapes.push(match frame {
            Ok(Frame::Begin { lane, begin, total, body }) => {
                alloc::format!("{lane:?} {begin:?} {total:?} {}", body.len())
            }
            Ok(Frame::Goodbye { code, detail }) => alloc::format!("goodbye {code} {}", detail.len()),
            Ok(Frame::Close(why)) => {
                let own = SecretKey::from_bytes([1; 32]).node_id();
                let parsed = reason::parse(why, own, crate::Phase::Established);
                alloc::format!("close {:?}", parsed.map(|reason| reason.code()))
            }
            Ok(frame) => alloc::format!("{:?}", core::mem::discriminant(&frame)),
            Err(error) => alloc::format!("{error}"),
        });
        if malformed {
            break;
        }
    }
    shapes
}

/// Types that are known, and some that are not.
fn kinds() -> impl Strategy<Value = u8> {
    prop_oneof![0_u8..3, 0x10_u8..0x16, 0x20_u8..0x2e, 0x30_u8..0x32, 0x38_u8..0x43, any::<u8>()]
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop_oneof![
        4 => 0_u8..6,
        2 => 0x80_u8..0x86,
        1 => 0x11_u8..0x16,
        1 => 0x91_u8..0x96,
        1 => any::<u8>(),
    ];
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        proptest::collection::vec(0_u8..8, 0..40),
        proptest::collection::vec(32_u8..127, 0..300),
    ];
    let frame = (kinds(), flags, body, 0_u8..20).prop_map(|(kind, flags, body, wrong)| {
        let length = u16::try_from(body.len()).unwrap() + u16::from(wrong == 0);
        [&[kind, flags][..], &length.to_be_bytes(), &body].concat()
    });
    proptest::collection::vec(frame, 1..5).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn o5_a_blanked_record_has_its_form_and_blanking_it_again_changes_nothing(text in frames()) {
        if let Ok(blank) = record(&text) {
            // Behind a frame that is malformed nothing is read.
            prop_assert_eq!(blank.len(), text.len());
            prop_assert_eq!(shape(&blank), shape(&text));
            prop_assert_eq!(record(&blank), Ok(blank));
        }
    }

    #[test]
    fn o5_what_a_skeleton_keeps_does_not_depend_on_how_the_stream_is_cut(
        bytes in proptest::collection::vec(prop_oneof![0_u8..3, any::<u8>()], 0..400),
        cut in 0_usize..400,
        initiator: bool,
    ) {
        let whole = Skeleton::new(initiator).blank(&bytes);
        let (one, two) = bytes.split_at(cut.min(bytes.len()));
        let mut skeleton = Skeleton::new(initiator);
        prop_assert_eq!(&[skeleton.blank(one), skeleton.blank(two)].concat(), &whole);
        prop_assert_eq!(Skeleton::new(initiator).blank(&whole), whole);
    }

    #[test]
    fn o5_primitive_forms_are_read_as_they_were_written(
        numbers in proptest::collection::vec(any::<u64>(), 0..9),
        bytes in proptest::collection::vec(prop_oneof![9 => Just(0_u8), 1 => any::<u8>()], 0..300),
    ) {
        let mut out = Writer::default();
        for number in &numbers {
            out.number(*number);
        }
        out.sparse(&bytes);
        let mut from = Cursor::new(out.as_slice());
        for number in &numbers {
            prop_assert_eq!(from.number(), Ok(*number));
        }
        prop_assert_eq!(from.sparse(), Ok(bytes));
        prop_assert!(from.is_empty());
    }

    #[test]
    fn o5_reading_what_is_no_recording_panics_nowhere(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let header = b"handclasp recording 1 redacted: no keys and no payloads\n";
        prop_assert!(Replay::open(&bytes).is_err());
        prop_assert!(Replay::open(&[&header[..], &bytes].concat()).is_err());
        let _ = authentication(&bytes);
    }
}

#[test]
fn o5_what_applications_say_is_blanked_in_every_frame_that_carries_it() {
    let said = b"said in confidence";
    let mut text = Vec::new();
    let mut writer = FrameWriter::new(&mut text);
    let fill = |out: &mut Vec<u8>| out.extend_from_slice(said);
    writer.begin(
        Lane::of_priority(1),
        Begin::Send { service: "service", marks: Marks::default() },
        None,
        fill,
    );
    writer.begin(
        Lane::of_priority(2),
        Begin::Send { service: "service", marks: Marks { signed: true, unordered: true } },
        None,
        fill,
    );
    writer.begin(
        Lane::of_priority(1),
        Begin::Call { id: 1, timeout_ms: 9, service: "service" },
        Some(99),
        fill,
    );
    writer.begin(Lane::REPLY, Begin::Reply { id: 1 }, None, fill);
    writer.data(Lane::of_priority(1), true, fill);
    for code in [1, 8, 700] {
        writer.error(Lane::REPLY, 1, code, |out| {
            out.extend_from_slice(&[0, 0, 0, 5]);
            fill(out);
        });
    }
    writer.stream_open(2, "stream", false, fill);
    writer.stream_data(2, true, fill);
    writer.advert(said);
    writer.goodbye(3, "said in confidence");
    let goodbye = Reason::Goodbye { code: 3, detail: "said in confidence".into() };
    writer.close(|out| reason::emit(&goodbye, out));
    // A frame of the future.
    writer.raw(&[&[0xf0, 0, 0, 18][..], said].concat());
    let frames = shape(&text).len();
    let blank = record(&text).unwrap();
    assert_eq!((frames, shape(&blank)), (14, shape(&text)));
    assert!(!blank.windows(4).any(|window| said.windows(4).any(|part| part == window)));
    assert!(blank.windows(7).any(|window| window == b"service") && text.len() == blank.len());
    // The application's code is kept.
    assert!(blank.windows(4).any(|window| window == [0, 0, 0, 5]));
}

fn node(number: u8) -> Arc<Config> {
    let key = SecretKey::from_bytes([number; 32]);
    Config::builder(key, number.into()).trust(Trust::Anyone).build().unwrap()
}

/// Moves all there is from one link to the other, and gives the events' count.
fn carry(from: &mut Link, to: &mut Link, now: Instant) {
    loop {
        match from.poll(now, Ready::ALL) {
            Action::Event(_) => {}
            Action::Send => {
                let bytes = from.transmit(now).to_vec();
                from.transmitted(bytes.len(), now);
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let space = to.recv_space();
                    let count = space.len().min(rest.len());
                    if count == 0 {
                        break;
                    }
                    space[..count].copy_from_slice(&rest[..count]);
                    to.received(count, now);
                    rest = &rest[count..];
                }
            }
            Action::Timeout(_) => break,
        }
    }
    while from.poll_node().is_some() {}
}

#[test]
fn o5_a_node_s_words_to_its_link_are_recorded_and_replay() {
    for exact in [false, true] {
        let (one, two) = (node(1), node(2));
        let now = Instant::from_nanos(77);
        let (seeds, trust) = ([Seed::new([3; 32]), Seed::new([4; 32])], Trust::Anyone);
        let dial = Dial::to(two.node_id());
        let mut a = Link::managed(&one, Role::Initiator, dial, trust.clone(), None, &[], &seeds[0], now);
        let mut b = Link::managed(&two, Role::Responder, Dial::anyone(), trust, None, &[], &seeds[1], now);
        let recorder = |seed: &Seed| {
            if exact {
                Recorder::exact_with_secrets(seed.clone(), 1 << 20)
            } else {
                Recorder::redacted(1 << 20)
            }
        };
        a.record(recorder(&seeds[0])).unwrap();
        b.record(recorder(&seeds[1])).unwrap();
        let both = |a: &mut Link, b: &mut Link| {
            for _ in 0..3 {
                carry(a, b, now);
                carry(b, a, now);
            }
        };
        let say = |link: &mut Link, word| link.on_node(NodeToLink(word), now);
        both(&mut a, &mut b);
        say(&mut a, ToLink::Permanence(true));
        say(&mut a, ToLink::Advert(vec![8; 99].into()));
        say(&mut a, ToLink::Admit { simultaneous: false });
        both(&mut a, &mut b);
        say(&mut b, ToLink::AskAlive);
        both(&mut a, &mut b);
        say(&mut a, ToLink::AnswerAlive { go_on: true });
        both(&mut a, &mut b);
        say(&mut b, ToLink::Admit { simultaneous: true });
        both(&mut a, &mut b);
        assert!(a.phase().is_open() && b.phase().is_open(), "{a:?} {b:?}");
        say(&mut b, ToLink::AckAdvert { version: 4 });
        say(&mut b, ToLink::Probe);
        let envelope = Envelope {
            service: "kept".into(),
            body: b"until there was a link".to_vec().into(),
            signed: false,
            unordered: false,
            priority: Priority::Low,
            expires: None,
        };
        // The third one is marked as signed, which this node does not take.
        let signed = Envelope { signed: true, ..envelope.clone() };
        say(&mut a, ToLink::Deliver(vec![envelope.clone(), envelope, signed]));
        both(&mut a, &mut b);
        assert_eq!((b.stats().messages_received, b.stats().signed_refused), (3, 1));
        say(&mut b, ToLink::Goodbye { code: 1, detail: "moving on".into() });
        b.stop_waiting(now);
        assert_eq!(b.closed().map(|closed| &closed.reason), Some(&Reason::DrainTimeout));
        b.stop_waiting(now);
        say(&mut a, ToLink::Close(Reason::Superseded));
        both(&mut a, &mut b);
        for link in [&mut a, &mut b] {
            let recording = link.recording().unwrap();
            assert!(exact || !recording.as_bytes().windows(8).any(|window| window == b"there wa"));
            let run = Replay::open(recording.as_bytes()).unwrap().run().unwrap();
            assert!(run.steps > 30 && run.end == End::Stopped);
        }
    }
}

#[test]
fn o5_every_refusal_and_every_end_by_a_node_is_read_as_it_was_written() {
    let [one, few] = [(1, 1), (2, 9)].map(|(least, most)| VersionRange::new(least, most).unwrap());
    let refusals = [
        Refusal::OverCapacity { retry_after: core::time::Duration::from_millis(1500) },
        Refusal::Incompatible { ours: one, theirs: few },
        Refusal::Denied,
        Refusal::MissingCapability { names: vec!["streams".into(), "née".into()] },
        Refusal::Alive,
        Refusal::Simultaneous,
        Refusal::SelfConnection,
        Refusal::WrongDestination,
        Refusal::Registry,
        Refusal::ShuttingDown,
        Refusal::OtherProtocol,
    ];
    for refusal in refusals {
        let mut out = Writer::default();
        put_refusal(&refusal, &mut out);
        let mut from = Cursor::new(out.as_slice());
        assert_eq!(get_refusal(&mut from), Ok(refusal.clone()));
        assert!(from.is_empty());
        // Cut short anywhere, it is none.
        for end in 0..out.as_slice().len() {
            assert!(get_refusal(&mut Cursor::new(&out.as_slice()[..end])).is_err(), "{refusal:?}, {end}");
        }
        let mut out = Writer::default();
        put_word(&ToLink::Refuse(refusal.clone()), true, &mut out);
        let word = get_word(true, &mut Cursor::new(out.as_slice()));
        assert!(matches!(word, Ok(ToLink::Refuse(read)) if read == refusal));
    }
    for reason in [
        Reason::Idle,
        Reason::Superseded,
        Reason::Revoked,
        Reason::Dropped,
        Reason::DrainTimeout,
        Reason::PeerDead,
        Reason::HandshakeTimeout,
        Reason::NotReady,
    ] {
        let mut out = Writer::default();
        put_word(&ToLink::Close(reason.clone()), false, &mut out);
        let word = get_word(false, &mut Cursor::new(out.as_slice()));
        assert!(matches!(word, Ok(ToLink::Close(read)) if read == reason));
    }
    // Numbers that nothing has.
    for bytes in [&[19][..], &[31], &[21, 2, 1, 1, 1]] {
        assert!(get_refusal(&mut Cursor::new(bytes)).is_err(), "{bytes:?}");
    }
    for bytes in [&[11][..], &[5, 7], &[1, 31]] {
        assert!(get_word(true, &mut Cursor::new(bytes)).is_err(), "{bytes:?}");
    }
}

#[test]
fn o5_a_link_that_is_not_recorded_asks_its_cryptography_itself() {
    let config = node(1);
    let seed = Seed::new([1; 32]);
    let mut plain = Link::initiator(&config, Dial::anyone(), &seed, Instant::ZERO);
    assert!(plain.asks_directly(&config));
    assert!(matches!(plain.poll(Instant::ZERO, Ready::ALL), Action::Event(Event::Opened)));
    assert!(plain.send(Message::new("s", "b")).is_err() && plain.asks_directly(&config));
    let mut recorded = Link::initiator(&config, Dial::anyone(), &seed, Instant::ZERO);
    recorded.record(Recorder::redacted(1 << 20)).unwrap();
    assert!(!recorded.asks_directly(&config));
}
