//! What a small call waits for beside bulk on the same link: the 99th percentile of 64-byte calls on an idle link, and
//! while as many bytes as the link takes flow the same way. In the end the same over plain TCP, the calls on a connection
//! of their own, which shows what the path does to whoever shares it. docs/performance.md has the figures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use handclasp::{Config, Dial, Message, Priority};
use handclasp_bench::contest::SMALL;
use handclasp_bench::contestants::ours::{SERVICE, nodes};
use handclasp_tokio::{Allow, Link, Listener, Services, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Bytes that flow while calls are measured.
const BULK: u64 = 1 << 30;

/// Bytes that are written or read at a time.
const CHUNK: usize = 64 << 10;

/// What a plain connection is for: its first byte.
const ECHO: u8 = 0;
const SINK: u8 = 1;

/// Pauses between calls, so that each meets the bulk somewhere else.
const PAUSE: Duration = Duration::from_micros(200);

/// Where the other end is.
enum Place {
    /// In this process, over loopback.
    Here,
    /// At an address; plain TCP is at the next port.
    At(SocketAddr),
}

fn main() {
    let (mut bulk, mut few, mut place) = (BULK, 5000, Place::Here);
    let (dialler, listener) = nodes();
    // Two processes would have a thread each, at least.
    let server = runtime();
    let client = runtime();
    let mut args = std::env::args().skip(1);
    let address = |args: &mut dyn Iterator<Item = String>| -> SocketAddr {
        args.next().and_then(|text| text.parse().ok()).unwrap_or_else(|| usage(2))
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // cargo adds it.
            "--bench" => {}
            "--quick" => (bulk, few) = (BULK / 32, 500),
            "--to" => place = Place::At(address(&mut args)),
            "--serve" => {
                let at = address(&mut args);
                plain(&server, next_port(at));
                let (_, serving) = serve(&server, &listener, at);
                println!("serving at {at} and the next port");
                return server.block_on(serving).expect("it serves for ever");
            }
            "--help" | "-h" => usage(0),
            _ => usage(2),
        }
    }
    let (address, plain) = match place {
        Place::At(address) => (address, next_port(address)),
        Place::Here => {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            (serve(&server, &listener, any).0, plain(&server, any))
        }
    };
    println!("64 B calls, one at a time, on a link over TCP, each end on a thread of its own:");
    let dial = Dial::to(listener.node_id());
    let link = client.block_on(connect(address, &dialler, dial, &Services::new())).expect("a link");
    let idle = client.block_on(measure(async || call(&link, Priority::default()).await, |calls| calls < few));
    print("idle link", &idle, None);
    for (name, priority, kind) in [
        ("beside a byte stream", Priority::default(), Bulk::Stream),
        ("beside a byte stream, call of a higher priority", Priority::ALL[0], Bulk::Stream),
        ("beside 1 MiB messages of the lowest priority", Priority::default(), Bulk::Messages),
    ] {
        let flowing = flow(link.clone(), kind, bulk);
        let busy = beside(&client, flowing, bulk, async || call(&link, priority).await);
        print(name, &busy.0, Some(&idle));
        println!("    with {:.1} MB/s beside it", busy.1);
    }
    let mut calls = client.block_on(TcpStream::connect(plain)).expect("a live server");
    calls.set_nodelay(true).expect("a socket");
    client.block_on(calls.write_u8(ECHO)).expect("a live server");
    let idle = client.block_on(measure(async || plain_call(&mut calls).await, |calls| calls < few));
    print("plain TCP, idle", &idle, None);
    let flowing = plain_flow(plain, bulk);
    let busy = beside(&client, flowing, bulk, async || plain_call(&mut calls).await);
    print("plain TCP, beside another connection with bulk", &busy.0, Some(&idle));
    println!("    with {:.1} MB/s beside it", busy.1);
}

fn usage(code: i32) -> ! {
    println!(
        "cargo bench --manifest-path tests/bench/Cargo.toml --bench beside -- [--quick] [--serve ADDRESS | --to ADDRESS]\n\n\
         --quick           32 MiB in place of 1 GiB: a smoke test, or for a slow path\n\
         --serve ADDRESS   be the other end, for another process; plain TCP is at the next port\n\
         --to ADDRESS      measure over the path to that one"
    );
    std::process::exit(code)
}

fn next_port(mut address: SocketAddr) -> SocketAddr {
    address.set_port(address.port() + 1);
    address
}

/// Times calls while `bulk` bytes flow; gives the megabytes a second that flowed, too.
fn beside(
    client: &Runtime,
    flowing: impl Future<Output = ()> + Send + 'static,
    bulk: u64,
    call: impl AsyncFnMut(),
) -> (Vec<Duration>, f64) {
    let over = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let flowing = client.spawn({
        let over = Arc::clone(&over);
        async move {
            flowing.await;
            over.store(true, Ordering::Relaxed);
            start.elapsed()
        }
    });
    let times = client.block_on(measure(call, |_| !over.load(Ordering::Relaxed)));
    let took = client.block_on(flowing).expect("the bulk arrived");
    (times, bulk as f64 / took.as_micros() as f64)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

#[derive(Clone, Copy)]
enum Bulk {
    Stream,
    Messages,
}

/// The other end of any number of links.
fn serve(server: &Runtime, listener: &Arc<Config>, at: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let taken = Arc::new(AtomicU64::new(0));
    let services = Services::new()
        .serve(SERVICE, Allow::Anyone, |request| async move { Ok(request.body) })
        .on("bulk", Allow::Anyone, move |request| {
            taken.fetch_add(request.body.len() as u64, Ordering::Relaxed);
            async {}
        })
        .serve("bulk-end", Allow::Anyone, |request| async move { Ok(request.body) })
        .stream("bulk", Allow::Anyone, |_, mut stream| async move {
            let mut buffer = vec![0; CHUNK];
            let mut total = 0_u64;
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                total += count as u64;
            }
            stream.write_u64(total).await.expect("a live client");
            stream.shutdown().await.expect("a live client");
        });
    let mut listener = server.block_on(Listener::bind(at, listener, &services)).expect("a port");
    let address = listener.local_addr().expect("its address");
    let serving = server.spawn(async move {
        loop {
            if let Ok(link) = listener.accept().await {
                tokio::spawn(async move { link.closed().await });
            }
        }
    });
    (address, serving)
}

/// Moves `bytes` to the other end, and returns when they have arrived.
async fn flow(link: Link, kind: Bulk, bytes: u64) {
    match kind {
        Bulk::Stream => {
            let mut stream = link.open_stream("bulk").await.expect("a stream");
            let chunk = vec![7; CHUNK];
            for _ in 0..bytes / CHUNK as u64 {
                stream.write_all(&chunk).await.expect("a live server");
            }
            stream.shutdown().await.expect("a live server");
            assert_eq!(stream.read_u64().await.expect("an answer"), bytes);
        }
        Bulk::Messages => {
            let body = bytes::Bytes::from(vec![7; (1 << 20) - 1024]);
            let message = || Message::new("bulk", body.clone()).priority(Priority::Bulk);
            for _ in 0..bytes / body.len() as u64 {
                link.send(message()).await.expect("an open link");
            }
            // Order is kept in a lane: an answer to what comes behind them says that they are there.
            let end = Message::new("bulk-end", "").priority(Priority::Bulk);
            link.call_with(end, Duration::from_secs(50)).await.expect("an answer");
        }
    }
}

async fn call(link: &Link, priority: Priority) {
    let message = Message::new(SERVICE, &[7; SMALL]).priority(priority);
    link.call_with(message, Duration::from_secs(5)).await.expect("a reply");
}

/// A server over plain TCP: echoes what comes, or takes it in and says at its end how much that was.
fn plain(server: &Runtime, at: SocketAddr) -> SocketAddr {
    let listener = server.block_on(TcpListener::bind(at)).expect("a port");
    let address = listener.local_addr().expect("its address");
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("a socket");
            tokio::spawn(async move {
                let mut buffer = vec![0; CHUNK];
                let echoes = stream.read_u8().await.is_ok_and(|kind| kind == ECHO);
                let mut total = 0_u64;
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    total += count as u64;
                    if echoes && stream.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
                // A caller that has gone asks for nothing.
                let _ = stream.write_u64(total).await;
            });
        }
    });
    address
}

async fn plain_flow(address: SocketAddr, bytes: u64) {
    let mut stream = TcpStream::connect(address).await.expect("a live server");
    stream.write_u8(SINK).await.expect("a live server");
    let chunk = vec![7; CHUNK];
    for _ in 0..bytes / CHUNK as u64 {
        stream.write_all(&chunk).await.expect("a live server");
    }
    stream.shutdown().await.expect("a live server");
    assert_eq!(stream.read_u64().await.expect("an answer"), bytes);
}

async fn plain_call(stream: &mut TcpStream) {
    let mut body = [7; SMALL];
    stream.write_all(&body).await.expect("a live server");
    stream.read_exact(&mut body).await.expect("a live server");
}

async fn measure(mut call: impl AsyncFnMut(), more: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut times = Vec::new();
    while more(times.len()) {
        let start = Instant::now();
        call().await;
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
