//! Ends that nobody announces: streams that are cut or stall in the middle of a record, and processes that are
//! killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use handclasp::node::{NodeEvent, PeerState, Permanence};
use handclasp::runtime::{Link, Request, Runtime};
use handclasp::services::Allow;
use handclasp::{By, CallError, Config, Executed, Limits, Message, Reason};
use handclasp_adapters::links::{Guard, builder, echo, tapped};
use handclasp_adapters::nodes::{event, id, node, port, start, stop};
use handclasp_adapters::{Host, Scope, Scoped, Tap, Task, soon, spawn, unblock, until};

/// A call on a task of its own.
type Call = Task<Result<bytes::Bytes, CallError>>;

/// What the second side saw.
struct Seen {
    sizes: Arc<Mutex<Vec<usize>>>,
    alive: Arc<AtomicUsize>,
}

/// A configuration that notices silence soon.
fn brisk<R: Runtime>(number: u8) -> Arc<Config> {
    let limits = Limits { idle: Duration::from_millis(150), ..Limits::default() };
    builder::<R>(number).limits(limits).build().expect("a configuration")
}

/// A link over a stream that can be disturbed, with a call under way from each side.
async fn under_way<R: Runtime>() -> (Link<R>, Link<R>, Tap, Seen, [Call; 2]) {
    let seen = Seen { sizes: Arc::default(), alive: Arc::default() };
    let serve = || {
        let (sizes, alive) = (Arc::clone(&seen.sizes), Arc::clone(&seen.alive));
        echo::<R>()
            .on("log", Allow::Anyone, move |request: Request<R>| {
                sizes.lock().expect("no panic").push(request.body.len());
                async {}
            })
            .serve("hang", Allow::Anyone, move |_| {
                let guard = Guard::new(&alive);
                async move {
                    let _guard = guard;
                    std::future::pending().await
                }
            })
    };
    let (one, two) = (brisk::<R>(1), brisk::<R>(2));
    let (link, other, tap) = tapped::<R, R>((&one, &serve()), (&two, &serve())).await;
    let calls = [&link, &other].map(|link| {
        let link = link.clone();
        spawn::<R, _>(async move { link.call_with(Message::new("hang", ""), Duration::from_secs(100)).await })
    });
    until("both handlers run", || seen.alive.load(Ordering::SeqCst) == 2).await;
    soon(link.send(Message::new("log", &[1; 10]))).await.expect("sent");
    until("it came", || seen.sizes.lock().expect("no panic").len() == 1).await;
    (link, other, tap, seen, calls)
}

/// Every call has an end that says what may have happened, every handler is gone, and nothing came of the
/// record that was not whole.
async fn is_over(seen: &Seen, calls: [Call; 2]) {
    for call in calls {
        let error = soon(call).await.expect("no panic").expect_err("it never answers");
        assert!(matches!(error, CallError::LinkClosed { executed: Executed::Unknown, .. }), "{error}");
    }
    assert_eq!(seen.alive.load(Ordering::SeqCst), 0, "a handler outlives its link");
    assert_eq!(*seen.sizes.lock().expect("no panic"), [10], "a part of a record came");
}

async fn l5_a_stream_that_is_cut_in_the_middle_of_a_record_is_truncated<H: Host>() {
    // Before the length, within it, behind it, in the middle of the body, and before the last bytes.
    for bytes in [0, 1, 2, 3, 100, 3000] {
        let scope = Scope::default();
        let inside = scope.run(async {
            let (link, other, tap, seen, calls) = under_way::<Scoped<H>>().await;
            tap.cut_after(bytes);
            // Cut before any byte, the link is over at once.
            let sent = link.try_send(Message::new("log", &[2; 3000]));
            assert!(sent.is_ok() || bytes == 0);
            let (here, there) = (soon(link.closed()).await, soon(other.closed()).await);
            assert_eq!((&there.reason, there.by), (&Reason::Truncated, By::Transport), "after {bytes}");
            // Whoever writes to a broken stream may learn it by that.
            assert!(matches!(here.reason, Reason::Truncated | Reason::Transport), "{here} after {bytes}");
            assert_eq!(here.by, By::Transport);
            is_over(&seen, calls).await;
            drop((link, other));
        });
        inside.await;
        until("no task is left", || scope.tasks() == 0).await;
    }
}

async fn l1_l2_a_stream_that_stalls_in_the_middle_of_a_record_is_given_up<H: Host>() {
    let scope = Scope::default();
    for bytes in [1, 3000] {
        let inside = scope.run(async {
            let (link, other, tap, seen, calls) = under_way::<Scoped<H>>().await;
            let begun = Instant::now();
            tap.stall_after(bytes);
            // More than the stream holds: the one side's writing stalls, the other one's reading.
            let body = vec![2; 100_000];
            let mut queued = 0;
            while link.try_send(Message::new("log", &body[..])).is_ok() {
                queued += 1;
            }
            assert!(queued > 0, "100 kB are more than that");
            let (here, there) = (soon(link.closed()).await, soon(other.closed()).await);
            // Whoever finds out first ends it: nothing comes, or nothing can be written. It may still tell the
            // other one, by the direction that goes on.
            for closed in [here, there] {
                let known = [Reason::PeerDead, Reason::WriteStalled, Reason::Truncated, Reason::Transport];
                assert!(known.contains(&closed.reason), "{closed}");
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
            is_over(&seen, calls).await;
        });
        inside.await;
        until("no task is left", || scope.tasks() == 0).await;
    }
}

/// A process with a node, which goes with this.
struct Victim(Child);

impl Victim {
    /// Starts it; gives it, and what it says, when it listens.
    async fn start<H: Host>(address: SocketAddr) -> (Self, BufReader<ChildStdout>) {
        let child = Command::new(env!("CARGO_BIN_EXE_victim"))
            .args([H::NAME, &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("a process");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let victim = Self(child);
        (victim, says::<H>(output, "ready").await)
    }

    /// As by `kill -9`.
    fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it has ended");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a line of a process.
async fn says<R: Runtime>(
    mut output: BufReader<ChildStdout>,
    expected: &'static str,
) -> BufReader<ChildStdout> {
    let reading = unblock::<R, _>(move || {
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line.trim_end(), expected);
        output
    });
    soon(reading).await.expect("the line")
}

async fn m4_d2_a_node_whose_peers_process_is_killed_knows_and_links_again<H: Host>() {
    let (_port, home) = port();
    let (mut victim, output) = Victim::start::<H>(home).await;
    let anna = start(node::<H>(1).peer(id(2), [home], Permanence::Permanent)).await;
    let (peer, mut events) = (anna.peer(id(2)), anna.events());
    let first = soon(peer.connect()).await.expect("a link");
    assert_eq!(soon(peer.call("echo", "alive")).await.expect("an answer"), "alive");
    let call = spawn::<H, _>({
        let peer = peer.clone();
        async move { peer.call_with(Message::new("hang", ""), Duration::from_secs(100)).await }
    });
    let _output = says::<H>(output, "hangs").await;
    victim.kill();
    let error = soon(call).await.expect("no panic").expect_err("it was killed");
    let CallError::LinkClosed { reason, executed: Executed::Unknown } = error else {
        panic!("{error}");
    };
    assert!(matches!(reason, Reason::Truncated | Reason::Transport), "{reason}");
    let unlinked = event(&mut events, |event| match event {
        NodeEvent::Unlinked { closed, .. } => Some(closed.by),
        _ => None,
    });
    assert_eq!(unlinked.await, By::Transport);
    // It is dialled again and again, and what is sent meanwhile waits.
    event(&mut events, |event| matches!(event, NodeEvent::DialFailed { again: Some(_), .. }).then_some(()))
        .await;
    assert!(!matches!(peer.status().expect("it is known").state, PeerState::Linked { .. }));
    peer.try_send(Message::new("log", "kept")).expect("it is queued");
    let (_again, _output) = Victim::start::<H>(home).await;
    let second = soon(peer.connect()).await.expect("a link");
    assert_ne!(first.peer().channel_binding, second.peer().channel_binding);
    assert_eq!(soon(peer.call("echo", "back")).await.expect("an answer"), "back");
    until("it went", || peer.status().is_some_and(|status| status.queued == 0)).await;
    assert_eq!(stop(anna).await, []);
}

handclasp_adapters::on_every_host!(
    l5_a_stream_that_is_cut_in_the_middle_of_a_record_is_truncated,
    l1_l2_a_stream_that_stalls_in_the_middle_of_a_record_is_given_up,
    m4_d2_a_node_whose_peers_process_is_killed_knows_and_links_again,
);
