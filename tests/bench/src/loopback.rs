//! TCP on the loopback interface, the same for every contestant.

use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// Where the two ends run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Both on one single-threaded runtime. A call's latency is then the work that it takes: between two cores it is
    /// mostly the time the (virtual) machine needs to wake an idle core, which is the same for everyone.
    OneThread,
    /// Each on a single-threaded runtime of its own, on two threads: as two processes would be.
    TwoThreads,
}

/// Starts `serve` with the server's end of a new connection; returns the client's end, and its runtime.
pub fn connect<F>(
    placement: Placement,
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (Runtime, TcpStream)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = single_threaded();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.set_nonblocking(true).expect("a non-blocking socket");
    let address = listener.local_addr().expect("the address bound");
    let server = async move {
        let listener = TcpListener::from_std(listener).expect("a listener");
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        serve(stream).await;
    };
    match placement {
        Placement::OneThread => drop(runtime.spawn(server)),
        Placement::TwoThreads => drop(std::thread::spawn(|| single_threaded().block_on(server))),
    }
    let stream = runtime.block_on(client(address));
    (runtime, stream)
}

async fn client(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("a listening server");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream
}

fn single_threaded() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}
