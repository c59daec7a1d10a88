//! A program without the standard library around the core.
//!
//! It has a panic handler of its own. A crate anywhere in the tree that links `std` brings another one, and the compiler
//! refuses the duplicate: so this is a check on every target, not only on those that have no `std`.
#![no_std]

extern crate handclasp as _;

use core::alloc::{GlobalAlloc, Layout};

/// Never asked for anything: the archive is built, not run.
struct NoMemory;

// SAFETY: a null pointer is how an allocator says that it has no memory; so there is never anything to free.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static MEMORY: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
