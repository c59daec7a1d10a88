//! Arguments of the examples that listen, and what they print.

use std::net::SocketAddr;

use clap::Parser;
use handclasp::runtime::{AcceptError, PeerInfo};
use handclasp::{Closed, NodeId, Reason, Refusal, Trust};

pub use crate::identity::Identity;

/// Waits for links and answers calls of the service `echo`.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7411")]
    pub addr: SocketAddr,
    /// Who this node is.
    #[command(flatten)]
    pub identity: Identity,
    /// A node that may link; can be given several times.
    #[arg(long, value_name = "ID")]
    trust: Vec<NodeId>,
    /// Everyone may link who proves an id.
    #[arg(long, conflicts_with = "trust")]
    anyone: bool,
}

/// The arguments of this process, which ends here if they are none.
pub fn arguments() -> Arguments {
    Arguments::parse()
}

impl Arguments {
    /// Who may link.
    pub fn trust(&self) -> Trust {
        if self.anyone { Trust::Anyone } else { Trust::listed(self.trust.iter().copied()) }
    }

    /// Says where this node is and who, and how `dial_example`, which follows `cargo run --release`, reaches it.
    pub fn print_start(&self, address: SocketAddr, id: NodeId, dial_example: &str) {
        println!("listening on {address}");
        println!("id           {id}");
        println!("fingerprint  {}", id.fingerprint());
        if !self.anyone && self.trust.is_empty() {
            println!(
                "trusts       nobody yet: start it again with --trust ID for each node, or with --anyone"
            );
        }
        let secret = self.identity.secret_file();
        let secret = secret.map(|path| format!(" --secret-file {}", path.display())).unwrap_or_default();
        println!("\nIn another terminal:");
        println!("cargo run --release {dial_example} -- --key dialler.key{secret} {address} {id}\n");
    }
}

/// Says whose link has come.
pub fn print_peer(peer: &PeerInfo) {
    println!(
        "{} is {} ({}), version {}",
        peer.id.fingerprint(),
        peer.id,
        peer.name().unwrap_or("without a name").escape_debug(),
        peer.version()
    );
}

/// Says what a peer calls `echo` with.
pub fn print_call(peer: &PeerInfo, body: &[u8]) {
    println!("{} calls echo: {}", peer.id.fingerprint(), body.escape_ascii());
}

/// Says whose link has ended, and why.
pub fn print_end(peer: &PeerInfo, closed: &Closed) {
    println!("{} is gone: {closed}", peer.id.fingerprint());
}

/// Says why a connection became no link, and what to do about it.
pub fn explain(error: &AcceptError) {
    println!("{error}");
    if let AcceptError::Handshake { closed, .. } = error {
        match (&closed.reason, closed.claimed) {
            (Reason::Refused(Refusal::Denied), Some(claimed)) => {
                println!("to let it in, start again with --trust {claimed}");
            }
            (Reason::KeyExchangeFailed | Reason::UnsupportedSuite { .. }, _) => {
                println!("both sides need the same --secret-file, or none");
            }
            _ => {}
        }
    }
}
