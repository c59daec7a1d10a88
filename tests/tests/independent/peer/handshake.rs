//! Key exchange, authentication and key schedule (§3.1 to §3.5).

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::bytes::{Frame, Reader, kind, lengthy, u16be};
use super::crypto::{Cipher, Hash, Noise, hkdf, sha256, split};
use super::hello::{Coded, Hello, Outcome};
use super::{Got, Keys, Over, Peer, State};

/// What a signature is over.
pub fn signed(initiator: bool, h: &Hash, auth_r: Option<&[u8]>, hello: &[u8], id: &Hash) -> Vec<u8> {
    let answered = auth_r.map_or([0; 32], |auth| sha256(&[auth]));
    let role = [u8::from(!initiator)];
    [b"handclasp/1 link authentication\0", &role[..], h, &answered, &lengthy(hello), id].concat()
}

pub fn key_schedule(h: &Hash, master: &Hash, auth_r: &[u8], auth_i: &[u8]) -> Keys {
    let info = [&b"handclasp/1 traffic keys"[..], &sha256(&[auth_r]), &sha256(&[auth_i])].concat();
    let [i_to_r, r_to_i, exporter, binding] = split(&hkdf(h, master, &info, 128));
    Keys { i_to_r, r_to_i, exporter, binding }
}

impl Keys {
    pub fn export(&self, label: &[u8], context: &[u8], length: usize) -> Vec<u8> {
        let info = [&b"handclasp/1 exporter"[..], &lengthy(label), &lengthy(context)].concat();
        hkdf(&[], &self.exporter, &info, length)
    }
}

impl Peer {
    pub(super) fn dial(&mut self) {
        let preamble = self.setup.preamble();
        self.output.extend(preamble);
        let prologue = self.setup.prologue(&preamble);
        let mut noise = Noise::new(self.setup.psk(), &prologue, self.setup.ephemeral);
        let msg1 = noise.write_msg1();
        self.message(&msg1);
        self.noise = Some(noise);
    }

    /// Sends a cleartext refusal.
    fn cleartext(&mut self, code: u8, aux: u16) -> Over {
        self.output.extend([0, 0, code]);
        self.output.extend(u16be(aux));
        Over::Refusing(Coded::new(code.into(), &u16be(aux)))
    }

    pub(super) fn on_preamble(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let (suite, offered) = (bytes[4], u16::from_be_bytes([bytes[6], bytes[7]]));
        if !bytes.starts_with(b"HCL") {
            return Err(Over::Violation("another magic"));
        }
        if bytes[3] != 1 {
            return Err(self.cleartext(1, 1));
        }
        if suite != self.setup.suite() {
            return Err(self.cleartext(2, 1 << (self.setup.suite() - 1)));
        }
        if bytes[5] != 0 || offered >> (suite - 1) & 1 == 0 {
            return Err(Over::Violation("preamble"));
        }
        self.preamble = bytes.to_vec();
        self.state = State::KeyExchange;
        Ok(())
    }

    pub(super) fn on_msg1(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let prologue = self.setup.prologue(&self.preamble);
        let mut noise = Noise::new(self.setup.psk(), &prologue, self.setup.ephemeral);
        if bytes.len() != 32 + 16 * usize::from(self.setup.secret.is_some()) {
            return Err(Over::Violation("length of msg1"));
        }
        if noise.read_msg1(bytes).is_none() {
            return Err(self.cleartext(4, 0));
        }
        let msg2 = noise.write_msg2();
        self.message(&msg2);
        self.exchanged(noise);
        self.auth_r = self.authenticate();
        Ok(())
    }

    pub(super) fn on_msg2(&mut self, bytes: &[u8]) -> Result<(), Over> {
        if bytes.len() != 48 {
            return Err(Over::Violation("length of msg2"));
        }
        let mut noise = self.noise.take().expect("begun");
        if noise.read_msg2(bytes).is_none() {
            return Err(self.cleartext(4, 0));
        }
        self.exchanged(noise);
        Ok(())
    }

    fn exchanged(&mut self, noise: Noise) {
        let [k1, k2, _] = noise.split();
        let (send, receive) = if self.initiator { (k1, k2) } else { (k2, k1) };
        self.noise_keys = Some([Cipher::new(send), Cipher::new(receive)]);
        self.noise = Some(noise);
        self.state = State::Authentication;
    }

    fn noise(&self) -> &Noise {
        self.noise.as_ref().expect("begun")
    }

    /// Seals this side's only record under its Noise transport key.
    fn put_early(&mut self, plaintext: &[u8]) {
        let [send, _] = self.noise_keys.as_mut().expect("exchanged");
        let record = send.seal(&[], plaintext);
        self.message(&record);
    }

    fn authenticate(&mut self) -> Vec<u8> {
        let (hello, id) = (self.setup.hello.bytes(), self.setup.id());
        let answered = self.initiator.then_some(&self.auth_r[..]);
        let signed = signed(self.initiator, &self.noise().h, answered, &hello, &id);
        let signature = SigningKey::from_bytes(&self.setup.identity).sign(&signed).to_bytes();
        let mut auth = [&[1][..], &hello, &id, &signature].concat();
        if let Some(tamper) = self.setup.tamper {
            tamper(&mut auth);
        }
        self.put_early(&auth);
        auth
    }

    /// Opens the other side's record and checks what is in it, in the order of §3.3. The inner error is what to refuse with.
    fn examine(&mut self, record: &[u8]) -> Result<(Vec<u8>, Result<(), Coded>), Over> {
        let [_, receive] = self.noise_keys.as_mut().expect("exchanged");
        let plain = receive.open(&[], record).ok_or(Over::Undecryptable)?;
        match plain.split_first() {
            Some((1, _)) if plain.len() >= 1 + 40 + 96 => {}
            Some((2, refusal)) => {
                return Err(Coded::read(refusal).map_or(Over::Violation("REFUSE"), Over::Refused));
            }
            _ => return Err(Over::Violation("the kind of the first record")),
        }
        let (hello_bytes, tail) = plain[1..].split_at(plain.len() - 97);
        let hello = Hello::read(hello_bytes).ok_or(Over::Violation("hello"))?;
        let id: Hash = tail[..32].try_into().expect("32 bytes");
        let signature = Signature::from_bytes(tail[32..].try_into().expect("64 bytes"));
        let answered = (!self.initiator).then_some(&self.auth_r[..]);
        let signed = signed(!self.initiator, &self.noise().h, answered, hello_bytes, &id);
        let verdict = self.judge(&hello, &id, &signed, &signature);
        self.their_id = Some(id);
        self.theirs = Some(hello);
        Ok((plain, verdict))
    }

    fn judge(&mut self, hello: &Hello, id: &Hash, signed: &[u8], signature: &Signature) -> Result<(), Coded> {
        if *id == self.setup.id() {
            return Err(Coded::new(26, &[]));
        }
        if self.setup.expected.is_some_and(|expected| expected != *id) {
            return Err(Coded::new(if self.initiator { 40 } else { 22 }, &[]));
        }
        let key = VerifyingKey::from_bytes(id);
        if !key.is_ok_and(|key| key.verify_strict(signed, signature).is_ok()) {
            return Err(Coded::new(22, &[]));
        }
        if !self.initiator && hello.other(7).is_some_and(|destination| destination != self.setup.id()) {
            return Err(Coded::new(27, &[]));
        }
        let common = hello.suites & self.setup.hello.suites;
        if u32::from(common) >> self.setup.suite() != 0 {
            return Err(Coded::new(45, &[]));
        }
        self.outcome = Some(Outcome::of(&self.setup.hello, hello)?);
        Ok(())
    }

    pub(super) fn on_auth_r(&mut self, record: &[u8]) -> Result<(), Over> {
        let (plain, verdict) = self.examine(record)?;
        if let (Err(refusal), false) = (verdict, self.setup.stubborn) {
            self.put_early(&[&[2], &refusal.bytes()[..]].concat());
            return Err(Over::Refusing(refusal));
        }
        self.auth_r = plain;
        self.auth_i = self.authenticate();
        self.switch();
        self.state = State::Status;
        Ok(())
    }

    pub(super) fn on_auth_i(&mut self, record: &[u8]) -> Result<(), Over> {
        let (plain, verdict) = self.examine(record)?;
        self.auth_i = plain;
        self.switch();
        if let Err(refusal) = verdict {
            let body = [&[2], &refusal.bytes()[..]].concat();
            self.put(&[Frame::new(kind::STATUS, 0, body)]);
            return Err(Over::Refusing(refusal));
        }
        if self.setup.asks {
            self.put(&[Frame::new(kind::STATUS, 0, [1])]);
            self.state = State::Alive;
        } else {
            self.accept();
        }
        Ok(())
    }

    fn accept(&mut self) {
        let outcome = self.outcome.clone().expect("judged");
        let status = if self.setup.simultaneous { 3 } else { 0 };
        let body = [&[status][..], &u16be(outcome.version), &outcome.digest()].concat();
        self.put(&[Frame::new(kind::STATUS, 0, body)]);
        self.open();
    }

    /// The record that answers STATUS 1: `ALIVE_REPLY`, and nothing behind it but what is skipped.
    pub(super) fn on_alive_reply(&mut self, frames: &[Frame]) -> Result<(), Over> {
        let (first, rest) = frames.split_first().expect("a record has frames");
        let skipped = |frame: &Frame| frame.kind == kind::PAD || frame.kind >= 0x80;
        match (first.kind, first.flags, &first.body[..]) {
            (kind::ALIVE_REPLY, 0, [reply @ (0 | 1)]) if rest.iter().all(skipped) => {
                self.got.push(Got::Alive(*reply));
                if *reply == 0 {
                    self.accept();
                    return Ok(());
                }
                let refusal = Coded::new(24, &[]);
                self.put(&[Frame::new(kind::STATUS, 0, [&[2], &refusal.bytes()[..]].concat())]);
                Err(Over::Refusing(refusal))
            }
            _ => Err(Over::Violation("no ALIVE_REPLY")),
        }
    }

    fn switch(&mut self) {
        let noise = self.noise();
        let [_, _, master] = noise.split();
        let keys = key_schedule(&noise.h, &master, &self.auth_r, &self.auth_i);
        let (send, receive) =
            if self.initiator { (keys.i_to_r, keys.r_to_i) } else { (keys.r_to_i, keys.i_to_r) };
        self.send = Some(Cipher::new(send));
        self.receive = Some(Cipher::new(receive));
        self.keys = Some(keys);
    }

    fn open(&mut self) {
        let window = self.outcome.as_ref().expect("judged").window.into();
        self.credit = [window; 2];
        self.granted = [window; 2];
        self.ready_due = self.theirs.as_ref().is_some_and(|hello| hello.other(8).is_some());
        self.state = State::Open;
    }

    /// The first frame that an initiator gets under the traffic key.
    pub(super) fn on_status(&mut self, body: &[u8]) -> Result<(), Over> {
        let mut reader = Reader(body);
        match reader.u8() {
            Some(1) if reader.0.is_empty() && !self.asked => {
                // It knows of no other link.
                self.asked = true;
                self.put(&[Frame::new(kind::ALIVE_REPLY, 0, [0])]);
                Ok(())
            }
            Some(accept @ (0 | 3)) => {
                let outcome = self.outcome.as_ref().ok_or(Over::Violation("accepted a refusal"))?;
                let same = reader.u16() == Some(outcome.version) && reader.0 == outcome.digest();
                if !same {
                    return Err(Over::Violation("another outcome"));
                }
                self.simultaneous = accept == 3;
                self.open();
                Ok(())
            }
            Some(2) => Err(Coded::read(reader.0).map_or(Over::Violation("STATUS"), Over::Refused)),
            _ => Err(Over::Violation("STATUS")),
        }
    }
}
