//! What a redacted recording keeps of a plaintext: its form, and nothing of what an application said.
//!
//! A blanked text has the length of the text, and the link does with it what it did with the text. Blanking
//! it again changes nothing.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::hello::Hello;
use crate::wire::frame::{Frame, HEADER_LEN};
use crate::wire::reader::Reader;
use crate::wire::stream::StreamFrame;
use crate::wire::{self, refusal};

/// Stands for the letters of a name: a name must not be empty.
const LETTER: &str = "x";

/// The most bytes that are kept of what is malformed, so that it is malformed in the same way.
const MOST_KEPT: usize = 64;

/// What was to be blanked is malformed in a way that its first bytes do not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CannotBlank;

/// Blanks what a hello says and the link does not act upon: names, addresses, values. The lengths stay.
pub(crate) fn hello(hello: &mut Hello) {
    let zeros = |bytes: &mut Box<[u8]>| bytes.fill(0);
    let letters = |text: &mut String| *text = LETTER.repeat(text.len());
    hello.name.iter_mut().for_each(letters);
    hello.capabilities.iter_mut().for_each(|capability| zeros(&mut capability.metadata));
    hello.info.iter_mut().for_each(|(_, value)| zeros(value));
    hello.addresses.iter_mut().for_each(|entry| letters(&mut entry.address));
    hello.unknown.iter_mut().for_each(|extension| zeros(&mut extension.value));
}

/// Blanks AUTH or REFUSE. A hello that is malformed is kept as it came: what is wrong with it can be anywhere
/// in it.
pub(crate) fn authentication(text: &[u8]) -> Result<Vec<u8>, CannotBlank> {
    let mut blank = text.to_vec();
    match text.split_first() {
        Some((1, claim)) => {
            let Some((rest, _)) = claim.split_last_chunk::<64>() else { return Ok(blank) };
            let Some((bytes, _)) = rest.split_last_chunk::<32>() else { return Ok(blank) };
            if let Ok(mut parsed) = wire::hello::parse(bytes) {
                hello(&mut parsed);
                let mut emitted = vec![1];
                if wire::hello::emit(&parsed, &mut emitted).is_err() || emitted.len() != 1 + bytes.len() {
                    return Err(CannotBlank);
                }
                overwrite(&mut blank, &emitted);
            }
            zero_tail(&mut blank, 64);
            Ok(blank)
        }
        Some((2, bytes)) => {
            overwrite(&mut blank, &[&[2], &reason(bytes)?[..]].concat());
            Ok(blank)
        }
        Some(_) => {
            zero_tail(&mut blank, text.len() - 1);
            Ok(blank)
        }
        None => Ok(blank),
    }
}

/// Blanks the frames of a record. What stands behind a frame that is malformed is never read.
pub(crate) fn record(text: &[u8]) -> Result<Vec<u8>, CannotBlank> {
    let mut blank = Vec::with_capacity(text.len());
    let mut reader = Reader::new(text);
    while !reader.is_empty() {
        let before = reader.rest();
        let Ok(frame) = Frame::parse(&mut reader) else {
            let error = Frame::parse(&mut Reader::new(before)).err();
            let malformed = |bytes: &[u8]| Frame::parse(&mut Reader::new(bytes)).err() == error;
            blank.extend_from_slice(&least(before, malformed)?);
            break;
        };
        let (bytes, _) = before.split_at(before.len() - reader.rest().len());
        blank.extend_from_slice(&one_frame(bytes, &frame)?);
    }
    Ok(blank)
}

/// Blanks one frame, whose bytes these are.
fn one_frame(bytes: &[u8], frame: &Frame<'_>) -> Result<Vec<u8>, CannotBlank> {
    let mut blank = bytes.to_vec();
    let body = bytes.len().saturating_sub(HEADER_LEN);
    match frame {
        // What an application said stands last in its frame.
        Frame::Begin { body: said, .. } | Frame::Data { body: said, .. } => zero_tail(&mut blank, said.len()),
        Frame::Stream { frame: StreamFrame::Open { data, .. } | StreamFrame::Data { data, .. }, .. } => {
            zero_tail(&mut blank, data.len());
        }
        // The limit or the application's code stands before the detail.
        Frame::Error { code: 7 | 8, detail, .. } => zero_tail(&mut blank, detail.len().saturating_sub(4)),
        Frame::Error { detail, .. } => zero_tail(&mut blank, detail.len()),
        Frame::Goodbye { detail, .. } => zero_tail(&mut blank, detail.len()),
        Frame::Pad | Frame::Skipped | Frame::Advert(_) => zero_tail(&mut blank, body),
        Frame::Close(why) => replace_tail(&mut blank, &reason(why)?),
        Frame::Status(status) => match status.split_first() {
            Some((2, why)) => replace_tail(&mut blank, &reason(why)?),
            // Version and digest.
            Some((0 | 3, rest)) => zero_tail(&mut blank, rest.len().saturating_sub(34)),
            // The question is malformed if anything is behind it, whatever that is.
            Some((_, rest)) => zero_tail(&mut blank, rest.len()),
            None => {}
        },
        Frame::AliveReply { .. }
        | Frame::Cancel { .. }
        | Frame::Abandon { .. }
        | Frame::Credit { .. }
        | Frame::Stream { .. }
        | Frame::Ping(_)
        | Frame::Pong(_)
        | Frame::AdvertAck { .. }
        | Frame::Permanence(_)
        | Frame::Ready
        | Frame::Rekey { .. } => {}
    }
    Ok(blank)
}

/// Blanks a reason or a refusal, `code ‖ detail`.
fn reason(bytes: &[u8]) -> Result<Vec<u8>, CannotBlank> {
    let mut reader = Reader::new(bytes);
    let kept = match reader.u16() {
        Ok(1) => match (reader.u32(), core::str::from_utf8(reader.rest())) {
            (Ok(_), Ok(_)) => 6,
            (Ok(_), Err(_)) => return Ok(keep(bytes, 6, 0xff)),
            (Err(_), _) => bytes.len(),
        },
        Ok(20..=30) => match refusal::parse(bytes) {
            Ok(parsed) => {
                let mut emitted = Vec::new();
                refusal::emit(&parsed, &mut emitted);
                // Names beyond what this side would say are of no use to anybody.
                if refusal::parse(&keep(bytes, emitted.len(), 0)).as_ref() != Ok(&parsed) {
                    return Err(CannotBlank);
                }
                emitted.len()
            }
            Err(error) => return least(bytes, |bytes| refusal::parse(bytes) == Err(error)),
        },
        _ => 2,
    };
    Ok(keep(bytes, kept, 0))
}

/// The blanked form of what is malformed that keeps the fewest of its first bytes and is still what it was.
fn least(bytes: &[u8], same: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, CannotBlank> {
    let candidates = (0..=MOST_KEPT.min(bytes.len())).flat_map(|kept| [(kept, 0), (kept, 0xff)]);
    let mut candidates = candidates.map(|(kept, fill)| keep(bytes, kept, fill));
    candidates.find(|candidate| same(candidate)).ok_or(CannotBlank)
}

fn keep(bytes: &[u8], kept: usize, fill: u8) -> Vec<u8> {
    let mut blank = bytes.to_vec();
    blank.iter_mut().skip(kept).for_each(|byte| *byte = fill);
    blank
}

fn zero_tail(bytes: &mut [u8], count: usize) {
    bytes.iter_mut().rev().take(count).for_each(|byte| *byte = 0);
}

fn overwrite(bytes: &mut [u8], by: &[u8]) {
    bytes.iter_mut().zip(by).for_each(|(to, from)| *to = *from);
}

fn replace_tail(bytes: &mut [u8], by: &[u8]) {
    bytes.iter_mut().rev().zip(by.iter().rev()).for_each(|(to, from)| *to = *from);
}
