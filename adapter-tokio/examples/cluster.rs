//! Three processes that call each other all the time. One is killed and comes back, one is revoked. At the
//! end their ledgers are added up.
//!
//! ```sh
//! cargo run --release -p handclasp-tokio --example cluster
//! ```
//!
//! The story is in `tests/examples/src/cluster`, for any runtime.

use handclasp_tokio::Tokio;

#[tokio::main(worker_threads = 2)]
async fn main() {
    std::process::exit(handclasp_examples::cluster::main::<Tokio>().await);
}
