//! Every byte that travels, one file a layout; docs/wire.md is the same in prose.

pub(crate) mod frame;
pub mod hello;
pub(crate) mod outcome;
pub(crate) mod preamble;
pub(crate) mod reader;
pub(crate) mod reason;
pub mod refusal;
pub(crate) mod stream;

pub use preamble::MAJOR;
pub use reader::Malformed;

#[cfg(test)]
mod tests;
