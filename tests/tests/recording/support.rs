//! A run of two links that does a little of everything, recorded on both sides.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use handclasp::crypto::RustCrypto;
use handclasp::recording::{End, Recorder, Recording, Replay, Run};
use handclasp::signed::{Audience, Content, Origins, ReplayWindows, SignedMessage, SignedPolicy, Topics};
use handclasp::{
    Action, Capability, ClusterSecret, Config, ConfigBuilder, Event, Message, Payload, Priority, Ready,
    ServiceError, StreamRead,
};
use handclasp_sim::{Owned, Pair, Side, builder, id, key, seed};

pub const SIDES: [Side; 2] = [Side::Initiator, Side::Responder];

/// Room for any recording of these tests.
pub const ROOM: usize = 64 << 20;

/// What no redacted recording may hold, nor any part of 8 bytes of it.
pub const SECRETS: [&[u8]; 10] = [
    b"a secret that all nodes share",
    b"the body of a one-way message, which is nobody's business",
    b"the body of a call, which is nobody's business either",
    b"the answer to the call: forty-two and a half",
    b"the detail of an application's error, in its own words",
    b"bytes of a stream that go on and on and on",
    b"the reason why somebody says goodbye",
    b"a value in the hello that only the peer should see",
    b"metadata of a capability, opaque to the link",
    b"what somebody has signed goes to whom it is for",
];

fn text(index: usize) -> &'static str {
    std::str::from_utf8(SECRETS[index]).expect("text")
}

/// A configuration with something in every part of the hello.
pub fn rich(number: u8, peer: u8) -> ConfigBuilder {
    let chat = Capability::new("chat", 1..=4).expect("a capability").metadata(SECRETS[8]);
    builder(number, &[peer])
        .network("a network that has a name")
        .name("a node that has a name")
        .address(1, "an.address.of.the.node:7411")
        .info("key", SECRETS[7])
        .capability(chat)
        .cluster_secret(ClusterSecret::new(SECRETS[0]).expect("long enough"))
        .signed(policy(&Arc::default()))
}

/// Takes what nodes 1 to 3 sign, for its node and the topic `weather`, and passes on what is for others.
pub fn policy(store: &Arc<Mutex<ReplayWindows>>) -> SignedPolicy {
    let store = Arc::<Mutex<ReplayWindows>>::clone(store);
    SignedPolicy::new(Origins::listed([1, 2, 3].map(id)), store).topics(Topics::listed(["weather"])).relay()
}

/// What node `number` says to `audience`, at the service `post`.
pub fn sign(number: u8, audience: impl Into<Audience>, sequence: u64, body: &[u8]) -> SignedMessage {
    let content = Content { audience: audience.into(), service: "post", epoch: 7, sequence, body };
    SignedMessage::sign(&content, &key(number), &RustCrypto).expect("a key in memory signs")
}

/// Signed messages from node 1's side to node 2: two that are taken, short and in many frames, one that has
/// come before, two that are refused, and one that is for somebody else. Those that come to the application,
/// and whether it is to pass them on; what the link counted: accepted, refused, replays.
pub fn signed_ones(pair: &mut Pair) -> (Vec<(bool, SignedMessage)>, [u64; 3]) {
    let (a, b) = (Side::Initiator, Side::Responder);
    let short = sign(3, id(2), 1, SECRETS[9]);
    let long = sign(1, Audience::topic("weather"), 1, &SECRETS[9].repeat(900));
    let elsewhere = sign(3, id(4), 1, SECRETS[9]);
    let stranger = sign(5, id(2), 1, SECRETS[9]);
    let mut flipped = sign(3, id(2), 2, SECRETS[9]).bytes().to_vec();
    *flipped.last_mut().expect("a signature") ^= 1;
    for message in [&short, &long, &short, &elsewhere, &stranger] {
        pair.link(a).send(message.message()).expect("it is taken");
    }
    pair.link(a).send(Message::new("post", Payload::Signed(flipped.into()))).expect("it is taken");
    // A signed message goes one way.
    let now = pair.now;
    assert!(pair.link(a).call(short.message(), Duration::from_secs(1), now).is_err());
    pair.end(b).ready.requests = false;
    pair.run();
    let mut came = Vec::new();
    let requests = Ready { events: false, requests: true, unordered: true, write: false };
    while let Action::Event(event) = pair.link(b).poll(now, requests) {
        match event {
            Event::Message(message) => {
                let signed = message.signed.expect("nothing else was sent");
                assert_eq!((&message.body[..], message.service), (&signed.body()[..], "post"));
                came.push((false, *signed));
            }
            Event::Relay { message, .. } => came.push((true, *message)),
            other => panic!("{other:?} is no message"),
        }
    }
    pair.end(b).ready.requests = true;
    pair.run();
    let stats = pair.link(b).stats();
    (came, [stats.signed_accepted, stats.signed_refused, stats.signed_replays])
}

pub fn config(number: u8, peer: u8) -> Arc<Config> {
    rich(number, peer).build().expect("a valid configuration")
}

/// The number of the pair's seed of one side.
pub const fn seed_of(run: u64, side: Side) -> u64 {
    match side {
        Side::Initiator => 2 * run,
        Side::Responder => 2 * run + 1,
    }
}

pub fn recorder(exact: bool, run: u64, side: Side) -> Recorder {
    if exact {
        Recorder::exact_with_secrets(seed(seed_of(run, side)), ROOM)
    } else {
        Recorder::redacted(ROOM)
    }
}

/// A pair that is recorded from its first byte on.
pub fn recorded_pair(exact: bool, run: u64) -> Pair {
    let mut pair = Pair::seeded(&config(1, 2), &config(2, 1), Some(id(2)), run);
    for side in SIDES {
        pair.link(side).record(recorder(exact, run, side)).expect("a fresh link");
    }
    pair
}

pub fn recordings(pair: &mut Pair) -> [Recording; 2] {
    SIDES.map(|side| pair.link(side).recording().expect("it is recorded"))
}

/// Replays a recording to its end.
pub fn replay(recording: &Recording) -> Run {
    let run = replay_bytes(recording.as_bytes());
    assert_eq!(run.end, End::Stopped);
    run
}

pub fn replay_bytes(bytes: &[u8]) -> Run {
    let mut replay = Replay::open(bytes).expect("a recording");
    replay.run().unwrap_or_else(|error| panic!("{error}"))
}

/// A bit of everything: messages of all sizes, an answer, an error, a cancel, streams, rekeys, pings, time, a
/// goodbye.
pub fn everything(pair: &mut Pair) {
    pair.establish();
    let (a, b) = (Side::Initiator, Side::Responder);
    let now = pair.now;
    for priority in Priority::ALL {
        pair.link(a).send(Message::new("news", SECRETS[1]).priority(priority)).expect("it is taken");
    }
    let large = Bytes::from(SECRETS[1].repeat(800));
    pair.link(b).send(Message::new("bulk", large).priority(Priority::Bulk)).expect("it is taken");
    pair.run();
    let answer = pair.call_answered(SECRETS[2], Ok(SECRETS[3].into()));
    assert!(matches!(answer, Owned::Reply { body, .. } if body == SECRETS[3]));
    let detail = Bytes::from_static(SECRETS[4]);
    let answer = pair.call_answered(SECRETS[2], Err(ServiceError::Application { code: 7, detail }));
    assert!(matches!(answer, Owned::CallFailed { .. }));
    assert_eq!(signed_ones(pair).1, [3, 2, 1]);
    let call =
        pair.link(b).call(Message::new("slow", SECRETS[2]), Duration::from_secs(9), now).expect("taken");
    pair.run();
    pair.link(b).cancel(call, now);
    pair.link(a).rekey(now);
    pair.link(b).ping(now);
    let stream = pair.link(a).open_stream("pipe", Priority::Normal).expect("a stream");
    assert_eq!(pair.link(a).stream_write(stream, &SECRETS[5].repeat(100)), 4200);
    pair.link(a).stream_finish(stream);
    pair.run();
    let theirs = pair.end(b).events.iter().find_map(|event| match event {
        Owned::StreamOpened { id, .. } => Some(*id),
        _ => None,
    });
    let theirs = theirs.expect("a stream came");
    let mut out = [0; 1000];
    while let StreamRead::Data(_) = pair.link(b).stream_read(theirs, &mut out) {}
    pair.link(b).stream_reset(theirs, 99);
    let unread = pair.link(a).send(Message::new("late", SECRETS[1]).expires(now + Duration::from_millis(1)));
    unread.expect("it is taken");
    pair.pass(Duration::from_secs(40));
    let now = pair.now;
    pair.link(a).goodbye(3, text(6), now);
    pair.pass(Duration::from_secs(2));
    assert!(SIDES.iter().all(|side| pair.closed(*side).reason.name() == "goodbye"));
}

pub trait Answering {
    /// One call by the initiator, answered so; gives what the caller gets.
    fn call_answered(&mut self, body: &[u8], answer: Result<Payload<'_>, ServiceError>) -> Owned;
}

impl Answering for Pair {
    fn call_answered(&mut self, body: &[u8], answer: Result<Payload<'_>, ServiceError>) -> Owned {
        let (a, b) = (Side::Initiator, Side::Responder);
        let now = self.now;
        self.initiator.events.clear();
        self.responder.events.clear();
        self.link(a).call(Message::new("ask", body), Duration::from_secs(5), now).expect("the call is taken");
        self.run();
        let Some(Owned::Call { token, .. }) = self.event(b) else { panic!("no call came") };
        self.link(b).reply(token, answer).expect("the answer is taken");
        self.run();
        self.event(a).expect("an answer")
    }
}
