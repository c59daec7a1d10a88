//! Three processes that call each other all the time. One is killed and comes back, one is revoked. At the
//! end their ledgers are added up.
//!
//! ```sh
//! cargo run --release -p handclasp-async-std --example async_std_cluster
//! ```
//!
//! The story is in `tests/examples/src/cluster`, for any runtime.

use handclasp_async_std::AsyncStd;

#[async_std::main]
async fn main() {
    std::process::exit(handclasp_examples::cluster::main::<AsyncStd>().await);
}
