//! One node: who may connect, and which connection lives.

pub mod arbitration;
mod message;

pub use message::{LinkId, LinkToNode, NodeToLink};
