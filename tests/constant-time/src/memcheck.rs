//! What a program can ask of memcheck (memcheck.h of valgrind), by the instructions that valgrind takes for a
//! request. Run by itself the processor does nothing for them, and the answer is the default.
//!
//! This is the only unsafe code: a request reads or marks memory that a slice owns, and changes no byte of it.

use std::arch::asm;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Set while marks are left out.
static UNMARKED: AtomicBool = AtomicBool::new(false);

/// `VG_USERREQ__RUNNING_ON_VALGRIND`
const RUNNING: usize = 0x1001;
/// `VG_USERREQ__COUNT_ERRORS`
const COUNT_ERRORS: usize = 0x1201;
/// `VG_USERREQ_TOOL_BASE('M', 'C')`
const MEMCHECK: usize = 0x4d43_0000;
/// `VG_USERREQ__MAKE_MEM_UNDEFINED`
const MAKE_UNDEFINED: usize = MEMCHECK + 1;
/// `VG_USERREQ__MAKE_MEM_DEFINED`
const MAKE_DEFINED: usize = MEMCHECK + 2;
/// `VG_USERREQ__GET_VBITS`
const GET_VBITS: usize = MEMCHECK + 8;

/// Sends a request; the answer is 0 where nobody listens.
fn request(code: usize, address: usize, second: usize, third: usize) -> usize {
    let arguments = [code, address, second, third, 0, 0];
    let mut answer = 0_usize;
    // SAFETY: the rotations of rdi come to 128 bits, which leaves it as it was, and the exchange of rbx with
    // itself does nothing. Valgrind, where it runs, reads the six words that rax points to, and writes its answer
    // to rdx. What it does at the addresses in them is the callers' matter: each passes those of a slice.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") arguments.as_ptr(),
            inout("rdx") answer,
            options(nostack),
        );
    }
    answer
}

/// Whether memcheck looks on.
pub fn is_looking() -> bool {
    request(RUNNING, 0, 0, 0) > 0
}

/// How many errors memcheck has seen so far, without those that a suppression explains.
pub fn errors() -> usize {
    request(COUNT_ERRORS, 0, 0, 0)
}

/// Does something without marks.
pub fn without_marks(what: impl FnOnce()) {
    UNMARKED.store(true, Relaxed);
    what();
    UNMARKED.store(false, Relaxed);
}

/// Marks bytes as secret: memcheck takes them as never written.
pub fn mark(bytes: &mut [u8]) {
    if UNMARKED.load(Relaxed) {
        return;
    }
    request(MAKE_UNDEFINED, bytes.as_mut_ptr() as usize, bytes.len(), 0);
}

/// Takes the mark off.
pub fn publish(bytes: &mut [u8]) {
    request(MAKE_DEFINED, bytes.as_mut_ptr() as usize, bytes.len(), 0);
}

/// How many of the bytes have a mark, at least on one bit.
pub fn marked(bytes: &[u8]) -> usize {
    let mut bits = vec![0_u8; bytes.len()];
    request(GET_VBITS, bytes.as_ptr() as usize, bits.as_mut_ptr() as usize, bytes.len());
    bits.iter().filter(|bits| **bits != 0).count()
}
