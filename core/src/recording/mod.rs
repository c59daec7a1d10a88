//! Recordings of links: what went into one, in order and with its times, kept so that the run can be replayed
//! and looked at step by step. docs/recording.md of the repository has the format, and what a recording gives
//! away.
//!
//! A link is a function of what it was made from and of what goes into it, so that is what is recorded: each
//! call of the owner's with its `now` ([`Link::record`](crate::Link::record) begins it, on a link that has
//! heard nothing yet), and the verdict of the node's rules and store on each [signed message](crate::signed)
//! that came. Beside it stands what came of it: the answers of `poll`, what was sealed, and how the link
//! stood. A [`Replay`] makes the link again, gives it the same, and compares: the replay records itself, and
//! the two recordings must be the same bytes.
//!
//! There are two kinds.
//! - [`Recorder::redacted`] keeps no seed, no key, no byte of a message, of a stream or of a free text, nor
//!   what a hello says that the link does not act upon. Of what came in it keeps the plaintext's form, with
//!   bodies as zeros; in the replay every cryptographic operation ends as it did in the recorded run. What is
//!   compared is the frames that are sealed, bodies as zeros, besides the events and the figures.
//! - [`Recorder::exact_with_secrets`] keeps the link's seed and every byte, and replays down to the bytes on
//!   the wire. Who has it can read the link, and the exchange of keys of its run.
//!
//! ```
//! # use handclasp::{Action, Config, Dial, Instant, Link, Ready, SecretKey, Seed, Signer, Trust};
//! use handclasp::recording::{Recorder, Replay};
//!
//! # let config = Config::builder(SecretKey::from_bytes([1; 32]), 1).build()?;
//! # let (seed, now) = (Seed::new([3; 32]), Instant::ZERO);
//! let mut link = Link::initiator(&config, Dial::anyone(), &seed, now);
//! link.record(Recorder::redacted(1 << 20))?;
//! // … the loop around the link, as ever …
//! # while !matches!(link.poll(now, Ready::ALL), Action::Timeout(_)) {
//! #     let count = link.transmit(now).len();
//! #     link.transmitted(count, now);
//! # }
//! let recording = link.recording().expect("it is being recorded");
//!
//! let mut replay = Replay::open(recording.as_bytes())?;
//! while let Some(step) = replay.step()? {
//!     println!("{step}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Recording needs the feature `recording`, which needs the standard library for a lock: a link and the
//! cryptography that it asks write to the same log. A link that is not recorded has nothing between it and
//! its cryptography.

mod blank;
mod bytes;
mod crypto;
mod input;
mod log;
mod origin;
mod outcome;
mod replay;
mod skeleton;
mod step;
mod verdict;
mod words;

#[cfg(test)]
mod tests;

pub use replay::{BadRecording, Difference, Replay, ReplayError, Run};
pub use step::Step;

pub(crate) use bytes::{Cursor, LONGEST, Writer, digest};
pub(crate) use crypto::Tap;
pub(crate) use input::{Blob, Input, Named, Word};
pub(crate) use log::{Log, Shared, tag};
pub(crate) use origin::{Origin, Secrets, put_header};
pub(crate) use outcome::put as put_action;
pub(crate) use verdict::JudgeTap;
pub(crate) use words::{get_word, goodbye_text};

use core::fmt;

use crate::crypto::Seed;

/// How many figures of a link are compared behind each step.
pub(crate) const FIGURES: usize = 32;

/// How a link stands: see [`FIGURE_NAMES`].
pub(crate) type Figures = [u64; FIGURES];

/// What the figures are, in the order of their numbers: new ones go to the end. A time is its nanoseconds
/// plus 1, and 0 where there is none.
pub(crate) const FIGURE_NAMES: [&str; FIGURES] = [
    "phase",
    "bytes received",
    "bytes sent",
    "records opened",
    "records sealed",
    "messages received",
    "messages sent",
    "own rekeys",
    "peer's rekeys",
    "unknown replies",
    "pongs",
    "unknown pongs",
    "expired calls",
    "expired messages",
    "round trip",
    "queued",
    "queued answers",
    "own calls",
    "peer's calls",
    "own streams",
    "peer's streams",
    "unread",
    "unwritten",
    "notices",
    "requests",
    "words for the node",
    "unsent",
    "end",
    "deadline",
    "signed accepted",
    "signed refused",
    "signed replays",
];

/// How a link is to be recorded, for [`Link::record`](crate::Link::record).
#[derive(Debug)]
pub struct Recorder {
    pub(crate) limit: usize,
    pub(crate) seed: Option<Seed>,
}

impl Recorder {
    /// Records without secrets and payloads, in at most `limit` bytes of memory and of recording. When it is
    /// full the recording ends between two steps and says so; the link goes on.
    pub const fn redacted(limit: usize) -> Self {
        Self { limit, seed: None }
    }

    /// Records everything: `seed`, with which the link was made, the cluster secrets' derived keys, and every
    /// byte in and out. **Who has the recording can decrypt the link** and play this side of it. The node's
    /// own secret key is not in it: its signatures are. The memory that it takes is wiped.
    ///
    /// `limit` is as in [`redacted`](Self::redacted).
    pub const fn exact_with_secrets(seed: Seed, limit: usize) -> Self {
        Self { limit, seed: Some(seed) }
    }
}

/// Why a link cannot be recorded. It goes on as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CannotRecord {
    /// The link has heard something of its owner already: a recording begins with it.
    NotFresh,
    /// The link was made from another seed.
    OtherSeed,
}

impl fmt::Display for CannotRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFresh => "the link has begun already: record it before anything else",
            Self::OtherSeed => "the link was made from another seed",
        })
    }
}

impl core::error::Error for CannotRecord {}

/// Why a recording ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum End {
    /// It was taken there: the link was over, or went on unrecorded.
    Stopped = 0,
    /// The next step did not fit its limit.
    Full = 1,
    /// The next step had bytes that cannot be redacted, or a length over 256 MiB.
    Unrecordable = 2,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "taken here",
            Self::Full => "full",
            Self::Unrecordable => "the next step cannot be recorded",
        })
    }
}

/// A recording of a link, to be kept or replayed. Its memory is wiped when it is dropped.
pub struct Recording {
    pub(crate) bytes: Writer,
    pub(crate) exact: bool,
}

impl Recording {
    /// The bytes, for a file and for [`Replay::open`]. Those of an exact recording are secret.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Whether it holds secrets.
    pub const fn is_exact(&self) -> bool {
        self.exact
    }
}

impl fmt::Debug for Recording {
    /// What kind, and how long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.exact { "exact" } else { "redacted" };
        write!(f, "Recording({kind}, {} bytes)", self.bytes.len())
    }
}
