//! What a node asks of its owner, and what it tells.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::admission::Source;
use super::adverts::{Advert, InvalidAdvert};
use super::arbitration::Dialler;
use super::dial::{DialError, DialTicket};
use super::message::{LinkId, NodeToLink};
use super::registry::{Drift, Known};
use crate::error::Closed;
use crate::hello::{DialAddress, Hello};
use crate::identity::NodeId;
use crate::link::{Envelope, Message, Why};
use crate::refusal::Refusal;
use crate::time::Instant;

/// What to do next.
#[derive(Debug)]
#[must_use = "an action that is not looked at is lost"]
pub enum NodeAction {
    /// Something happened.
    Event(NodeEvent),
    /// Give this to [`Link::on_node`](crate::Link::on_node) of that link. If the link has ended and its last
    /// word is still to be handled, add what [`NodeToLink::into_undelivered`] gives to that word by
    /// [`extend_unsent`](super::LinkToNode::extend_unsent). For a link whose last word was handled there is
    /// none.
    ToLink(LinkId, NodeToLink),
    /// Connect to the ticket's address, and give the ticket back with how that went.
    Dial(DialTicket),
    /// Nothing else is queued. Poll again at this time, if there is one, or after anything else was called.
    Timeout(Option<Instant>),
}

/// Something that happened to a node or one of its peers.
#[derive(Debug)]
#[non_exhaustive]
pub enum NodeEvent {
    /// Messages to the peer go to this link from here on. What waited for one has been given to it.
    Linked {
        /// The peer.
        peer: NodeId,
        /// The link.
        link: LinkId,
        /// Who dialled it.
        dialler: Dialler,
    },
    /// There is no link to the peer any more. What is queued for it waits for the next.
    Unlinked {
        /// The peer.
        peer: NodeId,
        /// How its last link ended.
        closed: Box<Closed>,
    },
    /// Of two links to a peer, the newer one took over.
    Superseded {
        /// The peer.
        peer: NodeId,
        /// The link that ends.
        loser: LinkId,
        /// The link that stays.
        winner: LinkId,
    },
    /// A link that another node dialled ended before it was established. Once for each.
    HandshakeEnded {
        /// The link.
        link: LinkId,
        /// Where it came from.
        source: Source,
        /// How it ended.
        closed: Box<Closed>,
    },
    /// A connection was turned away because too many handshakes are under way.
    OverCapacity {
        /// Where it came from.
        source: Source,
    },
    /// A dial of this node's failed.
    DialFailed {
        /// The peer that was dialled.
        peer: NodeId,
        /// Why.
        error: DialError,
        /// When it is dialled again; `None` if it is not.
        again: Option<Instant>,
    },
    /// Whether to take this peer, under [`Trust::Ask`](crate::Trust::Ask) or with
    /// [`Registry::External`](super::Registry::External): answer with
    /// [`Node::answer`](super::Node::answer) within a [step](crate::Timing::step) of the handshake, 7 s by
    /// default: then the link ends.
    Question(Question),
    /// A peer is not as it was at its last link.
    Drifted {
        /// The peer.
        peer: NodeId,
        /// What has changed.
        drift: Vec<Drift>,
        /// Whether it was refused for it.
        refused: bool,
    },
    /// A peer's link was established: an external registry writes this.
    Known {
        /// The peer.
        peer: NodeId,
        /// What to remember of it.
        known: Known,
    },
    /// A message will not be sent.
    Undelivered {
        /// The peer it was for.
        peer: NodeId,
        /// The message.
        envelope: Envelope,
        /// Why.
        why: Undelivered,
    },
    /// The peer says whether it wants the link kept.
    Permanence {
        /// The peer.
        peer: NodeId,
        /// Whether it does.
        permanent: bool,
    },
    /// A peer has a new advert.
    Advert {
        /// The peer.
        peer: NodeId,
        /// What it says of itself, signed by it.
        advert: Box<Advert>,
    },
    /// A peer's advert was not taken; what was held of it stays.
    AdvertRefused {
        /// The peer.
        peer: NodeId,
        /// Why.
        why: AdvertRefusal,
    },
    /// Trust in the peer was withdrawn or has run out: its links end, nothing of it is dialled or kept. The
    /// last event of this peer until it is trusted again; but for ends of handshakes, which are told to whoever
    /// listens. A link that had ended before may hold requests that were not taken:
    /// [`Link::revoke`](crate::Link::revoke) drops them.
    Revoked {
        /// The peer.
        peer: NodeId,
    },
}

/// A question about a peer that has proved its id.
#[derive(Debug)]
#[non_exhaustive]
pub struct Question {
    /// What the answer is given with.
    pub ticket: QuestionTicket,
    /// The peer.
    pub peer: NodeId,
    /// What it says of itself.
    pub hello: Box<Hello>,
    /// Who dialled.
    pub dialler: Dialler,
}

/// The right to answer one [`Question`], once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an unanswered peer waits until its handshake times out"]
pub struct QuestionTicket {
    pub(super) link: LinkId,
    /// Which node asked.
    pub(super) node: u64,
}

/// Why a peer's advert was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdvertRefusal {
    /// A newer one is held.
    Stale {
        /// Its version.
        held: u64,
    },
    /// The peer has signed two different adverts of one version: its key is in use at two places, or it has
    /// lost count.
    Forked {
        /// The one that was there first, and stays.
        held: Box<Advert>,
        /// The other one.
        other: Box<Advert>,
    },
    /// As many adverts are held as may be.
    Full,
    /// It is none, or not the peer's.
    Invalid(InvalidAdvert),
}

impl fmt::Display for AdvertRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { held } => write!(f, "a newer one (version {held}) is held"),
            Self::Forked { held, .. } => {
                write!(
                    f,
                    "another one of the same version ({}) is held: two nodes share a key",
                    held.version()
                )
            }
            Self::Full => f.write_str("as many adverts are held as may be"),
            Self::Invalid(why) => why.fmt(f),
        }
    }
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Take the peer.
    Admit {
        /// What an external registry knows of it: the node looks for drift by its policy.
        known: Option<Known>,
    },
    /// Refuse it: [`Refusal::Denied`](crate::Refusal::Denied) where it is not welcome,
    /// [`Refusal::Registry`](crate::Refusal::Registry) where the registry failed.
    Refuse(Refusal),
}

/// Why a message will not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undelivered {
    /// Its time was over before there was a link.
    Expired,
    /// The peer will not be dialled again, and was not wanted for more than its messages.
    GivenUp,
    /// Trust in the peer was withdrawn. What its links had not sent by then is given up without an event:
    /// there is none of a revoked peer.
    Revoked,
    /// The link to the peer does not take it.
    Refused(Why),
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("its time was over before there was a link"),
            Self::GivenUp => f.write_str("dialling the peer again changes nothing"),
            Self::Revoked => f.write_str("trust in the peer was withdrawn"),
            Self::Refused(why) => why.fmt(f),
        }
    }
}

/// A message that was not queued, given back.
#[derive(Debug)]
pub struct NotQueued<'a> {
    /// Why.
    pub why: WhyNotQueued,
    /// The message.
    pub message: Message<'a>,
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyNotQueued {
    /// There is a link: give it to that.
    Linked(LinkId),
    /// As many bytes wait for the peer, or for all peers together, as may.
    Full,
    /// The service name has more than 255 bytes, or the body is longer than this node ever sends.
    TooLarge,
    /// Its time is over already.
    Expired,
    /// The peer is not trusted.
    Untrusted,
    /// It is the node's own id.
    SelfConnection,
    /// The node is shutting down.
    ShuttingDown,
}

impl fmt::Display for WhyNotQueued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linked(link) => write!(f, "there is a link ({link}) to send it on"),
            Self::Full => f.write_str("too much waits for a link already"),
            Self::TooLarge => f.write_str("longer than a message may be"),
            Self::Expired => f.write_str("its time is over already"),
            Self::Untrusted => f.write_str("the node does not trust the peer: add it to the trust list"),
            Self::SelfConnection => f.write_str("the peer is the node itself"),
            Self::ShuttingDown => f.write_str("the node is shutting down"),
        }
    }
}

impl core::error::Error for WhyNotQueued {}

impl fmt::Display for NotQueued<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message for {:?} not queued: {}", self.message.service, self.why)
    }
}

impl core::error::Error for NotQueued<'_> {}

/// There is no room for another handshake: write the last words to the connection and close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Busy {
    /// Tells the dialler so, and when to try again.
    pub last_words: [u8; 5],
}

/// Whether a link to a peer is kept without traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permanence {
    /// Dialled by the first message or wish for it, and not dialled again when it ends; ends by itself when
    /// it is idle, if the configuration's [`ephemeral`](crate::Timing::ephemeral) says so.
    #[default]
    Ephemeral,
    /// Dialled at once, and again for ever when it ends.
    Permanent,
}

/// How a peer stands with a node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerStatus {
    /// The peer.
    pub id: NodeId,
    /// The name that it gave itself on its last link.
    pub name: Option<String>,
    /// What there is with it.
    pub state: PeerState,
    /// Whether this node wants its link kept.
    pub permanence: Permanence,
    /// Whether the peer said that it does.
    pub peer_is_permanent: bool,
    /// Where it can be dialled.
    pub addresses: Vec<DialAddress>,
    /// Messages that wait for a link.
    pub queued: usize,
    /// Their bytes, with an overhead of 64 for each.
    pub queued_bytes: usize,
    /// Dials that failed in a row.
    pub failures: u32,
    /// Why the last dial failed; `None` since one succeeded.
    pub last_error: Option<DialError>,
    /// How its last link ended.
    pub last_closed: Option<Closed>,
}

/// What there is with a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerState {
    /// Nothing.
    Idle,
    /// A dial is under way.
    Dialling {
        /// The address.
        address: String,
        /// The link, once there is a connection.
        link: Option<LinkId>,
    },
    /// It will be dialled.
    Waiting {
        /// When.
        until: Instant,
    },
    /// A link.
    Linked {
        /// The link that messages go to.
        link: LinkId,
        /// Who dialled it.
        dialler: Dialler,
        /// Since when it is established.
        since: Instant,
    },
    /// Its link is ending.
    Ending,
    /// It is not dialled again before it is asked for anew: [`PeerStatus::last_error`] says why.
    GivenUp,
}

impl PeerState {
    /// The stable name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Dialling { .. } => "dialling",
            Self::Waiting { .. } => "waiting",
            Self::Linked { .. } => "linked",
            Self::Ending => "ending",
            Self::GivenUp => "given_up",
        }
    }
}

/// Counts since the node's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStats {
    /// Connections that others made.
    pub accepted: u64,
    /// Connections turned away for want of room.
    pub over_capacity: u64,
    /// Silent connections that made room for others.
    pub evicted: u64,
    /// Dials begun.
    pub dials: u64,
    /// Dials that made no link.
    pub failed_dials: u64,
    /// Links established.
    pub established: u64,
    /// Links that a newer one took over from.
    pub superseded: u64,
    /// Dialled links that were held until this node's own dial had ended.
    pub deferred: u64,
    /// Questions asked whether an older link is dead.
    pub alive_asked: u64,
    /// Links that ended because trust was withdrawn or ran out.
    pub revoked: u64,
    /// Messages that waited for a link.
    pub queued: u64,
    /// Messages that were not sent.
    pub undelivered: u64,
}
