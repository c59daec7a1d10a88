//! What the network does with connections.

use std::net::Ipv4Addr;
use std::time::Duration;

use handclasp::Link;
use handclasp::node::{DialFailure, DialTicket, LinkId, Source};

use super::host::Driven;
use super::net::{Conn, Packet, State};
use super::{Due, STRANGER, World};

/// How long an end is read after the last word, before it is dropped.
const LINGER: Duration = Duration::from_secs(1);

/// How long until a packet that did not pass is sent again.
const AGAIN: Duration = Duration::from_millis(700);

impl World {
    fn latency(&mut self) -> Duration {
        let (least, most) = self.weather.latency;
        least + self.random.up_to(most.saturating_sub(least))
    }

    fn passes(&self, conn: usize, side: usize) -> bool {
        let Conn { ends, dead, .. } = &self.conns[conn];
        !dead && !self.blocked.contains(&(ends[side].host, ends[1 - side].host))
    }

    /// A host dials: the ticket's address is `host <place>`, anything else leads nowhere.
    pub(super) fn dial(&mut self, host: usize, ticket: DialTicket) {
        let to = ticket.address().strip_prefix("host ").and_then(|place| place.parse::<usize>().ok());
        self.note("dial", [host as u64, 0, 0], || format!("{:?}", ticket.address()));
        let over = self.hosts[host].clock.when(ticket.deadline());
        let life = self.hosts[host].life;
        let known = to.filter(|to| *to < self.hosts.len());
        let conn = self.open((host, life), known.unwrap_or(host));
        self.hosts[host].dials.insert(conn, ticket);
        self.plan(over, Due::DialOver(conn));
        let at = self.now + self.latency();
        self.plan(at, if known.is_some() { Due::Syn(conn) } else { Due::Refused(conn) });
    }

    fn open(&mut self, from: (usize, u32), to: usize) -> usize {
        let choppy = self.weather.choppy > 0 && self.random.once_in(self.weather.choppy);
        self.conns.push(Conn::new(from, (to, 0), self.weather.room, choppy));
        self.conns.len() - 1
    }

    /// Somebody who is no host connects to `to`, writes `bytes`, and goes if `leaves`.
    pub fn stranger(&mut self, to: usize, bytes: &[u8], leaves: bool) {
        let conn = self.open((STRANGER, 0), to);
        self.conns[conn].ends[0].state = State::Lingering(Duration::MAX);
        self.syn(conn);
        self.write(conn, 0, bytes);
        if leaves {
            self.shut(conn, 0);
        }
    }

    pub(super) fn syn(&mut self, conn: usize) {
        let host = self.conns[conn].ends[1].host;
        if !self.passes(conn, 0) || !self.passes(conn, 1) {
            if self.is_dialled(conn) {
                self.plan(self.now + AGAIN, Due::Syn(conn));
            }
            return;
        }
        let (answer, now) = (self.now + self.latency(), self.clock(host));
        self.conns[conn].ends[1].life = self.hosts[host].life;
        let number = self.hosts[host].number;
        let up = self.hosts[host].listening;
        let Some(node) = self.hosts[host].node.as_mut().filter(|_| up) else {
            self.conns[conn].ends[1].state = State::Gone { silent: false };
            return self.plan(answer, Due::Refused(conn));
        };
        self.counts.connections += 1;
        let from = u8::try_from(self.conns[conn].ends[0].host).map_or(0, |host| host + 1);
        let source = Source::from(Ipv4Addr::new(10, number, from, 1));
        match node.accept(source, now) {
            Ok((id, link)) => self.attach(host, conn, 1, id, link),
            Err(busy) => {
                self.counts.busy += 1;
                self.conns[conn].ends[1].state = State::Lingering(self.now + LINGER);
                self.plan(self.now + LINGER, Due::LingerOver { conn, side: 1 });
                self.write(conn, 1, &busy.last_words);
                self.shut(conn, 1);
            }
        }
        self.plan(answer, Due::SynAck(conn));
        self.turn(host);
    }

    fn is_dialled(&self, conn: usize) -> bool {
        let end = &self.conns[conn].ends[0];
        self.hosts.get(end.host).is_some_and(|host| host.dials.contains_key(&conn))
    }

    fn attach(&mut self, host: usize, conn: usize, side: usize, id: LinkId, link: Link) {
        self.note("begin", [host as u64, id.get(), conn as u64], || format!("side {side}"));
        let end = &mut self.conns[conn].ends[side];
        end.state = State::Linked(id);
        end.life = self.hosts[host].life;
        let old = self.hosts[host].links.insert(id, Driven::new(link, conn, side));
        self.ensure(old.is_none(), || format!("host {host} has two links {id}"));
    }

    pub(super) fn syn_ack(&mut self, conn: usize) {
        let host = self.conns[conn].ends[0].host;
        let now = if host == STRANGER { return } else { self.clock(host) };
        let ticket = self.hosts[host].dials.remove(&conn);
        let begun = ticket.and_then(|ticket| self.hosts[host].node.as_mut()?.connected(ticket, now));
        if let Some((id, link)) = begun {
            self.attach(host, conn, 0, id, link);
        } else {
            // Nobody wants it any more.
            self.conns[conn].ends[0].state = State::Gone { silent: false };
            self.send_reset(conn, 0);
        }
        self.turn(host);
    }

    pub(super) fn refused(&mut self, conn: usize, why: &str) {
        let host = self.conns[conn].ends[0].host;
        if host == STRANGER {
            return;
        }
        self.conns[conn].ends[0].state = State::Gone { silent: false };
        let now = self.clock(host);
        if let Some(ticket) = self.hosts[host].dials.remove(&conn) {
            if let Some(node) = &mut self.hosts[host].node {
                node.dial_failed(ticket, DialFailure::Unreachable(why.into()), now);
            }
            self.turn(host);
        }
    }

    pub(super) fn dial_over(&mut self, conn: usize) {
        let host = self.conns[conn].ends[0].host;
        let Some(ticket) = self.hosts[host].dials.remove(&conn) else { return };
        self.conns[conn].ends[0].state = State::Gone { silent: true };
        let now = self.clock(host);
        // An owner may say that a dial timed out, or just let go of the ticket.
        let says = self.random.once_in(2);
        if let Some(node) = self.hosts[host].node.as_mut().filter(|_| says) {
            node.dial_failed(ticket, DialFailure::TimedOut, now);
        }
        self.turn(host);
    }

    /// Writes as many of these bytes as there is room for.
    pub(super) fn write(&mut self, conn: usize, side: usize, bytes: &[u8]) -> usize {
        let (now, late) = (self.now, self.latency());
        let piece = if self.conns[conn].choppy { 1 + self.random.index(1500) } else { usize::MAX };
        let room = self.conns[conn].room;
        let pipe = &mut self.conns[conn].pipes[side];
        let count = bytes.len().min(room.saturating_sub(pipe.held())).min(piece);
        if count == 0 {
            pipe.blocked = true;
            return 0;
        }
        let at = pipe.arrival(now + late);
        pipe.under_way += count;
        pipe.flight.push_back((at, Packet::Bytes(bytes[..count].to_vec())));
        self.trace.bytes(&bytes[..count]);
        self.note("write", [conn as u64, side as u64, count as u64], String::new);
        self.plan(at, Due::Arrive { conn, side });
        count
    }

    fn post(&mut self, conn: usize, side: usize, packet: Packet) {
        let soonest = self.now + self.latency();
        let pipe = &mut self.conns[conn].pipes[side];
        let at = pipe.arrival(soonest);
        pipe.flight.push_back((at, packet));
        self.plan(at, Due::Arrive { conn, side });
    }

    /// Closes a side for writing.
    pub(super) fn shut(&mut self, conn: usize, side: usize) {
        if !core::mem::replace(&mut self.conns[conn].pipes[side].shut, true) {
            self.post(conn, side, Packet::Fin);
        }
    }

    pub(super) fn send_reset(&mut self, conn: usize, side: usize) {
        if !self.conns[conn].pipes[side].reset {
            self.conns[conn].pipes[side].shut = true;
            self.post(conn, side, Packet::Reset);
        }
    }

    /// What a side has written is there.
    pub(super) fn arrive(&mut self, conn: usize, side: usize) {
        if !self.passes(conn, side) {
            return;
        }
        let mut come = false;
        loop {
            let now = self.now;
            let pipe = &mut self.conns[conn].pipes[side];
            if pipe.flight.front().is_none_or(|(at, _)| *at > now) {
                break;
            }
            let Some((_, packet)) = pipe.flight.pop_front() else { break };
            come = true;
            let state = self.conns[conn].ends[1 - side].state;
            let pipe = &mut self.conns[conn].pipes[side];
            let waits = matches!(state, State::Linked(_) | State::Coming);
            match packet {
                Packet::Bytes(bytes) => {
                    pipe.under_way -= bytes.len();
                    self.trace.note(
                        now,
                        "arrive",
                        [conn as u64, side as u64, bytes.len() as u64],
                        String::new,
                    );
                    if waits && !pipe.reset {
                        pipe.inbox.extend(bytes);
                    } else {
                        self.free(conn, side);
                        if state == (State::Gone { silent: false }) {
                            self.send_reset(conn, 1 - side);
                        }
                    }
                }
                Packet::Fin => pipe.over = true,
                Packet::Reset => {
                    // What was not read goes with it.
                    pipe.reset = true;
                    pipe.inbox.clear();
                }
            }
        }
        let end = &self.conns[conn].ends[1 - side];
        if let (true, State::Linked(link)) = (come, end.state) {
            let host = end.host;
            if let Some(driven) = self.hosts[host].links.get_mut(&link) {
                driven.dirty = true;
            }
            self.turn(host);
        }
    }

    /// There is room again on the way of what `side` writes.
    pub(super) fn free(&mut self, conn: usize, side: usize) {
        if core::mem::take(&mut self.conns[conn].pipes[side].blocked) {
            let at = self.now + self.latency();
            self.plan(at, Due::Space { conn, side });
        }
    }

    pub(super) fn space(&mut self, conn: usize, side: usize) {
        if !self.passes(conn, 1 - side) {
            // The word of it is lost on the way as well.
            self.conns[conn].pipes[side].blocked = true;
            return;
        }
        let end = &self.conns[conn].ends[side];
        if let State::Linked(link) = end.state {
            let host = end.host;
            if let Some(driven) = self.hosts[host].links.get_mut(&link) {
                driven.full = false;
                driven.dirty = true;
            }
            self.turn(host);
        }
    }

    /// A link is done with its connection.
    pub(super) fn detach(&mut self, conn: usize, side: usize) {
        let until = self.now + LINGER;
        self.conns[conn].ends[side].state = State::Lingering(until);
        self.plan(until, Due::LingerOver { conn, side });
        self.shut(conn, side);
        self.conns[conn].pipes[1 - side].inbox.clear();
        self.free(conn, 1 - side);
    }

    /// Nothing passes from one host to another any more, and nobody is told.
    pub fn block(&mut self, from: usize, to: usize) {
        self.note("block", [from as u64, to as u64, 0], String::new);
        self.blocked.insert((from, to));
    }

    /// Nothing passes between two hosts any more.
    pub fn partition(&mut self, one: usize, other: usize) {
        self.block(one, other);
        self.block(other, one);
    }

    /// Everything passes again between two hosts: what was on its way comes late.
    pub fn heal(&mut self, one: usize, other: usize) {
        for way in [(one, other), (other, one)] {
            if !self.blocked.remove(&way) {
                continue;
            }
            self.note("heal", [way.0 as u64, way.1 as u64, 0], String::new);
            for conn in 0..self.conns.len() {
                for side in [0, 1] {
                    let ends = &self.conns[conn].ends;
                    if (ends[side].host, ends[1 - side].host) == way {
                        self.resume(conn, side);
                    }
                }
            }
        }
    }

    /// What `side` has written is sent again.
    fn resume(&mut self, conn: usize, side: usize) {
        let soonest = self.now + self.latency();
        let pipe = &mut self.conns[conn].pipes[side];
        let at = pipe.arrival(soonest);
        for (arrives, _) in &mut pipe.flight {
            *arrives = at;
        }
        let blocked = self.conns[conn].pipes[1 - side].blocked;
        self.plan(at, Due::Arrive { conn, side });
        if blocked {
            self.free(conn, 1 - side);
        }
    }

    /// Heals everything between all hosts.
    pub fn heal_all(&mut self) {
        for (one, other) in self.blocked.clone() {
            self.heal(one, other);
        }
    }

    /// The connections between two hosts, the oldest first.
    pub fn connections(&self, one: usize, other: usize) -> Vec<usize> {
        let between = |conn: &Conn| {
            let hosts = [conn.ends[0].host, conn.ends[1].host];
            conn.is_open() && (hosts == [one, other] || hosts == [other, one])
        };
        (0..self.conns.len()).filter(|conn| between(&self.conns[*conn])).collect()
    }

    /// Resets all connections between two hosts: both ends are told.
    pub fn cut(&mut self, one: usize, other: usize) {
        for conn in self.connections(one, other) {
            self.cut_connection(conn);
        }
    }

    /// Resets one connection.
    pub fn cut_connection(&mut self, conn: usize) {
        self.note("cut", [0, 0, conn as u64], String::new);
        for side in [0, 1] {
            let pipe = &mut self.conns[conn].pipes[side];
            pipe.flight.clear();
            pipe.under_way = 0;
            self.lose(conn, 1 - side);
        }
    }

    /// An end is told that its connection has failed.
    fn lose(&mut self, conn: usize, side: usize) {
        let pipe = &mut self.conns[conn].pipes[1 - side];
        pipe.reset = true;
        pipe.inbox.clear();
        let end = &self.conns[conn].ends[side];
        if let State::Linked(link) = end.state {
            let host = end.host;
            if let Some(driven) = self.hosts[host].links.get_mut(&link) {
                driven.dirty = true;
            }
            self.turn(host);
        }
    }

    /// One side of a connection is told that it failed, and the other side never hears of it.
    pub fn half_open(&mut self, conn: usize, side: usize) {
        self.note("half open", [0, side as u64, conn as u64], String::new);
        self.counts.half_open += 1;
        self.conns[conn].dead = true;
        self.lose(conn, side);
    }

    /// Nothing passes on a connection any more, and neither side is told.
    pub fn mute(&mut self, conn: usize) {
        self.note("mute", [0, 0, conn as u64], String::new);
        self.counts.half_open += 1;
        self.conns[conn].dead = true;
    }

    /// All ends of a host are gone, without a word or with one.
    pub(super) fn drop_ends(&mut self, host: usize, silent: bool) {
        for conn in 0..self.conns.len() {
            for side in [0, 1] {
                let end = &mut self.conns[conn].ends[side];
                if end.host != host || matches!(end.state, State::Gone { .. }) {
                    continue;
                }
                let linked = matches!(end.state, State::Linked(_));
                end.state = State::Gone { silent };
                if silent {
                    self.counts.half_open += u64::from(linked);
                } else {
                    self.send_reset(conn, side);
                }
            }
        }
    }
}
