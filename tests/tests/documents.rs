//! Documents that name tests name tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What the repository's Rust files have.
#[derive(Default)]
struct Source {
    functions: BTreeSet<String>,
    /// Those of them that are tests.
    tests: BTreeSet<String>,
}

impl Source {
    /// Wherever it stands.
    fn all() -> Self {
        let mut source = Self::default();
        source.add(root());
        source
    }

    fn add(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
                self.add(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                self.read(&fs::read_to_string(&path).expect("UTF-8"));
            }
        }
    }

    fn read(&mut self, text: &str) {
        for (place, _) in text.match_indices("fn ") {
            let name: String =
                text[place + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            // Attributes stand between the item before and the name.
            let before = text[..place].rfind(['}', ';']).map_or(&text[..place], |end| &text[end..place]);
            // A case of the adapters' suite is a test on each host; one that is not named as such does not compile.
            let generics = &text[place + 3 + name.len()..];
            let is_case = generics.starts_with("<H: Host>") || generics.starts_with("<A: Host, B: Host>");
            if is_case || before.contains("#[test]") || before.contains("::test") {
                self.tests.insert(name.clone());
            }
            self.functions.insert(name);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// Whether a word in backticks is the name of a test: a requirement's number and a sentence.
fn is_test_name(word: &str) -> bool {
    let Some((row, rest)) = word.split_once('_') else { return false };
    let mut row = row.chars();
    row.next().is_some_and(|letter| "ihkcmldo".contains(letter))
        && row.as_str().parse::<u8>().is_ok()
        && rest.contains('_')
}

/// What stands in backticks.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_test_that_a_document_names_exists() {
    let (root, source) = (root(), Source::all());
    let mut named = 0;
    for document in
        ["docs/invariants.md", "docs/threats.md", "docs/architecture.md", "SECURITY.md", "CONTRIBUTING.md"]
    {
        let text = fs::read_to_string(root.join(document)).expect("the document");
        for word in words(&text).filter(|word| is_test_name(word)) {
            named += 1;
            assert!(source.tests.contains(word), "{document} names the test `{word}`, which does not exist");
        }
    }
    assert!(named > 20, "only {named} tests are named: has the form of the documents changed?");
}

/// A threat is a row: a number that counts up, the attack, what happens, where, and tests.
#[test]
fn every_threat_names_a_place_in_the_code_and_a_test() {
    let text = fs::read_to_string(root().join("docs/threats.md")).expect("the document");
    let source = Source::all();
    let mut threats = 0;
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| # ")) {
        let columns: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, attack, happens, place, tests] = columns[..] else { panic!("not five columns: {line}") };
        threats += 1;
        assert_eq!(number, threats.to_string(), "the rows do not count up: {line}");
        assert!(!attack.is_empty() && !happens.is_empty(), "{line}");
        let (files, names): (Vec<_>, Vec<_>) = words(place).partition(|word| word.contains('.'));
        assert!(!files.is_empty(), "threat {number} names no file");
        for file in files {
            assert!(root().join("core/src").join(file).is_file(), "threat {number}: no file {file}");
        }
        for name in names {
            let is_type = name.starts_with(char::is_uppercase);
            assert!(is_type || source.functions.contains(name), "threat {number}: nothing is called {name}");
        }
        let tests: Vec<_> = words(tests).collect();
        assert!(!tests.is_empty(), "threat {number} names no test");
        for test in tests {
            assert!(is_test_name(test) && source.tests.contains(test), "threat {number}: no test `{test}`");
        }
    }
    assert!(threats > 70, "only {threats} threats: has the form of the document changed?");
}
