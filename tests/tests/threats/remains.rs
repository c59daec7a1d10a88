//! K6, over a whole life of two links: which of their secrets are still somewhere in the heap when they are gone.
#![cfg(target_os = "linux")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex};

use handclasp::crypto::Seed;
use handclasp::crypto::{Cipher, CryptoError, CryptoProvider, RustCrypto, Secret};
use handclasp::identity::keyfile;
use handclasp::{
    Action, ClusterSecret, Config, Dial, Instant, Link, Message, Phase, Ready, Reason, SecretKey, Signer,
    Trust,
};
use handclasp_sim::watched::{Key, Watch, Watched};

/// Secrets are kept under a mask, so that keeping them leaves nothing to be found.
const MASK: u8 = 0xa7;

/// Notes every secret that the cryptography sees, with a word for what it is.
#[derive(Debug, Default)]
struct Notes(Mutex<BTreeMap<[u8; 32], &'static str>>);

impl Notes {
    fn note(&self, what: &'static str, secret: &[u8]) {
        for part in secret.chunks_exact(32) {
            let mut masked = [MASK; 32];
            masked.iter_mut().zip(part).for_each(|(masked, byte)| *masked ^= byte);
            self.0.lock().expect("no panic").entry(masked).or_insert(what);
        }
    }

    /// Those of which half is somewhere in the memory of this process, its stacks apart.
    fn found(&self) -> BTreeSet<&'static str> {
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
        let mut found = BTreeSet::new();
        // On the stack, which is not searched.
        let mut buffer = [0_u8; 16 << 10];
        let here = buffer.as_ptr() as usize;
        let mut memory = File::open("/proc/self/mem").expect("own memory");
        for (from, to) in writable() {
            if (from..to).contains(&here) {
                continue;
            }
            let mut at = from;
            // Pieces overlap by what a half at their border needs.
            while at + 16 <= to {
                let length = buffer.len().min(to - at);
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
                            found.extend(wanted.get(&half));
                        }
                    }
                }
                at += if length == buffer.len() { length - 15 } else { length };
            }
        }
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

/// The writable parts of this process's memory that are no stack by name.
fn writable() -> Vec<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("own maps");
    let address = |text: &str| usize::from_str_radix(text, 16).expect("an address");
    let writable = maps.lines().filter(|line| line.contains(" rw") && !line.contains("[stack"));
    writable
        .map(|line| {
            let (range, _) = line.split_once(' ').expect("a range");
            let (from, to) = range.split_once('-').expect("two ends");
            (address(from), address(to))
        })
        .collect()
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

fn node(own: [u8; 32], other: &SecretKey, notes: &Watched<Notes>, cluster: &[u8]) -> Arc<Config> {
    notes.note("an identity's seed", &own);
    Config::builder(SecretKey::from_bytes(own), 1)
        .trust(Trust::listed([other.node_id()]))
        .provider(notes.clone())
        .cluster_secret(ClusterSecret::new(cluster).expect("a secret"))
        .build()
        .expect("a valid configuration")
}

/// Two configurations whose secrets stand nowhere else; `secrets` are the cluster secrets of both sides.
fn nodes(notes: &Watched<Notes>, run: u64, secrets: [u8; 2]) -> [Arc<Config>; 2] {
    // Bytes that no other run has, nor another test.
    let seed =
        |number: u8| RustCrypto.sha256(&[b"a seed for this test alone", &run.to_be_bytes(), &[number]]);
    let (a, b) = (SecretKey::from_bytes(seed(1)), SecretKey::from_bytes(seed(2)));
    for secret in secrets {
        notes.note("a cluster secret", &seed(secret));
    }
    let i = node(seed(1), &b, notes, &seed(secrets[0]));
    let r = node(seed(2), &a, notes, &seed(secrets[1]));
    [i, r]
}

/// The search has to find what is there.
fn finds(notes: &Notes, what: &str) {
    let found = notes.found();
    assert!(found.contains(what), "{what} is in use, and the search finds {found:?}");
}

/// Overwrites what calls before have left on this thread's stack: a compiler moves values with the gaps in them,
/// and so carries such remains to the heap.
#[inline(never)]
#[allow(clippy::large_stack_arrays)] // the stack is what it is about
fn scrub() {
    let mut stack = [0_u8; 256 << 10];
    std::hint::black_box(&mut stack);
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
        scrub();
    }
}

/// Two links of these nodes.
fn links(nodes: &[Arc<Config>; 2], run: u64, now: Instant) -> [Link; 2] {
    let [i, r] = nodes;
    scrub();
    let initiator = Link::initiator(i, Dial::to(r.node_id()), &handclasp_sim::seed(2 * run), now);
    scrub();
    let responder = Link::responder(r, 1, &handclasp_sim::seed(2 * run + 1), now);
    scrub();
    [initiator, responder]
}

fn step(links: &mut [Link; 2], step: u64, now: Instant) {
    let [one, other] = links;
    if step & 1 == 0 { pass_on(one, other, now) } else { pass_on(other, one, now) }
}

/// A handshake with a cluster secret, messages, new keys in both directions, a goodbye; then everything is
/// dropped.
#[test]
#[ignore = "a compiler moves values with what lay in their gaps: what it leaves changes with every layout (docs/threats.md)"]
fn k6_nothing_secret_is_left_in_the_heap_when_links_and_configurations_are_gone() {
    let (notes, now, run) =
        (Watched::new(Notes::default()), Instant::from_nanos(1_000_000_000), 0x00f0_0d1e_55ec);
    let both = nodes(&notes, run, [3, 3]);
    let mut links = links(&both, run, now);
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
    finds(&notes, "a cipher's key");
    finds(&notes, "an identity's seed");
    // Of an established link there are the traffic keys, and nothing else of its handshake.
    let found = notes.found();
    for what in
        ["an ephemeral key", "the result of a key exchange", "a chaining key or a key of the handshake"]
    {
        assert!(!found.contains(what), "{what} outlives the handshake");
    }
    links[0].goodbye(0, "", now);
    (0..6).for_each(|number| step(&mut links, number, now));
    assert!(links.iter().all(Link::is_finished));
    drop((links, both));
    assert_eq!(notes.found(), BTreeSet::new(), "left in the heap");
}

/// Links that go in the middle of their handshake, at each step of it, and one that another cluster secret ends.
#[test]
#[ignore = "a compiler moves values with what lay in their gaps: what it leaves changes with every layout (docs/threats.md)"]
fn k6_nothing_secret_is_left_in_the_heap_by_a_handshake_that_fails() {
    let now = Instant::from_nanos(1_000_000_000);
    for (steps, secrets) in (0..6).map(|steps| (steps, [3, 3])).chain([(4, [3, 4])]) {
        let notes = Watched::new(Notes::default());
        let run = 0x00f0_0d1e_56ec + steps + 16 * u64::from(secrets[1]);
        let both = nodes(&notes, run, secrets);
        let mut links = links(&both, run, now);
        (0..steps).for_each(|number| step(&mut links, number, now));
        let ended = links[1].closed().map(|closed| &closed.reason);
        assert_eq!(ended, (secrets[1] == 4).then_some(&Reason::KeyExchangeFailed));
        drop((links, both));
        assert_eq!(notes.found(), BTreeSet::new(), "left in the heap after {steps} steps with {secrets:?}");
    }
}

/// A key file that is written and read: neither the key nor its text is left.
#[test]
fn k6_nothing_secret_is_left_in_the_heap_by_a_key_file() {
    let notes = Notes::default();
    let path = std::env::temp_dir().join(format!("handclasp-threats-{}", std::process::id()));
    let seed = RustCrypto.sha256(&[b"the seed of a key file"]);
    let created = keyfile::create(&path, &Seed::new(seed)).expect("a key file");
    let loaded = keyfile::load(&path).expect("the same");
    assert_eq!(created.node_id(), loaded.node_id());
    {
        let text = loaded.to_text();
        // All but its prefix and its checksum, which are no secret.
        notes.note("the text of a key", &text.expose().as_bytes()[7..7 + 32]);
        finds(&notes, "the text of a key");
    }
    std::fs::remove_file(&path).expect("the file is there");
    drop((created, loaded));
    assert_eq!(notes.found(), BTreeSet::new(), "left in the heap");
}
