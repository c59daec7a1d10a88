//! Refusals.

use handclasp::Refusal;
use handclasp::wire::refusal::{MAX_REFUSAL, emit, parse};

/// Reads `data` as a refusal. What was read is written in bounds, and read again as the same; a list of names may
/// have been cut.
pub(crate) fn run(data: &[u8]) {
    let Ok(refusal) = parse(data) else { return };
    let mut written = Vec::new();
    emit(&refusal, &mut written);
    assert!(written.len() <= MAX_REFUSAL, "{} bytes", written.len());
    let again = parse(&written).expect("what was written can be read");
    match (&refusal, &again) {
        (Refusal::MissingCapability { names }, Refusal::MissingCapability { names: kept }) => {
            assert!(names.starts_with(kept), "{names:?} became {kept:?}");
            let cut = names.get(kept.len()).map_or(0, |next| 1 + next.len());
            assert!(cut == 0 || written.len() + cut > MAX_REFUSAL, "cut without need at {}", written.len());
        }
        _ => assert_eq!(refusal, again),
    }
    if again == refusal {
        assert!(data.starts_with(&written), "another form: {written:x?}");
    }
    assert_eq!(again.clone().mirrored().mirrored(), again);
    assert!(!refusal.to_string().is_empty() && !refusal.name().is_empty());
}
