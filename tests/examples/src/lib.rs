//! What the examples of the adapters have in common.
//!
//! [`dial`] and [`listen`] hold their arguments and what they print; how links are made and used stands in the
//! examples themselves, in each runtime's own style. [`two_nodes`] and [`cluster`] are here as a whole, with
//! the runtime as a parameter: processes and standard input are `std`'s, and time and tasks those of
//! [`Runtime`](handclasp::runtime::Runtime). To use a part of them in a program, put its runtime
//! in the place of `R`, or leave that out with the names that the adapters have for the same types.
#![forbid(unsafe_code)]

pub mod cluster;
pub mod dial;
pub mod listen;
pub mod two_nodes;

mod identity;
mod lines;
mod process;
mod tasks;

use std::error::Error;

/// What an example comes to, or why it does not.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
