//! Dials a node, in one of two terminals; `listen` is the other one, and prints the command for this one.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use handclasp::identity::keyfile;
use handclasp::{ClusterSecret, Config, Dial, NodeId, Reason, Refusal, Signer, Trust};
use handclasp_tokio::{ConnectError, Link, Services, connect, incarnation, random_seed};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Dials a node and calls its service `echo` with each line typed.
#[derive(Parser)]
struct Arguments {
    /// The file with this node's secret key; made if there is none.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The file with the secret of the cluster, the same on all its nodes.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Calls echo once with this text instead of reading lines.
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Prints this node's id, for the other side's --trust, and does not dial.
    #[arg(long)]
    show_id: bool,
    /// Where to dial: host:port.
    #[arg(required_unless_present = "show_id")]
    address: Option<String>,
    /// Who has to answer there.
    #[arg(required_unless_present = "show_id")]
    id: Option<NodeId>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let result = run(Arguments::parse()).await;
    if let Err(error) = &result {
        eprintln!("dial: {error}");
    }
    // A line that is being read keeps the runtime's thread for blocking work; it is of no use any more.
    std::process::exit(i32::from(result.is_err()));
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let key = keyfile::load_or_create(&arguments.key, &random_seed())
        .map_err(|error| format!("{}: {error}", arguments.key.display()))?;
    let own = key.node_id();
    let (Some(address), Some(id)) = (arguments.address, arguments.id) else {
        println!("{own}");
        return Ok(());
    };
    let mut builder = Config::builder(key, incarnation()).trust(Trust::listed([id])).name("dial@example");
    if let Some(path) = &arguments.secret_file {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let secret =
            ClusterSecret::new(text.trim()).map_err(|error| format!("{}: {error}", path.display()))?;
        builder = builder.cluster_secret(secret);
    }
    let config = builder.build()?;

    println!("this node is {own}");
    let start = Instant::now();
    let link = connect(&*address, &config, Dial::to(id), &Services::new())
        .await
        .map_err(|error| advise(&error, own))?;
    let peer = link.peer();
    println!(
        "answered:    {} ({}), version {}, in {:.1?}",
        peer.id,
        peer.name().unwrap_or("without a name").escape_debug(),
        peer.version(),
        start.elapsed()
    );
    println!("fingerprint: {}", peer.id.fingerprint());
    println!("round trip:  {:.1?}", link.ping().await?);

    if let Some(text) = &arguments.message {
        echo(&link, text).await?;
    } else {
        println!("each line is a call of echo; end with Ctrl-D");
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        loop {
            let text = tokio::select! {
                text = lines.next_line() => text?,
                closed = link.closed() => return Err(format!("the link ended: {closed}").into()),
            };
            match text {
                Some(text) => echo(&link, &text).await?,
                None => break,
            }
        }
    }
    println!("the end:     {}", link.goodbye(0, "dial is done").await);
    Ok(())
}

async fn echo(link: &Link, text: &str) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let answer = link.call("echo", text).await?;
    println!("echo:        {} ({:.1?})", answer.escape_ascii(), start.elapsed());
    Ok(())
}

/// What to do about a dial that failed.
fn advise(error: &ConnectError, own: NodeId) -> String {
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
