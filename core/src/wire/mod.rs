//! Every byte that travels, one file a layout; docs/wire.md is the same in prose.

pub mod hello;
pub(crate) mod outcome;
pub(crate) mod reader;
pub mod refusal;

pub use reader::Malformed;
