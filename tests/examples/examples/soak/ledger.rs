//! What was sent and what became of it, in a space that grows with what went wrong and not with what went well.
//!
//! Both nodes are in this process, so one ledger knows both ends of a way. Everything has a number, counted up
//! from 1; what came in its order, or came back, needs no entry of its own. The ledger of the example `cluster`
//! writes a line for each thing, which survives a kill and is too much for minutes of load.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use handclasp::{Executed, Priority};

#[cfg(test)]
mod tests;

/// So many violations are told in words; the rest is counted.
const TOLD: usize = 20;

/// Numbers, as ranges.
#[derive(Debug, Default)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a number; false if it was there.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        let before = self.0.range(..=number).next_back().map(|(start, end)| (*start, *end));
        if before.is_some_and(|(_, end)| end >= number) {
            return false;
        }
        let start = match before {
            Some((start, end)) if end + 1 == number => start,
            _ => number,
        };
        let end = self.0.remove(&(number + 1)).unwrap_or(number);
        self.0.insert(start, end);
        true
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, end)| *end >= number)
    }
}

/// Numbers that were passed over: a later one came.
#[derive(Debug)]
struct Hole {
    end: u64,
    /// Those of them that were given back.
    returned: BTreeSet<u64>,
}

/// The messages of one priority.
#[derive(Debug, Default)]
struct Lane {
    sent: u64,
    received: u64,
    returned: u64,
    /// The last one that came.
    last: u64,
    /// Given back, and behind the last one that came.
    ahead: BTreeSet<u64>,
    /// By their first number. One of which everything was given back is filled, and no longer here: what stays is
    /// what links took with them.
    holes: BTreeMap<u64, Hole>,
}

impl Lane {
    /// Says what is wrong with that, if anything is.
    fn receive(&mut self, number: u64) -> Option<&'static str> {
        if number > self.sent {
            return Some("delivered, and never sent");
        }
        if number <= self.last {
            return Some("delivered twice, or after a later one");
        }
        self.received += 1;
        let fault = self.ahead.remove(&number).then_some("given back, and delivered afterwards");
        self.pass(number);
        self.last = number;
        fault
    }

    /// Makes a hole of what lies between the last that came and `number`.
    fn pass(&mut self, number: u64) {
        let (start, end) = (self.last + 1, number - 1);
        let later = self.ahead.split_off(&number);
        let returned = std::mem::replace(&mut self.ahead, later);
        if end + 1 - start > returned.len() as u64 {
            self.holes.insert(start, Hole { end, returned });
        }
    }

    fn give_back(&mut self, number: u64) -> Option<&'static str> {
        self.returned += 1;
        if number > self.last {
            return (!self.ahead.insert(number)).then_some("given back twice");
        }
        let hole = self.holes.range_mut(..=number).next_back().filter(|(_, hole)| hole.end >= number);
        let Some((start, hole)) = hole else { return Some("given back twice, or after it was delivered") };
        if !hole.returned.insert(number) {
            return Some("given back twice");
        }
        let start = *start;
        if hole.returned.len() as u64 == hole.end + 1 - start {
            self.holes.remove(&start);
        }
        None
    }
}

#[derive(Debug, Default)]
struct Calls {
    begun: u64,
    answered: u64,
    unknown: u64,
    executed: Ranges,
    /// Failed, and said not to have been executed.
    not_executed: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Streams {
    opened: u64,
    /// Seen at the other side.
    taken: Ranges,
    /// Read to their end there, and not confirmed yet.
    read: BTreeSet<u64>,
    /// Their end was confirmed to the side that wrote them.
    confirmed: u64,
    /// Ended with an error at the writing side.
    broken: u64,
    /// Given up by the writing side on purpose.
    given_up: u64,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Books {
    lanes: [Lane; 4],
    calls: Calls,
    streams: Streams,
    violations: Vec<String>,
    violated: u64,
}

impl Books {
    fn violation(&mut self, what: String) {
        self.violated += 1;
        if self.violations.len() < TOLD {
            self.violations.push(what);
        }
    }
}

/// What goes from one node to the other.
#[derive(Debug)]
pub(crate) struct Way {
    name: &'static str,
    books: Mutex<Books>,
    /// Messages that have come, for whoever watches the progress.
    came: AtomicU64,
}

/// What a way comes to.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) returned: u64,
    /// Neither received nor given back: sealed when a link was lost.
    pub(crate) unknown: u64,
    pub(crate) calls: u64,
    pub(crate) answered: u64,
    pub(crate) not_executed: u64,
    pub(crate) maybe_executed: u64,
    pub(crate) streams: u64,
    pub(crate) whole: u64,
    pub(crate) given_up: u64,
    pub(crate) broken: u64,
    pub(crate) stream_bytes: u64,
    pub(crate) violations: Vec<String>,
    pub(crate) violated: u64,
}

impl Way {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, books: Mutex::default(), came: AtomicU64::new(0) }
    }

    fn books<T>(&self, entry: impl FnOnce(&mut Books) -> T) -> T {
        entry(&mut self.books.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something that may not be.
    pub(crate) fn violation(&self, what: impl Display) {
        self.books(|books| books.violation(format!("{}: {what}", self.name)));
    }

    pub(crate) fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    /// The number of the next message.
    pub(crate) fn send(&self, priority: Priority) -> u64 {
        self.books(|books| {
            let lane = &mut books.lanes[priority as usize];
            lane.sent += 1;
            lane.sent
        })
    }

    /// The node gave a message back, so it has not come and will not.
    pub(crate) fn returned(&self, priority: Priority, number: u64) {
        let fault = self.books(|books| books.lanes[priority as usize].give_back(number));
        self.fault(fault, priority, number);
    }

    /// A message has come.
    pub(crate) fn received(&self, priority: Priority, number: u64) {
        self.came.fetch_add(1, Ordering::Relaxed);
        let fault = self.books(|books| books.lanes[priority as usize].receive(number));
        self.fault(fault, priority, number);
    }

    fn fault(&self, fault: Option<&str>, priority: Priority, number: u64) {
        if let Some(fault) = fault {
            self.violation(format_args!("{priority:?} message {number} was {fault}"));
        }
    }

    /// Whether the last message of each priority has come.
    pub(crate) fn is_up_to_date(&self) -> bool {
        self.books(|books| books.lanes.iter().all(|lane| lane.last == lane.sent))
    }

    /// The number of the next call.
    pub(crate) fn call(&self) -> u64 {
        self.books(|books| {
            books.calls.begun += 1;
            books.calls.begun
        })
    }

    /// A handler begins with a call.
    pub(crate) fn executes(&self, number: u64) {
        let again = self.books(|books| !books.calls.executed.insert(number));
        if again {
            self.violation(format_args!("call {number} was executed twice"));
        }
    }

    /// A call was answered; its caller sees to it that this is told once.
    pub(crate) fn answered(&self, number: u64) {
        let executed = self.books(|books| {
            books.calls.answered += 1;
            books.calls.executed.contains(number)
        });
        if !executed {
            self.violation(format_args!("call {number} was answered and not executed"));
        }
    }

    pub(crate) fn failed(&self, number: u64, executed: Executed) {
        self.books(|books| match executed {
            Executed::No => {
                books.calls.not_executed.insert(number);
            }
            Executed::Unknown => books.calls.unknown += 1,
        });
    }

    /// The number of the next stream.
    pub(crate) fn stream(&self) -> u64 {
        self.books(|books| {
            books.streams.opened += 1;
            books.streams.opened
        })
    }

    /// The other side has a stream's first bytes.
    pub(crate) fn takes(&self, number: u64) {
        let again = self.books(|books| !books.streams.taken.insert(number));
        if again {
            self.violation(format_args!("stream {number} was taken twice"));
        }
    }

    /// The other side has read a stream to its end, and all of it was there.
    pub(crate) fn read(&self, number: u64, bytes: u64) {
        self.books(|books| {
            books.streams.read.insert(number);
            books.streams.bytes += bytes;
        });
    }

    /// The writing side was told that the other one has read it.
    pub(crate) fn confirmed(&self, number: u64) {
        let read = self.books(|books| {
            books.streams.confirmed += 1;
            books.streams.read.remove(&number)
        });
        if !read {
            self.violation(format_args!("stream {number} was confirmed, and not read to its end"));
        }
    }

    pub(crate) fn broken(&self) {
        self.books(|books| books.streams.broken += 1);
    }

    pub(crate) fn given_up(&self) {
        self.books(|books| books.streams.given_up += 1);
    }

    /// Adds up, when both nodes have ended and all tasks with them. `links` is how many links have carried this
    /// way's messages: each of them can lose one run of each priority, when it ends.
    pub(crate) fn settle(&self, links: u64) -> Sum {
        let late: Vec<String> = self.books(|books| {
            let mut late = Vec::new();
            for (priority, lane) in Priority::ALL.iter().zip(&mut books.lanes) {
                lane.pass(lane.sent + 1);
                lane.last = lane.sent;
                let losses = lane.holes.len() as u64;
                if losses > links {
                    late.push(format!(
                        "{priority:?} messages are missing in {losses} places, and there were {links} links only"
                    ));
                }
            }
            for number in &books.calls.not_executed {
                if books.calls.executed.contains(*number) {
                    late.push(format!("call {number} was executed, and its caller told that it was not"));
                }
            }
            let calls = &books.calls;
            let ends = calls.answered + calls.unknown + calls.not_executed.len() as u64;
            if ends != calls.begun {
                late.push(format!("{} calls have {ends} ends", calls.begun));
            }
            let streams = &books.streams;
            let ends = streams.confirmed + streams.broken + streams.given_up;
            if ends != streams.opened {
                late.push(format!("{} streams have {ends} ends", streams.opened));
            }
            late
        });
        for what in late {
            self.violation(what);
        }
        self.books(|books| {
            let mut sum = Sum {
                calls: books.calls.begun,
                answered: books.calls.answered,
                not_executed: books.calls.not_executed.len() as u64,
                maybe_executed: books.calls.unknown,
                streams: books.streams.opened,
                whole: books.streams.confirmed,
                given_up: books.streams.given_up,
                broken: books.streams.broken,
                stream_bytes: books.streams.bytes,
                violations: books.violations.clone(),
                violated: books.violated,
                ..Sum::default()
            };
            for lane in &books.lanes {
                sum.sent += lane.sent;
                sum.received += lane.received;
                sum.returned += lane.returned;
            }
            // What was delivered and given back is a violation of its own, and could make this negative.
            sum.unknown = sum.sent.saturating_sub(sum.received + sum.returned);
            sum
        })
    }
}
