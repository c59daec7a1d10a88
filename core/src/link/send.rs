//! Bytes out: records are sealed when their bytes are taken, never earlier.

use alloc::vec::Vec;

use super::Link;
use super::calls::Sealed;
use super::context::Context;
use super::credit::Budget;
use super::session::{KeyAge, Session};
use super::state::Outbound;
use super::timers::Timer;
use crate::config::{Config, Padding};
use crate::crypto::{CryptoError, TAG_LEN};
use crate::error::{By, Reason};
use crate::time::Instant;
use crate::wire::frame::{FrameWriter, HEADER_LEN};
use crate::wire::reason;

/// Sealed at most this far ahead of what the stream has taken.
const AHEAD: usize = 64 << 10;

/// The last counter that a key may seal with: Noise keeps 2⁶⁴ − 1 for rekeying (§5.1 of its specification).
const LAST_COUNTER: u64 = u64::MAX - 1;

/// The bytes of a REKEY frame, which always finds room.
const REKEY_LEN: usize = HEADER_LEN + 1;

/// The most plaintext of a record that ends a link, a refusing STATUS above all (docs/wire.md §4).
const LAST_WORD: usize = 4080;

impl Link {
    /// The bytes to write next; empty if there are none. They stay the same until
    /// [`transmitted`](Self::transmitted) takes some of them off, so a write that moves only part of
    /// them, or none, can be repeated.
    ///
    /// This is where queued messages are sealed. Nothing is sealed earlier, so a message that was never taken
    /// here can still be cancelled, expire, or be given back when the link ends. If time has passed since
    /// [`poll`](Self::poll) said `Send`, all that there was may have expired. And if the provider cannot
    /// seal, the link ends here, by [`Reason::ProviderFailed`](crate::Reason::ProviderFailed). In both cases
    /// there may be nothing to write although `Send` was said: do not write it, since a stream that takes
    /// nothing may be taken for one that has failed, and poll again.
    pub fn transmit(&mut self, now: Instant) -> &[u8] {
        note!(self, Some(now), Input::Transmit);
        self.advance(now);
        loop {
            // Before it is asked whether there is anything: a record is never empty.
            self.expire_messages();
            if self.send.pending().len() >= AHEAD || !self.seals_more() {
                break;
            }
            // The last counter is for the last word.
            if self.session.as_ref().is_some_and(|session| session.seal.counter() >= LAST_COUNTER) {
                self.end(Reason::CounterExhausted, By::Local);
            }
            if self.seal_record().is_err() {
                // There is no key to say it under.
                if let Some(session) = &mut self.session {
                    session.outbound = Outbound::Over;
                }
                self.end(Reason::ProviderFailed, By::Local);
            }
        }
        if !self.send.is_empty() {
            self.arm_stall();
        }
        self.send.pending()
    }

    /// Begins to wait for the stream to take something, unless that has begun.
    pub(super) fn arm_stall(&mut self) {
        if self.timers.get(Timer::Stall).is_none() && self.ending.is_none() {
            self.timers.set(Timer::Stall, self.now + self.config.timing.stall);
        }
    }

    /// Notes that the stream took `count` of the bytes that [`transmit`](Self::transmit) gave.
    pub fn transmitted(&mut self, count: usize, now: Instant) {
        note!(self, Some(now), self.transmitting(count));
        self.advance(now);
        if count > 0 {
            self.stats.bytes_sent += count as u64;
            self.send.advance(count);
            self.timers.stop(Timer::Stall);
            if let Some(handshake) = &mut self.handshake {
                handshake.spoke = Some(self.now);
            }
            if !self.send.is_empty() {
                self.arm_stall();
            }
        }
    }

    /// Whether [`transmit`](Self::transmit) has bytes to give.
    pub(super) fn wants_write(&self) -> bool {
        !self.send.is_empty() || self.wants_seal()
    }

    /// Whether a record beyond the first of a batch is worth sealing: only behind bytes that are not under
    /// way yet.
    fn seals_more(&self) -> bool {
        self.send.is_fresh() && self.wants_seal()
    }

    fn wants_seal(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.wants_seal())
    }

    fn seal_record(&mut self) -> Result<(), CryptoError> {
        let Some((session, mut context, out)) = self.session_parts() else { return Ok(()) };
        session.seal_record(out.out(), &mut context)?;
        self.advance_drain();
        Ok(())
    }
}

impl Session {
    /// Whether there is anything to seal.
    fn wants_seal(&self) -> bool {
        match self.outbound {
            Outbound::Over => false,
            Outbound::Close(_) | Outbound::Refusal(_) => true,
            Outbound::Open => {
                self.control.wants_seal()
                    || self.goodbye_is_due()
                    || self.recv_credit.iter().any(|credit| self.owes_credit(credit))
                    || self.lanes.is_ready(&self.send_credit)
                    || self.streams.as_ref().is_some_and(|streams| streams.wants_seal())
            }
        }
    }

    /// A goodbye follows the work that was queued before it, unless that work may not go any more.
    fn goodbye_is_due(&self) -> bool {
        self.control.goodbye.is_some() && (self.lanes.held || !self.has_new_work())
    }

    /// Seals one record behind `out`.
    fn seal_record(&mut self, out: &mut Vec<u8>, context: &mut Context<'_>) -> Result<(), CryptoError> {
        let start = out.len();
        let text = start + 2;
        out.extend_from_slice(&[0, 0]);
        let rekey = self.write_record(out, text, context);
        let plaintext = out.get_mut(text..).unwrap_or_default();
        let length = plaintext.len();
        let field = u16::try_from(length + TAG_LEN).map_err(|_| CryptoError::BadLength);
        let (field, tag) = match field.and_then(|field| Ok((field, self.seal.seal(plaintext)?))) {
            Ok(sealed) => sealed,
            Err(error) => {
                // Nothing leaves in the clear.
                out.truncate(start);
                return Err(error);
            }
        };
        out.extend_from_slice(&tag);
        if let Some(place) = out.get_mut(start..text) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        self.key_age.records += 1;
        self.key_age.bytes += length as u64;
        context.stats.records_sealed += 1;
        if rekey {
            self.seal.rekey(&*context.config.provider)?;
            self.key_age = KeyAge { records: 0, bytes: 0, since: context.now };
            context.stats.rekeys_sent += 1;
        }
        Ok(())
    }

    /// Writes a record's plaintext; true if the key changes behind it.
    fn write_record(&mut self, out: &mut Vec<u8>, text: usize, context: &mut Context<'_>) -> bool {
        let config = context.config;
        let mut record = usize::from(self.limits.max_record);
        if let Some(frame) = self.control.alone.take() {
            let used = frame.len();
            let mut writer = FrameWriter::new(out);
            writer.raw(&frame);
            writer.pad(padded_len(config.padding, used).min(record).saturating_sub(used));
            return false;
        }
        if let Some(status) = self.control.status.take() {
            FrameWriter::new(out).raw(&status);
        }
        // What has to stand last goes behind the padding, which hides its length too; a STATUS stands first.
        let mut last = Vec::new();
        let mut writer = FrameWriter::new(&mut last);
        let mut rekeys = false;
        match core::mem::take(&mut self.outbound) {
            Outbound::Open => {
                self.write_control(&mut FrameWriter::new(out), context);
                if let Some(streams) = &mut self.streams {
                    let room = (record - REKEY_LEN).saturating_sub(out.len() - text);
                    // Whether the next one grows too depends on the round trip. That of the handshake has the
                    // peer's computing in it.
                    if streams.write_words(out, room, context.now, context.stats.least_rtt) {
                        self.measure();
                    }
                }
                self.write_messages(out, text, record - REKEY_LEN, context);
                self.measure_pace();
                if let Some(request) = self.take_rekey(config, context.now) {
                    writer.rekey(request);
                    rekeys = true;
                }
            }
            end => {
                let credit = &mut self.recv_credit[Budget::Messages as usize];
                if credit.confirms() && matches!(end, Outbound::Close(_)) {
                    FrameWriter::new(out).credit(Budget::Messages as u8, credit.take());
                }
                match &end {
                    Outbound::Close(why) => writer.close(|out| reason::emit(why, out)),
                    Outbound::Refusal(status) => FrameWriter::new(out).raw(status),
                    Outbound::Open | Outbound::Over => {}
                }
                // It keeps to what a peer takes before limits are agreed.
                record = record.min(LAST_WORD);
                self.outbound = Outbound::Over;
            }
        }
        let used = out.len() - text + last.len();
        FrameWriter::new(out).pad(padded_len(config.padding, used).min(record).saturating_sub(used));
        out.extend_from_slice(&last);
        rekeys
    }

    /// Everything that goes before messages.
    fn write_control(&mut self, writer: &mut FrameWriter<'_>, context: &mut Context<'_>) {
        // Beside a sign of life the peer learns what was taken, so that a ping asks for that too, and of a link
        // that has fallen idle nothing stays unknown.
        let confirms = self.draining || self.control.pong.is_some() || self.control.ping.is_some();
        if let Some(nonce) = self.control.pong.take() {
            writer.pong(nonce);
        }
        if let Some(nonce) = self.control.ping.take() {
            writer.ping(nonce);
            self.liveness.asked(nonce, context.now);
            self.lanes.pace.mark();
        }
        // As many as fit a record of the smallest size with all else that is here, an advert and a goodbye
        // included; the rest follows in the next.
        for _ in 0..128 {
            let Some(id) = self.control.cancels.pop_front() else { break };
            writer.cancel(id);
        }
        if core::mem::take(&mut self.control.ready) {
            writer.ready();
        }
        if self.control.permanence.is_due() {
            self.control.permanence.told = self.control.permanence.own;
            writer.permanence(self.control.permanence.own);
        }
        if let Some(version) = self.control.adverts.ack.take() {
            self.control.adverts.received = false;
            writer.advert_ack(version);
        }
        if let Some(advert) = self.control.adverts.next.take_if(|_| !self.control.adverts.sent) {
            self.control.adverts.sent = true;
            writer.advert(&advert);
        }
        for (budget, credit) in (0..).zip(&mut self.recv_credit) {
            if credit.is_due() || (confirms && credit.confirms()) {
                writer.credit(budget, credit.take());
            }
        }
        if self.goodbye_is_due() {
            if let Some((code, detail)) = self.control.goodbye.take() {
                writer.goodbye(code, &detail);
            }
        }
    }

    fn write_messages(&mut self, out: &mut Vec<u8>, text: usize, record: usize, context: &mut Context<'_>) {
        loop {
            let room = record.saturating_sub(out.len() - text);
            self.expire_messages(context.now, context.stats);
            let mut writer = FrameWriter::new(out);
            let streams = self.streams.as_deref_mut();
            let credit = &mut self.send_credit;
            let progress = self.lanes.write(&mut writer, room, record, credit, streams, context.now);
            let Some(progress) = progress else { break };
            self.activity = context.now;
            context.stats.messages_sent += u64::from(progress.whole);
            if let Some(call) = progress.call.and_then(|id| self.pending.get_mut(id)) {
                call.sealed = if progress.whole { Sealed::Whole } else { Sealed::Part };
            }
        }
    }

    /// Whether this record is the last under its key, and if so whether the peer is asked for the same.
    fn take_rekey(&mut self, config: &Config, now: Instant) -> Option<bool> {
        let policy = &config.rekey;
        let age = &self.key_age;
        let aged = age.records + 1 >= policy.records
            || age.bytes >= policy.bytes
            || now.since(age.since) >= policy.age;
        self.control.rekey.take(aged)
    }
}

/// The length that `used` bytes of plaintext are padded to.
fn padded_len(padding: Padding, used: usize) -> usize {
    let next = |used: usize| match padding {
        Padding::None | Padding::Block(0) => used,
        Padding::Block(block) => used.next_multiple_of(usize::from(block)),
        Padding::Padme => {
            // Keep as many leading bits of the length as its logarithm has bits (Nikitin et al., PETS 2019).
            let Some(exponent) = used.checked_ilog2().filter(|exponent| *exponent > 1) else { return used };
            let dropped = exponent.saturating_sub(exponent.ilog2() + 1);
            used.next_multiple_of(1 << dropped)
        }
    };
    let padded = next(used);
    // A gap too short for a PAD frame would tell the length: go on to the next step.
    if (1..HEADER_LEN).contains(&(padded - used)) { next(used + HEADER_LEN) } else { padded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_never_shortens_and_padme_adds_at_most_an_eighth() {
        for used in 1..20_000 {
            let padme = padded_len(Padding::Padme, used);
            assert!(padme >= used && padme - used <= used / 8 + HEADER_LEN + 2, "{used} → {padme}");
            let block = padded_len(Padding::Block(256), used);
            assert!(block % 256 == 0 && (block == used || block - used >= HEADER_LEN));
            assert_eq!(padded_len(Padding::Block(0), used), used);
        }
    }
}
