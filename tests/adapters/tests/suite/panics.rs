//! Handlers, rules and decisions of the application that panic, and messages that nobody passes on.

use std::io;
use std::sync::{Arc, Mutex};

use async_channel::unbounded;
use futures_lite::future::{yield_now, zip};
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
use handclasp::crypto::RustCrypto;
use handclasp::runtime::{Link, Request, Services, StreamError, accept_over, connect_over};
use handclasp::services::Allow;
use handclasp::signed::{Audience, Content, Origins, ReplayWindows, SignedMessage, SignedPolicy};
use handclasp::{By, CallError, Dial, Message, Reason, Refusal, ServiceError, Trust};
use handclasp_adapters::links::{builder, config, id, key, pair, pair_of};
use handclasp_adapters::streams::{bytes, echoing, error_of, open, round_trip};
use handclasp_adapters::{Host, pipe, soon};

/// The link and its other services live.
async fn lives<H: Host>(link: &Link<H>) {
    assert_eq!(soon(link.call("echo-call", "in")).await.expect("a live link"), "in");
    let sent = bytes(5000, 1);
    let stream = open(link, "echo").await;
    assert_eq!(soon(round_trip(stream, sent.clone())).await, sent);
    assert!(link.try_closed().is_none());
}

async fn m5_m12_a_stream_is_given_up_when_its_handler_panics<H: Host>() {
    let services = echoing::<H>()
        .stream("at-once", Allow::Anyone, |_, _| async { panic!("a handler that panics at once") })
        .stream("before", Allow::Anyone, |_, stream| {
            assert!(H::io(stream).name().is_empty(), "a handler that panics before it gives a future");
            async {}
        })
        .stream("later", Allow::Anyone, |_, stream| async {
            let mut stream = H::io(stream);
            stream.write_all(b"part").await.expect("room");
            stream.flush().await.expect("room");
            stream.read_exact(&mut [0; 4]).await.expect("four bytes");
            panic!("a handler that panics later")
        });
    let (link, _other) = pair(&services).await;
    for name in ["at-once", "before", "later"] {
        let mut stream = open(&link, name).await;
        let mut got = [0; 4];
        if name == "later" {
            soon(stream.read_exact(&mut got)).await.expect("what it has written");
            assert_eq!(&got, b"part");
            soon(stream.write_all(b"more")).await.expect("room");
        }
        // No end that could be taken for that of the whole.
        let error = soon(stream.read_exact(&mut got)).await.expect_err("it was given up");
        assert_eq!(
            (error.kind(), error_of(&error)),
            (io::ErrorKind::ConnectionReset, StreamError::Reset { code: 0 })
        );
        let error = soon(async {
            loop {
                if let Err(error) = stream.write_all(&[0; 1000]).await {
                    return error;
                }
                yield_now().await;
            }
        });
        assert_eq!(error_of(&error.await), StreamError::Stopped { code: 0 }, "{name}");
        lives(&link).await;
    }
}

async fn i9_m5_a_rule_that_panics_lets_nobody_in_and_harms_no_link<H: Host>() {
    let rule = || Allow::rule(|_| panic!("a rule that panics"));
    let (heard, notes) = unbounded();
    let services = echoing::<H>()
        .serve("call", rule(), |_| async { Ok("got through".into()) })
        .on("message", rule(), {
            let heard = heard.clone();
            move |_| {
                heard.try_send("got through").expect("the test listens");
                async {}
            }
        })
        .on("other", Allow::Anyone, move |_| {
            heard.try_send("other").expect("the test listens");
            async {}
        })
        .stream("stream", rule(), |_, _| async {});
    let (link, _other) = pair(&services).await;
    let called = soon(link.call("call", "")).await;
    assert_eq!(called, Err(CallError::Service(ServiceError::HandlerFailed)));
    soon(link.send(Message::new("message", ""))).await.expect("sent");
    soon(link.send(Message::new("message", "").unordered())).await.expect("sent");
    soon(link.send(Message::new("other", ""))).await.expect("sent");
    assert_eq!(soon(notes.recv()).await, Ok("other"));
    let mut stream = open(&link, "stream").await;
    let error = soon(stream.read_exact(&mut [0; 1])).await.expect_err("refused");
    assert_eq!(error_of(&error), StreamError::Refused);
    lives(&link).await;
    assert!(notes.is_empty());
}

async fn m5_a_message_handler_that_panics_later_lets_the_next_message_have_its_turn<H: Host>() {
    let (heard, notes) = unbounded();
    let services = echoing::<H>().on("note", Allow::Anyone, move |request: Request<H>| {
        let heard = heard.clone();
        async move {
            yield_now().await;
            assert!(&request.body[..] != b"panic", "a handler that panics later");
            heard.try_send(request.body.clone()).expect("the test listens");
        }
    });
    let (link, _other) = pair(&services).await;
    for body in ["panic", "one", "panic", "two"] {
        soon(link.send(Message::new("note", body))).await.expect("sent");
    }
    assert_eq!(soon(notes.recv()).await.expect("a note"), "one");
    assert_eq!(soon(notes.recv()).await.expect("a note"), "two");
    for body in ["panic", "three"] {
        soon(link.send(Message::new("note", body).unordered())).await.expect("sent");
    }
    assert_eq!(soon(notes.recv()).await.expect("a note"), "three");
    lives(&link).await;
}

async fn i4_h6_a_decision_that_panics_denies_the_peer<H: Host>() {
    let at_once = Services::<H>::new().admit(|peer| {
        assert!(peer.id != id(1), "a decision that panics at once");
        async { Ok(()) }
    });
    let later = Services::<H>::new().admit(|_| async {
        yield_now().await;
        panic!("a decision that panics later")
    });
    for services in [at_once, later] {
        let (near, far, _) = pipe(4096);
        let (one, none) = (config::<H>(1), Services::<H>::new());
        let two = builder::<H>(2).trust(Trust::Ask).build().expect("a configuration");
        let (dialled, accepted) = soon(zip(
            connect_over::<H>(near, &one, Dial::to(id(2)), &none),
            accept_over::<H>(far, &two, &services),
        ))
        .await;
        let (dialled, accepted) = (dialled.expect_err("denied"), accepted.expect_err("denied"));
        assert_eq!((&dialled.reason, dialled.by), (&Reason::Refused(Refusal::Denied), By::Peer));
        assert_eq!((&accepted.reason, accepted.by), (&Reason::Refused(Refusal::Denied), By::Local));
    }
}

/// Anna's word for somebody who is not here.
fn word(sequence: u64, body: &[u8]) -> SignedMessage {
    let content = Content { audience: Audience::Node(id(3)), service: "news", epoch: 1, sequence, body };
    SignedMessage::sign(&content, &key(1), &RustCrypto).expect("a signature")
}

async fn m10_m5_what_nobody_passes_on_is_dropped_and_who_panics_over_it_harms_no_link<H: Host>() {
    let store = Arc::new(Mutex::new(ReplayWindows::default()));
    let policy = SignedPolicy::new(Origins::listed([id(1)]), store).relay();
    let two = builder::<H>(2).signed(policy).build().expect("a configuration");
    let (heard, notes) = unbounded();
    let services = echoing::<H>().on("news", Allow::Anyone, |_| async { panic!("it is not for this node") });
    let (link, other) = pair_of((&config::<H>(1), &Services::<H>::new()), (&two, &services)).await;
    // Nobody relays.
    soon(link.send(word(0, b"lost").message())).await.expect("sent");
    lives(&link).await;
    assert_eq!(soon(other.stats()).await.signed_accepted, 1, "it came");
    let services = services.relay(move |relay| {
        assert!(relay.message.body() != "at once", "a relay that panics at once");
        let heard = heard.clone();
        async move {
            yield_now().await;
            assert!(relay.message.body() != "later", "a relay that panics later");
            heard.try_send((relay.peer.id, relay.message.body().to_vec())).expect("the test listens");
        }
    });
    for (sequence, body) in [(1, "at once"), (2, "later"), (3, "kept")] {
        soon(link.send(word(sequence, body.as_bytes()).message())).await.expect("sent");
    }
    assert_eq!(soon(notes.recv()).await, Ok((id(1), b"kept".to_vec())));
    lives(&link).await;
    assert!(notes.is_empty(), "what was lost stays lost");
    drop(services);
}

handclasp_adapters::on_every_host!(
    m5_m12_a_stream_is_given_up_when_its_handler_panics,
    i9_m5_a_rule_that_panics_lets_nobody_in_and_harms_no_link,
    m5_a_message_handler_that_panics_later_lets_the_next_message_have_its_turn,
    i4_h6_a_decision_that_panics_denies_the_peer,
    m10_m5_what_nobody_passes_on_is_dropped_and_who_panics_over_it_harms_no_link,
);
