//! Recordings of links, for whoever asks for them; see [`Services::record`](super::Services::record).

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::prelude::v1::*;
use std::sync::Arc;

use tracing::warn;

use crate::Link;
use crate::recording::{Recorder, Recording};

/// How links are recorded, and where recordings go.
pub(crate) struct Records {
    pub(super) limit: usize,
    pub(super) sink: Box<dyn Fn(Recording) + Send + Sync>,
}

impl Records {
    /// Begins to record a link that has heard nothing yet.
    pub(crate) fn begin(self: Arc<Self>, link: &mut Link) -> Option<Arc<Self>> {
        link.record(Recorder::redacted(self.limit)).ok().map(|()| self)
    }

    /// Hands the recording of a link over that has ended.
    pub(crate) fn end(&self, link: &mut Link) {
        let Some(recording) = link.recording() else { return };
        if catch_unwind(AssertUnwindSafe(|| (self.sink)(recording))).is_err() {
            warn!("whoever takes recordings panicked");
        }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("limit", &self.limit).finish_non_exhaustive()
    }
}
