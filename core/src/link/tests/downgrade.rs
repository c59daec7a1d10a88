//! H2: of the suites that both sides have, none but the strongest is used.
//!
//! A configuration has suites with a cluster secret or suites without one, and there is one of each, so no two
//! honest sides of this version have a choice. The rule holds for the versions that will.

use alloc::sync::Arc;

use super::{builder, carry, key};
use crate::config::Config;
use crate::crypto::{Suite, SuiteSet};
use crate::error::{By, Reason};
use crate::identity::Signer;
use crate::link::{Dial, Link};
use crate::{Instant, Seed};

/// A side that takes `suites` and says that it takes `said`.
fn config(own: u8, other: u8, suites: SuiteSet, said: SuiteSet) -> Arc<Config> {
    let mut config = builder(own, other).build().unwrap();
    let inside = Arc::get_mut(&mut config).unwrap();
    inside.suites = suites;
    inside.hello.suites = said;
    config
}

/// Both sides' ends, or `None` where a link stands.
fn ends(initiator: &Arc<Config>, responder: &Arc<Config>) -> [Option<(Reason, By)>; 2] {
    let now = Instant::ZERO;
    let mut a = Link::initiator(initiator, Dial::to(key(2).node_id()), &Seed::new([1; 32]), now);
    let mut b = Link::responder(responder, 1, &Seed::new([2; 32]), now);
    for _ in 0..4 {
        carry(&mut a, &mut b, now);
        carry(&mut b, &mut a, now);
    }
    [a, b].map(|link| link.closed().map(|closed| (closed.reason.clone(), closed.by)))
}

#[test]
fn h2_a_weaker_suite_than_both_sides_have_ends_the_handshake_at_both() {
    let weak = SuiteSet::EMPTY.with(Suite::NnChaChaPoly);
    let both = weak.with(Suite::NnPsk0ChaChaPoly);
    // Somebody on the way took the stronger one out of what the dialler offered: the listener sees it in the
    // dialler's hello.
    let downgraded = ends(&config(1, 2, weak, both), &config(2, 1, both, weak));
    assert_eq!(downgraded, [Some((Reason::Downgrade, By::Peer)), Some((Reason::Downgrade, By::Local))]);
}

#[test]
fn h2_a_suite_that_only_one_side_has_is_no_downgrade() {
    let weak = SuiteSet::EMPTY.with(Suite::NnChaChaPoly);
    let both = weak.with(Suite::NnPsk0ChaChaPoly);
    // Suites of a later version; and a hello that does not name the chosen one, which nothing compares (docs/wire.md §3.6).
    let (later, others) = (SuiteSet::from_bits(0x8001), SuiteSet::from_bits(0x8000));
    for (said, theirs) in [(weak, both), (both, weak), (later, later), (others, weak), (weak, others)] {
        assert_eq!(ends(&config(1, 2, weak, said), &config(2, 1, weak, theirs)), [None, None]);
    }
}
