//! What an attack costs the attacked: memory by the allocator's count, cryptography by the provider's
//! (docs/threats.md). One file a theme.

mod clock;
mod dialling;
mod flood;
mod host;
mod logs;
mod node_peer;
mod path;
mod peer;
mod remains;
mod worst_case;
