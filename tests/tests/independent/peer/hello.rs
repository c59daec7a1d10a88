//! Hello, outcome and refusals (§3.6, §3.7).

use super::bytes::{Reader, u16be};
use super::crypto::{Hash, sha256};

/// A refusal or a reason: its number and its detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coded {
    pub code: u16,
    pub detail: Vec<u8>,
}

impl Coded {
    pub fn new(code: u16, detail: &[u8]) -> Self {
        Self { code, detail: detail.to_vec() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        [&u16be(self.code)[..], &self.detail].concat()
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        Some(Self { code: reader.u16()?, detail: reader.0.to_vec() })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    pub name: String,
    pub min: u16,
    pub max: u16,
    pub required: bool,
    pub metadata: Vec<u8>,
}

impl Capability {
    pub fn new(name: &str, min: u16, max: u16) -> Self {
        Self { name: name.into(), min, max, required: false, metadata: Vec::new() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub versions: (u16, u16),
    pub incarnation: u64,
    pub sequence: u64,
    pub max_message: u32,
    pub window: u32,
    pub max_calls: u32,
    pub idle: u32,
    pub max_record: u16,
    pub suites: u16,
    pub protocol: Option<Vec<u8>>,
    pub capabilities: Vec<Capability>,
    /// The others, with their types, critical bits included; types 2 and 3 excluded.
    pub others: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    /// Every byte of it, extensions in ascending order.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(u16be(self.versions.0));
        out.extend(u16be(self.versions.1));
        out.extend(self.incarnation.to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        for limit in [self.max_message, self.window, self.max_calls, self.idle] {
            out.extend(limit.to_be_bytes());
        }
        out.extend(u16be(self.max_record));
        out.extend(u16be(self.suites));
        let mut extensions = self.others.clone();
        extensions.extend(self.protocol.clone().map(|protocol| (2, protocol)));
        if !self.capabilities.is_empty() {
            let mut value = Vec::new();
            for capability in &self.capabilities {
                value.push(u8::try_from(capability.name.len()).expect("a short name"));
                value.extend(capability.name.as_bytes());
                value.extend(u16be(capability.min));
                value.extend(u16be(capability.max));
                value.push(u8::from(capability.required));
                value.extend(u16be(u16::try_from(capability.metadata.len()).expect("short metadata")));
                value.extend(&capability.metadata);
            }
            extensions.push((3, value));
        }
        extensions.sort_by_key(|(kind, _)| kind & 0x7fff);
        for (kind, value) in extensions {
            out.extend(u16be(kind));
            out.extend(u16be(u16::try_from(value.len()).expect("a short extension")));
            out.extend(value);
        }
        out
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let mut hello = Self {
            versions: (reader.u16()?, reader.u16()?),
            incarnation: reader.u64()?,
            sequence: reader.u64()?,
            max_message: reader.u32()?,
            window: reader.u32()?,
            max_calls: reader.u32()?,
            idle: reader.u32()?,
            max_record: reader.u16()?,
            suites: reader.u16()?,
            protocol: None,
            capabilities: Vec::new(),
            others: Vec::new(),
        };
        let fits = hello.max_message >= 1024
            && u64::from(hello.window) >= u64::from(hello.max_message) + 64 + 255
            && hello.max_calls >= 1
            && hello.idle >= 100
            && (4096..=65_519).contains(&hello.max_record)
            && hello.versions.0 <= hello.versions.1;
        let mut last = None;
        while !reader.0.is_empty() {
            let kind = reader.u16()?;
            let length = reader.u16()?;
            let value = reader.take(length.into())?;
            let number = kind & 0x7fff;
            if last.is_some_and(|last| last >= number) || (kind >> 15 == 1 && !(1..=9).contains(&number)) {
                return None;
            }
            last = Some(number);
            match number {
                2 if !(1..256).contains(&value.len()) => return None,
                2 => hello.protocol = Some(value.to_vec()),
                3 => hello.capabilities = capabilities(value)?,
                8 if !value.is_empty() => return None,
                9 if value.len() != 8 => return None,
                _ => hello.others.push((kind, value.to_vec())),
            }
        }
        fits.then_some(hello)
    }

    /// The value of the extension `number`.
    pub fn other(&self, number: u16) -> Option<&[u8]> {
        let found = self.others.iter().find(|(kind, _)| kind & 0x7fff == number);
        found.map(|(_, value)| &value[..])
    }
}

fn capabilities(value: &[u8]) -> Option<Vec<Capability>> {
    let mut reader = Reader(value);
    let mut out: Vec<Capability> = Vec::new();
    while !reader.0.is_empty() {
        let name = reader.name()?;
        let (min, max, flags) = (reader.u16()?, reader.u16()?, reader.u8()?);
        let length = reader.u16()?;
        let metadata = reader.take(length.into())?.to_vec();
        let ascends = out.last().is_none_or(|last| last.name.as_bytes() < name.as_bytes());
        if name.is_empty() || min > max || flags > 1 || !ascends {
            return None;
        }
        out.push(Capability { name, min, max, required: flags == 1, metadata });
    }
    (1..=64).contains(&out.len()).then_some(out)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub version: u16,
    pub max_message: u32,
    pub window: u32,
    pub max_calls: u32,
    pub idle: u32,
    pub max_record: u16,
    pub capabilities: Vec<(String, u16)>,
}

impl Outcome {
    /// What `ours` and `theirs` agree on, or the refusal as `ours` has to word it.
    pub fn of(ours: &Hello, theirs: &Hello) -> Result<Self, Coded> {
        let protocols = ours.protocol.as_ref().zip(theirs.protocol.as_ref());
        if protocols.is_some_and(|(one, other)| one != other) {
            return Err(Coded::new(30, &[]));
        }
        let (a, b) = (ours.versions, theirs.versions);
        let version = a.1.min(b.1);
        if version < a.0.max(b.0) {
            return Err(Coded::new(21, &[u16be(a.0), u16be(a.1), u16be(b.0), u16be(b.1)].concat()));
        }
        let mut common = Vec::new();
        for one in &ours.capabilities {
            if let Some(other) = theirs.capabilities.iter().find(|other| other.name == one.name) {
                let highest = one.max.min(other.max);
                if highest >= one.min.max(other.min) {
                    common.push((one.name.clone(), highest));
                }
            }
        }
        let both = ours.capabilities.iter().chain(&theirs.capabilities);
        let mut missing: Vec<&str> = both
            .filter(|one| one.required && !common.iter().any(|(name, _)| *name == one.name))
            .map(|one| one.name.as_str())
            .collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            let mut detail = vec![u8::try_from(missing.len()).expect("few names")];
            for name in missing {
                detail.push(u8::try_from(name.len()).expect("a short name"));
                detail.extend(name.as_bytes());
            }
            return Err(Coded { code: 23, detail });
        }
        Ok(Self {
            version,
            max_message: ours.max_message.min(theirs.max_message),
            window: ours.window.min(theirs.window),
            max_calls: ours.max_calls.min(theirs.max_calls),
            idle: ours.idle.min(theirs.idle),
            max_record: ours.max_record.min(theirs.max_record),
            capabilities: common,
        })
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = u16be(self.version).to_vec();
        for limit in [self.max_message, self.window, self.max_calls, self.idle] {
            out.extend(limit.to_be_bytes());
        }
        out.extend(u16be(self.max_record));
        for (name, version) in &self.capabilities {
            out.push(u8::try_from(name.len()).expect("a short name"));
            out.extend(name.as_bytes());
            out.extend(u16be(*version));
        }
        out
    }

    pub fn digest(&self) -> Hash {
        sha256(&[b"handclasp/1 outcome", &self.bytes()])
    }
}
