//! One end of one link, in turns that never wait.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use handclasp::drive::{Pumped, Taking, pump};
use handclasp::{Action, Instant, Link, Ready};
use mio::net::TcpStream;

use crate::app::App;

/// How long the end of a stream may take.
const LINGER: Duration = Duration::from_secs(1);

/// Reads of one turn at the end of a stream, at most.
const READS: usize = 32;

pub(crate) struct End {
    pub(crate) stream: TcpStream,
    pub(crate) app: App,
    /// When the loop is to look at it again.
    pub(crate) deadline: Option<Instant>,
    link: Link,
    stage: Stage,
}

enum Stage {
    /// The system has not said yet how connecting went.
    Connecting,
    /// The link lives.
    Live,
    /// The link has ended, and the last bytes have until then to arrive.
    Lingering(Instant),
}

/// What is to become of an end after its turn.
pub(crate) enum Step {
    /// It has nothing to do until the system speaks up, or until the deadline.
    Wait(Option<Instant>),
    /// It has more to do than fits a turn.
    Again,
    /// It may be dropped.
    Over,
}

impl End {
    pub(crate) fn new(stream: TcpStream, link: Link, app: App) -> Self {
        Self { stream, app, deadline: None, link, stage: Stage::Connecting }
    }

    /// Goes as far as it can without waiting.
    pub(crate) fn step(&mut self, clock: impl Fn() -> Instant) -> Step {
        match self.stage {
            Stage::Connecting => self.connect(clock),
            Stage::Live => self.pump(clock),
            Stage::Lingering(until) => self.linger(until, clock()),
        }
    }

    fn connect(&mut self, clock: impl Fn() -> Instant) -> Step {
        let failed = !matches!(self.stream.take_error(), Ok(None));
        match self.stream.peer_addr() {
            _ if failed => self.link.transport_failed(clock()),
            // The link's handshake has a deadline, and this is the beginning of it.
            Err(error) if error.kind() == ErrorKind::NotConnected => {
                if let Action::Timeout(deadline @ Some(_)) = self.link.poll(clock(), Ready::NOTHING) {
                    return Step::Wait(deadline);
                }
            }
            Err(_) => self.link.transport_failed(clock()),
            // It is for speed only.
            Ok(_) => drop(self.stream.set_nodelay(true)),
        }
        self.stage = Stage::Live;
        self.pump(clock)
    }

    fn pump(&mut self, clock: impl Fn() -> Instant) -> Step {
        let Self { stream, app, link, .. } = self;
        let stream = &*stream;
        let pumped = pump(
            link,
            // The loop is told by the system, and needs no waker.
            &mut Context::from_waker(Waker::noop()),
            &clock,
            Taking::Everything,
            |_, space| attempt(|| (&mut &*stream).read(space)),
            |_, bytes| attempt(|| (&mut &*stream).write(bytes)),
            |event| {
                app.hear(event);
                Taking::Everything
            },
        );
        if matches!(pumped, Ok(Pumped::Finished)) {
            // An error says that all is gone already; the reads find the same.
            let _ = self.stream.shutdown(Shutdown::Write);
            let until = clock() + LINGER;
            self.stage = Stage::Lingering(until);
            return self.linger(until, clock());
        }
        // Events are heard while the link is borrowed, so the commands follow; they give the link more to do.
        let acted = self.app.act(&mut self.link, clock());
        match pumped {
            Ok(Pumped::Idle { deadline }) if !acted => Step::Wait(deadline),
            // After an error of the stream too: the link has heard of it, and its last event says so.
            _ => Step::Again,
        }
    }

    /// Takes in what still comes: a socket that is closed with bytes unread takes the last ones written with
    /// it.
    fn linger(&mut self, until: Instant, now: Instant) -> Step {
        let mut discarded = [0; 4096];
        if now >= until {
            return Step::Over;
        }
        for _ in 0..READS {
            match attempt(|| self.stream.read(&mut discarded)) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Step::Over,
                Poll::Pending => return Step::Wait(Some(until)),
            }
        }
        Step::Again
    }
}

/// Reads or writes without waiting.
fn attempt(mut io: impl FnMut() -> io::Result<usize>) -> Poll<io::Result<usize>> {
    loop {
        match io() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
            done => return Poll::Ready(done),
        }
    }
}
