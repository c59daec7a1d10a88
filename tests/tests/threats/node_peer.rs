//! A peer that is trusted and hostile: what it can make a node keep and compute, beside its link.

use allocation_counter::measure;
use handclasp::Phase;
use handclasp::hello::DialAddress;
use handclasp::node::adverts::{Advert, AdvertContent};
use handclasp::node::trust::UnixTime;
use handclasp::node::{NodeEvent, NodePolicy};
use handclasp_sim::hostile::{Hostile, Traffic, hello, messages};
use handclasp_sim::raw::{RAW, frame};
use handclasp_sim::{Counting, Solo, builder, id, key};

use crate::host::{Host, source};

/// A node, and a link of its to a peer that has its own way of speaking.
struct Peer {
    host: Host,
    link: handclasp::node::LinkId,
    solo: Solo,
    traffic: Traffic,
    counts: Counting,
}

fn peer() -> Peer {
    let counts = Counting::default();
    let config = builder(2, &[RAW]).provider(counts.clone()).build().expect("a valid configuration");
    let mut host = Host::new(&config, NodePolicy::default());
    let (link, mut solo) = host.connect_by_hand(source(1));
    let mut raw = Hostile::dial_to(&mut solo);
    let auth = raw.auth(&key(RAW), &hello(|_| {}));
    let record = raw.seal(&auth);
    solo.feed(&record);
    host.talk(link, &mut solo);
    assert_eq!(solo.link.phase(), Phase::Established);
    let traffic = raw.traffic(&raw.heard, &auth);
    let mut peer = Peer { host, link, solo, traffic, counts };
    peer.answers();
    peer.host.events.clear();
    peer.counts.verified.take();
    peer
}

impl Peer {
    /// Sends a record of these frames, and lets link and node do what they do.
    fn send(&mut self, text: &[u8]) {
        let record = self.traffic.seal(text);
        self.solo.feed(&record);
        self.host.talk(self.link, &mut self.solo);
    }

    /// The plaintext of the records that the link has written.
    fn answers(&mut self) -> Vec<Vec<u8>> {
        let written = self.solo.written();
        messages(&written, false).iter().map(|record| self.traffic.open(record)).collect()
    }
}

fn advert(version: u64, addresses: usize) -> Vec<u8> {
    let address = |number| DialAddress { weight: 1, address: format!("{number:0>28}") };
    let content = AdvertContent {
        version,
        created: UnixTime::from_secs(1_803_902_400),
        addresses: (0..addresses).map(address).collect(),
        capabilities: Vec::new(),
    };
    Advert::sign(content, &key(RAW)).expect("a valid advert").bytes().to_vec()
}

/// Adverts one behind the other, each acknowledged: the newest is kept, and one signature is checked for each
/// that would change something.
#[test]
fn d4_a_flood_of_adverts_keeps_one_and_checks_a_signature_for_each_news_only() {
    let mut peer = peer();
    let news: Vec<_> = (1..=200).map(|version| advert(version, 60)).collect();
    let mut forged = advert(1000, 60);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    for advert in &news[..100] {
        peer.send(&frame(0x38, 0, advert));
    }
    peer.answers();
    peer.host.events.clear();
    assert_eq!(peer.counts.verified.take(), 100);
    let memory = measure(|| {
        for advert in &news[100..] {
            peer.send(&frame(0x38, 0, advert));
            peer.answers();
            peer.host.events.clear();
        }
    });
    assert_eq!(peer.counts.verified.take(), 100);
    assert!(memory.bytes_current < 16 << 10, "{} bytes more are held", memory.bytes_current);
    assert_eq!(peer.host.node.advert_of(id(RAW)).map(Advert::version), Some(200));
    // What is old or known costs no signature.
    for advert in &news {
        peer.send(&frame(0x38, 0, advert));
    }
    assert_eq!(peer.counts.verified.take(), 0);
    // A forgery costs one, and changes nothing.
    peer.send(&frame(0x38, 0, &forged));
    assert_eq!(peer.counts.verified.take(), 1);
    assert_eq!(peer.host.node.advert_of(id(RAW)).map(Advert::version), Some(200));
    // Each was acknowledged before the next, or the link would be over: so a peer that reads nothing sends one.
    assert_eq!(peer.solo.link.phase(), Phase::Established);
    peer.send(&[frame(0x38, 0, advert(300, 0)), frame(0x38, 0, advert(301, 0))].concat());
    assert_eq!(peer.solo.link.phase(), Phase::Closed);
}

/// A wish to be kept that comes and goes makes one event for each record at most, and nothing that stays.
#[test]
fn d1_permanence_to_and_fro_leaves_a_node_as_it_was() {
    let mut peer = peer();
    let flips: Vec<u8> = (0..1000).flat_map(|number| frame(0x3a, 0, [u8::from(number % 2 == 0)])).collect();
    let kept: Vec<u8> = [flips.clone(), frame(0x3a, 0, [1])].concat();
    peer.send(&flips);
    peer.host.events.clear();
    let memory = measure(|| {
        for number in 0..200 {
            peer.send(if number % 2 == 0 { &kept } else { &flips });
        }
    });
    let told = peer.host.events.iter().filter(|event| matches!(event, NodeEvent::Permanence { .. })).count();
    assert_eq!((told, peer.host.events.len()), (200, 200));
    let events =
        i64::try_from(peer.host.events.capacity() * size_of::<NodeEvent>()).expect("no end of events");
    assert!(memory.bytes_current < events + (8 << 10), "{} bytes more are held", memory.bytes_current);
}
