//! The rules of a node, as the search calls them.

use handclasp::NodeId;
use handclasp::node::arbitration::{self, LinkFacts, Standing, Verdict};

/// How two nodes decide. What is given here is what the library does: its own functions, and how its node
/// applies them. A variant replaces one of them.
pub(crate) trait Rules {
    fn decide(&self, own: NodeId, peer: NodeId, new: LinkFacts, standing: Standing) -> Verdict {
        arbitration::decide(own, peer, new, standing, false)
    }

    fn own_dial_over(
        &self,
        own: NodeId,
        peer: NodeId,
        new: LinkFacts,
        standing: Standing,
        goes_on: bool,
    ) -> Verdict {
        arbitration::own_dial_over(own, peer, new, standing, goes_on)
    }

    fn answered(&self, own: NodeId, peer: NodeId, new: LinkFacts, own_dial: bool, goes_on: bool) -> Verdict {
        arbitration::answered(own, peer, new, own_dial, goes_on)
    }

    fn proceed(&self, new: LinkFacts, standing: Option<LinkFacts>) -> bool {
        arbitration::proceed(new, standing)
    }

    fn goes_on(&self, new: LinkFacts, standing: Option<LinkFacts>) -> bool {
        arbitration::goes_on(new, standing)
    }

    /// When a node ends its older links for a newer one.
    fn supersedes(&self, when: Milestone) -> bool {
        when == Milestone::Confirmed
    }

    /// Whether a node that takes a link ends its own dial even if the peer knows of it already.
    fn drops_revealed_dial(&self) -> bool {
        false
    }

    /// Whether somebody who has proved nothing ends the links of the peer that he claims to be.
    fn heeds_claims(&self) -> bool {
        false
    }

    /// Whether a link that is taken beside an older one becomes a part of it, so that the older one lives
    /// for as long as the newer one.
    fn merges(&self) -> bool {
        false
    }

    /// Whether the newest link stands in the way of a new one even if it is with another process of the
    /// peer, and hides an older one with the same.
    fn mixes_incarnations(&self) -> bool {
        false
    }

    /// Whether an accepted link is counted from the word that it is established, not from when the node took
    /// it.
    fn counts_from_the_word(&self) -> bool {
        false
    }
}

/// How far the newer link is at the node that has an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// This node takes it.
    Admitted,
    /// This node dialled it, and has been accepted.
    Accepted,
    /// The peer dialled it, and has sent a record.
    Confirmed,
}

/// The library's own.
pub(crate) struct Library;

impl Rules for Library {}
