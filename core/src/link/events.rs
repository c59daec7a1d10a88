//! What the owner of a link is told, and in which order.

use super::Link;
use super::action::{Body, Event, Incoming, Ready, Stats};
use super::credit::Budget;
use super::inbox::{Notice, Stored};
use super::message::{CallId, Priority, ReplyToken};
use super::requests::{Freed, Head, Requests, Taken};
use super::session::Session;
use super::state::Outbound;

/// Where an event comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Notice,
    Request,
    Unordered,
    End,
}

/// Events of which each link has one at most.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each event has come or not, on its own
pub(super) struct Announce {
    pub(super) opened: bool,
    pub(super) identified: bool,
    pub(super) established: bool,
    pub(super) ready: bool,
    /// The owner was ready before the link was.
    pub(super) said_ready: bool,
    /// `Closed` has been given: nothing follows it.
    pub(super) closed: bool,
}

impl Link {
    /// Where the next event comes from, of those that the owner can take.
    pub(super) fn next_source(&mut self, ready: Ready) -> Option<Source> {
        if ready.events && self.has_notice() {
            Some(Source::Notice)
        } else if ready.requests && self.has_request() {
            Some(Source::Request)
        } else if ready.unordered && self.has_unordered() {
            Some(Source::Unordered)
        } else if ready.events && self.is_over() {
            Some(Source::End)
        } else {
            None
        }
    }

    pub(super) fn take(&mut self, source: Source) -> Option<Event<'_>> {
        match source {
            Source::Notice => self.next_notice(),
            Source::Request => {
                let session = self.session.as_mut()?;
                let taken = session.requests.take()?;
                Some(session.give_out(taken, self.tag))
            }
            Source::Unordered => {
                let session = self.session.as_mut()?;
                let taken = session.requests.take_unordered()?;
                Some(session.give_out(taken, self.tag))
            }
            Source::End => {
                self.announce.closed = true;
                self.timers.stop_all();
                self.send.clear();
                let ending = self.ending.as_mut()?;
                if let Some(session) = &mut self.session {
                    // What is left of the last words would follow a torn record.
                    session.outbound = Outbound::Over;
                    ending.closed.untaken += session.requests.len();
                    session.requests = Requests::default();
                }
                Some(Event::Closed(&ending.closed))
            }
        }
    }

    fn has_notice(&self) -> bool {
        let Announce { opened, identified, established, ready, .. } = self.announce;
        opened
            || identified
            || established
            || ready
            || self.session.as_ref().is_some_and(|session| session.has_notice())
    }

    fn next_notice(&mut self) -> Option<Event<'_>> {
        if core::mem::take(&mut self.announce.opened) {
            return Some(Event::Opened);
        }
        if core::mem::take(&mut self.announce.identified) {
            return self.peer.as_deref().map(Event::Identified);
        }
        if core::mem::take(&mut self.announce.established) {
            return self.peer.as_deref().map(Event::Established);
        }
        if core::mem::take(&mut self.announce.ready) {
            return Some(Event::Ready);
        }
        self.session.as_mut()?.next_notice(self.tag)
    }

    /// Whether there is a message or call to give out, once what is not worth it any more is dropped.
    fn has_request(&mut self) -> bool {
        // They come behind `Established`.
        let Some(session) = self.session.as_mut().filter(|_| !self.announce.established) else {
            return false;
        };
        session.drop_stale(&mut self.stats);
        // An owner that takes calls and not the words that they are given up is not given ever more of them.
        let told = session.untaken_cancels < session.limits.max_calls as usize;
        !session.requests.is_empty() && (told || session.requests.first_call().is_none())
    }

    /// Whether there is an unordered message to give out.
    fn has_unordered(&mut self) -> bool {
        let session = self.session.as_mut().filter(|_| !self.announce.established);
        session.is_some_and(|session| session.requests.has_unordered())
    }

    /// Whether `Closed` is due: all else was given out, and the last bytes are gone or have had their time.
    fn is_over(&self) -> bool {
        let Some(ending) = self.ending.as_ref().filter(|_| !self.announce.closed) else { return false };
        let taken = self.session.as_ref().is_none_or(|session| session.requests.is_empty());
        (taken || ending.waited) && (ending.flushed || !self.wants_write())
    }
}

impl Session {
    /// Drops calls at the front of the queue that were cancelled or are over: expired work is never begun.
    fn drop_stale(&mut self, stats: &mut Stats) {
        while let Some(call) = self.requests.first_call() {
            if self.serving.get_mut(call.id).is_some_and(|serving| serving.serial == call.serial) {
                break;
            }
            if let Some((_, freed)) = self.requests.take() {
                self.give_back(freed);
                stats.expired_calls += 1;
            }
        }
    }

    /// A request that was taken, as an event; gives back the credit that is due.
    fn give_out(&mut self, (request, freed): (Taken, Freed), tag: u64) -> Event<'_> {
        self.give_back(freed);
        let Head { lane, sequence, call, unordered } = request.head;
        if let Some(serving) = call.and_then(|call| self.serving.get_mut(call.id)) {
            serving.dispatched = true;
        }
        let (service, small) = self.requests.lent(&request);
        let priority = Priority::of_lane(lane);
        let (body, signed) = match request.body {
            Stored::Relayed(message) => return Event::Relay { message, priority },
            Stored::Signed(message) => (Body::Owned(message.body()), Some(message)),
            body => (body.lend(small), None),
        };
        let incoming = Incoming { service, body, priority, sequence, unordered, signed };
        match call {
            None => Event::Message(incoming),
            Some(call) => {
                let token = ReplyToken { id: call.id, serial: call.serial, link: tag };
                Event::Call { token, request: incoming, deadline: call.deadline }
            }
        }
    }

    fn has_notice(&self) -> bool {
        !self.notices.is_empty() || self.streams.as_ref().is_some_and(|streams| streams.has_news())
    }

    /// The first notice, as an event; gives the credit of an answer back. What there is to tell of streams comes
    /// behind.
    fn next_notice(&mut self, link: u64) -> Option<Event<'_>> {
        let Some(notice) = self.notices.pop() else { return self.streams.as_mut()?.next_news(link) };
        Some(match notice {
            Notice::Reply { call, body } => {
                self.release(Budget::Replies, body.len());
                let body = body.lend(self.notices.lent());
                Event::Reply { call: CallId { id: call, link }, body }
            }
            Notice::Failed { call, error, charged } => {
                self.untaken_failures -= 1;
                if let Some(charged) = charged {
                    self.release(Budget::Replies, charged);
                }
                Event::CallFailed { call: CallId { id: call, link }, error }
            }
            Notice::Cancelled { serial } => {
                self.untaken_cancels -= 1;
                Event::Cancelled { call: serial }
            }
            Notice::Expired(envelope) => {
                self.untaken_expired -= envelope.charge();
                Event::Expired(*envelope)
            }
            Notice::Draining { by, code, detail } => Event::Draining { by, code, detail },
        })
    }
}
