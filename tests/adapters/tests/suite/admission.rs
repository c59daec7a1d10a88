//! The application decides about a peer, and says when it is ready.

use std::time::Duration;

use futures_lite::future::{yield_now, zip};
use handclasp::runtime::{Services, accept_over, connect_over};
use handclasp::services::Allow;
use handclasp::{By, Dial, Reason, Refusal, Timing, Trust};
use handclasp_adapters::links::{builder, config, id, pair_of};
use handclasp_adapters::{Host, pipe, soon, timeout};

async fn i4_the_application_is_asked_under_trust_ask<H: Host>() {
    let ask = |number| builder::<H>(number).trust(Trust::Ask).build().expect("a configuration");
    let admit = |yes: bool| {
        Services::<H>::new().admit(move |peer| async move {
            yield_now().await;
            assert!(peer.id == id(1) || peer.id == id(2));
            if yes { Ok(()) } else { Err(Refusal::ShuttingDown) }
        })
    };
    let (link, other) = pair_of((&ask(1), &admit(true)), (&ask(2), &admit(true))).await;
    assert_eq!((link.peer().id, other.peer().id), (id(2), id(1)));

    for (services, refusal) in
        [(admit(false), Refusal::ShuttingDown), (Services::<H>::new(), Refusal::Denied)]
    {
        let (near, far, _) = pipe(4096);
        let (one, two, yes) = (ask(1), ask(2), admit(true));
        let (dialled, accepted) = soon(zip(
            connect_over::<H>(near, &one, Dial::anyone(), &yes),
            accept_over::<H>(far, &two, &services),
        ))
        .await;
        assert_eq!(dialled.expect_err("refused").reason, Reason::Refused(refusal.clone()));
        assert_eq!(accepted.expect_err("refused").reason, Reason::Refused(refusal));
    }
}

async fn h11_a_link_is_ready_when_each_side_that_holds_has_said_so<H: Host>() {
    let held = builder::<H>(2).hold_ready().build().expect("a good configuration");
    let services =
        Services::<H>::new().serve("echo", Allow::Anyone, |request| async move { Ok(request.body) });
    let (one, two) = pair_of((&config::<H>(1), &Services::<H>::new()), (&held, &services)).await;
    let mut waits = Box::pin(one.ready());
    assert!(timeout(Duration::from_millis(100), &mut waits).await.is_none(), "the other side holds");
    assert_eq!(soon(one.call("echo", "sync")).await.expect("messages flow meanwhile"), "sync");
    soon(two.ready()).await.expect("both are ready");
    soon(waits).await.expect("both are ready");
    soon(one.ready()).await.expect("again, at once");
}

async fn h11_a_side_that_is_never_ready_ends_the_link<H: Host>() {
    let timing = Timing { ready: Duration::from_millis(200), ..Timing::default() };
    let held = builder::<H>(2).hold_ready().timing(timing).build().expect("a good configuration");
    let (one, two) = pair_of((&config::<H>(1), &Services::<H>::new()), (&held, &Services::<H>::new())).await;
    let closed = soon(one.ready()).await.expect_err("the other side is never ready");
    assert_eq!((closed.reason, closed.by), (Reason::NotReady, By::Peer));
    assert_eq!(soon(two.closed()).await.reason, Reason::NotReady);
}

handclasp_adapters::on_every_host!(
    i4_the_application_is_asked_under_trust_ask,
    h11_a_link_is_ready_when_each_side_that_holds_has_said_so,
    h11_a_side_that_is_never_ready_ends_the_link,
);
