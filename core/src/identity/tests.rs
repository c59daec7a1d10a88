use super::*;
use crate::crypto::{CryptoProvider, RustCrypto, Seed};
use alloc::format;
use alloc::string::{String, ToString};

/// RFC 8032 §7.1, tests 1 and 2: secret key, public key.
const RFC_8032: [([u8; 32], [u8; 32]); 2] = [
    (
        [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
            0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ],
        [
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
            0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
        ],
    ),
    (
        [
            0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3, 0x46, 0xec, 0x11, 0x4e, 0x0f,
            0x5b, 0x8a, 0x31, 0x9f, 0x35, 0xab, 0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8, 0xa6, 0xfb,
        ],
        [
            0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a, 0x92, 0xb7, 0x0a, 0xa7, 0x4d, 0x1b, 0x7e, 0xbc,
            0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4, 0x96, 0x8c, 0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c,
        ],
    ),
];

fn id(n: u8) -> NodeId {
    SecretKey::from_seed(&Seed::new([n; 32])).node_id()
}

fn parse(text: &str) -> Result<NodeId, ParseNodeIdError> {
    text.parse()
}

#[test]
fn i1_an_id_is_the_public_key_of_rfc_8032() {
    for (secret, public) in RFC_8032 {
        let key = SecretKey::from_bytes(secret);
        assert_eq!(key.node_id().as_bytes(), &public);
        assert_eq!(NodeId::from_bytes(public), Ok(key.node_id()));
        assert_eq!(SecretKey::from_text(key.to_text().expose()).unwrap().node_id(), key.node_id());
    }
}

#[test]
fn i1_text_goes_there_and_back_and_is_the_same_everywhere() {
    for n in 0..50 {
        let id = id(n);
        let text = id.to_string();
        assert_eq!((text.len(), &text[..4]), (62, "hcl1"));
        assert_eq!(parse(&text), Ok(id));
        assert_eq!(parse(&text.to_uppercase()), Ok(id));
        assert_eq!(format!("{id:?}"), text);
    }
    // Pinned, so that the form never changes by accident.
    let id = NodeId::from_bytes(RFC_8032[0].1).unwrap();
    assert_eq!(id.to_string(), "hcl16adfsqvzky9t042tlmfujeq88g8wzuhnm2nzxfd0qgdx3ac82ydqydlwmj");
    assert_eq!(id.fingerprint().to_string(), "hl0f-m2mf-wlj8-x5zr");
}

#[test]
fn i1_a_changed_character_is_always_found() {
    let text = id(1).to_string();
    for place in 0..text.len() {
        for letter in (0x21..0x7f_u8).map(char::from) {
            let mut changed: String = text.clone();
            changed.replace_range(place..=place, letter.encode_utf8(&mut [0; 4]));
            if changed != text {
                let outcome = parse(&changed);
                assert!(matches!(outcome, Err(ParseNodeIdError::Text(_))), "{changed}: {outcome:?}");
            }
        }
        let mut shorter = text.clone();
        shorter.remove(place);
        assert!(parse(&shorter).is_err());
        let mut longer = text.clone();
        longer.insert(place, 'q');
        assert!(parse(&longer).is_err());
    }
}

#[test]
fn i1_a_wrong_text_says_what_is_wrong() {
    let text = id(1).to_string();
    let secret = SecretKey::from_seed(&Seed::new([1; 32])).to_text();
    let wrong = |text: &str| match parse(text) {
        Err(ParseNodeIdError::Text(error)) => error,
        other => panic!("{text}: {other:?}"),
    };
    let prefix = TextError::WrongPrefix { expected: "hcl" };
    for text in ["", "hcl", "node", "hcl 1", "é1", secret.expose(), &format!(" {text}"), &text[1..], "HCLé1"]
    {
        assert_eq!(wrong(text), prefix, "{text}");
    }
    assert_eq!(wrong("hcl1"), TextError::BadChecksum);
    assert_eq!(wrong(&text[..61]), TextError::BadChecksum);
    assert_eq!(wrong(&format!("{}{}", &text[..30], text[30..].to_uppercase())), TextError::MixedCase);
    assert_eq!(wrong(&format!("{text} ")), TextError::BadCharacter);
    assert_eq!(wrong(&format!("hcl1b{}", &text[5..])), TextError::BadCharacter);
    assert_eq!(wrong(&"hcl1".repeat(100)), TextError::WrongLength);
    assert_eq!(SecretKey::from_text(&text).unwrap_err(), TextError::WrongPrefix { expected: "hclsec" });

    let hrp = bech32::Hrp::parse_unchecked("hcl");
    for length in [0, 1, 31, 33, 40] {
        let other = bech32::encode::<bech32::Bech32m>(hrp, &[7; 40][..length]).unwrap();
        assert_eq!(wrong(&other), TextError::WrongLength, "{length} bytes");
    }
    let old = bech32::encode::<bech32::Bech32>(hrp, id(1).as_bytes()).unwrap();
    assert_eq!(wrong(&old), TextError::BadChecksum, "bech32 without the m is another encoding");
}

/// Of the sixteen texts with a right checksum that differ only in the padding bits, one is read.
#[test]
fn i1_one_id_has_one_text() {
    use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
    use bech32::{Bech32m, Fe32, Hrp};
    let (hrp, id) = (Hrp::parse_unchecked("hcl"), id(1));
    let mut read = 0;
    for padding in 0..16_u8 {
        let mut letters: alloc::vec::Vec<Fe32> = id.as_bytes().iter().copied().bytes_to_fes().collect();
        let last = letters.last_mut().unwrap();
        *last = Fe32::try_from(last.to_u8() | padding).unwrap();
        let text: String = letters.into_iter().with_checksum::<Bech32m>(&hrp).chars().collect();
        match parse(&text) {
            Ok(other) => {
                assert_eq!((other, padding), (id, 0));
                read += 1;
            }
            Err(error) => assert_eq!(error, ParseNodeIdError::Text(TextError::WrongLength)),
        }
    }
    assert_eq!(read, 1);
}

/// The eight points of small order: Ed25519's torsion subgroup.
const SMALL_ORDER: [&str; 8] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
];

fn hex(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).unwrap();
    }
    bytes
}

#[test]
fn i1_weak_and_mixed_keys_are_no_ids() {
    for text in SMALL_ORDER {
        assert_eq!(NodeId::from_bytes(hex(text)), Err(InvalidNodeId::SmallOrder), "{text}");
    }
    // A good key plus each point of small order but the neutral one.
    let point = |bytes: &[u8; 32]| ed25519_dalek::VerifyingKey::from_bytes(bytes).unwrap().to_edwards();
    let good = id(1);
    for text in &SMALL_ORDER[1..] {
        let mixed = (point(good.as_bytes()) + point(&hex(text))).compress().to_bytes();
        assert_eq!(NodeId::from_bytes(mixed), Err(InvalidNodeId::MixedOrder), "{text}");
    }
}

#[test]
fn i1_each_key_has_one_encoding() {
    // All encodings with y at or above the prime, with both signs.
    for (low, sign) in (0xed..=0xff_u8).flat_map(|low| [(low, 0x7f), (low, 0xff)]) {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (low, sign);
        assert_eq!(NodeId::from_bytes(bytes), Err(InvalidNodeId::NotCanonical));
    }
    // The neutral point and the one of order two have x = 0; the sign bit is a second encoding of them.
    let mut bytes = hex(SMALL_ORDER[0]);
    bytes[31] |= 0x80;
    assert_eq!(NodeId::from_bytes(bytes), Err(InvalidNodeId::SmallOrder));
    // Whatever is accepted encodes to itself.
    let mut accepted = 0;
    for n in 0..64_u8 {
        let bytes = RustCrypto.sha256(&[&[n]]);
        match NodeId::from_bytes(bytes) {
            Ok(id) => {
                accepted += 1;
                let key = ed25519_dalek::VerifyingKey::from_bytes(id.as_bytes()).unwrap();
                assert_eq!(key.to_edwards().compress().to_bytes(), bytes);
            }
            Err(error) => {
                assert!(matches!(error, InvalidNodeId::NotAPoint | InvalidNodeId::MixedOrder), "{error}");
            }
        }
    }
    assert!(accepted > 0);
}

#[test]
fn i1_fingerprints_are_short_and_tell_ids_apart() {
    let mut seen = alloc::collections::BTreeSet::new();
    for n in 0..50 {
        let text = id(n).fingerprint().to_string();
        let groups: alloc::vec::Vec<&str> = text.split('-').collect();
        assert!(groups.len() == 4 && groups.iter().all(|group| group.len() == 4), "{text}");
        assert!(seen.insert(text));
    }
}

#[test]
fn i3_a_signer_stands_for_the_key_and_signs_as_rfc_8032_says() {
    let key = SecretKey::from_bytes(RFC_8032[1].0);
    let signer: &dyn Signer = &key;
    let signature = signer.sign(&[0x72]).unwrap();
    let hex = signature.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    assert_eq!(
        hex,
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    );
    RustCrypto.verify(signer.node_id().as_bytes(), &[0x72], &signature).unwrap();
    assert!(RustCrypto.verify(signer.node_id().as_bytes(), &[0x73], &signature).is_err());
}

#[test]
fn k6_debug_of_a_secret_key_shows_the_public_half_only() {
    let key = SecretKey::from_bytes(RFC_8032[0].0);
    let (shown, text) = (format!("{key:?} {:?} {:?}", key.to_text(), Seed::new([0xab; 32])), key.to_text());
    assert!(shown.contains(&key.node_id().to_string()));
    assert!(!shown.contains(&text.expose()[7..20]));
    assert!(!shown.contains("9d61") && !shown.contains("157, 97") && !shown.contains("171"));
}

#[cfg(feature = "std")]
mod files {
    use super::*;
    use crate::identity::keyfile::{self, KeyFileError};
    use std::fs;
    use std::path::PathBuf;

    /// A folder of the test's own, gone when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("handclasp-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> alloc::vec::Vec<String> {
            let names = fs::read_dir(&self.0).unwrap();
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }

        /// A file with these contents that nobody else can read.
        fn file(&self, contents: &[u8]) -> PathBuf {
            let path = self.0.join("key");
            fs::write(&path, contents).unwrap();
            mode(&path, 0o600);
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[cfg(unix)]
    fn mode(path: &std::path::Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[cfg(not(unix))]
    fn mode(_: &std::path::Path, _: u32) {}

    #[test]
    fn i3_a_key_is_created_once_and_loaded_after() {
        let folder = Folder::new("created");
        let path = folder.0.join("node.key");
        assert!(matches!(keyfile::load(&path), Err(KeyFileError::NotFound)));
        let seed = Seed::new([1; 32]);
        let key = keyfile::load_or_create(&path, &seed).unwrap();
        assert_eq!(key.node_id(), id(1));
        assert_eq!(folder.names(), ["node.key"], "nothing temporary is left");
        assert_eq!(keyfile::load(&path).unwrap().node_id(), id(1));

        let other = Seed::new([2; 32]);
        assert_eq!(keyfile::load_or_create(&path, &other).unwrap().node_id(), id(1));
        assert!(matches!(keyfile::create(&path, &other), Err(KeyFileError::AlreadyExists)));
        assert_eq!(keyfile::load(&path).unwrap().node_id(), id(1));
        assert_eq!(folder.names(), ["node.key"], "not after a failure either");
    }

    #[test]
    fn i3_what_an_interrupted_creation_left_does_no_harm() {
        let folder = Folder::new("interrupted");
        let path = folder.0.join("key");
        let left = folder.0.join(format!(".key.{}.tmp", id(1).fingerprint()));
        fs::write(&left, b"hclsec1half").unwrap();
        assert_eq!(keyfile::load_or_create(&path, &Seed::new([1; 32])).unwrap().node_id(), id(1));
        assert_eq!(folder.names(), ["key"]);
    }

    #[test]
    fn i3_of_many_creators_all_get_the_key_in_the_file() {
        let folder = Folder::new("race");
        let path = folder.0.join("key");
        let ids: alloc::vec::Vec<NodeId> = std::thread::scope(|scope| {
            let start = |n| {
                let path = &path;
                scope.spawn(move || keyfile::load_or_create(path, &Seed::new([n; 32])).unwrap().node_id())
            };
            let threads: alloc::vec::Vec<_> = (0..8).map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let id = keyfile::load(&path).unwrap().node_id();
        assert!(ids.iter().all(|other| *other == id));
        assert_eq!(folder.names(), ["key"]);
    }

    #[cfg(unix)]
    #[test]
    fn i3_modes_are_0600_and_nothing_wider() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new("modes");
        let path = folder.0.join("key");
        keyfile::create(&path, &Seed::new([1; 32])).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        for bit in 0..6 {
            mode(&path, 0o600 | 1 << bit);
            match keyfile::load(&path) {
                Err(KeyFileError::Exposed { mode }) => assert_eq!(mode, 0o600 | 1 << bit),
                other => panic!("mode bit {bit}: {other:?}"),
            }
            assert!(keyfile::load_or_create(&path, &Seed::new([2; 32])).is_err());
        }
        mode(&path, 0o400);
        assert_eq!(keyfile::load(&path).unwrap().node_id(), id(1));
    }

    #[test]
    fn i3_a_malformed_file_is_refused_and_left_alone() {
        let folder = Folder::new("malformed");
        let key = SecretKey::from_seed(&Seed::new([1; 32])).to_text();
        let key = key.expose();
        let load = |contents: &[u8]| {
            let path = folder.file(contents);
            let loaded = keyfile::load_or_create(&path, &Seed::new([2; 32]));
            assert_eq!(fs::read(&path).unwrap(), contents);
            loaded
        };
        for good in [key.to_string(), format!("# a\n\n  {key}\r\n# b"), format!("{key}\n\n")] {
            assert_eq!(load(good.as_bytes()).unwrap().node_id(), id(1));
        }
        assert!(matches!(load(b""), Err(KeyFileError::NoKey)));
        assert!(matches!(load(b"# only words\n"), Err(KeyFileError::NoKey)));
        assert!(matches!(load(format!("{key}\n{key}\n").as_bytes()), Err(KeyFileError::SeveralKeys)));
        assert!(matches!(load(&[0xff; 40]), Err(KeyFileError::NotText)));
        assert!(matches!(load(&[b'#'; 5000]), Err(KeyFileError::TooLong)));
        assert!(matches!(
            load(&key.as_bytes()[..key.len() - 1]),
            Err(KeyFileError::BadKey(TextError::BadChecksum))
        ));
        let public = id(1).to_string();
        assert!(matches!(
            load(public.as_bytes()),
            Err(KeyFileError::BadKey(TextError::WrongPrefix { expected: "hclsec" }))
        ));
        for length in 0..key.len() {
            assert!(load(&key.as_bytes()[..length]).is_err(), "cut off after {length}");
        }
        assert!(matches!(keyfile::load(&folder.0), Err(KeyFileError::NotAFile)));
        assert!(matches!(
            keyfile::create(folder.0.join("no/such/folder"), &Seed::new([1; 32])),
            Err(KeyFileError::Io(_))
        ));
    }

    #[test]
    fn k6_errors_repeat_nothing_of_the_file() {
        let folder = Folder::new("errors");
        let key = SecretKey::from_seed(&Seed::new([1; 32])).to_text();
        let path = folder.file(format!("{}x", key.expose()).as_bytes());
        let error = keyfile::load(&path).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            !key.expose()
                .as_bytes()
                .windows(6)
                .skip(7)
                .any(|part| shown.as_bytes().windows(6).any(|w| w == part))
        );
    }
}
