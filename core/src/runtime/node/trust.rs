//! Trust that a file holds: changed here and there, and taken over live.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::prelude::v1::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_channel::oneshot;
use tracing::{info, warn};

use crate::NodeId;
use crate::node::trust::{Added, TrustEntry, TrustFile, TrustFileError, TrustListFull, UnixTime};

use super::state::Inner;
use crate::runtime::Runtime;
use crate::runtime::sync::lock;

/// A step of the calendar's clock from which on times are reckoned anew.
const STEP: Duration = Duration::from_secs(2);

/// The least pause between two looks at the file.
const PAUSE: Duration = Duration::from_millis(10);

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
    /// Locked behind the node's state and behind the file, and for a moment only.
    changes: Mutex<Changes>,
    every: Duration,
}

/// What was asked for. The file is changed in the order of the calls, whichever thread comes first.
#[derive(Debug, Default)]
struct Changes {
    /// How many there were so far.
    asked: u64,
    waiting: VecDeque<Change>,
    /// Revoked, and perhaps still in the file: it is not changed yet, or could not be. With the number of the
    /// latest revocation: only a later change takes that back.
    gone: BTreeMap<NodeId, u64>,
}

#[derive(Debug)]
struct Change {
    number: u64,
    peer: NodeId,
    to: To,
    done: oneshot::Sender<Result<bool, TrustError>>,
}

/// What a peer is to be.
#[derive(Clone, Copy, Debug)]
enum To {
    Trusted { since: UnixTime, expires: Option<UnixTime> },
    Gone,
}

type Done = oneshot::Receiver<Result<bool, TrustError>>;

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
        Ok(Self { file, changes: Mutex::default(), every: every.max(PAUSE) })
    }

    /// Takes over the list as it is now.
    pub(super) fn apply<R: Runtime>(&self, inner: &Arc<Inner<R>>) {
        self.take_over(inner, &lock(&self.file));
    }

    /// Makes the list the node's; times of the calendar become times of the node's clock.
    fn take_over<R: Runtime>(&self, inner: &Arc<Inner<R>>, file: &TrustFile) {
        inner.act(|state, now| {
            // Looked at under the node's lock: what is revoked from here on is revoked after this.
            let gone = &lock(&self.changes).gone;
            let today = UnixTime::from(R::today());
            let entries =
                file.list().valid_at(today).filter(|entry| !gone.contains_key(&entry.id)).map(|entry| {
                    let left =
                        |end: UnixTime| Duration::from_secs(end.as_secs().saturating_sub(today.as_secs()));
                    (entry.id, entry.expires.map(|end| now + left(end)))
                });
            state.node.set_trusted(entries, now);
        });
    }

    /// Puts a change behind those that were asked for before. A revocation holds from here on.
    fn ask(&self, peer: NodeId, to: To) -> Done {
        let (done, outcome) = oneshot::channel();
        let mut changes = lock(&self.changes);
        changes.asked += 1;
        let number = changes.asked;
        if matches!(to, To::Gone) {
            changes.gone.insert(peer, number);
        }
        changes.waiting.push_back(Change { number, peer, to, done });
        outcome
    }

    /// Makes all changes that wait. With its end also those are made that another thread had begun.
    fn work<R: Runtime>(&self, inner: &Arc<Inner<R>>) {
        let mut file = lock(&self.file);
        loop {
            let Some(Change { number, peer, to, done }) = lock(&self.changes).waiting.pop_front() else {
                return;
            };
            let outcome = self.make(&mut file, number, peer, to);
            // After an error too: others may have changed the file.
            self.take_over(inner, &file);
            // Nobody may wait any more.
            let _ = done.send(outcome);
        }
    }

    fn make(&self, file: &mut TrustFile, number: u64, peer: NodeId, to: To) -> Result<bool, TrustError> {
        let revoked_later = |changes: &Changes| changes.gone.get(&peer).is_some_and(|later| *later > number);
        if revoked_later(&lock(&self.changes)) && matches!(to, To::Trusted { .. }) {
            return Ok(false);
        }
        let edited = file.edit(|list| match to {
            To::Gone => Ok(list.remove(&peer)),
            To::Trusted { since, expires } => {
                let known = list.get(&peer).cloned();
                let mut entry = known.unwrap_or_else(|| TrustEntry::new(peer).added(since));
                entry.expires = expires;
                list.add(entry).map(|added| added != Added::Unchanged)
            }
        });
        let is_news = edited.map_err(TrustError::File)?.map_err(TrustError::Full)?;
        let mut changes = lock(&self.changes);
        if !revoked_later(&changes) {
            changes.gone.remove(&peer);
        }
        Ok(is_news)
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
        R::sleep_until(inner.clock.to_std(inner.clock.now() + book.every)).await;
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
    let Some(book) = &inner.book else {
        return Ok(inner.act(|state, now| state.node.trust(peer, time.map(|time| now + time), now)));
    };
    let today = R::today();
    // Whole seconds: rather a little longer than no time at all.
    let end = |time: Duration| today.checked_add(time.saturating_add(Duration::from_millis(999)));
    // What the calendar does not reach is as good as for ever.
    let expires = time.and_then(end).map(UnixTime::from);
    written(inner, book.ask(peer, To::Trusted { since: today.into(), expires })).await
}

/// Ends trust in one peer: at once, and then in the file if there is one.
pub(super) async fn revoke<R: Runtime>(inner: &Arc<Inner<R>>, peer: NodeId) -> Result<bool, TrustError> {
    // Both under the node's lock: nobody who reads the file meanwhile takes the peer back, and of two calls
    // the one that is later for the node is later for the file.
    let (done, was) = inner.act(|state, now| {
        let done = inner.book.as_ref().map(|book| book.ask(peer, To::Gone));
        (done, state.node.revoke(peer, now))
    });
    match done {
        None => Ok(was),
        Some(done) => Ok(written(inner, done).await? || was),
    }
}

/// Has the changes made that wait, and gives what came of one of them.
async fn written<R: Runtime>(inner: &Arc<Inner<R>>, done: Done) -> Result<bool, TrustError> {
    let inner = Arc::clone(inner);
    let work = aside::<R, _>(move || inner.book.as_ref().map(|book| book.work(&inner)));
    work.await.flatten().ok_or(TrustError::Ended)?;
    done.await.unwrap_or(Err(TrustError::Ended))
}
