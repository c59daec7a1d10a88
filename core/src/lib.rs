//! handclasp core
#![forbid(unsafe_code)]
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod crypto;
pub mod hello;
pub mod identity;
pub mod negotiation;
pub mod refusal;
pub mod time;
pub mod wire;
