//! Two nodes over TCP, at load, through proxies that delay, stall, split, cut, reset and half-open their
//! connections. At the end the ledgers of both ways are added up, and memory must not have grown.
//!
//! ```sh
//! cargo run --release -p handclasp-examples --example soak -- --seed 7 --minutes 10
//! ```
//!
//! docs/soak.md says what is counted and what must hold.
#![forbid(unsafe_code)]

mod ledger;
mod load;
mod memory;
mod proxy;
mod random;

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::{Parser, value_parser};
use handclasp::hello::Limits;
use handclasp::node::{Backoff, NodePolicy, NodeStats};
use handclasp::{NodeId, SecretKey, Seed, Signer, Timing, Trust};
use handclasp_tokio::{Node, Peer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use ledger::{Sum, Way};
use memory::Sample;
use proxy::Faults;
use random::Draws;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Two nodes at load, through proxies that do to their connections what networks do. Exits with 1 if anything does
/// not add up.
#[derive(Parser)]
struct Arguments {
    /// What goes wrong, and what is said, is drawn from this.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long, in minutes.
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u64).range(1..=1440), conflicts_with = "seconds")]
    minutes: u64,
    /// How long, in seconds.
    #[arg(long, value_parser = value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Write memory and messages of each second to this file.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Draw the same into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Write the nodes' log to this file.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// Once nothing goes wrong any more, everything must be there after this time: a dead link is found, dialled anew, and
/// what waited is sent.
const RECOVERY: Duration = Duration::from_secs(30);

/// So long nothing may come in a direction. Of several half-open connections in a row each takes the time for a dial.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// For the end of a node in good order.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// One of the two nodes.
struct End {
    node: Node,
    peer: Peer,
    /// What it sends.
    way: Arc<Way>,
}

async fn node(name: &str, key: SecretKey, peer: NodeId, receives: &Arc<Way>) -> Outcome<Node> {
    // Short times, so that many links live and die within a run. The network is this machine.
    let timing = Timing {
        step: Duration::from_secs(3),
        handshake: Duration::from_secs(5),
        stall: Duration::from_secs(5),
        drain: Duration::from_secs(2),
        ..Timing::default()
    };
    let limits = Limits { idle: Duration::from_secs(1), ..Limits::default() };
    let backoff =
        Backoff { first: Duration::from_millis(50), most: Duration::from_millis(500), ..Backoff::default() };
    let dial = Duration::from_secs(5);
    let node = Node::builder(key)
        .config(|config| config.name(name).network("soak").timing(timing).limits(limits))
        .trust(Trust::listed([peer]))
        .policy(NodePolicy { backoff, dial, ..NodePolicy::default() })
        .services(&load::services(receives))
        .listen("127.0.0.1:0")
        // What is given back comes as an event, and none may be missed.
        .event_buffer(1 << 12)
        .start();
    Ok(node.await?)
}

fn key(draws: &mut Draws) -> SecretKey {
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&draws.next().to_be_bytes());
    }
    // Keys of a seed that anybody may know: for nothing but this.
    SecretKey::from_seed(&Seed::new(bytes))
}

/// What a run has to say.
struct Run {
    sums: [(&'static str, Sum); 2],
    ends: [(NodeStats, Vec<(&'static str, u64)>); 2],
    samples: Vec<Sample>,
    longest_silence: Duration,
    recovery: Duration,
}

async fn run(seed: u64, time: Duration, faults: &Arc<Faults>) -> Outcome<Run> {
    let mut draws = Draws::new(seed, &[0]);
    let (key_a, key_b) = (key(&mut draws), key(&mut draws));
    let (id_a, id_b) = (key_a.node_id(), key_b.node_id());
    let (out, back) = (Arc::new(Way::new("anna to ben")), Arc::new(Way::new("ben to anna")));
    let anna = node("anna", key_a, id_b, &back).await?;
    let ben = node("ben", key_b, id_a, &out).await?;
    let ends = [
        End { peer: anna.peer(id_b), node: anna, way: Arc::clone(&out) },
        End { peer: ben.peer(id_a), node: ben, way: Arc::clone(&back) },
    ];
    let watching: Vec<_> = ends
        .iter()
        .map(|end| {
            let (way, events) = (Arc::clone(&end.way), end.node.events());
            tokio::spawn(async move { load::watch(&way, events).await })
        })
        .collect();

    let (calm, is_calm) = watch::channel(false);
    for (number, (end, other)) in (1..).zip([(&ends[0], &ends[1]), (&ends[1], &ends[0])]) {
        let target = *other.node.local_addrs().first().ok_or("a node listens nowhere")?;
        let address = proxy::start(target, (seed, number), Arc::clone(faults), is_calm.clone()).await?;
        load::keep(&end.peer, address);
    }
    let (stop, is_stopped) = watch::channel(false);
    let talking = (1..).zip(&ends).map(|(number, end)| {
        let seed = Draws::new(seed, &[0x10ad, number]).next();
        load::talk(&end.way, &end.peer, seed, &is_stopped)
    });
    let talking: Vec<JoinSet<()>> = talking.collect();

    let (samples, longest_silence) = sample(time, [&out, &back], faults).await?;
    calm.send_replace(true);
    stop.send_replace(true);
    let recovering = Instant::now();
    for tasks in talking {
        timeout(3 * RECOVERY, tasks.join_all()).await.map_err(|_| "a call, send or stream does not end")?;
    }
    for end in &ends {
        load::send_last(&end.way, &end.peer).await;
    }
    let arrived = async {
        while ends.iter().any(|end| !end.way.is_up_to_date()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(RECOVERY, arrived).await.is_err() {
        for end in ends.iter().filter(|end| !end.way.is_up_to_date()) {
            end.way.violation(format_args!(
                "the last message is not there {RECOVERY:?} after the last fault; the peer is {:?}",
                end.peer.status()
            ));
        }
    }
    let recovery = recovering.elapsed();

    let mut stats = Vec::new();
    for end in &ends {
        stats.push(end.node.snapshot().await.stats);
    }
    let leftovers = tokio::join!(ends[0].node.shutdown(SHUTDOWN), ends[1].node.shutdown(SHUTDOWN));
    for (end, leftover) in ends.iter().zip([leftovers.0, leftovers.1]) {
        for (_, envelope) in leftover {
            load::give_back(&end.way, envelope.priority, &envelope.body);
        }
    }
    let mut reasons = Vec::new();
    for watching in watching {
        let watched = timeout(SHUTDOWN, watching).await;
        reasons.push(watched.map_err(|_| "the events of a node that has ended do not")??);
    }
    let [stats_a, stats_b] = stats[..] else { return Err("two nodes".into()) };
    let reasons_b = reasons.pop().unwrap_or_default();
    let reasons_a = reasons.pop().unwrap_or_default();
    Ok(Run {
        sums: [
            ("anna to ben", out.settle(stats_a.established)),
            ("ben to anna", back.settle(stats_b.established)),
        ],
        ends: [(stats_a, reasons_a), (stats_b, reasons_b)],
        samples,
        longest_silence,
        recovery,
    })
}

/// Takes a sample each second, for so long. Gives the longest time in which a direction was silent as well.
async fn sample(time: Duration, ways: [&Way; 2], faults: &Faults) -> Outcome<(Vec<Sample>, Duration)> {
    let start = Instant::now();
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    let mut samples: Vec<Sample> =
        Vec::with_capacity(usize::try_from(time.as_secs()).unwrap_or_default() + 1);
    let mut came = [0; 2];
    let mut heard = [start; 2];
    let mut longest = Duration::ZERO;
    while start.elapsed() < time {
        ticks.tick().await;
        let mut messages = 0;
        for (at, way) in ways.iter().enumerate() {
            let now = way.came();
            if now > came[at] {
                heard[at] = Instant::now();
            }
            messages += now - came[at];
            came[at] = now;
            let silence = heard[at].elapsed();
            if silence > LONGEST_SILENCE && longest <= LONGEST_SILENCE {
                way.violation(format_args!("nothing came for {silence:?}"));
            }
            longest = longest.max(silence);
        }
        samples.push(Sample {
            second: start.elapsed().as_secs(),
            resident_kib: memory::resident_kib()?,
            messages,
            connections: faults.connections.load(Ordering::Relaxed),
        });
    }
    Ok((samples, longest))
}

/// Prints what a run came to; says what is wrong with it.
fn report(run: &Run, time: Duration, faults: &Faults) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, sum) in &run.sums {
        println!(
            "{name}\n  messages: {} sent = {} received + {} given back + {} lost with their links",
            sum.sent, sum.received, sum.returned, sum.unknown
        );
        println!(
            "  calls:    {} = {} answered + {} not executed + {} that may have been",
            sum.calls, sum.answered, sum.not_executed, sum.maybe_executed
        );
        println!(
            "  streams:  {} = {} whole + {} given up on purpose + {} broken; {} MiB came whole",
            sum.streams,
            sum.whole,
            sum.given_up,
            sum.broken,
            sum.stream_bytes >> 20
        );
        wrong.extend(sum.violations.iter().cloned());
        if sum.violated > sum.violations.len() as u64 {
            wrong.push(format!("{name}: {} more", sum.violated - sum.violations.len() as u64));
        }
        if sum.received == 0 || sum.answered == 0 || sum.whole == 0 {
            wrong.push(format!("{name}: no message, no call or no stream went through, so nothing is shown"));
        }
    }
    for (name, (stats, reasons)) in ["anna", "ben"].iter().zip(&run.ends) {
        println!(
            "{name}: {} dials, {} links, {} superseded, {} held until an own dial had ended, {} times asked whether \
             a link is dead; ends {reasons:?}",
            stats.dials, stats.established, stats.superseded, stats.deferred, stats.alive_asked
        );
    }
    let counts = faults.counts();
    println!("{} connections through the proxies; {counts:?}", faults.connections.load(Ordering::Relaxed));
    println!(
        "the longest silence was {:.1?}, and all was there {:.1?} after the last fault",
        run.longest_silence, run.recovery
    );
    if time >= memory::SHORTEST {
        for (name, _) in counts.iter().filter(|(_, count)| *count == 0) {
            wrong.push(format!("there was no fault of the kind {name:?}"));
        }
        let (second, last, flat) = memory::growth(&run.samples);
        println!("memory: median {second} KiB in the second quarter, {last} KiB in the last");
        if !flat {
            wrong.push(format!("memory grew from {second} KiB to {last} KiB"));
        }
    }
    wrong
}

async fn soak(arguments: &Arguments) -> Outcome<bool> {
    if let Some(path) = &arguments.log {
        let log = Mutex::new(File::create(path)?);
        let level = tracing::Level::DEBUG;
        tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(log).init();
    }
    let time = Duration::from_secs(arguments.seconds.unwrap_or(60 * arguments.minutes));
    let faults = Arc::new(Faults::default());
    println!("seed {}, {} s", arguments.seed, time.as_secs());
    let run = run(arguments.seed, time, &faults).await?;
    let wrong = report(&run, time, &faults);
    if let Some(path) = &arguments.csv {
        std::fs::write(path, memory::csv(&run.samples))?;
    }
    if let Some(path) = &arguments.plot {
        let title = format!("soak, seed {}, {} s", arguments.seed, time.as_secs());
        std::fs::write(path, memory::svg(&run.samples, &title))?;
    }
    for what in &wrong {
        println!("WRONG: {what}");
    }
    Ok(wrong.is_empty())
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments = Arguments::parse();
    let failure = match soak(&arguments).await {
        Ok(true) => None,
        Ok(false) => Some("it does not add up".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(failure) = failure {
        println!("FAILED with seed {}: {failure}", arguments.seed);
        std::process::exit(1);
    }
    println!("It adds up.");
}
