//! Wakers that keep what they wake.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use handclasp::runtime::Services;
use handclasp::services::Allow;
use handclasp::{Message, Reason, Why};
use handclasp_adapters::links::{Guard, config, pair, tapped};
use handclasp_adapters::streams::{echoing, open};
use handclasp_adapters::{Host, soon, until};

use super::held::{Clock, Held};

/// What only a waker keeps, and what goes with it.
struct Kept<T>(Mutex<Option<T>>);

impl<T: Send + 'static> Wake for Kept<T> {
    fn wake(self: Arc<Self>) {}
}

/// Polls `kept` once, which is not ready, with a waker that alone keeps it from then on.
fn leave_to_its_waker<T: Send + 'static>(mut kept: T, poll: impl FnOnce(&mut T, &mut Context<'_>) -> bool) {
    let holder = Arc::new(Kept(Mutex::new(None)));
    let waker = Waker::from(Arc::clone(&holder));
    assert!(poll(&mut kept, &mut Context::from_waker(&waker)), "it is not ready");
    *holder.0.lock().expect("nobody panics while holding it") = Some(kept);
}

async fn m12_a_stream_that_only_its_waker_keeps_ends_with_it<H: Host>() {
    let (go, may_write) = async_channel::bounded::<()>(1);
    let (tell, told) = async_channel::unbounded();
    let services = echoing::<H>().stream("late", Allow::Anyone, move |_, stream| {
        let (may_write, tell) = (may_write.clone(), tell.clone());
        async move {
            let mut stream = H::io(stream);
            let _ = may_write.recv().await;
            let _ = stream.write_all(b"late").await;
            // An error, or the end: whoever had the other end of it has dropped that.
            let _ = stream.read_to_end(&mut Vec::new()).await;
            let _ = tell.send(()).await;
        }
    });
    let (dialled, _accepted) = pair::<H>(&services).await;
    // The link's task wakes the reader when bytes come …
    leave_to_its_waker(open::<H>(&dialled, "late").await, |stream, context| {
        Pin::new(stream).poll_read(context, &mut [0]).is_pending()
    });
    go.send(()).await.expect("the handler waits");
    soon(told.recv()).await.expect("the stream is gone");
    // … whoever closes the writer once the link has all …
    leave_to_its_waker(open::<H>(&dialled, "late").await, |stream, context| {
        Pin::new(stream).poll_close(context).is_pending()
    });
    go.send(()).await.expect("the handler waits");
    soon(told.recv()).await.expect("the stream is gone");
    assert_eq!(soon(dialled.call("echo-call", "lives")).await.expect("an answer"), "lives");
    // … and both at the link's end.
    leave_to_its_waker(open::<H>(&dialled, "late").await, |stream, context| {
        Pin::new(stream).poll_read(context, &mut [0]).is_pending()
    });
    dialled.close();
    assert_eq!(soon(dialled.closed()).await.reason, Reason::Dropped);
}

async fn l3_a_link_that_only_the_waker_of_a_question_keeps_ends_with_it<H: Host>() {
    let clock = Clock::new();
    let work = async {
        let (one, two, none) = (config::<Held<H>>(1), config::<Held<H>>(2), Services::<Held<H>>::new());
        let (dialled, _accepted, tap) = tapped((&one, &none), (&two, &none)).await;
        // The other side does not learn of the end, so that the task waits for it.
        tap.stall_after(0);
        dialled.close();
        let closed = || matches!(dialled.try_send(Message::new("none", "")), Err(rejected) if rejected.why == Why::Closed);
        until("the link is closed", closed).await;
        let waiting = Arc::default();
        let guard = Guard::new(&waiting);
        let question: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            // In this order: what is declared last is dropped first.
            let _guard = guard;
            let link = dialled;
            let _ = link.ping().await;
        });
        leave_to_its_waker(question, |question, context| question.as_mut().poll(context).is_pending());
        until("the question is gone, and the link with it", || {
            clock.pass(Duration::from_secs(1));
            waiting.load(Ordering::SeqCst) == 0
        })
        .await;
    };
    clock.run(work).await;
}

handclasp_adapters::on_every_host!(
    m12_a_stream_that_only_its_waker_keeps_ends_with_it,
    l3_a_link_that_only_the_waker_of_a_question_keeps_ends_with_it,
);
