//! Two real processes, one authenticated link over TCP: who is who, a call, a large transfer, two refusals, a goodbye.
//!
//! ```sh
//! cargo run --release -p handclasp-tokio --example two_nodes
//! ```
//!
//! The process that you start is Anna, who dials. She starts this program once more with a hidden argument: Ben, who listens. Their keys
//! are made on the spot and last as long as they do; the examples `listen` and `dial` keep theirs in files.

mod anna;
mod ben;

use std::error::Error;
use std::process::ExitCode;

use handclasp::{Capability, ClusterSecret, Config, ConfigBuilder, SecretKey, Trust, VersionRange};
use handclasp_tokio::incarnation;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The argument that makes this program Ben.
const CHILD: &str = "--as-ben";

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let outcome = match arguments.next().as_deref() {
        None => anna::run().await,
        Some(CHILD) => ben::run(arguments).await,
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
fn node(key: SecretKey, name: &str, secret: &str, newest: u16) -> Outcome<ConfigBuilder> {
    Ok(Config::builder(key, incarnation())
        .name(format!("{name}@two-nodes"))
        .trust(Trust::listed([]))
        .network("two-nodes")
        .cluster_secret(ClusterSecret::new(secret)?)
        .versions(VersionRange::new(1, newest)?)
        .capability(Capability::new("files", 1..=newest)?)
        .capability(Capability::new(format!("only-{name}"), 1..=1)?))
}
