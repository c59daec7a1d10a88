//! The process that listens. What it says goes to its standard output, which Anna shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::FutureExt;
use futures::{pin_mut, select};
use handclasp::runtime::{Listener, Runtime, Services, random_seed};
use handclasp::services::Allow;
use handclasp::{NodeId, SecretKey, Signer, Trust};

use super::node;
use crate::Outcome;

/// Listens for the one node that it trusts, until that node says goodbye.
pub(super) async fn run<R: Runtime>(mut arguments: impl Iterator<Item = String>) -> Outcome<()> {
    let trusted: NodeId = arguments.next().ok_or("an id is missing")?.parse()?;
    // Not as an argument: those are there for every process to see.
    let mut secret = String::new();
    std::io::stdin().read_line(&mut secret)?;
    let key = SecretKey::from_seed(&random_seed::<R>());
    let id = key.node_id();
    let config = node::<R>(key, "ben", secret.trim(), 3)?.trust(Trust::listed([trusted])).build()?;

    let received = Arc::new(AtomicU64::new(0));
    let sum = Arc::clone(&received);
    let services = Services::<R>::new()
        .serve("greet", Allow::Anyone, |request| async move {
            let caller = request.peer.name().unwrap_or("somebody").to_owned();
            let text = String::from_utf8_lossy(&request.body);
            Ok(format!("Good day, {caller}. You said {text:?}.").into())
        })
        .on("file", Allow::capability("files"), move |request| {
            received.fetch_add(request.body.len() as u64, Ordering::Relaxed);
            async {}
        })
        .serve("received", Allow::capability("files"), move |_| {
            let bytes = sum.load(Ordering::Relaxed);
            async move { Ok(bytes.to_be_bytes().to_vec().into()) }
        });
    let mut listener = Listener::bind("127.0.0.1:0", &config, &services).await?;
    println!("{} {id}", listener.local_addr()?);

    let link = listener.accept().await?;
    let peer = link.peer();
    println!(
        "accepted {} as {}, fingerprint {}",
        peer.id,
        peer.name().unwrap_or("nobody"),
        peer.id.fingerprint()
    );
    let closed = link.closed().fuse();
    pin_mut!(closed);
    loop {
        select! {
            accepted = listener.accept().fuse() => match accepted {
                Ok(link) => println!("accepted {}, which was not to be", link.peer().id),
                Err(error) => println!("{error}"),
            },
            closed = closed => {
                println!("the link ended: {closed}");
                return Ok(());
            }
        }
    }
}
