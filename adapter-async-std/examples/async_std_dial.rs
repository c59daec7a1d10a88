//! Dials a node, in one of two terminals; `async_std_listen` is the other one, and prints the command for this
//! one. `dial` of `handclasp-tokio` and `smol_dial` do the same.

use std::time::Instant;

use async_std::io::prelude::BufReadExt;
use async_std::io::{BufReader, stdin};
use futures::future::FutureExt;
use futures::select;
use futures::stream::StreamExt;
use handclasp::{Config, Dial, Signer, Trust};
use handclasp_async_std::{Link, Services, connect, incarnation, random_seed};
use handclasp_examples::Outcome;
use handclasp_examples::dial::{Arguments, advise, arguments, print_echo, print_peer};

#[async_std::main]
async fn main() {
    let result = run(arguments()).await;
    if let Err(error) = &result {
        eprintln!("dial: {error}");
    }
    std::process::exit(i32::from(result.is_err()));
}

async fn run(arguments: Arguments) -> Outcome<()> {
    let key = arguments.identity.key(&random_seed())?;
    let own = key.node_id();
    let (Some(address), Some(id)) = (arguments.address, arguments.id) else {
        println!("{own}");
        return Ok(());
    };
    let mut builder = Config::builder(key, incarnation()).trust(Trust::listed([id])).name("dial@example");
    if let Some(secret) = arguments.identity.secret()? {
        builder = builder.cluster_secret(secret);
    }
    let config = builder.build()?;

    println!("this node is {own}");
    let start = Instant::now();
    let link = connect(address, &config, Dial::to(id), &Services::new()).await;
    let link = link.map_err(|error| advise(&error, own))?;
    print_peer(link.peer(), start.elapsed());
    println!("round trip:  {:.1?}", link.ping().await?);

    if let Some(text) = &arguments.message {
        echo(&link, text).await?;
    } else {
        println!("each line is a call of echo; end with Ctrl-D");
        let mut lines = BufReader::new(stdin()).lines();
        loop {
            let text = select! {
                text = lines.next().fuse() => text,
                closed = link.closed().fuse() => return Err(format!("the link ended: {closed}").into()),
            };
            match text {
                Some(text) => echo(&link, &text?).await?,
                None => break,
            }
        }
    }
    println!("the end:     {}", link.goodbye(0, "dial is done").await);
    Ok(())
}

async fn echo(link: &Link, text: &str) -> Outcome<()> {
    let start = Instant::now();
    let answer = link.call("echo", text).await?;
    print_echo(&answer, start.elapsed());
    Ok(())
}
