//! The sum says of each promise when it is broken.

use super::*;

const ANNA: &str = "\
call 1 ben|answered 1|executed ben 1 1|received ben 1 1|call 2 cleo|answered 2|executed cleo 1 1|send 1 ben|
send 2 ben|linked ben|unlinked ben truncated|send 3 ben|linked ben|call 3 ben|answered 3|executed ben 2 1|
dial_failed ben unreachable|call 4 cleo|failed 4 unknown revoked|send 1 cleo|revoked cleo|call 5 cleo|
failed 5 no untrusted|unlinked ben goodbye|send 4 ben|undelivered 4 ben left over|end";
/// Killed: its third call and second message are without an end.
const BEN: &str = "\
send 1 anna|call 1 anna|answered 1|executed anna 1 1|executed cleo 1 2|call 2 cleo|answered 2|
received anna 1 1|call 3 anna|send 2 anna";
const CLEO: &str = "\
call 1 anna|answered 1|executed anna 1 2|call 2 ben|answered 2|executed ben 1 2|executed ben 2 2|call 3 ben|
answered 3|call 4 anna|failed 4 unknown revoked|unlinked anna revoked|unlinked ben revoked|call 5 anna|
failed 5 no denied|send 1 ben|undelivered 1 ben left over|dial_failed anna denied|dial_failed ben denied|end";
const BEN_AGAIN: &str = "\
call 1 anna|answered 1|call 2 cleo|answered 2|executed anna 1 3|executed cleo 1 3|received anna 1 3|
revoked cleo|unlinked anna goodbye|end";

fn runs(texts: [&str; 4]) -> Vec<Process> {
    let who = [("anna", 1, false), ("ben", 1, true), ("cleo", 1, false), ("ben", 2, false)];
    let run = |((name, run, killed), text): ((&str, u32, bool), &str)| {
        let lines = text.split('|').map(|line| line.trim().parse().expect("a line"));
        Process { name: name.into(), run, killed, entries: lines.collect() }
    };
    who.into_iter().zip(texts).map(run).collect()
}

#[test]
fn a_story_in_which_every_promise_is_kept_adds_up() {
    let sum = Sum::of(&runs([ANNA, BEN, CLEO, BEN_AGAIN]), "cleo");
    assert!(sum.is_good(), "{sum}");
    assert_eq!((sum.calls, sum.answered, sum.calls_unknown), (15, 10, 1));
    assert_eq!(sum.failed.values().sum::<u64>(), 4);
    assert_eq!((sum.messages, sum.delivered), (8, 3));
    assert_eq!(sum.undelivered.values().sum::<u64>(), 2);
    let unknown = [("revoked", 1), ("the receiver was killed", 1), ("the sender was killed", 1)];
    assert_eq!(sum.messages_unknown, BTreeMap::from(unknown));
}

/// The story with one change: of the texts, which one; what is there; and what instead.
fn broken_by(at: usize, there: &str, instead: &str) -> Vec<&'static str> {
    let mut texts = [ANNA, BEN, CLEO, BEN_AGAIN];
    assert!(texts[at].contains(there), "{there:?}");
    let changed = texts[at].replacen(there, instead, 1);
    texts[at] = &changed;
    let sum = Sum::of(&runs(texts), "cleo");
    assert!(!sum.is_good(), "{sum}");
    sum.broken.keys().copied().collect()
}

#[test]
fn each_broken_promise_is_seen() {
    let (anna, ben, cleo, ben_again) = (0, 1, 2, 3);
    for (promise, at, there, instead) in [
        (TWICE, ben_again, "executed anna 1 3", "executed anna 1 3|executed anna 1 3"),
        (TWICE, ben_again, "executed anna 1 3", "executed anna 1 3|executed anna 1 1"),
        (LOST, anna, "answered 3|", ""),
        (LIES, anna, "answered 3", "failed 3 no denied"),
        (WRONG, anna, "answered 3", "wrong_answer 3"),
        (WRONG, anna, "answered 3", "answered 3|answered 3"),
        (WRONG, anna, "answered 3", "answered 3|answered 9"),
        (WRONG, ben_again, "executed anna 1 3", "executed anna 1 4"),
        (STRANGE, ben_again, "executed anna 1 3", "executed anna 1 3|executed anna 1 9"),
        (STRANGE, ben_again, "executed anna 1 3", "executed anna 1 3|executed anna 2 1"),
        (STRANGE, ben_again, "received anna 1 3", "received anna 1 3|received anna 1 9"),
        (
            STRANGE,
            anna,
            "undelivered 4 ben left over",
            "undelivered 4 ben left over|undelivered 9 ben left over",
        ),
        (MESSAGES_TWICE, ben_again, "received anna 1 3", "received anna 1 3|received anna 1 3"),
        (MESSAGES_TWICE, ben_again, "received anna 1 3", "received anna 1 1|received anna 1 3"),
        (MESSAGES_LOST, ben_again, "received anna 1 3|", ""),
        (MESSAGES_LOST, anna, "unlinked ben truncated", "unlinked ben superseded"),
        (MESSAGES_LIES, anna, "undelivered 4 ben", "undelivered 3 ben left over|undelivered 4 ben"),
        (MESSAGES_LIES, anna, "undelivered 4 ben", "undelivered 4 ben left over|undelivered 4 ben"),
        (DISORDER, ben_again, "received anna 1 3", "received anna 1 3|received anna 1 2"),
        (BACK, anna, "revoked cleo", "revoked cleo|linked cleo"),
        (BACK, anna, "executed ben 2 1", "executed ben 2 1|executed cleo 1 5"),
        (BACK, ben_again, "received anna 1 3", "received anna 1 3|received cleo 1 1"),
        (HELD, cleo, "unlinked ben revoked", "unlinked ben goodbye"),
        (HELD, cleo, "dial_failed ben denied", "dial_failed ben unreachable"),
        (HELD, cleo, "failed 4 unknown revoked", "failed 4 unknown goodbye"),
        (HELD, ben_again, "revoked cleo|", ""),
        (REASONS, anna, "unlinked ben goodbye", "unlinked ben violation"),
        (REASONS, ben_again, "unlinked anna goodbye", "unlinked anna truncated"),
        (MISSED, anna, "|end", "|missed 3|end"),
        (UNENDED, anna, "|end", ""),
        (SILENT, ben, "executed cleo 1 2|", ""),
    ] {
        let broken = broken_by(at, there, instead);
        assert!(broken.contains(&promise), "{there:?} → {instead:?}: {broken:?}, not {promise:?}");
    }
    assert!(broken_by(cleo, "answered 3|", "").contains(&LOST));
}
