//! Keys as text: bech32m (BIP-350), whose checksum finds every mistyped character and says so.

use bech32::primitives::decode::{
    CharError, CheckedHrpstring, CheckedHrpstringError, ChecksumError, UncheckedHrpstringError,
};
use bech32::{Bech32m, Hrp};
use core::fmt;

/// The longest text that is looked at; no key is as long. It bounds the work on a line that somebody pasted.
const MAX_TEXT: usize = 90;

/// Why a text is not a key. It never repeats any of the text, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextError {
    /// The text doesn't begin with the prefix of its kind and a `1`; perhaps it is a key of another kind.
    WrongPrefix {
        /// The prefix wanted, without the `1`.
        expected: &'static str,
    },
    /// There is a character outside the alphabet: a space, `b`, `i`, `o`, a second `1`, or none of ASCII.
    BadCharacter,
    /// Capital and small letters are mixed.
    MixedCase,
    /// The checksum doesn't match: a character is wrong, missing or too many.
    BadChecksum,
    /// The checksum matches but the text doesn't hold exactly 32 bytes, or fills its last character with
    /// something else than zeros.
    WrongLength,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongPrefix { expected } => write!(f, "does not begin with {expected}1"),
            Self::BadCharacter => f.write_str("has a character that such a text never has"),
            Self::MixedCase => f.write_str("mixes capital and small letters"),
            Self::BadChecksum => f.write_str("is mistyped or cut off: the checksum does not match"),
            Self::WrongLength => f.write_str("does not hold exactly 32 bytes"),
        }
    }
}

impl core::error::Error for TextError {}

/// Writes 32 bytes in small letters.
pub(super) fn write(out: &mut impl fmt::Write, prefix: &'static str, bytes: &[u8; 32]) -> fmt::Result {
    bech32::encode_lower_to_fmt::<Bech32m, _>(out, Hrp::parse_unchecked(prefix), bytes)
        .map_err(|_| fmt::Error)
}

/// Reads exactly 32 bytes into `out`; small letters or capitals, not both.
pub(super) fn read(text: &str, prefix: &'static str, out: &mut [u8; 32]) -> Result<(), TextError> {
    let wrong_prefix = Err(TextError::WrongPrefix { expected: prefix });
    match text.split_at_checked(prefix.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(prefix) && rest.starts_with('1') => {}
        _ => return wrong_prefix,
    }
    if text.len() > MAX_TEXT {
        return Err(TextError::WrongLength);
    }
    let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|error| match error {
        CheckedHrpstringError::Parse(UncheckedHrpstringError::Char(CharError::MixedCase)) => {
            TextError::MixedCase
        }
        CheckedHrpstringError::Checksum(ChecksumError::InvalidResidue | ChecksumError::InvalidLength)
        | CheckedHrpstringError::Parse(UncheckedHrpstringError::Char(CharError::NothingAfterSeparator)) => {
            TextError::BadChecksum
        }
        _ => TextError::BadCharacter,
    })?;
    // The library takes the last `1` for the separator; with a second one the prefix is longer than ours.
    if checked.hrp().len() != prefix.len() {
        return wrong_prefix;
    }
    // 32 bytes take 52 characters of five bits, with four bits of padding that are to be zero.
    if checked.data_part_ascii_no_checksum().len() != 52 || checked.validate_segwit_padding().is_err() {
        return Err(TextError::WrongLength);
    }
    for (place, byte) in out.iter_mut().zip(checked.byte_iter()) {
        *place = byte;
    }
    Ok(())
}
