//! Trust that a file holds: changed here and there, and taken over live.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::prelude::v1::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_channel::oneshot;
use tracing::{info, warn};

use crate::NodeId;
use crate::node::trust::{Added, TrustEntry, TrustFile, TrustFileError, TrustList, TrustListFull, UnixTime};

use super::state::Inner;
use crate::runtime::Runtime;
use crate::runtime::sync::lock;

/// A step of the calendar's clock from which on times are reckoned anew.
const STEP: Duration = Duration::from_secs(2);

/// Why a change of trust is not in the node's trust file.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrustError {
    /// The file could not be read or written.
    File(TrustFileError),
    /// There are as many peers in it as may be.
    Full(TrustListFull),
    /// The runtime is going down.
    Ended,
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Full(error) => error.fmt(f),
            Self::Ended => f.write_str("the runtime is going down"),
        }
    }
}

impl Error for TrustError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Full(error) => Some(error),
            Self::Ended => None,
        }
    }
}

/// The file, and how often to look at it.
#[derive(Debug)]
pub(crate) struct Book {
    /// Held while the file is read or written.
    file: Mutex<TrustFile>,
    /// Revoked, and perhaps still in the file: it is not changed yet, or could not be.
    gone: Mutex<BTreeSet<NodeId>>,
    every: Duration,
}

/// Work on files is not for the threads of the runtime.
async fn aside<R: Runtime, T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, result) = oneshot::channel();
    R::unblock(move || {
        // Nobody may wait any more.
        let _ = sender.send(work());
    });
    result.await.ok()
}

impl Book {
    /// Reads the file; there need be none yet.
    pub(super) async fn open<R: Runtime>(path: &Path, every: Duration) -> Result<Self, TrustError> {
        let path = path.to_owned();
        let file = aside::<R, _>(|| TrustFile::load_or_empty(path)).await.ok_or(TrustError::Ended)?;
        let file = Mutex::new(file.map_err(TrustError::File)?);
        Ok(Self { file, gone: Mutex::default(), every })
    }

    /// Takes over the list as it is now.
    pub(super) fn apply<R: Runtime>(&self, inner: &Arc<Inner<R>>) {
        self.take_over(inner, &lock(&self.file));
    }

    /// Makes the list the node's; times of the calendar become times of the node's clock.
    fn take_over<R: Runtime>(&self, inner: &Arc<Inner<R>>, file: &TrustFile) {
        inner.act(|state, now| {
            // Looked at under the node's lock: what is revoked from here on is revoked after this.
            let gone = lock(&self.gone);
            let today = UnixTime::from(R::today());
            let entries =
                file.list().valid_at(today).filter(|entry| !gone.contains(&entry.id)).map(|entry| {
                    let left =
                        |end: UnixTime| Duration::from_secs(end.as_secs().saturating_sub(today.as_secs()));
                    (entry.id, entry.expires.map(|end| now + left(end)))
                });
            state.node.set_trusted(entries, now);
        });
    }
}

/// Takes over what others change in the file, for as long as the node runs.
pub(super) async fn watch<R: Runtime>(inner: Arc<Inner<R>>) {
    let Some(book) = &inner.book else { return };
    let mut said = String::new();
    // By how much the two clocks are apart.
    let apart = || R::today().checked_sub(inner.clock.now().since(crate::Instant::ZERO));
    let mut reckoned = apart();
    loop {
        R::sleep_until(R::now() + book.every).await;
        let now = apart();
        let step = now.zip(reckoned).is_none_or(|(one, other)| {
            one.duration_since(other).unwrap_or_else(|error| error.duration()) >= STEP
        });
        let looking = Arc::clone(&inner);
        let outcome = aside::<R, _>(move || {
            let Some(book) = &looking.book else { return Ok(false) };
            let mut file = lock(&book.file);
            let changed = file.reload()?.is_some();
            if changed || step {
                book.take_over(&looking, &file);
            }
            Ok::<_, TrustFileError>(changed)
        });
        match outcome.await {
            None => return,
            Some(Ok(changed)) => {
                if changed {
                    info!(node = %inner.id.fingerprint(), "trust_reloaded");
                }
                if step {
                    reckoned = now;
                }
                said.clear();
            }
            // The same mistake is told once.
            Some(Err(error)) => {
                let error = error.to_string();
                if said != error {
                    warn!(node = %inner.id.fingerprint(), %error, "trust_file_refused");
                    said = error;
                }
            }
        }
    }
}

/// Changes trust in one peer, in the file first if there is one; true if that changes anything.
pub(super) async fn trust<R: Runtime>(
    inner: &Arc<Inner<R>>,
    peer: NodeId,
    time: Option<Duration>,
) -> Result<bool, TrustError> {
    if inner.book.is_none() {
        return Ok(inner.act(|state, now| state.node.trust(peer, time.map(|time| now + time), now)));
    }
    let today = R::today();
    // Whole seconds: rather a little longer than no time at all.
    let end = |time: Duration| today.checked_add(time.saturating_add(Duration::from_millis(999)));
    // What the calendar does not reach is as good as for ever.
    let expires = time.and_then(end).map(UnixTime::from);
    edit(inner, peer, move |list| {
        let known = list.get(&peer).cloned();
        let mut entry = known.unwrap_or_else(|| TrustEntry::new(peer).added(today.into()));
        entry.expires = expires;
        list.add(entry).map(|added| added != Added::Unchanged)
    })
    .await?
    .map_err(TrustError::Full)
}

/// Ends trust in one peer: at once, and then in the file if there is one.
pub(super) async fn revoke<R: Runtime>(inner: &Arc<Inner<R>>, peer: NodeId) -> Result<bool, TrustError> {
    if let Some(book) = &inner.book {
        // First, so that nobody who reads the file meanwhile takes it back.
        lock(&book.gone).insert(peer);
    }
    let was = inner.act(|state, now| state.node.revoke(peer, now));
    if inner.book.is_none() {
        return Ok(was);
    }
    Ok(edit(inner, peer, move |list| list.remove(&peer)).await? || was)
}

/// Changes what the file says of a peer, and takes it over. A peer that is to go does, also where the file
/// could not be changed.
async fn edit<R: Runtime, T: Send + 'static>(
    inner: &Arc<Inner<R>>,
    peer: NodeId,
    change: impl FnOnce(&mut TrustList) -> T + Send + 'static,
) -> Result<T, TrustError> {
    let inner = Arc::clone(inner);
    let edited = aside::<R, _>(move || {
        let book = inner.book.as_ref()?;
        let mut file = lock(&book.file);
        let outcome = file.edit(change);
        if outcome.is_ok() {
            lock(&book.gone).remove(&peer);
        }
        // After an error too: others may have changed it.
        book.take_over(&inner, &file);
        Some(outcome)
    });
    edited.await.flatten().ok_or(TrustError::Ended)?.map_err(TrustError::File)
}
