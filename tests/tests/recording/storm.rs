//! Links in storms, recorded: whatever happens to one, its recording replays.

use std::sync::Arc;
use std::time::Duration;

use handclasp::{
    ConfigBuilder, Limits, Message, Payload, Priority, Ready, RekeyPolicy, ServiceError, Stats, StreamId,
    Trust,
};
use handclasp_sim::{Owned, Pair, Side, builder, id};

use crate::support::{SIDES, policy, recorder, recordings, replay, sign};

/// A generator of numbers, the same ones for each seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("small")
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

fn node(number: u8, peer: u8, dice: &mut Dice) -> ConfigBuilder {
    let limits = Limits { max_message: 20_000, window: 30_000, max_calls: 4, ..Limits::default() };
    let rekey = RekeyPolicy { records: 5, bytes: 40_000, age: Duration::from_secs(2) };
    let trust = match dice.below(6) {
        0 => Trust::Anyone,
        1 => Trust::Ask,
        2 => Trust::listed([]),
        _ => Trust::listed([id(peer)]),
    };
    let builder = builder(number, &[]).trust(trust).limits(limits).rekey(rekey).send_buffer(50_000);
    let builder = if dice.one_in(4) { builder } else { builder.signed(policy(&Arc::default())) };
    if dice.one_in(4) { builder.hold_ready() } else { builder }
}

/// One thing that the owner of a link may do.
fn command(pair: &mut Pair, side: Side, streams: &mut Vec<StreamId>, dice: &mut Dice) {
    let (now, length) = (pair.now, [0, 10, 300, 1500, 5000, 21_000][dice.below(6)]);
    let body = vec![b'!'; length];
    let priority = Priority::ALL[dice.below(4)];
    let link = pair.link(side);
    match dice.below(20) {
        0..=4 => {
            let mut message = Message::new("a service", body).priority(priority);
            message.expires = dice.one_in(4).then_some(now + Duration::from_millis(30));
            message.unordered = dice.one_in(3);
            drop(link.send(message));
        }
        5..=7 => {
            let timeout = Duration::from_millis(dice.next() % 3000);
            let call = link.call(Message::new("a call", body).priority(priority), timeout, now);
            if let (Ok(call), true) = (call, dice.one_in(4)) {
                link.cancel(call, now);
            }
        }
        8 => link.rekey(now),
        9 => link.ping(now),
        10 => link.ready(now),
        11 => link.admit(now),
        12 => streams.extend(link.open_stream("a stream", priority)),
        13 => drop(link.take_unsent()),
        14 if dice.one_in(12) => link.goodbye(9, "a long afternoon", now),
        15 if dice.one_in(20) => link.close(now),
        16 if dice.one_in(20) => link.revoke(now),
        17 if dice.one_in(20) => link.recv_closed(now),
        18 if dice.one_in(20) => link.transport_failed(now),
        19 => {
            // Node 3's words come again and again, node 4's never pass.
            let audience = if side == Side::Initiator { id(2) } else { id(1) };
            let number = if dice.one_in(5) { 4 } else { 3 };
            let message = sign(number, audience, dice.next() % 2, &body);
            drop(link.send(message.message().priority(priority)));
        }
        _ => {}
    }
    for stream in streams.iter().copied() {
        let link = pair.link(side);
        match dice.below(8) {
            0 | 1 => drop(link.stream_write(stream, &vec![b'?'; dice.below(20_000)])),
            2..=4 => drop(link.stream_read(stream, &mut vec![0; dice.below(9000)])),
            5 if dice.one_in(4) => link.stream_finish(stream),
            6 if dice.one_in(8) => link.stream_reset(stream, 5),
            7 if dice.one_in(8) => link.stream_stop(stream, 6),
            _ => {}
        }
    }
    let events = std::mem::take(&mut pair.end(side).events);
    for event in events {
        let link = pair.link(side);
        match event {
            Owned::Call { token, .. } if dice.one_in(3) => {
                let error =
                    ServiceError::Application { code: 1, detail: vec![b'.'; dice.below(1000)].into() };
                drop(link.reply(token, Err(error)));
            }
            Owned::Call { token, .. } if dice.one_in(20) => {
                drop(link.reply(token, Ok(Payload::Signed(vec![b';'; 200].into()))));
            }
            Owned::Call { token, .. } => {
                drop(link.reply(token, Ok(Payload::from(vec![b','; dice.below(30_000)]))));
            }
            Owned::StreamOpened { id, .. } => streams.push(id),
            _ => {}
        }
    }
}

/// One storm: how many steps its recordings have, which ends its links came to, and their counts of signed
/// messages.
fn storm(exact: bool, run: u64) -> (usize, Vec<&'static str>, [u64; 3]) {
    let mut dice = Dice(run * 2 + 1);
    let (one, two) = (node(1, 2, &mut dice), node(2, 1, &mut dice));
    let build = |builder: ConfigBuilder| builder.build().expect("a valid configuration");
    let expected = if dice.one_in(8) { id(3) } else { id(2) };
    let expected = if dice.one_in(3) { None } else { Some(expected) };
    let mut pair = Pair::seeded(&build(one), &build(two), expected, run);
    for side in SIDES {
        pair.link(side).record(recorder(exact, run, side)).expect("a fresh link");
    }
    let mut streams = [Vec::new(), Vec::new()];
    let harm = dice.one_in(2).then(|| dice.below(150));
    for round in 0..150 {
        for (side, streams) in SIDES.into_iter().zip(&mut streams) {
            pair.chunk = [1 + dice.below(90), 1000, 7000, usize::MAX][dice.below(4)];
            if dice.one_in(5) {
                let mut coin = || !dice.one_in(3);
                pair.end(side).ready =
                    Ready { events: coin(), requests: coin(), unordered: coin(), write: coin() };
            }
            if pair.end(side).ready.write || dice.one_in(2) {
                pair.act(side);
            }
            if harm == Some(round) {
                // An edit on the way, or the end of the stream.
                let bytes = &mut pair.end(side).pipe.bytes;
                match (bytes.len(), dice.below(3)) {
                    (1.., 0) => {
                        let at = dice.below(bytes.len());
                        bytes[at] ^= 1 << dice.below(8);
                    }
                    (1.., 1) => drop(bytes.pop_front()),
                    _ => pair.end(side).pipe.close(),
                }
            }
            pair.deliver(side);
            command(&mut pair, side, streams, &mut dice);
            if dice.one_in(6) {
                // Room for a read that does not come.
                let _ = pair.link(side).recv_space().len();
            }
        }
        if dice.one_in(4) {
            pair.now = pair.now + Duration::from_millis(dice.next() % 400);
        } else if dice.one_in(40) {
            pair.now = pair.now + Duration::from_secs(20);
        }
    }
    let steps = recordings(&mut pair).iter().map(|recording| replay(recording).steps).sum();
    let ends = SIDES.map(|side| pair.link(side).closed().map_or("alive", |closed| closed.reason.name()));
    let counts = SIDES.map(|side| pair.link(side).stats());
    let sum = |count: fn(&Stats) -> u64| counts.iter().map(count).sum();
    let signed = [sum(|s| s.signed_accepted), sum(|s| s.signed_refused), sum(|s| s.signed_replays)];
    (steps, ends.to_vec(), signed)
}

#[test]
fn o5_recordings_of_storms_replay_bit_for_bit() {
    let (mut steps, mut ends, mut signed) = (0, std::collections::BTreeMap::new(), [0; 3]);
    for run in 0..140 {
        let (count, names, counts) = storm(run % 4 == 0, run);
        steps += count;
        signed.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        for name in names {
            *ends.entry(name).or_insert(0) += 1;
        }
    }
    assert!(steps > 30_000, "{steps}");
    assert!(signed.iter().all(|count| *count > 10), "{signed:?}");
    // Storms of all kinds.
    for name in
        ["alive", "decrypt_failed", "denied", "dropped", "goodbye", "revoked", "truncated", "wrong_peer"]
    {
        assert!(ends.contains_key(name), "no link ended as {name}: {ends:?}");
    }
}
