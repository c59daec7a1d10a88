//! What comes out of a link: the answer of `poll`, as it is recorded.

use alloc::string::String;
use core::fmt::{self, Write as _};

use super::BadRecording;
use super::bytes::{Cursor, Writer, digest};
use super::verdict::Facts;
use crate::error::{By, CallError, Closed, Executed, Reason};
use crate::link::{Action, Event, Incoming, StreamId};
use crate::signed::SignedMessage;
use crate::time::Instant;

/// The names of events, in the order of their numbers: new ones go to the end.
const EVENTS: [&str; 18] = [
    "opened",
    "identified",
    "established",
    "ready",
    "message",
    "call",
    "reply",
    "call_failed",
    "cancelled",
    "expired",
    "stream_opened",
    "stream_readable",
    "stream_writable",
    "stream_reset",
    "stream_stopped",
    "draining",
    "closed",
    "relay",
];

/// Answers that are no event.
const SEND: u8 = 0x80;
const TIMEOUT: u8 = 0x81;

/// Writes an answer of `poll`: its number, then fields in words and numbers. Of bodies the length, and in an
/// exact recording the digest.
pub(crate) fn put(action: &Action<'_>, exact: bool, out: &mut Writer) {
    let event = match action {
        Action::Send => return out.byte(SEND),
        Action::Timeout(at) => {
            out.byte(TIMEOUT);
            return out.maybe_instant(*at);
        }
        Action::Event(event) => event,
    };
    let body = |out: &mut Writer, body: &[u8]| {
        out.length(body.len());
        out.raw(if exact { digest(body) } else { [0; 8] }.get(..8 * usize::from(exact)).unwrap_or_default());
    };
    let incoming = |out: &mut Writer, incoming: &Incoming<'_>| {
        out.string(incoming.service.as_bytes());
        out.byte(incoming.priority as u8);
        out.number(incoming.sequence);
        out.flag(incoming.unordered);
        put_signed(incoming.signed.as_deref(), out);
        body(out, &incoming.body);
    };
    let stream = |out: &mut Writer, kind: u8, id: &StreamId| {
        out.byte(kind);
        out.number(id.get());
    };
    match event {
        Event::Opened => out.byte(0),
        Event::Identified(peer) => {
            out.byte(1);
            out.raw(peer.id.as_bytes());
        }
        Event::Established(peer) => {
            out.byte(2);
            out.raw(peer.id.as_bytes());
            out.number(peer.outcome.version.into());
            out.flag(peer.simultaneous);
        }
        Event::Ready => out.byte(3),
        Event::Message(message) => {
            out.byte(4);
            incoming(out, message);
        }
        Event::Call { token, request, deadline } => {
            out.byte(5);
            out.number(token.call());
            out.instant(*deadline);
            incoming(out, request);
        }
        Event::Reply { call, body: answer } => {
            out.byte(6);
            out.number(call.get());
            body(out, answer);
        }
        Event::CallFailed { call, error } => {
            out.byte(7);
            out.number(call.get());
            put_call_error(error, out);
        }
        Event::Cancelled { call } => {
            out.byte(8);
            out.number(*call);
        }
        Event::Expired(envelope) => {
            out.byte(9);
            out.string(envelope.service.as_bytes());
            out.byte(envelope.priority as u8);
            out.maybe_instant(envelope.expires);
            out.flag(envelope.signed);
            body(out, &envelope.body);
        }
        Event::StreamOpened { id, name, priority } => {
            stream(out, 10, id);
            out.string(name.as_bytes());
            out.byte(*priority as u8);
        }
        Event::StreamReadable(id) => stream(out, 11, id),
        Event::StreamWritable(id) => stream(out, 12, id),
        Event::StreamReset { id, code } => {
            stream(out, 13, id);
            out.number((*code).into());
        }
        Event::StreamStopped { id, code } => {
            stream(out, 14, id);
            out.number((*code).into());
        }
        Event::Draining { by, code, detail } => {
            out.byte(15);
            out.byte(number_of(*by));
            out.number((*code).into());
            body(out, detail.as_bytes());
        }
        Event::Closed(closed) => {
            out.byte(16);
            put_closed(closed, out);
        }
        Event::Relay { message, priority } => {
            out.byte(17);
            out.string(message.service().as_bytes());
            out.byte(*priority as u8);
            put_signed(Some(message), out);
            body(out, message.bytes());
        }
    }
}

/// Of a signed message, who says it to whom, and its numbers.
fn put_signed(message: Option<&SignedMessage>, out: &mut Writer) {
    out.flag(message.is_some());
    if let Some(message) = message {
        Facts::of(message).put(out);
    }
}

const fn number_of(by: By) -> u8 {
    match by {
        By::Local => 0,
        By::Peer => 1,
        By::Transport => 2,
    }
}

fn put_reason(reason: &Reason, out: &mut Writer) {
    out.number(reason.code().into());
    out.string(reason.name().as_bytes());
    // What was wrong is the link's own words.
    let what = if let Reason::Violation(violation) = reason { violation.what.what } else { "" };
    out.string(what.as_bytes());
}

fn put_closed(closed: &Closed, out: &mut Writer) {
    put_reason(&closed.reason, out);
    out.byte(number_of(closed.by));
    out.string(closed.phase.name().as_bytes());
    out.length(closed.untaken);
    out.length(closed.unsent);
}

fn put_call_error(error: &CallError, out: &mut Writer) {
    let executed = |executed: &Executed| u8::from(*executed == Executed::Unknown);
    match error {
        CallError::Service(error) => {
            out.byte(0);
            out.number(error.code().into());
        }
        CallError::DeadlineExceeded { executed: may } => out.raw(&[1, executed(may)]),
        CallError::LinkClosed { reason, executed: may } => {
            out.raw(&[2, executed(may)]);
            put_reason(reason, out);
        }
        // A link never says this: it is a node's word.
        CallError::NoLink { .. } => out.byte(3),
        // Nor this: it takes no such call.
        CallError::OneWayOnly => out.byte(4),
    }
}

/// An answer of `poll` in words.
pub(crate) fn describe(exact: bool, value: &[u8]) -> Result<String, BadRecording> {
    let mut from = Cursor::new(value);
    let mut text = Words { text: String::new(), from: &mut from, exact };
    text.describe()?;
    Ok(text.text)
}

struct Words<'a, 'b> {
    text: String,
    from: &'a mut Cursor<'b>,
    exact: bool,
}

impl Words<'_, '_> {
    fn describe(&mut self) -> Result<(), BadRecording> {
        let kind = self.from.byte()?;
        match kind {
            SEND => {
                self.say(format_args!("send"));
                return Ok(());
            }
            TIMEOUT => {
                match self.from.maybe_instant()? {
                    Some(at) => self.say(format_args!("wait until {}", Seconds(at))),
                    None => self.say(format_args!("wait")),
                }
                return Ok(());
            }
            _ => {}
        }
        let name = EVENTS.get(usize::from(kind)).copied();
        self.say(format_args!("event {}", name.ok_or(BadRecording::Malformed("no such event"))?));
        match kind {
            1 => self.id(),
            2 => {
                self.id()?;
                self.field("version")?;
                self.word_if("simultaneous")
            }
            4 => self.incoming(),
            5 => {
                self.field("number")?;
                self.time("deadline")?;
                self.incoming()
            }
            6 => {
                self.field("call")?;
                self.body()
            }
            7 => {
                self.field("call")?;
                match self.from.byte()? {
                    0 => self.field("service error"),
                    1 => {
                        self.say(format_args!(" deadline exceeded"));
                        self.word_if("may have been executed")
                    }
                    2 => {
                        self.word_if("may have been executed")?;
                        self.reason()
                    }
                    _ => Ok(()),
                }
            }
            8 => self.field("number"),
            9 => {
                self.name()?;
                self.field("priority")?;
                if self.from.flag()? {
                    self.time("expires")?;
                }
                self.word_if("signed")?;
                self.body()
            }
            10 => {
                self.field("stream")?;
                self.name()?;
                self.field("priority")
            }
            11 | 12 => self.field("stream"),
            13 | 14 => {
                self.field("stream")?;
                self.field("code")
            }
            15 => {
                self.by()?;
                self.field("code")?;
                self.body()
            }
            16 => {
                self.reason()?;
                self.by()?;
                let phase = self.from.text()?;
                self.say(format_args!(", phase {phase}"));
                self.field("untaken")?;
                self.field("unsent")
            }
            17 => {
                self.name()?;
                self.field("priority")?;
                self.signed()?;
                self.body()
            }
            _ => Ok(()),
        }
    }

    fn say(&mut self, what: fmt::Arguments<'_>) {
        let _ = self.text.write_fmt(what);
    }

    fn id(&mut self) -> Result<(), BadRecording> {
        let id = crate::identity::ClaimedId::new(self.from.array()?);
        self.say(format_args!(" {id}"));
        Ok(())
    }

    fn field(&mut self, name: &str) -> Result<(), BadRecording> {
        let number = self.from.number()?;
        self.say(format_args!(", {name} {number}"));
        Ok(())
    }

    fn time(&mut self, name: &str) -> Result<(), BadRecording> {
        let at = self.from.instant()?;
        self.say(format_args!(", {name} {}", Seconds(at)));
        Ok(())
    }

    fn word_if(&mut self, word: &str) -> Result<(), BadRecording> {
        if self.from.flag()? {
            self.say(format_args!(", {word}"));
        }
        Ok(())
    }

    fn name(&mut self) -> Result<(), BadRecording> {
        let name = self.from.text()?;
        self.say(format_args!(" {name:?}"));
        Ok(())
    }

    fn incoming(&mut self) -> Result<(), BadRecording> {
        self.name()?;
        self.field("priority")?;
        self.field("sequence")?;
        if self.from.flag()? {
            self.say(format_args!(", unordered"));
        }
        self.signed()?;
        self.body()
    }

    fn signed(&mut self) -> Result<(), BadRecording> {
        if self.from.flag()? {
            let facts = Facts::get(self.from)?;
            self.say(format_args!(", signed: {facts}"));
        }
        Ok(())
    }

    fn body(&mut self) -> Result<(), BadRecording> {
        let length = self.from.length()?;
        self.say(format_args!(", {length} bytes"));
        if self.exact {
            let digest = u64::from_be_bytes(self.from.array()?);
            self.say(format_args!(" ({digest:016x})"));
        }
        Ok(())
    }

    fn reason(&mut self) -> Result<(), BadRecording> {
        let (code, name, what) = (self.from.number()?, self.from.text()?, self.from.text()?);
        self.say(format_args!(": {name} ({code})"));
        if !what.is_empty() {
            self.say(format_args!(", {what}"));
        }
        Ok(())
    }

    fn by(&mut self) -> Result<(), BadRecording> {
        let by = match self.from.byte()? {
            0 => "this side",
            1 => "the peer",
            _ => "the stream",
        };
        self.say(format_args!(", by {by}"));
        Ok(())
    }
}

/// A time as seconds of the link's clock.
pub(crate) struct Seconds(pub(crate) Instant);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        write!(f, "{}.{:09} s", nanos / 1_000_000_000, nanos % 1_000_000_000)
    }
}
