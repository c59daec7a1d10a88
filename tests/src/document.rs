//! Sections of documents that are made by the tests themselves.

use std::path::Path;

const BEGIN: &str = "<!-- worked example: begin -->\n";
const END: &str = "<!-- worked example: end -->\n";

/// Holds `rendered` against the worked example in `docs/<name>`, line by line; with `HANDCLASP_BLESS=1` in the
/// environment writes it there instead.
///
/// # Panics
/// If they differ, or the document is not there or has no such section.
pub fn assert_worked_example(name: &str, rendered: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    let document = std::fs::read_to_string(&path).expect("the document");
    let (head, rest) = document.split_once(BEGIN).expect("the marker of the beginning");
    let (section, tail) = rest.split_once(END).expect("the marker of the end");
    if std::env::var_os("HANDCLASP_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, [head, BEGIN, rendered, END, tail].concat())
            .expect("the document can be written");
        return;
    }
    for (line, (ours, theirs)) in (1..).zip(rendered.lines().zip(section.lines())) {
        assert_eq!(
            ours, theirs,
            "line {line} of the worked example in docs/{name} is not what comes out (HANDCLASP_BLESS=1 writes it anew)"
        );
    }
    assert_eq!(rendered.len(), section.len(), "the worked example in docs/{name} is of another length");
}
