//! Messages that wait to be sealed: one queue a lane, and the choice among them.
//!
//! Lanes share the stream by deficit round robin: a lane may write while its account is positive, what it writes is taken off, and
//! when no lane that could write has anything left, each is given its share again. A long piece leaves a debt that the lane pays
//! by waiting, so that pieces are as long as the record allows and the shares hold all the same.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};

use bytes::Bytes;

use super::bytes::ByteQueue;
use super::credit::{Budget, MESSAGE_OVERHEAD, SendCredit};
use crate::time::Instant;
use crate::wire::frame::{Begin, FrameWriter, HEADER_LEN, Lane, begin_len};

/// Each lane's share, in bytes a round: answers first, then the application's priorities.
const SHARES: [i64; Lane::COUNT] = [16 << 10, 8 << 10, 4 << 10, 2 << 10, 1 << 10];

/// A shorter first piece of a long message is not worth its header.
const SHORTEST_PIECE: usize = 256;

/// What is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Send,
    Call { id: u64, deadline: Instant },
    Reply { id: u64 },
    Error { id: u64, code: u16 },
}

impl Kind {
    fn budget(self) -> Budget {
        match self {
            Self::Send | Self::Call { .. } => Budget::Messages,
            Self::Reply { .. } | Self::Error { .. } => Budget::Replies,
        }
    }

    /// Whether it is new work, which a goodbye holds back.
    fn is_new_work(self) -> bool {
        self.budget() == Budget::Messages
    }
}

#[derive(Debug)]
struct Entry {
    kind: Kind,
    service_len: u8,
    body_len: usize,
    /// The body, unless it is in the lane's `small` queue behind the service name.
    large: Option<Bytes>,
    /// Cancelled; its small bytes still hold their place in the queue.
    dead: bool,
}

impl Entry {
    fn small_len(&self) -> usize {
        usize::from(self.service_len) + if self.large.is_none() { self.body_len } else { 0 }
    }

    fn charge(&self) -> usize {
        usize::from(self.service_len) + self.body_len + MESSAGE_OVERHEAD
    }
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    small: ByteQueue,
    /// Body bytes of the first entry that have been sealed, once its first frame has.
    begun: Option<usize>,
    /// A begun message that was given up: its end has to be told.
    abandon: bool,
    account: i64,
}

/// A body to queue: small ones are copied in, large ones kept.
#[derive(Clone, Debug)]
pub(super) enum Body<'a> {
    Small(&'a [u8]),
    Large(Bytes),
}

impl Body<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Small(bytes) => bytes.len(),
            Self::Large(bytes) => bytes.len(),
        }
    }
}

/// What a write did to a call, for the table of calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) call: Option<u64>,
    pub(super) whole: bool,
}

/// A one-way message that was never begun, given back. (A call that was never begun has failed, and said so.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsent {
    /// The service it was for.
    pub service: String,
    /// Its body.
    pub body: Bytes,
    /// Its priority, 0 to 3.
    pub priority: u8,
}

/// All message lanes of one direction.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    queues: [Queue; Lane::COUNT],
    /// Body and service bytes queued and not sealed.
    bytes: usize,
    /// Set by a goodbye: new work stays queued.
    pub(super) held: bool,
}

impl Lanes {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, lane: Lane, kind: Kind, service: &str, body: Body<'_>) {
        let queue = &mut self.queues[lane.index()];
        let body_len = body.len();
        queue.small.push(service.as_bytes());
        let large = match body {
            Body::Small(bytes) => {
                queue.small.push(bytes);
                None
            }
            Body::Large(bytes) => Some(bytes),
        };
        let service_len = u8::try_from(service.len()).unwrap_or(u8::MAX);
        queue.entries.push_back(Entry { kind, service_len, body_len, large, dead: false });
        self.bytes += usize::from(service_len) + body_len;
    }

    /// Whether a lane could write into an empty record now.
    pub(super) fn is_ready(&self, credit: &[SendCredit; 2]) -> bool {
        self.writable(credit, usize::MAX, usize::MAX).iter().any(|writable| *writable)
    }

    /// Whether nothing that may still be sent is queued.
    pub(super) fn is_drained(&self) -> bool {
        self.queues.iter().all(|queue| {
            queue.begun.is_none()
                && !queue.abandon
                && queue.entries.iter().all(|entry| entry.dead || self.held && entry.kind.is_new_work())
        })
    }

    /// Whether new work is queued that has not been begun.
    pub(super) fn has_new_work(&self) -> bool {
        self.queues
            .iter()
            .any(|queue| queue.entries.iter().any(|entry| !entry.dead && entry.kind.is_new_work()))
    }

    /// Which lanes can write `room` bytes or fewer, where an empty record has `record`.
    ///
    /// A lane that waits for credit holds back the lanes below it that need the same budget: else a long message would wait for
    /// ever while short ones of lower rank use up what comes back.
    fn writable(&self, credit: &[SendCredit; 2], room: usize, record: usize) -> [bool; Lane::COUNT] {
        let mut starved = [false; 2];
        let mut writable = [false; Lane::COUNT];
        for (queue, writable) in self.queues.iter().zip(&mut writable) {
            if queue.abandon {
                *writable = room >= HEADER_LEN;
                continue;
            }
            let Some(entry) = queue.entries.front() else { continue };
            if let Some(sent) = queue.begun {
                *writable = room >= HEADER_LEN + (entry.body_len - sent).min(SHORTEST_PIECE);
                continue;
            }
            if self.held && entry.kind.is_new_work() {
                continue;
            }
            let budget = entry.kind.budget() as usize;
            if starved[budget] || !credit[budget].covers(entry.charge()) {
                starved[budget] = true;
                continue;
            }
            let header = entry.header_len();
            let whole = header.saturating_add(entry.body_len);
            *writable = whole <= room || (whole > record && room >= header + SHORTEST_PIECE);
        }
        writable
    }

    /// Writes one frame of at most `room` bytes; `None` if none fits or waits.
    pub(super) fn write(
        &mut self,
        out: &mut FrameWriter<'_>,
        room: usize,
        record: usize,
        credit: &mut [SendCredit; 2],
        now: Instant,
    ) -> Option<Progress> {
        let writable = self.writable(credit, room, record);
        let at = self.choose(writable)?;
        let lane = Lane::ALL[at];
        let queue = &mut self.queues[at];
        if queue.abandon {
            out.abandon(lane);
            queue.abandon = false;
            return Some(Progress { call: None, whole: true });
        }
        let entry = queue.entries.front()?;
        let call = if let Kind::Call { id, .. } = entry.kind { Some(id) } else { None };
        let sent = queue.begun.unwrap_or(0);
        let left = entry.body_len - sent;
        let service_len = usize::from(entry.service_len);
        let body = match &entry.large {
            Some(bytes) => bytes,
            None => queue.small.front(entry.small_len()).get(service_len..).unwrap_or_default(),
        };
        let body = body.get(sent..).unwrap_or_default();
        let piece;
        if queue.begun.is_some() {
            piece = left.min(room - HEADER_LEN);
            out.data(lane, piece < left, |out| out.extend_from_slice(body.get(..piece).unwrap_or_default()));
            self.bytes -= piece;
        } else if let Kind::Error { id, code } = entry.kind {
            piece = left;
            out.error(lane, id, code, |out| out.extend_from_slice(body));
            credit[entry.kind.budget() as usize].charge(entry.charge());
            self.bytes -= left;
        } else {
            let header = entry.header_len();
            let whole = header + entry.body_len <= room;
            piece = if whole { left } else { room - header };
            let service = queue.small.front(service_len);
            // The name came in as `&str`.
            let service = core::str::from_utf8(service).unwrap_or_default();
            let begin = match entry.kind {
                Kind::Call { id, deadline } => {
                    let timeout = deadline.since(now).as_millis();
                    Begin::Call { id, timeout_ms: u64::try_from(timeout).unwrap_or(u64::MAX), service }
                }
                Kind::Reply { id } => Begin::Reply { id },
                Kind::Send | Kind::Error { .. } => Begin::Send { service },
            };
            let total = (!whole).then_some(entry.body_len as u64);
            out.begin(lane, begin, total, |out| {
                out.extend_from_slice(body.get(..piece).unwrap_or_default());
            });
            credit[entry.kind.budget() as usize].charge(entry.charge());
            self.bytes -= service_len + piece;
        }
        let whole = piece == left;
        queue.account -= i64::try_from(piece + HEADER_LEN).unwrap_or(i64::MAX);
        if whole {
            queue.begun = None;
            queue.pop();
        } else {
            queue.begun = Some(sent + piece);
        }
        Some(Progress { call, whole })
    }

    /// The first writable lane with something left in its account, after handing out shares if none has.
    fn choose(&mut self, writable: [bool; Lane::COUNT]) -> Option<usize> {
        if !writable.contains(&true) {
            return None;
        }
        loop {
            for (at, queue) in self.queues.iter().enumerate() {
                if writable[at] && queue.account > 0 {
                    return Some(at);
                }
            }
            for (at, queue) in self.queues.iter_mut().enumerate() {
                if writable[at] {
                    queue.account += SHARES[at];
                }
            }
        }
    }

    /// Takes a call out of its lane, as far as it has not left.
    pub(super) fn cancel(&mut self, lane: Lane, call: u64) {
        let queue = &mut self.queues[lane.index()];
        let found = queue
            .entries
            .iter_mut()
            .enumerate()
            .find(|(_, entry)| matches!(entry.kind, Kind::Call { id, .. } if id == call && !entry.dead));
        let Some((at, entry)) = found else { return };
        let sealed = if at == 0 { queue.begun.take() } else { None };
        entry.dead = true;
        entry.large = entry.large.take().map(|_| Bytes::new());
        self.bytes -= match sealed {
            Some(sent) => entry.body_len - sent,
            None => usize::from(entry.service_len) + entry.body_len,
        };
        queue.abandon |= sealed.is_some();
        queue.prune();
    }

    /// The next message that was never begun; for the end of a link.
    pub(super) fn take_unsent(&mut self) -> Option<Unsent> {
        for (at, queue) in self.queues.iter_mut().enumerate() {
            while let Some(entry) = queue.entries.front() {
                let Some(priority) = Lane::ALL[at]
                    .priority()
                    .filter(|_| entry.kind == Kind::Send && queue.begun.is_none() && !entry.dead)
                else {
                    queue.discard();
                    continue;
                };
                let small = queue.small.front(entry.small_len());
                let (service, body) =
                    small.split_at_checked(usize::from(entry.service_len)).unwrap_or_default();
                let unsent = Unsent {
                    service: core::str::from_utf8(service).unwrap_or_default().to_string(),
                    body: entry.large.clone().unwrap_or_else(|| Bytes::copy_from_slice(body)),
                    priority,
                };
                queue.discard();
                return Some(unsent);
            }
        }
        self.bytes = 0;
        None
    }

    /// How many one-way messages were never begun.
    pub(super) fn unsent(&self) -> usize {
        self.queues
            .iter()
            .map(|queue| {
                let begun = usize::from(queue.begun.is_some());
                queue
                    .entries
                    .iter()
                    .skip(begun)
                    .filter(|entry| !entry.dead && entry.kind == Kind::Send)
                    .count()
            })
            .sum()
    }

    /// Answers queued and not begun.
    pub(super) fn queued_answers(&self) -> usize {
        self.queues[Lane::REPLY.index()].entries.len()
    }

    pub(super) fn shrink(&mut self) {
        for queue in &mut self.queues {
            queue.small.shrink();
            if queue.entries.is_empty() {
                queue.entries = VecDeque::new();
            }
        }
    }
}

impl Entry {
    /// The bytes of the first frame beside the body, at their longest: with a total, and the timeout as it may be.
    fn header_len(&self) -> usize {
        let service = usize::from(self.service_len);
        match self.kind {
            Kind::Send => begin_len(&Begin::Send { service: "" }, Some(self.body_len as u64)) + service,
            Kind::Call { id, .. } => {
                let begin = Begin::Call { id, timeout_ms: u64::MAX, service: "" };
                begin_len(&begin, Some(self.body_len as u64)) + service
            }
            Kind::Reply { id } => begin_len(&Begin::Reply { id }, Some(self.body_len as u64)),
            Kind::Error { .. } => HEADER_LEN + 8 + 2,
        }
    }
}

impl Queue {
    /// Takes the first entry off, and the dead ones behind it.
    fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.small.pop(entry.small_len());
        }
        self.prune();
        if self.entries.is_empty() {
            self.account = 0;
        }
    }

    fn prune(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.dead) {
            if let Some(entry) = self.entries.pop_front() {
                self.small.pop(entry.small_len());
            }
        }
    }

    fn discard(&mut self) {
        self.begun = None;
        self.abandon = false;
        self.pop();
    }
}
