//! What can be seen from inside only: counters near their end, padding, and how small an idle link is.

mod alive;
mod downgrade;
mod managed;
mod nodes;
mod standing;
mod streams;
mod words;

use alloc::sync::Arc;
use core::time::Duration;

use super::{Action, Dial, Link, Message, Ready};
use crate::config::{Config, ConfigBuilder, Padding, Trust};
use crate::crypto::TAG_LEN;
use crate::error::{By, Reason};
use crate::identity::{SecretKey, Signer};
use crate::{Instant, Seed};

fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes([number; 32])
}

fn builder(own: u8, other: u8) -> ConfigBuilder {
    Config::builder(key(own), own.into()).trust(Trust::listed([key(other).node_id()]))
}

/// Moves everything that `from` has to say to `to`, and returns the lengths of the writes.
fn carry(from: &mut Link, to: &mut Link, now: Instant) -> alloc::vec::Vec<usize> {
    let mut writes = alloc::vec::Vec::new();
    loop {
        match from.poll(now, Ready::ALL) {
            Action::Event(_) => {}
            Action::Send => {
                let mut bytes = from.transmit(now).to_vec();
                from.transmitted(bytes.len(), now);
                writes.push(bytes.len());
                while !bytes.is_empty() {
                    let space = to.recv_space();
                    let count = space.len().min(bytes.len());
                    if count == 0 {
                        break;
                    }
                    space[..count].copy_from_slice(&bytes[..count]);
                    to.received(count, now);
                    bytes.drain(..count);
                }
            }
            Action::Timeout(_) => return writes,
        }
    }
}

fn established(initiator: &Arc<Config>, responder: &Arc<Config>) -> (Link, Link, Instant) {
    let now = Instant::ZERO;
    let mut a = Link::initiator(initiator, Dial::to(key(2).node_id()), &Seed::new([1; 32]), now);
    let mut b = Link::responder(responder, 1, &Seed::new([2; 32]), now);
    #[cfg(feature = "key-log")]
    {
        a.log_keys();
        b.log_keys();
    }
    for _ in 0..3 {
        carry(&mut a, &mut b, now);
        carry(&mut b, &mut a, now);
    }
    assert!(a.phase().is_open() && b.phase().is_open(), "{a:?} {b:?}");
    (a, b, now)
}

fn pair() -> (Link, Link, Instant) {
    established(&builder(1, 2).build().unwrap(), &builder(2, 1).build().unwrap())
}

#[test]
fn k3_a_link_ends_before_its_counter_does() {
    let (mut a, mut b, now) = pair();
    for link in [&mut a, &mut b] {
        let session = link.session.as_mut().unwrap();
        let provider = &crate::crypto::RustCrypto;
        let key = crate::crypto::Secret::new([9; 32]);
        let cipher = crate::crypto::Cipher::ChaChaPoly;
        // The two last counters that may be used: 2⁶⁴ − 1 is kept for rekeying.
        session.seal =
            crate::crypto::cipher::SealKey::new(provider, cipher, &key).unwrap().with_counter(u64::MAX - 2);
        session.open =
            crate::crypto::cipher::OpenKey::new(provider, cipher, &key).unwrap().with_counter(u64::MAX - 2);
    }
    a.send(Message::new("s", b"one")).unwrap();
    carry(&mut a, &mut b, now);
    assert_eq!(b.stats().messages_received, 1);
    a.send(Message::new("s", b"two")).unwrap();
    assert_eq!(carry(&mut a, &mut b, now).len(), 1, "the last counter carries the reason");
    carry(&mut b, &mut a, now);
    assert_eq!(b.stats().messages_received, 1);
    for (link, by) in [(&mut a, By::Local), (&mut b, By::Peer)] {
        let closed = link.closed().unwrap();
        assert_eq!((&closed.reason, closed.by), (&Reason::CounterExhausted, by));
    }
    assert_eq!(a.take_unsent().map(|unsent| unsent.body), Some(bytes::Bytes::from_static(b"two")));
}

#[test]
fn padding_hides_lengths_on_the_wire() {
    let padded = builder(1, 2).padding(Padding::Block(512)).build().unwrap();
    let (mut a, mut b, now) = established(&padded, &builder(2, 1).build().unwrap());
    for length in [0, 1, 100, 400, 491, 492, 493, 600, 1000] {
        a.send(Message::new("s", &alloc::vec![7; length][..])).unwrap();
        let writes = carry(&mut a, &mut b, now);
        assert_eq!(writes.len(), 1);
        assert_eq!((writes[0] - 2 - TAG_LEN) % 512, 0, "a body of {length} bytes");
    }
    assert_eq!(b.stats().messages_received, 9);
    let padme = builder(1, 2).padding(Padding::Padme).build().unwrap();
    let (mut a, mut b, now) = established(&padme, &builder(2, 1).build().unwrap());
    let mut lengths = alloc::collections::BTreeSet::new();
    for length in 2000..2100 {
        a.send(Message::new("s", &alloc::vec![7; length][..])).unwrap();
        lengths.extend(carry(&mut a, &mut b, now));
    }
    assert!(lengths.len() <= 3, "a hundred lengths look like {lengths:?}");
    // A body that fills whole records is not made longer than a record.
    a.send(Message::new("s", &alloc::vec![7; 200_000][..])).unwrap();
    carry(&mut a, &mut b, now);
    assert_eq!(b.stats().messages_received, 101);
}

#[test]
fn an_idle_link_gives_its_buffers_back() {
    let (mut a, mut b, mut now) = pair();
    a.send(Message::new("s", &alloc::vec![7; 1 << 20][..])).unwrap();
    carry(&mut a, &mut b, now);
    assert!(b.recv.capacity() >= 32 << 10, "a busy link reads in large pieces");
    carry(&mut b, &mut a, now);
    now = now + Duration::from_secs(15);
    for _ in 0..2 {
        carry(&mut a, &mut b, now);
        carry(&mut b, &mut a, now);
    }
    for link in [&a, &b] {
        assert!(
            link.recv.capacity() + link.send.capacity() <= 4096,
            "{} {}",
            link.recv.capacity(),
            link.send.capacity()
        );
    }
    assert!(size_of::<Link>() <= 1024, "{}", size_of::<Link>());
}

/// Roughly how many bytes the queues of a link hold, in use or not: their `Debug` text shows each.
fn held(link: &Link) -> usize {
    alloc::format!("{:?}", link.session.as_ref().unwrap().lanes).len()
}

/// Writes as much as credit allows, to nobody.
fn write_all(link: &mut Link, now: Instant) {
    loop {
        let count = link.transmit(now).len();
        link.transmitted(count, now);
        if count == 0 {
            return;
        }
    }
}

/// A link whose window is used up, so that a message of 5000 bytes waits, and what it is given behind it; and
/// the time.
fn waiting() -> (Link, Instant) {
    let (mut a, _, now) = pair();
    for length in [1 << 20; 3].into_iter().chain([5000; 1000]) {
        a.send(Message::new("s", alloc::vec![7; length])).unwrap();
        write_all(&mut a, now);
        if a.queued() > 0 {
            assert_eq!(a.queued(), 5000 + 1 + 64);
            return (a, now);
        }
    }
    unreachable!("a window without an end");
}

#[test]
fn m8_calls_that_are_over_keep_no_bytes_behind_a_message_that_waits() {
    let body = alloc::vec![7; 100_000];
    for cancels in [true, false] {
        let (mut a, mut now) = waiting();
        let (queued, before) = (a.queued(), held(&a));
        for round in 0..30 {
            let call = a.call(Message::new("c", &body[..]), Duration::from_millis(10), now).unwrap();
            assert!(held(&a) > body.len(), "the measure does measure");
            if cancels {
                a.cancel(call, now);
            } else {
                now = now + Duration::from_millis(20);
            }
            while let Action::Event(_) = a.poll(now, Ready::EVENTS) {}
            assert_eq!((a.queued(), a.calls_in_flight()), (queued, (0, 0)), "round {round}");
            assert!(held(&a) <= before + 100, "{} bytes are held, {before} before", held(&a));
        }
    }
}

#[test]
fn m8_calls_given_up_in_any_order_leave_the_others_as_they_were() {
    let (mut a, now) = waiting();
    let queued = a.queued();
    let mut calls = alloc::vec::Vec::new();
    for number in 0..40_u8 {
        a.send(Message::new("left", &[number; 100][..])).unwrap();
        let body = alloc::vec![0xaa; 50 * usize::from(number)];
        let message = match number % 2 {
            0 => Message::new("call", &body[..]),
            _ => Message::new("call", body.clone()),
        };
        calls.push(a.call(message, Duration::from_secs(5), now).unwrap());
    }
    // Every third, then every third from behind, then the rest.
    for start in [0, 2, 1] {
        for at in (start..40).step_by(3) {
            a.cancel(calls[at], now);
        }
    }
    assert_eq!(a.queued(), queued + 40 * (100 + 4 + 64));
    a.close(now);
    let mut unsent = alloc::vec::Vec::new();
    while let Some(message) = a.take_unsent() {
        unsent.push(message);
    }
    let (first, rest) = unsent.split_first().unwrap();
    assert_eq!((first.service.as_str(), first.body.len(), rest.len()), ("s", 5000, 40));
    for (number, message) in rest.iter().enumerate() {
        assert_eq!(message.service, "left");
        assert!(message.body.len() == 100 && message.body.iter().all(|byte| usize::from(*byte) == number));
    }
}

#[test]
fn m8_nothing_is_held_of_what_was_sent_once_the_rest_is_given_up() {
    let (mut a, _, now) = pair();
    let empty = held(&a);
    for _ in 0..3 {
        a.send(Message::new("s", alloc::vec![7; 1 << 20])).unwrap();
        write_all(&mut a, now);
    }
    // These still have credit, the call behind them has not.
    let body = alloc::vec![7; 500_000];
    for _ in 0..4 {
        a.send(Message::new("s", &body[..100_000])).unwrap();
        write_all(&mut a, now);
    }
    let call = a.call(Message::new("c", &body[..]), Duration::from_secs(5), now).unwrap();
    write_all(&mut a, now);
    assert_eq!(a.queued(), 500_000 + 1 + 64);
    a.cancel(call, now);
    assert_eq!(a.queued(), 0);
    assert!(held(&a) <= empty + 100, "{} where {empty} is nothing", held(&a));
}

#[cfg(feature = "key-log")]
#[test]
fn k7_the_key_log_is_the_same_on_both_sides_and_shows_nothing_by_itself() {
    let (a, b, _) = pair();
    let (a, b) = (a.key_log().unwrap(), b.key_log().unwrap());
    assert_eq!(a.handshake_hash, b.handshake_hash);
    for (ours, theirs) in a.traffic_keys.iter().zip(&b.traffic_keys) {
        assert_eq!(ours.expose(), theirs.expose());
    }
    assert_ne!(a.traffic_keys[0].expose(), a.traffic_keys[1].expose());
    let shown = alloc::format!("{a:?}");
    let first = alloc::format!("{:?}", &a.traffic_keys[0].expose()[..4]);
    assert!(!shown.contains(first.trim_matches(['[', ']'])), "{shown}");
}
