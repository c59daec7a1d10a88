//! One connection: a link, its stream, and the two threads that keep them going.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use handclasp::{
    Action, CallError, CallId, Closed, Event, Executed, Instant, Link, Message, Peer, Phase, Ready,
    ReplyRejected, ServiceError, Why,
};

/// What the program as a whole can run into.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long one write may block: so late, at most, is a deadline noticed while the stream takes nothing.
const WRITE: Duration = Duration::from_millis(100);

/// How long the end of a stream may take.
const LINGER: Duration = Duration::from_secs(1);

/// How a call ended.
type Answer = Result<Vec<u8>, CallError>;

/// What the threads share.
struct State {
    link: Link,
    /// Who waits for which call. The link bounds them: each has a deadline, and there are at most as many as
    /// the peer serves at a time.
    waiting: BTreeMap<CallId, mpsc::Sender<Answer>>,
    /// The reader has come to the end of the stream.
    read_out: bool,
}

/// A connection that its own two threads drive. Any thread can use it.
pub(crate) struct Connection {
    state: Mutex<State>,
    /// Something has changed that somebody may wait for: bytes came, a command was given, room was made.
    changed: Condvar,
    /// The one monotonic clock of this link.
    start: std::time::Instant,
}

impl Connection {
    /// Takes over a stream. `link` makes the link for it, given the time; `serve` answers the peer's calls,
    /// one after the other. The handle of the driving thread gives how the link ended.
    pub(crate) fn start(
        stream: TcpStream,
        link: impl FnOnce(Instant) -> Link,
        serve: impl FnMut(&Peer, &str, &[u8]) -> Result<Vec<u8>, ServiceError> + Send + 'static,
    ) -> Result<(Arc<Self>, JoinHandle<Closed>), Error> {
        stream.set_write_timeout(Some(WRITE))?;
        stream.set_nodelay(true)?;
        let state = State { link: link(Instant::ZERO), waiting: BTreeMap::new(), read_out: false };
        let start = std::time::Instant::now();
        let connection = Arc::new(Self { state: Mutex::new(state), changed: Condvar::new(), start });
        let shared = Arc::clone(&connection);
        let driver = thread::spawn(move || {
            thread::scope(|scope| {
                scope.spawn(|| shared.read(&stream));
                shared.drive(&stream, serve)
            })
        });
        Ok((connection, driver))
    }

    /// Calls a service of the peer and waits for the answer, at most `timeout`. Waits as well, within the
    /// same time, until the link is established and has room for the call: that is the backpressure.
    pub(crate) fn call(&self, service: &str, body: &[u8], timeout: Duration) -> Result<Vec<u8>, Error> {
        let until = self.now() + timeout;
        let (answer, wait) = mpsc::channel();
        let mut state = self.lock();
        loop {
            let now = self.now();
            let left = until.since(now);
            match state.link.call(Message::new(service, body), left, now).map_err(|rejected| rejected.why) {
                Ok(call) => {
                    state.waiting.insert(call, answer);
                    break;
                }
                Err(Why::NotEstablished | Why::Full | Why::TooManyCalls { .. }) if !left.is_zero() => {
                    state = self.wait(state, Some(left));
                }
                Err(Why::NotEstablished | Why::Full | Why::TooManyCalls { .. }) => {
                    return Err(CallError::DeadlineExceeded { executed: Executed::No }.into());
                }
                Err(why) => {
                    return Err(state.link.closed().map_or(why.into(), |closed| closed.clone().into()));
                }
            }
        }
        drop(state);
        self.changed.notify_all();
        // Each call has one outcome, at the latest with the end of its link.
        Ok(wait.recv()??)
    }

    /// Lets what is under way finish, then ends the link.
    pub(crate) fn goodbye(&self) {
        self.lock().link.goodbye(0, "that was all", self.now());
        self.changed.notify_all();
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the lock")
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>, most: Option<Duration>) -> MutexGuard<'a, State> {
        match most {
            Some(most) => self.changed.wait_timeout(state, most).map(|(state, _)| state).ok(),
            None => self.changed.wait(state).ok(),
        }
        .expect("no thread panics while it holds the lock")
    }

    /// The driving thread: takes events, writes, and waits for the next deadline. It holds the lock but while
    /// it waits, writes, or answers a call.
    fn drive(
        &self,
        mut stream: &TcpStream,
        mut serve: impl FnMut(&Peer, &str, &[u8]) -> Result<Vec<u8>, ServiceError>,
    ) -> Closed {
        let (mut out, mut writable) = (Vec::new(), true);
        let mut state = self.lock();
        let closed = loop {
            let now = self.now();
            let State { link, waiting, .. } = &mut *state;
            // No request is taken that there is no room to answer: those that come wait in the link, and take
            // up the peer's credit.
            let ready =
                Ready { events: true, requests: link.reply_space() > 0, unordered: true, write: writable };
            match link.poll(now, ready) {
                Action::Event(Event::Call { token, request, .. }) => {
                    let (service, body) = (request.service.to_owned(), request.body.into_bytes());
                    let peer = link.shared_peer();
                    drop(state);
                    // Other threads go on meanwhile, but this link's answers and deadlines wait. A service
                    // that takes long belongs on a thread of its own: the token serves there as well.
                    let served = catch_unwind(AssertUnwindSafe(|| {
                        peer.ok_or(ServiceError::Forbidden).and_then(|peer| serve(&peer, &service, &body))
                    }));
                    // A service that panics fails its call, not the link.
                    let answer = served.unwrap_or(Err(ServiceError::HandlerFailed)).map(Into::into);
                    state = self.lock();
                    if let Err(ReplyRejected { why: Why::TooLarge { limit }, token: Some(token), .. }) =
                        state.link.reply(token, answer)
                    {
                        let _ = state.link.reply(token, Err(ServiceError::TooLarge { limit }));
                    }
                    // If it is refused for another reason, nobody waits any more, which is no fault.
                }
                Action::Event(Event::Reply { call, body }) => {
                    let answer = waiting.remove(&call);
                    let _ = answer.map(|answer| answer.send(Ok(body.to_vec())));
                    self.changed.notify_all();
                }
                Action::Event(Event::CallFailed { call, error }) => {
                    let answer = waiting.remove(&call);
                    let _ = answer.map(|answer| answer.send(Err(error)));
                    self.changed.notify_all();
                }
                Action::Event(Event::Closed(closed)) => break closed.clone(),
                Action::Event(_) => self.changed.notify_all(),
                Action::Send => {
                    // Copied, so that nothing is locked while the write blocks. The bytes stay what they are
                    // until `transmitted` takes them off.
                    out.clear();
                    out.extend_from_slice(link.transmit(now));
                    drop(state);
                    let written = stream.write(&out);
                    state = self.lock();
                    match written {
                        Ok(count) => {
                            state.link.transmitted(count, self.now());
                            self.changed.notify_all();
                        }
                        Err(error) if is_passing(error.kind()) => {}
                        // The peer may have closed with a last word, which the reader still finds; and after
                        // that, it finds the end.
                        Err(_) => writable = false,
                    }
                }
                Action::Timeout(at) => state = self.wait(state, at.map(|at| at.since(now))),
            }
        };
        // Closes this direction, and lets the reader take what still comes, for a moment: a socket that is
        // dropped with bytes unread takes the last ones written with it. An error says that all is gone
        // already.
        let _ = stream.shutdown(Shutdown::Write);
        self.changed.notify_all();
        let reading = |state: &mut State| !state.read_out;
        drop(self.changed.wait_timeout_while(state, LINGER, reading));
        // A reader that still waits finds the end.
        let _ = stream.shutdown(Shutdown::Both);
        closed
    }

    /// The reading thread: gives the link what comes, until the stream ends.
    fn read(&self, mut stream: &TcpStream) {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = stream.read(&mut buffer);
            let mut state = self.lock();
            match read {
                Ok(0) => state.link.recv_closed(self.now()),
                Ok(count) => {
                    self.take_in(state, buffer.get(..count).unwrap_or_default());
                    self.changed.notify_all();
                    continue;
                }
                Err(error) if is_passing(error.kind()) => continue,
                Err(_) => state.link.transport_failed(self.now()),
            }
            state.read_out = true;
            self.changed.notify_all();
            return;
        }
    }

    /// Gives bytes to the link, as it has room for them. Behind the end of the link they are dropped.
    fn take_in<'a>(&'a self, mut state: MutexGuard<'a, State>, mut bytes: &[u8]) {
        while !bytes.is_empty() && state.link.phase() != Phase::Closed {
            let space = state.link.recv_space();
            let count = space.len().min(bytes.len());
            let (now_in, later) = bytes.split_at(count);
            if let Some(space) = space.get_mut(..count).filter(|space| !space.is_empty()) {
                space.copy_from_slice(now_in);
                state.link.received(count, self.now());
                bytes = later;
            } else {
                // A peer that nobody has admitted yet can't send more than the link may hold.
                state = self.wait(state, None);
            }
        }
    }
}

/// Whether an error only says to try again.
fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
