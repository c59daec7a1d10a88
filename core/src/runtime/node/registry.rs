//! A registry of peers outside the node's memory, and the questions about peers.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::prelude::v1::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use tracing::warn;

use crate::node::{Answer, Known, Question};
use crate::{NodeId, Refusal};

use super::state::Inner;
use crate::runtime::Runtime;
use crate::runtime::peer::PeerInfo;
use crate::runtime::sync::{Bell, lock, timeout_at};

/// Peers that a registry may be behind with; of more it does not learn.
const UNWRITTEN: usize = 4096;

/// What a registry's methods return: `Box::pin(async move { … })`.
pub type RegistryFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// What is known of peers, kept outside the node: in a database, a directory service.
///
/// The node asks it about each peer that has proved its id, and tells it of each link. Its methods run on
/// tasks of their own; the peer's handshake waits for [`look_up`](Self::look_up), at most for the time of a
/// [step](crate::Timing::step).
pub trait PeerRegistry: Send + Sync + 'static {
    /// What is known of a peer from its last link; `None` if nothing is. The node compares it with what the
    /// peer says now, and acts by its [drift policy](crate::node::NodePolicy::drift).
    ///
    /// # Errors
    /// Any refuses the peer with [`Refusal::Registry`], and is logged. So does a panic.
    fn look_up(&self, peer: NodeId) -> RegistryFuture<'_, Option<Known>>;

    /// A link to the peer was established: remember this. One write runs at a time, and for the time of a
    /// [step](crate::Timing::step) at most; meanwhile of several for the same peer only the last is kept.
    /// A shutdown waits for the writes as far as its deadline allows.
    ///
    /// # Errors
    /// Any is logged; the link lives.
    fn write(&self, peer: NodeId, known: Known) -> RegistryFuture<'_, ()>;
}

/// Who is asked about peers, and what is still to be written.
pub(crate) struct Keeping {
    /// Whether the application decides about each peer.
    pub(super) asks: bool,
    pub(super) registry: Option<Arc<dyn PeerRegistry>>,
    unwritten: Mutex<BTreeMap<NodeId, Known>>,
    /// A write is under way.
    writing: AtomicBool,
    more: Bell,
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeping").field("asks", &self.asks).finish_non_exhaustive()
    }
}

impl Keeping {
    pub(super) fn new(asks: bool, registry: Option<Arc<dyn PeerRegistry>>) -> Self {
        Self {
            asks,
            registry,
            unwritten: Mutex::default(),
            writing: AtomicBool::new(false),
            more: Bell::default(),
        }
    }

    pub(super) fn write(&self, peer: NodeId, known: &Known) {
        if self.registry.is_some() {
            let mut unwritten = lock(&self.unwritten);
            if unwritten.len() >= UNWRITTEN && !unwritten.contains_key(&peer) {
                drop(unwritten);
                return warn!(%peer, error = "too much is to be written", "registry_write_failed");
            }
            unwritten.insert(peer, known.clone());
            drop(unwritten);
            self.more.ring();
        }
    }

    /// Whether all is written.
    pub(super) fn is_written(&self) -> bool {
        // In this order: what is taken out to be written is noted as being written first.
        lock(&self.unwritten).is_empty() && !self.writing.load(Ordering::Acquire)
    }
}

/// Writes what there is to write, for as long as the node runs.
pub(super) async fn write_all<R: Runtime>(inner: Arc<Inner<R>>) {
    let Keeping { registry: Some(registry), unwritten, writing, more, .. } = &inner.keeping else { return };
    loop {
        let next = {
            let mut unwritten = lock(unwritten);
            let next = unwritten.pop_first();
            writing.store(next.is_some(), Ordering::Release);
            next
        };
        let Some((peer, known)) = next else {
            inner.wake.ring();
            poll_fn(|context| more.poll_rung(context)).await;
            continue;
        };
        let write = caught(async { registry.write(peer, known).await });
        let deadline = inner.clock.to_std(inner.clock.now() + inner.config.timing().step);
        match timeout_at::<R, _>(deadline, write).await {
            Some(Some(Ok(()))) => {}
            Some(Some(Err(error))) => warn!(%peer, %error, "registry_write_failed"),
            Some(None) => warn!(%peer, error = "panicked", "registry_write_failed"),
            None => warn!(%peer, error = "timed out", "registry_write_failed"),
        }
    }
}

/// Answers a question about a peer, in the time that a step of its handshake has: first by the application's
/// decision, then by the registry's knowledge.
pub(super) async fn answer<R: Runtime>(
    inner: Arc<Inner<R>>,
    question: Question,
    info: Option<Arc<PeerInfo>>,
) {
    let Question { ticket, peer, .. } = question;
    // A future that never ends is not kept, and a refusal a little before the end of the step still reaches the peer.
    let deadline = inner.clock.to_std(inner.clock.now() + inner.config.timing().step / 8 * 7);
    let decided = timeout_at::<R, _>(deadline, decide(&inner, info)).await;
    let answer = match decided.unwrap_or(Err(Refusal::Denied)) {
        Ok(()) => timeout_at::<R, _>(deadline, look_up(&inner, peer)).await.unwrap_or_else(|| {
            warn!(%peer, error = "timed out", "registry_failed");
            Answer::Refuse(Refusal::Registry)
        }),
        Err(refusal) => Answer::Refuse(refusal),
    };
    inner.act(|state, now| state.node.answer(ticket, answer, now));
}

/// What the application says of a peer, if it is asked.
async fn decide<R: Runtime>(inner: &Inner<R>, info: Option<Arc<PeerInfo>>) -> Result<(), Refusal> {
    if !inner.keeping.asks {
        return Ok(());
    }
    let decide = inner.services.admission().zip(info);
    let Some((decide, info)) = decide else { return Err(Refusal::Denied) };
    caught(async { decide(info).await }).await.unwrap_or(Err(Refusal::Denied))
}

/// What the registry knows of a peer, if there is one.
async fn look_up<R: Runtime>(inner: &Inner<R>, peer: NodeId) -> Answer {
    let Some(registry) = &inner.keeping.registry else { return Answer::Admit { known: None } };
    match caught(async { registry.look_up(peer).await }).await {
        Some(Ok(known)) => return Answer::Admit { known },
        Some(Err(error)) => warn!(%peer, %error, "registry_failed"),
        None => warn!(%peer, error = "panicked", "registry_failed"),
    }
    Answer::Refuse(Refusal::Registry)
}

/// The result of a future of the application's; `None` if it panicked.
async fn caught<T>(future: impl Future<Output = T> + Send) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // After a panic the future is never polled again.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
