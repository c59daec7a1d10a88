//! Links from their establishment to their end: keys, messages, credit, liveness, goodbye. One file a theme.

mod calls;
mod deadlines;
mod hostile;
mod support;
