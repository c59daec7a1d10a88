//! What recordings say of what has no form, of calls that failed, and of more than there can be.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::{carry, node, shape};
use crate::crypto::Seed;
use crate::error::{CallError, Executed, Reason, ServiceError};
use crate::link::{Action, CallId, Dial, Event, Link, Message};
use crate::node::DialError;
use crate::recording::blank::{CannotBlank, authentication, record};
use crate::recording::bytes::{Cursor, Writer};
use crate::recording::crypto::{Operation, Place};
use crate::recording::origin::{get_header, put_header};
use crate::recording::{BadRecording, End, Origin, Recorder, Replay, outcome, step, tag};
use crate::time::Instant;
use crate::wire::frame::FrameWriter;

/// A text that is malformed is malformed in the same way when it is blanked, and says nothing but that.
#[test]
fn o5_what_is_malformed_is_blanked_to_what_is_malformed_alike() {
    let said = b"said in confidence";
    let close = |fill: &dyn Fn(&mut Vec<u8>)| {
        let mut text = Vec::new();
        FrameWriter::new(&mut text).close(fill);
        text
    };
    let status = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[1, 0][..], &length, bytes].concat()
    };
    let records = [
        // A goodbye that is no text, one that is cut off, refusals that are cut off or none.
        close(&|out| out.extend_from_slice(&[&[0, 1, 0, 0, 0, 3, 0xff][..], said].concat())),
        close(&|out| out.extend_from_slice(&[0, 1, 0, 0])),
        close(&|out| out.extend_from_slice(&[0, 20, 9])),
        close(&|out| out.extend_from_slice(&[&[0, 23, 1, 0][..], said].concat())),
        // What a reader of their first bytes passes over.
        close(&|out| out.extend_from_slice(&[&[0, 3][..], said].concat())),
        close(&|out| out.extend_from_slice(&[&[0, 22][..], said].concat())),
        status(&[&[2, 0, 22][..], said].concat()),
        status(&[&[1][..], said].concat()),
        status(&[&[0][..], &[7; 34], said].concat()),
        status(&[]),
    ];
    for text in records {
        let blank = record(&text).unwrap();
        assert_eq!((blank.len(), shape(&blank)), (text.len(), shape(&text)), "{text:x?}");
        assert!(!blank.windows(4).any(|window| said.windows(4).any(|part| part == window)), "{blank:x?}");
    }
    // The digest of what was agreed on says nothing of it.
    let agreed = status(&[&[0][..], &[7; 34]].concat());
    assert_eq!(record(&agreed), Ok(agreed));
    // Of AUTH that is none it says the same: what kind it is, how long.
    for (text, blank) in [
        (vec![], vec![]),
        ([&[9][..], said].concat(), [&[9][..], &[0; 18]].concat()),
        ([&[1][..], said].concat(), [&[1][..], said].concat()),
        ([&[1; 40][..], said].concat(), [&[1; 40][..], said].concat()),
        ([&[1; 40][..], &[2; 96]].concat(), [&[1; 40][..], &[2; 32], &[0; 64]].concat()),
        ([&[2, 0, 22][..], said].concat(), [&[2, 0, 22][..], &[0; 18]].concat()),
        ([&[2, 0, 99][..], said].concat(), [&[2, 0, 99][..], &[0; 18]].concat()),
    ] {
        assert_eq!(authentication(&text), Ok(blank));
    }
}

/// More names than this side would say, in a record that is longer than a handshake's.
#[test]
fn o5_a_refusal_that_would_be_another_one_is_not_blanked() {
    let refused = |names: usize| {
        let mut text = Vec::new();
        FrameWriter::new(&mut text).close(|out| {
            out.extend_from_slice(&[0, 23, u8::try_from(names).unwrap()]);
            (0..names).for_each(|_| out.extend_from_slice(&[&[255][..], &[b'n'; 255]].concat()));
        });
        record(&text).map(|blank| blank == text)
    };
    assert_eq!((refused(15), refused(16)), (Ok(true), Err(CannotBlank)));
}

/// Two links, one of them recorded, and a call that the other has not answered.
fn called() -> (Link, CallId) {
    let (one, two, now) = (node(1), node(2), Instant::from_nanos(77));
    let mut a = Link::initiator(&one, Dial::to(two.node_id()), &Seed::new([3; 32]), now);
    let mut b = Link::responder(&two, 1, &Seed::new([4; 32]), now);
    a.record(Recorder::redacted(1 << 20)).unwrap();
    for _ in 0..3 {
        carry(&mut a, &mut b, now);
        carry(&mut b, &mut a, now);
    }
    let call = a.call(Message::new("s", "b"), Duration::from_secs(5), now).unwrap();
    (a, call)
}

#[test]
fn o5_each_way_in_which_a_call_fails_is_read_as_it_was_written() {
    let (_, call) = called();
    let (error, executed) = (Box::new(DialError::Untrusted), Executed::Unknown);
    for (error, text) in [
        (CallError::Service(ServiceError::TooLarge { limit: 9 }), ", service error 7"),
        (CallError::DeadlineExceeded { executed: Executed::No }, " deadline exceeded"),
        (CallError::DeadlineExceeded { executed }, " deadline exceeded, may have been executed"),
        (CallError::LinkClosed { reason: Reason::Idle, executed }, ", may have been executed: idle (2)"),
        (CallError::LinkClosed { reason: Reason::Transport, executed: Executed::No }, ": transport (11)"),
        (CallError::NoLink { error }, ""),
        (CallError::OneWayOnly, ""),
    ] {
        for exact in [false, true] {
            let mut out = Writer::default();
            let failed = Event::CallFailed { call, error: error.clone() };
            outcome::put(&Action::Event(failed), exact, &mut out);
            let expected = format!("event call_failed, call {}{text}", call.get());
            assert_eq!(outcome::describe(exact, out.as_slice()), Ok(expected));
        }
    }
}

/// The bytes of a redacted recording: of its origin, and of these entries behind a poll.
fn claiming(origin: impl FnOnce(&mut Origin), entries: &[(u8, &[u8])]) -> Vec<u8> {
    let (mut link, _) = called();
    let recording = link.recording().unwrap();
    let mut from = Cursor::new(recording.as_bytes());
    assert_eq!(get_header(&mut from), Ok(false));
    let (kind, value) = step::entry(&mut from).unwrap();
    let mut changed = Origin::get(false, &mut Cursor::new(value)).unwrap();
    origin(&mut changed);
    let mut out = Writer::default();
    put_header(false, &mut out);
    let mut entry = |kind: u8, fill: &dyn Fn(&mut Writer)| {
        let mut value = Writer::default();
        fill(&mut value);
        out.byte(kind);
        out.string(value.as_slice());
    };
    entry(kind, &|out| changed.put(out));
    entry(tag::INPUT, &|out| out.raw(&[0, 0, 0]));
    for (kind, value) in entries {
        entry(*kind, &|out| out.raw(value));
    }
    entry(tag::AFTER, &|out| out.number(0));
    entry(tag::END, &|out| out.byte(End::Stopped as u8));
    out.as_slice().to_vec()
}

fn opened(length: usize) -> Vec<u8> {
    let mut out = Writer::default();
    out.raw(&[Operation::Open as u8, 0, Place::Record as u8]);
    out.length(length);
    out.length(length);
    out.string(&[]);
    out.as_slice().to_vec()
}

/// A few bytes cannot make who reads them set much memory aside.
#[test]
fn o5_a_recording_that_claims_more_than_a_link_holds_is_none() {
    let malformed = |what| Err(BadRecording::Malformed(what));
    let open = |bytes: Vec<u8>| {
        assert!(bytes.len() < 1000);
        Replay::open(&bytes).map(|_| ())
    };
    assert_eq!(open(claiming(|_| {}, &[])), Ok(()));
    // A record, and several in a step.
    let (half, whole, more) = (opened(1 << 16), opened(1 << 17), opened((1 << 17) + 1));
    let (half, whole, more) = ((tag::CRYPTO, &half[..]), (tag::CRYPTO, &whole[..]), (tag::CRYPTO, &more[..]));
    assert_eq!(open(claiming(|_| {}, &[whole])), Ok(()));
    assert_eq!(open(claiming(|_| {}, &[half, half])), Ok(()));
    let too_much = malformed("more opened in a step than a link holds");
    assert_eq!(open(claiming(|_| {}, &[half, half, (tag::CRYPTO, &opened(1))])), too_much);
    assert_eq!(open(claiming(|_| {}, &[more])), malformed("a read or a record over 128 KiB"));
    // Cluster secrets, of which a redacted recording has only the count.
    let too_many = malformed("more cluster secrets than anybody has");
    assert_ne!(open(claiming(|origin| origin.psks = 4096, &[])), too_many);
    assert_eq!(open(claiming(|origin| origin.psks = 4097, &[])), too_many);
    // An entry that is passed over, by its length alone.
    let mut long = claiming(|_| {}, &[]);
    long.truncate(long.len() - 3);
    long.extend_from_slice(&[tag::END, 0x81, 0x80, 0x80, 0x80, 0x01]);
    assert_eq!(open(long), malformed("a length over 256 MiB"));
}
