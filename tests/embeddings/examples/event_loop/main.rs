//! Links in one thread around `mio`: a hundred of them, with both ends in this process.
//!
//! ```sh
//! cargo run --release -p handclasp-embeddings --example event_loop
//! ```
//!
//! One loop asks the system which sockets can go on, one function moves a link's bytes
//! (`handclasp::drive::pump`), one set of deadlines says how long to sleep. What the ends say to each other
//! is in `app.rs`, how one end is driven in `end.rs`. Both ends call each other; the program ends by itself
//! once all links have said goodbye.

#![forbid(unsafe_code)]

mod app;
mod end;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use handclasp::{Closed, Config, Dial, Instant, Link, NodeId, SecretKey, Seed, Signer, Trust};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use app::App;
use end::{End, Step};

type Error = Box<dyn std::error::Error + Send + Sync>;

const LINKS: usize = 100;
const CALLS: u32 = 20;

/// The listener's; the ends have the tokens behind it.
const LISTENER: Token = Token(0);

/// How an end of a link came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Own calls that were answered as they should be.
    pub(crate) answered: u32,
    pub(crate) closed: Closed,
}

/// Everything that the thread looks after.
struct EventLoop {
    poll: Poll,
    listener: TcpListener,
    /// The configuration of the node that listens.
    config: Arc<Config>,
    /// The one monotonic clock of all links.
    start: std::time::Instant,
    ends: BTreeMap<Token, End>,
    /// When each end wants to be looked at again. The first is how long the loop may sleep.
    deadlines: BTreeSet<(Instant, Token)>,
    /// Whose turn it is: the system has something for them, or their deadline has come.
    turn: BTreeSet<Token>,
    calls: u32,
    accepted: u64,
    outcomes: Vec<Outcome>,
}

impl EventLoop {
    fn new(config: Arc<Config>, calls: u32) -> Result<Self, Error> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            config,
            start: std::time::Instant::now(),
            ends: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            turn: BTreeSet::new(),
            calls,
            accepted: 0,
            outcomes: Vec::new(),
        })
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    /// Begins to connect to this loop's own listener, with a link that expects `peer` there.
    fn dial(&mut self, config: &Arc<Config>, peer: NodeId, sequence: u64) -> Result<(), Error> {
        let stream = TcpStream::connect(self.listener.local_addr()?)?;
        let link = Link::initiator(config, Dial::to(peer).sequence(sequence), &seed()?, self.now());
        self.watch(stream, link)
    }

    fn accept(&mut self) -> Result<(), Error> {
        loop {
            // The system speaks up once for each change: all that are there have to be taken.
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.accepted += 1;
            let link = Link::responder(&self.config, self.accepted, &seed()?, self.now());
            self.watch(stream, link)?;
        }
    }

    fn watch(&mut self, mut stream: TcpStream, link: Link) -> Result<(), Error> {
        let token = Token(self.ends.last_key_value().map_or(LISTENER, |(last, _)| *last).0 + 1);
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.ends.insert(token, End::new(stream, link, App::new(self.calls)));
        Ok(())
    }

    /// Runs until every link has ended.
    fn run(&mut self) -> Result<(), Error> {
        let mut events = Events::with_capacity(256);
        while !self.ends.is_empty() {
            let now = self.now();
            let sleep = if self.turn.is_empty() {
                self.deadlines.first().map(|(at, _)| at.since(now))
            } else {
                Some(Duration::ZERO)
            };
            match self.poll.poll(&mut events, sleep) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                } else {
                    self.turn.insert(event.token());
                }
            }
            let now = self.now();
            let due = self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, token)| *token);
            self.turn.extend(due);
            for token in std::mem::take(&mut self.turn) {
                self.step(token);
            }
        }
        Ok(())
    }

    /// Gives one end its turn.
    fn step(&mut self, token: Token) {
        let start = self.start;
        let Some(end) = self.ends.get_mut(&token) else { return };
        if let Some(at) = end.deadline.take() {
            self.deadlines.remove(&(at, token));
        }
        match end.step(|| Instant::ZERO + start.elapsed()) {
            Step::Wait(deadline) => {
                end.deadline = deadline;
                self.deadlines.extend(deadline.map(|at| (at, token)));
            }
            // Others first.
            Step::Again => drop(self.turn.insert(token)),
            Step::Over => {
                let outcome = self.ends.remove(&token).and_then(|mut end| {
                    // The stream is closed in any case: it is dropped.
                    let _ = self.poll.registry().deregister(&mut end.stream);
                    end.app.closed.map(|closed| Outcome { answered: end.app.answered, closed })
                });
                self.outcomes.extend(outcome);
            }
        }
    }
}

/// Fresh randomness: a seed is used once.
fn seed() -> Result<Seed, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(Seed::new(bytes))
}

/// A number that tells this start of the process from others.
fn incarnation() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(u64::from_le_bytes(bytes))
}

/// Joins two nodes by `links` links; on each of them, either end calls the other `calls` times. Returns how
/// each end came out.
fn run(links: usize, calls: u32) -> Result<Vec<Outcome>, Error> {
    let (anna, ben) = (SecretKey::from_seed(&seed()?), SecretKey::from_seed(&seed()?));
    let (anna_id, ben_id) = (anna.node_id(), ben.node_id());
    let anna = Config::builder(anna, incarnation()?).trust(Trust::listed([ben_id])).build()?;
    let ben = Config::builder(ben, incarnation()?).trust(Trust::listed([anna_id])).build()?;
    let mut event_loop = EventLoop::new(ben, calls)?;
    for sequence in 1..=links {
        event_loop.dial(&anna, ben_id, sequence.try_into()?)?;
    }
    event_loop.run()?;
    Ok(event_loop.outcomes)
}

fn main() -> Result<(), Error> {
    let start = std::time::Instant::now();
    let outcomes = run(LINKS, CALLS)?;
    let (ends, answered) = (outcomes.len(), outcomes.iter().map(|end| end.answered).sum::<u32>());
    println!("{LINKS} links, {ends} ends, {answered} calls answered in {:?}", start.elapsed());
    for Outcome { closed, .. } in outcomes.iter().filter(|end| end.answered != CALLS) {
        println!("an end without all its answers: {closed}");
    }
    if ends == 2 * LINKS && outcomes.iter().all(|end| end.answered == CALLS) {
        Ok(())
    } else {
        Err("not every call was answered".into())
    }
}
