//! How many handshakes others may have under way: counted by connection, before anything is computed for it.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::message::LinkId;

/// Where a connection comes from, as far as its neighbours are concerned: the /24 of an IPv4 address, the /48
/// of an IPv6 address, which are what one party is commonly given. An IPv4 address mapped into IPv6 counts as
/// what it is, so that a dual-stack listener gives nobody two shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(Prefix);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Prefix {
    Local,
    V4([u8; 3]),
    V6([u8; 6]),
}

impl Source {
    /// A connection without a network address, such as a Unix socket's: all of them are one source.
    pub const LOCAL: Self = Self(Prefix::Local);
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(address) => address.into(),
                None => address.into(),
            },
        }
    }
}

impl From<Ipv4Addr> for Source {
    fn from(address: Ipv4Addr) -> Self {
        let [a, b, c, _] = address.octets();
        Self(Prefix::V4([a, b, c]))
    }
}

impl From<Ipv6Addr> for Source {
    fn from(address: Ipv6Addr) -> Self {
        let octets = address.octets();
        Self(Prefix::V6(octets.first_chunk().copied().unwrap_or_default()))
    }
}

#[derive(Debug, Default)]
struct Share {
    handshakes: usize,
    waiting: Waiting,
}

/// Handshakes in the order in which they began.
#[derive(Debug, Default)]
struct Waiting {
    /// Those from which nothing has come yet.
    silent: BTreeSet<LinkId>,
    /// Those whose peers have proved no id.
    unproved: BTreeSet<LinkId>,
}

impl Waiting {
    fn enter(&mut self, link: LinkId) {
        self.silent.insert(link);
        self.unproved.insert(link);
    }

    fn first(&self) -> Room {
        Room::Instead { silent: self.silent.first().copied(), unproved: self.unproved.first().copied() }
    }
}

/// Handshakes that others have under way.
#[derive(Debug, Default)]
pub(super) struct Admission {
    total: usize,
    shares: BTreeMap<Source, Share>,
    waiting: Waiting,
}

/// Whether there is room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    /// Only in place of one of those that were there first and are worth the least.
    Instead {
        silent: Option<LinkId>,
        unproved: Option<LinkId>,
    },
}

impl Admission {
    /// Where room for one more from `source` would come from.
    pub(super) fn room(&self, source: Source, most: usize, most_per_source: usize) -> Room {
        match self.shares.get(&source) {
            Some(share) if share.handshakes >= most_per_source => share.waiting.first(),
            _ if self.total >= most => self.waiting.first(),
            _ => Room::Free,
        }
    }

    pub(super) fn enter(&mut self, source: Source, link: LinkId) {
        let share = self.shares.entry(source).or_default();
        share.handshakes += 1;
        share.waiting.enter(link);
        self.waiting.enter(link);
        self.total += 1;
    }

    /// The other side has said something.
    pub(super) fn heard(&mut self, source: Source, link: LinkId) {
        self.waiting.silent.remove(&link);
        if let Some(share) = self.shares.get_mut(&source) {
            share.waiting.silent.remove(&link);
        }
    }

    /// The peer has proved its id.
    pub(super) fn proved(&mut self, source: Source, link: LinkId) {
        self.heard(source, link);
        self.waiting.unproved.remove(&link);
        if let Some(share) = self.shares.get_mut(&source) {
            share.waiting.unproved.remove(&link);
        }
    }

    /// The handshake is over.
    pub(super) fn leave(&mut self, source: Source, link: LinkId) {
        self.proved(source, link);
        let Some(share) = self.shares.get_mut(&source) else { return };
        share.handshakes = share.handshakes.saturating_sub(1);
        if share.handshakes == 0 {
            self.shares.remove(&source);
        }
        self.total = self.total.saturating_sub(1);
    }

    pub(super) const fn total(&self) -> usize {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        text.parse::<IpAddr>().expect("an address").into()
    }

    #[test]
    fn c6_neighbours_share_and_mapped_addresses_are_what_they_are() {
        assert_eq!(source("192.0.2.1"), source("192.0.2.254"));
        assert_ne!(source("192.0.2.1"), source("192.0.3.1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.7"));
        assert_eq!(source("2001:db8:1::1"), source("2001:db8:1:ffff::2"));
        assert_ne!(source("2001:db8:1::1"), source("2001:db8:2::1"));
    }

    #[test]
    fn c6_a_share_is_bounded_and_those_worth_the_least_make_room() {
        let mut admission = Admission::default();
        let (near, far) = (source("192.0.2.1"), source("198.51.100.1"));
        let instead = |silent: u64, unproved: u64| {
            let link = |id: u64| (id > 0).then_some(LinkId(id));
            Room::Instead { silent: link(silent), unproved: link(unproved) }
        };
        for id in 1..=3 {
            assert_eq!(admission.room(near, 4, 3), Room::Free);
            admission.enter(near, LinkId(id));
        }
        assert_eq!(admission.room(near, 4, 3), instead(1, 1));
        admission.heard(near, LinkId(1));
        assert_eq!(admission.room(near, 4, 3), instead(2, 1));
        admission.proved(near, LinkId(1));
        admission.enter(far, LinkId(4));
        assert_eq!(admission.room(far, 4, 3), instead(2, 2), "no room at all");
        for (source, id) in [(near, 2), (near, 3), (far, 4)] {
            admission.proved(source, LinkId(id));
        }
        assert_eq!(admission.room(far, 4, 3), instead(0, 0));
        admission.leave(near, LinkId(1));
        assert_eq!(admission.room(far, 4, 3), Room::Free);
        for (source, id) in [(near, 2), (near, 3), (far, 4)] {
            admission.leave(source, LinkId(id));
        }
        let Waiting { silent, unproved } = &admission.waiting;
        assert_eq!((admission.total(), admission.shares.len(), silent.len(), unproved.len()), (0, 0, 0, 0));
    }
}
