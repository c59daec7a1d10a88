//! Whom a signed message is for.

use alloc::boxed::Box;
use core::fmt;

use crate::identity::{ClaimedId, InvalidNodeId, NodeId};
use crate::wire::Malformed;

/// The longest topic in bytes.
pub const MAX_TOPIC: usize = 255;

const NODE: u8 = 0;
const TOPIC: u8 = 1;

/// Whom a signed message is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    /// This node, and nobody else.
    Node(NodeId),
    /// Whoever takes the topic: 1–255 bytes, the application's to choose. It is compared byte for byte.
    Topic(Box<str>),
}

impl Audience {
    /// A topic.
    pub fn topic(name: impl Into<Box<str>>) -> Self {
        Self::Topic(name.into())
    }

    /// What stands in the byte that tells one kind from another.
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Node(_) => NODE,
            Self::Topic(_) => TOPIC,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Node(id) => id.as_bytes(),
            Self::Topic(name) => name.as_bytes(),
        }
    }

    /// The length as it travels; `None` if there is no audience of this length.
    pub(super) fn len(&self) -> Option<u8> {
        u8::try_from(self.bytes().len()).ok().filter(|length| *length > 0)
    }
}

impl From<NodeId> for Audience {
    fn from(id: NodeId) -> Self {
        Self::Node(id)
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => id.fmt(f),
            Self::Topic(name) => write!(f, "topic {name:?}"),
        }
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An audience as it was read: the id of a node may be none.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum ClaimedAudience {
    Node([u8; 32]),
    Topic(Box<str>),
}

impl ClaimedAudience {
    pub(super) fn read(kind: u8, bytes: &[u8]) -> Result<Self, Malformed> {
        match kind {
            NODE => {
                let id = bytes.try_into();
                id.map(Self::Node).map_err(|_| Malformed::new("signed message: a node's id has 32 bytes"))
            }
            TOPIC if bytes.is_empty() => Err(Malformed::new("signed message: a topic without a name")),
            TOPIC => {
                let name = core::str::from_utf8(bytes);
                name.map(|name| Self::Topic(name.into()))
                    .map_err(|_| Malformed::new("signed message: topic is not UTF-8"))
            }
            _ => Err(Malformed::new("signed message: no such kind of audience")),
        }
    }

    /// The audience, if its id is one.
    pub(super) fn believe(self) -> Result<Audience, InvalidNodeId> {
        Ok(match self {
            Self::Node(id) => Audience::Node(NodeId::from_bytes(id)?),
            Self::Topic(name) => Audience::Topic(name),
        })
    }
}

impl fmt::Debug for ClaimedAudience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => ClaimedId::new(*id).fmt(f),
            Self::Topic(name) => write!(f, "topic {name:?}"),
        }
    }
}
