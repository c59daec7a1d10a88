//! The worked example of `docs/wire.md` §11. The bytes on the wire are the links' own; what is between them is computed
//! by the independent peer of `independent/`, whose handshake must come out byte for byte as the links' does.
//!
//! `HANDCLASP_BLESS=1 cargo test -p handclasp-sim --test worked_example` writes the section anew.

#![allow(unreachable_pub, reason = "a test exports nothing")]

#[path = "independent/peer/mod.rs"]
mod peer;

use std::fmt::Write as _;
use std::sync::Arc;

use handclasp::{Capability, ClusterSecret, Config, VersionRange};
use handclasp_sim::document::assert_worked_example;
use handclasp_sim::{Owned, Pair, Side, builder, id};

use peer::bytes::{Frame, lengthy};
use peer::crypto::{Cipher, Hash, hkdf, sha256, split, x25519_public};
use peer::handshake::signed;
use peer::hello::{self, Hello};
use peer::{Peer, Setup, State};

const NETWORK: &[u8] = b"orchard";
const SECRET: &[u8] = b"correct horse battery staple";
const PROTOCOL: &[u8] = b"example/1";

fn config(number: u8, other: u8, secret: bool) -> Arc<Config> {
    let (versions, chat, name) =
        if number == 1 { ((1, 3), 1..=4, "alder") } else { ((2, 5), 2..=3, "birch") };
    let mut config = builder(number, &[other])
        .network(NETWORK)
        .name(name)
        .protocol(PROTOCOL)
        .versions(VersionRange::new(versions.0, versions.1).expect("a range"))
        .capability(Capability::new("chat", chat).expect("a capability"));
    if secret {
        config = config.cluster_secret(ClusterSecret::new(SECRET).expect("long enough"));
    }
    config.build().expect("a valid configuration")
}

/// The seed of [`Pair`]'s two links in their first run.
fn seed(number: u8) -> [u8; 32] {
    let mut seed = [0x5e; 32];
    seed[..8].copy_from_slice(&u64::from(number - 1).to_be_bytes());
    seed
}

fn ephemeral(number: u8) -> Hash {
    split::<1>(&hkdf(b"handclasp/1 seed", &seed(number), &[], 32))[0]
}

/// The same as [`config`], for the independent peer.
fn setup(number: u8, other: u8, secret: bool) -> Setup {
    let (versions, chat, name) =
        if number == 1 { ((1, 3), (1, 4), "alder") } else { ((2, 5), (2, 3), "birch") };
    let suites = if secret { 0b10 } else { 0b01 };
    let mut others = vec![(1, name.as_bytes().to_vec())];
    if number == 1 {
        others.push((7, id(other).as_bytes().to_vec()));
    }
    // Streams by default: 1024 open at a time, 16 KiB each at the start.
    others.push((9, [1024_u32.to_be_bytes(), (16_u32 << 10).to_be_bytes()].concat()));
    Setup {
        identity: [number; 32],
        ephemeral: ephemeral(number),
        network: NETWORK.to_vec(),
        secret: secret.then(|| SECRET.to_vec()),
        hello: Hello {
            versions,
            incarnation: number.into(),
            sequence: 1,
            max_message: 1 << 20,
            window: 4 << 20,
            max_calls: 1024,
            idle: 15_000,
            max_record: 16_640,
            suites,
            protocol: Some(PROTOCOL.to_vec()),
            capabilities: vec![hello::Capability::new("chat", chat.0, chat.1)],
            others,
        },
        expected: Some(*id(other).as_bytes()),
        offered: suites,
        tamper: None,
        stubborn: false,
        asks: false,
        simultaneous: false,
    }
}

/// The section's text.
#[derive(Default)]
struct Page(String);

impl Page {
    /// A paragraph, in lines of at most 118 characters.
    fn prose(&mut self, text: &str) {
        let mut width = 0;
        for word in text.split(' ') {
            let length = word.chars().count();
            if width > 0 && width + 1 + length > 118 {
                self.0.push('\n');
                width = 0;
            } else if width > 0 {
                self.0.push(' ');
                width += 1;
            }
            self.0.push_str(word);
            width += length;
        }
        self.0.push_str("\n\n");
    }

    fn block(&mut self, fill: impl FnOnce(&mut Self)) {
        self.0.push_str("```text\n");
        fill(self);
        self.0.push_str("```\n\n");
    }

    /// A value, 32 bytes a line.
    fn value(&mut self, name: &str, bytes: &[u8]) {
        let _ = match bytes.len() {
            0 => writeln!(self.0, "{name}: empty"),
            1 => writeln!(self.0, "{name}, 1 byte"),
            length => writeln!(self.0, "{name}, {length} bytes"),
        };
        for line in bytes.chunks(32) {
            let _ = writeln!(self.0, "  {}", hex::encode(line));
        }
    }
}

/// Lets two independent peers shake hands.
fn shake(secret: bool) -> (Peer, Peer, Vec<u8>, Vec<u8>) {
    let (mut one, mut two) = (Peer::initiator(setup(1, 2, secret)), Peer::responder(setup(2, 1, secret)));
    let (mut from_one, mut from_two) = (Vec::new(), Vec::new());
    loop {
        let (a, b) = (one.take(), two.take());
        if a.is_empty() && b.is_empty() {
            assert_eq!((one.state, two.state), (State::Open, State::Open), "{:?} {:?}", one.over, two.over);
            return (one, two, from_one, from_two);
        }
        two.feed(&a);
        one.feed(&b);
        from_one.extend(a);
        from_two.extend(b);
    }
}

/// What one direction wrote: units of `u16(len) ‖ body`.
fn units(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while let [high, low, rest @ ..] = bytes {
        let (unit, rest) = rest.split_at(u16::from_be_bytes([*high, *low]).into());
        out.push(unit.to_vec());
        bytes = rest;
    }
    out
}

/// A whole link: a call, its reply, a goodbye.
fn talk(secret: bool) -> (Pair, Vec<u8>, Vec<u8>) {
    let mut pair = Pair::of(&config(1, 2, secret), &config(2, 1, secret), Some(id(2)));
    pair.establish();
    let early = (pair.initiator.pipe.log.clone(), pair.responder.pipe.log.clone());
    assert!(matches!(pair.call(Side::Initiator, "echo", b"ping", b"pong"), Owned::Reply { .. }));
    let now = pair.now;
    pair.initiator.link.goodbye(7, "done", now);
    pair.run();
    assert!(pair.closed(Side::Initiator).reason == pair.closed(Side::Responder).reason);
    (pair, early.0, early.1)
}

fn inputs(page: &mut Page) {
    page.block(|page| {
        for (number, who) in [(1, "I"), (2, "R")] {
            page.value(&format!("identity secret of {who} (Ed25519 seed)"), &[number; 32]);
            page.value(&format!("id of {who}"), id(number).as_bytes());
            page.value(&format!("ephemeral secret of {who} (X25519)"), &ephemeral(number));
            page.value(&format!("ephemeral public key of {who}"), &x25519_public(&ephemeral(number)));
        }
        page.value("network id, \"orchard\"", NETWORK);
    });
}

fn variant(page: &mut Page, secret: bool) {
    let (mut pair, early_i, early_r) = talk(secret);
    let (one, two, from_one, from_two) = shake(secret);
    assert_eq!(hex::encode(&early_i), hex::encode(&from_one), "the initiator's handshake");
    assert_eq!(hex::encode(&early_r), hex::encode(&from_two), "the responder's handshake");
    let (log_i, log_r) = (units(&pair.initiator.pipe.log[8..]), units(&pair.responder.pipe.log));
    let (noise, keys) = (one.noise.as_ref().expect("shaken"), one.keys.clone().expect("shaken"));

    page.block(|page| {
        page.value("preamble", &early_i[..8]);
        if let Some(psk) = one.setup.psk() {
            page.value("cluster secret, \"correct horse battery staple\"", SECRET);
            page.value("psk", &psk);
        }
        page.value("prologue", &one.setup.prologue(&early_i[..8]));
        page.value("msg1", &log_i[0]);
        page.value("msg2", &log_r[0]);
        page.value("X25519 result", &noise.shared);
    });
    page.prose("Noise's symmetric state behind each step, the same on both sides:");
    page.block(|page| {
        for step in &noise.steps {
            let _ = writeln!(page.0, "{}", step.what);
            for (name, value) in [("h ", Some(step.h)), ("ck", Some(step.ck)), ("k ", step.k)] {
                if let Some(value) = value {
                    let _ = writeln!(page.0, "  {name} {}", hex::encode(value));
                }
            }
        }
        let [k1, k2, master] = noise.split();
        let _ = writeln!(page.0, "Split");
        for (name, value) in [("k1    ", k1), ("k2    ", k2), ("master", master)] {
            let _ = writeln!(page.0, "  {name} {}", hex::encode(value));
        }
    });
    page.prose("Authentication, R first:");
    page.block(|page| {
        for (who, peer, auth, answered, record) in [
            ("R", &two, &two.auth_r, None, &log_r[1]),
            ("I", &one, &one.auth_i, Some(&two.auth_r[..]), &log_i[1]),
        ] {
            let hello = peer.setup.hello.bytes();
            let bytes = signed(who == "I", &noise.h, answered, &hello, &peer.setup.id());
            page.value(&format!("hello of {who}"), &hello);
            page.value(&format!("signed by {who}"), &bytes);
            page.value(&format!("signature of {who}"), &auth[auth.len() - 64..]);
            page.value(&format!("AUTH_{who}"), auth);
            page.value(&format!("SHA-256(AUTH_{who})"), &sha256(&[auth]));
            page.value(&format!("record of AUTH_{who}, with its length"), &lengthy(record));
        }
    });
    page.prose("Keys and outcome:");
    page.block(|page| {
        page.value("traffic key I→R", &keys.i_to_r);
        page.value("traffic key R→I", &keys.r_to_i);
        page.value("exporter secret", &keys.exporter);
        page.value("channel binding", &keys.binding);
        page.value("export(\"label\", \"context\", 16)", &keys.export(b"label", b"context", 16));
        let outcome = one.outcome.as_ref().expect("shaken");
        page.value("outcome bytes", &outcome.bytes());
        page.value("outcome digest", &outcome.digest());
    });
    let link = pair.link(Side::Initiator).peer().expect("established");
    assert_eq!(link.channel_binding, keys.binding);

    page.prose(if secret {
        "STATUS:"
    } else {
        "Traffic, in the order of each direction: STATUS; a call of the service `echo` with the body `ping` and its reply `pong`; \
         credit; goodbye with code 7 and the text `done`; CLOSE."
    });
    page.block(|page| {
        for (direction, key, log) in [("R→I", keys.r_to_i, &log_r), ("I→R", keys.i_to_r, &log_i)] {
            let mut cipher = Cipher::new(key);
            for record in log.iter().skip(2).take(if secret { 1 } else { usize::MAX }) {
                if secret && direction == "I→R" {
                    break;
                }
                let number = cipher.counter;
                let plaintext = cipher.open(&[], record).expect("the link's record opens under these keys");
                let frames = Frame::read_all(&plaintext).expect("whole frames");
                let names: Vec<_> = frames.iter().map(Frame::name).collect();
                page.value(
                    &format!("{direction} record {number}, plaintext: {}", names.join(", ")),
                    &plaintext,
                );
                page.value(&format!("{direction} record {number}, with its length"), &lengthy(record));
            }
        }
    });
}

fn render() -> String {
    let mut page = Page::default();
    page.prose(
        "Every value is in hex, 32 bytes a line. Both sides have random inputs that are fixed here: the identity secrets and the \
         ephemeral secrets.",
    );
    inputs(&mut page);
    page.prose("### 11.1 Without a cluster secret (suite 1)");
    variant(&mut page, false);
    page.prose("### 11.2 With a cluster secret (suite 2)");
    page.prose(
        "The same inputs, with the suites of a side that has a cluster secret in preamble and hellos.",
    );
    variant(&mut page, true);
    page.prose("### 11.3 Implementation note");
    page.prose(
        "This is not normative: a peer takes its ephemeral secret from a random generator of its choice. The library's link takes \
         the first 32 bytes of HKDF(salt = \"handclasp/1 seed\", ikm = seed, info = \"\"), where *seed* is the 32 bytes that its owner \
         gives it; above they are:",
    );
    page.block(|page| {
        page.value("seed of I", &seed(1));
        page.value("seed of R", &seed(2));
    });
    page.0.trim_end().to_owned() + "\n"
}

#[test]
fn k1_h2_the_documents_worked_example_is_what_the_links_do() {
    assert_worked_example("wire.md", &render());
}
