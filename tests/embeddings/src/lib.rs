//! Two nodes in one program without sockets, clock, threads or operating system: the least that a link needs.
//!
//! `tests/embeddings/wasm` runs this in a WebAssembly module, `tests/no-std` in a program without the
//! standard library.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;
use core::time::Duration;

use handclasp::crypto::{CryptoError, CryptoProvider, RustCrypto};
use handclasp::{
    Action, CallError, Closed, Config, ConfigError, Dial, Event, Instant, Link, Message, Phase, Ready,
    Reason, SecretKey, Seed, ServiceError, Signer, Trust, Why,
};

/// The code of docs/embedding.md is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
struct Embedding;

/// How far a round moves the clock. What gets stuck is ended by the links' own deadlines, a few thousand
/// rounds later.
const TICK: Duration = Duration::from_millis(1);

const TIMEOUT: Duration = Duration::from_secs(5);

/// Why an exchange came to nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// A key could not be drawn from the seed.
    Crypto(CryptoError),
    /// A configuration is none.
    Config(ConfigError),
    /// A call was not taken.
    Refused(Why),
    /// A call was not answered.
    Failed(CallError),
    /// A call was answered with something else than its answer.
    WrongAnswer,
    /// A link ended otherwise than by the goodbye.
    Closed(Box<Closed>),
}

/// Links two nodes, has one call the other `calls` times, one call after the other, and says goodbye. Returns
/// how many calls were answered as they should be. `seed` is all the randomness there is: the same seed gives
/// the same run.
///
/// # Errors
/// [`Failure`] says what went wrong first.
pub fn answered_calls(seed: [u8; 32], calls: u32) -> Result<u32, Failure> {
    // One secret gives all others; the labels keep them apart. Each link has a seed of its own.
    let draw = |label: &str| {
        let mut bytes = [0; 32];
        RustCrypto.hkdf_sha256(b"two nodes in memory", &seed, &[label.as_bytes()], &mut bytes)?;
        Ok(Seed::new(bytes))
    };
    let draw = |label| draw(label).map_err(Failure::Crypto);
    let (anna, ben) = (SecretKey::from_seed(&draw("anna")?), SecretKey::from_seed(&draw("ben")?));
    let (anna_id, ben_id) = (anna.node_id(), ben.node_id());
    let anna = Config::builder(anna, 1).trust(Trust::listed([ben_id])).build().map_err(Failure::Config)?;
    let ben = Config::builder(ben, 1).trust(Trust::listed([anna_id])).build().map_err(Failure::Config)?;

    let mut now = Instant::ZERO;
    let mut caller = Link::initiator(&anna, Dial::to(ben_id).sequence(1), &draw("anna's link")?, now);
    let mut server = Link::responder(&ben, 1, &draw("ben's link")?, now);
    let mut answered = 0;
    while !(caller.is_finished() && server.is_finished()) {
        call(&mut caller, &mut server, now, calls, &mut answered)?;
        serve(&mut server, &mut caller, now)?;
        now = now + TICK;
    }
    Ok(answered)
}

/// Moves the caller as far as it goes.
fn call(
    link: &mut Link,
    peer: &mut Link,
    now: Instant,
    calls: u32,
    answered: &mut u32,
) -> Result<(), Failure> {
    loop {
        match link.poll(now, Ready::ALL) {
            Action::Event(Event::Established(_)) => {}
            Action::Event(Event::Reply { body, .. }) => {
                if body[..] != answer(&answered.to_be_bytes()) {
                    return Err(Failure::WrongAnswer);
                }
                *answered += 1;
            }
            Action::Event(Event::CallFailed { error, .. }) => return Err(Failure::Failed(error)),
            Action::Event(Event::Closed(closed)) => return check(closed),
            Action::Event(_) => continue,
            Action::Send => {
                if carry(link, peer, now) == 0 {
                    return Ok(());
                }
                continue;
            }
            Action::Timeout(_) => return Ok(()),
        }
        if *answered < calls {
            let message = Message::new("invert", answered.to_be_bytes().to_vec());
            link.call(message, TIMEOUT, now).map_err(|rejected| Failure::Refused(rejected.why))?;
        } else {
            link.goodbye(0, "that was all", now);
        }
    }
}

/// Moves the side that answers as far as it goes.
fn serve(link: &mut Link, peer: &mut Link, now: Instant) -> Result<(), Failure> {
    loop {
        match link.poll(now, Ready::ALL) {
            Action::Event(Event::Call { token, request, .. }) => {
                let answer = match request.service {
                    "invert" => Ok(answer(&request.body).into()),
                    _ => Err(ServiceError::NoSuchService),
                };
                link.reply(token, answer).map_err(|rejected| Failure::Refused(rejected.why))?;
            }
            Action::Event(Event::Closed(closed)) => return check(closed),
            Action::Event(_) => {}
            Action::Send => {
                if carry(link, peer, now) == 0 {
                    return Ok(());
                }
            }
            Action::Timeout(_) => return Ok(()),
        }
    }
}

/// The one service: the body with its bits turned round.
fn answer(body: &[u8]) -> alloc::vec::Vec<u8> {
    body.iter().map(|byte| !byte).collect()
}

/// Carries bytes from one link to the other, without a buffer in between; returns how many there was room
/// for.
fn carry(from: &mut Link, to: &mut Link, now: Instant) -> usize {
    let bytes = from.transmit(now);
    // Behind the end of its reader, a stream takes bytes to nowhere.
    let mut taken = bytes.len();
    if to.phase() != Phase::Closed {
        let room = to.recv_space();
        taken = taken.min(room.len());
        if let (Some(room), Some(bytes)) = (room.get_mut(..taken), bytes.get(..taken)) {
            room.copy_from_slice(bytes);
        }
        to.received(taken, now);
    }
    from.transmitted(taken, now);
    taken
}

/// Whether a link ended as it should.
fn check(closed: &Closed) -> Result<(), Failure> {
    match closed.reason {
        Reason::Goodbye { .. } => Ok(()),
        _ => Err(Failure::Closed(Box::new(closed.clone()))),
    }
}
