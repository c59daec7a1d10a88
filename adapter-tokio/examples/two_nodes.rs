//! Two real processes, one authenticated link over TCP: who is who, a call, a large transfer, two refusals, a goodbye.
//!
//! ```sh
//! cargo run --release -p handclasp-tokio --example two_nodes
//! ```
//!
//! The story is in `tests/examples/src/two_nodes`, for any runtime.

use std::process::ExitCode;

use handclasp_tokio::Tokio;

#[tokio::main]
async fn main() -> ExitCode {
    handclasp_examples::two_nodes::main::<Tokio>().await
}
