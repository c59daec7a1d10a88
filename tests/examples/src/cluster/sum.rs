//! Adds up the ledgers: what was promised of each call and message, and what became of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use handclasp::Executed;

use super::ledger::{Entry, Origin};

#[cfg(test)]
mod tests;

/// One run of a process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    /// 1, and 2 after the restart. The runs of a process stand in this order.
    pub(crate) run: u32,
    pub(crate) killed: bool,
    pub(crate) entries: Vec<Entry>,
}

/// How often something was so.
type Count<K> = BTreeMap<K, u64>;

/// The sum, and what must not be.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    calls: u64,
    answered: u64,
    failed: Count<(String, &'static str)>,
    calls_unknown: u64,
    messages: u64,
    delivered: u64,
    undelivered: Count<String>,
    messages_unknown: Count<&'static str>,
    links: Count<(String, String)>,
    dials: Count<(String, String)>,
    /// How often each of [`PROMISES`] was broken, with an example.
    broken: BTreeMap<&'static str, (u64, String)>,
}

const TWICE: &str = "calls executed twice";
const LOST: &str = "calls lost without a word";
const LIES: &str = "calls said not to be executed that were";
const WRONG: &str = "wrong answers, or answers of nobody";
const STRANGE: &str = "calls or messages that nobody made";
const MESSAGES_TWICE: &str = "messages delivered twice";
const MESSAGES_LOST: &str = "messages lost without a word";
const MESSAGES_LIES: &str = "messages said to be undelivered that were not";
const DISORDER: &str = "messages out of order";
const BACK: &str = "links, calls or messages after a revocation";
const HELD: &str = "revocations that somebody did not feel";
const REASONS: &str = "links lost for no reason of this story";
const MISSED: &str = "events missed";
const UNENDED: &str = "processes that did not come to their end";
const SILENT: &str = "peers that executed no call of each other's";
const PROMISES: [&str; 15] = [
    TWICE,
    LOST,
    LIES,
    WRONG,
    STRANGE,
    MESSAGES_TWICE,
    MESSAGES_LOST,
    MESSAGES_LIES,
    DISORDER,
    BACK,
    HELD,
    REASONS,
    MISSED,
    UNENDED,
    SILENT,
];

/// What became of a call, as its caller wrote down.
enum Outcome {
    Answered,
    Failed(Executed),
}

/// What all handlers wrote down.
#[derive(Default)]
struct Handled {
    /// How often each call was executed.
    executed: HashMap<Origin, u64>,
    /// How often each message came, by who got it.
    received: HashMap<(String, Origin), u64>,
}

impl Sum {
    /// `revoked` is the process that the others revoke.
    pub(crate) fn of(runs: &[Process], revoked: &str) -> Self {
        let mut sum = Self::default();
        let mut handled = Handled::default();
        sum.handlers(runs, &mut handled);
        for run in runs {
            sum.calls_of(run, &mut handled);
            sum.messages_of(run, &mut handled);
            sum.events_of(run, runs, revoked);
            sum.revocation_in(run, runs, revoked);
        }
        for origin in handled.executed.keys() {
            sum.breaks(STRANGE, || format!("call {origin}, executed"));
        }
        for (receiver, origin) in handled.received.keys() {
            sum.breaks(STRANGE, || format!("message {origin}, received by {receiver}"));
        }
        sum
    }

    /// Whether everything adds up.
    pub(crate) fn is_good(&self) -> bool {
        let outcomes = self.answered + self.failed.values().sum::<u64>() + self.calls_unknown;
        let ends = self.delivered
            + self.undelivered.values().sum::<u64>()
            + self.messages_unknown.values().sum::<u64>();
        self.broken.is_empty() && self.calls == outcomes && self.messages == ends
    }

    /// A promise that is not in the ledgers was broken.
    fn breaks(&mut self, promise: &'static str, example: impl FnOnce() -> String) {
        self.broken.entry(promise).or_insert_with(|| (0, example())).0 += 1;
    }

    fn message_unknown(&mut self, why: &'static str) {
        *self.messages_unknown.entry(why).or_default() += 1;
    }

    fn handlers(&mut self, runs: &[Process], handled: &mut Handled) {
        // The last number of each sender that a receiver got, over all its runs.
        let mut last: HashMap<(&str, &str, u32), u64> = HashMap::new();
        let mut talked: HashSet<(&str, u32, &str, u32)> = HashSet::new();
        for run in runs {
            for entry in &run.entries {
                match entry {
                    Entry::Executed(origin) => {
                        talked.insert((&run.name, run.run, &origin.name, origin.run));
                        let times = handled.executed.entry(origin.clone()).or_default();
                        *times += 1;
                        if *times > 1 {
                            self.breaks(TWICE, || format!("{origin} by {}", run.name));
                        }
                    }
                    Entry::Received(origin) => {
                        let times = handled.received.entry((run.name.clone(), origin.clone())).or_default();
                        *times += 1;
                        if *times > 1 {
                            self.breaks(MESSAGES_TWICE, || format!("{origin} to {}", run.name));
                        }
                        let last = last.entry((&run.name, &origin.name, origin.run)).or_default();
                        if origin.number < *last {
                            self.breaks(DISORDER, || format!("{origin} after {last} at {}", run.name));
                        }
                        *last = origin.number;
                    }
                    _ => {}
                }
            }
        }
        // A sum of nothing adds up as well: all who ever met have talked, in both directions.
        for run in runs {
            for other in runs.iter().filter(|other| other.name != run.name) {
                if !talked.contains(&(run.name.as_str(), run.run, other.name.as_str(), other.run)) {
                    self.breaks(SILENT, || {
                        format!("{} {}, none of {} {}", run.name, run.run, other.name, other.run)
                    });
                }
            }
        }
    }

    fn calls_of(&mut self, run: &Process, handled: &mut Handled) {
        let mut outcomes = HashMap::new();
        for entry in &run.entries {
            let (number, outcome) = match entry {
                Entry::Answered { number } => (number, Outcome::Answered),
                Entry::Failed { number, executed, .. } => (number, Outcome::Failed(*executed)),
                Entry::WrongAnswer { number } => {
                    self.breaks(WRONG, || format!("call {number} of {}", run.name));
                    (number, Outcome::Answered)
                }
                _ => continue,
            };
            if outcomes.insert(*number, outcome).is_some() {
                self.breaks(WRONG, || format!("two outcomes of call {number} of {}", run.name));
            }
        }
        let over = over(run);
        for (at, entry) in run.entries.iter().enumerate() {
            match entry {
                Entry::Call { number, to } => {
                    self.calls += 1;
                    let origin = Origin { name: run.name.clone(), run: run.run, number: *number };
                    let executed = handled.executed.remove(&origin).is_some();
                    if executed && over.get(to.as_str()).is_some_and(|over| *over < at) {
                        self.breaks(BACK, || format!("call {origin} by {to}"));
                    }
                    match outcomes.remove(number) {
                        Some(Outcome::Answered) => {
                            self.answered += 1;
                            if !executed {
                                self.breaks(WRONG, || format!("{origin} was answered, not executed by {to}"));
                            }
                        }
                        Some(Outcome::Failed(Executed::No)) if executed => {
                            self.breaks(LIES, || format!("{origin} by {to}"));
                        }
                        Some(Outcome::Failed(_)) => {}
                        None if run.killed => self.calls_unknown += 1,
                        None => self.breaks(LOST, || format!("{origin} to {to}")),
                    }
                }
                Entry::Failed { reason, executed, .. } => {
                    let executed = match executed {
                        Executed::No => "not executed",
                        Executed::Unknown => "may have been executed",
                    };
                    *self.failed.entry((reason.clone(), executed)).or_default() += 1;
                }
                _ => {}
            }
        }
        for number in outcomes.keys() {
            self.breaks(WRONG, || format!("an outcome of call {number} of {}, never made", run.name));
        }
    }

    fn messages_of(&mut self, run: &Process, handled: &mut Handled) {
        let mut undelivered = HashMap::new();
        for entry in &run.entries {
            if let Entry::Undelivered { number, to, reason } = entry {
                if undelivered.insert((*number, to.as_str()), reason).is_some() {
                    self.breaks(MESSAGES_LIES, || format!("message {number} of {} to {to}, twice", run.name));
                }
            }
        }
        // From the last line to the first one, so that it is known what came after each message.
        let mut lost: HashMap<&str, Option<&'static str>> = HashMap::new();
        let over = over(run);
        for (at, entry) in run.entries.iter().enumerate().rev() {
            match entry {
                Entry::Unlinked { peer, reason } => {
                    lost.insert(peer, excuse(reason));
                }
                Entry::Revoked { peer } => {
                    lost.insert(peer, excuse("revoked"));
                }
                Entry::Send { number, to } => {
                    self.messages += 1;
                    let origin = Origin { name: run.name.clone(), run: run.run, number: *number };
                    let received = handled.received.remove(&(to.clone(), origin.clone())).is_some();
                    if received && over.get(to.as_str()).is_some_and(|over| *over < at) {
                        self.breaks(BACK, || format!("message {origin}, received by {to}"));
                    }
                    match undelivered.remove(&(*number, to.as_str())) {
                        Some(_) if received => {
                            self.delivered += 1;
                            self.breaks(MESSAGES_LIES, || format!("{origin} to {to}"));
                        }
                        Some(reason) => *self.undelivered.entry(reason.clone()).or_default() += 1,
                        None if received => self.delivered += 1,
                        None if run.killed => self.message_unknown("the sender was killed"),
                        None => match lost.get(to.as_str()).copied().flatten() {
                            Some(excuse) => self.message_unknown(excuse),
                            None => self.breaks(MESSAGES_LOST, || format!("{origin} to {to}")),
                        },
                    }
                }
                _ => {}
            }
        }
        for (number, to) in undelivered.keys() {
            self.breaks(STRANGE, || format!("{} says that {number} to {to} was undelivered", run.name));
        }
    }

    fn events_of(&mut self, run: &Process, runs: &[Process], revoked: &str) {
        let was_killed = |peer: &str| runs.iter().any(|run| run.name == peer && run.killed);
        let over = over(run);
        for (at, entry) in run.entries.iter().enumerate() {
            match entry {
                Entry::Linked { peer } if over.get(peer.as_str()).is_some_and(|over| *over < at) => {
                    self.breaks(BACK, || format!("{} linked {peer}", run.name));
                }
                Entry::Unlinked { peer, reason } => {
                    *self.links.entry((format!("{} to {peer}", run.name), reason.clone())).or_default() += 1;
                    let expected = match reason.as_str() {
                        "goodbye" | "superseded" => true,
                        "truncated" | "transport" => was_killed(peer),
                        "revoked" => run.name == revoked,
                        _ => false,
                    };
                    if !expected {
                        self.breaks(REASONS, || format!("{} to {peer}: {reason}", run.name));
                    }
                }
                Entry::DialFailed { peer, reason } => {
                    *self.dials.entry((format!("{} to {peer}", run.name), reason.clone())).or_default() += 1;
                }
                Entry::Missed { count } => self.breaks(MISSED, || format!("{count} by {}", run.name)),
                _ => {}
            }
        }
        if !run.killed && run.entries.last() != Some(&Entry::End) {
            self.breaks(UNENDED, || format!("{} {}", run.name, run.run));
        }
    }

    /// Whether the process has noticed the revocation, on whichever side of it.
    fn revocation_in(&mut self, run: &Process, runs: &[Process], revoked: &str) {
        if run.killed {
            return;
        }
        let has = |wanted: &Entry| run.entries.contains(wanted);
        if run.name != revoked {
            if !has(&Entry::Revoked { peer: revoked.to_owned() }) {
                self.breaks(HELD, || format!("{} did not revoke {revoked}", run.name));
            }
            return;
        }
        for other in runs.iter().filter(|other| other.name != revoked && !other.killed) {
            let (peer, reason) = (other.name.clone(), "revoked".to_owned());
            if !has(&Entry::Unlinked { peer, reason }) {
                self.breaks(HELD, || format!("the link to {} did not end so", other.name));
            }
            let (peer, reason) = (other.name.clone(), "denied".to_owned());
            if !has(&Entry::DialFailed { peer, reason }) {
                self.breaks(HELD, || format!("{} did not refuse a dial", other.name));
            }
        }
        let is_failed_so =
            |entry: &Entry| matches!(entry, Entry::Failed { reason, .. } if reason.as_str() == "revoked");
        if !run.entries.iter().any(is_failed_so) {
            self.breaks(HELD, || format!("no call of {revoked} failed so"));
        }
    }
}

/// The peers that the process revoked, or that revoked it, and the line that says so first.
fn over(run: &Process) -> HashMap<&str, usize> {
    let mut over = HashMap::new();
    for (at, entry) in run.entries.iter().enumerate() {
        match entry {
            Entry::Revoked { peer } => over.entry(peer.as_str()).or_insert(at),
            Entry::Unlinked { peer, reason } if reason == "revoked" => over.entry(peer).or_insert(at),
            _ => continue,
        };
    }
    over
}

/// Why a message may be lost that was under way when its link ended for this reason; `None` if it may not.
fn excuse(reason: &str) -> Option<&'static str> {
    match reason {
        "truncated" | "transport" => Some("the receiver was killed"),
        "revoked" => Some("revoked"),
        _ => None,
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line =
            |f: &mut fmt::Formatter<'_>, what: &str, count: u64| writeln!(f, "  {what:<50} {count:>9}");
        writeln!(f, "Calls")?;
        line(f, "made", self.calls)?;
        line(f, "answered", self.answered)?;
        for ((reason, executed), count) in &self.failed {
            line(f, &format!("failed: {reason} ({executed})"), *count)?;
        }
        line(f, "unknown: the caller was killed", self.calls_unknown)?;
        writeln!(f, "One-way messages")?;
        line(f, "sent", self.messages)?;
        line(f, "delivered", self.delivered)?;
        for (reason, count) in &self.undelivered {
            line(f, &format!("undelivered: {reason}"), *count)?;
        }
        for (reason, count) in &self.messages_unknown {
            line(f, &format!("unknown: {reason}"), *count)?;
        }
        for (title, counts) in [("Links lost", &self.links), ("Dials that failed", &self.dials)] {
            writeln!(f, "{title}")?;
            for ((who, reason), count) in counts {
                line(f, &format!("{who}: {reason}"), *count)?;
            }
        }
        writeln!(f, "What must not be")?;
        for promise in PROMISES {
            let broken = self.broken.get(promise);
            line(f, promise, broken.map_or(0, |(count, _)| *count))?;
            if let Some((_, example)) = broken {
                writeln!(f, "    for instance {example}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}, run {}", self.number, self.name, self.run)
    }
}
