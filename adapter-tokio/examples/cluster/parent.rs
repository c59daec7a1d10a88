//! The process that you start: it starts the others, does to them what happens to processes, and adds up.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use handclasp::NodeId;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use crate::Outcome;
use crate::ledger;
use crate::sum::{Process, Sum};
use crate::table::Table;

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

pub(crate) async fn run(seconds: Duration, calls_in_flight: u16) -> Outcome<i32> {
    let directory = std::env::temp_dir().join(format!("handclasp-cluster-{}", std::process::id()));
    fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let outcome = tokio::select! {
        outcome = story(&directory, seconds, calls_in_flight) => outcome,
        // The children end with their orders.
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            fs::remove_dir_all(&directory)?;
            return Err("interrupted".into());
        }
    };
    if let Ok(true) = outcome {
        fs::remove_dir_all(&directory)?;
        return Ok(0);
    }
    println!("The ledgers and logs are in {}.", directory.display());
    outcome.map(|_| 1)
}

/// The whole run. True if everything adds up.
async fn story(directory: &Path, seconds: Duration, calls_in_flight: u16) -> Outcome<bool> {
    let start = Instant::now();
    let mut cluster = Cluster::new(directory.to_owned(), calls_in_flight);
    for name in NAMES {
        cluster.start(name, 1).await?;
    }
    for (name, child) in &cluster.children {
        let pid = child.process.id().unwrap_or_default();
        println!("  {name:<5} process {pid:<8} {:<16} {}", child.address, child.id);
    }
    println!("\nIn the table rtt, sent and received are those of the link that there is.");
    for name in NAMES {
        cluster.introduce(name).await?;
    }
    cluster.title("Each dials the others, all at the same moment");
    for name in NAMES {
        cluster.dials(name, &NAMES).await?;
    }
    cluster.watch(seconds).await?;
    cluster.expect_links(&NAMES);

    cluster.title("Ben is killed (SIGKILL)");
    cluster.kill(BEN).await?;
    cluster.watch(GONE).await?;
    cluster.start(BEN, 2).await?;
    let address = cluster.child(BEN)?.address.clone();
    cluster.title(&format!("Ben is started again, with the same key, and listens on {address}"));
    cluster.introduce(BEN).await?;
    for name in NAMES {
        let peers: &[_] = if name == BEN { &NAMES } else { &[BEN] };
        cluster.dials(name, peers).await?;
    }
    cluster.watch(seconds).await?;
    cluster.expect_links(&NAMES);

    cluster.title("Anna and Ben revoke Cleo, who goes on calling and dialling");
    for name in [ANNA, BEN] {
        cluster.order(name, "revoke", CLEO).await?;
    }
    cluster.watch(seconds.mul_f64(0.6)).await?;
    cluster.expect_links(&[ANNA, BEN]);

    cluster.title("All are told to end, while they talk");
    cluster.stop().await?;
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
    process: Child,
    orders: ChildStdin,
    id: NodeId,
    address: String,
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
    said: mpsc::Receiver<Line>,
    says: mpsc::Sender<Line>,
    /// Lines that nobody has waited for yet.
    unread: Vec<Line>,
    table: Table,
    problems: Vec<String>,
}

impl Cluster {
    fn new(directory: PathBuf, calls_in_flight: u16) -> Self {
        let (says, said) = mpsc::channel(LINES);
        let (children, runs, table) = (BTreeMap::new(), Vec::new(), Table::new());
        let (unread, problems) = (Vec::new(), Vec::new());
        Self { directory, calls_in_flight, children, runs, said, says, unread, table, problems }
    }

    fn title(&mut self, text: &str) {
        self.table.say(&format!("\n{text}"));
    }

    fn child(&mut self, name: &str) -> Outcome<&mut Node> {
        self.children.get_mut(name).ok_or_else(|| format!("{name} does not run").into())
    }

    /// Starts a process and waits until it listens.
    async fn start(&mut self, name: &str, run: u32) -> Outcome<()> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--calls-in-flight", &self.calls_in_flight.to_string(), "node", name, &run.to_string()])
            .arg(&self.directory)
            // A child ends when this is closed, so none outlives its parent, however that ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = process.stdin.take().ok_or("no way to the process")?;
        let output = process.stdout.take().ok_or("no way from the process")?;
        let (says, said_by) = (self.says.clone(), name.to_owned());
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            loop {
                let line = lines.next_line().await.ok().flatten().unwrap_or_default();
                let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
                let last = words.is_empty();
                if says.send(Line { name: said_by.clone(), run, words }).await.is_err() || last {
                    return;
                }
            }
        });
        self.runs.push((name.to_owned(), run, false));
        let words = self.wait_for(name, run, "listening").await?;
        let [id, address] = words.as_slice() else {
            return Err(format!("{name} does not say where it listens").into());
        };
        let (id, address) = (id.parse()?, address.clone());
        self.children.insert(name.to_owned(), Node { run, process, orders, id, address });
        Ok(())
    }

    /// Gives an order that concerns another node.
    async fn order(&mut self, name: &str, verb: &str, other: &str) -> Outcome<()> {
        let Node { id, address, .. } = self.child(other)?;
        let line = match verb {
            "dial" => format!("{verb} {other} {id} {address}\n"),
            _ => format!("{verb} {other} {id}\n"),
        };
        Ok(self.child(name)?.orders.write_all(line.as_bytes()).await?)
    }

    /// Has a node trust the others.
    async fn introduce(&mut self, name: &str) -> Outcome<()> {
        for other in NAMES.into_iter().filter(|other| *other != name) {
            self.order(name, "trust", other).await?;
            let run = self.child(name)?.run;
            self.wait_for(name, run, "trusts").await?;
        }
        Ok(())
    }

    /// Has a node dial others from now on.
    async fn dials(&mut self, name: &str, others: &[&str]) -> Outcome<()> {
        for other in others.iter().filter(|other| **other != name) {
            self.order(name, "dial", other).await?;
        }
        Ok(())
    }

    async fn kill(&mut self, name: &str) -> Outcome<()> {
        let mut child = self.children.remove(name).ok_or("nobody to kill")?;
        child.process.kill().await?;
        for (_, _, killed) in self.runs.iter_mut().filter(|(of, run, _)| of == name && *run == child.run) {
            *killed = true;
        }
        self.table.gone(name);
        Ok(())
    }

    /// Tells all to end, and waits until they have.
    async fn stop(&mut self) -> Outcome<()> {
        for child in self.children.values_mut() {
            child.orders.write_all(b"stop\n").await?;
        }
        for (name, mut child) in std::mem::take(&mut self.children) {
            self.wait_for(&name, child.run, "ended").await?;
            let status = child.process.wait().await?;
            if !status.success() {
                self.problems.push(format!("{name} ended with {status}"));
            }
        }
        Ok(())
    }

    /// Shows the table for a while.
    async fn watch(&mut self, time: Duration) -> Outcome<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.hear(end).await?;
        }
        Ok(())
    }

    /// Waits for a line that a child says, and gives the words behind the first one.
    async fn wait_for(&mut self, name: &str, run: u32, word: &str) -> Outcome<Vec<String>> {
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
            self.hear(end).await?;
        }
    }

    /// Takes the next line that a child says, or draws the table when it is time for that.
    async fn hear(&mut self, until: Instant) -> Outcome<()> {
        let until = until.min(self.table.due());
        let Ok(said) = timeout_at(until.into(), self.said.recv()).await else {
            if Instant::now() >= self.table.due() {
                self.table.draw();
            }
            return Ok(());
        };
        // There is always a sender: this side has one.
        let Some(Line { name, run, words }) = said else { return Ok(()) };
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
