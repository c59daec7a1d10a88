//! What a session acts on beside itself.

use alloc::boxed::Box;

use super::Link;
use super::action::{Body, Stats};
use super::bytes::SendBuffer;
use super::requests::Content;
use super::session::Session;
use super::timers::Timers;
use crate::config::Config;
use crate::error::{Reason, Violation};
use crate::phase::Phase;
use crate::signed::{Accepted, Refused};
use crate::time::Instant;
use crate::wire::Malformed;

pub(super) struct Context<'a> {
    pub(super) config: &'a Config,
    pub(super) now: Instant,
    pub(super) phase: Phase,
    pub(super) timers: &'a mut Timers,
    pub(super) stats: &'a mut Stats,
}

impl Link {
    /// The session, what it acts on, and where its records go.
    pub(super) fn session_parts(&mut self) -> Option<(&mut Session, Context<'_>, &mut SendBuffer)> {
        let session = self.session.as_deref_mut()?;
        let context = Context {
            config: &self.config,
            now: self.now,
            phase: self.phase,
            timers: &mut self.timers,
            stats: &mut self.stats,
        };
        Some((session, context, &mut self.send))
    }
}

impl Context<'_> {
    pub(super) fn violation(&self, what: &'static str) -> Reason {
        self.malformed(Malformed::new(what))
    }

    pub(super) fn malformed(&self, what: Malformed) -> Reason {
        Reason::Violation(Violation { phase: self.phase, what })
    }

    /// A signed message, if it goes to the application. Whoever passed a bad one on may be innocent, so none ends
    /// the link.
    pub(super) fn judge(&mut self, service: &[u8], body: Body<'_>) -> Option<Content<'static>> {
        let config = self.config;
        let judged = config.signed.as_ref().and_then(|judge| {
            // It came in as `&str`.
            let service = core::str::from_utf8(service).ok()?;
            Some(judge.judge(&config.node_id(), service, body.into_bytes(), &*config.provider))
        });
        let count = match &judged {
            Some(Ok(_)) => &mut self.stats.signed_accepted,
            Some(Err(Refused::NotFresh(_))) => &mut self.stats.signed_replays,
            Some(Err(_)) | None => &mut self.stats.signed_refused,
        };
        *count += 1;
        Some(match judged?.ok()? {
            Accepted::Deliver(message) => Content::Signed(Box::new(message)),
            Accepted::Relay(message) => Content::Relayed(Box::new(message)),
        })
    }
}
