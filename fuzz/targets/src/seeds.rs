//! Inputs to begin with, made by the code that they test and by scripts of what honest sides do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use handclasp::crypto::{RustCrypto, Suite, SuiteSet};
use handclasp::hello::{AdvertVersions, DialAddress, Hello, UnknownExtension};
use handclasp::node::trust::{TrustEntry, UnixTime};
use handclasp::recording::Recorder;
use handclasp::signed::{Audience, Content, Origins, ReplayWindows, SignedMessage, SignedPolicy};
use handclasp::{Capability, Message, Refusal, VersionRange, wire};
use handclasp_sim::{Pair, Side, builder, id, key, seed};

use crate::input::Input;
use crate::link::step as link_step;
use crate::pair::step as pair_step;
use crate::peer::{self, Setup, frame as frame_of};

/// The frames of docs/wire.md §5, one of each, and messages in parts.
fn frames() -> Vec<Vec<u8>> {
    let list: [(u8, u8, &[u8]); 27] = [
        (0x00, 0, &[0; 20]),
        (0x01, 0, &[1]),
        (0x01, 0, &[2, 0, 22]),
        (0x02, 0, &[0]),
        (0x10, 3, b"\x04echohello"),
        (0x10, 0x82, b"\x09\x04echohe"),
        (0x10, 0x13, b"\x01ssigned"),
        (0x11, 3, b"\x01\x53\x88\x04echoping"),
        (0x11, 0x84, b"\x02\x53\x88\x42\x00\x04echoping"),
        (0x12, 1, b"\x01pong"),
        (0x12, 0x81, b"\x01\x08pong"),
        (0x13, 1, b"\x01\x00\x04"),
        (0x13, 1, b"\x01\x00\x08\0\0\0\x05detail"),
        (0x14, 0, &[1]),
        (0x15, 2, b"lo hello"),
        (0x15, 0x84, &[7; 64]),
        (0x15, 0x42, b""),
        (0x20, 0, &[0, 0x45]),
        (0x20, 0, &[1, 0x80, 0, 0x40, 0]),
        (0x30, 0, &[1; 8]),
        (0x31, 0, &[1; 8]),
        (0x39, 0, &[0; 8]),
        (0x3a, 0, &[1]),
        (0x3b, 0, b""),
        (0x40, 0, &[1]),
        (0x41, 0, b"\0\0\0\x07done"),
        (0x42, 0, b"\0\x01\0\0\0\x07done"),
    ];
    let mut frames: Vec<_> = list.iter().map(|(kind, flags, body)| frame_of(*kind, *flags, body)).collect();
    frames.push(frame_of(0x01, 0, &peer::accepts()));
    frames.push(frame_of(0x38, 0, &peer::advert()));
    frames.push(frame_of(0x90, 0xff, b"skip"));
    frames
}

pub(crate) fn frame() -> Vec<Vec<u8>> {
    let mut seeds = frames();
    seeds.push(frames().concat());
    seeds
}

fn hellos() -> Vec<Vec<u8>> {
    let suites = SuiteSet::EMPTY.with(Suite::NnChaChaPoly);
    let plain = Hello::new(VersionRange::only(1), suites, 7, 1);
    let mut full = plain.clone();
    full.versions = VersionRange::new(1, 3).expect("a range");
    full.name = Some("alder".into());
    full.protocol = Some(b"example/1".as_slice().into());
    full.capabilities = vec![
        Capability::new("chat", 4..=7).expect("a capability").metadata(*b"meta"),
        Capability::new("zip", 1..=3).expect("a capability").required(),
    ];
    full.info = vec![("key".into(), b"value".as_slice().into())];
    full.addresses = vec![DialAddress { weight: 9, address: "b:1".into() }];
    full.adverts = Some(AdvertVersions { own: 7, held: 0 });
    full.destination = Some(*id(1).as_bytes());
    full.hold = true;
    full.unknown = vec![
        UnknownExtension { kind: 0, value: b"low".as_slice().into() },
        UnknownExtension { kind: 900, value: b"high".as_slice().into() },
    ];
    let mut other = full.clone();
    other.protocol = None;
    other.capabilities.truncate(1);
    other.versions = VersionRange::only(9);
    [plain, full, other].iter().map(written).collect()
}

fn written(hello: &Hello) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::hello::emit(hello, &mut bytes).expect("a valid hello");
    bytes
}

/// `u16(length) ‖ one ‖ other`.
fn two(one: &[u8], other: &[u8]) -> Vec<u8> {
    [peer::framed(one), other.to_vec()].concat()
}

pub(crate) fn hello() -> Vec<Vec<u8>> {
    let hellos = hellos();
    hellos.iter().flat_map(|one| hellos.iter().map(move |other| two(one, other))).collect()
}

pub(crate) fn refusal() -> Vec<Vec<u8>> {
    let refusals = [
        Refusal::OverCapacity { retry_after: Duration::from_millis(1500) },
        Refusal::Incompatible { ours: VersionRange::only(1), theirs: VersionRange::only(2) },
        Refusal::Denied,
        Refusal::MissingCapability { names: vec!["chat".into(), "zip".into()] },
        Refusal::Alive,
        Refusal::OtherProtocol,
    ];
    let written = |refusal| {
        let mut bytes = Vec::new();
        wire::refusal::emit(refusal, &mut bytes);
        bytes
    };
    refusals.iter().map(written).collect()
}

pub(crate) fn advert() -> Vec<Vec<u8>> {
    let advert = peer::advert();
    let mut newer = advert.clone();
    newer[39] += 1;
    let mut forked = advert.clone();
    forked[47] += 1;
    vec![two(&advert, &newer), two(&newer, &advert), two(&advert, &forked), two(&advert, &advert)]
}

pub(crate) fn signed() -> Vec<Vec<u8>> {
    let say = |origin, audience: Audience, epoch, sequence| {
        let content = Content { audience, service: "s", epoch, sequence, body: b"body" };
        let message = SignedMessage::sign(&content, &key(origin), &RustCrypto).expect("signed");
        let length = u16::try_from(message.bytes().len()).expect("short");
        [&length.to_be_bytes(), &message.bytes()[..]].concat()
    };
    let (node, topic) = (|| Audience::Node(id(2)), || Audience::topic("t"));
    let one = say(1, node(), 1, 1);
    let ahead = say(1, node(), 1, 1 << 10);
    vec![
        one.clone(),
        say(1, topic(), 1, 1),
        [&one[..], &one].concat(),
        [&one[..], &ahead, &one, &say(1, node(), 2, 0), &ahead].concat(),
        [1, 2, 3, 4, 5]
            .map(|origin| [say(origin, topic(), 1, 1), say(origin, node(), 1, 1)].concat())
            .concat(),
    ]
}

/// Both kinds of recordings of both sides of a link: up to its handshake, and with a message, a signed
/// message, a call and a goodbye.
pub(crate) fn replay() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (exact, talk) in [(false, false), (false, true), (true, false), (true, true)] {
        let node = |number: u8, peer| {
            let store = Arc::new(Mutex::<ReplayWindows>::default());
            builder(number, &[peer]).signed(SignedPolicy::new(Origins::listed([id(peer)]), store)).build()
        };
        let (one, two) = (node(1, 2).expect("valid"), node(2, 1).expect("valid"));
        let mut pair = Pair::seeded(&one, &two, Some(id(2)), 0);
        let sides = [Side::Initiator, Side::Responder];
        for (number, side) in (0..).zip(sides) {
            let recorder = if exact {
                Recorder::exact_with_secrets(seed(number), 1 << 20)
            } else {
                Recorder::redacted(1 << 20)
            };
            pair.link(side).record(recorder).expect("a fresh link");
        }
        pair.establish();
        if talk {
            let link = pair.link(Side::Initiator);
            link.send(Message::new("s", b"a body")).expect("taken");
            let content =
                Content { audience: id(2).into(), service: "s", epoch: 1, sequence: 1, body: b"signed" };
            let signed = SignedMessage::sign(&content, &key(1), &RustCrypto).expect("signed");
            for _ in 0..2 {
                link.send(signed.message()).expect("taken");
            }
            pair.call(Side::Responder, "c", b"question", b"answer");
            let now = pair.now;
            pair.link(Side::Initiator).goodbye(1, "over", now);
            pair.run();
        }
        seeds.extend(sides.map(|side| pair.link(side).recording().expect("recorded").as_bytes().to_vec()));
    }
    seeds
}

pub(crate) fn trust_list() -> Vec<Vec<u8>> {
    let entry = TrustEntry::new(id(1)).added(UnixTime::from_secs(1_800_000_000));
    let full = TrustEntry::new(id(2)).expires(UnixTime::from_secs(1_900_000_000)).with_label("Ben's laptop");
    let full = full.expect("a label");
    let text = format!("# friends\n\n{entry}\n{full}\r\n  # more\n{}\n", id(3));
    let changes = [
        0, 0, 28, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 5, b'l', b'a', b'b', b'e', b'l', 2, 1,
        5, 3,
    ];
    let dated = format!("{} added=2026-01-02 expires=2027-03-04T05:06:07Z label=a b\n# end", id(1));
    vec![
        text.clone().into_bytes(),
        [text.as_bytes(), &changes].concat(),
        [dated.as_bytes(), &changes].concat(),
    ]
}

/// A configuration in two bytes, and what its link hears when all goes well.
fn setups() -> Vec<([u8; 2], Setup)> {
    let read = |bytes: [u8; 2]| (bytes, Setup::read(&mut Input::new(&bytes)));
    [[0, 0], [1, 0], [2, 0], [3, 1], [8, 0], [9, 0], [0x74, 0], [0x75, 1]].into_iter().map(read).collect()
}

pub(crate) fn preamble() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = setups()
        .into_iter()
        .map(|(bytes, setup)| [&bytes[..], &[5], &setup.handshake().concat()].concat())
        .collect();
    for (bytes, setup) in setups() {
        let traffic = peer::record(&frames()[4]);
        seeds.push([&bytes[..], &[0], &setup.handshake().concat(), &traffic].concat());
        seeds.push([&bytes[..], &[1, 0, 0, 3, 0, 9]].concat());
        // More than is held for a peer that is not admitted.
        let long = [&peer::record(&[0; 4000])[..], &peer::record(&[0; 600])].concat();
        seeds.push([&bytes[..], &[200], &setup.handshake().concat(), &long].concat());
    }
    seeds
}

pub(crate) fn record() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (bytes, _) in setups().into_iter().filter(|(bytes, _)| bytes[0] < 4) {
        let all: Vec<u8> = frames().iter().flat_map(|frame| peer::record(frame)).collect();
        seeds.push([&bytes[..], &[7], &all].concat());
        let useful: Vec<u8> = frames()[4..14].concat();
        seeds.push([&bytes[..], &[0], &peer::record(&useful), &peer::record(&frames()[24])].concat());
        let end = peer::record(&[&frames()[24][..], &frames()[25]].concat());
        seeds.push([&bytes[..], &[3], &end].concat());
    }
    seeds
}

/// The step of a link's script in which the peer sends these frames.
fn says(frames: &[&[u8]]) -> Vec<u8> {
    let mut step = vec![link_step::FRAMES, u8::try_from(frames.len() - 1).expect("few frames")];
    for frame in frames {
        let (kind, flags, body) = (frame[0], frame[1], &frame[4..]);
        step.extend([kind, flags]);
        if body.len() < 255 {
            step.push(u8::try_from(body.len()).expect("short"));
        } else {
            step.push(255);
            step.extend(u16::try_from(body.len()).expect("a frame").to_be_bytes());
        }
        step.extend_from_slice(body);
    }
    step
}

pub(crate) fn link() -> Vec<Vec<u8>> {
    use link_step::{CALL, CANCEL, COMMAND, EDITED_AUTH, HANDSHAKE, NEXT, READY, RECORD, REPLY, SEND, TIME};
    let frames = frames();
    let mut seeds = Vec::new();
    for (start, setup) in setups() {
        let start = start.to_vec();
        let open = [&start[..], &[HANDSHAKE, COMMAND, 6]].concat();
        for frame in &frames {
            seeds.push([&open[..], &says(&[frame])].concat());
        }
        // Calls in both directions, an answer, a goodbye.
        let called = says(&[&frames[6], &frames[4]]);
        let traffic = [
            &open[..],
            &[SEND, 1, 1, 9, 0, CALL, 1, 2, 40, 1, 0x13, 0x88],
            &called,
            &[REPLY, 0, 5, 0],
            &says(&[&frames[8]]),
            &[COMMAND, 0],
            &says(&[&frames[24], &frames[25]]),
        ];
        seeds.push(traffic.concat());
        // Bulk that waits for credit and for the stream, then a cancel, time, and a rekey.
        let bulk = [
            &open[..],
            &[
                READY, 7, SEND, 0, 0, 255, 0x07, 0x80, 3, SEND, 0, 0, 255, 7, 0x80, 0x1b, CALL, 0, 0, 255, 7,
                0x80, 2, 1, 0,
            ],
            &[TIME, 100, CANCEL, 0, READY, 0x38, COMMAND, 3, READY, 0, TIME, 0, TIME, 0, TIME, 210],
            &says(&[&frames[23]]),
            &says(&[&frames[5]]),
            &says(&[&frames[13]]),
        ];
        seeds.push(bulk.concat());
        // More than the window, while the application takes nothing; then it does.
        let large = frame_of(0x10, 3, &[&[0][..], &[1; 1900]].concat());
        let mut flood = [&open[..], &[READY, 2]].concat();
        flood.extend((0..3).flat_map(|_| says(&[&large])));
        seeds.push([&flood[..], &[READY, 0]].concat());
        let mut calls = [&open[..], &[READY, 2]].concat();
        calls.extend((1..6).flat_map(|id| says(&[&frame_of(0x11, 3, &[id, 40, 0])])));
        seeds.push([&calls[..], &[READY, 0, REPLY, 0, 9, 0, REPLY, 0, 9, 3]].concat());
        // A handshake step by step, edited, refused.
        seeds.push([&start[..], &[NEXT, TIME, 9, NEXT, COMMAND, 8, 3, 20, 4]].concat());
        seeds.push([&start[..], &[NEXT, EDITED_AUTH, 0x0b, 1, 0, 4, 0, 8, 0, 0, NEXT]].concat());
        seeds.push([&start[..], &[NEXT, EDITED_AUTH, 0x28, 2, 0, 22]].concat());
        seeds.push([&start[..], &[EDITED_AUTH, 0x40, 3, 0, 9]].concat());
        // STATUS alive, and an answer to it.
        seeds.push([&start[..], &[NEXT, NEXT, RECORD, 5, 1, 0, 0, 1, 1]].concat());
        assert!(setup.limits.check().is_ok());
    }
    seeds
}

pub(crate) fn pair() -> Vec<Vec<u8>> {
    use pair_step::{ANSWER, CALL, CANCEL, COMMAND, HARM, MOVE, READY, RUN, SEND, TIME};
    const OTHER: u8 = 0x80;
    let mut seeds = vec![vec![0, RUN], vec![4, MOVE, 9, OTHER | MOVE, 30, MOVE, 60, RUN]];
    for how in [0, 3, 8, 0x1f] {
        let traffic = [
            how,
            RUN,
            SEND,
            1,
            20,
            1,
            SEND,
            0,
            255,
            7,
            0,
            0,
            OTHER | CALL,
            200,
            9,
            1,
            MOVE,
            200,
            OTHER | MOVE,
            40,
            ANSWER,
            0,
            30,
            OTHER | SEND,
            4,
            3,
            0,
            RUN,
            TIME,
            1,
            0,
            RUN,
            OTHER | COMMAND,
            1,
            SEND,
            2,
            9,
            0,
            RUN,
            COMMAND,
            0,
            RUN,
        ];
        seeds.push(traffic.to_vec());
        let slow = [
            how,
            RUN,
            READY,
            7,
            OTHER | READY,
            0x58,
            CALL,
            90,
            255,
            3,
            0,
            0,
            SEND,
            5,
            9,
            0,
            SEND,
            3,
            255,
            7,
            0,
            0,
            TIME,
            0,
            90,
            CANCEL,
            0,
            READY,
            0,
            RUN,
            OTHER | READY,
            0,
            TIME,
            0x20,
            0,
            RUN,
        ];
        seeds.push(slow.to_vec());
        for harm in 0..5 {
            seeds.push(vec![
                how, RUN, SEND, 0, 60, 0, RUN, SEND, 1, 9, 0, READY, 0, MOVE, 0, HARM, harm, 11, 3, RUN,
                SEND, 1, 9, 0, RUN,
            ]);
            seeds.push(vec![how, OTHER | MOVE, 4, HARM, harm, 11, 3, RUN]);
        }
    }
    seeds
}

pub(crate) fn world() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 50, 6, 1, 0, 20, 0, 1, 100]];
    // A host whose application takes nothing, more for it than a window, and what ends the link or the life.
    for end in [[8, 0, 0], [14, 0, 1], [14, 16, 0], [22, 0, 0], [18, 16, 0], [24, 0, 0]] {
        let mut seed = vec![5, 1, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 250, 0, 0, 250, 16, 16, 1];
        seed.extend([6, 0, 1, 255, 0x3e, 0].repeat(8));
        seed.extend([0, 0, 50]);
        seed.extend(end);
        seed.extend([0, 0, 250, 16, 16, 0]);
        seeds.push(seed);
    }
    // Every kind of step once, between messages.
    for sky in [0x01, 0x56, 0x8a] {
        let mut seed = vec![sky, 1, sky, 0, 0, 8, 1, 16, 0x42, 0, 0, 200];
        for kind in 6..26 {
            seed.extend([6, kind << 4 | 1, 1, 40, kind, kind << 3, 1, 30, 0, 0, 60, 7, 0x10, 9, 10]);
        }
        seeds.push(seed);
    }
    seeds
}

pub(crate) fn differential() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for protocol in 0..3 {
        let mut seed = vec![protocol, 8];
        seed.extend(*b"prologue");
        seed.extend([7; 96]);
        for step in 0..8 {
            seed.extend([5, b'h', b'e', b'l', b'l', b'o', step, 2, 0, 3, 1]);
        }
        seeds.push(seed);
    }
    seeds
}
