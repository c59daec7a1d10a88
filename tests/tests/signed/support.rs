//! What the themes have in common.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use handclasp::crypto::RustCrypto;
use handclasp::signed::{
    Audience, Content, InvalidSigned, NotFresh, Origins, ReplayStore, ReplayWindows, SignedMessage,
    SignedPolicy,
};
use handclasp::{Action, Config, Event, NodeId, Priority, Ready, Signer};
use handclasp_sim::{Pair, Side, builder, id, key};

/// What is signed behind, as docs/signed.md has it.
pub(crate) const LABEL: &[u8; 32] = b"handclasp/1 signed message\0\0\0\0\0\0";

/// The bytes before the audience.
pub(crate) const HEADER: usize = 52;

/// Node 1 says `body` to node 2, at the service `s`, as number `sequence` of epoch 1.
pub(crate) fn content(sequence: u64, body: &[u8]) -> Content<'_> {
    Content { audience: id(2).into(), service: "s", epoch: 1, sequence, body }
}

/// `content` as node `number` signs it.
pub(crate) fn signed(number: u8, content: &Content<'_>) -> SignedMessage {
    SignedMessage::sign(content, &key(number), &RustCrypto).expect("signed")
}

/// Parses and verifies.
pub(crate) fn read(bytes: impl Into<Bytes>) -> Result<SignedMessage, InvalidSigned> {
    SignedMessage::parse(bytes.into())?.verify(&RustCrypto)
}

/// `head ‖ body`, signed by hand behind `label`.
pub(crate) fn by_hand(label: &[u8], head: &[u8], body: &[u8], signer: &dyn Signer) -> Vec<u8> {
    use sha2::Digest;
    let statement = [label, head, &sha2::Sha256::digest(body)].concat();
    let signature = signer.sign(&statement).expect("a key in memory signs");
    [head, body, &signature].concat()
}

/// The bytes before the body, with the fields as they are given.
pub(crate) fn head(
    [form, kind]: [u8; 2],
    origin: &[u8; 32],
    (epoch, sequence): (u64, u64),
    audience: &[u8],
    service: &[u8],
) -> Vec<u8> {
    let lengths = [audience, service].map(|part| u8::try_from(part.len()).expect("a length of one byte"));
    let numbers = [epoch.to_be_bytes(), sequence.to_be_bytes()].concat();
    [&[form, kind], &origin[..], &numbers, &lengths, audience, service].concat()
}

/// An empty store of the default size.
pub(crate) fn store() -> Arc<Mutex<ReplayWindows>> {
    Arc::default()
}

/// A store that counts what it is asked.
#[derive(Debug, Default)]
pub(crate) struct Spy {
    windows: Mutex<ReplayWindows>,
    count: Mutex<usize>,
}

impl Spy {
    /// How often it was asked.
    pub(crate) fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().expect("whole")
    }
}

impl ReplayStore for Spy {
    fn admit(&self, origin: &NodeId, audience: &Audience, epoch: u64, sequence: u64) -> Result<(), NotFresh> {
        *self.count() += 1;
        self.windows.admit(origin, audience, epoch, sequence)
    }
}

/// A policy that listens to these nodes.
pub(crate) fn policy<S: ReplayStore + 'static>(origins: &[u8], store: &Arc<S>) -> SignedPolicy {
    SignedPolicy::new(Origins::listed(origins.iter().copied().map(id)), Arc::<S>::clone(store))
}

/// Node `number`, which trusts the nodes `trusted` and takes signed messages by `policy`.
pub(crate) fn config(number: u8, trusted: &[u8], policy: Option<SignedPolicy>) -> Arc<Config> {
    let mut config = builder(number, trusted);
    if let Some(policy) = policy {
        config = config.signed(policy);
    }
    config.build().expect("a valid configuration")
}

/// An established link between two nodes, of which each takes what came when [`take`] is called.
pub(crate) fn link(initiator: &Arc<Config>, responder: &Arc<Config>) -> Pair {
    let mut pair = Pair::of(initiator, responder, Some(responder.node_id()));
    pair.establish();
    for side in [Side::Initiator, Side::Responder] {
        pair.end(side).ready.requests = false;
    }
    pair
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    Message { service: String, body: Bytes, priority: Priority, signed: Option<SignedMessage> },
    Relay(SignedMessage, Priority),
}

/// Everything that has come at one end, once all bytes have moved.
pub(crate) fn take(pair: &mut Pair, side: Side) -> Vec<Came> {
    let mut came = Vec::new();
    loop {
        pair.run();
        let now = pair.now;
        let only_requests = Ready { events: false, requests: true, unordered: true, write: false };
        match pair.link(side).poll(now, only_requests) {
            Action::Event(Event::Message(message)) => came.push(Came::Message {
                service: message.service.to_owned(),
                priority: message.priority,
                signed: message.signed.map(|signed| *signed),
                body: message.body.into_bytes(),
            }),
            Action::Event(Event::Relay { message, priority }) => came.push(Came::Relay(*message, priority)),
            Action::Event(other) => panic!("{other:?} is no message"),
            Action::Send | Action::Timeout(_) => return came,
        }
    }
}

/// What a signed message of normal priority is when it comes to whom it is for.
pub(crate) fn delivered(message: &SignedMessage) -> Came {
    Came::Message {
        service: message.service().to_owned(),
        body: message.body(),
        priority: Priority::Normal,
        signed: Some(message.clone()),
    }
}
