//! K6, over a whole life of two links: which of their secrets are still somewhere in the heap when they are gone.
#![cfg(target_os = "linux")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Mutex;

use handclasp::crypto::{Cipher, CryptoError, CryptoProvider, RustCrypto, Secret};
use handclasp::{ClusterSecret, Config, Message, SecretKey, Signer, Trust};
use handclasp_sim::watched::{Key, Watch, Watched};
use handclasp_sim::{Owned, Pair, Side};

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
        let starts: BTreeSet<u8> = wanted.keys().map(|half| half[0]).collect();
        let starts: [bool; 256] = std::array::from_fn(|byte| starts.contains(&(byte as u8)));
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
                piece.iter_mut().for_each(|byte| *byte ^= MASK);
                for place in 0..length - 15 {
                    if starts[usize::from(piece[place])] {
                        found.extend(wanted.get(&piece[place..place + 16]));
                    }
                }
                at += if length == buffer.len() { length - 15 } else { length };
            }
        }
        found
    }
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
            ([b"handclasp/1 traffic keys", ..], 128) => self.note("a traffic key or the exporter", &out[..96]),
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

fn node(own: [u8; 32], other: &SecretKey, notes: &Watched<Notes>, cluster: &[u8]) -> std::sync::Arc<Config> {
    notes.note("an identity's seed", &own);
    Config::builder(SecretKey::from_bytes(own), 1)
        .trust(Trust::listed([other.node_id()]))
        .provider(notes.clone())
        .cluster_secret(ClusterSecret::new(cluster).expect("a secret"))
        .build()
        .expect("a valid configuration")
}

/// A handshake with a cluster secret, messages, new keys in both directions, a goodbye; then everything is dropped.
#[test]
fn k6_nothing_secret_is_left_in_the_heap_when_links_and_configurations_are_gone() {
    let notes = Watched::new(Notes::default());
    // Bytes that stand nowhere else.
    let seed = |number: u8| RustCrypto.sha256(&[b"a seed for this test alone", &[number]]);
    let cluster = seed(3);
    notes.note("the cluster secret", &cluster);
    let (a, b) = (SecretKey::from_bytes(seed(1)), SecretKey::from_bytes(seed(2)));
    let (i, r) = (node(seed(1), &b, &notes, &cluster), node(seed(2), &a, &notes, &cluster));
    drop(a);
    let mut pair = Pair::seeded(&i, &r, Some(b.node_id()), 0x00f0_0d1e_55ec);
    drop(b);
    pair.establish();
    for _ in 0..3 {
        for side in [Side::Initiator, Side::Responder] {
            let now = pair.now;
            pair.link(side).rekey(now);
            pair.link(side).send(Message::new("s", vec![7; 3000])).expect("taken");
            pair.run();
        }
    }
    let alive = notes.found();
    assert!(alive.contains("a cipher's key") && alive.contains("an identity's seed"), "the search finds nothing: {alive:?}");
    let now = pair.now;
    pair.initiator.link.goodbye(0, "", now);
    pair.run();
    assert!(matches!(pair.responder.events.last(), Some(Owned::Closed(_))));
    drop((pair, i, r));
    assert_eq!(notes.found(), BTreeSet::new(), "left in the heap");
}
