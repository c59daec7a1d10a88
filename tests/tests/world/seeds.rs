//! Thousands of storms, each from one seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use handclasp_sim::world::storm::{self, Options, Report};

/// The seeds begin here unless `WORLD_FIRST` says otherwise, so that they are the same wherever they run.
const FIRST: u64 = 1;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs seeds on all processors; the first that fails ends it with the command that replays it.
fn run_all(first: u64, count: u64) -> Vec<Report> {
    let (next, failed) = (AtomicU64::new(first), AtomicU64::new(u64::MAX));
    let work = || {
        let mut reports = Vec::new();
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= first + count || failed.load(Relaxed) != u64::MAX {
                return reports;
            }
            match catch_unwind(AssertUnwindSafe(|| storm::run(seed, Options::default()))) {
                Ok(report) => reports.push(report),
                Err(_) => {
                    failed.fetch_min(seed, Relaxed);
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let reports = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it catches its panics")).collect()
    });
    let failed = failed.into_inner();
    assert!(
        failed == u64::MAX,
        "to replay: WORLD_SEED={failed} cargo test -p handclasp-sim --test world -- --nocapture replay"
    );
    reports
}

#[test]
fn c5_d2_m4_m6_every_storm_comes_to_rest_with_every_message_accounted_for() {
    let count = number("WORLD_SEEDS").unwrap_or(2000);
    let reports = run_all(number("WORLD_FIRST").unwrap_or(FIRST), count);
    // What a storm is for has to happen in some of them.
    let sum = |pick: fn(&Report) -> u64| reports.iter().map(pick).sum::<u64>();
    let happened = [
        ("links superseded", sum(|report| report.figures.superseded)),
        ("links deferred", sum(|report| report.figures.deferred)),
        ("questions whether a link is alive", sum(|report| report.figures.alive_asked)),
        ("dials", sum(|report| report.figures.dials)),
        ("dials that failed", sum(|report| report.figures.failed_dials)),
        ("dials to be tried again", sum(|report| report.counts.redials)),
        ("revocations", sum(|report| report.counts.revocations)),
        ("links established", sum(|report| report.figures.established)),
        ("links revoked", sum(|report| report.figures.revoked)),
        ("silent connections evicted", sum(|report| report.figures.evicted)),
        ("connections turned away", sum(|report| report.counts.busy)),
        ("restarts", sum(|report| report.counts.restarts)),
        ("half-open connections", sum(|report| report.counts.half_open)),
        ("links that were dead", sum(|report| report.counts.dead)),
        ("questions answered", sum(|report| report.counts.questions)),
        ("messages held for a link that had ended", sum(|report| report.counts.held)),
        ("messages that links did not know the fate of", sum(|report| report.counts.unknown)),
        ("messages delivered", sum(|report| report.account.delivered)),
        ("messages expired", sum(|report| report.account.expired)),
        ("messages that came back", sum(|report| report.account.returned)),
        ("messages unknown", sum(|report| report.account.unknown)),
        ("messages moot", sum(|report| report.account.moot)),
        ("calls answered", sum(|report| report.account.answered)),
        ("calls failed", sum(|report| report.account.failed)),
    ];
    for (what, count) in happened {
        println!("{count:>9} {what}");
    }
    println!("{:>9.1?} the longest rest", reports.iter().map(|report| report.rest).max().unwrap_or_default());
    if count >= 1000 {
        for (what, count) in happened {
            assert!(count > 0, "no {what} in {} storms", reports.len());
        }
    }
}

#[test]
fn replay() {
    let Some(seed) = number("WORLD_SEED") else { return };
    let report = storm::run(seed, Options { aloud: true, ..Options::default() });
    println!("{report:#?}");
}
