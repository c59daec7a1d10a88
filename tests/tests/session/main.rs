//! Links from their establishment to their end: keys, messages, credit, liveness, goodbye. One file a theme.

#![allow(clippy::cast_possible_truncation)] // Bodies carry the low bits of numbers.

mod calls;
mod credit;
mod deadlines;
mod events;
mod expiry;
mod goodbye;
mod hostile;
mod idle;
mod keys;
mod lanes;
mod liveness;
mod order;
mod ready;
mod reasons;
mod storm;
mod streams;
mod support;
mod unordered;
