//! What has come already: a window of sequences for each origin and audience.

use alloc::collections::BTreeMap;
use core::fmt;

use super::Audience;
use crate::identity::NodeId;

/// How many sequences a window has: the greatest that has come, and those right behind it.
pub const WINDOW: u64 = 1024;

const BLOCK: u64 = u64::BITS as u64;

/// One more block than the window fills: the block of the greatest sequence is mostly not full (RFC 6479).
#[allow(clippy::cast_possible_truncation)] // both are small
const BLOCKS: usize = WINDOW as usize / BLOCK as usize + 1;

/// Why a message is not taken although its signature verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotFresh {
    /// It has come already.
    Seen,
    /// It is [`WINDOW`] or more behind the greatest sequence of its epoch: whether it has come, nobody knows any
    /// more.
    TooOld,
    /// Its origin has begun a newer epoch.
    OldEpoch,
    /// There is no room to remember that it came. Who comes late displaces nobody: a window that were forgotten to
    /// make room would let everything through once more.
    Full,
}

impl fmt::Display for NotFresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seen => "a signed message that has come already",
            Self::TooOld => "a signed message from before the window",
            Self::OldEpoch => "a signed message of an epoch that is over",
            Self::Full => "no room to remember a signed message",
        })
    }
}

impl core::error::Error for NotFresh {}

/// Where links find out whether a signed message has come before, over whichever of them.
///
/// All links of a node ask one store, so it has to be shared and locks itself. With the feature `std`, a
/// `Mutex<ReplayWindows>` is one. Without, the platform's own lock around [`ReplayWindows`] takes a few lines.
/// It is asked for signed messages only, and only for those whose signature verifies.
pub trait ReplayStore: fmt::Debug + Send + Sync {
    /// Notes that this message has come, unless it may have come before: both in one step, whoever else asks at
    /// the same time.
    ///
    /// # Errors
    /// [`NotFresh`]; nothing has changed then.
    fn admit(&self, origin: &NodeId, audience: &Audience, epoch: u64, sequence: u64) -> Result<(), NotFresh>;
}

#[cfg(feature = "std")]
impl ReplayStore for std::sync::Mutex<ReplayWindows> {
    fn admit(&self, origin: &NodeId, audience: &Audience, epoch: u64, sequence: u64) -> Result<(), NotFresh> {
        // Nothing in there can panic half-way: whoever poisoned the lock did so with windows that are whole.
        let mut windows = self.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        windows.admit(origin, audience, epoch, sequence)
    }
}

/// What has come of one origin for one audience.
#[derive(Clone, Debug)]
struct Window {
    epoch: u64,
    /// The greatest sequence that has come.
    highest: u64,
    /// A ring: the bit of a sequence is set if it has come. Nothing above `highest` is set.
    blocks: [u64; BLOCKS],
}

impl Window {
    /// A window in which nothing has come, at the place where `sequence` is the greatest.
    const fn new(epoch: u64, sequence: u64) -> Self {
        Self { epoch, highest: sequence, blocks: [0; BLOCKS] }
    }

    fn block(&mut self, sequence: u64) -> Option<&mut u64> {
        let at = usize::try_from(sequence / BLOCK % BLOCKS as u64).ok()?;
        self.blocks.get_mut(at)
    }

    /// Moves on, if `sequence` is ahead.
    fn advance(&mut self, sequence: u64) {
        let (from, to) = (self.highest / BLOCK, sequence / BLOCK);
        // No more blocks than there are, however far it goes.
        let passed = to.saturating_sub(from).min(BLOCKS as u64);
        for block in 0..passed {
            if let Some(block) = self.block((to - block) * BLOCK) {
                *block = 0;
            }
        }
        self.highest = self.highest.max(sequence);
    }

    fn admit(&mut self, epoch: u64, sequence: u64) -> Result<(), NotFresh> {
        if epoch < self.epoch {
            return Err(NotFresh::OldEpoch);
        }
        if epoch > self.epoch {
            *self = Self::new(epoch, sequence);
        }
        if self.highest.saturating_sub(sequence) >= WINDOW {
            return Err(NotFresh::TooOld);
        }
        self.advance(sequence);
        let bit = 1 << (sequence % BLOCK);
        match self.block(sequence) {
            Some(block) if *block & bit == 0 => {
                *block |= bit;
                Ok(())
            }
            _ => Err(NotFresh::Seen),
        }
    }

    /// Takes everything up to `sequence` of `epoch` as having come.
    fn raise(&mut self, epoch: u64, sequence: u64) {
        for sequence in sequence.saturating_sub(WINDOW - 1)..=sequence {
            // What is not fresh counts as having come already.
            let _ = self.admit(epoch, sequence);
        }
    }
}

/// What has come, for a bounded number of origins and audiences.
///
/// A message is taken if its epoch is the newest of its origin and audience that has come, its sequence is not more
/// than [`WINDOW`] − 1 behind the greatest, and it has not come before. Nothing that was taken is ever taken again,
/// as long as the store lives and nobody [forgets](Self::forget): a store that is full takes no new origin and no
/// new audience, and goes on with those that it has.
#[derive(Clone, Debug)]
pub struct ReplayWindows {
    origins: BTreeMap<NodeId, BTreeMap<Audience, Window>>,
    count: usize,
    capacity: usize,
    share: usize,
}

impl ReplayWindows {
    /// The windows of a store that is made by default.
    pub const DEFAULT_CAPACITY: usize = 4096;

    /// The windows that one origin has of them at most.
    pub const DEFAULT_SHARE: usize = 64;

    /// An empty store for `capacity` windows, one for each pair of origin and audience, of which one origin has
    /// `share` at most: else one that signs for ever new topics would keep all others out. A window takes about 200
    /// bytes and its topic.
    pub const fn new(capacity: usize, share: usize) -> Self {
        Self { origins: BTreeMap::new(), count: 0, capacity, share }
    }

    /// Notes that a message has come, unless it may have come before. The caller has verified its signature: else
    /// anybody could move the windows of others.
    ///
    /// # Errors
    /// [`NotFresh`]; nothing has changed then.
    pub fn admit(
        &mut self,
        origin: &NodeId,
        audience: &Audience,
        epoch: u64,
        sequence: u64,
    ) -> Result<(), NotFresh> {
        self.window(origin, audience, epoch, sequence)?.admit(epoch, sequence)
    }

    /// Takes everything of `origin` for `audience` up to `sequence` of `epoch` as having come, with all older
    /// epochs. With what [`latest`](Self::latest) gave before the process ended, a store goes on where it was.
    ///
    /// # Errors
    /// [`NotFresh::Full`].
    pub fn raise(
        &mut self,
        origin: &NodeId,
        audience: &Audience,
        epoch: u64,
        sequence: u64,
    ) -> Result<(), NotFresh> {
        self.window(origin, audience, epoch, sequence)?.raise(epoch, sequence);
        Ok(())
    }

    /// The window of a pair, made if there is none and there is room.
    fn window(
        &mut self,
        origin: &NodeId,
        audience: &Audience,
        epoch: u64,
        sequence: u64,
    ) -> Result<&mut Window, NotFresh> {
        let held = self.origins.get(origin);
        let known = held.is_some_and(|windows| windows.contains_key(audience));
        if !known {
            let own = held.map_or(0, BTreeMap::len);
            if self.count >= self.capacity || own >= self.share {
                return Err(NotFresh::Full);
            }
            self.count += 1;
        }
        let windows = self.origins.entry(*origin).or_default();
        Ok(windows.entry(audience.clone()).or_insert_with(|| Window::new(epoch, sequence)))
    }

    /// Newest epoch and greatest sequence of each origin and audience, in the order of their ids.
    pub fn latest(&self) -> impl Iterator<Item = (&NodeId, &Audience, u64, u64)> {
        self.origins.iter().flat_map(|(origin, windows)| {
            windows.iter().map(move |(audience, window)| (origin, audience, window.epoch, window.highest))
        })
    }

    /// Forgets everything of an origin, to make room. What it has ever signed passes once more, so it is for an
    /// origin to which nobody listens any longer. The number of windows that it had.
    pub fn forget(&mut self, origin: &NodeId) -> usize {
        let gone = self.origins.remove(origin).map_or(0, |windows| windows.len());
        self.count -= gone;
        gone
    }

    /// How many windows there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there can be.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }
}

impl Default for ReplayWindows {
    fn default() -> Self {
        Self::new(Self::DEFAULT_CAPACITY, Self::DEFAULT_SHARE)
    }
}
