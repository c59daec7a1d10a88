//! What the themes have in common.

use std::sync::Arc;
use std::time::Duration;

use handclasp::{CallId, Config, ConfigBuilder, Limits, Message, Reason, ReplyToken};
use handclasp_sim::raw::{RAW, Raw};
use handclasp_sim::{Owned, Pair, Side, builder, id};

/// Both sides of a pair.
pub(crate) const SIDES: [Side; 2] = [Side::Initiator, Side::Responder];

/// The smallest limits that a side may name, with `max_calls` and the default idle time.
pub(crate) fn smallest(max_calls: u32) -> Limits {
    Limits { max_message: 1024, window: 1024 + 319, max_calls, max_record: 4096, ..Limits::default() }
}

/// A pair whose configurations `change` has had its way with; established, its events taken.
pub(crate) fn pair_with(change: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Pair {
    seeded_pair(change, 0)
}

/// [`pair_with`] with other randomness for each `run`.
pub(crate) fn seeded_pair(change: impl Fn(ConfigBuilder) -> ConfigBuilder, run: u64) -> Pair {
    let build = |number, peer| change(builder(number, &[peer])).build().expect("a valid configuration");
    let mut pair = Pair::seeded(&build(1, 2), &build(2, 1), Some(id(2)), run);
    pair.establish();
    pair
}

/// The first event of `side`, which has to be a call.
pub(crate) fn next_call(pair: &mut Pair, side: Side) -> ReplyToken {
    match pair.event(side) {
        Some(Owned::Call { token, .. }) => token,
        other => panic!("expected a call, got {other:?}"),
    }
}

/// An empty call of `from`, given out at the other side and not answered.
pub(crate) fn asked(pair: &mut Pair, from: Side, time: Duration) -> (CallId, ReplyToken) {
    let now = pair.now;
    let call = pair.link(from).call(Message::new("s", b""), time, now).expect("taken");
    pair.run();
    (call, next_call(pair, from.other()))
}

/// A configuration that trusts the raw peer.
pub(crate) fn raw_config(change: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Arc<Config> {
    change(builder(2, &[RAW])).build().expect("a valid configuration")
}

/// A raw peer that has dialled a link with these limits.
pub(crate) fn raw_with(limits: Limits) -> Raw {
    Raw::dialling(&raw_config(|builder| builder.limits(limits)))
}

/// A raw peer that has dialled a link with default limits.
pub(crate) fn raw() -> Raw {
    raw_with(Limits::default())
}

/// The reason that ended a raw peer's link.
pub(crate) fn ended(raw: &Raw) -> Option<&Reason> {
    raw.link.closed().map(|closed| &closed.reason)
}

/// Every event of one end so far.
pub(crate) fn take_events(pair: &mut Pair, side: Side) -> Vec<Owned> {
    pair.end(side).events.drain(..).collect()
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A millisecond less than `time`.
pub(crate) const fn just_under(time: Duration) -> Duration {
    time.saturating_sub(millis(1))
}

/// The body of message `number`: its number, and then bytes that follow from it.
pub(crate) fn body(number: u64, length: usize) -> Vec<u8> {
    let mut body = vec![number as u8; length.max(8)];
    body[..8].copy_from_slice(&number.to_be_bytes());
    body
}

/// The number in a body that is as it was sent.
pub(crate) fn number_of(body: &[u8]) -> u64 {
    let (number, rest) = body.split_first_chunk::<8>().expect("a number");
    let number = u64::from_be_bytes(*number);
    assert!(rest == vec![number as u8; rest.len()], "the body of {number} was mixed up");
    number
}
