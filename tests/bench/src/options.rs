//! The command line.

use std::time::Duration;

/// What to run, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// Run only the works whose title contains one of these words; all of them when empty.
    pub words: Vec<String>,
    /// Rounds over all contestants of a work.
    pub rounds: usize,
    /// How long one contestant's turn lasts, about.
    pub slice: Duration,
    /// Print the table in Markdown.
    pub markdown: bool,
}

impl Options {
    /// Reads the program's arguments; prints the usage and ends the program where they ask for it or make no sense.
    pub fn from_args() -> Self {
        let slice = Duration::from_millis(20);
        let mut options = Self { words: Vec::new(), rounds: 31, slice, markdown: false };
        for arg in std::env::args().skip(1) {
            match arg.as_str() {
                // cargo adds it.
                "--bench" => {}
                "--quick" => (options.rounds, options.slice) = (5, Duration::from_millis(4)),
                "--markdown" => options.markdown = true,
                "--help" | "-h" => usage(0),
                word if !word.starts_with('-') => options.words.push(word.to_lowercase()),
                unknown => {
                    eprintln!("unknown option {unknown}");
                    usage(2);
                }
            }
        }
        options
    }

    /// Whether the work of this title is asked for.
    pub fn wants(&self, title: &str) -> bool {
        let title = title.to_lowercase();
        self.words.is_empty() || self.words.iter().any(|word| title.contains(word))
    }
}

fn usage(code: i32) -> ! {
    println!(
        "cargo bench --manifest-path tests/bench/Cargo.toml -- [--quick] [--markdown] [WORD …]\n\n\
         WORD        run only the works whose title contains one of the words\n\
         --quick     few and short rounds: a smoke test, not a measurement\n\
         --markdown  the table in Markdown"
    );
    std::process::exit(code)
}
