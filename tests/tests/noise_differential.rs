//! The Noise engine against an independent implementation, the `snow` crate, over the wire and in both roles.

use handclasp::crypto::noise::{HandshakeState, Protocol, Role, Split};
use handclasp::crypto::{CryptoError, RustCrypto, Secret, Suite, TAG_LEN};
use proptest::collection::vec;
use proptest::prelude::*;

/// What happens on the finished channel.
#[derive(Clone, Debug)]
enum Step {
    Ours(Vec<u8>),
    Theirs(Vec<u8>),
    RekeyOurs,
    RekeyTheirs,
    /// A message of theirs is damaged on its way; the byte to damage, modulo its length.
    Damaged(Vec<u8>, usize),
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..100),
        1 => vec(any::<u8>(), 0..2000),
        1 => (16_000_usize..=65_519).prop_flat_map(|size| any::<u8>().prop_map(move |byte| vec![byte; size])),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => payload().prop_map(Step::Ours),
        4 => payload().prop_map(Step::Theirs),
        1 => Just(Step::RekeyOurs),
        1 => Just(Step::RekeyTheirs),
        1 => (vec(any::<u8>(), 0..100), any::<usize>()).prop_map(|(text, place)| Step::Damaged(text, place)),
    ]
}

/// Where the pre-shared key stands in the pattern.
fn protocols() -> impl Strategy<Value = (Protocol, Option<u8>)> {
    prop_oneof![
        Just((Protocol::NN_CHACHA_POLY, None)),
        Just((Protocol::NN_PSK0_CHACHA_POLY, Some(0))),
        Just((Protocol::NN_PSK2_CHACHA_POLY, Some(2))),
    ]
}

struct Their {
    state: snow::HandshakeState,
    buffer: Vec<u8>,
}

impl Their {
    fn write(&mut self, payload: &[u8]) -> Vec<u8> {
        let length = self.state.write_message(payload, &mut self.buffer).unwrap();
        self.buffer[..length].to_vec()
    }

    fn read(&mut self, message: &[u8]) -> Result<Vec<u8>, snow::Error> {
        let length = self.state.read_message(message, &mut self.buffer)?;
        Ok(self.buffer[..length].to_vec())
    }
}

/// `theirs` is the role of snow. Its ephemeral key is its own, from the operating system.
fn their(protocol: &Protocol, theirs: Role, prologue: &[u8], psk: Option<(u8, &[u8; 32])>) -> Their {
    let mut builder = snow::Builder::new(protocol.name().parse().unwrap()).prologue(prologue).unwrap();
    if let Some((place, psk)) = psk {
        builder = builder.psk(place, psk).unwrap();
    }
    let state = match theirs {
        Role::Initiator => builder.build_initiator(),
        Role::Responder => builder.build_responder(),
    };
    Their { state: state.unwrap(), buffer: vec![0; 65_535] }
}

fn our(
    protocol: &Protocol,
    ours: Role,
    prologue: &[u8],
    ephemeral: [u8; 32],
    psk: Option<&[u8; 32]>,
) -> HandshakeState {
    let mut state = HandshakeState::new(&RustCrypto, protocol, ours, prologue, Secret::new(ephemeral));
    if let Some(psk) = psk {
        state.set_psk(Secret::new(*psk)).unwrap();
    }
    state
}

/// Runs the two handshake messages with these payloads.
fn shake(ours: Role, our: &mut HandshakeState, their: &mut Their, payloads: &[Vec<u8>; 2]) {
    for (index, payload) in payloads.iter().enumerate() {
        if (index == 0) == (ours == Role::Initiator) {
            let mut message = Vec::new();
            our.write_message(&RustCrypto, payload, &mut message).unwrap();
            assert_eq!(&their.read(&message).unwrap(), payload);
        } else {
            let (message, mut read) = (their.write(payload), Vec::new());
            our.read_message(&RustCrypto, &message, &mut read).unwrap();
            assert_eq!(&read, payload);
        }
    }
}

fn sealed(our: &mut Split, payload: &[u8]) -> Vec<u8> {
    let mut message = payload.to_vec();
    let tag = our.seal.seal(&mut message).unwrap();
    message.extend(tag);
    message
}

fn opened(our: &mut Split, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let (text, tag) = message.split_last_chunk::<TAG_LEN>().unwrap();
    let mut text = text.to_vec();
    our.open.open(&mut text, tag).map(|()| text)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Handshake and channel interoperate in both roles, with and without a pre-shared key, rekeys and damaged
    /// messages included; counters agree at every step.
    #[test]
    fn k1_the_engine_and_snow_understand_each_other(
        (protocol, place) in protocols(),
        initiates in any::<bool>(),
        prologue in vec(any::<u8>(), 0..80),
        ephemeral in any::<[u8; 32]>(),
        psk in any::<[u8; 32]>(),
        payloads in [vec(any::<u8>(), 0..300), vec(any::<u8>(), 0..300)],
        steps in vec(step(), 0..25),
    ) {
        let (ours, theirs) = if initiates {
            (Role::Initiator, Role::Responder)
        } else {
            (Role::Responder, Role::Initiator)
        };
        let mut our = our(&protocol, ours, &prologue, ephemeral, place.map(|_| &psk));
        let mut their = their(&protocol, theirs, &prologue, place.map(|place| (place, &psk)));
        shake(ours, &mut our, &mut their, &payloads);

        let hash = their.state.get_handshake_hash().to_vec();
        let (mut our, mut buffer) = (our.split(&RustCrypto).unwrap(), their.buffer);
        let mut their = their.state.into_transport_mode().unwrap();
        prop_assert_eq!(our.hash.as_slice(), hash);
        for step in steps {
            match step {
                Step::Ours(payload) => {
                    let message = sealed(&mut our, &payload);
                    let length = their.read_message(&message, &mut buffer).unwrap();
                    prop_assert_eq!(&buffer[..length], payload);
                }
                Step::Theirs(payload) => {
                    let length = their.write_message(&payload, &mut buffer).unwrap();
                    prop_assert_eq!(opened(&mut our, &buffer[..length]), Ok(payload));
                }
                Step::RekeyOurs => {
                    our.seal.rekey(&RustCrypto).unwrap();
                    their.rekey_incoming();
                }
                Step::RekeyTheirs => {
                    their.rekey_outgoing();
                    our.open.rekey(&RustCrypto).unwrap();
                }
                Step::Damaged(payload, place) => {
                    let length = their.write_message(&payload, &mut buffer).unwrap();
                    let mut damaged = buffer[..length].to_vec();
                    damaged[place % length] ^= 0x10;
                    prop_assert_eq!(opened(&mut our, &damaged), Err(CryptoError::BadTag));
                    prop_assert_eq!(opened(&mut our, &buffer[..length]), Ok(payload));
                }
            }
            prop_assert_eq!(our.seal.counter(), their.receiving_nonce());
            prop_assert_eq!(our.open.counter(), their.sending_nonce());
        }
    }

    /// Whatever differs between the sides ends the handshake, never later than in the second message.
    #[test]
    fn k1_sides_that_differ_do_not_get_through(
        (protocol, place) in protocols(),
        initiates in any::<bool>(),
        prologue in vec(any::<u8>(), 0..80),
        ephemeral in any::<[u8; 32]>(),
        psk in any::<[u8; 32]>(),
        differs_in_psk in any::<bool>(),
    ) {
        let (ours, theirs) = if initiates {
            (Role::Initiator, Role::Responder)
        } else {
            (Role::Responder, Role::Initiator)
        };
        let (mut other_prologue, mut other_psk) = (prologue.clone(), psk);
        if differs_in_psk && place.is_some() {
            other_psk[31] ^= 1;
        } else {
            other_prologue.push(0);
        }
        let mut our = our(&protocol, ours, &prologue, ephemeral, place.map(|_| &psk));
        let mut their = their(&protocol, theirs, &other_prologue, place.map(|place| (place, &other_psk)));
        let (mut message, mut read) = (Vec::new(), Vec::new());
        if initiates {
            our.write_message(&RustCrypto, b"", &mut message).unwrap();
            if their.read(&message).is_ok() {
                let reply = their.write(b"");
                let outcome = our.read_message(&RustCrypto, &reply, &mut read);
                prop_assert_eq!(outcome, Err(CryptoError::BadTag));
            }
        } else if our.read_message(&RustCrypto, &their.write(b""), &mut read).is_ok() {
            our.write_message(&RustCrypto, b"", &mut message).unwrap();
            prop_assert!(their.read(&message).is_err());
        }
    }

    /// A responder that rotates its key tries its candidates on one message, whichever of them snow used.
    #[test]
    fn k1_a_responder_tries_several_keys_on_one_message(
        psks in any::<[[u8; 32]; 3]>(),
        right in 0..3_usize,
        ephemeral in any::<[u8; 32]>(),
    ) {
        prop_assume!(psks[0] != psks[1] && psks[1] != psks[2] && psks[0] != psks[2]);
        let protocol = Protocol::of(Suite::NnPsk0ChaChaPoly);
        let mut their = their(protocol, Role::Initiator, b"p", Some((0, &psks[right])));
        let mut our = our(protocol, Role::Responder, b"p", ephemeral, None);
        let (message, mut read, mut reply) = (their.write(b"first"), Vec::new(), Vec::new());
        for (index, psk) in psks.iter().enumerate().take(right + 1) {
            our.set_psk(Secret::new(*psk)).unwrap();
            let wanted = if index == right { Ok(()) } else { Err(CryptoError::BadTag) };
            prop_assert_eq!(our.read_message(&RustCrypto, &message, &mut read), wanted);
        }
        prop_assert_eq!(read, b"first");
        our.write_message(&RustCrypto, b"second", &mut reply).unwrap();
        prop_assert_eq!(their.read(&reply).unwrap(), b"second");
    }
}
