//! Suites: which Noise pattern and which cipher, by the number that travels in the preamble.

use super::NONCE_LEN;
use core::fmt;

/// The cipher of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cipher {
    /// ChaCha20-Poly1305 (RFC 8439).
    ChaChaPoly,
}

impl Cipher {
    /// The nonce for `counter`, as the Noise specification §12.3 lays it out for this cipher: four zero
    /// bytes, then the counter in 64 bits little-endian.
    pub const fn nonce(self, counter: u64) -> [u8; NONCE_LEN] {
        match self {
            Self::ChaChaPoly => {
                let [b0, b1, b2, b3, b4, b5, b6, b7] = counter.to_le_bytes();
                [0, 0, 0, 0, b0, b1, b2, b3, b4, b5, b6, b7]
            }
        }
    }
}

/// A cipher suite, with its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(u8)]
pub enum Suite {
    /// `Noise_NN_25519_ChaChaPoly_SHA256`: no cluster secret.
    NnChaChaPoly = 1,
    /// `Noise_NNpsk0_25519_ChaChaPoly_SHA256`: with a cluster secret.
    NnPsk0ChaChaPoly = 2,
}

impl Suite {
    /// Every suite that this crate knows, weakest first. The order is what downgrade detection goes by.
    pub const ALL: [Self; 2] = [Self::NnChaChaPoly, Self::NnPsk0ChaChaPoly];

    /// The suite of number `code`, if this crate knows it.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.code() == code)
    }

    /// The number in the preamble.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The suite's cipher.
    pub const fn cipher(self) -> Cipher {
        Cipher::ChaChaPoly
    }

    /// Whether the suite mixes in a cluster secret.
    pub const fn has_psk(self) -> bool {
        matches!(self, Self::NnPsk0ChaChaPoly)
    }

    /// The full Noise protocol name.
    pub const fn noise_name(self) -> &'static str {
        match self {
            Self::NnChaChaPoly => "Noise_NN_25519_ChaChaPoly_SHA256",
            Self::NnPsk0ChaChaPoly => "Noise_NNpsk0_25519_ChaChaPoly_SHA256",
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.noise_name())
    }
}

/// A set of suites, as the bitmap that travels: bit `code - 1` stands for the suite of that number. Numbers
/// above 16 have no bit yet.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct SuiteSet(u16);

impl SuiteSet {
    /// No suite.
    pub const EMPTY: Self = Self(0);

    /// The set with these wire bits; bits of unknown suites are kept, as they are authenticated.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The wire bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The set with `suite` added.
    pub const fn with(self, suite: Suite) -> Self {
        Self(self.0 | 1 << (suite.code() - 1))
    }

    /// Whether `suite` is in the set.
    pub const fn contains(self, suite: Suite) -> bool {
        self.0 & 1 << (suite.code() - 1) != 0
    }

    /// The suites in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The strongest known suite in the set.
    pub fn strongest(self) -> Option<Suite> {
        Suite::ALL.into_iter().rev().find(|suite| self.contains(*suite))
    }
}

impl fmt::Display for SuiteSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for suite in Suite::ALL.into_iter().filter(|suite| self.contains(*suite)) {
            write!(f, "{separator}{suite}")?;
            separator = ", ";
        }
        if separator.is_empty() { write!(f, "none that this side knows") } else { Ok(()) }
    }
}

impl fmt::Debug for SuiteSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SuiteSet({:#06x})", self.0)
    }
}
