//! What a link's stream looks like without the bytes that mean anything: the preamble, the lengths, the
//! refusals in the clear. The rest is zeros, as many as there were bytes.

use alloc::vec::Vec;

use crate::wire::preamble::{CLEARTEXT_LEN, PREAMBLE_LEN};

/// What the next byte is part of.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// So many bytes more that are kept.
    Kept(usize),
    /// A length of which this first byte has come.
    Length(Option<u8>),
    /// So many bytes more that are not.
    Body(usize),
}

/// Where in the stream a read begins.
#[derive(Debug)]
pub(crate) struct Skeleton(Part);

impl Skeleton {
    /// At its start.
    pub(crate) const fn new(initiator: bool) -> Self {
        Self(if initiator { Part::Length(None) } else { Part::Kept(PREAMBLE_LEN) })
    }

    /// Blanks the next bytes of the stream. Doing so twice changes nothing.
    pub(crate) fn blank(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut blank = Vec::with_capacity(bytes.len());
        for byte in bytes {
            let (keep, next) = match self.0 {
                Part::Kept(count) => (true, after(count)),
                Part::Length(None) => (true, Part::Length(Some(*byte))),
                Part::Length(Some(high)) => match u16::from_be_bytes([high, *byte]) {
                    0 => (true, Part::Kept(CLEARTEXT_LEN - 2)),
                    length => (true, Part::Body(length.into())),
                },
                Part::Body(count) => {
                    (false, if count > 1 { Part::Body(count - 1) } else { Part::Length(None) })
                }
            };
            self.0 = next;
            blank.push(if keep { *byte } else { 0 });
        }
        blank
    }
}

const fn after(count: usize) -> Part {
    if count > 1 { Part::Kept(count - 1) } else { Part::Length(None) }
}
