//! Recordings of links that their owner has asked for: handed over at the end, and replayed.

use async_channel::unbounded;
use handclasp::Message;
use handclasp::node::Permanence;
use handclasp::recording::Replay;
use handclasp::runtime::Services;
use handclasp::services::Allow;
use handclasp_adapters::links::{config, pair_of};
use handclasp_adapters::nodes::{address, id, node, start, stop};
use handclasp_adapters::{Host, soon};

const LIMIT: usize = 1 << 20;

async fn o5_the_recording_of_a_link_is_handed_over_at_its_end_and_replays<H: Host>() {
    let (sender, ended) = unbounded();
    let services = Services::<H>::new()
        .serve("echo", Allow::Anyone, |request| async move { Ok(request.body) })
        .record(LIMIT, move |recording| sender.try_send(recording).expect("the test waits"));
    let (link, other) = pair_of((&config::<H>(1), &Services::<H>::new()), (&config::<H>(2), &services)).await;
    assert_eq!(soon(link.call("echo", "said once")).await.expect("an answer"), "said once");
    soon(link.send(Message::new("nobody", vec![b'!'; 5000]))).await.expect("sent");
    assert!(ended.is_empty(), "it lives");
    soon(link.goodbye(7, "enough")).await;
    soon(other.closed()).await;
    let recording = soon(ended.recv()).await.expect("a recording");
    let holds = |needle: &[u8]| recording.as_bytes().windows(needle.len()).any(|window| window == needle);
    assert!(
        holds(b"echo") && !holds(b"said once") && !holds(&[b'!'; 16]),
        "services are in it, bodies are not"
    );
    let mut replay = Replay::open(recording.as_bytes()).expect("a recording");
    replay.run().expect("it replays");
}

async fn o5_the_links_of_a_node_are_recorded_as_well<H: Host>() {
    let (sender, ended) = unbounded();
    let recorded = Services::<H>::new()
        .record(LIMIT, move |recording| sender.try_send(recording).expect("the test waits"));
    let echo = Services::<H>::new().serve("echo", Allow::Anyone, |request| async move { Ok(request.body) });
    let ben = start(node::<H>(2).services(&echo).listen("127.0.0.1:0")).await;
    let peer = [address(&ben)];
    let anna = start(node::<H>(1).services(&recorded).peer(id(2), peer, Permanence::Permanent)).await;
    assert_eq!(soon(anna.peer(id(2)).call("echo", "said once")).await.expect("an answer"), "said once");
    stop(anna).await;
    let recording = soon(ended.recv()).await.expect("a recording");
    Replay::open(recording.as_bytes()).expect("a recording").run().expect("it replays");
}

async fn o5_whoever_panics_over_a_recording_harms_no_link<H: Host>() {
    let services = Services::<H>::new().record(LIMIT, |_| panic!("no place for it"));
    let (link, other) = pair_of((&config::<H>(1), &Services::<H>::new()), (&config::<H>(2), &services)).await;
    soon(link.goodbye(0, "")).await;
    soon(other.closed()).await;
    let (link, _other) =
        pair_of((&config::<H>(1), &Services::<H>::new()), (&config::<H>(2), &services)).await;
    soon(link.ping()).await.expect("the next one lives");
}

handclasp_adapters::on_every_host!(
    o5_the_recording_of_a_link_is_handed_over_at_its_end_and_replays,
    o5_the_links_of_a_node_are_recorded_as_well,
    o5_whoever_panics_over_a_recording_harms_no_link,
);
