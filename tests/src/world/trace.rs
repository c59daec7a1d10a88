//! What happened, as one number; and as text for people, if wanted.

use std::time::Duration;

/// The trace of a run.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    pub(super) aloud: bool,
}

impl Trace {
    pub(super) const fn new(seed: u64) -> Self {
        Self { hash: seed ^ 0xcbf2_9ce4_8422_2325, aloud: false }
    }

    /// The number: the same for two runs exactly if they were the same, as far as 64 bits can tell.
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    const fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.hash ^= self.hash >> 29;
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        for byte in words.remainder() {
            self.mix(u64::from(*byte));
        }
    }

    /// Something happened at a place that three numbers name.
    pub(super) fn note(
        &mut self,
        now: Duration,
        what: &'static str,
        place: [u64; 3],
        detail: impl FnOnce() -> String,
    ) {
        self.mix(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        self.bytes(what.as_bytes());
        for number in place {
            self.mix(number);
        }
        if self.aloud {
            let [host, link, number] = place;
            // Bytes go by connection and side.
            let names = if matches!(what, "write" | "arrive") { ["conn", "side"] } else { ["host", "link"] };
            println!(
                "{now:>14.6?}  {what:<12} {} {host} {} {link} #{number}  {}",
                names[0],
                names[1],
                detail()
            );
        }
    }
}
