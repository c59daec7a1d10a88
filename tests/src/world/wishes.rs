//! What a script can do to hosts: what their applications ask of their nodes, restarts, clocks.

use std::time::Duration;

use handclasp::hello::DialAddress;
use handclasp::node::trust::UnixTime;
use handclasp::node::{Node, NodeEvent, Permanence};
use handclasp::{Instant, NodeId, Phase};

use super::World;
use super::ledger::Returned;

impl World {
    /// The address of a host.
    pub fn address(host: usize) -> String {
        format!("host {host}")
    }

    /// Does something with a host's node, and what follows from it at once; nothing if the host is down.
    pub fn with_node<T>(&mut self, host: usize, act: impl FnOnce(&mut Node, Instant) -> T) -> Option<T> {
        let now = self.clock(host);
        let result = act(self.hosts[host].node.as_mut()?, now);
        self.drain_node(host);
        self.turn(host);
        Some(result)
    }

    /// `host` trusts `peer` from now on, also after a restart.
    pub fn trust(&mut self, host: usize, peer: usize) {
        let id = self.id(peer);
        self.note("trust", [host as u64, peer as u64, 0], String::new);
        self.hosts[host].trusted.insert(peer);
        self.hosts[host].revoked.remove(&peer);
        self.hosts[host].muted.remove(&id);
        self.with_node(host, |node, now| node.trust(id, None, now));
    }

    /// `host` trusts `peer` for some time, by its own clock.
    pub fn trust_for(&mut self, host: usize, peer: usize, within: Duration) {
        self.trust(host, peer);
        let id = self.id(peer);
        self.note("trust for", [host as u64, peer as u64, 0], || format!("{within:?}"));
        self.with_node(host, |node, now| node.trust(id, Some(now + within), now));
    }

    /// `host` tells its peers where it can be dialled.
    pub fn advertise(&mut self, host: usize) {
        self.note("advertise", [host as u64, 0, 0], String::new);
        let addresses = dial_addresses(&[Self::address(host)]);
        // A calendar whose seconds are this world's milliseconds: no two lives advertise in the same one.
        let created = UnixTime::from_secs(u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX).max(1));
        let result = self.with_node(host, |node, _| node.advertise(addresses, created));
        self.ensure(!matches!(result, Some(Err(_))), || format!("host {host} cannot advertise: {result:?}"));
    }

    /// Two hosts trust each other and know each other's addresses.
    pub fn introduce(&mut self, one: usize, other: usize) {
        for (host, peer) in [(one, other), (other, one)] {
            self.trust(host, peer);
            self.set_addresses(host, peer, &[Self::address(peer)]);
        }
    }

    /// `host` trusts `peer` no longer.
    pub fn revoke(&mut self, host: usize, peer: usize) {
        let id = self.id(peer);
        self.note("revoke", [host as u64, peer as u64, 0], String::new);
        let known = self.with_node(host, |node, now| node.revoke(id, now));
        if known.is_none() {
            // It is down, and learns of it when it begins.
            self.hosts[host].trusted.remove(&peer);
            self.hosts[host].revoked.insert(peer);
        }
    }

    /// Tells `host` where to dial `peer`, also after a restart.
    pub fn set_addresses(&mut self, host: usize, peer: usize, addresses: &[String]) {
        let id = self.id(peer);
        self.hosts[host].addresses.insert(peer, addresses.to_vec());
        let addresses = dial_addresses(addresses);
        self.with_node(host, |node, now| node.set_addresses(id, addresses, now));
    }

    /// Tells `host` whether to keep a link to `peer`, also after a restart.
    pub fn set_permanence(&mut self, host: usize, peer: usize, permanence: Permanence) {
        let id = self.id(peer);
        self.note("permanence", [host as u64, peer as u64, 0], || format!("{permanence:?}"));
        self.hosts[host].permanence.insert(peer, permanence);
        self.with_node(host, |node, now| node.set_permanence(id, permanence, now));
    }

    /// Whether `host` wants a link to `peer` kept.
    pub fn is_permanent(&self, host: usize, peer: usize) -> bool {
        self.hosts[host].permanence.get(&peer) == Some(&Permanence::Permanent)
    }

    /// Whether `host` was told to trust `peer`.
    pub fn is_trusting(&self, host: usize, peer: usize) -> bool {
        self.hosts[host].trusted.contains(&peer)
    }

    /// `host` asks for a link to `peer` for some time, by its own clock.
    pub fn connect(&mut self, host: usize, peer: usize, within: Duration) {
        let id = self.id(peer);
        self.note("connect", [host as u64, peer as u64, 0], String::new);
        self.with_node(host, |node, now| {
            // With a link there is nothing to ask for; without trust nothing to get.
            let _ = node.want(id, now + within, now);
        });
    }

    /// `host` says goodbye to `peer`.
    pub fn disconnect(&mut self, host: usize, peer: usize) {
        let id = self.id(peer);
        self.note("disconnect", [host as u64, peer as u64, 0], String::new);
        self.with_node(host, |node, now| node.disconnect(id, 7, "enough", now));
    }

    /// `host` shuts down in good order. It is down once its last link has ended; [`restart`](Self::restart)
    /// begins a new life.
    pub fn shut_down(&mut self, host: usize) {
        self.note("shut down", [host as u64, 0, 0], String::new);
        self.hosts[host].stopping = true;
        self.with_node(host, |node, now| node.shut_down(3, "the end", now));
    }

    /// Whether a shut down is done; then what is left over has come back.
    pub(super) fn finish_shut_down(&mut self, host: usize) {
        let Some(node) = self.hosts[host].node.as_mut().filter(|node| node.is_stopped()) else { return };
        let left = node.take_leftover();
        for (_, envelope) in left {
            self.returned(&envelope, Returned::Leftover);
        }
        self.note("stopped", [host as u64, 0, 0], String::new);
        let links = self.hosts[host].links.len();
        let open = self.hosts[host].links.values().filter(|driven| driven.link.phase().is_open()).count();
        self.ensure(open == 0, || format!("host {host} is stopped, but {open} of {links} links are open"));
        if links == 0 {
            self.hosts[host].end();
            self.drop_ends(host, false);
        }
    }

    /// A host loses everything but its key, its trust, its addresses and its wishes, and begins a new life.
    /// Its connections are reset, or gone without a word if `silent`.
    pub fn restart(&mut self, host: usize, silent: bool) {
        self.note("restart", [host as u64, u64::from(silent), 0], String::new);
        if self.hosts[host].node.is_some() {
            self.counts.restarts += 1;
            let life = self.hosts[host].life;
            self.ledger.crash(host, life);
        }
        self.hosts[host].end();
        self.drop_ends(host, silent);
        self.begin(host);
    }

    pub(super) fn begin(&mut self, host: usize) {
        let trusted: Vec<NodeId> = self.hosts[host].trusted.iter().map(|peer| self.hosts[*peer].id).collect();
        self.hosts[host].begin(self.now, &mut self.random, &trusted);
        for peer in self.hosts[host].revoked.clone() {
            let id = self.id(peer);
            self.with_node(host, |node, now| node.revoke(id, now));
        }
        for (peer, addresses) in self.hosts[host].addresses.clone() {
            let (id, addresses) = (self.id(peer), dial_addresses(&addresses));
            self.with_node(host, |node, now| node.set_addresses(id, addresses, now));
        }
        for (peer, permanence) in self.hosts[host].permanence.clone() {
            let id = self.id(peer);
            self.with_node(host, |node, now| node.set_permanence(id, permanence, now));
        }
        self.turn(host);
    }

    /// Whether a host takes connections.
    pub fn set_listening(&mut self, host: usize, listening: bool) {
        self.hosts[host].listening = listening;
    }

    /// Whether the application of a host takes what comes.
    pub fn set_taking(&mut self, host: usize, taking: bool) {
        self.note("taking", [host as u64, u64::from(taking), 0], String::new);
        self.hosts[host].taking = taking;
        for driven in self.hosts[host].links.values_mut() {
            driven.dirty = true;
        }
        self.turn(host);
    }

    /// A host's clock steps ahead, as after a suspend.
    pub fn jump_clock(&mut self, host: usize, by: Duration) {
        self.note("jump", [host as u64, 0, 0], || format!("{by:?}"));
        let now = self.now;
        self.hosts[host].clock.jump(now, by);
        for driven in self.hosts[host].links.values_mut() {
            driven.dirty = true;
        }
        self.turn(host);
    }

    /// Something that a host's node tells.
    pub(super) fn on_node_event(&mut self, host: usize, event: NodeEvent) {
        self.note("node", [host as u64, 0, 0], || format!("{event:?}"));
        let life = self.hosts[host].life;
        let about = match &event {
            NodeEvent::Linked { peer, .. }
            | NodeEvent::Unlinked { peer, .. }
            | NodeEvent::Superseded { peer, .. }
            | NodeEvent::DialFailed { peer, .. }
            | NodeEvent::Drifted { peer, .. }
            | NodeEvent::Known { peer, .. }
            | NodeEvent::Undelivered { peer, .. }
            | NodeEvent::Advert { peer, .. }
            | NodeEvent::AdvertRefused { peer, .. }
            | NodeEvent::Permanence { peer, .. } => Some(*peer),
            NodeEvent::Question(question) => Some(question.peer),
            _ => None,
        };
        let muted = about.is_some_and(|peer| self.hosts[host].muted.contains(&peer));
        self.ensure(!muted, || format!("host {host} hears of a peer that is revoked: {event:?}"));
        match &event {
            NodeEvent::Linked { link, peer, .. } => {
                self.hosts[host].linked.insert(*peer);
                let conn = self.hosts[host].links.get(link).map(|driven| driven.conn);
                let Some(conn) = conn else { self.fail(&format!("{event:?} of a link that is gone")) };
                let place = self.hosts[host].routes.len();
                let old = self.hosts[host].routes.insert(conn, place);
                self.ensure(old.is_none(), || {
                    format!("host {host}: link {link} is the route to {peer} again")
                });
            }
            NodeEvent::DialFailed { again, .. } => self.counts.redials += u64::from(again.is_some()),
            NodeEvent::Unlinked { peer, .. } => {
                let known = self.hosts[host].linked.remove(peer);
                self.ensure(known, || format!("host {host}: {event:?} of a link that was not told"));
            }
            NodeEvent::HandshakeEnded { link, .. } => {
                let new = self.hosts[host].ended.insert(*link);
                self.ensure(new, || format!("host {host}: {event:?} comes again"));
            }
            NodeEvent::Undelivered { envelope, why, .. } => {
                use handclasp::node::Undelivered as Why;
                let why = match why {
                    Why::Expired => Returned::Expired,
                    Why::Revoked => Returned::Revoked,
                    Why::Refused(_) => Returned::Refused,
                    _ => Returned::GivenUp,
                };
                self.returned(envelope, why);
            }
            NodeEvent::AdvertRefused { .. } => {
                self.fail(&format!("host {host}: {event:?}, and all adverts are honest"))
            }
            NodeEvent::Revoked { peer } => {
                self.counts.revocations += 1;
                self.hosts[host].muted.insert(*peer);
                self.hosts[host].linked.remove(peer);
                if let Some(peer) = self.host_of(*peer) {
                    // The node forgets what it was told of the peer; whoever told it does so as well.
                    self.hosts[host].trusted.remove(&peer);
                    self.hosts[host].revoked.insert(peer);
                    self.hosts[host].addresses.remove(&peer);
                    self.hosts[host].permanence.remove(&peer);
                    self.ledger.revoke(host, life, peer);
                }
                // Who listens to the end of trust does not wait for another thread.
                let (now, local) = (self.now, self.clock(host));
                for driven in self.hosts[host].links.values_mut() {
                    driven.dirty = true;
                    let of_peer = driven.link.peer().is_some_and(|proved| proved.id == *peer);
                    if of_peer && driven.link.phase() == Phase::Closed {
                        // What it still holds is for nobody.
                        driven.link.revoke(local);
                    }
                    for (at, _) in &mut driven.to_link {
                        *at = now;
                    }
                }
            }
            _ => {}
        }
        if let NodeEvent::Question(question) = event {
            self.counts.questions += 1;
            let wait = self.random.up_to(self.weather.words.max(Duration::from_millis(1)) * 20);
            let at = self.now + wait;
            self.hosts[host].questions.push((at, question.ticket));
        } else {
            self.hosts[host].events.push((self.now, event));
        }
    }
}

fn dial_addresses(addresses: &[String]) -> Vec<DialAddress> {
    addresses.iter().map(|address| DialAddress { weight: 1, address: address.clone() }).collect()
}
