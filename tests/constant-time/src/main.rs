//! What a link does must not take a time that depends on a secret. This program says so of branches and of memory
//! addresses, by a trick of Adam Langley's (ctgrind): every secret is marked as memory that was never written, and
//! memcheck, which follows such bytes through every computation, reports each branch and each address that
//! depends on them.
//!
//! ```sh
//! .ci/run constant_time
//! ```
//!
//! Marked are the identities' seeds, the links' seeds and so the ephemeral secrets, the cluster secrets, and with
//! them all that is computed from them: shared secrets, chaining keys, the keys of handshake and traffic. Marks
//! are taken off in `marking.rs` only, where it stands why. What is reported and is no leak is in
//! `explained.supp`, with the reason.
//!
//! Before that, it does what must not be done, and fails if that is not reported. It says nothing of instructions
//! whose time depends on their operands, of what speculation does, nor of code that this processor, as valgrind
//! shows it, does not choose.

#[cfg(target_arch = "x86_64")]
mod marking;
#[cfg(target_arch = "x86_64")]
mod memcheck;
#[cfg(target_arch = "x86_64")]
mod runs;

use std::process::ExitCode;

#[cfg(target_arch = "x86_64")]
fn main() -> ExitCode {
    if !memcheck::is_looking() {
        eprintln!("nobody looks on: run it under valgrind, see .ci/run constant_time");
        return ExitCode::from(2);
    }
    if runs::all() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(target_arch = "x86_64"))]
fn main() -> ExitCode {
    println!("SKIPPED: the requests to valgrind are written for x86-64");
    ExitCode::from(77)
}
