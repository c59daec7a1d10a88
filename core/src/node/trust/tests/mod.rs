#[cfg(feature = "std")]
mod files;
mod list;
mod time;

use crate::crypto::Seed;
use crate::identity::{NodeId, SecretKey, Signer};

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&Seed::new([n; 32]))
}

fn id(n: u8) -> NodeId {
    key(n).node_id()
}
