//! What a node's handles keep of one peer: the link that messages go to, and whose turn it is.

use std::prelude::v1::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use event_listener::Event;

use crate::NodeId;
use crate::node::{DialError, LinkId};
use crate::runtime::Runtime;
use crate::runtime::link::Link;
use crate::runtime::shared::Shared;
use crate::runtime::sync::{lock, wake_all};

/// What outlives the links to one peer.
pub(crate) struct Slot<R> {
    pub(crate) id: NodeId,
    now: Mutex<Standing<R>>,
    pub(crate) changed: Event,
    /// Links that have ended and have requests for their handlers still, the oldest first, and how many.
    ending: Mutex<Vec<LinkId>>,
    endings: AtomicUsize,
    /// Links that wait for those.
    waiting: Mutex<Vec<Arc<Shared>>>,
}

struct Standing<R> {
    route: Option<Link<R>>,
    /// How often dialling was given up, and why the last time.
    failures: u64,
    failure: Option<DialError>,
    /// The same for every dial that failed, given up or not.
    misses: u64,
    miss: Option<DialError>,
}

impl<R: Runtime> Slot<R> {
    pub(super) fn new(id: NodeId) -> Self {
        Self {
            id,
            now: Mutex::new(Standing { route: None, failures: 0, failure: None, misses: 0, miss: None }),
            changed: Event::new(),
            ending: Mutex::default(),
            endings: AtomicUsize::new(0),
            waiting: Mutex::default(),
        }
    }

    /// Whether a link's requests may go to their handlers: those of older links that have ended go first, so
    /// that what a peer sent is handled in its order over all links. A link without its turn is woken when it
    /// may have it.
    pub(crate) fn has_turn(&self, link: LinkId, shared: &Arc<Shared>) -> bool {
        if self.endings.load(Ordering::Acquire) == 0 {
            return true;
        }
        let ending = lock(&self.ending);
        let first = ending.first().is_none_or(|first| *first == link);
        if !first {
            // Under the lock, so that the one before it finds it here.
            let mut waiting = lock(&self.waiting);
            if !waiting.iter().any(|other| Arc::ptr_eq(other, shared)) {
                waiting.push(Arc::clone(shared));
            }
        }
        first
    }

    /// A link has ended; what came on it goes before what comes on others.
    pub(super) fn begin_ending(&self, link: LinkId) {
        let mut ending = lock(&self.ending);
        ending.push(link);
        self.endings.store(ending.len(), Ordering::Release);
    }

    /// What came on an ended link has been handled, or will not be.
    pub(crate) fn finish_ending(&self, link: LinkId) {
        let mut ending = lock(&self.ending);
        ending.retain(|other| *other != link);
        self.endings.store(ending.len(), Ordering::Release);
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        drop(ending);
        for shared in waiting {
            shared.tell(|_| {});
        }
    }

    /// The link that messages go to, as far as is known without the node's lock.
    pub(crate) fn route(&self) -> Option<Link<R>> {
        lock(&self.now).route.clone()
    }

    pub(crate) fn failures(&self) -> u64 {
        lock(&self.now).failures
    }

    /// Why dialling was given up, if that was after `seen` other times.
    pub(crate) fn failure_since(&self, seen: u64) -> Option<DialError> {
        let now = lock(&self.now);
        now.failure.clone().filter(|_| now.failures > seen)
    }

    pub(crate) fn misses(&self) -> u64 {
        lock(&self.now).misses
    }

    /// Why the last dial failed, if that was after `seen` others.
    pub(crate) fn miss_since(&self, seen: u64) -> Option<DialError> {
        let now = lock(&self.now);
        now.miss.clone().filter(|_| now.misses > seen)
    }

    /// A dial has failed; whoever waits goes on waiting.
    pub(super) fn miss(&self, error: DialError) {
        let mut now = lock(&self.now);
        now.misses += 1;
        now.miss = Some(error);
    }

    pub(super) fn set_route(&self, route: Option<Link<R>>) {
        // The old handle is let go of after the lock.
        let old = std::mem::replace(&mut lock(&self.now).route, route);
        drop(old);
        wake_all(&self.changed);
    }

    pub(super) fn fail(&self, error: DialError) {
        let mut now = lock(&self.now);
        now.failures += 1;
        now.failure = Some(error);
        drop(now);
        wake_all(&self.changed);
    }
}
