//! Memory from one fixed arena.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Two handshakes and a hundred calls take a part of it.
const SIZE: usize = 4 << 20;

/// Gives out one piece behind the other, and takes back only the last one. A program that runs for long needs
/// an allocator that takes back all of them; this one keeps the example to a page.
#[repr(align(16))]
pub(crate) struct Arena {
    bytes: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: the bytes are only reached through the pieces given out, which never overlap: `used` moves
// atomically.
unsafe impl Sync for Arena {}

impl Arena {
    pub(crate) const fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) }
    }

    /// Where the arena begins.
    const fn base(&self) -> *mut u8 {
        self.bytes.get().cast()
    }
}

// SAFETY: a piece lies within the arena, is aligned as asked for, and is nobody else's until it is given
// back. A null pointer says that there is no room.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.base() as usize;
        let place = |used: usize| {
            let start = (base + used).checked_next_multiple_of(layout.align())? - base;
            let end = start.checked_add(layout.size()).filter(|end| *end <= SIZE)?;
            Some((start, end))
        };
        match self.used.fetch_update(Relaxed, Relaxed, |used| place(used).map(|(_, end)| end)) {
            // SAFETY: `start` is within the arena, because `end` is and does not lie before it.
            Ok(used) => place(used).map_or(ptr::null_mut(), |(start, _)| unsafe { self.base().add(start) }),
            Err(_) => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        let start = piece as usize - self.base() as usize;
        // Fails if something was given out behind it.
        let _ = self.used.compare_exchange(start + layout.size(), start, Relaxed, Relaxed);
    }
}
