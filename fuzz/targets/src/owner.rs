//! The owner of a link, who holds it to its promises at every step.

use std::sync::Arc;

use handclasp::{Action, CallId, Closed, Config, Instant, Link, NodeId, Phase, Priority, Ready, ReplyToken};
use handclasp_sim::Owned;

/// When all runs begin.
pub(crate) const START: Instant = Instant::from_nanos(1_000_000_000);

/// More steps than this without a pause are a loop that does not end.
const HOT: usize = 1_000_000;

/// Bytes that a link takes before it has proved its peer.
const BEFORE_PROOF: usize = 2 + 4096;

/// A message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) service: String,
    pub(crate) body: Vec<u8>,
    pub(crate) priority: Priority,
    pub(crate) unordered: bool,
}

/// A link, and what its owner knows of it.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) link: Link,
    config: Arc<Config>,
    pub(crate) now: Instant,
    pub(crate) ready: Ready,
    /// The most bytes that one write takes.
    pub(crate) chunk: usize,
    /// What the link has written.
    pub(crate) out: Vec<u8>,
    /// The events as text, for comparisons.
    pub(crate) log: Vec<String>,
    pub(crate) logs: bool,
    /// Calls without an outcome.
    pub(crate) calls: Vec<CallId>,
    /// Calls that were cancelled: their answer may have been there already.
    cancelled: Vec<CallId>,
    /// Calls of the peer's that can be answered, with the first bytes of their bodies.
    pub(crate) tokens: Vec<(ReplyToken, [u8; 4])>,
    /// Messages and calls that came and were not looked at yet.
    pub(crate) got: Vec<Got>,
    /// One-way messages that the link took, and those that it said have expired.
    pub(crate) sent: usize,
    pub(crate) expired: usize,
    pub(crate) replies: Vec<(CallId, Vec<u8>)>,
    next_sequence: [u64; 4],
    stage: Stage,
    /// What was taken since the last read, as the peer was charged for it: it was within the window.
    taken: usize,
    answered: usize,
    /// Bytes that were read while the link waits for its owner to decide.
    held: usize,
}

/// How far the events have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Begun,
    Opened,
    Identified,
    Established,
    Ready,
    Closed,
}

impl Owner {
    pub(crate) fn new(link: Link, config: &Arc<Config>) -> Self {
        Self {
            link,
            config: Arc::clone(config),
            now: START,
            ready: Ready::ALL,
            chunk: usize::MAX,
            out: Vec::new(),
            log: Vec::new(),
            logs: false,
            calls: Vec::new(),
            cancelled: Vec::new(),
            tokens: Vec::new(),
            got: Vec::new(),
            sent: 0,
            expired: 0,
            replies: Vec::new(),
            next_sequence: [0; 4],
            stage: Stage::Begun,
            taken: 0,
            answered: 0,
            held: 0,
        }
    }

    /// Polls until there is nothing left to do of what the owner is ready for; the time to poll again.
    pub(crate) fn act(&mut self) -> Option<Instant> {
        for _ in 0..HOT {
            let finished = self.link.is_finished();
            match self.link.poll(self.now, self.ready) {
                Action::Event(event) => {
                    let event = Owned::from(event);
                    assert!(!finished, "{event:?} behind Closed");
                    self.on(event);
                }
                Action::Send => {
                    assert!(!finished && self.ready.write, "Send out of place");
                    let bytes = self.link.transmit(self.now);
                    assert!(!bytes.is_empty(), "Send was offered, but there is nothing to write");
                    let again = bytes.to_vec();
                    assert_eq!(again, self.link.transmit(self.now), "other bytes at the second look");
                    let count = again.len().min(self.chunk);
                    self.out.extend_from_slice(&again[..count]);
                    self.link.transmitted(count, self.now);
                }
                Action::Timeout(at) => {
                    self.rest(at);
                    return at;
                }
            }
        }
        panic!("{HOT} steps without an end: {:?}", self.link)
    }

    /// What holds when nothing is queued.
    fn rest(&mut self, at: Option<Instant>) {
        assert!(at.is_none_or(|at| at > self.now), "a deadline in the past: {at:?} at {:?}", self.now);
        let again = self.link.poll(self.now, self.ready);
        assert!(matches!(again, Action::Timeout(same) if same == at), "{again:?} behind {at:?}");
        if self.ready.write {
            assert!(self.link.transmit(self.now).is_empty(), "bytes to write, but Send was not offered");
        }
        if self.ready == Ready::ALL && self.link.closed().is_none() {
            assert!(at.is_some(), "nothing would ever end this link: {:?}", self.link);
        }
        self.is_bounded();
        if self.link.is_finished() {
            assert_eq!(at, None, "a deadline behind Closed");
            assert!(self.link.recv_space().is_empty() && self.link.transmit(self.now).is_empty());
        }
    }

    fn is_bounded(&mut self) {
        let own = *self.config.limits();
        let (phase, space) = (self.link.phase(), self.link.recv_space().len());
        let open = phase.is_open() || matches!(phase, Phase::Status | Phase::Alive);
        let room = if open { (64 << 10).max(2 + usize::from(own.max_record) + 16) } else { BEFORE_PROOF };
        assert!(space <= room, "room for {space} bytes in {phase}");
        let (calls, serving) = self.link.calls_in_flight();
        assert!(serving <= own.max_calls as usize, "{serving} calls served");
        let mut most = own;
        if let Some(peer) = self.link.peer() {
            most = peer.outcome.limits;
        }
        assert!(calls <= most.max_calls as usize, "{calls} calls made");
        // Each of the two budgets may go over its bound by one message, and errors that answer by themselves have
        // a bound of their own.
        let message = most.max_message as usize + 64 + 255;
        let errors = (2 * own.max_calls as usize + 1) * (64 + 900);
        let bound = 2 * (SEND_BUFFER + message) + errors;
        assert!(self.link.queued() <= bound, "{} bytes queued", self.link.queued());
    }

    fn on(&mut self, event: Owned) {
        if self.logs {
            self.log.push(format!("{event:?}"));
        }
        match event {
            Owned::Opened => self.reach(Stage::Begun, Stage::Opened),
            Owned::Identified(id) => {
                self.reach(Stage::Opened, Stage::Identified);
                self.is_peer(id);
            }
            Owned::Established(id) => {
                self.reach(Stage::Identified, Stage::Established);
                self.is_peer(id);
            }
            Owned::Ready => self.reach(Stage::Established, Stage::Ready),
            Owned::Closed(closed) => self.closed(&closed),
            Owned::Message { service, body, priority, sequence, unordered } => {
                if !unordered {
                    let next = &mut self.next_sequence[priority as usize];
                    assert!(sequence >= *next, "message {sequence} behind {next} of {priority:?}");
                    *next = sequence + 1;
                }
                self.charge(service.len() + body.len());
                self.got.push(Got { service, body: body.to_vec(), priority, unordered });
            }
            Owned::Call { token, service, body, deadline } => {
                assert!(deadline > self.now, "a call that is over");
                self.tokens.push((token, body.first_chunk().copied().unwrap_or_default()));
                // The sequence is not in `Owned`: calls are numbered with the messages.
                self.charge(service.len() + body.len());
                let (body, priority) = (body.to_vec(), Priority::Normal);
                self.got.push(Got { service, body, priority, unordered: false });
            }
            Owned::Reply { call, body } => {
                self.ended(call);
                self.answered += body.len() + 64;
                let window = self.link.peer().map_or(0, |peer| peer.outcome.limits.window);
                assert!(self.answered <= window as usize, "answers beyond the window");
                self.replies.push((call, body.to_vec()));
            }
            Owned::CallFailed { call, .. } => self.ended(call),
            Owned::Cancelled(serial) => {
                let before = self.tokens.len();
                self.tokens.retain(|(token, _)| token.call() != serial);
                assert!(self.tokens.len() <= before && self.stage >= Stage::Established);
            }
            Owned::Expired(_) => self.expired += 1,
            // Nobody reads or writes streams here: they come and go within their bounds.
            Owned::StreamOpened { .. }
            | Owned::StreamReadable(_)
            | Owned::StreamWritable(_)
            | Owned::StreamReset { .. }
            | Owned::StreamStopped { .. } => assert!(self.stage >= Stage::Established),
            Owned::Draining { .. } => assert!(self.stage >= Stage::Established && self.stage < Stage::Closed),
        }
        assert!(self.expired <= self.sent, "more has expired than was sent");
    }

    /// A request was taken.
    fn charge(&mut self, bytes: usize) {
        assert!(self.stage >= Stage::Established && self.stage < Stage::Closed, "a message before its time");
        let limits = self.link.peer().expect("a peer sent it").outcome.limits;
        assert!(bytes <= limits.max_message as usize + 255, "a message of {bytes} bytes");
        self.taken += bytes + 64;
        assert!(self.taken <= limits.window as usize, "{} bytes beyond the window", self.taken);
    }

    fn is_peer(&self, id: NodeId) {
        assert_eq!(self.link.peer().map(|peer| peer.id), Some(id));
        assert_ne!(id, self.config.node_id(), "a link with oneself");
    }

    fn reach(&mut self, from: Stage, to: Stage) {
        let skips = to == Stage::Established && self.stage == Stage::Opened;
        assert!(self.stage == from || skips, "{to:?} behind {:?}", self.stage);
        self.stage = to;
    }

    fn ended(&mut self, call: CallId) {
        if let Some(place) = self.calls.iter().position(|each| *each == call) {
            self.calls.swap_remove(place);
            return;
        }
        let place = self.cancelled.iter().position(|each| *each == call);
        self.cancelled.swap_remove(place.unwrap_or_else(|| panic!("an outcome of no call: {call:?}")));
    }

    fn closed(&mut self, closed: &Closed) {
        assert!(self.stage > Stage::Begun && self.stage < Stage::Closed, "Closed behind {:?}", self.stage);
        self.stage = Stage::Closed;
        assert_eq!(self.link.closed(), Some(closed));
        assert_eq!(self.link.phase(), Phase::Closed);
        assert!(self.link.is_finished());
        assert_eq!(self.calls, [], "calls without an outcome");
        let handshakes = self.config.handshakes();
        assert_eq!(handshakes.started, handshakes.completed + handshakes.failed, "{handshakes:?}");
        let unsent = std::iter::from_fn(|| self.link.take_unsent()).count();
        assert_eq!(unsent, closed.unsent, "messages given back");
        assert!(unsent + self.expired <= self.sent);
        self.tokens.clear();
    }

    /// Gives the link bytes in one read, without a look at what it makes of them: how many it took.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> usize {
        let waits = self.link.phase() == Phase::Admission;
        let space = self.link.recv_space();
        let count = space.len().min(bytes.len());
        if count > 0 {
            space[..count].copy_from_slice(&bytes[..count]);
            self.link.received(count, self.now);
            (self.taken, self.answered) = (0, 0);
            self.held = if waits { self.held + count } else { 0 };
            assert!(self.held <= BEFORE_PROOF, "{} bytes held for a peer that is not admitted", self.held);
        }
        count
    }

    /// Gives the link bytes, as far as it takes them, without a look at what it makes of them: how many it took.
    pub(crate) fn read_all(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            match self.read(&bytes[taken..]) {
                0 => return taken,
                count => taken += count,
            }
        }
    }

    /// A call that is cancelled.
    pub(crate) fn cancel(&mut self, place: usize) {
        let call = self.calls.swap_remove(place);
        self.link.cancel(call, self.now);
        self.cancelled.push(call);
    }

    /// Whether messages can flow, or could.
    pub(crate) fn was_established(&self) -> bool {
        self.link.peer().is_some() && self.stage >= Stage::Established
    }

    /// The link comes to its end by its deadlines, whichever way `how` says: the stream ends, the owner lets go, or it
    /// lets go while the stream takes nothing more or the application does not.
    pub(crate) fn finish(&mut self, how: usize) {
        self.ready = Ready::ALL;
        self.chunk = usize::MAX;
        match how % 4 {
            0 => {
                self.act();
                self.link.recv_closed(self.now);
            }
            1 => {
                self.act();
                self.link.close(self.now);
            }
            blocked => {
                self.ready = Ready {
                    events: true,
                    requests: blocked == 2,
                    unordered: blocked == 2,
                    write: blocked != 2,
                };
                self.act();
                self.link.goodbye(3, "the end", self.now);
            }
        }
        while let Some(next) = self.act() {
            self.now = next;
        }
        assert!(self.link.is_finished(), "no end: {:?}", self.link);
        self.is_over();
    }

    /// What holds of a link that is over, whatever is asked of it.
    fn is_over(&mut self) {
        let end = self.link.closed().cloned();
        self.link.goodbye(1, "late", self.now);
        self.link.close(self.now);
        self.link.ping(self.now);
        self.link.rekey(self.now);
        self.link.ready(self.now);
        self.link.admit(self.now);
        self.link.received(0, self.now);
        self.link.recv_closed(self.now);
        self.link.transport_failed(self.now);
        let message = handclasp::Message::new("late", "late");
        assert!(self.link.send(message).is_err());
        assert_eq!(self.act(), None);
        assert_eq!(self.link.closed().cloned(), end);
    }
}

/// The send buffer of all links.
pub(crate) const SEND_BUFFER: usize = 20_000;
