//! Signed messages, and the windows that remember them.

use bytes::Bytes;
use handclasp::NodeId;
use handclasp::signed::{Audience, Content, InvalidSigned, NotFresh, ReplayWindows, SignedMessage, WINDOW};

use crate::transparent::{Stamp, Transparent, WRONG};

/// Reads messages, each behind `u16(length)`. Each has one form. Those that verify come to one store, twice: it takes
/// none twice, and none of what is over.
pub(crate) fn run(mut data: &[u8]) {
    let (mut windows, mut taken) = (ReplayWindows::new(4, 2), Vec::<SignedMessage>::new());
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*length))));
        data = rest;
        let Some(message) = checked(bytes) else { continue };
        let (origin, audience) = (message.origin(), message.audience().clone());
        let (epoch, sequence) = (message.epoch(), message.sequence());
        let same = |other: &&SignedMessage| other.origin() == origin && *other.audience() == audience;
        let before = taken.iter().filter(same).map(|other| (other.epoch(), other.sequence())).max();
        let came = |other: &SignedMessage| (other.epoch(), other.sequence()) == (epoch, sequence);
        let came = taken.iter().filter(same).any(came);
        let fresh = windows.admit(&origin, &audience, epoch, sequence);
        match (fresh, before) {
            (Ok(()), None) => assert!(!came),
            (Ok(()), Some((newest, highest))) => {
                assert!(!came && epoch >= newest);
                assert!(epoch > newest || highest.saturating_sub(sequence) < WINDOW);
            }
            (Err(NotFresh::Seen), _) => assert!(came),
            (Err(NotFresh::OldEpoch), before) => assert!(before.is_some_and(|(newest, _)| epoch < newest)),
            (Err(NotFresh::TooOld), before) => {
                let far = |(newest, highest): (u64, u64)| epoch == newest && highest - sequence >= WINDOW;
                assert!(before.is_some_and(far));
            }
            (Err(_), before) => assert!(before.is_none(), "a pair that has a window needs no room"),
        }
        assert!(windows.admit(&origin, &audience, epoch, sequence).is_err());
        assert!(windows.len() <= 4);
        if fresh.is_ok() {
            taken.push(message);
        }
    }
}

/// The message in these bytes, if they are one that is signed by a valid id to somebody.
fn checked(bytes: &[u8]) -> Option<SignedMessage> {
    let unverified = SignedMessage::parse(Bytes::copy_from_slice(bytes)).ok()?;
    let origin = NodeId::from_bytes(*unverified.origin().as_bytes());
    let signature = *bytes.last_chunk::<64>().expect("a signature");
    let message = match unverified.verify(&Transparent) {
        Ok(message) => message,
        Err(InvalidSigned::BadSignature) => {
            assert_eq!(signature[0], WRONG);
            return None;
        }
        Err(why) => {
            let audience: Option<[u8; 32]> = bytes.get(52..84).and_then(|id| id.try_into().ok());
            let node = bytes.get(1) == Some(&0);
            let nobody = node && audience.is_some_and(|id| NodeId::from_bytes(id).is_err());
            assert!(matches!(why, InvalidSigned::NotAnId(_)) && (origin.is_err() || nobody), "{why}");
            return None;
        }
    };
    assert_eq!(Ok(message.origin()), origin);
    if let Audience::Topic(topic) = message.audience() {
        assert!((1..=255).contains(&topic.len()), "a topic of {} bytes", topic.len());
    }
    let body = message.body();
    let content = Content {
        audience: message.audience().clone(),
        service: message.service(),
        epoch: message.epoch(),
        sequence: message.sequence(),
        body: &body,
    };
    let stamp = Stamp { id: message.origin(), signature };
    let again = SignedMessage::sign(&content, &stamp, &Transparent).expect("what was read can be written");
    assert_eq!(again.bytes(), bytes, "{message:?}");
    Some(message)
}
