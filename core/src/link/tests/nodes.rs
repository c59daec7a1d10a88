//! Two links that belong to nodes, the nodes being the test.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::{builder, key};
use crate::config::{ConfigBuilder, Trust};
use crate::crypto::noise::Role;
use crate::error::Closed;
use crate::identity::Signer;
use crate::link::{Action, Dial, Envelope, Event, Link, Priority, Ready};
use crate::node::{FromLink, NodeToLink, ToLink};
use crate::phase::Phase;
use crate::wire::frame::FrameWriter;
use crate::{Instant, Seed};

/// One end: its link, and what it has said to its owner and to its node.
pub(super) struct End {
    pub(super) link: Link,
    /// The names of its events.
    pub(super) events: Vec<String>,
    /// The services of the messages that came.
    pub(super) messages: Vec<String>,
    /// Words that the test has not looked at.
    pub(super) words: Vec<FromLink>,
}

/// Two ends that belong to nodes, 1 dialling 2.
pub(super) struct Nodes {
    pub(super) a: End,
    pub(super) b: End,
    pub(super) now: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}

pub(super) const BOTH: [Side; 2] = [Side::A, Side::B];

fn end(link: Link) -> End {
    End { link, events: Vec::new(), messages: Vec::new(), words: Vec::new() }
}

impl End {
    pub(super) fn act(&mut self, now: Instant, peer: &mut Link) -> bool {
        let mut moved = false;
        loop {
            match self.link.poll(now, Ready::ALL) {
                Action::Event(event) => {
                    if let Event::Message(message) = &event {
                        self.messages.push(message.service.to_string());
                    }
                    let text = alloc::format!("{event:?}");
                    let name = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                    self.events.push(name.to_string());
                }
                Action::Send => {
                    let mut bytes = self.link.transmit(now);
                    assert!(!bytes.is_empty(), "Send was offered, but there is nothing to write");
                    let count = bytes.len();
                    while !bytes.is_empty() {
                        let space = peer.recv_space();
                        let piece = space.len().min(bytes.len());
                        if piece == 0 {
                            break; // It has ended.
                        }
                        space[..piece].copy_from_slice(&bytes[..piece]);
                        peer.received(piece, now);
                        bytes = &bytes[piece..];
                    }
                    self.link.transmitted(count, now);
                }
                Action::Timeout(at) => {
                    assert!(at.is_none_or(|at| at > now), "a deadline in the past");
                    break;
                }
            }
            moved = true;
        }
        while let Some(word) = self.link.poll_node() {
            let ended = self.words.iter().any(|word| matches!(word, FromLink::Ended { .. }));
            assert!(!ended, "{word:?} behind the end");
            self.words.push(word.0);
            moved = true;
        }
        moved
    }

    /// The next word.
    pub(super) fn word(&mut self) -> FromLink {
        assert!(!self.words.is_empty(), "no word, {:?}", self.link);
        self.words.remove(0)
    }

    pub(super) fn none(&self) {
        assert!(self.words.is_empty(), "{:?}", self.words);
    }

    pub(super) fn ended(&mut self) -> (Closed, Vec<Envelope>) {
        match self.word() {
            FromLink::Ended { closed, unsent } => (*closed, unsent),
            other => panic!("{other:?}"),
        }
    }
}

/// Whether a word is this one.
macro_rules! assert_word {
    ($end:expr, $word:pat) => {{
        let word = $end.word();
        assert!(matches!(word, $word), "{word:?}");
    }};
}
pub(super) use assert_word;

impl Nodes {
    pub(super) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(super) fn with(change: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        Self::of(change(builder(1, 2)), change(builder(2, 1)))
    }

    pub(super) fn of(a: ConfigBuilder, b: ConfigBuilder) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let (a, b) = (a.build().unwrap(), b.build().unwrap());
        let link = |config, role, dial, other| {
            let trust = Trust::listed([key(other).node_id()]);
            Link::managed(config, role, dial, trust, None, &[], &Seed::new([other; 32]), now)
        };
        Self {
            a: end(link(&a, Role::Initiator, Dial::to(key(2).node_id()).sequence(7), 2)),
            b: end(link(&b, Role::Responder, Dial::anyone().sequence(3), 1)),
            now,
        }
    }

    /// Both established, all words up to there heard.
    pub(super) fn established() -> Self {
        let mut nodes = Self::new();
        nodes.establish();
        nodes
    }

    pub(super) fn establish(&mut self) {
        for side in BOTH {
            self.run();
            self.say(side, ToLink::Admit { simultaneous: false });
        }
        self.run();
        for side in BOTH {
            let end = self.end(side);
            assert_eq!(end.link.phase(), Phase::Established);
            assert!(matches!(end.words.last(), Some(FromLink::Confirmed)), "{:?}", end.words);
            end.words.clear();
            end.events.clear();
        }
    }

    pub(super) fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// Moves bytes, events and words until nothing moves.
    pub(super) fn run(&mut self) {
        while self.a.act(self.now, &mut self.b.link) | self.b.act(self.now, &mut self.a.link) {}
    }

    pub(super) fn say(&mut self, side: Side, word: ToLink) {
        let now = self.now;
        self.end(side).link.on_node(NodeToLink(word), now);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.run();
            let next = [&mut self.a, &mut self.b].into_iter().filter_map(|end| {
                match end.link.poll(self.now, Ready::NOTHING) {
                    Action::Timeout(at) => at,
                    other => panic!("{other:?}"),
                }
            });
            self.now = next.min().map_or(until, |next| next.min(until));
        }
        self.run();
    }

    /// Puts a frame under the key of a link, as that link never would: alone in a record.
    pub(super) fn smuggle(&mut self, side: Side, frame: impl FnOnce(&mut FrameWriter<'_>)) {
        let mut bytes = Vec::new();
        frame(&mut FrameWriter::new(&mut bytes));
        self.end(side).link.session.as_mut().unwrap().control.alone = Some(bytes);
        self.run();
    }
}

pub(super) fn envelope(service: &str, priority: Priority) -> Envelope {
    Envelope {
        service: service.into(),
        body: Bytes::from_static(b"body"),
        signed: false,
        unordered: false,
        priority,
        expires: None,
    }
}
