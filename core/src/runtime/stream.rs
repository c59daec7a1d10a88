//! The end of a stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};

use super::Runtime;
use super::sync::timeout_at;

/// How long the end of a stream may take.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// The connections of a node or a listener that are wound down although no link came of them: those refused
/// for want of room, and those whose handshake failed.
///
/// Neither has a place among the handshakes any more, and whoever connects decides how many there are. So only
/// a few are wound down at a time, and the others are just dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(Arc<AtomicUsize>);

impl Refusals {
    /// Those that are wound down at a time.
    const MOST: usize = 64;

    /// A place for one more, if there is one.
    pub(crate) fn place(&self) -> Option<Place> {
        let taken = |count: usize| (count < Self::MOST).then_some(count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).ok()?;
        Some(Place(Self(Arc::clone(&self.0))))
    }
}

/// A place among the [`Refusals`], until this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Refusals);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ends a stream so that the last bytes written arrive: writes what is left, closes this direction, and takes
/// in what the other side still sends until it closes its own. Dropping a TCP socket with unread bytes would
/// make the system send a reset, which destroys what the peer has not read yet. Waits at most until `end`.
pub(crate) async fn wind_down<R: Runtime>(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    last: &[u8],
    end: Instant,
) {
    let mut left = last;
    let orderly = async {
        poll_fn(|context| {
            while !left.is_empty() {
                match ready!(Pin::new(&mut *stream).poll_write(context, left))? {
                    0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                    count => left = left.get(count..).unwrap_or_default(),
                }
            }
            ready!(Pin::new(&mut *stream).poll_flush(context))?;
            Pin::new(&mut *stream).poll_close(context)
        })
        .await?;
        let mut discarded = [0; 512];
        poll_fn(|context| {
            // As many as one turn should take; the rest after the others' turn.
            for _ in 0..32 {
                if ready!(Pin::new(&mut *stream).poll_read(context, &mut discarded))? == 0 {
                    return Poll::Ready(Ok::<_, std::io::Error>(()));
                }
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    };
    // The link is over whatever comes of it.
    let _ = timeout_at::<R, _>(end, orderly).await;
}
