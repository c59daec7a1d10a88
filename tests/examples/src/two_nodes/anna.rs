//! The process that dials, and tells the story.

use std::io::{Result as IoResult, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::channel::mpsc;
use futures::stream::StreamExt;
use handclasp::runtime::{Link, Runtime, Services, connect, random_seed};
use handclasp::{Config, Dial, Message, NodeId, Priority, SecretKey, Signer, Trust};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::{CHILD, node};
use crate::Outcome;
use crate::lines::lines;
use crate::process::Running;
use crate::tasks::timeout;

/// The large transfer: at most so much, and about so long.
const TRANSFER: u64 = 1 << 30;
const TRANSFER_TIME: Duration = Duration::from_secs(4);
const PIECE: usize = 256 << 10;

const SECRET: &str = "the cluster secret of Anna and Ben";

pub(super) async fn run<R: Runtime>() -> Outcome<()> {
    let start = Instant::now();
    let seed = random_seed::<R>();
    let key = SecretKey::from_seed(&seed);
    let id = key.node_id();
    let (mut ben, address, ben_id) = Ben::start::<R>(id).await?;
    let config = node::<R>(key, "anna", SECRET, 2)?.trust(Trust::listed([ben_id])).build()?;

    println!("Two processes on {address}, which know each other's ids and one cluster secret.\n");
    println!("  anna  dials    process {:<8} {id}", std::process::id());
    println!("  ben   listens  process {:<8} {ben_id}", ben.process.id());

    let link = handshake::<R>(&address, &config, ben_id, &mut ben).await?;
    calls(&link).await?;
    transfer(&link).await?;
    refusals::<R>(&address, SecretKey::from_seed(&seed), ben_id, &mut ben).await?;

    title("Goodbye");
    let closed = link.goodbye(0, "see you").await;
    say("anna", &format!("the link ended: {closed}"));
    ben.speaks::<R>().await?;
    // It has nothing left to do, so waiting for it holds up nobody.
    let status = ben.process.wait()?;
    println!("\nBen's process ended with {status}; all in {:.1} s.", start.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err("Ben's process failed".into()) }
}

async fn handshake<R: Runtime>(
    address: &str,
    config: &Arc<Config>,
    ben_id: NodeId,
    ben: &mut Ben,
) -> Outcome<Link<R>> {
    title("Handshake");
    let start = Instant::now();
    let link = connect(address, config, Dial::to(ben_id), &Services::<R>::new()).await?;
    let time = start.elapsed();
    let peer = link.peer();
    say(
        "anna",
        &format!(
            "reached  {} as {}, fingerprint {}",
            peer.id,
            peer.name().unwrap_or("nobody"),
            peer.id.fingerprint()
        ),
    );
    ben.speaks::<R>().await?;
    fact("time", &format!("{time:.1?}, TCP connection included"));
    fact("suite", peer.suite.noise_name());
    fact("version", &format!("{} (anna takes 1..=2, ben 1..=3)", peer.version()));
    let capabilities = peer.outcome.capabilities.iter();
    let capabilities: Vec<_> =
        capabilities.map(|common| format!("{}/{}", common.name, common.version)).collect();
    fact("in common", &capabilities.join(" "));
    fact("channel", &format!("{}…", hex(&peer.channel_binding[..16])));
    Ok(link)
}

async fn calls<R: Runtime>(link: &Link<R>) -> Outcome<()> {
    title("A call");
    say("anna", "calls greet with \"hello\"");
    let start = Instant::now();
    let answer = link.call("greet", "hello").await?;
    let time = start.elapsed();
    say("ben", &String::from_utf8_lossy(&answer));
    fact("time", &format!("{time:.1?}"));
    let mut pings = Vec::new();
    for _ in 0..21 {
        pings.push(link.ping().await?);
    }
    pings.sort();
    fact("round trip", &format!("{:.1?} (median of {} pings)", pings[pings.len() / 2], pings.len()));
    match link.call("secrets", "").await {
        Err(error) => fact("not offered", &error.to_string()),
        Ok(_) => return Err("a service that is not offered has answered".into()),
    }
    Ok(())
}

async fn transfer<R: Runtime>(link: &Link<R>) -> Outcome<()> {
    title("A large transfer");
    let bar = ProgressBar::new(TRANSFER).with_style(
        ProgressStyle::with_template("        {bar:40} {bytes:>11} of {total_bytes}  {bytes_per_sec}")?
            .progress_chars("━━╌"),
    );
    let piece = Bytes::from(vec![0x5a; PIECE]);
    let start = Instant::now();
    let mut sent = 0;
    while sent < TRANSFER && start.elapsed() < TRANSFER_TIME {
        let message = Message::new("file", piece.clone()).priority(Priority::Bulk);
        link.send(message).await.map_err(|rejected| rejected.why)?;
        sent += PIECE as u64;
        bar.set_position(sent);
    }
    // Of the same priority, so it is answered behind the last piece.
    let question = Message::new("received", &[]).priority(Priority::Bulk);
    let answer = link.call_with(question, Duration::from_secs(10)).await?;
    let time = start.elapsed();
    bar.finish_and_clear();
    let received = answer.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    if received != sent {
        return Err(format!("{sent} bytes sent, {received} received").into());
    }
    let rate = u128::from(sent) / time.as_micros().max(1);
    fact("moved", &format!("{} in {:.2} s: {rate} MB/s, encrypted", HumanBytes(sent), time.as_secs_f64()));
    Ok(())
}

async fn refusals<R: Runtime>(address: &str, key: SecretKey, ben_id: NodeId, ben: &mut Ben) -> Outcome<()> {
    title("A stranger, who knows the cluster secret, is refused");
    let stranger = SecretKey::from_seed(&random_seed::<R>());
    let config = node::<R>(stranger, "stranger", SECRET, 1)?.trust(Trust::Anyone).build()?;
    refused::<R>("stranger", address, &config, ben_id, ben).await?;

    title("Anna with another cluster secret is refused");
    let other = "not the cluster secret of Anna and Ben";
    let config = node::<R>(key, "anna", other, 2)?.trust(Trust::listed([ben_id])).build()?;
    refused::<R>("anna", address, &config, ben_id, ben).await
}

async fn refused<R: Runtime>(
    who: &str,
    address: &str,
    config: &Arc<Config>,
    id: NodeId,
    ben: &mut Ben,
) -> Outcome<()> {
    match connect(address, config, Dial::to(id), &Services::<R>::new()).await {
        Ok(_) => Err("a link that should have been refused".into()),
        Err(error) => {
            say(who, &error.to_string());
            ben.speaks::<R>().await
        }
    }
}

/// The other process.
struct Ben {
    process: Running,
    lines: mpsc::Receiver<IoResult<String>>,
}

impl Ben {
    /// Starts it, and reads where it listens and who it is.
    async fn start<R: Runtime>(trusted: NodeId) -> Outcome<(Self, String, NodeId)> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([CHILD, &trusted.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let output = output.ok_or("no way from the other process")?;
        let mut ben = Self { process: Running(process), lines: lines(output) };
        // Less than a pipe holds, so it never blocks.
        writeln!(input.ok_or("no way to the other process")?, "{SECRET}")?;
        let line = ben.line::<R>().await?;
        let (address, id) = line.split_once(' ').ok_or("Ben does not say where he listens")?;
        Ok((ben, address.to_owned(), id.parse()?))
    }

    async fn line<R: Runtime>(&mut self) -> Outcome<String> {
        let line = timeout::<R, _>(Duration::from_secs(5), self.lines.next()).await;
        let line = line.ok_or("Ben says nothing for 5 s")?;
        Ok(line.ok_or("Ben's process has ended")??)
    }

    /// Shows the next thing that Ben says.
    async fn speaks<R: Runtime>(&mut self) -> Outcome<()> {
        let line = self.line::<R>().await?;
        say("ben", &line);
        Ok(())
    }
}

fn title(text: &str) {
    println!("\n{text}");
}

fn say(who: &str, text: &str) {
    println!("  {who:<9} {text}");
}

fn fact(name: &str, text: &str) {
    println!("  - {name}: {text}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
