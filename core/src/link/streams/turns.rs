//! Lists of streams that wait for something, in the order in which they began to.

use alloc::collections::BTreeMap;

/// Streams in order. One that is in the list knows its [`Place`], so that it is found again without a search.
#[derive(Debug, Default)]
pub(super) struct Turns {
    next: u64,
    ids: BTreeMap<u64, u64>,
}

/// Where a stream stands in a list, if it does.
#[derive(Debug, Default)]
pub(super) struct Place(Option<u64>);

impl Place {
    pub(super) fn is_taken(&self) -> bool {
        self.0.is_some()
    }
}

impl Turns {
    pub(super) fn first(&self) -> Option<u64> {
        self.ids.first_key_value().map(|(_, id)| *id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Puts stream `id` at the end if it is to wait and does not, and takes it out if it is not to and does.
    pub(super) fn set(&mut self, id: u64, place: &mut Place, waits: bool) {
        match place.0 {
            None if waits => {
                self.ids.insert(self.next, id);
                place.0 = Some(self.next);
                self.next += 1;
            }
            Some(turn) if !waits => {
                self.ids.remove(&turn);
                place.0 = None;
            }
            _ => {}
        }
    }
}
