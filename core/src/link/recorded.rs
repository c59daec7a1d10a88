//! Where a link's recording takes hold: each call of the owner's is noted before it is acted upon.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::credit::Budget;
use super::handshake::Handshake;
use super::message::{CallId, Payload, ReplyToken};
use super::streams::{StreamId, StreamRead};
use super::{Action, Dial, Link, Terms, draws};
use crate::config::{Config, Trust};
use crate::crypto::noise::Role;
use crate::crypto::{CryptoProvider, Seed};
use crate::error::ServiceError;
use crate::identity::Signer;
use crate::node::NodeToLink;
use crate::recording::{
    BadRecording, CannotRecord, Cursor, FIGURES, Figures, Input, JudgeTap, LONGEST, Log, Named, Origin,
    Recorder, Recording, Secrets, Shared, Tap, Word, Writer, digest, get_word, put_header,
};
use crate::signed::Judge;
use crate::time::Instant;

/// Whether a link is recorded.
#[derive(Default)]
pub(super) enum Recorded {
    /// It has heard nothing yet, so that it can be.
    #[default]
    Fresh,
    No,
    Yes(Shared),
}

impl Recorded {
    /// The owner calls: true if that is to be noted.
    pub(super) fn hears(&mut self) -> bool {
        if let Self::Fresh = self {
            *self = Self::No;
        }
        matches!(self, Self::Yes(_))
    }

    pub(super) fn log(&self) -> Option<Shared> {
        match self {
            Self::Yes(log) => Some(log.clone()),
            Self::Fresh | Self::No => None,
        }
    }
}

impl Link {
    /// Records the link from here on: call it before anything else, on a link that was just made.
    ///
    /// # Errors
    /// [`CannotRecord`]: the link has heard something already, or the seed is not its own.
    pub fn record(&mut self, recorder: Recorder) -> Result<(), CannotRecord> {
        let (Recorded::Fresh, Some(handshake)) = (&self.recorded, &self.handshake) else {
            return Err(CannotRecord::NotFresh);
        };
        let Recorder { limit, seed } = recorder;
        let exact = seed.is_some();
        let secrets = match seed {
            Some(seed) => {
                let drawn = draws(&*self.config.provider, &seed);
                if drawn.map(|(_, tag, _)| tag) != Some(self.tag) {
                    return Err(CannotRecord::OtherSeed);
                }
                Some(Secrets { seed, psks: self.config.psks.clone(), network: self.config.network.clone() })
            }
            None => None,
        };
        let origin = self.origin(handshake, secrets);
        let listed = match handshake.trust() {
            Trust::Listed(listed) => Some(Arc::clone(listed)),
            _ => None,
        };
        let mut header = Writer::default();
        put_header(exact, &mut header);
        let mut value = Writer::default();
        origin.put(&mut value);
        header.byte(crate::recording::tag::ORIGIN);
        header.string(value.as_slice());
        let log = Log::new(exact, limit, header, self.is_initiator(), self.now, listed);
        let log = Shared::new(log);
        let signer: Arc<dyn Signer> = Arc::new(Tap::new(&self.config.signer, &log));
        let provider: Arc<dyn CryptoProvider> = Arc::new(Tap::new(&self.config.provider, &log));
        let judge = self
            .config
            .signed
            .as_ref()
            .map(|judge| Arc::new(JudgeTap::new(judge, &self.config.provider, &log)) as Arc<dyn Judge>);
        self.config = self.config.with_taps(signer, provider, judge);
        self.recorded = Recorded::Yes(log);
        Ok(())
    }

    fn origin(&self, handshake: &Handshake, secrets: Option<Secrets>) -> Origin {
        Origin {
            version: env!("CARGO_PKG_VERSION").into(),
            initiator: self.is_initiator(),
            managed: self.managed.is_some(),
            start: self.now,
            own: self.config.node_id(),
            expected: handshake.expected(),
            hello: handshake.hello().clone(),
            trust: handshake.trust().clone(),
            suites: self.config.suites,
            psks: self.config.psks.len(),
            timing: self.config.timing.clone(),
            rekey: self.config.rekey.clone(),
            padding: self.config.padding,
            send_buffer: self.config.send_buffer,
            streams: self.config.streams,
            judges: self.config.signed.is_some(),
            first_ping: handshake.first_ping,
            secrets,
        }
    }

    /// What has been recorded so far; `None` if the link is not recorded. The recording goes on.
    pub fn recording(&mut self) -> Option<Recording> {
        let log = self.recorded.log()?;
        let figures = self.figures();
        let mut log = log.lock();
        log.finish(&figures);
        Some(Recording { bytes: log.snapshot(), exact: log.exact })
    }

    /// The same link again, for a replay that records itself in turn.
    pub(crate) fn replayed(origin: &Origin, config: &Arc<Config>) -> Result<Self, CannotRecord> {
        let role = if origin.initiator { Role::Initiator } else { Role::Responder };
        let dial = Dial { expected: origin.expected, sequence: origin.hello.link_sequence };
        let managed = origin.managed.then(alloc::boxed::Box::default);
        let terms = Terms { hello: origin.hello.clone(), trust: config.trust.clone(), managed };
        let seed = origin.secrets.as_ref().map(|secrets| secrets.seed.clone());
        // Without secrets nothing is drawn from it: the provider repeats what was recorded.
        let none = || Seed::new([0; 32]);
        let mut link =
            Self::start(config, role, dial, terms, &seed.clone().unwrap_or_else(none), origin.start);
        if let Some(handshake) = &mut link.handshake {
            handshake.first_ping = origin.first_ping;
        }
        link.record(Recorder { limit: usize::MAX, seed })?;
        Ok(link)
    }

    /// What the step under way of a replay holds, which is over.
    pub(crate) fn take_step(&self) -> Writer {
        let figures = self.figures();
        self.recorded.log().map_or_else(Writer::default, |log| log.lock().take_step(&figures))
    }

    pub(super) fn note(&self, input: &Input<'_>, now: Option<Instant>) {
        if let Some(log) = self.recorded.log() {
            let mut log = log.lock();
            if !log.is_over() {
                log.begin(&self.figures(), input, now);
            }
        }
    }

    /// The owner takes room for a read.
    pub(super) fn note_space(&mut self) {
        if self.recorded.hears() {
            if let Some(log) = self.recorded.log() {
                log.lock().give_space();
            }
        }
    }

    pub(super) fn named_call(&self, call: CallId) -> Named {
        Named { id: call.id, own: call.link == self.tag }
    }

    pub(super) fn named_token(&self, token: &ReplyToken) -> Named {
        Named { id: token.id, own: token.link == self.tag }
    }

    pub(super) fn named_stream(&self, stream: StreamId) -> Named {
        Named { id: stream.get(), own: stream.link() == self.tag }
    }

    pub(super) fn answering<'a>(
        &self,
        token: &ReplyToken,
        answer: &'a Result<Payload<'_>, ServiceError>,
    ) -> Input<'a> {
        Input::Reply { call: self.named_token(token), serial: token.serial, answer: answer.into() }
    }

    /// The bytes that the stream took: what an exact replay has to write too.
    pub(super) fn transmitting(&self, count: usize) -> Input<'static> {
        let exact = self.recorded.log().is_some_and(|log| log.lock().exact);
        let pending = self.send.pending();
        let taken = pending.get(..count).unwrap_or(pending);
        Input::Transmitted { count, digest: exact.then(|| digest(taken)) }
    }

    /// Whether nothing is between the link and the cryptography of its configuration.
    #[cfg(test)]
    pub(crate) fn asks_directly(&self, config: &Arc<Config>) -> bool {
        Arc::ptr_eq(&self.config, config)
    }

    /// How the link stands.
    fn figures(&self) -> Figures {
        let count = |count: usize| count as u64;
        let (own_calls, peers_calls) = self.calls_in_flight();
        let (own_streams, peers_streams) = self.streams_open();
        let session = self.session.as_deref();
        let of = |figure: fn(&super::session::Session) -> usize| count(session.map_or(0, figure));
        let stats = &self.stats;
        let time = |at: Option<Instant>| at.map_or(0, |at| at.as_nanos().saturating_add(1));
        let rtt = stats.rtt.map(|rtt| Instant::ZERO + rtt);
        let figures: Figures = [
            self.phase as u64,
            stats.bytes_received,
            stats.bytes_sent,
            stats.records_opened,
            stats.records_sealed,
            stats.messages_received,
            stats.messages_sent,
            stats.rekeys_sent,
            stats.rekeys_received,
            stats.unknown_replies,
            stats.pongs,
            stats.unknown_pongs,
            stats.expired_calls,
            stats.expired_messages,
            time(rtt),
            of(|session| session.lanes.bytes(Budget::Messages)),
            of(|session| session.lanes.bytes(Budget::Replies)),
            count(own_calls),
            count(peers_calls),
            count(own_streams),
            count(peers_streams),
            count(self.recv.pending().len()),
            count(self.send.pending().len()),
            of(|session| session.notices.len()),
            of(|session| session.requests.len()),
            count(self.managed.as_ref().map_or(0, |managed| managed.waiting())),
            of(|session| session.lanes.unsent()),
            self.closed().map_or(0, |closed| closed.reason.code().into()),
            time(self.next_deadline()),
            stats.signed_accepted,
            stats.signed_refused,
            stats.signed_replays,
        ];
        const { assert!(FIGURES == 32) }
        figures
    }

    /// Does what was done to the recorded link. What it gave back, in words, if that is worth knowing.
    pub(crate) fn replay(
        &mut self,
        input: &Input<'_>,
        now: Instant,
        exact: bool,
    ) -> Result<Option<&'static str>, BadRecording> {
        let outcome = |taken: bool| Some(if taken { "taken" } else { "not taken" });
        let call = |named: &Named, tag: u64| CallId { id: named.id, link: link_of(*named, tag) };
        let stream = |named: &Named, tag: u64| StreamId::replayed(named.id, link_of(*named, tag));
        let tag = self.tag;
        match input {
            Input::Poll(ready) => drop(self.poll(now, *ready)),
            Input::RecvSpace => drop(self.recv_space().len()),
            Input::Received { count, bytes } => {
                let space = self.recv_space();
                space.iter_mut().zip(bytes.iter()).for_each(|(to, from)| *to = *from);
                self.received(*count, now);
            }
            Input::RecvClosed => self.recv_closed(now),
            Input::TransportFailed => self.transport_failed(now),
            Input::Transmit => drop(self.transmit(now).len()),
            Input::Transmitted { count, .. } => self.transmitted(*count, now),
            Input::Send(post) => {
                return Ok(outcome(self.send(post.to_message()).is_ok()));
            }
            Input::Call(post, timeout) => {
                return Ok(outcome(self.call(post.to_message(), *timeout, now).is_ok()));
            }
            Input::Cancel(named) => self.cancel(call(named, tag), now),
            Input::Reply { call, serial, answer } => {
                let token = ReplyToken { id: call.id, serial: *serial, link: link_of(*call, tag) };
                return Ok(outcome(self.reply(token, answer.to_answer()).is_ok()));
            }
            Input::Admit => self.admit(now),
            Input::Refuse(refusal) => self.refuse(refusal.clone().into_owned(), now),
            Input::Goodbye { code, detail } => {
                let detail = alloc::string::String::from_utf8(detail.to_vec()).unwrap_or_default();
                self.goodbye(*code, &detail, now);
            }
            Input::Close => self.close(now),
            Input::Revoke => self.revoke(now),
            Input::Rekey => self.rekey(now),
            Input::Ping => self.ping(now),
            Input::Ready => self.ready(now),
            Input::TakeUnsent => return Ok(outcome(self.take_unsent().is_some())),
            Input::PollNode => return Ok(outcome(self.poll_node().is_some())),
            Input::OpenStream { name, priority } => {
                return Ok(outcome(self.open_stream(name, *priority).is_ok()));
            }
            Input::StreamWrite(named, bytes) => {
                let bytes = bytes.to_vec();
                return Ok(outcome(self.stream_write(stream(named, tag), &bytes) == bytes.len()));
            }
            Input::StreamRead(named, room) => {
                let mut out: Vec<u8> = alloc::vec![0; (*room).min(LONGEST)];
                let read = self.stream_read(stream(named, tag), &mut out);
                return Ok(Some(match read {
                    StreamRead::Data(_) => "data",
                    StreamRead::Pending => "pending",
                    _ => "over",
                }));
            }
            Input::StreamFinish(named) => self.stream_finish(stream(named, tag)),
            Input::StreamReset(named, code) => self.stream_reset(stream(named, tag), *code),
            Input::StreamStop(named, code) => self.stream_stop(stream(named, tag), *code),
            Input::Node(Word::Recorded(word)) => {
                let word = get_word(exact, &mut Cursor::new(word))?;
                self.on_node(NodeToLink(word), now);
            }
            Input::Node(Word::Said(_)) => {}
            Input::StopWaiting => self.stop_waiting(now),
        }
        Ok(None)
    }
}

/// The tag of a name's link: another one for a name that was another link's.
const fn link_of(named: Named, tag: u64) -> u64 {
    if named.own { tag } else { !tag }
}

/// What `poll` answers, noted.
pub(super) fn noted<'a>(log: Option<&Shared>, action: Action<'a>) -> Action<'a> {
    if let Some(log) = log {
        let mut log = log.lock();
        let exact = log.exact;
        log.entry(crate::recording::tag::ACTION, |out| crate::recording::put_action(&action, exact, out));
    }
    action
}
