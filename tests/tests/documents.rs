//! Documents that name tests name tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Adds every `fn name` in the Rust files below `folder`.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("UTF-8");
            found.extend(source.split("fn ").skip(1).map(|rest| {
                rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned()
            }));
        }
    }
}

/// Whether a word in backticks is the name of a test: a requirement's number and a sentence.
fn is_test_name(word: &str) -> bool {
    let Some((row, rest)) = word.split_once('_') else { return false };
    let mut row = row.chars();
    row.next().is_some_and(|letter| "ihkcmldo".contains(letter))
        && row.as_str().parse::<u8>().is_ok()
        && rest.contains('_')
}

#[test]
fn every_test_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut found = BTreeSet::new();
    for folder in ["core", "adapter-tokio", "tests"] {
        functions(&root.join(folder), &mut found);
    }
    let mut named = 0;
    for document in ["docs/invariants.md", "docs/architecture.md", "SECURITY.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root.join(document)).expect("the document");
        for word in text.split('`').skip(1).step_by(2).filter(|word| is_test_name(word)) {
            named += 1;
            assert!(found.contains(word), "{document} names the test `{word}`, which does not exist");
        }
    }
    assert!(named > 20, "only {named} tests are named: has the form of the documents changed?");
}
