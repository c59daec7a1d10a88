//! Dialling: what is asked of the owner, how it can fail, and which address is next.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::backoff::Draws;
use crate::error::{By, Closed, Reason};
use crate::hello::DialAddress;
use crate::identity::NodeId;
use crate::refusal::{Refusal, Retry};
use crate::time::Instant;

/// The longest time that somebody who has proved no id can keep a node from dialling.
const LONGEST_RUMOUR: Duration = Duration::from_secs(60);

/// The right to make one connection, once: give it back with [`Node::connected`](super::Node::connected) or
/// [`Node::dial_failed`](super::Node::dial_failed). One that is dropped counts as timed out.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the peer is not dialled again while the node waits for this"]
pub struct DialTicket {
    pub(super) peer: NodeId,
    pub(super) address: String,
    pub(super) attempt: u64,
    pub(super) deadline: Instant,
    /// Which node asked for it.
    pub(super) node: u64,
}

impl DialTicket {
    /// The peer that is wanted at the other end.
    pub const fn peer(&self) -> NodeId {
        self.peer
    }

    /// Where to connect to, in the application's notation.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// When the whole dial has to be done, the handshake included: connecting has to end by then.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// Why a dial made no link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialError {
    /// No connection to the address; what the system says of it.
    Unreachable {
        /// The address that was tried last.
        address: String,
        /// The system's words.
        detail: String,
    },
    /// No connection, or no end of the handshake, within the time for a dial.
    TimedOut {
        /// The address that was tried last.
        address: String,
    },
    /// This node does not trust the peer.
    Untrusted,
    /// No address is known for the peer.
    NoAddress,
    /// There was a connection, and the handshake ended with this.
    Closed {
        /// The address that was tried last.
        address: String,
        /// The end of the link.
        closed: Box<Closed>,
    },
}

impl DialError {
    /// The stable name, for logs and metric labels: a reason of a link's end stands under its own name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::Untrusted => "untrusted",
            Self::NoAddress => "no_address",
            Self::Closed { closed, .. } => closed.reason.name(),
        }
    }

    /// Whether dialling again can help, and when. Only a peer that has proved its id can say that it does not,
    /// that there is another link already, or that it wants to be left alone for more than a minute.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => Retry::Later(None),
            Self::Untrusted | Self::NoAddress => Retry::Never,
            Self::Closed { closed, .. } => match closed.reason.retry() {
                retry if closed.peer.is_some() => retry,
                // Whoever answers at the address can say anything, and may be another one tomorrow.
                Retry::Never => Retry::Later(None),
                Retry::Now if closed.by == By::Peer => Retry::Later(None),
                Retry::Later(after) => Retry::Later(after.map(|after| after.min(LONGEST_RUMOUR))),
                Retry::Now => Retry::Now,
            },
        }
    }

    /// Whether the peer itself has spoken: its other addresses lead to the same word.
    pub(super) fn is_of_the_peer(&self) -> bool {
        match self {
            Self::Closed { closed, .. } => {
                closed.peer.is_some()
                    && (closed.by == By::Peer || matches!(closed.reason, Reason::Refused(_)))
            }
            Self::Untrusted | Self::NoAddress => true,
            Self::Unreachable { .. } | Self::TimedOut { .. } => false,
        }
    }

    /// Whether the dial ended because another link to the peer is, or is about to be, there: by the word of a peer
    /// that has proved its id, or by the node's own.
    pub(super) fn is_for_another_link(&self) -> bool {
        matches!(self, Self::Closed { closed, .. }
            if (closed.peer.is_some() || closed.by == By::Local)
                && matches!(closed.reason, Reason::Refused(Refusal::Alive | Refusal::Simultaneous)))
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, detail } => {
                write!(
                    f,
                    "{address:?} is not reachable ({detail}): check the address, and that the peer listens"
                )
            }
            Self::TimedOut { address } => {
                write!(f, "{address:?} gave no link within the time for dialling: check what lies on the way")
            }
            Self::Untrusted => f.write_str("this node does not trust the peer: add it to the trust list"),
            Self::NoAddress => f.write_str("no address is known for the peer: give the node one"),
            Self::Closed { address, closed } => write!(f, "no link by {address:?}: {closed}"),
        }
    }
}

impl core::error::Error for DialError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Closed { closed, .. } => Some(closed),
            _ => None,
        }
    }
}

/// Why there is no connection, as the owner of the sockets knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialFailure {
    /// The system's words.
    Unreachable(String),
    /// The ticket's deadline came.
    TimedOut,
}

/// The order in which to try `addresses`: at random by weight, as RFC 2782 has it for SRV records, so that of
/// two addresses with weights 3 and 1 the first one comes first three times of four. One of weight 0 comes
/// behind all others.
pub(super) fn order(addresses: &[DialAddress], draws: &mut Draws) -> Vec<String> {
    let mut left: Vec<&DialAddress> = addresses.iter().collect();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let total: u64 = left.iter().map(|entry| u64::from(entry.weight)).sum();
        let mut draw = draws.below(total);
        let chosen = left.iter().position(|entry| {
            let hit = draw < u64::from(entry.weight);
            draw = draw.saturating_sub(entry.weight.into());
            hit
        });
        order.push(left.remove(chosen.unwrap_or(0)).address.clone());
    }
    // The next one is at the end, to be popped.
    order.reverse();
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d2_addresses_come_by_weight_and_each_comes() {
        let address = |weight, address: &str| DialAddress { weight, address: address.into() };
        let addresses = [address(3, "often"), address(1, "seldom"), address(0, "last")];
        let mut draws = Draws::new(1);
        let mut first = 0;
        for _ in 0..4000 {
            let mut order = order(&addresses, &mut draws);
            assert_eq!(order.len(), 3);
            assert_eq!(order.first().map(String::as_str), Some("last"));
            first += usize::from(order.pop().as_deref() == Some("often"));
        }
        assert!((2850..3150).contains(&first), "{first} of 4000");
    }
}
