//! The public items of the three libraries, one a line, with all features: in docs/api, so that a change of them
//! is seen in review.
//!
//! ```sh
//! cargo run --manifest-path tests/api/Cargo.toml             # compares: 0 the same, 1 not, 77 cannot be told here
//! cargo run --manifest-path tests/api/Cargo.toml -- --bless  # writes docs/api anew
//! ```
//!
//! rustdoc's JSON is what this reads. It is an unstable output, so a stable compiler is asked for it with
//! `RUSTC_BOOTSTRAP`, which touches no generated code, in a target folder of its own. Its form changes from time
//! to time; where the crate `public-api` does not know the form of the compiler at hand, that is said, and
//! nothing is compared. `tests/tests/public_api.rs` compares names, with any compiler.
//!
//! An auto trait (`Send`, `Sync`, `Unpin`) is listed where a type does not have it, or only on a condition: what
//! is usual needs no line, and what is lost makes one. Nor do the methods of the standard library's everyday traits,
//! beside the line that says that the trait is there.

use std::collections::BTreeSet;
use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const PACKAGES: [&str; 3] = ["handclasp", "handclasp-tokio", "handclasp-async-std"];

/// The forms of rustdoc's JSON with which the lists are known to come out alike: from the first to the last.
const FORMATS: std::ops::RangeInclusive<u32> = 57..=59;

/// The exit code of a check that cannot be made here.
const SKIPPED: u8 = 77;

/// Why there is no list of items.
enum Failure {
    /// rustdoc writes a form of JSON that is not read here.
    Form(u32),
    /// Whatever else.
    Other(Box<dyn Error>),
}

impl<E: Into<Box<dyn Error>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let bless = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--bless"] => true,
        _ => {
            eprintln!("usage: handclasp-api [--bless]");
            return ExitCode::from(2);
        }
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut same = true;
    for package in PACKAGES {
        let found = match items(&root, package) {
            Ok(found) => found,
            Err(Failure::Form(form)) => {
                println!(
                    "SKIPPED: this compiler's rustdoc writes JSON of form {form}, known are {} to {}",
                    FORMATS.start(),
                    FORMATS.end()
                );
                return ExitCode::from(SKIPPED);
            }
            Err(Failure::Other(error)) => {
                eprintln!("{package}: {error}");
                return ExitCode::FAILURE;
            }
        };
        match keep(&root.join("docs/api").join(format!("{package}.txt")), &found, bless) {
            Ok(is_same) => same &= is_same,
            Err(error) => {
                eprintln!("{package}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The public items of a package, one a line.
fn items(root: &Path, package: &str) -> Result<String, Failure> {
    let target = target(root);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo)
        .current_dir(root)
        .args(["rustdoc", "--quiet", "--locked", "--all-features", "--lib", "-p", package, "--target-dir"])
        .arg(&target)
        .args(["--", "-Z", "unstable-options", "--output-format", "json"])
        .env("RUSTC_BOOTSTRAP", "1")
        .status()?;
    if !done.success() {
        return Err("cargo rustdoc failed".into());
    }
    let path = target.join("doc").join(format!("{}.json", package.replace('-', "_")));
    let form = form(&fs::read_to_string(&path)?).ok_or("rustdoc's JSON has no format_version")?;
    if !FORMATS.contains(&form) {
        return Err(Failure::Form(form));
    }
    let api = public_api::Builder::from_rustdoc_json(&path).omit_blanket_impls(true).build()?;
    let lines: Vec<_> = api.items().map(ToString::to_string).collect();
    let impls: Vec<_> = lines.iter().map(String::as_str).filter(|line| line.starts_with("impl")).collect();
    let mut text = String::new();
    // What is exported twice is listed twice, under one name.
    let mut seen = BTreeSet::new();
    for line in lines.iter().filter(|line| is_worth_a_line(line, &impls) && seen.insert(line.as_str())) {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "{line}");
    }
    Ok(text)
}

/// Where rustdoc builds: apart from what `RUSTC_BOOTSTRAP` would make build anew.
fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("api")
}

/// The form of a file of rustdoc's JSON, of which it is a field at the top.
fn form(json: &str) -> Option<u32> {
    let (_, rest) = json.rsplit_once("\"format_version\":")?;
    rest.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Methods that say no more than the `impl` of their trait.
const EVERYDAY: [(&str, &str); 11] = [
    ("clone", "core::clone::Clone"),
    ("cmp", "core::cmp::Ord"),
    ("default", "core::default::Default"),
    ("deref", "core::ops::deref::Deref"),
    ("drop", "core::ops::drop::Drop"),
    ("eq", "core::cmp::PartialEq"),
    ("fmt", "core::fmt::"),
    ("from", "core::convert::From<"),
    ("hash", "core::hash::Hash"),
    ("partial_cmp", "core::cmp::PartialOrd"),
    ("source", "core::error::Error"),
];

/// Whether a line says something that neither goes without saying nor stands in one of `impls`, the lines of
/// which each says that a type has a trait.
fn is_worth_a_line(line: &str, impls: &[&str]) -> bool {
    if line.starts_with("impl") {
        let of_the_compiler =
            ["core::marker::Freeze", "core::marker::StructuralPartialEq", "core::marker::UnsafeUnpin"];
        let not_promised = "core::panic::unwind_safe::";
        let usual = ["core::marker::Send for", "core::marker::Sync for", "core::marker::Unpin for"];
        let is_usual = usual.iter().any(|name| line.contains(name))
            && !line.contains("!core")
            && !line.contains(" where ");
        let is_noise = of_the_compiler.iter().any(|name| line.contains(name)) || line.contains(not_promised);
        return !is_usual && !is_noise;
    }
    // `pub fn a::Type::clone(&self) -> …`, `pub fn a::Type<T>::hash<H: …>(&self, …)`
    let Some((_, signature)) = line.split_once("fn ") else { return true };
    let Some((path, _)) = signature.split_once('(') else { return true };
    for (method, of) in EVERYDAY {
        let marked = [format!("::{method}"), format!("::{method}<")];
        let Some(at) = marked.iter().find_map(|mark| {
            if mark.ends_with('<') {
                path.rfind(mark.as_str())
            } else {
                path.ends_with(mark.as_str()).then(|| path.len() - mark.len())
            }
        }) else {
            continue;
        };
        let (the_type, _) = path.split_at(at);
        let ends = [format!(" for {the_type}"), format!(" for {the_type} where ")];
        return !impls.iter().any(|line| {
            line.contains(of) && (line.ends_with(ends[0].as_str()) || line.contains(ends[1].as_str()))
        });
    }
    true
}

/// Compares the list with the one that is kept, or keeps it. False if they differ.
fn keep(path: &Path, found: &str, bless: bool) -> Result<bool, Box<dyn Error>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if bless {
        fs::write(path, found)?;
        println!("{name}: {} items", found.lines().count());
        return Ok(true);
    }
    let kept = fs::read_to_string(path)?;
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (kept.lines().collect(), found.lines().collect());
    for line in before.difference(&after) {
        println!("{name}: - {line}");
    }
    for line in after.difference(&before) {
        println!("{name}: + {line}");
    }
    println!("{name}: {} items", after.len());
    if before != after {
        println!("if that is meant: cargo run --manifest-path tests/api/Cargo.toml -- --bless");
    }
    Ok(before == after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_that_at_the_end() {
        assert_eq!(form(r#"{"docs":"\"format_version\":1","format_version":57}"#), Some(57));
        assert_eq!(form(r#"{"root":0}"#), None);
    }

    #[test]
    fn what_a_type_lacks_has_a_line() {
        assert!(!is_worth_a_line("impl core::marker::Send for handclasp::Link", &[]));
        assert!(is_worth_a_line("impl !core::marker::Send for handclasp::Link", &[]));
        assert!(is_worth_a_line("impl<T> core::marker::Sync for a::A<T> where T: core::marker::Sync", &[]));
        assert!(!is_worth_a_line("impl core::panic::unwind_safe::UnwindSafe for handclasp::Link", &[]));
        assert!(is_worth_a_line("pub fn handclasp::Link::is_send(&self) -> bool", &[]));
    }

    #[test]
    fn what_an_impl_says_has_no_second_line() {
        let impls =
            ["impl core::clone::Clone for a::B", "impl<T> core::hash::Hash for a::C<T> where T: Hash"];
        assert!(!is_worth_a_line("pub fn a::B::clone(&self) -> a::B", &impls));
        assert!(!is_worth_a_line("pub fn a::C<T>::hash<__H: Hasher>(&self, &mut __H)", &impls));
        assert!(is_worth_a_line("pub fn a::C<T>::clone(&self) -> a::C<T>", &impls));
        assert!(is_worth_a_line("pub fn a::B::hash(&self) -> [u8; 32]", &impls));
        assert!(is_worth_a_line("pub fn a::Bb::clone(&self) -> a::Bb", &impls));
        assert!(is_worth_a_line("pub fn a::B::eclone(&self)", &impls));
    }
}
