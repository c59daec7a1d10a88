//! Who a node is: its Ed25519 public key, the secret half of it, and their text forms.
//!
//! A [`NodeId`] is the only name that a link believes. The secret half sits behind [`Signer`], so that it may
//! live in another process or device; [`SecretKey`] is the signer for a key held in memory, and (with feature
//! `std`) [`keyfile`] keeps one in a file.

#[cfg(feature = "std")]
pub mod keyfile;
mod node_id;
mod secret_key;
mod text;

#[cfg(test)]
mod tests;

pub use node_id::{ClaimedId, Fingerprint, InvalidNodeId, NodeId, ParseNodeIdError};
pub use secret_key::{SecretKey, SecretText, Signer, SignerError};
pub use text::TextError;
