//! The list and its text.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use super::error::{LabelError, TrustListFull, TrustParseError};
use super::time::UnixTime;
use crate::identity::NodeId;

/// The most peers on a list.
pub const MAX_ENTRIES: usize = 65_536;

/// The most bytes of a list's text.
pub const MAX_BYTES: usize = 16 << 20;

/// The most bytes of a label.
pub const MAX_LABEL: usize = 255;

const ADDED: &str = "added";
const EXPIRES: &str = "expires";
const LABEL: &str = "label";

/// The most characters of an unknown option that an error repeats.
const SHOWN: usize = 32;

/// A peer that is trusted, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustEntry {
    /// The peer.
    pub id: NodeId,
    /// When it came on the list, for people; `None` where nobody wrote it down.
    pub added: Option<UnixTime>,
    /// The first moment at which the peer is trusted no longer; `None` for never.
    pub expires: Option<UnixTime>,
    label: String,
}

impl TrustEntry {
    /// Trust in `id` without an end, without a label.
    pub const fn new(id: NodeId) -> Self {
        Self { id, added: None, expires: None, label: String::new() }
    }

    /// The entry with this time of coming on the list.
    pub const fn added(mut self, at: UnixTime) -> Self {
        self.added = Some(at);
        self
    }

    /// The entry with this end of the trust.
    pub const fn expires(mut self, at: UnixTime) -> Self {
        self.expires = Some(at);
        self
    }

    /// The entry with this label in place of its own: a text for people, by which nobody is ever found or
    /// trusted. Spaces at both ends are cut off. An empty one is none.
    ///
    /// # Errors
    /// [`LabelError`]: it has at most [`MAX_LABEL`] bytes, no control character, and no `=`, which is what an
    /// option behind the label would have.
    pub fn with_label(mut self, label: &str) -> Result<Self, LabelError> {
        self.label = checked(label.trim_matches(' '))?.into();
        Ok(self)
    }

    /// The label; empty for none.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether the peer is trusted at `now`.
    pub fn is_valid_at(&self, now: UnixTime) -> bool {
        self.expires.is_none_or(|end| now < end)
    }
}

impl fmt::Display for TrustEntry {
    /// The line of the peer, without a line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        for (option, time) in [(ADDED, self.added), (EXPIRES, self.expires)] {
            if let Some(time) = time {
                write!(f, " {option}={time}")?;
            }
        }
        if self.label.is_empty() { Ok(()) } else { write!(f, " {LABEL}={}", self.label) }
    }
}

fn checked(label: &str) -> Result<&str, LabelError> {
    // Line and paragraph separator, and what turns the direction of text: a line would show as another one.
    const HIDING: [core::ops::RangeInclusive<char>; 3] =
        ['\u{200e}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    let hides = |each: char| HIDING.iter().any(|range| range.contains(&each));
    if label.len() > MAX_LABEL {
        Err(LabelError::TooLong { bytes: label.len() })
    } else if label.chars().any(|each| each.is_control() || hides(each)) {
        Err(LabelError::Control)
    } else if label.contains('=') {
        Err(LabelError::EqualsSign)
    } else {
        Ok(label)
    }
}

/// What [`TrustList::add`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an expiry that was moved concerns links that live"]
#[non_exhaustive]
pub enum Added {
    /// The peer was not on the list.
    New,
    /// The peer was on the list with another label or expiry, as it is here.
    Updated(TrustEntry),
    /// The peer was on the list with this label and expiry.
    Unchanged,
}

/// The peers that a node trusts, and the text that says so.
///
/// Text goes in by [`parse`](Self::parse) and comes out by `Display`. What does not belong to a peer that
/// was changed comes out byte for byte as it went in.
#[derive(Clone, Debug, Default)]
pub struct TrustList {
    /// What stands where, in the order of the text. The keys are line numbers of the text that was parsed,
    /// and go on from there.
    blocks: BTreeMap<usize, Block>,
    /// The block of each peer.
    places: BTreeMap<NodeId, usize>,
    /// The bytes of all blocks.
    bytes: usize,
}

#[derive(Clone, Debug)]
enum Block {
    /// Comments and blank lines, as many as stand together: so the number of peers bounds that of blocks.
    Other(String),
    /// The line of a peer with its line break.
    Peer { text: Box<str>, entry: TrustEntry },
}

impl Block {
    fn text(&self) -> &str {
        match self {
            Self::Other(text) => text,
            Self::Peer { text, .. } => text,
        }
    }
}

impl TrustList {
    /// A list with nobody on it.
    pub const fn new() -> Self {
        Self { blocks: BTreeMap::new(), places: BTreeMap::new(), bytes: 0 }
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`TrustParseError`] for the first line that is wrong. There is no list then, not even of the other
    /// lines.
    pub fn parse(text: &str) -> Result<Self, TrustParseError> {
        Self::parse_knowing(text, &Self::new())
    }

    /// Reads a list of which `known` may have a part. An id that is on it is known to be one: to find that
    /// out costs more than all the rest.
    pub(super) fn parse_knowing(text: &str, known: &Self) -> Result<Self, TrustParseError> {
        if text.len() > MAX_BYTES {
            return Err(TrustParseError::TooLarge { bytes: text.len() });
        }
        let known: BTreeMap<&str, NodeId> = known
            .blocks
            .values()
            .filter_map(|block| match block {
                Block::Peer { text, entry } => Some((first_word(text).0, entry.id)),
                Block::Other(_) => None,
            })
            .collect();
        let mut list = Self { bytes: text.len(), ..Self::new() };
        for (place, whole) in text.split_inclusive('\n').enumerate() {
            let line = place + 1;
            let content = whole.strip_suffix('\n').unwrap_or(whole);
            let content = content.strip_suffix('\r').unwrap_or(content);
            let Some(entry) = read_line(content, line, &known)? else {
                list.append_other(line, whole);
                continue;
            };
            if !whole.ends_with('\n') {
                return Err(TrustParseError::Unfinished { line });
            }
            if list.places.len() == MAX_ENTRIES {
                return Err(TrustParseError::TooManyEntries { line });
            }
            if let Some(first) = list.places.insert(entry.id, line) {
                return Err(TrustParseError::Duplicate { first, second: line });
            }
            list.blocks.insert(line, Block::Peer { text: whole.into(), entry });
        }
        Ok(list)
    }

    fn text(&self) -> impl Iterator<Item = u8> {
        self.blocks.values().flat_map(|block| block.text().bytes())
    }

    fn append_other(&mut self, line: usize, text: &str) {
        if let Some(mut last) = self.blocks.last_entry() {
            if let Block::Other(block) = last.get_mut() {
                block.push_str(text);
                return;
            }
        }
        self.blocks.insert(line, Block::Other(text.into()));
    }

    /// Puts a peer on the list: at its end, or in place of the line that it has. Its label and expiry become
    /// those of `entry`; of the times at which it came on the list, the one written down first stays. Nothing
    /// changes in the text when nothing changes in the entry.
    ///
    /// # Errors
    /// [`TrustListFull`] when the list would get too large by it.
    pub fn add(&mut self, mut entry: TrustEntry) -> Result<Added, TrustListFull> {
        let place = self.places.get(&entry.id).copied();
        match place.and_then(|place| Some((place, self.blocks.get_mut(&place)?))) {
            Some((_, Block::Peer { text, entry: held })) => {
                entry.added = held.added.or(entry.added);
                if *held == entry {
                    return Ok(Added::Unchanged);
                }
                let line = line_of(&entry, text);
                let bytes = self.bytes - text.len() + line.len();
                if bytes > MAX_BYTES {
                    return Err(TrustListFull::Bytes);
                }
                self.bytes = bytes;
                *text = line;
                Ok(Added::Updated(core::mem::replace(held, entry)))
            }
            _ => self.append(entry).map(|()| Added::New),
        }
    }

    fn append(&mut self, entry: TrustEntry) -> Result<(), TrustListFull> {
        if self.places.len() >= MAX_ENTRIES {
            return Err(TrustListFull::Entries);
        }
        let last = self.blocks.last_key_value();
        let before = last.map_or("", |(_, block)| block.text());
        let text = line_of(&entry, before);
        // A comment may be the last line and have no end.
        let missing = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        let bytes = self.bytes + missing.len() + text.len();
        if bytes > MAX_BYTES {
            return Err(TrustListFull::Bytes);
        }
        self.bytes = bytes;
        let place = last.map_or(1, |(place, _)| place + 1);
        if let Some(mut last) = self.blocks.last_entry() {
            if let Block::Other(block) = last.get_mut() {
                block.push_str(missing);
            }
        }
        self.places.insert(entry.id, place);
        self.blocks.insert(place, Block::Peer { text, entry });
        Ok(())
    }

    /// Takes a peer off the list, with its line and nothing else; true if it was on it.
    pub fn remove(&mut self, id: &NodeId) -> bool {
        let block = self.places.remove(id).and_then(|place| self.blocks.remove(&place));
        self.bytes -= block.as_ref().map_or(0, |block| block.text().len());
        block.is_some()
    }

    /// The entry of a peer, whether it has expired or not: see [`TrustEntry::is_valid_at`].
    pub fn get(&self, id: &NodeId) -> Option<&TrustEntry> {
        match self.blocks.get(self.places.get(id)?)? {
            Block::Peer { entry, .. } => Some(entry),
            Block::Other(_) => None,
        }
    }

    /// All entries in the order of the text, those that have expired too.
    pub fn iter(&self) -> impl Iterator<Item = &TrustEntry> {
        self.blocks.values().filter_map(|block| match block {
            Block::Peer { entry, .. } => Some(entry),
            Block::Other(_) => None,
        })
    }

    /// The entries that hold at `now`, in the order of the text.
    pub fn valid_at(&self, now: UnixTime) -> impl Iterator<Item = &TrustEntry> {
        self.iter().filter(move |entry| entry.is_valid_at(now))
    }

    /// The next moment behind `after` at which an entry expires: when to look at the list again.
    pub fn next_expiry(&self, after: UnixTime) -> Option<UnixTime> {
        self.iter().filter_map(|entry| entry.expires).filter(|end| *end > after).min()
    }

    /// The number of peers, those that have expired too.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no peer is on the list.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The bytes of the text.
    pub const fn text_len(&self) -> usize {
        self.bytes
    }
}

impl PartialEq for TrustList {
    /// By the text, which says everything.
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.text().eq(other.text())
    }
}

impl Eq for TrustList {}

impl FromStr for TrustList {
    type Err = TrustParseError;

    fn from_str(text: &str) -> Result<Self, TrustParseError> {
        Self::parse(text)
    }
}

impl fmt::Display for TrustList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.blocks.values().try_for_each(|block| f.write_str(block.text()))
    }
}

/// The line of `entry`, with a line break like that of `model`.
fn line_of(entry: &TrustEntry, model: &str) -> Box<str> {
    let mut line = entry.to_string();
    line.push_str(if model.ends_with("\r\n") { "\r\n" } else { "\n" });
    line.into()
}

const BLANKS: [char; 2] = [' ', '\t'];

/// The first word of a line, and what stands behind it, neither with blanks before it.
fn first_word(line: &str) -> (&str, &str) {
    let line = line.trim_start_matches(BLANKS);
    let end = line.find([' ', '\t', '\r', '\n']).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (word, rest.trim_start_matches(BLANKS))
}

/// Reads one line without its line break; `None` if it is blank or a comment.
fn read_line(
    content: &str,
    line: usize,
    known: &BTreeMap<&str, NodeId>,
) -> Result<Option<TrustEntry>, TrustParseError> {
    let (id, mut rest) = first_word(content);
    if id.is_empty() && rest.is_empty() || id.starts_with('#') {
        return Ok(None);
    }
    refuse_secret(id, line)?;
    let id = match known.get(id) {
        Some(id) => *id,
        None => id.parse().map_err(|error| TrustParseError::BadId { line, error })?,
    };
    let (mut added, mut expires) = (None, None);
    while !rest.is_empty() {
        let (word, behind) = first_word(rest);
        refuse_secret(word, line)?;
        let (option, place) = match word.split_once('=').map(|(name, _)| name) {
            Some(ADDED) => (ADDED, &mut added),
            Some(EXPIRES) => (EXPIRES, &mut expires),
            Some(LABEL) => break,
            name => {
                let option = name.unwrap_or(if word.is_empty() { rest } else { word });
                let option = option.chars().take(SHOWN).collect();
                return Err(TrustParseError::UnknownOption { line, option });
            }
        };
        if place.is_some() {
            return Err(TrustParseError::RepeatedOption { line, option });
        }
        let value = word.get(option.len() + 1..).unwrap_or_default();
        let time = value.parse().map_err(|error| TrustParseError::BadTime { line, option, error })?;
        *place = Some(time);
        rest = behind;
    }
    let label = rest.strip_prefix(LABEL).and_then(|rest| rest.strip_prefix('=')).unwrap_or_default();
    // Tabs and carriage returns behind it are blanks; within it they are control characters.
    let entry = TrustEntry { added, expires, ..TrustEntry::new(id) };
    let entry = entry.with_label(label.trim_matches(BLANKS));
    entry.map(Some).map_err(|error| TrustParseError::BadLabel { line, error })
}

/// Somebody who takes one key for the other must not see it in a log.
fn refuse_secret(word: &str, line: usize) -> Result<(), TrustParseError> {
    let is_secret = word.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("hclsec1"));
    if is_secret { Err(TrustParseError::SecretKey { line }) } else { Ok(()) }
}
