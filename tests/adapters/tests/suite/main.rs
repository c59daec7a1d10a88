//! The cases of all adapters, on each host and crosswise. What each is about is in its name.

mod admission;
mod crosswise;
mod cut_links;
mod cut_nodes;
mod cut_streams;
mod failing;
mod handles;
mod kill;
mod log;
mod messages;
mod node_adverts;
mod node_links;
mod node_messages;
mod node_peers;
mod node_refusals;
mod node_registry;
mod node_trust_file;
mod panics;
mod pressure;
mod recordings;
mod several_threads;
mod signed;
mod streams;
mod tcp;
mod tracing;
mod unordered;
