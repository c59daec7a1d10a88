//! handclasp beside its peers, in one run.
//!
//! A *work* is a job that several *contestants* do in turn (a handshake, moving 16 KiB, a call). The contestants of a
//! work take turns, slice by slice, so that whatever disturbs the machine disturbs all of them; the figures are medians
//! over the rounds. `benches/compare.rs` lists the works; each contestant lives in a file of its own under
//! `contestants/` and implements one of the traits in [`contest`].

pub mod allocations;
pub mod contest;
pub mod contestants;
pub mod harness;
pub mod loopback;
pub mod machine;
pub mod options;
pub mod report;
