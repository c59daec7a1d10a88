//! The end of a link's task.

use std::prelude::v1::*;
use std::sync::Mutex;

use futures_io::{AsyncRead, AsyncWrite};
use tracing::{field, info};

use super::Driver;
use crate::runtime::Runtime;
use crate::runtime::queue::Job;
use crate::runtime::shared::{End, State};
use crate::runtime::stream::{LINGER, Refusals, wind_down};
use crate::{By, CallError, Closed, Envelope, Executed, Priority, Reason};

impl<S: AsyncRead + AsyncWrite + Unpin, R: Runtime> Driver<S, R> {
    /// Tells everyone who waits, ends the handlers, and closes the stream so that the last bytes arrive.
    pub(super) async fn finish(&mut self, mut closed: Closed) {
        if let Some(report) = self.report.take() {
            // A handshake that failed: what is left is between the task and the stream.
            report(Err(closed.clone()));
        }
        self.shared.set_why(closed.reason.clone());
        self.shared.enter(State::Closed);
        self.pass_turn();
        self.streams.end(&mut self.link);
        let mut unsent = self.leftover(&closed.reason);
        // Handlers and the stream have their time each, within what is left of a goodbye's.
        let end = self.parting.map(|parting| self.shared.clock.to_std(parting.end()));
        let before_end = |most: std::time::Instant| end.map_or(most, |end| end.min(most));
        let patience = before_end(R::now() + LINGER).saturating_duration_since(R::now());
        self.server.shut_down(patience).await;
        // What was never established has no place among the handshakes any more: others bound it here.
        let failed = self.refusals.as_ref().filter(|_| closed.phase.is_handshake());
        let place = failed.map(Refusals::place);
        // Where the stream has failed there is nobody to wait for.
        if closed.by != By::Transport && !matches!(place, Some(None)) {
            wind_down::<R>(self.stream.get_mut(), &[], before_end(R::now() + LINGER)).await;
        }
        let Closed { reason, by, phase, .. } = &closed;
        let (name, code) = (reason.name(), reason.code());
        info!(reason = name, code, %by, %phase, claimed = closed.claimed.map(field::display), "closed");
        let stats = self.link.stats();
        unsent.splice(0..0, std::iter::from_fn(|| self.link.take_unsent()));
        // Order is kept within a priority: what the link had comes before what it was still to get.
        unsent.sort_by_key(|message| message.priority);
        closed.unsent = unsent.len();
        let error = self.error.take();
        self.shared.finish(End { closed, stats, error, unsent: Mutex::new(unsent) });
    }
}

impl<S, R: Runtime> Driver<S, R> {
    /// What was queued and never reached the machine: calls fail, messages go back.
    pub(super) fn leftover(&mut self, why: &Reason) -> Vec<Envelope> {
        let mut unsent = Vec::new();
        // Once for what the task holds, once for what is still in the queue.
        for _ in 0..2 {
            for (batch, priority) in self.batches.iter_mut().zip(Priority::ALL) {
                while let Some((message, job)) = batch.front(priority) {
                    if matches!(job, Job::Send) {
                        unsent.push(message.into());
                    }
                    if let Some((Job::Call { answer, .. }, _)) = batch.pop() {
                        let (reason, executed) = (why.clone(), Executed::No);
                        let _ = answer.send(Err(CallError::LinkClosed { reason, executed }));
                    }
                }
            }
            self.shared.take(&mut self.batches);
        }
        unsent
    }
}

impl<S, R: Runtime> Drop for Driver<S, R> {
    fn drop(&mut self) {
        if self.shared.end().is_none() {
            self.break_off();
        }
        #[cfg(feature = "recording")]
        if let Some(records) = &self.records {
            records.end(&mut self.link);
        }
    }
}

impl<S, R: Runtime> Driver<S, R> {
    /// A runtime that shuts down drops the task wherever it is: whoever waits for the link is told all the
    /// same.
    fn break_off(&mut self) {
        self.link.close(self.shared.clock.now());
        if self.member.is_some() {
            self.report_to_node();
            self.pass_turn();
        }
        self.streams.end(&mut self.link);
        let peer = self.link.peer().map(|peer| peer.id);
        let closed = Closed::new(Reason::Dropped, By::Local, self.link.phase(), peer);
        self.shared.enter(State::Closed);
        drop(self.leftover(&Reason::Dropped));
        let (stats, error) = (self.link.stats(), self.error.take());
        let report = self.report.take();
        self.shared.finish(End { closed: closed.clone(), stats, error, unsent: Mutex::default() });
        if let Some(report) = report {
            report(Err(closed));
        }
    }
}
