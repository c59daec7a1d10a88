//! Two real processes, one authenticated link over TCP: who is who, a call, a large transfer, two refusals, a goodbye.
//!
//! ```sh
//! cargo run --release -p handclasp-async-std --example async_std_two_nodes
//! ```
//!
//! The story is in `tests/examples/src/two_nodes`, for any runtime.

use std::process::ExitCode;

use handclasp_async_std::AsyncStd;

#[async_std::main]
async fn main() -> ExitCode {
    handclasp_examples::two_nodes::main::<AsyncStd>().await
}
