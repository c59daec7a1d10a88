//! Waits for links, in one of two terminals; `async_std_dial` is the other one, or `dial` of `handclasp-tokio`.
//!
//! ```sh
//! cargo run --release -p handclasp-async-std --example async_std_listen -- --key listener.key --anyone
//! ```

use std::process::ExitCode;

use futures::channel::mpsc;
use futures::future::{FutureExt, join, join_all};
use futures::select;
use futures::stream::{FuturesUnordered, StreamExt};
use handclasp::{Config, Signer};
use handclasp_async_std::{Allow, Link, Listener, Services, incarnation, random_seed};
use handclasp_examples::Outcome;
use handclasp_examples::listen::{Arguments, arguments, explain, print_call, print_end, print_peer};

#[async_std::main]
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
    let (mut interrupt, mut interrupted) = mpsc::channel(1);
    // When there is one in the channel, it says all there is to say.
    ctrlc::set_handler(move || drop(interrupt.try_send(())))?;
    arguments.print_start(listener.local_addr()?, id, "-p handclasp-async-std --example async_std_dial");

    let mut links = FuturesUnordered::new();
    let mut live: Vec<Link> = Vec::new();
    loop {
        select! {
            accepted = listener.accept().fuse() => match accepted {
                Ok(link) => {
                    print_peer(link.peer());
                    live.retain(|link| link.try_closed().is_none());
                    live.push(link.clone());
                    links.push(async move { print_end(link.peer(), &link.closed().await) });
                }
                Err(error) => explain(&error),
            },
            () = links.select_next_some() => {}
            _ = interrupted.next() => break,
        }
    }
    println!("\nsaying goodbye");
    let goodbyes = live.iter().map(|link| link.goodbye(0, "the listener stops"));
    join(join_all(goodbyes), links.collect::<()>()).await;
    Ok(())
}
