//! One seed, one storm: some hosts, traffic between all of them, everything going wrong; then it all heals,
//! and the world has to come to rest.

use std::time::Duration;

use handclasp::node::{Backoff, NodePolicy, Permanence, Registry};
use handclasp::{Limits, Padding, Priority, RekeyPolicy, Timing};

use super::{
    Account, Answers, Counts, Crypto, Figures, Mischief, NodeSpec, Post, Random, Trusting, Weather, World,
};

/// How long a healed world may take until it has come to rest, by the world's clock.
///
/// A dead link is found after three times the idle time (6 s), or its bytes are not taken for the stall time
/// (4 s) after that. A dial that began before the end of the faults has failed after 6 s, and the next one
/// begins at most 4 s later. Three rounds of that, for two ends whose dials meet, and the longest expiry of a
/// message, 15 s, come to 55 s; clocks that run slow by 5 % make it 58.
pub const REST: Duration = Duration::from_secs(58);

/// When an operator looks again after everything has healed: later than a handshake lasts that began before.
/// A dial that was refused because trust was not there yet is not repeated by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(7);

/// How to run a storm.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Print everything that happens.
    pub aloud: bool,
    /// What the owner of the links does wrong.
    pub mischief: Option<Mischief>,
}

/// What a storm came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The run as one number.
    pub hash: u64,
    /// What became of the messages.
    pub account: Account,
    /// What happened in the world.
    pub counts: Counts,
    /// What the nodes counted.
    pub figures: Figures,
    /// How long the healed world took to come to rest.
    pub rest: Duration,
}

/// Runs the storm of this seed.
///
/// # Panics
/// If anything that has to hold does not.
pub fn run(seed: u64, options: Options) -> Report {
    let mut random = Random::new(seed ^ 0x5707_u64.rotate_left(40));
    let mut world = World::new(seed).weather(weather(&mut random));
    if random.once_in(50) {
        world = world.crypto(Crypto::Real);
    }
    if options.aloud {
        world = world.aloud();
    }
    if let Some(mischief) = options.mischief {
        world = world.mischief(mischief);
    }
    let mut storm = Storm { world, random };
    storm.set_up();
    storm.rage();
    storm.heal();
    let rest = storm.come_to_rest();
    storm.end();
    let Storm { world, .. } = storm;
    Report {
        hash: world.hash(),
        account: world.settle(),
        counts: world.counts(),
        figures: world.figures(),
        rest,
    }
}

fn weather(random: &mut Random) -> Weather {
    let least = random.millis(0, 5);
    let slow = random.one_of(&[1, 10, 50, 300]);
    // Life is a record that opens: the longest one has to come well within the shortest idle time.
    let room =
        if slow == 300 { random.one_of(&[30_000, 1 << 16]) } else { random.one_of(&[2000, 10_000, 1 << 16]) };
    Weather {
        latency: (least, least + slow * Duration::from_millis(1)),
        words: random.one_of(&[0, 0, 1, 20, 100]) * Duration::from_millis(1),
        room,
        choppy: random.one_of(&[0, 1, 3]),
    }
}

struct Storm {
    world: World,
    random: Random,
}

impl Storm {
    fn set_up(&mut self) {
        for _ in 0..self.random.between(2, 5) {
            let spec = self.spec();
            self.world.add_node(spec);
        }
        for (one, other) in self.pairs() {
            if !self.random.once_in(8) {
                self.world.introduce(one, other);
                self.wish(one, other);
                self.wish(other, one);
            }
        }
    }

    fn spec(&mut self) -> NodeSpec {
        let random = &mut self.random;
        let policy = NodePolicy {
            handshakes: random.one_of(&[2, 10, 1000]),
            handshakes_per_source: random.one_of(&[1, 5, 250]),
            silence: Duration::from_millis(250),
            retry_after: Duration::from_secs(1),
            dial: Duration::from_secs(6),
            backoff: Backoff {
                first: random.millis(50, 500),
                most: Duration::from_secs(4),
                useful: Duration::from_secs(2),
            },
            outbox_per_peer: random.one_of(&[5000, 100_000]),
            outbox: random.one_of(&[20_000, 1 << 20]),
            outbox_expiry: random.millis(2000, 15_000),
            dial_back: random.once_in(4),
            registry: if random.once_in(5) { Registry::External } else { Registry::Memory },
            ..NodePolicy::default()
        };
        let limits = Limits {
            max_message: random.one_of(&[2000, 16_000, 40_000]),
            window: 50_000,
            max_calls: random.one_of(&[1, 8, 1024]),
            idle: random.millis(500, 2000),
            max_record: random.one_of(&[4096, 16_640]),
        };
        let timing = Timing {
            step: Duration::from_secs(2),
            handshake: Duration::from_secs(5),
            stall: Duration::from_secs(4),
            drain: Duration::from_secs(2),
            flush: Duration::from_millis(500),
            ready: Duration::from_secs(3),
            ephemeral: random.once_in(3).then_some(Duration::from_secs(3)),
        };
        let rekey = RekeyPolicy { records: random.one_of(&[20, 1 << 20]), ..RekeyPolicy::default() };
        let padding = random.one_of(&[Padding::None, Padding::Padme, Padding::Block(64)]);
        let send_buffer = random.one_of(&[3000, 30_000, 1 << 20]);
        let trusting = random.one_of(&[Trusting::Listed, Trusting::Listed, Trusting::Anyone, Trusting::Ask]);
        let rate = u32::try_from(random.between(950_000, 1_050_000)).unwrap_or(1_000_000);
        let offset = random.up_to(Duration::from_secs(1 << 20));
        let holds = random.once_in(6).then(|| random.millis(0, 900));
        let change = move |builder: handclasp::ConfigBuilder| {
            let builder = builder.limits(limits).timing(timing.clone()).rekey(rekey.clone());
            builder.padding(padding)
        };
        let spec = NodeSpec::new()
            .send_buffer(send_buffer)
            .policy(policy)
            .config(change)
            .trusting(trusting)
            .answers(Answers::Mixed)
            .clock(offset, rate);
        match holds {
            Some(most) => spec.holds(most),
            None => spec,
        }
    }

    fn pairs(&self) -> Vec<(usize, usize)> {
        let hosts = 0..self.world.len();
        hosts.clone().flat_map(|one| hosts.clone().skip(one + 1).map(move |other| (one, other))).collect()
    }

    /// Two different hosts.
    fn two(&mut self) -> (usize, usize) {
        let one = self.random.index(self.world.len());
        let other = self.random.index(self.world.len() - 1);
        (one, if other >= one { other + 1 } else { other })
    }

    fn wish(&mut self, host: usize, peer: usize) {
        let wish = if self.random.once_in(2) { Permanence::Permanent } else { Permanence::Ephemeral };
        self.world.set_permanence(host, peer, wish);
    }

    fn traffic(&mut self) {
        let (from, to) = self.two();
        let length = match self.random.below(20) {
            0 => self.random.below(45_000),
            1..=4 => self.random.below(5000),
            _ => self.random.below(200),
        };
        let mut post =
            Post::new(usize::try_from(length).unwrap_or(0)).priority(self.random.one_of(&Priority::ALL));
        if self.random.once_in(3) {
            post = post.within(self.random.millis(5, 3000));
        }
        // That it was not taken is an outcome as well: then it is as if it had never been.
        if self.random.once_in(3) {
            let _ = self.world.call(from, to, post);
        } else {
            let _ = self.world.send(from, to, post);
        }
    }

    /// Everything goes wrong for a while.
    fn rage(&mut self) {
        let until = self.world.now() + self.random.millis(1000, 15_000);
        let calm = self.random.one_of(&[2, 3, 5, 10, 10, 40]);
        let pace = self.random.one_of(&[5, 20, 60]);
        while self.world.now() < until {
            if self.random.once_in(calm) {
                self.fault();
            } else {
                self.traffic();
            }
            let pause = self.random.millis(0, pace);
            self.world.run_for(pause);
        }
    }

    fn fault(&mut self) {
        let (one, other) = self.two();
        match self.random.below(100) {
            0..=15 => {
                if let Some(conn) = self.connection(one, other) {
                    self.world.cut_connection(conn);
                }
            }
            16..=21 => {
                let side = self.random.index(2);
                if let Some(conn) = self.connection(one, other) {
                    self.world.half_open(conn, side);
                }
            }
            22..=25 => {
                if let Some(conn) = self.connection(one, other) {
                    self.world.mute(conn);
                }
            }
            26..=29 => self.world.partition(one, other),
            30..=33 => self.world.block(one, other),
            34..=43 => self.world.heal(one, other),
            44..=46 => {
                let silent = self.random.once_in(2);
                self.world.restart(one, silent);
            }
            47..=52 => {
                let listening = self.random.once_in(2);
                self.world.set_listening(one, listening);
            }
            53..=58 => {
                let taking = self.random.once_in(2);
                self.world.set_taking(one, taking);
            }
            59..=61 => {
                let by = self.random.millis(10, 8000);
                self.world.jump_clock(one, by);
            }
            62..=64 => self.world.revoke(one, other),
            65 => {
                let within = self.random.millis(1, 3000);
                self.world.trust_for(one, other, within);
            }
            66..=70 => self.world.introduce(one, other),
            71..=77 => self.wish(one, other),
            78..=81 => self.world.disconnect(one, other),
            82..=88 => {
                let within = self.random.millis(100, 5000);
                self.world.connect(one, other, within);
            }
            89 if self.random.once_in(2) => self.world.shut_down(one),
            89 => self.world.advertise(one),
            90..=91 => {
                let elsewhere = self.random.index(self.world.len());
                let address =
                    if self.random.once_in(2) { World::address(elsewhere) } else { "nowhere".into() };
                self.world.set_addresses(one, other, &[address, World::address(other)]);
            }
            92..=95 => {
                let words = self.random.one_of(&[&b""[..], b"HCL\x01\x01\x00\x00\x01", b"GET / HTTP/1.1"]);
                let leaves = self.random.once_in(2);
                self.world.stranger(one, words, leaves);
            }
            _ => {
                let which = self.random.index(1000);
                self.world.cancel(one, which);
            }
        }
    }

    fn connection(&mut self, one: usize, other: usize) -> Option<usize> {
        let conns = self.world.connections(one, other);
        (!conns.is_empty()).then(|| conns[self.random.index(conns.len())])
    }

    /// Nothing goes wrong any more; those who were shut down come back.
    fn heal(&mut self) {
        self.world.heal_all();
        for host in 0..self.world.len() {
            self.world.set_taking(host, true);
            self.world.set_listening(host, true);
        }
        let stopping: Vec<_> = (0..self.world.len()).filter(|host| !self.world.is_up(*host)).collect();
        if !stopping.is_empty() {
            self.world.run_for(Duration::from_secs(6));
        }
        for host in stopping {
            self.expect_down(host);
            self.world.restart(host, false);
        }
        for (one, other) in self.pairs() {
            if self.random.once_in(8) {
                self.world.revoke(one, other);
                continue;
            }
            self.world.introduce(one, other);
            self.wish(one, other);
            self.wish(other, one);
        }
        for _ in 0..10 {
            self.traffic();
        }
    }

    fn are_friends(&self, one: usize, other: usize) -> bool {
        self.world.is_trusting(one, other) && self.world.is_trusting(other, one)
    }

    /// Whether every pair has the link that it is to have. A link that nobody wants kept may end when it is
    /// idle, and while it does so its ends need not agree.
    fn is_as_wished(world: &World, pairs: &[(usize, usize)]) -> bool {
        pairs.iter().all(|(one, other)| {
            let (one, other) = (*one, *other);
            let friends = world.is_trusting(one, other) && world.is_trusting(other, one);
            let wanted = world.is_permanent(one, other) || world.is_permanent(other, one);
            match world.agree(one, other) {
                None => friends && !wanted && world.is_ending(one, other),
                Some(linked) if friends && wanted => linked && world.is_told(one, other),
                Some(linked) => friends || !linked,
            }
        })
    }

    fn come_to_rest(&mut self) -> Duration {
        let (began, pairs) = (self.world.now(), self.pairs());
        self.world.run_for(LOOK_AGAIN);
        for (one, other) in self.pairs() {
            if self.are_friends(one, other) {
                self.world.introduce(one, other);
            }
        }
        let rests = |world: &World| Self::is_as_wished(world, &pairs) && world.is_quiet();
        if !self.world.run_until(REST, rests) {
            self.complain(&pairs);
        }
        let rest = self.world.now().saturating_sub(began);
        // It stays so, and what is on its way arrives.
        for _ in 0..10 {
            self.world.run_for(Duration::from_millis(500));
            if !Self::is_as_wished(&self.world, &pairs) {
                self.complain(&pairs);
            }
        }
        rest
    }

    fn complain(&self, pairs: &[(usize, usize)]) -> ! {
        let mut report = String::new();
        for (one, other) in pairs {
            if !Self::is_as_wished(&self.world, &[(*one, *other)]) {
                report += &self.world.describe(*one, *other);
            }
        }
        if !self.world.is_quiet() {
            report += "\n  something waits somewhere";
        }
        self.world.fail(&format!("the world has healed and does not come to rest:{report}"))
    }

    /// Everybody goes home.
    fn end(&mut self) {
        for host in 0..self.world.len() {
            self.world.shut_down(host);
        }
        self.world.run_for(Duration::from_secs(6));
        for host in 0..self.world.len() {
            self.expect_down(host);
        }
    }

    fn expect_down(&self, host: usize) {
        self.world.ensure(self.world.is_down(host), || {
            let others = (0..self.world.len()).filter(|other| *other != host);
            let states: String = others.map(|other| self.world.describe(host, other)).collect();
            format!("host {host} does not come to the end of its shutdown: {states}")
        });
    }
}
