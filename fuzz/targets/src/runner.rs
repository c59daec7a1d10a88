//! Runs of a target without a fuzzer.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use handclasp_sim::world::Random;

use crate::Target;
use crate::mutate::mutated;

impl Target {
    /// The inputs in a folder, in the order of their names; none if there is no such folder.
    ///
    /// # Errors
    /// What the file system says.
    pub fn corpus(&self, corpora: &Path) -> io::Result<Vec<Vec<u8>>> {
        let entries = match fs::read_dir(corpora.join(self.name)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
        paths.sort();
        paths.into_iter().map(fs::read).collect()
    }

    /// Runs one input; shows it if it panics.
    pub fn try_one(&self, input: &[u8]) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (self.run)(input))) {
            eprint!("the input for {}: ", self.name);
            for byte in input {
                eprint!("{byte:02x}");
            }
            eprintln!();
            resume_unwind(panic);
        }
    }

    /// Inputs without an end: those of `corpus` and the target's seeds, changed at random. The same `seed` and corpus
    /// give the same inputs.
    pub fn mutations(&self, mut corpus: Vec<Vec<u8>>, seed: u64) -> Mutations {
        corpus.extend(self.seeds());
        Mutations { corpus, random: Random::new(seed), longest: self.longest }
    }
}

/// See [`Target::mutations`].
#[derive(Debug)]
pub struct Mutations {
    corpus: Vec<Vec<u8>>,
    random: Random,
    longest: usize,
}

impl Iterator for Mutations {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let [one, other] = [(); 2].map(|()| self.random.index(self.corpus.len()));
        let (one, other) = (self.corpus.get(one)?, self.corpus.get(other)?);
        Some(mutated(&mut self.random, one, other, self.longest))
    }
}
