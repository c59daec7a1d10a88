//! What a small call waits for beside bulk on the same link: the 99th percentile of 64-byte calls on an idle link, and
//! while as many bytes as the link takes flow the same way. docs/performance.md has the figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use handclasp::{Config, Dial, Message, Priority};
use handclasp_bench::contest::SMALL;
use handclasp_bench::contestants::ours::{SERVICE, nodes};
use handclasp_tokio::{Allow, Link, Listener, Services, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes that flow while calls are measured.
const BULK: u64 = 1 << 30;

/// Pauses between calls, so that each meets the bulk somewhere else.
const PAUSE: Duration = Duration::from_micros(200);

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let bulk = if quick { BULK / 32 } else { BULK };
    // Two processes would have a thread each, at least.
    let server = runtime();
    let client = runtime();
    let (dialler, listener) = nodes();
    println!("64 B calls, one at a time, on a link over loopback TCP, each end on a thread of its own:");
    let (link, _served) = linked(&client, &server, &dialler, &listener);
    let idle = client.block_on(measure(&link, |calls| calls < if quick { 500 } else { 5000 }));
    print("idle link", &idle, None);
    for (name, priority, kind) in [
        ("beside a byte stream", Priority::default(), Bulk::Stream),
        ("beside a byte stream, call of a higher priority", Priority::ALL[0], Bulk::Stream),
        ("beside 1 MiB messages of the lowest priority", Priority::default(), Bulk::Messages),
    ] {
        let over = Arc::new(AtomicBool::new(false));
        let flowing = client.spawn(flow(link.clone(), kind, bulk, Arc::clone(&over)));
        let start = Instant::now();
        let busy = client.block_on(measure_as(&link, priority, |_| !over.load(Ordering::Relaxed)));
        let took = start.elapsed();
        client.block_on(flowing).expect("the bulk arrived");
        print(name, &busy, Some(&idle));
        println!("    with {:.2} GB/s beside it", bulk as f64 / took.as_nanos() as f64);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

#[derive(Clone, Copy)]
enum Bulk {
    Stream,
    Messages,
}

fn linked(
    client: &tokio::runtime::Runtime,
    server: &tokio::runtime::Runtime,
    dialler: &Arc<Config>,
    listener: &Arc<Config>,
) -> (Link, tokio::task::JoinHandle<()>) {
    let taken = Arc::new(AtomicU64::new(0));
    let services = Services::new()
        .serve(SERVICE, Allow::Anyone, |request| async move { Ok(request.body) })
        .on("bulk", Allow::Anyone, move |request| {
            taken.fetch_add(request.body.len() as u64, Ordering::Relaxed);
            async {}
        })
        .serve("bulk-end", Allow::Anyone, |request| async move { Ok(request.body) })
        .stream("bulk", Allow::Anyone, |_, mut stream| async move {
            let mut buffer = vec![0; 64 << 10];
            let mut total = 0_u64;
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                total += count as u64;
            }
            stream.write_u64(total).await.expect("a live client");
            stream.shutdown().await.expect("a live client");
        });
    let mut accepting = server.block_on(Listener::bind("127.0.0.1:0", listener, &services)).expect("a port");
    let address = accepting.local_addr().expect("its address");
    let serving = server.spawn(async move {
        let link = accepting.accept().await.expect("a link");
        link.closed().await;
    });
    let dial = Dial::to(listener.node_id());
    let link = client.block_on(connect(address, dialler, dial, &Services::new())).expect("a link");
    (link, serving)
}

/// Moves `bytes` to the other end, and returns when they have arrived.
async fn flow(link: Link, kind: Bulk, bytes: u64, over: Arc<AtomicBool>) {
    match kind {
        Bulk::Stream => {
            let mut stream = link.open_stream("bulk").await.expect("a stream");
            let chunk = vec![7; 64 << 10];
            for _ in 0..bytes / chunk.len() as u64 {
                stream.write_all(&chunk).await.expect("a live server");
            }
            stream.shutdown().await.expect("a live server");
            assert_eq!(stream.read_u64().await.expect("an answer"), bytes);
        }
        Bulk::Messages => {
            let body = bytes::Bytes::from(vec![7; (1 << 20) - 1024]);
            for _ in 0..bytes / body.len() as u64 {
                link.send(Message::new("bulk", body.clone()).priority(Priority::Bulk))
                    .await
                    .expect("an open link");
            }
        }
    }
    over.store(true, Ordering::Relaxed);
}

async fn measure(link: &Link, more: impl Fn(usize) -> bool) -> Vec<Duration> {
    measure_as(link, Priority::default(), more).await
}

async fn measure_as(link: &Link, priority: Priority, more: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut times = Vec::new();
    while more(times.len()) {
        let start = Instant::now();
        let message = Message::new(SERVICE, &[7; SMALL]).priority(priority);
        link.call_with(message, Duration::from_secs(5)).await.expect("a reply");
        times.push(start.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    times.sort_unstable();
    times
}

fn print(name: &str, times: &[Duration], idle: Option<&[Duration]>) {
    let at = |times: &[Duration], percent: usize| times[(times.len() - 1) * percent / 100];
    let ratio = idle.map(|idle| at(times, 99).as_nanos() as f64 / at(idle, 99).as_nanos() as f64);
    let ratio = ratio.map(|ratio| format!(", p99 {ratio:.1} × idle")).unwrap_or_default();
    println!(
        "  {name}: {} calls, p50 {:.1?}, p99 {:.1?}, longest {:.1?}{ratio}",
        times.len(),
        at(times, 50),
        at(times, 99),
        at(times, 100),
    );
}
