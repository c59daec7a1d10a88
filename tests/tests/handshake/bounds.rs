//! I11: what a peer that has not proved anything can make a link hold.

use handclasp::{Limits, Phase, Reason, Refusal, Trust};
use handclasp_sim::hostile::{Hostile, hello};
use handclasp_sim::raw::frame;
use handclasp_sim::{Pair, Solo, builder, config, id, key};

/// The most that a link holds before its peer is authenticated: a length field and a body.
const MOST: usize = 2 + 4096;

/// A responder, and an initiator, that wait for the other side's record of authentication.
fn waiting() -> [Solo; 2] {
    let mut responder = Solo::responder(&config(2, &[1]), 0);
    Hostile::dial_to(&mut responder);
    let mut initiator = Solo::initiator(&config(1, &[2]), None, 0);
    let (_, second) = Hostile::answer_to(&mut initiator);
    initiator.feed(&second);
    [responder, initiator]
}

#[test]
fn i11_a_claimed_length_reserves_nothing() {
    for mut solo in waiting() {
        assert_eq!(solo.link.phase(), Phase::Authentication);
        let before = solo.link.recv_space().len();
        solo.feed(&[0x10, 0x00]);
        assert!(solo.link.recv_space().len() < before.max(1025), "room for what was only claimed");
        // Room grows with bytes that are there, and ends with the largest message.
        let mut fed = 2;
        while fed < MOST - 1 {
            let room = solo.link.recv_space().len();
            assert!(fed + room <= MOST && room <= (4 * fed).max(1024), "{room} bytes of room behind {fed}");
            fed += solo.feed_in(&[0xaa; 100][..100.min(MOST - 1 - fed)], 100);
        }
        assert_eq!((solo.link.phase(), solo.link.recv_space().len()), (Phase::Authentication, 1));
        solo.feed(&[0xaa]);
        assert_eq!(solo.closed().reason, Reason::DecryptFailed);
        assert!(solo.link.recv_space().is_empty());
    }
}

#[test]
fn i11_a_length_over_the_limit_ends_the_link_before_its_bytes_come() {
    for mut solo in waiting() {
        solo.feed(&[0x10, 0x01]);
        assert_eq!((solo.closed().reason, solo.closed().phase), (Reason::TooLarge, Phase::Authentication));
    }
}

/// While the application decides, the peer may talk on: the link takes what it may hold, and then no more.
#[test]
fn i11_bytes_behind_the_handshake_wait_outside_while_the_application_decides() {
    let mut solo = Solo::responder(&builder(2, &[]).trust(Trust::Ask).build().unwrap(), 0);
    let mut peer = Hostile::dial_to(&mut solo);
    let auth = peer.auth(&key(1), &hello(|_| {}));
    let record = peer.seal(&auth);
    solo.feed(&record);
    assert_eq!(solo.link.phase(), Phase::Admission);
    let taken = solo.feed(&vec![0xaa; 100_000]);
    assert!(taken <= MOST, "{taken} bytes held");
    assert!(solo.link.recv_space().is_empty());
    assert_eq!(solo.link.phase(), Phase::Admission);
    solo.link.refuse(Refusal::Denied, solo.now);
    assert_eq!(solo.closed().reason, Reason::Refused(Refusal::Denied));
}

/// What had no room while the application decided comes in once it has.
#[test]
fn i11_bytes_that_waited_outside_are_read_once_the_application_has_decided() {
    let mut solo = Solo::responder(&builder(2, &[]).trust(Trust::Ask).build().unwrap(), 0);
    let mut peer = Hostile::dial_to(&mut solo);
    let own = hello(|hello| hello.limits = Limits::default());
    let auth = peer.auth(&key(1), &own);
    solo.feed(&peer.seal(&auth));
    assert_eq!(solo.link.phase(), Phase::Admission);
    let record = peer.traffic(&peer.heard, &auth).seal(&frame(0, 0, vec![0; 16_000]));
    let taken = solo.feed(&record);
    assert_eq!(taken, MOST, "as much as it may hold");
    solo.link.admit(solo.now);
    solo.act();
    assert_eq!(solo.feed(&record[taken..]), record.len() - taken);
    assert_eq!((solo.link.phase(), solo.link.stats().records_opened), (Phase::Established, 1));
}

#[test]
fn i11_nothing_that_an_unproved_peer_sends_makes_a_link_write_more_than_its_answer() {
    let mut solo = Solo::responder(&config(2, &[1]), 0);
    Hostile::dial_to(&mut solo);
    solo.feed(&vec![0; 100_000]);
    assert!(solo.link.closed().is_some());
    assert!(solo.written().len() <= 5);
}

#[test]
fn i11_a_peer_that_was_not_admitted_leaves_no_event_of_itself_but_the_end() {
    let mut pair = Pair::of(&config(1, &[2]), &config(2, &[]), Some(id(2)));
    crate::failures(&mut pair);
    let events = &pair.responder.events;
    assert_eq!(events.len(), 2, "{events:?}");
}
