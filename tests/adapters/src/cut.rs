//! Futures that are dropped at each of their await points.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Drops futures of one kind after no poll, after one, after two, …: after each once as soon as the poll has
/// ended, and once when the future has been woken but not polled. In the first case what it waits for is on its
/// way, in the second it is there and has not been taken.
///
/// ```ignore
/// let mut cuts = Cuts::new();
/// while cuts.more() {
///     let answer = soon(cuts.cut(link.call("echo", "x"))).await;
///     // `answer` is what the call gave, if it came to its end. Whatever was lost shows here.
/// }
/// ```
///
/// There are more cuts until a future has come to its end several times, and one has been dropped that had been
/// polled: on a runtime with threads how often a future is polled differs from run to run.
#[derive(Debug, Default)]
pub struct Cuts {
    polls: usize,
    when_woken: bool,
    ended: usize,
    /// Of those that were polled.
    cut: usize,
}

/// How often a future comes to its end before there are no more cuts.
const ENDS: usize = 4;

/// A future that is polled more often than this does not end.
const MOST: usize = 400;

impl Cuts {
    /// Begins with a future that is never polled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are await points left.
    ///
    /// # Panics
    /// If a future has many more than any of them can have, or none.
    pub fn more(&self) -> bool {
        assert!(self.polls < MOST, "it is not done after {MOST} polls: {self:?}");
        assert!(self.ended < MOST, "it never waits: {self:?}");
        self.ended < ENDS || self.cut == 0
    }

    /// Polls `future` as often as it is its turn and drops it: `None`. If it comes to its end before, gives
    /// its result. The next one is cut at the next point.
    pub async fn cut<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let (mut left, when_woken) = (self.polls, self.when_woken);
        let result = {
            let mut future = pin!(future);
            poll_fn(|context| {
                if left == 0 {
                    return Poll::Ready(None);
                }
                left -= 1;
                match future.as_mut().poll(context) {
                    Poll::Ready(result) => Poll::Ready(Some(result)),
                    Poll::Pending if left == 0 && !when_woken => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        };
        if result.is_some() {
            // Another one may wait longer at this point.
            self.ended += 1;
            return result;
        }
        self.cut += usize::from(self.polls > 0);
        if self.polls > 0 && !self.when_woken {
            self.when_woken = true;
        } else {
            (self.polls, self.when_woken) = (self.polls + 1, false);
        }
        result
    }

    /// Whether the next future is polled at all.
    pub fn is_polled(&self) -> bool {
        self.polls > 0
    }
}
