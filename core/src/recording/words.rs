//! What a node says to its links, and refusals, as they are recorded.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use super::BadRecording;
use super::bytes::{Cursor, LONGEST, Writer};
use super::input::{Blob, get_post, put_post};
use crate::error::Reason;
use crate::hello::VersionRange;
use crate::link::Envelope;
use crate::node::ToLink;
use crate::refusal::Refusal;

pub(crate) fn put_refusal(refusal: &Refusal, out: &mut Writer) {
    out.number(refusal.code().into());
    match refusal {
        Refusal::OverCapacity { retry_after } => out.duration(*retry_after),
        Refusal::Incompatible { ours, theirs } => {
            for version in [ours.min(), ours.max(), theirs.min(), theirs.max()] {
                out.number(version.into());
            }
        }
        Refusal::MissingCapability { names } => {
            out.length(names.len());
            for name in names {
                out.string(name.as_bytes());
            }
        }
        _ => {}
    }
}

pub(crate) fn get_refusal(from: &mut Cursor<'_>) -> Result<Refusal, BadRecording> {
    let range = |from: &mut Cursor<'_>| {
        VersionRange::new(from.small()?, from.small()?)
            .map_err(|_| BadRecording::Malformed("an empty range of versions"))
    };
    Ok(match from.number()? {
        20 => Refusal::OverCapacity { retry_after: from.duration()? },
        21 => Refusal::Incompatible { ours: range(from)?, theirs: range(from)? },
        22 => Refusal::Denied,
        23 => {
            let mut names = Vec::new();
            for _ in 0..from.length()? {
                names.push(from.text()?);
            }
            Refusal::MissingCapability { names }
        }
        24 => Refusal::Alive,
        25 => Refusal::Simultaneous,
        26 => Refusal::SelfConnection,
        27 => Refusal::WrongDestination,
        28 => Refusal::Registry,
        29 => Refusal::ShuttingDown,
        30 => Refusal::OtherProtocol,
        _ => return Err(BadRecording::Malformed("no such refusal")),
    })
}

/// Writes a node's word to its link.
pub(crate) fn put_word(word: &ToLink, exact: bool, out: &mut Writer) {
    match word {
        ToLink::Admit { simultaneous } => {
            out.byte(0);
            out.flag(*simultaneous);
        }
        ToLink::Refuse(refusal) => {
            out.byte(1);
            put_refusal(refusal, out);
        }
        ToLink::AskAlive => out.byte(2),
        ToLink::AnswerAlive { go_on } => {
            out.byte(3);
            out.flag(*go_on);
        }
        ToLink::Probe => out.byte(4),
        // A node ends its links for no reason that has more to say than its code.
        ToLink::Close(reason) => {
            out.byte(5);
            out.number(reason.code().into());
        }
        ToLink::Goodbye { code, detail } => {
            out.byte(6);
            out.number((*code).into());
            goodbye_text(detail).put(exact, out);
        }
        ToLink::Permanence(own) => {
            out.byte(7);
            out.flag(*own);
        }
        ToLink::Advert(advert) => {
            out.byte(8);
            Blob::of(advert).put(exact, out);
        }
        ToLink::AckAdvert { version } => {
            out.byte(9);
            out.number(*version);
        }
        ToLink::Deliver(envelopes) => {
            out.byte(10);
            out.length(envelopes.len());
            out.sum(envelopes.iter().map(|envelope| envelope.body.len()).sum());
            for envelope in envelopes {
                put_post(&envelope.into(), exact, out);
            }
        }
    }
}

/// Reads what [`put_word`] wrote.
pub(crate) fn get_word(exact: bool, from: &mut Cursor<'_>) -> Result<ToLink, BadRecording> {
    Ok(match from.byte()? {
        0 => ToLink::Admit { simultaneous: from.flag()? },
        1 => ToLink::Refuse(get_refusal(from)?),
        2 => ToLink::AskAlive,
        3 => ToLink::AnswerAlive { go_on: from.flag()? },
        4 => ToLink::Probe,
        5 => ToLink::Close(match from.number()? {
            2 => Reason::Idle,
            3 => Reason::Superseded,
            4 => Reason::Revoked,
            5 => Reason::Dropped,
            6 => Reason::DrainTimeout,
            12 => Reason::PeerDead,
            14 => Reason::HandshakeTimeout,
            15 => Reason::NotReady,
            _ => return Err(BadRecording::Malformed("a reason that no node ends a link for")),
        }),
        6 => ToLink::Goodbye { code: from.small()?, detail: Blob::get(exact, from)?.to_text() },
        7 => ToLink::Permanence(from.flag()?),
        8 => ToLink::Advert(Bytes::from(Blob::get(exact, from)?.to_vec())),
        9 => ToLink::AckAdvert { version: from.number()? },
        10 => {
            let (mut envelopes, mut sum) = (Vec::new(), 0);
            for _ in 0..from.length()? {
                let post = get_post(exact, from)?;
                sum += post.body.bytes.len();
                if sum > LONGEST {
                    return Err(BadRecording::Malformed("messages of more than 256 MiB in all"));
                }
                envelopes.push(Envelope {
                    service: post.service.to_string(),
                    body: post.body.bytes.to_vec().into(),
                    signed: post.body.signed,
                    priority: post.priority,
                    expires: post.expires,
                    unordered: post.unordered,
                });
            }
            ToLink::Deliver(envelopes)
        }
        _ => return Err(BadRecording::Malformed("a node's word that this version does not know")),
    })
}

/// The text of a goodbye, as far as a link takes it: blanked text has no characters that a cut would respect.
pub(crate) fn goodbye_text(detail: &str) -> Blob<'_> {
    const MOST: usize = crate::wire::reason::MAX_DETAIL;
    let end = (0..=MOST.min(detail.len())).rev().find(|end| detail.is_char_boundary(*end));
    Blob::of(end.and_then(|end| detail.get(..end)).unwrap_or_default().as_bytes())
}
