//! Turns: A B C A B C …, a short slice each.

use crate::allocations;
use crate::options::Options;
use std::time::Duration;

/// A job that contestants compete in.
pub struct Work {
    /// How figures are shown.
    pub unit: Unit,
    /// The number of operations in a turn is a multiple of this.
    pub step: u64,
    /// Those who take part; the first of [`Entry::ours`] is what the others are compared with.
    pub entries: Vec<Entry>,
}

/// How a figure is shown.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// As time per operation.
    Time,
    /// As operations per second.
    Rate,
    /// As bytes per second, with so many bytes per operation.
    Throughput(usize),
}

/// A contestant in a work.
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Whether it is handclasp.
    pub ours: bool,
    /// Does so many operations; returns the time that counts for all of them together.
    pub turn: Box<dyn FnMut(u64) -> Duration>,
}

/// What was measured for one contestant.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The contestant.
    pub name: String,
    /// Whether it is handclasp.
    pub ours: bool,
    /// Median over the rounds, in nanoseconds per operation.
    pub median: f64,
    /// Distance of the quartiles as a fraction of the median: how much to trust it.
    pub spread: f64,
    /// Heap allocations per operation, after the timed rounds have warmed every buffer.
    pub allocations: f64,
}

/// Runs one work to its end.
pub fn run(work: &mut Work, options: &Options) -> Vec<Figure> {
    let sizes: Vec<u64> =
        work.entries.iter_mut().map(|entry| calibrate(entry, work.step, options.slice)).collect();
    let mut samples = vec![Vec::with_capacity(options.rounds); work.entries.len()];
    for _ in 0..options.rounds {
        for ((entry, size), samples) in work.entries.iter_mut().zip(&sizes).zip(&mut samples) {
            samples.push((entry.turn)(*size).as_nanos() as f64 / *size as f64);
        }
    }
    let figures = work.entries.iter_mut().zip(sizes).zip(samples);
    figures.map(|((entry, size), samples)| figure(entry, size, samples)).collect()
}

/// The number of operations that fill a slice; finding it warms the contestant up.
fn calibrate(entry: &mut Entry, step: u64, slice: Duration) -> u64 {
    let mut size = step;
    loop {
        let took = (entry.turn)(size);
        if took * 4 >= slice {
            let fitting = slice.as_nanos() as f64 / took.as_nanos() as f64 * size as f64;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let fitting = fitting as u64;
            return (fitting / step).max(1) * step;
        }
        size *= 2;
    }
}

fn figure(entry: &mut Entry, size: u64, mut samples: Vec<f64>) -> Figure {
    let allocations = allocations::count(|| _ = (entry.turn)(size)) as f64 / size as f64;
    samples.sort_by(f64::total_cmp);
    let at = |quarter: usize| samples[(samples.len() - 1) * quarter / 4];
    let median = at(2);
    Figure {
        name: entry.name.clone(),
        ours: entry.ours,
        median,
        spread: (at(3) - at(1)) / median,
        allocations,
    }
}
