//! `cargo bench --manifest-path tests/bench/Cargo.toml [-- --quick] [-- WORD …]`

use handclasp_bench::allocations::Counting;
use handclasp_bench::contest::{
    Caller, FLOW, Flow, Handshake, IN_FLIGHT, LARGE, Pair, SMALL, transfer, verify,
};
use handclasp_bench::contestants::flows::{OverLink, OverTcp};
use handclasp_bench::contestants::rustls::{Cipher, Framing, Provider, Tls, TlsPair};
use handclasp_bench::contestants::snow::{Noise, NoisePair, Packing, Protocol};
use handclasp_bench::contestants::{aead::BareAead, ours, raw_tcp::RawTcp, runtimes, tarpc::Tarpc};
use handclasp_bench::harness::{Entry, Unit, Work, run};
use handclasp_bench::loopback::Placement;
use handclasp_bench::machine;
use handclasp_bench::options::Options;
use handclasp_bench::report::Report;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Messages per flush in the batched work.
const BATCH: u64 = 64;

const PROVIDERS: [Provider; 2] = [Provider::AwsLc, Provider::Ring];
const CIPHERS: [Cipher; 2] = [Cipher::ChaCha, Cipher::Aes256];

/// A title, and what makes the work with its contestants: made only when asked for.
type Make = (&'static str, fn() -> Work);

const WORKS: [Make; 10] = [
    ("handshake: mutual, both ends on one core, in memory", handshakes),
    ("bulk: 16 KiB sealed and opened, in memory", bulk),
    ("small: 64 B sends one by one, in memory", small_one_by_one),
    ("batch: 64 B sends, 64 per flush, in memory", small_batched),
    ("calls: 64 B, 64 in flight, loopback TCP, one thread", || calls_in_flight(Placement::OneThread)),
    ("calls: 64 B, 64 in flight, loopback TCP, two threads", || calls_in_flight(Placement::TwoThreads)),
    ("runtimes: 64 B calls, 64 in flight, loopback TCP, two threads of the runtime", runtimes),
    ("stream: a large file over loopback TCP, one thread", || streams(Placement::OneThread)),
    ("stream: a large file over loopback TCP, two threads", || streams(Placement::TwoThreads)),
    ("latency: 64 B, single calls, p50, loopback TCP, one thread", calls_one_by_one),
];

fn main() {
    let options = Options::from_args();
    let works: Vec<_> = WORKS.iter().filter(|(title, _)| options.wants(title)).collect();
    if works.is_empty() {
        let titles = WORKS.map(|(title, _)| title).join("\n  ");
        eprintln!("no title has any of these words; the works are\n  {titles}");
        std::process::exit(2);
    }
    let start = Instant::now();
    println!("{}\n{} rounds of turns of {:?}\n", machine::describe(), options.rounds, options.slice);
    let mut report = Report::new(options.markdown);
    for (title, make) in works {
        eprintln!("{title}");
        let mut work = make();
        let figures = run(&mut work, &options);
        report.add(title, work.unit, &figures);
    }
    println!("\n{}\n", report.render());
    println!(
        "Allocations are per operation, both ends together. A ratio with a star is to the work's first row."
    );
    eprintln!("{:.0} s in all", start.elapsed().as_secs_f64());
}

fn handshakes() -> Work {
    let mut peers: Vec<Box<dyn Handshake>> = Vec::new();
    peers
        .extend(PROVIDERS.map(|provider| Box::new(Tls::new(provider, Cipher::ChaCha)) as Box<dyn Handshake>));
    peers.push(Box::new(Noise::new(Protocol::ChaChaBlake2s)));
    peers.push(Box::new(Noise::new(Protocol::ChaChaSha256)));
    let entries = entries(ours::handshakes(), peers, |mut contestant, ours| Entry {
        name: contestant.name(),
        ours,
        turn: Box::new(move |count| {
            let start = Instant::now();
            for _ in 0..count {
                contestant.run();
            }
            start.elapsed()
        }),
    });
    Work { unit: Unit::Time, step: 1, entries }
}

fn bulk() -> Work {
    let mut peers: Vec<Box<dyn Pair>> = vec![Box::new(BareAead::new())];
    for cipher in CIPHERS {
        for provider in PROVIDERS {
            peers.push(Box::new(TlsPair::new(provider, cipher, Framing::Stream)));
        }
    }
    for protocol in [Protocol::ChaChaSha256, Protocol::AesSha256] {
        peers.push(Box::new(NoisePair::new(protocol, Packing::One)));
    }
    Work { unit: Unit::Throughput(LARGE), step: 1, entries: pair_entries(peers, LARGE, 1) }
}

fn small_one_by_one() -> Work {
    let mut peers: Vec<Box<dyn Pair>> = vec![Box::new(BareAead::new())];
    for cipher in CIPHERS {
        for provider in PROVIDERS {
            peers.push(Box::new(TlsPair::new(provider, cipher, Framing::Messages)));
        }
    }
    for protocol in [Protocol::ChaChaSha256, Protocol::AesSha256] {
        peers.push(Box::new(NoisePair::new(protocol, Packing::One)));
    }
    Work { unit: Unit::Time, step: 1, entries: pair_entries(peers, SMALL, 1) }
}

fn small_batched() -> Work {
    let mut peers: Vec<Box<dyn Pair>> = Vec::new();
    for framing in [Framing::Messages, Framing::Packed] {
        for cipher in CIPHERS {
            for provider in PROVIDERS {
                peers.push(Box::new(TlsPair::new(provider, cipher, framing)));
            }
        }
    }
    for packing in [Packing::One, Packing::All] {
        peers.push(Box::new(NoisePair::new(Protocol::ChaChaSha256, packing)));
    }
    let entries = pair_entries(peers, SMALL, BATCH);
    Work { unit: Unit::Time, step: BATCH, entries }
}

fn calls_in_flight(placement: Placement) -> Work {
    in_flight(ours::callers(placement), callers(placement))
}

fn runtimes() -> Work {
    in_flight(runtimes::callers(), Vec::new())
}

fn in_flight(ours: Vec<Box<dyn Caller>>, peers: Vec<Box<dyn Caller>>) -> Work {
    let entries = entries(ours, peers, |mut contestant, ours| Entry {
        name: contestant.name(),
        ours,
        turn: Box::new(move |count| {
            let start = Instant::now();
            contestant.in_flight(count);
            start.elapsed()
        }),
    });
    Work { unit: Unit::Rate, step: IN_FLIGHT, entries }
}

fn streams(placement: Placement) -> Work {
    let ours: Vec<Box<dyn Flow>> = vec![Box::new(OverLink::new(placement))];
    let entries = entries(ours, vec![Box::new(OverTcp::new(placement))], |mut contestant, ours| Entry {
        name: contestant.name(),
        ours,
        turn: Box::new(move |count| {
            let start = Instant::now();
            contestant.flow(count * FLOW);
            start.elapsed()
        }),
    });
    Work { unit: Unit::Throughput(1 << 20), step: 1, entries }
}

fn calls_one_by_one() -> Work {
    let placement = Placement::OneThread;
    let entries = entries(ours::callers(placement), callers(placement), |mut contestant, ours| {
        let mut times = Vec::with_capacity(1 << 16);
        Entry {
            name: contestant.name(),
            ours,
            turn: Box::new(move |count| {
                times.clear();
                contestant.one_by_one(count, &mut times);
                times.sort_unstable();
                times[times.len() / 2] * u32::try_from(count).expect("a turn is short")
            }),
        }
    });
    Work { unit: Unit::Time, step: 1, entries }
}

fn callers(placement: Placement) -> Vec<Box<dyn Caller>> {
    vec![Box::new(Tarpc::new(placement)), Box::new(RawTcp::new(placement))]
}

/// Pairs that move bodies of `len` bytes, `batch` per flush, each proven to carry messages unchanged beforehand.
fn pair_entries(peers: Vec<Box<dyn Pair>>, len: usize, batch: u64) -> Vec<Entry> {
    entries(ours::pairs(), peers, |mut contestant, ours| {
        verify(&mut *contestant, len);
        let body = vec![7; len];
        Entry {
            name: contestant.name(),
            ours,
            turn: Box::new(move |count| -> Duration { transfer(&mut *contestant, &body, count, batch) }),
        }
    })
}

fn entries<T>(ours: Vec<T>, peers: Vec<T>, entry: impl Fn(T, bool) -> Entry) -> Vec<Entry> {
    let ours = ours.into_iter().map(|contestant| (contestant, true));
    let peers = peers.into_iter().map(|contestant| (contestant, false));
    ours.chain(peers).map(|(contestant, ours)| entry(contestant, ours)).collect()
}
