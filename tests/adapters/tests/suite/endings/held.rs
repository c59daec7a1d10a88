//! A runtime whose clock stands still until the test lets time pass.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use handclasp::runtime::Runtime;

thread_local! {
    static CURRENT: RefCell<Option<Clock>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Inside {
    now: Instant,
    sleepers: Vec<Waker>,
    tasks: usize,
}

/// The clock of one test, and how many tasks live by it.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<Mutex<Inside>>);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Inside { now: Instant::now(), sleepers: Vec::new(), tasks: 0 })))
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().expect("nobody panics while holding it")
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        let mut inside = self.lock();
        inside.now += time;
        let sleepers = std::mem::take(&mut inside.sleepers);
        drop(inside);
        sleepers.into_iter().for_each(Waker::wake);
    }

    /// How many tasks there are that have not ended.
    pub(crate) fn tasks(&self) -> usize {
        self.lock().tasks
    }

    /// Runs `work` and all that it spawns over [`Held`] by this clock.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        By { clock: Some(self.clone()), work: Box::pin(work) }.await
    }

    fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }
}

/// A future that lives by a clock.
struct By<F> {
    clock: Option<Clock>,
    work: Pin<Box<F>>,
}

/// Gives the thread its former clock back.
struct Former(Option<Clock>);

impl Drop for Former {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

impl<F: Future> Future for By<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _former = Former(CURRENT.replace(self.clock.clone()));
        self.work.as_mut().poll(context)
    }
}

/// Counts a task out.
struct Counted(Option<Clock>);

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(clock) = &self.0 {
            clock.lock().tasks -= 1;
        }
    }
}

/// Waits for a point in time.
#[derive(Debug)]
pub(crate) struct Sleep {
    clock: Clock,
    until: Instant,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut inside = self.clock.lock();
        if inside.now >= self.until {
            return Poll::Ready(());
        }
        inside.sleepers.push(context.waker().clone());
        Poll::Pending
    }
}

/// The runtime `R` by the [`Clock`] of the task that asks.
pub(crate) struct Held<R>(PhantomData<fn() -> R>);

impl<R> fmt::Debug for Held<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl<R: Runtime> Runtime for Held<R> {
    type Sleep = Sleep;

    handclasp_adapters::forward!(R: Tcp TcpListener Stream today unblock
        random resolve connect bind accept peer_addr local_addr);

    fn now() -> Instant {
        // What is dropped outside of any task reads the clock as well.
        Clock::current().map_or_else(Instant::now, |clock| clock.lock().now)
    }

    fn sleep_until(until: Instant) -> Sleep {
        Sleep { clock: Clock::current().expect("a task of the test's"), until }
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        let clock = Clock::current();
        if let Some(clock) = &clock {
            clock.lock().tasks += 1;
        }
        let counted = Counted(clock.clone());
        R::spawn(By {
            clock,
            work: Box::pin(async move {
                // Dropped behind the task's own work, wherever that ends.
                let _counted = counted;
                task.await;
            }),
        });
    }
}
