//! K3, K4, K8: counters and keys while a link lives.

use std::sync::Mutex;
use std::time::Duration;

use handclasp::crypto::{Cipher, CryptoError, CryptoProvider, NONCE_LEN, RustCrypto, Secret, TAG_LEN};
use handclasp::{By, Limits, Message, Reason, RekeyPolicy};
use handclasp_sim::raw::{Raw, frame, send};
use handclasp_sim::watched::{At, Key, Tag, Watch, Watched};
use handclasp_sim::{Owned, Pair, Side};

use crate::support::{SIDES, ended, millis, pair_with, raw, raw_config, secs, take_events};

/// Writes down each key that is asked for, and each nonce that a key is used with.
#[derive(Debug, Default)]
struct Spy {
    keys: Mutex<Vec<[u8; 32]>>,
    uses: Mutex<Vec<Use>>,
}

/// Key, nonce, whether it was to seal.
type Use = ([u8; 32], [u8; NONCE_LEN], bool);

impl Spy {
    fn keys(&self) -> Vec<[u8; 32]> {
        self.keys.lock().expect("not poisoned").clone()
    }

    fn used(&self, key: &Key, nonce: &[u8; NONCE_LEN], seals: bool) {
        self.uses.lock().expect("not poisoned").push((*key.secret.expose(), *nonce, seals));
    }
}

impl Watch for Spy {
    fn cipher(&self, cipher: Cipher, secret: &Secret<32>) -> Result<Key, CryptoError> {
        self.keys.lock().expect("not poisoned").push(*secret.expose());
        Key::new(cipher, secret)
    }

    fn seal(&self, key: &Key, at: At, text: &mut [u8]) -> Result<Tag, CryptoError> {
        self.used(key, at.nonce, true);
        key.seal(at, text)
    }

    fn open(&self, key: &Key, at: At, text: &mut [u8], tag: &Tag) -> Result<(), CryptoError> {
        self.used(key, at.nonce, false);
        key.open(at, text, tag)
    }
}

fn rekeying(records: u64, bytes: u64, age: Duration) -> Pair {
    pair_with(|builder| builder.rekey(RekeyPolicy { records, bytes, age }))
}

fn rekeys(pair: &mut Pair, side: Side) -> (u64, u64) {
    let stats = pair.link(side).stats();
    (stats.rekeys_sent, stats.rekeys_received)
}

/// Sends a message one way and sees it arrive.
fn one_way(pair: &mut Pair, from: Side) {
    pair.link(from).send(Message::new("s", b"x")).expect("taken");
    pair.run();
    let came = pair.event(from.other());
    assert!(matches!(came, Some(Owned::Message { .. })), "{came:?}");
}

#[test]
fn k3_an_edited_record_ends_the_link_without_a_word() {
    for from in SIDES {
        // Every part of the record: length (made shorter), text, tag.
        for place in [1, 2, 9, 20, 30] {
            let mut pair = Pair::established();
            pair.link(from).send(Message::new("s", b"some body")).expect("taken");
            pair.act(from);
            let before = pair.link(from.other()).stats();
            let written = pair.end(from.other()).pipe.log.len();
            pair.end(from).pipe.bytes[place] ^= 1;
            pair.run();
            let closed = pair.closed(from.other());
            assert_eq!((closed.reason, closed.by), (Reason::DecryptFailed, By::Local), "byte {place}");
            let after = pair.link(from.other()).stats();
            assert_eq!(after.records_opened, before.records_opened, "the counter moved");
            assert_eq!(pair.end(from.other()).pipe.log.len(), written, "something was said");
            let events = take_events(&mut pair, from.other());
            assert!(matches!(&events[..], [Owned::Closed(_)]), "{events:?}");
        }
    }
}

#[test]
fn k3_a_record_again_or_out_of_order_or_reflected_does_not_open() {
    let mut again = raw();
    let record = again.sealed(&send("s", b"x"));
    again.feed(&record);
    assert_eq!(again.events.len(), 1);
    again.feed(&record);
    assert_eq!(ended(&again), Some(&Reason::DecryptFailed));
    let mut swapped = raw();
    let (first, second) = (swapped.sealed(&send("s", b"1")), swapped.sealed(&send("s", b"2")));
    swapped.feed(&[second, first].concat());
    assert_eq!(ended(&swapped), Some(&Reason::DecryptFailed));
    assert!(!swapped.events.iter().any(|event| matches!(event, Owned::Message { .. })));
    let mut pair = Pair::established();
    pair.initiator.link.send(Message::new("s", b"x")).expect("taken");
    pair.act(Side::Initiator);
    let own: Vec<u8> = pair.initiator.pipe.bytes.drain(..).collect();
    pair.inject(Side::Initiator, &own);
    assert_eq!(pair.closed(Side::Initiator).reason, Reason::DecryptFailed);
}

#[test]
fn k3_no_key_ever_seals_twice_under_one_nonce_and_directions_differ() {
    let spy = Watched::<Spy>::default();
    let mut pair = pair_with(|builder| {
        let policy = RekeyPolicy { records: 3, ..RekeyPolicy::default() };
        builder.provider(spy.clone()).rekey(policy)
    });
    for round in 0..20_u8 {
        for from in SIDES {
            assert!(matches!(pair.call(from, "s", &[round], &[round]), Owned::Reply { .. }));
        }
    }
    let uses = spy.uses.lock().expect("not poisoned");
    let mut sealed = std::collections::BTreeSet::new();
    let mut opened = std::collections::BTreeMap::new();
    for (key, nonce, seals) in uses.iter() {
        // The nonce that Noise reserves for the next key is used at both ends.
        let reserved = nonce[4..] == [0xff; 8];
        if *seals && !reserved {
            assert!(sealed.insert((*key, *nonce)), "a nonce was used twice");
        } else if !seals {
            let last = opened.insert(*key, *nonce);
            assert!(last.is_none_or(|last| last != *nonce));
        }
    }
    assert!(sealed.len() > 40);
}

#[test]
fn k4_keys_change_after_so_many_records() {
    for from in SIDES {
        let mut pair = rekeying(10, u64::MAX, Duration::MAX);
        let start = pair.link(from).stats().records_sealed;
        for sent in start + 1..=45 {
            one_way(&mut pair, from);
            assert_eq!(rekeys(&mut pair, from).0, sent / 10, "after {sent} records");
        }
        assert_eq!(rekeys(&mut pair, from.other()).1, 4);
    }
}

#[test]
fn k4_keys_change_after_so_many_bytes() {
    let mut pair = rekeying(u64::MAX, 10_000, Duration::MAX);
    for round in 1..=10 {
        pair.initiator.link.send(Message::new("s", vec![0; 5000])).expect("taken");
        pair.run();
        let (sent, _) = rekeys(&mut pair, Side::Initiator);
        assert!((round / 3..=round / 2).contains(&sent), "{sent} rekeys after {round} times 5000 bytes");
    }
    assert_eq!(rekeys(&mut pair, Side::Responder).0, 0, "the other direction has sent next to nothing");
}

#[test]
fn k4_keys_change_with_the_first_record_after_so_much_time() {
    // Pings are records as well: keep them away.
    let limits = Limits { idle: secs(600), ..Limits::default() };
    let policy = RekeyPolicy { records: u64::MAX, bytes: u64::MAX, age: secs(60) };
    let mut pair = pair_with(|builder| builder.limits(limits).rekey(policy.clone()));
    for _ in 0..6 {
        pair.pass(millis(9_999));
        one_way(&mut pair, Side::Initiator);
    }
    assert_eq!(rekeys(&mut pair, Side::Initiator).0, 0);
    pair.pass(millis(10));
    assert_eq!(rekeys(&mut pair, Side::Initiator).0, 0, "a record is needed to change the key with");
    one_way(&mut pair, Side::Initiator);
    assert_eq!(rekeys(&mut pair, Side::Initiator), (1, 0));
    assert_eq!(rekeys(&mut pair, Side::Responder).1, 1);
    one_way(&mut pair, Side::Initiator);
    assert_eq!(rekeys(&mut pair, Side::Initiator).0, 1);
}

#[test]
fn k4_a_request_changes_both_directions_once_however_often_it_is_made() {
    for side in SIDES {
        let mut pair = Pair::established();
        let now = pair.now;
        for _ in 0..10 {
            pair.link(side).rekey(now);
        }
        pair.run();
        assert_eq!(rekeys(&mut pair, side), (1, 1));
        assert_eq!(rekeys(&mut pair, side.other()), (1, 1));
        for from in SIDES {
            one_way(&mut pair, from);
        }
        // Asked again, it is done again.
        pair.link(side).rekey(now);
        pair.run();
        assert_eq!(rekeys(&mut pair, side), (2, 2));
    }
}

#[test]
fn k4_requests_from_both_sides_at_once_come_to_rest() {
    let mut pair = Pair::established();
    let now = pair.now;
    for side in SIDES {
        pair.link(side).rekey(now);
    }
    pair.run();
    for side in SIDES {
        let (sent, received) = rekeys(&mut pair, side);
        assert_eq!((sent, received), (2, 2), "each asks, and answers the other");
    }
    one_way(&mut pair, Side::Initiator);
}

#[test]
fn k4_at_most_one_request_is_unanswered() {
    let mut raw = raw();
    for _ in 0..5 {
        let now = raw.now;
        raw.link.rekey(now);
        raw.act();
    }
    let requests = raw.frames();
    let asked = requests.iter().filter(|frame| (frame.kind, &frame.body[..]) == (0x40, &[1]));
    assert_eq!(asked.count(), 1, "{requests:?}");
    // An answer makes room for the next request.
    raw.send(&frame(0x40, 0, [0]));
    raw.keys.traffic.seal.rekey(&RustCrypto).expect("the next key");
    let now = raw.now;
    raw.link.rekey(now);
    raw.act();
    let requests = raw.frames();
    assert!(matches!(&requests[..], [only] if only.kind == 0x40 && only.body == [1]), "{requests:?}");
}

/// The requests of REKEY frames that the link has sent; the last byte of each.
fn requests(raw: &mut Raw) -> Vec<u8> {
    let frames = raw.frames();
    frames.iter().filter(|frame| frame.kind == 0x40).flat_map(|frame| frame.body.clone()).collect()
}

/// The peer asks for a new key, and changes its own.
fn asked_by_the_peer(raw: &mut Raw) {
    raw.send(&frame(0x40, 0, [1]));
    raw.keys.traffic.seal.rekey(&RustCrypto).expect("the next key");
}

#[test]
fn k4_a_request_is_answered_whatever_the_owner_asks_for() {
    for owner_first in [false, true] {
        let mut raw = raw();
        raw.ready.write = false;
        let now = raw.now;
        if owner_first {
            raw.link.rekey(now);
        }
        asked_by_the_peer(&mut raw);
        raw.link.rekey(now);
        raw.ready.write = true;
        raw.act();
        assert_eq!(requests(&mut raw), [0, 1], "the answer, then the request");
    }
}

#[test]
fn k4_a_request_that_crosses_ones_own_is_no_answer_to_it() {
    let mut raw = raw();
    let now = raw.now;
    raw.link.rekey(now);
    raw.act();
    assert_eq!(requests(&mut raw), [1]);
    asked_by_the_peer(&mut raw);
    assert_eq!(requests(&mut raw), [0]);
    raw.link.rekey(now);
    raw.act();
    assert_eq!(requests(&mut raw), [0], "the first request waits for its answer still");
}

#[test]
fn k4_the_next_key_is_that_of_noise_and_the_old_one_opens_nothing_more() {
    let mut raw = raw();
    // The raw peer seals on under the old key: nothing of that is heard.
    raw.send(&frame(0x40, 0, [0]));
    raw.send(&send("s", b"under the old key"));
    assert_eq!(ended(&raw), Some(&Reason::DecryptFailed));
    // And the other direction: what the link seals behind its REKEY is not for the old key. A copy of that key is one
    // that is made from the same bytes, so two raw peers play the same link.
    let spy = Watched::<Spy>::default();
    let config = raw_config(|builder| builder.provider(spy.clone()));
    let mut raw = Raw::dialling(&config);
    let now = raw.now;
    raw.link.rekey(now);
    raw.act();
    raw.records();
    raw.link.send(Message::new("s", b"under the new key")).expect("taken");
    raw.act();
    let record = raw.out.clone();
    assert!(!raw.records().is_empty(), "the new key opens it");
    let counter = raw.keys.traffic.open.counter() - 1;
    let (text, tag) = record[2..].split_last_chunk::<TAG_LEN>().expect("a tag");
    let mut nonce = [0; NONCE_LEN];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    let keys = spy.keys();
    let opens = |key: &[u8; 32]| {
        let key = RustCrypto.cipher(handclasp::crypto::Suite::NnChaChaPoly.cipher(), &Secret::new(*key));
        key.expect("a key").open(&nonce, &[], &mut text.to_vec(), tag).is_ok()
    };
    let opening: Vec<usize> = (0..keys.len()).filter(|number| opens(&keys[*number])).collect();
    assert_eq!(opening, [keys.len() - 1], "only the newest of {} keys opens it", keys.len());
}

#[test]
fn k4_traffic_goes_on_while_keys_change() {
    let mut pair = rekeying(2, u64::MAX, Duration::MAX);
    pair.chunk = 700;
    let now = pair.now;
    let body = |number: usize| vec![number as u8; number * 997 % 40_000];
    for number in 0..60 {
        for from in SIDES {
            pair.link(from).send(Message::new("s", body(number))).expect("taken");
            if number % 7 == 0 {
                pair.link(from).rekey(now);
            }
            pair.step();
        }
    }
    pair.run();
    for side in SIDES {
        let events = take_events(&mut pair, side);
        assert_eq!(events.len(), 60);
        for (number, event) in events.into_iter().enumerate() {
            assert!(matches!(event, Owned::Message { body: came, .. } if came == body(number)));
        }
        let (sent, received) = rekeys(&mut pair, side);
        assert!(sent > 20 && received > 20, "{sent} {received}");
    }
    assert_eq!(pair.now, now, "no time was needed");
}

#[test]
fn k4_rekeying_with_every_record_still_comes_to_rest() {
    for records in [0, 1] {
        let mut pair = rekeying(records, u64::MAX, Duration::MAX);
        one_way(&mut pair, Side::Initiator);
        assert!(matches!(pair.call(Side::Responder, "s", b"q", b"a"), Owned::Reply { .. }));
    }
}

#[test]
fn k8_the_counters_agree_with_what_happened_and_with_each_other() {
    let mut pair = Pair::established();
    let now = pair.now;
    for number in 0..10 {
        for from in SIDES {
            pair.link(from).send(Message::new("s", vec![0; number * 3000])).expect("taken");
            pair.run();
        }
    }
    for side in SIDES {
        take_events(&mut pair, side);
    }
    assert!(matches!(pair.call(Side::Initiator, "s", b"q", b"a"), Owned::Reply { .. }));
    pair.initiator.link.rekey(now);
    pair.run();
    let (one, other) = (pair.initiator.link.stats(), pair.responder.link.stats());
    for (from, to, pipe) in [(one, other, &pair.initiator.pipe), (other, one, &pair.responder.pipe)] {
        assert_eq!(from.bytes_sent, pipe.log.len() as u64);
        assert_eq!(from.bytes_sent, to.bytes_received);
        assert_eq!(from.records_sealed, to.records_opened);
        assert_eq!((from.messages_sent, to.messages_received), (11, 11));
        assert_eq!((from.rekeys_sent, to.rekeys_received), (1, 1));
        assert_eq!((from.unknown_replies, from.unknown_pongs, from.expired_calls), (0, 0, 0));
    }
    // Traffic records are all that is behind the handshake.
    let records = |log: &[u8], mut at: usize| {
        let mut count = 0;
        while at < log.len() {
            at += 2 + usize::from(u16::from_be_bytes([log[at], log[at + 1]]));
            count += 1;
        }
        count
    };
    // preamble, msg1, AUTH; msg2, AUTH.
    assert_eq!(records(&pair.initiator.pipe.log, 8) - 2, one.records_sealed);
    assert_eq!(records(&pair.responder.pipe.log, 0) - 2, other.records_sealed);
}
