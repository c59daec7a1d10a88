//! Waits for links, in one of two terminals; `dial` is the other one.
//!
//! ```sh
//! cargo run --release -p handclasp-tokio --example listen -- --key listener.key --anyone
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use handclasp::identity::keyfile;
use handclasp::{ClusterSecret, Config, NodeId, Reason, Refusal, Signer, Trust};
use handclasp_tokio::{AcceptError, Allow, Link, Listener, Services, incarnation, random_seed};
use tokio::task::JoinSet;

/// Waits for links and answers calls of the service `echo`.
#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7411")]
    addr: SocketAddr,
    /// The file with this node's secret key; made if there is none.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A node that may link; can be given several times.
    #[arg(long, value_name = "ID")]
    trust: Vec<NodeId>,
    /// Everyone may link who proves an id.
    #[arg(long, conflicts_with = "trust")]
    anyone: bool,
    /// The file with the secret of the cluster, the same on all its nodes.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("listen: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let key = keyfile::load_or_create(&arguments.key, &random_seed())
        .map_err(|error| format!("{}: {error}", arguments.key.display()))?;
    let id = key.node_id();
    let trust = if arguments.anyone { Trust::Anyone } else { Trust::listed(arguments.trust.iter().copied()) };
    let mut builder = Config::builder(key, incarnation()).trust(trust).name("listen@example");
    let mut secret_option = String::new();
    if let Some(path) = &arguments.secret_file {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let secret =
            ClusterSecret::new(text.trim()).map_err(|error| format!("{}: {error}", path.display()))?;
        builder = builder.cluster_secret(secret);
        secret_option = format!(" --secret-file {}", path.display());
    }
    let config = builder.build()?;

    let services = Services::new().serve("echo", Allow::Anyone, |request| async move {
        println!("{} calls echo: {}", request.peer.id.fingerprint(), request.body.escape_ascii());
        Ok(request.body)
    });
    let mut listener = Listener::bind(arguments.addr, &config, &services)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", arguments.addr))?;
    let address = listener.local_addr()?;
    println!("listening on {address}");
    println!("id           {id}");
    println!("fingerprint  {}", id.fingerprint());
    if !arguments.anyone && arguments.trust.is_empty() {
        println!("trusts       nobody yet: start it again with --trust ID for each node, or with --anyone");
    }
    println!("\nIn another terminal:");
    println!(
        "cargo run --release -p handclasp-tokio --example dial -- --key dialler.key{secret_option} {address} {id}\n"
    );

    let mut links = JoinSet::new();
    let mut live: Vec<Link> = Vec::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(link) => {
                    greet(&link);
                    live.retain(|link| link.is_closed().is_none());
                    live.push(link.clone());
                    links.spawn(async move {
                        let closed = link.closed().await;
                        println!("{} is gone: {closed}", link.peer().id.fingerprint());
                    });
                }
                Err(error) => explain(&error),
            },
            Some(_) = links.join_next() => {}
            stop = tokio::signal::ctrl_c() => {
                stop?;
                break;
            }
        }
    }
    println!("\nsaying goodbye");
    for link in live {
        links.spawn(async move {
            link.goodbye(0, "the listener stops").await;
        });
    }
    while links.join_next().await.is_some() {}
    Ok(())
}

fn greet(link: &Link) {
    let peer = link.peer();
    println!(
        "{} is {} ({}), version {}",
        peer.id.fingerprint(),
        peer.id,
        peer.name().unwrap_or("without a name").escape_debug(),
        peer.version()
    );
}

fn explain(error: &AcceptError) {
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
