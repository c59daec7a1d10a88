//! H8: each state of waiting, and each message that does not belong there.

use handclasp::crypto::{CryptoProvider, RustCrypto};
use handclasp::{By, Closed, Phase, Reason, Refusal};
use handclasp_sim::hostile::{AUTH, Hostile, REFUSE, Traffic, framed, hello};
use handclasp_sim::{Solo, config, id, key};

/// A link in a state, and what its peer has to speak with.
struct At {
    solo: Solo,
    peer: Option<Hostile>,
    traffic: Option<Traffic>,
    phase: Phase,
}

fn responder(phase: Phase) -> At {
    let mut solo = Solo::responder(&config(2, &[1]), 0);
    let (mut peer, mut traffic) = (None, None);
    match phase {
        Phase::Preamble => {}
        Phase::KeyExchange => {
            solo.feed(b"HCL\x01\x01\x00\x00\x01");
        }
        _ => peer = Some(Hostile::dial_to(&mut solo)),
    }
    if phase == Phase::Established {
        let peer = peer.as_mut().unwrap();
        let auth = peer.auth(&key(1), &hello(|_| {}));
        solo.feed(&peer.seal(&auth));
        let mut keys = peer.traffic(&peer.heard, &auth);
        keys.open(&solo.written());
        traffic = Some(keys);
    }
    assert_eq!(solo.link.phase(), phase);
    At { solo, peer, traffic, phase }
}

fn initiator(phase: Phase) -> At {
    let mut solo = Solo::initiator(&config(1, &[2]), Some(id(2)), 0);
    let (mut held, mut traffic) = (None, None);
    if phase > Phase::KeyExchange {
        let (mut peer, second) = Hostile::answer_to(&mut solo);
        solo.feed(&second);
        if phase > Phase::Authentication {
            let auth = peer.auth(&key(2), &hello(|_| {}));
            solo.feed(&peer.seal(&auth));
            let theirs = peer.open(&solo.written());
            let mut keys = peer.traffic(&auth, &theirs);
            if phase == Phase::Established {
                let status = status(&solo);
                solo.feed(&keys.seal(&status));
            }
            traffic = Some(keys);
        }
        held = Some(peer);
    }
    assert_eq!(solo.link.phase(), phase);
    At { solo, peer: held, traffic, phase }
}

/// The STATUS frame that the initiator of `solo` accepts.
fn status(solo: &Solo) -> Vec<u8> {
    let outcome = &solo.link.peer().unwrap().outcome;
    let digest = RustCrypto.sha256(&[b"handclasp/1 outcome", &outcome.bytes()]);
    [&[0x01, 0, 0, 35, 0], &outcome.version.to_be_bytes()[..], &digest].concat()
}

/// Every state in which bytes are read, freshly made.
fn states() -> Vec<At> {
    use Phase::{Authentication, Established, KeyExchange, Preamble, Status};
    let responders = [Preamble, KeyExchange, Authentication, Established].map(responder);
    let initiators = [KeyExchange, Authentication, Status, Established].map(initiator);
    responders.into_iter().chain(initiators).collect()
}

fn violation(closed: &Closed, at: Phase, what: &str) {
    match &closed.reason {
        Reason::Violation(violation) => {
            assert_eq!(violation.phase, at, "{what}");
            assert!(violation.to_string().contains(at.name()) && !violation.what.what.is_empty());
        }
        other => panic!("{what} in {at}: {other:?}"),
    }
    assert_eq!((closed.by, closed.phase), (By::Local, at), "{what}");
}

/// Whole messages that are sealed under no key, or under a wrong one, in every state.
#[test]
fn h8_each_state_against_each_message_that_no_key_seals() {
    let preamble = b"HCL\x01\x01\x00\x00\x01".to_vec();
    let mut wrong: Vec<(&str, Vec<u8>)> = vec![
        ("preamble", preamble.clone()),
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a cleartext refusal of an unknown code", vec![0, 0, 99, 0, 0, 0, 0, 0]),
        ("a length over all limits", vec![0xff, 0xff, 0, 0, 0, 0, 0, 0]),
    ];
    for length in [1, 7, 15, 16, 17, 31, 32, 33, 47, 48, 49, 200, 4096] {
        wrong.push(("a body of some length", framed(&vec![0x5a; length])));
    }
    for (what, bytes) in wrong {
        for mut at in states() {
            let initiates = at.solo.link.is_initiator();
            let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
            let expected = match (at.phase, initiates) {
                (Phase::Preamble, _) if bytes.len() < 8 || bytes == preamble => continue,
                (Phase::KeyExchange, false) if length == 32 => continue,
                (Phase::KeyExchange, true) if length == 48 => Some(Reason::KeyExchangeFailed),
                (Phase::KeyExchange | Phase::Authentication, _) if length > 4096 => Some(Reason::TooLarge),
                (Phase::Preamble | Phase::KeyExchange, _) => None,
                (Phase::Authentication, _) if length < 16 => None,
                (Phase::Status | Phase::Established, _) if length <= 16 => None,
                (_, _) if length > 16_640 + 16 => Some(Reason::TooLarge),
                _ => Some(Reason::DecryptFailed),
            };
            at.solo.feed(&bytes);
            let closed = at.solo.closed();
            match expected {
                None => violation(&closed, at.phase, what),
                Some(reason) => {
                    assert_eq!((&closed.reason, closed.phase), (&reason, at.phase), "{what}, {length} bytes");
                    assert_eq!(closed.by, By::Local);
                }
            }
        }
    }
}

#[test]
fn h8_records_of_the_handshake_that_open_and_are_wrong() {
    let good = hello(|_| {});
    let mut wrong: Vec<(String, Vec<u8>)> = vec![
        ("empty".into(), vec![]),
        ("AUTH alone".into(), vec![AUTH]),
        ("REFUSE alone".into(), vec![REFUSE]),
        ("a frame".into(), vec![0x30, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("STATUS".into(), vec![0x01, 0, 0, 3, 2, 0, 22]),
    ];
    for kind in (0..=255).filter(|kind| ![AUTH, REFUSE].contains(kind)) {
        wrong.push((format!("kind {kind}"), [&[kind], &good[..], &[0; 96]].concat()));
    }
    // An AUTH that ends anywhere before its end, whatever then stands where id and signature should be.
    for length in 0..good.len() {
        wrong.push((
            format!("AUTH with {length} bytes of hello"),
            [&[AUTH], &good[..length], &[0; 96]].concat(),
        ));
    }
    for length in 1..96 {
        wrong.push((format!("AUTH of {length}"), [&[AUTH], &vec![0; length][..]].concat()));
    }
    for (what, text) in wrong {
        for mut at in [responder(Phase::Authentication), initiator(Phase::Authentication)] {
            let record = at.peer.as_mut().unwrap().seal(&text);
            at.solo.feed(&record);
            violation(&at.solo.closed(), Phase::Authentication, &what);
        }
    }
}

#[test]
fn h8_records_of_status_that_open_and_are_wrong() {
    let good = status(&initiator(Phase::Status).solo);
    let edited = |place: usize| {
        let mut bytes = good.clone();
        bytes[place] ^= 1;
        bytes
    };
    let mut wrong: Vec<(String, Vec<u8>)> = vec![
        ("PING first".into(), vec![0x30, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("PAD first".into(), vec![0, 0, 0, 0]),
        ("CLOSE first".into(), vec![0x42, 0, 0, 2, 0, 5]),
        ("GOODBYE first".into(), vec![0x41, 0, 0, 4, 0, 0, 0, 0]),
        ("SEND first".into(), vec![0x10, 2, 0, 2, 1, b's']),
        ("an unknown frame first".into(), vec![0xff, 0, 0, 0]),
        ("alive, and more".into(), vec![0x01, 0, 0, 2, 1, 0]),
        ("ALIVE_REPLY first".into(), vec![0x02, 0, 0, 1, 0]),
        ("an unknown status".into(), vec![0x01, 0, 0, 1, 9]),
        ("no status".into(), vec![0x01, 0, 0, 0]),
        ("a refusal of an unknown code".into(), vec![0x01, 0, 0, 3, 2, 0, 99]),
        ("a cut refusal".into(), vec![0x01, 0, 0, 2, 2, 0]),
        // Reasons to end a link that is established, and one that only a dialler has.
        ("a goodbye for a refusal".into(), vec![0x01, 0, 0, 7, 2, 0, 1, 0, 0, 0, 0]),
        ("superseded for a refusal".into(), vec![0x01, 0, 0, 3, 2, 0, 3]),
        ("a violation for a refusal".into(), vec![0x01, 0, 0, 3, 2, 0, 50]),
        ("another peer for a refusal".into(), vec![0x01, 0, 0, 3, 2, 0, 40]),
        ("flags".into(), edited(1)),
    ];
    // Another version or digest than this side's: bits of each byte.
    wrong.extend((5..good.len()).map(|place| (format!("outcome byte {place}"), edited(place))));
    // Cut anywhere: the frame's length field says more than there is.
    wrong.extend((1..good.len()).map(|length| (format!("{length} bytes"), good[..length].to_vec())));
    for (what, text) in wrong {
        let mut at = initiator(Phase::Status);
        let record = at.traffic.as_mut().unwrap().seal(&text);
        at.solo.feed(&record);
        violation(&at.solo.closed(), Phase::Status, &what);
    }
    // The unedited one is taken.
    initiator(Phase::Established);
}

#[test]
fn h8_a_message_of_the_handshake_after_its_end() {
    for make in [responder, initiator] {
        // A second STATUS.
        let mut at = make(Phase::Established);
        let record = at.traffic.as_mut().unwrap().seal(&status(&at.solo));
        at.solo.feed(&record);
        violation(&at.solo.closed(), Phase::Established, "a second STATUS");
        // A second AUTH, well sealed for its own place.
        let mut at = make(Phase::Established);
        let number = if at.solo.link.is_initiator() { 2 } else { 1 };
        let peer = at.peer.as_mut().unwrap();
        let auth = peer.auth(&key(number), &hello(|_| {}));
        let record = peer.seal(&auth);
        at.solo.feed(&record);
        assert_eq!(
            (at.solo.closed().reason, at.solo.closed().phase),
            (Reason::DecryptFailed, Phase::Established)
        );
    }
}

#[test]
fn h8_a_hint_in_the_clear_is_heard_up_to_the_first_traffic_record_only() {
    for mut at in states() {
        at.solo.feed(&[0, 0, 3, 0, 9]);
        match at.phase {
            // Eight bytes of preamble are not there yet, and these five are their beginning.
            Phase::Preamble => {
                at.solo.feed(&[0, 0, 0]);
                violation(&at.solo.closed(), Phase::Preamble, "a cleartext refusal");
            }
            Phase::Established => violation(&at.solo.closed(), Phase::Established, "a cleartext refusal"),
            _ => assert_eq!((at.solo.closed().reason.code(), at.solo.closed().by), (20, By::Peer)),
        }
    }
}

#[test]
fn h8_the_end_of_the_stream_in_each_state() {
    for mut at in states() {
        at.solo.hang_up();
        let closed = at.solo.closed();
        assert_eq!((closed.reason, closed.by, closed.phase), (Reason::Truncated, By::Transport, at.phase));
        assert!(at.solo.link.is_finished());
    }
}

/// The question whether an older link still lives.
const ALIVE: [u8; 5] = [0x01, 0, 0, 1, 1];

/// An initiator that has been asked and has answered.
fn asked() -> At {
    let mut at = initiator(Phase::Status);
    let keys = at.traffic.as_mut().unwrap();
    let record = keys.seal(&[&ALIVE[..], &[0x00, 0, 0, 2, 0, 0]].concat());
    at.solo.feed(&record);
    let answer = at.solo.written();
    // It knows of no other link, so it goes on.
    assert_eq!(at.traffic.as_mut().unwrap().open(&answer), [0x02, 0, 0, 1, 0]);
    assert_eq!(at.solo.link.phase(), Phase::Status);
    at
}

#[test]
fn c3_a_dialler_without_a_node_goes_on_and_takes_the_second_word() {
    for (accept, simultaneous) in [(0, false), (3, true)] {
        let mut at = asked();
        let mut status = status(&at.solo);
        status[4] = accept;
        let record = at.traffic.as_mut().unwrap().seal(&status);
        at.solo.feed(&record);
        assert_eq!(at.solo.link.phase(), Phase::Established);
        assert_eq!(at.solo.link.peer().unwrap().simultaneous, simultaneous);
    }
    let mut at = asked();
    let record = at.traffic.as_mut().unwrap().seal(&[0x01, 0, 0, 3, 2, 0, 24]);
    at.solo.feed(&record);
    let closed = at.solo.closed();
    assert_eq!((closed.reason, closed.by), (Reason::Refused(Refusal::Alive), By::Peer));
}

#[test]
fn c3_what_is_no_second_word_is_a_violation() {
    let again = [&ALIVE[..], &ALIVE].concat();
    for (what, text) in
        [("asked twice", &ALIVE[..]), ("an answer", &[0x02, 0, 0, 1, 0]), ("twice in one", &again)]
    {
        let mut at = asked();
        let record = at.traffic.as_mut().unwrap().seal(text);
        at.solo.feed(&record);
        violation(&at.solo.closed(), Phase::Status, what);
    }
    // Traffic records have come: a refusal in the clear is none any more.
    let mut at = asked();
    at.solo.feed(&[0, 0, 3, 0, 9]);
    violation(&at.solo.closed(), Phase::Status, "a cleartext refusal");
    // Behind the question, before the answer.
    let mut at = initiator(Phase::Status);
    let text = [&ALIVE[..], &status(&at.solo)].concat();
    let record = at.traffic.as_mut().unwrap().seal(&text);
    at.solo.feed(&record);
    violation(&at.solo.closed(), Phase::Alive, "STATUS behind STATUS");
}

#[test]
fn c3_an_answer_to_no_question_is_a_violation() {
    for make in [responder, initiator] {
        let mut at = make(Phase::Established);
        let record = at.traffic.as_mut().unwrap().seal(&[0x02, 0, 0, 1, 0]);
        at.solo.feed(&record);
        violation(&at.solo.closed(), Phase::Established, "ALIVE_REPLY");
    }
}
