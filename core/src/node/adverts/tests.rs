use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::crypto::{Cipher, CipherKey, CryptoError, RustCrypto, Secret, Seed};
use crate::hello::HelloPart;
use crate::identity::{InvalidNodeId, SecretKey, SignerError};

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&Seed::new([n; 32]))
}

fn content(version: u64) -> AdvertContent {
    AdvertContent {
        version,
        created: UnixTime::from_secs(1_803_902_400),
        addresses: [
            DialAddress { weight: 9, address: "b:1".into() },
            DialAddress { weight: 0x0a0b, address: "a:1".into() },
        ]
        .into(),
        capabilities: [
            Capability::new("chat", 4..=7).unwrap().metadata(*b"meta"),
            Capability::new("zip", 1..=3).unwrap().required(),
        ]
        .into(),
    }
}

fn advert(n: u8, version: u64) -> Advert {
    Advert::sign(content(version), &key(n)).unwrap()
}

/// Another statement of the same node and version.
fn other(n: u8, version: u64) -> Advert {
    let content = AdvertContent { addresses: Vec::new(), ..content(version) };
    Advert::sign(content, &key(n)).unwrap()
}

fn read(bytes: &[u8]) -> Result<Advert, InvalidAdvert> {
    Advert::parse(bytes)?.verify(&RustCrypto)
}

/// The bytes that `advert(1, 7)` has before its signature, written out by docs/wire.md §12.
fn body() -> Vec<u8> {
    let mut bytes = key(1).node_id().as_bytes().to_vec();
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0x6b, 0x85, 0x5d, 0xc0]);
    bytes.extend(b"\0\x0c\0\x09\x03b:1\x0a\x0b\x03a:1");
    bytes.extend(b"\0\x1b\x04chat\0\x04\0\x07\0\0\x04meta\x03zip\0\x01\0\x03\x01\0\0");
    bytes
}

fn signed_with(label: &[u8], body: &[u8], key: &SecretKey) -> Vec<u8> {
    let signature = key.sign(&[label, body].concat()).unwrap();
    [body, &signature].concat()
}

const LABEL: &[u8; 32] = b"handclasp/1 node advert\0\0\0\0\0\0\0\0\0";

#[test]
fn d4_every_field_stands_where_the_document_says() {
    let advert = advert(1, 7);
    assert_eq!(advert.bytes()[..], signed_with(LABEL, &body(), &key(1)));
    assert_eq!(read(advert.bytes()).unwrap(), advert);
    assert_eq!(advert.id(), key(1).node_id());
    assert_eq!((advert.version(), advert.created().as_secs()), (7, 1_803_902_400));
    assert_eq!(
        (advert.addresses(), advert.capabilities()),
        (&content(7).addresses[..], &content(7).capabilities[..])
    );
}

/// The example of docs/wire.md §12.
#[test]
fn d4_the_example_in_the_document_is_right() {
    let advert = Advert::sign(content(7), &SecretKey::from_bytes([1; 32])).unwrap();
    let hex: String = advert.bytes().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    assert_eq!(
        hex,
        "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c\
         0000000000000007000000006b855dc0000c000903623a310a0b03613a31001b\
         0463686174000400070000046d657461037a697000010003010000902e5c7fa3\
         e792331aa45d70fadf58d9e286e31f11fe7b7027d563c22c9e2553a218c7c67c\
         4f6ceb3520e0f07ba59b6aa48e445d576179c4c9d607f88b693e0c"
    );
}

#[test]
fn d4_every_flipped_bit_is_found() {
    let advert = advert(1, 7);
    for bit in 0..advert.bytes().len() * 8 {
        let mut bytes = advert.bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn d4_an_advert_is_cut_off_nowhere_and_nothing_stands_behind_it() {
    let advert = advert(1, 7);
    for end in 0..advert.bytes().len() {
        assert!(
            matches!(Advert::parse(&advert.bytes()[..end]), Err(InvalidAdvert::Malformed(_))),
            "{end} bytes"
        );
    }
    let longer = [&advert.bytes()[..], &[0]].concat();
    assert!(matches!(Advert::parse(&longer), Err(InvalidAdvert::Malformed(_))));
}

/// Signed by the right key, and refused for its form all the same.
#[test]
fn d4_only_one_form_is_taken() {
    let body = body();
    let malformed = |what: &str, body: &[u8]| {
        let outcome = Advert::parse(&signed_with(LABEL, body, &key(1)));
        assert!(matches!(outcome, Err(InvalidAdvert::Malformed(_))), "{what}: {outcome:?}");
    };
    let with = |at: usize, with: &[u8]| {
        let mut body = body.clone();
        body[at..at + with.len()].copy_from_slice(with);
        body
    };
    malformed("version 0", &with(32, &[0; 8]));
    malformed("behind the year 9999", &with(40, &253_402_300_800_u64.to_be_bytes()));
    malformed("a weight without an address", &with(48, b"\0\x02\0\x09"));
    malformed("an empty address", &[&body[..48], b"\0\x03\0\x09\0\0\0"].concat());
    malformed("an address that is not UTF-8", &[&body[..48], b"\0\x04\0\x09\x01\xff\0\0"].concat());
    malformed("an unknown flag", &with(73, &[2]));
    let lists = |addresses: usize, names: &[u8]| {
        let mut bytes = body[..48].to_vec();
        layout::put_prefixed_u16(&mut bytes, &b"\0\x09\x01a".repeat(addresses));
        let each = |name: &u8| [&[1, *name][..], &[0; 7]].concat();
        layout::put_prefixed_u16(&mut bytes, &names.iter().flat_map(each).collect::<Vec<_>>());
        bytes
    };
    malformed("65 addresses", &lists(65, b""));
    malformed("names that descend", &lists(0, b"ba"));
    malformed("a name twice", &lists(0, b"aa"));
    malformed("65 capabilities", &lists(0, &(1..=65).collect::<Vec<_>>()));
    for body in [lists(64, b""), lists(0, b"ab"), lists(64, &(1..=64).collect::<Vec<_>>())] {
        let bytes = signed_with(LABEL, &body, &key(1));
        assert_eq!(read(&bytes).unwrap().bytes()[..], bytes);
    }
}

#[test]
fn d4_an_advert_has_at_most_2048_bytes() {
    let sized = |metadata: usize| {
        let capability = Capability::new("c", 1..=1).unwrap().metadata(alloc::vec![7; metadata]);
        AdvertContent { addresses: Vec::new(), capabilities: [capability].into(), ..content(1) }
    };
    let room = MAX_ADVERT - Advert::sign(sized(0), &key(1)).unwrap().bytes().len();
    let largest = Advert::sign(sized(room), &key(1)).unwrap();
    assert_eq!(largest.bytes().len(), MAX_ADVERT);
    assert_eq!(read(largest.bytes()).unwrap(), largest);
    for metadata in [room + 1, 3000, 5000, 70_000] {
        let error = Advert::sign(sized(metadata), &key(1)).unwrap_err();
        assert!(matches!(error, AdvertError::TooLarge { size } if size > MAX_ADVERT), "{metadata}: {error}");
    }
    assert_eq!(Advert::sign(sized(room + 1), &key(1)), Err(AdvertError::TooLarge { size: MAX_ADVERT + 1 }));
    let too_large = Advert::parse(&[0; MAX_ADVERT + 1]);
    assert!(matches!(too_large, Err(InvalidAdvert::TooLarge { size: 2049 })));
}

/// A signer whose key is out of reach.
#[derive(Debug)]
struct Gone;
impl Signer for Gone {
    fn node_id(&self) -> NodeId {
        key(1).node_id()
    }
    fn sign(&self, _: &[u8]) -> Result<[u8; 64], SignerError> {
        Err(SignerError::Unavailable)
    }
}

#[test]
fn d4_what_may_not_be_said_is_not_signed() {
    let refused = |change: fn(&mut AdvertContent)| {
        let mut content = content(1);
        change(&mut content);
        Advert::sign(content, &key(1)).unwrap_err()
    };
    assert_eq!(refused(|content| content.version = 0), AdvertError::VersionZero);
    let addresses = HelloPart::Addresses;
    assert_eq!(
        refused(|content| content.addresses[0].address = String::new()),
        AdvertError::Content(HelloError::Empty { part: addresses })
    );
    assert_eq!(
        refused(|content| content.addresses[0].address = "a".repeat(256)),
        AdvertError::Content(HelloError::TooLong { part: addresses, len: 256, most: 255 })
    );
    assert_eq!(
        refused(|content| content.addresses = alloc::vec![content.addresses[0].clone(); 65]),
        AdvertError::Content(HelloError::TooMany { part: addresses, count: 65, most: 64 })
    );
    let twice = refused(|content| content.capabilities[1].name = "chat".into());
    assert!(matches!(twice, AdvertError::Content(HelloError::Duplicate { .. })));

    // The order of capabilities is nobody's business.
    let mut turned = content(7);
    turned.capabilities.reverse();
    assert_eq!(Advert::sign(turned, &key(1)).unwrap(), advert(1, 7));

    assert_eq!(Advert::sign(content(1), &Gone), Err(AdvertError::Signer(SignerError::Unavailable)));
}

/// The two labels are of one length and differ, so what is signed behind one is never what is signed behind
/// the other, whatever stands there.
#[test]
fn d4_a_signature_of_a_link_is_none_of_an_advert_nor_the_other_way_round() {
    let link = b"handclasp/1 link authentication\0";
    assert_eq!(link.len(), LABEL.len());
    let (body, key) = (body(), key(1));
    for label in [&link[..], &[0; 32], b"", b"handclasp/1 node advert"] {
        let outcome = read(&signed_with(label, &body, &key));
        assert_eq!(outcome, Err(InvalidAdvert::BadSignature), "{label:?}");
    }
    assert!(read(&signed_with(LABEL, &body, &key)).is_ok());

    let signature = key.sign(&[&LABEL[..], &body].concat()).unwrap();
    let as_link = [&link[..], &body].concat();
    assert!(RustCrypto.verify(key.node_id().as_bytes(), &as_link, &signature).is_err());

    // A whole statement that a link would sign, passed off as the rest of an advert.
    let statement = [&link[..], &[1], &[7; 64], &[0, 40], &[3; 40], key.node_id().as_bytes()].concat();
    let signature = key.sign(&statement).unwrap();
    for skip in [0, 32] {
        let bytes = [&statement[skip..], &signature].concat();
        assert!(read(&bytes).is_err());
    }
}

#[test]
fn d4_an_id_that_is_none_is_not_believed() {
    let mut weak = body();
    weak[..32].copy_from_slice(&[0; 32]);
    weak[0] = 1;
    let unverified = Advert::parse(&signed_with(LABEL, &weak, &key(1))).unwrap();
    assert_eq!(unverified.id().as_bytes(), &weak[..32]);
    let error = unverified.verify(&RustCrypto).unwrap_err();
    assert_eq!(error, InvalidAdvert::NotAnId(InvalidNodeId::SmallOrder));

    let mut foreign = body();
    foreign[..32].copy_from_slice(key(2).node_id().as_bytes());
    assert_eq!(read(&signed_with(LABEL, &foreign, &key(1))), Err(InvalidAdvert::BadSignature));
}

/// Counts the signatures that it looks at.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl Counting {
    fn taken(&self) -> usize {
        self.0.swap(0, Relaxed)
    }
}

impl CryptoProvider for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }
    fn suites(&self) -> SuiteSet {
        RustCrypto.suites()
    }
    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        RustCrypto.x25519_public(secret)
    }
    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, CryptoError> {
        RustCrypto.x25519(secret, public)
    }
    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        RustCrypto.sha256(parts)
    }
    fn hkdf_sha256(
        &self,
        salt: &[u8],
        key_material: &[u8],
        info: &[&[u8]],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        RustCrypto.hkdf_sha256(salt, key_material, info, out)
    }
    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        self.0.fetch_add(1, Relaxed);
        RustCrypto.verify(public, message, signature)
    }
    fn cipher(&self, cipher: Cipher, key: &Secret<32>) -> Result<Box<dyn CipherKey>, CryptoError> {
        RustCrypto.cipher(cipher, key)
    }
}

/// A store, and what goes into it.
struct Bench {
    store: AdvertStore,
    provider: Counting,
}

impl Bench {
    fn new(capacity: usize) -> Self {
        Self { store: AdvertStore::new(capacity), provider: Counting::default() }
    }

    /// The outcome and the signatures that were looked at for it.
    fn insert(&mut self, from: u8, bytes: &[u8]) -> (Result<Inserted, InvalidAdvert>, usize) {
        let outcome = self.store.insert(key(from).node_id(), bytes, &self.provider);
        (outcome, self.provider.taken())
    }

    fn held(&self, n: u8) -> Option<&Advert> {
        self.store.get(&key(n).node_id())
    }
}

#[test]
fn d4_a_newer_advert_replaces_an_older_one_and_no_other() {
    let mut bench = Bench::new(4);
    assert_eq!(bench.store.version(&key(1).node_id()), 0);
    assert_eq!(bench.insert(1, advert(1, 5).bytes()), (Ok(Inserted::New), 1));
    assert_eq!(bench.insert(1, advert(1, 5).bytes()), (Ok(Inserted::Same), 0));
    assert_eq!(bench.insert(1, advert(1, 9).bytes()), (Ok(Inserted::Newer { old: 5 }), 1));
    assert_eq!(bench.insert(1, advert(1, 8).bytes()), (Ok(Inserted::Stale { held: 9 }), 0));
    assert_eq!(bench.insert(1, other(1, 8).bytes()), (Ok(Inserted::Stale { held: 9 }), 0));
    assert_eq!(bench.held(1), Some(&advert(1, 9)));
    assert_eq!(bench.store.version(&key(1).node_id()), 9);
    assert_eq!(bench.store.len(), 1);
    assert_eq!(bench.store.remove(&key(1).node_id()), Some(advert(1, 9)));
    assert!(bench.store.is_empty());
}

#[test]
fn d4_two_statements_of_one_version_are_a_fork_if_both_are_signed() {
    let mut bench = Bench::new(4);
    let (first, second) = (advert(1, 5), other(1, 5));
    assert_eq!(bench.insert(1, first.bytes()), (Ok(Inserted::New), 1));
    let forked = Inserted::Forked { held: Box::new(first.clone()), other: Box::new(second.clone()) };
    assert_eq!(bench.insert(1, second.bytes()), (Ok(forked), 1));
    assert_eq!(bench.held(1), Some(&first));

    let mut unsigned = second.bytes().to_vec();
    *unsigned.last_mut().unwrap() ^= 1;
    assert_eq!(bench.insert(1, &unsigned), (Err(InvalidAdvert::BadSignature), 1));
    // A node that signs the same statement anew says nothing new.
    let mut again = first.bytes().to_vec();
    *again.last_mut().unwrap() ^= 1;
    assert_eq!(bench.insert(1, &again), (Ok(Inserted::Same), 0));
    assert_eq!(bench.held(1), Some(&first));
}

#[test]
fn d4_nothing_changes_before_the_signature_has_verified() {
    let mut bench = Bench::new(4);
    let mut forged = advert(1, 5).bytes().to_vec();
    forged[47] ^= 1;
    assert_eq!(bench.insert(1, &forged), (Err(InvalidAdvert::BadSignature), 1));
    assert!(bench.store.is_empty());
    assert_eq!(bench.insert(1, advert(1, 5).bytes()), (Ok(Inserted::New), 1));
    let mut forged = advert(1, 6).bytes().to_vec();
    forged[47] ^= 1;
    assert_eq!(bench.insert(1, &forged), (Err(InvalidAdvert::BadSignature), 1));
    assert_eq!(bench.held(1), Some(&advert(1, 5)));
}

#[test]
fn d4_a_peer_speaks_for_itself_only() {
    let mut bench = Bench::new(4);
    let error =
        InvalidAdvert::NotTheirs { from: key(2).node_id(), of: ClaimedId::new(*key(1).node_id().as_bytes()) };
    assert_eq!(bench.insert(2, advert(1, 5).bytes()), (Err(error), 0));
    assert!(bench.store.is_empty());
    assert_eq!(format!("{error}"), format!("{} brought an advert of {}", key(2).node_id(), key(1).node_id()));
}

#[test]
fn d4_a_store_is_bounded_and_who_comes_late_displaces_nobody() {
    let mut bench = Bench::new(2);
    assert_eq!(bench.insert(1, advert(1, 1).bytes()).0, Ok(Inserted::New));
    assert_eq!(bench.insert(2, advert(2, 1).bytes()).0, Ok(Inserted::New));
    assert_eq!(bench.insert(3, advert(3, 9).bytes()), (Ok(Inserted::Full), 0));
    assert_eq!(bench.held(3), None);
    assert_eq!(bench.insert(1, advert(1, 2).bytes()).0, Ok(Inserted::Newer { old: 1 }));
    assert!(bench.store.remove(&key(2).node_id()).is_some());
    assert_eq!(bench.insert(3, advert(3, 9).bytes()).0, Ok(Inserted::New));
    let versions: alloc::collections::BTreeSet<u64> = bench.store.iter().map(Advert::version).collect();
    assert_eq!(versions, [2, 9].into());
    assert_eq!(Bench::new(0).insert(1, advert(1, 1).bytes()), (Ok(Inserted::Full), 0));
    assert_eq!(AdvertStore::default().capacity(), 4096);
}

fn any_content() -> impl Strategy<Value = AdvertContent> {
    let label = || prop_oneof![4 => "[a-zé日]{1,12}", 1 => "[a-z]{255}"];
    let address = (any::<u16>(), label()).prop_map(|(weight, address)| DialAddress { weight, address });
    let capability = (any::<u16>(), any::<u16>(), any::<bool>(), vec(any::<u8>(), 0..20));
    (1..=u64::MAX, 0..=UnixTime::LAST.as_secs(), vec(address, 0..6), btree_map(label(), capability, 0..6))
        .prop_map(|(version, created, addresses, capabilities)| AdvertContent {
            version,
            created: UnixTime::from_secs(created),
            addresses,
            capabilities: capabilities
                .into_iter()
                .map(|(name, (a, b, required, metadata))| Capability {
                    name,
                    versions: VersionRange::new(a.min(b), a.max(b)).unwrap(),
                    required,
                    metadata: metadata.into(),
                })
                .collect(),
        })
}

proptest! {
    #[test]
    fn d4_what_is_signed_is_what_is_read(content in any_content(), n in 1..4_u8) {
        match Advert::sign(content.clone(), &key(n)) {
            Ok(advert) => {
                let received = read(advert.bytes()).unwrap();
                prop_assert_eq!(received.content(), &content);
                prop_assert_eq!(received.id(), key(n).node_id());
                prop_assert_eq!(received, advert);
            }
            Err(error) => prop_assert!(matches!(error, AdvertError::TooLarge { .. }), "{}", error),
        }
    }

    /// Bytes that are read are the only bytes of what they say.
    #[test]
    fn d4_no_bytes_make_the_parser_panic_and_what_it_takes_has_one_form(
        noise in vec(any::<u8>(), 0..400),
        at in 0..120_usize,
        patch in vec(any::<u8>(), 1..4),
    ) {
        let mut bytes = advert(1, 7).bytes().to_vec();
        bytes.splice(at..at + patch.len(), patch);
        for bytes in [noise, bytes] {
            if let Ok(unverified) = Advert::parse(&bytes) {
                let mut again = unverified.id().as_bytes().to_vec();
                let mut emitted = Vec::new();
                emit(&unverified.content, &key(1).node_id(), &mut emitted);
                again.extend_from_slice(&emitted[32..]);
                again.extend_from_slice(&bytes[bytes.len() - 64..]);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
