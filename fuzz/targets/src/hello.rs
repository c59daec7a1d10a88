//! Hellos and what two of them come to.

use handclasp::crypto::RustCrypto;
use handclasp::hello::Hello;
use handclasp::negotiation::negotiate;
use handclasp::wire::hello::{MAX_HELLO, emit, parse};

/// Reads `u16(length) ‖ hello ‖ hello`. Each has one form, and both sides come to the same outcome.
pub(crate) fn run(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let (one, other) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*length))));
    let (one, other) = (checked(one), checked(other));
    if let (Some(one), Some(other)) = (&one, &other) {
        agree(one, other);
    }
    if let Some(hello) = one.or(other) {
        agree(&hello, &hello);
    }
}

fn checked(bytes: &[u8]) -> Option<Hello> {
    let hello = parse(bytes).ok()?;
    assert!(bytes.len() <= MAX_HELLO, "a hello of {} bytes", bytes.len());
    hello.check().expect("what was read keeps to the rules");
    let mut written = Vec::new();
    emit(&hello, &mut written).expect("what was read can be written");
    assert_eq!(written, bytes, "{hello:?}");
    Some(hello)
}

fn agree(one: &Hello, other: &Hello) {
    let (here, there) = (negotiate(one, other), negotiate(other, one));
    assert_eq!(here, there.map_err(handclasp::Refusal::mirrored));
    let Ok(outcome) = here else { return };
    for hello in [one, other] {
        assert!(hello.versions.contains(outcome.version));
        assert!(outcome.limits.max_message <= hello.limits.max_message);
        assert!(outcome.limits.window <= hello.limits.window);
        assert!(outcome.limits.max_calls <= hello.limits.max_calls);
        assert!(outcome.limits.idle <= hello.limits.idle);
        assert!(outcome.limits.max_record <= hello.limits.max_record);
        for capability in hello.capabilities.iter().filter(|capability| capability.required) {
            assert!(outcome.capability(&capability.name).is_some(), "without {:?}", capability.name);
        }
        for common in &outcome.capabilities {
            let own = hello.capabilities.iter().find(|own| own.name == common.name).expect("common");
            assert!(own.versions.contains(common.version));
        }
    }
    outcome.limits.check().expect("the smaller of valid limits are valid");
    assert!(outcome.capabilities.is_sorted_by(|earlier, later| earlier.name < later.name));
    assert!(!outcome.bytes().is_empty() && outcome.digest(&RustCrypto) != [0; 32]);
}
