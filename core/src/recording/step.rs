//! One step of a recording, in words.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use super::bytes::{Cursor, LONGEST_SPARSE};
use super::crypto::{Operation, Outcome};
use super::input::{Answer, Input, Post, Word};
use super::outcome::{self, Seconds};
use super::words::get_word;
use super::{BadRecording, FIGURE_NAMES, tag};
use crate::link::Ready;
use crate::phase::Phase;
use crate::time::Instant;

/// One step of a recording: what went into the link and what came of it. `Display` is a few lines for people,
/// the first for what went in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// Its place among the steps, from 0.
    pub index: usize,
    /// The owner's time with it; of a call that has none, that of the call before.
    pub now: Instant,
    /// The method of [`Link`](crate::Link) that was called.
    pub method: &'static str,
    /// Its arguments, in words.
    pub arguments: String,
    /// What it gave in the replay, where that is more than its effect: taken or not, for instance.
    pub gave: Option<&'static str>,
    /// What came of it, in words and in order: what cryptography said, what `poll` answered, the figures that
    /// changed.
    pub came: Vec<String>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}  {}  {}", self.index, Seconds(self.now), self.method)?;
        if !self.arguments.is_empty() {
            write!(f, " {}", self.arguments)?;
        }
        if let Some(gave) = self.gave {
            write!(f, ": {gave}")?;
        }
        self.came.iter().try_for_each(|line| write!(f, "\n         {line}"))
    }
}

/// A step as it lies in a recording.
pub(crate) struct Raw<'a> {
    pub(crate) index: usize,
    pub(crate) now: Instant,
    pub(crate) input: Input<'a>,
    /// The entries: tag and value.
    pub(crate) entries: Vec<(u8, &'a [u8])>,
    /// All of it.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Reads the next step; `None` at the end, with the number that says why it is there.
    pub(crate) fn get(
        exact: bool,
        index: usize,
        last: Instant,
        from: &mut Cursor<'a>,
    ) -> Result<Result<Self, u8>, BadRecording> {
        let before = from.rest();
        let (kind, value) = entry(from)?;
        let mut argument = Cursor::new(value);
        match kind {
            tag::END => return argument.byte().map(Err),
            tag::INPUT => {}
            _ => return Err(BadRecording::Malformed("a step that does not begin with what went in")),
        }
        let number = argument.byte()?;
        let zigzag = argument.number()?;
        let passed = (zigzag >> 1) ^ (zigzag & 1).wrapping_neg();
        let now = Instant::from_nanos(last.as_nanos().wrapping_add(passed));
        let input = Input::get(number, exact, &mut argument)?;
        let mut entries = Vec::new();
        loop {
            let (kind, value) = entry(from)?;
            if matches!(kind, tag::INPUT | tag::END | tag::ORIGIN) {
                return Err(BadRecording::Malformed("a step without its end"));
            }
            entries.push((kind, value));
            if kind == tag::AFTER {
                break;
            }
        }
        let (bytes, _) = before.split_at(before.len() - from.rest().len());
        Ok(Ok(Self { index, now, input, entries, bytes }))
    }

    /// What cryptography said in it.
    pub(crate) fn outcomes(&self, exact: bool) -> Result<VecDeque<Outcome>, BadRecording> {
        let crypto = self.entries.iter().filter(|(kind, _)| *kind == tag::CRYPTO);
        let (mut outcomes, mut opened) = (VecDeque::new(), 0);
        for (_, value) in crypto {
            let outcome = Outcome::get(exact, value)?;
            opened += outcome.bytes.len();
            if opened > LONGEST_SPARSE {
                return Err(BadRecording::Malformed("more opened in a step than a link holds"));
            }
            outcomes.push_back(outcome);
        }
        Ok(outcomes)
    }

    /// The step in words.
    pub(crate) fn describe(&self, exact: bool, gave: Option<&'static str>) -> Result<Step, BadRecording> {
        let came = self.entries.iter().map(|(kind, value)| describe(exact, *kind, value));
        Ok(Step {
            index: self.index,
            now: self.now,
            method: self.input.name(),
            arguments: arguments(&self.input, exact)?,
            gave,
            came: came.filter(|line| line != &Ok(String::new())).collect::<Result<_, _>>()?,
        })
    }
}

/// Reads an entry.
pub(crate) fn entry<'a>(from: &mut Cursor<'a>) -> Result<(u8, &'a [u8]), BadRecording> {
    Ok((from.byte()?, from.string()?))
}

/// An entry behind an input, in words.
pub(crate) fn describe(exact: bool, kind: u8, value: &[u8]) -> Result<String, BadRecording> {
    let mut text = String::new();
    match kind {
        tag::ACTION => return outcome::describe(exact, value),
        tag::CRYPTO => {
            let outcome = Outcome::get(exact, value)?;
            let _ = write!(text, "{}", outcome.operation.name());
            if let Some(verdict) = &outcome.verdict {
                let _ = write!(text, ": {verdict}");
                return Ok(text);
            }
            match (outcome.place, outcome.error()) {
                (Some(place), _) => {
                    let _ = write!(text, ": {}, {} bytes", place.name(), outcome.length);
                }
                (None, Some(error)) if outcome.operation != Operation::Sign => {
                    let _ = write!(text, ": {error}");
                }
                (None, Some(_)) => text.push_str(": failed"),
                (None, None) => {}
            }
        }
        tag::AFTER => {
            let mut from = Cursor::new(value);
            let mask = from.number()?;
            for (index, name) in FIGURE_NAMES.iter().enumerate() {
                if mask & 1 << index != 0 {
                    let comma = if text.is_empty() { "" } else { ", " };
                    let _ = write!(text, "{comma}{name} ");
                    figure(&mut text, name, from.number()?);
                }
            }
        }
        _ => {
            let _ = write!(text, "entry {kind:#04x}, {} bytes", value.len());
        }
    }
    Ok(text)
}

/// A figure's value, in the way that it is read.
fn figure(text: &mut String, name: &str, value: u64) {
    let _ = match (name, value.checked_sub(1)) {
        ("phase", _) => match PHASES.iter().find(|phase| **phase as u64 == value) {
            Some(phase) => write!(text, "{phase}"),
            None => write!(text, "{value}"),
        },
        ("deadline" | "round trip", None) => write!(text, "none"),
        ("deadline" | "round trip", Some(nanos)) => write!(text, "{}", Seconds(Instant::from_nanos(nanos))),
        _ => write!(text, "{value}"),
    };
}

const PHASES: [Phase; 9] = [
    Phase::Preamble,
    Phase::KeyExchange,
    Phase::Authentication,
    Phase::Admission,
    Phase::Alive,
    Phase::Status,
    Phase::Established,
    Phase::Draining,
    Phase::Closed,
];

fn arguments(input: &Input<'_>, exact: bool) -> Result<String, BadRecording> {
    let mut text = String::new();
    let post = |text: &mut String, post: &Post<'_>| {
        let Post { service, body, priority, expires, unordered } = post;
        let signed = if body.signed { "signed, " } else { "" };
        let _ = write!(text, "{service:?}, {signed}{} bytes, {priority:?}", body.bytes.len());
        text.push_str(if *unordered { ", unordered" } else { "" });
        expires.map(|at| write!(text, ", expires {}", Seconds(at)));
    };
    let _ = match input {
        Input::Poll(Ready { events, requests, unordered, write }) => {
            let unordered = *unordered && !requests;
            let wants =
                [(*events, "events"), (*requests, "requests"), (unordered, "unordered"), (*write, "write")];
            let mut wants = wants.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| name);
            let first = wants.next().unwrap_or("nothing");
            text.push_str(first);
            wants.try_for_each(|name| write!(text, ", {name}"))
        }
        Input::Received { count, .. } | Input::Transmitted { count, .. } => write!(text, "{count} bytes"),
        Input::Send(message) => {
            post(&mut text, message);
            Ok(())
        }
        Input::Call(message, timeout) => {
            post(&mut text, message);
            write!(text, ", timeout {timeout:?}")
        }
        Input::Cancel(named) => write!(text, "call {}", named.id),
        Input::Reply { call, answer: Answer::Body(body), .. } => {
            write!(text, "call {}, {} bytes", call.id, body.bytes.len())
        }
        Input::Reply { call, answer: Answer::Error { code, .. }, .. } => {
            write!(text, "call {}, error {code}", call.id)
        }
        Input::Refuse(refusal) => write!(text, "{} ({})", refusal.name(), refusal.code()),
        Input::Goodbye { code, detail } => write!(text, "code {code}, {} bytes", detail.len()),
        Input::OpenStream { name, priority } => write!(text, "{name:?}, {priority:?}"),
        Input::StreamWrite(stream, bytes) => write!(text, "stream {}, {} bytes", stream.id, bytes.len()),
        Input::StreamRead(stream, room) => write!(text, "stream {}, room for {room}", stream.id),
        Input::StreamFinish(stream) => write!(text, "stream {}", stream.id),
        Input::StreamReset(stream, code) | Input::StreamStop(stream, code) => {
            write!(text, "stream {}, code {code}", stream.id)
        }
        Input::Node(Word::Recorded(word)) => {
            // Its `Debug` shows no body.
            let word = get_word(exact, &mut Cursor::new(word))?;
            write!(text, "{word:?}")
        }
        _ => Ok(()),
    };
    Ok(text)
}
