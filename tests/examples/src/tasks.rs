//! Tasks and waiting, over any runtime.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use handclasp::runtime::Runtime;

/// Runs `task` to its end, and gives what it comes to; [`Canceled`](oneshot::Canceled) if it panics.
pub(crate) fn spawn<R: Runtime, T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> oneshot::Receiver<T> {
    let (ends, end) = oneshot::channel();
    R::spawn(async move {
        // Whoever spawned it need not wait.
        let _ = ends.send(task.await);
    });
    end
}

/// Waits for so long.
pub(crate) async fn sleep<R: Runtime>(time: Duration) {
    R::sleep_until(R::now() + time).await;
}

/// What `future` gives within `time`; otherwise it is dropped.
pub(crate) async fn timeout<R: Runtime, T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), pin!(sleep::<R>(time))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
