//! What a computation with secrets leaves on the stack, and its end.

use zeroize::zeroize_stack;

/// How much of the stack is overwritten, in bytes. Optimized, a computation takes at most 4.5 KiB of it, that of a
/// record's cipher; a build that is not optimized takes more.
const DEPTH: usize = if cfg!(debug_assertions) { 64 << 10 } else { 6 << 10 };

/// Runs `computation` below this frame, then overwrites the stack there.
///
/// Hashes, ciphers and curves work on copies of their keys, in frames that nobody wipes; what lies on a stack is
/// carried to the heap in the gaps of the values that are built over it and moved there. The outcome goes back
/// through this frame, so it is no secret itself: secrets are filled in their place in the heap.
#[inline(never)]
pub(crate) fn scrubbed<T>(computation: impl FnOnce() -> T) -> T {
    let outcome = below(computation);
    zeroize_stack::<DEPTH>();
    outcome
}

/// Keeps `computation` out of its caller's frame, which is not overwritten.
#[inline(never)]
fn below<T>(computation: impl FnOnce() -> T) -> T {
    computation()
}
