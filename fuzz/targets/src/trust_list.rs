//! Trust lists: their text, and changes to it.

use handclasp::node::trust::{Added, TrustEntry, TrustList, UnixTime};
use handclasp_sim::id;

use crate::input::Input;

/// More changes than this are not looked at.
const MOST_CHANGES: usize = 32;

/// Reads the text before the first NUL, and makes the changes that the bytes behind it say. The text that comes out
/// is the one that went in, but for what was changed, and says what the list says.
pub(crate) fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let Ok(text) = std::str::from_utf8(&data[..end]) else { return };
    let Ok(mut list) = TrustList::parse(text) else { return };
    assert_eq!(list.to_string(), text);
    is_sound(&list);

    let mut input = Input::new(data.get(end + 1..).unwrap_or_default());
    if input.is_empty() {
        return;
    }
    for _ in 0..MOST_CHANGES {
        if input.is_empty() {
            break;
        }
        change(&mut list, &mut input);
        assert_eq!(list.text_len(), list.to_string().len());
    }
    is_sound(&list);
}

fn change(list: &mut TrustList, input: &mut Input<'_>) {
    let what = input.u8();
    // One that is on the list, or one of a few others.
    let peer = match list.iter().nth(input.below(8)) {
        Some(entry) if what & 1 == 0 => entry.id,
        _ => id(1 + u8::try_from(input.below(4)).expect("a small number")),
    };
    let before = list.get(&peer).cloned();
    if what & 2 != 0 {
        assert_eq!(list.remove(&peer), before.is_some());
        assert!(list.get(&peer).is_none());
        return;
    }
    let mut entry = TrustEntry::new(peer);
    let option = |input: &mut Input<'_>, there: bool| there.then(|| UnixTime::from_secs(input.u64() >> 20));
    entry.added = option(input, what & 4 != 0);
    entry.expires = option(input, what & 8 != 0);
    if what & 16 != 0 {
        let label = String::from_utf8_lossy(input.prefixed()).into_owned();
        match entry.with_label(&label) {
            Ok(labelled) => entry = labelled,
            Err(_) => return,
        }
    }
    let others: Vec<_> = list.iter().filter(|each| each.id != peer).cloned().collect();
    let added = list.add(entry.clone()).expect("the list is far from full");
    let now = list.get(&peer).expect("it was added").clone();
    match (added, before) {
        (Added::New, None) => assert_eq!(now, entry),
        (Added::Updated(old), Some(before)) => assert!(old == before && now != before),
        (Added::Unchanged, Some(before)) => assert_eq!(now, before),
        (added, before) => panic!("{added:?} of {before:?}"),
    }
    assert_eq!((now.expires, now.label()), (entry.expires, entry.label()));
    assert!(others.iter().eq(list.iter().filter(|each| each.id != peer)), "somebody else's entry changed");
}

/// The text and the list say the same.
fn is_sound(list: &TrustList) {
    let text = list.to_string();
    assert_eq!(list.text_len(), text.len());
    let again = TrustList::parse(&text).unwrap_or_else(|why| panic!("{why} in {text:?}"));
    assert!(again == *list && again.iter().eq(list.iter()), "{text:?}");
    assert_eq!(list.iter().count(), list.len());
    if let Some(entry) = list.iter().last() {
        let line = format!("{entry}\n");
        let alone = TrustList::parse(&line).unwrap_or_else(|why| panic!("{why} in {line:?}"));
        assert_eq!(alone.get(&entry.id), Some(entry));
    }
    for entry in list.iter() {
        assert_eq!(list.get(&entry.id), Some(entry));
        if let Some(end) = entry.expires {
            assert!(!entry.is_valid_at(end));
            assert_eq!(end.to_string().parse(), Ok(end));
        }
    }
}
