//! Credit: what each side may have under way towards the other (docs/wire.md §6).
//!
//! A message is charged whole, with its first frame. A charge by pieces would let half-sent messages of
//! several lanes hold the window while none of them can be completed.

/// Bytes added to each message's charge, so that empty messages are not free.
pub(crate) const MESSAGE_OVERHEAD: usize = 64;

/// The most that one message can be charged beyond its body.
pub(crate) const LARGEST_EXTRA: usize = MESSAGE_OVERHEAD + 255;

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

/// One direction's view of one budget, at the receiver.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RecvCredit {
    /// What the peer may still begin.
    available: u64,
    /// Taken by the application and not yet given back.
    owed: u64,
    /// Give back once more than this is owed. At most what half the window holds beyond the largest message: a
    /// peer that waits to begin one, and has lanes that leave up to half the window to those above them, then
    /// never waits for a credit that is never sent.
    threshold: u64,
}

impl RecvCredit {
    pub(super) fn new(window: u32, max_message: u32) -> Self {
        let window = u64::from(window);
        let slack = (window / 2).saturating_sub(u64::from(max_message) + LARGEST_EXTRA as u64);
        Self { available: window, owed: 0, threshold: slack.min(window / 4) }
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

    /// Whether it is time for a CREDIT frame.
    pub(super) const fn is_due(self) -> bool {
        self.owed > self.threshold
    }

    /// Takes all that is owed, for a CREDIT frame.
    pub(super) const fn take(&mut self) -> u64 {
        let owed = self.owed;
        self.available += owed;
        self.owed = 0;
        owed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
