//! The hello's bytes (docs/wire.md §3.6).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::Malformed;
use super::reader::Reader;
use crate::crypto::SuiteSet;
use crate::hello::{
    AdvertVersions, Capability, DialAddress, Hello, HelloError, HelloPart, Limits, MAX_ENTRIES, StreamOffer,
    UnknownExtension, VersionRange,
};

/// The most bytes of a hello: a handshake record's 4096 less its tag (16), AUTH's kind (1), id (32) and
/// signature (64).
pub const MAX_HELLO: usize = 4096 - 16 - 1 - 32 - 64;

/// The bytes before the first extension.
pub(crate) const FIXED: usize = 40;

/// The bytes of an extension before its value.
const EXTENSION_HEAD: usize = 4;

/// The bit of an extension's type that marks it critical.
const CRITICAL: u16 = 0x8000;

/// The bit of a capability's flags that marks it required.
const REQUIRED: u8 = 1;

const NAME: u16 = 1;
const PROTOCOL: u16 = 2;
const CAPABILITIES: u16 = 3;
const INFO: u16 = 4;
const ADDRESSES: u16 = 5;
const ADVERTS: u16 = 6;
const DESTINATION: u16 = 7;
const HOLD: u16 = 8;
const STREAMS: u16 = 9;

/// Reads a hello that fills `bytes`.
///
/// Whatever it takes, [`emit`] writes back byte for byte: there is one form of each hello.
///
/// # Errors
/// [`Malformed`] for anything that docs/wire.md §3.6 does not allow, an unknown critical extension included.
pub fn parse(bytes: &[u8]) -> Result<Hello, Malformed> {
    if bytes.len() > MAX_HELLO {
        return Err(Malformed::new("hello longer than a handshake record holds"));
    }
    let mut reader = Reader::new(bytes);
    let versions = version_range(&mut reader)?;
    let incarnation = reader.u64()?;
    let link_sequence = reader.u64()?;
    let limits = Limits {
        max_message: reader.u32()?,
        window: reader.u32()?,
        max_calls: reader.u32()?,
        idle: Duration::from_millis(reader.u32()?.into()),
        max_record: reader.u16()?,
    };
    limits.check().map_err(|_| Malformed::new("limit in a hello out of its range"))?;
    let suites = SuiteSet::from_bits(reader.u16()?);
    let mut hello = Hello::new(versions, suites, incarnation, link_sequence);
    hello.limits = limits;

    let mut lowest_next = 0;
    while !reader.is_empty() {
        let tagged = reader.u16()?;
        let value = reader.prefixed_u16()?;
        let kind = tagged & !CRITICAL;
        if kind < lowest_next {
            return Err(Malformed::new("extension types do not ascend"));
        }
        lowest_next = kind + 1;
        take_extension(&mut hello, kind, tagged != kind, value)?;
    }
    Ok(hello)
}

/// Appends `hello` to `out`.
///
/// # Errors
/// What [`Hello::check`] finds; `out` is then as it was.
pub fn emit(hello: &Hello, out: &mut Vec<u8>) -> Result<(), HelloError> {
    hello.check()?;
    out.extend_from_slice(&hello.versions.min().to_be_bytes());
    out.extend_from_slice(&hello.versions.max().to_be_bytes());
    out.extend_from_slice(&hello.incarnation.to_be_bytes());
    out.extend_from_slice(&hello.link_sequence.to_be_bytes());
    put_limits(out, &hello.limits);
    out.extend_from_slice(&hello.suites.bits().to_be_bytes());

    let below = hello.unknown.partition_point(|extension| extension.kind < NAME);
    let (below, above) = hello.unknown.split_at(below);
    for extension in below {
        put_unknown(out, extension);
    }
    put_known(hello, out);
    for extension in above {
        put_unknown(out, extension);
    }
    Ok(())
}

/// Whether an extension of type `kind` is one that this version keeps and ignores.
pub(crate) const fn is_ignorable(kind: u16) -> bool {
    kind & CRITICAL == 0 && !matches!(kind, NAME..=STREAMS)
}

/// The bytes that each part takes, heads included; 0 for a part that is absent.
pub(crate) fn sizes(hello: &Hello) -> [(HelloPart, usize); 10] {
    let capability = |each: &Capability| 1 + each.name.len() + 2 + 2 + 1 + 2 + each.metadata.len();
    let pair = |(key, value): &(String, Box<[u8]>)| 1 + key.len() + 2 + value.len();
    let address = |each: &DialAddress| 2 + 1 + each.address.len();
    let list = |empty: bool, len: usize| if empty { 0 } else { EXTENSION_HEAD + len };
    [
        (HelloPart::Name, hello.name.as_ref().map_or(0, |name| EXTENSION_HEAD + name.len())),
        (HelloPart::Protocol, hello.protocol.as_ref().map_or(0, |protocol| EXTENSION_HEAD + protocol.len())),
        (
            HelloPart::Capabilities,
            list(hello.capabilities.is_empty(), hello.capabilities.iter().map(capability).sum()),
        ),
        (HelloPart::Info, list(hello.info.is_empty(), hello.info.iter().map(pair).sum())),
        (HelloPart::Addresses, list(hello.addresses.is_empty(), hello.addresses.iter().map(address).sum())),
        (HelloPart::Adverts, hello.adverts.map_or(0, |_| EXTENSION_HEAD + 16)),
        (HelloPart::Destination, hello.destination.map_or(0, |_| EXTENSION_HEAD + 32)),
        (HelloPart::Hold, if hello.hold { EXTENSION_HEAD } else { 0 }),
        (HelloPart::Streams, hello.streams.map_or(0, |_| EXTENSION_HEAD + 8)),
        (HelloPart::Unknown, hello.unknown.iter().map(|each| EXTENSION_HEAD + each.value.len()).sum()),
    ]
}

/// The five limits in the order in which a hello and the outcome bytes carry them.
pub(super) fn put_limits(out: &mut Vec<u8>, limits: &Limits) {
    out.extend_from_slice(&limits.max_message.to_be_bytes());
    out.extend_from_slice(&limits.window.to_be_bytes());
    out.extend_from_slice(&limits.max_calls.to_be_bytes());
    out.extend_from_slice(&limits.idle_millis().to_be_bytes());
    out.extend_from_slice(&limits.max_record.to_be_bytes());
}

/// Bytes behind a one-byte length. Callers hold at most 255; more are cut, so that the form stays whole.
pub(super) fn put_prefixed_u8(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.push(len);
    out.extend(bytes.iter().take(usize::from(len)));
}

/// Bytes behind a two-byte length. Callers hold far fewer than it can say; more are cut, so that the form
/// stays whole.
pub(crate) fn put_prefixed_u16(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend(bytes.iter().take(usize::from(len)));
}

/// A range of versions: lowest, highest.
pub(super) fn version_range(reader: &mut Reader<'_>) -> Result<VersionRange, Malformed> {
    let (min, max) = (reader.u16()?, reader.u16()?);
    VersionRange::new(min, max).map_err(|_| Malformed::new("lowest version above the highest"))
}

/// 1–255 bytes of UTF-8 behind a one-byte length.
pub(super) fn label(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    text(reader.prefixed_u8()?)
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    let bytes = nonempty(bytes)?;
    core::str::from_utf8(bytes).map(String::from).map_err(|_| Malformed::new("text is not UTF-8"))
}

fn nonempty(bytes: &[u8]) -> Result<&[u8], Malformed> {
    match bytes.len() {
        0 => Err(Malformed::new("text or id is empty")),
        1..=crate::hello::MAX_LABEL => Ok(bytes),
        _ => Err(Malformed::new("text or id is longer than 255 bytes")),
    }
}

fn take_extension(hello: &mut Hello, kind: u16, critical: bool, value: &[u8]) -> Result<(), Malformed> {
    match kind {
        NAME => hello.name = Some(text(value)?),
        PROTOCOL => hello.protocol = Some(nonempty(value)?.into()),
        CAPABILITIES => hello.capabilities = ascending(value, capability, |each| &each.name)?,
        INFO => hello.info = ascending(value, info_pair, |(key, _)| key)?,
        ADDRESSES => hello.addresses = entries(value, address)?,
        ADVERTS => {
            let adverts =
                |reader: &mut Reader<'_>| Ok(AdvertVersions { own: reader.u64()?, held: reader.u64()? });
            hello.adverts = Some(whole(value, adverts)?);
        }
        DESTINATION => hello.destination = Some(whole(value, Reader::array)?),
        HOLD => {
            whole(value, |_| Ok(()))?;
            hello.hold = true;
        }
        STREAMS => {
            let offer = |reader: &mut Reader<'_>| {
                Ok(StreamOffer { max_streams: reader.u32()?, window: reader.u32()? })
            };
            hello.streams = Some(whole(value, offer)?);
        }
        _ if critical => return Err(Malformed::new("unknown critical extension")),
        _ => {
            hello.unknown.push(UnknownExtension { kind, value: value.into() });
            return Ok(());
        }
    }
    if critical {
        hello.critical |= 1 << (kind - 1);
    }
    Ok(())
}

/// One value that fills `bytes`.
fn whole<'a, T>(
    bytes: &'a [u8],
    take: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let mut reader = Reader::new(bytes);
    let value = take(&mut reader)?;
    if reader.is_empty() { Ok(value) } else { Err(Malformed::new("extension goes on behind its value")) }
}

/// 1–64 entries that fill `bytes`.
pub(crate) fn entries<'a, T>(
    bytes: &'a [u8],
    take: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    while !reader.is_empty() {
        if entries.len() == MAX_ENTRIES {
            return Err(Malformed::new("list of more than 64 entries"));
        }
        entries.push(take(&mut reader)?);
    }
    if entries.is_empty() { Err(Malformed::new("empty list")) } else { Ok(entries) }
}

/// 1–64 entries that fill `bytes` and ascend strictly by their name.
pub(crate) fn ascending<'a, T>(
    bytes: &'a [u8],
    take: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
    name: impl Fn(&T) -> &str,
) -> Result<Vec<T>, Malformed> {
    let entries = entries(bytes, take)?;
    if entries.is_sorted_by(|earlier, later| name(earlier) < name(later)) {
        Ok(entries)
    } else {
        Err(Malformed::new("names or keys do not ascend"))
    }
}

pub(crate) fn capability(reader: &mut Reader<'_>) -> Result<Capability, Malformed> {
    let name = label(reader)?;
    let versions = version_range(reader)?;
    let flags = reader.u8()?;
    if flags & !REQUIRED != 0 {
        return Err(Malformed::new("unknown flag of a capability"));
    }
    Ok(Capability { name, versions, required: flags == REQUIRED, metadata: reader.prefixed_u16()?.into() })
}

fn info_pair(reader: &mut Reader<'_>) -> Result<(String, Box<[u8]>), Malformed> {
    Ok((label(reader)?, reader.prefixed_u16()?.into()))
}

pub(crate) fn address(reader: &mut Reader<'_>) -> Result<DialAddress, Malformed> {
    Ok(DialAddress { weight: reader.u16()?, address: label(reader)? })
}

pub(crate) fn put_capability(out: &mut Vec<u8>, capability: &Capability) {
    put_prefixed_u8(out, capability.name.as_bytes());
    out.extend_from_slice(&capability.versions.min().to_be_bytes());
    out.extend_from_slice(&capability.versions.max().to_be_bytes());
    out.push(if capability.required { REQUIRED } else { 0 });
    put_prefixed_u16(out, &capability.metadata);
}

pub(crate) fn put_address(out: &mut Vec<u8>, address: &DialAddress) {
    out.extend_from_slice(&address.weight.to_be_bytes());
    put_prefixed_u8(out, address.address.as_bytes());
}

fn put_unknown(out: &mut Vec<u8>, extension: &UnknownExtension) {
    out.extend_from_slice(&extension.kind.to_be_bytes());
    put_prefixed_u16(out, &extension.value);
}

/// The extensions that this version knows, as far as `hello` has them, in the order of their types.
fn put_known(hello: &Hello, out: &mut Vec<u8>) {
    let mut put = |kind: u16, value: &[u8]| {
        let critical = hello.critical & 1 << (kind - 1) != 0;
        out.extend_from_slice(&(if critical { kind | CRITICAL } else { kind }).to_be_bytes());
        put_prefixed_u16(out, value);
    };
    if let Some(name) = &hello.name {
        put(NAME, name.as_bytes());
    }
    if let Some(protocol) = &hello.protocol {
        put(PROTOCOL, protocol);
    }
    let mut value = Vec::new();
    for each in &hello.capabilities {
        put_capability(&mut value, each);
    }
    if !value.is_empty() {
        put(CAPABILITIES, &value);
    }
    value.clear();
    for (key, bytes) in &hello.info {
        put_prefixed_u8(&mut value, key.as_bytes());
        put_prefixed_u16(&mut value, bytes);
    }
    if !value.is_empty() {
        put(INFO, &value);
    }
    value.clear();
    for each in &hello.addresses {
        put_address(&mut value, each);
    }
    if !value.is_empty() {
        put(ADDRESSES, &value);
    }
    if let Some(adverts) = &hello.adverts {
        value.clear();
        value.extend_from_slice(&adverts.own.to_be_bytes());
        value.extend_from_slice(&adverts.held.to_be_bytes());
        put(ADVERTS, &value);
    }
    if let Some(destination) = &hello.destination {
        put(DESTINATION, destination);
    }
    if hello.hold {
        put(HOLD, &[]);
    }
    if let Some(offer) = &hello.streams {
        value.clear();
        value.extend_from_slice(&offer.max_streams.to_be_bytes());
        value.extend_from_slice(&offer.window.to_be_bytes());
        put(STREAMS, &value);
    }
}
