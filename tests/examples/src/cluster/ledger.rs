//! What a process writes down, so that it is there when the process is not.
//!
//! One line for each thing, in one write: the system has it when the write returns, whatever becomes of the
//! process. A kill costs the line that is being written, and no other.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::Path;
use std::str::FromStr;

use handclasp::Executed;

#[cfg(test)]
mod tests;

/// Who made a call or sent a message, and which one of its.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) name: String,
    /// A process that starts again counts from the beginning: its numbers mean something with this only.
    pub(crate) run: u32,
    pub(crate) number: u64,
}

/// A line of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The call is about to be made.
    Call { number: u64, to: String },
    /// The right answer came.
    Answered { number: u64 },
    /// An answer came that is not the one to this call.
    WrongAnswer { number: u64 },
    /// It failed.
    Failed { number: u64, executed: Executed, reason: String },
    /// Another node's call is executed here.
    Executed(Origin),
    /// The message is about to be sent. Numbers count up for each receiver.
    Send { number: u64, to: String },
    /// The node says that it was not delivered.
    Undelivered { number: u64, to: String, reason: String },
    /// Another node's message has come.
    Received(Origin),
    /// Messages to a peer go to a new link.
    Linked { peer: String },
    /// There is no link to a peer any more.
    Unlinked { peer: String, reason: String },
    /// A dial failed.
    DialFailed { peer: String, reason: String },
    /// Trust in a peer was withdrawn.
    Revoked { peer: String },
    /// Events of the node were missed.
    Missed { count: u64 },
    /// The process ends by itself; nothing follows.
    End,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { number, to } => write!(f, "call {number} {to}"),
            Self::Answered { number } => write!(f, "answered {number}"),
            Self::WrongAnswer { number } => write!(f, "wrong_answer {number}"),
            Self::Failed { number, executed: Executed::No, reason } => {
                write!(f, "failed {number} no {reason}")
            }
            Self::Failed { number, executed: Executed::Unknown, reason } => {
                write!(f, "failed {number} unknown {reason}")
            }
            Self::Executed(Origin { name, run, number }) => write!(f, "executed {name} {run} {number}"),
            Self::Send { number, to } => write!(f, "send {number} {to}"),
            Self::Undelivered { number, to, reason } => write!(f, "undelivered {number} {to} {reason}"),
            Self::Received(Origin { name, run, number }) => write!(f, "received {name} {run} {number}"),
            Self::Linked { peer } => write!(f, "linked {peer}"),
            Self::Unlinked { peer, reason } => write!(f, "unlinked {peer} {reason}"),
            Self::DialFailed { peer, reason } => write!(f, "dial_failed {peer} {reason}"),
            Self::Revoked { peer } => write!(f, "revoked {peer}"),
            Self::Missed { count } => write!(f, "missed {count}"),
            Self::End => f.write_str("end"),
        }
    }
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(line: &str) -> std::result::Result<Self, String> {
        Self::parse(line).ok_or_else(|| format!("{line:?} is no line of a ledger"))
    }
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.splitn(3, ' ');
        let mut word = || words.next().map(str::to_owned);
        Some(match verb {
            "call" => Self::Call { number: word()?.parse().ok()?, to: word()? },
            "answered" => Self::Answered { number: word()?.parse().ok()? },
            "wrong_answer" => Self::WrongAnswer { number: word()?.parse().ok()? },
            "failed" => {
                let number = word()?.parse().ok()?;
                let executed = match word()?.as_str() {
                    "no" => Executed::No,
                    "unknown" => Executed::Unknown,
                    _ => return None,
                };
                Self::Failed { number, executed, reason: word()? }
            }
            "executed" | "received" => {
                let origin =
                    Origin { name: word()?, run: word()?.parse().ok()?, number: word()?.parse().ok()? };
                if verb == "executed" { Self::Executed(origin) } else { Self::Received(origin) }
            }
            "send" => Self::Send { number: word()?.parse().ok()?, to: word()? },
            "undelivered" => {
                Self::Undelivered { number: word()?.parse().ok()?, to: word()?, reason: word()? }
            }
            "linked" => Self::Linked { peer: word()? },
            "unlinked" => Self::Unlinked { peer: word()?, reason: word()? },
            "dial_failed" => Self::DialFailed { peer: word()?, reason: word()? },
            "revoked" => Self::Revoked { peer: word()? },
            "missed" => Self::Missed { count: word()?.parse().ok()? },
            "end" => Self::End,
            _ => return None,
        })
    }
}

/// A ledger that is being written.
#[derive(Debug)]
pub(crate) struct Ledger(File);

impl Ledger {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        Ok(Self(OpenOptions::new().append(true).create_new(true).open(path)?))
    }

    /// Writes one line. A ledger that cannot be written proves nothing, so the process ends then.
    pub(crate) fn write(&self, entry: &Entry) {
        let line = format!("{entry}\n");
        // Appending is atomic among threads as long as it is one write.
        let written = (&self.0).write(line.as_bytes());
        if written.as_ref().ok() != Some(&line.len()) {
            eprintln!("cluster: the ledger took {written:?} of {} bytes", line.len());
            std::process::exit(1);
        }
    }
}

/// What was written. The last line of a process that was killed may be cut short; it is left out then.
pub(crate) fn read(path: &Path, killed: bool) -> Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path)?;
    let whole = if killed { text.rfind('\n').map_or(0, |at| at + 1) } else { text.len() };
    let broken =
        |line, error| Error::new(ErrorKind::InvalidData, format!("{}:{}: {error}", path.display(), line + 1));
    let lines = text.get(..whole).unwrap_or_default().lines().enumerate();
    lines.map(|(at, line)| line.parse().map_err(|error: String| broken(at, error))).collect()
}
