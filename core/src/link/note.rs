//! The one line in each call of the owner's that recordings need.

/// Notes a call of the owner's, with its time if it has one, on a link that is recorded. Without the feature
/// it is nothing at all.
#[cfg(feature = "recording")]
macro_rules! note {
    ($link:ident, $now:expr, $input:expr) => {
        if $link.recorded.hears() {
            #[allow(unused_imports, reason = "each call has names of its own")]
            use crate::recording::{Blob, Input, LONGEST, Word, goodbye_text};
            $link.note(&$input, $now);
        }
    };
}
#[cfg(not(feature = "recording"))]
macro_rules! note {
    ($link:ident, $now:expr, $input:expr) => {};
}
