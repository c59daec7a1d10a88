//! handclasp itself. Every row of this module carries the reference figure that the others are compared with.

use crate::contest::{Caller, Handshake, Pair};
use crate::loopback::Placement;

/// The handshakes: one per suite and provider worth showing, the default first.
pub fn handshakes() -> Vec<Box<dyn Handshake>> {
    Vec::new()
}

/// Established pairs for messages in memory, the default first.
pub fn pairs() -> Vec<Box<dyn Pair>> {
    Vec::new()
}

/// Clients with a server over loopback TCP, the default first.
pub fn callers(_placement: Placement) -> Vec<Box<dyn Caller>> {
    Vec::new()
}
