//! One of the three processes: a node, and what it does with its peers.
//!
//! Its orders come by standard input, a line each:
//! - `trust NAME ID`: that node is one of us;
//! - `dial NAME ID ADDRESS`: it is there; keep a link to it, and talk;
//! - `revoke NAME ID`: it is no longer;
//! - `stop`: end in good order, while the others still talk.
//!
//! Standard output says `listening ID ADDRESS`, `trusts` after each order of that kind, `peer …` for the
//! table, and `ended`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Write, stdin};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{FutureExt, try_join_all};
use futures::select;
use futures::stream::StreamExt;
use handclasp::identity::keyfile;
use handclasp::node::{Backoff, NodeEvent, NodePolicy, Permanence, Undelivered};
use handclasp::runtime::{Events, Node, PeerSnapshot, Runtime, random_seed};
use handclasp::{NodeId, Trust};
use tracing::Level;

use super::Child;
use super::ledger::{Entry, Ledger};
use super::traffic::{self, Traffic, call, send, services};
use crate::Outcome;
use crate::lines::lines;
use crate::tasks::{spawn, timeout};

/// Between dials that fail.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_millis(300);

/// For the node's end.
const SHUTDOWN: Duration = Duration::from_secs(3);

/// For tasks that wait for an answer, after the node's end: an answer that does not come by then is lost.
const PATIENCE: Duration = Duration::from_secs(7);

/// Between two reports for the table.
const REPORT: Duration = Duration::from_millis(250);

pub(super) async fn run<R: Runtime>(role: &Child, calls_in_flight: u16) -> Outcome<i32> {
    // A terminal gives Ctrl-C to all its processes. Here the parent decides what comes of it.
    ctrlc::set_handler(|| {})?;
    let file = |extension| role.directory.join(format!("{}-{}.{extension}", role.name, role.run));
    let log = File::create(file("log"))?;
    tracing_subscriber::fmt()
        .with_max_level(Level::DEBUG)
        .with_ansi(false)
        .with_writer(Mutex::new(log))
        .init();
    let traffic = Traffic::new(Ledger::create(&file("ledger"))?, role.run);

    // The key stays the same when the process starts anew, and so does the node's id.
    let key =
        keyfile::load_or_create(role.directory.join(format!("{}.key", role.name)), &random_seed::<R>())?;
    let backoff = Backoff { first: FIRST_WAIT, most: LONGEST_WAIT, ..Backoff::default() };
    let node = Node::<R>::builder(key)
        .config(|config| config.name(format!("{}@cluster", role.name)).network("cluster"))
        .trust(Trust::listed([]))
        // The network is this machine, so dialling often harms nobody; otherwise the defaults are better.
        .policy(NodePolicy { backoff, ..NodePolicy::default() })
        .services(&services(&traffic))
        .listen("127.0.0.1:0")
        // Every event is counted, so none may be missed.
        .event_buffer(1 << 16)
        .start()
        .await?;
    let watching = spawn::<R, _>(watch(Arc::clone(&traffic), node.events()));
    let address = node.local_addrs().first().copied().ok_or("the node listens nowhere")?;
    say(&format!("listening {} {address}", node.id()));

    let talking = obey(&node, &traffic, calls_in_flight).await?;
    for (peer, envelope) in node.shutdown(SHUTDOWN).await {
        undelivered(&traffic, peer, &envelope.body, "left over at the shutdown");
    }
    traffic.stop();
    // Whoever still waits for an answer is told by now, or never.
    match timeout::<R, _>(PATIENCE, try_join_all(talking)).await {
        Some(ended) => ended.map(drop).map_err(|_| "a task that calls or sends has panicked")?,
        None => say("problem a call or send did not come back after the node's end"),
    }
    let watched = timeout::<R, _>(PATIENCE, watching).await.ok_or("the node's events did not end")?;
    watched.map_err(|_| "the task that watches the node's events has panicked")?;
    traffic.ledger.write(&Entry::End);
    say("ended");
    Ok(0)
}

/// Does what the parent says until that is `stop`. Gives the tasks that talk.
async fn obey<R: Runtime>(
    node: &Node<R>,
    traffic: &Arc<Traffic>,
    calls_in_flight: u16,
) -> Outcome<Vec<oneshot::Receiver<()>>> {
    let mut talking = Vec::new();
    let mut known = HashSet::new();
    let mut orders = lines(stdin());
    let mut due = R::now();
    loop {
        let order = select! {
            order = orders.next() => order,
            () = R::sleep_until(due).fuse() => {
                due = R::now() + REPORT;
                report(node, traffic).await;
                continue;
            }
        };
        // Without a parent there is nothing to do here.
        let order = order.ok_or("the parent is gone")??;
        let words: Vec<_> = order.split(' ').collect();
        match *words {
            ["stop"] => return Ok(talking),
            ["trust", name, id] => {
                let id: NodeId = id.parse()?;
                traffic.knows(id, name.to_owned());
                node.trust(id, None).await?;
                say("trusts");
            }
            ["dial", name, id, address] => {
                let peer = node.peer(id.parse()?);
                // Both are orders for the future as well: the node dials again whenever the link is lost.
                peer.set_addresses([address]);
                peer.set_permanence(Permanence::Permanent);
                if known.insert(peer.id()) {
                    for _ in 0..calls_in_flight {
                        let task = call(Arc::clone(traffic), peer.clone(), name.to_owned());
                        talking.push(spawn::<R, _>(task));
                    }
                    talking.push(spawn::<R, _>(send(Arc::clone(traffic), peer, name.to_owned())));
                }
            }
            ["revoke", _, id] => {
                node.revoke(id.parse()?).await?;
            }
            _ => return Err(format!("{order:?} is no order").into()),
        }
    }
}

/// Writes down what happens to the node.
async fn watch(traffic: Arc<Traffic>, mut events: Events) {
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(missed) => {
                traffic.ledger.write(&Entry::Missed { count: missed.0 });
                continue;
            }
        };
        let entry = match &*event {
            NodeEvent::Linked { peer, .. } => Entry::Linked { peer: traffic.name(*peer) },
            NodeEvent::Unlinked { peer, closed } => {
                Entry::Unlinked { peer: traffic.name(*peer), reason: closed.reason.name().to_owned() }
            }
            NodeEvent::DialFailed { peer, error, .. } => {
                Entry::DialFailed { peer: traffic.name(*peer), reason: error.name().to_owned() }
            }
            NodeEvent::Revoked { peer } => Entry::Revoked { peer: traffic.name(*peer) },
            NodeEvent::Undelivered { peer, envelope, why, .. } => {
                let reason = match why {
                    Undelivered::Expired => "expired".to_owned(),
                    Undelivered::GivenUp => "given_up".to_owned(),
                    Undelivered::Revoked => "revoked".to_owned(),
                    other => other.to_string(),
                };
                undelivered(&traffic, *peer, &envelope.body, &reason);
                continue;
            }
            _ => continue,
        };
        traffic.ledger.write(&entry);
    }
}

fn undelivered(traffic: &Traffic, peer: NodeId, body: &[u8], reason: &str) {
    let (to, reason) = (traffic.name(peer), reason.to_owned());
    // A number that cannot be read is in no other ledger either.
    let number = traffic::number(body).unwrap_or_default();
    traffic.ledger.write(&Entry::Undelivered { number, to, reason });
}

/// Says how the other nodes stand.
async fn report<R: Runtime>(node: &Node<R>, traffic: &Traffic) {
    let peers = node.snapshot().await.peers;
    for (id, name) in traffic.names() {
        // A node forgets whom it revokes.
        let row = match peers.iter().find(|peer| peer.status.id == id) {
            Some(peer) => standing(peer),
            None if node.is_trusted(id) => "unknown".to_owned(),
            None => "untrusted".to_owned(),
        };
        say(&format!("peer {name} {row}"));
        // The round trip is measured by pings, which a busy link does not need by itself.
        if let Some(link) = node.peer(id).link() {
            let _ = timeout::<R, _>(REPORT, link.ping()).await;
        }
    }
}

/// The columns of the table, with blanks between them.
fn standing(peer: &PeerSnapshot) -> String {
    let link = peer.link.as_ref();
    let stats = link.and_then(|link| link.stats);
    let count = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
    [
        peer.status.state.name().to_owned(),
        link.map_or("-", |link| link.direction.name()).to_owned(),
        stats.and_then(|stats| stats.rtt).map_or("-".to_owned(), |rtt| format!("{rtt:.0?}")),
        count(stats.map(|stats| stats.messages_sent)),
        count(stats.map(|stats| stats.messages_received)),
        peer.status.queued.to_string(),
        peer.status.last_closed.as_ref().map_or("-", |closed| closed.reason.name()).to_owned(),
    ]
    .join(" ")
}

/// To the parent. A child that nobody listens to ends.
fn say(line: &str) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(1);
    }
}
