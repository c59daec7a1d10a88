//! The contestants, one file each.

pub mod aead;
pub mod aws_lc;
pub mod flows;
pub mod ours;
pub mod raw_tcp;
pub mod runtimes;
pub mod rustls;
pub mod snow;
pub mod tarpc;
