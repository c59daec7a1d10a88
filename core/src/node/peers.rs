//! What a node keeps: a record for each link, and one for each peer.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::action::{PeerState, PeerStatus, Permanence};
use super::admission::Source;
use super::arbitration::{Dialler, LinkFacts};
use super::dial::DialError;
use super::message::{Identity, LinkId};
use super::outbox::Outbox;
use crate::error::Closed;
use crate::hello::DialAddress;
use crate::identity::NodeId;
use crate::refusal::Retry;
use crate::time::Instant;

/// How far a link is, as its node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The peer has not proved its id.
    Handshake,
    /// The application has been asked about the peer.
    Asked,
    /// The peer dialled, and waits for the end of this node's own dial.
    Deferred,
    /// The peer dialled, and has been asked whether its older link is dead.
    AliveAsked,
    /// This node dialled, and has said who it is.
    Proved,
    /// The peer dialled and was taken: the link establishes itself.
    Admitted,
    /// Messages can flow.
    Established,
    /// A goodbye was said.
    Draining,
    /// It was told to end.
    Ending,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub(super) struct LinkRecord {
    pub(super) dialler: Dialler,
    /// Where it comes from, if the peer dialled.
    pub(super) source: Option<Source>,
    /// Whether it counts as a handshake of its source.
    pub(super) counted: bool,
    /// The number that this node gave it.
    pub(super) sequence: u64,
    /// The peer: expected by a dialler, proved otherwise.
    pub(super) peer: Option<NodeId>,
    /// There once the peer has proved its id.
    pub(super) facts: Option<LinkFacts>,
    /// What the peer says of itself, until the link is established.
    pub(super) identity: Option<Box<Identity>>,
    pub(super) stage: Stage,
    pub(super) began: Instant,
    /// When it was established, if it ever was.
    pub(super) since: Option<Instant>,
    /// Its place among the node's links in the order in which they were decided about, from 1: by this node if
    /// the peer dialled, by the peer otherwise.
    pub(super) place: u64,
    /// Its dialler was asked whether an older link is dead for it, and said so.
    pub(super) goes_on: bool,
    /// The peer is known to be established as well.
    pub(super) confirmed: bool,
    /// The peer has said on it that it is to be kept.
    pub(super) kept: bool,
}

impl LinkRecord {
    /// Whether it stands in the way of a newer link.
    pub(super) fn stands(&self) -> bool {
        matches!(self.stage, Stage::Admitted | Stage::Established)
    }

    /// Whether it was dialled by the peer and no decision has been made about it.
    pub(super) fn is_undecided(&self) -> bool {
        self.dialler == Dialler::Peer
            && matches!(self.stage, Stage::Asked | Stage::Deferred | Stage::AliveAsked)
    }
}

/// How far the own dial of a peer is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Dialling {
    #[default]
    Idle,
    /// A ticket is out.
    Connecting { attempt: u64, address: String },
    /// There is a connection.
    Handshake { link: LinkId, address: String },
    /// It will be dialled when its time comes.
    Waiting,
    /// Dialling again changes nothing.
    GivenUp,
}

impl Dialling {
    pub(super) const fn is_under_way(&self) -> bool {
        matches!(self, Self::Connecting { .. } | Self::Handshake { .. })
    }
}

/// One peer.
#[derive(Debug, Default)]
pub(super) struct PeerRecord {
    pub(super) permanence: Permanence,
    /// What was told of the peer's wish: that of its newest link.
    pub(super) peer_is_permanent: bool,
    /// Where it can be dialled, as the application says.
    pub(super) addresses: Vec<DialAddress>,
    /// Where it can be dialled, as it says itself.
    pub(super) offered: Vec<DialAddress>,
    /// Addresses still to be tried before the next wait, the next one last.
    pub(super) round: Vec<String>,
    /// The best hope of those that were tried.
    pub(super) hope: Option<Retry>,
    pub(super) dial: Dialling,
    pub(super) failures: u32,
    /// Its links from the proof of its id on, and the own dial's from its connection on.
    pub(super) links: Vec<LinkId>,
    /// The link that messages go to.
    pub(super) route: Option<LinkId>,
    /// The owner has been told of a link, and not of its end.
    pub(super) linked: bool,
    /// Former routes that have not given back what they did not send.
    pub(super) owing: Vec<LinkId>,
    pub(super) outbox: Outbox,
    /// Somebody has asked for a link.
    pub(super) wanted: bool,
    pub(super) name: Option<Box<str>>,
    pub(super) last_error: Option<Box<DialError>>,
    pub(super) last_closed: Option<Box<Closed>>,
    /// The version of this node's advert that the peer is known to have.
    pub(super) acknowledged: u64,
}

impl PeerRecord {
    pub(super) fn is_permanent(&self) -> bool {
        self.permanence == Permanence::Permanent
    }

    /// Whether a link to it is wanted.
    pub(super) fn wants_link(&self) -> bool {
        self.is_permanent() || self.wanted || !self.outbox.is_empty()
    }

    /// Whether anything is left that is worth a record.
    pub(super) fn is_idle(&self) -> bool {
        self.links.is_empty()
            && self.owing.is_empty()
            && self.addresses.is_empty()
            && !self.is_permanent()
            && !self.wanted
            && self.outbox.is_empty()
            && matches!(self.dial, Dialling::Idle | Dialling::GivenUp)
    }

    pub(super) fn status(&self, id: NodeId, state: PeerState) -> PeerStatus {
        PeerStatus {
            id,
            name: self.name.as_deref().map(String::from),
            state,
            permanence: self.permanence,
            peer_is_permanent: self.peer_is_permanent,
            addresses: self.addresses.clone(),
            queued: self.outbox.len(),
            queued_bytes: self.outbox.bytes(),
            failures: self.failures,
            last_error: self.last_error.as_deref().cloned(),
            last_closed: self.last_closed.as_deref().cloned(),
        }
    }
}
