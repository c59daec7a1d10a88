//! Which link lives: the whole decision, as a pure function of authenticated facts.
//!
//! Two nodes may dial each other at the same moment, a dial may arrive late, a node may have been restarted,
//! and a link may be dead at one end only. Of two links between the same two nodes one has to go, and both
//! nodes must mean the same one. So only one node decides: the one that **accepted** the newer link. What it
//! decides by is known to both ends or asked for:
//!
//! 1. A peer with another incarnation has been restarted: a link of a former one stands in nobody's way, whatever
//!    it looks like.
//! 2. Of two dials in opposite directions, the one by the greater id wins. An acceptor whose own dial wins
//!    holds the other one until its own has come to an end: refused at once, both might end with nothing.
//! 3. A link of the same incarnation that is established already stays, unless the dialler, asked, says that
//!    it is dead at its end. Of two dials in the same direction the one begun later may ask; the earlier one
//!    was under way for long and is refused.
//!
//! The dialler has two questions to answer itself: whether to go on with a dial once it knows who answers
//! ([`proceed`]), and whether an older link is dead for it ([`goes_on`]).
//!
//! docs/arbitration.md has the reasons, the model check over these functions and what goes wrong without each
//! rule.

use crate::identity::NodeId;
use crate::refusal::Refusal;

/// Which of the two nodes dialled a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialler {
    /// The node that decides.
    Own,
    /// Its peer.
    Peer,
}

/// What a node knows of a link whose peer has proved its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkFacts {
    /// Who dialled it.
    pub dialler: Dialler,
    /// The peer's incarnation, as its hello on this link says.
    pub incarnation: u64,
    /// The dialler's number of the link: it grows from dial to dial of one incarnation.
    pub sequence: u64,
}

/// What a node has with a peer when a newer link wants to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Standing {
    /// The newest link that has been taken, of those with the incarnation in question. One with a former
    /// incarnation stands in nobody's way, and must not hide one that does.
    pub link: Option<LinkFacts>,
    /// A dial of this node's own has told the peer who dials, and waits for the peer's word.
    pub own_dial: bool,
}

/// What an acceptor does with a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Takes it. If there is another, that one ends once this one has carried a record of the peer's.
    Admit {
        /// A dial of this node's own is under way and will lose: the dialler is told.
        simultaneous: bool,
    },
    /// Asks the dialler whether the older link is dead for it.
    AskAlive,
    /// Waits until this node's own dial has come to an end, then decides again.
    Defer,
    /// Refuses it.
    Refuse(Refusal),
}

/// The acceptor's decision about a link that `peer` dialled. `deferred` says that it was deferred before, and
/// that the own dial it waited for has come to an end.
pub fn decide(own: NodeId, peer: NodeId, new: LinkFacts, standing: Standing, deferred: bool) -> Verdict {
    let admit = Verdict::Admit { simultaneous: false };
    // A link of another incarnation does not stand: that process is gone, or this one is.
    match standing.link.filter(|old| old.incarnation == new.incarnation) {
        // The own dial that it waited for became this link.
        Some(old) if deferred && old.dialler == Dialler::Own => Verdict::Refuse(Refusal::Simultaneous),
        Some(old) if old.dialler == Dialler::Peer && new.sequence <= old.sequence => {
            Verdict::Refuse(Refusal::Alive)
        }
        Some(_) => Verdict::AskAlive,
        None if !standing.own_dial => admit,
        None if own > peer => Verdict::Defer,
        None => Verdict::Admit { simultaneous: true },
    }
}

/// The dialler's decision once it knows who answers, and before it says who dials: whether to go on beside
/// the link that is there.
pub fn proceed(new: LinkFacts, standing: Option<LinkFacts>) -> bool {
    standing.is_none_or(|old| old.incarnation != new.incarnation)
}

/// The dialler's answer to an acceptor that has an older link: whether that is dead for the dialler, so that
/// the new one is meant.
pub fn goes_on(new: LinkFacts, standing: Option<LinkFacts>) -> bool {
    proceed(new, standing)
}

/// The acceptor's decision after the dialler's answer to [`Verdict::AskAlive`]. An older link that is dead for
/// the dialler does not stand any more; a dial of the acceptor's own, which may have begun meanwhile, does.
pub fn answered(own: NodeId, peer: NodeId, new: LinkFacts, own_dial: bool, goes_on: bool) -> Verdict {
    if goes_on {
        decide(own, peer, new, Standing { link: None, own_dial }, false)
    } else {
        Verdict::Refuse(Refusal::Alive)
    }
}

/// The acceptor's decision about a link that was deferred, once the own dial that it waited for is over.
/// `goes_on` says that the dialler has answered [`Verdict::AskAlive`] before, and went on: what it says is
/// asked once, and holds. What it dialled before does not stand any more; the acceptor's own link does.
pub fn own_dial_over(
    own: NodeId,
    peer: NodeId,
    new: LinkFacts,
    standing: Standing,
    goes_on: bool,
) -> Verdict {
    let link = standing.link.filter(|old| !goes_on || old.dialler == Dialler::Own);
    decide(own, peer, new, Standing { link, ..standing }, true)
}
