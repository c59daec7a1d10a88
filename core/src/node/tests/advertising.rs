//! Adverts between nodes: who pushes what to whom.

use super::*;
use crate::hello::AdvertVersions;
use crate::node::adverts::{Advert, AdvertContent};
use crate::node::trust::UnixTime;

fn somewhere(port: u16) -> Vec<DialAddress> {
    alloc::vec![DialAddress { weight: 1, address: alloc::format!("node.example:{port}") }]
}

fn link_with(bench: &mut Bench, peer: NodeId, incarnation: u64, held: u64) -> LinkId {
    let link = bench.accept();
    let mut hello = Bench::hello(incarnation, 500);
    hello.adverts = Some(AdvertVersions { own: 0, held });
    bench.say(link, FromLink::Identified(Box::new(Identity { id: peer, hello })));
    bench.say(link, FromLink::Established);
    bench.say(link, FromLink::Confirmed);
    link
}

fn pushed(bench: &mut Bench) -> Vec<(LinkId, u64)> {
    let words = bench.words().into_iter();
    let adverts = words.filter_map(|(link, word)| match word {
        ToLink::Advert(bytes) => Some((link, Advert::parse(&bytes).expect("an advert").version())),
        _ => None,
    });
    adverts.collect()
}

/// An advert of this version by the owner of a key, with one address.
fn signed(byte: u8, version: u64, port: u16) -> Advert {
    let content = AdvertContent {
        version,
        created: UnixTime::from_secs(1),
        addresses: somewhere(port),
        capabilities: Vec::new(),
    };
    Advert::sign(content, &key(byte)).expect("an advert")
}

#[test]
fn d4_the_newer_advert_is_pushed_after_establishment_and_on_change() {
    let mut bench = Bench::new();
    let (lesser, greater) = (bench.lesser, bench.greater);
    bench.node.advertise(somewhere(1), UnixTime::from_secs(1000)).expect("an advert");
    let behind = link_with(&mut bench, lesser, 9, 999);
    assert_eq!(pushed(&mut bench), [(behind, 1000)]);
    let current = link_with(&mut bench, greater, 9, 1000);
    assert_eq!(pushed(&mut bench), [], "it has that one");
    // Twice in the same second is two versions all the same.
    bench.node.advertise(somewhere(2), UnixTime::from_secs(1000)).expect("an advert");
    assert_eq!(pushed(&mut bench), [(behind, 1001), (current, 1001)]);
    bench.say(behind, FromLink::AdvertAcked { version: 1001 });
    bench.end(behind, Reason::Truncated, By::Transport);
    let again = link_with(&mut bench, lesser, 9, 0);
    assert_eq!(pushed(&mut bench), [(again, 1001)], "it says that it has none");
}

#[test]
fn d4_an_advert_that_another_one_has_overtaken_is_not_taken() {
    let mut bench = Bench::new();
    let content = bench.node.advert_content(somewhere(1), UnixTime::from_secs(1000));
    let signed = Advert::sign(content, &*bench.node.config.signer).expect("an advert");
    bench.node.advertise(somewhere(2), UnixTime::from_secs(1000)).expect("an advert");
    assert!(!bench.node.set_advert(signed.clone()), "there is one of that version");
    assert_eq!(bench.node.advert().map(Advert::addresses), Some(&somewhere(2)[..]));
    // Signed anew it is the next one.
    let content = bench.node.advert_content(somewhere(1), UnixTime::from_secs(1000));
    let again = Advert::sign(content, &*bench.node.config.signer).expect("an advert");
    assert!(again.version() > signed.version() && bench.node.set_advert(again));
    assert_eq!(bench.node.advert().map(Advert::addresses), Some(&somewhere(1)[..]));
}

#[test]
fn d4_an_acceptor_gets_the_advert_always_for_it_cannot_say_what_it_has() {
    let mut bench = Bench::new();
    let peer = bench.lesser;
    bench.want(peer);
    bench.node.advertise(somewhere(1), UnixTime::from_secs(1000)).expect("an advert");
    for _ in 0..2 {
        let own = bench.connect();
        bench.identify(own, peer, 9);
        bench.say(own, FromLink::Established);
        assert_eq!(pushed(&mut bench), [(own, 1000)]);
        bench.say(own, FromLink::AdvertAcked { version: 1000 });
        bench.end(own, Reason::Truncated, By::Transport);
        drop(bench.actions());
        bench.node.want(peer, bench.now + Duration::from_secs(60), bench.now).expect("wanted");
        bench.pass(Duration::from_secs(2));
    }
}

#[test]
fn d4_a_peers_advert_is_verified_stored_and_acknowledged() {
    let mut bench = Bench::new();
    let (peer, byte) = ids()[2];
    let link = bench.linked_by(peer, 9);
    drop(bench.actions());
    let advert = |version, port| signed(byte, version, port);
    let mut push = |bytes: &[u8]| {
        bench.say(link, FromLink::Advert(bytes::Bytes::copy_from_slice(bytes)));
        let (mut acked, mut told) = (None, "nothing");
        for action in bench.actions() {
            match action {
                NodeAction::ToLink(_, NodeToLink(ToLink::AckAdvert { version })) => acked = Some(version),
                NodeAction::Event(NodeEvent::Advert { .. }) => told = "new",
                NodeAction::Event(NodeEvent::AdvertRefused { why, .. }) => {
                    told = match why {
                        AdvertRefusal::Stale { .. } => "stale",
                        AdvertRefusal::Forked { .. } => "forked",
                        AdvertRefusal::Full => "full",
                        AdvertRefusal::Invalid(_) => "invalid",
                    };
                }
                _ => {}
            }
        }
        (acked, told)
    };
    let newest = advert(5, 1);
    assert_eq!(push(newest.bytes()), (Some(5), "new"));
    assert_eq!(push(newest.bytes()), (Some(5), "nothing"));
    assert_eq!(push(advert(4, 2).bytes()), (Some(5), "stale"));
    assert_eq!(push(advert(5, 2).bytes()), (Some(5), "forked"));
    let mut forged = advert(6, 1).bytes().to_vec();
    forged[40] ^= 1;
    assert_eq!(push(&forged), (Some(5), "invalid"));
    let content = AdvertContent {
        version: 9,
        created: UnixTime::from_secs(1),
        addresses: Vec::new(),
        capabilities: Vec::new(),
    };
    let of_another = Advert::sign(content, &key(77)).expect("an advert");
    assert_eq!(push(of_another.bytes()), (Some(5), "invalid"));
    assert_eq!(bench.node.advert_of(peer).map(Advert::version), Some(5));
}

#[test]
fn d6_an_advertised_address_is_dialled_only_if_policy_allows() {
    for dial_back in [false, true] {
        let mut bench = Bench::with(NodePolicy { dial_back, ..NodePolicy::default() }, None);
        let (peer, byte) = ids()[2];
        let link = bench.linked_by(peer, 9);
        let advert = signed(byte, 1, 7);
        bench.say(link, FromLink::Advert(advert.bytes().clone()));
        bench.node.set_permanence(peer, Permanence::Permanent, bench.now);
        bench.end(link, Reason::Truncated, By::Transport);
        drop(bench.actions());
        bench.pass(Duration::from_secs(2));
        let dials = bench.actions().into_iter().filter(|action| matches!(action, NodeAction::Dial(_)));
        assert_eq!(dials.count(), usize::from(dial_back));
    }
}

#[test]
fn d4_an_advert_by_a_link_that_ends_is_not_heard() {
    let mut bench = Bench::new();
    let (peer, byte) = ids()[2];
    let advert = signed(byte, 5, 1);
    let old = bench.linked_by(peer, 9);
    let new = bench.linked_by(peer, 10);
    assert!(named(&bench.words()).contains(&(old, "superseded")));
    bench.say(old, FromLink::Advert(advert.bytes().clone()));
    let actions = bench.actions();
    assert!(actions.is_empty(), "{actions:?}");
    assert_eq!(bench.node.advert_of(peer), None);
    // The same one by the link that is left.
    bench.say(new, FromLink::Advert(advert.bytes().clone()));
    assert_eq!(named(&bench.words()), [(new, "ack advert")]);
    assert_eq!(bench.node.advert_of(peer), Some(&advert));
}

#[test]
fn d4_a_node_keeps_no_more_adverts_than_its_policy_has_room_for() {
    let mut bench = Bench::with(NodePolicy { remembered: 1, ..NodePolicy::default() }, None);
    let [(first, one), _, (second, other)] = ids();
    let links = [first, second].map(|peer| bench.linked_by(peer, 9));
    drop(bench.actions());
    let push = |bench: &mut Bench, link, byte| {
        let advert = signed(byte, 5, 1);
        bench.say(link, FromLink::Advert(advert.bytes().clone()));
        let (mut acked, mut refused) = (None, None);
        for action in bench.actions() {
            match action {
                NodeAction::ToLink(to, NodeToLink(ToLink::AckAdvert { version })) if to == link => {
                    acked = Some(version);
                }
                NodeAction::Event(NodeEvent::AdvertRefused { peer, why }) => refused = Some((peer, why)),
                _ => {}
            }
        }
        (acked, refused)
    };
    assert_eq!(push(&mut bench, links[0], one), (Some(5), None));
    // The peer learns that its advert was not kept: it is none that this node holds.
    assert_eq!(push(&mut bench, links[1], other), (Some(0), Some((second, AdvertRefusal::Full))));
    assert_eq!(bench.node.advert_of(second), None);
    assert_eq!(bench.node.advert_of(first).map(Advert::version), Some(5), "it displaces nobody");
    // Whoever is forgotten makes room.
    bench.node.revoke(first, bench.now);
    drop(bench.actions());
    assert_eq!(push(&mut bench, links[1], other), (Some(5), None));
}
