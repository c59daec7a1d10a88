//! What the handles of a node promise when things come in an awkward order, or not at all.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use futures_lite::future::poll_once;
use handclasp::hello::DialAddress;
use handclasp::identity::SignerError;
use handclasp::node::{DialError, NodeEvent, NodePolicy, PeerState, PeerStatus, Permanence};
use handclasp::runtime::{Handler, Missed, Node, Runtime, Services, WeakNode, WhyNotSent};
use handclasp::services::Allow;
use handclasp::{CallError, Message, NodeId, SecretKey, ServiceError, Signer, Timing, Trust};
use handclasp_adapters::nodes::{Folder, address, echo, event, id, key, node, policy, port, start, stop};
use handclasp_adapters::{Host, sleep, soon, until};

type Work = Box<dyn FnOnce() + Send>;

thread_local! {
    static HELD: RefCell<Option<Vec<Work>>> = const { RefCell::new(None) };
}

/// How often anything was begun that may block, by all cases together.
static BEGUN: AtomicUsize = AtomicUsize::new(0);

/// The runtime `R`; what may block, and is begun on a thread that [holds](hold) it, runs when the case says so.
struct Held<R>(PhantomData<fn() -> R>);

/// From here on, what may block and is begun on this thread waits.
fn hold() {
    HELD.set(Some(Vec::new()));
}

/// What has waited, in the order in which it was begun.
fn held() -> Vec<Work> {
    HELD.take().expect("it was held")
}

impl<R> fmt::Debug for Held<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl<R: Runtime> Runtime for Held<R> {
    handclasp_adapters::forward!(R: Tcp TcpListener Stream Sleep now today sleep_until spawn
        random resolve connect bind accept peer_addr local_addr);

    fn unblock(work: impl FnOnce() + Send + 'static) {
        BEGUN.fetch_add(1, Ordering::SeqCst);
        HELD.with_borrow_mut(|held| match held {
            Some(held) => held.push(Box::new(work)),
            None => R::unblock(work),
        });
    }
}

/// A node by a file, which it does not look at by itself.
async fn by_file<R: Runtime>(folder: &Folder) -> Node<R> {
    let node = Node::builder(key(2)).trust_file(folder.list()).trust_reload(Duration::from_secs(3600));
    start(node).await
}

async fn i5_a_revocation_is_not_undone_by_an_earlier_trust_still_on_its_way_to_the_file<H: Host>() {
    // Whichever of the two the system gets round to first.
    for backwards in [false, true] {
        let folder = Folder::new("overtaken");
        let ben = by_file::<Held<H>>(&folder).await;
        hold();
        let mut trust = pin!(ben.trust(id(3), None));
        let mut revoke = pin!(ben.revoke(id(3)));
        assert!(poll_once(&mut trust).await.is_none() && poll_once(&mut revoke).await.is_none());
        let mut works = held();
        assert_eq!(works.len(), 2);
        if backwards {
            works.reverse();
        }
        for work in works {
            work();
            assert!(!ben.is_trusted(id(3)), "backwards: {backwards}");
        }
        assert!(!soon(trust).await.expect("it came to nothing"));
        assert!(!soon(revoke).await.expect("it is not in the file"));
        assert!(!ben.is_trusted(id(3)) && !folder.list().exists());
    }
}

async fn i5_a_trust_after_a_revocation_holds_whichever_reaches_the_file_first<H: Host>() {
    for backwards in [false, true] {
        let folder = Folder::new("taken-back");
        folder.write(&format!("{}\n", id(3)));
        let ben = by_file::<Held<H>>(&folder).await;
        hold();
        let mut revoke = pin!(ben.revoke(id(3)));
        let mut trust = pin!(ben.trust(id(3), None));
        assert!(poll_once(&mut revoke).await.is_none() && !ben.is_trusted(id(3)));
        assert!(poll_once(&mut trust).await.is_none());
        let mut works = held();
        if backwards {
            works.reverse();
        }
        for work in works {
            work();
        }
        assert!(soon(revoke).await.expect("written") && soon(trust).await.expect("written"));
        assert!(ben.is_trusted(id(3)) && folder.read().contains(&id(3).to_string()));
    }
}

async fn i5_an_earlier_trust_does_not_undo_a_revocation_that_cannot_be_written<H: Host>() {
    let folder = Folder::new("unwritten");
    let ben = by_file::<Held<H>>(&folder).await;
    hold();
    let mut trust = pin!(ben.trust(id(3), None));
    let mut again = pin!(ben.trust(id(3), None));
    let mut revoke = pin!(ben.revoke(id(3)));
    assert!(poll_once(&mut trust).await.is_none());
    let first = held();
    // The first is made; it is in the file, and the file cannot be changed from then on.
    for work in first {
        work();
    }
    assert!(soon(trust).await.expect("written") && ben.is_trusted(id(3)));
    hold();
    assert!(poll_once(&mut again).await.is_none() && poll_once(&mut revoke).await.is_none());
    let works = held();
    let text = folder.read();
    folder.write("who is this?\n");
    for work in works {
        work();
    }
    assert!(!soon(again).await.expect("it came to nothing"));
    soon(revoke).await.expect_err("it cannot be changed");
    assert!(!ben.is_trusted(id(3)));
    // Neither does another change, which takes the file over as it is then.
    folder.write(&text);
    assert!(soon(ben.trust(id(4), None)).await.expect("written"));
    assert!(ben.is_trusted(id(4)) && !ben.is_trusted(id(3)));
    // A later one does.
    soon(ben.trust(id(3), None)).await.expect("written");
    assert!(ben.is_trusted(id(3)));
}

async fn i4_a_trust_file_is_not_looked_at_without_pause<H: Host>() {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let first = *FIRST.get_or_init(Instant::now);
    let folder = Folder::new("pause");
    let ben = start(Node::<Held<H>>::builder(key(2)).trust_file(folder.list()).trust_reload(Duration::ZERO));
    let ben = ben.await;
    sleep(Duration::from_millis(300)).await;
    let looks = u128::try_from(BEGUN.load(Ordering::SeqCst)).expect("a number");
    // One node of each of four hosts, each every 10 ms at most; the other cases begin less than 100.
    assert!(looks <= 4 * (first.elapsed().as_millis() / 10 + 2) + 100, "{looks}");
    // It is looked at, though.
    folder.write(&format!("{}\n", id(3)));
    until("trusted", || ben.is_trusted(id(3))).await;
}

async fn d5_a_call_out_of_time_for_want_of_a_link_says_why_there_was_none<H: Host>() {
    let (_first, first) = port();
    let (_other, other) = port();
    let anna = start(node::<H>(1)).await;
    let peer = anna.peer(id(2));
    let refused = |error: CallError| match error {
        CallError::NoLink { error } => {
            assert!(matches!(*error, DialError::Unreachable { .. }), "{error}");
            true
        }
        CallError::DeadlineExceeded { .. } => false,
        other => panic!("{other}"),
    };
    // The dial fails while the call waits, if there is time enough for it.
    let mut time = Duration::from_millis(50);
    for port in [first, other].into_iter().cycle() {
        peer.set_addresses([port]);
        let begun = Instant::now();
        let error = soon(peer.call_with(Message::new("echo", ""), time)).await.expect_err("nobody listens");
        assert!(begun.elapsed() >= time, "as long as dialling can help");
        if refused(error) {
            break;
        }
        time *= 2;
        assert!(time < Duration::from_secs(10), "it never says why");
    }
    // It failed before, and the node waits until it dials again.
    let failed = || peer.status().is_some_and(|status| status.failures > 0 && status.last_error.is_some());
    until("it failed", failed).await;
    let error = soon(peer.call_with(Message::new("echo", ""), Duration::from_millis(1))).await;
    assert!(refused(error.expect_err("nobody listens")));
    // What failed at an address that the peer has no more says nothing, once no dial to it is under way.
    assert!(soon(peer.disconnect(0, "")).await.is_none());
    let dialling = |status: PeerStatus| matches!(status.state, PeerState::Dialling { .. });
    until("no dial is under way", || !peer.status().is_some_and(dialling)).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    peer.set_addresses([silent.local_addr().expect("its address")]);
    let error = soon(peer.call_with(Message::new("echo", ""), Duration::from_millis(50))).await;
    assert!(!refused(error.expect_err("nobody answers")));
}

/// A signer that can be seen to be gone.
#[derive(Debug)]
struct Watched(SecretKey, #[allow(dead_code)] Arc<()>);

impl Signer for Watched {
    fn node_id(&self) -> NodeId {
        self.0.node_id()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        self.0.sign(message)
    }
}

/// Node 2 with a service that holds a handle to a peer; what tells whether its signer and its handler are left.
async fn with_a_peer_in_a_handler<R: Runtime>() -> (Node<R>, [Weak<()>; 2]) {
    let (signer, handler) = (Arc::new(()), Arc::new(()));
    let marks = [Arc::downgrade(&signer), Arc::downgrade(&handler)];
    let ben = Node::<R>::builder(Watched(key(2), signer)).trust(Trust::listed([id(1)])).policy(policy());
    let ben = start(ben.services(&echo()).listen("127.0.0.1:0")).await;
    let peer = ben.peer(id(1));
    let back = Handler::call(move |_| {
        let (peer, handler) = (peer.clone(), Arc::clone(&handler));
        async move {
            let answer = peer.call("echo", "back").await;
            drop(handler);
            answer.map_err(|_| ServiceError::HandlerFailed)
        }
    });
    ben.services().add("back", Allow::Anyone, back).expect("a short name");
    (ben, marks)
}

async fn k6_a_peer_that_a_handler_holds_keeps_nothing_of_an_ended_node<H: Host>() {
    for shut_down in [false, true] {
        let (ben, marks) = with_a_peer_in_a_handler::<H>().await;
        let home = address(&ben);
        let anna = start(node::<H>(1).services(&echo()).peer(id(2), [home], Permanence::Permanent)).await;
        let peer = anna.peer(id(2));
        assert_eq!(soon(peer.call("back", "")).await.expect("an answer"), "back");
        if shut_down {
            stop(ben).await;
        } else {
            drop(ben);
        }
        until("all gone", || marks.iter().all(|mark| mark.strong_count() == 0)).await;
    }
    // A node that has ended and that somebody still holds can be asked for its services.
    let (ben, marks) = with_a_peer_in_a_handler::<H>().await;
    let clone = ben.clone();
    stop(ben).await;
    assert!(clone.services().withdraw("back"));
    until("the handler is gone", || marks[1].strong_count() == 0).await;
    drop(clone);
    until("all gone", || marks[0].strong_count() == 0).await;
}

async fn m8_events_that_nobody_takes_hold_no_more_bytes_than_the_outbox<H: Host>() {
    const BODY: usize = 10_000;
    const OUTBOX: usize = 100_000;
    let policy = NodePolicy { outbox: OUTBOX, ..policy() };
    let anna = start(node::<H>(1).policy(policy)).await;
    let mut events = anna.events();
    let peer = anna.peer(id(2));
    let mut sent = 0_u8;
    for _ in 0..5 {
        soon(anna.trust(id(2), None)).await.expect("there is no file");
        for _ in 0..9 {
            peer.try_send(Message::new("log", vec![sent; BODY])).expect("there is room");
            sent += 1;
        }
        // Each of them comes back.
        soon(anna.revoke(id(2))).await.expect("there is no file");
    }
    stop(anna).await;
    let (mut missed, mut left) = (0, Vec::new());
    while let Some(event) = soon(events.next()).await {
        match event.map(|event| match &*event {
            NodeEvent::Undelivered { envelope, .. } => Some(envelope.body.clone()),
            _ => None,
        }) {
            Ok(Some(body)) => left.push(body),
            Ok(None) => {}
            Err(Missed(count)) => missed += count,
        }
    }
    // Nine of them fit, with the name of the service.
    assert_eq!(left.iter().map(|body| body[0]).collect::<Vec<_>>(), (sent - 9..sent).collect::<Vec<_>>());
    assert!(missed >= u64::from(sent) - 9, "{missed}");
}

async fn m8_one_event_is_kept_however_long_its_message_is<H: Host>() {
    let anna = start(node::<H>(1).policy(NodePolicy { outbox: 10, ..policy() })).await;
    let mut events = anna.events();
    anna.peer(id(2)).try_send(Message::new("log", vec![1; 1000])).expect("there is none yet");
    soon(anna.revoke(id(2))).await.expect("there is no file");
    let length = event(&mut events, |event| match event {
        NodeEvent::Undelivered { envelope, .. } => Some(envelope.body.len()),
        _ => None,
    });
    assert_eq!(length.await, 1000);
}

async fn h6_a_decision_that_comes_too_late_is_no_fault_of_a_registry<H: Host>() {
    let services = Services::new().admit(|_| std::future::pending());
    let timing = Timing { step: Duration::from_millis(100), ..Timing::default() };
    let ben = node::<H>(2).trust(Trust::Ask).config(|config| config.timing(timing)).services(&services);
    let ben = start(ben.listen("127.0.0.1:0")).await;
    let anna = start(node::<H>(1).peer(id(2), [address(&ben)], Permanence::Permanent)).await;
    let mut events = anna.events();
    for _ in 0..3 {
        let reason = event(&mut events, |event| match event {
            NodeEvent::DialFailed { error, .. } => Some(error.name()),
            _ => None,
        });
        // The link's own time is over at the same moment.
        let reason = reason.await;
        assert!(["denied", "handshake_timeout", "truncated"].contains(&reason), "{reason}");
    }
}

async fn d3_handles_tell_the_time_that_messages_expire_by<H: Host>() {
    let ben = start(node::<H>(2).services(&echo()).listen("127.0.0.1:0")).await;
    let anna = start(node::<H>(1)).await;
    let peer = anna.peer(id(2));
    let mut events = anna.events();
    let expires = anna.now() + Duration::from_secs(1);
    peer.try_send(Message::new("log", "").expires(expires)).expect("there is time yet");
    event(&mut events, |event| matches!(event, NodeEvent::Undelivered { .. }).then_some(())).await;
    assert!(anna.now() >= expires);
    let late = peer.try_send(Message::new("log", "").expires(anna.now())).expect_err("it is over");
    assert_eq!(late.why, WhyNotSent::Expired);
    // A link of the node goes by the same clock.
    peer.set_addresses([address(&ben)]);
    let link = soon(peer.connect()).await.expect("a link");
    let (before, on_link, after) = (anna.now(), link.now(), anna.now());
    assert!(before <= on_link && on_link <= after && before >= expires);
    let Some(PeerState::Linked { since, .. }) = peer.status().map(|status| status.state) else {
        panic!("{:?}", peer.status())
    };
    assert!(since >= expires && since <= after);
}

/// A signer that asks its node, and once has it say something else meanwhile.
#[derive(Debug)]
struct Asking<R: Runtime> {
    key: SecretKey,
    node: Arc<OnceLock<WeakNode<R>>>,
    interrupts: AtomicUsize,
}

impl<R: Runtime> Signer for Asking<R> {
    fn node_id(&self) -> NodeId {
        self.key.node_id()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        if let Some(node) = self.node.get().and_then(WeakNode::upgrade) {
            assert!(node.is_trusted(id(1)));
            if self.interrupts.fetch_add(1, Ordering::SeqCst) == 0 {
                node.advertise(at("first.example:1")).expect("an advert");
            }
        }
        self.key.sign(message)
    }
}

fn at(address: &str) -> Vec<DialAddress> {
    vec![DialAddress { weight: 1, address: address.into() }]
}

async fn d4_a_signer_may_ask_its_node_and_the_last_word_stands<H: Host>() {
    let weak = Arc::new(OnceLock::new());
    let signer = Asking { key: key(2), node: Arc::clone(&weak), interrupts: AtomicUsize::new(0) };
    let ben = Node::<H>::builder(signer).trust(Trust::listed([id(1)])).policy(policy());
    let ben = start(ben.listen("127.0.0.1:0")).await;
    let anna = start(node::<H>(1).peer(id(2), [address(&ben)], Permanence::Permanent)).await;
    let mut events = anna.events();
    soon(anna.peer(id(2)).connect()).await.expect("a link");
    weak.set(ben.downgrade()).expect("once");
    ben.advertise(at("last.example:1")).expect("an advert");
    let mut newest = 0;
    event(&mut events, |event| {
        let NodeEvent::Advert { advert, .. } = event else { return None };
        assert!(advert.version() > newest, "versions grow");
        newest = advert.version();
        (advert.addresses() == at("last.example:1")).then_some(())
    })
    .await;
}

handclasp_adapters::on_every_host!(
    i5_a_revocation_is_not_undone_by_an_earlier_trust_still_on_its_way_to_the_file,
    i5_a_trust_after_a_revocation_holds_whichever_reaches_the_file_first,
    i5_an_earlier_trust_does_not_undo_a_revocation_that_cannot_be_written,
    i4_a_trust_file_is_not_looked_at_without_pause,
    d5_a_call_out_of_time_for_want_of_a_link_says_why_there_was_none,
    k6_a_peer_that_a_handler_holds_keeps_nothing_of_an_ended_node,
    m8_events_that_nobody_takes_hold_no_more_bytes_than_the_outbox,
    m8_one_event_is_kept_however_long_its_message_is,
    h6_a_decision_that_comes_too_late_is_no_fault_of_a_registry,
    d3_handles_tell_the_time_that_messages_expire_by,
    d4_a_signer_may_ask_its_node_and_the_last_word_stands,
);
