//! Recordings of links, and their replay (row O5), and what a link gives away for debugging and for binding
//! (row K7).

#![allow(unreachable_pub, reason = "a test exports nothing")]

mod altered;
mod committed;
mod faults;
mod keys;
mod owners;
mod secrets;
mod signed;
mod storm;
mod support;
