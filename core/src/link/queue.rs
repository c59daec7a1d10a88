//! Messages that wait to be sealed: one queue a lane, and the choice among them.
//!
//! Lanes share the stream by deficit round robin: a lane may write while its account is positive, what it
//! writes is taken off, and when no lane that could write has anything left, each is given its share again. A
//! long piece leaves a debt that the lane pays by waiting, so that pieces are as long as the record allows
//! and the shares hold all the same.

mod leaving;

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::bytes::ByteQueue;
use super::credit::{Budget, MESSAGE_OVERHEAD, SendCredit, Unconfirmed};
use super::message::Message;
use super::pace::Pace;
use super::streams::{PRIORITIES, Streams};
use crate::time::Instant;
use crate::wire::frame::{Begin, FrameWriter, HEADER_LEN, Lane, Marks, begin_len};

/// Each lane's share, in bytes a round: answers first, then the application's priorities.
const SHARES: [i32; Lane::COUNT] = [16 << 10, 8 << 10, 4 << 10, 2 << 10, 1 << 10];

/// What each lane leaves of the window to those above it, in eighths.
const KEPT_EIGHTHS: [u64; Lane::COUNT] = [0, 0, 1, 2, 4];

/// The lane that is to disturb nothing: that of the lowest priority.
const BULK: usize = Lane::COUNT - 1;

/// A shorter first piece of a long message is not worth its header.
pub(super) const SHORTEST_PIECE: usize = 256;

/// What is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Send { expires: Option<Instant>, marks: Marks },
    Call { id: u64, deadline: Instant },
    Reply { id: u64 },
    Error { id: u64, code: u16 },
}

impl Kind {
    fn budget(self) -> Budget {
        match self {
            Self::Send { .. } | Self::Call { .. } => Budget::Messages,
            Self::Reply { .. } | Self::Error { .. } => Budget::Replies,
        }
    }

    fn expires(self) -> bool {
        matches!(self, Self::Send { expires: Some(_), .. })
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
}

impl Entry {
    fn small_len(&self) -> usize {
        usize::from(self.service_len) + if self.large.is_none() { self.body_len } else { 0 }
    }

    fn charge(&self) -> usize {
        usize::from(self.service_len) + self.body_len + MESSAGE_OVERHEAD
    }

    /// What of it counts as queued, of a message of which so much of the body was sealed, if it was begun.
    fn unsealed(&self, begun: Option<u32>) -> usize {
        begun.map_or_else(|| self.charge(), |sent| self.body_len - sent as usize)
    }
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    small: ByteQueue,
    /// Body bytes of the first entry that have been sealed, once its first frame has.
    begun: Option<u32>,
    /// A begun message that was given up: its end has to be told.
    abandon: bool,
    /// What is queued and not sealed for each budget: body and service bytes, and an overhead for each message.
    bytes: [usize; 2],
    /// What others have been charged while the first entry waited for nothing but credit.
    passed: u32,
    account: i32,
}

/// A body to queue: copied into the queue's own bytes, or kept where it lies.
#[derive(Clone, Debug)]
pub(super) enum Body<'a> {
    Copied(&'a [u8]),
    Kept(Bytes),
}

impl Body<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Copied(bytes) => bytes.len(),
            Self::Kept(bytes) => bytes.len(),
        }
    }
}

/// What a write did to a call, for the table of calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) call: Option<u64>,
    pub(super) whole: bool,
}

/// Who writes next: a lane of messages, or the streams of a priority.
enum Turn {
    Message(usize),
    Stream(usize),
}

/// All message lanes of one direction.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    queues: [Queue; Lane::COUNT],
    /// Messages queued and not begun for each budget.
    waiting: [usize; 2],
    /// Messages queued that expire: mostly there are none, and nobody looks for them.
    expiring: usize,
    /// Sealed, and perhaps not taken by the peer.
    unconfirmed: Unconfirmed,
    /// What the lowest priority has on its way.
    pub(super) pace: Pace,
    /// Set by a goodbye: new work stays queued.
    pub(super) held: bool,
}

impl Lanes {
    pub(super) fn bytes(&self, budget: Budget) -> usize {
        self.queues.iter().map(|queue| queue.bytes[budget as usize]).sum()
    }

    /// The bytes of messages that are queued in one lane.
    pub(super) fn messages(&self, lane: Lane) -> usize {
        self.queues[lane.index()].bytes[Budget::Messages as usize]
    }

    /// Answers queued and not begun.
    pub(super) fn answers(&self) -> usize {
        self.waiting[Budget::Replies as usize]
    }

    /// Queues a one-way message.
    pub(super) fn push_message(&mut self, message: &Message<'_>) {
        let marks = Marks { signed: message.body.is_signed(), unordered: message.unordered };
        let kind = Kind::Send { expires: message.expires, marks };
        self.push(message.priority.lane(), kind, message.service, message.body.queued());
    }

    pub(super) fn push(&mut self, lane: Lane, kind: Kind, service: &str, body: Body<'_>) {
        let queue = &mut self.queues[lane.index()];
        let body_len = body.len();
        queue.small.push(service.as_bytes());
        let large = match body {
            Body::Copied(bytes) => {
                queue.small.push(bytes);
                None
            }
            Body::Kept(bytes) => Some(bytes),
        };
        let service_len = u8::try_from(service.len()).unwrap_or(u8::MAX);
        let entry = Entry { kind, service_len, body_len, large };
        queue.bytes[kind.budget() as usize] += entry.charge();
        self.waiting[kind.budget() as usize] += 1;
        self.expiring += usize::from(kind.expires());
        queue.entries.push_back(entry);
    }

    /// Whether a lane could write into an empty record now.
    pub(super) fn is_ready(&self, credit: &[SendCredit; 2]) -> bool {
        self.writable(credit, usize::MAX, usize::MAX).iter().any(|writable| *writable)
    }

    /// Whether nothing that may still be sent is queued.
    pub(super) fn is_drained(&self) -> bool {
        self.answers() == 0
            && (self.held || !self.has_new_work())
            && self.queues.iter().all(|queue| queue.begun.is_none() && !queue.abandon)
    }

    /// Whether new work is queued that has not been begun.
    pub(super) fn has_new_work(&self) -> bool {
        self.waiting[Budget::Messages as usize] > 0
    }

    /// Which lanes can write `room` bytes or fewer, where an empty record has `record`.
    ///
    /// A message that waits for credit lets others of its budget pass, but not more than a window of them:
    /// then what comes back is kept for it. Else a long message would wait for ever while short ones use
    /// up every little that comes back.
    fn writable(&self, credit: &[SendCredit; 2], room: usize, record: usize) -> [bool; Lane::COUNT] {
        let kept = self.kept_credit(credit);
        let mut writable = [false; Lane::COUNT];
        for (at, (queue, writable)) in self.queues.iter().zip(&mut writable).enumerate() {
            if queue.abandon {
                *writable = room >= HEADER_LEN;
                continue;
            }
            let Some(entry) = queue.entries.front() else { continue };
            if self.is_paced_out(at) {
                continue;
            }
            if let Some(sent) = queue.begun {
                *writable = room >= HEADER_LEN + (entry.body_len - sent as usize).min(SHORTEST_PIECE);
                continue;
            }
            let budget = entry.kind.budget();
            let may_begin = match kept[budget as usize] {
                Some(owner) => owner == at && credit[budget as usize].covers(entry.charge()),
                None => affords(at, entry, credit),
            };
            if self.is_held(entry) || !may_begin {
                continue;
            }
            let header = entry.header_len();
            let whole = header.saturating_add(entry.body_len);
            *writable = whole <= room || (whole > record && room >= header + SHORTEST_PIECE);
        }
        writable
    }

    fn is_held(&self, entry: &Entry) -> bool {
        self.held && entry.kind.is_new_work()
    }

    /// Whether lane `at` waits for what it has on its way.
    fn is_paced_out(&self, at: usize) -> bool {
        at == BULK && self.pace.is_spent()
    }

    /// For each budget, the lane whose turn has come after a window of others has passed it.
    fn kept_credit(&self, credit: &[SendCredit; 2]) -> [Option<usize>; 2] {
        let mut kept = [None; 2];
        for (at, queue) in self.queues.iter().enumerate() {
            let Some(entry) = queue.entries.front().filter(|_| queue.begun.is_none()) else { continue };
            let budget = entry.kind.budget() as usize;
            if !self.is_held(entry)
                && !self.is_paced_out(at)
                && u64::from(queue.passed) >= credit[budget].window()
            {
                kept[budget].get_or_insert(at);
            }
        }
        kept
    }

    /// Charges a message that lane `at` begins, and notes whom it passes.
    fn charge(&mut self, at: usize, budget: Budget, charge: usize, credit: &mut [SendCredit; 2]) {
        for (other, queue) in self.queues.iter_mut().enumerate() {
            let Some(entry) = queue.entries.front().filter(|_| queue.begun.is_none()) else { continue };
            if other == at {
                queue.passed = 0;
            } else if entry.kind.budget() == budget && !affords(other, entry, credit) {
                queue.passed = queue.passed.saturating_add(length32(charge));
            }
        }
        credit[budget as usize].charge(charge);
    }

    /// Writes one frame of at most `room` bytes; `None` if none fits or waits.
    pub(super) fn write(
        &mut self,
        out: &mut FrameWriter<'_>,
        room: usize,
        record: usize,
        credit: &mut [SendCredit; 2],
        mut streams: Option<&mut Streams>,
        now: Instant,
    ) -> Option<Progress> {
        let writable = self.writable(credit, room, record);
        let at = match self.choose(writable, streams.as_deref_mut(), room)? {
            Turn::Message(at) => at,
            Turn::Stream(at) => {
                streams?.write(at, out, room)?;
                return Some(Progress { call: None, whole: false });
            }
        };
        let lane = Lane::ALL[at];
        let queue = &mut self.queues[at];
        if queue.abandon {
            out.abandon(lane);
            queue.abandon = false;
            return Some(Progress { call: None, whole: false });
        }
        let entry = queue.entries.front()?;
        let (kind, charge) = (entry.kind, entry.charge());
        let sent = queue.begun.unwrap_or(0) as usize;
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
            queue.bytes[kind.budget() as usize] -= piece;
        } else if let Kind::Error { id, code } = kind {
            piece = left;
            out.error(lane, id, code, |out| out.extend_from_slice(body));
        } else {
            let header = entry.header_len();
            piece = if header + left <= room { left } else { room - header };
            // The name came in as `&str`.
            let service = core::str::from_utf8(queue.small.front(service_len)).unwrap_or_default();
            let begin = match kind {
                Kind::Call { id, deadline } => {
                    // Rounded up: what has time left is not sent as having none.
                    let timeout = deadline.since(now).as_nanos().div_ceil(1_000_000);
                    Begin::Call { id, timeout_ms: u64::try_from(timeout).unwrap_or(u64::MAX), service }
                }
                Kind::Reply { id } => Begin::Reply { id },
                Kind::Send { marks, .. } => Begin::Send { service, marks },
                Kind::Error { .. } => return None,
            };
            let total = (piece < left).then_some(left as u64);
            out.begin(lane, begin, total, |out| {
                out.extend_from_slice(body.get(..piece).unwrap_or_default());
            });
        }
        let begins = queue.begun.is_none();
        if begins {
            queue.bytes[kind.budget() as usize] -= charge - (left - piece);
            self.waiting[kind.budget() as usize] -= 1;
            self.charge(at, kind.budget(), charge, credit);
        }
        if at == BULK {
            self.pace.sealed(piece + HEADER_LEN);
        }
        let queue = &mut self.queues[at];
        let whole = piece == left;
        queue.account -= i32::try_from(piece + HEADER_LEN).unwrap_or(i32::MAX);
        if whole {
            queue.begun = None;
            queue.pop();
            self.expiring -= usize::from(kind.expires());
            if kind.is_new_work() {
                let one_way = matches!(kind, Kind::Send { .. });
                self.unconfirmed.push(charge, one_way, credit[Budget::Messages as usize].window());
            }
        } else {
            queue.begun = Some(length32(sent + piece));
        }
        let call = if let Kind::Call { id, .. } = kind { Some(id) } else { None };
        Some(Progress { call, whole })
    }

    /// The first writable lane with something left in its account, after handing out shares if none has. The
    /// streams of a priority are a lane beside its messages, with as large a share.
    fn choose(
        &mut self,
        writable: [bool; Lane::COUNT],
        streams: Option<&mut Streams>,
        room: usize,
    ) -> Option<Turn> {
        let (flowing, accounts) = match streams {
            Some(streams) => (streams.writable(room), &mut streams.accounts),
            None => ([false; PRIORITIES], &mut [0; PRIORITIES]),
        };
        if !writable.contains(&true) && !flowing.contains(&true) {
            return None;
        }
        loop {
            for (at, queue) in self.queues.iter().enumerate() {
                if writable[at] && queue.account > 0 {
                    return Some(Turn::Message(at));
                }
                match at.checked_sub(1) {
                    Some(at) if flowing[at] && accounts[at] > 0 => return Some(Turn::Stream(at)),
                    _ => {}
                }
            }
            for (at, queue) in self.queues.iter_mut().enumerate() {
                if writable[at] {
                    queue.account += SHARES[at];
                }
                match at.checked_sub(1) {
                    Some(stream) if flowing[stream] => accounts[stream] += SHARES[at],
                    _ => {}
                }
            }
        }
    }

    /// Credit for messages has come back: notes which of them the peer has taken.
    pub(super) fn confirm(&mut self, credit: SendCredit) {
        // The peer gives nothing back for what it has only in part.
        let begun = self.queues.iter().filter(|queue| queue.begun.is_some());
        let begun = begun.filter_map(|queue| queue.entries.front()).filter(|entry| entry.kind.is_new_work());
        let begun: u64 = begun.map(|entry| entry.charge() as u64).sum();
        self.unconfirmed.confirm(credit.under_way().saturating_sub(begun));
    }

    /// One-way messages that were sealed to their last byte and that the peer may not have taken.
    pub(super) fn unknown(&self) -> usize {
        self.unconfirmed.sends()
    }

    pub(super) fn shrink(&mut self) {
        self.unconfirmed.shrink();
        for queue in &mut self.queues {
            queue.small.shrink();
            if queue.entries.is_empty() {
                queue.entries = VecDeque::new();
            }
        }
    }
}

/// A length of a message, which limits count in 32 bits.
fn length32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Whether lane `at` may begin `entry` with the credit there is. Lanes leave a part of the window to those
/// above them: else bulk would have it all under way, and what is urgent would wait for it to be taken at the
/// other side.
fn affords(at: usize, entry: &Entry, credit: &[SendCredit; 2]) -> bool {
    let credit = credit[entry.kind.budget() as usize];
    let kept = credit.window() / 8 * KEPT_EIGHTHS[at];
    credit.covers(entry.charge()) && (credit.is_whole() || credit.available() - entry.charge() as u64 >= kept)
}

impl Entry {
    /// The bytes of the first frame beside the body, at their longest: with a total, and the timeout as it
    /// may be.
    fn header_len(&self) -> usize {
        let service = usize::from(self.service_len);
        match self.kind {
            Kind::Send { .. } => {
                begin_len(&Begin::Send { service: "", marks: Marks::default() }, Some(self.body_len as u64))
                    + service
            }
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
    /// Moves the first entry to the end.
    fn rotate(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            let small = self.small.front(entry.small_len()).to_vec();
            self.small.pop(small.len());
            self.small.push(&small);
            self.entries.push_back(entry);
        }
    }

    /// Takes the first entry off.
    fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.small.pop(entry.small_len());
        }
        if self.entries.is_empty() {
            self.account = 0;
        }
    }
}
