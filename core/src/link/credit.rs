//! Credit: what each side may have under way towards the other (docs/wire.md §6).
//!
//! A message is charged whole, with its first frame. A charge by pieces would let half-sent messages of
//! several lanes hold the window while none of them can be completed.

use alloc::collections::VecDeque;
use core::fmt;

use super::requests::Freed;
use super::session::Session;

/// Bytes added to each message's charge, so that empty messages are not free.
pub(crate) const MESSAGE_OVERHEAD: usize = 64;

/// The most that one message can be charged beyond its body.
pub(crate) const LARGEST_EXTRA: usize = MESSAGE_OVERHEAD + 255;

/// What a receiver may owe without saying so, as a divisor of the window.
const HELD_BACK: u64 = 16;

/// Which of the two windows a message is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    /// SEND and CALL.
    Messages = 0,
    /// REPLY and ERROR: apart, so that a flood of messages never keeps an answer back.
    Replies = 1,
}

/// One direction's view of one budget, at the sender.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SendCredit {
    window: u64,
    available: u64,
}

impl SendCredit {
    pub(super) const fn new(window: u32) -> Self {
        Self { window: window as u64, available: window as u64 }
    }

    pub(super) const fn window(self) -> u64 {
        self.window
    }

    pub(super) const fn available(self) -> u64 {
        self.available
    }

    /// What was charged and has not come back.
    pub(super) const fn under_way(self) -> u64 {
        self.window - self.available
    }

    /// Whether nothing is under way.
    pub(super) const fn is_whole(self) -> bool {
        self.available == self.window
    }

    pub(super) const fn covers(self, charge: usize) -> bool {
        charge as u64 <= self.available
    }

    /// Takes `charge`, which [`covers`](Self::covers) has allowed.
    pub(super) const fn charge(&mut self, charge: usize) {
        self.available = self.available.saturating_sub(charge as u64);
    }

    /// Adds what the peer gave back; false if that is more than the window.
    #[must_use]
    pub(super) const fn restore(&mut self, bytes: u64) -> bool {
        match self.available.checked_add(bytes) {
            Some(available) if available <= self.window => {
                self.available = available;
                true
            }
            _ => false,
        }
    }
}

/// Messages of one budget that were sealed to their last byte and that the peer may not have taken, at their
/// sender.
///
/// Charges come back in the order in which messages complete; only that of an abandoned message may overtake. So
/// as long as a message has not been taken, at least its own charge and those of all that completed behind it are
/// under way. Once less is, it has been taken: that is the whole rule. What abandoned messages were charged is
/// under way beside, and can only make it say "unknown" of what was taken.
///
/// Neighbours are counted together as long as they are small beside the window, so that there are a few hundred
/// runs at most, however small the messages are.
#[derive(Default)]
pub(super) struct Unconfirmed {
    runs: VecDeque<Run>,
    /// The charges of all runs.
    bytes: u64,
}

/// Messages that completed one after the other.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// What they were charged.
    bytes: u64,
    /// What the last one-way message among them was charged, and the calls behind it.
    last: u64,
    /// How many of them are one-way messages.
    sends: u32,
}

impl Unconfirmed {
    /// The part of the window, as its divisor, up to which neighbours are counted together.
    const GRAIN: u64 = 128;

    /// A message has been sealed to its last byte.
    pub(super) fn push(&mut self, charge: usize, one_way: bool, window: u64) {
        let (charge, sends) = (charge as u64, u32::from(one_way));
        self.bytes += charge;
        if let Some(run) = self.runs.back_mut().filter(|run| run.bytes + charge <= window / Self::GRAIN) {
            run.bytes += charge;
            run.last = if one_way { charge } else { run.last + charge };
            run.sends += sends;
        } else if one_way || !self.runs.is_empty() {
            self.runs.push_back(Run { bytes: charge, last: charge, sends });
        } else {
            // Nothing waits in front of the call.
            self.bytes -= charge;
        }
    }

    /// Credit has come: `under_way` is what complete messages were charged and has not come back.
    pub(super) fn confirm(&mut self, under_way: u64) {
        while let Some(run) = self.runs.front() {
            // Nothing is asked of calls alone.
            if run.sends > 0 && under_way >= self.bytes - run.bytes + run.last {
                break;
            }
            self.bytes -= run.bytes;
            self.runs.pop_front();
        }
    }

    /// How many one-way messages the peer may not have taken.
    pub(super) fn sends(&self) -> usize {
        self.runs.iter().map(|run| run.sends as usize).sum()
    }

    pub(super) fn shrink(&mut self) {
        if self.runs.is_empty() {
            self.runs = VecDeque::new();
        }
    }
}

impl fmt::Debug for Unconfirmed {
    /// The sums: the runs say nothing to people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unconfirmed({} sends, {} bytes)", self.sends(), self.bytes)
    }
}

/// One direction's view of one budget, at the receiver.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RecvCredit {
    /// What the peer may still begin.
    available: u64,
    /// Taken by the application and not yet given back.
    owed: u64,
    /// Give back once more than this is owed. At most what half the window holds beyond the largest message: a
    /// peer that waits to begin one, and has lanes that leave up to half the window to those above them, then
    /// never waits for a credit that is never sent. Nor does one that keeps little under way.
    threshold: u64,
    /// Some of what is owed is for a one-way message: the peer learns from it that it was taken.
    confirms: bool,
}

impl RecvCredit {
    pub(super) fn new(window: u32, max_message: u32) -> Self {
        let window = u64::from(window);
        let slack = (window / 2).saturating_sub(u64::from(max_message) + LARGEST_EXTRA as u64);
        Self { available: window, owed: 0, threshold: slack.min(window / HELD_BACK), confirms: false }
    }

    /// Charges a message that the peer began; false if it had no credit for it.
    #[must_use]
    pub(super) const fn charge(&mut self, charge: usize) -> bool {
        match self.available.checked_sub(charge as u64) {
            Some(left) => {
                self.available = left;
                true
            }
            None => false,
        }
    }

    /// Notes that the application took what `charge` was for.
    pub(super) const fn release(&mut self, charge: usize) {
        self.owed += charge as u64;
    }

    /// Whether a CREDIT frame would tell the peer of a one-way message.
    pub(super) const fn confirms(self) -> bool {
        self.confirms
    }

    /// Whether it is time for a CREDIT frame.
    pub(super) const fn is_due(self) -> bool {
        self.owed > self.threshold
    }

    /// Takes all that is owed, for a CREDIT frame.
    pub(super) const fn take(&mut self) -> u64 {
        let owed = self.owed;
        self.available += owed;
        self.owed = 0;
        self.confirms = false;
        owed
    }
}

impl Session {
    /// Gives back what a message without its overhead was charged.
    pub(super) fn release(&mut self, budget: Budget, charged: usize) {
        self.recv_credit[budget as usize].release(charged + MESSAGE_OVERHEAD);
    }

    /// Gives back what a message that is not for the application was charged without its overhead, in its turn:
    /// the peer learns from the order which messages were taken.
    pub(super) fn release_in_turn(&mut self, charged: usize, one_way: bool) {
        let freed = Freed::of(charged, one_way);
        if !self.requests.owe_behind(freed) {
            self.give_back(freed);
        }
    }

    /// Gives back what was charged to the budget for messages.
    pub(super) fn give_back(&mut self, freed: Freed) {
        let credit = &mut self.recv_credit[Budget::Messages as usize];
        credit.release(freed.bytes);
        credit.confirms |= freed.confirms;
    }

    /// Whether a CREDIT frame for this budget is worth sending: enough is owed, or the peer is to learn what was
    /// taken before the link ends.
    pub(super) fn owes_credit(&self, credit: &RecvCredit) -> bool {
        credit.is_due() || (self.draining && credit.confirms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However messages are mixed and given back, as many are unknown as the peer has not taken, no more than by what
    /// neighbours share, in a bounded number of runs.
    #[test]
    fn m6_unconfirmed_messages_are_never_too_few_and_their_record_is_bounded() {
        let mut state = 1_u64;
        let mut below = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        for window in [1343, 8192, 100_000, 1 << 20] {
            let mut record = Unconfirmed::default();
            let mut untaken: VecDeque<(u64, bool)> = VecDeque::new();
            for round in 0..60_000_usize {
                let under_way: u64 = untaken.iter().map(|(charge, _)| charge).sum();
                let charge = if below(50) == 0 { 64 + below(window / 2) } else { 64 + below(40) };
                if charge + under_way <= window {
                    let one_way = below(3) > 0;
                    record.push(usize::try_from(charge).unwrap_or(usize::MAX), one_way, window);
                    untaken.push_back((charge, one_way));
                }
                // Mostly the window is nearly full; sometimes all of it comes back.
                if round % 7 == 0 {
                    let back = if below(300) == 0 { untaken.len() } else { untaken.len() / (2 + round % 5) };
                    untaken.drain(..back);
                    record.confirm(untaken.iter().map(|(charge, _)| charge).sum());
                    let sends = untaken.iter().filter(|(_, one_way)| *one_way).count();
                    let shared = usize::try_from(window / 128 / 64).unwrap_or(usize::MAX);
                    assert!(record.sends() >= sends, "{} of {sends}", record.sends());
                    assert!(record.sends() <= sends + shared, "{} for {sends}", record.sends());
                }
                assert!(record.runs.len() <= 2 * 128 + 2, "{} runs", record.runs.len());
                let bytes: u64 = record.runs.iter().map(|run| run.bytes).sum();
                assert_eq!(record.bytes, bytes);
            }
            record.confirm(0);
            assert_eq!((record.sends(), record.bytes, record.runs.len()), (0, 0, 0));
        }
    }

    /// The smallest messages there are, as many as the window holds.
    #[test]
    fn m8_a_window_of_the_smallest_messages_takes_a_few_hundred_runs() {
        for window in [1 << 20, 4 << 20] {
            let mut record = Unconfirmed::default();
            for _ in 0..window / 64 {
                record.push(64, true, window);
                assert!(record.runs.len() <= 2 * 128 + 2, "{} runs", record.runs.len());
            }
            assert_eq!(record.sends() as u64, window / 64);
        }
    }

    #[test]
    fn a_peer_that_waits_for_its_largest_message_is_given_credit() {
        for window in [1024 + 319, 1024 + 320, 2048, 4096, 65_536] {
            let mut receiver = RecvCredit::new(window, 1024);
            let mut sender = SendCredit::new(window);
            let largest = 1024 + LARGEST_EXTRA;
            // Any pattern of charges that are all taken at once leaves room for the largest message.
            for charge in (64..largest).step_by(7) {
                if !sender.covers(charge) {
                    assert!(receiver.is_due(), "window {window}, charge {charge}");
                }
                if receiver.is_due() {
                    assert!(sender.restore(receiver.take()));
                }
                assert!(sender.covers(largest), "window {window}, charge {charge}");
                sender.charge(charge);
                assert!(receiver.charge(charge));
                receiver.release(charge);
            }
        }
    }

    #[test]
    fn credit_beyond_the_window_and_charges_beyond_the_credit_are_refused() {
        let mut sender = SendCredit::new(2000);
        assert!(!sender.restore(1));
        sender.charge(500);
        assert!(!sender.restore(501));
        assert!(!sender.restore(u64::MAX));
        assert!(sender.restore(500));
        let mut receiver = RecvCredit::new(2000, 1024);
        assert!(receiver.charge(2000));
        assert!(!receiver.charge(1));
    }
}
