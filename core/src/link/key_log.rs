//! The first traffic keys of a link, for who debugs it and asks for them.

use super::{KeyLog, Link};

impl Link {
    /// Asks the link to keep its first traffic keys for [`key_log`](Self::key_log): call it before the peer has proved
    /// its id, best on a link that was just made. Only with the feature `key-log`, which is for debugging; a link that
    /// was not asked keeps no such keys with it either.
    pub fn log_keys(&mut self) {
        self.logs_keys = true;
    }

    /// The link's first traffic keys, for a protocol analyser, if the link was [asked](Self::log_keys) to keep them and
    /// has them. Who has these keys reads everything up to the first rekey, and after it too: each next key follows
    /// from the one before. They are wiped with the link.
    pub fn key_log(&self) -> Option<&KeyLog> {
        self.key_log.as_deref()
    }
}
