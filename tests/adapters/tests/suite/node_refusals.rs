//! Nodes: what the handle to a peer does not take, and what it does about links that end under it.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use async_channel::unbounded;
use futures_lite::future::yield_now;
use handclasp::crypto::RustCrypto;
use handclasp::node::{DialError, NodePolicy, Permanence};
use handclasp::runtime::{
    Delivery, Link, NoLink, NotSent, OpenError, Peer, Request, Runtime, Services, StartError, WhyNotSent,
};
use handclasp::services::Allow;
use handclasp::signed::{
    Audience, Content, NotFresh, Origins, ReplayStore, ReplayWindows, SignedMessage, SignedPolicy,
};
use handclasp::{CallError, Executed, Limits, Message, NodeId, Reason, Refusal, ServiceError};
use handclasp_adapters::nodes::{address, id, key, node, policy, port, start, stop};
use handclasp_adapters::streams::{bytes, echoing, round_trip};
use handclasp_adapters::{Host, sleep, soon, spawn, timeout, until};

/// Why the peer does not take a message, by whichever way; it comes back as it was.
async fn not_sent<R: Runtime>(peer: &Peer<R>, message: Message<'_>) -> WhyNotSent {
    let (name, length, expires) = (message.service.to_owned(), message.body.len(), message.expires);
    let tried = peer.try_send(message.clone()).expect_err("it is not taken");
    let sent = soon(peer.send(message.clone())).await.expect_err("it is not taken");
    let kept = soon(peer.send_with(message.clone(), Delivery::Keep)).await.expect_err("it is not taken");
    let until = Delivery::Until(Duration::from_secs(60));
    let held = soon(peer.send_with(message, until)).await.expect_err("it is not taken");
    for NotSent { why, message: back } in [&sent, &kept, &held] {
        assert_eq!(*why, tried.why);
        assert_eq!((back.service, back.body.len(), back.expires), (&*name, length, expires));
    }
    tried.why
}

async fn no_link<R: Runtime>(peer: &Peer<R>) -> NoLink
where
    R::Stream: Send,
{
    let why = soon(peer.connect()).await.expect_err("no link");
    let Err(opened) = soon(peer.open_stream("echo")).await else { panic!("a stream without a link") };
    assert_eq!(opened, OpenError::NoLink(why.clone()));
    why
}

async fn called<R: Runtime>(peer: &Peer<R>) -> CallError {
    soon(peer.call("echo", "")).await.expect_err("no link")
}

async fn d3_i12_a_peer_without_a_link_refuses_what_could_never_be_sent<H: Host>() {
    let limits = Limits { max_message: 4096, ..Limits::default() };
    let anna = start(node::<H>(1).config(|config| config.limits(limits))).await;
    let absent = anna.peer(id(2));
    let large = vec![0; 4097];
    let limit = WhyNotSent::TooLarge { limit: 4096 };
    assert_eq!(not_sent(&absent, Message::new("log", &*large)).await, limit);
    let name = "x".repeat(256);
    assert_eq!(not_sent(&absent, Message::new(&name, "")).await, WhyNotSent::LongServiceName);
    // The name is what is wrong with it first.
    assert_eq!(not_sent(&absent, Message::new(&name, &*large)).await, WhyNotSent::LongServiceName);
    let late = Message::new("log", "").expires(handclasp::Instant::ZERO);
    assert_eq!(not_sent(&absent, late).await, WhyNotSent::Expired);
    // The longest that may be is taken.
    absent.try_send(Message::new(&name[..255], &large[..4096])).expect("it is kept");
    assert_eq!(absent.status().expect("it waits").queued, 1);

    let message = || Message::new("log", "body");
    let own = anna.peer(id(1));
    assert_eq!(not_sent(&own, message()).await, WhyNotSent::SelfConnection);
    assert_eq!(no_link(&own).await, NoLink::SelfConnection);
    let refused =
        |refusal| CallError::LinkClosed { reason: Reason::Refused(refusal), executed: Executed::No };
    assert_eq!(called(&own).await, refused(Refusal::SelfConnection));
    let stranger = anna.peer(id(5));
    assert_eq!(not_sent(&stranger, message()).await, WhyNotSent::Untrusted);
    assert_eq!(no_link(&stranger).await, NoLink::Dial(DialError::Untrusted));
    assert_eq!(called(&stranger).await, CallError::NoLink { error: Box::new(DialError::Untrusted) });
    // Nothing of all that is kept.
    assert!(own.status().is_none() && stranger.status().is_none());

    let left = stop(anna.clone()).await;
    assert_eq!(left.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [id(2)]);
    for peer in [&absent, &own, &stranger] {
        let gone = if peer.id() == id(1) { WhyNotSent::SelfConnection } else { WhyNotSent::ShuttingDown };
        assert_eq!(not_sent(peer, message()).await, gone);
    }
    assert_eq!(no_link(&absent).await, NoLink::ShuttingDown);
    assert_eq!(called(&absent).await, refused(Refusal::ShuttingDown));
    // Nor does it listen any more.
    let listens = soon(anna.listen("127.0.0.1:0")).await;
    assert!(matches!(listens, Err(StartError::Ended)), "{listens:?}");
    assert!(soon(anna.events().next()).await.is_none());
}

async fn d5_m9_a_peer_with_a_link_says_what_the_link_does_not_take<H: Host>() {
    let small = Limits { max_message: 4096, ..Limits::default() };
    let ben = node::<H>(2).config(|config| config.limits(small)).services(&echoing());
    let ben = start(ben.listen("127.0.0.1:0")).await;
    let anna = start(node::<H>(1).peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
    let peer = anna.peer(id(2));
    soon(peer.connect()).await.expect("a link");
    let (large, name) = (vec![0; 4097], "x".repeat(256));
    assert_eq!(not_sent(&peer, Message::new("log", &*large)).await, WhyNotSent::TooLarge { limit: 4096 });
    assert_eq!(not_sent(&peer, Message::new(&name, "")).await, WhyNotSent::LongServiceName);
    let late = Message::new("log", "").expires(handclasp::Instant::ZERO);
    let expired = soon(peer.send(late)).await.expect_err("it is over");
    assert_eq!(expired.why, WhyNotSent::Expired);
    let now = soon(peer.send_with(Message::new("log", &*large), Delivery::Now)).await.expect_err("too large");
    assert_eq!(now.why, WhyNotSent::TooLarge { limit: 4096 });
    let large = soon(peer.call("echo-call", &*large)).await.expect_err("too large");
    assert_eq!(large, CallError::Service(ServiceError::TooLarge { limit: 4096 }));
    assert_eq!(soon(peer.call("echo-call", "in")).await.expect("an answer"), "in");
}

async fn d3_m8_a_send_that_waits_for_room_gives_its_message_back_when_its_time_is_over<H: Host>() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let anna = start(node::<H>(1).policy(NodePolicy { outbox_per_peer: 1000, ..policy() })).await;
    let peer = anna.peer(id(2));
    let (_port, home) = port();
    peer.set_addresses([home]);
    peer.try_send(Message::new("log", &[1; 1000])).expect("room for the first");
    let full = peer.try_send(Message::new("log", &[2; 10])).expect_err("no room");
    assert_eq!(full.why, WhyNotSent::Full);
    let (begun, time) = (Instant::now(), Duration::from_millis(150));
    let late = soon(peer.send_with(Message::new("log", &[2; 10]), Delivery::Until(time))).await;
    let NotSent { why, message } = late.expect_err("no room in time");
    assert_eq!((why, message.body.len(), message.expires), (WhyNotSent::Expired, 10, None));
    assert!(begun.elapsed() >= time, "{:?}", begun.elapsed());
    // One without an end waits until there is room, and is sent then.
    let waiting = spawn::<H, _>({
        let peer = peer.clone();
        async move { peer.send_with(Message::new("log", &[3; 10]), Delivery::Keep).await.map_err(|not| not.why) }
    });
    sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    let services = Services::<H>::new().on("log", Allow::Anyone, {
        let seen = Arc::clone(&seen);
        move |request| {
            seen.lock().expect("no panic").push((request.body.first().copied(), request.body.len()));
            async {}
        }
    });
    let _ben = start(node::<H>(2).services(&services).listen(home)).await;
    assert_eq!(soon(waiting).await, Ok(Ok(())));
    until("both came", || seen.lock().expect("no panic").len() >= 2).await;
    soon(peer.send_with(Message::new("log", &[4; 5]), Delivery::Keep)).await.expect("there is a link");
    until("all came", || seen.lock().expect("no panic").len() >= 3).await;
    let seen = seen.lock().expect("no panic").clone();
    assert_eq!(seen, [(Some(1), 1000), (Some(3), 10), (Some(4), 5)], "in order, and none that had expired");
}

type Opening<H> = Pin<Box<dyn Future<Output = Result<<H as Runtime>::Stream, OpenError>> + Send>>;

/// Notes what comes like any other store, and begins to open a stream meanwhile: the link's task is taking
/// bytes in, and what it finds behind the signed message it takes in before it opens anything.
struct Meddling<H: Runtime> {
    windows: Mutex<ReplayWindows>,
    peer: Mutex<Option<Peer<H>>>,
    opening: Mutex<Vec<Opening<H>>>,
}

impl<H: Runtime> Debug for Meddling<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meddling")
    }
}

impl<H: Host> ReplayStore for Meddling<H> {
    fn admit(&self, origin: &NodeId, audience: &Audience, epoch: u64, sequence: u64) -> Result<(), NotFresh> {
        if let Some(peer) = self.peer.lock().expect("no panic").clone() {
            let mut opening: Opening<H> = Box::pin(async move { peer.open_stream("echo").await });
            let polled = opening.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending(), "the link's task is here, and opens nothing");
            self.opening.lock().expect("no panic").push(opening);
        }
        self.windows.admit(origin, audience, epoch, sequence)
    }
}

/// Whoever asks a peer for a stream while its link takes a goodbye in gets one over the next link.
async fn m12_l3_a_stream_is_opened_over_the_next_link_when_the_link_ends_under_it<H: Host>() {
    let store = Arc::new(Meddling::<H> {
        windows: Mutex::default(),
        peer: Mutex::default(),
        opening: Mutex::default(),
    });
    let signed = SignedPolicy::new(Origins::listed([id(2)]), Arc::clone(&store) as Arc<dyn ReplayStore>);
    let ben = start(node::<H>(2).services(&echoing()).listen("127.0.0.1:0")).await;
    let (heard, notes) = unbounded();
    let services = Services::<H>::new().on("note", Allow::Anyone, move |request: Request<H>| {
        heard.try_send(request.sequence).expect("the test listens");
        async {}
    });
    let anna = node::<H>(1).config(|config| config.signed(signed)).services(&services);
    let anna = start(anna.peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
    let (peer, back) = (anna.peer(id(2)), ben.peer(id(1)));
    *store.peer.lock().expect("no panic") = Some(peer.clone());
    for sequence in 0..10 {
        let old = soon(peer.connect()).await.expect("a link");
        until("both know", || back.link().is_some()).await;
        let content =
            Content { audience: Audience::Node(id(1)), service: "note", epoch: 1, sequence, body: b"" };
        let note = SignedMessage::sign(&content, &key(2), &RustCrypto).expect("a signature");
        // Both leave together.
        back.try_send(note.message()).expect("room");
        let parting = spawn::<H, _>({
            let back = back.clone();
            async move { back.disconnect(0, "").await }
        });
        soon(notes.recv()).await.expect("the note came");
        let opening = store.opening.lock().expect("no panic").pop().expect("it was asked");
        let stream = soon(opening).await.map(H::io).expect("a stream over one of the links");
        let sent = bytes(1000, usize::try_from(sequence).expect("small"));
        assert_eq!(soon(round_trip(stream, sent.clone())).await, sent);
        soon(parting).await.expect("no panic");
        soon(old.closed()).await;
        // It was this side that saw the end first, or the other one.
        while peer.link().is_some_and(|link| link.try_closed().is_some()) {
            yield_now().await;
        }
    }
    *store.peer.lock().expect("no panic") = None;
}

/// A link itself is not exchanged for another one: it says why it opens nothing.
async fn m12_a_link_that_has_ended_says_why_it_opens_no_stream<H: Host>() {
    let (one, two): (Link<H>, Link<H>) = handclasp_adapters::links::pair(&echoing()).await;
    soon(one.goodbye(3, "enough")).await;
    soon(two.closed()).await;
    for link in [&one, &two] {
        let Err(error) = soon(link.open_stream("echo")).await else { panic!("a stream without a link") };
        let goodbye = Reason::Goodbye { code: 3, detail: "enough".into() };
        assert_eq!(error, OpenError::LinkClosed { reason: goodbye });
    }
    // While it drains as well.
    let services = echoing::<H>().serve("hang", Allow::Anyone, |_| std::future::pending());
    let (one, _two): (Link<H>, Link<H>) = handclasp_adapters::links::pair(&services).await;
    let mut call = Box::pin(one.call_with(Message::new("hang", ""), Duration::from_secs(2)));
    assert!(timeout(Duration::from_millis(50), &mut call).await.is_none());
    let mut goodbye = Box::pin(one.goodbye(4, "later"));
    assert!(futures_lite::future::poll_once(&mut goodbye).await.is_none());
    // The goodbye was said when it was polled; a stream asked for behind it is too late, or just in time.
    until("it drains", || one.try_send(Message::new("log", "")).is_err()).await;
    let Err(error) = soon(one.open_stream("echo")).await else { panic!("a stream over a link that drains") };
    let reason = Reason::Goodbye { code: 4, detail: "later".into() };
    assert_eq!(error, OpenError::LinkClosed { reason });
    drop(call);
    assert_eq!(soon(goodbye).await.reason.name(), "goodbye");
}

handclasp_adapters::on_every_host!(
    d3_i12_a_peer_without_a_link_refuses_what_could_never_be_sent,
    d5_m9_a_peer_with_a_link_says_what_the_link_does_not_take,
    d3_m8_a_send_that_waits_for_room_gives_its_message_back_when_its_time_is_over,
    m12_l3_a_stream_is_opened_over_the_next_link_when_the_link_ends_under_it,
    m12_a_link_that_has_ended_says_why_it_opens_no_stream,
);
