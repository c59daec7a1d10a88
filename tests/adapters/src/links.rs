//! Two nodes without a control plane, and ways to link them.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_lite::future::zip;
use handclasp::runtime::{
    Link, Listener, Runtime, Services, accept_over, connect, connect_over, incarnation,
};
use handclasp::services::Allow;
use handclasp::{Config, ConfigBuilder, Dial, NodeId, SecretKey, Seed, Signer, Trust};

use crate::{Host, Tap, pipe, soon};

/// The key of node `number`.
pub fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&Seed::new([number; 32]))
}

/// The id of node `number`.
pub fn id(number: u8) -> NodeId {
    key(number).node_id()
}

/// Node `number`, which trusts nodes 1 and 2.
pub fn builder<R: Runtime>(number: u8) -> ConfigBuilder {
    Config::builder(key(number), incarnation::<R>())
        .trust(Trust::listed([id(1), id(2)]))
        .name(format!("node-{number}@test"))
}

/// The same, built.
pub fn config<R: Runtime>(number: u8) -> Arc<Config> {
    builder::<R>(number).build().expect("a good configuration")
}

/// Services that answer calls of `echo` with what they say.
pub fn echo<R: Runtime>() -> Services<R> {
    Services::new().serve("echo", Allow::Anyone, |request| async move { Ok(request.body) })
}

/// A listener on a port of its own, and its address.
pub async fn listen<R: Runtime>(config: &Arc<Config>, services: &Services<R>) -> (Listener<R>, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0", config, services).await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// Node 1 dials node 2 over a stream in memory: both ends of the link, and what disturbs it.
pub async fn tapped<A: Runtime, B: Runtime>(
    (one, one_services): (&Arc<Config>, &Services<A>),
    (two, two_services): (&Arc<Config>, &Services<B>),
) -> (Link<A>, Link<B>, Tap) {
    let (near, far, tap) = pipe(64 << 10);
    let (dialled, accepted) = soon(zip(
        connect_over(near, one, Dial::to(two.node_id()), one_services),
        accept_over(far, two, two_services),
    ))
    .await;
    (dialled.expect("a link"), accepted.expect("a link"), tap)
}

/// Both ends of such a link.
pub async fn pair_of<A: Runtime, B: Runtime>(
    one: (&Arc<Config>, &Services<A>),
    two: (&Arc<Config>, &Services<B>),
) -> (Link<A>, Link<B>) {
    let (dialled, accepted, _) = tapped(one, two).await;
    (dialled, accepted)
}

/// The same with the nodes 1 and 2, of which only the second serves anything.
pub async fn pair<R: Runtime>(services: &Services<R>) -> (Link<R>, Link<R>) {
    pair_of((&config::<R>(1), &Services::new()), (&config::<R>(2), services)).await
}

/// The same over the runtimes' own Unix sockets, by the adapters' own functions.
pub async fn unix_pair<A: Host, B: Host>(services: &Services<B>) -> (Link<A>, Link<B>) {
    let (near, far) = UnixStream::pair().expect("a socket pair");
    let (near, far) = (A::unix(near).expect("a socket"), B::unix(far).expect("a socket"));
    let (one, two, none) = (config::<A>(1), config::<B>(2), Services::new());
    let (dialled, accepted) =
        soon(zip(A::connect_over(near, &one, Dial::to(id(2)), &none), B::accept_over(far, &two, services)))
            .await;
    (dialled.expect("a link"), accepted.expect("a link"))
}

/// The same over TCP.
pub async fn tcp_pair<A: Runtime, B: Runtime>(services: &Services<B>) -> (Link<A>, Link<B>) {
    let (mut listener, address) = listen::<B>(&config::<B>(2), services).await;
    let (one, none) = (config::<A>(1), Services::new());
    let (dialled, accepted) =
        soon(zip(connect::<A>(address, &one, Dial::to(id(2)), &none), listener.accept())).await;
    (dialled.expect("a link"), accepted.expect("a link"))
}

/// Counts itself in, and out when it is dropped: what a handler holds while it runs.
#[derive(Debug)]
pub struct Guard(Arc<AtomicUsize>);

impl Guard {
    /// One more of `count`.
    pub fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A service `hang` that never answers, and how many of its handlers are alive.
pub fn hanging<R: Runtime>() -> (Services<R>, Arc<AtomicUsize>) {
    let alive = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&alive);
    let services = Services::new().serve("hang", Allow::Anyone, move |_| {
        let guard = Guard::new(&counter);
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    (services, alive)
}
