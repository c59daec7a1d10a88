//! Whoever has proved nothing, in any number: what a listener computes and holds for them.

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use handclasp::hello::Capability;
use handclasp::node::NodePolicy;
use handclasp::{ClusterSecret, Config, ConfigBuilder, Phase, SecretKey, Trust};
use handclasp_sim::hostile::{Hostile, psk};
use handclasp_sim::{Count, Counting, CountingSigner, Solo, config, id, key};

use crate::host::{Host, Met, source};

/// Connections of a flood.
const FLOOD: u32 = 100_000;

/// From one connection to the next: the whole flood takes ten seconds.
const APART: Duration = Duration::from_micros(100);

/// The most that a place for a handshake may hold, in bytes: the link with its largest message, its record at
/// the node, and what maps and queues of either keep free.
const PLACE: u64 = 12 << 10;

/// The same of one that has said nothing.
const SILENT_PLACE: u64 = 3 << 10;

/// A listener that counts its cryptography.
struct Listener {
    host: Host,
    counts: Counting,
    signed: Count,
}

fn listener(secret: Option<&[u8]>, trust: Trust, policy: NodePolicy) -> Listener {
    let (counts, own) = (Counting::default(), CountingSigner::new(key(2)));
    let signed = own.signed();
    let mut builder = Config::builder(own, 2).provider(counts.clone()).trust(trust);
    if let Some(secret) = secret {
        builder = builder.cluster_secret(ClusterSecret::new(secret).expect("a secret"));
    }
    let config = builder.build().expect("a valid configuration");
    Listener { host: Host::new(&config, policy), counts, signed }
}

fn trusting_one() -> Trust {
    Trust::listed([id(1)])
}

/// Preamble and first message, by somebody who has this cluster secret.
fn first_message(secret: Option<&[u8]>) -> Vec<u8> {
    let (_, preamble, first) = Hostile::dial(secret.map(|secret| psk(secret, b"")), b"");
    [preamble, first].concat()
}

/// Knocks with `bytes` again and again, from the sources that `from` names: how many were taken.
fn flood(host: &mut Host, bytes: &[u8], from: impl Fn(u32) -> u32) -> u32 {
    let mut taken = 0;
    for number in 0..FLOOD {
        taken += u32::from(host.knock(source(from(number)), bytes));
        host.pass(APART);
    }
    taken
}

/// Whatever a flood has left: nothing, once its time is over.
fn leaves_nothing(host: &mut Host) {
    host.pass(Duration::from_secs(31));
    assert_eq!((host.links(), host.node.link_counts()), (0, (0, 0)));
    assert_eq!(host.node.statuses().count(), 0, "a stranger has a record");
    assert!(host.events.is_empty(), "{:?}", host.events);
}

/// From everywhere at once: the places for handshakes are full all the time, and each goes to another stranger
/// once it has brought nothing for a second.
#[test]
fn c6_a_flood_of_first_messages_costs_what_the_places_for_handshakes_allow_and_no_more() {
    let policy = NodePolicy::default();
    let places = u64::try_from(policy.handshakes).unwrap();
    // As much as a stranger can make a link hold: of the record that would prove its id all but the last byte.
    let first = [first_message(None), vec![0x10, 0x00], vec![0xaa; 4095]].concat();
    let Listener { mut host, counts, signed } = listener(None, trusting_one(), policy);
    let mut taken = 0;
    let memory = measure(|| {
        taken = flood(&mut host, &first, |number| number);
        leaves_nothing(&mut host);
    });
    // A thousand at once, and a thousand more in each second.
    let seconds = u64::from(FLOOD) * u64::try_from(APART.as_micros()).unwrap() / 1_000_000;
    assert!(u64::from(taken) <= places * (1 + seconds), "{taken} of {FLOOD} were taken");
    assert!(u64::from(taken) >= places, "the flood came through: {taken}");
    // Each that was taken costs one exchange with a key of its own, and one signature; the others nothing.
    let taken = usize::try_from(taken).unwrap();
    assert_eq!((counts.exchanged.get(), counts.public_keys.get(), signed.get()), (taken, taken, taken));
    assert_eq!((counts.opened.get(), counts.verified.get()), (0, 0));
    assert_eq!(host.ended, taken, "the end of each is told once");
    assert!(memory.bytes_max < places * PLACE, "{} bytes at the worst moment", memory.bytes_max);
    assert!(memory.bytes_current < 16 << 10, "{} bytes are left", memory.bytes_current);
}

/// Who says nothing at all costs no cryptography, and gives way sooner.
#[test]
fn c6_a_flood_of_silent_connections_costs_no_cryptography() {
    let policy = NodePolicy::default();
    let places = u64::try_from(policy.handshakes).unwrap();
    let Listener { mut host, counts, signed } = listener(None, trusting_one(), policy);
    let memory = measure(|| {
        flood(&mut host, &[], |number| number);
        leaves_nothing(&mut host);
    });
    assert_eq!((counts.exchanged.get(), counts.public_keys.get(), signed.get()), (0, 0, 0));
    assert_eq!((counts.opened.get(), counts.sealed.get(), counts.verified.get()), (0, 0, 0));
    assert!(memory.bytes_max < places * SILENT_PLACE, "{} bytes at the worst moment", memory.bytes_max);
}

/// Without the cluster secret a first message costs a tag for each secret that is accepted.
#[test]
fn i8_a_flood_without_the_cluster_secret_costs_a_tag_each_and_no_key_exchange() {
    let first = first_message(Some(b"a guess at the cluster secret"));
    let Listener { mut host, counts, signed } =
        listener(Some(b"the secret of the cluster"), trusting_one(), NodePolicy::default());
    let mut taken = 0;
    let memory = measure(|| {
        taken = flood(&mut host, &first, |number| number);
        leaves_nothing(&mut host);
    });
    assert_eq!(taken, FLOOD, "each has its answer at once, and its place goes to the next");
    assert_eq!((counts.exchanged.get(), counts.public_keys.get(), signed.get()), (0, 0, 0));
    assert_eq!((counts.opened.get(), counts.verified.get()), (usize::try_from(FLOOD).unwrap(), 0));
    assert!(memory.bytes_max < 32 << 10, "{} bytes at the worst moment", memory.bytes_max);
    // The control: the right secret exchanges keys.
    host.knock(source(1), &first_message(Some(b"the secret of the cluster")));
    assert_eq!((counts.exchanged.get(), signed.get()), (1, 1));
}

/// An honest dialler, at its first try, whose every packet takes no time: whether it is linked. It goes again.
fn is_linked(host: &mut Host, from: u32, dialler: &Arc<Config>, run: u64) -> bool {
    let mut dialler = Solo::initiator(dialler, Some(id(2)), run);
    let Met::Link(link) = host.connect(source(from)) else { return false };
    loop {
        let said = dialler.written();
        if said.is_empty() {
            break;
        }
        let answer = host.feed(link, &said);
        dialler.feed(&answer);
    }
    let linked = dialler.link.phase() == Phase::Established;
    host.hang_up(link);
    linked
}

/// One neighbourhood has its share of the places and no more: whoever comes from elsewhere is taken at once.
#[test]
fn c6_a_flood_from_one_source_leaves_room_for_all_others() {
    let policy = NodePolicy::default();
    let share = u32::try_from(policy.handshakes_per_source).unwrap();
    let first = first_message(None);
    let Listener { mut host, counts, .. } = listener(None, trusting_one(), policy);
    let honest = config(1, &[2]);
    let (mut taken, mut linked) = (0, 0);
    for number in 0..FLOOD {
        taken += u32::from(host.knock(source(7), &first));
        if number % 5000 == 4999 {
            linked += u32::from(is_linked(&mut host, 8, &honest, u64::from(number)));
        }
        host.pass(APART);
    }
    assert_eq!(linked, FLOOD / 5000, "an honest dialler was turned away");
    assert!(taken <= 11 * share, "{taken} of one source were taken in ten seconds");
    assert_eq!(counts.verified.get(), usize::try_from(linked).unwrap());
}

/// Ids cost their maker nothing. Where everybody is trusted who proves one, a listener keeps of them all what
/// its registry may remember, and forgets the oldest.
#[test]
fn i11_any_number_of_ids_under_open_trust_leaves_what_the_registry_may_remember() {
    const REMEMBERED: usize = 20;
    let policy = NodePolicy { remembered: REMEMBERED, ..NodePolicy::default() };
    let Listener { mut host, counts, .. } = listener(None, Trust::Anyone, policy);
    // As large as a hello can be.
    let large: Vec<_> = (0..60)
        .map(|number| Capability::new(format!("{number:03}{}", "x".repeat(52)), 1..=1).expect("a capability"))
        .collect();
    let mut after = |numbers: std::ops::Range<u64>| {
        let memory = measure(|| {
            for number in numbers.clone() {
                let mut bytes = [0x77; 32];
                bytes[..8].copy_from_slice(&number.to_be_bytes());
                let dialler = Config::builder(SecretKey::from_bytes(bytes), 1).trust(Trust::listed([id(2)]));
                let dialler = large.iter().cloned().fold(dialler, ConfigBuilder::capability);
                let dialler = dialler.build().expect("a valid configuration");
                assert!(is_linked(&mut host, 1, &dialler, number), "number {number}");
                host.events.clear();
            }
            host.pass(Duration::from_secs(31));
            host.events = Vec::new();
            assert_eq!((host.links(), host.node.statuses().count()), (0, 0));
        });
        memory.bytes_current
    };
    let first = after(0..200);
    assert!(first < i64::try_from(REMEMBERED).unwrap() * (8 << 10), "{first} bytes of 200 ids");
    let more = after(200..500);
    assert!(more < 4096, "{more} bytes more of 300 more");
    assert_eq!(counts.verified.get(), 500, "one signature each, no more");
}
