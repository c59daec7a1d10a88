//! K7: the exporter, and the key log.

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use handclasp::Message;
use handclasp::crypto::CryptoError;
use handclasp_sim::{Pair, Side};

const SIDES: [Side; 2] = [Side::Initiator, Side::Responder];

/// The records of a stream of which this is what one side has written, the handshake left out.
fn traffic(mut log: &[u8], side: Side) -> Vec<Vec<u8>> {
    // Preamble and message, or message; and a record of the handshake.
    if side == Side::Initiator {
        log = &log[8..];
    }
    let mut records = Vec::new();
    while let Some((length, rest)) = log.split_first_chunk::<2>() {
        let (record, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
        records.push(record.to_vec());
        log = rest;
    }
    records.split_off(2)
}

fn open(key: &[u8; 32], counter: u64, record: &[u8]) -> Option<Vec<u8>> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    let cipher = ChaCha20Poly1305::new(&Key::from(*key));
    cipher.decrypt(&Nonce::from(nonce), record).ok()
}

#[test]
fn k7_logged_keys_open_what_was_captured_and_only_who_asked_has_them() {
    let mut pair = Pair::new();
    pair.link(Side::Responder).log_keys();
    pair.establish();
    for side in SIDES {
        pair.link(side).send(Message::new("a service", "words for one pair of ears")).expect("it is taken");
    }
    pair.run();
    assert!(pair.link(Side::Initiator).key_log().is_none(), "nobody asked for it");
    for (index, side) in SIDES.into_iter().enumerate() {
        let records = traffic(&pair.end(side).pipe.log, side);
        assert!(!records.is_empty());
        let log = pair.link(Side::Responder).key_log().expect("it was asked for");
        let key = log.traffic_keys[index].expose();
        let texts = records.iter().enumerate().map(|(counter, record)| open(key, counter as u64, record));
        let texts: Vec<Vec<u8>> = texts.map(|text| text.expect("it opens")).collect();
        assert!(texts.concat().windows(26).any(|window| window == b"words for one pair of ears"));
        let other = log.traffic_keys[1 - index].expose();
        assert!(open(other, 0, &records[0]).is_none(), "the keys of the two directions differ");
    }
}

#[test]
fn k7_keys_are_logged_for_who_asks_in_time_and_shown_to_nobody() {
    let mut pair = Pair::established();
    pair.link(Side::Initiator).log_keys();
    pair.run();
    assert!(pair.link(Side::Initiator).key_log().is_none(), "it is too late");
    let mut pair = Pair::new();
    pair.link(Side::Initiator).log_keys();
    assert!(pair.link(Side::Initiator).key_log().is_none(), "there are none yet");
    pair.establish();
    let link = pair.link(Side::Initiator);
    let log = link.key_log().expect("it was asked for");
    let shown = format!("{link:?} {log:?}");
    for key in &log.traffic_keys {
        let bytes: Vec<String> = key.expose()[..3].iter().map(ToString::to_string).collect();
        assert!(!shown.contains(&bytes.join(", ")), "{shown}");
        assert!(!shown.contains(&hex::encode(&key.expose()[..3])), "{shown}");
    }
}

#[test]
fn k7_what_is_exported_is_the_same_on_both_sides_and_differs_by_label_context_and_link() {
    let export = |pair: &mut Pair, side, label: &[u8], context: &[u8]| {
        let mut out = [0; 48];
        pair.link(side).export(label, context, &mut out).map(|()| out)
    };
    let mut pair = Pair::new();
    assert_eq!(export(&mut pair, Side::Initiator, b"l", b"c"), Err(CryptoError::OutOfTurn));
    pair.establish();
    let cases: [(&[u8], &[u8]); 4] =
        [(b"label", b"context"), (b"label", b""), (b"", b"context"), (b"labelc", b"ontext")];
    let mut seen = Vec::new();
    let mut other = Pair::seeded(
        &handclasp_sim::config(1, &[2]),
        &handclasp_sim::config(2, &[1]),
        Some(handclasp_sim::id(2)),
        77,
    );
    other.establish();
    for (label, context) in cases {
        let [one, two] = SIDES.map(|side| export(&mut pair, side, label, context).expect("it is open"));
        assert_eq!(one, two);
        seen.push(one);
        seen.push(export(&mut other, Side::Initiator, label, context).expect("it is open"));
    }
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
    let mut long = vec![0; 8161];
    assert_eq!(pair.link(Side::Initiator).export(b"l", b"c", &mut long), Err(CryptoError::BadLength));
    let bindings = SIDES.map(|side| pair.link(side).peer().expect("it is proved").channel_binding);
    assert_eq!(bindings[0], bindings[1]);
    assert_ne!(bindings[0], other.link(Side::Initiator).peer().expect("it is proved").channel_binding);
}
