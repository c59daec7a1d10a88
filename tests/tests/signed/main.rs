//! Signed messages: their form, what counts as having come before, and their way over one link and over several
//! (docs/signed.md). One file a theme.

mod example;
mod form;
mod kinds;
mod links;
mod nodes;
mod policy;
mod relay;
mod replay;
mod support;
