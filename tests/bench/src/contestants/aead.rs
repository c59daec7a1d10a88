//! The bare cipher: what any protocol over `ChaCha20-Poly1305` pays at least.

use crate::contest::{Pair, Sink};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};

const TAG_LEN: usize = 16;

/// One copy of the body, then seal and open in place; no framing, no state beyond a counter.
pub struct BareAead {
    cipher: ChaCha20Poly1305,
    sealed: u64,
    opened: u64,
    wire: Vec<u8>,
    /// Where each message on the wire ends, tag included.
    ends: Vec<usize>,
}

impl BareAead {
    /// A pair under one fixed key.
    pub fn new() -> Self {
        let cipher = ChaCha20Poly1305::new(&Key::from([7; 32]));
        Self {
            cipher,
            sealed: 0,
            opened: 0,
            wire: Vec::with_capacity(64 * 1024),
            ends: Vec::with_capacity(64),
        }
    }
}

impl Default for BareAead {
    fn default() -> Self {
        Self::new()
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce.into()
}

impl Pair for BareAead {
    fn name(&self) -> String {
        "bare ChaCha20-Poly1305 and one copy (RustCrypto)".into()
    }

    fn send(&mut self, body: &[u8]) {
        let start = self.wire.len();
        self.wire.extend_from_slice(body);
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce(self.sealed), b"", (&mut self.wire[start..]).into())
            .expect("a short message can be sealed");
        self.sealed += 1;
        self.wire.extend_from_slice(&tag);
        self.ends.push(self.wire.len());
    }

    fn flush(&mut self, sink: &mut Sink) {
        let mut start = 0;
        for end in self.ends.drain(..) {
            let (body, tag) = self.wire[start..end].split_at_mut(end - start - TAG_LEN);
            let tag = <[u8; TAG_LEN]>::try_from(&*tag).expect("a tag's length").into();
            self.cipher
                .decrypt_inout_detached(&nonce(self.opened), b"", (&mut *body).into(), &tag)
                .expect("what was sealed opens");
            self.opened += 1;
            sink.take(body);
            start = end;
        }
        self.wire.clear();
    }
}
