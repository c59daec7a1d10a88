//! Every byte that travels, one file a layout; docs/wire.md is the same in prose.

pub(crate) mod reader;

pub use reader::Malformed;
