//! Times without an end.

use std::time::Duration;

use handclasp::node::{Known, Permanence};
use handclasp::runtime::{PeerRegistry, RegistryFuture, Services, connect};
use handclasp::{Dial, NodeId, Reason, Timing};
use handclasp_adapters::links::{builder, config, echo, id, listen};
use handclasp_adapters::nodes::{address, node, start};
use handclasp_adapters::{Host, soon, spawn};

/// A registry that knows nobody.
struct Empty;

impl PeerRegistry for Empty {
    fn look_up(&self, _: NodeId) -> RegistryFuture<'_, Option<Known>> {
        Box::pin(async { Ok(None) })
    }

    fn write(&self, _: NodeId, _: Known) -> RegistryFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// No time at all is too long.
fn for_ever() -> Timing {
    let most = Duration::MAX;
    Timing {
        step: most,
        handshake: most,
        stall: most,
        drain: most,
        flush: most,
        ready: most,
        ephemeral: Some(most),
    }
}

async fn h7_the_longest_times_are_no_error<H: Host>() {
    let (mut listener, to) = listen(&config::<H>(2), &echo::<H>()).await;
    let accepting = spawn::<H, _>(async move { listener.accept().await.expect("a link") });
    let patient = builder::<H>(1).timing(for_ever()).build().expect("a configuration");
    let link = soon(connect::<H>(to, &patient, Dial::to(id(2)), &Services::new())).await.expect("a link");
    let _accepted = soon(accepting).await.expect("a link");
    assert!(matches!(soon(link.goodbye(0, "")).await.reason, Reason::Goodbye { .. }));

    let Timing { drain, flush, .. } = Timing::default();
    let most = || Timing { drain, flush, ..for_ever() };
    let ben = node::<H>(2).config(|config| config.timing(most())).registry(Empty);
    let ben = start(ben.services(&echo()).listen("127.0.0.1:0")).await;
    let anna = node::<H>(1).config(|config| config.timing(most())).registry(Empty);
    let anna = start(anna.peer(id(2), [address(&ben)], Permanence::Ephemeral)).await;
    for _ in 0..2 {
        assert_eq!(soon(anna.peer(id(2)).call("echo", "hello")).await.expect("an answer"), "hello");
        soon(anna.peer(id(2)).disconnect(0, "")).await;
    }
    // Whatever was to be written is, so that a shutdown waits for nothing.
    assert!(soon(anna.shutdown(Duration::MAX)).await.is_empty());
    assert!(soon(ben.shutdown(Duration::MAX)).await.is_empty());
}

handclasp_adapters::on_every_host!(h7_the_longest_times_are_no_error,);
