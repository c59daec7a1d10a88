//! The cases of all adapters, on each host and crosswise. What each is about is in its name.

mod admission;
mod crosswise;
mod cut_links;
mod cut_nodes;
mod cut_streams;
mod handles;
mod kill;
mod messages;
mod node_links;
mod node_messages;
mod node_peers;
mod node_trust_file;
mod pressure;
mod recordings;
mod several_threads;
mod signed;
mod streams;
mod tcp;
mod tracing;
mod unordered;
