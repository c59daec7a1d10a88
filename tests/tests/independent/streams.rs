//! Byte streams between the link and the independent peer (§5.6).

use handclasp::{Link, Priority, STREAM_REFUSED, StreamId, StreamLimits, StreamRead, Why};
use handclasp_sim::Owned;

use crate::peer::hello::Hello;
use crate::peer::{Got, Setup};
use crate::world::{World, config, hello, setup};

/// What the peer's hello says: 2 streams at a time, with 5000 bytes each at the start.
const OFFER: [u8; 8] = [0, 0, 0, 2, 0, 0, 0x13, 0x88];

/// The link takes 3 streams, with 3000 bytes each.
fn world(link_dials: bool) -> World {
    let limits = StreamLimits { max_open: 3, window: 3000, largest_window: 9000, ..StreamLimits::default() };
    let others = vec![(9, OFFER.to_vec())];
    let setup = Setup { hello: Hello { suites: 0b01, others, ..hello() }, ..setup(false) };
    World::open(link_dials, &config(false).streams(limits).build().expect("valid"), setup)
}

fn bytes(salt: usize, count: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from((at * 13 + at / 256 + salt) % 256).expect("a byte")).collect()
}

fn read_all(link: &mut Link, stream: StreamId) -> (Vec<u8>, StreamRead) {
    let (mut out, mut space) = (Vec::new(), [0; 999]);
    loop {
        match link.stream_read(stream, &mut space) {
            StreamRead::Data(count) => out.extend_from_slice(&space[..count]),
            end => return (out, end),
        }
    }
}

#[test]
fn m12_the_link_opens_a_stream_and_both_write_more_than_their_windows() {
    for role in [true, false] {
        for chunk in [usize::MAX, 7] {
            let mut world = world(role);
            world.chunk = chunk;
            let stream = world.link.open_stream("née", Priority::Low).expect("taken");
            let id = stream.get();
            assert_eq!(id, 4 + u64::from(role));
            let (forth, back) = (bytes(1, 40_000), bytes(2, 40_000));
            let (mut written, mut sent, mut read) = (0, 0, Vec::new());
            while !world.peer.streams.open.contains_key(&id) || !world.peer.streams.all_ended() {
                written += world.link.stream_write(stream, &forth[written..]);
                if written == forth.len() {
                    world.link.stream_finish(stream);
                }
                world.run();
                if !world.peer.streams.open[&id].sent_end {
                    sent += world.peer.stream_write(id, &back[sent..], true, 700);
                }
                world.run();
                read.extend(read_all(&mut world.link, stream).0);
            }
            assert_eq!(world.peer.streams.open[&id].came, forth);
            assert_eq!(read, back);
            assert_eq!(world.peer.got[0], Got::StreamOpen { id, name: "née".into() });
            assert_eq!((world.link.streams_open(), &world.peer.over), ((0, 0), &None));
        }
    }
}

#[test]
fn m12_the_peer_opens_streams_and_those_beyond_the_limit_are_refused() {
    for role in [true, false] {
        let mut world = world(role);
        let mut ids = Vec::new();
        for (priority, gap) in [(0, 0), (3, 5), (3, 0), (0, 700), (1, 0)] {
            let id = world.peer.stream_id(priority, gap);
            world.peer.stream_open(id, "of the peer", &bytes(3, 50), false);
            ids.push(id);
        }
        world.run();
        let refused: Vec<_> = ids[3..]
            .iter()
            .flat_map(|id| [Got::StreamStop(*id, STREAM_REFUSED), Got::StreamReset(*id, STREAM_REFUSED)])
            .collect();
        assert_eq!(world.peer.got, refused);
        assert_eq!(world.link.streams_open(), (0, 3));
        let opened: Vec<_> = world
            .events
            .iter()
            .filter_map(|event| match event {
                Owned::StreamOpened { id, name, priority } => {
                    assert_eq!((name.as_str(), *priority as u64), ("of the peer", id.get() / 2 % 4));
                    Some(*id)
                }
                _ => None,
            })
            .collect();
        assert_eq!(opened.iter().map(|id| id.get()).collect::<Vec<_>>(), ids[..3]);
        for stream in opened {
            assert_eq!(read_all(&mut world.link, stream), (bytes(3, 50), StreamRead::Pending));
            world.link.stream_write(stream, b"answer");
            world.link.stream_finish(stream);
            world.peer.stream_write(stream.get(), b"", true, 1);
            world.run();
            assert_eq!(read_all(&mut world.link, stream).1, StreamRead::End);
            assert_eq!(world.peer.streams.open[&stream.get()].came, b"answer");
        }
        assert_eq!((world.link.streams_open(), &world.peer.over), ((0, 0), &None));
        assert!(world.peer.streams.all_ended());
    }
}

#[test]
fn m12_the_link_keeps_to_what_the_peer_takes() {
    let mut world = world(true);
    let open = |world: &mut World| world.link.open_stream("", Priority::Normal);
    let (first, second) = (open(&mut world).expect("one"), open(&mut world).expect("two"));
    assert_eq!(open(&mut world), Err(Why::TooManyStreams { limit: 2 }));
    world.peer.generous = false;
    for (stream, total) in [(first, 5000), (second, 5000)] {
        let mut sent = 0;
        for _ in 0..5 {
            sent += world.link.stream_write(stream, &[0; 9000]);
            world.run();
        }
        assert_eq!(sent, total);
    }
    world.peer.stream_credit(first.get(), 1234);
    world.run();
    assert_eq!(world.link.stream_write(first, &[0; 9000]), 1234);
    world.run();
    assert_eq!(world.peer.over, None);
    assert_eq!(world.peer.streams.open[&first.get()].came.len(), 6234);
}

#[test]
fn m12_either_side_gives_a_direction_up() {
    for role in [true, false] {
        let mut world = world(role);
        let stream = world.link.open_stream("", Priority::Urgent).expect("taken");
        let id = stream.get();
        world.link.stream_write(stream, b"some");
        world.run();
        world.link.stream_reset(stream, 17);
        world.peer.stream_write(id, b"lost", false, 10);
        world.run();
        world.link.stream_stop(stream, 18);
        world.run();
        let got =
            [Got::StreamOpen { id, name: String::new() }, Got::StreamReset(id, 17), Got::StreamStop(id, 18)];
        assert_eq!(world.peer.got, got);
        assert_eq!(world.link.streams_open(), (0, 0));
        // The same from the other side.
        let id = world.peer.stream_id(2, 0);
        world.peer.stream_open(id, "", b"some", false);
        world.run();
        world.peer.stream_reset(id, 19);
        world.peer.stream_stop(id, 20);
        world.events.clear();
        world.run();
        let Some(Owned::StreamReset { id: stream, code: 19 }) = world.events.front() else {
            panic!("{:?}", world.events)
        };
        assert_eq!(world.link.stream_read(*stream, &mut [0]), StreamRead::Reset(19));
        assert!(matches!(world.events.back(), Some(Owned::StreamStopped { code: 20, .. })));
        assert_eq!(world.peer.got.last(), Some(&Got::StreamReset(id, 20)));
        assert_eq!((world.link.streams_open(), &world.peer.over), ((0, 0), &None));
    }
}

#[test]
fn l3_a_goodbye_waits_for_the_streams_of_the_peer() {
    for by_link in [true, false] {
        let mut world = world(true);
        let stream = world.link.open_stream("", Priority::Normal).expect("taken");
        world.run();
        if by_link {
            world.link.goodbye(5, "done", world.now);
        } else {
            world.peer.goodbye(5, "done");
        }
        world.run();
        assert!(world.link.closed().is_none());
        world.link.stream_write(stream, b"the rest");
        world.link.stream_finish(stream);
        world.peer.stream_write(stream.get(), b"of it", true, 2);
        world.run();
        assert!(world.link.closed().is_none(), "the link's owner has not read it");
        assert_eq!(read_all(&mut world.link, stream), (b"of it".to_vec(), StreamRead::End));
        world.run();
        // The peer looks when something comes: its own part was done before.
        world.peer.settle();
        world.run();
        assert_eq!(world.closed().reason.code(), 1);
        assert_eq!(world.peer.streams.open[&stream.get()].came, b"the rest");
    }
}

#[test]
fn m12_a_peer_without_streams_is_left_in_peace() {
    let mut world = World::usual(true);
    assert_eq!(world.link.open_stream("", Priority::Normal), Err(Why::NoStreams));
    world.run();
    assert!(world.peer.got.is_empty());
}
