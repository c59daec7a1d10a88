//! Runs cases.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// No case takes this long, also where the machine has other work: one that does hangs.
const LIMIT: Duration = Duration::from_secs(100);

/// Runs `case` on a thread of its own and fails when it fails, or when its time is over. So a case that blocks
/// its thread fails as well, and the others go on.
fn limited(case: impl FnOnce() + Send + 'static) {
    let (sender, done) = channel::<()>();
    let thread = std::thread::spawn(move || {
        // It goes with the thread, also where that panics.
        let _sender = sender;
        case();
    });
    match done.recv_timeout(LIMIT) {
        Err(RecvTimeoutError::Timeout) => panic!("not within {LIMIT:?}"),
        _ => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
    }
}

/// Runs a case on tokio with a single thread.
///
/// # Panics
/// As the case does, and when its time is over.
pub fn tokio_one_thread<F: Future<Output = ()>>(case: impl FnOnce() -> F + Send + 'static) {
    limited(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(case());
    });
}

/// Runs a case on tokio with several threads.
///
/// # Panics
/// As the case does, and when its time is over.
pub fn tokio<F: Future<Output = ()>>(case: impl FnOnce() -> F + Send + 'static) {
    limited(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(case());
    });
}

/// Runs a case on async-std, whose tasks run on the threads that all cases share.
///
/// # Panics
/// As the case does, and when its time is over.
pub fn async_std<F: Future<Output = ()>>(case: impl FnOnce() -> F + Send + 'static) {
    limited(|| async_std::task::block_on(case()));
}

/// Runs a case on smol, whose tasks run on the threads that all cases share: one, or as many as
/// `SMOL_THREADS` says.
///
/// # Panics
/// As the case does, and when its time is over.
pub fn smol<F: Future<Output = ()>>(case: impl FnOnce() -> F + Send + 'static) {
    limited(|| smol::block_on(case()));
}
