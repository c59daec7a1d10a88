//! What can be wrong with a hello before it goes out.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// A part of a hello that an error speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HelloPart {
    /// The node's name.
    Name,
    /// The application protocol's id.
    Protocol,
    /// The capabilities; an error about one entry speaks of its name.
    Capabilities,
    /// The info pairs; an error about one entry speaks of its key.
    Info,
    /// The addresses.
    Addresses,
    /// The advert versions.
    Adverts,
    /// The id that the initiator dials.
    Destination,
    /// The hold until the application is ready.
    Hold,
    /// What the side takes of byte streams.
    Streams,
    /// The extensions that this version does not know.
    Unknown,
}

impl HelloPart {
    /// The part as a whole, as a noun.
    const fn whole(self) -> &'static str {
        match self {
            Self::Name => "the name",
            Self::Protocol => "the protocol id",
            Self::Capabilities => "the capabilities",
            Self::Info => "the info pairs",
            Self::Addresses => "the addresses",
            Self::Adverts => "the advert versions",
            Self::Destination => "the destination",
            Self::Hold => "the hold",
            Self::Streams => "the streams",
            Self::Unknown => "the unknown extensions",
        }
    }

    /// One entry of the part, as a noun.
    const fn entry(self) -> &'static str {
        match self {
            Self::Capabilities => "a capability's name",
            Self::Info => "an info key",
            Self::Addresses => "an address",
            Self::Unknown => "an extension's type",
            other => other.whole(),
        }
    }
}

impl fmt::Display for HelloPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.whole())
    }
}

/// Why a hello, or a part of one, cannot go out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HelloError {
    /// A version range holds no version.
    EmptyRange {
        /// The lowest version given.
        min: u16,
        /// The highest version given, which is lower.
        max: u16,
    },
    /// A name, key, address or id is empty.
    Empty {
        /// Where it stands.
        part: HelloPart,
    },
    /// A name, key, address or id is too long.
    TooLong {
        /// Where it stands.
        part: HelloPart,
        /// Its bytes.
        len: usize,
        /// The bytes that it may have.
        most: usize,
    },
    /// A list has too many entries.
    TooMany {
        /// The list.
        part: HelloPart,
        /// Its entries.
        count: usize,
        /// The entries that it may have.
        most: usize,
    },
    /// Two entries of a list have the same name or key.
    Duplicate {
        /// The list.
        part: HelloPart,
        /// The name or key.
        name: String,
    },
    /// A list does not ascend.
    Unordered {
        /// The list.
        part: HelloPart,
    },
    /// A limit is out of its range.
    Limit {
        /// The limit, by the name of its field in [`Limits`](super::Limits).
        limit: &'static str,
        /// The value given; milliseconds for `idle`, bytes or a count for the others.
        value: u64,
        /// The smallest value allowed, given the other limits.
        least: u64,
        /// The largest value allowed.
        most: u64,
    },
    /// `idle` is not a whole number of milliseconds.
    IdleNotWhole {
        /// The value given.
        idle: Duration,
    },
    /// An unknown extension has the type of a known one or is marked critical.
    ExtensionType {
        /// The type.
        kind: u16,
    },
    /// All of it together is larger than a handshake record holds.
    TooLarge {
        /// Its bytes.
        size: usize,
        /// The bytes that it may have.
        most: usize,
        /// The part that takes most of them.
        largest: HelloPart,
        /// The bytes of that part.
        largest_size: usize,
    },
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyRange { min, max } => write!(f, "no version lies in {min}..={max}"),
            Self::Empty { part } => write!(f, "{} is empty", part.entry()),
            Self::TooLong { part, len, most } => {
                write!(f, "{} takes {len} bytes; at most {most} are allowed", part.entry())
            }
            Self::TooMany { part, count, most } => {
                write!(f, "{part} are {count}; at most {most} are allowed")
            }
            Self::Duplicate { part, name } => write!(f, "{part} hold {name:?} twice"),
            Self::Unordered { part } => write!(f, "{part} do not ascend"),
            Self::Limit { limit, value, least, most } => {
                write!(f, "{limit} is {value}; it must be from {least} to {most}")
            }
            Self::IdleNotWhole { idle } => {
                write!(f, "idle is {idle:?}; it must be a whole number of milliseconds")
            }
            Self::ExtensionType { kind } => {
                write!(f, "extension type {kind:#06x} is known or critical; an ignorable one must be neither")
            }
            Self::TooLarge { size, most, largest, largest_size } => {
                write!(
                    f,
                    "hello takes {size} bytes of at most {most}; {largest} alone take {largest_size}: shorten them"
                )
            }
        }
    }
}

impl core::error::Error for HelloError {}
