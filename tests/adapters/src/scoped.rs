//! A runtime that knows which tasks belong together.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use handclasp::runtime::Runtime;
use tracing::instrument::WithSubscriber;

thread_local! {
    static CURRENT: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// The tasks of one test, on a runtime whose threads all tests share: they are counted, and log to the test's
/// subscriber.
#[derive(Clone, Debug, Default)]
pub struct Scope(Arc<AtomicUsize>);

impl Scope {
    /// How many tasks there are that have not ended, blocking work among them.
    pub fn tasks(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Runs `work` so that all that it spawns over [`Scoped`] is counted here. A dropped future drops `work`.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        Inside { scope: Some(self.clone()), work: Box::pin(work) }.await
    }

    fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    fn count(scope: Option<&Self>) -> Option<Counted> {
        scope.map(|scope| {
            scope.0.fetch_add(1, Ordering::SeqCst);
            Counted(scope.clone())
        })
    }
}

/// Counts itself out when it is dropped.
struct Counted(Scope);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A future whose scope is the current one whenever it runs.
struct Inside<F> {
    scope: Option<Scope>,
    work: Pin<Box<F>>,
}

/// Gives the thread its former scope back.
struct Former(Option<Scope>);

impl Drop for Former {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

impl<F: Future> Future for Inside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _former = Former(CURRENT.replace(self.scope.clone()));
        self.work.as_mut().poll(context)
    }
}

/// The runtime `R`, whose tasks are in the [`Scope`] of the task that spawns them.
pub struct Scoped<R>(PhantomData<fn() -> R>);

impl<R> fmt::Debug for Scoped<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scoped")
    }
}

impl<R: Runtime> Runtime for Scoped<R> {
    crate::forward!(R: Tcp TcpListener Stream Sleep now today sleep_until
        random resolve connect bind accept peer_addr local_addr);

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        let scope = Scope::current();
        let counted = Scope::count(scope.as_ref());
        let work = Box::pin(async move {
            // Dropped behind the task's own work, wherever that ends.
            let _counted = counted;
            task.await;
        });
        R::spawn(Inside { scope, work }.with_current_subscriber());
    }

    fn unblock(work: impl FnOnce() + Send + 'static) {
        let counted = Scope::count(Scope::current().as_ref());
        R::unblock(move || {
            let _counted = counted;
            work();
        });
    }
}
