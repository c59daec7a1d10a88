//! A close reason's bytes, `code ‖ detail`, as they stand in CLOSE and in an initiator's REFUSE (docs/wire.md
//! §10).

use alloc::string::ToString;
use alloc::vec::Vec;

use super::reader::{Malformed, Reader};
use super::refusal;
use crate::error::{Reason, Violation};
use crate::identity::NodeId;
use crate::phase::Phase;

/// The longest text of a goodbye in bytes.
pub(crate) const MAX_DETAIL: usize = 255;

/// Whether a reason is told to the peer at all. The others either blame the stream, or would tell a forger
/// something.
pub(crate) const fn is_sent(reason: &Reason) -> bool {
    !matches!(
        reason,
        Reason::Truncated
            | Reason::Transport
            | Reason::PeerDead
            | Reason::WriteStalled
            | Reason::HandshakeTimeout
            | Reason::BadSignature
            | Reason::SignerFailed
            | Reason::ProviderFailed
            | Reason::DecryptFailed
    )
}

/// Appends a reason that [`is_sent`].
pub(crate) fn emit(reason: &Reason, out: &mut Vec<u8>) {
    match reason {
        Reason::Refused(refused) => refusal::emit(refused, out),
        Reason::Goodbye { code, detail } => {
            out.extend_from_slice(&reason.code().to_be_bytes());
            out.extend_from_slice(&code.to_be_bytes());
            out.extend_from_slice(detail.as_bytes());
        }
        _ => out.extend_from_slice(&reason.code().to_be_bytes()),
    }
}

/// Reads a reason as the receiver sees it. `own` is the receiver's id, `phase` its phase.
pub(crate) fn parse(bytes: &[u8], own: NodeId, phase: Phase) -> Result<Reason, Malformed> {
    let mut reader = Reader::new(bytes);
    Ok(match reader.u16()? {
        1 => {
            let code = reader.u32()?;
            let detail = reader.rest();
            if detail.len() > MAX_DETAIL {
                return Err(Malformed::new("goodbye: text over 255 bytes"));
            }
            let detail =
                core::str::from_utf8(detail).map_err(|_| Malformed::new("goodbye: text is not UTF-8"))?;
            Reason::Goodbye { code, detail: detail.to_string() }
        }
        2 => Reason::Idle,
        3 => Reason::Superseded,
        4 => Reason::Revoked,
        5 => Reason::Dropped,
        6 => Reason::DrainTimeout,
        15 => Reason::NotReady,
        20..=30 => Reason::Refused(refusal::parse(bytes)?.mirrored()),
        40 => Reason::WrongPeer { expected: own, got: None },
        45 => Reason::Downgrade,
        50 => Reason::Violation(Violation { phase, what: Malformed::new("reported by the peer") }),
        52 => Reason::TooLarge,
        53 => Reason::FlowControl,
        54 => Reason::CounterExhausted,
        55 => Reason::Flood,
        _ => return Err(Malformed::new("close: a reason that is never sent")),
    })
}
