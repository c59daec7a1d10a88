//! A node with its links and no sockets: connections are made and fed by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use handclasp::node::{DialTicket, LinkId, Node, NodeAction, NodeEvent, NodePolicy, NodeToLink, Source};
use handclasp::{Action, Config, Instant, Link, Ready};
use handclasp_sim::{Owned, Solo, seed};

/// An address of the documentation's network number `net`.
pub(crate) fn source(net: u32) -> Source {
    Ipv4Addr::from_bits(0x0a00_0000 | net << 8 | 1).into()
}

/// What a connection was answered with.
pub(crate) enum Met {
    /// A link.
    Link(LinkId),
    /// The last words of a node that is full.
    Busy([u8; 5]),
}

/// A node and its links. What links write is dropped, their events too, unless a test asks for a link.
pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) now: Instant,
    links: BTreeMap<LinkId, (Link, Option<Instant>)>,
    wakes: BTreeSet<(Instant, LinkId)>,
    /// What the link that is fed at the moment answers.
    answer: Option<(LinkId, Vec<u8>)>,
    /// Handshakes of which the node has told the end.
    pub(crate) ended: usize,
    /// Events of the node that are not the end of a handshake or a connection turned away.
    pub(crate) events: Vec<NodeEvent>,
    /// Dials that the node asks for.
    pub(crate) dials: Vec<DialTicket>,
    /// What the node says to links that are driven by hand.
    words: Vec<(LinkId, NodeToLink)>,
    by_hand: Vec<LinkId>,
}

impl Host {
    pub(crate) fn new(config: &Arc<Config>, policy: NodePolicy) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        Self {
            node: Node::new(config, policy, &seed(77), now),
            now,
            links: BTreeMap::new(),
            wakes: BTreeSet::new(),
            answer: None,
            ended: 0,
            events: Vec::new(),
            dials: Vec::new(),
            words: Vec::new(),
            by_hand: Vec::new(),
        }
    }

    /// A connection comes in.
    pub(crate) fn connect(&mut self, source: Source) -> Met {
        let met = match self.node.accept(source, self.now) {
            Ok((id, link)) => {
                self.links.insert(id, (link, None));
                self.turn(id);
                Met::Link(id)
            }
            Err(busy) => Met::Busy(busy.last_words),
        };
        self.node_turn();
        met
    }

    /// A connection of which the first bytes are there at once: whether it was taken.
    pub(crate) fn knock(&mut self, source: Source, bytes: &[u8]) -> bool {
        match self.connect(source) {
            Met::Link(id) => {
                self.feed(id, bytes);
                true
            }
            Met::Busy(words) => {
                assert_eq!(words[..3], [0, 0, 3], "last words are over_capacity");
                false
            }
        }
    }

    /// Bytes come on a connection, as far as its link takes them; what the link answers.
    pub(crate) fn feed(&mut self, id: LinkId, mut bytes: &[u8]) -> Vec<u8> {
        self.answer = Some((id, Vec::new()));
        while let Some((link, _)) = self.links.get_mut(&id) {
            let space = link.recv_space();
            let count = space.len().min(bytes.len());
            if count == 0 {
                break;
            }
            space[..count].copy_from_slice(&bytes[..count]);
            link.received(count, self.now);
            bytes = &bytes[count..];
            self.turn(id);
            self.node_turn();
        }
        self.answer.take().map(|(_, answer)| answer).unwrap_or_default()
    }

    /// The other side closes a connection.
    pub(crate) fn hang_up(&mut self, id: LinkId) {
        if let Some((link, _)) = self.links.get_mut(&id) {
            link.recv_closed(self.now);
            self.turn(id);
            self.node_turn();
        }
    }

    /// A connection whose link a test drives itself.
    pub(crate) fn connect_by_hand(&mut self, source: Source) -> (LinkId, Solo) {
        let (id, link) = self.node.accept(source, self.now).expect("there is room");
        (id, self.by_hand(id, link))
    }

    /// A link that a test drives itself.
    pub(crate) fn by_hand(&mut self, id: LinkId, link: Link) -> Solo {
        self.by_hand.push(id);
        let events = Vec::<Owned>::new();
        let mut solo = Solo { link, events, now: self.now, ready: Ready::ALL, out: Vec::new(), keys: () };
        solo.act();
        solo
    }

    /// What such a link tells the node, and what the node tells it.
    pub(crate) fn talk<Keys>(&mut self, id: LinkId, solo: &mut Solo<Keys>) {
        loop {
            let mut said = false;
            while let Some(word) = solo.link.poll_node() {
                said = true;
                self.node.handle(id, word, self.now);
            }
            self.node_turn();
            let (theirs, others) = std::mem::take(&mut self.words).into_iter().partition(|(to, _)| *to == id);
            self.words = others;
            let theirs: Vec<_> = theirs;
            if theirs.is_empty() && !said {
                return;
            }
            for (_, word) in theirs {
                solo.link.on_node(word, self.now);
            }
            solo.act();
        }
    }

    /// Lets one link act, and passes its words on.
    fn turn(&mut self, id: LinkId) {
        let Some((link, wake)) = self.links.get_mut(&id) else { return };
        let next = loop {
            match link.poll(self.now, Ready::ALL) {
                Action::Event(_) => {}
                Action::Send => {
                    let bytes = link.transmit(self.now);
                    let count = bytes.len();
                    if let Some((_, answer)) = self.answer.as_mut().filter(|(fed, _)| *fed == id) {
                        answer.extend_from_slice(bytes);
                    }
                    link.transmitted(count, self.now);
                }
                Action::Timeout(at) => break at,
            }
        };
        if let Some(old) = wake.take() {
            self.wakes.remove(&(old, id));
        }
        *wake = next;
        self.wakes.extend(next.map(|at| (at, id)));
        let mut over = false;
        while let Some(word) = link.poll_node() {
            over |= word.is_end();
            self.node.handle(id, word, self.now);
        }
        if over {
            let (_, wake) = self.links.remove(&id).expect("the link is here");
            self.wakes.retain(|(at, other)| wake != Some(*at) || *other != id);
        }
    }

    /// Does what the node says until it says no more.
    pub(crate) fn node_turn(&mut self) {
        loop {
            match self.node.poll(self.now) {
                NodeAction::ToLink(id, word) => {
                    if let Some((link, _)) = self.links.get_mut(&id) {
                        link.on_node(word, self.now);
                        self.turn(id);
                    } else if self.by_hand.contains(&id) {
                        self.words.push((id, word));
                    }
                }
                NodeAction::Event(NodeEvent::HandshakeEnded { .. }) => self.ended += 1,
                NodeAction::Event(NodeEvent::OverCapacity { .. }) => {}
                NodeAction::Event(event) => self.events.push(event),
                NodeAction::Dial(ticket) => self.dials.push(ticket),
                NodeAction::Timeout(_) => return,
            }
        }
    }

    /// When the node wants to be woken.
    pub(crate) fn node_deadline(&mut self) -> Option<Instant> {
        match self.node.poll(self.now) {
            NodeAction::Timeout(at) => at,
            other => panic!("not at rest: {other:?}"),
        }
    }

    /// Lets time pass, with every deadline of a link on the way. The node's own are acted on at the end.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((at, id)) = self.wakes.first().copied().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.turn(id);
            self.node_turn();
        }
        self.now = until;
        self.node_turn();
    }

    /// Links that there are.
    pub(crate) fn links(&self) -> usize {
        self.links.len()
    }
}
