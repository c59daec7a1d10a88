//! Waiting without a runtime: what handles and tasks tell each other with.

mod mailbox;
mod tasks;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use event_listener::Event;

pub(crate) use mailbox::{Bell, Mailbox};
pub(crate) use tasks::{Abort, Tasks};

use super::Runtime;

/// Locks. What a panic left half done concerns one peer at most; the others go on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes a task, if there is one.
pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Remembers the task to wake, and gives the one that was remembered before, if that is another. It is let go of without
/// the lock that it stood under: a waker may be the last to hold what takes that lock when it goes.
#[must_use]
pub(crate) fn remember(known: &mut Option<Waker>, context: &Context<'_>) -> Option<Waker> {
    let waker = context.waker();
    let known_well = known.as_ref().is_some_and(|known| known.will_wake(waker));
    if known_well { None } else { known.replace(waker.clone()) }
}

/// Wakes everybody who listens.
pub(crate) fn wake_all(event: &Event) {
    event.notify(usize::MAX);
}

/// The result of `future`, or `None` if there is none at `deadline`.
pub(crate) async fn timeout_at<R: Runtime, T>(
    deadline: Instant,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    let mut sleep = pin!(R::sleep_until(deadline));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
    })
    .await
}
