//! Two links and a hostile pipe between them.
//!
//! The cryptography is the sim's worthless one: it costs nothing, and what is changed on its way does not open. So
//! whatever the pipe does, what is delivered is what was sent, in order and once; and if the pipe does nothing, all of
//! it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use handclasp::{
    CallId, ClusterSecret, Config, Dial, Limits, Link, Message, Phase, Priority, Ready, Reason, RekeyPolicy,
    Seed, Trust,
};
use handclasp_sim::world::{Worthless, WorthlessSigner};

use crate::input::Input;
use crate::owner::{Got, Owner, SEND_BUFFER, START};
use crate::peer::id_of;

/// Steps of a script; the number of kinds is the last one.
pub(crate) mod step {
    pub(crate) const MOVE: u8 = 0;
    pub(crate) const RUN: u8 = 1;
    pub(crate) const SEND: u8 = 2;
    pub(crate) const CALL: u8 = 3;
    pub(crate) const ANSWER: u8 = 4;
    pub(crate) const CANCEL: u8 = 5;
    pub(crate) const TIME: u8 = 6;
    pub(crate) const READY: u8 = 7;
    pub(crate) const COMMAND: u8 = 8;
    pub(crate) const HARM: u8 = 9;
    pub(crate) const KINDS: usize = 10;
}

const MOST_STEPS: usize = 1000;

/// Each side by what it does: dialling, accepting.
const SIDES: [usize; 2] = [0, 1];

/// What one side has sent and the other has not got.
#[derive(Debug, Default)]
struct Way {
    bytes: VecDeque<u8>,
    /// Messages in the order of each priority, and calls: number and length.
    sent: [VecDeque<Got>; 4],
    calls: Vec<Got>,
    /// Messages that did not arrive before a later one of their priority did.
    skipped: usize,
    /// The reader knows that nothing more comes.
    closed: bool,
}

#[derive(Debug)]
struct Pair {
    owners: [Owner; 2],
    /// `ways[side]` is what that side writes.
    ways: [Way; 2],
    /// The calls of both sides, with the first bytes of their bodies.
    asked: Vec<(CallId, [u8; 4])>,
    next: u32,
    harmed: bool,
    /// A side has been told to end without a goodbye, or an end of the stream.
    ended: bool,
    /// Something of this run may end by the clock.
    waited: bool,
}

/// Runs the script.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut pair = Pair::new(&mut input);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        pair.take_step(&mut input);
    }
    pair.end();
}

fn config(number: u8, peer: u8, small: bool, psk: bool, quick: bool) -> Arc<Config> {
    let limits = if small {
        Limits { max_message: 2000, window: 5000, max_calls: 3, max_record: 4096, ..Limits::default() }
    } else {
        Limits { max_message: 60_000, window: 200_000, ..Limits::default() }
    };
    let rekey = RekeyPolicy { records: if quick { 2 } else { 1 << 20 }, ..RekeyPolicy::default() };
    let mut builder = Config::builder(WorthlessSigner(id_of(number)), u64::from(number))
        .provider(Worthless)
        .trust(Trust::listed([id_of(peer)]))
        .limits(limits)
        .rekey(rekey)
        .send_buffer(SEND_BUFFER);
    if psk {
        builder = builder.cluster_secret(ClusterSecret::new(*b"sixteen bytes or").expect("a secret"));
    }
    builder.build().expect("a valid configuration")
}

impl Pair {
    fn new(input: &mut Input<'_>) -> Self {
        let how = input.u8();
        let (psk, quick) = (how & 4 != 0, how & 8 != 0);
        let configs = [config(1, 2, how & 1 != 0, psk, quick), config(2, 1, how & 2 != 0, psk, quick)];
        let dial = Dial { expected: (how & 16 != 0).then(|| id_of(2)), sequence: 1 };
        let links = [
            Link::initiator(&configs[0], dial, &Seed::new([5; 32]), START),
            Link::responder(&configs[1], 1, &Seed::new([6; 32]), START),
        ];
        let [dialling, accepting] = links;
        Self {
            owners: [Owner::new(dialling, &configs[0]), Owner::new(accepting, &configs[1])],
            ways: [Way::default(), Way::default()],
            asked: Vec::new(),
            next: 0,
            harmed: false,
            ended: false,
            waited: false,
        }
    }

    /// A side does what it can. True if it wrote something.
    fn act(&mut self, side: usize) -> bool {
        let owner = &mut self.owners[side];
        owner.act();
        let wrote = !owner.out.is_empty();
        self.ways[side].bytes.extend(owner.out.drain(..));
        let (got, replies) = (std::mem::take(&mut owner.got), std::mem::take(&mut owner.replies));
        let way = &mut self.ways[1 - side];
        for got in got {
            way.delivered(&got);
        }
        for (call, body) in replies {
            let asked = self.asked.iter().find(|(each, _)| *each == call).expect("an answer to no call");
            assert!(body.starts_with(&asked.1), "an answer to something else");
        }
        wrote
    }

    /// A side reads at most `count` bytes. False if it took none.
    fn deliver(&mut self, side: usize, count: usize) -> bool {
        let bytes = &mut self.ways[1 - side].bytes;
        let count = count.min(bytes.len());
        let taken = self.owners[side].read_all(&bytes.make_contiguous()[..count]);
        bytes.drain(..taken);
        self.act(side);
        taken > 0
    }

    /// A side that is over closes its stream: the other reads the end of it behind all else. True if it just did.
    fn hang_up(&mut self, side: usize) -> bool {
        let over = self.owners[1 - side].link.is_finished() && self.ways[1 - side].bytes.is_empty();
        if !over || std::mem::replace(&mut self.ways[1 - side].closed, true) {
            return false;
        }
        let now = self.owners[side].now;
        self.owners[side].link.recv_closed(now);
        self.act(side);
        true
    }

    fn run(&mut self) {
        loop {
            let mut moved = false;
            for side in SIDES {
                moved |= self.act(side);
                moved |= self.deliver(side, usize::MAX);
                moved |= self.hang_up(side);
            }
            if !moved {
                return;
            }
        }
    }

    fn take_step(&mut self, input: &mut Input<'_>) {
        let what = input.u8();
        let side = usize::from(what >> 7);
        let now = self.owners[side].now;
        match (what & 0x7f) % u8::try_from(step::KINDS).expect("few kinds") {
            step::MOVE => {
                let count = input.length();
                self.act(1 - side);
                self.deliver(side, count);
            }
            step::RUN => self.run(),
            step::SEND => self.send(side, input),
            step::CALL => self.call(side, input),
            step::ANSWER => self.answer(side, input),
            step::CANCEL => {
                if !self.owners[side].calls.is_empty() {
                    let place = input.below(self.owners[side].calls.len().min(256));
                    self.owners[side].cancel(place);
                }
            }
            step::TIME => {
                let by = Duration::from_millis(u64::from(input.u16()));
                self.waited |= by > Duration::from_millis(500);
                for owner in &mut self.owners {
                    owner.now = owner.now + by;
                }
                for side in SIDES {
                    self.act(side);
                }
            }
            step::READY => {
                let flags = input.u8();
                let owner = &mut self.owners[side];
                owner.ready = Ready {
                    events: flags & 1 == 0,
                    requests: flags & 2 == 0,
                    unordered: flags & 0x10 == 0,
                    write: flags & 4 == 0,
                };
                owner.chunk = if flags & 8 == 0 { usize::MAX } else { 1 + usize::from(flags >> 4) };
            }
            step::COMMAND => match input.below(5) {
                0 => {
                    // Before its time it is no goodbye but an end.
                    self.ended |= self.owners[side].link.phase().is_handshake();
                    self.owners[side].link.goodbye(9, "enough", now);
                }
                1 => self.owners[side].link.rekey(now),
                2 => self.owners[side].link.ping(now),
                3 => {
                    self.ended = true;
                    self.owners[side].link.close(now);
                }
                _ => {
                    self.ended = true;
                    self.owners[side].link.recv_closed(now);
                }
            },
            _ => self.harm(side, input),
        }
    }

    /// A body of its own, and what it belongs to.
    fn new_body(&mut self, input: &mut Input<'_>, priority: Priority) -> Got {
        self.next += 1;
        let mut body = self.next.to_be_bytes().to_vec();
        body.resize(4 + input.length(), self.next.to_le_bytes()[0]);
        Got { service: "s".repeat(input.below(3) * 40), body, priority, unordered: false }
    }

    fn send(&mut self, side: usize, input: &mut Input<'_>) {
        let how = input.u8();
        let mut got = self.new_body(input, Priority::ALL[usize::from(how & 3)]);
        got.unordered = how & 0x18 == 0x18;
        let owner = &mut self.owners[side];
        let mut message = Message::new(&got.service, &got.body[..]).priority(got.priority);
        message.unordered = got.unordered;
        if how & 4 != 0 {
            message = message.expires(owner.now + Duration::from_millis(u64::from(how)));
        }
        if owner.link.send(message).is_ok() {
            owner.sent += 1;
            self.ways[side].sent[usize::from(how & 3)].push_back(got);
        }
    }

    fn call(&mut self, side: usize, input: &mut Input<'_>) {
        let how = input.u8();
        let got = self.new_body(input, Priority::Normal);
        let owner = &mut self.owners[side];
        let message = Message::new(&got.service, &got.body[..]).priority(Priority::ALL[usize::from(how & 3)]);
        let timeout = Duration::from_millis(1 + 40 * u64::from(how));
        if let Ok(call) = owner.link.call(message, timeout, owner.now) {
            owner.calls.push(call);
            self.asked.push((call, self.next.to_be_bytes()));
            self.ways[side].calls.push(got);
        }
    }

    fn answer(&mut self, side: usize, input: &mut Input<'_>) {
        let owner = &mut self.owners[side];
        if owner.tokens.is_empty() {
            return;
        }
        let (token, number) = owner.tokens.swap_remove(input.below(owner.tokens.len().min(256)));
        // An answer names the call that it is for.
        let mut body = number.to_vec();
        body.resize(4 + input.length(), 8);
        if let Err(no) = owner.link.reply(token, Ok((&body[..]).into())) {
            owner.tokens.extend(no.token.map(|token| (token, number)));
        }
    }

    /// Something happens to the bytes on their way.
    fn harm(&mut self, side: usize, input: &mut Input<'_>) {
        let bytes = &mut self.ways[side].bytes;
        let (how, place, value) = (input.below(5), input.length(), input.u8());
        if bytes.is_empty() {
            return;
        }
        self.harmed = true;
        let place = place % bytes.len();
        match how {
            0 => bytes[place] ^= value.max(1),
            1 => drop(bytes.drain(place..bytes.len().min(place + 1 + usize::from(value)))),
            2 => {
                let again: Vec<u8> = bytes.iter().skip(place).take(1 + usize::from(value)).copied().collect();
                bytes.extend(again);
            }
            3 => bytes.insert(place, value),
            // Reflection.
            _ => {
                let back: Vec<u8> = bytes.iter().take(place + 1).copied().collect();
                self.ways[1 - side].bytes.extend(back);
            }
        }
    }

    /// Nothing happens to the rest, and the links come to an end.
    fn end(&mut self) {
        for side in SIDES {
            self.owners[side].ready = Ready::ALL;
            self.owners[side].chunk = usize::MAX;
        }
        self.run();
        let open = |owner: &Owner| owner.link.phase() == Phase::Established;
        if !self.harmed && !self.ended && !self.waited {
            // A pipe that only delays is no pipe to be noticed.
            let reasons =
                self.owners.each_ref().map(|owner| owner.link.closed().map(|end| end.reason.clone()));
            for reason in reasons.into_iter().flatten() {
                assert!(matches!(reason, Reason::Goodbye { .. } | Reason::DrainTimeout), "{reason:?}");
            }
            assert!(self.owners.iter().all(Owner::was_established), "not established");
        }
        if !self.harmed && self.owners.iter().all(open) {
            self.arrives();
            self.says_goodbye();
        }
        for side in SIDES {
            self.owners[side].finish(side);
        }
    }

    /// Everything that has not expired has arrived, once no answer is missing.
    fn arrives(&mut self) {
        for side in SIDES {
            let missing: usize = self.ways[side].sent.iter().map(VecDeque::len).sum();
            assert_eq!(
                missing + self.ways[side].skipped,
                self.owners[side].expired,
                "messages that did not arrive"
            );
        }
    }

    fn says_goodbye(&mut self) {
        self.owners[0].link.goodbye(1, "the end", self.owners[0].now);
        for _ in 0..100 {
            self.run();
            let deadlines = SIDES.map(|side| self.owners[side].act());
            let Some(next) = deadlines.into_iter().flatten().min() else { break };
            for owner in &mut self.owners {
                owner.now = owner.now.max(next);
            }
        }
        for owner in &self.owners {
            let end = owner.link.closed().expect("a goodbye ends a link");
            assert!(matches!(end.reason, Reason::Goodbye { .. } | Reason::DrainTimeout), "{end:?}");
        }
    }
}

impl Way {
    /// The other side has this: it was sent, and if it has an order is not behind another of its priority.
    fn delivered(&mut self, got: &Got) {
        if let Some(place) = self.calls.iter().position(|call| call == got) {
            self.calls.swap_remove(place);
            return;
        }
        let sent = &mut self.sent[got.priority as usize];
        let place = sent.iter().position(|each| each == got);
        let place = place.unwrap_or_else(|| panic!("a message that was not sent, or twice: {got:?}"));
        let skipped = if got.unordered { 0 } else { place };
        sent.remove(place);
        // What is unordered may have stayed behind.
        let mut ordered = sent.drain(..skipped).partition::<VecDeque<_>, _>(|each| !each.unordered);
        self.skipped += ordered.0.len();
        ordered.1.extend(sent.drain(..));
        *sent = ordered.1;
    }
}
