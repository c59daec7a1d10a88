//! Links from their establishment to their end: keys, messages, credit, liveness, goodbye. One file a theme.

mod calls;
mod credit;
mod deadlines;
mod events;
mod goodbye;
mod hostile;
mod keys;
mod lanes;
mod liveness;
mod order;
mod reasons;
mod storm;
mod support;
