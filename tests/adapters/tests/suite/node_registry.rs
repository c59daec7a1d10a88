//! Nodes: a registry that fails, and an application that does not say whom it takes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use handclasp::node::{Known, NodeEvent, Permanence};
use handclasp::runtime::{PeerRegistry, RegistryFuture, Runtime, Services};
use handclasp::{By, Closed, NodeId, Phase, Reason, Refusal, Timing, Trust};
use handclasp_adapters::nodes::{address, echo, event, id, node, start};
use handclasp_adapters::{Host, Scoped, sleep, soon, until};
use tracing::instrument::WithSubscriber;

use crate::log::Log;

/// What a node gives its registry for an answer or a write.
const STEP: Duration = Duration::from_millis(250);

/// Fails at writing down some peers, and answers late while it is told to.
#[derive(Clone, Default)]
struct Frail {
    written: Arc<Mutex<BTreeSet<NodeId>>>,
    late: Arc<AtomicBool>,
}

impl PeerRegistry for Frail {
    fn look_up(&self, _: NodeId) -> RegistryFuture<'_, Option<Known>> {
        Box::pin(async {
            if self.late.load(Ordering::SeqCst) {
                sleep(3 * STEP).await;
            }
            Ok(None)
        })
    }

    fn write(&self, peer: NodeId, _: Known) -> RegistryFuture<'_, ()> {
        assert!(peer != id(3), "a registry that panics at once");
        Box::pin(async move {
            if peer == id(1) {
                return Err("the disk is full".into());
            }
            assert!(peer != id(4), "a registry that panics later");
            if peer == id(5) {
                std::future::pending::<()>().await;
            }
            self.written.lock().expect("no panic").insert(peer);
            Ok(())
        })
    }
}

async fn i10_a_registry_that_cannot_write_is_told_of_and_harms_no_link<H: Host>() {
    let log = Log::default();
    writes::<Scoped<H>>(&log).with_subscriber(log.subscriber()).await;
}

async fn writes<R: Runtime>(log: &Log) {
    let registry = Frail::default();
    let timing = Timing { step: STEP, ..Timing::default() };
    let ben = node::<R>(2)
        .config(|config| config.timing(timing))
        .trust(Trust::Anyone)
        .registry(registry.clone())
        .services(&echo())
        .listen("127.0.0.1:0");
    let ben = start(ben).await;
    let mut others = Vec::new();
    for (number, error) in [
        (1, Some("error=the disk is full")),
        (3, Some("error=\"panicked\"")),
        (4, Some("error=\"panicked\"")),
        (5, Some("error=\"timed out\"")),
        (6, None),
    ] {
        let other = start(node::<R>(number).peer(id(2), [address(&ben)], Permanence::Permanent)).await;
        let link = soon(other.peer(id(2)).connect()).await.expect("a link");
        match error {
            // It goes on with what comes behind.
            None => {
                let written = || registry.written.lock().expect("no panic").contains(&id(6));
                until("written", written).await;
            }
            Some(error) => {
                let told = format!("registry_write_failed peer={} {error}", id(number));
                until(&told, || log.text().contains(&told)).await;
            }
        }
        assert_eq!(soon(link.call("echo", "in")).await.expect("the link lives"), "in");
        others.push(other);
    }
    let text = log.text();
    let failures: Vec<_> = text.lines().filter(|line| line.contains("registry_write_failed")).collect();
    assert!(failures.iter().all(|line| line.contains(" WARN ")), "{text}");
    assert!(failures.len() >= 4 && registry.written.lock().expect("no panic").len() == 1, "{text}");
}

/// How a handshake ended that came as far as the question; a slow machine may need more than a step for what is
/// before it.
fn asked(closed: &Closed) -> Option<Closed> {
    Some(closed.clone()).filter(|closed| closed.phase == Phase::Admission)
}

async fn i10_a_registry_that_answers_too_late_admits_nobody<H: Host>() {
    let registry = Frail::default();
    let timing = Timing { step: STEP, ..Timing::default() };
    let ben =
        node::<H>(2).config(|config| config.timing(timing)).registry(registry.clone()).services(&echo());
    let ben = start(ben.listen("127.0.0.1:0")).await;
    registry.late.store(true, Ordering::SeqCst);
    let anna = start(node::<H>(1).peer(id(2), [address(&ben)], Permanence::Permanent)).await;
    let mut there = ben.events();
    let closed = event(&mut there, |event| match event {
        NodeEvent::HandshakeEnded { closed, .. } => asked(closed),
        NodeEvent::Linked { .. } => panic!("it was not admitted"),
        _ => None,
    })
    .await;
    // The node's patience is over a little before the step of the handshake.
    let late = [Reason::Refused(Refusal::Registry), Reason::HandshakeTimeout];
    assert!(late.contains(&closed.reason) && closed.by == By::Local, "{closed}");
    // Asked again, and in good time, it does.
    registry.late.store(false, Ordering::SeqCst);
    assert_eq!(soon(anna.peer(id(2)).call("echo", "in")).await.expect("an answer"), "in");
    let linked = |event: &NodeEvent| matches!(event, NodeEvent::Linked { .. }).then_some(());
    event(&mut there, linked).await;
    assert_eq!(soon(ben.snapshot()).await.stats.established, 1);
}

async fn i4_h6_an_application_that_does_not_say_whom_it_takes_takes_nobody<H: Host>() {
    let silent = Services::<H>::new().admit(|_| std::future::pending());
    let panics = Services::<H>::new().admit(|_| async { panic!("a decision that panics") });
    let timing = Timing { step: STEP, ..Timing::default() };
    let denied = Reason::Refused(Refusal::Denied);
    for (services, reasons) in [
        (Services::<H>::new(), vec![denied.clone()]),
        (panics, vec![denied.clone()]),
        // The node's patience is over a little before the step of the handshake.
        (silent, vec![denied, Reason::HandshakeTimeout]),
    ] {
        let ben = node::<H>(2).config(|config| config.timing(timing.clone())).trust(Trust::Ask);
        let ben = start(ben.services(&services).listen("127.0.0.1:0")).await;
        let mut events = ben.events();
        let anna = start(node::<H>(1).peer(id(2), [address(&ben)], Permanence::Permanent)).await;
        let closed = event(&mut events, |event| match event {
            NodeEvent::HandshakeEnded { closed, .. } => asked(closed),
            NodeEvent::Linked { .. } => panic!("it was not admitted"),
            _ => None,
        })
        .await;
        assert!(reasons.contains(&closed.reason) && closed.by == By::Local, "{closed}");
        assert!(anna.peer(id(2)).link().is_none());
    }
}

handclasp_adapters::on_every_host!(
    i10_a_registry_that_cannot_write_is_told_of_and_harms_no_link,
    i10_a_registry_that_answers_too_late_admits_nobody,
    i4_h6_an_application_that_does_not_say_whom_it_takes_takes_nobody,
);
