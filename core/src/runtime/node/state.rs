//! What the handles of a node, its links' tasks and its supervisor share.
//!
//! One lock guards the protocol's machine and what is kept beside it. Whoever acts on the machine takes the
//! actions that follow from it under the same lock, and does what takes longer ([`Effect`]) afterwards. Under
//! the lock this holds: the link that the machine names as a peer's route takes messages, and no other one
//! of that peer's that is ending does. So a sender needs no lock: a link that does not take its message any
//! more is one to ask the machine about.

use std::collections::HashMap;
use std::prelude::v1::*;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use event_listener::Event;

use super::events::{self, Events, Told};
use super::registry::{self, Keeping};
use super::slot::Slot;
use super::supervisor::{self, Task};
use super::trust::Book;
use crate::node::{
    DialError, DialTicket, LinkId, Node as Core, NodeAction, NodeEvent, Question, Undelivered,
};
use crate::runtime::Runtime;
use crate::runtime::clock::Clock;
use crate::runtime::link::Link;
use crate::runtime::peer::{Direction, PeerInfo};
use crate::runtime::services::Services;
use crate::runtime::shared::{Shared, State as Openness};
use crate::runtime::stream::Refusals;
use crate::runtime::sync::{Bell, Mailbox, lock, wake_all};
use crate::{Config, Envelope, Instant, Link as CoreLink, NodeId, Retry};

/// A link's tie to its node.
pub(crate) struct Member<R: Runtime> {
    pub(crate) inner: Arc<Inner<R>>,
    pub(crate) link: LinkId,
}

impl<R: Runtime> Clone for Member<R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), link: self.link }
    }
}

pub(crate) struct Inner<R: Runtime> {
    pub(crate) id: NodeId,
    pub(crate) config: Arc<Config>,
    pub(crate) services: Services<R>,
    /// The node's clock, and that of all its links.
    pub(crate) clock: Clock,
    state: Mutex<State<R>>,
    /// To the supervisor, which alone runs tasks.
    pub(crate) tasks: Mailbox<Task>,
    /// Wakes the supervisor.
    pub(crate) wake: Bell,
    /// There may be room in the outbox again.
    pub(crate) room: Event,
    /// The node has ended.
    pub(crate) ended: Event,
    /// Connections of which no link came, being wound down.
    pub(crate) refusals: Refusals,
    pub(crate) keeping: Keeping,
    /// The trust file, if there is one.
    pub(crate) book: Option<Book>,
}

/// What the lock guards.
pub(crate) struct State<R> {
    pub(crate) node: Core,
    links: HashMap<LinkId, Entry<R>>,
    /// Links that have ended and whose tasks still are there, with their handlers.
    ending: Vec<(NodeId, Arc<Shared>)>,
    slots: HashMap<NodeId, Arc<Slot<R>>>,
    /// Slots that are kept before those that nobody uses are looked for.
    most_slots: usize,
    /// When the machine wants to be polled, and for when the supervisor is set.
    due: Option<Instant>,
    armed: Option<Instant>,
    /// Gone when the node has ended.
    pub(crate) events: Option<Told>,
    pub(crate) addresses: Vec<std::net::SocketAddr>,
    /// Once it was asked for.
    pub(crate) stop: Option<Stop>,
    pub(crate) leftover: Vec<(NodeId, Envelope)>,
}

/// How everything ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) deadline: std::time::Instant,
    /// Links may finish what is under way.
    pub(crate) gently: bool,
}

struct Entry<R> {
    shared: Arc<Shared>,
    info: Option<Arc<PeerInfo>>,
    /// There while the link is established: the node's own handle, so that others may come and go.
    link: Option<Link<R>>,
    /// Messages of this peer go to it.
    route_of: Option<NodeId>,
}

/// What follows from an action and is done without the lock.
#[derive(Debug)]
enum Effect {
    Told(Arc<NodeEvent>),
    Dial(DialTicket),
    Ask(Question, Option<Arc<PeerInfo>>),
}

impl<R: Runtime> Inner<R> {
    #[allow(clippy::too_many_arguments)] // each is a part of its own
    pub(crate) fn new(
        config: &Arc<Config>,
        node: Core,
        services: &Services<R>,
        clock: Clock,
        (keeping, book): (Keeping, Option<Book>),
        events: (usize, usize),
    ) -> Arc<Self> {
        let state = State {
            node,
            links: HashMap::new(),
            ending: Vec::new(),
            slots: HashMap::new(),
            most_slots: 64,
            due: None,
            armed: None,
            events: Some(Told::new(events)),
            addresses: Vec::new(),
            stop: None,
            leftover: Vec::new(),
        };
        Arc::new(Self {
            id: config.node_id(),
            config: Arc::clone(config),
            services: services.clone(),
            clock,
            state: Mutex::new(state),
            tasks: Mailbox::default(),
            wake: Bell::default(),
            room: Event::new(),
            ended: Event::new(),
            refusals: Refusals::default(),
            keeping,
            book,
        })
    }

    /// Acts on the node's machine, and does what follows.
    pub(crate) fn act<T>(self: &Arc<Self>, act: impl FnOnce(&mut State<R>, Instant) -> T) -> T {
        self.act_as(None, act)
    }

    /// The same in the name of a link.
    pub(crate) fn act_for<T>(
        self: &Arc<Self>,
        link: LinkId,
        act: impl FnOnce(&mut State<R>, Instant) -> T,
    ) -> T {
        self.act_as(Some(link), act)
    }

    fn act_as<T>(self: &Arc<Self>, link: Option<LinkId>, act: impl FnOnce(&mut State<R>, Instant) -> T) -> T {
        let mut state = lock(&self.state);
        let now = self.clock.now();
        let result = act(&mut state, now);
        let effects = state.drain(self, link, now);
        if let Some(link) = link {
            // By what the link said, messages may no longer go to it.
            state.check_route(link);
        }
        if state.due.is_some_and(|due| state.armed.is_none_or(|armed| due < armed)) {
            self.wake.ring();
        }
        drop(state);
        for effect in effects {
            match effect {
                Effect::Told(event) => events::log(self.id, &event),
                Effect::Dial(ticket) => {
                    self.run(Task::Helper(Box::pin(supervisor::dial(Arc::clone(self), ticket))));
                }
                Effect::Ask(question, info) => {
                    self.run(Task::Helper(Box::pin(registry::answer(Arc::clone(self), question, info))));
                }
            }
        }
        result
    }

    /// Changes what is kept beside the machine.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State<R>) -> T) -> T {
        change(&mut lock(&self.state))
    }

    pub(crate) fn events(&self) -> Events {
        self.look(|state| state.events.as_ref().map_or_else(Events::ended, Told::subscribe))
    }

    /// Waits until everything has ended.
    pub(crate) async fn closed(&self) {
        let ended = self.ended.listen();
        if self.look(|state| state.events.is_some()) {
            ended.await;
        }
    }

    /// Looks without acting.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State<R>) -> T) -> T {
        look(&lock(&self.state))
    }

    /// Gives a task to the supervisor. Once that has gone, so has the task.
    pub(crate) fn run(&self, task: Task) {
        // What comes back is dropped here, outside any lock.
        let _ = self.tasks.put(task);
    }

    /// A message was not sent in time.
    pub(crate) fn expired(&self, peer: NodeId, envelope: Envelope) {
        let event = Arc::new(NodeEvent::Undelivered { peer, envelope, why: Undelivered::Expired });
        self.change(|state| state.tell(&event));
        events::log(self.id, &event);
    }

    /// A connection that was dialled.
    pub(crate) fn connected(self: &Arc<Self>, ticket: DialTicket, stream: R::Tcp) {
        let shared = Shared::new(self.clock);
        let begun = self.act(|state, now| {
            let (id, link) = state.node.connected(ticket, now)?;
            state.enter(id, &shared);
            Some((id, link))
        });
        if let Some((id, link)) = begun {
            supervisor::start(self, id, link, stream, shared, Direction::Outbound);
        }
    }

    /// A connection that came in; the last words for it if there is no room.
    pub(crate) fn accepted(
        self: &Arc<Self>,
        source: crate::node::Source,
    ) -> Result<(LinkId, CoreLink, Arc<Shared>), [u8; 5]> {
        let shared = Shared::new(self.clock);
        self.act(|state, now| {
            let (id, link) = state.node.accept(source, now).map_err(|busy| busy.last_words)?;
            state.enter(id, &shared);
            Ok((id, link, shared))
        })
    }

    /// When to look at the node again; the supervisor is set for that from here on.
    pub(crate) fn arm(&self) -> Option<Instant> {
        let mut state = lock(&self.state);
        state.armed = state.due;
        state.due
    }
}

impl<R: Runtime> State<R> {
    /// Does what the machine asks for, until it has nothing more to ask.
    fn drain(&mut self, inner: &Inner<R>, link: Option<LinkId>, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        loop {
            match self.node.poll(now) {
                NodeAction::ToLink(id, word) => {
                    self.check_route(id);
                    if let Some(entry) = self.links.get(&id) {
                        entry.shared.tell(|control| control.words.push(word));
                    }
                }
                NodeAction::Dial(ticket) => effects.push(Effect::Dial(ticket)),
                NodeAction::Event(NodeEvent::Question(question)) => {
                    let entry = link.and_then(|link| self.links.get(&link));
                    effects.push(Effect::Ask(question, entry.and_then(|entry| entry.info.clone())));
                }
                NodeAction::Event(event) => {
                    self.on_event(inner, &event);
                    let event = Arc::new(event);
                    self.tell(&event);
                    effects.push(Effect::Told(event));
                }
                NodeAction::Timeout(at) => {
                    self.due = at;
                    return effects;
                }
            }
        }
    }

    fn tell(&mut self, event: &Arc<NodeEvent>) {
        if let Some(events) = &mut self.events {
            events.tell(event);
        }
    }

    fn on_event(&mut self, inner: &Inner<R>, event: &NodeEvent) {
        match event {
            NodeEvent::Linked { peer, link, .. } => {
                let Some(entry) = self.links.get_mut(link) else { return };
                entry.route_of = Some(*peer);
                // What the node had kept is among the link's words by now.
                entry.shared.routed.store(true, Ordering::Release);
                let route = entry.link.clone();
                self.slot(*peer).set_route(route);
                wake_all(&inner.room);
            }
            NodeEvent::Unlinked { peer, .. } => self.slot(*peer).set_route(None),
            NodeEvent::DialFailed { peer, error, again } => {
                // Whoever waits has a slot already.
                if let Some(slot) = self.slots.get(peer) {
                    slot.miss(error.clone());
                    // A permanent peer is dialled again even then, but whoever waits need not.
                    if again.is_none() || error.retry() == Retry::Never {
                        slot.fail(error.clone());
                    }
                }
            }
            NodeEvent::Undelivered { .. } => wake_all(&inner.room),
            NodeEvent::Revoked { peer } => {
                let slot = self.slot(*peer);
                slot.set_route(None);
                slot.fail(DialError::Untrusted);
                // What came before the end is not handled any more either.
                for (_, shared) in self.ending.iter().filter(|(id, _)| id == peer) {
                    shared.tell(|control| control.revoke = true);
                }
                wake_all(&inner.room);
            }
            NodeEvent::Known { peer, known } => inner.keeping.write(*peer, known),
            _ => {}
        }
    }

    /// A link that messages no longer go to takes none from the moment on at which the node knows that.
    fn check_route(&mut self, link: LinkId) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let Some(peer) = entry.route_of.filter(|peer| self.node.route(*peer) != Some(link)) else { return };
        entry.route_of = None;
        entry.shared.enter(Openness::Draining);
        let shared = Arc::clone(&entry.shared);
        self.leave_route(peer, &shared);
    }

    fn leave_route(&mut self, peer: NodeId, shared: &Arc<Shared>) {
        let slot = self.slot(peer);
        if slot.route().is_some_and(|route| route.is_of(shared)) {
            slot.set_route(None);
        }
    }

    fn enter(&mut self, id: LinkId, shared: &Arc<Shared>) {
        let entry = Entry { shared: Arc::clone(shared), info: None, link: None, route_of: None };
        self.links.insert(id, entry);
    }

    /// A link's peer has proved its id; `link` is there from its establishment on.
    pub(crate) fn identified(
        &mut self,
        id: LinkId,
        info: &Arc<PeerInfo>,
        link: Option<Link<R>>,
    ) -> Arc<Slot<R>> {
        if let Some(entry) = self.links.get_mut(&id) {
            entry.info.get_or_insert_with(|| Arc::clone(info));
            if entry.link.is_none() {
                entry.link = link;
            }
        }
        self.slot(info.id)
    }

    pub(crate) fn ended(&mut self, id: LinkId) {
        let Some(Entry { shared, info, route_of, .. }) = self.links.remove(&id) else { return };
        if let Some(peer) = route_of {
            self.leave_route(peer, &shared);
        }
        if let Some(info) = info {
            self.slot(info.id).begin_ending(id);
            self.ending.retain(|(_, shared)| shared.end().is_none());
            self.ending.push((info.id, shared));
        }
    }

    pub(crate) fn link(&self, id: LinkId) -> Option<&Link<R>> {
        self.links.get(&id)?.link.as_ref()
    }

    /// Ends all links at once.
    pub(crate) fn close_links(&self) {
        self.links.values().for_each(|entry| entry.shared.tell(|control| control.close = true));
    }

    /// Everything is over: nobody waits any more.
    pub(crate) fn conclude(&mut self) {
        self.events = None;
        self.leftover.extend(self.node.take_leftover());
        self.wake_all();
    }

    /// Whoever waits for a link looks again.
    pub(crate) fn wake_all(&self) {
        self.slots.values().for_each(|slot| wake_all(&slot.changed));
    }

    pub(crate) fn slot(&mut self, peer: NodeId) -> Arc<Slot<R>> {
        if let Some(slot) = self.slots.get(&peer) {
            return Arc::clone(slot);
        }
        if self.slots.len() >= self.most_slots {
            self.slots.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.route().is_some());
            self.most_slots = (self.slots.len() * 2).max(64);
        }
        let slot = Arc::new(Slot::new(peer));
        self.slots.insert(peer, Arc::clone(&slot));
        slot
    }
}
