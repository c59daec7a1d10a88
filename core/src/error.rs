//! How links end: one closed set of reasons, with the numbers of docs/wire.md §10.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::crypto::SuiteSet;
use crate::identity::{ClaimedId, NodeId};
use crate::node::DialError;
use crate::phase::Phase;
use crate::refusal::{Refusal, Retry};
use crate::wire::Malformed;

/// Why a link ended.
///
/// [`code`](Self::code) and [`name`](Self::name) are stable: the same number and word stand on the wire, in
/// logs and in metric labels. `Display` is a sentence for people that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// One side said goodbye and the link drained; code and detail are the application's.
    Goodbye {
        /// The application's code; 0 where it gave none.
        code: u32,
        /// At most 255 bytes of text for people.
        detail: String,
    },
    /// An ephemeral link carried no application traffic for its time.
    Idle,
    /// A newer link to the same peer took over.
    Superseded,
    /// Trust in the peer was withdrawn while the link lived.
    Revoked,
    /// The owner let go of the link without a goodbye.
    Dropped,
    /// A goodbye's deadline passed with work still in flight.
    DrainTimeout,
    /// The stream ended without a closing frame: by a crash, a middlebox, or an attacker.
    Truncated,
    /// The stream failed; the adapter's error says how.
    Transport,
    /// Nothing came from the peer for the idle time and two pings.
    PeerDead,
    /// Bytes were ready but the stream took none for too long.
    WriteStalled,
    /// The handshake, or the step of it in the link's phase, took longer than allowed.
    HandshakeTimeout,
    /// A side that holds the link did not say in time that it is ready.
    NotReady,
    /// One side refused the link.
    Refused(Refusal),
    /// Another peer answered than the one dialled.
    WrongPeer {
        /// The peer that was dialled.
        expected: NodeId,
        /// The id that answered; `None` where the peer itself reports being the wrong one.
        got: Option<ClaimedId>,
    },
    /// The other side speaks another major version of the wire format. Not authenticated.
    UnsupportedWire {
        /// The major version that it speaks.
        theirs: u8,
    },
    /// The other side does not support the suite that was chosen. Not authenticated.
    UnsupportedSuite {
        /// The suites that it supports.
        theirs: SuiteSet,
    },
    /// The first authenticated bytes did not open: another cluster secret, another network id, or an edit on
    /// the way.
    KeyExchangeFailed,
    /// An id could not prove itself.
    BadSignature,
    /// Both sides could have taken a stronger suite than the one chosen: somebody forged a refusal.
    Downgrade,
    /// The own signer gave no signature.
    SignerFailed,
    /// The own crypto provider could not do what was asked of it.
    ProviderFailed,
    /// Bytes that the state of the link does not allow.
    Violation(Violation),
    /// A record did not open: the stream was edited, or the peer's counter left ours.
    DecryptFailed,
    /// Something came that is longer than its limit.
    TooLarge,
    /// A message came without credit for it, or credit beyond the window.
    FlowControl,
    /// A key has sealed all that it may.
    CounterExhausted,
    /// The peer asks for more answers than it takes.
    Flood,
}

/// A breach of the wire format: in which phase, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The phase of the link that saw it.
    pub phase: Phase,
    /// What was wrong.
    pub what: Malformed,
}

impl Reason {
    /// The stable number.
    pub const fn code(&self) -> u16 {
        match self {
            Self::Goodbye { .. } => 1,
            Self::Idle => 2,
            Self::Superseded => 3,
            Self::Revoked => 4,
            Self::Dropped => 5,
            Self::DrainTimeout => 6,
            Self::Truncated => 10,
            Self::Transport => 11,
            Self::PeerDead => 12,
            Self::WriteStalled => 13,
            Self::HandshakeTimeout => 14,
            Self::NotReady => 15,
            Self::Refused(refusal) => refusal.code(),
            Self::WrongPeer { .. } => 40,
            Self::UnsupportedWire { .. } => 41,
            Self::UnsupportedSuite { .. } => 42,
            Self::KeyExchangeFailed => 43,
            Self::BadSignature => 44,
            Self::Downgrade => 45,
            Self::SignerFailed => 46,
            Self::ProviderFailed => 47,
            Self::Violation(_) => 50,
            Self::DecryptFailed => 51,
            Self::TooLarge => 52,
            Self::FlowControl => 53,
            Self::CounterExhausted => 54,
            Self::Flood => 55,
        }
    }

    /// The stable name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Goodbye { .. } => "goodbye",
            Self::Idle => "idle",
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
            Self::Dropped => "dropped",
            Self::DrainTimeout => "drain_timeout",
            Self::Truncated => "truncated",
            Self::Transport => "transport",
            Self::PeerDead => "peer_dead",
            Self::WriteStalled => "write_stalled",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::NotReady => "not_ready",
            Self::Refused(refusal) => refusal.name(),
            Self::WrongPeer { .. } => "wrong_peer",
            Self::UnsupportedWire { .. } => "unsupported_wire",
            Self::UnsupportedSuite { .. } => "unsupported_suite",
            Self::KeyExchangeFailed => "key_exchange_failed",
            Self::BadSignature => "bad_signature",
            Self::Downgrade => "downgrade",
            Self::SignerFailed => "signer_failed",
            Self::ProviderFailed => "provider_failed",
            Self::Violation(_) => "violation",
            Self::DecryptFailed => "decrypt_failed",
            Self::TooLarge => "too_large",
            Self::FlowControl => "flow_control",
            Self::CounterExhausted => "counter_exhausted",
            Self::Flood => "flood",
        }
    }

    /// Whether dialling the same peer again can help, and when.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused(refusal) => refusal.retry(),
            Self::Superseded | Self::CounterExhausted => Retry::Now,
            // Not so what comes in the clear, where anybody could have said it.
            Self::Revoked | Self::WrongPeer { .. } | Self::BadSignature | Self::Downgrade => Retry::Never,
            _ => Retry::Later(None),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goodbye { code: 0, detail } if detail.is_empty() => f.write_str("goodbye"),
            Self::Goodbye { code, detail } if detail.is_empty() => write!(f, "goodbye (code {code})"),
            // The peer's words: what they hold must not act on a terminal.
            Self::Goodbye { code, detail } => write!(f, "goodbye (code {code}): {}", detail.escape_debug()),
            Self::Idle => f.write_str("no application traffic for the link's idle time"),
            Self::Superseded => f.write_str("a newer link to the same peer took over"),
            Self::Revoked => f.write_str("trust in the peer was withdrawn"),
            Self::Dropped => f.write_str("its owner let go of the link without a goodbye"),
            Self::DrainTimeout => f.write_str("work was still in flight when the goodbye's deadline passed"),
            Self::Truncated => f.write_str("the stream ended without a closing frame"),
            Self::Transport => f.write_str("the stream failed"),
            Self::PeerDead => f.write_str("nothing came from the peer, pings included"),
            Self::WriteStalled => f.write_str("the stream took no bytes for too long"),
            Self::HandshakeTimeout => f.write_str("the handshake took too long"),
            Self::NotReady => f.write_str("one side did not say in time that it is ready"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::WrongPeer { expected, got: Some(got) } => {
                write!(f, "another peer answered: expected {expected}, got {got}")
            }
            Self::WrongPeer { expected, got: None } => {
                write!(f, "the dialler expected another peer than this one ({expected})")
            }
            Self::UnsupportedWire { theirs } => {
                write!(f, "the peer speaks wire version {theirs}, this side {}", crate::wire::MAJOR)
            }
            Self::UnsupportedSuite { theirs } => write!(
                f,
                "no common suite (the peer has {theirs}): is a cluster secret set on one side only?"
            ),
            Self::KeyExchangeFailed => f.write_str(
                "the key exchange failed: another cluster secret, another network id, or an edit on the way",
            ),
            Self::BadSignature => f.write_str("the peer could not prove its id"),
            Self::Downgrade => {
                f.write_str("both sides could have taken a stronger suite: the offer was tampered with")
            }
            Self::SignerFailed => f.write_str("this node's signer gave no signature"),
            Self::ProviderFailed => f.write_str("this node's crypto provider failed"),
            Self::Violation(violation) => violation.fmt(f),
            Self::DecryptFailed => f.write_str("a record did not open: the stream was tampered with"),
            Self::TooLarge => f.write_str("something longer than its limit came in"),
            Self::FlowControl => f.write_str("the peer sent more than it had credit for"),
            Self::CounterExhausted => f.write_str("a key has sealed all that it may"),
            Self::Flood => f.write_str("the peer asks for more answers than it takes"),
        }
    }
}

impl core::error::Error for Reason {}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "protocol violation in phase {}: {}", self.phase, self.what)
    }
}

/// Who ended a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// This side: by command, by policy, or by what it saw.
    Local,
    /// The other side said so.
    Peer,
    /// Neither: the stream ended, failed or fell silent.
    Transport,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Peer => "peer",
            Self::Transport => "transport",
        })
    }
}

/// The end of a link: the one terminal event of each link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// Why.
    pub reason: Reason,
    /// Who ended it.
    pub by: By,
    /// The phase that the link had reached.
    pub phase: Phase,
    /// The peer, if it had proved its id.
    pub peer: Option<NodeId>,
    /// The id that the other side claimed, proved or not.
    pub claimed: Option<ClaimedId>,
    /// Requests of the peer's that had come and were not taken in time. An adapter takes a request when its
    /// handler begins: no handler has begun with these, and one that was still running at the end is not counted.
    pub untaken: usize,
    /// One-way messages that were queued and of which the last byte was not sealed;
    /// [`Link::take_unsent`](crate::Link::take_unsent) gives them back.
    pub unsent: usize,
    /// One-way messages whose last byte was sealed and of which it is not known whether the peer took them.
    ///
    /// A message is confirmed when credit for it has come back: the owner of the peer's link has taken it from
    /// there, or it was a signed message that the peer's link refused. All else that was sealed is counted here,
    /// also what the peer took and had not said so yet, for credit is held back until it is worth a frame; it comes at the
    /// latest with the answer to a ping, or with an orderly end. So this many messages at most were lost, and
    /// those are the last ones that were sealed. Small messages are counted some together, so that the number may
    /// be higher than it need be, never lower.
    ///
    /// An adapter takes a message when its handler begins. It is confirmed then, although the handler may still fail,
    /// or run out of time at the end of the link: what was done with a message only an answer says.
    pub unknown: usize,
}

impl Closed {
    /// The end of a link that an adapter has to tell by itself: its machine is gone before it could. What was
    /// under way is not counted.
    pub const fn new(reason: Reason, by: By, phase: Phase, peer: Option<NodeId>) -> Self {
        Self { reason, by, phase, peer, claimed: None, untaken: 0, unsent: 0, unknown: 0 }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (by {}, in phase {})", self.reason, self.by, self.phase)
    }
}

impl core::error::Error for Closed {}

/// How a service failed a call, as it travels (docs/wire.md §5.1).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceError {
    /// No service of that name is offered.
    NoSuchService,
    /// The service is not for this peer.
    Forbidden,
    /// The handler failed; what failed stays with the side that ran it.
    HandlerFailed,
    /// The service side is at its limit; the call was not begun.
    Overloaded,
    /// The call's time was over before the answer was there.
    DeadlineExceeded,
    /// The service side gave the call up.
    Cancelled,
    /// The answer was longer than the caller takes.
    TooLarge {
        /// The caller's limit in bytes.
        limit: u32,
    },
    /// The application's own error.
    Application {
        /// The application's code.
        code: u32,
        /// The application's bytes.
        detail: bytes::Bytes,
    },
    /// A code that this version does not know.
    Other {
        /// The number on the wire.
        code: u16,
    },
}

impl ServiceError {
    /// The number on the wire.
    pub const fn code(&self) -> u16 {
        match self {
            Self::NoSuchService => 1,
            Self::Forbidden => 2,
            Self::HandlerFailed => 3,
            Self::Overloaded => 4,
            Self::DeadlineExceeded => 5,
            Self::Cancelled => 6,
            Self::TooLarge { .. } => 7,
            Self::Application { .. } => 8,
            Self::Other { code } => *code,
        }
    }

    /// The error of this number. `value` is the limit or the application's code, where it has one; `detail` are the
    /// application's bytes.
    pub(crate) fn of(code: u16, value: u32, detail: impl FnOnce() -> bytes::Bytes) -> Self {
        match code {
            1 => Self::NoSuchService,
            2 => Self::Forbidden,
            3 => Self::HandlerFailed,
            4 => Self::Overloaded,
            5 => Self::DeadlineExceeded,
            6 => Self::Cancelled,
            7 => Self::TooLarge { limit: value },
            8 => Self::Application { code: value, detail: detail() },
            code => Self::Other { code },
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchService => f.write_str("the peer offers no service of that name"),
            Self::Forbidden => f.write_str("the peer does not offer that service to this node"),
            Self::HandlerFailed => f.write_str("the peer's handler failed"),
            Self::Overloaded => f.write_str("the peer serves as many calls as it can"),
            Self::DeadlineExceeded => f.write_str("the call's time was over"),
            Self::Cancelled => f.write_str("the peer gave the call up"),
            Self::TooLarge { limit } => write!(f, "longer than the {limit} bytes that the other side takes"),
            Self::Application { code, .. } => write!(f, "application error {code}"),
            Self::Other { code } => write!(f, "error {code}, unknown to this version"),
        }
    }
}

impl fmt::Debug for ServiceError {
    /// As `Display`: the detail of an application's error does not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceError({}: {self})", self.code())
    }
}

impl core::error::Error for ServiceError {}

/// How a call ended without an answer, on the caller's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The service side answered with an error.
    Service(ServiceError),
    /// The call's time was over at this side.
    DeadlineExceeded {
        /// Whether the peer may have executed it: false if the request never left this side whole.
        executed: Executed,
    },
    /// The link ended first.
    LinkClosed {
        /// Why.
        reason: Reason,
        /// Whether the peer may have executed it.
        executed: Executed,
    },
    /// The call waited for a link to the peer, and none could be made. It was not executed.
    NoLink {
        /// Why the last dial failed.
        error: Box<DialError>,
    },
    /// The request is a [signed message](crate::Payload::Signed), which only goes one way. It was not executed.
    OneWayOnly,
}

/// Whether a request whose answer is missing may have been executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executed {
    /// It was not: some of the request never left this side.
    No,
    /// It may have been.
    Unknown,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, executed): (&dyn fmt::Display, _) = match self {
            Self::Service(error) => return error.fmt(f),
            Self::NoLink { error } => (error, &Executed::No),
            Self::OneWayOnly => (&"a signed message only goes one way", &Executed::No),
            Self::DeadlineExceeded { executed } => (&"the call's time was over", executed),
            Self::LinkClosed { reason, executed } => (reason, executed),
        };
        match executed {
            Executed::No => write!(f, "{what}; the call was not executed"),
            Executed::Unknown => write!(f, "{what}; the call may have been executed"),
        }
    }
}

impl core::error::Error for CallError {}
