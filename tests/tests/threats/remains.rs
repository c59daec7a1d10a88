//! K6, over a whole life of two links: which of their secrets are still somewhere in memory when they are gone, in the
//! heap or below on the stack. What lies on a stack gets to the heap in the gaps of values that are moved there.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ed25519_dalek::hazmat::ExpandedSecretKey;
use handclasp::crypto::{Cipher, CryptoError, CryptoProvider, RustCrypto, Secret, Seed};
use handclasp::identity::keyfile;
use handclasp::{
    Action, ClusterSecret, Config, Dial, Instant, Link, Message, NodeId, Phase, Ready, Reason, SecretKey,
    Signer, Trust,
};
use handclasp_sim::watched::{Key, Watch, Watched};

/// One test at a time: what one reads to search it is a copy, which another would find.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Secrets are kept under a mask, so that keeping them leaves nothing to be found.
const MASK: u8 = 0xa7;

/// Notes every secret that the cryptography sees, with a word for what it is.
#[derive(Debug, Default)]
struct Notes(Mutex<BTreeMap<[u8; 32], &'static str>>);

/// What was found, with one place of each.
type Found = BTreeMap<&'static str, String>;

impl Notes {
    fn note(&self, what: &'static str, secret: &[u8]) {
        for part in secret.chunks_exact(32) {
            let mut masked = [MASK; 32];
            masked.iter_mut().zip(part).for_each(|(masked, byte)| *masked ^= byte);
            self.0.lock().expect("no panic").entry(masked).or_insert(what);
        }
    }

    /// Those of which half is somewhere in the memory that this process can write. Of this thread's stack only what is
    /// [`deep`] is looked at: above it are the search itself and its callers.
    fn found(&self) -> Found {
        let notes = self.0.lock().expect("no panic");
        let wanted: BTreeMap<[u8; 16], &'static str> = notes
            .iter()
            .flat_map(|(secret, what)| {
                let (first, second) = secret.split_at(16);
                [first, second].map(|half| (half.try_into().expect("16 bytes"), *what))
            })
            .collect();
        // The first two bytes of each, to pass over all the rest quickly.
        let mut starts = vec![false; 1 << 16];
        for half in wanted.keys() {
            starts[pair_at(&[half[0] ^ MASK, half[1] ^ MASK])] = true;
        }
        let mut found = Found::new();
        // On the part of the stack that is not searched.
        let mut buffer = [0_u8; 16 << 10];
        let here = buffer.as_ptr() as usize;
        let mut memory = File::open("/proc/self/mem").expect("own memory");
        for area in writable() {
            let end = if (area.from..area.to).contains(&here) { here - DEEP / 2 } else { area.to };
            let mut at = area.from;
            // Pieces overlap by what a half at their border needs.
            while at + 16 <= end {
                let length = buffer.len().min(end - at);
                let piece = &mut buffer[..length];
                if memory.seek(SeekFrom::Start(at as u64)).and_then(|_| memory.read_exact(piece)).is_err() {
                    break;
                }
                for start in (0..length - 15).step_by(PAGE) {
                    let end = (start + PAGE).min(length - 15);
                    if piece[start..end + 15] == ZEROS[..end + 15 - start] {
                        continue;
                    }
                    for place in start..end {
                        if starts[pair_at(&piece[place..])] {
                            let mut half = [MASK; 16];
                            half.iter_mut().zip(&piece[place..]).for_each(|(half, byte)| *half ^= byte);
                            if let Some(what) = wanted.get(&half) {
                                found.entry(what).or_insert_with(|| area.place(at + place));
                            }
                        }
                    }
                }
                at += if length == buffer.len() { length - 15 } else { length };
            }
        }
        // It holds what it was looked for in.
        buffer.fill(0);
        black_box(&mut buffer);
        found
    }
}

/// What is looked at, or passed over, at a time.
const PAGE: usize = 1024;

/// A page of nothing, with what a secret at its border needs.
const ZEROS: [u8; PAGE + 15] = [0; PAGE + 15];

/// Two bytes as a number.
fn pair_at(bytes: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// A part of this process's memory.
struct Area {
    from: usize,
    to: usize,
    name: String,
}

impl Area {
    fn place(&self, at: usize) -> String {
        let Self { from, to, name } = self;
        format!("{at:x} of {from:x}-{to:x} {name}, {} above its start, {} below its end", at - from, to - at)
    }
}

/// The writable parts of this process's memory that are no stack by name: that one is the main thread's, on which
/// nothing of a test runs.
fn writable() -> Vec<Area> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("own maps");
    let address = |text: &str| usize::from_str_radix(text, 16).expect("an address");
    let writable = maps.lines().filter(|line| line.contains(" rw") && !line.contains("[stack"));
    writable
        .map(|line| {
            let (range, rest) = line.split_once(' ').expect("a range");
            let (from, to) = range.split_once('-').expect("two ends");
            let name = rest.split_whitespace().nth(4).unwrap_or("without a name");
            Area { from: address(from), to: address(to), name: name.to_owned() }
        })
        .collect()
}

/// So far below their caller run the works whose remains are looked for; the search itself takes less than half of it.
const DEEP: usize = 128 << 10;

/// Runs `work` on a part of the stack that the search looks at.
#[inline(never)]
#[allow(clippy::large_stack_arrays)] // the stack is what it is about
fn deep<T>(work: impl FnOnce() -> T) -> T {
    let mut above = [0_u8; DEEP];
    black_box(&mut above);
    let outcome = below(work);
    black_box(&mut above);
    outcome
}

#[inline(never)]
fn below<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Overwrites what the test itself has left on the stack.
#[inline(never)]
#[allow(clippy::large_stack_arrays)]
fn scrub() {
    let mut stack = [0_u8; 64 << 10];
    black_box(&mut stack);
}

impl Watch for Notes {
    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        self.note("an ephemeral key", secret.expose());
        RustCrypto.x25519_public(secret)
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
        let shared = RustCrypto.x25519(secret, public)?;
        self.note("the result of a key exchange", shared.expose());
        Ok(shared)
    }

    fn hkdf_sha256(
        &self,
        salt: &[u8],
        key_material: &[u8],
        info: &[&[u8]],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        RustCrypto.hkdf_sha256(salt, key_material, info, out)?;
        match (info, out.len()) {
            // The last part is the channel binding, which is no secret.
            ([b"handclasp/1 traffic keys", ..], 128) => {
                self.note("a traffic key or the exporter", &out[..96]);
            }
            ([], 96) => self.note("a key of the handshake's end", out),
            ([], _) => self.note("a chaining key or a key of the handshake", out),
            _ => self.note("what a secret or a seed was stretched to", out),
        }
        Ok(())
    }

    fn cipher(&self, cipher: Cipher, secret: &Secret<32>) -> Result<Key, CryptoError> {
        self.note("a cipher's key", secret.expose());
        // `Key` keeps its secret too, and wipes it.
        Key::new(cipher, secret)
    }
}

/// Secret bytes that no other run has, nor another test. They have one place from the start, as a program's own should.
fn secret(notes: &Notes, what: &'static str, run: u64, number: u8) -> Secret<32> {
    let mut secret = Secret::default();
    let info: [&[u8]; 2] = [&run.to_be_bytes(), &[number]];
    RustCrypto.hkdf_sha256(b"a test of what remains", &[], &info, secret.expose_mut()).expect("32 bytes");
    notes.note(what, secret.expose());
    secret
}

/// Notes what signatures of this identity are made with. What it leaves on the stack is the caller's to [`scrub`].
#[inline(never)]
fn note_expanded(notes: &Notes, seed: &Secret<32>) {
    let expanded = ExpandedSecretKey::from(seed.expose());
    notes.note("an identity's scalar", expanded.scalar.as_bytes());
    notes.note("an identity's prefix", &expanded.hash_prefix);
}

fn key(notes: &Notes, run: u64, number: u8) -> SecretKey {
    let seed = secret(notes, "an identity's seed", run, number);
    note_expanded(notes, &seed);
    scrub();
    SecretKey::from_secret(seed)
}

fn node(own: SecretKey, other: NodeId, notes: &Watched<Notes>, cluster: &Secret<32>) -> Arc<Config> {
    Config::builder(own, 1)
        .trust(Trust::listed([other]))
        .provider(notes.clone())
        .cluster_secret(ClusterSecret::new(cluster.expose().as_slice()).expect("a secret"))
        .build()
        .expect("a valid configuration")
}

/// Two configurations whose secrets stand nowhere else; `secrets` are the cluster secrets of both sides.
fn nodes(notes: &Watched<Notes>, run: u64, secrets: [u8; 2]) -> [Arc<Config>; 2] {
    let (a, b) = (key(notes, run, 1), key(notes, run, 2));
    let (a_id, b_id) = (a.node_id(), b.node_id());
    let [first, second] = secrets.map(|number| secret(notes, "a cluster secret", run, number));
    [node(a, b_id, notes, &first), node(b, a_id, notes, &second)]
}

/// Two links of these nodes.
fn links(notes: &Notes, both: &[Arc<Config>; 2], run: u64, now: Instant) -> [Link; 2] {
    let [i, r] = both;
    let [i_seed, r_seed] =
        [8, 9].map(|number| Seed::from_secret(secret(notes, "a link's seed", run, number)));
    let initiator = Link::initiator(i, Dial::to(r.node_id()), &i_seed, now);
    [initiator, Link::responder(r, 1, &r_seed, now)]
}

/// Lets `from` act and `to` read what it writes. Events are looked at and not kept.
fn pass_on(from: &mut Link, to: &mut Link, now: Instant) {
    loop {
        match from.poll(now, Ready::ALL) {
            Action::Event(_) => {}
            Action::Send => {
                let bytes = from.transmit(now);
                let space = to.recv_space();
                let count = bytes.len().min(space.len());
                space[..count].copy_from_slice(&bytes[..count]);
                to.received(count, now);
                let all = if count == 0 { bytes.len() } else { count };
                from.transmitted(all, now);
            }
            Action::Timeout(_) => return,
        }
    }
}

fn step(links: &mut [Link; 2], step: u64, now: Instant) {
    let [one, other] = links;
    if step & 1 == 0 { pass_on(one, other, now) } else { pass_on(other, one, now) }
}

/// A handshake with a cluster secret, messages, new keys in both directions, a goodbye; then everything is
/// dropped.
#[test]
fn k6_nothing_secret_is_left_in_the_heap_when_links_and_configurations_are_gone() {
    let _turn = turn();
    let notes = Watched::new(Notes::default());
    deep(|| live(&notes));
    assert_eq!(notes.found(), Found::new(), "left in memory");
}

fn live(notes: &Watched<Notes>) {
    let (now, run) = (Instant::from_nanos(1_000_000_000), 0x00f0_0d1e_55ec);
    let both = nodes(notes, run, [3, 3]);
    let mut links = links(notes, &both, run, now);
    for number in 0..24 {
        step(&mut links, number, now);
        if (6..18).contains(&number) {
            let link = &mut links[usize::from(number % 2 == 0)];
            assert_eq!(link.phase(), Phase::Established);
            link.rekey(now);
            link.send(Message::new("s", &[7; 3000])).expect("taken");
        }
    }
    assert!(links.iter().all(|link| link.stats().rekeys_sent > 3));
    // The search has to find what is there. Of an established link there are the traffic keys, and nothing else of
    // its handshake.
    let found = notes.found();
    let (there, gone) = (
        ["a cipher's key", "an identity's seed", "an identity's scalar", "an identity's prefix"],
        [
            "a cluster secret",
            "a link's seed",
            "an ephemeral key",
            "the result of a key exchange",
            "a chaining key or a key of the handshake",
        ],
    );
    for what in there {
        assert!(found.contains_key(what), "{what} is in use, and the search finds {found:?}");
    }
    for what in gone {
        assert_eq!(found.get(what), None, "{what} outlives its use");
    }
    links[0].goodbye(0, "", now);
    (0..6).for_each(|number| step(&mut links, number, now));
    assert!(links.iter().all(Link::is_finished));
}

/// Links that go in the middle of their handshake, at each step of it, and one that another cluster secret ends.
#[test]
fn k6_nothing_secret_is_left_in_the_heap_by_a_handshake_that_fails() {
    let _turn = turn();
    let now = Instant::from_nanos(1_000_000_000);
    for (steps, secrets) in (0..6).map(|steps| (steps, [3, 3])).chain([(4, [3, 4])]) {
        let notes = Watched::new(Notes::default());
        let run = 0x00f0_0d1e_56ec + steps + 16 * u64::from(secrets[1]);
        deep(|| {
            let both = nodes(&notes, run, secrets);
            let mut links = links(&notes, &both, run, now);
            (0..steps).for_each(|number| step(&mut links, number, now));
            let ended = links[1].closed().map(|closed| &closed.reason);
            assert_eq!(ended, (secrets[1] == 4).then_some(&Reason::KeyExchangeFailed));
        });
        assert_eq!(notes.found(), Found::new(), "left in memory after {steps} steps with {secrets:?}");
    }
}

/// A key file that is written and read: neither the key nor its text is left.
#[test]
fn k6_nothing_secret_is_left_in_the_heap_by_a_key_file() {
    let _turn = turn();
    let notes = Notes::default();
    let path = std::env::temp_dir().join(format!("handclasp-threats-{}", std::process::id()));
    deep(|| {
        let seed = secret(&notes, "the seed of a key", 0x00f0_0d1e_57ec, 1);
        let created = keyfile::create(&path, &Seed::from_secret(seed)).expect("a key file");
        let loaded = keyfile::load(&path).expect("the same");
        assert_eq!(created.node_id(), loaded.node_id());
        let text = loaded.to_text();
        // All but its prefix and its checksum, which are no secret.
        notes.note("the text of a key", &text.expose().as_bytes()[7..7 + 32]);
        let found = notes.found();
        assert!(found.contains_key("the text of a key"), "it is in use, and the search finds {found:?}");
    });
    std::fs::remove_file(&path).expect("the file is there");
    assert_eq!(notes.found(), Found::new(), "left in memory");
}

/// What uses a secret, with its name.
type Operation = (&'static str, fn(&Secret<32>));

/// Each operation with a secret, by itself: its copies on the stack are overwritten.
#[test]
fn k6_an_operation_leaves_nothing_secret_on_the_stack() {
    let _turn = turn();
    let operations: [Operation; 9] = [
        ("a public key", |secret| {
            black_box(RustCrypto.x25519_public(secret));
        }),
        ("a key exchange", |secret| drop(RustCrypto.x25519(secret, &[9; 32]).expect("a good point"))),
        ("a hash", |secret| {
            black_box(RustCrypto.sha256(&[b"a", secret.expose()]));
        }),
        ("key material", |secret| {
            let mut out = Secret::<96>::default();
            RustCrypto
                .hkdf_sha256(&[1; 32], secret.expose(), &[b"info"], out.expose_mut())
                .expect("96 bytes");
        }),
        ("a chaining key", |secret| {
            let mut out = Secret::<96>::default();
            RustCrypto.hkdf_sha256(secret.expose(), &[1; 32], &[], out.expose_mut()).expect("96 bytes");
        }),
        ("a cipher", |secret| {
            let key = RustCrypto.cipher(Cipher::ChaChaPoly, secret).expect("the cipher");
            for length in [0, 1, 64, 300, 5000] {
                let mut text = vec![1; length];
                let tag = key.seal(&[1; 12], &[], &mut text).expect("sealed");
                key.open(&[1; 12], &[], &mut text, &tag).expect("opened");
            }
        }),
        ("an identity", |secret| drop(SecretKey::from_secret(secret.clone()))),
        ("an identity of a seed", |secret| drop(SecretKey::from_seed(&Seed::from_secret(secret.clone())))),
        ("a signature", |secret| {
            black_box(SecretKey::from_secret(secret.clone()).sign(b"a message"))
                .expect("a key in memory signs");
        }),
    ];
    for (number, (name, operation)) in (1..).zip(operations) {
        let notes = Notes::default();
        let used = deep(|| {
            let used = secret(&notes, "the secret", 0x00f0_0d1e_58ec, number);
            note_expanded(&notes, &used);
            scrub();
            used
        });
        deep(|| operation(&used));
        drop(used);
        assert_eq!(notes.found(), Found::new(), "left by {name}");
    }
    // The same without care, which the search has to find.
    let notes = Notes::default();
    let used = secret(&notes, "the secret", 0x00f0_0d1e_58ec, 0);
    deep(|| {
        black_box(*used.expose());
    });
    drop(used);
    let found = notes.found();
    assert!(found.contains_key("the secret"), "a copy lies on the stack, and the search finds {found:?}");
}
