//! Who may use a service, by the rules that there are, and what a configuration must not be.

use std::time::{Duration, SystemTime};

use handclasp::node::trust::{TrustList, UnixTime};
use handclasp::services::{Allow, Denied, LongServiceName, ServiceTable};
use handclasp::{Capability, ClusterSecret, ConfigError, Peer};
use handclasp_sim::{Pair, Side, builder, id};

/// Node 2 as node 1 sees it: they have the capability `zip` in common.
fn peer() -> Peer {
    let config = |own, other| {
        let zip = Capability::new("zip", 1..=2).expect("a capability");
        let own_alone = Capability::new(format!("only-{own}"), 1..=1).expect("a capability");
        builder(own, &[other]).capability(zip).capability(own_alone).build().expect("a configuration")
    };
    let mut pair = Pair::of(&config(1, 2), &config(2, 1), Some(id(2)));
    pair.establish();
    pair.link(Side::Initiator).peer().expect("established").clone()
}

#[test]
fn i9_each_rule_lets_in_whom_it_says_and_nobody_else() {
    let peer = peer();
    let admitted = [
        Allow::Anyone,
        Allow::listed([id(7), id(2)]),
        Allow::capability("zip"),
        Allow::rule(|peer| peer.id == id(2)),
    ];
    for allow in admitted {
        assert!(allow.admits(&peer), "{allow:?}");
    }
    let denied = [
        Allow::default(),
        Allow::Nobody,
        Allow::listed([]),
        Allow::listed([id(1), id(7)]),
        // What only one side has is not in common, whichever side it is.
        Allow::capability("only-1"),
        Allow::capability("only-2"),
        Allow::capability(""),
        Allow::rule(|peer| peer.id == id(1)),
    ];
    for allow in denied {
        assert!(!allow.admits(&peer), "{allow:?}");
    }
    assert_eq!(format!("{:?}", Allow::rule(|_| true)), "Rule(…)");
}

#[test]
fn i9_a_handler_is_given_to_who_may_have_it_and_no_to_the_rest() {
    let (peer, mut table) = (peer(), ServiceTable::default());
    table.add("open", Allow::Anyone, 1).expect("a short name");
    table.add("closed", Allow::Nobody, 2).expect("a short name");
    assert_eq!(table.lookup("open", &peer), Ok(&1));
    assert_eq!(table.lookup("closed", &peer), Err(Denied::Forbidden));
    assert_eq!(table.lookup("other", &peer), Err(Denied::NoSuchService));
    let service = table.find("closed").expect("it is there for its owner");
    assert_eq!(
        (service.name(), *service.handler(), service.check(&peer)),
        ("closed", 2, Err(Denied::Forbidden))
    );
    assert!(matches!(service.allow(), Allow::Nobody));

    // A snapshot goes on as it was.
    let snapshot = table.clone();
    assert!(table.withdraw("open").is_some());
    assert_eq!(table.lookup("open", &peer), Err(Denied::NoSuchService));
    assert_eq!(snapshot.lookup("open", &peer), Ok(&1));

    let long = "x".repeat(256);
    let error = table.add(&long, Allow::Anyone, 3).expect_err("too long");
    assert_eq!(error, LongServiceName { length: 256 });
    assert!(error.to_string().contains("255") && error.to_string().contains("256"), "{error}");
    table.add(&long[1..], Allow::Anyone, 3).expect("as long as may be");
}

#[test]
fn i8_a_secret_that_could_be_guessed_and_a_network_that_is_too_long_make_no_configuration() {
    assert_eq!(ClusterSecret::new([7; 15]).err(), Some(ConfigError::ShortSecret { length: 15 }));
    assert!(ClusterSecret::new([7; 16]).is_ok());
    let network = |length| builder(1, &[]).network(vec![b'n'; length]).build().err();
    assert_eq!(network(256), Some(ConfigError::LongNetwork { length: 256 }));
    assert_eq!(network(255), None);
}

#[test]
fn i4_the_time_before_1970_is_1970_and_a_list_is_read_as_text() {
    let (start, second) = (SystemTime::UNIX_EPOCH, Duration::from_secs(1));
    assert_eq!(UnixTime::from(start + 9 * second).as_secs(), 9);
    assert_eq!(UnixTime::from(start - second).as_secs(), 0);
    let text = format!("{}\n", id(1));
    let list: TrustList = text.parse().expect("a list");
    assert_eq!((list.to_string(), list.len()), (text, 1));
    assert!(list.get(&id(1)).is_some() && list.get(&id(2)).is_none());
}
