//! Replaying a recording: the same link again, the same input, and a comparison of all that came of it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::bytes::Cursor;
use super::crypto::{Operation, Script};
use super::origin::get_header;
use super::step::{Raw, describe, entry};
use super::{End, Origin, Step, tag};
use crate::crypto::{CryptoProvider, RustCrypto};
use crate::identity::NodeId;
use crate::link::Link;
use crate::time::Instant;

/// A recording, and the link that goes through it again.
pub struct Replay {
    bytes: Zeroizing<Vec<u8>>,
    exact: bool,
    origin: Origin,
    link: Link,
    script: Script,
    /// Where the next step begins.
    next: usize,
    index: usize,
    now: Instant,
    end: Option<End>,
}

/// What a replay that went through to its end has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The steps.
    pub steps: usize,
    /// Why the recording ends there.
    pub end: End,
}

impl Replay {
    /// Opens a recording that was made with the crate's own cryptography, [`RustCrypto`].
    ///
    /// # Errors
    /// [`BadRecording`]. The whole of it is read, so that no step is malformed later on.
    pub fn open(bytes: &[u8]) -> Result<Self, BadRecording> {
        let provider: Arc<dyn CryptoProvider> = Arc::new(RustCrypto);
        Self::with_provider(bytes, &provider)
    }

    /// Opens a recording that was made with another provider: an exact one asks it for everything, a redacted
    /// one for hashes only.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn with_provider(bytes: &[u8], provider: &Arc<dyn CryptoProvider>) -> Result<Self, BadRecording> {
        let mut from = Cursor::new(bytes);
        let exact = get_header(&mut from)?;
        let (kind, value) = entry(&mut from)?;
        if kind != tag::ORIGIN {
            return Err(BadRecording::Malformed("an origin that is not the first entry"));
        }
        let origin = Origin::get(exact, &mut Cursor::new(value))?;
        let next = bytes.len() - from.rest().len();
        let listed = check(exact, origin.start, from)?;
        let script = Script::default();
        let config = origin.config(provider, &script, listed)?;
        let link = Link::replayed(&origin, &config)
            .map_err(|_| BadRecording::Malformed("an origin that no link can be made from"))?;
        let bytes = Zeroizing::new(bytes.to_vec());
        let now = origin.start;
        Ok(Self { bytes, exact, origin, link, script, next, index: 0, now, end: None })
    }

    /// Whether the recording holds secrets.
    pub const fn is_exact(&self) -> bool {
        self.exact
    }

    /// The version of this crate that recorded. Another version's link may take other steps, and no fault be
    /// in either.
    pub fn recorded_by(&self) -> &str {
        &self.origin.version
    }

    /// The id of the node whose link was recorded.
    pub const fn node_id(&self) -> NodeId {
        self.origin.own
    }

    /// The link as it stands behind the steps so far.
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// Why the recording ends, once [`step`](Self::step) has come there.
    pub const fn end(&self) -> Option<End> {
        self.end
    }

    /// Does the next step, and compares; `None` at the end.
    ///
    /// # Errors
    /// [`ReplayError::Differs`] if something else came of it than in the recorded run. What follows is of
    /// little meaning then. [`ReplayError::Bad`] never, unless a later version has recorded what this one
    /// does not know.
    pub fn step(&mut self) -> Result<Option<Step>, ReplayError> {
        let mut from = Cursor::new(self.bytes.get(self.next..).unwrap_or_default());
        if self.end.is_some() {
            return Ok(None);
        }
        let raw = match Raw::get(self.exact, self.index, self.now, &mut from)? {
            Ok(raw) => raw,
            Err(why) => {
                self.end = Some(end_of(why)?);
                return Ok(None);
            }
        };
        let mut outcomes = raw.outcomes(self.exact)?;
        if self.exact {
            // The link has its keys. What it has not is the node's: its signatures, its rules, what its other
            // links took.
            outcomes.retain(|outcome| matches!(outcome.operation, Operation::Sign | Operation::Judge));
        }
        self.script.load(outcomes);
        let gave = self.link.replay(&raw.input, raw.now, self.exact)?;
        let replayed = self.link.take_step();
        if replayed.as_slice() != raw.bytes {
            let difference = Difference::between(self.exact, &raw, replayed.as_slice())?;
            return Err(ReplayError::Differs(difference));
        }
        let step = raw.describe(self.exact, gave)?;
        self.now = raw.now;
        self.index += 1;
        self.next = self.bytes.len() - from.rest().len();
        Ok(Some(step))
    }

    /// Does all steps that are left.
    ///
    /// # Errors
    /// As [`step`](Self::step): the first step that differs.
    pub fn run(&mut self) -> Result<Run, ReplayError> {
        while self.step()?.is_some() {}
        Ok(Run { steps: self.index, end: self.end.unwrap_or(End::Stopped) })
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("exact", &self.exact)
            .field("next", &self.index)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

/// Reads every step; gives the ids of peers that were on the list.
fn check(exact: bool, start: Instant, mut from: Cursor<'_>) -> Result<Vec<NodeId>, BadRecording> {
    let (mut now, mut index, mut listed) = (start, 0, Vec::new());
    loop {
        match Raw::get(exact, index, now, &mut from)? {
            Ok(raw) => {
                let ids = raw.outcomes(exact)?.into_iter().filter_map(|outcome| outcome.listed_id());
                listed.extend(ids.filter_map(|id| NodeId::from_bytes(id).ok()));
                raw.describe(exact, None)?;
                now = raw.now;
                index += 1;
            }
            Err(why) => {
                end_of(why)?;
                return if from.is_empty() {
                    Ok(listed)
                } else {
                    Err(BadRecording::Malformed("bytes behind the end"))
                };
            }
        }
    }
}

fn end_of(number: u8) -> Result<End, BadRecording> {
    [End::Stopped, End::Full, End::Unrecordable]
        .into_iter()
        .find(|end| *end as u8 == number)
        .ok_or(BadRecording::Malformed("no such end"))
}

/// Where a replay leaves its recording.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The step's place, from 0.
    pub step: usize,
    /// Its time.
    pub now: Instant,
    /// The method that was called.
    pub method: &'static str,
    /// The first thing that came of it in the recorded run and not in the replay, in words; empty if there is
    /// none.
    pub recorded: String,
    /// What came in its place.
    pub replayed: String,
}

impl Difference {
    fn between(exact: bool, raw: &Raw<'_>, replayed: &[u8]) -> Result<Self, BadRecording> {
        let mut from = Cursor::new(replayed);
        // What went in is the same, unless the recording was written by somebody else.
        let mut entries = alloc::vec![];
        while !from.is_empty() {
            entries.push(entry(&mut from)?);
        }
        let mut replayed = entries.into_iter().filter(|(kind, _)| *kind != tag::INPUT);
        let mut recorded = raw.entries.iter().copied();
        let words = |entry: Option<(u8, &[u8])>| {
            entry.map_or(Ok(String::new()), |(kind, value)| describe(exact, kind, value))
        };
        let (recorded, replayed) = loop {
            match (recorded.next(), replayed.next()) {
                (None, None) => break ("another form of what went in".into(), String::new()),
                (one, other) if one == other => {}
                (one, other) => break (words(one)?, words(other)?),
            }
        };
        let same = recorded == replayed;
        let note = |text: String| if same { text + " (of other bytes)" } else { text };
        Ok(Self {
            step: raw.index,
            now: raw.now,
            method: raw.input.name(),
            recorded: note(recorded),
            replayed: note(replayed),
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, method, recorded, replayed, .. } = self;
        write!(f, "step {step}, {method}: recorded was {recorded:?}, replayed is {replayed:?}")
    }
}

impl core::error::Error for Difference {}

/// Why a replay does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// The replay differs from the recording.
    Differs(Difference),
    /// The recording cannot be read.
    Bad(BadRecording),
}

impl From<BadRecording> for ReplayError {
    fn from(error: BadRecording) -> Self {
        Self::Bad(error)
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs(difference) => difference.fmt(f),
            Self::Bad(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ReplayError {}

/// Why bytes are no recording that can be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadRecording {
    /// They do not begin as a recording does.
    NotARecording,
    /// They are in a version of the format that this crate does not read.
    OtherVersion,
    /// They end early.
    CutOff,
    /// Something in them has not its form.
    Malformed(&'static str),
}

impl fmt::Display for BadRecording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecording => f.write_str("not a recording of a link"),
            Self::OtherVersion => f.write_str("a recording in another version of the format"),
            Self::CutOff => f.write_str("the recording is cut off"),
            Self::Malformed(what) => write!(f, "the recording is malformed: {what}"),
        }
    }
}

impl core::error::Error for BadRecording {}
