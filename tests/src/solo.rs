//! One link whose other side is the test itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use handclasp::{Action, Closed, Config, Dial, Instant, Link, NodeId, Ready};

use crate::{Owned, seed};

/// One link, what it wrote, and the events that it gave.
#[derive(Debug)]
pub struct Solo {
    /// The link.
    pub link: Link,
    /// Events in order, not yet looked at by the test.
    pub events: VecDeque<Owned>,
    /// The time that the link is told.
    pub now: Instant,
    /// What it wrote and the test has not taken.
    out: Vec<u8>,
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
        let mut solo = Self { link, events: VecDeque::new(), now, out: Vec::new() };
        solo.act();
        solo
    }

    /// Takes events and bytes until the link has no more; the time that it wants to be woken at.
    ///
    /// # Panics
    /// If the link breaks a promise: an event behind `Closed`, or a deadline in the past.
    pub fn act(&mut self) -> Option<Instant> {
        loop {
            match self.link.poll(self.now, Ready::ALL) {
                Action::Event(event) => {
                    let event = Owned::from(event);
                    assert!(
                        !matches!(self.events.iter().last(), Some(Owned::Closed(_))),
                        "{event:?} behind Closed"
                    );
                    self.events.push_back(event);
                }
                Action::Send => {
                    let bytes = self.link.transmit(self.now);
                    let count = bytes.len();
                    self.out.extend_from_slice(bytes);
                    self.link.transmitted(count, self.now);
                }
                Action::Timeout(at) => {
                    assert!(
                        at.is_none_or(|at| at > self.now),
                        "a deadline in the past: {at:?} at {:?}",
                        self.now
                    );
                    return at;
                }
            }
        }
    }

    /// Gives the link bytes, as far as it takes them, in reads as large as it allows. How many it took.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        self.feed_in(bytes, usize::MAX)
    }

    /// The same in reads of at most `chunk` bytes, with a poll after each.
    pub fn feed_in(&mut self, bytes: &[u8], chunk: usize) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = self.link.recv_space();
            let count = space.len().min(rest.len()).min(chunk);
            if count == 0 {
                break;
            }
            let (read, later) = rest.split_at(count);
            space[..count].copy_from_slice(read);
            rest = later;
            self.link.received(count, self.now);
            self.act();
        }
        bytes.len() - rest.len()
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
