//! What the ends of the links say to each other: each calls the other a number of times, one call after the
//! other. The end that dialled says goodbye, once both have done their part.

use std::collections::VecDeque;
use std::time::Duration;

use handclasp::{
    Closed, Event, Instant, Link, Message, Payload, Phase, ReplyRejected, ReplyToken, ServiceError, Why,
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// One end's part. It hears events while its link is driven and acts when that is done.
#[derive(Debug)]
pub(crate) struct App {
    calls: u32,
    /// Own calls that were answered as they should be.
    pub(crate) answered: u32,
    /// Calls of the peer's that were answered.
    served: u32,
    /// A call had no answer: no more are made.
    failed: bool,
    /// How the link ended, once it has.
    pub(crate) closed: Option<Closed>,
    established: bool,
    /// The next own call may be made.
    free: bool,
    /// Answers to give. As many as the peer may have calls under way: its link's limit bounds them.
    replies: VecDeque<(ReplyToken, Result<Payload<'static>, ServiceError>)>,
}

impl App {
    pub(crate) fn new(calls: u32) -> Self {
        Self {
            calls,
            answered: 0,
            served: 0,
            failed: false,
            closed: None,
            established: false,
            free: true,
            replies: VecDeque::new(),
        }
    }

    /// Takes an event.
    pub(crate) fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::Established(_) => self.established = true,
            Event::Call { token, request, .. } => {
                let answer = match request.service {
                    "next" => next(&request.body).ok_or(ServiceError::HandlerFailed),
                    _ => Err(ServiceError::NoSuchService),
                };
                self.replies.push_back((token, answer.map(|number| number.to_be_bytes().to_vec().into())));
            }
            Event::Reply { body, .. } => {
                self.free = true;
                // A wrong answer doesn't count, and shows in the sum.
                self.answered += u32::from(body[..] == (self.answered + 1).to_be_bytes());
            }
            Event::CallFailed { .. } => self.failed = true,
            Event::Closed(closed) => self.closed = Some(closed.clone()),
            _ => {}
        }
    }

    /// Gives the link the commands that follow from what was heard; true if there were any.
    pub(crate) fn act(&mut self, link: &mut Link, now: Instant) -> bool {
        let mut acted = false;
        while let Some((token, answer)) = self.replies.pop_front() {
            match link.reply(token, answer) {
                Ok(()) => {
                    self.served += 1;
                    acted = true;
                }
                // Again, once the stream has taken something.
                Err(ReplyRejected { why: Why::Full, token: Some(token), answer }) => {
                    self.replies.push_front((token, answer));
                    break;
                }
                // Nobody waits any more.
                Err(_) => {}
            }
        }
        if self.established && self.free && self.answered < self.calls {
            let message = Message::new("next", self.answered.to_be_bytes().to_vec());
            self.free = link.call(message, TIMEOUT, now).is_err();
            acted |= !self.free;
        }
        let done = self.established && self.answered == self.calls && self.served == self.calls;
        if (self.failed || done && link.is_initiator()) && link.phase() == Phase::Established {
            link.goodbye(0, "that was all", now);
            acted = true;
        }
        acted
    }
}

/// The one service: the number behind the one that was sent.
fn next(body: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(body.try_into().ok()?).wrapping_add(1))
}
