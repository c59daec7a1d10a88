//! Arguments of the examples that dial, and what they print.

use std::time::Duration;

use clap::Parser;
use handclasp::runtime::{ConnectError, PeerInfo};
use handclasp::{NodeId, Reason, Refusal};

pub use crate::identity::Identity;

/// Dials a node and calls its service `echo` with each line typed.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// Who this node is.
    #[command(flatten)]
    pub identity: Identity,
    /// Calls echo once with this text instead of reading lines.
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Prints this node's id, for the other side's --trust, and does not dial.
    #[arg(long)]
    pub show_id: bool,
    /// Where to dial: host:port.
    #[arg(required_unless_present = "show_id")]
    pub address: Option<String>,
    /// Who has to answer there.
    #[arg(required_unless_present = "show_id")]
    pub id: Option<NodeId>,
}

/// The arguments of this process, which ends here if they are none.
pub fn arguments() -> Arguments {
    Arguments::parse()
}

/// Says who answered, and how long that took.
pub fn print_peer(peer: &PeerInfo, time: Duration) {
    println!(
        "answered:    {} ({}), version {}, in {time:.1?}",
        peer.id,
        peer.name().unwrap_or("without a name").escape_debug(),
        peer.version(),
    );
    println!("fingerprint: {}", peer.id.fingerprint());
}

/// Says what was called out, and how long it took to come back.
pub fn print_echo(answer: &[u8], time: Duration) {
    println!("echo:        {} ({time:.1?})", answer.escape_ascii());
}

/// What to do about a dial that failed.
pub fn advise(error: &ConnectError, own: NodeId) -> String {
    let advice = match error.reason() {
        Some(Reason::Refused(Refusal::Denied)) => {
            format!("start the listener again with --trust {own}")
        }
        Some(Reason::WrongPeer { got: Some(got), .. }) => {
            format!("if {got} is whom you mean, dial that id")
        }
        Some(Reason::Truncated | Reason::KeyExchangeFailed | Reason::UnsupportedSuite { .. }) => {
            "give both sides the same --secret-file, or none".into()
        }
        _ => return error.to_string(),
    };
    format!("{error}\n      {advice}")
}
