//! What is written is what is read, down to the line that a kill cut short.

use super::*;

const LINES: [&str; 16] = [
    "call 1 ben",
    "answered 1",
    "wrong_answer 7",
    "failed 2 no denied",
    "failed 3 unknown a reason of words",
    "executed ben 2 18446744073709551615",
    "send 1 cleo",
    "undelivered 1 cleo left over",
    "received cleo 1 3",
    "linked ben",
    "unlinked ben truncated",
    "dial_failed ben unreachable",
    "revoked cleo",
    "missed 2",
    "end",
    "answered 1234",
];

#[test]
fn every_line_is_read_as_it_was_written() {
    let path = std::env::temp_dir().join(format!("handclasp-ledger-{}", std::process::id()));
    let ledger = Ledger::create(&path).expect("a ledger");
    let entries: Vec<Entry> = LINES.iter().map(|line| line.parse().expect("a line")).collect();
    for entry in &entries {
        ledger.write(entry);
    }
    let text = std::fs::read_to_string(&path).expect("the text");
    let read_back = read(&path, false);
    // Cut short, the last line would still be one.
    std::fs::write(&path, &text[..text.len() - 3]).expect("a write");
    let (cut, cut_and_killed) = (read(&path, false), read(&path, true));
    std::fs::write(&path, text.replace("end\n", "ended\n")).expect("a write");
    let broken = read(&path, true).map_err(|error| error.kind());
    std::fs::remove_file(&path).expect("the file");

    assert_eq!(text, LINES.join("\n") + "\n");
    assert_eq!(read_back.expect("a ledger"), entries);
    assert_eq!(cut.expect("a ledger").last(), Some(&Entry::Answered { number: 12 }));
    assert_eq!(cut_and_killed.expect("a ledger"), entries[..LINES.len() - 1]);
    assert_eq!(broken, Err(ErrorKind::InvalidData));
}

#[test]
fn what_is_no_line_is_refused() {
    for line in ["", "call", "call one ben", "call 1", "failed 1 maybe reason", "executed anna 1", "ended"] {
        assert!(line.parse::<Entry>().is_err(), "{line:?}");
    }
}
