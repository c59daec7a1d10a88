//! What the nodes say to each other: calls that must be executed at most once, and messages that must come in
//! order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use handclasp::runtime::{Peer, Request, Runtime, Services, WhyNotSent};
use handclasp::services::Allow;
use handclasp::{CallError, Executed, Message, NodeId, ServiceError};

use super::ledger::{Entry, Ledger, Origin};
use crate::tasks::sleep;

/// A call takes at least a millisecond at the side that executes it, and at most so many.
const WORK: u64 = 16;

/// After a failure, so that a peer that is not there makes no busy loop.
const PAUSE: Duration = Duration::from_millis(50);

/// So many messages go to each peer at once, and again after this time.
const BURST: u32 = 8;
const EVERY: Duration = Duration::from_millis(10);

/// What all tasks of a process share.
pub(crate) struct Traffic {
    pub(crate) ledger: Ledger,
    /// Which run of the process this is.
    run: u32,
    /// The names of the other nodes. A name that a peer gives itself proves nothing; its id does.
    names: Mutex<BTreeMap<NodeId, String>>,
    calls: AtomicU64,
    stopping: AtomicBool,
}

impl Traffic {
    pub(crate) fn new(ledger: Ledger, run: u32) -> Arc<Self> {
        let (names, calls, stopping) = (Mutex::default(), AtomicU64::new(1), AtomicBool::new(false));
        Arc::new(Self { ledger, run, names, calls, stopping })
    }

    pub(crate) fn knows(&self, id: NodeId, name: String) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(id, name);
    }

    pub(crate) fn name(&self, id: NodeId) -> String {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(&id).cloned().unwrap_or_else(|| "stranger".to_owned())
    }

    /// The others, by id.
    pub(crate) fn names(&self) -> Vec<(NodeId, String)> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().map(|(id, name)| (*id, name.clone())).collect()
    }

    /// Lets every call that is under way be the last one of its task.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.stopping.load(Ordering::Relaxed)
    }

    /// What a body says, of the peer that has proved to have sent it.
    fn origin<R: Runtime>(&self, request: &Request<R>) -> Option<Origin> {
        let (run, number) = opened(&request.body)?;
        Some(Origin { name: self.name(request.peer.id), run, number })
    }
}

/// Run and number, as they travel.
fn body(run: u32, number: u64) -> [u8; 12] {
    let mut body = [0; 12];
    body[..4].copy_from_slice(&run.to_be_bytes());
    body[4..].copy_from_slice(&number.to_be_bytes());
    body
}

/// The number in the body of a message that came back.
pub(crate) fn number(body: &[u8]) -> Option<u64> {
    opened(body).map(|(_, number)| number)
}

fn opened(body: &[u8]) -> Option<(u32, u64)> {
    let (run, number) = body.split_first_chunk()?;
    Some((u32::from_be_bytes(*run), u64::from_be_bytes(number.try_into().ok()?)))
}

/// What each node offers to those it trusts.
pub(crate) fn services<R: Runtime>(traffic: &Arc<Traffic>) -> Services<R> {
    let (executes, receives) = (Arc::clone(traffic), Arc::clone(traffic));
    Services::new()
        .serve("work", Allow::Anyone, move |request| {
            let traffic = Arc::clone(&executes);
            async move {
                let origin = traffic.origin(&request).ok_or(ServiceError::HandlerFailed)?;
                let work = Duration::from_millis(1 + origin.number % WORK);
                traffic.ledger.write(&Entry::Executed(origin));
                sleep::<R>(work).await;
                Ok(request.body)
            }
        })
        .on("note", Allow::Anyone, move |request| {
            if let Some(origin) = receives.origin(&request) {
                receives.ledger.write(&Entry::Received(origin));
            }
            async {}
        })
}

/// Calls a peer again and again, whatever becomes of the calls.
pub(crate) async fn call<R: Runtime>(traffic: Arc<Traffic>, peer: Peer<R>, to: String) {
    while traffic.goes_on() {
        let number = traffic.calls.fetch_add(1, Ordering::Relaxed);
        let body = body(traffic.run, number);
        traffic.ledger.write(&Entry::Call { number, to: to.clone() });
        match peer.call("work", &body).await {
            Ok(answer) if answer == body[..] => traffic.ledger.write(&Entry::Answered { number }),
            Ok(_) => traffic.ledger.write(&Entry::WrongAnswer { number }),
            Err(error) => {
                let (executed, reason) = failure(&error);
                traffic.ledger.write(&Entry::Failed { number, executed, reason });
                sleep::<R>(PAUSE).await;
            }
        }
    }
}

/// Whether a call that failed may have been executed, and why it failed.
fn failure(error: &CallError) -> (Executed, String) {
    match error {
        CallError::LinkClosed { reason, executed } => (*executed, reason.name().to_owned()),
        CallError::DeadlineExceeded { executed } => (*executed, "deadline_exceeded".to_owned()),
        CallError::NoLink { error } => (Executed::No, error.name().to_owned()),
        CallError::OneWayOnly => (Executed::No, "one_way_only".to_owned()),
        // These three are said before a handler is asked.
        CallError::Service(
            error @ (ServiceError::NoSuchService | ServiceError::Forbidden | ServiceError::Overloaded),
        ) => (Executed::No, error.to_string()),
        CallError::Service(error) => (Executed::Unknown, error.to_string()),
    }
}

/// Sends messages to a peer. Without a link they wait for the next one.
pub(crate) async fn send<R: Runtime>(traffic: Arc<Traffic>, peer: Peer<R>, to: String) {
    let mut number = 0;
    while traffic.goes_on() {
        let next = R::now() + EVERY;
        for _ in 0..BURST {
            number += 1;
            traffic.ledger.write(&Entry::Send { number, to: to.clone() });
            let body = body(traffic.run, number);
            if let Err(not_sent) = peer.send(Message::new("note", &body)).await {
                let reason = match not_sent.why {
                    WhyNotSent::Untrusted => "untrusted".to_owned(),
                    WhyNotSent::ShuttingDown => "shutting_down".to_owned(),
                    why => why.to_string(),
                };
                traffic.ledger.write(&Entry::Undelivered { number, to: to.clone(), reason });
                sleep::<R>(PAUSE).await;
            }
        }
        R::sleep_until(next).await;
    }
}
