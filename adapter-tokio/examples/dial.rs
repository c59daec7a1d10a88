//! Dials a node, in one of two terminals; `listen` is the other one, and prints the command for this one.

use std::time::Instant;

use handclasp::{Config, Dial, Signer, Trust};
use handclasp_examples::Outcome;
use handclasp_examples::dial::{Arguments, advise, arguments, print_echo, print_peer};
use handclasp_tokio::{Link, Services, connect, incarnation, random_seed};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let result = run(arguments()).await;
    if let Err(error) = &result {
        eprintln!("dial: {error}");
    }
    // A line that is being read keeps the runtime's thread for blocking work; it is of no use any more.
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

async fn echo(link: &Link, text: &str) -> Outcome<()> {
    let start = Instant::now();
    let answer = link.call("echo", text).await?;
    print_echo(&answer, start.elapsed());
    Ok(())
}
