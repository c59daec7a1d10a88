//! How a host drives its links and its node, and what has to hold on every step.

use handclasp::node::{Answer, LinkId, Node, NodeAction, NodeEvent, NodeToLink, PeerState};
use handclasp::{Action, Phase, Ready};

use super::host::{Driven, Host};
use super::net::{Conn, State};
use super::spec::{Mischief, NodeSpec};
use super::{Due, World};
use crate::Owned;

/// Turns that a host may take at one instant before its loop counts as hot.
const TURNS: u32 = 2000;

/// What one link may do in one turn.
const MOVES: u32 = 20_000;

impl World {
    pub(super) fn note(&mut self, what: &'static str, place: [u64; 3], detail: impl FnOnce() -> String) {
        self.trace.note(self.now, what, place, detail);
    }

    /// A host does everything that it can do now, and says when it is to be woken.
    pub(super) fn turn(&mut self, host: usize) {
        if self.hosts[host].node.is_none() {
            return;
        }
        let (at, turns) = &mut self.hosts[host].turns;
        *turns = if *at == self.now { *turns + 1 } else { 0 };
        *at = self.now;
        let rests = *turns <= TURNS;
        self.ensure(rests, || format!("host {host} runs hot"));
        let mut rounds = 0;
        loop {
            let mut moved = self.ask_due(host);
            let (now, local) = (self.now, self.clock(host));
            let is_due = |driven: &Driven| {
                driven.dirty
                    || driven.deadline.is_some_and(|at| at <= local)
                    || driven.due().is_some_and(|at| at <= now)
            };
            let links = &self.hosts[host].links;
            let due: Vec<_> = links.iter().filter(|(_, driven)| is_due(driven)).map(|(id, _)| *id).collect();
            for link in due {
                moved = true;
                self.drive(host, link);
            }
            moved |= self.pass_words(host);
            let node_is_due = self.hosts[host].node_deadline.is_some_and(|at| at <= local);
            if moved || node_is_due || rounds == 0 {
                self.drain_node(host);
            }
            self.hosts[host].links.retain(|_, driven| !(driven.end_heard && driven.link.is_finished()));
            // The node may have said something to a link just then.
            if !moved && !self.hosts[host].links.values().any(|driven| driven.dirty) {
                break;
            }
            rounds += 1;
            self.ensure(rounds < TURNS, || format!("host {host} finds no rest"));
        }
        self.check(host);
        if self.hosts[host].stopping {
            self.finish_shut_down(host);
        }
        self.plan_wake(host);
    }

    fn plan_wake(&mut self, host: usize) {
        let Host { clock, links, node, node_deadline, questions, wake, .. } = &self.hosts[host];
        if node.is_none() {
            return;
        }
        let local = links.values().filter_map(|driven| driven.deadline).chain(*node_deadline);
        let words = links.values().filter_map(|driven| driven.to_node.front()).map(|(at, _)| *at);
        let others =
            links.values().filter_map(Driven::due).chain(words).chain(questions.iter().map(|(at, _)| *at));
        let next = local.map(|at| clock.when(at)).chain(others).min();
        if let Some(next) = next {
            let next = next.max(self.now);
            if wake.is_none_or(|wake| next < wake || wake < self.now) {
                self.hosts[host].wake = Some(next);
                self.plan(next, Due::Wake(host));
            }
        }
    }

    /// Answers the questions of a host's node whose time has come.
    fn ask_due(&mut self, host: usize) -> bool {
        let (now, local) = (self.now, self.clock(host));
        let mut asked = false;
        while let Some(place) = self.hosts[host].questions.iter().position(|(at, _)| *at <= now) {
            let (_, ticket) = self.hosts[host].questions.swap_remove(place);
            if let Some(node) = &mut self.hosts[host].node {
                node.answer(ticket, Answer::Admit { known: None }, local);
            }
            asked = true;
        }
        asked
    }

    /// Gives the node what its links say, as far as it is there.
    fn pass_words(&mut self, host: usize) -> bool {
        let local = self.clock(host);
        let mut passed = false;
        let links: Vec<_> = self.hosts[host].links.keys().copied().collect();
        for link in links {
            while let Some(driven) = self.hosts[host].links.get_mut(&link) {
                if driven.to_node.front().is_none_or(|(at, _)| *at > self.now) {
                    break;
                }
                let Some((_, mut word)) = driven.to_node.pop_front() else { break };
                passed = true;
                if word.gives_back() {
                    let mut held = core::mem::take(&mut driven.held);
                    held.extend(driven.to_link.iter_mut().flat_map(|(_, word)| word.take_messages()));
                    if word.is_end() {
                        driven.end_heard = true;
                        // What else the node has said holds for what the link still has.
                        for (_, word) in driven.to_link.drain(..) {
                            driven.link.on_node(word, local);
                        }
                        driven.dirty = true;
                        held.splice(0..0, core::iter::from_fn(|| driven.link.take_unsent()));
                    }
                    self.counts.held += held.len() as u64;
                    if self.mischief != Some(Mischief::ForgetHeld) {
                        word.extend_unsent(held);
                    }
                }
                self.note("to node", [host as u64, link.get(), 0], || format!("{word:?}"));
                if let Some(node) = &mut self.hosts[host].node {
                    node.handle(link, word, local);
                }
                self.drain_node(host);
            }
        }
        passed
    }

    /// Does what a host's node says until it says no more.
    pub(super) fn drain_node(&mut self, host: usize) {
        let local = self.clock(host);
        for _ in 0..MOVES {
            let Some(node) = &mut self.hosts[host].node else { return };
            match node.poll(local) {
                NodeAction::Event(event) => self.on_node_event(host, event),
                NodeAction::Dial(ticket) => self.dial(host, ticket),
                NodeAction::ToLink(link, word) => {
                    self.note("to link", [host as u64, link.get(), 0], || format!("{word:?}"));
                    self.word_to_link(host, link, word);
                }
                NodeAction::Timeout(at) => {
                    self.ensure(at.is_none_or(|at| at > local), || {
                        format!("host {host}: the node's deadline {at:?} is not after {local:?}")
                    });
                    let again = self.hosts[host].node.as_mut().map(|node| node.poll(local));
                    let rests = matches!(again, Some(NodeAction::Timeout(again)) if again == at);
                    self.ensure(rests, || {
                        format!("host {host}: the node said Timeout({at:?}), then {again:?}")
                    });
                    self.hosts[host].node_deadline = at;
                    return;
                }
            }
        }
        self.fail(&format!("the node of host {host} finds no end"));
    }

    /// Gives a link a word of its node's. Messages stay here once the link has said that it gives back.
    pub(super) fn tell(&self, driven: &mut Driven, mut word: NodeToLink) {
        let host = self.conns[driven.conn].ends[driven.side].host;
        if driven.gives_back {
            driven.held.extend(word.take_messages());
        }
        driven.link.on_node(word, self.clock(host));
    }

    fn word_to_link(&mut self, host: usize, link: LinkId, mut word: NodeToLink) {
        if self.mischief == Some(Mischief::DropDelivered) {
            drop(word.take_messages());
        }
        let (now, wait) = (self.now, self.random.up_to(self.weather.words));
        let swap = self.mischief == Some(Mischief::SwapWords);
        if let Some(driven) = self.hosts[host].links.get_mut(&link).filter(|driven| !driven.end_heard) {
            let last = driven.to_link.back().map_or(now, |(at, _)| *at);
            driven.to_link.push_back((last.max(now + wait), word));
            driven.dirty = true;
            let count = driven.to_link.len();
            if swap && count > 1 {
                driven.to_link.swap(count - 1, count - 2);
            }
        } else {
            let lost = word.into_undelivered().len();
            self.ensure(lost == 0, || format!("{lost} messages for link {link}, whose end the node knows"));
        }
    }

    /// Takes the words of a link for its node.
    pub(super) fn collect(&mut self, driven: &mut Driven) -> bool {
        let now = self.now;
        let mut any = false;
        while let Some(word) = driven.link.poll_node() {
            any = true;
            self.ensure(!driven.end_said, || format!("a link says {word:?} behind its end"));
            driven.end_said = word.is_end();
            driven.gives_back |= word.gives_back();
            let wait = self.random.up_to(self.weather.words);
            let last = driven.to_node.back().map_or(now, |(at, _)| *at);
            driven.to_node.push_back((last.max(now + wait), word));
        }
        any
    }

    /// Drives one link as far as it goes.
    fn drive(&mut self, host: usize, link: LinkId) {
        let Some(mut driven) = self.hosts[host].links.remove(&link) else { return };
        let now = self.now;
        let driven_ref = &mut driven;
        driven_ref.dirty = false;
        let mut rounds = 0;
        loop {
            let mut moved = false;
            while driven_ref.to_link.front().is_some_and(|(at, _)| *at <= now) {
                let Some((_, word)) = driven_ref.to_link.pop_front() else { break };
                self.tell(driven_ref, word);
                moved = true;
                self.collect(driven_ref);
            }
            self.answer_due(host, driven_ref);
            moved |= self.act(host, link, driven_ref);
            moved |= self.read(host, driven_ref);
            moved |= self.collect(driven_ref);
            if !moved {
                break;
            }
            rounds += 1;
            self.ensure(rounds < MOVES, || format!("host {host}: link {link} finds no end"));
        }
        self.tally(&driven);
        self.watch_end(host, link, &mut driven);
        self.hosts[host].links.insert(link, driven);
    }

    fn tally(&mut self, driven: &Driven) {
        self.conns[driven.conn].ends[driven.side].tally.sealed = driven.link.stats().messages_sent;
    }

    /// Takes events and writes bytes until the link has none.
    fn act(&mut self, host: usize, link: LinkId, driven: &mut Driven) -> bool {
        let local = self.clock(host);
        let taking = self.hosts[host].taking;
        let mut moved = false;
        for _ in 0..MOVES {
            let ready = Ready {
                events: taking,
                requests: taking,
                unordered: taking || host % 2 == 1,
                write: !driven.full,
            };
            let finished = driven.link.is_finished();
            match driven.link.poll(local, ready) {
                Action::Event(event) => {
                    let event = Owned::from(event);
                    self.ensure(!finished, || format!("host {host}, link {link}: {event:?} behind Closed"));
                    let is_end = matches!(event, Owned::Closed(_));
                    self.tally(driven);
                    self.on_link_event(host, link, driven, event);
                    self.collect(driven);
                    if is_end {
                        self.detach(driven.conn, driven.side);
                    }
                }
                Action::Send => {
                    self.ensure(!finished, || format!("host {host}, link {link}: bytes behind Closed"));
                    let count = driven.link.transmit(local).len();
                    self.ensure(count > 0, || format!("host {host}, link {link}: Send without bytes"));
                    let count = self.write(driven.conn, driven.side, driven.link.transmit(local));
                    if count == 0 {
                        driven.full = true;
                    } else {
                        driven.link.transmitted(count, local);
                    }
                }
                Action::Timeout(at) => {
                    self.ensure(at.is_none_or(|at| at > local), || {
                        format!("host {host}, link {link}: the deadline {at:?} is not after {local:?}")
                    });
                    let rests =
                        matches!(driven.link.poll(local, ready), Action::Timeout(again) if again == at);
                    self.ensure(rests, || format!("host {host}, link {link}: not at rest after {at:?}"));
                    let silent = driven.full || driven.link.transmit(local).is_empty();
                    self.ensure(silent, || format!("host {host}, link {link}: bytes, but no Send"));
                    driven.deadline = at;
                    return moved;
                }
            }
            moved = true;
        }
        self.fail(&format!("host {host}: link {link} finds no end"));
    }

    /// Gives the link what has come on its connection.
    fn read(&mut self, host: usize, driven: &mut Driven) -> bool {
        let (conn, side, local) = (driven.conn, driven.side, self.clock(host));
        if driven.link.is_finished() {
            return false;
        }
        let Conn { pipes, choppy, .. } = &mut self.conns[conn];
        let pipe = &mut pipes[1 - side];
        if pipe.reset {
            if !core::mem::replace(&mut driven.eof, true) {
                driven.link.transport_failed(local);
                driven.full = true;
                return true;
            }
            return false;
        }
        let space = driven.link.recv_space();
        let piece = if *choppy { 1 + self.random.index(700) } else { usize::MAX };
        let count = space.len().min(pipe.inbox.len()).min(piece);
        if count > 0 {
            for (to, from) in space.iter_mut().zip(pipe.inbox.drain(..count)) {
                *to = from;
            }
            driven.link.received(count, local);
            self.free(conn, 1 - side);
            return true;
        }
        let over = pipe.over;
        if driven.link.phase() == Phase::Closed && !pipe.inbox.is_empty() {
            // It reads no more: the bytes are in the way of nobody.
            pipe.inbox.clear();
            self.free(conn, 1 - side);
        }
        if over && self.conns[conn].pipes[1 - side].inbox.is_empty() && !driven.eof {
            driven.eof = true;
            driven.link.recv_closed(local);
            return true;
        }
        false
    }

    /// Closing ends by its deadline.
    fn watch_end(&mut self, host: usize, link: LinkId, driven: &mut Driven) {
        let local = self.clock(host);
        let phase = driven.link.phase();
        if phase == Phase::Draining {
            driven.draining.get_or_insert(local);
        }
        if phase == Phase::Closed {
            driven.closed.get_or_insert(local);
        }
        let Some(node) = &self.hosts[host].node else { return };
        let timing = node.config().timing();
        let late = driven
            .draining
            .is_some_and(|since| phase == Phase::Draining && local.since(since) >= timing.drain);
        self.ensure(!late, || format!("host {host}: link {link} drains for longer than {:?}", timing.drain));
        let most = timing.flush.max(timing.drain);
        let late = driven.closed.is_some_and(|since| local.since(since) >= most);
        let done = driven.link.is_finished() || !self.hosts[host].taking;
        self.ensure(done || !late, || format!("host {host}: link {link} is ending for longer than {most:?}"));
    }

    /// What holds for a host whenever it rests.
    fn check(&mut self, host: usize) {
        let Host { node: Some(node), links, muted, spec, .. } = &self.hosts[host] else { return };
        for (id, driven) in links {
            let peer = driven.link.peer().map(|peer| peer.id);
            let revoked = driven.link.phase().is_open() && peer.is_some_and(|peer| muted.contains(&peer));
            self.ensure(!revoked, || format!("host {host}: link {id} to a revoked peer lives"));
            let attached = self.conns[driven.conn].ends[driven.side].state == State::Linked(*id);
            self.ensure(attached || driven.link.is_finished(), || {
                format!("host {host}: link {id} has no end")
            });
        }
        for peer in &self.hosts {
            let route = node.route(peer.id);
            let known = route.is_none_or(|route| links.contains_key(&route));
            self.ensure(known, || format!("host {host}: the route {route:?} to {} is gone", peer.id));
        }
        let (count, handshakes) = node.link_counts();
        let heard = links.values().filter(|driven| !driven.end_heard).count();
        self.ensure(count == heard, || format!("host {host}: the node has {count} links, its owner {heard}"));
        self.ensure(handshakes <= spec.policy.handshakes, || format!("host {host}: {handshakes} handshakes"));
        let mut queued = 0;
        for status in node.statuses() {
            let known = self.host_of(status.id).is_some();
            self.ensure(known, || format!("host {host} keeps a record of nobody: {status:?}"));
            let linked = matches!(status.state, PeerState::Linked { .. });
            let welcome = !linked || node.is_trusted(status.id);
            self.ensure(welcome, || format!("host {host}: a link to one it does not trust: {status:?}"));
            self.ensure(status.queued_bytes <= Self::outbox_bound(node, spec), || {
                format!("host {host}: {} bytes wait for one peer", status.queued_bytes)
            });
            queued += status.queued_bytes;
        }
        let most = spec.policy.outbox + self.hosts.len() * Self::outbox_bound(node, spec);
        self.ensure(queued <= most, || format!("host {host}: {queued} bytes wait for all peers"));
    }

    /// What may wait for one peer: the outbox with one message over its limit, and what a link gives back,
    /// which is its send buffer with one message over.
    fn outbox_bound(node: &Node, spec: &NodeSpec) -> usize {
        let largest = node.config().limits().max_message as usize + 64 + 255;
        node.policy().outbox_per_peer + spec.send_buffer + 2 * largest
    }

    /// Events of a host's node of which `pick` makes something.
    pub fn events_of<'a, T>(
        &'a self,
        host: usize,
        pick: impl Fn(&'a NodeEvent) -> Option<T> + 'a,
    ) -> impl Iterator<Item = T> + 'a {
        self.hosts[host].events.iter().filter_map(move |(_, event)| pick(event))
    }
}
