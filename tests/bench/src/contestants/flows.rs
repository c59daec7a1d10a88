//! A large file one way over loopback TCP: by a byte stream of a link, and with nothing on the TCP.

use crate::contest::Flow;
use crate::contestants::ours::{SERVICE, nodes};
use crate::loopback::{Placement, connect};
use handclasp::Dial;
use handclasp_tokio::{Allow, Link, Services, accept_over, connect_over};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// What is read or written at a time: as much as a program that copies a file does.
const CHUNK: usize = 64 << 10;

/// Takes bytes until their end, and answers with their number.
async fn drain(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0_u64;
    loop {
        match stream.read(&mut buffer).await.expect("bytes, or the end") {
            0 => break,
            count => total += count as u64,
        }
    }
    stream.write_all(&total.to_be_bytes()).await.expect("a live client");
    stream.shutdown().await.expect("a live client");
}

/// Sends `bytes` and returns when the other end has counted them.
async fn fill(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), bytes: u64) {
    let chunk = vec![7; CHUNK];
    for _ in 0..bytes / CHUNK as u64 {
        stream.write_all(&chunk).await.expect("a live server");
    }
    stream.shutdown().await.expect("a live server");
    assert_eq!(stream.read_u64().await.expect("an answer"), bytes);
}

/// A stream of a link for each turn.
pub struct OverLink {
    runtime: Runtime,
    link: Link,
}

impl OverLink {
    /// A link between two nodes, of which the second counts what comes.
    pub fn new(placement: Placement) -> Self {
        let (dialler, listener) = nodes();
        let dial = Dial::to(listener.node_id());
        let services = Services::new()
            .stream(SERVICE, Allow::Anyone, |_, mut stream| async move { drain(&mut stream).await });
        let (runtime, stream) = connect(placement, move |stream| async move {
            let link = accept_over(stream, &listener, &services).await.expect("a link");
            link.closed().await;
        });
        let link = runtime.block_on(connect_over(stream, &dialler, dial, &Services::new()));
        Self { runtime, link: link.expect("a link") }
    }
}

impl Flow for OverLink {
    fn name(&self) -> String {
        "handclasp, a byte stream".into()
    }

    fn flow(&mut self, bytes: u64) {
        self.runtime.block_on(async {
            let mut stream = self.link.open_stream(SERVICE).await.expect("a stream");
            fill(&mut stream, bytes).await;
        });
    }
}

/// A connection for each turn.
pub struct OverTcp {
    placement: Placement,
}

impl OverTcp {
    /// Connections between two ends that are placed like the others'.
    pub const fn new(placement: Placement) -> Self {
        Self { placement }
    }
}

impl Flow for OverTcp {
    fn name(&self) -> String {
        "raw TCP (plain)".into()
    }

    fn flow(&mut self, bytes: u64) {
        let serve = |mut stream: TcpStream| async move { drain(&mut stream).await };
        let (runtime, mut stream) = connect(self.placement, serve);
        runtime.block_on(fill(&mut stream, bytes));
    }
}
