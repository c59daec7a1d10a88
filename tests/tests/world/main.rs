//! Nodes in the deterministic world: scripted scenarios here, thousands of seeds in `seeds`.

mod base;
mod mischief;
mod seeds;
