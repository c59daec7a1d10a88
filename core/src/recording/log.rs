//! A recording under way: entries, gathered into steps.
//!
//! A step is an input, what cryptography said meanwhile, what came out, and how the link stood behind it. It
//! is kept whole or not at all, so that a recording that is full ends between two steps.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use core::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::blank::{self, CannotBlank};
use super::bytes::{Writer, digest};
use super::crypto::{Operation, Place};
use super::input::Input;
use super::skeleton::Skeleton;
use super::{End, FIGURES, Figures};
use crate::identity::NodeId;
use crate::time::Instant;

/// What an entry is. Each stands before its length, so that a reader can pass over what it does not know.
pub(crate) mod tag {
    /// What the link was made from. The first entry, and only that.
    pub(crate) const ORIGIN: u8 = 0x01;
    /// A call of the owner's: a new step begins.
    pub(crate) const INPUT: u8 = 0x10;
    /// The result of a cryptographic operation.
    pub(crate) const CRYPTO: u8 = 0x20;
    /// What `poll` answered.
    pub(crate) const ACTION: u8 = 0x30;
    /// How the link stands: the figures that have changed. The step ends.
    pub(crate) const AFTER: u8 = 0x40;
    /// The recording ends, and why. The last entry.
    pub(crate) const END: u8 = 0x7f;
}

/// The bytes of the entry at the end.
const END_LEN: usize = 3;

pub(crate) struct Log {
    pub(crate) exact: bool,
    limit: usize,
    /// Header, origin, whole steps.
    whole: Writer,
    step: Writer,
    /// A step is under way.
    open: bool,
    end: Option<End>,
    last_now: u64,
    figures: Figures,
    skeleton: Skeleton,
    /// `recv_space` was called and nothing since.
    space_given: bool,
    /// Whether the record that proves an id has been sealed, and opened.
    proofs: [bool; 2],
    /// Whom a redacted recording takes for listed: it says so of who comes, not of the others.
    listed: Option<Arc<BTreeSet<NodeId>>>,
}

impl Log {
    /// `header` is everything before the first step.
    pub(crate) fn new(
        exact: bool,
        limit: usize,
        header: Writer,
        initiator: bool,
        start: Instant,
        listed: Option<Arc<BTreeSet<NodeId>>>,
    ) -> Self {
        let end = (header.is_too_long() || header.len() + END_LEN > limit).then_some(End::Full);
        Self {
            exact,
            limit,
            whole: header,
            step: Writer::default(),
            open: false,
            end,
            last_now: start.as_nanos(),
            figures: [0; FIGURES],
            skeleton: Skeleton::new(initiator),
            space_given: false,
            proofs: [false; 2],
            listed,
        }
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// The recording up to the last whole step.
    pub(crate) fn snapshot(&self) -> Writer {
        let mut out = Writer::default();
        out.raw(self.whole.as_slice());
        out.raw(&[tag::END, 1, self.end.unwrap_or(End::Stopped) as u8]);
        out
    }

    /// Ends the recording before the step under way.
    fn stop(&mut self, why: End) {
        self.end.get_or_insert(why);
        self.step.clear();
        self.open = false;
    }

    /// Notes an entry of the step under way.
    pub(crate) fn entry(&mut self, tag: u8, fill: impl FnOnce(&mut Writer)) {
        if !self.open {
            return;
        }
        let mut value = Writer::default();
        fill(&mut value);
        if value.is_too_long() {
            return self.stop(End::Unrecordable);
        }
        if self.whole.len() + self.step.len() + value.len() + 2 * END_LEN + 8 > self.limit {
            return self.stop(End::Full);
        }
        self.step.byte(tag);
        self.step.string(value.as_slice());
    }

    /// The link gives room for a read.
    pub(crate) fn give_space(&mut self) {
        self.space_given = true;
    }

    /// An input comes to a link that stands so.
    pub(crate) fn begin(&mut self, figures: &Figures, input: &Input<'_>, now: Option<Instant>) {
        self.finish(figures);
        let received = matches!(input, Input::Received { .. });
        if core::mem::take(&mut self.space_given) && !received {
            self.start(&Input::RecvSpace, None);
            self.finish(figures);
        }
        self.start(input, now);
    }

    fn start(&mut self, input: &Input<'_>, now: Option<Instant>) {
        if self.is_over() {
            return;
        }
        self.open = true;
        let now = now.map_or(self.last_now, Instant::as_nanos);
        let passed = now.wrapping_sub(core::mem::replace(&mut self.last_now, now));
        let exact = self.exact;
        let blanked = match input {
            Input::Received { count, bytes } if !exact => {
                Some(Input::Received { count: *count, bytes: self.skeleton.blank(bytes).into() })
            }
            _ => None,
        };
        let input = blanked.as_ref().unwrap_or(input);
        self.entry(tag::INPUT, |out| {
            out.byte(input.kind());
            // A clock may step back: the sign is in the lowest bit.
            out.number((passed << 1) ^ (passed >> 63).wrapping_neg());
            input.put(exact, out);
        });
    }

    /// The step under way ends, with the link standing so.
    pub(crate) fn finish(&mut self, figures: &Figures) {
        if !self.open {
            return;
        }
        let before = core::mem::replace(&mut self.figures, *figures);
        self.entry(tag::AFTER, |out| {
            let changed = || before.iter().zip(figures).enumerate().filter(|(_, (old, new))| old != new);
            out.number(changed().fold(0, |mask, (index, _)| mask | 1 << index));
            changed().for_each(|(_, (_, new))| out.number(*new));
        });
        if self.open {
            self.whole.raw(self.step.as_slice());
            self.step.clear();
            self.open = false;
        }
    }

    /// The same, for a replay: what the step holds, which is not kept.
    pub(crate) fn take_step(&mut self, figures: &Figures) -> Writer {
        let before = self.whole.len();
        if core::mem::take(&mut self.space_given) {
            self.start(&Input::RecvSpace, None);
        }
        self.finish(figures);
        let mut step = Writer::default();
        step.raw(self.whole.as_slice().get(before..).unwrap_or_default());
        self.whole.clear();
        step
    }

    /// Notes the result of an operation: 0, or a number for what failed.
    pub(crate) fn crypto(&mut self, operation: Operation, failed: u8) {
        self.entry(tag::CRYPTO, |out| out.raw(&[operation as u8, failed]));
    }

    /// Notes a signature.
    pub(crate) fn signed(&mut self, signature: &[u8; 64]) {
        let exact = self.exact;
        self.entry(tag::CRYPTO, |out| {
            out.raw(&[Operation::Sign as u8, 0]);
            out.raw(if exact { signature } else { &[] });
        });
    }

    /// Notes a text that was sealed or opened: of an exact recording its digest, since it follows from the
    /// rest. Of a redacted one it is blanked; what was opened is kept, and of what was sealed the digest.
    pub(crate) fn text(&mut self, operation: Operation, associated: &[u8], text: &[u8]) {
        if !self.open {
            return;
        }
        let place = self.place(operation, associated);
        let blanked = match place {
            _ if self.exact => None,
            Place::KeyExchange => Some(alloc::vec![0; text.len()]),
            Place::Authentication => self.blanked(blank::authentication(text)),
            Place::Record => self.blanked(blank::record(text)),
        };
        let listed = (operation == Operation::Open && place == Place::Authentication)
            .then(|| self.listed.as_ref().is_some_and(|listed| is_listed(listed, text)));
        self.entry(tag::CRYPTO, |out| {
            out.raw(&[operation as u8, 0, place as u8]);
            match (blanked, operation) {
                (Some(blanked), Operation::Open) => {
                    if let Some(listed) = listed {
                        out.flag(listed);
                    }
                    out.sparse(&blanked);
                }
                (blanked, _) => {
                    out.length(text.len());
                    out.raw(&digest(blanked.as_deref().unwrap_or(text)));
                }
            }
        });
    }

    fn blanked(&mut self, blanked: Result<alloc::vec::Vec<u8>, CannotBlank>) -> Option<alloc::vec::Vec<u8>> {
        if blanked.is_err() {
            self.stop(End::Unrecordable);
        }
        blanked.ok()
    }

    /// The first record in each direction proves an id, those behind it hold frames. Only the key exchange
    /// has associated data.
    fn place(&mut self, operation: Operation, associated: &[u8]) -> Place {
        let [sealed, opened] = &mut self.proofs;
        let proved = if operation == Operation::Seal { sealed } else { opened };
        if !associated.is_empty() {
            Place::KeyExchange
        } else if core::mem::replace(proved, true) {
            Place::Record
        } else {
            Place::Authentication
        }
    }
}

/// Whether the id that AUTH claims is on the list.
fn is_listed(listed: &BTreeSet<NodeId>, text: &[u8]) -> bool {
    let claimed = text.split_last_chunk::<64>().and_then(|(rest, _)| rest.last_chunk::<32>());
    claimed.is_some_and(|id| listed.contains(id))
}

/// A log that a link and its cryptography both write to.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Log>>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    pub(crate) fn new(log: Log) -> Self {
        Self(Arc::new(Mutex::new(log)))
    }

    /// Nobody waits here: a link and its cryptography run one after the other.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
