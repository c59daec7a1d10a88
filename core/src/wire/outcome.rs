//! The outcome's bytes, which never travel: both sides hash them, and STATUS carries the hash (docs/wire.md
//! §3.6).

use alloc::vec::Vec;

use super::hello::{put_limits, put_prefixed_u8};
use crate::negotiation::Outcome;

/// What the hash over the outcome bytes begins with.
pub(crate) const LABEL: &[u8] = b"handclasp/1 outcome";

/// The outcome bytes.
pub(crate) fn bytes(outcome: &Outcome) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&outcome.version.to_be_bytes());
    put_limits(&mut out, &outcome.limits);
    for common in &outcome.capabilities {
        put_prefixed_u8(&mut out, common.name.as_bytes());
        out.extend_from_slice(&common.version.to_be_bytes());
    }
    out
}
