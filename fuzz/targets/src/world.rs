//! The sim's world of nodes: what happens to it, byte by byte; then it heals, and has to come to rest.

use std::time::Duration;

use handclasp::node::{Backoff, NodePolicy, Permanence, Registry};
use handclasp::{Limits, Priority, Timing};
use handclasp_sim::world::storm::REST;
use handclasp_sim::world::{Answers, NodeSpec, Post, Trusting, Weather, World};

use crate::input::Input;

/// More steps than this are not looked at.
const MOST_STEPS: usize = 200;

/// When an operator looks again after everything has healed: later than a handshake lasts that began before.
const LOOK_AGAIN: Duration = Duration::from_secs(7);

/// Builds the world that the first bytes name, and lets happen in it what the others say.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = begin(&mut input);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        take_step(&mut world, &mut input);
    }
    heal(&mut world);
    world.settle();
}

fn begin(input: &mut Input<'_>) -> World {
    let [seed, hosts, sky] = input.array();
    let weather = Weather {
        latency: [(0, 1), (1, 5), (5, 300)]
            .map(|(least, most)| (Duration::from_millis(least), Duration::from_millis(most)))
            [usize::from(sky & 3).min(2)],
        words: Duration::from_millis([0, 1, 20, 100][usize::from(sky >> 2 & 3)]),
        room: [2000, 10_000, 1 << 16, 1 << 16][usize::from(sky >> 4 & 3)],
        choppy: u64::from(sky >> 6),
    };
    let mut world = World::new(u64::from(seed)).weather(weather);
    for _ in 0..2 + hosts % 3 {
        let spec = spec(input);
        world.add_node(spec);
    }
    if hosts & 0x80 == 0 {
        for (one, other) in pairs(&world) {
            world.introduce(one, other);
            world.set_permanence(one, other, Permanence::Permanent);
        }
    }
    world
}

/// A host with the times that [`REST`] is made of.
fn spec(input: &mut Input<'_>) -> NodeSpec {
    let [one, two] = input.array();
    let policy = NodePolicy {
        handshakes: [1000, 2][usize::from(one & 1)],
        silence: Duration::from_millis(250),
        retry_after: Duration::from_secs(1),
        dial: Duration::from_secs(6),
        backoff: Backoff {
            first: Duration::from_millis(50 + u64::from(one)),
            most: Duration::from_secs(4),
            useful: Duration::from_secs(2),
        },
        outbox_per_peer: 50_000,
        outbox: 1 << 18,
        outbox_expiry: Duration::from_secs(10),
        dial_back: one & 2 != 0,
        registry: if one & 4 == 0 { Registry::Memory } else { Registry::External },
        ..NodePolicy::default()
    };
    let limits = Limits {
        max_message: 16_000,
        window: 50_000,
        max_calls: [1024, 1][usize::from(one >> 3 & 1)],
        idle: Duration::from_secs(1),
        max_record: 4096,
    };
    let timing = Timing {
        step: Duration::from_secs(2),
        handshake: Duration::from_secs(5),
        stall: Duration::from_secs(4),
        drain: Duration::from_secs(2),
        flush: Duration::from_millis(500),
        ready: Duration::from_secs(3),
        ephemeral: (one & 16 != 0).then_some(Duration::from_secs(3)),
    };
    let trusting = [Trusting::Listed, Trusting::Anyone, Trusting::Ask][usize::from(two % 3)];
    let rate = 950_000 + 25_000 * u32::from(two >> 2 & 3);
    let spec = NodeSpec::new()
        .policy(policy)
        .config(move |builder| builder.limits(limits).timing(timing.clone()))
        .trusting(trusting)
        .answers(Answers::Mixed)
        .clock(Duration::from_secs(u64::from(two)), rate);
    if two & 0x40 == 0 { spec } else { spec.holds(Duration::from_millis(500)) }
}

fn pairs(world: &World) -> Vec<(usize, usize)> {
    (0..world.len()).flat_map(|one| (one + 1..world.len()).map(move |other| (one, other))).collect()
}

fn take_step(world: &mut World, input: &mut Input<'_>) {
    let what = input.u8();
    let hosts = input.u8();
    let one = usize::from(hosts >> 4) % world.len();
    let other = (one + 1 + usize::from(hosts & 15) % (world.len() - 1)) % world.len();
    match what % 26 {
        0..=4 => world.run_for(Duration::from_millis(4 * u64::from(input.u8()))),
        5 => {
            world.step();
        }
        6 => {
            // That it was not taken is an outcome as well: then it is as if it had never been.
            let _ = world.send(one, other, post(input));
        }
        7 => {
            let _ = world.call(one, other, post(input));
        }
        8 => {
            if let Some(conn) = connection(world, one, other, input) {
                world.cut_connection(conn);
            }
        }
        9 => {
            if let Some(conn) = connection(world, one, other, input) {
                world.half_open(conn, input.below(2));
            }
        }
        10 => {
            if let Some(conn) = connection(world, one, other, input) {
                world.mute(conn);
            }
        }
        11 => world.block(one, other),
        12 => world.partition(one, other),
        13 => world.heal(one, other),
        14 => world.restart(one, input.below(2) == 0),
        15 => world.set_listening(one, input.below(2) == 0),
        16 => world.set_taking(one, input.below(2) == 0),
        17 => world.jump_clock(one, Duration::from_millis(40 * u64::from(input.u8()))),
        18 => world.revoke(one, other),
        19 => world.trust_for(one, other, Duration::from_millis(1 + 20 * u64::from(input.u8()))),
        20 => world.introduce(one, other),
        21 => {
            let wish = if input.below(2) == 0 { Permanence::Permanent } else { Permanence::Ephemeral };
            if world.is_trusting(one, other) {
                world.set_permanence(one, other, wish);
            }
        }
        22 => world.disconnect(one, other),
        23 => world.connect(one, other, Duration::from_millis(20 * u64::from(input.u8()))),
        24 => match input.below(4) {
            0 => world.shut_down(one),
            1 => world.advertise(one),
            2 => world.set_addresses(one, other, &["nowhere".into(), World::address(other)]),
            _ => world.cancel(one, input.below(16)),
        },
        _ => world.stranger(one, input.prefixed(), hosts & 1 == 0),
    }
}

fn post(input: &mut Input<'_>) -> Post {
    let how = input.u8();
    let post = Post::new(input.length()).priority(Priority::ALL[usize::from(how & 3)]);
    if how & 4 == 0 { post } else { post.within(Duration::from_millis(5 + 10 * u64::from(how >> 3))) }
}

fn connection(world: &World, one: usize, other: usize, input: &mut Input<'_>) -> Option<usize> {
    let conns = world.connections(one, other);
    (!conns.is_empty()).then(|| conns[input.below(conns.len().min(256))])
}

/// Nothing goes wrong any more, everybody trusts and wants everybody.
fn heal(world: &mut World) {
    world.heal_all();
    for host in 0..world.len() {
        world.set_taking(host, true);
        world.set_listening(host, true);
    }
    let stopping: Vec<_> = (0..world.len()).filter(|host| !world.is_up(*host)).collect();
    if !stopping.is_empty() {
        world.run_for(Duration::from_secs(6));
    }
    for host in stopping {
        assert!(world.is_down(host), "host {host} does not come to the end of its shutdown");
        world.restart(host, false);
    }
    for (one, other) in pairs(world) {
        world.introduce(one, other);
        world.set_permanence(one, other, Permanence::Permanent);
        world.set_permanence(other, one, Permanence::Permanent);
    }
    // A dial that was refused because trust was not there yet is not repeated by itself.
    world.run_for(LOOK_AGAIN);
    for (one, other) in pairs(world) {
        world.introduce(one, other);
    }
    let rests = |world: &World| {
        pairs(world).iter().all(|(one, other)| world.agree(*one, *other) == Some(true)) && world.is_quiet()
    };
    if !world.run_until(REST, rests) {
        let report: String = pairs(world).iter().map(|(one, other)| world.describe(*one, *other)).collect();
        panic!("the world has healed and does not come to rest:{report}");
    }
    for host in 0..world.len() {
        world.shut_down(host);
    }
    world.run_for(Duration::from_secs(6));
    for host in 0..world.len() {
        assert!(world.is_down(host), "host {host} does not come to the end of its shutdown");
    }
}
