//! A refusal's bytes (docs/wire.md §3.7), as they stand in REFUSE, in STATUS and in CLOSE.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::Malformed;
use super::hello::{label, put_prefixed_u8, version_range};
use super::reader::Reader;
use crate::hello::{MAX_LABEL, VersionRange};
use crate::refusal::Refusal;

/// The most bytes of a refusal that [`emit`] writes: with what stands around it, it fits a record of the
/// handshake.
pub const MAX_REFUSAL: usize = 4000;

/// Reads a refusal, as its sender sees it: [`Refusal::mirrored`] is the receiver's view. Bytes behind the
/// detail are ignored.
///
/// # Errors
/// [`Malformed`] for an unknown code, or a detail that ends early or breaks its form.
pub fn parse(bytes: &[u8]) -> Result<Refusal, Malformed> {
    let mut reader = Reader::new(bytes);
    Ok(match reader.u16()? {
        20 => Refusal::OverCapacity { retry_after: Duration::from_millis(reader.u32()?.into()) },
        21 => {
            Refusal::Incompatible { ours: version_range(&mut reader)?, theirs: version_range(&mut reader)? }
        }
        22 => Refusal::Denied,
        23 => Refusal::MissingCapability { names: names(&mut reader)? },
        24 => Refusal::Alive,
        25 => Refusal::Simultaneous,
        26 => Refusal::SelfConnection,
        27 => Refusal::WrongDestination,
        28 => Refusal::Registry,
        29 => Refusal::ShuttingDown,
        30 => Refusal::OtherProtocol,
        _ => return Err(Malformed::new("unknown code of a refusal")),
    })
}

/// Appends `refusal` to `out`, in at most [`MAX_REFUSAL`] bytes.
///
/// What a detail cannot say is left out rather than refused, since a refusal must always be sayable: a time
/// is rounded up to a millisecond and is at most `u32::MAX` of them, a list of names is cut at its end, and
/// names that no capability can have (empty, or over 255 bytes) are skipped.
pub fn emit(refusal: &Refusal, out: &mut Vec<u8>) {
    out.extend_from_slice(&refusal.code().to_be_bytes());
    match refusal {
        Refusal::OverCapacity { retry_after } => {
            let millis = retry_after.as_nanos().div_ceil(1_000_000);
            out.extend_from_slice(&u32::try_from(millis).unwrap_or(u32::MAX).to_be_bytes());
        }
        Refusal::Incompatible { ours, theirs } => {
            put_range(out, *ours);
            put_range(out, *theirs);
        }
        Refusal::MissingCapability { names } => put_names(out, names),
        Refusal::Denied
        | Refusal::Alive
        | Refusal::Simultaneous
        | Refusal::SelfConnection
        | Refusal::WrongDestination
        | Refusal::Registry
        | Refusal::ShuttingDown
        | Refusal::OtherProtocol => {}
    }
}

fn put_range(out: &mut Vec<u8>, range: VersionRange) {
    out.extend_from_slice(&range.min().to_be_bytes());
    out.extend_from_slice(&range.max().to_be_bytes());
}

fn put_names(out: &mut Vec<u8>, names: &[String]) {
    let mut room = MAX_REFUSAL - 3; // code and count
    let mut count = 0_u8;
    let mut list = Vec::new();
    for name in names.iter().filter(|name| (1..=MAX_LABEL).contains(&name.len())) {
        match (room.checked_sub(1 + name.len()), count.checked_add(1)) {
            (Some(left), Some(next)) => (room, count) = (left, next),
            _ => break,
        }
        put_prefixed_u8(&mut list, name.as_bytes());
    }
    out.push(count);
    out.append(&mut list);
}

fn names(reader: &mut Reader<'_>) -> Result<Vec<String>, Malformed> {
    let count = reader.u8()?;
    // No room is set aside by the claimed count: the list grows with the bytes that are there.
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(label(reader)?);
    }
    Ok(names)
}
