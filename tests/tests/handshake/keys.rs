//! K2, K7, K8: what both sides of a link can derive and nobody else, and what becomes of a link that cannot.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use handclasp::crypto::{CryptoError, CryptoProvider, RustCrypto};
use handclasp::{By, Config, HandshakeStats, Phase, Reason, Trust};
use handclasp_sim::hostile::{Hostile, hello};
use handclasp_sim::watched::{Watch, Watched};
use handclasp_sim::{Owned, Pair, Side, Solo, builder, config, id, key};

use crate::{SIDES, failures, settle};

fn export(pair: &mut Pair, side: Side, label: &[u8], context: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    pair.link(side).export(label, context, &mut out).unwrap();
    out
}

#[test]
fn k7_both_sides_export_the_same_and_everything_else_differs() {
    let mut seen = HashSet::new();
    let inputs: [(&[u8], &[u8]); 8] = [
        (b"", b""),
        (b"a", b""),
        (b"", b"a"),
        (b"ab", b"c"),
        (b"a", b"bc"),
        (b"abc", b""),
        (b"\x00\x01a", b""),
        (b"a\x00", b""),
    ];
    for run in 0..4 {
        let mut pair = Pair::seeded(&config(1, &[2]), &config(2, &[1]), Some(id(2)), run);
        pair.establish();
        let bindings = SIDES.map(|side| pair.link(side).peer().unwrap().channel_binding);
        assert_eq!(bindings[0], bindings[1]);
        assert!(seen.insert(bindings[0]));
        for (label, context) in inputs {
            let here = export(&mut pair, Side::Initiator, label, context);
            assert_eq!(here, export(&mut pair, Side::Responder, label, context));
            assert!(seen.insert(here), "{label:?} {context:?} of link {run} was seen before");
        }
    }
    assert_eq!(seen.len(), 4 * 9);
}

/// The same randomness on both sides of the key exchange, but other people: other keys.
#[test]
fn k7_the_binding_covers_who_is_at_both_ends() {
    let mut seen = HashSet::new();
    for (i, r) in [(1, 2), (3, 2), (1, 4)] {
        let [initiator, responder] = settle(&mut Pair::of(&config(i, &[r]), &config(r, &[i]), Some(id(r))));
        assert_eq!(initiator.view().binding, responder.view().binding);
        assert!(seen.insert(initiator.view().binding));
    }
    // And what they say of themselves.
    let named = builder(1, &[2]).name("n").build().unwrap();
    let [initiator, _] = settle(&mut Pair::of(&named, &config(2, &[1]), Some(id(2))));
    assert!(seen.insert(initiator.view().binding));
}

#[test]
fn k7_exports_outlive_rekeys_and_have_limits() {
    let mut pair = Pair::established();
    let before = export(&mut pair, Side::Initiator, b"l", b"c");
    let now = pair.now;
    pair.initiator.link.rekey(now);
    pair.run();
    assert_eq!(pair.initiator.link.stats().rekeys_sent, 1);
    for side in SIDES {
        assert_eq!(export(&mut pair, side, b"l", b"c"), before);
        let link = pair.link(side);
        assert_eq!(link.export(b"l", b"c", &mut vec![0; 8160]), Ok(()));
        assert_eq!(link.export(b"l", b"c", &mut vec![0; 8161]), Err(CryptoError::BadLength));
        assert_eq!(link.export(&vec![0; 65_535], b"c", &mut [0; 32]), Ok(()));
        assert_eq!(link.export(&vec![0; 65_536], b"c", &mut [0; 32]), Err(CryptoError::BadLength));
        assert_eq!(link.export(b"l", &vec![0; 65_536], &mut [0; 32]), Err(CryptoError::BadLength));
    }
}

#[test]
fn k7_there_is_nothing_to_export_before_there_are_keys() {
    let mut out = [0xee; 32];
    let solo = Solo::responder(&config(2, &[1]), 0);
    assert_eq!(solo.link.export(b"l", b"c", &mut out), Err(CryptoError::OutOfTurn));
    let solo = Solo::initiator(&config(1, &[2]), None, 0);
    assert_eq!(solo.link.export(b"l", b"c", &mut out), Err(CryptoError::OutOfTurn));
    assert_eq!(out, [0xee; 32]);
}

/// What docs/wire.md says, computed apart from the link machine.
#[test]
fn k7_the_binding_is_the_documented_one() {
    let mut solo = Solo::responder(&config(2, &[1]), 0);
    let mut peer = Hostile::dial_to(&mut solo);
    let auth = peer.auth(&key(1), &hello(|_| {}));
    let record = peer.seal(&auth);
    solo.feed(&record);
    assert_eq!(solo.link.phase(), Phase::Established);
    assert_eq!(solo.link.peer().unwrap().channel_binding, peer.traffic(&peer.heard, &auth).binding);
}

/// An application that binds its own proof to the link while it decides must not bind it to zeros.
#[test]
fn k7_the_binding_is_never_zeros_while_the_application_decides() {
    for side in SIDES {
        let asks = |number, wanted| {
            let trust = if side == wanted { Trust::Ask } else { Trust::Anyone };
            builder(number, &[]).trust(trust).build().unwrap()
        };
        let mut pair = Pair::of(&asks(1, Side::Initiator), &asks(2, Side::Responder), None);
        pair.run();
        assert_eq!(pair.link(side).phase(), Phase::Admission);
        let asked = pair.link(side).peer().unwrap().channel_binding;
        assert_ne!(asked, [0; 32], "{side:?}");
        let now = pair.now;
        pair.link(side).admit(now);
        let [i, r] = settle(&mut pair);
        assert_eq!((i.view().binding, r.view().binding), (asked, asked));
    }
}

/// Only while messages flow: not while the application decides, and not of a link that is over.
#[test]
fn k7_exports_are_for_links_that_are_established() {
    let mut pair = Pair::established();
    let now = pair.now;
    let mut out = [0xee; 32];
    for side in SIDES {
        let asks = |number, wanted| {
            let trust = if side == wanted { Trust::Ask } else { Trust::Anyone };
            builder(number, &[]).trust(trust).build().unwrap()
        };
        let mut asked = Pair::of(&asks(1, Side::Initiator), &asks(2, Side::Responder), None);
        asked.run();
        assert_eq!(asked.link(side).phase(), Phase::Admission);
        assert_eq!(asked.link(side).export(b"l", b"c", &mut out), Err(CryptoError::OutOfTurn), "{side:?}");
        pair.link(side).close(now);
        assert_eq!(pair.link(side).export(b"l", b"c", &mut out), Err(CryptoError::OutOfTurn), "{side:?}");
    }
    assert_eq!(out, [0xee; 32]);
}

/// Derives so many times, and fails from then on.
#[derive(Debug)]
struct Failing {
    left: AtomicUsize,
}

impl Watch for Failing {
    fn hkdf_sha256(
        &self,
        salt: &[u8],
        key_material: &[u8],
        info: &[&[u8]],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        let left = self.left.load(Relaxed);
        self.left.store(left.saturating_sub(1), Relaxed);
        if left == 0 {
            return Err(CryptoError::BadLength);
        }
        RustCrypto.hkdf_sha256(salt, key_material, info, out)
    }
}

fn failing(number: u8, peer: u8, after: usize) -> Arc<Config> {
    let provider = Watched::new(Failing { left: AtomicUsize::new(after) });
    builder(number, &[peer]).provider(provider).build().unwrap()
}

#[test]
fn k2_a_link_whose_seed_cannot_be_drawn_from_ends_without_a_byte() {
    for (which, mut solo) in [
        (Side::Initiator, Solo::initiator(&failing(1, 2, 0), Some(id(2)), 0)),
        (Side::Responder, Solo::responder(&failing(2, 1, 0), 0)),
    ] {
        assert_eq!(solo.written(), b"", "{which:?}");
        let closed = solo.closed();
        assert_eq!((closed.reason, closed.by), (Reason::ProviderFailed, By::Local), "{which:?}");
        assert!(matches!(&solo.events[..], [Owned::Opened, Owned::Closed(_)]), "{:?}", solo.events);
        // What comes in changes nothing.
        solo.feed(&Pair::established().initiator.pipe.log);
        assert_eq!((solo.written(), solo.events.len()), (vec![], 2));
    }
}

#[test]
fn k2_a_provider_that_fails_later_ends_the_handshake_as_well() {
    for side in SIDES {
        let mut failed = 0;
        loop {
            let (mut i, mut r) = (config(1, &[2]), config(2, &[1]));
            match side {
                Side::Initiator => i = failing(1, 2, failed),
                Side::Responder => r = failing(2, 1, failed),
            }
            let mut pair = Pair::of(&i, &r, Some(id(2)));
            pair.run();
            if pair.link(side).phase() == Phase::Established {
                break;
            }
            let closed = pair.closed(side);
            let expected = (Reason::ProviderFailed, By::Local);
            assert_eq!((closed.reason, closed.by), expected, "{failed}, {side:?}");
            assert!(closed.phase.is_handshake() && pair.link(side).is_finished());
            assert!(pair.link(side).peer().is_none(), "established with {failed} derivations");
            failed += 1;
        }
        assert!(failed >= 2, "the {side:?} derives its draws and its traffic keys: {failed}");
    }
}

#[test]
fn k8_a_configuration_counts_its_handshakes() {
    let count = |config: &Config| {
        let HandshakeStats { started, completed, failed, .. } = config.handshakes();
        (started, completed, failed)
    };
    let (i, r) = (config(1, &[2]), config(2, &[1]));
    assert_eq!((count(&i), count(&r)), ((0, 0, 0), (0, 0, 0)));
    let mut pair = Pair::of(&i, &r, Some(id(2)));
    assert_eq!((count(&i), count(&r)), ((1, 0, 0), (1, 0, 0)), "under way");
    pair.establish();
    assert_eq!((count(&i), count(&r)), ((1, 1, 0), (1, 1, 0)));
    // The end of an established link is no failed handshake.
    let now = pair.now;
    pair.initiator.link.close(now);
    pair.run();
    assert_eq!((count(&i), count(&r)), ((1, 1, 0), (1, 1, 0)));
    failures(&mut Pair::of(&i, &r, Some(id(3))));
    assert_eq!((count(&i), count(&r)), ((2, 1, 1), (2, 1, 1)));
    let mut silent = Solo::responder(&r, 1);
    silent.pass(crate::WHOLE);
    assert_eq!(count(&r), (3, 1, 2));
    // A link that cannot even begin has failed.
    let broken = failing(2, 1, 0);
    let _ = Solo::responder(&broken, 0);
    assert_eq!(count(&broken), (1, 0, 1));
}
