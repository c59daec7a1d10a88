//! A program without the standard library around the core: its own memory, its own way to panic. Two links in
//! it shake hands and make calls; the exit code says how that went.
//!
//! ```sh
//! cargo run --manifest-path tests/no-std/Cargo.toml
//! ```
//!
//! A crate anywhere in the tree that links `std` brings a second panic handler, and the compiler refuses the
//! duplicate: so this is a check on every target, not only on those that have no `std`.
#![no_std]
#![no_main]

extern crate handclasp as _;

mod arena;

use arena::Arena;

/// How many calls one link makes to the other.
const CALLS: u32 = 100;

#[global_allocator]
static MEMORY: Arena = Arena::new();

// The start of the program and the end of it, `memcpy` and its like: a board has a runtime crate for that.
#[link(name = "c")]
unsafe extern "C" {
    safe fn abort() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    abort()
}

/// What unwinds the stack, where something does. The compiled `alloc` asks for it by this name; nothing here
/// unwinds.
// SAFETY: the name is `std`'s, and that is not here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {
    abort()
}

/// 0: every call was answered. 1: not every one was. 2: the exchange failed.
// SAFETY: nothing else of this name is linked into the program; the C library's start calls it once.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    // A device takes its seed from its source of randomness, another one at each start.
    match handclasp_embeddings::answered_calls([0x5e; 32], CALLS) {
        Ok(CALLS) => 0,
        Ok(_) => 1,
        Err(_) => 2,
    }
}
