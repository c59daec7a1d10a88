//! Whom a node trusts, as a list that people read and write.
//!
//! [`TrustList`] is the list and its text; comments, blank lines and order stay as they are when the list is
//! changed and written again. [`TrustFile`] (with feature `std`) keeps one in a file, and reads it again when
//! it changes. docs/trust-file.md has the format.
//!
//! Every doubt is an error and none is a guess: a line with a mistake in it grants nothing, and neither does
//! the rest of a list that has such a line.

mod error;
#[cfg(feature = "std")]
mod file;
mod list;
mod time;

#[cfg(test)]
mod tests;

pub use error::{LabelError, TrustListFull, TrustParseError};
#[cfg(feature = "std")]
pub use file::{TrustFile, TrustFileError};
pub use list::{Added, MAX_BYTES, MAX_ENTRIES, MAX_LABEL, TrustEntry, TrustList};
pub use time::{TimeError, UnixTime};
