//! handclasp over each runtime it has an adapter for, each with two threads of its own: the same code, filled in.

use crate::contest::{Caller, IN_FLIGHT, SMALL};
use crate::contestants::ours::{SERVICE, nodes};
use futures::future::join_all;
use handclasp::Dial;
use handclasp::runtime::{Link, Listener, Runtime, Services, connect};
use handclasp::services::Allow;
use handclasp_async_std::AsyncStd;
use handclasp_async_std::smol::Smol;
use handclasp_tokio::Tokio;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// A runtime that runs here.
pub trait Host: Runtime {
    /// Its name in the table.
    const NAME: &str;

    /// Runs `work` to its end.
    fn run<T>(work: impl Future<Output = T>) -> T;
}

static TOKIO: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
});

impl Host for Tokio {
    const NAME: &str = "handclasp, tokio";

    fn run<T>(work: impl Future<Output = T>) -> T {
        TOKIO.block_on(work)
    }
}

impl Host for AsyncStd {
    const NAME: &str = "handclasp, async-std";

    fn run<T>(work: impl Future<Output = T>) -> T {
        async_std::task::block_on(work)
    }
}

impl Host for Smol {
    const NAME: &str = "handclasp, smol";

    fn run<T>(work: impl Future<Output = T>) -> T {
        smol::block_on(work)
    }
}

/// All of them, tokio first.
///
/// async-std and smol read the number of their threads from `ASYNC_STD_THREAD_COUNT` and `SMOL_THREADS`, which
/// default to the number of cores and to one.
pub fn callers() -> Vec<Box<dyn Caller>> {
    vec![
        Box::new(Client::<Tokio>::new()),
        Box::new(Client::<AsyncStd>::new()),
        Box::new(Client::<Smol>::new()),
    ]
}

/// A client and its server.
struct Client<R> {
    link: Link<R>,
    _server: Link<R>,
}

impl<R: Host> Client<R> {
    fn new() -> Self {
        let (dialler, listener) = nodes();
        let services =
            Services::<R>::new().serve(SERVICE, Allow::Anyone, |request| async move { Ok(request.body) });
        let (link, server) = R::run(async {
            let mut accepting = Listener::bind("127.0.0.1:0", &listener, &services).await.expect("a port");
            let address = accepting.local_addr().expect("its address");
            let (none, dial) = (Services::<R>::new(), Dial::to(listener.node_id()));
            futures::join!(connect(address, &dialler, dial, &none), accepting.accept())
        });
        Self { link: link.expect("a link"), _server: server.expect("a link") }
    }

    async fn call(&self) {
        let reply = self.link.call(SERVICE, &[7; SMALL]).await.expect("a reply");
        assert_eq!(reply.len(), SMALL);
    }
}

impl<R: Host> Caller for Client<R> {
    fn name(&self) -> String {
        R::NAME.into()
    }

    fn in_flight(&mut self, calls: u64) {
        let client = &*self;
        R::run(join_all((0..IN_FLIGHT).map(|_| async move {
            for _ in 0..calls / IN_FLIGHT {
                client.call().await;
            }
        })));
    }

    fn one_by_one(&mut self, calls: u64, times: &mut Vec<Duration>) {
        R::run(async {
            for _ in 0..calls {
                let start = Instant::now();
                self.call().await;
                times.push(start.elapsed());
            }
        });
    }
}
