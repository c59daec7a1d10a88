//! What a side writes is what the other side reads, and takes the bytes that were reckoned for it.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::frame::{Begin, Frame, FrameWriter, HEADER_LEN, Lane, Marks, begin_len};
use super::reader::{Reader, VARINT_MAX};
use super::reason;
use crate::Seed;
use crate::error::{Reason, Violation};
use crate::hello::VersionRange;
use crate::identity::{SecretKey, Signer};
use crate::phase::Phase;
use crate::refusal::Refusal;

fn written(write: impl FnOnce(&mut FrameWriter<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut FrameWriter::new(&mut out));
    out
}

fn every_mark() -> [Marks; 4] {
    [(false, false), (false, true), (true, false), (true, true)]
        .map(|(signed, unordered)| Marks { signed, unordered })
}

/// Records are filled by what `begin_len` says: too little would overfill one, too much would waste its end.
#[test]
fn m9_the_first_frame_of_a_message_takes_the_bytes_that_are_reckoned_for_it() {
    let numbers = [1, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, VARINT_MAX];
    let mut begins = Vec::new();
    for service in ["", "s", "a service of thirty-two bytes!!!"] {
        begins.extend(every_mark().map(|marks| Begin::Send { service, marks }));
        for id in numbers {
            for timeout_ms in [0, 5000, 1 << 40, VARINT_MAX, VARINT_MAX + 1, u64::MAX] {
                begins.push(Begin::Call { id, timeout_ms, service });
            }
        }
    }
    begins.extend(numbers.map(|id| Begin::Reply { id }));
    for begin in begins {
        for total in [None].into_iter().chain(numbers.map(Some)) {
            let lane = if matches!(begin, Begin::Reply { .. }) { Lane::REPLY } else { Lane::of_priority(1) };
            let bytes = written(|out| out.begin(lane, begin, total, |_| {}));
            assert_eq!(bytes.len(), begin_len(&begin, total), "{begin:?}, {total:?}");
        }
    }
}

#[test]
fn m1_every_first_frame_is_read_as_it_was_written() {
    let body = b"the first bytes".as_slice();
    for lane in Lane::ALL {
        let begins = if lane == Lane::REPLY {
            vec![Begin::Reply { id: 7 }]
        } else {
            let sends = every_mark().map(|marks| Begin::Send { service: "s", marks });
            let call = Begin::Call { id: 8, timeout_ms: 5000, service: "née" };
            sends.into_iter().chain([call]).collect()
        };
        for begin in begins {
            for total in [None, Some(body.len() as u64 + 1)] {
                let bytes = written(|out| out.begin(lane, begin, total, |out| out.extend_from_slice(body)));
                let mut reader = Reader::new(&bytes);
                assert_eq!(Frame::parse(&mut reader), Ok(Frame::Begin { lane, begin, total, body }));
                assert!(reader.is_empty());
            }
        }
        for more in [false, true] {
            let bytes = written(|out| out.data(lane, more, |out| out.extend_from_slice(body)));
            assert_eq!(Frame::parse(&mut Reader::new(&bytes)), Ok(Frame::Data { lane, more, body }));
        }
        let bytes = written(|out| out.abandon(lane));
        assert_eq!(bytes.len(), HEADER_LEN);
        assert_eq!(Frame::parse(&mut Reader::new(&bytes)), Ok(Frame::Abandon { lane }));
    }
}

/// Both sides' owners see the same reason, whatever it is, as far as it is told at all.
#[test]
fn l5_every_reason_that_is_told_is_read_as_the_same() {
    let own = SecretKey::from_seed(&Seed::new([1; 32])).node_id();
    let violation =
        Violation { phase: Phase::Established, what: super::Malformed::new("reported by the peer") };
    let reasons = [
        Reason::Goodbye { code: 0x0102_0304, detail: "thank you".to_string() },
        Reason::Idle,
        Reason::Superseded,
        Reason::Revoked,
        Reason::Dropped,
        Reason::DrainTimeout,
        Reason::NotReady,
        Reason::Refused(Refusal::ShuttingDown),
        Reason::WrongPeer { expected: own, got: None },
        Reason::Downgrade,
        Reason::Violation(violation),
        Reason::TooLarge,
        Reason::FlowControl,
        Reason::CounterExhausted,
        Reason::Flood,
    ];
    for reason in reasons {
        assert!(reason::is_sent(&reason), "{reason:?}");
        let mut bytes = Vec::new();
        reason::emit(&reason, &mut bytes);
        assert_eq!(reason::parse(&bytes, own, Phase::Established), Ok(reason));
    }
    // The two ranges of a refusal change places: each side reads its own first.
    let (ours, theirs) = (VersionRange::only(1), VersionRange::only(2));
    let mut bytes = Vec::new();
    reason::emit(&Reason::Refused(Refusal::Incompatible { ours, theirs }), &mut bytes);
    let seen = Reason::Refused(Refusal::Incompatible { ours: theirs, theirs: ours });
    assert_eq!(reason::parse(&bytes, own, Phase::Status), Ok(seen));
}
