//! What has come before: windows, epochs, and a store that is full.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use handclasp::signed::{Audience, NotFresh, ReplayStore, ReplayWindows, WINDOW};
use handclasp_sim::id;
use proptest::prelude::*;

const LAST: u64 = WINDOW - 1;

fn us() -> Audience {
    id(2).into()
}

/// What a store says of these sequences of one epoch, one after the other.
fn outcomes(sequences: &[u64]) -> Vec<Result<(), NotFresh>> {
    let mut windows = ReplayWindows::default();
    sequences.iter().map(|sequence| windows.admit(&id(1), &us(), 1, *sequence)).collect()
}

#[test]
fn m10_a_sequence_is_taken_once_in_any_order() {
    let (seen, old) = (Err(NotFresh::Seen), Err(NotFresh::TooOld));
    assert_eq!(
        outcomes(&[5, 5, 3, 4, 3, 6, 5, 0, 0]),
        [Ok(()), seen, Ok(()), Ok(()), seen, Ok(()), seen, Ok(()), seen]
    );
    // The edge of the window, from both sides of it.
    for start in [0, 1, 63, 64, 65, 1000, u64::MAX - WINDOW] {
        assert_eq!(outcomes(&[start + LAST, start, start]), [Ok(()), Ok(()), seen], "{start}");
        assert_eq!(outcomes(&[start, start + LAST, start]), [Ok(()), Ok(()), seen], "{start}");
        assert_eq!(outcomes(&[start + WINDOW, start]), [Ok(()), old], "{start}");
        assert_eq!(outcomes(&[start, start + WINDOW, start]), [Ok(()), Ok(()), old], "{start}");
    }
    // As far as it goes, at once.
    assert_eq!(
        outcomes(&[0, u64::MAX, u64::MAX, u64::MAX - LAST, u64::MAX - WINDOW, 0]),
        [Ok(()), Ok(()), seen, Ok(()), old, old]
    );
}

/// However far the window moves, what it has moved over is not taken for what comes after it.
#[test]
fn m10_a_window_that_moves_forgets_nothing_and_invents_nothing() {
    for step in [1, 2, 63, 64, 65, LAST, WINDOW, WINDOW + 1, WINDOW + 63, WINDOW + 64, WINDOW + 65, 1 << 40] {
        let mut windows = ReplayWindows::default();
        for round in 0..40 {
            let sequence = round * step;
            assert_eq!(windows.admit(&id(1), &us(), 1, sequence), Ok(()), "{round} by {step}");
            for back in [0, step] {
                let again = windows.admit(&id(1), &us(), 1, sequence.saturating_sub(back));
                assert!(again.is_err(), "{round} by {step}, {back} back");
            }
        }
        // What lies between the last two has not come.
        let between = 39 * step - 1;
        let fresh = windows.admit(&id(1), &us(), 1, between);
        assert_eq!(fresh.is_ok(), step > 1, "{step}");
    }
}

#[test]
fn m10_a_new_epoch_makes_all_older_ones_void() {
    let mut windows = ReplayWindows::default();
    let mut admit = |epoch, sequence| windows.admit(&id(1), &us(), epoch, sequence);
    assert_eq!(admit(5, 1000), Ok(()));
    assert_eq!(admit(4, 1001), Err(NotFresh::OldEpoch));
    assert_eq!(admit(6, 0), Ok(()), "it counts anew");
    assert_eq!(admit(6, 0), Err(NotFresh::Seen));
    for sequence in [999, 1000, 1001, u64::MAX] {
        assert_eq!(admit(5, sequence), Err(NotFresh::OldEpoch), "{sequence}");
    }
    assert_eq!(admit(6, 1000), Ok(()), "the same number in another epoch is another message");
    assert_eq!(admit(u64::MAX, u64::MAX), Ok(()));
    assert_eq!(admit(u64::MAX, u64::MAX), Err(NotFresh::Seen));
    assert_eq!(admit(6, 1001), Err(NotFresh::OldEpoch));
}

#[test]
fn m10_origins_and_audiences_have_windows_of_their_own() {
    let mut windows = ReplayWindows::default();
    let audiences = [us(), id(3).into(), Audience::topic("a"), Audience::topic("b")];
    for origin in [1, 4] {
        for audience in &audiences {
            assert_eq!(windows.admit(&id(origin), audience, 1, 7), Ok(()), "{origin} to {audience}");
        }
    }
    assert_eq!(windows.len(), 8);
    for origin in [1, 4] {
        for audience in &audiences {
            assert_eq!(windows.admit(&id(origin), audience, 1, 7), Err(NotFresh::Seen));
        }
    }
    // An epoch is one pair's too.
    assert_eq!(windows.admit(&id(1), &us(), 2, 7), Ok(()));
    assert_eq!(windows.admit(&id(1), &audiences[1], 1, 8), Ok(()));
    assert_eq!(windows.len(), 8);
}

#[test]
fn m10_a_full_store_lets_nothing_new_in_and_nothing_old_pass() {
    let mut windows = ReplayWindows::new(4, 2);
    let topic = |name: &str| Audience::topic(name);
    assert_eq!((windows.capacity(), windows.is_empty()), (4, true));
    for name in ["a", "b"] {
        assert_eq!(windows.admit(&id(1), &topic(name), 1, 1), Ok(()));
    }
    // One origin has its share, and no more, whatever it signs for.
    for number in 0..100 {
        assert_eq!(windows.admit(&id(1), &topic(&number.to_string()), 1, 1), Err(NotFresh::Full));
    }
    assert_eq!(windows.admit(&id(3), &us(), 1, 1), Ok(()), "others have room");
    assert_eq!(windows.admit(&id(4), &us(), 1, 1), Ok(()));
    // Whoever comes late displaces nobody, with however many ids.
    for number in 5..200 {
        for epoch in [1, u64::MAX] {
            assert_eq!(windows.admit(&id(number), &us(), epoch, 1), Err(NotFresh::Full));
        }
    }
    assert_eq!(
        windows.admit(&id(3), &topic("a"), 1, 1),
        Err(NotFresh::Full),
        "room in the share, none in all"
    );
    // What it held it holds, and goes on.
    for (origin, audience) in [(1, topic("a")), (1, topic("b")), (3, us()), (4, us())] {
        assert_eq!(windows.admit(&id(origin), &audience, 1, 1), Err(NotFresh::Seen));
        assert_eq!(windows.admit(&id(origin), &audience, 1, 2), Ok(()));
        assert_eq!(windows.admit(&id(origin), &audience, 2, 1), Ok(()));
        assert_eq!(windows.admit(&id(origin), &audience, 1, 3), Err(NotFresh::OldEpoch));
    }
    assert_eq!(windows.len(), 4);
    // Room is made by name only.
    assert_eq!((windows.forget(&id(9)), windows.forget(&id(1)), windows.len()), (0, 2, 2));
    assert_eq!(windows.admit(&id(9), &us(), 1, 1), Ok(()));
    assert_eq!(windows.len(), 3);
}

#[test]
fn m10_a_store_of_nothing_takes_nothing() {
    for (capacity, share) in [(0, 64), (64, 0)] {
        let mut windows = ReplayWindows::new(capacity, share);
        assert_eq!(windows.admit(&id(1), &us(), 1, 1), Err(NotFresh::Full));
        assert!(windows.is_empty() && windows.latest().next().is_none());
    }
}

#[test]
fn m10_a_store_goes_on_where_the_last_one_was() {
    let mut before = ReplayWindows::default();
    for sequence in [10, 5000, 4999] {
        assert_eq!(before.admit(&id(1), &us(), 3, sequence), Ok(()));
    }
    assert_eq!(before.admit(&id(4), &Audience::topic("a"), 1, 0), Ok(()));
    let mut after = ReplayWindows::default();
    for (origin, audience, epoch, sequence) in before.latest() {
        assert_eq!(after.raise(origin, audience, epoch, sequence), Ok(()));
    }
    assert!(before.latest().eq(after.latest()));
    // Nothing that may have come is taken, everything behind it is.
    for sequence in [10, 4999, 5000, 4998] {
        assert!(after.admit(&id(1), &us(), 3, sequence).is_err(), "{sequence}");
    }
    assert_eq!(after.admit(&id(1), &us(), 2, 5001), Err(NotFresh::OldEpoch));
    for sequence in [5001, 5065, 5064] {
        assert_eq!(after.admit(&id(1), &us(), 3, sequence), Ok(()), "{sequence}");
    }
    assert_eq!(after.admit(&id(4), &Audience::topic("a"), 1, 0), Err(NotFresh::Seen));
    assert_eq!(after.admit(&id(4), &Audience::topic("a"), 1, 1), Ok(()));
    // To go back is to do nothing.
    assert_eq!(after.raise(&id(1), &us(), 2, u64::MAX), Ok(()));
    assert_eq!(after.raise(&id(1), &us(), 3, 5066), Ok(()));
    for sequence in [5062, 5063, 5066] {
        assert_eq!(after.admit(&id(1), &us(), 3, sequence), Err(NotFresh::Seen), "{sequence}");
    }
    assert_eq!(after.admit(&id(1), &us(), 3, 5067), Ok(()));
    let mut none = ReplayWindows::new(0, 0);
    assert_eq!(none.raise(&id(1), &us(), 3, 1), Err(NotFresh::Full));
}

/// Of many that bring the same message at the same time, one has it taken.
#[test]
fn m10_links_that_ask_at_the_same_time_get_one_yes() {
    let store = Mutex::new(ReplayWindows::default());
    let taken: usize = std::thread::scope(|scope| {
        let links: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let ask = |sequence| ReplayStore::admit(&store, &id(1), &us(), 1, sequence);
                    (0..500).filter(|sequence| ask(*sequence).is_ok()).count()
                })
            })
            .collect();
        links.into_iter().map(|link| link.join().expect("no panic")).sum()
    });
    assert_eq!(taken, 500);
}

#[derive(Clone, Debug)]
struct Step {
    pair: u8,
    epoch: u64,
    sequence: u64,
}

/// Steps that meet: near one another, near the edges, and sometimes far off.
fn step() -> impl Strategy<Value = Step> {
    let sequence = prop_oneof![
        6 => 0..3 * WINDOW,
        3 => (0..6_u64, 0..3_u64).prop_map(|(base, off)| base * WINDOW / 2 + off),
        1 => (u64::MAX - 2 * WINDOW)..=u64::MAX,
    ];
    let epoch = prop_oneof![8 => Just(1_u64), 1 => 0..3_u64];
    (0..3_u8, epoch, sequence).prop_map(|(pair, epoch, sequence)| Step { pair, epoch, sequence })
}

/// What the windows are, without their thrift: everything that ever came.
#[derive(Default)]
struct Model(BTreeMap<u8, (u64, BTreeSet<u64>)>);

impl Model {
    fn admit(&mut self, step: &Step) -> Result<(), NotFresh> {
        let (epoch, came) = self.0.entry(step.pair).or_insert((step.epoch, BTreeSet::new()));
        if step.epoch < *epoch {
            return Err(NotFresh::OldEpoch);
        }
        if step.epoch > *epoch {
            (*epoch, *came) = (step.epoch, BTreeSet::new());
        }
        let highest = came.last().copied().unwrap_or(step.sequence);
        if u128::from(step.sequence) + u128::from(WINDOW) <= u128::from(highest) {
            return Err(NotFresh::TooOld);
        }
        if came.insert(step.sequence) { Ok(()) } else { Err(NotFresh::Seen) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn m10_the_windows_say_what_a_set_of_everything_says(steps in proptest::collection::vec(step(), 1..400)) {
        let (mut windows, mut model) = (ReplayWindows::default(), Model::default());
        for step in &steps {
            let audience = if step.pair == 2 { Audience::topic("t") } else { us() };
            let ours = windows.admit(&id(1 + step.pair % 2), &audience, step.epoch, step.sequence);
            prop_assert_eq!(ours, model.admit(step), "{:?}", step);
        }
    }
}
