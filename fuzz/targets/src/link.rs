//! One link, a script for its peer and one for its application.
//!
//! The first two bytes choose the configuration and the role. Each step of the script is a byte that says what
//! happens, and the bytes that it needs. `seeds` has examples.

use std::time::Duration;

use bytes::Bytes;
use handclasp::{Message, Payload, Phase, Priority, Ready, Refusal, ServiceError, VersionRange};

use crate::input::Input;
use crate::owner::Owner;
use crate::peer::{Setup, accepts, auth, frame, framed, record, second};
use crate::transparent::TAG;

/// Steps of a script, as they stand in it; the number of kinds is the last one.
pub(crate) mod step {
    pub(crate) const NEXT: u8 = 0;
    pub(crate) const FRAMES: u8 = 1;
    pub(crate) const RECORD: u8 = 2;
    pub(crate) const RAW: u8 = 3;
    pub(crate) const HANDSHAKE: u8 = 4;
    pub(crate) const TIME: u8 = 5;
    pub(crate) const READY: u8 = 6;
    pub(crate) const SEND: u8 = 7;
    pub(crate) const CALL: u8 = 8;
    pub(crate) const REPLY: u8 = 9;
    pub(crate) const CANCEL: u8 = 10;
    pub(crate) const COMMAND: u8 = 11;
    pub(crate) const EDITED_AUTH: u8 = 12;
    pub(crate) const KINDS: usize = 13;
}

/// More steps than this are not looked at: a run stays short.
const MOST_STEPS: usize = 2000;

/// Runs the script, and brings the link to its end.
pub(crate) fn run(data: &[u8]) {
    play(data).finish(data.len());
}

/// Runs the script.
pub(crate) fn play(data: &[u8]) -> Owner {
    let mut input = Input::new(data);
    let setup = Setup::read(&mut input);
    let mut owner = setup.owner();
    owner.act();
    for _ in 0..MOST_STEPS {
        if input.is_empty() || owner.link.is_finished() {
            break;
        }
        take_step(&setup, &mut owner, &mut input);
        owner.act();
        owner.out.clear();
        owner.got.clear();
        owner.replies.clear();
    }
    owner
}

fn take_step(setup: &Setup, owner: &mut Owner, input: &mut Input<'_>) {
    let kind = u8::try_from(input.below(step::KINDS)).expect("few kinds");
    match kind {
        step::NEXT => {
            owner.read_all(&expected(setup, owner.link.phase()));
        }
        step::FRAMES => {
            let mut text = Vec::new();
            for _ in 0..=input.below(8) {
                let (kind, flags) = (input.u8(), input.u8());
                text.extend(frame(kind, flags, input.prefixed()));
            }
            owner.read_all(&record(&text));
        }
        step::RECORD => {
            let text = input.prefixed();
            owner.read_all(&record(text));
        }
        step::RAW => {
            let bytes = input.prefixed();
            owner.read_all(bytes);
        }
        step::HANDSHAKE => {
            for message in setup.handshake() {
                owner.read_all(&message);
                owner.act();
            }
        }
        step::TIME => time(owner, input),
        step::READY => {
            let flags = input.u8();
            owner.ready = Ready {
                events: flags & 1 == 0,
                requests: flags & 2 == 0,
                unordered: flags & 0x10 == 0,
                write: flags & 4 == 0,
            };
            owner.chunk = if flags & 8 == 0 { usize::MAX } else { 1 + usize::from(flags >> 4) };
        }
        step::COMMAND => command(owner, input),
        step::EDITED_AUTH => edited_auth(setup, owner, input),
        kind => traffic(kind, owner, input),
    }
}

/// What the peer says to a link in this phase.
fn expected(setup: &Setup, phase: Phase) -> Vec<u8> {
    match phase {
        Phase::Preamble => setup.first(),
        Phase::KeyExchange if setup.initiator => second(),
        Phase::KeyExchange => framed(&[9; 32]),
        Phase::Authentication => record(&auth(&setup.hello(), crate::peer::PEER)),
        Phase::Status => record(&frame(1, 0, &accepts())),
        // PING
        _ => record(&frame(0x30, 0, &[1; 8])),
    }
}

/// AUTH or STATUS with parts of the script's choice.
fn edited_auth(setup: &Setup, owner: &mut Owner, input: &mut Input<'_>) {
    let mut hello = setup.hello();
    let what = input.u8();
    if what & 1 != 0 {
        // Versions, limits, suites.
        let (place, byte) = (input.below(hello.len()), input.u8());
        hello[place] = byte;
    }
    if what & 2 != 0 {
        hello.extend_from_slice(input.prefixed());
    }
    let mut text = auth(&hello, what >> 2 & 3);
    if what & 16 != 0 {
        let (from_end, byte) = (1 + input.below(96), input.u8());
        let place = text.len() - from_end;
        text[place] = byte;
    }
    if what & 32 != 0 {
        // REFUSE
        text = [&[2], input.prefixed()].concat();
    }
    let mut bytes = framed(&[&text[..], &TAG].concat());
    if what & 64 != 0 {
        // A cleartext refusal.
        bytes = [&[0, 0][..], &input.array::<3>()].concat();
    }
    owner.read_all(&bytes);
}

fn time(owner: &mut Owner, input: &mut Input<'_>) {
    let by = match input.u8() {
        // To the next deadline.
        0 => {
            let next = owner.act();
            owner.now = next.map_or(owner.now, |next| next.max(owner.now));
            return;
        }
        // One that steps back is heard as one that stands still.
        1 => {
            owner.link.ping(handclasp::Instant::ZERO);
            return;
        }
        by @ 2..=200 => Duration::from_millis(u64::from(by)),
        by => Duration::from_secs(u64::from(by - 200) * u64::from(by - 200)),
    };
    owner.now = owner.now + by;
}

fn message<'a>(owner: &Owner, input: &mut Input<'_>, service: &'a str, body: &'a [u8]) -> Message<'a> {
    let how = input.u8();
    let body = if how & 4 == 0 { Payload::from(body) } else { Bytes::copy_from_slice(body).into() };
    let mut message = Message::new(service, body).priority(Priority::ALL[usize::from(how & 3)]);
    if how & 8 != 0 {
        message = message.expires(owner.now + Duration::from_millis(u64::from(how >> 4) * 100));
    }
    message
}

/// Messages, calls and answers of the application's.
fn traffic(kind: u8, owner: &mut Owner, input: &mut Input<'_>) {
    let now = owner.now;
    match kind {
        step::SEND | step::CALL => {
            let service = "s".repeat(input.below(4) * input.below(4) * 30);
            let body = vec![7; input.length()];
            let message = message(owner, input, &service, &body);
            if kind == step::SEND {
                owner.sent += usize::from(owner.link.send(message).is_ok());
            } else {
                let timeout = Duration::from_millis(u64::from(input.u16()));
                if let Ok(call) = owner.link.call(message, timeout, now) {
                    owner.calls.push(call);
                }
            }
        }
        step::REPLY if !owner.tokens.is_empty() => {
            let place = input.below(owner.tokens.len().min(256));
            let (token, start) = owner.tokens.swap_remove(place);
            let body = vec![8; input.length()];
            let answer = match input.below(6) {
                0..=2 => Ok(Payload::from(&body[..])),
                3 => Err(ServiceError::Application { code: 5, detail: body.clone().into() }),
                4 => Err(ServiceError::NoSuchService),
                _ => Err(ServiceError::TooLarge { limit: 9 }),
            };
            if let Err(no) = owner.link.reply(token, answer) {
                owner.tokens.extend(no.token.map(|token| (token, start)));
            }
        }
        step::CANCEL if !owner.calls.is_empty() => {
            let place = input.below(owner.calls.len().min(256));
            owner.cancel(place);
        }
        _ => {}
    }
}

fn command(owner: &mut Owner, input: &mut Input<'_>) {
    let now = owner.now;
    match input.below(13) {
        0 => owner.link.goodbye(7, "enough", now),
        1 => owner.link.close(now),
        2 => owner.link.revoke(now),
        3 => owner.link.rekey(now),
        4 => owner.link.ping(now),
        5 => owner.link.ready(now),
        6 | 7 => owner.link.admit(now),
        8 => owner.link.refuse(refusal(input), now),
        9 => owner.link.recv_closed(now),
        10 => owner.link.transport_failed(now),
        11 => {
            let mut out = vec![0; input.length()];
            let exported = owner.link.export(b"label", b"context", &mut out);
            assert!(exported.is_err() || out.len() <= 255 * 32);
        }
        _ => {
            assert!(owner.link.poll_node().is_none(), "a word for no node");
        }
    }
}

fn refusal(input: &mut Input<'_>) -> Refusal {
    match input.below(6) {
        0 => Refusal::OverCapacity { retry_after: Duration::from_millis(input.u64()) },
        1 => Refusal::Denied,
        2 => Refusal::Incompatible { ours: VersionRange::only(1), theirs: VersionRange::only(2) },
        3 => Refusal::MissingCapability { names: vec!["n".repeat(input.length()); input.below(256)] },
        4 => Refusal::Alive,
        _ => Refusal::ShuttingDown,
    }
}
