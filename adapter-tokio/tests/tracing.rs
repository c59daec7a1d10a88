//! What logs show of a link.
mod common;

use std::io;
use std::sync::{Arc, Mutex};

use common::{builder, id, key, pair_of, soon};
use handclasp::{ClusterSecret, Dial};
use handclasp_tokio::{Allow, Services, accept_over, connect_over};
use tracing_subscriber::fmt::MakeWriter;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
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

#[tokio::test]
async fn o2_links_have_spans_and_events_with_stable_names_and_nothing_secret() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let secret = "a secret of sixteen bytes and more";
    let with_secret = |number| {
        let secret = ClusterSecret::new(secret).expect("long enough");
        builder(number).cluster_secret(secret).build().expect("a configuration")
    };
    let echo = Services::new().serve("echo", Allow::Anyone, |request| async move { Ok(request.body) });
    let (link, other) = pair_of((&with_secret(1), &Services::new()), (&with_secret(2), &echo)).await;
    let before = log.text().lines().count();
    for _ in 0..10 {
        let body = "the body of a message";
        soon(link.call("echo", body)).await.expect("an answer");
    }
    assert_eq!(log.text().lines().count(), before, "messages show in the log");
    soon(link.goodbye(5, "enough")).await;
    soon(other.closed()).await;

    let (near, far) = tokio::io::duplex(4096);
    let (stranger, two, none) =
        (builder(1).build().expect("a configuration"), with_secret(2), Services::new());
    let (dialled, accepted) = soon(async {
        tokio::join!(connect_over(near, &stranger, Dial::to(id(2)), &none), accept_over(far, &two, &none))
    })
    .await;
    assert!(dialled.is_err() && accepted.is_err());

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
