//! Tasks with results, over any runtime.

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use async_channel::{Receiver, Sender, bounded};
use futures_lite::FutureExt;
use futures_lite::future::or;
use handclasp::runtime::Runtime;

/// A task of a runtime; waiting for it gives its result. Dropping this lets the task go on.
pub struct Task<T> {
    result: Pin<Box<dyn Future<Output = Result<T, Lost>> + Send>>,
    // In a box, so that the task can be moved.
    results: Box<Receiver<Result<T, Lost>>>,
    abort: Sender<()>,
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("is_finished", &self.is_finished()).finish_non_exhaustive()
    }
}

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It panicked, with this message. A test that waits for it shows that, since what a runtime's own thread
    /// prints belongs to no test.
    Panicked(String),
    /// It was aborted.
    Aborted,
    /// It went with its runtime.
    Gone,
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Runs `work` on a task of the runtime.
pub fn spawn<R: Runtime, T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Task<T> {
    let ((sender, results), (abort, aborted)) = (bounded(1), bounded::<()>(1));
    R::spawn(async move {
        let work = AssertUnwindSafe(work).catch_unwind();
        let result = or(async { work.await.map_err(|panic| Lost::Panicked(message(&*panic))) }, async {
            match aborted.recv().await {
                Ok(()) => Err(Lost::Aborted),
                // Nobody can abort it any more.
                Err(_) => std::future::pending().await,
            }
        })
        .await;
        // Nobody may wait for it.
        let _ = sender.send(result).await;
    });
    Task::of(results, abort)
}

/// Runs `work`, which may block, where the runtime has threads for that.
pub fn unblock<R: Runtime, T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    let ((sender, results), (abort, _)) = (bounded(1), bounded(1));
    R::unblock(move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        // Nobody may wait for it.
        let _ = sender.try_send(result.map_err(|panic| Lost::Panicked(message(&*panic))));
    });
    Task::of(results, abort)
}

impl<T: Send + 'static> Task<T> {
    fn of(results: Receiver<Result<T, Lost>>, abort: Sender<()>) -> Self {
        let waiting = results.clone();
        let result = Box::pin(async move { waiting.recv().await.unwrap_or(Err(Lost::Gone)) });
        Self { result, results: Box::new(results), abort }
    }
}

impl<T> Task<T> {
    /// Drops the task's future, soon.
    pub fn abort(&self) {
        // It may have been aborted, or have ended.
        let _ = self.abort.try_send(());
    }

    /// Whether there is a result, or never will be.
    pub fn is_finished(&self) -> bool {
        !self.results.is_empty() || self.results.is_closed()
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, Lost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.result.as_mut().poll(context)
    }
}

/// Tasks whose results are taken in the order in which they come. They are aborted with the set.
#[derive(Debug)]
pub struct TaskSet<T>(Vec<Task<T>>);

impl<T> Default for TaskSet<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Send + 'static> TaskSet<T> {
    /// A set of none.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a task of the runtime.
    pub fn spawn<R: Runtime>(&mut self, work: impl Future<Output = T> + Send + 'static) {
        self.0.push(spawn::<R, T>(work));
    }

    /// The next result; `None` if there is no task left. Cancel-safe.
    pub async fn join_next(&mut self) -> Option<Result<T, Lost>> {
        if self.0.is_empty() {
            return None;
        }
        poll_fn(|context| {
            for at in 0..self.0.len() {
                if let Poll::Ready(result) = pin!(&mut self.0[at]).poll(context) {
                    drop(self.0.swap_remove(at));
                    return Poll::Ready(Some(result));
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl<T> Drop for TaskSet<T> {
    fn drop(&mut self) {
        self.0.iter().for_each(Task::abort);
    }
}
