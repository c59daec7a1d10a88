//! The lists of public items in docs/api fit the sources, by name. What stands behind a name, its parameters and
//! bounds, is compared by tests/api, which needs more of the compiler than stable Rust promises.
//!
//! Clippy refuses a `pub` that cannot be reached from outside (`unreachable_pub`), so what says `pub` in the
//! sources is what is listed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The folder of each library, and the name of its package.
const LIBRARIES: [(&str, &str); 3] = [
    ("core", "handclasp"),
    ("adapter-tokio", "handclasp-tokio"),
    ("adapter-async-std", "handclasp-async-std"),
];

/// The words that stand before the name of an item.
const KINDS: [&str; 7] = ["const", "enum", "fn", "mod", "struct", "trait", "type"];

/// Names, each behind the word for what it is; fields and variants behind nothing.
type Names = BTreeSet<String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// The text of a library's sources, without comments and without tests.
fn source(folder: &Path) -> String {
    let mut text = String::new();
    let mut entries: Vec<_> = fs::read_dir(folder).expect("a folder").flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" {
                text += &source(&path);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs" {
            let all = fs::read_to_string(&path).expect("UTF-8");
            let code = all.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for line in code.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}

/// The name that a text begins with.
fn name(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// What follows `pub` and the words that say more of an item than what it is: `const fn` is a `fn`.
fn kind_and_rest(mut text: &str) -> (&str, &str) {
    loop {
        let Some((word, rest)) = text.split_once(' ') else { return ("", text) };
        let is_const_fn =
            word == "const" && ["fn ", "async ", "unsafe "].iter().any(|next| rest.starts_with(next));
        match word {
            "async" | "unsafe" => text = rest,
            _ if is_const_fn => text = rest,
            _ if KINDS.contains(&word) => return (word, rest),
            _ => return ("", text),
        }
    }
}

/// What says `pub` in a source.
fn declared(source: &str) -> Names {
    let mut names = Names::new();
    for (at, _) in source.match_indices("pub ") {
        let starts_a_word = source[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || c == '(');
        let (kind, rest) = kind_and_rest(&source[at + 4..]);
        let name = name(rest);
        // A field that has a name; what is exported again stands where it is declared.
        let is_field = kind.is_empty() && rest[name.len()..].starts_with(": ");
        if starts_a_word && !name.is_empty() && (!kind.is_empty() || is_field) {
            names.insert(format!("{kind} {name}"));
        }
    }
    names
}

/// What a list of items has: the last name of each path, without parameters.
fn listed(items: &str) -> Names {
    let mut names = Names::new();
    for line in items.lines() {
        let Some((_, item)) =
            format!(" {line}").split_once(" pub ").map(|(a, b)| (a.to_owned(), b.to_owned()))
        else {
            assert!(line.starts_with("impl") || line.starts_with('#'), "a line of an unknown form: {line}");
            continue;
        };
        let (kind, rest) = kind_and_rest(&item);
        if rest.starts_with("use ") || item.starts_with("use ") {
            continue;
        }
        let (mut depth, mut path, mut before) = (0_usize, String::new(), ' ');
        for c in rest.chars() {
            match c {
                '<' => depth += 1,
                '>' if before != '-' => depth -= 1,
                '(' | ' ' | '{' if depth == 0 => break,
                _ if depth == 0 => path.push(c),
                _ => {}
            }
            before = c;
        }
        let last = path.trim_end_matches(':').rsplit("::").next().expect("a name").to_owned();
        assert!(!last.is_empty(), "a line of an unknown form: {line}");
        names.insert(format!("{kind} {last}"));
    }
    names
}

#[test]
fn what_is_public_is_listed_and_what_is_listed_is_there() {
    for (folder, package) in LIBRARIES {
        let source = source(&root().join(folder).join("src"));
        let list = root().join("docs/api").join(format!("{package}.txt"));
        let list = fs::read_to_string(list).expect("the list of items");
        let (declared, listed) = (declared(&source), listed(&list));
        // A type that no path leads to is listed only where it is used.
        let used: BTreeSet<_> = list.split("::").map(name).collect();
        let is_used = |item: &str| {
            let name = item.strip_prefix("struct ").or(item.strip_prefix("enum "));
            name.is_some_and(|name| used.contains(name))
        };
        let unlisted: Vec<_> = declared.difference(&listed).filter(|item| !is_used(item)).collect();
        // What a trait has says no `pub`, nor do variants.
        let words: BTreeSet<_> = source.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let gone: Vec<_> = listed
            .difference(&declared)
            .filter(|item| {
                let (kind, name) = item.split_once(' ').expect("a kind, perhaps empty, and a name");
                let is_there = if kind.is_empty() {
                    words.contains(name)
                } else {
                    source.contains(&format!("{kind} {name}"))
                };
                // The package itself.
                !is_there && name != package.replace('-', "_")
            })
            .collect();
        assert!(
            unlisted.is_empty() && gone.is_empty(),
            "docs/api/{package}.txt lacks {unlisted:?} and lists {gone:?}, which is not there: \
             cargo run --manifest-path tests/api/Cargo.toml -- --bless"
        );
        assert!(listed.len() > 20, "only {} items of {package}", listed.len());
    }
}

#[test]
fn names_are_read_from_sources_and_lists_alike() {
    let source = "pub struct A<T> {\npub one: u8,\npub(crate) two: u8,\n}\npub const fn b() {}\npub const C: u8 = 1;\n\
                  pub async fn d<'a>() {}\nfn e() {}\npub use f::G;\npub struct H(pub u8);";
    let list = "#[non_exhaustive] pub struct a::A<T>\npub a::A::one: u8\npub const fn a::A<T>::b(u8) -> a::B<'_>\n\
                pub const a::C: u8\npub async fn a::x::d<'a>(impl Fn(u8) -> u8)\npub use a::G\npub struct a::H(pub u8)\n\
                impl a::A";
    assert_eq!(declared(source), listed(list));
    assert_eq!(declared(source).len(), 6);
    assert_ne!(declared(&source.replace("fn e", "pub fn e")), listed(list));
}
