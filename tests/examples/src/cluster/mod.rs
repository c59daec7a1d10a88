//! Three processes that call each other all the time. One is killed and comes back, one is revoked. At the
//! end their ledgers are added up.
//!
//! The process that you start owns no node: it starts this program three more times, as Anna, Ben and Cleo,
//! tells them of each other, and shows how they fare (`parent`). How a `Node` is used is in `child`, and what
//! the nodes say to each other in `traffic`. Each process writes down what it is about to do and what became
//! of it (`ledger`); from that `sum` knows whether a call was lost without a word, or executed twice.

mod child;
mod ledger;
mod parent;
mod sum;
mod table;
mod traffic;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, value_parser};
use handclasp::runtime::Runtime;

/// Three processes that call each other all the time, while one is killed and comes back, and one is revoked.
#[derive(Parser)]
struct Arguments {
    /// How long traffic flows before the kill, and again after the restart.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    seconds: Duration,
    /// How many calls each process keeps in flight to each other one.
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = value_parser!(u16).range(1..=200))]
    calls_in_flight: u16,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// One of the three; the process that you start gives this.
    #[command(hide = true)]
    Node(Child),
}

/// Who a child is.
#[derive(Args)]
struct Child {
    name: String,
    /// 1, and 2 after the restart.
    run: u32,
    /// Where keys, ledgers and logs are.
    directory: PathBuf,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    let range = Duration::from_secs(1)..=Duration::from_secs(600);
    if range.contains(&duration) { Ok(duration) } else { Err("from 1 to 600".to_owned()) }
}

/// The example's main function. Gives the exit code.
///
/// The process that you start has no node, and blocks the thread until it ends.
/// A child reads its orders on a thread of its own, which is of no use any more then: leave with
/// [`std::process::exit`].
pub async fn main<R: Runtime>() -> i32 {
    let arguments = Arguments::parse();
    let outcome = match &arguments.role {
        None => parent::run(arguments.seconds, arguments.calls_in_flight),
        Some(Role::Node(role)) => child::run::<R>(role, arguments.calls_in_flight).await,
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("cluster: {error}");
        1
    })
}
