//! Waiting by a clock that is no runtime's.

use std::future::Future;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future::or;

/// How long anything may take that should come soon.
const SOON: Duration = Duration::from_secs(30);

/// Waits for `time`. Cancel-safe.
pub async fn sleep(time: Duration) {
    Timer::after(time).await;
}

/// What `future` gives within `time`, or `None`. A dropped future drops `future`.
pub async fn timeout<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    or(async { Some(future.await) }, async {
        sleep(time).await;
        None
    })
    .await
}

/// Fails the test instead of hanging it. A dropped future drops `future`.
///
/// # Panics
/// After 30 s.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("within 30 s")
}

/// Waits until something is so. Cancel-safe.
///
/// # Panics
/// If it is not within 30 s.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "not within {SOON:?}: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}
