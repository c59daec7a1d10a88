//! Three processes that call each other all the time. One is killed and comes back, one is revoked. At the
//! end their ledgers are added up.
//!
//! ```sh
//! cargo run --release -p handclasp-async-std --features smol --example smol_cluster
//! ```
//!
//! The story is in `tests/examples/src/cluster`, for any runtime.

use handclasp_async_std::smol::Smol;

fn main() {
    std::process::exit(smol::block_on(handclasp_examples::cluster::main::<Smol>()));
}
