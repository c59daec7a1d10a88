//! The primitive forms of a recording: numbers in groups of seven bits, the lowest group first (LEB128), and
//! strings of bytes behind their length.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use super::BadRecording;
use crate::time::Instant;

/// The longest run of bytes that a recording can speak of: who reads one has to have so many zeros.
pub(crate) const LONGEST: usize = 1 << 28;

/// Shorter runs of zeros than this are written out.
const SHORTEST_RUN: usize = 4;

/// The most bytes that one sparse string makes of what is read: a link holds less that it has not opened, and
/// opens no longer record.
pub(crate) const LONGEST_SPARSE: usize = 1 << 17;

/// Bytes that are wiped when they are dropped, and wherever they grow out of their place.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    /// Something was longer than [`LONGEST`]: what is here cannot be read.
    too_long: bool,
}

impl Writer {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) const fn is_too_long(&self) -> bool {
        self.too_long
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.zeroize();
        self.too_long = false;
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let needed = self.bytes.len() + bytes.len();
        if needed > self.bytes.capacity() {
            let mut grown = Vec::with_capacity(needed.max(2 * self.bytes.capacity()).max(64));
            grown.extend_from_slice(&self.bytes);
            self.bytes.zeroize();
            self.bytes = grown;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.raw(&[byte]);
    }

    pub(crate) fn flag(&mut self, flag: bool) {
        self.byte(flag.into());
    }

    #[allow(clippy::cast_possible_truncation)] // seven bits at a time
    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    pub(crate) fn length(&mut self, length: usize) {
        self.too_long |= length > LONGEST;
        self.number(length as u64);
    }

    /// What is written speaks of so many bytes in all.
    pub(crate) fn sum(&mut self, length: usize) {
        self.too_long |= length > LONGEST;
    }

    pub(crate) fn string(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.raw(bytes);
    }

    pub(crate) fn instant(&mut self, at: Instant) {
        self.number(at.as_nanos());
    }

    pub(crate) fn maybe_instant(&mut self, at: Option<Instant>) {
        self.flag(at.is_some());
        if let Some(at) = at {
            self.instant(at);
        }
    }

    pub(crate) fn duration(&mut self, duration: Duration) {
        self.number(duration.as_secs());
        self.number(duration.subsec_nanos().into());
    }

    /// Bytes of which most are zeros: the length, then runs of zeros and of others, by turns.
    pub(crate) fn sparse(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        let mut rest = bytes;
        while !rest.is_empty() {
            let zeros = rest.iter().take_while(|byte| **byte == 0).count();
            let (_, behind) = rest.split_at(zeros);
            let (mut kept, mut gap) = (0, 0);
            for byte in behind {
                if *byte == 0 {
                    gap += 1;
                    if gap == SHORTEST_RUN {
                        break;
                    }
                } else {
                    kept += gap + 1;
                    gap = 0;
                }
            }
            let (shown, behind) = behind.split_at(kept);
            self.length(zeros);
            self.string(shown);
            rest = behind;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// The first eight bytes of SHA-256: enough to tell that two things differ.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 8] {
    let mut short = [0; 8];
    for (to, from) in short.iter_mut().zip(Sha256::digest(bytes)) {
        *to = from;
    }
    short
}

/// A place in a recording that is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

type Read<T> = Result<T, BadRecording>;

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn raw(&mut self, count: usize) -> Read<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(BadRecording::CutOff)?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(BadRecording::CutOff)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn byte(&mut self) -> Read<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn flag(&mut self) -> Read<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(BadRecording::Malformed("a flag is neither 0 nor 1")),
        }
    }

    pub(crate) fn number(&mut self) -> Read<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(BadRecording::Malformed("a number over 64 bits"))
    }

    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> Read<T> {
        T::try_from(self.number()?).map_err(|_| BadRecording::Malformed("a number out of its range"))
    }

    /// A length, of bytes that need not be there.
    pub(crate) fn length(&mut self) -> Read<usize> {
        let length = usize::try_from(self.number()?).ok().filter(|length| *length <= LONGEST);
        length.ok_or(BadRecording::Malformed("a length over 256 MiB"))
    }

    pub(crate) fn string(&mut self) -> Read<&'a [u8]> {
        let length = self.length()?;
        self.raw(length)
    }

    pub(crate) fn text(&mut self) -> Read<String> {
        let text = core::str::from_utf8(self.string()?);
        text.map(ToOwned::to_owned).map_err(|_| BadRecording::Malformed("a text that is not UTF-8"))
    }

    pub(crate) fn instant(&mut self) -> Read<Instant> {
        self.number().map(Instant::from_nanos)
    }

    pub(crate) fn maybe_instant(&mut self) -> Read<Option<Instant>> {
        if self.flag()? { self.instant().map(Some) } else { Ok(None) }
    }

    pub(crate) fn duration(&mut self) -> Read<Duration> {
        let seconds = self.number()?;
        let nanos = self.small::<u32>()?;
        if nanos >= 1_000_000_000 {
            return Err(BadRecording::Malformed("a second and more in nanoseconds"));
        }
        Ok(Duration::new(seconds, nanos))
    }

    pub(crate) fn sparse(&mut self) -> Read<Vec<u8>> {
        let length = self.length()?;
        if length > LONGEST_SPARSE {
            return Err(BadRecording::Malformed("a read or a record over 128 KiB"));
        }
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let zeros = self.length()?;
            let shown = self.string()?;
            if zeros.saturating_add(shown.len()) > length - bytes.len() || zeros + shown.len() == 0 {
                return Err(BadRecording::Malformed("runs that do not add up to their length"));
            }
            bytes.resize(bytes.len() + zeros, 0);
            bytes.extend_from_slice(shown);
        }
        Ok(bytes)
    }
}
