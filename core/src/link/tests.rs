//! What can be seen from inside only: counters near their end, padding, and how small an idle link is.

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
