//! handclasp itself. Every row of this module carries the reference figure that the others are compared with.
//!
//! The core is driven as an adapter drives it: the clock is read before each step, bytes are copied from one end's
//! `transmit` into the other's `recv_space`, and events are taken until there are none.

use super::aws_lc::{AwsLc, AwsLcSigner};
use crate::contest::{Caller, Handshake, IN_FLIGHT, Pair, SMALL, Sink};
use crate::loopback::{Placement, connect};
use futures::future::join_all;
use handclasp::{
    Action, Config, Dial, Event, Instant, Link, Message, NodeId, Payload, Ready, SecretKey, Seed, Signer,
    Trust,
};
use handclasp_tokio::{Allow, Services, accept_over, connect_over};
use std::sync::Arc;
use std::time;
use tokio::runtime::Runtime;

/// Where the cryptography comes from.
#[derive(Clone, Copy)]
enum Provider {
    /// The default: dalek's curves and `RustCrypto`'s hash and cipher.
    Default,
    /// aws-lc-rs, for measuring.
    AwsLc,
}

impl Provider {
    const ALL: [Self; 2] = [Self::Default, Self::AwsLc];

    fn label(self) -> String {
        match self {
            Self::Default => "handclasp".into(),
            Self::AwsLc => "handclasp, aws-lc-rs as provider".into(),
        }
    }

    fn node(self, seed: [u8; 32], peer: NodeId) -> Arc<Config> {
        let incarnation = u64::from_be_bytes(random());
        let builder = match self {
            Self::Default => Config::builder(SecretKey::from_bytes(seed), incarnation),
            Self::AwsLc => Config::builder(AwsLcSigner::from_seed(seed), incarnation).provider(AwsLc),
        };
        builder.trust(Trust::listed([peer])).build().expect("a valid configuration")
    }
}

/// The service that messages are for: its name travels with each of them.
pub const SERVICE: &str = "work";

/// The configurations of two nodes that trust each other: the one that dials, the one that listens.
pub fn nodes() -> (Arc<Config>, Arc<Config>) {
    let nodes = Nodes::new(Provider::Default);
    (nodes.dialler, nodes.listener)
}

/// The handshakes: one per suite and provider worth showing, the default first.
pub fn handshakes() -> Vec<Box<dyn Handshake>> {
    Provider::ALL.map(|provider| Box::new(Nodes::new(provider)) as Box<dyn Handshake>).into()
}

/// Established pairs for messages in memory, the default first.
pub fn pairs() -> Vec<Box<dyn Pair>> {
    Provider::ALL.map(|provider| Box::new(LinkPair::new(&Nodes::new(provider))) as Box<dyn Pair>).into()
}

/// Clients with a server over loopback TCP, the default first.
pub fn callers(placement: Placement) -> Vec<Box<dyn Caller>> {
    Provider::ALL.map(|provider| Box::new(Client::new(provider, placement)) as Box<dyn Caller>).into()
}

/// A client of `handclasp-tokio` and its server.
struct Client {
    provider: Provider,
    runtime: Runtime,
    link: handclasp_tokio::Link,
}

impl Client {
    fn new(provider: Provider, placement: Placement) -> Self {
        let nodes = Nodes::new(provider);
        let services =
            Services::new().serve(SERVICE, Allow::Anyone, |request| async move { Ok(request.body) });
        let listener = Arc::clone(&nodes.listener);
        let (runtime, stream) = connect(placement, move |stream| async move {
            let link = accept_over(stream, &listener, &services).await.expect("a link");
            link.closed().await;
        });
        let dial = Dial::to(nodes.listener.node_id());
        let link = runtime.block_on(connect_over(stream, &nodes.dialler, dial, &Services::new()));
        Self { provider, runtime, link: link.expect("a link") }
    }
}

async fn call(link: &handclasp_tokio::Link) {
    let reply = link.call(SERVICE, &[7; SMALL]).await.expect("a reply");
    assert_eq!(reply.len(), SMALL);
}

impl Caller for Client {
    fn name(&self) -> String {
        self.provider.label()
    }

    fn in_flight(&mut self, calls: u64) {
        let link = &self.link;
        self.runtime.block_on(join_all((0..IN_FLIGHT).map(|_| async move {
            for _ in 0..calls / IN_FLIGHT {
                call(link).await;
            }
        })));
    }

    fn one_by_one(&mut self, calls: u64, times: &mut Vec<time::Duration>) {
        self.runtime.block_on(async {
            for _ in 0..calls {
                let start = time::Instant::now();
                call(&self.link).await;
                times.push(start.elapsed());
            }
        });
    }
}

/// Two nodes that trust each other and nobody else.
struct Nodes {
    provider: Provider,
    dialler: Arc<Config>,
    listener: Arc<Config>,
    clock: Clock,
}

impl Nodes {
    fn new(provider: Provider) -> Self {
        let seeds = [[1; 32], [2; 32]];
        let [dialler, listener] = seeds.map(|seed| SecretKey::from_bytes(seed).node_id());
        Self {
            provider,
            dialler: provider.node(seeds[0], listener),
            listener: provider.node(seeds[1], dialler),
            clock: Clock::start(),
        }
    }

    /// One full handshake; both ends have said that they are established with the node they expect.
    fn connect(&self) -> Ends {
        let now = self.clock.now();
        let seed = || Seed::new(random());
        let dial = Dial::to(self.listener.node_id());
        let mut ends = Ends {
            dialler: Link::initiator(&self.dialler, dial, &seed(), now),
            listener: Link::responder(&self.listener, 0, &seed(), now),
            clock: self.clock,
        };
        let mut found = [None; 2];
        ends.run(|dialler, event| {
            if let Event::Established(peer) = event {
                found[usize::from(dialler)] = Some(peer.id);
            }
        });
        assert_eq!(found, [Some(self.dialler.node_id()), Some(self.listener.node_id())]);
        ends
    }
}

impl Handshake for Nodes {
    fn name(&self) -> String {
        self.provider.label()
    }

    fn run(&mut self) {
        std::hint::black_box(self.connect());
    }
}

/// Fresh bytes of the operating system.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system's randomness");
    bytes
}

/// The operating system's clock, as the core counts time.
#[derive(Clone, Copy)]
struct Clock(time::Instant);

impl Clock {
    fn start() -> Self {
        Self(time::Instant::now())
    }

    fn now(self) -> Instant {
        Instant::from_nanos(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Both ends of one link.
struct Ends {
    dialler: Link,
    listener: Link,
    clock: Clock,
}

impl Ends {
    /// Moves bytes both ways until neither end has any, and gives every event to `on_event`, with whether it is the
    /// dialler's.
    fn run(&mut self, mut on_event: impl FnMut(bool, Event<'_>)) {
        while step(&mut self.dialler, &mut self.listener, self.clock, |event| on_event(true, event))
            | step(&mut self.listener, &mut self.dialler, self.clock, |event| on_event(false, event))
        {
        }
    }
}

/// Takes the events of `from` and carries its bytes over to `to`. False if there was nothing to do.
fn step(from: &mut Link, to: &mut Link, clock: Clock, mut on_event: impl FnMut(Event<'_>)) -> bool {
    let now = clock.now();
    let mut busy = false;
    loop {
        match from.poll(now, Ready::ALL) {
            Action::Event(event) => on_event(event),
            Action::Send => {
                let bytes = from.transmit(now);
                let space = to.recv_space();
                let count = space.len().min(bytes.len());
                assert!(count > 0, "the other end takes no bytes");
                space[..count].copy_from_slice(&bytes[..count]);
                from.transmitted(count, now);
                to.received(count, now);
            }
            Action::Timeout(_) => return busy,
        }
        busy = true;
    }
}

/// An established link whose dialler sends.
struct LinkPair {
    provider: Provider,
    ends: Ends,
}

impl LinkPair {
    fn new(nodes: &Nodes) -> Self {
        Self { provider: nodes.provider, ends: nodes.connect() }
    }
}

impl Pair for LinkPair {
    fn name(&self) -> String {
        self.provider.label()
    }

    fn send(&mut self, body: &[u8]) {
        let message = Message::new(SERVICE, Payload::Borrowed(body));
        self.ends.dialler.send(message).expect("an open link with room in its queue");
    }

    fn flush(&mut self, sink: &mut Sink) {
        self.ends.run(|dialler, event| match event {
            Event::Message(message) if !dialler && message.service == SERVICE => sink.take(&message.body),
            other => panic!("not expected: {other:?}"),
        });
    }
}
