//! Two links in one WebAssembly module. It imports nothing: time is a counter, and randomness is an argument.
//!
//! ```sh
//! cargo build --release -p handclasp-wasm --target wasm32-unknown-unknown
//! node tests/embeddings/wasm/run.mjs target/wasm32-unknown-unknown/release/handclasp_wasm.wasm
//! ```

/// How many calls one link makes to the other.
pub const CALLS: u32 = 1000;

/// Completes a handshake between two links and makes [`CALLS`] calls; returns how many were answered as they
/// should be, 0 if anything went wrong. The four words are the seed: 256 random bits, from the host.
#[allow(unsafe_code)]
// SAFETY: nothing else of this name is linked into the module.
#[unsafe(no_mangle)]
pub extern "C" fn answered_calls(first: u64, second: u64, third: u64, fourth: u64) -> u32 {
    let mut seed = [0; 32];
    for (bytes, word) in seed.chunks_exact_mut(8).zip([first, second, third, fourth]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    handclasp_embeddings::answered_calls(seed, CALLS).unwrap_or(0)
}
