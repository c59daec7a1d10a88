//! What errors say to people.

use std::collections::BTreeSet;
use std::error::Error;

/// What has been said so far.
#[derive(Debug, Default)]
pub struct Said(BTreeSet<String>);

impl Said {
    /// An error says the words in this order, and what no error has said before.
    ///
    /// # Panics
    /// If it does not.
    pub fn hear(&mut self, error: &dyn Error, words: &[&str]) {
        let text = error.to_string();
        let mut rest = text.as_str();
        for word in words {
            let at =
                rest.find(word).unwrap_or_else(|| panic!("{word:?} is not where it should be in {text:?}"));
            rest = &rest[at + word.len()..];
        }
        // A sentence for people, not the name of a variant.
        assert!(text.contains(' ') && !text.contains(['{', '}']), "{text:?}");
        assert!(self.0.insert(text.clone()), "said twice: {text:?}");
    }

    /// As [`hear`](Self::hear), for an error that has another one behind it, and says what that says.
    ///
    /// # Panics
    /// If it has none, or is silent about it.
    pub fn hear_cause(&mut self, error: &dyn Error, words: &[&str]) {
        self.hear(error, words);
        let cause = error.source().unwrap_or_else(|| panic!("nothing behind {error}"));
        assert!(error.to_string().contains(&cause.to_string()), "{error}, because {cause}");
    }
}
