//! One link whose other side is the test itself.

use std::sync::Arc;
use std::time::Duration;

use handclasp::{Closed, Config, Dial, Instant, Link, NodeId, Ready};

use crate::{Owned, seed, step};

/// One link, what it wrote, and the events that it gave. `Keys` is what the test holds at the other side:
/// nothing, or for [`Raw`](crate::raw::Raw) the traffic keys.
#[derive(Debug)]
pub struct Solo<Keys = ()> {
    /// The link.
    pub link: Link,
    /// Events in order, not yet looked at by the test.
    pub events: Vec<Owned>,
    /// The time that the link is told.
    pub now: Instant,
    /// What its owner takes.
    pub ready: Ready,
    /// What it wrote and the test has not taken.
    pub out: Vec<u8>,
    /// What the test holds at the other side.
    pub keys: Keys,
}

impl Solo {
    /// An initiator; its randomness is that of `run`.
    pub fn initiator(config: &Arc<Config>, expected: Option<NodeId>, run: u64) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        Self::new(Link::initiator(config, Dial { expected, sequence: 1 }, &seed(2 * run), now), now)
    }

    /// A responder; its randomness is that of `run`.
    pub fn responder(config: &Arc<Config>, run: u64) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        Self::new(Link::responder(config, 1, &seed(2 * run + 1), now), now)
    }

    fn new(link: Link, now: Instant) -> Self {
        let mut solo = Self { link, events: Vec::new(), now, ready: Ready::ALL, out: Vec::new(), keys: () };
        solo.act();
        solo
    }

    /// The same link, with these keys at the other side.
    pub(crate) fn with_keys<Keys>(self, keys: Keys) -> Solo<Keys> {
        let Self { link, events, now, ready, out, keys: () } = self;
        Solo { link, events, now, ready, out, keys }
    }
}

impl<Keys> Solo<Keys> {
    /// Takes events and bytes until the link has no more; the time that it wants to be woken at.
    ///
    /// # Panics
    /// If the link breaks a promise that every driver relies on: an event behind `Closed`, a deadline in the
    /// past, `Send` without bytes or bytes without `Send`.
    pub fn act(&mut self) -> Option<Instant> {
        let Self { link, events, now, ready, out, .. } = self;
        let (_, next) =
            step::act(link, *now, *ready, usize::MAX, events, |bytes| out.extend_from_slice(bytes));
        next
    }

    /// Gives the link bytes, as far as it takes them, in reads as large as it allows. How many it took.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        self.feed_in(bytes, usize::MAX)
    }

    /// The same in reads of at most `chunk` bytes, with a poll after each.
    pub fn feed_in(&mut self, bytes: &[u8], chunk: usize) -> usize {
        let mut taken = 0;
        loop {
            let count = step::read(&mut self.link, self.now, &bytes[taken..], chunk);
            if count == 0 {
                return taken;
            }
            taken += count;
            self.act();
        }
    }

    /// What the link has written since the last time this was asked.
    pub fn written(&mut self) -> Vec<u8> {
        self.act();
        std::mem::take(&mut self.out)
    }

    /// Tells the link that the stream has ended.
    pub fn hang_up(&mut self) {
        self.link.recv_closed(self.now);
        self.act();
    }

    /// Lets time pass, from one deadline to the next.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.act().filter(|next| *next <= until) {
            self.now = next;
        }
        self.now = until;
        self.act();
    }

    /// The link's end.
    ///
    /// # Panics
    /// If it has not ended.
    pub fn closed(&mut self) -> Closed {
        self.act();
        self.link.closed().unwrap_or_else(|| panic!("not ended: {:?}", self.link)).clone()
    }
}
