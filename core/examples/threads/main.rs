//! Links on plain threads and blocking sockets: nothing but `std`.
//!
//! ```sh
//! cargo run -p handclasp --example threads
//! ```
//!
//! A server takes a few clients; each client calls it from several threads at once, and is called back. Every
//! connection has two threads: one reads, the other takes events, writes and keeps the deadlines. One thread
//! with a read timeout is enough where one side asks and the other answers, as on the crate's front page. It
//! is not where both may send at any time: a thread that waits in `write` until its peer reads is not reading
//! itself, and two such peers wait for each other. Nor would it notice a call that another thread makes
//! before its read times out. How the two threads share a link is in `connection.rs`.

// The core reads no clock and owns no socket, thread or randomness. Its owner does, and this is one.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]
#![forbid(unsafe_code)]

mod connection;
#[cfg(test)]
mod tests;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use handclasp::{Config, Dial, Link, NodeId, Peer, SecretKey, Seed, ServiceError, Signer, Trust};

use connection::{Connection, Error};

const CLIENTS: u64 = 3;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Fresh randomness: a seed is used once.
fn seed() -> Result<Seed, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Seed::new(bytes))
}

/// A number that tells this start of the process from others.
fn incarnation() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// The services of both sides. The peer is who called: verified, not claimed.
fn serve(peer: &Peer, service: &str, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    match service {
        "echo" => Ok(body.to_vec()),
        "who am i" => Ok(peer.id.to_string().into_bytes()),
        _ => Err(ServiceError::NoSuchService),
    }
}

/// Takes `CLIENTS` connections, each with a thread of its own, and waits until the last has ended.
fn server(listener: &TcpListener, config: &Arc<Config>) -> Result<(), Error> {
    thread::scope(|scope| {
        let mut connections = Vec::new();
        for sequence in 1..=CLIENTS {
            let (stream, _) = listener.accept()?;
            connections.push(scope.spawn(move || {
                let seed = seed()?;
                let link = |now| Link::responder(config, sequence, &seed, now);
                let (connection, driver) = Connection::start(stream, link, serve)?;
                // The server calls its client, while that calls it.
                let name = connection.call("who am i", &[], TIMEOUT)?;
                assert_eq!(name, config.node_id().to_string().into_bytes());
                let closed = driver.join().map_err(|_| "a thread panicked")?;
                println!("server: link {sequence} ended: {closed}");
                Ok::<_, Error>(())
            }));
        }
        connections.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })
}

/// Dials the server, calls it from four threads at once, and says goodbye.
fn client(address: std::net::SocketAddr, config: &Arc<Config>, peer: NodeId) -> Result<(), Error> {
    let seed = seed()?;
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    let link = |now| Link::initiator(config, Dial::to(peer).sequence(1), &seed, now);
    let (connection, driver) = Connection::start(stream, link, serve)?;
    thread::scope(|scope| {
        let callers: Vec<_> = (0..4_u8)
            .map(|caller| {
                let connection = &connection;
                scope.spawn(move || {
                    for size in [10, 1000, 100_000] {
                        let body = vec![caller; size];
                        assert_eq!(connection.call("echo", &body, TIMEOUT)?, body);
                    }
                    Ok::<_, Error>(())
                })
            })
            .collect();
        callers.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })?;
    let refused =
        connection.call("no such thing", &[], TIMEOUT).err().ok_or("a service that is not there")?;
    println!("client: {refused}");
    connection.goodbye();
    let closed = driver.join().map_err(|_| "a thread panicked")?;
    println!("client: the link ended: {closed}");
    Ok(())
}

fn run() -> Result<(), Error> {
    // Nodes that know each other's ids.
    let key = SecretKey::from_seed(&seed()?);
    let server_id = key.node_id();
    let clients = (0..CLIENTS).map(|_| Ok(SecretKey::from_seed(&seed()?)));
    let clients = clients.collect::<Result<Vec<_>, Error>>()?;
    let trust = Trust::listed(clients.iter().map(Signer::node_id));
    let config = Config::builder(key, incarnation()?).trust(trust).build()?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        let server = scope.spawn(|| server(&listener, &config));
        let clients: Vec<_> = clients
            .into_iter()
            .map(|key| {
                scope.spawn(move || {
                    let config = Config::builder(key, incarnation()?).build()?;
                    client(address, &config, server_id)
                })
            })
            .collect();
        for thread in clients.into_iter().chain([server]) {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })
}

fn main() -> Result<(), Error> {
    run()
}
