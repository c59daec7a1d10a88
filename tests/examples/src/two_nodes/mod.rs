//! Two real processes, one authenticated link over TCP: who is who, a call, a large transfer, two refusals, a goodbye.
//!
//! The process that you start is Anna, who dials (`anna`). She starts this program once more with a hidden
//! argument: Ben, who listens (`ben`). Their keys are made on the spot and last as long as they do; the examples
//! that listen and dial keep theirs in files.

mod anna;
mod ben;

use std::process::ExitCode;

use handclasp::runtime::{Runtime, incarnation};
use handclasp::{Capability, ClusterSecret, Config, ConfigBuilder, SecretKey, Trust, VersionRange};

use crate::Outcome;

/// The argument that makes this program Ben.
const CHILD: &str = "--as-ben";

/// The example's main function.
pub async fn main<R: Runtime>() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let outcome = match arguments.next().as_deref() {
        None => anna::run::<R>().await,
        Some(CHILD) => ben::run::<R>(arguments).await,
        Some(other) => Err(format!("no argument is needed, and {other:?} is none").into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("two_nodes: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What both have in their configuration. Real nodes would read the secret from a file.
fn node<R: Runtime>(key: SecretKey, name: &str, secret: &str, newest: u16) -> Outcome<ConfigBuilder> {
    Ok(Config::builder(key, incarnation::<R>())
        .name(format!("{name}@two-nodes"))
        .trust(Trust::listed([]))
        .network("two-nodes")
        .cluster_secret(ClusterSecret::new(secret)?)
        .versions(VersionRange::new(1, newest)?)
        .capability(Capability::new("files", 1..=newest)?)
        .capability(Capability::new(format!("only-{name}"), 1..=1)?))
}
