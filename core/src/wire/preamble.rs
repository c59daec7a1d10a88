//! The preamble and the cleartext refusal (docs/wire.md §3.1, §3.4).

use super::reader::{Malformed, Reader};
use crate::crypto::{Suite, SuiteSet};

/// The major version of the wire format that this crate speaks.
pub const MAJOR: u8 = 1;

/// The first bytes of every link, from the initiator.
pub(crate) const PREAMBLE_LEN: usize = 8;

/// The bytes of a cleartext refusal, its zero length included.
pub(crate) const CLEARTEXT_LEN: usize = 5;

const MAGIC: [u8; 3] = *b"HCL";

/// The initiator's choice and offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preamble {
    /// The number of the suite chosen, known here or not.
    pub(crate) suite: u8,
    /// The suites that it would take.
    pub(crate) offered: SuiteSet,
}

/// Why a preamble is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PreambleError {
    /// The stream does not speak this protocol at all.
    Magic,
    /// It speaks another major version.
    Major(u8),
    /// It does, and breaks it.
    Malformed(Malformed),
}

impl Preamble {
    pub(crate) fn new(suite: Suite, offered: SuiteSet) -> Self {
        Self { suite: suite.code(), offered }
    }

    pub(crate) fn emit(self) -> [u8; PREAMBLE_LEN] {
        let [m0, m1, m2] = MAGIC;
        let [o0, o1] = self.offered.bits().to_be_bytes();
        [m0, m1, m2, MAJOR, self.suite, 0, o0, o1]
    }

    pub(crate) fn parse(bytes: [u8; PREAMBLE_LEN]) -> Result<Self, PreambleError> {
        let [m0, m1, m2, major, suite, flags, o0, o1] = bytes;
        if [m0, m1, m2] != MAGIC {
            return Err(PreambleError::Magic);
        }
        if major != MAJOR {
            return Err(PreambleError::Major(major));
        }
        if flags != 0 {
            return Err(PreambleError::Malformed(Malformed::new("preamble: flags are not zero")));
        }
        let offered = SuiteSet::from_bits(u16::from_be_bytes([o0, o1]));
        if suite.checked_sub(1).is_none_or(|bit| bit >= 16 || offered.bits() & (1 << bit) == 0) {
            return Err(PreambleError::Malformed(Malformed::new(
                "preamble: the suite chosen is not offered",
            )));
        }
        Ok(Self { suite, offered })
    }
}

/// A refusal before there are keys: a hint, never a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CleartextRefusal {
    UnsupportedWire { major: u8 },
    UnsupportedSuite { suites: SuiteSet },
    OverCapacity { seconds: u16 },
    KeyExchangeFailed,
}

impl CleartextRefusal {
    pub(crate) fn emit(self) -> [u8; CLEARTEXT_LEN] {
        let (code, aux) = match self {
            Self::UnsupportedWire { major } => (1, u16::from(major)),
            Self::UnsupportedSuite { suites } => (2, suites.bits()),
            Self::OverCapacity { seconds } => (3, seconds),
            Self::KeyExchangeFailed => (4, 0),
        };
        let [a0, a1] = u16::to_be_bytes(aux);
        [0, 0, code, a0, a1]
    }

    /// Parses what follows the zero length.
    pub(crate) fn parse(bytes: [u8; CLEARTEXT_LEN - 2]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(&bytes);
        let (code, aux) = (reader.u8()?, reader.u16()?);
        Ok(match code {
            1 => Self::UnsupportedWire {
                major: u8::try_from(aux).map_err(|_| Malformed::new("cleartext refusal: no such version"))?,
            },
            2 => Self::UnsupportedSuite { suites: SuiteSet::from_bits(aux) },
            3 => Self::OverCapacity { seconds: aux },
            4 => Self::KeyExchangeFailed,
            _ => return Err(Malformed::new("cleartext refusal: unknown code")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preamble_round_trips_and_every_other_first_byte_is_told_apart() {
        let offered = SuiteSet::EMPTY.with(Suite::NnChaChaPoly);
        let bytes = Preamble::new(Suite::NnChaChaPoly, offered).emit();
        assert_eq!(bytes, *b"HCL\x01\x01\x00\x00\x01");
        assert_eq!(Preamble::parse(bytes), Ok(Preamble { suite: 1, offered }));
        assert_eq!(Preamble::parse(*b"GET / HT"), Err(PreambleError::Magic));
        assert_eq!(Preamble::parse(*b"HCL\x02\x01\x00\x00\x01"), Err(PreambleError::Major(2)));
        for bad in [b"HCL\x01\x01\x01\x00\x01", b"HCL\x01\x02\x00\x00\x01", b"HCL\x01\x00\x00\xff\xff"] {
            assert!(matches!(Preamble::parse(*bad), Err(PreambleError::Malformed(_))));
        }
    }

    #[test]
    fn cleartext_refusals_round_trip() {
        for refusal in [
            CleartextRefusal::UnsupportedWire { major: 7 },
            CleartextRefusal::UnsupportedSuite { suites: SuiteSet::from_bits(0x8001) },
            CleartextRefusal::OverCapacity { seconds: 600 },
            CleartextRefusal::KeyExchangeFailed,
        ] {
            let [0, 0, rest @ ..] = refusal.emit() else { panic!("no zero length") };
            assert_eq!(CleartextRefusal::parse(rest), Ok(refusal));
        }
        assert!(CleartextRefusal::parse([9, 0, 0]).is_err());
    }
}
