//! The handles move between threads, and so do the futures of their methods: that this compiles is the test. It
//! is for any runtime; the three that there are fill it in.

use std::time::Duration;

use handclasp::runtime::{self, Runtime, Services};
use handclasp::{Config, Dial, Message, NodeId, Priority, SecretKey};

fn send<T: Send>(value: T) -> T {
    value
}

fn send_and_sync<T: Send + Sync>() {}

/// Makes each future there is; it is not called.
async fn futures<R: Runtime>(id: NodeId, key: SecretKey, config: std::sync::Arc<Config>)
where
    R::Stream: Send,
{
    let (services, second) = (Services::<R>::new(), Duration::from_secs(1));
    let mut listener =
        send(runtime::Listener::<R>::bind("127.0.0.1:0", &config, &services)).await.expect("a listener");
    let link = send(listener.accept()).await.expect("a link");
    drop(send(runtime::connect::<R>("127.0.0.1:1", &config, Dial::to(id), &services)));
    drop(send(link.call("a", "b")));
    drop(send(link.call_with(Message::new("a", "b"), second)));
    drop(send(link.send(Message::new("a", "b"))));
    drop(send(link.open_stream_with("a", Priority::Normal)));
    drop(send(link.ping()));
    drop(send(link.ready()));
    drop(send(link.export(b"a", b"b", &mut [0; 32])));
    drop(send(link.stats()));
    drop(send(link.closed()));
    drop(send(link.goodbye(0, "")));

    let node = send(runtime::Node::<R>::builder(key).start()).await.expect("a node");
    let peer = node.peer(id);
    drop(send(peer.connect()));
    drop(send(peer.call("a", "b")));
    drop(send(peer.call_with(Message::new("a", "b"), second)));
    drop(send(peer.send(Message::new("a", "b"))));
    drop(send(peer.send_with(Message::new("a", "b"), runtime::Delivery::default())));
    drop(send(peer.open_stream_with("a", Priority::Normal)));
    drop(send(peer.disconnect(0, "")));
    drop(send(node.events().next()));
    drop(send(node.listen("127.0.0.1:0")));
    drop(send(node.trust(id, None)));
    drop(send(node.revoke(id)));
    drop(send(node.snapshot()));
    drop(send(node.closed()));
    drop(send(node.shutdown(second)));
}

fn handles<R: Runtime>() {
    send_and_sync::<runtime::Link<R>>();
    send_and_sync::<runtime::Node<R>>();
    send_and_sync::<runtime::WeakNode<R>>();
    send_and_sync::<runtime::Peer<R>>();
    send_and_sync::<runtime::Services<R>>();
    send_and_sync::<runtime::Handler<R>>();
    send_and_sync::<runtime::Request<R>>();
    send_and_sync::<runtime::Cancelled>();
    send_and_sync::<runtime::Events>();
    send_and_sync::<runtime::ByteStream>();
    send::<Option<runtime::Listener<R>>>(None);
    send::<Option<runtime::NodeBuilder<R>>>(None);
    let _ = futures::<R>;
}

#[test]
fn o3_handles_and_their_futures_move_between_threads() {
    handles::<handclasp_tokio::Tokio>();
    handles::<handclasp_async_std::AsyncStd>();
    handles::<handclasp_async_std::smol::Smol>();
    // A listener is shared where the runtime's timer is.
    send_and_sync::<handclasp_tokio::Listener>();
    send_and_sync::<handclasp_async_std::Listener>();
    send_and_sync::<handclasp_async_std::smol::Listener>();
}
