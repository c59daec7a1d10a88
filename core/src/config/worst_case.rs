//! The most memory that a link takes, from what its configuration allows.

use super::Config;
use crate::hello::{Limits, MAX_ENTRIES};
use crate::link::{SMALL_BODY, footprint as size};

/// The most memory that one [`Link`](crate::Link) takes, whatever its peer sends or refuses to read and whatever its
/// owner does or leaves undone: bytes that it has allocated at a time, by what they are for. From
/// [`Config::worst_case`].
///
/// The numbers are those of the configuration alone: what a peer offers makes limits smaller, never larger. They add
/// up to a moment at which everything is full at once, in every queue after the one before has grown to its most. A
/// link that does not have an adversary takes a small part of it, and an idle one a few KiB.
///
/// Counted is what is asked of the allocator, not what that rounds up to. Not in it are
/// - what the application holds: bodies handed to it, and bodies above 1 KiB that it has given as
///   [`Bytes`](bytes::Bytes) of which it keeps a part alive that is larger than the message;
/// - what all links of a configuration share, such as a replay memory of signed messages;
/// - memory of a crypto provider of one's own for its keys;
/// - what a node lets wait for a link, which [`NodePolicy`](crate::node::NodePolicy) bounds;
/// - the queues between the link and the handles of an adapter: 64 KiB of messages for each priority, where the last
///   message may go over it, and 64 KiB for each direction of each open byte stream;
/// - what an adapter's handlers hold, and their answers that wait for room in the send buffer. No call is begun while
///   one waits, so they are one, and those of calls that were running then: with handlers that take their time at most
///   [`Limits::max_calls`] answers of up to [`Limits::max_message`], if the peer asks for such and reads none. An
///   application with long answers bounds them by either limit, or by how many its handlers make at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorstCase {
    /// A link whose peer has not proved its id: all of it, so it is not a part of the [`total`](Self::total).
    pub before_authentication: u64,
    /// Messages, calls and answers that have come, whole or in part, and were not taken:
    /// [`Limits::window`] counts, with about 10 bytes for each of its bytes.
    pub received: u64,
    /// Messages, calls and answers that were not sealed: [`send_buffer`](crate::ConfigBuilder::send_buffer) counts,
    /// with about 15 bytes for each of its bytes, and [`Limits::max_message`] and [`Limits::max_calls`].
    pub queued: u64,
    /// Calls in flight: [`Limits::max_calls`] counts.
    pub calls: u64,
    /// Byte streams: [`StreamLimits`](crate::StreamLimits) counts, and the send buffer again.
    pub streams: u64,
    /// Bytes on their way from the stream and to it: [`Limits::max_record`] counts if it is large.
    pub wire: u64,
    /// What does not depend on the configuration: the link itself, its keys, what its peer has said in its hello.
    pub fixed: u64,
    /// The old place of the largest buffer while it moves to a larger one.
    pub moving: u64,
}

/// Bytes that are charged for each message beside its own (docs/wire.md §6).
const OVERHEAD: u64 = 64;

/// The longest name of a service or a stream.
const NAME: u64 = 255;

/// The longest detail of an ERROR, with its code.
const ERROR: u64 = 904;

/// The longest text of a goodbye, which each call in flight is told.
const TEXT: u64 = 255;

/// What the link copies bodies up to, and a little: the last body lent out stands behind what is charged.
const LENT: u64 = 2048;

/// The length of the fixed part of a signed message: none is shorter.
const SHORTEST_SIGNED: u64 = 116;

/// Bytes read ahead, and bytes sealed ahead.
const AHEAD: u64 = 64 << 10;

/// The length field and tag of a record.
const RECORD_EXTRA: u64 = 18;

/// What a queue of small bodies keeps although it is empty.
const KEPT: u64 = 64 << 10;

/// The same of a direction of a stream.
const STREAM_KEPT: u64 = 1024;

/// A place of a stream in one list: a node of the tree has 11 places in 192 bytes, 96 more in one that is no leaf,
/// and at least 5 of them are taken.
const PLACE: u64 = 56;

/// Lists that a stream may stand in: the table, and four for what it waits for.
const LISTS: u64 = 5;

/// Lanes of messages, and how many of them are the application's.
const LANES: u64 = 5;
const PRIORITIES: u64 = 4;

/// The longest body that is copied into its lane's queue.
const COPIED: u64 = SMALL_BODY as u64;

/// A hello that was received: the longest has 3983 bytes, of which every 4 may be an extension that is unknown and
/// empty, in a list of 24 bytes for each that doubles; and what both sides have in common, as long as it again.
const HELLO: u64 = 1024 * 24 + 2 * 3983 + 5 * MAX_ENTRIES as u64 * 56;

/// The longest message of the handshake with its length, in a buffer that doubles, from an old one.
const HANDSHAKE: u64 = 3 * 4098;

/// Keys of both directions, texts of reasons, an advert each way, a record's last frame, and words to a node.
const WORDS: u64 = 32 << 10;

/// The places of a queue that doubles, for `count` at most.
const fn places(count: u64) -> u64 {
    match count.checked_next_power_of_two() {
        Some(0..4) => 4,
        Some(places) => places,
        None => u64::MAX,
    }
}

/// The old place of a byte queue that grows to hold `bytes`: it was three quarters full of them.
const fn outgrown(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 3)
}

const fn add(parts: &[u64]) -> u64 {
    let mut sum = 0_u64;
    let mut rest = parts;
    while let [part, others @ ..] = rest {
        sum = sum.saturating_add(*part);
        rest = others;
    }
    sum
}

const fn most(parts: &[u64]) -> u64 {
    let mut most = 0;
    let mut rest = parts;
    while let [part, others @ ..] = rest {
        if *part > most {
            most = *part;
        }
        rest = others;
    }
    most
}

/// The numbers of a configuration that count.
struct Account {
    window: u64,
    message: u64,
    calls: u64,
    record: u64,
    /// What may be queued of messages, and of answers: the last one may go over the send buffer.
    send: u64,
    /// Messages in the send buffer.
    sends: u64,
    signed: bool,
}

impl Account {
    fn of(config: &Config) -> Self {
        let Limits { max_message, window, max_calls, max_record, .. } = config.hello.limits;
        let buffer = u64::try_from(config.send_buffer.max(1)).unwrap_or(u64::MAX);
        Self {
            window: window.into(),
            message: max_message.into(),
            calls: max_calls.into(),
            record: max_record.into(),
            send: add(&[buffer, max_message.into(), NAME]),
            sends: buffer / OVERHEAD + PRIORITIES,
            signed: config.signed.is_some(),
        }
    }

    /// What the peer has credit for, in one of the two budgets: small bodies and service names in a queue of at most
    /// twice what is in it, others each in an allocation, which with its head is no longer than its charge.
    fn window(&self) -> u64 {
        add(&[self.window.saturating_mul(3), 2 * LENT])
    }

    fn requests(&self) -> u64 {
        places(self.window / OVERHEAD) * size::REQUEST as u64
    }

    /// Answers and their errors, own calls that failed, calls of the peer's that were cancelled, messages that have
    /// expired, and a goodbye.
    fn notices(&self) -> u64 {
        let count = add(&[self.window / OVERHEAD, self.calls.saturating_mul(3), self.sends, 2]);
        places(count).saturating_mul(size::NOTICE as u64)
    }

    fn received(&self) -> u64 {
        let signed = if self.signed { self.window / (OVERHEAD + SHORTEST_SIGNED) } else { 0 };
        add(&[self.window().saturating_mul(2), self.requests(), self.notices(), signed * size::SIGNED as u64])
    }

    /// Answers that wait: a call is taken while there are no more than two for each that is served, and each that is
    /// served can be answered.
    const fn answers(&self) -> u64 {
        self.calls.saturating_mul(3)
    }

    /// The longest list of what waits in one lane. Short answers have a lane of their own, and a long one is about
    /// half the smallest record.
    fn lane(&self) -> u64 {
        let long = (self.send / COPIED + 1).min(self.answers());
        places(self.sends.saturating_add(long)).saturating_mul(size::QUEUED as u64)
    }

    /// What waits in bytes. Every lane's queue gives memory back once less than a quarter of it is used, if it has
    /// more than it keeps, and none has more than twice what there ever was to put into it.
    fn queues(&self) -> u64 {
        // The last message of each priority may go over its part, in an allocation of its own unless it is short.
        let others = PRIORITIES - 1;
        let live = add(&[self.send.saturating_mul(2), others * (COPIED + NAME)]);
        let errors = self.answers().saturating_mul(ERROR);
        let kept = add(&[live.saturating_mul(4), LANES * KEPT]).min(live.saturating_mul(2 * LANES));
        add(&[kept, errors.saturating_mul(2), others.saturating_mul(self.message)])
    }

    fn queued(&self) -> u64 {
        add(&[
            self.queues(),
            self.lane().saturating_mul(PRIORITIES),
            places(self.answers()).saturating_mul(size::QUEUED as u64),
            self.sends.saturating_mul(size::EXPIRED as u64),
        ])
    }

    fn calls(&self) -> u64 {
        add(&[places(self.calls).saturating_mul(size::CALL as u64), self.calls.saturating_mul(TEXT)])
    }

    /// The buffer that is read into grows by four times up to what is read ahead, and doubles for a larger record.
    /// The other one doubles: a record is sealed behind up to as many bytes as are sealed ahead.
    fn wire(&self) -> u64 {
        let record = self.record + RECORD_EXTRA;
        let read = if record > AHEAD { 2 * AHEAD } else { AHEAD };
        read + 2 * (AHEAD + record)
    }
}

impl Config {
    /// The most memory that one link of this configuration takes, by what it is for.
    pub fn worst_case(&self) -> WorstCase {
        let account = Account::of(self);
        let fixed = size::LINK as u64 + 2 * HELLO + 2 * HANDSHAKE + WORDS;
        let (streams, stream_moves) = self.worst_case_of_streams();
        WorstCase {
            // The own hello and the peer's, and three messages: one read, one made, one sealed.
            before_authentication: size::LINK as u64 + 2 * HELLO + 3 * HANDSHAKE,
            received: account.received(),
            queued: account.queued(),
            calls: account.calls(),
            streams,
            wire: account.wire(),
            fixed,
            moving: most(&[
                outgrown(add(&[account.window, LENT])),
                outgrown(account.send.saturating_mul(2)),
                outgrown(add(&[account.send, account.answers().saturating_mul(ERROR)])),
                account.requests() / 2,
                account.notices() / 2,
                account.lane() / 2,
                account.message,
                account.wire(),
                stream_moves,
            ]),
        }
    }

    /// The most memory that one link of this configuration takes, in bytes: the [total](WorstCase::total) of
    /// [`worst_case`](Self::worst_case), where it says what is in it and what is not.
    ///
    /// With the defaults it is 131 MiB, of which byte streams are 46; docs/performance.md has what makes it less.
    pub fn worst_case_bytes(&self) -> u64 {
        self.worst_case().total()
    }

    /// What streams take, and the old place of the largest buffer of one, or the list of all while it is gone through.
    fn worst_case_of_streams(&self) -> (u64, u64) {
        let limits = self.streams;
        if limits.max_open == 0 {
            return (0, 0);
        }
        let open = u64::from(limits.max_open);
        let (both, buffer) = (2 * open, u64::try_from(self.send_buffer.max(1)).unwrap_or(u64::MAX));
        // The peer's, this side's, and as many that were refused.
        let all = 3 * open;
        let held = add(&[
            all * (size::STREAM as u64 + LISTS * PLACE),
            both * (NAME + STREAM_KEPT.min(limits.send_buffer.into())),
            limits.most_received(),
            buffer.saturating_mul(2),
        ]);
        (held, most(&[limits.largest_window.into(), limits.send_buffer.into(), 2 * 8 * all]))
    }
}

impl WorstCase {
    /// All of it, once the peer has proved its id.
    pub const fn total(&self) -> u64 {
        let Self { before_authentication: _, received, queued, calls, streams, wire, fixed, moving } = *self;
        add(&[received, queued, calls, streams, wire, fixed, moving])
    }
}
