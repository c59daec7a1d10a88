//! The application on each host: it sends numbered messages and calls, and writes down what it gets.

use std::time::Duration;

use bytes::Bytes;
use handclasp::node::{LinkId, WhyNotQueued};
use handclasp::{CallError, Envelope, Executed, Message, Payload, Priority, ReplyToken, ServiceError, Why};

use super::World;
use super::host::{Driven, Received};
use super::ledger::{Fate, Returned};
use super::spec::{Answers, Mischief};
use crate::Owned;

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Post {
    /// Bytes of the body; at least 8, for its number.
    pub length: usize,
    /// Its priority.
    pub priority: Priority,
    /// From when on it is not worth sending; for a call, how long it waits for its answer.
    pub within: Option<Duration>,
}

impl Post {
    /// A message of so many bytes, of normal priority, that does not expire.
    pub const fn new(length: usize) -> Self {
        Self { length, priority: Priority::Normal, within: None }
    }

    /// The same with another priority.
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The same with an end to its time.
    pub const fn within(mut self, within: Duration) -> Self {
        self.within = Some(within);
        self
    }
}

/// Why a message or call was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// The host is down.
    Down,
    /// The link would not have it.
    Link(Why),
    /// The node would not have it.
    Node(WhyNotQueued),
    /// There is no link for a call.
    NoLink,
}

/// What the rest of a body is made of.
fn filler(number: usize) -> u8 {
    u8::try_from(number % 251).unwrap_or_default()
}

/// The body of a message: its number, and then bytes that follow from it.
fn body(number: usize, length: usize) -> Bytes {
    let mut body = vec![filler(number); length.max(8)];
    body[..8].copy_from_slice(&(number as u64).to_be_bytes());
    body.into()
}

/// A fifth of all messages ask for no order.
pub(super) const fn is_unordered(number: usize) -> bool {
    number.is_multiple_of(5)
}

/// The number in a body that is as it was sent.
fn number(body: &[u8]) -> Option<usize> {
    let (head, rest) = body.split_first_chunk::<8>()?;
    let number = usize::try_from(u64::from_be_bytes(*head)).ok()?;
    rest.iter().all(|byte| *byte == filler(number)).then_some(number)
}

impl World {
    /// Sends a message from one host to another: over the link that is the route, or else the node keeps it
    /// for one. Gives its number.
    ///
    /// # Errors
    /// [`NotSent`].
    pub fn send(&mut self, from: usize, to: usize, post: Post) -> Result<usize, NotSent> {
        let (now, peer) = (self.clock(from), self.id(to));
        let life = self.hosts[from].life;
        let Some(node) = &self.hosts[from].node else { return Err(NotSent::Down) };
        let route = node.route(peer);
        let entry = self.ledger.open((from, life), to, post.priority, false);
        let mut message = Message::new("message", body(entry, post.length)).priority(post.priority);
        message.expires = post.within.map(|within| now + within);
        message.unordered = is_unordered(entry);
        let result = match route {
            Some(link) => {
                self.hurry(from, link);
                match self.hosts[from].links.get_mut(&link) {
                    Some(driven) => driven.link.send(message).map_err(|no| NotSent::Link(no.why)),
                    None => Err(NotSent::NoLink),
                }
            }
            None => match &mut self.hosts[from].node {
                Some(node) => node.queue(peer, message, now).map_err(|no| NotSent::Node(no.why)),
                None => Err(NotSent::Down),
            },
        };
        self.note("send", [from as u64, to as u64, entry as u64], || {
            format!("{post:?} by {route:?}: {result:?}")
        });
        self.sent(from, route, entry, result)
    }

    /// Calls a host from another one over the link that is the route.
    ///
    /// # Errors
    /// [`NotSent`].
    pub fn call(&mut self, from: usize, to: usize, post: Post) -> Result<usize, NotSent> {
        let (now, peer) = (self.clock(from), self.id(to));
        let life = self.hosts[from].life;
        let Some(node) = &self.hosts[from].node else { return Err(NotSent::Down) };
        let Some(route) = node.route(peer) else { return Err(NotSent::NoLink) };
        self.hurry(from, route);
        let entry = self.ledger.open((from, life), to, post.priority, true);
        let message = Message::new("call", body(entry, post.length)).priority(post.priority);
        let timeout = post.within.unwrap_or(Duration::from_secs(5));
        let result = match self.hosts[from].links.get_mut(&route) {
            Some(driven) => match driven.link.call(message, timeout, now) {
                Ok(call) => {
                    driven.calls.insert(call, entry);
                    self.ledger.called(entry, driven.conn);
                    Ok(())
                }
                Err(no) => Err(NotSent::Link(no.why)),
            },
            None => Err(NotSent::NoLink),
        };
        self.note("call", [from as u64, to as u64, entry as u64], || {
            format!("{post:?} by {route}: {result:?}")
        });
        self.sent(from, Some(route), entry, result)
    }

    fn sent(
        &mut self,
        from: usize,
        route: Option<LinkId>,
        entry: usize,
        result: Result<(), NotSent>,
    ) -> Result<usize, NotSent> {
        match result {
            Ok(()) => {
                if let Some(driven) = route.and_then(|link| self.hosts[from].links.get_mut(&link)) {
                    driven.dirty = true;
                }
                self.drain_node(from);
                self.turn(from);
                Ok(entry)
            }
            Err(why) => {
                self.ledger.strike();
                Err(why)
            }
        }
    }

    /// What the node has said to a link is there before what the application says to it: commands and words
    /// take the same way.
    fn hurry(&mut self, host: usize, link: LinkId) {
        let Some(mut driven) = self.hosts[host].links.remove(&link) else { return };
        driven.dirty = true;
        while let Some((_, word)) = driven.to_link.pop_front() {
            self.tell(&mut driven, word);
            self.collect(&mut driven);
        }
        self.hosts[host].links.insert(link, driven);
    }

    /// Gives up a call of a host's, one of those under way.
    pub fn cancel(&mut self, host: usize, which: usize) {
        let now = self.clock(host);
        let calls = self.hosts[host]
            .links
            .iter()
            .flat_map(|(link, driven)| driven.calls.keys().map(|call| (*link, *call)));
        let calls: Vec<_> = calls.collect();
        if calls.is_empty() {
            return;
        }
        let (link, call) = calls[which % calls.len()];
        if let Some(driven) = self.hosts[host].links.get_mut(&link) {
            // An answer that has come already may still be given out: then it is the outcome.
            driven.link.cancel(call, now);
            driven.dirty = true;
            if let Some(entry) = driven.calls.remove(&call) {
                self.note("cancel", [host as u64, link.get(), entry as u64], String::new);
                let result = self.ledger.resolve(entry, Fate::Cancelled);
                self.accounted(result);
            }
        }
        self.turn(host);
    }

    /// A message has come back.
    pub(super) fn returned(&mut self, envelope: &Envelope, why: Returned) {
        let Some(entry) = number(&envelope.body) else {
            self.fail("a message that came back is not as it was")
        };
        self.note("back", [0, 0, entry as u64], || format!("{why:?}"));
        let result = self.ledger.give_back(entry, why);
        self.accounted(result);
    }

    /// Something that a link tells its application.
    pub(super) fn on_link_event(&mut self, host: usize, link: LinkId, driven: &mut Driven, event: Owned) {
        self.note("link", [host as u64, link.get(), driven.conn as u64], || format!("{event:?}"));
        match event {
            Owned::Message { body, priority, .. } => {
                self.on_request(host, link, driven, &body, priority, false);
                if self.mischief == Some(Mischief::DeliverTwice) && self.random.once_in(20) {
                    self.on_request(host, link, driven, &body, priority, false);
                }
            }
            Owned::Call { token, body, .. } => {
                // The event does not say the priority; the ledger does.
                let priority =
                    number(&body).and_then(|entry| self.ledger.get(entry)).map(|entry| entry.priority);
                let entry = self.on_request(host, link, driven, &body, priority.unwrap_or_default(), true);
                self.on_call(host, driven, token, entry, body);
            }
            Owned::Reply { call, body } => {
                self.conns[driven.conn].ends[driven.side].tally.taken += 1;
                let entry = number(&body);
                // A call that was given up may have been answered just then.
                if let Some(asked) = driven.calls.remove(&call) {
                    self.ensure(entry == Some(asked), || format!("#{asked} has the answer to {entry:?}"));
                    let result = self.ledger.resolve(asked, Fate::Answered);
                    self.accounted(result);
                }
            }
            Owned::CallFailed { call, error } => {
                if let Some(asked) = driven.calls.remove(&call) {
                    let fate = match error {
                        CallError::Service(_) => Fate::Answered,
                        CallError::DeadlineExceeded { executed } | CallError::LinkClosed { executed, .. } => {
                            Fate::Failed(executed)
                        }
                        // A link says no such thing, since there is one.
                        CallError::NoLink { .. } | CallError::OneWayOnly => Fate::Failed(Executed::No),
                    };
                    let result = self.ledger.resolve(asked, fate);
                    self.accounted(result);
                }
            }
            Owned::Established(_) => {
                let again = core::mem::replace(&mut driven.established, true);
                self.ensure(!again, || format!("host {host}, link {link}: established twice"));
                self.counts.established += 1;
                let holds = self.hosts[host].spec.holds;
                driven.ready_at = holds.map(|most| self.now + self.random.up_to(most));
                self.conns[driven.conn].ends[driven.side].tally.established = true;
            }
            Owned::Closed(closed) => {
                self.ensure(driven.calls.is_empty(), || {
                    format!("calls have no outcome at the end: {:?}", driven.calls)
                });
                driven.tokens.clear();
                let orderly =
                    matches!(closed.reason, handclasp::Reason::Goodbye { .. } | handclasp::Reason::Idle)
                        && closed.untaken == 0;
                self.counts.dead += u64::from(closed.reason == handclasp::Reason::PeerDead);
                let tally = &mut self.conns[driven.conn].ends[driven.side].tally;
                tally.orderly = orderly;
                if self.mischief != Some(Mischief::ForgetUnknown) {
                    tally.unknown = closed.unknown as u64;
                    self.counts.unknown += closed.unknown as u64;
                }
            }
            Owned::Ready => {
                let again = core::mem::replace(&mut driven.ready, true);
                let early = self.hosts[host].spec.holds.is_some() && driven.ready_at.is_some();
                self.ensure(driven.established && !again && !early, || {
                    format!("host {host}, link {link}: ready out of turn")
                });
            }
            Owned::Expired(envelope) => self.returned(&envelope, Returned::Expired),
            Owned::Cancelled(serial) => driven.tokens.retain(|(_, token, _)| token.call() != serial),
            _ => {}
        }
    }

    fn on_request(
        &mut self,
        host: usize,
        link: LinkId,
        driven: &mut Driven,
        body: &[u8],
        priority: Priority,
        call: bool,
    ) -> usize {
        let Some(entry) = number(body) else { self.fail("a message came that is not as it was sent") };
        let peer = driven.link.peer().map(|peer| peer.id);
        let Some(from) = peer.and_then(|peer| self.host_of(peer)) else { self.fail("a message from nobody") };
        self.ensure(driven.established, || format!("#{entry} comes before the link is established"));
        let muted = self.hosts[host].muted.contains(&self.hosts[from].id);
        self.ensure(!muted, || format!("host {host} is given #{entry} of a peer that is revoked"));
        self.conns[driven.conn].ends[driven.side].tally.taken += 1;
        self.counts.received += 1;
        let known = self.ledger.get(entry).map(|entry| entry.priority);
        self.ensure(known == Some(priority), || format!("#{entry} has priority {priority:?}, not {known:?}"));
        if call || !is_unordered(entry) {
            let before = driven.last.insert(priority, entry);
            self.ensure(before.is_none_or(|before| before < entry), || {
                format!("#{entry} comes behind #{before:?}")
            });
        }
        let other = &self.conns[driven.conn].ends[1 - driven.side];
        self.ensure(other.host == from, || format!("#{entry} of host {from} comes by host {}", other.host));
        let route = self.hosts[from].routes.get(&driven.conn).copied();
        let result = self.ledger.deliver(entry, from, host, call, route);
        self.accounted(result);
        self.hosts[host].received.push(Received { number: entry, from, call, priority, link, at: self.now });
        entry
    }

    fn on_call(&mut self, host: usize, driven: &mut Driven, token: ReplyToken, entry: usize, body: Bytes) {
        let wait = match self.hosts[host].spec.answers {
            Answers::AtOnce => Some(Duration::ZERO),
            Answers::Never => None,
            Answers::Mixed => match self.random.below(10) {
                0..=4 => Some(Duration::ZERO),
                5..=8 => Some(self.random.millis(1, 800)),
                _ => None,
            },
        };
        match wait {
            Some(Duration::ZERO) => answer(driven, token, Ok(body.into())),
            Some(wait) => driven.tokens.push((self.now + wait, token, entry)),
            None => {}
        }
    }

    /// Answers the calls whose time has come, and says that the application is ready.
    pub(super) fn answer_due(&mut self, host: usize, driven: &mut Driven) {
        if driven.ready_at.is_some_and(|at| at <= self.now) {
            driven.ready_at = None;
            driven.link.ready(self.clock(host));
        }
        while let Some(place) = driven.tokens.iter().position(|(at, ..)| *at <= self.now) {
            let (_, token, entry) = driven.tokens.swap_remove(place);
            let error = ServiceError::Application { code: 9, detail: Bytes::new() };
            let fails = self.random.once_in(4);
            answer(driven, token, if fails { Err(error) } else { Ok(body(entry, 8).into()) });
        }
    }
}

/// An answer that finds no room is an error; one that nobody waits for is none.
fn answer(driven: &mut Driven, token: ReplyToken, answer: Result<Payload<'_>, ServiceError>) {
    if let Some(token) = driven.link.reply(token, answer).err().and_then(|no| no.token) {
        let _ = driven.link.reply(token, Err(ServiceError::Overloaded));
    }
}
