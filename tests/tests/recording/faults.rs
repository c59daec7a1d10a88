//! Cryptography that fails: a recording has that too, and its replay needs no cryptography to fail again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use handclasp::crypto::{Cipher, CryptoError, CryptoProvider, RustCrypto, Secret};
use handclasp::identity::SignerError;
use handclasp::recording::{Recorder, Replay};
use handclasp::{Action, Config, Dial, Instant, Link, Message, NodeId, Ready, SecretKey, Signer};
use handclasp_sim::watched::{At, Key, Tag, Watch, Watched};
use handclasp_sim::{Counting, Pair, Side, builder, config, id, key, seed};

use crate::support::{ROOM, SIDES, recorder, replay};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Exchange,
    Derive,
    Verify,
    Cipher,
    Seal,
    Open,
}

/// Fails one operation of a kind, the one behind so many.
#[derive(Debug)]
struct Faulty {
    part: Part,
    left: AtomicUsize,
}

impl Faulty {
    fn check(&self, part: Part, error: CryptoError) -> Result<(), CryptoError> {
        if part == self.part && self.left.fetch_sub(1, Ordering::Relaxed) == 0 { Err(error) } else { Ok(()) }
    }
}

impl Watch for Faulty {
    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
        self.check(Part::Exchange, CryptoError::ZeroSharedSecret)?;
        RustCrypto.x25519(secret, public)
    }

    fn hkdf_sha256(
        &self,
        salt: &[u8],
        material: &[u8],
        info: &[&[u8]],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.check(Part::Derive, CryptoError::BadLength)?;
        RustCrypto.hkdf_sha256(salt, material, info, out)
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        self.check(Part::Verify, CryptoError::BadSignature)?;
        RustCrypto.verify(public, message, signature)
    }

    fn cipher(&self, cipher: Cipher, secret: &Secret<32>) -> Result<Key, CryptoError> {
        self.check(Part::Cipher, CryptoError::UnsupportedCipher)?;
        Key::new(cipher, secret)
    }

    fn seal(&self, key: &Key, at: At, text: &mut [u8]) -> Result<Tag, CryptoError> {
        self.check(Part::Seal, CryptoError::BadLength)?;
        key.seal(at, text)
    }

    fn open(&self, key: &Key, at: At, text: &mut [u8], tag: &Tag) -> Result<(), CryptoError> {
        self.check(Part::Open, CryptoError::BadTag)?;
        key.open(at, text, tag)
    }
}

#[derive(Debug)]
struct Silent(SecretKey, SignerError);

impl Signer for Silent {
    fn node_id(&self) -> NodeId {
        self.0.node_id()
    }

    fn sign(&self, _message: &[u8]) -> Result<[u8; 64], SignerError> {
        Err(self.1)
    }
}

/// Lets a link write to another one what it has, in which there may be nothing to write where sealing failed.
fn carry(from: &mut Link, to: &mut Link, now: Instant) {
    loop {
        match from.poll(now, Ready::ALL) {
            Action::Event(_) => {}
            Action::Send => {
                let mut bytes = from.transmit(now).to_vec();
                from.transmitted(bytes.len(), now);
                while !bytes.is_empty() {
                    let space = to.recv_space();
                    let count = space.len().min(bytes.len());
                    space[..count].copy_from_slice(&bytes[..count]);
                    if count == 0 {
                        break;
                    }
                    to.received(count, now);
                    bytes.drain(..count);
                }
            }
            Action::Timeout(_) => return,
        }
    }
}

/// Runs two links, one of which was given a fault; gives the ends that they came to.
fn run(one: &Arc<Config>, two: &Arc<Config>) -> [&'static str; 2] {
    let now = Instant::ZERO;
    let mut one = Link::initiator(one, Dial::to(id(2)), &seed(0), now);
    let mut two = Link::responder(two, 1, &seed(1), now);
    // A link whose cryptography fails before it begins is over, and no link to record.
    let recorded = [&mut one, &mut two]
        .map(|link| link.closed().is_some() || link.record(Recorder::redacted(ROOM)).is_ok());
    assert_eq!(recorded, [true; 2]);
    for round in 0..6 {
        for link in [&mut one, &mut two] {
            drop(link.send(Message::new("a service", "a body")));
            if round == 4 {
                link.rekey(now);
            }
        }
        carry(&mut one, &mut two, now);
        carry(&mut two, &mut one, now);
    }
    [one, two].map(|mut link| {
        if let Some(recording) = link.recording() {
            assert!(replay(&recording).steps > 3);
        }
        link.closed().map_or("alive", |closed| closed.reason.name())
    })
}

#[test]
fn o5_a_run_in_which_cryptography_fails_replays_without_any() {
    let mut ends = std::collections::BTreeSet::new();
    for part in [Part::Exchange, Part::Derive, Part::Verify, Part::Cipher, Part::Seal, Part::Open] {
        for left in 0..14 {
            for side in SIDES {
                let provider = Watched::new(Faulty { part, left: AtomicUsize::new(left) });
                let faulty = |number, peer| builder(number, &[peer]).provider(provider.clone()).build();
                let (one, two) = match side {
                    Side::Initiator => (faulty(1, 2).expect("valid"), config(2, &[1])),
                    Side::Responder => (config(1, &[2]), faulty(2, 1).expect("valid")),
                };
                ends.extend(run(&one, &two));
            }
        }
    }
    for error in [SignerError::Unavailable, SignerError::Refused] {
        let silent = Config::builder(Silent(key(1), error), 1).build().expect("valid");
        ends.extend(run(&silent, &config(2, &[1])));
    }
    let wanted = ["alive", "decrypt_failed", "key_exchange_failed", "denied", "bad_signature"];
    for name in [&wanted[..], &["provider_failed", "signer_failed"]].concat() {
        assert!(ends.contains(name), "no link ended as {name}: {ends:?}");
    }
}

#[test]
fn o5_a_replay_asks_the_provider_that_it_is_given() {
    for exact in [false, true] {
        let nodes = [builder(1, &[2]).build().expect("valid"), builder(2, &[1]).build().expect("valid")];
        let mut pair = Pair::of(&nodes[0], &nodes[1], Some(id(2)));
        pair.link(Side::Initiator).record(recorder(exact, 0, Side::Initiator)).expect("a fresh link");
        pair.establish();
        let recording = pair.link(Side::Initiator).recording().expect("it is recorded");
        let counting = Counting::default();
        let provider: Arc<dyn CryptoProvider> = Arc::new(counting.clone());
        let mut replay = Replay::with_provider(recording.as_bytes(), &provider).expect("a recording");
        replay.run().expect("it replays");
        // One exchange, one signature to check, two records in: all of it again with keys, and none without.
        let counts = (counting.exchanged.get(), counting.verified.get(), counting.opened.get() >= 2);
        assert_eq!(counts, if exact { (1, 1, true) } else { (0, 0, false) });
    }
}
