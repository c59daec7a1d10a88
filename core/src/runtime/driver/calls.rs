//! The calls that this side made and that are not answered yet.

use std::collections::VecDeque;

use futures_channel::oneshot;

use crate::CallId;
use crate::runtime::queue::Answer;

/// Own calls in flight, ascending: ids grow, so they are added at the end and mostly leave near the front.
#[derive(Debug, Default)]
pub(super) struct Calls(VecDeque<(CallId, oneshot::Sender<Answer>)>);

impl Calls {
    pub(super) fn complete(&mut self, call: CallId, answer: Answer) {
        if let Ok(at) = self.0.binary_search_by_key(&call, |(id, _)| *id) {
            if let Some((_, sender)) = self.0.remove(at) {
                // A caller that has gone needs no answer.
                let _ = sender.send(answer);
            }
        }
    }

    /// Adds the latest call.
    pub(super) fn add(&mut self, call: CallId, sender: oneshot::Sender<Answer>) {
        self.0.push_back((call, sender));
    }

    /// Gives memory back that an idle link does not need.
    pub(super) fn shrink(&mut self) {
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }

    /// Takes out the calls whose callers have gone.
    pub(super) fn take_cancelled(&mut self, mut cancel: impl FnMut(CallId)) {
        self.0.retain(|(id, sender)| {
            let cancelled = sender.is_canceled();
            if cancelled {
                cancel(*id);
            }
            !cancelled
        });
    }
}
