//! What a finished handshake says of the other side.

use core::fmt;

use crate::crypto::{CryptoError, CryptoProvider, Secret, Suite};
use crate::hello::Hello;
use crate::identity::NodeId;
use crate::negotiation::Outcome;

/// The other side of a link, authenticated.
#[derive(Clone)]
#[non_exhaustive]
pub struct Peer {
    /// Its id: the one thing to decide by.
    pub id: NodeId,
    /// What it says of itself. Authentic, but its own words: the name is a label, the addresses are hints.
    pub hello: Hello,
    /// What both sides settled on.
    pub outcome: Outcome,
    /// The suite in use.
    pub suite: Suite,
    /// 32 bytes that are the same on both sides of this link and differ from every other link's: for binding
    /// an application's own authentication to it. They are not secret.
    pub channel_binding: [u8; 32],
    /// True at a dialler whose dial won over one of the peer's that was under way at the same time.
    pub simultaneous: bool,
}

/// What every export begins with.
pub(crate) const EXPORTER_LABEL: &[u8] = b"handclasp/1 exporter";

/// Fills `out` with bytes that only the two sides of this link can compute, the same on both (docs/wire.md
/// §3.5).
///
/// # Errors
/// [`CryptoError::BadLength`] if `out` is longer than 8160 bytes, or `label` or `context` longer than 65 535.
pub(super) fn export(
    exporter: &Secret<32>,
    provider: &dyn CryptoProvider,
    label: &[u8],
    context: &[u8],
    out: &mut [u8],
) -> Result<(), CryptoError> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).map_err(|_| CryptoError::BadLength);
    let (label_len, context_len) = (length(label)?.to_be_bytes(), length(context)?.to_be_bytes());
    let info = [EXPORTER_LABEL, &label_len, label, &context_len, context];
    provider.hkdf_sha256(&[], exporter.expose(), &info, out)
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.id)
            .field("hello", &self.hello)
            .field("outcome", &self.outcome)
            .field("suite", &self.suite)
            .field("simultaneous", &self.simultaneous)
            .finish_non_exhaustive()
    }
}
