//! Streams of bytes, from the first one and behind a handshake: how they are cut into reads changes nothing.

use crate::input::Input;
use crate::layouts::preamble::{CLEARTEXT_LEN, CleartextRefusal, PREAMBLE_LEN, Preamble};
use crate::owner::Owner;
use crate::peer::Setup;

/// A link of the configuration that the first bytes name reads the rest as its stream.
pub(crate) fn preamble(data: &[u8]) {
    let mut input = Input::new(data);
    let (setup, chunk) = (Setup::read(&mut input), input.u8());
    if let Some(bytes) = input.rest().first_chunk::<PREAMBLE_LEN>() {
        if let Ok(preamble) = Preamble::parse(*bytes) {
            assert_eq!(preamble.emit(), *bytes, "{preamble:?}");
        }
    }
    if let Some([_, _, bytes @ ..]) = input.rest().first_chunk::<CLEARTEXT_LEN>() {
        if let Ok(refusal) = CleartextRefusal::parse(*bytes) {
            let [zero, none, again @ ..] = refusal.emit();
            assert_eq!((zero, none, CleartextRefusal::parse(again)), (0, 0, Ok(refusal)));
        }
    }
    same_in_pieces([setup.owner(), setup.owner()], input.rest(), usize::from(chunk));
}

/// A link that is established, of the configuration that the first bytes name, reads the rest as its stream.
pub(crate) fn record(data: &[u8]) {
    let mut input = Input::new(data);
    let (setup, chunk) = (Setup::read(&mut input), input.u8());
    let (Some(one), Some(other)) = (setup.established(), setup.established()) else { return };
    same_in_pieces([one, other], input.rest(), usize::from(chunk));
}

/// Two links that are the same read the same bytes, one as much at a time as it takes, the other at most `chunk`
/// bytes.
fn same_in_pieces(links: [Owner; 2], bytes: &[u8], chunk: usize) {
    let [mut whole, mut pieces] = links;
    for owner in [&mut whole, &mut pieces] {
        owner.logs = true;
        owner.act();
    }
    whole.read_all(bytes);
    for piece in bytes.chunks(chunk.max(1)) {
        if pieces.read_all(piece) < piece.len() {
            break;
        }
    }
    for owner in [&mut whole, &mut pieces] {
        owner.act();
    }
    assert_eq!(whole.log, pieces.log, "in reads of {chunk} bytes");
    assert_eq!(whole.out, pieces.out, "in reads of {chunk} bytes");
    for owner in [&mut whole, &mut pieces] {
        owner.finish(chunk);
    }
    assert_eq!(whole.log, pieces.log, "in reads of {chunk} bytes");
    assert_eq!(whole.out, pieces.out, "in reads of {chunk} bytes");
}
