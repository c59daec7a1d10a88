//! What waits for a link's task: messages of one priority, and those who wait for room among them.

use std::collections::VecDeque;
use std::prelude::v1::*;
use std::task::Waker;

use bytes::Bytes;
use futures_channel::oneshot;

use crate::{CallError, Executed, Instant, Message, Payload, Priority};

pub(crate) const LANES: usize = Priority::ALL.len();

/// The bytes that may wait in one priority's queue for the link's task; one message is always taken.
const QUEUE: usize = 64 << 10;

/// What a message is charged beside its bytes.
const OVERHEAD: usize = 64;

/// Bodies above this are kept as they are, those up to it are copied into the queue.
pub(crate) const SMALL: usize = 1024;

pub(crate) type Answer = Result<Bytes, CallError>;

/// What to do with a queued message.
#[derive(Debug)]
pub(crate) enum Job {
    Send,
    Call { answer: oneshot::Sender<Answer>, deadline: Instant },
}

#[derive(Debug)]
struct Entry {
    job: Job,
    service_len: usize,
    body_len: usize,
    expires: Option<Instant>,
    /// The body, unless it lies in the small bytes behind the service name.
    large: Option<Bytes>,
    /// It is a signed message.
    signed: bool,
    unordered: bool,
}

impl Entry {
    fn small_len(&self) -> usize {
        self.service_len + if self.large.is_none() { self.body_len } else { 0 }
    }
}

/// Messages of one priority, in order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    entries: VecDeque<Entry>,
    small: Vec<u8>,
    at: usize,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn push(&mut self, message: Message<'_>, job: Job) {
        let (service_len, body_len) = (message.service.len(), message.body.len());
        let (expires, unordered, signed) = (message.expires, message.unordered, message.body.is_signed());
        self.small.extend_from_slice(message.service.as_bytes());
        let large = match message.body {
            Payload::Borrowed(bytes) if bytes.len() <= SMALL => {
                self.small.extend_from_slice(bytes);
                None
            }
            Payload::Owned(bytes) if bytes.len() <= SMALL => {
                self.small.extend_from_slice(&bytes);
                None
            }
            body => Some(body.into_bytes()),
        };
        self.entries.push_back(Entry { job, service_len, body_len, expires, large, signed, unordered });
    }

    /// The first message and what to do with it.
    pub(crate) fn front(&self, priority: Priority) -> Option<(Message<'_>, &Job)> {
        let entry = self.entries.front()?;
        let small = self.small.get(self.at..self.at + entry.small_len()).unwrap_or_default();
        let (service, body) = small.split_at_checked(entry.service_len).unwrap_or_default();
        let body = match &entry.large {
            Some(bytes) if entry.signed => Payload::Signed(bytes.clone()),
            Some(bytes) => Payload::Owned(bytes.clone()),
            None => Payload::Borrowed(body),
        };
        // It came in as `&str`.
        let service = std::str::from_utf8(service).unwrap_or_default();
        let Entry { expires, unordered, .. } = *entry;
        Some((Message { service, body, priority, expires, unordered }, &entry.job))
    }

    /// Takes the first message off; gives its job and what it was charged.
    pub(crate) fn pop(&mut self) -> Option<(Job, usize)> {
        let entry = self.entries.pop_front()?;
        self.at += entry.small_len();
        if self.entries.is_empty() {
            self.small.clear();
            self.at = 0;
        }
        Some((entry.job, charge(entry.service_len, entry.body_len)))
    }

    /// Takes over the messages of `later`, behind its own.
    pub(crate) fn append(&mut self, later: &mut Self) {
        if later.is_empty() {
            return;
        }
        self.small.drain(..self.at);
        self.at = 0;
        self.small.extend_from_slice(later.small.get(later.at..).unwrap_or_default());
        later.small.clear();
        later.at = 0;
        self.entries.append(&mut later.entries);
    }

    /// When the first of its calls runs out of time.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.entries.iter().filter_map(|entry| match entry.job {
            Job::Call { deadline, .. } => Some(deadline),
            Job::Send => None,
        });
        deadlines.min()
    }

    /// Fails calls whose time is over, wherever they stand; they keep their place until it is their turn.
    pub(crate) fn expire(&mut self, now: Instant) {
        for entry in &mut self.entries {
            if matches!(entry.job, Job::Call { deadline, .. } if deadline <= now) {
                // What has lost its caller is dropped when its turn comes.
                let (answer, _) = oneshot::channel();
                let gone = Job::Call { answer, deadline: Instant::from_nanos(u64::MAX) };
                if let Job::Call { answer, .. } = std::mem::replace(&mut entry.job, gone) {
                    let _ = answer.send(Err(CallError::DeadlineExceeded { executed: Executed::No }));
                }
            }
        }
    }

    /// Gives memory back that an idle link does not need.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

fn charge(service_len: usize, body_len: usize) -> usize {
    (OVERHEAD + service_len + body_len).min(QUEUE)
}

/// The messages of one priority that wait for the task, and who waits for room among them.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) batch: Batch,
    free: usize,
    /// Whoever waits longest is first, and nobody gets ahead. There while somebody waits: mostly nobody does.
    #[allow(clippy::box_collection)] // a link has four of these
    line: Option<Box<VecDeque<Waiting>>>,
    /// The next ticket. None is given twice: who was let in may not have noticed yet.
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    cost: usize,
    waker: Waker,
}

impl Default for Lane {
    fn default() -> Self {
        Self { batch: Batch::default(), free: QUEUE, line: None, next: 0 }
    }
}

impl Lane {
    /// Takes room if there is some and nobody has a better claim.
    pub(crate) fn take(&mut self, cost: usize) -> bool {
        let fits = self.line.is_none() && self.free >= cost;
        if fits {
            self.free -= cost;
        }
        fits
    }

    /// Gives room back, and to those who wait for it; they are to be woken.
    pub(crate) fn give_back(&mut self, cost: usize) -> Vec<Waker> {
        // A line that was dissolved at the end gives back what it never had.
        self.free = (self.free + cost).min(QUEUE);
        let mut wakers = Vec::new();
        let Some(line) = &mut self.line else { return wakers };
        while line.front().is_some_and(|first| first.cost <= self.free) {
            let Some(first) = line.pop_front() else { break };
            self.free -= first.cost;
            wakers.push(first.waker);
        }
        if line.is_empty() {
            self.line = None;
        }
        wakers
    }

    /// The bytes that are taken up or promised.
    pub(crate) fn waiting_bytes(&self) -> usize {
        QUEUE - self.free.min(QUEUE)
    }

    /// Lets nobody wait any more; they are to be woken.
    pub(crate) fn dissolve(&mut self) -> Vec<Waker> {
        let line = self.line.take().unwrap_or_default();
        line.into_iter().map(|waiting| waiting.waker).collect()
    }

    /// Takes somebody out of the line, and gives whom to wake no more; `None` if it was their turn already.
    pub(crate) fn leave(&mut self, ticket: u64) -> Option<Waker> {
        let line = self.line.as_mut()?;
        let at = line.iter().position(|waiting| waiting.ticket == ticket)?;
        line.remove(at).map(|waiting| waiting.waker)
    }

    /// Puts somebody at the end of the line; the ticket shows the place.
    pub(crate) fn line_up(&mut self, cost: usize, waker: Waker) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.line.get_or_insert_default().push_back(Waiting { ticket, cost, waker });
        ticket
    }

    /// Notes whom to wake when it is this ticket's turn, and gives who was noted before; `None` if it was their
    /// turn already.
    pub(crate) fn keep_place(&mut self, ticket: u64, waker: &Waker) -> Option<Waker> {
        let mut line = self.line.iter_mut().flat_map(|line| line.iter_mut());
        let place = line.find(|waiting| waiting.ticket == ticket)?;
        Some(std::mem::replace(&mut place.waker, waker.clone()))
    }
}

/// What a message takes of a queue.
pub(crate) fn cost(message: &Message<'_>) -> usize {
    charge(message.service.len(), message.body.len())
}
