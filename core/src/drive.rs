//! One step of one link, for any poll-based runtime.
//!
//! [`pump`] is the loop that every asynchronous adapter needs, written with [`core::task`] and three
//! closures. It knows no runtime: how a stream is read and written and where events go is the caller's, and
//! so are the clock, the timer and the task.

use core::task::{Context, Poll};

use crate::link::{Action, Event, Link, Ready};
use crate::time::Instant;

/// How many reads and writes one step makes at most, so that one busy link lets others of its thread run.
const BUDGET: usize = 32;

/// How many bytes one step moves, about: commands of the application wait for its end.
const BYTES: usize = 64 << 10;

/// What is left of a step.
struct Budget {
    turns: usize,
    bytes: usize,
}

impl Budget {
    fn spend(&mut self, bytes: usize) {
        self.turns = self.turns.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn is_spent(&self) -> bool {
        self.turns == 0 || self.bytes == 0
    }
}

/// Which events the application can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// All kinds.
    Everything,
    /// Of the peer's requests only [unordered](crate::Incoming::unordered) messages; all other events.
    Unordered,
    /// All but the peer's requests: its services are behind.
    NoRequests,
    /// None.
    Nothing,
}

impl Taking {
    fn ready(self, write: bool) -> Ready {
        let requests = self == Self::Everything;
        Ready {
            events: self != Self::Nothing,
            requests,
            unordered: requests || self == Self::Unordered,
            write,
        }
    }
}

/// What to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says when to step again"]
pub enum Pumped {
    /// Nothing more can be done now. Step again when the stream or the application wakes the task, after a
    /// command, and at `deadline` if there is one.
    Idle {
        /// When to step again at the latest.
        deadline: Option<Instant>,
    },
    /// There is more to do, but others should have their turn: let them, then step again.
    Busy,
    /// The link has ended and its last event was delivered. Shut the stream down.
    Finished,
}

/// Moves bytes and events of `link` as far as they go without waiting.
///
/// - `clock` tells the time; it is read once a step, and after each read that brought bytes.
/// - `read` and `write` are the stream's poll functions; `Ok(0)` from `read` is its end. They register the
///   task's waker when they are pending, and are not called again in the same step. The slices they are given
///   are not empty, and are not kept across a wait.
/// - `deliver` takes an event and says which kinds it can take next; `taking` says the same of the first.
///   Whatever it cannot take, bytes still go both ways: pings are answered, and credit bounds what piles up.
///
/// An error of the stream ends the link with [`Reason::Transport`](crate::Reason::Transport) and is returned
/// once; step on until [`Pumped::Finished`].
///
/// # Errors
/// The stream's own error.
pub fn pump<E>(
    link: &mut Link,
    context: &mut Context<'_>,
    mut clock: impl FnMut() -> Instant,
    mut taking: Taking,
    mut read: impl FnMut(&mut Context<'_>, &mut [u8]) -> Poll<Result<usize, E>>,
    mut write: impl FnMut(&mut Context<'_>, &[u8]) -> Poll<Result<usize, E>>,
    mut deliver: impl FnMut(Event<'_>) -> Taking,
) -> Result<Pumped, E> {
    let mut now = clock();
    let (mut readable, mut writable) = (true, true);
    let mut broken = None;
    let mut budget = Budget { turns: BUDGET, bytes: BYTES };
    loop {
        let deadline = loop {
            match link.poll(now, taking.ready(writable && !budget.is_spent())) {
                Action::Event(event) => taking = deliver(event),
                Action::Send => {
                    let bytes = link.transmit(now);
                    if bytes.is_empty() {
                        // Sealing has failed: the link has ended, and the next poll says why.
                        budget.spend(0);
                        continue;
                    }
                    match write(context, bytes) {
                        Poll::Pending => writable = false,
                        // A stream that takes nothing of something never will.
                        Poll::Ready(Ok(0)) => link.transport_failed(now),
                        Poll::Ready(Ok(count)) => {
                            link.transmitted(count, now);
                            budget.spend(count);
                        }
                        Poll::Ready(Err(error)) => {
                            // The peer may have closed with a last word, which is here already: that is the
                            // reason to give.
                            broken = Some(error);
                            writable = false;
                        }
                    }
                }
                Action::Timeout(deadline) => break deadline,
            }
        };
        if link.is_finished() {
            return Ok(Pumped::Finished);
        }
        if budget.is_spent() {
            // A stream that is broken says so again in the next step.
            return Ok(Pumped::Busy);
        }
        if !readable || link.recv_space().is_empty() {
            return match broken {
                Some(error) => {
                    link.transport_failed(now);
                    Err(error)
                }
                None => Ok(Pumped::Idle { deadline }),
            };
        }
        match read(context, link.recv_space()) {
            Poll::Pending => readable = false,
            Poll::Ready(Ok(0)) => {
                link.recv_closed(now);
                readable = false;
            }
            Poll::Ready(Ok(count)) => {
                // Bytes have come since the last look: else an answer could come at the time of its question.
                now = clock();
                link.received(count, now);
                budget.spend(count);
            }
            Poll::Ready(Err(error)) => {
                link.transport_failed(now);
                return Err(error);
            }
        }
    }
}
