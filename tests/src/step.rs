//! The two moves of any driver: let a link act, and let it read.

use handclasp::{Action, Instant, Link, Ready};

use crate::Owned;

/// Takes events, and bytes in writes of at most `chunk`, until the link has no more: whether it had any, and
/// the time that it wants to be woken at.
///
/// # Panics
/// If the link breaks a promise: an event or bytes behind `Closed`, a deadline in the past, `Send` without
/// bytes or bytes without `Send`.
pub(crate) fn act(
    link: &mut Link,
    now: Instant,
    ready: Ready,
    chunk: usize,
    events: &mut Vec<Owned>,
    mut write: impl FnMut(&[u8]),
) -> (bool, Option<Instant>) {
    let mut moved = false;
    loop {
        let finished = link.is_finished();
        match link.poll(now, ready) {
            Action::Event(event) => {
                let event = Owned::from(event);
                assert!(!finished, "{event:?} behind Closed");
                events.push(event);
            }
            Action::Send => {
                assert!(!finished, "bytes to send behind Closed");
                let bytes = link.transmit(now);
                assert!(!bytes.is_empty(), "Send was offered, but there is nothing to write");
                let count = bytes.len().min(chunk);
                write(&bytes[..count]);
                link.transmitted(count, now);
            }
            Action::Timeout(at) => {
                assert!(at.is_none_or(|at| at > now), "a deadline in the past: {at:?} at {now:?}");
                if ready.write {
                    assert!(link.transmit(now).is_empty(), "bytes to write, but Send was not offered");
                }
                return (moved, at);
            }
        }
        moved = true;
    }
}

/// One read of at most `chunk` of these bytes, as far as the link has room: how many it took.
pub(crate) fn read(link: &mut Link, now: Instant, bytes: &[u8], chunk: usize) -> usize {
    let space = link.recv_space();
    let count = space.len().min(bytes.len()).min(chunk);
    if count > 0 {
        space[..count].copy_from_slice(&bytes[..count]);
        link.received(count, now);
    }
    count
}
