//! TCP with nothing on it: no calls, no security. The floor of every figure over loopback.

use crate::contest::{Caller, IN_FLIGHT, SMALL};
use crate::loopback::{Placement, connect};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

const BATCH: usize = SMALL * 64;
const _: () = assert!(BATCH as u64 == SMALL as u64 * IN_FLIGHT);

/// An echo server that knows nothing of messages, and a client that writes its batch at once.
pub struct RawTcp {
    runtime: Runtime,
    stream: TcpStream,
}

impl RawTcp {
    /// A connected pair.
    pub fn new(placement: Placement) -> Self {
        let (runtime, stream) = connect(placement, |mut stream| async move {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(len @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..len]).await.is_err() {
                    break;
                }
            }
        });
        Self { runtime, stream }
    }
}

impl Caller for RawTcp {
    fn name(&self) -> String {
        "raw TCP ping-pong (plain)".into()
    }

    fn in_flight(&mut self, calls: u64) {
        self.runtime.block_on(async {
            let mut batch = [7; BATCH];
            for _ in 0..calls / IN_FLIGHT {
                self.stream.write_all(&batch).await.expect("a live server");
                self.stream.read_exact(&mut batch).await.expect("a live server");
            }
        });
    }

    fn one_by_one(&mut self, calls: u64, times: &mut Vec<Duration>) {
        self.runtime.block_on(async {
            let mut body = [7; SMALL];
            for _ in 0..calls {
                let start = Instant::now();
                self.stream.write_all(&body).await.expect("a live server");
                self.stream.read_exact(&mut body).await.expect("a live server");
                times.push(start.elapsed());
            }
        });
    }
}
