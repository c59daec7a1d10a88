//! Tasks that belong to somebody: they end when their owner does.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::prelude::v1::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use super::super::Runtime;
use super::{Mailbox, lock, remember, wake};

/// Which tasks have ended, and with what.
type Done<T> = Arc<Mailbox<(u64, Option<T>)>>;

/// Tasks on a runtime, and what they end with. Dropping this ends them.
#[derive(Debug)]
pub(crate) struct Tasks<T> {
    /// There from the first task on.
    done: Option<Done<T>>,
    live: BTreeMap<u64, Abort>,
    next: u64,
}

impl<T> Default for Tasks<T> {
    fn default() -> Self {
        Self { done: None, live: BTreeMap::new(), next: 0 }
    }
}

impl<T> Tasks<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The next task that has ended, and its result; `None` for one that was aborted or has panicked. Pending
    /// also while there is no task.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(done) = &self.done else { return Poll::Pending };
        let (id, result) = ready!(done.poll_take(context));
        self.live.remove(&id);
        Poll::Ready(result)
    }

    fn abort_all(&self) {
        self.live.values().for_each(Abort::abort);
    }

    /// Ends all tasks, and waits until they are gone. Cancel-safe.
    pub(crate) async fn shut_down(&mut self) {
        self.abort_all();
        while !self.is_empty() {
            poll_fn(|context| self.poll_next(context)).await;
        }
    }
}

impl<T: Send + 'static> Tasks<T> {
    /// Runs `work` on a task of its own.
    pub(crate) fn spawn<R: Runtime>(&mut self, work: impl Future<Output = T> + Send + 'static) -> Abort {
        let id = self.next;
        self.next += 1;
        let abort = Abort::default();
        self.live.insert(id, abort.clone());
        let (work, done) = (Some(Box::pin(work)), Arc::clone(self.done.get_or_insert_default()));
        R::spawn(Task { id, work, result: None, abort: abort.clone(), done });
        abort
    }
}

impl<T> Drop for Tasks<T> {
    fn drop(&mut self) {
        self.abort_all();
    }
}

/// Ends a task: its future is dropped, soon.
#[derive(Clone, Debug, Default)]
pub(crate) struct Abort(Arc<(AtomicBool, Mutex<Option<Waker>>)>);

impl Abort {
    pub(crate) fn abort(&self) {
        self.0.0.store(true, Ordering::Release);
        let waker = lock(&self.0.1).take();
        wake(waker);
    }

    /// Whether to end; otherwise the task is woken when it is.
    fn poll_aborted(&self, context: &mut Context<'_>) -> bool {
        let mut waker = lock(&self.0.1);
        let replaced = remember(&mut waker, context);
        drop(waker);
        drop(replaced);
        // Looked at after the waker is there, so that none is lost.
        self.0.0.load(Ordering::Acquire)
    }
}

struct Task<F: Future> {
    id: u64,
    /// Until it has ended.
    work: Option<Pin<Box<F>>>,
    result: Option<F::Output>,
    abort: Abort,
    done: Done<F::Output>,
}

// The work is in a box.
impl<F: Future> Unpin for Task<F> {}

impl<F: Future> Future for Task<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.abort.poll_aborted(context) {
            let Some(work) = &mut self.work else { return Poll::Ready(()) };
            // After a panic the work is never polled again, so nobody sees what it left half done.
            match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(result)) => self.result = Some(result),
                Err(_) => {}
            }
        }
        self.work = None;
        Poll::Ready(())
    }
}

impl<F: Future> Drop for Task<F> {
    /// A runtime that shuts down drops its tasks wherever they are: that is an end like any other.
    fn drop(&mut self) {
        // Whoever learns of the end finds the work gone.
        self.work = None;
        let _ = self.done.put((self.id, self.result.take()));
    }
}
