//! Waits for links, in one of two terminals; `dial` is the other one.
//!
//! ```sh
//! cargo run --release -p handclasp-tokio --example listen -- --key listener.key --anyone
//! ```

use std::process::ExitCode;

use handclasp::{Config, Signer};
use handclasp_examples::Outcome;
use handclasp_examples::listen::{Arguments, arguments, explain, print_call, print_end, print_peer};
use handclasp_tokio::{Allow, Link, Listener, Services, incarnation, random_seed};
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(arguments()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("listen: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Outcome<()> {
    let key = arguments.identity.key(&random_seed())?;
    let id = key.node_id();
    let mut builder = Config::builder(key, incarnation()).trust(arguments.trust()).name("listen@example");
    if let Some(secret) = arguments.identity.secret()? {
        builder = builder.cluster_secret(secret);
    }
    let config = builder.build()?;

    let services = Services::new().serve("echo", Allow::Anyone, |request| async move {
        print_call(&request.peer, &request.body);
        Ok(request.body)
    });
    let listener = Listener::bind(arguments.addr, &config, &services).await;
    let mut listener = listener.map_err(|error| format!("cannot listen on {}: {error}", arguments.addr))?;
    arguments.print_start(listener.local_addr()?, id, "-p handclasp-tokio --example dial");

    let mut links = JoinSet::new();
    let mut live: Vec<Link> = Vec::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(link) => {
                    print_peer(link.peer());
                    live.retain(|link| link.try_closed().is_none());
                    live.push(link.clone());
                    links.spawn(async move { print_end(link.peer(), &link.closed().await) });
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
