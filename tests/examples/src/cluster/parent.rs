//! The process that you start: it starts the others, does to them what happens to processes, and adds up.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use handclasp::NodeId;

use super::ledger;
use super::sum::{Process, Sum};
use super::table::Table;
use crate::Outcome;
use crate::process::Running;

const NAMES: [&str; 3] = [ANNA, BEN, CLEO];
const ANNA: &str = "anna";
const BEN: &str = "ben";
const CLEO: &str = "cleo";

/// How long the killed process is gone.
const GONE: Duration = Duration::from_secs(1);

/// A child that says nothing for this long when it has something to say hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lines of children that wait to be read: children that are too fast wait.
const LINES: usize = 256;

pub(super) fn run(seconds: Duration, calls_in_flight: u16) -> Outcome<i32> {
    let directory = std::env::temp_dir().join(format!("handclasp-cluster-{}", std::process::id()));
    fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut cluster = Cluster::new(directory.clone(), calls_in_flight);
    let says = cluster.says.clone();
    // What is under way ends with the next thing that it waits for.
    ctrlc::set_handler(move || drop(says.send(Said::Interrupt)))?;
    let outcome = story(&mut cluster, seconds);
    let interrupted = cluster.interrupted;
    // The children end here, and write nothing any more.
    drop(cluster);
    if interrupted || matches!(outcome, Ok(true)) {
        fs::remove_dir_all(&directory)?;
    } else {
        println!("The ledgers and logs are in {}.", directory.display());
    }
    outcome.map(|good| i32::from(!good))
}

/// The whole run. True if everything adds up.
fn story(cluster: &mut Cluster, seconds: Duration) -> Outcome<bool> {
    let start = Instant::now();
    for name in NAMES {
        cluster.start(name, 1)?;
    }
    for (name, child) in &cluster.children {
        let pid = child.process.id();
        println!("  {name:<5} process {pid:<8} {:<16} {}", child.address, child.id);
    }
    println!("\nIn the table rtt, sent and received are those of the link that there is.");
    for name in NAMES {
        cluster.introduce(name)?;
    }
    cluster.title("Each dials the others, all at the same moment");
    for name in NAMES {
        cluster.dials(name, &NAMES)?;
    }
    cluster.watch(seconds)?;
    cluster.expect_links(&NAMES);

    cluster.title("Ben is killed (SIGKILL)");
    cluster.kill(BEN)?;
    cluster.watch(GONE)?;
    cluster.start(BEN, 2)?;
    let address = cluster.child(BEN)?.address.clone();
    cluster.title(&format!("Ben is started again, with the same key, and listens on {address}"));
    cluster.introduce(BEN)?;
    for name in NAMES {
        let peers: &[_] = if name == BEN { &NAMES } else { &[BEN] };
        cluster.dials(name, peers)?;
    }
    cluster.watch(seconds)?;
    cluster.expect_links(&NAMES);

    cluster.title("Anna and Ben revoke Cleo, who goes on calling and dialling");
    for name in [ANNA, BEN] {
        cluster.order(name, "revoke", CLEO)?;
    }
    cluster.watch(seconds.mul_f64(0.6))?;
    cluster.expect_links(&[ANNA, BEN]);

    cluster.title("All are told to end, while they talk");
    cluster.stop()?;
    cluster.table.finish();

    let sum = Sum::of(&cluster.ledgers()?, CLEO);
    println!("\n{sum}");
    for problem in &cluster.problems {
        println!("  {problem}");
    }
    let good = sum.is_good() && cluster.problems.is_empty();
    let verdict = if good { "It adds up" } else { "It does not add up" };
    println!("{verdict}; all in {:.1} s.", start.elapsed().as_secs_f64());
    Ok(good)
}

/// One of the three, as its parent sees it.
struct Node {
    run: u32,
    process: Running,
    orders: ChildStdin,
    id: NodeId,
    address: String,
}

/// What the parent waits for.
enum Said {
    Line(Line),
    /// Somebody at the terminal wants an end.
    Interrupt,
}

/// A line that a child said; without words when it says nothing any more.
struct Line {
    name: String,
    run: u32,
    words: Vec<String>,
}

struct Cluster {
    directory: PathBuf,
    calls_in_flight: u16,
    children: BTreeMap<String, Node>,
    /// All that ever ran: name, run, and whether it was killed.
    runs: Vec<(String, u32, bool)>,
    said: mpsc::Receiver<Said>,
    says: mpsc::SyncSender<Said>,
    interrupted: bool,
    /// Lines that nobody has waited for yet.
    unread: Vec<Line>,
    table: Table,
    problems: Vec<String>,
}

impl Cluster {
    fn new(directory: PathBuf, calls_in_flight: u16) -> Self {
        let (says, said) = mpsc::sync_channel(LINES);
        let (children, runs, table) = (BTreeMap::new(), Vec::new(), Table::new());
        let (interrupted, unread, problems) = (false, Vec::new(), Vec::new());
        Self { directory, calls_in_flight, children, runs, said, says, interrupted, unread, table, problems }
    }

    fn title(&mut self, text: &str) {
        self.table.say(&format!("\n{text}"));
    }

    fn child(&mut self, name: &str) -> Outcome<&mut Node> {
        self.children.get_mut(name).ok_or_else(|| format!("{name} does not run").into())
    }

    /// Starts a process and waits until it listens.
    fn start(&mut self, name: &str, run: u32) -> Outcome<()> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--calls-in-flight", &self.calls_in_flight.to_string(), "node", name, &run.to_string()])
            .arg(&self.directory)
            // A child ends when this is closed, so none outlives its parent, however that ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (orders, output) = (process.stdin.take(), process.stdout.take());
        let process = Running(process);
        let orders = orders.ok_or("no way to the process")?;
        let output = output.ok_or("no way from the process")?;
        let (says, said_by) = (self.says.clone(), name.to_owned());
        thread::spawn(move || {
            let mut lines = BufReader::new(output).lines();
            loop {
                let line = lines.next().and_then(Result::ok).unwrap_or_default();
                let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
                let last = words.is_empty();
                if says.send(Said::Line(Line { name: said_by.clone(), run, words })).is_err() || last {
                    return;
                }
            }
        });
        self.runs.push((name.to_owned(), run, false));
        let words = self.wait_for(name, run, "listening")?;
        let [id, address] = words.as_slice() else {
            return Err(format!("{name} does not say where it listens").into());
        };
        let (id, address) = (id.parse()?, address.clone());
        self.children.insert(name.to_owned(), Node { run, process, orders, id, address });
        Ok(())
    }

    /// Gives an order that concerns another node.
    fn order(&mut self, name: &str, verb: &str, other: &str) -> Outcome<()> {
        let Node { id, address, .. } = self.child(other)?;
        let line = match verb {
            "dial" => format!("{verb} {other} {id} {address}\n"),
            _ => format!("{verb} {other} {id}\n"),
        };
        Ok(self.child(name)?.orders.write_all(line.as_bytes())?)
    }

    /// Has a node trust the others.
    fn introduce(&mut self, name: &str) -> Outcome<()> {
        for other in NAMES.into_iter().filter(|other| *other != name) {
            self.order(name, "trust", other)?;
            let run = self.child(name)?.run;
            self.wait_for(name, run, "trusts")?;
        }
        Ok(())
    }

    /// Has a node dial others from now on.
    fn dials(&mut self, name: &str, others: &[&str]) -> Outcome<()> {
        for other in others.iter().filter(|other| **other != name) {
            self.order(name, "dial", other)?;
        }
        Ok(())
    }

    fn kill(&mut self, name: &str) -> Outcome<()> {
        let mut child = self.children.remove(name).ok_or("nobody to kill")?;
        child.process.kill()?;
        for (_, _, killed) in self.runs.iter_mut().filter(|(of, run, _)| of == name && *run == child.run) {
            *killed = true;
        }
        self.table.gone(name);
        Ok(())
    }

    /// Tells all to end, and waits until they have.
    fn stop(&mut self) -> Outcome<()> {
        for child in self.children.values_mut() {
            child.orders.write_all(b"stop\n")?;
        }
        for (name, mut child) in std::mem::take(&mut self.children) {
            self.wait_for(&name, child.run, "ended")?;
            let status = child.process.wait()?;
            if !status.success() {
                self.problems.push(format!("{name} ended with {status}"));
            }
        }
        Ok(())
    }

    /// Shows the table for a while.
    fn watch(&mut self, time: Duration) -> Outcome<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.hear(end)?;
        }
        Ok(())
    }

    /// Waits for a line that a child says, and gives the words behind the first one.
    fn wait_for(&mut self, name: &str, run: u32, word: &str) -> Outcome<Vec<String>> {
        let end = Instant::now() + PATIENCE;
        loop {
            let is_it = |line: &Line| {
                line.name == name && line.run == run && line.words.first().is_some_and(|first| first == word)
            };
            if let Some(at) = self.unread.iter().position(is_it) {
                return Ok(self.unread.swap_remove(at).words.split_off(1));
            }
            if self.unread.iter().any(|line| line.name == name && line.run == run && line.words.is_empty()) {
                return Err(format!("the process of {name} ended before its time").into());
            }
            if Instant::now() >= end {
                return Err(format!("{name} does not say {word:?}").into());
            }
            self.hear(end)?;
        }
    }

    /// Takes the next line that a child says, or draws the table when it is time for that.
    fn hear(&mut self, until: Instant) -> Outcome<()> {
        let until = until.min(self.table.due());
        let wait = until.saturating_duration_since(Instant::now());
        let Line { name, run, words } = match self.said.recv_timeout(wait) {
            Ok(Said::Line(line)) => line,
            Ok(Said::Interrupt) => {
                self.interrupted = true;
                return Err("interrupted".into());
            }
            // Not that there is no sender: this side has one.
            Err(_) => {
                if Instant::now() >= self.table.due() {
                    self.table.draw();
                }
                return Ok(());
            }
        };
        let lives = self.children.get(&name).is_some_and(|child| child.run == run);
        match words.as_slice() {
            [] if lives => return Err(format!("the process of {name} ended before its time").into()),
            [word, peer, row @ ..] if word == "peer" => {
                // What a killed process said last may come after its end.
                if lives {
                    self.table.set(&name, peer, row.to_vec());
                }
            }
            [word, rest @ ..] if word == "problem" => {
                self.problems.push(format!("{name}: {}", rest.join(" ")));
            }
            _ => self.unread.push(Line { name, run, words }),
        }
        Ok(())
    }

    /// All of these have links to each other, and to nobody else.
    fn expect_links(&mut self, linked: &[&str]) {
        for node in NAMES {
            for peer in NAMES.into_iter().filter(|peer| *peer != node) {
                let state = self.table.state(node, peer);
                let expected = linked.contains(&node) && linked.contains(&peer);
                if (state == "linked") != expected {
                    let not = if expected { "" } else { "not " };
                    self.problems
                        .push(format!("{node} says that {peer} is {state}; it should {not}be linked"));
                }
            }
        }
    }

    /// What all of them wrote.
    fn ledgers(&self) -> Outcome<Vec<Process>> {
        let mut runs = Vec::new();
        for (name, run, killed) in &self.runs {
            let path = self.directory.join(format!("{name}-{run}.ledger"));
            let entries = ledger::read(&path, *killed)?;
            runs.push(Process { name: name.clone(), run: *run, killed: *killed, entries });
        }
        Ok(runs)
    }
}
