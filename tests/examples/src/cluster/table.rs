//! The live table: in a terminal it is drawn again and again at the same place, elsewhere now and then.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _, stdout};
use std::time::{Duration, Instant};

const HEADER: [&str; 9] =
    ["node", "peer", "state", "direction", "rtt", "sent", "received", "queued", "last close"];

/// How often it is drawn, in a terminal and elsewhere.
const REDRAW: Duration = Duration::from_millis(250);
const REPRINT: Duration = Duration::from_secs(2);

fn pace(terminal: bool) -> Duration {
    if terminal { REDRAW } else { REPRINT }
}

/// A peer as its node sees it, a word for each column.
pub(crate) type Row = Vec<String>;

#[derive(Debug)]
pub(crate) struct Table {
    /// By node and peer.
    rows: BTreeMap<(String, String), Row>,
    terminal: bool,
    /// Lines of it that stand at the bottom of the terminal.
    drawn: usize,
    due: Instant,
}

impl Table {
    pub(crate) fn new() -> Self {
        let terminal = stdout().is_terminal();
        Self { rows: BTreeMap::new(), terminal, drawn: 0, due: Instant::now() + pace(terminal) }
    }

    pub(crate) fn set(&mut self, node: &str, peer: &str, row: Row) {
        self.rows.insert((node.to_owned(), peer.to_owned()), row);
    }

    /// The node's process is gone.
    pub(crate) fn gone(&mut self, node: &str) {
        for ((of, _), row) in &mut self.rows {
            if of == node {
                *row = vec!["killed".to_owned()];
            }
        }
    }

    /// The state of a peer, as its node said last.
    pub(crate) fn state(&self, node: &str, peer: &str) -> &str {
        let row = self.rows.get(&(node.to_owned(), peer.to_owned()));
        row.and_then(|row| row.first()).map_or("unknown", String::as_str)
    }

    /// When it is to be drawn again.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Something to say above the table.
    pub(crate) fn say(&mut self, text: &str) {
        self.erase();
        println!("{text}");
        if self.terminal {
            self.draw();
        }
    }

    /// Draws it once more and leaves it where it stands.
    pub(crate) fn finish(&mut self) {
        self.draw();
        self.drawn = 0;
    }

    pub(crate) fn draw(&mut self) {
        self.due = Instant::now() + pace(self.terminal);
        if self.rows.is_empty() {
            return;
        }
        self.erase();
        let mut lines: Vec<Row> = vec![HEADER.map(str::to_owned).to_vec()];
        for ((node, peer), row) in &self.rows {
            lines.push([node, peer].into_iter().chain(row).cloned().collect());
        }
        let width =
            |column: usize| lines.iter().filter_map(|line| Some(line.get(column)?.chars().count())).max();
        let widths: Vec<_> = (0..HEADER.len()).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::from("\n");
        for line in &lines {
            text += " ";
            for (cell, width) in line.iter().zip(&widths) {
                // Text takes all that is written.
                let _ = write!(text, " {cell:<width$} ");
            }
            text.truncate(text.trim_end().len());
            text += "\n";
        }
        if self.terminal {
            self.drawn = lines.len() + 1;
        }
        print!("{text}");
        let _ = stdout().flush();
    }

    /// Takes it off the terminal.
    fn erase(&mut self) {
        if self.drawn > 0 {
            print!("\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }
}
