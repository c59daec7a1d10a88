//! What links and their node tell each other.
//!
//! A link that belongs to a node asks it what only the node can know: whether the peer is welcome, and which
//! of two links lives. The owner of both carries the messages without looking into them: from
//! [`Link::poll_node`](crate::Link::poll_node) to [`Node::handle`](super::Node::handle), and from
//! [`NodeAction::ToLink`](super::NodeAction::ToLink) to [`Link::on_node`](crate::Link::on_node). Bodies of
//! messages pass here only while there is no link that could take them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::error::{Closed, Reason};
use crate::hello::Hello;
use crate::identity::NodeId;
use crate::link::{Envelope, Why};
use crate::refusal::Refusal;

/// Names a link to its node, for as long as the node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(crate) u64);

impl LinkId {
    /// The number, counted from 1 in the order in which the node's links began.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Word from a link to its node.
#[must_use = "a node that is not told decides by what is no longer so"]
pub struct LinkToNode(pub(crate) FromLink);

impl LinkToNode {
    /// Whether this is the link's last word: it has ended.
    pub const fn is_end(&self) -> bool {
        matches!(self.0, FromLink::Ended { .. })
    }

    /// Whether it gives messages back that the link will not send: at its end, and when a goodbye was said.
    /// An owner that has messages for the link adds them then, by [`extend_unsent`](Self::extend_unsent), those
    /// in words of the node's that the link has not heard too: [`NodeToLink::take_messages`].
    pub const fn gives_back(&self) -> bool {
        matches!(self.0, FromLink::Ended { .. } | FromLink::Draining { .. })
    }

    /// Adds messages that the link's owner held back and the link never had, behind those that the link gives
    /// back itself. Does nothing unless this [gives back](Self::gives_back).
    pub fn extend_unsent(&mut self, later: impl IntoIterator<Item = Envelope>) {
        if let FromLink::Ended { unsent, .. } | FromLink::Draining { unsent, .. } = &mut self.0 {
            unsent.extend(later);
            // Order is kept within a priority.
            unsent.sort_by_key(|envelope| envelope.priority);
        }
    }
}

impl fmt::Debug for LinkToNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a peer that has proved its id says of itself.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) id: NodeId,
    pub(crate) hello: Hello,
}

#[derive(Debug)]
pub(crate) enum FromLink {
    /// The other side has said something that a dialler says.
    Heard,
    /// The peer has proved its id, and the link waits for `Admit`, `Refuse` or, if the peer dialled,
    /// `AskAlive`. A dialler has not revealed its own id yet.
    Identified(Box<Identity>),
    /// The acceptor has an older link and asks whether it still lives; it waits for `AnswerAlive`.
    AliveAsked,
    /// The dialler's answer to `AskAlive`: whether it goes on, because the older link is dead for it.
    AliveAnswered { goes_on: bool },
    /// Messages can flow.
    Established,
    /// The peer has sealed a record under the traffic keys: it is established too. Comes once, behind
    /// `Established`.
    Confirmed,
    /// A goodbye was said: the link takes no new work. If the peer said it first, nothing that is queued will
    /// be sent, and the messages come back at once. `owes` says that some are queued still, which will be
    /// sent or come back.
    Draining { unsent: Vec<Envelope>, owes: bool },
    /// Whether the peer wants the link kept.
    Permanence(bool),
    /// The peer's advert, as it came.
    Advert(Bytes),
    /// The peer has taken this side's advert of that version, or a newer one.
    AdvertAcked { version: u64 },
    /// A message that the node handed over is not for this peer.
    Undeliverable(Envelope, Why),
    /// The link has ended. It has the messages of which nothing whole was sent, in order within a priority.
    Ended { closed: Box<Closed>, unsent: Vec<Envelope> },
}

/// Word from a node to one of its links.
#[must_use = "a link that is not told waits"]
pub struct NodeToLink(pub(crate) ToLink);

impl NodeToLink {
    /// The messages in it, for a link that has ended before it could be told.
    pub fn into_undelivered(mut self) -> Vec<Envelope> {
        self.take_messages()
    }

    /// Takes the messages out of it, for a link that sends no more; what else it says holds.
    pub fn take_messages(&mut self) -> Vec<Envelope> {
        match &mut self.0 {
            ToLink::Deliver(envelopes) => core::mem::take(envelopes),
            _ => Vec::new(),
        }
    }

    /// Whether it brings messages.
    #[cfg(feature = "runtime")]
    pub(crate) const fn delivers(&self) -> bool {
        matches!(self.0, ToLink::Deliver(_))
    }
}

impl fmt::Debug for NodeToLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug)]
pub(crate) enum ToLink {
    /// Take the peer. `simultaneous` tells it that its dial won over one of this side's.
    Admit { simultaneous: bool },
    /// Do not take the peer, and tell it why.
    Refuse(Refusal),
    /// Ask the dialler whether its older link is dead for it.
    AskAlive,
    /// The answer to `AliveAsked`.
    AnswerAlive { go_on: bool },
    /// Send a ping: if the peer is gone, the sooner that is known the better.
    Probe,
    /// End at once with this reason.
    Close(Reason),
    /// End in good order.
    Goodbye { code: u32, detail: String },
    /// Tell the peer whether this side wants the link kept.
    Permanence(bool),
    /// Push this side's advert.
    Advert(Bytes),
    /// Tell the peer that its advert of this version is here.
    AckAdvert { version: u64 },
    /// Send these before anything that is queued later.
    Deliver(Vec<Envelope>),
}
