//! Random changes to inputs, for where there is no fuzzer.

use handclasp_sim::world::Random;

/// Numbers at which something tends to change.
const EDGES: [u8; 12] = [0, 1, 2, 3, 15, 16, 17, 64, 127, 128, 254, 255];

/// What is written over other bytes at random: kinds, tags and what stands at limits.
const WORDS: [&[u8]; 12] = [
    b"HCL\x01",
    &[0; 16],
    &[0xff; 16],
    &[0x10, 3, 0, 1, 0],
    &[0x11, 3, 0, 3, 1, 0, 0],
    &[0x12, 1, 0, 1, 1],
    &[0x15, 0x83, 0, 1, 1],
    &[0x20, 0, 0, 2, 0, 1],
    &[0x40, 0, 0, 1, 1],
    &[0x41, 0, 0, 4, 0, 0, 0, 0],
    &[0x42, 0, 0, 2, 0, 5],
    &[0x3f, 0xff, 0xff, 0xff],
];

/// An input that differs from `input` in a few places; `other` is one to take parts of. At most `limit` bytes.
pub(crate) fn mutated(random: &mut Random, input: &[u8], other: &[u8], limit: usize) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(6) {
        let place = random.index(bytes.len() + 1);
        let end = (place + 1 + random.index(8)).min(bytes.len());
        let rest = bytes.len() - place;
        match random.below(9) {
            0 if rest > 0 => bytes[place] ^= 1 << random.below(8),
            1 if rest > 0 => bytes[place] = random.one_of(&EDGES),
            2 if rest > 0 => bytes[place] = random.next().to_le_bytes()[0],
            3 => drop(bytes.drain(place..end)),
            4 => {
                let copy = bytes[place..end].to_vec();
                bytes.splice(place..place, copy);
            }
            5 => drop(bytes.splice(place..place, random.one_of(&WORDS).iter().copied())),
            6 => {
                let word = random.one_of(&WORDS);
                let end = (place + word.len()).min(bytes.len());
                bytes.splice(place..end, word.iter().copied());
            }
            7 if !other.is_empty() => {
                let from = random.index(other.len());
                let to = from + random.index(other.len() - from) + 1;
                bytes.splice(place..place, other[from..to].iter().copied());
            }
            _ => {
                bytes.truncate(place);
                bytes.extend_from_slice(other.get(place..).unwrap_or_default());
            }
        }
        bytes.truncate(limit);
    }
    bytes
}
