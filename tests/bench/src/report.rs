//! The table.

use crate::harness::{Figure, Unit};
use comfy_table::{Attribute, Cell, CellAlignment, Table, presets};

/// One table for the whole run: a heading row per work, a row per contestant.
///
/// Ratios compare times: 2.00 means that a contestant takes twice as long as handclasp. Where handclasp takes no part,
/// the work's first row stands in, marked with a star.
#[derive(Debug)]
pub struct Report(Table);

impl Report {
    /// A table without rows.
    pub fn new(markdown: bool) -> Self {
        let mut table = Table::new();
        table.load_style(if markdown { presets::ASCII_MARKDOWN } else { presets::UTF8_FULL_CONDENSED });
        table.set_header([
            "work and contestant",
            "median",
            "± quartiles",
            "time ÷ handclasp's",
            "allocations",
        ]);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        Self(table)
    }

    /// Adds the figures of one work.
    pub fn add(&mut self, title: &str, unit: Unit, figures: &[Figure]) {
        self.0.add_row([Cell::new(title).add_attribute(Attribute::Bold)]);
        let Some(reference) = figures.iter().find(|figure| figure.ours).or(figures.first()) else { return };
        let star = if reference.ours { "" } else { "*" };
        for figure in figures {
            self.0.add_row([
                format!("  {}", figure.name),
                show(unit, figure.median),
                format!("{:.1} %", figure.spread * 50.0),
                format!("{:.2}{star}", figure.median / reference.median),
                format!("{:.2}", figure.allocations),
            ]);
        }
    }

    /// The table as text.
    pub fn render(&self) -> String {
        self.0.trim_fmt()
    }
}

fn show(unit: Unit, nanos: f64) -> String {
    match unit {
        Unit::Time if nanos < 1_000.0 => format!("{nanos:.0} ns"),
        Unit::Time => format!("{:.1} µs", nanos / 1e3),
        Unit::Rate => format!("{:.0} k/s", 1e6 / nanos),
        // Bytes per nanosecond are gigabytes per second.
        Unit::Throughput(bytes) => format!("{:.2} GB/s", bytes as f64 / nanos),
    }
}
