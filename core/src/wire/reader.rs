//! Reading and writing of the wire's primitive forms. Every read is checked; nothing here can panic or
//! allocate.

use alloc::vec::Vec;
use core::fmt;

/// Bytes that do not have the form that the wire format gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What was wrong, in the words of docs/wire.md.
    pub what: &'static str,
}

impl Malformed {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl core::error::Error for Malformed {}

const SHORT: Malformed = Malformed::new("ends too early");

/// A cursor over received bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A variable-length integer (RFC 9000 §16) in its shortest form.
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let first = *self.rest.first().ok_or(SHORT)?;
        let value = match first >> 6 {
            0 => u64::from(self.u8()?),
            1 => u64::from(self.u16()? & 0x3fff),
            2 => u64::from(self.u32()? & 0x3fff_ffff),
            _ => self.u64()? & VARINT_MAX,
        };
        if varint_len(value) == 1 << (first >> 6) {
            Ok(value)
        } else {
            Err(Malformed::new("varint not in its shortest form"))
        }
    }

    /// Bytes behind a one-byte length.
    pub(crate) fn prefixed_u8(&mut self) -> Result<&'a [u8], Malformed> {
        let count = self.u8()?;
        self.bytes(usize::from(count))
    }

    /// Bytes behind a two-byte length.
    pub(crate) fn prefixed_u16(&mut self) -> Result<&'a [u8], Malformed> {
        let count = self.u16()?;
        self.bytes(usize::from(count))
    }
}

/// The largest value of a varint.
pub(crate) const VARINT_MAX: u64 = (1 << 62) - 1;

/// The number of bytes that `value` takes as a varint.
pub(crate) const fn varint_len(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// Appends `value`, which is at most [`VARINT_MAX`], as a varint.
#[allow(clippy::cast_possible_truncation)] // each arm holds just the values that fit
pub(crate) fn put_varint(out: &mut Vec<u8>, value: u64) {
    match varint_len(value) {
        1 => out.push(value as u8),
        2 => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        4 => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value | !VARINT_MAX).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_at_every_edge_and_refuse_longer_forms() {
        for value in [0, 0x3f, 0x40, 0x3fff, 0x4000, 0x3fff_ffff, 0x4000_0000, VARINT_MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value));
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint(), Ok(value));
            assert!(reader.is_empty());
        }
        assert!(Reader::new(&[0x40, 0x01]).varint().is_err());
        assert!(Reader::new(&[0xc0, 0, 0, 0, 0, 0, 0, 1]).varint().is_err());
        assert!(Reader::new(&[0x80, 0]).varint().is_err());
        assert!(Reader::new(&[]).varint().is_err());
    }
}
