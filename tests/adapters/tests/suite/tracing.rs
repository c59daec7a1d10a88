//! What logs show of a link.

use std::io;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use futures_lite::future::zip;
use handclasp::node::Permanence;
use handclasp::runtime::{Delivery, Runtime, Services, accept_over, connect_over};
use handclasp::{ClusterSecret, Dial, Message};
use handclasp_adapters::links::{builder, pair_of};
use handclasp_adapters::nodes::{address, echo, id, key, node, start};
use handclasp_adapters::{Host, Scoped, pipe, soon, until};
use tracing::Subscriber;
use tracing::instrument::WithSubscriber;
use tracing_subscriber::fmt::MakeWriter;

/// A log in memory.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }

    /// Whoever logs to this.
    pub(super) fn subscriber(&self) -> impl Subscriber + Send + Sync + 'static {
        // Places in the code keep what the subscribers that there are want of them. One that is always there wants all:
        // else a place that another thread passes first, while there is none, may stay silent.
        static ALWAYS: Once = Once::new();
        ALWAYS.call_once(|| {
            let all = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(io::sink);
            tracing::subscriber::set_global_default(all.finish()).expect("the only one");
        });
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
        subscriber.with_writer(self.clone()).finish()
    }

    fn lines(&self) -> usize {
        self.text().lines().count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

async fn o2_nodes_tell_what_happens_to_their_peers_by_stable_names<H: Host>() {
    let log = Log::default();
    nodes::<Scoped<H>>(&log).with_subscriber(log.subscriber()).await;
}

async fn nodes<R: Runtime>(log: &Log) {
    let ben = start(node::<R>(2).services(&echo()).listen("127.0.0.1:0")).await;
    let anna = start(node::<R>(1).peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
    let peer = anna.peer(id(2));
    soon(peer.send(Message::new("log", "the body of a message"))).await.expect("it is queued");
    soon(peer.connect()).await.expect("a link");
    let before = log.lines();
    for _ in 0..100 {
        soon(peer.call("echo", "the body of a message")).await.expect("an answer");
    }
    // The other side may have something to say of the link meanwhile.
    assert!(log.lines() - before < 10, "messages show in the log");
    soon(peer.disconnect(0, "")).await;
    let nobody = anna.peer(id(3));
    soon(nobody.connect()).await.expect_err("no address");
    let late = nobody
        .send_with(Message::new("log", "the body of a message"), Delivery::Until(Duration::from_millis(10)));
    soon(late).await.expect("it is queued");
    until("undelivered", || log.text().contains("undelivered")).await;
    assert!(soon(anna.revoke(id(2))).await.expect("there is no file"));
    let text = log.text();
    let own = format!("node={} peer={}", id(1).fingerprint(), id(2));
    for part in [
        format!("link{{direction=\"outbound\" remote={} peer={}}}", address(&ben), id(2)),
        format!("linked {own} link=1 dialler=Own"),
        format!("unlinked {own} reason=\"goodbye\" code=1"),
        format!("linked node={} peer={} link=1 dialler=Peer", id(2).fingerprint(), id(1)),
        format!("dial_failed node={} peer={} reason=\"no_address\"", id(1).fingerprint(), id(3)),
        format!("revoked {own}"),
    ] {
        assert!(text.contains(&part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("the body of a message"), "{text}");
}

async fn o2_links_have_spans_and_events_with_stable_names_and_nothing_secret<H: Host>() {
    let log = Log::default();
    links::<Scoped<H>>(&log).with_subscriber(log.subscriber()).await;
}

async fn links<R: Runtime>(log: &Log) {
    let secret = "a secret of sixteen bytes and more";
    let with_secret = |number| {
        let secret = ClusterSecret::new(secret).expect("long enough");
        builder::<R>(number).cluster_secret(secret).build().expect("a configuration")
    };
    let (link, other) =
        pair_of((&with_secret(1), &Services::<R>::new()), (&with_secret(2), &echo::<R>())).await;
    let before = log.lines();
    for _ in 0..100 {
        let body = "the body of a message";
        soon(link.call("echo", body)).await.expect("an answer");
    }
    // The other side may have something to say of the link meanwhile.
    assert!(log.lines() - before < 10, "messages show in the log");
    soon(link.goodbye(5, "enough")).await;
    soon(other.closed()).await;

    let (near, far, _) = pipe(4096);
    let (stranger, two, none) =
        (builder::<R>(1).build().expect("a configuration"), with_secret(2), Services::<R>::new());
    let (dialled, accepted) =
        soon(zip(connect_over(near, &stranger, Dial::to(id(2)), &none), accept_over(far, &two, &none))).await;
    assert!(dialled.is_err() && accepted.is_err());

    // Whoever waits for a handshake is told of its end before the log is.
    until("both ends are in the log", || log.text().matches("unsupported_suite").count() == 2).await;
    let text = log.text();
    for part in [
        format!("link{{direction=\"outbound\" peer={}}}", id(2)),
        format!("link{{direction=\"inbound\" peer={}}}", id(1)),
        "established version=1 name=\"node-2@test\"".into(),
        "closed reason=\"goodbye\" code=1 by=local phase=draining".into(),
        "closed reason=\"goodbye\" code=1 by=peer phase=draining".into(),
        "closed reason=\"unsupported_suite\" code=42".into(),
    ] {
        assert!(text.contains(&part), "{part} is not in\n{text}");
    }
    let own = key(1).to_text();
    for part in [secret, own.expose(), "the body of a message"] {
        assert!(!text.contains(part), "{part} is in\n{text}");
    }
}

handclasp_adapters::on_every_host!(
    o2_nodes_tell_what_happens_to_their_peers_by_stable_names,
    o2_links_have_spans_and_events_with_stable_names_and_nothing_secret,
);
