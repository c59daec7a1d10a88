//! Records, messages, credit, rekey, liveness and the end (§4 to §9).

use super::bytes::{ABANDON, FIN, Frame, MORE, Reader, kind, u16be, varint};
use super::hello::Coded;
use super::{Got, Over, Partial, Peer, State};

impl Got {
    /// Which budget a message is charged to.
    const fn budget(&self) -> usize {
        match self {
            Self::Send { .. } | Self::Call { .. } => 0,
            _ => 1,
        }
    }

    fn body(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Send { body, .. } | Self::Call { body, .. } | Self::Reply { body, .. } => body,
            other => unreachable!("{other:?} has no body"),
        }
    }

    const fn service(&self) -> usize {
        match self {
            Self::Send { service, .. } | Self::Call { service, .. } => service.len(),
            _ => 0,
        }
    }
}

/// The frames of a message whose body is cut into pieces of at most `piece` bytes. `head` is what stands before *total*.
fn cut(kind: u8, lane: u8, head: &[u8], service: Option<&str>, body: &[u8], piece: usize) -> Vec<Frame> {
    let mut first = head.to_vec();
    let (now, later) = body.split_at(body.len().min(piece));
    if !later.is_empty() {
        first.extend(varint(body.len() as u64));
    }
    if let Some(service) = service {
        first.push(u8::try_from(service.len()).expect("a short name"));
        first.extend(service.as_bytes());
    }
    first.extend(now);
    let mut frames = vec![Frame::new(kind, lane, first)];
    frames.extend(later.chunks(piece).map(|piece| Frame::new(kind::DATA, lane, piece)));
    let last = frames.len() - 1;
    for frame in &mut frames[..last] {
        frame.flags |= MORE;
    }
    frames
}

impl Peer {
    /// Takes credit for a message that begins.
    fn charge(&mut self, budget: usize, bytes: usize) {
        let charge = bytes as u64 + 64;
        assert!(self.credit[budget] >= charge, "no credit to begin this");
        self.credit[budget] -= charge;
    }

    pub fn send_frames(&mut self, lane: u8, service: &str, body: &[u8], piece: usize) -> Vec<Frame> {
        self.charge(0, body.len() + service.len());
        cut(kind::SEND, lane, &[], Some(service), body, piece)
    }

    pub fn call_frames(&mut self, id: u64, service: &str, body: &[u8], piece: usize) -> Vec<Frame> {
        self.charge(0, body.len() + service.len());
        self.pending.push(id);
        let head = [varint(id), varint(5000)].concat();
        cut(kind::CALL, 3, &head, Some(service), body, piece)
    }

    pub fn reply_frames(&mut self, lane: u8, id: u64, body: &[u8], piece: usize) -> Vec<Frame> {
        self.charge(1, body.len());
        self.serving.retain(|serving| *serving != id);
        cut(kind::REPLY, lane, &varint(id), None, body, piece)
    }

    pub fn error(&mut self, id: u64, code: u16, detail: &[u8]) {
        self.charge(1, detail.len());
        self.serving.retain(|serving| *serving != id);
        let body = [&varint(id), &u16be(code)[..], detail].concat();
        self.put(&[Frame::new(kind::ERROR, 1, body)]);
    }

    pub fn cancel(&mut self, id: u64) {
        self.pending.retain(|pending| *pending != id);
        self.put(&[Frame::new(kind::CANCEL, 0, varint(id))]);
    }

    /// A record for each frame.
    pub fn put_each(&mut self, frames: &[Frame]) {
        for frame in frames {
            self.put(std::slice::from_ref(frame));
        }
    }

    /// Gives back credit that a message took.
    pub fn give(&mut self, budget: usize, bytes: u64) {
        self.granted[budget] += bytes;
        let body = [vec![u8::try_from(budget).expect("0 or 1")], varint(bytes)].concat();
        self.put(&[Frame::new(kind::CREDIT, 0, body)]);
    }

    /// Changes the key that this side seals with.
    pub fn rekey(&mut self, request: u8) {
        self.put(&[Frame::new(kind::REKEY, 0, [request])]);
        self.send.as_mut().expect("keys").rekey();
    }

    pub fn advert(&mut self, advert: &[u8]) {
        assert!(!std::mem::replace(&mut self.advert_sent, true), "one is under way");
        self.put(&[Frame::new(kind::ADVERT, 0, advert)]);
    }

    pub fn permanence(&mut self, kept: bool) {
        self.put(&[Frame::new(kind::PERMANENCE, 0, [u8::from(kept)])]);
    }

    pub fn ready(&mut self) {
        self.put(&[Frame::new(kind::READY, 0, [])]);
    }

    pub fn ping(&mut self, nonce: [u8; 8]) {
        self.put(&[Frame::new(kind::PING, 0, nonce)]);
    }

    pub fn goodbye(&mut self, code: u32, text: &str) {
        let body = [&code.to_be_bytes(), text.as_bytes()].concat();
        self.farewell.get_or_insert(body.clone());
        self.goodbye_sent = true;
        self.put(&[Frame::new(kind::GOODBYE, 0, body)]);
        self.settle();
    }

    pub fn close(&mut self, reason: &Coded) {
        self.close_sent = true;
        self.put(&[Frame::new(kind::CLOSE, 0, reason.bytes())]);
    }

    /// Sends CLOSE once a goodbye went both ways and nothing is left.
    pub fn settle(&mut self) {
        let idle = self.serving.is_empty()
            && self.pending.is_empty()
            && self.lanes.iter().all(Option::is_none)
            && self.streams.all_ended();
        if self.goodbye_sent && self.goodbye_got && idle && !self.close_sent && self.state == State::Open {
            let farewell = self.farewell.clone().unwrap_or_default();
            self.close(&Coded { code: 1, detail: farewell });
        }
    }

    pub(super) fn on_record(&mut self, record: &[u8]) -> Result<(), Over> {
        let plain = self.receive.as_mut().expect("keys").open(&[], record).ok_or(Over::Undecryptable)?;
        // Before STATUS no outcome is in force, but both sides have computed the same one.
        let limit = self.outcome.as_ref().map_or(4096, |outcome| usize::from(outcome.max_record));
        if plain.len() > limit {
            return Err(Over::Violation("a record over the limit"));
        }
        let frames = Frame::read_all(&plain).ok_or(Over::Violation("frames"))?;
        self.records.push(frames.clone());
        if self.state == State::Alive {
            return self.on_alive_reply(&frames);
        }
        let asked = self.asked;
        for (index, frame) in frames.iter().enumerate() {
            let last = index + 1 == frames.len();
            if self.asked && !asked {
                // Behind the question, nothing that means anything.
                if frame.kind == kind::PAD || frame.kind >= 0x80 {
                    continue;
                }
                return Err(Over::Violation("a frame behind STATUS 1"));
            }
            if self.state == State::Status {
                if frame.kind != kind::STATUS || frame.flags != 0 {
                    return Err(Over::Violation("STATUS is not first"));
                }
                self.on_status(&frame.body)?;
                continue;
            }
            if matches!(frame.kind, kind::REKEY | kind::CLOSE) && !last {
                return Err(Over::Violation("a frame behind REKEY or CLOSE"));
            }
            self.on_frame(frame).ok_or(Over::Violation("a frame"))??;
        }
        self.settle();
        Ok(())
    }

    /// `None` for anything malformed.
    fn on_frame(&mut self, frame: &Frame) -> Option<Result<(), Over>> {
        let lane = frame.flags & 7;
        let more = frame.flags & MORE != 0;
        let message = matches!(frame.kind, kind::SEND | kind::CALL | kind::REPLY);
        let allowed = match frame.kind {
            kind::SEND | kind::CALL => (2..=5).contains(&lane) && frame.flags & 0x78 == 0,
            kind::REPLY => (1..=5).contains(&lane) && frame.flags & 0x78 == 0,
            kind::ERROR => (1..=5).contains(&lane) && frame.flags & 0xf8 == 0,
            kind::DATA => (1..=5).contains(&lane) && frame.flags & 0x38 == 0,
            kind::STREAM_OPEN | kind::STREAM_DATA => frame.flags & !FIN == 0,
            // Frames to skip may have any.
            0x80.. => true,
            _ => frame.flags == 0,
        };
        if !allowed {
            return None;
        }
        if (message || frame.kind == kind::ERROR) && self.lanes[usize::from(lane)].is_some() {
            return None;
        }
        let mut reader = Reader(&frame.body);
        let got = match frame.kind {
            kind::PAD | 0x80.. => return Some(Ok(())),
            kind::SEND => {
                let total = if more { reader.varint()? } else { 0 };
                let service = reader.name()?;
                let got = Got::Send { lane, service, body: reader.0.to_vec() };
                return self.begin(lane, got, more.then_some(total)).map(Ok);
            }
            kind::CALL => {
                let (id, timeout) = (reader.varint()?, reader.varint()?);
                let total = if more { reader.varint()? } else { 0 };
                let service = reader.name()?;
                if id == 0 || self.serving.contains(&id) {
                    return None;
                }
                let got = Got::Call { lane, id, timeout, service, body: reader.0.to_vec() };
                return self.begin(lane, got, more.then_some(total)).map(Ok);
            }
            kind::REPLY => {
                let id = reader.varint()?;
                let total = if more { reader.varint()? } else { 0 };
                let got = Got::Reply { lane, id, body: reader.0.to_vec() };
                return self.begin(lane, got, more.then_some(total)).map(Ok);
            }
            kind::DATA => return self.on_data(lane, frame.flags, &frame.body).map(Ok),
            kind::ERROR => {
                let (id, code) = (reader.varint()?, reader.u16()?);
                let charge = reader.0.len() as u64 + 64;
                self.granted[1] = self.granted[1].checked_sub(charge)?;
                self.pending.retain(|pending| *pending != id);
                let detail = reader.0.to_vec();
                if self.generous {
                    self.give(1, charge);
                }
                Got::Error { id, code, detail }
            }
            kind::CANCEL => {
                let id = reader.varint()?;
                self.serving.retain(|serving| *serving != id);
                Got::Cancel(id)
            }
            kind::CREDIT => {
                let (budget, bytes) = (reader.u8()?, reader.varint()?);
                let credit = self.credit.get_mut(usize::from(budget))?;
                *credit += bytes;
                if *credit > self.outcome.as_ref()?.window.into() || !reader.0.is_empty() {
                    return None;
                }
                Got::Credit(budget, bytes)
            }
            kind::STREAM_OPEN..=kind::STREAM_STOP => return self.on_stream(frame).map(Ok),
            kind::PING => {
                let nonce = frame.body[..].try_into().ok()?;
                self.put(&[Frame::new(kind::PONG, 0, nonce)]);
                Got::Ping(nonce)
            }
            kind::PONG => Got::Pong(frame.body[..].try_into().ok()?),
            kind::REKEY => {
                let [request] = frame.body[..].try_into().ok()?;
                self.receive.as_mut()?.rekey();
                if request == 1 {
                    self.rekey(0);
                }
                Got::Rekey(request)
            }
            kind::ADVERT => {
                if frame.body.len() > 2048 {
                    return None;
                }
                self.put(&[Frame::new(kind::ADVERT_ACK, 0, [0; 8])]);
                Got::Advert(frame.body.clone())
            }
            kind::ADVERT_ACK => {
                let version = u64::from_be_bytes(frame.body[..].try_into().ok()?);
                if !std::mem::take(&mut self.advert_sent) {
                    return None;
                }
                Got::AdvertAck(version)
            }
            kind::PERMANENCE => match frame.body[..] {
                [kept @ (0 | 1)] => Got::Permanence(kept == 1),
                _ => return None,
            },
            kind::READY => {
                if !frame.body.is_empty() || !std::mem::take(&mut self.ready_due) {
                    return None;
                }
                Got::Ready
            }
            kind::GOODBYE => {
                let code = reader.u32()?;
                let text = String::from_utf8(reader.0.to_vec()).ok()?;
                self.farewell.get_or_insert(frame.body.clone());
                self.goodbye_got = true;
                if !self.goodbye_sent {
                    self.goodbye_sent = true;
                    self.put(&[Frame::new(kind::GOODBYE, 0, 0u32.to_be_bytes())]);
                }
                Got::Goodbye(code, text)
            }
            kind::CLOSE => {
                let reason = Coded::read(&frame.body)?;
                if !self.close_sent {
                    self.close(&reason);
                }
                self.got.push(Got::Close(reason.clone()));
                return Some(Err(Over::Closed(reason)));
            }
            _ => return None,
        };
        self.got.push(got);
        Some(Ok(()))
    }

    /// A message's first frame.
    fn begin(&mut self, lane: u8, mut got: Got, total: Option<u64>) -> Option<()> {
        let here = got.body().len() as u64;
        let more = total.is_some();
        let total = total.unwrap_or(here);
        if total > self.outcome.as_ref()?.max_message.into() || more != (here < total) {
            return None;
        }
        let charge = total + got.service() as u64 + 64;
        let granted = &mut self.granted[got.budget()];
        *granted = granted.checked_sub(charge)?;
        let partial = Partial { got, total, charge };
        if here < total {
            self.lanes[usize::from(lane)] = Some(partial);
        } else {
            self.whole(partial);
        }
        Some(())
    }

    fn on_data(&mut self, lane: u8, flags: u8, bytes: &[u8]) -> Option<()> {
        let mut partial = self.lanes[usize::from(lane)].take()?;
        if flags & ABANDON != 0 {
            if self.generous {
                self.give(partial.got.budget(), partial.charge);
            }
            self.got.push(Got::Abandoned(lane));
            return Some(());
        }
        let body = partial.got.body();
        body.extend(bytes);
        let (here, more) = (body.len() as u64, flags & MORE != 0);
        if bytes.is_empty() || here > partial.total || more != (here < partial.total) {
            return None;
        }
        if more {
            self.lanes[usize::from(lane)] = Some(partial);
        } else {
            self.whole(partial);
        }
        Some(())
    }

    fn whole(&mut self, partial: Partial) {
        match &partial.got {
            Got::Call { id, .. } => self.serving.push(*id),
            Got::Reply { id, .. } => {
                let id = *id;
                self.pending.retain(|pending| *pending != id);
            }
            _ => {}
        }
        if self.generous {
            self.give(partial.got.budget(), partial.charge);
        }
        self.got.push(partial.got);
    }
}
