//! Who a node is, in files.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use handclasp::identity::keyfile;
use handclasp::{ClusterSecret, SecretKey, Seed};

use crate::Outcome;

/// The files that `dial` and `listen` take.
#[derive(Args, Debug)]
pub struct Identity {
    /// The file with this node's secret key; made if there is none.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The file with the secret of the cluster, the same on all its nodes.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

impl Identity {
    /// This node's key; `seed` makes it if there is none.
    ///
    /// # Errors
    /// The file cannot be read or made, others may read it, or it holds no key.
    pub fn key(&self, seed: &Seed) -> Outcome<SecretKey> {
        let key = keyfile::load_or_create(&self.key, seed);
        Ok(key.map_err(|error| format!("{}: {error}", self.key.display()))?)
    }

    /// The cluster's secret, if there is one.
    ///
    /// # Errors
    /// The file cannot be read, or its text is too short or too long for a secret.
    pub fn secret(&self) -> Outcome<Option<ClusterSecret>> {
        let Some(path) = &self.secret_file else { return Ok(None) };
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let secret =
            ClusterSecret::new(text.trim()).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Some(secret))
    }

    /// Where the cluster's secret is.
    pub(crate) fn secret_file(&self) -> Option<&Path> {
        self.secret_file.as_deref()
    }
}
