//! Nodes: what they tell each other of their addresses, and what of it is told further.

use handclasp::hello::DialAddress;
use handclasp::node::adverts::{Advert, AdvertError};
use handclasp::node::{AdvertRefusal, DialError, NodeEvent, NodePolicy, Permanence};
use handclasp::runtime::{NoLink, Runtime};
use handclasp::{NodeId, Reason};
use handclasp_adapters::nodes::{address, echo, event, id, node, policy, start, stop};
use handclasp_adapters::{Host, Scoped, soon, until};
use tracing::instrument::WithSubscriber;

use crate::log::Log;

fn at(weight: u16, address: &(impl ToString + ?Sized)) -> DialAddress {
    DialAddress { weight, address: address.to_string() }
}

/// The advert in an event of the peer's.
fn of(peer: NodeId) -> impl FnMut(&NodeEvent) -> Option<Advert> {
    move |event| match event {
        NodeEvent::Advert { peer: from, advert } if *from == peer => Some((**advert).clone()),
        _ => None,
    }
}

async fn d4_an_advert_reaches_who_is_linked_and_who_links_later<H: Host>() {
    let ben = start(node::<H>(2).listen("127.0.0.1:0")).await;
    let anna = node::<H>(1).services(&echo()).listen("127.0.0.1:0");
    let anna = start(anna.peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
    let mut events = ben.events();
    soon(anna.peer(id(2)).connect()).await.expect("a link");
    let addresses = vec![at(3, &address(&anna)), at(1, "anna.example:7411")];
    anna.advertise(addresses.clone()).expect("good addresses");
    let first = event(&mut events, of(id(1))).await;
    assert_eq!((first.id(), first.addresses()), (id(1), &addresses[..]));
    // What cannot be said changes nothing.
    let error = anna.advertise(vec![at(1, "")]).expect_err("no address");
    assert!(matches!(error, AdvertError::Content(_)), "{error}");
    let cora = node::<H>(3).peer(id(1), [address(&anna)], Permanence::Ephemeral);
    let cora = start(cora).await;
    let mut events_of_cora = cora.events();
    soon(cora.peer(id(1)).connect()).await.expect("a link");
    assert_eq!(event(&mut events_of_cora, of(id(1))).await, first);
    // What is said anew is said to both, and is newer.
    anna.advertise(vec![at(1, &address(&anna))]).expect("a good address");
    for events in [&mut events, &mut events_of_cora] {
        let next = event(events, of(id(1))).await;
        assert!(next.version() > first.version(), "{next:?} behind {first:?}");
        assert_eq!(next.addresses(), [at(1, &address(&anna))]);
    }
}

async fn d6_an_advertised_address_is_dialled_only_if_the_policy_says_so<H: Host>() {
    for dial_back in [true, false] {
        let ben = node::<H>(2).policy(NodePolicy { dial_back, ..policy() }).listen("127.0.0.1:0");
        let ben = start(ben).await;
        let anna = node::<H>(1).services(&echo()).listen("127.0.0.1:0");
        let anna = start(anna.peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
        let mut events = ben.events();
        soon(anna.peer(id(2)).connect()).await.expect("a link");
        anna.advertise(vec![at(1, &address(&anna))]).expect("a good address");
        event(&mut events, of(id(1))).await;
        // Somebody whom it would dial again, if it knew where.
        let back = ben.peer(id(1));
        back.set_permanence(Permanence::Permanent);
        soon(anna.peer(id(2)).disconnect(0, "")).await;
        event(&mut events, |event| matches!(event, NodeEvent::Unlinked { .. }).then_some(())).await;
        if dial_back {
            assert_eq!(soon(back.call("echo", "back")).await.expect("an answer"), "back");
        } else {
            assert_eq!(
                soon(back.connect()).await.expect_err("none that it may dial"),
                NoLink::Dial(DialError::NoAddress)
            );
        }
    }
}

async fn d4_o2_adverts_that_are_taken_and_refused_are_told<H: Host>() {
    let log = Log::default();
    told::<Scoped<H>>(&log).with_subscriber(log.subscriber()).await;
}

async fn told<R: Runtime>(log: &Log) {
    let ben = start(node::<R>(2).listen("127.0.0.1:0")).await;
    // One that keeps no adverts.
    let full = node::<R>(3).policy(NodePolicy { remembered: 0, ..policy() }).listen("127.0.0.1:0");
    let full = start(full).await;
    let mut events = full.events();
    let anna = node::<R>(1).peer(id(2), [address(&ben)], Permanence::Ephemeral).peer(
        id(3),
        [address(&full)],
        Permanence::Ephemeral,
    );
    let anna = start(anna).await;
    for peer in [2, 3] {
        soon(anna.peer(id(peer)).connect()).await.expect("a link");
    }
    anna.advertise(vec![at(1, "anna.example:7411")]).expect("a good address");
    let why = event(&mut events, |event| match event {
        NodeEvent::AdvertRefused { peer, why } if *peer == id(1) => Some(why.clone()),
        _ => None,
    });
    let why = why.await;
    assert_eq!(why, AdvertRefusal::Full);
    let line = |node: u8, name: &str| {
        let start = format!("{name} node={} peer={}", id(node).fingerprint(), id(1));
        log.text().lines().find(|line| line.contains(&start)).map(ToOwned::to_owned)
    };
    until("both are told", || line(2, "advert").is_some() && line(3, "advert_refused").is_some()).await;
    let taken = line(2, "advert").expect("it is there");
    assert!(taken.contains(" INFO ") && taken.contains(" version="), "{taken}");
    let refused = line(3, "advert_refused").expect("it is there");
    assert!(refused.contains(" WARN ") && refused.contains(&format!("why={why}")), "{refused}");
}

/// A node that is started anew takes the place of what it was, and both are told.
async fn c3_o2_a_link_of_a_newer_incarnation_is_told_to_supersede_the_old_one<H: Host>() {
    let log = Log::default();
    superseded::<Scoped<H>>(&log).with_subscriber(log.subscriber()).await;
}

async fn superseded<R: Runtime>(log: &Log) {
    let ben = start(node::<R>(2).services(&echo()).listen("127.0.0.1:0")).await;
    let mut events = ben.events();
    let anna = || node::<R>(1).peer(id(2), [address(&ben)], Permanence::Ephemeral);
    let old = start(anna()).await;
    let link = soon(old.peer(id(2)).connect()).await.expect("a link");
    let new = start(anna()).await;
    assert_eq!(soon(new.peer(id(2)).call("echo", "again")).await.expect("an answer"), "again");
    assert_eq!(soon(link.closed()).await.reason, Reason::Superseded);
    let (loser, winner) = event(&mut events, |event| match event {
        NodeEvent::Superseded { peer, loser, winner } if *peer == id(1) => Some((loser.get(), winner.get())),
        _ => None,
    })
    .await;
    assert_ne!(loser, winner);
    let told =
        format!("superseded node={} peer={} loser={loser} winner={winner}", id(2).fingerprint(), id(1));
    until("it is told", || log.text().contains(&told)).await;
    assert_eq!(stop(new).await, []);
}

handclasp_adapters::on_every_host!(
    d4_an_advert_reaches_who_is_linked_and_who_links_later,
    d6_an_advertised_address_is_dialled_only_if_the_policy_says_so,
    d4_o2_adverts_that_are_taken_and_refused_are_told,
    c3_o2_a_link_of_a_newer_incarnation_is_told_to_supersede_the_old_one,
);
