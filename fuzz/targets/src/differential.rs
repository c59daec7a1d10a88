//! The Noise engine beside `snow`: the same inputs, byte for byte the same messages, the same opinion of damaged ones.

use handclasp::crypto::noise::{HandshakeState, Protocol, Role, Split};
use handclasp::crypto::{CryptoError, RustCrypto, Secret, TAG_LEN};

use crate::input::Input;

/// One side twice: once ours, once snow's.
struct Side {
    ours: HandshakeState,
    snows: snow::HandshakeState,
}

const PROTOCOLS: [(Protocol, Option<u8>); 3] = [
    (Protocol::NN_CHACHA_POLY, None),
    (Protocol::NN_PSK0_CHACHA_POLY, Some(0)),
    (Protocol::NN_PSK2_CHACHA_POLY, Some(2)),
];

/// More steps than this are not looked at.
const MOST_STEPS: usize = 64;

/// A handshake and then a channel, as the bytes say.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (protocol, place) = input.one_of(&PROTOCOLS);
    let prologue = input.prefixed();
    let psk = place.map(|place| (place, input.array::<32>()));
    let ephemerals: [[u8; 32]; 2] = [input.array(), input.array()];
    let mut initiator = side(&protocol, Role::Initiator, prologue, ephemerals[0], psk);
    let mut responder = side(&protocol, Role::Responder, prologue, ephemerals[1], psk);
    let mut buffer = vec![0; 65_535];
    for index in 0..2 {
        let (writer, reader) =
            if index == 0 { (&mut initiator, &mut responder) } else { (&mut responder, &mut initiator) };
        let (payload, damage) = (input.prefixed(), input.u8());
        let Some(message) = write(writer, payload, &mut buffer) else { return };
        if damage & 1 != 0 && !read(reader, &damaged(&message, &mut input), None, &mut buffer) {
            return;
        }
        if !read(reader, &message, Some(payload), &mut buffer) {
            return;
        }
    }
    channel(initiator, responder, &mut input, &mut buffer);
}

fn side(
    protocol: &Protocol,
    role: Role,
    prologue: &[u8],
    ephemeral: [u8; 32],
    psk: Option<(u8, [u8; 32])>,
) -> Side {
    let mut ours = HandshakeState::new(&RustCrypto, protocol, role, prologue, Secret::new(ephemeral));
    let name = protocol.name().parse().expect("a name that snow knows");
    let mut builder = snow::Builder::new(name).prologue(prologue).expect("a prologue");
    builder = builder.fixed_ephemeral_key_for_testing_only(&ephemeral);
    if let Some((place, psk)) = &psk {
        ours.set_psk(Secret::new(*psk)).expect("the pattern has one");
        builder = builder.psk(*place, psk).expect("a key");
    }
    let snows = match role {
        Role::Initiator => builder.build_initiator(),
        Role::Responder => builder.build_responder(),
    };
    Side { ours, snows: snows.expect("a handshake") }
}

/// The message of both; `None` if there is none.
fn write(side: &mut Side, payload: &[u8], buffer: &mut [u8]) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    match side.ours.write_message(&RustCrypto, payload, &mut message) {
        Ok(()) => {
            let count = side.snows.write_message(payload, buffer).expect("snow writes what we write");
            assert_eq!(message, buffer[..count]);
            Some(message)
        }
        // We refuse points of small order, snow leaves that to its caller.
        Err(CryptoError::ZeroSharedSecret) => None,
        Err(CryptoError::BadLength) => {
            assert!(
                side.snows.write_message(payload, buffer).is_err(),
                "snow writes {} bytes",
                payload.len()
            );
            None
        }
        Err(why) => panic!("{why}"),
    }
}

/// Both read a message and are of one mind about it; `None` stands for a payload that nobody knows. False if there
/// is nothing to go on with.
fn read(side: &mut Side, message: &[u8], payload: Option<&[u8]>, buffer: &mut [u8]) -> bool {
    let mut read = Vec::new();
    let ours = side.ours.read_message(&RustCrypto, message, &mut read);
    if ours == Err(CryptoError::ZeroSharedSecret) {
        return false;
    }
    let snows = side.snows.read_message(message, buffer);
    match (ours, snows) {
        (Ok(()), Ok(count)) => {
            assert_eq!(read, buffer[..count]);
            assert!(payload.is_none_or(|payload| read == payload));
            // A damaged message that was taken is the one that counts.
            payload.is_some()
        }
        (Err(_), Err(_)) => {
            assert!(payload.is_none(), "neither takes an honest message");
            assert!(read.is_empty());
            true
        }
        (ours, snows) => panic!("ours: {ours:?}, snow: {snows:?}"),
    }
}

fn damaged(message: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = message.to_vec();
    let (how, place, byte) = (input.below(3), usize::from(input.u16()), input.u8());
    match how {
        0 => bytes.truncate(place % (message.len() + 1)),
        1 => bytes.push(byte),
        _ if bytes.is_empty() => {}
        _ => {
            let place = place % bytes.len();
            bytes[place] ^= byte.max(1);
        }
    }
    if bytes == message {
        bytes.push(0);
    }
    bytes
}

fn channel(initiator: Side, responder: Side, input: &mut Input<'_>, buffer: &mut [u8]) {
    let [one, other] = [&initiator, &responder].map(|side| side.snows.get_handshake_hash().to_vec());
    let split = |side: Side| {
        let ours = side.ours.split(&RustCrypto).expect("both messages are done");
        (ours, side.snows.into_transport_mode().expect("both messages are done"))
    };
    let mut sides = [split(initiator), split(responder)];
    assert_eq!((&one[..], &other[..]), (&sides[0].0.hash[..], &sides[1].0.hash[..]));
    assert_eq!(sides[0].0.master.expose(), sides[1].0.master.expose());
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            return;
        }
        let what = input.u8();
        let [first, second] = &mut sides;
        let (writer, reader) = if what & 1 == 0 { (first, second) } else { (second, first) };
        if what & 2 != 0 {
            writer.0.seal.rekey(&RustCrypto).expect("a key");
            writer.1.rekey_outgoing();
            reader.0.open.rekey(&RustCrypto).expect("a key");
            reader.1.rekey_incoming();
        }
        let payload = input.prefixed();
        let message = sealed(&mut writer.0, payload);
        let count = writer.1.write_message(payload, buffer).expect("a message");
        assert_eq!(message, buffer[..count]);
        if what & 4 != 0 {
            let bad = damaged(&message, input);
            assert!(opened(&mut reader.0, &bad).is_err() && reader.1.read_message(&bad, buffer).is_err());
        }
        assert_eq!(opened(&mut reader.0, &message).as_deref(), Ok(payload));
        let count = reader.1.read_message(&message, buffer).expect("an honest message");
        assert_eq!(&buffer[..count], payload);
        assert_eq!(reader.0.open.counter(), reader.1.receiving_nonce());
        assert_eq!(writer.0.seal.counter(), writer.1.sending_nonce());
    }
}

fn sealed(ours: &mut Split, payload: &[u8]) -> Vec<u8> {
    let mut message = payload.to_vec();
    let tag = ours.seal.seal(&mut message).expect("a counter");
    message.extend(tag);
    message
}

fn opened(ours: &mut Split, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let (text, tag) = message.split_last_chunk::<TAG_LEN>().ok_or(CryptoError::BadLength)?;
    let mut text = text.to_vec();
    ours.open.open(&mut text, tag).map(|()| text)
}
