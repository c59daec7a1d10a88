//! The hello, what two of them agree on, and refusals, against docs/wire.md §3.6 and §3.7.

mod arbitrary;
mod capabilities;
mod codec;
mod negotiation;
mod refusals;
mod words;
