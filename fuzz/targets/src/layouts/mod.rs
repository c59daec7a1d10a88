//! The layouts that the core keeps to itself, compiled here from its own sources.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "the core uses more of them than a target does, and shows some"
)]

#[path = "../../../../core/src/wire/frame.rs"]
pub(crate) mod frame;
#[path = "../../../../core/src/wire/preamble.rs"]
pub(crate) mod preamble;
#[path = "../../../../core/src/wire/reader.rs"]
pub(crate) mod reader;
#[path = "../../../../core/src/wire/stream.rs"]
pub(crate) mod stream;
