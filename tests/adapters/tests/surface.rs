//! The two adapters have the same public items, of the same kinds and with the same parameters: only the
//! runtime differs, and whose reading and writing traits a stream has.
//!
//! What the sources say is read by a small parser, which knows the few forms of items that the adapters use and
//! fails on any other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What each public name stands for.
type Items = BTreeMap<String, String>;

fn source(package: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(package).join("src/lib.rs")).expect("the source")
}

/// The text without comments and attributes of lines of their own, its words apart by one space.
fn words(source: &str) -> String {
    let code = source.lines().map(str::trim).filter(|line| !line.starts_with("//") && !line.starts_with('#'));
    let text = code.collect::<Vec<_>>().join(" ");
    assert!(!text.contains("/*") && !text.contains(" //"), "a comment that this parser does not know");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Cuts the text into items: each up to its `;` or its block, which is given apart.
fn items(mut text: &str) -> Vec<(&str, Option<&str>)> {
    let mut items = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return items;
        }
        // The braces of a `use` are not a block.
        let is_use = text.starts_with("use ") || text.starts_with("pub use ");
        let end = text.find(|c| c == ';' || c == '{' && !is_use).expect("an end");
        if text[end..].starts_with(';') {
            items.push((text[..end].trim(), None));
            text = &text[end + 1..];
            continue;
        }
        let close = closing(&text[end..]) + end;
        items.push((text[..end].trim(), Some(&text[end + 1..close])));
        text = text[close + 1..].trim_start().trim_start_matches(';');
    }
}

/// Where the block that the text begins with ends.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if depth == 0 {
            return at;
        }
    }
    panic!("a block without an end: {text}");
}

/// A name that may be followed by a type's or function's parameters.
fn name(item: &str) -> String {
    item.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The public items of a module's text, with the runtime called `R`.
fn surface(text: &str, runtime: &str) -> Items {
    let mut found = Items::new();
    let mut add = |name: String, what: String| {
        let what = what.replace("handclasp::runtime::", "runtime::");
        let what = what.replace(&format!("<{runtime}>"), "<R>").replace(", )", ")").replace("( ", "(");
        assert!(!what.contains(runtime), "the runtime is where this parser does not expect it: {what}");
        assert!(found.insert(name.clone(), what).is_none(), "{name} twice");
    };
    for (item, block) in items(text) {
        let Some(public) = item.strip_prefix("pub ") else {
            let is_known = ["use ", "mod ", "struct Readme"].iter().any(|known| item.starts_with(known));
            assert!(is_known, "an item that this parser does not know: {item}");
            continue;
        };
        if let Some(path) = public.strip_prefix("use ") {
            let (path, names) = match path.split_once('{') {
                Some((path, names)) => (path, names.strip_suffix('}').expect("one level of braces")),
                None => path.rsplit_once("::").expect("a path"),
            };
            let path = path.trim_end_matches("::");
            for used in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                if used == "Stream" || used == "ByteStream as Stream" {
                    // Its reading and writing traits are the runtime's.
                    add("Stream".into(), "a byte stream".into());
                    continue;
                }
                assert_eq!(name(used), used, "only names are known here");
                if used == runtime {
                    assert_eq!(path, "crate::runtime");
                    add("the runtime".into(), "a type".into());
                } else {
                    add(used.into(), format!("{path}::{used}"));
                }
            }
        } else if let Some(alias) = public.strip_prefix("type ") {
            add(name(alias), alias.to_owned());
        } else if let Some(function) = public.strip_prefix("async fn ").or(public.strip_prefix("fn ")) {
            assert!(block.is_some());
            add(name(function), public.to_owned());
        } else {
            panic!("an item that this parser does not know: {item}");
        }
    }
    found
}

/// The items of `handclasp_tokio`.
fn of_tokio() -> Items {
    surface(&words(&source("adapter-tokio")), "Tokio")
}

/// The items of `handclasp_async_std`, and of its module `smol`: one macro makes both.
fn of_async_std() -> Items {
    let text = words(&source("adapter-async-std"));
    let mut parts = items(&text).into_iter();
    let mut next = |expected: &str| {
        let (item, block) = parts.next().expect(expected);
        assert_eq!(item, expected);
        block
    };
    next("mod runtime");
    let rule = next("macro_rules! surface").expect("a block");
    assert_eq!(next("mod async_std_surface").expect("a block").trim(), "surface!(AsyncStd);");
    next("pub use async_std_surface::*");
    assert_eq!(next("pub mod smol").expect("a block").trim(), "surface!(Smol);");
    assert_eq!(parts.next(), None, "an item beside the two surfaces");
    let body = rule.trim().strip_prefix("($runtime:ident) => {").expect("the macro's one rule");
    let body = body.strip_suffix("};").expect("the macro's one rule");
    surface(&body.replace("$runtime", "AnyRuntime"), "AnyRuntime")
}

#[test]
fn o3_the_adapters_have_the_same_public_items() {
    let (one, other) = (of_tokio(), of_async_std());
    assert!(one.len() > 30 && one.contains_key("connect_over") && one.contains_key("Node"), "{one:#?}");
    let differ = |one: &Items, other: &Items| {
        let differs = |(name, what): &(&String, &String)| other.get(*name) != Some(*what);
        one.iter().filter(differs).map(|(name, what)| format!("{name}: {what}")).collect::<Vec<_>>()
    };
    assert_eq!(differ(&one, &other), differ(&other, &one), "only here, and only there");
    assert_eq!(differ(&one, &other), Vec::<String>::new());
}

#[test]
fn o3_the_parser_sees_what_differs() {
    let all = "mod io; use std::a::{b, c}; pub use crate::runtime::Tokio; pub use handclasp::{A, B}; \
               pub type Link = runtime::Link<Tokio>; pub async fn f(a: u8) -> u8 { if a > 0 { 1 } else { 2 } }";
    let known = surface(all, "Tokio");
    assert_eq!(known.keys().map(String::as_str).collect::<Vec<_>>(), ["A", "B", "Link", "f", "the runtime"]);
    assert_eq!(known["Link"], "Link = runtime::Link<R>");
    for (more, key) in [("pub fn g() { }", "g"), ("pub use x::Y;", "Y"), ("pub type T = u8;", "T")] {
        let changed = surface(&format!("{all} {more}"), "Tokio");
        assert!(changed.contains_key(key) && changed.len() == known.len() + 1);
    }
    assert_ne!(surface(&all.replace("a: u8", "a: u16"), "Tokio"), known);
    for unknown in
        ["pub struct S;", "pub mod m { }", "pub use x::*;", "macro_rules! m { }", "pub const C: u8 = 1;"]
    {
        let text = format!("{all} {unknown}");
        std::panic::catch_unwind(|| surface(&text, "Tokio")).expect_err(unknown);
    }
}
