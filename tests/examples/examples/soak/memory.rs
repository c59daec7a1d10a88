//! What the process holds over time.

use std::fmt::Write;
use std::io;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// How much more the median of the last quarter may be than that of the second: what an allocator keeps of a
/// peak differs by some pages from minute to minute.
const TOLERANCE_PERCENT: u64 = 10;
const TOLERANCE_KIB: u64 = 2048;

/// A run shorter than this says nothing about memory: buffers still grow to the size that the load needs.
pub(crate) const SHORTEST: Duration = Duration::from_secs(120);

/// One second of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) second: u64,
    pub(crate) resident_kib: u64,
    /// Messages that came in this second, in both directions.
    pub(crate) messages: u64,
    /// Connections through the proxies so far.
    pub(crate) connections: u64,
}

/// Resident memory of this process. (`statm` has it too, in pages of a size that is not said there.)
pub(crate) fn resident_kib() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse().ok());
    kib.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no VmRSS in /proc/self/status"))
}

/// The medians of the second and the last quarter, in KiB, and whether the last is no larger than it may be.
pub(crate) fn growth(samples: &[Sample]) -> (u64, u64, bool) {
    let quarter = samples.len() / 4;
    let median = |samples: &[Sample]| {
        let mut sizes: Vec<_> = samples.iter().map(|sample| sample.resident_kib).collect();
        sizes.sort_unstable();
        sizes.get(sizes.len() / 2).copied().unwrap_or_default()
    };
    let (second, last) = (median(&samples[quarter..2 * quarter]), median(&samples[3 * quarter..]));
    (second, last, last <= second + second * TOLERANCE_PERCENT / 100 + TOLERANCE_KIB)
}

pub(crate) fn csv(samples: &[Sample]) -> String {
    let mut text = "second,resident_kib,messages,connections\n".to_owned();
    for Sample { second, resident_kib, messages, connections } in samples {
        let _ = writeln!(text, "{second},{resident_kib},{messages},{connections}");
    }
    text
}

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 70.0;

/// Two plots over the seconds of a run: resident memory, and messages.
pub(crate) fn svg(samples: &[Sample], title: &str) -> String {
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} 520\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{title}</text>\n",
        LEFT + WIDTH + 30.0,
    );
    #[allow(clippy::cast_precision_loss)] // A plot of numbers far below 2⁵³.
    let series = |value: fn(&Sample) -> u64, scale: f64| {
        samples.iter().map(|sample| (sample.second as f64, value(sample) as f64 / scale)).collect::<Vec<_>>()
    };
    plot(&mut text, 60.0, "resident memory, MiB", &series(|sample| sample.resident_kib, 1024.0));
    plot(&mut text, 300.0, "messages per second, both ways", &series(|sample| sample.messages, 1.0));
    let _ = writeln!(text, "<text x=\"{}\" y=\"512\">seconds</text>\n</svg>", LEFT + WIDTH / 2.0);
    text
}

fn plot(text: &mut String, top: f64, label: &str, points: &[(f64, f64)]) {
    let largest = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(1.0, f64::max);
    let (right, highest) = (largest(|point| point.0), largest(|point| point.1) * 1.1);
    let bottom = top + HEIGHT;
    let _ = writeln!(text, "<text x=\"{LEFT}\" y=\"{}\">{label}</text>", top - 6.0);
    for line in 0..=4 {
        let share = f64::from(line) / 4.0;
        let (y, x) = (bottom - share * HEIGHT, LEFT + share * WIDTH);
        let _ = writeln!(
            text,
            "<path d=\"M{LEFT} {y}h{WIDTH}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{:.1}</text>\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{:.0}</text>",
            LEFT - 6.0,
            y + 4.0,
            share * highest,
            bottom + 16.0,
            share * right,
        );
    }
    let _ = write!(text, "<polyline fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"1.2\" points=\"");
    for (x, y) in points {
        let _ = write!(text, "{:.1},{:.1} ", LEFT + x / right * WIDTH, bottom - y / highest * HEIGHT);
    }
    text.push_str("\"/>\n");
}
