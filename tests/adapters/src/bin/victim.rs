//! A node in a process of its own, which a test kills.
//!
//! `victim <runtime> <address>` runs node 2 over `tokio`, `async-std` or `smol`, says `ready` when it listens on
//! `address`, and goes on until it is killed, or its standard input ends.

use std::error::Error;
use std::io::Read;

use handclasp::runtime::{Request, Runtime, Services};
use handclasp::services::Allow;
use handclasp_adapters::nodes::{echo, node};
use handclasp_adapters::{run, unblock};
use handclasp_async_std::AsyncStd;
use handclasp_async_std::smol::Smol;
use handclasp_tokio::Tokio;

/// `hang` writes down that it runs, and never answers.
fn services<R: Runtime>() -> Services<R> {
    echo::<R>().serve("hang", Allow::Anyone, |request: Request<R>| async move {
        println!("hangs");
        let () = std::future::pending().await;
        drop(request);
        unreachable!("nobody wakes it")
    })
}

async fn serve<R: Runtime>(address: String) {
    let node = node::<R>(2).services(&services()).listen(address).start().await.expect("a node");
    println!("ready");
    // Its end is the parent's, so that nobody is left behind.
    let input = unblock::<R, _>(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let _ = input.await;
    drop(node);
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(runtime), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: victim <tokio|async-std|smol> <address>".into());
    };
    match &*runtime {
        "tokio" => run::tokio(|| serve::<Tokio>(address)),
        "async-std" => run::async_std(|| serve::<AsyncStd>(address)),
        "smol" => run::smol(|| serve::<Smol>(address)),
        _ => return Err(format!("no such runtime: {runtime}").into()),
    }
    Ok(())
}
