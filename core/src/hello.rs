//! What a side says of itself while a link comes up: its versions, its limits, and everything the other side
//! may want to know before it admits the link. docs/wire.md §3.6 has the bytes.

mod error;

pub use error::{HelloError, HelloPart};

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;
use core::time::Duration;

use crate::crypto::SuiteSet;
use crate::wire::hello as layout;

/// The most bytes of a name, key, address or protocol id in a hello.
pub const MAX_LABEL: usize = 255;

/// The most capabilities, info pairs and addresses in a hello, each.
pub const MAX_ENTRIES: usize = 64;

/// An inclusive range of versions that is never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionRange {
    min: u16,
    max: u16,
}

impl VersionRange {
    /// The versions from `min` to `max`, both included.
    ///
    /// # Errors
    /// [`HelloError::EmptyRange`] when `min` is above `max`.
    pub const fn new(min: u16, max: u16) -> Result<Self, HelloError> {
        if min <= max { Ok(Self { min, max }) } else { Err(HelloError::EmptyRange { min, max }) }
    }

    /// The range of one version.
    pub const fn only(version: u16) -> Self {
        Self { min: version, max: version }
    }

    /// The lowest version of the range.
    pub const fn min(self) -> u16 {
        self.min
    }

    /// The highest version of the range.
    pub const fn max(self) -> u16 {
        self.max
    }

    /// Whether `version` lies in the range.
    pub const fn contains(self, version: u16) -> bool {
        self.min <= version && version <= self.max
    }

    /// The highest version in both ranges, if they share any.
    pub fn highest_common(self, other: Self) -> Option<u16> {
        let version = self.max.min(other.max);
        (version >= self.min.max(other.min)).then_some(version)
    }
}

impl TryFrom<RangeInclusive<u16>> for VersionRange {
    type Error = HelloError;

    fn try_from(range: RangeInclusive<u16>) -> Result<Self, HelloError> {
        Self::new(*range.start(), *range.end())
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.min, self.max)
    }
}

/// What a side takes from the other. Both sides of a link go by the smaller value of the two, each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The largest message body in bytes, at least 1024. Default: 1 MiB.
    pub max_message: u32,
    /// The bytes of each credit budget granted at the start, at least `max_message` + 319 (64 of overhead
    /// and a service name of 255), so that the largest message can always be begun. Default: 4 MiB.
    pub window: u32,
    /// The calls served at a time, at least 1. Default: 1024.
    pub max_calls: u32,
    /// The silence after which a ping goes out: whole milliseconds, from 100 to `u32::MAX`. Default: 15 s.
    pub idle: Duration,
    /// The largest plaintext of a traffic record in bytes, 4096 to 65 519. Default: 16 640.
    pub max_record: u16,
}

impl Limits {
    /// The smallest `max_message` that a side may name, in bytes.
    pub const SMALLEST: u16 = 1024;

    /// The smallest `max_record`, in bytes: every refusal fits it.
    pub const SMALLEST_RECORD: u16 = 4096;

    /// The largest `max_record`, in bytes: with its tag, it fits a two-byte length.
    pub const LARGEST_RECORD: u16 = 65_519;

    /// The bytes that a window must hold beyond `max_message`: a message's overhead and the longest service
    /// name.
    pub const WINDOW_MARGIN: u32 = 64 + 255;

    /// The shortest `idle`.
    pub const SHORTEST_IDLE: Duration = Duration::from_millis(100);

    /// Whether each limit is in its range.
    ///
    /// # Errors
    /// [`HelloError::Limit`] for the first that is not.
    pub fn check(&self) -> Result<(), HelloError> {
        let full = u64::from(u32::MAX);
        let smallest = u64::from(Self::SMALLEST);
        let window = u64::from(self.max_message) + u64::from(Self::WINDOW_MARGIN);
        limit("max_message", self.max_message.into(), smallest, full)?;
        limit("window", self.window.into(), window, full)?;
        limit("max_calls", self.max_calls.into(), 1, full)?;
        limit(
            "max_record",
            self.max_record.into(),
            Self::SMALLEST_RECORD.into(),
            Self::LARGEST_RECORD.into(),
        )?;
        // A part of a millisecond would be lost on the wire, and the two sides would count different times.
        if self.idle.subsec_nanos() % 1_000_000 != 0 {
            return Err(HelloError::IdleNotWhole { idle: self.idle });
        }
        let idle = u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX);
        limit("idle", idle, u64::from(Self::SHORTEST_IDLE.subsec_millis()), full)
    }

    /// The smaller of both sides' value, for each limit. The result is in range when both sides are.
    pub fn smaller_of(self, other: Self) -> Self {
        Self {
            max_message: self.max_message.min(other.max_message),
            window: self.window.min(other.window),
            max_calls: self.max_calls.min(other.max_calls),
            idle: self.idle.min(other.idle),
            max_record: self.max_record.min(other.max_record),
        }
    }

    /// `idle` as it travels.
    pub(crate) fn idle_millis(&self) -> u32 {
        u32::try_from(self.idle.as_millis()).unwrap_or(u32::MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 1 << 20,
            window: 4 << 20,
            max_calls: 1024,
            idle: Duration::from_secs(15),
            max_record: 16_640,
        }
    }
}

fn limit(name: &'static str, value: u64, least: u64, most: u64) -> Result<(), HelloError> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(HelloError::Limit { limit: name, value, least, most })
    }
}

/// Something that a side can do, under a name that both sides know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The name, 1–255 bytes.
    pub name: String,
    /// The versions of it that the side can do.
    pub versions: VersionRange,
    /// Whether the side refuses a link to a peer that shares no version of it.
    pub required: bool,
    /// Bytes for the other side's application; the link only carries them.
    pub metadata: Box<[u8]>,
}

impl Capability {
    /// A capability that is not required and has no metadata.
    ///
    /// # Errors
    /// [`HelloError::Empty`] or [`HelloError::TooLong`] for the name, [`HelloError::EmptyRange`] for the
    /// versions.
    pub fn new(name: impl Into<String>, versions: RangeInclusive<u16>) -> Result<Self, HelloError> {
        let name = name.into();
        label(HelloPart::Capabilities, name.len())?;
        let versions = versions.try_into()?;
        Ok(Self { name, versions, required: false, metadata: Box::default() })
    }

    /// The capability, required: a peer without a common version of it is refused.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The capability with `metadata` for the other side's application. Its size counts towards the hello's.
    pub fn metadata(mut self, metadata: impl Into<Box<[u8]>>) -> Self {
        self.metadata = metadata.into();
        self
    }
}

/// An address at which the sender can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialAddress {
    /// What the sender says of its preference among its addresses; the application gives it meaning.
    pub weight: u16,
    /// The address in the application's notation, 1–255 bytes.
    pub address: String,
}

/// Versions of adverts, 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdvertVersions {
    /// The version of the sender's own advert.
    pub own: u64,
    /// The version that the sender holds of the other side's advert.
    pub held: u64,
}

/// What a side takes of the byte streams that the other opens or writes to. A side without it takes and opens
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOffer {
    /// The streams that the other side may have open at a time.
    pub max_streams: u32,
    /// The bytes that the other side may send on each stream, whoever opened it, before it is granted more.
    pub window: u32,
}

/// An extension that this version does not know. It is authenticated with the rest and otherwise ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownExtension {
    /// The type: 0, or 10 to 0x7fff. An unknown critical extension ends a handshake, so none is ever kept.
    pub kind: u16,
    /// The value.
    pub value: Box<[u8]>,
}

/// What a side says of itself.
///
/// One that was received has passed every check. One that is built here is checked by [`check`](Self::check),
/// which [`wire::hello::emit`](crate::wire::hello::emit) calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The versions of the conversation that the side takes.
    pub versions: VersionRange,
    /// A random number, fresh at each start of the process.
    pub incarnation: u64,
    /// Grows with each link that the process starts.
    pub link_sequence: u64,
    /// What the side takes from the other.
    pub limits: Limits,
    /// The suites that the side supports, chosen or not: what downgrade detection goes by.
    pub suites: SuiteSet,
    /// The node's name for people, 1–255 bytes.
    pub name: Option<String>,
    /// The application protocol's id, 1–255 bytes. Two sides that both carry one must carry the same.
    pub protocol: Option<Box<[u8]>>,
    /// At most 64 capabilities, strictly ascending by name.
    pub capabilities: Vec<Capability>,
    /// At most 64 pairs for the other side's application, strictly ascending by key of 1–255 bytes.
    pub info: Vec<(String, Box<[u8]>)>,
    /// At most 64 addresses at which the side can be dialled, in the sender's order.
    pub addresses: Vec<DialAddress>,
    /// The side's own advert and what it holds of the other's.
    pub adverts: Option<AdvertVersions>,
    /// The id that an initiator dials.
    pub destination: Option<[u8; 32]>,
    /// The side holds the link until its application says that it is ready.
    pub hold: bool,
    /// What the side takes of byte streams.
    pub streams: Option<StreamOffer>,
    /// Extensions that this version does not know, strictly ascending by type.
    pub unknown: Vec<UnknownExtension>,
    /// Which known extensions came marked critical, bit `type - 1`. The mark has no effect on an extension
    /// that is known; it is kept so that what was received can be written again byte for byte.
    pub(crate) critical: u16,
}

impl Hello {
    /// A hello with the default limits and no extension.
    pub fn new(versions: VersionRange, suites: SuiteSet, incarnation: u64, link_sequence: u64) -> Self {
        Self {
            versions,
            incarnation,
            link_sequence,
            limits: Limits::default(),
            suites,
            name: None,
            protocol: None,
            capabilities: Vec::new(),
            info: Vec::new(),
            addresses: Vec::new(),
            adverts: None,
            destination: None,
            hold: false,
            streams: None,
            unknown: Vec::new(),
            critical: 0,
        }
    }

    /// The hello with these capabilities in place of its own, in any order.
    ///
    /// # Errors
    /// [`HelloError::Duplicate`], [`HelloError::TooMany`], or a name that is empty or too long.
    pub fn with_capabilities(
        mut self,
        capabilities: impl IntoIterator<Item = Capability>,
    ) -> Result<Self, HelloError> {
        self.capabilities = capabilities.into_iter().collect();
        self.capabilities.sort_by(|a, b| a.name.cmp(&b.name));
        self.check_capabilities()?;
        Ok(self)
    }

    /// The hello with these info pairs in place of its own, in any order.
    ///
    /// # Errors
    /// [`HelloError::Duplicate`], [`HelloError::TooMany`], or a key that is empty or too long.
    pub fn with_info(
        mut self,
        info: impl IntoIterator<Item = (String, Box<[u8]>)>,
    ) -> Result<Self, HelloError> {
        self.info = info.into_iter().collect();
        self.info.sort_by(|a, b| a.0.cmp(&b.0));
        self.check_info()?;
        Ok(self)
    }

    /// Whether the hello can go out: every field in its range, every list in order, and all of it in one
    /// record.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), HelloError> {
        self.limits.check()?;
        if let Some(name) = &self.name {
            label(HelloPart::Name, name.len())?;
        }
        if let Some(protocol) = &self.protocol {
            label(HelloPart::Protocol, protocol.len())?;
        }
        self.check_capabilities()?;
        self.check_info()?;
        count(HelloPart::Addresses, self.addresses.len())?;
        for entry in &self.addresses {
            label(HelloPart::Addresses, entry.address.len())?;
        }
        self.check_unknown()?;
        self.check_size()
    }

    fn check_capabilities(&self) -> Result<(), HelloError> {
        list(HelloPart::Capabilities, self.capabilities.iter().map(|capability| capability.name.as_str()))
    }

    fn check_info(&self) -> Result<(), HelloError> {
        list(HelloPart::Info, self.info.iter().map(|(key, _)| key.as_str()))
    }

    fn check_unknown(&self) -> Result<(), HelloError> {
        let mut next = 0;
        for extension in &self.unknown {
            let kind = extension.kind;
            if !layout::is_ignorable(kind) {
                return Err(HelloError::ExtensionType { kind });
            }
            if kind < next {
                return Err(HelloError::Unordered { part: HelloPart::Unknown });
            }
            next = kind + 1;
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), HelloError> {
        let sizes = layout::sizes(self);
        let size = layout::FIXED + sizes.iter().map(|(_, size)| size).sum::<usize>();
        if size <= layout::MAX_HELLO {
            return Ok(());
        }
        let (largest, largest_size) =
            sizes.into_iter().max_by_key(|(_, size)| *size).unwrap_or((HelloPart::Unknown, 0));
        Err(HelloError::TooLarge { size, most: layout::MAX_HELLO, largest, largest_size })
    }
}

fn label(part: HelloPart, len: usize) -> Result<(), HelloError> {
    match len {
        0 => Err(HelloError::Empty { part }),
        1..=MAX_LABEL => Ok(()),
        _ => Err(HelloError::TooLong { part, len, most: MAX_LABEL }),
    }
}

fn count(part: HelloPart, count: usize) -> Result<(), HelloError> {
    if count <= MAX_ENTRIES { Ok(()) } else { Err(HelloError::TooMany { part, count, most: MAX_ENTRIES }) }
}

/// Checks a list of names that must ascend strictly.
fn list<'a>(part: HelloPart, names: impl ExactSizeIterator<Item = &'a str>) -> Result<(), HelloError> {
    count(part, names.len())?;
    let mut previous: Option<&str> = None;
    for name in names {
        label(part, name.len())?;
        match previous.map(|previous| previous.cmp(name)) {
            Some(core::cmp::Ordering::Equal) => {
                return Err(HelloError::Duplicate { part, name: name.into() });
            }
            Some(core::cmp::Ordering::Greater) => return Err(HelloError::Unordered { part }),
            Some(core::cmp::Ordering::Less) | None => previous = Some(name),
        }
    }
    Ok(())
}
