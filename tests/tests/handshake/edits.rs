//! Everything that somebody on the path can do to the bytes of a handshake, one edit at a time.

use std::sync::OnceLock;

use handclasp::{By, Phase, Reason};
use handclasp_sim::hostile::{Hostile, framed, messages};
use handclasp_sim::{Pair, Pipe, Side, Solo, config, id};

use crate::{SIDES, Verdict, View, settle, view};

/// Both directions of the unedited handshake, and what both sides then hold.
fn unedited() -> &'static ([Vec<u8>; 2], [View; 2]) {
    static UNEDITED: OnceLock<([Vec<u8>; 2], [View; 2])> = OnceLock::new();
    UNEDITED.get_or_init(|| {
        let mut pair = Pair::established();
        let views = SIDES.map(|side| view(pair.link(side)));
        (SIDES.map(|side| std::mem::take(&mut pair.end(side).pipe.log)), views)
    })
}

fn log(writer: Side) -> &'static [u8] {
    &unedited().0[usize::from(writer == Side::Responder)]
}

/// Runs a handshake with an edit of what `writer` writes. Whatever the edit: who is established holds exactly what it holds without the
/// edit. The outcomes of the reader and of the writer.
fn edited(writer: Side, mut edit: impl FnMut(&mut Pipe)) -> [Verdict; 2] {
    let mut pair = Pair::new();
    pair.run_with(|side, pipe| {
        if side == writer {
            edit(pipe);
        }
    });
    let verdicts = settle(&mut pair);
    for (verdict, honest) in verdicts.iter().zip(&unedited().1) {
        if let Verdict::Established(view) = verdict {
            assert_eq!(&**view, honest, "established with a wrong view");
        }
    }
    let [i, r] = verdicts;
    if writer == Side::Initiator { [r, i] } else { [i, r] }
}

/// The bytes on the way that lie in `range` of the stream.
fn at(pipe: &mut Pipe, place: usize) -> Option<&mut u8> {
    let first = pipe.log.len() - pipe.bytes.len();
    pipe.bytes.get_mut(place.checked_sub(first)?)
}

fn every_flip(writer: Side) {
    for place in 0..log(writer).len() {
        for bit in 0..8 {
            let mut done = false;
            let [reader, other] = edited(writer, |pipe| {
                if let Some(byte) = at(pipe, place).filter(|_| !done) {
                    *byte ^= 1 << bit;
                    done = true;
                }
            });
            assert!(done);
            let closed = reader.failure();
            assert!(
                matches!(
                    closed.reason,
                    Reason::Violation(_)
                        | Reason::KeyExchangeFailed
                        | Reason::DecryptFailed
                        | Reason::TooLarge
                        | Reason::UnsupportedWire { .. }
                        | Reason::UnsupportedSuite { .. }
                        | Reason::HandshakeTimeout
                ),
                "byte {place} bit {bit} from {writer:?}: {closed}"
            );
            // The other side may be established already only if this was the very last word.
            let status = log(writer).len() - messages(log(writer), false).last().unwrap().len();
            let last = writer == Side::Responder && place >= status;
            assert_eq!(other.is_established(), last, "byte {place} bit {bit} from {writer:?}");
        }
    }
}

#[test]
fn h2_every_bit_flipped_on_the_way_to_the_responder_is_noticed() {
    every_flip(Side::Initiator);
}

#[test]
fn h2_every_bit_flipped_on_the_way_to_the_initiator_is_noticed() {
    every_flip(Side::Responder);
}

#[test]
fn l5_a_stream_cut_at_every_byte_is_truncated() {
    for writer in SIDES {
        for place in 0..log(writer).len() {
            let [reader, other] = edited(writer, |pipe| {
                let first = pipe.log.len() - pipe.bytes.len();
                if pipe.log.len() > place && !pipe.closed {
                    pipe.bytes.truncate(place - first);
                    pipe.close();
                } else if pipe.closed {
                    pipe.bytes.clear();
                }
            });
            let closed = reader.failure();
            assert_eq!(
                (&closed.reason, closed.by),
                (&Reason::Truncated, By::Transport),
                "at {place} from {writer:?}"
            );
            if let Verdict::Failed(closed) = other {
                assert_eq!(closed.reason, Reason::HandshakeTimeout);
            }
        }
    }
}

/// What is done to one whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Drop,
    Repeat,
    SwapWithNext,
    Longer,
    Shorter,
}

#[test]
fn h8_whole_messages_dropped_repeated_reordered_or_of_another_length() {
    for writer in SIDES {
        let count = messages(log(writer), writer == Side::Initiator).len();
        assert_eq!(count, 3);
        for index in 0..count {
            for act in [Act::Drop, Act::Repeat, Act::SwapWithNext, Act::Longer, Act::Shorter] {
                let mut seen = 0;
                let mut pair = Pair::new();
                pair.run_with(|side, pipe| {
                    if side != writer || pipe.bytes.is_empty() {
                        return;
                    }
                    let bytes: Vec<u8> = pipe.bytes.drain(..).collect();
                    let mut parts = messages(&bytes, side == Side::Initiator && seen == 0);
                    let here = index.checked_sub(seen).filter(|here| *here < parts.len());
                    seen += parts.len();
                    if let Some(here) = here {
                        match act {
                            Act::Drop => drop(parts.remove(here)),
                            Act::Repeat => parts.insert(here, parts[here].clone()),
                            Act::SwapWithNext if here + 1 < parts.len() => parts.swap(here, here + 1),
                            Act::SwapWithNext => {}
                            // The length field stays as it is.
                            Act::Longer => parts[here].push(0),
                            Act::Shorter => drop(parts[here].pop()),
                        }
                    }
                    pipe.bytes.extend(parts.concat());
                });
                assert!(seen > index);
                // The first two messages of each side are on their way together; the others have nothing to change places with.
                let alone = act == Act::SwapWithNext && index > 0;
                let verdicts = settle(&mut pair);
                let reader = &verdicts[usize::from(writer == Side::Initiator)];
                let last = index + 1 == count;
                // A surplus behind the last message of the handshake ends an established link; anything before it ends the handshake.
                let surplus = last && matches!(act, Act::Repeat | Act::Longer);
                assert_eq!(reader.is_established(), surplus || alone, "{act:?} of {index} from {writer:?}");
                for (verdict, honest) in verdicts.iter().zip(&unedited().1) {
                    if verdict.is_established() {
                        assert_eq!(verdict.view(), honest);
                    }
                }
                if act == Act::Repeat {
                    let link = pair.link(writer.other());
                    assert_ne!(link.phase(), Phase::Established, "a repeated message is never taken");
                }
            }
        }
    }
}

/// Each length field of the handshake, with lengths around every limit.
#[test]
fn m9_every_length_field_with_every_interesting_value() {
    for writer in SIDES {
        let parts = messages(log(writer), writer == Side::Initiator);
        let mut place = 0;
        for part in parts {
            let is_preamble = writer == Side::Initiator && place == 0;
            let honest = u16::from_be_bytes([part[0], part[1]]);
            for length in
                [0, 1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 4095, 4096, 4097, 16_656, 16_657, u16::MAX]
            {
                if is_preamble || length == honest {
                    continue;
                }
                let mut done = [false; 2];
                let [reader, _] = edited(writer, |pipe| {
                    for (byte, value) in length.to_be_bytes().into_iter().enumerate() {
                        if let Some(wire) = at(pipe, place + byte).filter(|_| !done[byte]) {
                            *wire = value;
                            done[byte] = true;
                        }
                    }
                });
                assert_eq!(done, [true; 2]);
                reader.failure();
            }
            place += part.len();
        }
    }
}

/// The points of small order of Curve25519 and its twist, with every encoding that RFC 7748 decodes to them.
fn low_order() -> Vec<[u8; 32]> {
    let texts = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let points = texts.map(|text| <[u8; 32]>::try_from(hex::decode(text).unwrap()).unwrap());
    let with_top_bit = points.map(|mut point| {
        point[31] |= 0x80;
        point
    });
    points.into_iter().chain(with_top_bit).collect()
}

#[test]
fn h8_points_of_low_order_end_the_key_exchange() {
    for point in low_order() {
        let mut solo = Solo::responder(&config(2, &[1]), 0);
        let (_, preamble, _) = Hostile::dial(None, &[]);
        solo.feed(&[preamble, framed(&point)].concat());
        let closed = solo.closed();
        assert_eq!(
            (closed.reason, closed.phase),
            (Reason::KeyExchangeFailed, Phase::KeyExchange),
            "{point:x?}"
        );
        let written = solo.written();
        assert!(written.is_empty() || written == [0, 0, 4, 0, 0], "half a refusal: {written:x?}");

        let mut solo = Solo::initiator(&config(1, &[2]), Some(id(2)), 0);
        solo.written();
        solo.feed(&framed(&[&point[..], &[0; 16]].concat()));
        let closed = solo.closed();
        assert_eq!(
            (closed.reason, closed.phase),
            (Reason::KeyExchangeFailed, Phase::KeyExchange),
            "{point:x?}"
        );
    }
}
