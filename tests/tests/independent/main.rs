//! The link against an independent peer that was written from `docs/wire.md` alone, in both roles.

#![allow(unreachable_pub, reason = "a test exports nothing")]

mod ends;
mod handshake;
mod peer;
mod rules;
mod standing;
mod streams;
mod traffic;
mod world;
