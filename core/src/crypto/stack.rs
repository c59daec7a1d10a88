//! What a computation with secrets leaves on the stack, and its end.

use zeroize::zeroize_stack;

/// Runs `computation` below this frame, then overwrites `DEPTH` bytes of stack there.
///
/// Hashes, ciphers and curves work on copies of their keys, in frames that nobody wipes; what lies on a stack is
/// carried to the heap in the gaps of the values that are built over it and moved there. The outcome goes back
/// through this frame, so it is no secret itself: secrets are filled in their place in the heap.
#[inline(never)]
pub(crate) fn scrubbed<const DEPTH: usize, T>(computation: impl FnOnce() -> T) -> T {
    let outcome = below(computation);
    zeroize_stack::<DEPTH>();
    outcome
}

/// Keeps `computation` out of its caller's frame, which is not overwritten.
#[inline(never)]
fn below<T>(computation: impl FnOnce() -> T) -> T {
    computation()
}

/// Enough for a hash, an HKDF or a record's cipher.
pub(crate) const SYMMETRIC: usize = 4 << 10;

/// Enough for a key exchange or a signature.
pub(crate) const CURVE: usize = 16 << 10;
