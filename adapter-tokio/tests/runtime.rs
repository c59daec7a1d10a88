//! What is tokio's own: runtimes that end while their links live. All that holds on every runtime is in the suite
//! of `tests/adapters`.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use handclasp::node::{NodeEvent, Permanence};
use handclasp::{
    By, CallError, Config, Dial, Executed, Message, NodeId, Reason, SecretKey, Seed, Signer, Trust,
};
use handclasp_tokio::{
    Allow, Link, Node, NodeBuilder, Services, WhyNotSent, accept_over, connect_over, incarnation,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&Seed::new([number; 32]))
}

fn id(number: u8) -> NodeId {
    key(number).node_id()
}

fn config(number: u8) -> Arc<Config> {
    let builder = Config::builder(key(number), incarnation()).trust(Trust::listed([id(1), id(2)]));
    builder.build().expect("a good configuration")
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Fails the test instead of hanging it.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(15), future).await.expect("within 15 s")
}

fn echo() -> Services {
    Services::new().serve("echo", Allow::Anyone, |request| async move { Ok(request.body) })
}

/// Both ends of a link over a stream in memory.
async fn pair_of(one: &Arc<Config>, two: &Arc<Config>, services: &Services) -> (Link, Link) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let none = Services::new();
    let both = async {
        tokio::join!(connect_over(near, one, Dial::to(id(2)), &none), accept_over(far, two, services))
    };
    let (dialled, accepted) = soon(both).await;
    (dialled.expect("a link"), accepted.expect("a link"))
}

fn node(number: u8) -> NodeBuilder {
    Node::builder(key(number)).trust(Trust::listed([id(1), id(2)])).services(&echo())
}

#[test]
fn m4_a_caller_on_another_runtime_is_told_when_the_links_runtime_goes() {
    let (theirs, own) = (runtime(), runtime());
    let (link, _other) = theirs.block_on(pair_of(&config(1), &config(2), &echo()));
    // The call is queued while nobody runs the link's task, which then goes.
    let mut call = Box::pin(link.call("echo", "?"));
    own.block_on(async {
        std::future::poll_fn(|context| {
            assert!(call.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    });
    drop(theirs);
    let failed = own.block_on(soon(call));
    assert!(matches!(failed, Err(CallError::LinkClosed { reason: Reason::Dropped, .. })), "{failed:?}");
}

#[tokio::test]
async fn m4_a_killed_peer_is_told_with_whether_the_call_may_have_run() {
    let running = Arc::new(Semaphore::new(0));
    let begun = Arc::clone(&running);
    let services = Services::new().serve("hang", Allow::Anyone, move |_| {
        begun.add_permits(1);
        pending()
    });
    let (near, far) = tokio::io::duplex(64 << 10);
    // A process of its own, as it were: killing its runtime drops everything at once.
    let killed = Arc::new(Semaphore::new(0));
    let kill = Arc::clone(&killed);
    let process = std::thread::spawn(move || {
        runtime().block_on(async {
            let link = accept_over(far, &config(2), &services).await.expect("a link");
            kill.acquire().await.expect("open").forget();
            link
        })
    });
    let link = soon(connect_over(near, &config(1), Dial::to(id(2)), &Services::new())).await;
    let link = link.expect("a link");
    let call = tokio::spawn({
        let link = link.clone();
        async move { link.call("hang", "").await }
    });
    soon(running.acquire()).await.expect("open").forget();
    killed.add_permits(1);
    let theirs = tokio::task::spawn_blocking(|| process.join().expect("no panic")).await.expect("no panic");
    assert_eq!(
        soon(call).await.expect("no panic"),
        Err(CallError::LinkClosed { reason: Reason::Truncated, executed: Executed::Unknown })
    );
    let closed = soon(link.closed()).await;
    assert_eq!((closed.reason, closed.by), (Reason::Truncated, By::Transport));
    // A handle that outlives its runtime hangs nobody.
    assert_eq!(soon(theirs.closed()).await.reason, Reason::Dropped);
    assert!(theirs.try_send(Message::new("x", "")).is_err());
}

#[test]
fn l3_a_node_ends_with_its_runtime_and_its_peers_know() {
    let threads = || Runtime::new().expect("a runtime");
    let (own, other) = (threads(), threads());
    let ben = other.block_on(node(2).listen("127.0.0.1:0").start()).expect("a node");
    let home = *ben.local_addrs().first().expect("it listens");
    let anna = own.block_on(node(1).peer(id(2), [home], Permanence::Permanent).start()).expect("a node");
    let (peer, mut events) = (anna.peer(id(2)), ben.events());
    assert_eq!(own.block_on(peer.call("echo", "here")).expect("an answer"), "here");
    assert_eq!(other.block_on(peer.call("echo", "from elsewhere")).expect("an answer"), "from elsewhere");
    drop(own);
    other.block_on(async {
        loop {
            let event = soon(events.next()).await.expect("it runs").expect("none missed");
            if matches!(*event, NodeEvent::Unlinked { .. }) {
                break;
            }
        }
        assert!(soon(peer.call("echo", "")).await.is_err());
        let refused = peer.try_send(Message::new("log", "")).expect_err("it has ended");
        assert_eq!(refused.why, WhyNotSent::ShuttingDown);
        soon(anna.closed()).await;
        assert_eq!(soon(anna.shutdown(Duration::from_secs(5))).await, []);
        assert_eq!(soon(ben.shutdown(Duration::from_secs(5))).await, []);
    });
}
