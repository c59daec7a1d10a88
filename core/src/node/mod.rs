//! One node: who may connect, and which connection lives.

pub mod arbitration;
mod message;

pub(crate) use message::{FromLink, Identity, ToLink};
pub use message::{LinkId, LinkToNode, NodeToLink};
