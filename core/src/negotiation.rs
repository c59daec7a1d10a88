//! What two hellos agree on. Both sides compute it on their own, and the responder's STATUS carries a digest
//! of it, so that a difference shows before the first message.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::crypto::CryptoProvider;
use crate::hello::{Capability, Hello, Limits};
use crate::refusal::Refusal;
use crate::wire::outcome;

/// A capability that both sides have, in the version that both use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommonCapability {
    /// The capability's name.
    pub name: String,
    /// The highest version that both sides can do.
    pub version: u16,
}

/// What two hellos agree on; the same value on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// The version of the conversation.
    pub version: u16,
    /// The smaller of both sides' limits, each.
    pub limits: Limits,
    /// The capabilities that both sides have, ascending by name.
    pub capabilities: Vec<CommonCapability>,
}

impl Outcome {
    /// The version of the capability `name`, if both sides have it.
    pub fn capability(&self, name: &str) -> Option<u16> {
        let found = self.capabilities.binary_search_by(|common| common.name.as_str().cmp(name)).ok()?;
        self.capabilities.get(found).map(|common| common.version)
    }

    /// The outcome bytes of docs/wire.md §3.6.
    pub fn bytes(&self) -> Vec<u8> {
        outcome::bytes(self)
    }

    /// The outcome digest of docs/wire.md §3.6, which STATUS carries.
    pub fn digest(&self, crypto: &dyn CryptoProvider) -> [u8; 32] {
        crypto.sha256(&[outcome::LABEL, &self.bytes()])
    }
}

/// What the two hellos agree on, by the rules of docs/wire.md §3.6.
///
/// Both must have passed [`Hello::check`]. The result does not depend on which hello is whose, except that
/// [`Refusal::Incompatible`] names the ranges from the side of `local`; [`Refusal::mirrored`] is the other
/// side's view.
///
/// # Errors
/// The first of [`Refusal::OtherProtocol`], [`Refusal::Incompatible`] and [`Refusal::MissingCapability`] that
/// applies.
pub fn negotiate(local: &Hello, remote: &Hello) -> Result<Outcome, Refusal> {
    if let (Some(ours), Some(theirs)) = (&local.protocol, &remote.protocol) {
        if ours != theirs {
            return Err(Refusal::OtherProtocol);
        }
    }
    let version = local
        .versions
        .highest_common(remote.versions)
        .ok_or(Refusal::Incompatible { ours: local.versions, theirs: remote.versions })?;
    let capabilities = common_capabilities(&local.capabilities, &remote.capabilities)
        .map_err(|names| Refusal::MissingCapability { names })?;
    Ok(Outcome { version, limits: local.limits.smaller_of(remote.limits), capabilities })
}

/// The common capabilities, or the names of those that are required and missing; ascending by name in either
/// case.
fn common_capabilities(
    local: &[Capability],
    remote: &[Capability],
) -> Result<Vec<CommonCapability>, Vec<String>> {
    let mut sides: BTreeMap<&str, [Option<&Capability>; 2]> = BTreeMap::new();
    for capability in local {
        sides.entry(&capability.name).or_default()[0] = Some(capability);
    }
    for capability in remote {
        sides.entry(&capability.name).or_default()[1] = Some(capability);
    }
    let mut common = Vec::new();
    let mut missing = Vec::new();
    for (name, sides) in sides {
        let version = match sides {
            [Some(ours), Some(theirs)] => ours.versions.highest_common(theirs.versions),
            _ => None,
        };
        match version {
            Some(version) => common.push(CommonCapability { name: name.into(), version }),
            None if sides.iter().flatten().any(|capability| capability.required) => missing.push(name.into()),
            None => {}
        }
    }
    if missing.is_empty() { Ok(common) } else { Err(missing) }
}
