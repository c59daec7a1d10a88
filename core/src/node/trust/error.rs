//! What can be wrong with a trust list.

use alloc::string::String;
use core::fmt;

use super::list::{MAX_BYTES, MAX_ENTRIES, MAX_LABEL};
use super::time::TimeError;
use crate::identity::ParseNodeIdError;

/// Why a text is no trust list. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustParseError {
    /// The text is longer than [`MAX_BYTES`].
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// There are more peers than [`MAX_ENTRIES`].
    TooManyEntries {
        /// The line of the first one too many.
        line: usize,
    },
    /// A line begins with something else than a node id.
    BadId {
        /// The line.
        line: usize,
        /// What is wrong with it.
        error: ParseNodeIdError,
    },
    /// A line holds a secret key. Who could read the list knows it now.
    SecretKey {
        /// The line.
        line: usize,
    },
    /// Behind an id stands something that is none of the options.
    UnknownOption {
        /// The line.
        line: usize,
        /// The option's name, or the word where it has no name; at most 32 characters of it.
        option: String,
    },
    /// An option stands twice in a line.
    RepeatedOption {
        /// The line.
        line: usize,
        /// The option.
        option: &'static str,
    },
    /// The value of an option is no time.
    BadTime {
        /// The line.
        line: usize,
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        error: TimeError,
    },
    /// The label is none.
    BadLabel {
        /// The line.
        line: usize,
        /// What is wrong with it.
        error: LabelError,
    },
    /// Two lines have the same id.
    Duplicate {
        /// The earlier line.
        first: usize,
        /// The later line.
        second: usize,
    },
    /// The last line names a peer and does not end. What it would go on with may be the option that takes the
    /// trust back.
    Unfinished {
        /// The line.
        line: usize,
    },
}

impl TrustParseError {
    /// The line that is wrong, where one is: of two, the later one.
    pub const fn line(&self) -> Option<usize> {
        match self {
            Self::TooLarge { .. } => None,
            Self::TooManyEntries { line }
            | Self::BadId { line, .. }
            | Self::SecretKey { line }
            | Self::UnknownOption { line, .. }
            | Self::RepeatedOption { line, .. }
            | Self::BadTime { line, .. }
            | Self::BadLabel { line, .. }
            | Self::Duplicate { second: line, .. }
            | Self::Unfinished { line } => Some(*line),
        }
    }
}

impl fmt::Display for TrustParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes } => {
                write!(f, "the trust list has {bytes} bytes of at most {MAX_BYTES}: shorten it")
            }
            Self::TooManyEntries { line } => {
                write!(f, "line {line}: more than {MAX_ENTRIES} peers: remove some")
            }
            Self::BadId { line, error } => {
                write!(f, "line {line}: {error}; a line is an id and its options, or begins with #")
            }
            Self::SecretKey { line } => write!(
                f,
                "line {line} holds a secret key: remove it, give that node a new key, and list its id instead"
            ),
            Self::UnknownOption { line, option } => write!(
                f,
                "line {line}: unknown option {option:?}; behind an id stand added=, expires= and last label="
            ),
            Self::RepeatedOption { line, option } => {
                write!(f, "line {line}: option {option} stands twice: keep one")
            }
            Self::BadTime { line, option, error } => write!(f, "line {line}: the value of {option} {error}"),
            Self::BadLabel { line, error } => write!(f, "line {line}: {error}"),
            Self::Duplicate { first, second } => {
                write!(f, "lines {first} and {second} have the same id: keep one")
            }
            Self::Unfinished { line } => write!(
                f,
                "line {line}, the last, does not end and may be cut off: complete it and add a line break"
            ),
        }
    }
}

impl core::error::Error for TrustParseError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::BadId { error, .. } => Some(error),
            Self::BadTime { error, .. } => Some(error),
            Self::BadLabel { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Why a text is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabelError {
    /// It has more bytes than [`MAX_LABEL`].
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// It holds a control character, or one that breaks lines or turns the direction of text.
    Control,
    /// It holds a `=`: perhaps an option that came behind the label.
    EqualsSign,
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => {
                write!(f, "the label has {bytes} bytes of at most {MAX_LABEL}: shorten it")
            }
            Self::Control => f.write_str("the label holds a control character: remove it"),
            Self::EqualsSign => {
                f.write_str("the label holds a =: write the label without it, and options before the label")
            }
        }
    }
}

impl core::error::Error for LabelError {}

/// Why an entry does not go into a list. The list is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustListFull {
    /// It has [`MAX_ENTRIES`] peers already.
    Entries,
    /// It would be longer than [`MAX_BYTES`].
    Bytes,
}

impl fmt::Display for TrustListFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries => write!(f, "the trust list has {MAX_ENTRIES} peers: remove some"),
            Self::Bytes => write!(f, "the trust list would have more than {MAX_BYTES} bytes: shorten it"),
        }
    }
}

impl core::error::Error for TrustListFull {}
