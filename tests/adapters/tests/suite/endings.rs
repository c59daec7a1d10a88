//! How a link's task ends: what it holds meanwhile, and for how long.

mod failed;
mod goodbyes;
mod held;
mod longest;
mod wakers;
