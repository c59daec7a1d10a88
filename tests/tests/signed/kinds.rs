//! Signatures of one kind are none of another: each kind signed behind each label, and shown as what it is.

use handclasp::crypto::RustCrypto;
use handclasp::identity::SignerError;
use handclasp::node::adverts::{Advert, AdvertContent, InvalidAdvert};
use handclasp::node::trust::UnixTime;
use handclasp::signed::{InvalidSigned, SignedMessage};
use handclasp::{Config, NodeId, SecretKey, Signer, Trust};
use handclasp_sim::{Pair, id, key};

use crate::support::{LABEL, content, read};

const AUTHENTICATION: &[u8; 32] = b"handclasp/1 link authentication\0";
const ADVERT: &[u8; 32] = b"handclasp/1 node advert\0\0\0\0\0\0\0\0\0";

const LABELS: [&[u8; 32]; 3] = [AUTHENTICATION, ADVERT, LABEL];

/// Signs what it is given, with another label in front.
#[derive(Debug)]
struct Relabelled {
    key: SecretKey,
    label: &'static [u8; 32],
}

impl Signer for Relabelled {
    fn node_id(&self) -> NodeId {
        self.key.node_id()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        let (label, statement) = message.split_at(32);
        assert!(LABELS.iter().any(|known| label == *known), "an unknown label: {label:?}");
        self.key.sign(&[self.label, statement].concat())
    }
}

fn signer(label: &'static [u8; 32]) -> Relabelled {
    Relabelled { key: key(1), label }
}

/// Whether a link forms with a node that signs so.
fn authenticates(label: &'static [u8; 32]) -> bool {
    let initiator = Config::builder(signer(label), 1).trust(Trust::listed([id(2)])).build();
    let mut pair = Pair::of(&initiator.expect("valid"), &handclasp_sim::config(2, &[1]), Some(id(2)));
    pair.run();
    pair.responder.link.phase().is_open()
}

fn advertises(label: &'static [u8; 32]) -> bool {
    let content = AdvertContent {
        version: 1,
        created: UnixTime::from_secs(1),
        addresses: Vec::new(),
        capabilities: Vec::new(),
    };
    let advert = Advert::sign(content, &signer(label)).expect("signed");
    let read = Advert::parse(advert.bytes()).expect("has the form").verify(&RustCrypto);
    assert!(matches!(read, Ok(_) | Err(InvalidAdvert::BadSignature)), "{read:?}");
    read.is_ok()
}

fn says(label: &'static [u8; 32]) -> bool {
    let message = SignedMessage::sign(&content(7, b"body"), &signer(label), &RustCrypto).expect("signed");
    let read = read(message.bytes().clone());
    assert!(matches!(read, Ok(_) | Err(InvalidSigned::BadSignature)), "{read:?}");
    read.is_ok()
}

#[test]
fn m10_no_signature_of_one_kind_is_one_of_another() {
    for label in LABELS {
        let shown = String::from_utf8_lossy(label);
        assert_eq!(authenticates(label), label == AUTHENTICATION, "AUTH behind {shown:?}");
        assert_eq!(advertises(label), label == ADVERT, "an advert behind {shown:?}");
        assert_eq!(says(label), label == LABEL, "a message behind {shown:?}");
    }
}
