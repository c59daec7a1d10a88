//! Bytes that must not outlive their use.

use alloc::boxed::Box;
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `N` secret bytes, wiped when dropped, never printed.
///
/// They have one place in the heap from first to last: moving the value moves a pointer. Bytes that were part of the
/// value would be copied with every move, and a copy that is left behind on a stack gets to the heap again in
/// whatever is moved there with gaps in it.
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Takes over `bytes` and wipes the array that was passed. Copies that the caller keeps, or that were made on the
    /// way here, are the caller's to wipe: [`copied`](Self::copied), or zeros filled by
    /// [`expose_mut`](Self::expose_mut), make none.
    pub fn new(mut bytes: [u8; N]) -> Self {
        let secret = Self::copied(&bytes);
        bytes.zeroize();
        secret
    }

    /// A copy of `bytes`, straight from their place.
    pub fn copied(bytes: &[u8; N]) -> Self {
        let mut secret = Self::default();
        secret.0.copy_from_slice(bytes);
        secret
    }

    /// The bytes themselves, for the moment of use.
    pub const fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// The bytes themselves, to be filled in place.
    pub const fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

/// Zeros.
impl<const N: usize> Default for Secret<N> {
    fn default() -> Self {
        Self(Box::new([0; N]))
    }
}

impl<const N: usize> Clone for Secret<N> {
    fn clone(&self) -> Self {
        Self::copied(&self.0)
    }
}

impl<const N: usize> Zeroize for Secret<N> {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> ZeroizeOnDrop for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(…)")
    }
}

/// All the randomness that a machine ever uses: 32 unpredictable bytes, given at its construction.
///
/// The same seed and the same inputs give the same bytes on the wire, which is what makes a run replayable.
/// For the same reason a seed is used for one link only: two links from one seed would share their ephemeral
/// key.
#[derive(Clone, Debug)]
pub struct Seed(Secret<32>);

impl Seed {
    /// A seed of bytes that the caller vouches for: from the operating system in production, fixed in a test.
    /// For the caller's copies see [`Secret::new`].
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The same of bytes that have had no other place.
    pub const fn from_secret(bytes: Secret<32>) -> Self {
        Self(bytes)
    }

    /// A seed that `fill` writes in place, such as `|bytes| rng.fill_bytes(bytes)` of a generator for cryptography.
    pub fn from_fn(fill: impl FnOnce(&mut [u8; 32])) -> Self {
        let mut seed = Secret::default();
        fill(seed.expose_mut());
        Self(seed)
    }

    pub(crate) const fn secret(&self) -> &Secret<32> {
        &self.0
    }
}
