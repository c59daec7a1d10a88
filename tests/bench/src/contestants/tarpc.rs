//! `tarpc` over plain TCP with bincode: calls with deadlines and cancellation, no security.

use crate::contest::{Caller, IN_FLIGHT, SMALL};
use crate::loopback::{Placement, connect};
use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, TryFutureExt};
use std::time::{Duration, Instant};
use tarpc::serde::{Deserialize, Serialize};
use tarpc::serde_transport::{self, Transport};
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::tokio_util::codec::{Decoder, LengthDelimitedCodec};
use tarpc::{client, context};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

mod service {
    //! The service's definition; the macro writes more than it documents.
    #![allow(missing_docs, unreachable_pub)]

    use bytes::Bytes;

    #[tarpc::service]
    pub trait Echo {
        async fn echo(body: Bytes) -> Bytes;
    }
}
use service::{Echo, EchoClient};

#[derive(Clone)]
struct Server;

impl Echo for Server {
    async fn echo(self, _: context::Context, body: Bytes) -> Bytes {
        body
    }
}

/// A client and its server.
pub struct Tarpc {
    runtime: Runtime,
    client: EchoClient,
    body: Bytes,
}

impl Tarpc {
    /// A connected pair.
    pub fn new(placement: Placement) -> Self {
        let (runtime, stream) = connect(placement, |stream| async move {
            let channel = BaseChannel::with_defaults(transport(stream));
            // A handler that is ready at once runs on the connection's task: nothing here is worth a task per call.
            channel.execute(Server.serve()).for_each_concurrent(None, |call| call).await;
        });
        let client =
            runtime.block_on(async { EchoClient::new(client::Config::default(), transport(stream)).spawn() });
        Self { runtime, client, body: Bytes::from_static(&[7; SMALL]) }
    }
}

/// Bincode behind a u32 length.
fn transport<In, Out>(stream: TcpStream) -> Transport<TcpStream, In, Out, Bincode<In, Out>>
where
    In: for<'a> Deserialize<'a>,
    Out: Serialize,
{
    serde_transport::new(LengthDelimitedCodec::default().framed(stream), Bincode::default())
}

async fn call(client: &EchoClient, body: &Bytes) {
    let reply = client.echo(context::current(), body.clone()).map_ok(|reply| reply.len()).await;
    assert_eq!(reply.expect("a reply"), SMALL);
}

impl Caller for Tarpc {
    fn name(&self) -> String {
        "tarpc (plain)".into()
    }

    fn in_flight(&mut self, calls: u64) {
        let (client, body) = (&self.client, &self.body);
        self.runtime.block_on(join_all((0..IN_FLIGHT).map(|_| async move {
            for _ in 0..calls / IN_FLIGHT {
                call(client, body).await;
            }
        })));
    }

    fn one_by_one(&mut self, calls: u64, times: &mut Vec<Duration>) {
        self.runtime.block_on(async {
            for _ in 0..calls {
                let start = Instant::now();
                call(&self.client, &self.body).await;
                times.push(start.elapsed());
            }
        });
    }
}
