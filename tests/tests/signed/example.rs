//! The worked example of docs/signed.md, computed without the library and compared with what the library makes.
//!
//! `HANDCLASP_BLESS=1 cargo test -p handclasp-sim --test signed` writes the section anew.

use std::fmt::Write as _;

use ed25519_dalek::{Signer, SigningKey};
use handclasp::crypto::RustCrypto;
use handclasp::signed::{Accepted, Audience, Content, SignedMessage, Topics};
use handclasp_sim::document::assert_worked_example;
use handclasp_sim::{id, key};
use sha2::{Digest, Sha256};

use crate::support::{LABEL, policy, store};

const EPOCH: u64 = 1_803_902_400_000;
const BODY: &[u8] = b"rain by noon";

fn value(page: &mut String, name: &str, bytes: &[u8]) {
    let _ = writeln!(page, "{name}, {} bytes", bytes.len());
    for line in bytes.chunks(32) {
        let _ = writeln!(page, "  {}", hex::encode(line));
    }
}

/// One message: its parts, by the document's words alone, and the whole as the library has it.
fn part(page: &mut String, audience: &Audience, sequence: u64) {
    let signing = SigningKey::from_bytes(&[1; 32]);
    let (kind, name) = match audience {
        Audience::Node(id) => (0, id.as_bytes().to_vec()),
        Audience::Topic(topic) => (1, topic.as_bytes().to_vec()),
    };
    let mut head = vec![1, kind];
    head.extend(signing.verifying_key().to_bytes());
    head.extend(EPOCH.to_be_bytes());
    head.extend(sequence.to_be_bytes());
    head.push(u8::try_from(name.len()).expect("short"));
    head.push(8);
    head.extend(name);
    head.extend(b"forecast");
    let statement = [&LABEL[..], &head, &Sha256::digest(BODY)].concat();
    let signature = signing.sign(&statement).to_bytes();
    let message = [&head[..], BODY, &signature].concat();

    let content =
        Content { audience: audience.clone(), service: "forecast", epoch: EPOCH, sequence, body: BODY };
    let ours = SignedMessage::sign(&content, &key(1), &RustCrypto).expect("signed");
    assert_eq!(hex::encode(ours.bytes()), hex::encode(&message), "the library signs something else");
    let two = policy(&[1], &store()).topics(Topics::listed(["weather"]));
    let judged = two.judge(&id(2), "forecast", message.clone().into(), &RustCrypto);
    assert_eq!(judged, Ok(Accepted::Deliver(ours)));

    page.push_str("```text\n");
    value(page, "everything before the body", &head);
    value(page, "SHA-256(body)", &Sha256::digest(BODY));
    value(page, "signed", &statement);
    value(page, "signature", &signature);
    value(page, "signed message", &message);
    page.push_str("```\n");
}

fn render() -> String {
    let mut page = "Every value is in hex, 32 bytes a line. The origin is node I of docs/wire.md §11, the audience its node R; epoch \
                    1 803 902 400 000,\nservice `forecast`, body `rain by noon`.\n\n```text\n"
        .to_owned();
    value(&mut page, "identity secret of the origin (Ed25519 seed)", &[1; 32]);
    value(&mut page, "origin", id(1).as_bytes());
    value(&mut page, "id of R", id(2).as_bytes());
    value(&mut page, "label", LABEL);
    value(&mut page, "body", BODY);
    page.push_str("```\n\nTo R, sequence 1:\n\n");
    part(&mut page, &id(2).into(), 1);
    page.push_str("\nTo the topic `weather`, sequence 2:\n\n");
    part(&mut page, &Audience::topic("weather"), 2);
    page
}

#[test]
fn m10_the_documents_worked_example_is_what_the_library_signs() {
    assert_worked_example("signed.md", &render());
}
